use super::Draw;
use crate::{
    ops::{Pay, Receive},
    step::{Guesses, Lane, Limits, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_all_sound, assert_operation, state},
        steps::{HEIGHT, Steps, record},
        twins::{any_account, any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, Holding, Tickets, Token},
    record::StepRecord,
};

/// A state with another account 7, which has the key of account 1, where the clause of account 1 runs.
fn with(change: impl FnOnce(&mut Account)) -> Steps {
    let mut steps = Steps::on(state());
    let mut account = steps.state.account(7);
    change(&mut account);
    steps.put(7, Cell::Account(account));
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, 0) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

/// The same with the account as it is, and with nothing in its second holding.
fn begun() -> Steps {
    with(|_| ())
}

fn emptied() -> Steps {
    with(|account| account.second = Holding::default())
}

fn draw(cell: u32, flags: u8, a: u64, c: u64) -> StepRecord {
    StepRecord { a, c, ..record(Draw::NUMBER, cell, flags) }
}

/// How far the second token is from the first.
fn guesses(first: Token, c: u64) -> Guesses {
    let distance = u128::from(c).abs_diff(first.0.into());
    Guesses::from([(8, vec![0, 1, distance.saturating_sub(1), distance, distance + 1])])
}

/// What rule and circuit say of a step: the account after it.
fn drawn(steps: &mut Steps, record: StepRecord) -> Result<Account, Refusal> {
    let first = match steps.state.cell(record.cell.get()) {
        Cell::Account(account) => account.token,
        _ => Token::BITCOIN,
    };
    match assert_twins(steps, record, Limits::default(), &guesses(first, record.c)) {
        Ok(_) => Ok(steps.state.account(record.cell.get())),
        Err(error) => Err(error.refusal),
    }
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let examples = [
        Example::after(begun(), draw(7, 0, 300, 0), none),
        Example::after(begun(), draw(1, flag::SECOND, 5_000_000, 0), none),
        Example::after(begun(), draw(7, Draw::REBASE, 1_000_000, 0), none),
        Example::after(emptied(), draw(7, Draw::PAIR, 1, POOL.into()), none),
        Example::after(with(|account| account.second.balance = 0), draw(7, Draw::PAIR, 0, TOKEN.into()), none),
    ];
    let relations = ["DRAW R1, signer's key", "DRAW R2, holdings", "DRAW R3, tickets", "DRAW R4, second token"];
    assert_operation(&examples, &relations);
}

#[test]
fn every_combination_of_flags_is_sound() {
    let mut steps = emptied();
    for flags in 0..8u8 {
        let set = |bit: u8, flag: u8| if flags >> bit & 1 == 1 { flag } else { 0 };
        let (second, rebase, pair) = (set(0, flag::SECOND), set(1, Draw::REBASE), set(2, Draw::PAIR));
        let a = if second == 0 { 10 } else { 0 };
        let c = if pair == 0 { 0 } else { [TOKEN, POOL, 1, u32::MAX][usize::from(flags & 3)].into() };
        steps.run(draw(7, second | rebase | pair, a, c)).expect("the signer's account");
    }
    let account = steps.state.account(7);
    assert_eq!((account.balance, account.tickets), (999_960, Tickets { base: 64 + 4 * 64, used: 0 }));
    assert_eq!(account.second.token, Token(u32::MAX));
    steps.run(draw(1, flag::SECOND | flag::END, 5_000_000, 0)).expect("the signer's own account");
    for (second, done) in [(0, 0), (flag::SECOND, flag::DONE)] {
        steps.run(record(Receive::NUMBER, 2, Receive::REST | second | done)).expect("all is received");
    }
    assert!(steps.registers.are_zero());
    assert_all_sound(&mut steps);
}

