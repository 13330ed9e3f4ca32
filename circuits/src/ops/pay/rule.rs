//! The native rule of PAY. The numbers are those of the [module](super).

use super::super::spend;
use crate::step::{Refusal, Step};
use taproof_verifier::cell::Cell;

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let account = step.account()?;
    let account = spend::start(step, account, step.record().c)?; // R1, R3
    let account = spend::spend(step, account, 0)?; // R2
    step.put(Cell::Account(account));
    Ok(())
}
