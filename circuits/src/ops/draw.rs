//! DRAW: takes an amount from an account of the signer's key, for what follows.
//!
//! Record: a is the amount; c the new token of the second holding, with [`PAIR`](Draw::PAIR), and else zero. Flags:
//! [`SECOND`](flag::SECOND) (the amount is taken from the second holding), [`REBASE`](Draw::REBASE),
//! [`PAIR`](Draw::PAIR).
//!
//! - R1: the account has the signer's key.
//! - R2: the holding after is the holding before less the amount, not negative; the other one stays.
//! - R3: with REBASE the tickets' base grows by 64, below 2^32, and none of them is used; else both stay.
//! - R4: with PAIR the second holding is empty before, and its token is c, below 2^32, neither bitcoin nor the token of
//!   the first holding; else c is zero and the token stays.

mod circuit;
mod rule;
#[cfg(test)]
mod tests;

use crate::step::{Authority, Description, Groups, Operation, Refusal, Step, StepCircuit, flag};
use taproof_verifier::{
    cell::Account,
    operation::{Check, Columns},
};

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Draw;

impl Draw {
    /// Its number.
    pub const NUMBER: u8 = 2;
    /// The flag that gives the account its next 64 tickets.
    pub const REBASE: u8 = 1 << 3;
    /// The flag that sets the token of the second holding.
    pub const PAIR: u8 = 1 << 4;
}

impl Operation for Draw {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "DRAW",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::C),
            check: Check::None,
            flags: flag::SECOND | Self::REBASE | Self::PAIR,
            kind_before: Account::KIND,
            kind_after: Account::KIND,
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
