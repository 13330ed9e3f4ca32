//! MINT: lets the supply of a token grow. What is minted is in motion.
//!
//! Record: a is the amount. Flags: [`RENOUNCE`](Mint::RENOUNCE).
//!
//! - R1: the signer's account is the issuer.
//! - R2: the supply grows by the amount, to at most the cap.
//! - R3: the token has no unit.
//! - R4: with RENOUNCE there is no issuer any more; else the issuer stays, and cap and decimal places always.

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
pub struct Mint;

impl Mint {
    /// Its number.
    pub const NUMBER: u8 = 6;
    /// The flag after which nobody can mint any more.
    pub const RENOUNCE: u8 = 1 << 3;
}

impl Operation for Mint {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "MINT",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A),
            check: Check::None,
            flags: Self::RENOUNCE,
            kind_before: TokenCell::KIND,
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
