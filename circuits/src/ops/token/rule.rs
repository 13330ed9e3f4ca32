//! The native rule of TOKEN. The numbers are those of the [module](super).

use crate::{
    ops::wide,
    step::{Refusal, Step},
};
use taproof_verifier::{
    cell::{Cell, TokenCell, TokenName},
    record::StepRecord,
};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let StepRecord { a: cap, b: unit, c, word, .. } = *step.record();
    if unit != 0 {
        return Err(Refusal::Unit);
    } // R2
    let decimals = u8::try_from(c).ok().filter(|decimals| *decimals <= TokenCell::DECIMALS_MAX);
    let decimals = decimals.ok_or(Refusal::Decimals(c))?;
    step.integer(decimals, 5);
    step.integer(TokenCell::DECIMALS_MAX - decimals, 5);
    let name = TokenName::from_element(word).ok_or(Refusal::Name)?; // R3
    wide::integer(step, word);
    let issuer = step.signer().ok_or(Refusal::NoSigner)?; // R1
    step.put(Cell::Token(TokenCell { supply: 0, name, cap, issuer, decimals, unit })); // R4
    Ok(())
}
