//! Exit requests in the ledger.

use super::*;
use crate::sequencer::MadeBatch;
use bitcoin::{Txid, hashes::Hash};
use taproof_circuits::transaction::Withdraw;
use taproof_verifier::{
    evidence::ClaimRequest,
    exit::{ExitRequest, Outcome, REQUESTS_ENOUGH, ScannedRequest},
    record::Destination,
};

/// A withdrawal to the address of a number.
fn withdraw(address: u8, from: u32, nonce: u32, amount: u64) -> Withdraw {
    let (token, from, destination) = (Token::BITCOIN, index(from), Destination::P2wpkh([address; 20]));
    Withdraw { chain_id: CHAIN, token, from, nonce, amount, fee: 0, destination }
}

/// A request by the owner of a number.
fn signed(number: u8, body: Withdraw) -> ExitRequest {
    Signed::sign(body, &key(number)).demand(*key(number).public()).expect("bitcoin")
}

/// A request by the owner of a number to pay from a cell to the address of that number.
fn request(number: u8, from: u32, nonce: u32, amount: u64) -> ExitRequest {
    signed(number, withdraw(number, from, nonce, amount))
}

fn exit(index: u64, height: u32, request: ExitRequest) -> ScannedRequest {
    ScannedRequest { index, height, txid: Txid::all_zeros(), vout: 0, request: request.into() }
}

fn settled(applied: &AppliedBatch) -> Vec<(u64, Outcome)> {
    applied.settled.iter().map(|settled| (settled.request.index, settled.outcome)).collect()
}

fn waiting(ledger: &Ledger) -> Vec<u64> {
    ledger.requests().expect("readable").iter().map(|exit| exit.index).collect()
}

#[test]
fn requests_are_served_or_refuted_ahead_of_transactions() {
    let (_folder, path, mut ledger) = funded();
    let exits = [
        exit(0, 60, request(1, 1, 0, 600)),
        exit(1, 60, request(1, 1, 0, 601)),
        exit(2, 61, request(4, 2, 0, 500)),
        exit(3, 61, request(2, 2, 1, 501)),
        exit(4, 62, request(5, 40, 0, 500)),
        exit(5, 62, request(5, 64, 0, 500)),
        exit(6, 101, request(2, 2, 0, 500)),
    ];
    ledger.set_requests(&exits, 1).expect("room");
    // The payer's own transaction has the nonce that the request takes.
    ledger.add_transactions(&[transfer(1, 0, 2, 90), transfer(2, 0, 1, 1)]).expect("room");
    let applied = ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    let refuted = [1, 2, 3, 4, 5].map(|index| (index, Outcome::Refuted));
    assert_eq!(settled(&applied), [&[(0, Outcome::Served)][..], &refuted].concat());
    let shown: Vec<_> = applied.refutations.iter().map(|refutation| refutation.index.get()).collect();
    assert_eq!(shown, [1, 2, 40]);
    assert!(applied.refutations.iter().all(|refutation| refutation.root() == Some(applied.batch.root_before)));
    assert_eq!((applied.batch.applied.len(), applied.batch.rejected.len()), (1, 1));
    // The chain still has them all waiting until the batch is anchored.
    ledger.set_requests(&exits, 1).expect("room");
    let mut ledger = reopen(&path, ledger);
    assert_eq!(waiting(&ledger), [6]);
    let renumbered = ScannedRequest { height: 70, ..exits[0] };
    ledger.set_requests(&[renumbered], 1).expect("room");
    assert_eq!(waiting(&ledger), [0], "another request with the number of one that is settled");
    ledger.set_requests(&exits, 1).expect("room");
    // The one above the reference is due.
    let later = Plan { height_blocks: 101, ..plan() };
    let applied = ledger.apply(&later, depth(2), 0, note).expect("a disk with room");
    assert!(applied.is_batch() && applied.batch.chunks.is_empty(), "it refutes alone");
    assert_eq!((applied.number, applied.batch.root_before), (2, applied.batch.root_after));
    assert_eq!(settled(&applied), [(6, Outcome::Refuted)]);
    assert_eq!(waiting(&ledger), [0; 0]);
    ledger.rewind_to(2).expect("it is kept");
    assert_eq!(waiting(&ledger), [6]);
    ledger.rewind_to(1).expect("it is kept");
    assert_eq!(waiting(&ledger), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(ledger.transactions().expect("readable"), [transfer(2, 0, 1, 1)]);
    let applied = ledger.apply(&later, depth(2), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied).len(), 7, "the last one can be served now");
}

