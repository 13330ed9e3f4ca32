//! OPEN: fills an empty cell with an account, and credits it with what is in motion.
//!
//! Record: a is the amount, c the token, the word the x of the owner's key. Flags: [`REST`](Open::REST) (all that is in
//! motion of the token is credited; then a is zero).
//!
//! - R1: c is below 2^32: the token of the first holding.
//! - R2: the amount is a, or with REST what is in motion of the token, below 2^64.
//! - R3: the owner is a key, a point of order l, whose x is the word.
//! - R4: all else is zero: nonce, tickets, second holding.
//! - R5: the amount is no less than the signer demands.

mod circuit;
mod rule;
#[cfg(test)]
mod tests;

use crate::step::{Authority, Description, Groups, Operation, Refusal, Step, StepCircuit};
use taproof_verifier::{
    cell::Account,
    operation::{Check, Columns},
};

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Open {
    /// Its number.
    pub const NUMBER: u8 = 4;
    /// The flag that credits all that is in motion.
    pub const REST: u8 = 1 << 3;
}

impl Operation for Open {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "OPEN",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::C).and(Columns::WORD),
            check: Check::None,
            flags: Self::REST,
            kind_before: 0,
            kind_after: Account::KIND,
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
