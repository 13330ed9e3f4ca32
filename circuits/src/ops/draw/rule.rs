//! The native rule of DRAW. The numbers are those of the [module](super).

use super::Draw;
use crate::step::{Refusal, Step, flag};
use taproof_verifier::cell::{Cell, Tickets, Token};

/// The tickets that an account has at a time.
const TICKETS: u32 = 64;

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let mut account = step.account()?;
    if step.signer_key() != Some(account.owner) {
        return Err(Refusal::NotTheSigners);
    } // R1
    let (amount, c) = (step.record().a, step.record().c);
    let second = step.flag(flag::SECOND);
    let (first_part, second_part) = if second { (0, amount) } else { (amount, 0) };
    let insufficient = |token: Token, balance: u64, needed: u64| Refusal::Insufficient { token, balance, needed };
    let (token, balance) = (account.token, account.balance);
    account.balance = step.difference(balance, first_part.into(), insufficient(token, balance, first_part))?;
    let held = account.second;
    let refusal = insufficient(held.token, held.balance, second_part);
    account.second.balance = step.difference(held.balance, second_part.into(), refusal)?; // R2
    let Tickets { base, used } = account.tickets;
    if step.flag(Draw::REBASE) {
        let overflow = Refusal::Overflow { what: "the tickets' base", width_bits: 32 };
        account.tickets = Tickets { base: base.checked_add(TICKETS).ok_or(overflow)?, used: 0 };
    } // R3
    step.integer(base, 32);
    step.integer(used, 64);
    step.integer(account.tickets.base, 32);
    let is_pair = step.flag(Draw::PAIR);
    let paired = u32::try_from(c).map_err(|_| Refusal::Overflow { what: "the token", width_bits: 32 })?;
    let distance = paired.abs_diff(token.0);
    if is_pair {
        if held.balance != 0 {
            return Err(Refusal::TokenChanged);
        }
        if paired == 0 {
            return Err(Refusal::Zero("the second token"));
        }
        if distance == 0 {
            return Err(Refusal::TokenOrder(token, Token(paired)));
        }
        account.second.token = Token(paired);
    } else if c != 0 {
        return Err(Refusal::NotZero("the second token"));
    } // R4
    step.integer(paired, 32);
    step.integer(paired - u32::from(is_pair), 32);
    let distance = if is_pair { distance } else { 0 };
    step.integer(is_pair && paired < token.0, 1);
    step.integer(distance, 32);
    step.integer(distance - u32::from(is_pair), 32);
    step.put(Cell::Account(account));
    Ok(())
}
