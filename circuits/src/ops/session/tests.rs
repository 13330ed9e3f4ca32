//! Sessions of pools, with orders and clearing.

use super::Session;
use crate::{
    exchange::{AverageError, ClearError, ReservesError},
    ops::{Clear, Order, Pay, Receive},
    step::{Fact, Guesses, Lane, Limits, Operation, Refusal, flag},
    testing::{
        assert_chunk_sound,
        operations::{Example, POOL, assert_operation, assert_satisfied, state},
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_in_motion, assert_twins},
    },
};
use ark_bn254::Fr;
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, Holding, Pool, Token},
    operation::Check,
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
}

/// What a prover may say of the price that the average heeds, from the lower bound on.
fn guesses(pool: &Pool) -> Guesses {
    let reach = pool.average >> 3;
    let spot = (u128::from(pool.second.balance) << 48) / u128::from(pool.first.balance);
    let near = spot.saturating_sub(pool.average - reach);
    Guesses::from([(9, vec![0, near.saturating_sub(1), near, near + 1, 2 * reach - 1, 2 * reach, 2 * reach + 1])])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on sessions of pools of any size, price, age and terms, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        reserves in prop::array::uniform2(any_below(63)), average in prop_oneof![any_below(96), Just(0)],
        is_near: bool, age in prop_oneof![4 => 1..200_000u32, 1 => Just(65_536), 1 => Just(HEIGHT), 1 => Just(0)],
        later: bool, fee in 0u16..=1_000, weight in 1u8..=2, blocks in 1u16..=30,
        payments in prop::array::uniform2(any_below(64)),
        in_motion in prop_oneof![9 => Just(0i128), 1 => any_in_motion()], lane in 0usize..3,
        is_noted in prop::bool::weighted(0.05),
    ) {
        let [x, y] = reserves.map(|held| (held as u64).max(1));
        let spot = (u128::from(y) << 48) / u128::from(x);
        let average = if is_near { spot + (average % (spot / 4 + 1)) } else { average };
        let mut steps = with(|pool| {
            (pool.first.balance, pool.second.balance) = (x, y);
            pool.average = average.clamp(1 << 32, (1 << 96) - 1);
            pool.last_height = if age == 0 && later { u32::MAX } else { HEIGHT - age };
            (pool.fee, pool.weight, pool.averaging_blocks) = (fee, weight, blocks);
        });
        steps.registers.lanes[lane].value = in_motion;
        let (cell, base) = (index(POOL), Token::BITCOIN);
        let fact = Fact { cell, base, quote: base, average: 1, spot: 1, reserve: 1, height_blocks: 1 };
        steps.registers.fact = is_noted.then_some(fact);
        let Cell::Pool(before) = steps.state.cell(POOL) else { panic!("a pool") };
        let [a, b] = payments.map(|payment| payment as u64);
        let opened = assert_twins(&mut steps, session(a, b), Limits::default(), &guesses(&before));
        prop_assert_eq!(opened.is_ok(), age > 0 && in_motion == 0 && !is_noted);
        // Trap 73: the average moves an eighth at most, however long the pool was idle.
        if let Ok(applied) = opened {
            let Cell::Pool(after) = applied.cell else { panic!("a pool") };
            prop_assert!(after.average.abs_diff(before.average) <= before.average >> 3);
        }
    }
}

/// Trap 83: the verifier takes one session of a pool in a Bitcoin block, whatever heights its batches refer to.
#[test]
fn trap_83_a_pool_clears_once_in_a_block() {
    assert_eq!(Session.description().check, Check::OncePerBlock);
    // Trap 24: a session at a height that was left out cannot be made up for: the next one counts from its own height.
    let steps = with(|pool| pool.last_height = HEIGHT - 100);
    let applied = steps.apply(&session(0, 0), Limits::default()).expect("a session opens");
    let Cell::Pool(pool) = applied.cell else { panic!("a pool") };
    assert_eq!(pool.last_height, HEIGHT);
}

