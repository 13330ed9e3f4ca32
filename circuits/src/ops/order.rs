//! ORDER: trades in the session that is open, for an account that holds both tokens of the pool. A clause of its own.
//!
//! Record: a is what the order pays, o below; b the fee; c the pool's index and, from bit 32 on, the ticket's place.
//! Flags: [`SECOND`](flag::SECOND) (the second holding pays), [`TICKET`](flag::TICKET),
//! [`FEE_SECOND`](flag::FEE_SECOND), [`SELLS_SECOND`](Order::SELLS_SECOND) (it pays the pool's second token). With the
//! session's terms N and D, fee, and F = 10,000:
//!
//! - R1: c names the pool whose session is open, and the clause ends.
//! - R2: the nonce, or the ticket, is used up, and the height is no higher than the signer allows
//!   ([`spend`](super::spend)).
//! - R3: the holding that pays is of the pool's token that is sold, the other holding of the other.
//! - R4: o is no more than what is to be paid in of that token, and is taken off it.
//! - R5: the other holding gets floor(o (F - fee) N / (F D)) if the first token is sold, and with N and D the other way
//!   round if the second is.
//! - R6: the holdings after are those before less o and the fee, plus what the order gets, below 2^64.
//! - R7: what the order gets is no less than the signer demands.

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
pub struct Order;

impl Order {
    /// Its number.
    pub const NUMBER: u8 = 12;
    /// The flag of an order that pays the pool's second token.
    pub const SELLS_SECOND: u8 = 1 << 5;
    /// Where the ticket's place stands in c.
    pub(crate) const PLACE_BIT: u32 = 32;
}

impl Operation for Order {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "ORDER",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::B).and(Columns::C),
            check: Check::None,
            flags: flag::SECOND | flag::TICKET | flag::FEE_SECOND | Self::SELLS_SECOND,
            kind_before: Account::KIND,
            kind_after: Account::KIND,
            authority: Authority::Starts,
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
