//! The native rule of OPEN. The numbers are those of the [module](super).

use super::Open;
use crate::step::{Refusal, Step};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, Token},
};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let (a, c, word) = (step.record().a, step.record().c, step.record().word);
    let token = u32::try_from(c).map_err(|_| Refusal::Overflow { what: "the token", width_bits: 32 })?;
    let token = Token(token); // R1
    step.integer(token.0, 32);
    let amount = match (step.flag(Open::REST), a) {
        (false, amount) => amount,
        (true, 0) => step.whole_lane(token)?,
        (true, _) => return Err(Refusal::NotZero("the amount")),
    }; // R2
    step.integer(amount, 64);
    let owner = PublicKey::from_x(word)?; // R3
    step.demand(token, amount)?; // R5
    step.put(Cell::Account(Account::new(owner, token, amount))); // R4
    Ok(())
}
