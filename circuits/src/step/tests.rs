//! The machine: what all operations share.

mod clauses;
mod conservation;
mod programs;
mod relations;

use super::{Limits, flag};
use crate::{
    ops::{Pay, Receive},
    testing::{
        Lie, assert_chunk_sound, assert_padding_holds, assert_padding_is_inert,
        state::State,
        steps::{HEIGHT, Steps, record},
        violated_by_lies,
    },
};
use ark_bn254::Fr;
use taproof_verifier::{cell::Token, record::StepRecord};

/// Two steps in a chunk of three slots, within a transaction or to its end.
fn transfer(last: u8) -> Steps {
    let mut steps = Steps::on(State::new(3, Token::BITCOIN, 6));
    let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, flag::END) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps.run(record(Receive::NUMBER, 2, last)).expect("it can receive");
    steps
}

#[test]
fn chunks_with_padding_hold_every_wire() {
    for last in [flag::DONE | Receive::REST, 0] {
        let mut steps = transfer(last);
        assert_eq!(steps.registers.are_zero(), last != 0);
        let chunk = steps.chunk(3);
        assert_chunk_sound(&chunk);
        assert_padding_is_inert(&steps.slot(), &chunk);
        // Trap 7: what is in motion when padding begins is in motion when it ends.
        let holders = ["S1 or S9, record", "S2 or S9, state after", "S5 or S9, sum of fees"];
        assert_padding_holds(&steps.slot(), &chunk, holders);
        let first = steps.witness_of(&chunk, 0);
        let lie = Lie::At { relation: "S1, active bit", wire: 0, forged: Fr::from(2u64) };
        let violated = violated_by_lies(&steps.slot(), &chunk, true, &first, &[lie]);
        assert!(violated.contains("S1, active bit"), "{violated:?}");
    }
}
