//! The machine: what the operations share.

use super::{Limits, flag};
use crate::{
    ops::{Pay, Receive},
    testing::{
        assert_chunk_sound, assert_padding_holds, assert_padding_is_inert,
        state::State,
        steps::{Steps, record},
    },
};
use taproof_verifier::{cell::Token, record::StepRecord};

#[test]
fn a_transfer_of_two_steps_is_sound() {
    let mut steps = Steps::on(State::new(3, Token::BITCOIN, 6));
    let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, flag::END) };
    steps.run_within(pay, Limits { least: 0, until: u32::MAX }).expect("it can pay");
    steps.run(record(Receive::NUMBER, 2, flag::DONE | Receive::REST)).expect("it can receive");
    assert!(steps.registers.are_zero());
    let chunk = steps.chunk(3);
    assert_chunk_sound(&chunk);
    assert_padding_is_inert(&steps.slot(), &chunk);
    let holders = ["S1 or S9, record", "S2 or S9, state after", "S5 or S9, sum of fees"];
    assert_padding_holds(&steps.slot(), &chunk, holders);
}
