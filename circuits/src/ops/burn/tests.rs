use super::Burn;
use crate::{
    ops::Pay,
    step::{Guesses, Lane, Limits, Refusal, flag},
    testing::{
        operations::{Example, TOKEN, assert_all_sound, assert_operation, state},
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Cell, CellIndex, Token, TokenCell},
    record::StepRecord,
};

/// A state with another token.
fn with(change: impl FnOnce(&mut TokenCell)) -> Steps {
    let mut steps = Steps::on(state());
    let mut cell = token(&steps);
    change(&mut cell);
    steps.put(TOKEN, Cell::Token(cell));
    steps
}

fn token(steps: &Steps) -> TokenCell {
    match steps.state.cell(TOKEN) {
        Cell::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

fn burn(flags: u8, a: u64) -> StepRecord {
    StepRecord { a, ..record(Burn::NUMBER, TOKEN, flags) }
}

/// What rule and circuit say of a step: the token after it.
fn burnt(steps: &mut Steps, record: StepRecord) -> Result<TokenCell, Refusal> {
    let applied = assert_twins(steps, record, Limits::default(), &Guesses::new());
    applied.map(|_| token(steps)).map_err(|error| error.refusal)
}

#[test]
fn each_relation_is_held_alone() {
    let examples = [
        Example::after(Steps::on(state()), burn(0, 40_000_000), Limits::default()),
        Example::after(Steps::on(state()), burn(0, 7), Limits::default()),
    ];
    assert_operation(&examples, &["BURN R1, supply", "BURN R2, unit"]);
}

#[test]
fn every_combination_of_flags_is_sound() {
    let mut steps = Steps::on(state());
    let until = Limits { least: 0, until: HEIGHT };
    for (last, flags) in [(0, flag::END | flag::DONE), (flag::END, flag::DONE)] {
        let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flag::SECOND | last) };
        steps.run_within(pay, until).expect("it has so much");
        steps.run(burn(0, 200)).expect("there is so much");
        steps.run(burn(flags, 300)).expect("there is so much");
        assert!(steps.registers.are_zero());
    }
    assert_eq!(token(&steps).supply, 39_999_000);
    assert_all_sound(&mut steps);
}

/// Anyone can burn, in his clause or outside, what is in motion: what nobody gave is missing until an account gives it,
/// and the transaction does not end before.
#[test]
fn what_is_burnt_somebody_gave() {
    let mut steps = Steps::on(state());
    let open = Refusal::LaneOpen { token: Token(TOKEN), value: (-7).into() };
    assert_eq!(burnt(&mut steps, burn(flag::DONE, 7)), Err(open));
    burnt(&mut steps, burn(0, 7)).expect("there is so much");
    assert_eq!(steps.registers.lanes[0], Lane { token: Token(TOKEN), value: -7 });
    assert_eq!(burnt(&mut steps, burn(flag::DONE, 0)), Err(open));
    let pay = StepRecord { a: 7, ..record(Pay::NUMBER, 2, flag::SECOND | flag::END | flag::DONE | Pay::JOINT) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it gives what was burnt");
    assert!(steps.registers.are_zero());
}

#[test]
fn no_more_is_burnt_than_there_is() {
    let most = u64::MAX;
    for (supply, amount) in [(0, 0), (1, 0), (1, 1), (most, most), (most, 1)] {
        let after = burnt(&mut with(|token| token.supply = supply), burn(0, amount)).expect("there is so much");
        assert_eq!(after.supply, supply - amount);
    }
    for (balance, needed) in [(0, 1), (1, 2), (0, most), (most - 1, most)] {
        let refused = Refusal::Insufficient { token: Token(TOKEN), balance, needed };
        assert_eq!(burnt(&mut with(|token| token.supply = balance), burn(0, needed)), Err(refused));
    }
    for unit in [1, most] {
        assert_eq!(burnt(&mut with(|token| token.unit = unit), burn(0, 0)), Err(Refusal::Unit));
    }
    let renounced = |token: &mut TokenCell| (token.issuer, token.cap) = (CellIndex::default(), 0);
    assert!(burnt(&mut with(renounced), burn(0, 1)).is_ok(), "nobody's token, beyond its cap, can be burnt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on what is burnt of any token, in a clause or outside, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        lanes in any_lanes(), clause in any_clause(), flags in any_flags(0), supply in any_below(64),
        amount in any_below(64), off in -1i128..2, near: bool, unit in prop_oneof![9 => Just(0), 1 => any_below(64)],
    ) {
        let mut steps = with(|token| (token.supply, token.unit) = (supply as u64, unit as u64));
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        let before = token(&steps);
        // All there is, and beside it.
        let a = if near { u64::try_from(supply as i128 + off).unwrap_or(0) } else { amount as u64 };
        if let Ok(after) = burnt(&mut steps, burn(flags, a)) {
            prop_assert_eq!(after, TokenCell { supply: before.supply - a, ..before });
        }
    }
}
