use super::Token;
use crate::{
    ops::{Burn, Draw, Mint, Pay, Receive},
    step::{Guesses, Limits, Refusal, flag},
    testing::{
        operations::{EMPTY, Example, assert_all_sound, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Cell, CellElements, TokenCell, TokenName},
    record::StepRecord,
};

const NO_GUESSES: Guesses = Guesses::new();

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

/// What rule and circuit say of a step: the token after it.
fn issued(steps: &mut Steps, record: StepRecord) -> Result<TokenCell, Refusal> {
    match assert_twins(steps, record, Limits::default(), &NO_GUESSES) {
        Ok(_) => match steps.state.cell(record.cell.get()) {
            Cell::Token(token) => Ok(token),
            other => panic!("{other:?}"),
        },
        Err(error) => Err(error.refusal),
    }
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
    let silver = TokenName::new("silver").expect("a name");
    for cap in [0, 1, 1_000, u64::MAX] {
        for decimals in [0, 1, 17, 18] {
            let found = issued(&mut begun(), token(cap, 0, decimals.into(), silver.element()));
            assert_eq!(found, Ok(TokenCell { supply: 0, name: silver, cap, issuer: index(2), decimals, unit: 0 }));
        }
    }
    for decimals in [19, 31, 32, 255, 256, 1 << 40, u64::MAX] {
        assert_eq!(issued(&mut begun(), token(1, 0, decimals, name("x"))), Err(Refusal::Decimals(decimals)));
    }
    for unit in [1, u64::MAX] {
        assert_eq!(issued(&mut begun(), token(1, unit, 0, name("x"))), Err(Refusal::Unit));
    }
}

/// Names are any 31 bytes, so each cell that a circuit makes can be read.
#[test]
fn a_name_has_31_bytes() {
    let power = |bits: u64| Fr::from(2u64).pow([bits]);
    for element in [Fr::ZERO, Fr::ONE, power(247), power(248) - Fr::ONE] {
        let found = issued(&mut begun(), token(1, 0, 0, element)).expect("31 bytes");
        assert_eq!(found.name.element(), element);
        assert_eq!(CellElements::from(Cell::Token(found)).cell(), Some(Cell::Token(found)));
    }
    for element in [power(248), power(248) + Fr::ONE, power(253), -Fr::ONE] {
        assert_eq!(issued(&mut begun(), token(1, 0, 0, element)), Err(Refusal::Name));
    }
}

/// Traps 57 and 58: a token is issued by a signer, who is somebody, into a cell that is empty.
#[test]
fn traps_57_and_58_no_token_is_nobodys_and_none_replaces_another_cell() {
    let unsigned = issued(&mut Steps::on(state()), token(1, 0, 0, name("x")));
    assert_eq!(unsigned, Err(Refusal::NoSigner));
    for (cell, kind) in [(1, 1), (20, TokenCell::KIND), (30, 5)] {
        let squatted = StepRecord { cell: index(cell), ..token(1, 0, 0, name("x")) };
        assert_eq!(issued(&mut begun(), squatted), Err(Refusal::WrongCell { expected: 0, found: kind }));
    }
    assert_eq!(issued(&mut begun(), StepRecord { cell: index(0), ..token(1, 0, 0, name("x")) }), Err(Refusal::Nobody));
}

/// A token from its issue until the last unit is burnt, in one transaction of two clauses.
#[test]
fn a_token_is_issued_minted_held_paid_and_burnt() {
    let mut steps = begun();
    let of = |operation: u8, cell: u32, flags: u8, a: u64| StepRecord { a, ..record(operation, cell, flags) };
    steps.run(token(1_000, 0, 2, name("silver"))).expect("an empty cell");
    // The second holding of account 2 is of gold, which goes to the operator.
    steps.run(of(Draw::NUMBER, 2, flag::SECOND, 5_000_000)).expect("it has so much");
    steps.run(of(Receive::NUMBER, 5, flag::SECOND | Receive::REST, 0)).expect("the rest");
    let pair = StepRecord { c: EMPTY.into(), ..record(Draw::NUMBER, 2, Draw::PAIR) };
    steps.run(pair).expect("the holding is empty");
    steps.run(of(Mint::NUMBER, EMPTY, 0, 900)).expect("the issuer");
    steps.run(of(Receive::NUMBER, 2, flag::SECOND, 300)).expect("an account of the token");
    steps.run(of(Mint::NUMBER, EMPTY, Mint::RENOUNCE, 100)).expect("up to the cap");
    steps.run(of(Receive::NUMBER, 2, flag::SECOND | Receive::REST | flag::END, 0)).expect("the rest");
    let until = Limits { least: 0, until: HEIGHT };
    steps.run_within(of(Pay::NUMBER, 2, flag::SECOND | flag::END, 1_000), until).expect("it has so much");
    steps.run(of(Burn::NUMBER, EMPTY, flag::DONE, 1_000)).expect("somebody gave it");
    let Cell::Token(left) = steps.state.cell(EMPTY) else { panic!("a token") };
    assert_eq!((left.supply, left.issuer, left.cap), (0, index(0), 1_000));
    assert!(steps.registers.are_zero());
    assert_all_sound(&mut steps);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on tokens of any cap, unit, decimal places and name, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        lanes in any_lanes(), clause in any_clause(), flags in any_flags(0), cap in any_below(64),
        unit in prop_oneof![9 => Just(0), 1 => any_below(64)],
        decimals in prop_oneof![6 => 0u64..=18, 1 => 16u64..34, 1 => any::<u64>()],
        bytes: [u8; 32], length in prop_oneof![9 => 0usize..=31, 1 => Just(32)],
        cell in prop_oneof![18 => Just(EMPTY), 1 => Just(2), 1 => Just(20)],
    ) {
        let mut steps = Steps::on(state());
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        let mut word = Fr::ZERO;
        for byte in bytes[..length].iter().rev() {
            word = word * Fr::from(256u64) + Fr::from(*byte);
        }
        let (a, b) = (cap as u64, unit as u64);
        let step = StepRecord { a, b, c: decimals, word, ..record(Token::NUMBER, cell, flags) };
        if let Ok(made) = issued(&mut steps, step) {
            let signer = clause.expect("somebody signs").signer;
            let TokenCell { supply, name, cap, issuer, decimals: places, unit } = made;
            prop_assert_eq!((supply, cap, unit, u64::from(places)), (0, a, 0, decimals));
            prop_assert_eq!((name.element(), issuer), (word, signer));
        }
    }
}
