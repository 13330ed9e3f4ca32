//! Exit requests in the ledger.

use super::*;
use bitcoin::{Txid, hashes::Hash};
use taproof_circuits::transaction::Withdraw;
use taproof_verifier::{
    exit::{EXITS_ENOUGH, ExitRequest, Outcome, ScannedExit},
    record::Destination,
};

/// A request by the owner of a number to pay from a cell.
fn request(number: u8, from: u32, nonce: u32, amount: u64) -> ExitRequest {
    let (token, from, destination) = (Token::BITCOIN, index(from), Destination::P2wpkh([number; 20]));
    let body = Withdraw { chain_id: CHAIN, token, from, nonce, amount, fee: 0, destination };
    Signed::sign(body, &key(number)).demand(*key(number).public()).expect("bitcoin")
}

fn exit(index: u64, height: u32, request: ExitRequest) -> ScannedExit {
    ScannedExit { index, height, txid: Txid::all_zeros(), vout: 0, request }
}

fn settled(applied: &AppliedBatch) -> Vec<(u64, Outcome)> {
    applied.settled.iter().map(|settled| (settled.exit.index, settled.outcome)).collect()
}

fn waiting(ledger: &Ledger) -> Vec<u64> {
    ledger.exits().expect("readable").iter().map(|exit| exit.index).collect()
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
    ledger.set_exits(&exits).expect("room");
    // The payer's own transaction has the nonce that the request takes.
    ledger.add_transactions(&[transfer(1, 0, 2, 90), transfer(2, 0, 1, 1)]).expect("room");
    let applied = ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    let refuted = [2, 3, 4, 5].map(|index| (index, Outcome::Refuted));
    assert_eq!(settled(&applied), [&[(0, Outcome::Served)][..], &refuted].concat());
    let shown: Vec<_> = applied.refutations.iter().map(|refutation| refutation.index.get()).collect();
    assert_eq!(shown, [2, 40]);
    assert!(applied.refutations.iter().all(|refutation| refutation.root() == Some(applied.batch.root_before)));
    assert_eq!((applied.batch.applied.len(), applied.batch.rejected.len()), (1, 1));
    // The chain still has them all waiting until the batch is anchored.
    ledger.set_exits(&exits).expect("room");
    let mut ledger = reopen(&path, ledger);
    assert_eq!(waiting(&ledger), [1, 6]);
    let renumbered = ScannedExit { height: 70, ..exits[0] };
    ledger.set_exits(&[renumbered]).expect("room");
    assert_eq!(waiting(&ledger), [0], "another request with the number of one that is settled");
    ledger.set_exits(&exits).expect("room");
    // The rival is stale by now, and the one above the reference is due.
    let later = Plan { height_blocks: 101, ..plan() };
    let applied = ledger.apply(&later, depth(2), 0, note);
    assert!(applied.expect("a disk with room").batch.chunks.is_empty(), "no chunk, so no batch: nothing is settled");
    assert_eq!(waiting(&ledger), [1, 6]);
    ledger.add_transactions(&[transfer(0, 0, 1, 1)]).expect("room");
    let applied = ledger.apply(&later, depth(2), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied), [(1, Outcome::Refuted), (6, Outcome::Refuted)]);
    assert_eq!(waiting(&ledger), [0; 0]);
    ledger.rewind_to(2).expect("it is kept");
    assert_eq!(waiting(&ledger), [1, 6]);
    ledger.rewind_to(1).expect("it is kept");
    assert_eq!(waiting(&ledger), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(ledger.transactions().expect("readable"), [transfer(2, 0, 1, 1), transfer(0, 0, 1, 1)]);
    let applied = ledger.apply(&later, depth(2), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied).len(), 6, "the last one can be served now");
}

#[test]
fn what_a_final_batch_settled_is_forgotten() {
    let (_folder, _, mut ledger) = funded();
    ledger.set_exits(&[exit(0, 60, request(1, 1, 0, 600)), exit(1, 99, request(2, 2, 0, 600))]).expect("room");
    let first = Plan { height_blocks: 100, ..plan() };
    let applied = ledger.apply(&first, depth(2), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied), [(0, Outcome::Served), (1, Outcome::Served)]);
    ledger.forget_before(2).expect("a disk with room");
    assert_eq!(waiting(&ledger), [0; 0]);
}

#[test]
fn a_flood_is_worked_off_in_many_batches() {
    let (_folder, _, mut ledger) = funded();
    // Half of them name one cell, which needs to be shown once.
    let requests = (0..2 * EXITS_ENOUGH as u64).map(|i| {
        let from = if i % 2 == 0 { 3 } else { 100 + i as u32 };
        exit(i, 60, request(7, from, i as u32, 500))
    });
    let requests: Vec<_> = requests.chain([exit(500, 60, request(1, 1, 0, 500))]).collect();
    ledger.set_exits(&requests).expect("room");
    ledger.add_transactions(&[transfer(1, 0, 2, 90)]).expect("room");
    let applied = ledger.apply(&plan(), depth(4), 0, note).expect("a disk with room");
    assert_eq!((applied.refutations.len(), applied.batch.applied.len()), (EXITS_ENOUGH, 1));
    let left = waiting(&ledger);
    assert_eq!(left.last(), Some(&500), "the good one was not reached, and the payer moved on");
    ledger.add_transactions(&[transfer(2, 0, 1, 1)]).expect("room");
    let applied = ledger.apply(&plan(), depth(4), 0, note).expect("a disk with room");
    assert_eq!(settled(&applied).last(), Some(&(500, Outcome::Refuted)));
    assert_eq!(waiting(&ledger), [0; 0]);
}

#[test]
fn too_little_room_for_exits_is_an_error() {
    let (_folder, _, mut ledger) = funded();
    ledger.set_exits(&[exit(0, 60, request(1, 1, 0, 600))]).expect("room");
    let no_chunks = Plan { chunks_max: 0, ..plan() };
    let refused = ledger.apply(&no_chunks, depth(2), 0, note);
    assert!(matches!(refused, Err(LedgerError::ExitsDoNotFit { .. })), "{refused:?}");
    assert_eq!(waiting(&ledger), [0]);
}
