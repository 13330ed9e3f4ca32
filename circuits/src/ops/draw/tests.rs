use super::Draw;
use crate::{
    ops::Pay,
    step::{Limits, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        steps::{HEIGHT, Steps, record},
    },
};
use taproof_verifier::{
    cell::{Account, Cell, Holding, Tickets, Token},
    record::StepRecord,
};

/// A transaction in which the clause of account 1 runs.
fn begun() -> Steps {
    let mut steps = Steps::on(state());
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, 0) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

/// As [`begun`], with nothing in the second holding of account 7, which has the signer's key.
fn emptied() -> Steps {
    let mut steps = begun();
    let account = Account { second: Holding::default(), ..steps.state.account(7) };
    steps.state.set(7, Cell::Account(account));
    steps
}

fn draw(cell: u32, flags: u8, a: u64, c: u64) -> StepRecord {
    StepRecord { a, c, ..record(Draw::NUMBER, cell, flags) }
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let examples = [
        Example::after(begun(), draw(7, 0, 300, 0), none),
        Example::after(begun(), draw(1, flag::SECOND, 5_000_000, 0), none),
        Example::after(begun(), draw(7, Draw::REBASE, 1_000_000, 0), none),
        Example::after(emptied(), draw(7, Draw::PAIR, 1, POOL.into()), none),
    ];
    let relations = ["DRAW R1, signer's key", "DRAW R2, holdings", "DRAW R3, tickets", "DRAW R4, second token"];
    assert_operation(&examples, &relations);
}

#[test]
fn what_breaks_a_relation_is_refused_with_its_reason() {
    let steps = begun();
    let refused = |record: StepRecord| steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal);
    assert_eq!(refused(draw(2, 0, 1, 0)), Err(Refusal::NotTheSigners));
    let insufficient = |token, balance, needed| Err(Refusal::Insufficient { token: Token(token), balance, needed });
    assert_eq!(refused(draw(7, 0, 1_000_001, 0)), insufficient(0, 1_000_000, 1_000_001));
    assert_eq!(refused(draw(7, flag::SECOND, 5_001, 0)), insufficient(POOL, 5_000, 5_001));
    assert_eq!(refused(draw(7, 0, 1, 1)), Err(Refusal::NotZero("the second token")));
    assert_eq!(refused(draw(7, Draw::PAIR, 0, TOKEN.into())), Err(Refusal::TokenChanged));
    let outside = Steps::on(state()).apply(&draw(1, 0, 1, 0), Limits::default()).expect_err("no clause runs");
    assert_eq!(outside.refusal, Refusal::NoSigner);
    let steps = emptied();
    let refused = |record: StepRecord| steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal);
    assert_eq!(refused(draw(7, Draw::PAIR, 0, 0)), Err(Refusal::Zero("the second token")), "trap 61: bitcoin twice");
    assert_eq!(refused(draw(7, Draw::PAIR, 0, 1 << 32)), Err(Refusal::Overflow { what: "the token", width_bits: 32 }));
}

#[test]
fn trap_61_a_second_holding_has_another_token_than_the_first() {
    let mut steps = emptied();
    let account = Account { token: Token(TOKEN), ..steps.state.account(7) };
    steps.state.set(7, Cell::Account(account));
    let refusal = steps.apply(&draw(7, Draw::PAIR, 0, TOKEN.into()), Limits::default()).expect_err("equal tokens");
    assert_eq!(refusal.refusal, Refusal::TokenOrder(Token(TOKEN), Token(TOKEN)));
}

#[test]
fn tickets_end_with_the_last_that_32_bits_count() {
    for (base, next) in [(u32::MAX - 64, Some(u32::MAX)), (u32::MAX - 63, None), (0, Some(64))] {
        let mut steps = begun();
        let tickets = Tickets { base, used: u64::MAX };
        steps.state.set(7, Cell::Account(Account { tickets, ..steps.state.account(7) }));
        let found =
            steps.apply(&draw(7, Draw::REBASE, 0, 0), Limits::default()).ok().map(|applied| match applied.cell {
                Cell::Account(account) => account.tickets,
                other => panic!("{other:?}"),
            });
        assert_eq!(found, next.map(|base| Tickets { base, used: 0 }));
    }
}
