//! RECEIVE: credits an account with what is in motion.
//!
//! Record: a is the amount. Flags: [`SECOND`](flag::SECOND) (the second holding is credited), [`REST`](Receive::REST)
//! (all that is in motion of the holding's token is credited; then a is zero), [`DUE`](Receive::DUE) (what is owed to
//! the account in that token, of the first payment that is owed; then a is zero), [`OWN`](Receive::OWN) (the account is
//! of the signer's key).
//!
//! - R1: the amount is a, or with REST what is in motion of the holding's token, or with DUE what is owed. Not both
//!   flags are set.
//! - R2: the holding after is the holding before plus the amount, both below 2^64.
//! - R3: the amount is no less than the signer demands.
//! - R4: with DUE, the payment that is owed is to this account and in the holding's token; it is owed no longer, and
//!   the next one takes its place. Without, what is owed stays.
//! - R5: with SECOND, the second holding has a token other than bitcoin: its owner has set one. An exit would not find
//!   bitcoin there.
//! - R6: with OWN, the account's owner is the signer's: whoever came first into the cell that a clause names gets
//!   nothing.

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
pub struct Receive;

impl Receive {
    /// Its number.
    pub const NUMBER: u8 = 3;
    /// The flag that credits all that is in motion.
    pub const REST: u8 = 1 << 3;
    /// The flag that credits what is owed.
    pub const DUE: u8 = 1 << 4;
    /// The flag that wants the account to be of the signer's key.
    pub const OWN: u8 = 1 << 5;
}

impl Operation for Receive {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "RECEIVE",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A),
            check: Check::None,
            flags: flag::SECOND | Self::REST | Self::DUE | Self::OWN,
            kind_before: Account::KIND,
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
