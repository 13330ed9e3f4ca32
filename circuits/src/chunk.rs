//! A chunk: a fixed number of slots of one kind, and the statement that they prove together.
//!
//! Public: the statement's digest, the one public input. The circuit is a head, n copies of the kind's slot, and a
//! tail. What runs from segment to segment is the [cap](crate::cap) of the state, the sum of the fees, and the
//! registers of [steps](crate::step). Slots hold, beside the relations of their kind:
//!
//! - S1: the active bit is 0 or 1.
//! - S2: the record's elements are those of the transition times the active bit, so zeros in a padding slot.
//! - S3: in an active slot, each update starts from the node of the carried cap that is above its cell, and replaces
//!   it; in a padding slot the carried cap stays.
//! - S4: the sum of the fees grows by the fee in an active slot and stays in a padding slot.
//! - S5: steps hand their registers on; a padding slot hands on those that it is handed.
//!
//! Kinds count S2 to S4 among their own R1..Rn. What a padding slot's other wires hold means nothing: every way out
//! of the slot is multiplied by the active bit. They satisfy the kind's relations nonetheless, with values that
//! anyone can make.
//!
//! Head and tail hold:
//!
//! - H1: the sum of the fees starts at zero.
//! - T1: the data digest is the sponge over all slots' elements, in order.
//! - T2: for a kind with fees, the operator's index is below 8^depth.
//! - T3: if the fees are not zero, the operator's cell is an account of the chunk's token.
//! - T4: its balance after is its balance before plus the fees, below 2^64; nothing else changes.
//! - T5: the operator's cell before is in the state after the last slot, and the cap after the chunk is that of the
//!   state with the cell after. For a kind without fees, the cap after the chunk is the one after the last slot.
//! - T6: the roots before and after are those above the caps that the first slot is handed and that the chunk ends
//!   with.
//! - T7: the public input is the sponge over the [statement](taproof_verifier::statement::Statement::elements), where
//!   the circuit's identity is a constant, and so are the four zeros.
//! - T8: the registers of the statement are the digests of those that the first slot is handed and the last hands on;
//!   zeros of payments, which carry none.
//!
//! The sum of at most 2^16 fees of 64 bits does not wrap. Chain id, height, token and operator's index are integers
//! of the width that the verifier hashes into the statement.

mod assign;
mod circuit;
mod segments;
mod step;
pub mod witness;

pub use assign::{AssignError, assign};
pub use circuit::{CircuitCount, NoCircuitError, count, counts, shape};
#[cfg(any(test, feature = "testing"))]
pub(crate) use segments::{BegunSlot, Carry, begin_slot, end_slot};
pub(crate) use segments::{Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, SlotUpdate, blank_path};
#[cfg(any(test, feature = "testing"))]
pub(crate) use step::StepSlot;
#[cfg(test)]
mod tests;
