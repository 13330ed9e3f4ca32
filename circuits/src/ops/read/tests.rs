use super::Read;
use crate::{
    exchange::{AverageError, PriceError},
    ops::{Exit, Join, Session},
    step::{Fact, Guesses, Lane, Limits, Refusal},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_below, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::cell::{Cell, Holding, Pool, Token};

/// A state whose pool is altered.
fn with(change: impl FnOnce(&mut Pool)) -> Steps {
    let mut steps = Steps::on(state());
    let Cell::Pool(mut pool) = steps.state.cell(POOL) else { panic!("a pool") };
    change(&mut pool);
    steps.put(POOL, Cell::Pool(pool));
    steps
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let read = |flags| record(Read::NUMBER, POOL, flags);
    let examples = [
        Example::after(with(|_| ()), read(0), none),
        Example::after(with(|_| ()), read(Read::INVERSE), none),
        Example::after(with(|pool| pool.average = 1 << 32), read(Read::INVERSE), none),
        Example::after(with(|pool| pool.average = (1 << 96) - 1), read(0), none),
        Example::after(with(|pool| pool.last_height = HEIGHT - 1), read(0), none),
    ];
    let relations = ["READ R1, height", "READ R2, average", "READ R3, spot price", "READ R4, reserve"];
    assert_operation(&examples, &relations);
}

#[test]
fn prices_are_those_of_the_base_in_the_quote() {
    let steps = with(|_| ());
    let fact = |flags| {
        let applied = steps.apply(&record(Read::NUMBER, POOL, flags), Limits::default());
        applied.expect("it can be read").registers.fact.expect("a fact is noted")
    };
    let (cell, height_blocks) = (index(POOL), HEIGHT - 10);
    let [bitcoin, token] = [0, TOKEN].map(Token);
    let (average, spot) = (3u128 << 48, 3u128 << 48);
    let expected = Fact { cell, base: bitcoin, quote: token, average, spot, reserve: 2_999_900, height_blocks };
    assert_eq!(fact(0), expected, "the lesser reserve is that after the last session");
    let third = (1u128 << 48) / 3;
    let inverse =
        Fact { cell, base: token, quote: bitcoin, average: third, spot: third, reserve: 1_000_000, height_blocks };
    assert_eq!(fact(Read::INVERSE), inverse, "trap 52: the inverse price has the other base");
}

/// What joins a pool and is read at once does not count, and it cannot leave in the same transaction, nor can the pool
/// trade.
#[test]
fn trap_72_what_has_joined_just_now_does_not_count() {
    let mut steps = with(|_| ());
    let lane = |token, value| Lane { token: Token(token), value };
    steps.registers.lanes = [lane(0, 1 << 40), lane(TOKEN, 3 << 40), Lane::default()];
    steps.run(record(Join::NUMBER, POOL, 0)).expect("it joins");
    let Cell::Pool(pool) = steps.state.cell(POOL) else { panic!("a pool") };
    assert_eq!(pool.second.balance, (3 << 40) + 3_000_000);
    for (flags, reserve) in [(0, 2_999_900), (Read::INVERSE, 1_000_100)] {
        let read = steps.apply(&record(Read::NUMBER, POOL, flags), Limits::default()).expect("it can be read");
        assert_eq!(read.registers.fact.expect("a fact is noted").reserve, reserve);
    }
    steps.run(record(Read::NUMBER, POOL, 0)).expect("it can be read");
    let refused = |operation| {
        let refusal = steps.apply(&record(operation, POOL, 0), Limits::default());
        refusal.expect_err("a fact is noted").refusal
    };
    assert_eq!(refused(Exit::NUMBER), Refusal::FactTaken);
    assert_eq!(refused(Join::NUMBER), Refusal::FactTaken);
    assert_eq!(refused(Read::NUMBER), Refusal::FactTaken);
    assert!(matches!(refused(Session::NUMBER), Refusal::LaneValue { .. }));
    let mut read = with(|_| ());
    read.run(record(Read::NUMBER, POOL, 0)).expect("it can be read");
    let refusal = read.apply(&record(Session::NUMBER, POOL, 0), Limits::default()).expect_err("a fact is noted");
    assert_eq!(refusal.refusal, Refusal::FactTaken);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |steps: &Steps, flags| {
        let record = record(Read::NUMBER, POOL, flags);
        steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    let stale = with(|pool| pool.last_height = HEIGHT);
    let error = AverageError { height: HEIGHT, last: HEIGHT };
    assert_eq!(refused(&stale, 0), Err(Refusal::Average(error)), "trap 23: a price is not used where it was moved");
    let steep = with(|pool| pool.first = Holding { balance: 1, ..pool.first });
    assert_eq!(refused(&steep, 0), Ok(()));
    let steeper = with(|pool| {
        pool.first = Holding { balance: 1, ..pool.first };
        pool.second = Holding { balance: 1 << 48, ..pool.second };
    });
    assert_eq!(refused(&steeper, 0), Err(Refusal::Price(PriceError::High(1 << 96))));
    assert_eq!(refused(&steeper, Read::INVERSE), Ok(()));
    let mut noted = with(|_| ());
    noted.registers = noted.apply(&record(Read::NUMBER, POOL, 0), Limits::default()).expect("a pool").registers;
    assert_eq!(refused(&noted, 0), Err(Refusal::FactTaken));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on pools of any size, price and age, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        reserves in prop::array::uniform2(any_below(63)), after in prop::array::uniform2(any_below(63)),
        average in any_below(96), age in prop_oneof![4 => 1..=HEIGHT, 1 => Just(0)], later: bool, inverse: bool,
        is_noted in prop::bool::weighted(0.05),
    ) {
        let [[x, y], at_last_session] = [reserves, after].map(|held| held.map(|held| (held as u64).max(1)));
        let mut steps = with(|pool| {
            (pool.first.balance, pool.second.balance, pool.at_last_session) = (x, y, at_last_session);
            pool.average = average.max(1 << 32);
            pool.last_height = if age == 0 && later { u32::MAX } else { HEIGHT - age };
        });
        let (cell, base) = (index(POOL), Token::BITCOIN);
        let fact = Fact { cell, base, quote: base, average: 1, spot: 1, reserve: 1, height_blocks: 1 };
        steps.registers.fact = is_noted.then_some(fact);
        let flags = if inverse { Read::INVERSE } else { 0 };
        let read = assert_twins(&mut steps, record(Read::NUMBER, POOL, flags), Limits::default(), &Guesses::new());
        let [base, quote] = if inverse { [y, x] } else { [x, y] };
        let has_price = (u128::from(quote) << 48) / u128::from(base) < 1 << 96;
        prop_assert_eq!(read.is_ok(), age > 0 && has_price && !is_noted);
    }
}
