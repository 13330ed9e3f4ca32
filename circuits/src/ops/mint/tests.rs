use super::Mint;
use crate::{
    ops::{Pay, Receive},
    step::{Guesses, Lane, Limits, Refusal, flag},
    testing::{
        operations::{Example, TOKEN, assert_all_sound, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Cell, CellIndex, Token, TokenCell},
    record::StepRecord,
};

/// A state with another token, where the clause of an account runs.
fn with(signer: u32, change: impl FnOnce(&mut TokenCell)) -> Steps {
    let mut steps = Steps::on(state());
    let mut cell = token(&steps);
    change(&mut cell);
    steps.put(TOKEN, Cell::Token(cell));
    steps.run_within(record(Pay::NUMBER, signer, 0), Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn begun(signer: u32) -> Steps {
    with(signer, |_| ())
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

/// What rule and circuit say of a step: the token after it.
fn minted(steps: &mut Steps, record: StepRecord) -> Result<TokenCell, Refusal> {
    let applied = assert_twins(steps, record, Limits::default(), &Guesses::new());
    applied.map(|_| token(steps)).map_err(|error| error.refusal)
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
fn every_combination_of_flags_is_sound() {
    for renounce in [0, Mint::RENOUNCE] {
        let mut steps = begun(1);
        steps.run(mint(0, 5)).expect("the issuer");
        steps.run(record(Receive::NUMBER, 2, flag::SECOND | Receive::REST)).expect("it is in motion");
        steps.run(mint(renounce | flag::END | flag::DONE, 0)).expect("the issuer");
        assert!(steps.registers.are_zero());
        steps.run_within(record(Pay::NUMBER, 1, 0), Limits { least: 0, until: HEIGHT }).expect("it can pay");
        let found = steps.run(mint(renounce, 1)).map_err(|error| error.refusal);
        assert_eq!(found, if renounce == 0 { Ok(()) } else { Err(Refusal::NotTheIssuer) });
        assert_all_sound(&mut steps);
    }
}

#[test]
fn supplies_grow_up_to_the_cap() {
    let most = u64::MAX;
    for (supply, cap, amount) in
        [(0, 0, 0), (0, 1, 1), (0, most, most), (most - 1, most, 1), (most, most, 0), (7, 9, 1)]
    {
        let before = |token: &mut TokenCell| (token.supply, token.cap) = (supply, cap);
        let mut steps = with(1, before);
        let after = minted(&mut steps, mint(0, amount)).expect("up to the cap");
        assert_eq!(after, TokenCell { supply: supply + amount, ..after });
        let lane = Lane { token: Token(if amount == 0 { 0 } else { TOKEN }), value: amount.into() };
        assert_eq!(steps.registers.lanes[0], lane, "what is minted is in motion");
    }
    for (supply, cap, amount) in [(0, 0, 1), (0, 1, 2), (1, 1, 1), (0, most - 1, most), (most - 1, most - 1, 1)] {
        let mut steps = with(1, |token| (token.supply, token.cap) = (supply, cap));
        assert_eq!(minted(&mut steps, mint(0, amount)), Err(Refusal::Cap { supply: supply + amount, cap }));
    }
    for (supply, amount) in [(1, most), (most, 1), (most, most)] {
        let mut steps = with(1, |token| (token.supply, token.cap) = (supply, most));
        let overflow = Refusal::Overflow { what: "the supply", width_bits: 64 };
        assert_eq!(minted(&mut steps, mint(0, amount)), Err(overflow));
    }
}

/// Trap 58: nobody is no issuer, neither of a token that was renounced nor where no clause runs.
#[test]
fn trap_58_the_issuer_alone_mints_until_he_renounces() {
    assert_eq!(minted(&mut begun(2), mint(0, 1)), Err(Refusal::NotTheIssuer));
    // Account 7 has the issuer's key, and is another account.
    assert_eq!(minted(&mut begun(7), mint(0, 1)), Err(Refusal::NotTheIssuer));
    let mut steps = begun(1);
    let renounced = minted(&mut steps, mint(Mint::RENOUNCE, 5)).expect("the issuer");
    assert_eq!((renounced.issuer, renounced.supply), (CellIndex::default(), 40_000_005));
    assert_eq!(minted(&mut steps, mint(0, 0)), Err(Refusal::NotTheIssuer));
    let mut unsigned = Steps::on(state());
    unsigned.put(TOKEN, Cell::Token(renounced));
    assert_eq!(minted(&mut unsigned, mint(0, 1)), Err(Refusal::NoSigner));
}

/// Trap 70: a token with units is backed by items, and its issuer mints none.
#[test]
fn trap_70_an_issuer_mints_no_units() {
    for unit in [1, u64::MAX] {
        let mut backed = with(1, |token| token.unit = unit);
        assert_eq!(minted(&mut backed, mint(0, 0)), Err(Refusal::Unit));
        assert_eq!(minted(&mut backed, mint(0, 1)), Err(Refusal::Unit));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on what anybody mints of any token, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        lanes in any_lanes(), clause in any_clause(), flags in any_flags(Mint::RENOUNCE), supply in any_below(64),
        room in any_below(64), amount in any_below(64), fills in -1i128..2, near: bool, decimals: u8,
        issuer in prop_oneof![8 => Just(1u32), 1 => Just(2), 1 => Just(0)],
        unit in prop_oneof![9 => Just(0), 1 => any_below(64)],
    ) {
        let mut steps = Steps::on(state());
        let cap = (supply as u64).saturating_add(room as u64);
        let (supply, issuer, unit) = (supply as u64, index(issuer), unit as u64);
        let before = TokenCell { supply, cap, issuer, decimals, unit, ..token(&steps) };
        steps.put(TOKEN, Cell::Token(before));
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        // At the cap, and beside it.
        let a = if near { u64::try_from(i128::from(cap - supply) + fills).unwrap_or(0) } else { amount as u64 };
        let found = minted(&mut steps, mint(flags, a));
        if let Ok(after) = found {
            prop_assert_eq!(clause.map(|clause| clause.signer), Some(issuer));
            let issuer = if flags & Mint::RENOUNCE == 0 { issuer } else { CellIndex::default() };
            prop_assert_eq!(after, TokenCell { supply: supply + a, issuer, ..before });
            prop_assert!(after.supply <= cap && unit == 0);
        }
    }
}
