use super::Read;
use crate::{
    exchange::{AverageError, PriceError},
    step::{Fact, Limits, Refusal},
    testing::operations::{Example, POOL, TOKEN, assert_operation, state},
    testing::{
        state::index,
        steps::{HEIGHT, Steps, record},
    },
};
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
