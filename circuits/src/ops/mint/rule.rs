//! The native rule of MINT. The numbers are those of the [module](super).

use super::Mint;
use crate::step::{Refusal, Step};
use taproof_verifier::cell::{Cell, CellIndex, TokenCell};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let token = step.token()?;
    let TokenCell { supply, cap, issuer, decimals, unit, .. } = token;
    step.integer(cap, 64);
    step.integer(issuer.get(), 32);
    step.integer(decimals, 8);
    if step.signer() != Some(issuer) {
        return Err(Refusal::NotTheIssuer);
    } // R1
    let supply = step.sum(supply, step.record().a, "the supply")?;
    step.difference(cap, supply.into(), Refusal::Cap { supply, cap })?; // R2
    if unit != 0 {
        return Err(Refusal::Unit);
    } // R3
    let issuer = if step.flag(Mint::RENOUNCE) { CellIndex::default() } else { issuer }; // R4
    step.put(Cell::Token(TokenCell { supply, issuer, ..token }));
    Ok(())
}
