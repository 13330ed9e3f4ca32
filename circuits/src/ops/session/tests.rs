//! Sessions of pools, with orders and clearing.

use super::Session;
use crate::{
    exchange::AverageError,
    ops::{Clear, Order, Pay, Receive},
    step::{Lane, Limits, Refusal, flag},
    testing::{
        assert_chunk_sound,
        operations::{Example, POOL, assert_operation, assert_satisfied, state},
        steps::{HEIGHT, Steps, record},
    },
};
use ark_bn254::Fr;
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, Holding, Pool, Token},
    record::StepRecord,
};

/// A state whose pool is altered.
fn with(change: impl FnOnce(&mut Pool)) -> Steps {
    let mut steps = Steps::on(state());
    let Cell::Pool(mut pool) = steps.state.cell(POOL) else { panic!("a pool") };
    change(&mut pool);
    steps.put(POOL, Cell::Pool(pool));
    steps
}

fn session(a: u64, b: u64) -> StepRecord {
    StepRecord { a, b, ..record(Session::NUMBER, POOL, 0) }
}

fn held(holding: &mut Holding, balance: u64) {
    holding.balance = balance;
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let most = (1u64 << 63) - 1;
    let examples = [
        Example::after(with(|_| ()), session(5_000, 4_000), none),
        // The spot price is above the bounds, and below.
        Example::after(with(|pool| pool.average = 2 << 48), session(0, 0), none),
        Example::after(with(|pool| pool.average = 4 << 48), session(u64::MAX, u64::MAX), none),
        // A price of 2^111, an average of 2^96, and a product of 160 bits.
        Example::after(
            with(|pool| {
                held(&mut pool.first, 1);
                held(&mut pool.second, most);
                pool.average = (1 << 96) - 1;
            }),
            session(1, 1),
            none,
        ),
        Example::after(
            with(|pool| {
                held(&mut pool.first, most);
                held(&mut pool.second, 1);
                pool.average = (1 << 96) - 1;
                pool.last_height = 0;
            }),
            session(1, 1),
            none,
        ),
        // The lowest average stays.
        Example::after(
            with(|pool| {
                held(&mut pool.first, most);
                held(&mut pool.second, 1);
                pool.average = 1 << 32;
                pool.last_height = HEIGHT - 1;
            }),
            session(1, 1),
            none,
        ),
    ];
    let relations = [
        "SESSION R1, height",
        "SESSION R2, nothing in motion",
        "SESSION R3, average before",
        "SESSION R3, price within bounds",
        "SESSION R3, spot price",
        "SESSION R3, average after",
    ];
    assert_operation(&examples, &relations);
}

#[test]
fn what_opens_no_session_is_refused() {
    let refused =
        |steps: &Steps| steps.apply(&session(1, 1), Limits::default()).map(drop).map_err(|error| error.refusal);
    for last in [HEIGHT, HEIGHT + 1] {
        let error = AverageError { height: HEIGHT, last };
        assert_eq!(refused(&with(|pool| pool.last_height = last)), Err(Refusal::Average(error)), "traps 19, 25 and 83");
    }
    // Trap 26: whoever has put a lane below zero before would be paid by the pool.
    let mut in_debt = with(|_| ());
    in_debt.registers.lanes[0] = Lane { token: Token::BITCOIN, value: -100 };
    let refusal = Refusal::LaneValue { token: Token::BITCOIN, value: (-100).into() };
    assert_eq!(refused(&in_debt), Err(refusal));
    let mut signed = with(|_| ());
    signed.run_within(record(Pay::NUMBER, 1, 0), Limits { least: 0, until: HEIGHT }).expect("a clause begins");
    assert_eq!(refused(&signed), Err(Refusal::ClauseRuns));
    let mut twice = with(|_| ());
    twice.run(session(0, 0)).expect("a session opens");
    assert!(matches!(refused(&twice), Err(Refusal::SessionOpen(_))), "trap 25");
    // Trap 48: a transaction does not end with a session open: its record has no flags.
    let ends = StepRecord { flags: flag::DONE, ..session(0, 0) };
    let refusal = with(|_| ()).apply(&ends, Limits::default()).expect_err("it is open");
    assert_eq!(refusal.refusal, Refusal::NotPosted);
}

