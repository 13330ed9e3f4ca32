use super::Pay;
use crate::{
    ops::Receive,
    step::{Guesses, LANES, Lane, Limits, Refusal, flag},
    testing::{
        operations::{Example, POOL, TOKEN, assert_all_sound, assert_operation, state},
        steps::{HEIGHT, Steps, record},
        twins::{any_account, any_below, any_flags, any_lanes, assert_twins},
        violated_in_its_state,
    },
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use taproof_verifier::{
    cell::{Account, Cell, Holding, Tickets, Token},
    record::StepRecord,
};

/// A state whose fees are in the token: the operator's account, 5, holds it first.
fn with_fees_in_the_token() -> Steps {
    let mut state = state();
    state.token = Token(TOKEN);
    let account = state.account(5);
    state.set(5, Cell::Account(Account { token: Token(TOKEN), second: Holding::default(), ..account }));
    Steps::on(state)
}

/// A state with another account 1.
fn with(change: impl FnOnce(&mut Account)) -> Steps {
    let mut steps = Steps::on(state());
    let mut account = steps.state.account(1);
    change(&mut account);
    steps.put(1, Cell::Account(account));
    steps
}

fn pay(cell: u32, flags: u8, [a, b, c]: [u64; 3]) -> StepRecord {
    StepRecord { a, b, c, ..record(Pay::NUMBER, cell, flags) }
}

fn until(until: u32) -> Limits {
    Limits { least: 0, until }
}

/// The last height.
fn guesses(limits: Limits) -> Guesses {
    Guesses::from([(13, vec![limits.until.into()])])
}

/// What rule and circuit say of a payment of account 1.
fn paid(mut steps: Steps, flags: u8, numbers: [u64; 3]) -> Result<Account, Refusal> {
    let limits = until(HEIGHT);
    match assert_twins(&mut steps, pay(1, flags, numbers), limits, &guesses(limits)) {
        Ok(_) => Ok(steps.state.account(1)),
        Err(error) => Err(error.refusal),
    }
}

#[test]
fn each_relation_is_held_alone() {
    let example = |steps, cell, flags, numbers| Example::after(steps, pay(cell, flags, numbers), until(HEIGHT + 9));
    let usual = || Steps::on(state());
    let examples = [
        example(usual(), 1, 0, [500, 3, 0]),
        example(usual(), 2, flag::SECOND | flag::TICKET, [5_000_000, 1_000_000, 5]),
        example(usual(), 3, flag::TICKET | flag::END, [0, 0, 62]),
        example(with_fees_in_the_token(), 4, flag::FEE_SECOND | flag::END, [1_000_000, 5_000_000, 0]),
        example(with_fees_in_the_token(), 6, flag::SECOND | flag::FEE_SECOND | flag::TICKET, [4_999_999, 1, 1]),
    ];
    let joint = || {
        let mut steps = usual();
        steps.registers.lanes =
            [(0, 0), (TOKEN, -7), (POOL, 0)].map(|(token, value)| Lane { token: Token(token), value });
        example(steps, 1, Pay::JOINT, [500, 3, 0])
    };
    let examples = examples.into_iter().chain([joint()]).collect::<Vec<_>>();
    let relations = ["PAY R1, nonce or ticket", "PAY R2, holdings", "PAY R3, height", "PAY R4, what is in motion"];
    assert_operation(&examples, &relations);
    // Each lane, and nothing but it.
    for place in 0..LANES {
        for value in [1, -1, 1 << 70] {
            let violated = examples[0].violated_with(|witness| witness.registers.lanes[place].value = value);
            assert_eq!(violated, BTreeSet::from(["PAY R4, what is in motion"]));
            let mut steps = usual();
            steps.registers.lanes[place] = Lane { token: Token(TOKEN), value };
            let refused = Err(Refusal::InMotion { token: Token(TOKEN), value: value.into() });
            assert_eq!(paid(steps, 0, [500, 3, 0]).map(drop), refused);
        }
    }
}

#[test]
fn every_combination_of_flags_is_sound() {
    for (mut steps, from) in [(Steps::on(state()), 0), (with_fees_in_the_token(), flag::FEE_SECOND)] {
        let kinds = [0, flag::SECOND, flag::TICKET, flag::SECOND | flag::TICKET];
        for (place, kind) in (10..).zip(kinds) {
            let place = if kind & flag::TICKET == 0 { 0 } else { place };
            let ended = pay(2, kind | from | flag::END | Pay::JOINT, [500, 3, place]);
            steps.run_within(ended, until(HEIGHT)).expect("a clause of one step");
        }
        for (place, kind) in (20..).zip(kinds) {
            let place = if kind & flag::TICKET == 0 { 0 } else { place };
            steps
                .run_within(pay(2, kind | from | Pay::JOINT, [500, 3, place]), until(HEIGHT))
                .expect("a clause begins");
            let last = if place == 23 { flag::DONE } else { 0 };
            let rest = Receive::REST | kind & flag::SECOND | flag::END | last;
            steps.run(record(Receive::NUMBER, 3, rest)).expect("what is in motion is received");
        }
        assert!(steps.registers.are_zero());
        steps.run_within(pay(1, from | flag::END | flag::DONE, [0, 9, 0]), until(u32::MAX)).expect("a fee alone");
        assert_all_sound(&mut steps);
    }
}

#[test]
fn amounts_and_fees_go_up_to_what_the_holdings_have() {
    let full = || with(|account| (account.balance, account.second.balance) = (u64::MAX, u64::MAX));
    let balances = |account: Account| [account.balance, account.second.balance];
    assert_eq!(paid(full(), 0, [0, 0, 0]).map(balances), Ok([u64::MAX, u64::MAX]));
    assert_eq!(paid(full(), 0, [1, 0, 0]).map(balances), Ok([u64::MAX - 1, u64::MAX]));
    assert_eq!(paid(full(), 0, [u64::MAX, 0, 0]).map(balances), Ok([0, u64::MAX]));
    assert_eq!(paid(full(), 0, [0, u64::MAX, 0]).map(balances), Ok([0, u64::MAX]));
    assert_eq!(paid(full(), flag::SECOND, [u64::MAX, u64::MAX, 0]).map(balances), Ok([0, 0]));
    let overflow = Err(Refusal::Overflow { what: "amount and fee", width_bits: 64 });
    assert_eq!(paid(full(), 0, [u64::MAX, 1, 0]), overflow);
    let usual = || Steps::on(state());
    let insufficient =
        |token, balance| Err(Refusal::Insufficient { token: Token(token), balance, needed: balance + 1 });
    assert_eq!(paid(usual(), 0, [999_999, 2, 0]), insufficient(0, 1_000_000));
    assert_eq!(paid(usual(), flag::SECOND, [5_000_001, 2, 0]), insufficient(TOKEN, 5_000_000));
    assert_eq!(paid(usual(), flag::SECOND, [5_000_000, 1_000_001, 0]), insufficient(0, 1_000_000));
    assert_eq!(paid(with(|account| account.balance = 0), 0, [1, 0, 0]), insufficient(0, 0));
}

/// Trap 85: a fee is in the chunk's token, from whichever holding.
#[test]
fn trap_85_fees_are_in_the_token_of_the_chunk() {
    let wrong = |expected, found| Err(Refusal::FeeToken { expected: Token(expected), found: Token(found) });
    assert_eq!(paid(Steps::on(state()), flag::FEE_SECOND, [1, 1, 0]), wrong(0, TOKEN));
    assert_eq!(paid(with_fees_in_the_token(), 0, [1, 1, 0]), wrong(TOKEN, 0));
    assert!(paid(with_fees_in_the_token(), flag::FEE_SECOND, [1, 1, 0]).is_ok());
    assert!(paid(Steps::on(state()), flag::FEE_SECOND, [1, 0, 0]).is_ok(), "no fee is in no token");
}

#[test]
fn nonces_end_and_tickets_do_not_use_them() {
    let at = |nonce| with(|account| account.nonce = nonce);
    let nonce = |account: Account| account.nonce;
    assert_eq!(paid(at(0), 0, [1, 0, 0]).map(nonce), Ok(1));
    assert_eq!(paid(at(u32::MAX - 1), 0, [1, 0, 0]).map(nonce), Ok(u32::MAX));
    assert_eq!(paid(at(u32::MAX), 0, [1, 0, 0]), Err(Refusal::NonceExhausted));
    assert_eq!(paid(at(u32::MAX), flag::TICKET, [1, 0, 1]).map(nonce), Ok(u32::MAX));
}

/// Trap 11: each of the 64 tickets is used once, and no place but theirs is one.
#[test]
fn trap_11_tickets_are_used_once() {
    let with = |base, used| with(|account| account.tickets = Tickets { base, used });
    let tickets = |account: Account| account.tickets;
    for place in [0u64, 1, 31, 32, 62, 63] {
        let (bit, others) = (1 << place, !(1 << place));
        for (before, after) in [(0, bit), (others, u64::MAX)] {
            let used = paid(with(9, before), flag::TICKET, [1, 0, place]).map(tickets);
            assert_eq!(used, Ok(Tickets { base: 9, used: after }), "place {place}");
        }
        for used in [bit, u64::MAX] {
            let refused = paid(with(9, used), flag::TICKET, [1, 0, place]).map(tickets);
            assert_eq!(refused, Err(Refusal::TicketUsed(9 + place)), "place {place}");
        }
    }
    // A ticket may have 33 bits.
    let last = paid(with(u32::MAX, 0), flag::TICKET, [1, 0, 63]).map(tickets);
    assert_eq!(last, Ok(Tickets { base: u32::MAX, used: 1 << 63 }));
    for place in [64, 65, 127, 128, 1 << 32, u64::MAX] {
        assert_eq!(paid(with(9, 0), flag::TICKET, [1, 0, place]), Err(Refusal::TicketPlace(place)));
    }
    for place in [1, 63, 64, u64::MAX] {
        assert_eq!(paid(with(9, 0), 0, [1, 0, place]), Err(Refusal::TicketPlace(place)), "without a ticket");
    }
}

#[test]
fn a_payment_holds_up_to_its_height() {
    for (last, holds) in [(HEIGHT, true), (u32::MAX, true), (HEIGHT - 1, false), (0, false)] {
        let limits = until(last);
        let found = assert_twins(&mut Steps::on(state()), pay(1, 0, [1, 0, 0]), limits, &guesses(limits));
        let expired = Refusal::Expired { until: last, height_blocks: HEIGHT };
        assert_eq!(found.map(drop).map_err(|error| error.refusal), if holds { Ok(()) } else { Err(expired) });
    }
}

/// Trap 44: no payment takes the place of the signer of a clause that runs, be he the same.
#[test]
fn trap_44_no_payment_starts_a_clause_within_another() {
    for signer in [1, 2] {
        let mut steps = Steps::on(state());
        steps.run_within(pay(signer, 0, [500, 3, 0]), until(HEIGHT)).expect("a clause begins");
        for flags in [0, flag::END, flag::TICKET] {
            let second = pay(1, flags, [1, 0, u64::from(flags == flag::TICKET)]);
            let refusal = assert_twins(&mut steps, second, until(HEIGHT), &guesses(until(HEIGHT)));
            assert_eq!(refusal.map(drop).map_err(|error| error.refusal), Err(Refusal::ClauseRuns));
        }
    }
}

/// Trap 53: a clause that is signed for a nonce does not run as the ticket of the same number, nor the other way round.
#[test]
fn trap_53_a_clause_of_a_nonce_is_not_one_of_a_ticket() {
    let signed = |flags| {
        let mut steps = with(|account| account.tickets = Tickets { base: account.nonce, used: 0 });
        steps.run_within(pay(1, flags | flag::END, [500, 3, 0]), until(HEIGHT)).expect("it can pay");
        let chunk = steps.chunk(1);
        let witness = steps.witness_of(&chunk, 0);
        (steps, chunk, witness)
    };
    let (_, _, by_ticket) = signed(flag::TICKET);
    let (steps, chunk, by_nonce) = signed(0);
    assert_eq!(violated_in_its_state(&steps.slot(), &chunk, &by_nonce), BTreeSet::new());
    for (mut witness, other) in [(by_nonce.clone(), &by_ticket), (by_ticket.clone(), &by_nonce)] {
        witness.signature = other.signature;
        let violated = violated_in_its_state(&steps.slot(), &chunk, &witness);
        assert_eq!(violated, BTreeSet::from(["S3, signature"]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on payments of any account, nonce, ticket, amount, fee and height, whatever else is in
    /// motion, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        account in any_account(), lanes in any_lanes(),
        flags in any_flags(flag::SECOND | flag::TICKET | flag::FEE_SECOND),
        parts in prop::array::uniform2(any_below(64)), pays_all in prop::bool::weighted(0.4), has_fee: bool,
        place in prop_oneof![8 => 0u64..64, 1 => 62u64..67, 1 => any::<u64>()],
        last in HEIGHT - 1..HEIGHT + 4,
    ) {
        let mut steps = with(|other| *other = account);
        steps.registers.lanes = lanes;
        let balance = if flags & flag::SECOND == 0 { account.balance } else { account.second.balance };
        let a = if pays_all { balance } else { parts[0] as u64 };
        let b = if has_fee { parts[1] as u64 } else { 0 };
        let c = if flags & flag::TICKET != 0 || place % 8 == 1 { place } else { 0 };
        if let Ok(applied) = assert_twins(&mut steps, pay(1, flags, [a, b, c]), until(last), &guesses(until(last))) {
            let Cell::Account(after) = applied.cell else { panic!("an account") };
            prop_assert_eq!(applied.fee, b);
            let kept = |account: Account| (account.owner, account.token, account.second.token);
            prop_assert_eq!(kept(after), kept(account));
            // Nothing starts a clause twice: the nonce grows, or the ticket is used.
            let ticket = 1u64.checked_shl(c as u32).filter(|_| flags & flag::TICKET != 0);
            let used = Tickets { used: account.tickets.used | ticket.unwrap_or(0), ..account.tickets };
            prop_assert_eq!(after.tickets, used);
            prop_assert_eq!(after.nonce - account.nonce, u32::from(ticket.is_none()));
            prop_assert_ne!((after.nonce, after.tickets), (account.nonce, account.tickets));
        }
    }
}
