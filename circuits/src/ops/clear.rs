//! CLEAR: closes the session of a pool, which takes what orders paid in and gives what they got. Anyone runs it.
//!
//! - R1: the session is that of this pool, and all is paid in; then no session is open.
//! - R2: the reserves after are those before and what is in motion of both tokens, each from 1 to 2^63 - 1.
//! - R3: the product of the reserves is no less than before.
//! - R4: the reserves after are noted as those after the last session.

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
pub struct Clear;

impl Clear {
    /// Its number.
    pub const NUMBER: u8 = 13;
}

impl Operation for Clear {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "CLEAR",
            columns: Columns::FLAGS.and(Columns::CELL),
            check: Check::None,
            flags: 0,
            kind_before: Pool::KIND,
            kind_after: Pool::KIND,
            authority: Authority::Anyone,
            in_session: true,
            writes: Groups::SESSION,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        rule::apply(step)
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        circuit::synthesize(step);
    }
}