/// The session crosses two chunks, and each of its steps is sound. Trap 7: what a chunk leaves in the registers, the
/// next one begins with.
#[test]
fn a_session_of_two_orders_is_sound() {
    let mut steps = with(|_| ());
    steps.run(session(5_000, 4_000)).expect("a session opens");
    let order = StepRecord { a: 5_000, b: 2, c: POOL.into(), ..record(Order::NUMBER, 1, flag::END) };
    steps.run_within(order, Limits { least: 10_000, until: HEIGHT }).expect("an order");
    let first = steps.chunk(3);
    let flags = flag::END | flag::SECOND | flag::TICKET | Order::SELLS_SECOND;
    let order = StepRecord { a: 4_000, b: 3, c: u64::from(POOL) | 62 << 32, ..record(Order::NUMBER, 2, flags) };
    steps.run_within(order, Limits { least: 1_000, until: HEIGHT + 5 }).expect("an order");
    steps.run(record(Clear::NUMBER, POOL, flag::DONE)).expect("the session clears");
    assert!(steps.registers.are_zero());
    let second = steps.chunk(3);
    assert_eq!(first.statement.registers.after, second.statement.registers.before);
    assert_ne!(first.statement.registers.after, Fr::from(0u64));
    assert_chunk_sound(&first);
    assert_chunk_sound(&second);
}

/// What Uniswap v2 gives for an amount: see `UniswapV2Library.getAmountOut`.
fn uniswap(amount: u64, [held_in, held_out]: [u64; 2]) -> u64 {
    let with_fee = u128::from(amount) * 997;
    (with_fee * u128::from(held_out) / (u128::from(held_in) * 1_000 + with_fee)) as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A session of one order at w = 1 is a trade of Uniswap v2, in rule and circuit, and nothing is made or lost.
    #[test]
    fn one_order_gets_what_uniswap_gives(
        x in 1_000u64..1 << 40, y in 1_000u64..1 << 40, amount in 0u64..1_000_000, sells_second: bool,
    ) {
        let mut steps = with(|pool| {
            held(&mut pool.first, x);
            held(&mut pool.second, y);
            (pool.fee, pool.weight) = (30, 1);
        });
        let before = steps.state.account(1);
        let (a, b) = if sells_second { (0, amount) } else { (amount, 0) };
        steps.run(session(a, b)).expect("a session opens");
        let flags = flag::END | if sells_second { flag::SECOND | Order::SELLS_SECOND } else { 0 };
        let order = StepRecord { a: amount, c: POOL.into(), ..record(Order::NUMBER, 1, flags) };
        let expected = uniswap(amount, if sells_second { [y, x] } else { [x, y] });
        let limits = Limits { least: expected, until: HEIGHT };
        steps.run_within(order, limits).expect("it gets so much");
        let refused = steps.apply(&order, Limits { least: expected + 1, ..limits });
        prop_assert!(refused.is_err());
        steps.run(record(Clear::NUMBER, POOL, flag::DONE)).expect("the session clears");
        let Account { balance, second, .. } = steps.state.account(1);
        let got = if sells_second { balance - before.balance } else { second.balance - before.second.balance };
        prop_assert_eq!(got, expected);
        assert_satisfied(&mut steps);
    }

    /// Rule and circuit agree on sessions of pools of any size, price, age and terms.
    #[test]
    fn twins_agree(
        x in 1u64..1 << 63, y in 1u64..1 << 63, shifts in [0u32..62, 0..62, 0..64], average in 1u128 << 32..1 << 96,
        age in 0u32..200_000, fee in 0u16..=1_000, weight in 1u8..=2, blocks in 1u16..=30, a: u64, b: u64,
    ) {
        let mut steps = with(|pool| {
            held(&mut pool.first, (x >> shifts[0]).max(1));
            held(&mut pool.second, (y >> shifts[1]).max(1));
            pool.average = (average >> shifts[2]).max(1 << 32);
            pool.last_height = HEIGHT - age;
            (pool.fee, pool.weight, pool.averaging_blocks) = (fee, weight, blocks);
        });
        let opened = steps.run(session(a, b));
        prop_assert_eq!(opened.is_ok(), age > 0);
        if opened.is_ok() {
            assert_satisfied(&mut steps);
        }
    }
}

/// A payment beside a session: RECEIVE stands outside of it.
#[test]
fn a_transaction_may_trade_and_then_pay() {
    let mut steps = with(|_| ());
    steps.run(session(0, 0)).expect("a session opens");
    steps.run(record(Clear::NUMBER, POOL, 0)).expect("it clears");
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flag::END) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps.run(record(Receive::NUMBER, 2, flag::DONE | Receive::REST)).expect("it can receive");
    assert_eq!(steps.state.cell(2).holdings()[0], Holding { token: Token(0), balance: 1_000_500 });
    assert_satisfied(&mut steps);
}
