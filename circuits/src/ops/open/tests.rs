use super::Open;
use crate::{
    ops::Pay,
    step::{Guesses, Limits, Refusal, flag},
    testing::{
        operations::{EMPTY, Example, OTHER, TOKEN, assert_all_sound, assert_operation, state},
        state::{index, secret},
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Token},
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

fn least(least: u64) -> Limits {
    Limits { least, until: 0 }
}

/// What rule and circuit say of a step: the account after it.
fn opened(steps: &mut Steps, record: StepRecord, limits: Limits) -> Result<Account, Refusal> {
    let guesses = Guesses::from([(2, vec![limits.least.into()])]);
    match assert_twins(steps, record, limits, &guesses) {
        Ok(_) => Ok(steps.state.account(record.cell.get())),
        Err(error) => Err(error.refusal),
    }
}

#[test]
fn each_relation_is_held_alone() {
    let examples = [
        Example::after(paid(0), open(0, 300, 0), least(300)),
        Example::after(paid(flag::SECOND), open(Open::REST, 0, TOKEN), least(0)),
    ];
    let relations = ["OPEN R1, token", "OPEN R2, amount", "OPEN R3, owner's key", "OPEN R5, least"];
    assert_operation(&examples, &relations);
}

#[test]
fn every_combination_of_flags_is_sound() {
    let mut steps = paid(0);
    let at = |cell: u32, record: StepRecord| StepRecord { cell: index(cell), ..record };
    steps.run_within(at(EMPTY, open(0, 300, 0)), least(1)).expect("an empty cell");
    steps.run_within(at(EMPTY + 1, open(Open::REST, 0, 0)), least(200)).expect("an empty cell");
    steps.run_within(at(EMPTY + 2, open(flag::END | Open::REST, 0, TOKEN)), least(0)).expect("an empty cell");
    steps.run(at(EMPTY + 3, open(0, 0, u32::MAX))).expect("an empty cell");
    steps.run(at(EMPTY + 4, open(Open::REST | flag::DONE, 0, 0))).expect("an empty cell");
    assert!(steps.registers.are_zero());
    assert_all_sound(&mut steps);
}

#[test]
fn the_account_is_new_and_its_owners() {
    let owner = *secret(9).public();
    for (token, amount) in [(0, 0), (0, 1), (0, u64::MAX), (TOKEN, 300), (u32::MAX, 7)] {
        let found = opened(&mut paid(0), open(0, amount, token), least(amount));
        assert_eq!(found, Ok(Account::new(owner, Token(token), amount)));
    }
    let rest = opened(&mut paid(0), open(Open::REST, 0, 0), least(500));
    assert_eq!(rest, Ok(Account::new(owner, Token::BITCOIN, 500)));
    for wide in [1 << 32, u64::MAX] {
        let found = opened(&mut paid(0), StepRecord { c: wide, ..open(0, 1, 0) }, least(0));
        assert_eq!(found, Err(Refusal::Overflow { what: "the token", width_bits: 32 }));
    }
}

/// Words that are no owner's key: on no curve, of a small order, or the field's ends.
#[test]
fn the_owner_is_a_key() {
    for word in [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2u64).pow([253])] {
        let found = opened(&mut paid(0), StepRecord { word, ..open(0, 1, 0) }, least(0));
        assert!(matches!(found, Err(Refusal::Key(_))), "{word}: {found:?}");
    }
    // A point and its inverse have one y, and are two owners.
    let key = *secret(9).public();
    let inverse = opened(&mut paid(0), StepRecord { word: -key.x(), ..open(0, 1, 0) }, least(0)).expect("a key");
    assert_eq!(inverse.owner, PublicKey::from_coordinates(-key.x(), key.y()).expect("a key"));
}

/// Traps 55 and 56: no amount is posted against the flag, and a rest that falls short is refused.
#[test]
fn traps_55_and_56_the_amount_is_the_signers() {
    assert_eq!(opened(&mut paid(0), open(Open::REST, 1, 0), least(0)), Err(Refusal::NotZero("the amount")));
    let short = |given| Err(Refusal::LimitNotMet { token: Token::BITCOIN, least: 501, given });
    assert_eq!(opened(&mut paid(0), open(Open::REST, 0, 0), least(501)), short(500));
    assert_eq!(opened(&mut paid(0), open(0, 499, 0), least(501)), short(499));
    for value in [-1, 1 << 64] {
        let mut steps = paid(0);
        let _ = steps.chunk(1);
        steps.registers.lanes[0].value = value;
        let found = opened(&mut steps, open(Open::REST, 0, 0), least(0));
        assert_eq!(found, Err(Refusal::LaneValue { token: Token::BITCOIN, value: value.into() }));
    }
}

/// Trap 57: a cell that somebody filled first is refused, and the signature is of that cell alone.
#[test]
fn trap_57_a_squatted_cell_is_not_filled_again() {
    for (cell, found) in [(2, Account::KIND), (TOKEN, 2)] {
        let squatted = StepRecord { cell: index(cell), ..open(0, 1, 0) };
        let mut steps = paid(0);
        let refusal = steps.apply(&squatted, least(0)).expect_err("the cell is not empty").refusal;
        assert_eq!(refusal, Refusal::WrongCell { expected: 0, found });
        assert!(assert_twins(&mut steps, squatted, least(0), &Guesses::from([(2, vec![0])])).is_err());
    }
    let signed = |cell| {
        let end = StepRecord { cell: index(cell), ..open(flag::END, 1, 0) };
        paid(0).apply(&end, least(1)).expect("an empty cell").signed
    };
    assert_ne!(signed(EMPTY), signed(EMPTY + 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on accounts of any token, amount and word, in a clause or outside, whatever is in motion,
    /// and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        lanes in any_lanes(), clause in any_clause(), flags in any_flags(Open::REST), amount in any_below(64),
        posts in prop::bool::weighted(0.1),
        token in prop_oneof![
            6 => prop::sample::select(vec![0, TOKEN, OTHER]).prop_map(u64::from), 1 => any::<u32>().prop_map(u64::from),
            1 => any::<u64>(),
        ],
        owner in 9u8..12, other in prop::option::weighted(0.1, any::<u64>()), is_inverse: bool,
        demanded in prop_oneof![2 => Just(0), 1 => any_below(64)],
        cell in prop_oneof![18 => Just(EMPTY), 1 => Just(2), 1 => Just(TOKEN)],
    ) {
        let mut steps = Steps::on(state());
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        let x = other.map_or(secret(owner).public().x(), Fr::from);
        let word = if is_inverse { -x } else { x };
        let a = if flags & Open::REST != 0 && !posts { 0 } else { amount as u64 };
        let step = StepRecord { a, c: token, word, ..record(Open::NUMBER, cell, flags) };
        let limits = least(if clause.is_some() { demanded as u64 } else { 0 });
        let in_motion = lanes.iter().find(|lane| u64::from(lane.token.0) == token).map_or(0, |lane| lane.value);
        if let Ok(account) = opened(&mut steps, step, limits) {
            let amount = if flags & Open::REST == 0 { a.into() } else { in_motion };
            prop_assert_eq!(i128::from(account.balance), amount);
            prop_assert!(account.balance >= limits.least);
            let token = Token(token as u32);
            prop_assert_eq!(account, Account::new(account.owner, token, account.balance));
            prop_assert_eq!(account.owner.x(), word);
        }
    }
}
