//! Chunks of every kind: what is legal, what padding may not do, and what the chunk's own relations refuse.

use super::{assign, shape, witness::SlotWitnesses};
use crate::testing::{assert_conformance, state::State};
use taproof_verifier::cell::Token;

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
