//! Batches that payloads hold, and who gets the room where it is short.

use super::*;
use bitcoin::{Txid, hashes::Hash};
use taproof_circuits::{
    state::{Admission, AdmissionError, ExitsLeftOutError, TransitionError},
    transaction::{Open, Withdraw},
};
use taproof_verifier::{
    exit::ScannedRequest,
    follow::deposits_enough,
    payload::{PAYLOAD_LENGTH_MAX, PayloadError, SLOTS_MAX, encoded_length},
    record::Destination,
};

fn slots(deposit: u16, transfer: u16, withdraw: u16) -> Slots {
    let [deposit, transfer, withdraw] =
        [deposit, transfer, withdraw].map(|slots| NonZeroU16::new(slots).expect("not zero"));
    Slots {
        deposit: deposit.into(),
        transfer: transfer.into(),
        open: transfer.into(),
        withdraw: withdraw.into(),
        step: None,
    }
}

fn withdraw(number: u8, nonce: u32, amount: u64, fee: u64, program: [u8; 32]) -> Transaction {
    let (token, from, destination) = (Token::BITCOIN, index(number.into()), Destination::P2tr(program));
    let body = Withdraw { chain_id: CHAIN, token, from, nonce, amount, fee, destination };
    Transaction::Withdraw(Signed::sign(body, &key(number)))
}

/// A transfer of 1 to account 2.
fn pays(number: u8, nonce: u32, fee: u64) -> Transaction {
    let (from, to) = (index(number.into()), index(2));
    let body = Transfer { chain_id: CHAIN, token: Token::BITCOIN, from, nonce, to, amount: 1, fee };
    Transaction::Transfer(Signed::sign(body, &key(number)))
}

/// A first transfer to account 0.
fn transfer_of(number: u8, amount: u64, fee: u64) -> Transaction {
    let (from, to) = (index(number.into()), index(0));
    let body = Transfer { chain_id: CHAIN, token: Token::BITCOIN, from, nonce: 0, to, amount, fee };
    Transaction::Transfer(Signed::sign(body, &key(number)))
}

/// An opening of one of the cells from 10 on.
fn open(number: u8, nonce: u32, fee: u64) -> Transaction {
    let (token, from, owner) = (Token::BITCOIN, index(number.into()), *key(9).public());
    let body = Open { chain_id: CHAIN, token, from, nonce, to: index(10 + nonce), amount: 1, fee, owner };
    Transaction::Open(Signed::sign(body, &key(number)))
}

/// A request to pay 331 satoshi, of which 1 is the fee.
fn exit(number: u8, nonce: u32) -> ScannedRequest {
    let (token, destination) = (Token::BITCOIN, Destination::P2tr([number; 32]));
    let body = Withdraw { chain_id: CHAIN, token, from: index(number.into()), nonce, amount: 330, fee: 1, destination };
    let request = Signed::sign(body, &key(number)).demand(*key(number).public()).expect("bitcoin");
    ScannedRequest { index: number.into(), height: 60, txid: Txid::all_zeros(), vout: 0, request: request.into() }
}

fn length(applied: &AppliedBatch) -> Result<usize, PayloadError> {
    let posted = applied.batch.chunks.iter().map(|chunk| (chunk.statement.circuit.slots, chunk.records()));
    encoded_length(&posted.collect::<Vec<_>>(), &applied.refutations)
}

/// Whether each of these transactions, of which no two are the same, is in the batch.
fn are_in(applied: &AppliedBatch, transactions: &[Transaction]) -> Vec<bool> {
    let is_in = |transaction: &Transaction| {
        applied.batch.applied.iter().any(|position| applied.transactions[*position] == *transaction)
    };
    transactions.iter().map(is_in).collect()
}

fn apply(ledger: &mut Ledger, plan: &Plan) -> AppliedBatch {
    let depth = ledger.state().depth();
    ledger.apply(plan, depth, 0, note).expect("a disk with room")
}

