//! READ: notes the prices of a pool, for later steps of the transaction. Anyone runs it.
//!
//! Flags: [`INVERSE`](Read::INVERSE) (the pool's second token is priced in the first, else the first in the second).
//! With the reserves b of the token that is priced and q of the other:
//!
//! - R1: no fact is noted, and the pool's last session is below the batch's height.
//! - R2: the average is the pool's, or with INVERSE floor(2^96 / average).
//! - R3: the spot price is floor(q 2^48 / b), below 2^96.
//! - R4: the reserve is the lesser of q and what it was after the last session.
//! - R5: the fact has the cell, the token that is priced, the other, these numbers, and the height of the last session.

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
pub struct Read;

impl Read {
    /// Its number.
    pub const NUMBER: u8 = 14;
    /// The flag that prices the second token in the first.
    pub const INVERSE: u8 = 1 << 3;
}

impl Operation for Read {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "READ",
            columns: Columns::FLAGS.and(Columns::CELL),
            check: Check::None,
            flags: Self::INVERSE,
            kind_before: Pool::KIND,
            kind_after: Pool::KIND,
            authority: Authority::Anyone,
            in_session: false,
            writes: Groups::FACT,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        rule::apply(step)
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        circuit::synthesize(step);
    }
}
