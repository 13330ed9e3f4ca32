use super::Clear;
use crate::{
    exchange::{self, ClearError, ReservesError},
    ops::{Order, Session},
    step::{Guesses, Lane, Limits, OpenSession, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_below, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Cell, Token},
    record::StepRecord,
};

/// A session in which an order has paid 5,000 sat.
fn traded() -> Steps {
    let mut steps = Steps::on(state());
    steps.run(StepRecord { a: 5_000, ..record(Session::NUMBER, POOL, 0) }).expect("a session opens");
    let order = StepRecord { a: 5_000, c: POOL.into(), ..record(Order::NUMBER, 1, flag::END) };
    steps.run_within(order, Limits { least: 1, until: HEIGHT }).expect("an order");
    steps
}

#[test]
fn each_relation_is_held_alone() {
    let clear = || record(Clear::NUMBER, POOL, 0);
    let mut empty = Steps::on(state());
    empty.run(record(Session::NUMBER, POOL, 0)).expect("a session of no orders");
    let examples =
        [Example::after(traded(), clear(), Limits::default()), Example::after(empty, clear(), Limits::default())];
    assert_operation(&examples, &["CLEAR R1, session", "CLEAR R2, reserves", "CLEAR R3, product"]);
}

#[test]
fn the_pool_takes_what_was_paid_in_and_gives_what_was_got() {
    let steps = traded();
    let applied = steps.apply(&record(Clear::NUMBER, POOL, flag::DONE), Limits::default()).expect("all is paid in");
    assert!(applied.registers.are_zero());
    let Cell::Pool(pool) = applied.cell else { panic!("a pool") };
    let got = steps.state.account(1).second.balance - 5_000_000;
    assert_eq!((pool.first.balance, pool.second.balance), (1_005_000, 3_000_000 - got));
    assert_eq!(pool.at_last_session, [1_005_000, 3_000_000 - got]);
}

#[test]
fn what_does_not_clear_is_refused() {
    let refused = |steps: &Steps, cell| {
        steps.apply(&record(Clear::NUMBER, cell, 0), Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    let mut open = Steps::on(state());
    open.run(StepRecord { a: 5_000, b: 7, ..record(Session::NUMBER, POOL, 0) }).expect("a session opens");
    let unpaid = ClearError::Unpaid { x: 5_000, y: 7 };
    assert_eq!(refused(&open, POOL), Err(Refusal::Clear(unpaid)));
    assert_eq!(refused(&Steps::on(state()), POOL), Err(Refusal::NoSession(index(POOL))));
    // Trap 4: somebody took of what the pool is to get.
    let mut drained = traded();
    let lane = drained.registers.lanes.iter_mut().find(|lane| lane.token == Token::BITCOIN).expect("a lane");
    lane.value -= 100;
    assert_eq!(refused(&drained, POOL), Err(Refusal::Clear(ClearError::Product)));
    let mut empty = traded();
    let lane = empty.registers.lanes.iter_mut().find(|lane| lane.token == Token(TOKEN)).expect("a lane");
    *lane = Lane { value: -3_000_000, ..*lane };
    assert_eq!(refused(&empty, POOL), Err(Refusal::Clear(ClearError::Reserves(ReservesError { held: 0 }))));
}

/// Traps 3 and 26: within a session nothing else runs.
#[test]
fn traps_3_and_26_nothing_else_runs_while_a_session_is_open() {
    let steps = traded();
    for description in steps.machine.descriptions().filter(|description| !description.in_session) {
        let cell = match description.kind_before {
            0 => 50,
            1 => 2,
            2 => TOKEN,
            _ => POOL,
        };
        let refusal =
            steps.apply(&record(description.number, cell, 0), Limits::default()).expect_err("it has no place");
        assert_eq!(refusal.refusal, Refusal::SessionOpen(index(POOL)), "{}", description.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on pools of any size and on whatever is in motion, at the edge of what the pool would
    /// lose and off it, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        reserves in prop::array::uniform2(any_below(63)), x_after in any_below(64), y_beyond in -1i128..2,
        far in prop::option::weighted(0.2, any_below(65)),
        unpaid in prop::array::uniform2(prop_oneof![9 => Just(0u64), 1 => any::<u64>()]),
        pool in prop_oneof![8 => Just(Some(POOL)), 1 => Just(Some(POOL + 1)), 1 => Just(None)], done: bool,
    ) {
        let [x, y] = reserves.map(|held| held.max(1));
        let x_after = x_after.max(1);
        // The least that keeps the product, and what is near it.
        let least = (x * y).div_ceil(x_after) as i128 + y_beyond;
        let y_after = far.map_or(least, |far| far as i128);
        let mut steps = Steps::on(state());
        let Cell::Pool(mut cell) = steps.state.cell(POOL) else { panic!("a pool") };
        (cell.first.balance, cell.second.balance) = (x as u64, y as u64);
        steps.put(POOL, Cell::Pool(cell));
        let [unpaid_x, unpaid_y] = unpaid;
        let tokens = [0, TOKEN].map(Token);
        let session = exchange::Session { n: 1, d: 1, unpaid_x, unpaid_y, fee: 30 };
        steps.registers.session = pool.map(|pool| OpenSession { pool: index(pool), tokens, session });
        let lane = |token, value| Lane { token: Token(token), value };
        let [dx, dy] = [x_after as i128 - x as i128, y_after - y as i128];
        steps.registers.lanes = [lane(TOKEN, dy), lane(0, dx), Lane::default()];
        let clear = record(Clear::NUMBER, POOL, if done { flag::DONE } else { 0 });
        let cleared = assert_twins(&mut steps, clear, Limits::default(), &Guesses::new());
        let fits = |held: i128| (1..1 << 63).contains(&held);
        let keeps = fits(x_after as i128) && fits(y_after) && x_after * y_after as u128 >= x * y;
        prop_assert_eq!(cleared.is_ok(), keeps && unpaid == [0, 0] && pool == Some(POOL));
    }
}