#[test]
fn claims_on_cells_that_are_no_locks_are_refuted_beside_exits() {
    let (_folder, path, mut ledger) = funded();
    let claim = |number: u64, cell: u32| {
        let request = ClaimRequest { cell: index(cell), secret: [7; 32], height_blocks: 60 };
        ScannedRequest { index: number, height: 60, txid: Txid::all_zeros(), vout: 0, request: request.into() }
    };
    let requests = [claim(0, 1), claim(1, 40), exit(2, 61, request(1, 1, 0, 600)), claim(3, 64), claim(4, 2)];
    ledger.set_requests(&requests, 1).expect("room");
    let mut ledger = reopen(&path, ledger);
    assert_eq!(ledger.requests().expect("readable"), requests);
    let applied = ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    let refuted = |index| (index, Outcome::Refuted);
    assert_eq!(settled(&applied), [refuted(0), refuted(1), (2, Outcome::Served), refuted(3), refuted(4)]);
    let shown: Vec<_> = applied.refutations.iter().map(|refutation| refutation.index.get()).collect();
    assert_eq!(shown, [1, 2, 40]);
    let made = MadeBatch { applied, void_deposits: 0, deposits_waiting: 0 };
    let counts =
        [Outcome::Served, Outcome::Refuted].map(|outcome| (made.exit_count(outcome), made.claim_count(outcome)));
    assert_eq!(counts, [(1, 0), (0, 4)]);
    assert_eq!(waiting(&ledger), [0; 0]);
    ledger.rewind_to(1).expect("it is kept");
    assert_eq!(ledger.requests().expect("readable"), requests);
}

#[test]
fn what_a_final_batch_settled_is_forgotten() {
    let (_folder, _, mut ledger) = funded();
    ledger.set_requests(&[exit(0, 60, request(1, 1, 0, 600)), exit(1, 99, request(2, 2, 0, 600))], 1).expect("room");
    let first = Plan { height_blocks: 100, ..plan() };
    let applied = ledger.apply(&first, depth(2), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied), [(0, Outcome::Served), (1, Outcome::Served)]);
    ledger.forget_before(2).expect("a disk with room");
    assert_eq!(waiting(&ledger), [0; 0]);
}

#[test]
fn a_flood_is_refuted_as_far_as_there_is_room() {
    let (_folder, _, mut ledger) = funded();
    // Half of them name one cell, which needs to be shown once.
    let requests = (0..2 * REQUESTS_ENOUGH as u64).map(|i| {
        let from = if i % 2 == 0 { 3 } else { 100 + i as u32 };
        exit(i, 60, request(7, from, i as u32, 500))
    });
    let requests: Vec<_> = requests.chain([exit(500, 60, request(1, 1, 0, 500))]).collect();
    ledger.set_requests(&requests, 1).expect("room");
    ledger.add_transactions(&[transfer(2, 0, 1, 1)]).expect("room");
    let applied = ledger.apply(&plan(), depth(4), 0, note).expect("a disk with room");
    assert_eq!((applied.refutations.len(), applied.batch.applied.len()), (REQUESTS_ENOUGH + 1, 1), "more than it must");
    assert_eq!(settled(&applied).last(), Some(&(500, Outcome::Served)), "the good one is served ahead of its turn");
    assert_eq!(waiting(&ledger), [0; 0]);
}

#[test]
fn an_account_is_served_again_and_again_in_one_batch() {
    let (_folder, _, mut ledger) = funded();
    let exits = (0..6).map(|nonce| exit(nonce, 60, request(1, 1, nonce as u32, 400)));
    ledger.set_requests(&exits.collect::<Vec<_>>(), 1).expect("room");
    let applied = ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    let balance = ledger.state().account(index(1)).expect("it is there").balance;
    assert!(balance < 400, "it pays as long as it can");
    let outcomes: Vec<_> = settled(&applied).iter().map(|(_, outcome)| *outcome).collect();
    let served = outcomes.iter().take_while(|outcome| **outcome == Outcome::Served).count();
    assert!(served > 1 && outcomes[served..].iter().all(|outcome| *outcome == Outcome::Refuted), "{outcomes:?}");
    assert_eq!((outcomes.len(), waiting(&ledger)), (6, Vec::new()), "what is left refutes the others");
}

#[test]
fn too_little_room_for_exits_is_an_error() {
    let (_folder, _, mut ledger) = funded();
    ledger.set_requests(&[exit(0, 60, request(1, 1, 0, 600))], 1).expect("room");
    let no_chunks = Plan { chunks_max: 0, ..plan() };
    let refused = ledger.apply(&no_chunks, depth(2), 0, note);
    assert!(matches!(refused, Err(LedgerError::ExitsDoNotFit { .. })), "{refused:?}");
    assert_eq!(waiting(&ledger), [0]);
}