/// An order of a session that is made up: its account, whether it sells the token, how much of what is held, its fee.
type AnyOrder = (bool, u128, u64, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Sessions of any orders, cut into chunks anywhere: each can be proven, all clear, nothing is made or lost, the
    /// product of the reserves does not fall, and orders of a side get what they get at one price.
    #[test]
    fn sessions_of_any_orders_clear_and_conserve(
        reserves in prop::array::uniform2(any_below(61)), fee in 0u16..=1_000, weight in 1u8..=2,
        orders in prop::collection::vec((any::<bool>(), any_below(58), 0u64..3, any::<bool>()), 0..6),
        balances in prop::array::uniform2(any_below(58)),
    ) {
        let [x, y] = reserves.map(|held| (held as u64).max(1));
        let mut steps = with(|pool| {
            (pool.first.balance, pool.second.balance) = (x, y);
            (pool.fee, pool.weight) = (fee, weight);
        });
        let orders: Vec<AnyOrder> = orders;
        let [first, second] = balances.map(|balance| balance as u64);
        for cell in 1..=orders.len() as u32 {
            let account = steps.state.account(cell);
            let second = Holding { balance: second, ..account.second };
            steps.put(cell, Cell::Account(Account { balance: first.saturating_add(3), second, ..account }));
        }
        let sums = |steps: &Steps| {
            let held: Vec<_> = (1..7).chain([POOL]).map(|cell| steps.state.cell(cell).holdings()).collect();
            [0, 1].map(|holding| held.iter().map(|holdings| u128::from(holdings[holding].balance)).sum::<u128>())
        };
        let before = sums(&steps);
        let pays = |(sells_second, amount, ..): &AnyOrder| {
            (*amount as u64).min(if *sells_second { second } else { first })
        };
        let sum = |side| orders.iter().filter(|order| order.0 == side).map(pays).sum::<u64>();
        steps.run(session(sum(false), sum(true))).expect("a session opens");
        let mut filled = Vec::new();
        for (number, order) in orders.iter().enumerate() {
            let cell = number as u32 + 1;
            let (sells_second, _, fee, cuts) = *order;
            let flags = flag::END | if sells_second { flag::SECOND | Order::SELLS_SECOND } else { 0 };
            let paid = StepRecord { a: pays(order), b: fee, c: POOL.into(), ..record(Order::NUMBER, cell, flags) };
            let held = steps.state.cell(cell).holdings();
            // What one gets may be more than 64 bits beside what one holds.
            if steps.run_within(paid, Limits { least: 0, until: HEIGHT }).is_err() {
                return Ok(());
            }
            let gets = usize::from(!sells_second);
            let after = steps.state.cell(cell).holdings()[gets].balance;
            let got = after + if sells_second { fee } else { 0 } - held[gets].balance;
            filled.push((sells_second, u128::from(pays(order)), u128::from(got)));
            if cuts {
                assert_satisfied(&mut steps);
            }
        }
        let cleared = steps.run(record(Clear::NUMBER, POOL, flag::DONE));
        let Cell::Pool(pool) = steps.state.cell(POOL) else { panic!("a pool") };
        if let Err(error) = cleared {
            // 2^63 are too many.
            let Refusal::Clear(ClearError::Reserves(ReservesError { held })) = error.refusal else { panic!("{error}") };
            prop_assert!(held > 0);
            return Ok(());
        }
        prop_assert!(steps.registers.are_zero());
        assert_satisfied(&mut steps);
        let after = sums(&steps);
        prop_assert_eq!(after, before, "the operator has the fees");
        let product = |x: u64, y: u64| u128::from(x) * u128::from(y);
        prop_assert!(product(pool.first.balance, pool.second.balance) >= product(x, y));
        for (one_side, one_paid, one_got) in &filled {
            for (_, paid, got) in filled.iter().filter(|(side, ..)| side == one_side) {
                // one_got / one_paid < (got + 1) / paid: no order of a side gets more for what it pays than another.
                prop_assert!(*one_paid == 0 || one_got * paid < (got + 1) * one_paid, "{:?}", filled);
            }
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