#[test]
fn withdrawals_that_fill_more_than_a_payload_wait_for_the_next() {
    let (_folder, _path, mut ledger) = funded();
    let mut rng = StdRng::seed_from_u64(1);
    // Destinations that nothing compresses. One a chunk takes some 220 bytes, and chunks and slots have room for all.
    let count = 2_200;
    let mut transactions: Vec<_> = (0..count).map(|nonce| withdraw(1, nonce, 0, 0, rng.r#gen())).collect();
    let payer = withdraw(2, 0, 330, 5, [7; 32]);
    transactions.push(payer.clone());
    ledger.add_transactions(&transactions).expect("room");
    let plan = Plan { slots: slots(1, 1, 1), chunks_max: 3_000, ..plan() };
    let applied = apply(&mut ledger, &plan);
    let length_first = length(&applied).expect("a payload holds it");
    assert!(length_first > PAYLOAD_LENGTH_MAX * 8 / 10, "{length_first} bytes: the room is used");
    assert_eq!(are_in(&applied, &[payer]), [true], "it came last and pays most");
    let done = applied.batch.applied.len();
    assert_eq!((applied.batch.left_over.len(), applied.batch.rejected.len()), (transactions.len() - done, 0));
    let applied = apply(&mut ledger, &plan);
    assert!(length(&applied).is_ok());
    assert_eq!(applied.batch.applied.len(), transactions.len() - done, "all others");
}

#[test]
fn no_batch_has_more_slots_than_a_payload() {
    let (_folder, _path, mut ledger) = funded();
    // Two chunks of three are as many slots as a payload may have.
    let plan = Plan { slots: slots(2, u16::MAX, u16::MAX), ..plan() };
    assert_eq!(SLOTS_MAX / usize::from(u16::MAX), 2);
    let transactions = [open(0, 0, 1), pays(1, 0, 2), withdraw(2, 0, 330, 3, [1; 32])];
    ledger.add_transactions(&transactions).expect("room");
    let applied = apply(&mut ledger, &plan);
    assert!(length(&applied).is_ok());
    assert_eq!(are_in(&applied, &transactions), [false, true, true]);
    let applied = apply(&mut ledger, &plan);
    assert_eq!(are_in(&applied, &transactions), [true, false, false]);
    // Exits that each need a chunk of their own are more than such circuits can do; no setup makes them.
    let exits: Vec<_> = [(0, 1), (1, 1), (2, 1)].map(|(number, nonce)| exit(number, nonce)).into();
    ledger.set_requests(&exits, 3).expect("room");
    let root = ledger.state().root();
    let refused = ledger.apply(&Plan { operators: BTreeMap::new(), ..plan }, depth(2), 0, note);
    assert!(matches!(refused, Err(LedgerError::ExitsDoNotFit { why: ExitsLeftOutError::ChunksMax })), "{refused:?}");
    assert_eq!(ledger.state().root(), root);
}

#[test]
fn deposits_beyond_what_is_asked_for_wait_for_the_next_batch() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut ledger = Ledger::create(&folder.path().join("ledger"), CHAIN, depth(5)).expect("a new file");
    // Owners whom nothing compresses, as many as 256 chunks hold: too much for a payload.
    let count = 256 * 36;
    let mut rng = StdRng::seed_from_u64(2);
    let deposits = (0..count).map(|_| {
        let owner = *SecretKey::from_seed(&rng.r#gen()).public();
        WaitingDeposit { deposit: Deposit { amount_sat: rng.r#gen::<u64>() >> 13, owner }, height_blocks: 50 }
    });
    ledger.set_deposits(0, &deposits.collect::<Vec<_>>()).expect("room");
    let plan = Plan { slots: slots(36, 2, 2), operators: BTreeMap::new(), chunks_max: 256, ..plan() };
    let enough = deposits_enough(36);
    for left in [count - enough, count - 2 * enough, 0] {
        let applied = apply(&mut ledger, &plan);
        assert!(length(&applied).is_ok());
        assert_eq!(ledger.deposits().expect("readable").len(), left);
    }
}

#[test]
fn those_that_pay_most_go_first_whatever_is_in_front_of_them() {
    let (_folder, _path, mut ledger) = funded();
    ledger.add_transactions(&[pays(2, 0, 1)]).expect("room");
    apply(&mut ledger, &plan());
    // Openings come first by kind, and these transfers by time.
    let cheap: Vec<_> = (0..6).map(|nonce| pays(1, nonce, 1)).collect();
    let opens = [open(0, 0, 2), open(0, 1, 2), open(0, 2, 2)];
    let dear = [withdraw(2, 1, 330, 50, [1; 32]), withdraw(2, 2, 330, 60, [2; 32])];
    ledger.add_transactions(&[&cheap[..], &opens, &[dear[1].clone(), dear[0].clone()]].concat()).expect("room");
    // Nobody lowers another's rank by a stale nonce, or takes room by offering what he does not have.
    let stale = withdraw(2, 0, 330, 0, [9; 32]);
    let poor: Vec<_> = (0..40).map(|amount| transfer_of(1, amount, 9_000)).collect();
    ledger.add_transactions(&[&[stale][..], &poor].concat()).expect("room");
    let applied = apply(&mut ledger, &Plan { chunks_max: 2, ..plan() });
    assert_eq!((are_in(&applied, &dear), applied.batch.chunks.len()), (vec![true; 2], 2));
    assert_eq!(are_in(&applied, &opens), [true, true, false], "what pays most of the rest");
    let applied = apply(&mut ledger, &Plan { chunks_max: 1, ..plan() });
    assert_eq!(are_in(&applied, &opens), [false, false, true]);
    // What came first goes first of what pays alike.
    let applied = apply(&mut ledger, &Plan { chunks_max: 1, ..plan() });
    assert_eq!(are_in(&applied, &cheap), [true, true, false, false, false, false]);
    // Once there is room for all, what cannot be applied is rejected.
    let applied = apply(&mut ledger, &plan());
    assert_eq!(are_in(&applied, &cheap[2..]), [true; 4]);
    assert_eq!(ledger.transactions().expect("readable"), []);
}

#[test]
fn a_later_nonce_ranks_no_higher_than_an_earlier_one() {
    let (_folder, _path, mut ledger) = funded();
    // Account 1 pays 1 and then 500, in the other order; account 2 pays 20 and then 3.
    let transactions = [pays(1, 1, 500), pays(1, 0, 1), pays(2, 1, 3), pays(2, 0, 20), pays(2, 0, 2)];
    ledger.add_transactions(&transactions).expect("room");
    let one = Plan { chunks_max: 1, ..plan() };
    let applied = apply(&mut ledger, &one);
    assert_eq!(are_in(&applied, &transactions), [false, false, true, true, false], "of two with one nonce the dearer");
    let applied = apply(&mut ledger, &one);
    assert_eq!(are_in(&applied, &transactions), [true, true, false, false, false]);
}

#[test]
fn small_fees_and_dust_are_refused_and_do_not_wait() {
    let (_folder, path, mut ledger) = funded();
    let admission = Admission { fee_min_sat: 2, refuses_dust: true, opening_min_sat: 0 };
    let transactions = [pays(1, 0, 1), pays(2, 0, 2), withdraw(0, 0, 329, 2, [1; 32]), withdraw(0, 0, 330, 2, [1; 32])];
    ledger.add_transactions(&transactions).expect("room");
    let applied = apply(&mut ledger, &Plan { admission, ..plan() });
    let reasons: Vec<_> = applied.batch.rejected.iter().map(|rejected| (rejected.position, rejected.reason)).collect();
    let fee = AdmissionError::Fee { fee_sat: 1, min_sat: 2 };
    let payout = AdmissionError::Payout { amount_sat: 329, min_sat: 330 };
    assert_eq!(reasons, [(0, TransitionError::Admission(fee)), (2, TransitionError::Admission(payout))]);
    assert_eq!(are_in(&applied, &transactions), [false, true, false, true]);
    assert_eq!(reopen(&path, ledger).transactions().expect("readable"), []);
    // They do not wait where room is short, either.
    let (_folder, _path, mut ledger) = funded();
    ledger.add_transactions(&transactions).expect("room");
    let applied = apply(&mut ledger, &Plan { admission, chunks_max: 1, ..plan() });
    assert_eq!((applied.batch.applied.len(), applied.batch.rejected.len(), applied.batch.left_over.len()), (1, 2, 1));
}
