//! SESSION: opens the session of a pool, in which orders trade at one price.
//!
//! Record: a is what the session's orders pay in of the pool's first token, b what they pay in of the second. Anyone
//! runs it: the price follows from the pool and from a and b, and each order has a limit of its own. While the session
//! is open nothing else runs than ORDER and CLEAR. Of one pool there is one session in a Bitcoin block, which the
//! verifier checks, and one at a height.
//!
//! With x, y, fee, w and H of the pool, F = 10,000 and the batch's height R:
//!
//! - R1: R is above the height of the pool's last session, which becomes R.
//! - R2: nothing is in motion, and no fact is noted.
//! - R3: the average advances ([`exchange::advance`](crate::exchange::advance)), with what the pool holds before the
//!   session.
//! - R4: the session's terms are N = F y + w (F - fee) b and D = F x + w (F - fee) a; a and b are to be paid in.

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
pub struct Session;

impl Session {
    /// Its number.
    pub const NUMBER: u8 = 11;
}

impl Operation for Session {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "SESSION",
            columns: Columns::CELL.and(Columns::A).and(Columns::B),
            check: Check::OncePerBlock,
            flags: 0,
            kind_before: Pool::KIND,
            kind_after: Pool::KIND,
            authority: Authority::Anyone,
            in_session: false,
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
