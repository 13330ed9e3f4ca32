//! Chunks of every kind: what is legal, what padding may not do, and what the chunk's own relations refuse.

use super::{assign, shape, witness::SlotWitnesses};
use crate::testing::{assert_conformance, state::State};
use taproof_verifier::{cell::Token, record::Destination};

#[test]
fn transfers_fill_a_chunk_in_part() {
    let mut state = State::new(2, Token(3), 6);
    let root = state.root();
    let slots = vec![state.transfer(1, 2, 500, 3), state.transfer(2, 2, 7, 1)];
    let chunk = state.chunk(root, 4, SlotWitnesses::Transfer(slots));
    let assignment = assign(&chunk).expect("valid transfers");
    assert_conformance(&shape(chunk.statement.circuit).expect("a circuit"), &assignment);
}

#[test]
fn deposits_fill_a_chunk_in_part() {
    let mut state = State::new(2, Token::BITCOIN, 6);
    let root = state.root();
    let slots = vec![state.deposit(1, 500, 1), state.deposit(9, 7, 9), state.deposit(9, 0, 9)];
    let chunk = state.chunk(root, 4, SlotWitnesses::Deposit(slots));
    let assignment = assign(&chunk).expect("valid deposits");
    assert_conformance(&shape(chunk.statement.circuit).expect("a circuit"), &assignment);
}

#[test]
fn openings_fill_a_chunk_in_part() {
    let mut state = State::new(2, Token(3), 6);
    let root = state.root();
    let slots = vec![state.open(1, 9, [500, 3], 9), state.open(9, 10, [499, 0], 1), state.open(2, 11, [0, 1], 2)];
    let chunk = state.chunk(root, 4, SlotWitnesses::Open(slots));
    let assignment = assign(&chunk).expect("valid openings");
    assert_conformance(&shape(chunk.statement.circuit).expect("a circuit"), &assignment);
}

#[test]
fn withdrawals_fill_a_chunk_in_part() {
    let mut state = State::new(2, Token::BITCOIN, 6);
    let root = state.root();
    let destinations = [Destination::P2wpkh([1; 20]), Destination::P2wsh([2; 32]), Destination::P2tr([0xff; 32])];
    let slots = (1..).zip(destinations).map(|(from, to)| state.withdraw(from, [500, 3], to)).collect();
    let chunk = state.chunk(root, 4, SlotWitnesses::Withdraw(slots));
    let assignment = assign(&chunk).expect("valid withdrawals");
    assert_conformance(&shape(chunk.statement.circuit).expect("a circuit"), &assignment);
}
