//! TOKEN: fills an empty cell with a token, which the signer can mint.
//!
//! Record: a is the cap, b the unit, c the decimal places, the word the name.
//!
//! - R1: the cap is a, the decimal places are c, at most 18, and the issuer is the signer's account.
//! - R2: b is zero: units are of items, which this release does not have.
//! - R3: the name is the word, below 2^248.
//! - R4: the supply is zero.

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
pub struct Token;

impl Token {
    /// Its number.
    pub const NUMBER: u8 = 5;
}

impl Operation for Token {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "TOKEN",
            columns: Columns::ALL,
            check: Check::None,
            flags: 0,
            kind_before: 0,
            kind_after: TokenCell::KIND,
            authority: Authority::Signer,
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
