use super::Mint;
use crate::{
    ops::Pay,
    step::{Limits, Refusal},
    testing::{
        operations::{Example, TOKEN, assert_operation, state},
        steps::{HEIGHT, Steps, record},
    },
};
use taproof_verifier::{
    cell::{Cell, CellIndex, Token, TokenCell},
    record::StepRecord,
};

fn begun(signer: u32) -> Steps {
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, signer, 0), Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn mint(flags: u8, a: u64) -> StepRecord {
    StepRecord { a, ..record(Mint::NUMBER, TOKEN, flags) }
}

fn token(steps: &Steps) -> TokenCell {
    match steps.state.cell(TOKEN) {
        Cell::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let examples =
        [Example::after(begun(1), mint(0, 5), none), Example::after(begun(1), mint(Mint::RENOUNCE, 60_000_000), none)];
    let relations = ["MINT R1, issuer", "MINT R2, supply", "MINT R3, unit", "MINT R4, terms before"];
    assert_operation(&examples, &relations);
}

#[test]
fn the_issuer_alone_mints_up_to_the_cap_until_he_renounces() {
    let steps = begun(1);
    let refused = |steps: &Steps, record: StepRecord| {
        steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    let (supply, cap) = (100_000_001, 100_000_000);
    assert_eq!(refused(&steps, mint(0, 60_000_001)), Err(Refusal::Cap { supply, cap }));
    let overflow = Err(Refusal::Overflow { what: "the supply", width_bits: 64 });
    assert_eq!(refused(&steps, mint(0, u64::MAX)), overflow);
    assert_eq!(refused(&begun(2), mint(0, 1)), Err(Refusal::NotTheIssuer));
    // Account 7 has the issuer's key, and is another account.
    assert_eq!(refused(&begun(7), mint(0, 1)), Err(Refusal::NotTheIssuer));
    let applied = steps.apply(&mint(Mint::RENOUNCE, 5), Limits::default()).expect("the issuer");
    let lane = applied.registers.lanes[0];
    assert_eq!((lane.token, lane.value), (Token(TOKEN), 5), "what is minted is in motion");
    let mut renounced = begun(1);
    renounced.state.set(TOKEN, applied.cell);
    assert_eq!(token(&renounced).issuer, CellIndex::default());
    assert_eq!(refused(&renounced, mint(0, 0)), Err(Refusal::NotTheIssuer), "trap 58: nobody is no issuer");
    let mut backed = begun(1);
    let with_unit = TokenCell { unit: 1, ..token(&backed) };
    backed.state.set(TOKEN, Cell::Token(with_unit));
    assert_eq!(refused(&backed, mint(0, 1)), Err(Refusal::Unit));
}
