use super::Clear;
use crate::{
    exchange::{ClearError, ReservesError},
    ops::{Order, Session},
    step::{Lane, Limits, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
    },
};
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
