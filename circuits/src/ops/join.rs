//! JOIN: adds all that is in motion of a pool's two tokens to it, and mints shares by the lesser proportion.
//!
//! With the reserves x and y, the shares S, and dx and dy in motion:
//!
//! - R1: no fact is noted.
//! - R2: the reserves after are x + dx and y + dy, below 2^63; dx and dy are not negative.
//! - R3: the shares grow by m = min(floor(dx S / x), floor(dy S / y)): m x <= dx S and m y <= dy S, and (m + 1) x > dx
//!   S or (m + 1) y > dy S.

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
pub struct Join;

impl Join {
    /// Its number.
    pub const NUMBER: u8 = 9;
}

impl Operation for Join {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "JOIN",
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
