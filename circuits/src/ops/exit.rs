//! EXIT: takes all shares of a pool that are in motion out of it, for their part of both reserves.
//!
//! With the reserves x and y, the shares S, and s of them in motion:
//!
//! - R1: no fact is noted.
//! - R2: s is below 2^64 and not negative, and S - s >= 1,000.
//! - R3: the reserves after are x - floor(s x / S) and y - floor(s y / S).

mod circuit;
mod rule;
#[cfg(test)]
mod tests;

use crate::step::{Authority, Description, Groups, Operation, Refusal, Step, StepCircuit};
use taproof_verifier::{
    cell::Pool,
    operation::{Check, Columns},
};

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Exit;

impl Exit {
    /// Its number.
    pub const NUMBER: u8 = 10;
}

impl Operation for Exit {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "EXIT",
            columns: Columns::FLAGS.and(Columns::CELL),
            check: Check::None,
            flags: 0,
            kind_before: Pool::KIND,
            kind_after: Pool::KIND,
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
