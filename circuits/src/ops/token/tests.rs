use super::Token;
use crate::{
    ops::Pay,
    step::{Limits, Refusal},
    testing::{
        operations::{EMPTY, Example, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
    },
};
use ark_bn254::Fr;
use ark_ff::Field;
use taproof_verifier::{
    cell::{Cell, TokenCell, TokenName},
    record::StepRecord,
};

fn begun() -> Steps {
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, 2, 0), Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn token(a: u64, b: u64, c: u64, word: Fr) -> StepRecord {
    StepRecord { a, b, c, word, ..record(Token::NUMBER, EMPTY, 0) }
}

fn name(text: &str) -> Fr {
    TokenName::new(text).expect("a name").element()
}

#[test]
fn each_relation_is_held_alone() {
    let full = TokenName::from_byte_array([0xff; 31]).element();
    let examples = [
        Example::after(begun(), token(1_000, 0, 18, name("silver")), Limits::default()),
        Example::after(begun(), token(u64::MAX, 0, 0, full), Limits::default()),
    ];
    assert_operation(&examples, &["TOKEN R1, decimal places", "TOKEN R2, unit", "TOKEN R3, name"]);
}

#[test]
fn the_signer_issues_it_and_nothing_exists_yet() {
    let steps = begun();
    let applied = steps.apply(&token(1_000, 0, 2, name("silver")), Limits::default()).expect("an empty cell");
    let silver = TokenName::new("silver").expect("a name");
    let made = TokenCell { supply: 0, name: silver, cap: 1_000, issuer: index(2), decimals: 2, unit: 0 };
    assert_eq!(applied.cell, Cell::Token(made));
    let refused = |record: StepRecord| steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal);
    assert_eq!(refused(token(1, 1, 0, name("x"))), Err(Refusal::Unit));
    assert_eq!(refused(token(1, 0, 19, name("x"))), Err(Refusal::Decimals(19)));
    assert_eq!(refused(token(1, 0, 1 << 40, name("x"))), Err(Refusal::Decimals(1 << 40)));
    assert_eq!(refused(token(1, 0, 0, Fr::from(2u64).pow([248]))), Err(Refusal::Name));
    let unsigned = Steps::on(state()).apply(&token(1, 0, 0, name("x")), Limits::default()).expect_err("nobody signs");
    assert_eq!(unsigned.refusal, Refusal::NoSigner, "trap 58: no token is nobody's");
}
