//! PAY: starts a clause, and takes an amount from the signer's account for what follows, with a fee.
//!
//! Record: a is the amount, b the fee, c the ticket's place. Flags: [`SECOND`](flag::SECOND) (the amount is taken from
//! the second holding), [`TICKET`](flag::TICKET), [`FEE_SECOND`](flag::FEE_SECOND), [`JOINT`](Pay::JOINT) (the signer
//! lets others put something in motion before).
//!
//! - R1: the nonce, or the ticket, is used up ([`spend`](super::spend)).
//! - R2: the holdings after are those before less amount and fee, below 2^64.
//! - R3: the height is no higher than the signer allows.
//! - R4: without JOINT, nothing is in motion. So what later steps of the clause take as a whole is the signer's own.

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
pub struct Pay;

impl Pay {
    /// Its number.
    pub const NUMBER: u8 = 1;
    /// The flag of a clause that may begin where something is in motion. Steps that take all that is in motion have
    /// no place in such a clause: others can have taken some of it, or put something else there.
    pub const JOINT: u8 = 1 << 5;
}

impl Operation for Pay {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "PAY",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::B).and(Columns::C),
            check: Check::None,
            flags: flag::SECOND | flag::TICKET | flag::FEE_SECOND | Self::JOINT,
            kind_before: Account::KIND,
            kind_after: Account::KIND,
            authority: Authority::Starts,
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
