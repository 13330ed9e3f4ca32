//! Steps: the machine that runs [operations](crate::ops).
//!
//! A step changes one cell by one operation. A transaction is a run of steps over registers, a clause a run of steps
//! within it that one owner signs, and a chunk mixes the operations of all. An operation says what its cell becomes;
//! what moves is the machine's. Public: the record (operation, flags, cell, three numbers, a word). Private: the cell,
//! its path, the registers, what the signer holds the step to, the signature. [`Machine::apply`] is the rule, the
//! circuit its twin. In an active slot:
//!
//! - S1: the record's first element is pack(1: 1, operation: 8, flags: 8, cell: 32, a: 64, b: 64, c: 64), with a cell
//!   below 8^depth other than 0, the number of one operation of the set, and flags that it knows. What the operation
//!   does not post is zero.
//! - S2: the cell before is in the state, of the kind that the operation needs; the state after has the cell after in
//!   its place, of the kind that the operation leaves. What the cell's second holding packs is pack(token: 32, amount:
//!   64).
//! - S3: an operation stands where it may: one that starts a clause, and one that anyone runs, where no clause runs;
//!   one of a signer where one runs; none but those of a session while one is open. Where a clause ends, its signer
//!   signed its digest; everywhere else a key that everyone knows signed nothing. No signature is ever switched off.
//! - S4: the digest starts with the clause and absorbs each of its steps (step/clause.rs). With the clause's end,
//!   signer and digest are zero. A new owner's key is a point of order l.
//! - S5: each lane changes by what the cell no longer holds, or has minted, less the fee (step/lanes.rs). A holding's
//!   token changes only while it holds nothing. A fee is in the chunk's token. The sum of fees grows by the fee, and
//!   the registers are handed on.
//! - S6: where the operation knows a limit, what it gives is no less, and the height no higher; elsewhere both are
//!   zero.
//! - S7: where the transaction is done, no clause runs, no session is open, nothing is owed and the lanes' values are
//!   zero; then the lanes' tokens and the fact are zero, too.
//! - S8: what the operation does not set stays. What it does not take of the pool of bits is zero.
//!
//! In a padding slot:
//!
//! - S9: the record's elements are zero; the cap, the sum of fees and the registers stay.
//!
//! **Conservation.** Value leaves cells through S5 alone, for all kinds of cells and all operations alike: amounts,
//! tokens and supplies stand at the same places in all cells, an operation can set them to integers of their widths
//! alone, and what they lose or mint is in motion until another cell holds it. So no operation, not even a faulty one,
//! makes value of a token other than its cell's own.

mod clause;
mod error;
mod lanes;
mod machine;
mod operation;
mod recording;
mod registers;
mod rule;

pub use clause::{Limits, MACHINE_VERSION};
pub use error::{Refusal, StepError};
pub use machine::{Machine, MachineError, Machines};
pub use operation::{Authority, Description, Operation, flag};
pub use recording::{Expression, Integer, StepCircuit};
pub use registers::{DUES, Due, Fact, Groups, LANES, Lane, OpenSession, REGISTERS_MAX, Registers, RunningClause};
pub use rule::{Applied, PoolInteger, Step, StepContext};

pub(crate) use clause::{clause_digest, clause_message, known_key, known_signature};
pub(crate) use lanes::LaneWires;
pub(crate) use machine::has_supply;
#[cfg(any(test, feature = "testing"))]
pub(crate) use recording::Guesses;
pub(crate) use recording::Sums;
pub(crate) use registers::place;

#[cfg(test)]
mod tests;