#[test]
fn holdings_are_drawn_down_to_nothing() {
    for flags in [0, flag::SECOND] {
        for (balance, amount) in [(0u64, 0u64), (1, 0), (1, 1), (0, 1), (u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX)]
        {
            let mut steps = with(|account| (account.balance, account.second.balance) = (balance, balance));
            let token = if flags == 0 { Token::BITCOIN } else { Token(POOL) };
            let lane = if flags == 0 { 500 + i128::from(amount) } else { amount.into() };
            let left = balance.checked_sub(amount).ok_or(Refusal::Insufficient { token, balance, needed: amount });
            let found = drawn(&mut steps, draw(7, flags, amount, 0));
            assert_eq!(found.map(|account| [account.balance, account.second.balance]), {
                left.map(|left| if flags == 0 { [left, balance] } else { [balance, left] })
            });
            if found.is_ok() && lane != 0 {
                assert!(steps.registers.lanes.contains(&Lane { token, value: lane }), "it is in motion");
            }
        }
    }
}

/// Trap 41: a signer's authority ends with his clause, and covers the accounts of his key alone.
#[test]
fn trap_41_nobody_draws_from_anothers_account() {
    assert_eq!(drawn(&mut begun(), draw(2, 0, 1, 0)), Err(Refusal::NotTheSigners));
    for flags in [Draw::REBASE, Draw::PAIR, flag::SECOND] {
        let c = if flags == Draw::PAIR { TOKEN } else { 0 };
        let found = drawn(&mut begun(), draw(8, flags, 0, c.into()));
        assert_eq!(found, Err(Refusal::NotTheSigners), "traps 11 and 61: set by another");
    }
    assert_eq!(drawn(&mut Steps::on(state()), draw(1, 0, 1, 0)), Err(Refusal::NoSigner));
    let mut steps = begun();
    drawn(&mut steps, draw(7, flag::END, 1, 0)).expect("the clause ends here");
    assert_eq!(drawn(&mut steps, draw(7, 0, 1, 0)), Err(Refusal::NoSigner));
}

/// Trap 61: the second holding is of a token other than bitcoin and the first one's, which the owner sets while the
/// holding is empty.
#[test]
fn trap_61_a_second_holding_has_another_token_than_the_first() {
    let first_is = |token| {
        with(|account| (account.token, account.second) = (Token(token), Holding { token: Token(5), balance: 0 }))
    };
    for (first, c, refusal) in [
        (0, 0, Some(Refusal::Zero("the second token"))),
        (TOKEN, 0, Some(Refusal::Zero("the second token"))),
        (TOKEN, TOKEN, Some(Refusal::TokenOrder(Token(TOKEN), Token(TOKEN)))),
        (u32::MAX, u32::MAX, Some(Refusal::TokenOrder(Token(u32::MAX), Token(u32::MAX)))),
        (TOKEN, TOKEN - 1, None),
        (TOKEN, TOKEN + 1, None),
        (TOKEN, 1, None),
        (0, 1, None),
        (0, u32::MAX, None),
        (u32::MAX, 1, None),
        // It has it already.
        (0, 5, None),
    ] {
        let found = drawn(&mut first_is(first), draw(7, Draw::PAIR, 0, c.into())).map(|account| account.second.token);
        assert_eq!(found, refusal.map_or(Ok(Token(c)), Err), "{first}, {c}");
    }
    let overflow = Err(Refusal::Overflow { what: "the token", width_bits: 32 });
    for wide in [1 << 32, u64::from(TOKEN) | 1 << 32, u64::MAX] {
        assert_eq!(drawn(&mut emptied(), draw(7, Draw::PAIR, 0, wide)), overflow);
    }
    for held in [TOKEN, POOL] {
        let found = drawn(&mut begun(), draw(7, Draw::PAIR, 0, held.into()));
        assert_eq!(found, Err(Refusal::TokenChanged), "it is not empty, though it may have the token already");
    }
    let emptied_by_itself = draw(7, Draw::PAIR | flag::SECOND, 5_000, TOKEN.into());
    assert_eq!(drawn(&mut begun(), emptied_by_itself), Err(Refusal::TokenChanged), "it is not empty before");
    assert_eq!(drawn(&mut begun(), draw(7, 0, 1, 1)), Err(Refusal::NotZero("the second token")));
}

