//! Taking batches back.

use super::*;
use taproof_circuits::tree::ChangeSet;

/// All that a ledger shows of itself but the numbers of transactions.
fn view(ledger: &Ledger) -> (ChangeSet, u64, u64, u32, Vec<Transaction>, Vec<WaitingDeposit>) {
    let (transactions, deposits) = (ledger.transactions().expect("readable"), ledger.deposits().expect("readable"));
    let (next, consumed) = (ledger.next_batch(), ledger.deposits_consumed());
    (ledger.state().tree().snapshot(), next, consumed, ledger.reference_height(), transactions, deposits)
}

#[test]
fn a_rewind_restores_state_deposits_and_transactions() {
    let (_folder, path, mut ledger) = funded();
    let before = view(&ledger);
    let [first, second, refused, late] =
        [transfer(1, 0, 2, 10), transfer(1, 1, 2, 20), transfer(1, 0, 2, 99), transfer(2, 0, 1, 5)];
    ledger.set_deposits(3, &[scanned(4, 7, 60), scanned(5, 8, 90), scanned(6, 9, 200)]).expect("room");
    ledger.add_transactions(&[first.clone(), refused]).expect("room");
    let at_120 = Plan { height_blocks: 120, ..plan() };
    // The first deposit is void by now; the tree grows.
    let applied = ledger.apply(&at_120, depth(3), 61, note).expect("a disk with room");
    assert_eq!((applied.deposits_consumed, applied.batch.deposits_applied), (5, 1));
    assert_eq!(applied.batch.rejected.len(), 1);
    ledger.add_transactions(std::slice::from_ref(&second)).expect("room");
    ledger.apply(&at_120, depth(3), 0, note).expect("a disk with room");
    ledger.add_transactions(std::slice::from_ref(&late)).expect("room");
    let mut ledger = reopen(&path, ledger);
    assert_eq!((ledger.next_batch(), ledger.first_unfinal().expect("readable")), (3, 0));
    assert!(matches!(ledger.rewind_to(4), Err(LedgerError::NoSuchBatch(4))));
    ledger.rewind_to(3).expect("nothing to do");
    ledger.rewind_to(1).expect("it is kept");
    let deposits = vec![scanned(4, 7, 60), scanned(5, 8, 90), scanned(6, 9, 200)];
    let expected = (before.0, 1, 3, 100, vec![first, second, late], deposits);
    assert_eq!(view(&ledger), expected);
    assert_eq!(ledger.artefact::<Note>(1).expect("readable"), None);
    assert!(ledger.artefact::<Note>(0).expect("readable").is_some());
    let ledger = reopen(&path, ledger);
    assert_eq!(view(&ledger), expected);
}

#[test]
fn what_batches_referred_to_is_known_after_they_were_taken_back() {
    let (_folder, path, mut ledger) = funded();
    let apply = |ledger: &mut Ledger, nonce: u32, height_blocks: u32| {
        ledger.add_transactions(&[transfer(1, nonce, 2, 1)]).expect("room");
        ledger.apply(&Plan { height_blocks, ..plan() }, depth(2), 0, note).expect("a disk with room");
    };
    apply(&mut ledger, 0, 110);
    apply(&mut ledger, 1, 120);
    assert_eq!(ledger.referred().expect("readable"), None, "nothing was taken back");
    ledger.rewind_to(1).expect("it is kept");
    let mut ledger = reopen(&path, ledger);
    assert_eq!(ledger.referred().expect("readable"), Some(110));
    ledger.apply(&Plan { height_blocks: 111, ..plan() }, depth(2), 0, note).expect("a disk with room");
    assert_eq!(ledger.referred().expect("readable"), Some(120));
    apply(&mut ledger, 2, 121);
    assert_eq!(ledger.referred().expect("readable"), None);
    // Made twice and taken back twice: the later one's proofs are as good, and younger.
    ledger.rewind_to(2).expect("it is kept");
    assert_eq!(ledger.referred().expect("readable"), Some(121));
    ledger.rewind_to(0).expect("it is kept");
    assert_eq!(ledger.referred().expect("readable"), Some(100));
    ledger.forget_before(u64::MAX).expect("a disk with room");
    assert_eq!(ledger.referred().expect("readable"), None, "what is final is never made again");
}