#[test]
fn a_request_that_takes_the_record_made_for_another_stops_no_batch() {
    let (_folder, _, mut ledger) = funded();
    // The first is signed by a key that is not the cell's, and demands what the owner demands after it.
    let pair = [signed(9, withdraw(1, 1, 0, 600)), signed(1, withdraw(1, 1, 0, 600))];
    let bogus = (0..62).map(|i| request(7, 100 + i, 0, 500));
    let requests: Vec<_> = pair.into_iter().chain(bogus).chain([request(2, 2, 0, 500)]).collect();
    let exits: Vec<_> = (0..).zip(requests).map(|(number, request)| exit(number, 60, request)).collect();
    ledger.set_requests(&exits, 1).expect("room");
    let applied = ledger.apply(&plan(), depth(3), 0, note).expect("a batch can be made");
    assert_eq!(settled(&applied).len(), 65);
    assert_eq!(settled(&applied)[..2], [(0, Outcome::Served), (1, Outcome::Refuted)], "the account has moved on");
    assert_eq!(settled(&applied).last(), Some(&(64, Outcome::Served)));
    assert_eq!(waiting(&ledger), [0; 0]);
}

/// Accounts of the ledger that random queues meet, in a tree of 512 cells.
const OWNERS: u8 = 40;

/// A request on some cell by some key: most of it is bogus or stale, and much of it names what others name.
fn random_request(rng: &mut StdRng, cells: u32) -> ExitRequest {
    let from = match rng.gen_range(0..10) {
        0 => rng.gen_range(u32::from(OWNERS)..520),
        _ => rng.gen_range(0..cells),
    };
    let owner = if rng.gen_bool(0.3) { 250 } else { from.min(250) as u8 };
    signed(owner, withdraw(rng.gen_range(1..3), from, rng.gen_range(0..3), rng.gen_range(400..402)))
}

/// Applies batches until no request waits; gives how many that took.
fn work_off(rng: &mut StdRng, ledger: &mut Ledger, exits: &[ScannedRequest]) -> usize {
    ledger.set_requests(exits, 1).expect("room");
    for batches in 0..exits.len() {
        let waiting = ledger.requests().expect("readable");
        let Some(first) = waiting.first() else { return batches };
        let nonce = |index: CellIndex| ledger.state().account(index).map_or(0, |account| account.nonce);
        // Something that makes a batch, and withdrawals of what is demanded, now or behind what serves a request.
        let mut transactions = vec![transfer(0, nonce(index(0)), 1, 1), transfer(0, nonce(index(0)) + 1, 1, 1)];
        for _ in 0..4 {
            let request = waiting[rng.gen_range(0..waiting.len())].request;
            let request = request.exit().expect("exits alone");
            let (from, record) = (request.from().get(), request.record());
            let Destination::P2wpkh([address, ..]) = record.destination else { continue };
            let nonce = nonce(request.from()) + rng.gen_range(0..2);
            let body = withdraw(address, from, nonce, record.amount);
            transactions.push(Transaction::Withdraw(Signed::sign(body, &key(from.min(250) as u8))));
        }
        ledger.add_transactions(&transactions).expect("room");
        let applied = ledger.apply(&plan(), depth(3), 0, note).unwrap_or_else(|error| panic!("{batches}: {error}"));
        assert_eq!(settled(&applied).first().map(|(index, _)| *index), Some(first.index), "no batch without progress");
    }
    panic!("requests wait for ever");
}

#[test]
fn whatever_waits_a_batch_can_be_made_and_in_the_end_nothing_waits() {
    for (seed, count, cells) in [(1, 1_000, 40), (2, 1_000, 3), (3, 400, 40), (4, 120, 40), (5, 120, 8), (6, 65, 1)] {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut ledger = Ledger::create(&folder.path().join("ledger"), CHAIN, depth(3)).expect("a new file");
        let deposits: Vec<_> = (0..OWNERS).map(|number| scanned(number, 2_000, 50)).collect();
        ledger.set_deposits(0, &deposits).expect("room");
        ledger.apply(&plan(), depth(3), 0, note).expect("a disk with room");
        let mut rng = StdRng::seed_from_u64(seed);
        let exits = (0..count).map(|number| exit(number, 60, random_request(&mut rng, cells)));
        let exits: Vec<_> = exits.collect();
        let batches = work_off(&mut rng, &mut ledger, &exits);
        println!("seed {seed}: {count} requests in {batches} batches");
    }
}
