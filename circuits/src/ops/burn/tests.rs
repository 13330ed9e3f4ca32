use super::Burn;
use crate::{
    step::{Limits, Refusal},
    testing::operations::{Example, TOKEN, assert_operation, state},
    testing::steps::{Steps, record},
};
use taproof_verifier::{cell::Token, record::StepRecord};

fn burn(a: u64) -> StepRecord {
    StepRecord { a, ..record(Burn::NUMBER, TOKEN, 0) }
}

#[test]
fn each_relation_is_held_alone() {
    let examples = [
        Example::after(Steps::on(state()), burn(40_000_000), Limits::default()),
        Example::after(Steps::on(state()), burn(7), Limits::default()),
    ];
    assert_operation(&examples, &["BURN R1, supply", "BURN R2, unit"]);
}

#[test]
fn what_is_burnt_somebody_gave() {
    let steps = Steps::on(state());
    let applied = steps.apply(&burn(7), Limits::default()).expect("there is so much");
    let lane = applied.registers.lanes[0];
    assert_eq!((lane.token, lane.value), (Token(TOKEN), -7), "it is missing until an account gives it");
    let refusal = steps.apply(&burn(40_000_001), Limits::default()).expect_err("more than there is");
    let expected = Refusal::Insufficient { token: Token(TOKEN), balance: 40_000_000, needed: 40_000_001 };
    assert_eq!(refusal.refusal, expected);
}
