//! BURN: takes an amount of a token out of motion, and out of its supply. Anyone can: what is burnt, somebody gave.
//!
//! Record: a is the amount.
//!
//! - R1: the supply falls by the amount, and is not negative.
//! - R2: the token has no unit.

mod circuit;
mod rule;
#[cfg(test)]
mod tests;

use crate::step::{Authority, Description, Groups, Operation, Refusal, Step, StepCircuit};
use taproof_verifier::{
    cell::TokenCell,
    operation::{Check, Columns},
};

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Burn;

impl Burn {
    /// Its number.
    pub const NUMBER: u8 = 7;
}

impl Operation for Burn {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "BURN",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A),
            check: Check::None,
            flags: 0,
            kind_before: TokenCell::KIND,
            kind_after: TokenCell::KIND,
            authority: Authority::Either,
            in_session: false,
            writes: Groups::ALWAYS,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        rule::apply(step)
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        circuit::synthesize(step);
    }
}
