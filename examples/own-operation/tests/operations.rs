//! Rule and circuit of both operations, side by side.

use taproof_circuits::{
    step::{Limits, Refusal},
    testing::{Trial, assert_operation},
};
use taproof_own_operation::machine;
use taproof_verifier::{
    cell::{Cell, CellIndex, TokenCell, TokenName},
    record::StepRecord,
};

const NONE: Limits = Limits { least: 0, until: 0 };
const SHOP: u32 = 2;

fn step(operation: u8, a: u64, b: u64) -> StepRecord {
    StepRecord { cell: CellIndex::new(Trial::EMPTY).unwrap(), a, b, ..StepRecord::new(operation) }
}

/// Points of a shop, with its rate, its supply and its cap.
fn shop(unit: u64, supply: u64, cap: u64) -> Trial {
    let mut trial = Trial::new(machine());
    let (name, issuer) = (TokenName::new("points").unwrap(), CellIndex::new(SHOP).unwrap());
    trial.put(Trial::EMPTY, Cell::Token(TokenCell { supply, name, cap, issuer, decimals: 0, unit }));
    trial
}

/// A shop that signs.
fn signing() -> Trial {
    let mut trial = Trial::new(machine());
    let pay = StepRecord { cell: CellIndex::new(SHOP).unwrap(), ..StepRecord::new(1) };
    trial.run_guessing(pay, Limits { least: 0, until: u32::MAX }, [(13, vec![u32::MAX.into()])]).unwrap();
    trial
}

#[test]
fn each_relation_is_held_alone() {
    assert_operation(&[signing().example(step(128, 1_000, 250), NONE)], &["POINTS R1, rate"]);
    let relations = ["REWARD R1, terms", "REWARD R2, supply", "REWARD R3, what is owed"];
    assert_operation(&[shop(250, 10, 200).example(step(129, 5_000, 0), NONE)], &relations);
}

#[test]
fn points_are_minted_by_the_rate_for_what_the_shop_is_owed() {
    let after = shop(250, 10, 1_000).run(step(129, 5_039, 0), NONE).unwrap().registers;
    assert_eq!((after.lanes[0].token.0, after.lanes[0].value), (Trial::EMPTY, 125));
    assert_eq!(after.dues[0].map(|due| (due.account.get(), due.token.0, due.amount)), Some((SHOP, 0, 5_039)));
    let refused = |mut trial: Trial, record| trial.run(record, NONE).unwrap_err();
    assert_eq!(refused(shop(250, 10, 134), step(129, 5_000, 0)), Refusal::Cap { supply: 135, cap: 134 });
    assert_eq!(refused(shop(250, 10, 999), step(129, 0, 0)), Refusal::Zero("what is owed"));
    assert!(matches!(refused(shop(u64::MAX, 0, u64::MAX), step(129, 20_000, 0)), Refusal::Overflow { .. }));
    assert_eq!(refused(signing(), step(128, 9, 0)), Refusal::Zero("the rate"));
}
