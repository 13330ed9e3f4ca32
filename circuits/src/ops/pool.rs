//! POOL: founds a pool with what is in motion of two tokens.
//!
//! Record: c packs the fee in parts of 10,000 (14 bits), the weight w (2 bits) and the blocks H that the past weighs in
//! the average (16 bits). With the tokens X and Y of the first two lanes, and x and y in motion of them:
//!
//! - R1: X < Y, and x and y, below 2^63, are the reserves.
//! - R2: the shares are S = floor(sqrt(x y)) > 1,000. The machine keeps 1,000 of them in the pool.
//! - R3: the average is max(floor(y 2^48 / x), 2^32), below 2^96.
//! - R4: the fee is at most 1,000, w is 1 or 2, H is 1 to 30.
//! - R5: the last session is at the batch's height, and left x and y.

mod circuit;
mod rule;
#[cfg(test)]
mod tests;

use crate::step::{Authority, Description, Groups, Operation, Refusal, Step, StepCircuit};
use taproof_verifier::{
    cell,
    operation::{Check, Columns},
};

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Pool;

impl Pool {
    /// Its number.
    pub const NUMBER: u8 = 8;
}

impl Operation for Pool {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "POOL",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::C),
            check: Check::None,
            flags: 0,
            kind_before: 0,
            kind_after: cell::Pool::KIND,
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
