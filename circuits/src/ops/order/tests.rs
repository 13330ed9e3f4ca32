use super::Order;
use crate::{
    exchange::{self, FillError, Parameters, Reserves},
    ops::Session,
    step::{Guesses, Limits, OpenSession, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::{index, secret},
        steps::{HEIGHT, Steps, record},
        twins::{any_below, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, Holding, Tickets, Token},
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
    let second = Holding { token: second.token, balance: second.balance };
    turned.state.set(4, Cell::Account(Account { token, balance, second, ..account }));
    let examples = [
        Example::after(opened(), order(1, 0, [5_000, 2], 0), limits(10_000)),
        Example::after(opened(), order(2, SELLS_SECOND | flag::TICKET, [4_000, 3], 62), limits(1_000)),
        Example::after(opened(), order(2, SELLS_SECOND, [3_999, 0], 0), limits(0)),
        // The account's first holding is the pool's second token.
        Example::after(turned, order(4, flag::SECOND | flag::FEE_SECOND, [4_000, 3], 0), limits(0)),
    ];
    let relations = [
        "ORDER R1, clause of its own",
        "ORDER R1, pool",
        "ORDER R2, nonce or ticket",
        "ORDER R2, height",
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

/// Where no session is open all of its registers are zero: an order of nothing, of pool 0, by an account whose holdings
/// are both in bitcoin, is not one of it. Nothing divides by a price of zero.
#[test]
fn no_order_is_one_of_no_session() {
    let mut steps = Steps::on(state());
    let nothing = StepRecord { c: 0, ..record(Order::NUMBER, 8, flag::END) };
    let limits = Limits { least: 0, until: HEIGHT };
    let refusal = assert_twins(&mut steps, nothing, limits, &guesses(limits)).expect_err("no session is open");
    assert_eq!(refusal.refusal, Refusal::NoSession(index(0)));
}

/// The last height, and the least.
fn guesses(Limits { least, until }: Limits) -> Guesses {
    Guesses::from([(13, vec![until.into()]), (21, vec![least.into()])])
}

/// A session of a pool of any size.
fn any_session() -> impl Strategy<Value = exchange::Session> {
    let reserve = || any_below(63).prop_map(|held| (held as u64).max(1));
    let payment = || any_below(64).prop_map(|payment| payment as u64);
    let pool = (reserve(), reserve(), 0u16..=1_000, 1u8..=2);
    (pool, payment(), payment(), payment(), payment()).prop_map(|((x, y, fee, weight), a, b, paid_a, paid_b)| {
        let reserves = Reserves::new(x, y).expect("from 1 to 2^63 - 1");
        let parameters = Parameters::new(fee, weight, 10).expect("within bounds");
        let session = exchange::Session::open(reserves, &parameters, a, b);
        // Other orders have paid in a part.
        let unpaid = |sum: u64, paid: u64| sum - if sum == 0 { 0 } else { paid % sum };
        exchange::Session { unpaid_x: unpaid(a, paid_a), unpaid_y: unpaid(b, paid_b), ..session }
    })
}

/// An account with both tokens, the pool's first one first unless it is turned, which it says.
fn any_account() -> impl Strategy<Value = (bool, Account)> {
    let balance = || any_below(64).prop_map(|balance| balance as u64);
    let nonce = prop_oneof![9 => any::<u32>(), 1 => Just(u32::MAX)];
    let tickets = (prop_oneof![9 => any::<u32>(), 1 => Just(u32::MAX)], any::<u64>());
    (any::<bool>(), balance(), balance(), nonce, tickets).prop_map(|(turned, first, second, nonce, (base, used))| {
        let tokens = if turned { [TOKEN, 0] } else { [0, TOKEN] };
        let [token, other] = tokens.map(Token);
        let second = Holding { token: other, balance: second };
        let account = Account::new(*secret(1).public(), token, first);
        (turned, Account { nonce, tickets: Tickets { base, used }, second, ..account })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// Rule and circuit agree on orders of any size, side, holding, nonce, ticket and limit, in sessions of any pool,
    /// and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        session in any_session(), (turned, account) in any_account(), sells_second: bool,
        wrong_side in prop::bool::weighted(0.05), is_ticket: bool, fee_second in prop::bool::weighted(0.1),
        endless in prop::bool::weighted(0.15), pays_all: bool, paid in any_below(64),
        fee in prop_oneof![Just(0), any_below(12)],
        place in prop_oneof![8 => 0u64..64, 1 => 62u64..67, 1 => any::<u32>().prop_map(u64::from)],
        other_pool in prop::bool::weighted(0.05), other_token in prop::bool::weighted(0.05),
        least in prop_oneof![3 => Just(0), 1 => any_below(64)], until in HEIGHT - 1..HEIGHT + 4,
    ) {
        let mut steps = Steps::on(state());
        let account = if other_token { Account { token: Token(TOKEN + 1), ..account } } else { account };
        steps.put(1, Cell::Account(account));
        let tokens = [0, TOKEN].map(Token);
        steps.registers.session = Some(OpenSession { pool: index(POOL), tokens, session });
        let second = sells_second ^ turned ^ wrong_side;
        let flags = [
            (second, flag::SECOND),
            (is_ticket, flag::TICKET),
            (fee_second, flag::FEE_SECOND),
            (sells_second, Order::SELLS_SECOND),
            (!endless, flag::END),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
        let unpaid = if sells_second { session.unpaid_y } else { session.unpaid_x };
        let balance = if second { account.second.balance } else { account.balance };
        let a = if pays_all { unpaid.min(balance) } else { paid as u64 };
        let place = if is_ticket || place % 8 == 0 { place } else { 0 };
        let c = u64::from(POOL + u32::from(other_pool)) | place << 32;
        let order = StepRecord { a, b: fee as u64, c, ..record(Order::NUMBER, 1, flags) };
        let limits = Limits { least: least as u64, until };
        if let Ok(applied) = assert_twins(&mut steps, order, limits, &guesses(limits)) {
            // Trap 5: an order changes nothing of a session but what is to be paid in.
            let after = applied.registers.session.expect("it is open");
            let [unpaid_x, unpaid_y] = [after.session.unpaid_x, after.session.unpaid_y];
            prop_assert_eq!(after.session, exchange::Session { unpaid_x, unpaid_y, ..session });
            prop_assert_eq!((session.unpaid_x - unpaid_x) + (session.unpaid_y - unpaid_y), a);
        }
    }
}
