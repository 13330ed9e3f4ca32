//! The native rule of RECEIVE. The numbers are those of the [module](super).

use super::Receive;
use crate::step::{Due, Refusal, Step, flag};
use taproof_verifier::cell::{Cell, Token};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let mut account = step.account()?;
    if step.flag(Receive::OWN) && step.signer_key() != Some(account.owner) {
        return Err(Refusal::NotTheSigners);
    } // R6
    let second = step.flag(flag::SECOND);
    let token = if second { account.second.token } else { account.token };
    if second && token == Token::BITCOIN {
        return Err(Refusal::NotPaired);
    } // R5
    let amount = match (step.flag(Receive::REST), step.flag(Receive::DUE)) {
        (true, true) => return Err(Refusal::Flags(Receive::REST | Receive::DUE)),
        (false, false) => step.record().a,
        (rest, _) => {
            if step.record().a != 0 {
                return Err(Refusal::NotZero("the amount"));
            }
            if rest { step.whole_lane(token)? } else { take_due(step, token)? }
        }
    }; // R1
    step.integer(amount, 64);
    let balance = if second { &mut account.second.balance } else { &mut account.balance };
    *balance = step.sum(*balance, amount, "the balance")?; // R2
    step.demand(token, amount)?; // R3
    step.integer(account.second.token.0 - u32::from(second), 32);
    step.put(Cell::Account(account));
    Ok(())
}

/// R4.
fn take_due(step: &mut Step<'_>, token: Token) -> Result<u64, Refusal> {
    let cell = step.record().cell;
    match step.registers().dues[0] {
        Some(Due { account, token: owed, amount }) if account == cell && owed == token => {
            step.discharge();
            Ok(amount)
        }
        _ => Err(Refusal::NotDue),
    }
}
