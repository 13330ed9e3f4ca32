use super::Order;
use crate::{
    exchange::FillError,
    ops::Session,
    step::{Limits, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{HEIGHT, Steps, record},
    },
};
use taproof_verifier::{
    cell::{Account, Cell, Token},
    record::StepRecord,
};

/// A session in which 5,000 sat and 4,000 of the token are to be paid in.
fn opened() -> Steps {
    let mut steps = Steps::on(state());
    steps.run(StepRecord { a: 5_000, b: 4_000, ..record(Session::NUMBER, POOL, 0) }).expect("a session opens");
    steps
}

fn order(cell: u32, flags: u8, [a, b]: [u64; 2], place: u64) -> StepRecord {
    let c = u64::from(POOL) | place << 32;
    StepRecord { a, b, c, ..record(Order::NUMBER, cell, flags | flag::END) }
}

const SELLS_SECOND: u8 = flag::SECOND | Order::SELLS_SECOND;

#[test]
fn each_relation_is_held_alone() {
    let limits = |least| Limits { least, until: HEIGHT + 1 };
    let mut turned = opened();
    let account = turned.state.account(4);
    let (first, second) = (account.second, account);
    let (token, balance) = (first.token, first.balance);
    let second = taproof_verifier::cell::Holding { token: second.token, balance: second.balance };
    turned.state.set(4, Cell::Account(Account { token, balance, second, ..account }));
    let examples = [
        Example::after(opened(), order(1, 0, [5_000, 2], 0), limits(10_000)),
        Example::after(opened(), order(2, SELLS_SECOND | flag::TICKET, [4_000, 3], 62), limits(1_000)),
        Example::after(opened(), order(2, SELLS_SECOND, [3_999, 0], 0), limits(0)),
        // The account's first holding is the pool's second token.
        Example::after(turned, order(4, flag::SECOND | flag::FEE_SECOND, [4_000, 3], 0), limits(0)),
    ];
    let relations = [
        "ORDER R1, pool",
        "ORDER R2, nonce or ticket",
        "ORDER R3, tokens",
        "ORDER R4, what is to be paid in",
        "ORDER R5, what the order gets",
        "ORDER R6, holdings",
        "ORDER R7, least",
    ];
    assert_operation(&examples, &relations);
}

#[test]
fn what_breaks_a_relation_is_refused_with_its_reason() {
    let refused = |steps: &Steps, record: StepRecord, least: u64| {
        let limits = Limits { least, until: HEIGHT };
        steps.apply(&record, limits).map(drop).map_err(|error| error.refusal)
    };
    let steps = opened();
    let sells = |amount| order(1, 0, [amount, 2], 0);
    assert_eq!(refused(&steps, sells(5_000), 14_000), Ok(()));
    let mut endless = sells(1);
    endless.flags &= !flag::END;
    assert_eq!(refused(&steps, endless, 0), Err(Refusal::NotEnded));
    let elsewhere = StepRecord { c: 31, ..sells(1) };
    assert_eq!(refused(&steps, elsewhere, 0), Err(Refusal::NoSession(index(31))), "trap 75");
    assert_eq!(refused(&Steps::on(state()), sells(1), 0), Err(Refusal::NoSession(index(POOL))), "trap 24");
    let unexpected = FillError::Unexpected { amount: 5_001, unpaid: 5_000 };
    assert_eq!(refused(&steps, sells(5_001), 0), Err(Refusal::Fill(unexpected)));
    // 5,000 * 9,970 * 30,079,760,000 / (10,000 * 10,099,700,000).
    let given = 14_846;
    assert_eq!(
        refused(&steps, sells(5_000), 15_000),
        Err(Refusal::LimitNotMet { token: Token(TOKEN), least: 15_000, given }),
    );
    // Trap 62: an order by the other side's formula is one of other tokens.
    let wrong = |expected, found| Err(Refusal::WrongToken { expected: Token(expected), found: Token(found) });
    assert_eq!(refused(&steps, order(1, Order::SELLS_SECOND, [1, 0], 0), 0), wrong(TOKEN, 0));
    assert_eq!(refused(&steps, order(1, flag::SECOND, [1, 0], 0), 0), wrong(0, TOKEN));
    assert_eq!(refused(&steps, order(7, 0, [1, 0], 0), 0), wrong(TOKEN, POOL));
    let poor = order(1, 0, [5_000, 995_001], 0);
    let insufficient = Refusal::Insufficient { token: Token(0), balance: 1_000_000, needed: 1_000_001 };
    assert_eq!(refused(&steps, poor, 0), Err(insufficient));
    let ticket = |place| order(2, flag::TICKET, [1, 0], place);
    assert_eq!(refused(&steps, ticket(2), 0), Err(Refusal::TicketUsed(66)), "trap 11");
    assert_eq!(refused(&steps, ticket(64), 0), Err(Refusal::TicketPlace(64)));
    assert_eq!(refused(&steps, order(2, 0, [1, 0], 1), 0), Err(Refusal::TicketPlace(1)), "trap 53");
    let expired = steps.apply(&sells(1), Limits { least: 0, until: HEIGHT - 1 }).expect_err("it is late");
    assert_eq!(expired.refusal, Refusal::Expired { until: HEIGHT - 1, height_blocks: HEIGHT });
    let fee_in_token = order(1, flag::FEE_SECOND, [1, 1], 0);
    let fee = Refusal::FeeToken { expected: Token(0), found: Token(TOKEN) };
    assert_eq!(refused(&steps, fee_in_token, 0), Err(fee), "trap 85");
}

/// Trap 6: what an order pays is taken off what is to be paid in, and its nonce or ticket is used.
#[test]
fn trap_6_an_order_is_paid_once() {
    let mut steps = opened();
    let sells = order(1, flag::TICKET, [2_500, 2], 1);
    steps.run_within(sells, Limits { least: 1, until: HEIGHT }).expect("once");
    let again = steps.apply(&sells, Limits { least: 1, until: HEIGHT }).expect_err("twice");
    assert_eq!(again.refusal, Refusal::TicketUsed(65));
    // The same order by nonces is another clause: its digest has the nonce.
    let by_nonce = order(1, 0, [2_500, 2], 0);
    let digests: Vec<_> = (0..2)
        .map(|_| {
            let applied = steps.apply(&by_nonce, Limits { least: 1, until: HEIGHT }).expect("an order");
            steps.state.set(1, applied.cell);
            applied.signed.expect("its clause ends").1
        })
        .collect();
    assert_ne!(digests[0], digests[1]);
}

/// Trap 81: who sells the token can pay the fee in bitcoin out of what he gets.
#[test]
fn trap_81_whoever_sells_the_token_can_pay_the_fee() {
    let mut steps = opened();
    let account = steps.state.account(3);
    steps.state.set(3, Cell::Account(Account { balance: 0, ..account }));
    let sells = order(3, SELLS_SECOND, [4_000, 1_000], 0);
    let applied = steps.apply(&sells, Limits { least: 0, until: HEIGHT }).expect("he gets more than the fee");
    assert_eq!(applied.fee, 1_000);
    assert!(applied.cell.holdings()[0].balance > 0);
}
