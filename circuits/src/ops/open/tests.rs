use super::Open;
use crate::{
    ops::Pay,
    step::{Limits, Refusal, flag},
    testing::{
        operations::{EMPTY, Example, TOKEN, assert_operation, state},
        state::secret,
        steps::{HEIGHT, Steps, record},
    },
};
use ark_bn254::Fr;
use taproof_verifier::{
    cell::{Account, Cell, Token},
    record::StepRecord,
};

fn paid(flags: u8) -> Steps {
    let mut steps = Steps::on(state());
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flags) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn open(flags: u8, a: u64, token: u32) -> StepRecord {
    StepRecord { a, c: token.into(), word: secret(9).public().x(), ..record(Open::NUMBER, EMPTY, flags) }
}

#[test]
fn each_relation_is_held_alone() {
    let examples = [
        Example::after(paid(0), open(0, 300, 0), Limits { least: 300, until: 0 }),
        Example::after(paid(flag::SECOND), open(Open::REST, 0, TOKEN), Limits { least: 0, until: 0 }),
    ];
    let relations = ["OPEN R1, token", "OPEN R2, amount", "OPEN R3, owner's key", "OPEN R5, least"];
    assert_operation(&examples, &relations);
}

#[test]
fn the_account_is_new_and_its_owners() {
    let steps = paid(0);
    let applied = steps.apply(&open(0, 300, 0), Limits::default()).expect("an empty cell");
    assert_eq!(applied.cell, Cell::Account(Account::new(*secret(9).public(), Token::BITCOIN, 300)));
    let refused = |record: StepRecord| steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal);
    assert!(matches!(refused(StepRecord { word: Fr::from(1u64), ..open(0, 1, 0) }), Err(Refusal::Key(_))));
    assert!(matches!(refused(StepRecord { word: Fr::from(0u64), ..open(0, 1, 0) }), Err(Refusal::Key(_))));
    let wide = StepRecord { c: 1 << 32, ..open(0, 1, 0) };
    assert_eq!(refused(wide), Err(Refusal::Overflow { what: "the token", width_bits: 32 }));
    assert_eq!(refused(open(Open::REST, 1, 0)), Err(Refusal::NotZero("the amount")));
    let squatted = StepRecord { cell: crate::testing::state::index(2), ..open(0, 1, 0) };
    assert_eq!(refused(squatted), Err(Refusal::WrongCell { expected: 0, found: 1 }));
}
