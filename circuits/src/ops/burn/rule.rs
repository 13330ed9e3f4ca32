//! The native rule of BURN. The numbers are those of the [module](super).

use crate::step::{Refusal, Step};
use taproof_verifier::cell::{Cell, Token, TokenCell};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let token = step.token()?;
    let (needed, balance) = (step.record().a, token.supply);
    let refusal = Refusal::Insufficient { token: Token(step.record().cell.get()), balance, needed };
    let supply = step.difference(token.supply, needed.into(), refusal)?; // R1
    if token.unit != 0 {
        return Err(Refusal::Unit);
    } // R2
    step.put(Cell::Token(TokenCell { supply, ..token }));
    Ok(())
}