#[test]
fn what_is_final_is_not_taken_back() {
    let (_folder, path, mut ledger) = funded();
    for nonce in 0..3 {
        ledger.add_transactions(&[transfer(1, nonce, 2, 1)]).expect("room");
        ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    }
    ledger.forget_before(2).expect("a disk with room");
    ledger.forget_before(1).expect("nothing to do");
    let mut ledger = reopen(&path, ledger);
    let before = view(&ledger);
    for batch in [0, 1] {
        assert!(matches!(ledger.rewind_to(batch), Err(LedgerError::Final(refused)) if refused == batch));
        assert_eq!(view(&ledger), before);
    }
    ledger.rewind_to(2).expect("it is kept");
    assert_eq!((ledger.next_batch(), ledger.transactions().expect("readable").len()), (2, 2));
    ledger.forget_before(u64::MAX).expect("a disk with room");
    assert_eq!(ledger.first_unfinal().expect("readable"), 2);
}

#[test]
fn a_batch_refers_to_no_block_before_the_last_ones() {
    let (_folder, _, mut ledger) = funded();
    ledger.add_transactions(&[transfer(1, 0, 2, 10)]).expect("room");
    let back = Plan { height_blocks: 99, ..plan() };
    let refused = ledger.apply(&back, depth(2), 0, note);
    assert!(matches!(refused, Err(LedgerError::ReferenceGoesBack { expected: 100, found: 99 })));
    ledger.rewind_to(0).expect("it is kept");
    ledger.apply(&back, depth(2), 0, note).expect("a disk with room");
}

/// Random batches are applied, some are taken back, and what waits then is applied: the state is that of a ledger that
/// never went on.
#[test]
fn a_ledger_that_went_back_is_like_one_that_never_went_on() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (_folder, _, mut ledger) = funded();
        let (_twin_folder, _, mut twin) = funded();
        let batches = rng.gen_range(1..6);
        let kept = rng.gen_range(0..=batches);
        let (mut nonces, mut deposits, mut levels) = ([0u32; 3], 3u64, 2);
        let mut views = vec![view(&ledger)];
        for batch in 0..batches {
            let mut transactions = Vec::new();
            for _ in 0..rng.gen_range(1..5) {
                let from = rng.gen_range(0..3u8);
                transactions.push(transfer(from, nonces[usize::from(from)], rng.gen_range(0..3), rng.gen_range(0..6)));
                nonces[usize::from(from)] += 1;
            }
            levels = (levels + u8::from(rng.gen_range(0..4) == 0)).min(4);
            let scanned: Vec<_> = (0..rng.gen_range(0..3)).map(|_| scanned(rng.gen_range(0..9), 50, 60)).collect();
            for ledger in [&mut ledger, &mut twin] {
                ledger.set_deposits(deposits, &scanned).expect("room");
                ledger.add_transactions(&transactions).expect("room");
            }
            deposits += scanned.len() as u64;
            let applied = ledger.apply(&plan(), depth(levels), 0, note).expect("a disk with room");
            assert!(applied.batch.rejected.is_empty(), "seed {seed}");
            views.push(view(&ledger));
            if batch < kept {
                twin.apply(&plan(), depth(levels), 0, note).expect("a disk with room");
            }
        }
        ledger.rewind_to(kept + 1).expect("all is kept");
        assert_eq!(ledger.state().root(), views[kept as usize].0.root, "seed {seed}");
        assert_eq!(view(&ledger), view(&twin), "seed {seed}");
        for ledger in [&mut ledger, &mut twin] {
            ledger.apply(&plan(), depth(levels), 0, note).expect("a disk with room");
        }
        assert_eq!(view(&ledger), view(&twin), "seed {seed}");
    }
}