/// Traps 11 and 82: whose tickets are used up gets the next 64, the base only grows, and no ticket is one of both.
#[test]
fn traps_11_and_82_the_next_64_tickets_are_others() {
    let overflow = Refusal::Overflow { what: "the tickets' base", width_bits: 32 };
    for (base, next) in [
        (0, Ok(64)),
        (1, Ok(65)),
        (u32::MAX - 64, Ok(u32::MAX)),
        (u32::MAX - 63, Err(overflow)),
        (u32::MAX, Err(overflow)),
    ] {
        for used in [0, 1, u64::MAX] {
            let mut steps = with(|account| account.tickets = Tickets { base, used });
            let found = drawn(&mut steps, draw(7, Draw::REBASE, 0, 0)).map(|account| account.tickets);
            assert_eq!(found, next.map(|base| Tickets { base, used: 0 }));
        }
    }
    let mut steps = Steps::on(state());
    let account = Account { tickets: Tickets { base: 64, used: u64::MAX }, ..steps.state.account(1) };
    steps.put(1, Cell::Account(account));
    let until = Limits { least: 0, until: HEIGHT };
    let by_ticket = |place| StepRecord { c: place, ..record(Pay::NUMBER, 1, flag::TICKET | flag::END) };
    for place in 0..64 {
        let refusal = steps.apply(&by_ticket(place), until).expect_err("all are used").refusal;
        assert_eq!(refusal, Refusal::TicketUsed(64 + place));
    }
    steps.run_within(record(Pay::NUMBER, 1, 0), until).expect("the nonce is left");
    steps.run(draw(1, Draw::REBASE | flag::END, 0, 0)).expect("the next 64");
    for place in [0, 63] {
        steps.run_within(by_ticket(place), until).expect("it is not used");
    }
    assert_eq!(steps.state.account(1).tickets, Tickets { base: 128, used: 1 | 1 << 63 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on whatever is drawn from any account in any clause, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        account in any_account(), lanes in any_lanes(), clause in any_clause(), is_empty: bool, same: bool,
        flags in any_flags(flag::SECOND | Draw::REBASE | Draw::PAIR), amount in any_below(64), draws_all: bool,
        token in prop_oneof![
            4 => prop::sample::select(vec![0, 1, TOKEN, POOL]), 1 => any::<u32>(), 1 => Just(u32::MAX),
        ],
        wide in prop::bool::weighted(0.05), posts in prop::bool::weighted(0.1),
    ) {
        let mut steps = Steps::on(state());
        let second = Holding { balance: if is_empty { 0 } else { account.second.balance }, ..account.second };
        let account = Account { second, ..account };
        steps.put(1, Cell::Account(account));
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        let held = if flags & flag::SECOND == 0 { account.balance } else { second.balance };
        let a = if draws_all { held } else { amount as u64 };
        let pairs = flags & Draw::PAIR != 0;
        let token = if same { account.token.0 } else { token };
        let c = if pairs || posts { u64::from(token) | u64::from(wide) << 32 } else { 0 };
        if let Ok(after) = drawn(&mut steps, draw(1, flags, a, c)) {
            prop_assert_eq!(clause.map(|clause| clause.owner), Some(account.owner));
            prop_assert_eq!((after.owner, after.nonce, after.token), (account.owner, account.nonce, account.token));
            let taken = [account.balance - after.balance, second.balance - after.second.balance];
            prop_assert_eq!(taken, if flags & flag::SECOND == 0 { [a, 0] } else { [0, a] });
            let rebases = flags & Draw::REBASE != 0;
            let tickets = Tickets { base: account.tickets.base.wrapping_add(64), used: 0 };
            prop_assert_eq!(after.tickets, if rebases { tickets } else { account.tickets });
            prop_assert!(after.tickets.base >= account.tickets.base);
            prop_assert_eq!(after.second.token, if pairs { Token(token) } else { second.token });
            if pairs {
                prop_assert!(after.second.token != Token::BITCOIN && after.second.token != after.token);
            }
        }
    }
}
