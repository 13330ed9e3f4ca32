use super::Receive;
use crate::{
    ops::Pay,
    step::{Due, Limits, Refusal, flag},
    testing::{
        operations::{Example, OTHER, TOKEN, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
    },
};
use taproof_verifier::{cell::Token, record::StepRecord};

/// A transaction in which account 1 has paid 500 sat, or of its second holding.
fn paid(flags: u8) -> Steps {
    let mut steps = Steps::on(state());
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flags) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn receive(cell: u32, flags: u8, a: u64) -> StepRecord {
    StepRecord { a, ..record(Receive::NUMBER, cell, flags) }
}

/// Two payments are owed: to account 3 in bitcoin, and to account 4 in the token.
fn owing() -> Steps {
    let mut steps = paid(0);
    let due = |account, token, amount| Some(Due { account: index(account), token: Token(token), amount });
    steps.registers.dues = [due(3, 0, 70), due(4, TOKEN, 80)];
    steps
}

#[test]
fn each_relation_is_held_alone() {
    let least = |least| Limits { least, until: 0 };
    let examples = [
        Example::after(paid(0), receive(2, 0, 300), least(300)),
        Example::after(paid(0), receive(2, Receive::REST, 0), least(499)),
        Example::after(paid(0), receive(2, 0, 0), least(0)),
        Example::after(paid(flag::SECOND), receive(2, flag::SECOND | Receive::REST, 0), least(0)),
    ];
    let relations = ["RECEIVE R1, amount", "RECEIVE R2, holding", "RECEIVE R3, least", "RECEIVE R4, what is owed"];
    assert_operation(&examples, &relations);
}

/// A set whose operations owe nothing carries no register for it, so that nothing can be owed in its circuit; the rule
/// is the same for all sets.
#[test]
fn what_is_owed_goes_to_its_account_in_its_token_alone() {
    let steps = owing();
    let refused = |record: StepRecord| steps.apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal);
    let due = Receive::DUE;
    assert_eq!(refused(receive(4, due, 0)), Err(Refusal::NotDue));
    assert_eq!(refused(receive(3, due | flag::SECOND, 0)), Err(Refusal::NotDue));
    assert_eq!(refused(receive(4, due | flag::SECOND, 0)), Err(Refusal::NotDue), "the first is first");
    assert_eq!(refused(receive(3, due, 1)), Err(Refusal::NotZero("the amount")));
    assert_eq!(refused(receive(3, due | Receive::REST, 0)), Err(Refusal::Flags(due | Receive::REST)));
    let applied = steps.apply(&receive(3, due, 0), Limits::default()).expect("it is owed to account 3");
    assert_eq!(applied.cell.holdings()[0].balance, 1_000_070);
    assert_eq!(applied.registers.dues, [steps.registers.dues[1], None]);
}

#[test]
fn trap_55_an_amount_and_a_flag_that_says_another_are_refused() {
    let refused = |flags, a| {
        let record = receive(2, flags, a);
        paid(0).apply(&record, Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    assert_eq!(refused(Receive::REST, 1), Err(Refusal::NotZero("the amount")));
    assert_eq!(refused(Receive::REST, 0), Ok(()));
}

/// Whoever makes the transaction takes from the lane first, so that the rest falls short of what the signer gave: his
/// clause says at least how much.
#[test]
fn trap_56_the_rest_is_no_less_than_the_signer_demands() {
    let mut steps = Steps::on(state());
    steps.run(receive(3, 0, 100)).expect("it may be taken before it is given");
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, 0) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    let rest = receive(2, Receive::REST | flag::END, 0);
    let refusal = steps.apply(&rest, Limits { least: 500, until: 0 }).expect_err("100 are missing");
    assert_eq!(refusal.refusal, Refusal::LimitNotMet { token: Token::BITCOIN, least: 500, given: 400 });
}

#[test]
fn amounts_stay_within_what_is_in_motion_or_the_transaction_does_not_end() {
    let steps = paid(0);
    let refused = |record: StepRecord, least| {
        steps.apply(&record, Limits { least, until: 0 }).map(drop).map_err(|error| error.refusal)
    };
    let token = Token(TOKEN);
    assert_eq!(refused(receive(2, flag::SECOND | Receive::REST, 0), 0), Ok(()), "nothing of the token is nothing");
    assert_eq!(
        refused(receive(2, flag::SECOND | Receive::REST, 0), 1),
        Err(Refusal::LimitNotMet { token, least: 1, given: 0 }),
    );
    let negative = {
        let mut steps = paid(0);
        steps.run(receive(2, 0, 501)).expect("it may be taken before it is given");
        steps
    };
    let refusal = negative.apply(&receive(3, Receive::REST, 0), Limits::default()).expect_err("less than nothing");
    assert_eq!(refusal.refusal, Refusal::LaneValue { token: Token::BITCOIN, value: (-1).into() });
    let mut full = paid(0);
    let account = full.state.account(2);
    full.state.set(
        2,
        taproof_verifier::cell::Cell::Account(taproof_verifier::cell::Account { balance: u64::MAX, ..account }),
    );
    let refusal = full.apply(&receive(2, 0, 1), Limits::default()).expect_err("64 bits are full");
    assert_eq!(refusal.refusal, Refusal::Overflow { what: "the balance", width_bits: 64 });
    let refusal = steps.apply(&receive(OTHER, 0, 1), Limits::default()).expect_err("no account");
    assert!(matches!(refusal.refusal, Refusal::WrongCell { found: 0, .. }));
}
