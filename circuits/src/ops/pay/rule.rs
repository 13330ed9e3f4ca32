//! The native rule of PAY. The numbers are those of the [module](super).

use super::{super::spend, Pay};
use crate::step::{Lane, Refusal, Step};
use taproof_verifier::cell::Cell;

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let account = step.account()?;
    if let (false, Some(Lane { token, value })) = (step.flag(Pay::JOINT), step.registers().in_motion()) {
        return Err(Refusal::InMotion { token, value: value.into() });
    } // R4
    let account = spend::start(step, account, step.record().c)?; // R1, R3
    let account = spend::spend(step, account, 0)?; // R2
    step.put(Cell::Account(account));
    Ok(())
}
