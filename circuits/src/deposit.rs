//! Deposit: credits a deposit on Bitcoin to an empty cell or to an account of the same owner.
//!
//! Public: the record (to, amount, owner.x). Private: the owner's y, the cell before, the path. The cap of the state
//! runs from slot to slot. In an active slot:
//!
//! - R1: the record's elements are 1 + 2 to + 2^33 amount and owner.x, with to below 8^depth and amount below 2^64.
//! - R2: (owner.x, owner.y) is a key: on the curve and in the subgroup of order l.
//! - R3: the cell before is in the state at `to`.
//! - R4: the cell before is empty, which is eight zeros, or an account whose token is bitcoin, the chunk's token, and
//!   whose owner is the record's.
//! - R5: the balance after is the balance before plus the amount, below 2^64.
//! - R6: the cell after is an account of that token, of that owner, with the nonce, the tickets and the second holding
//!   before.
//! - R7: the state after is the one with the cell after at `to`.
//!
//! In a padding slot:
//!
//! - R8: the record's elements are zero and the cap stays.
//!
//! That a deposit was made on Bitcoin is not proven here: the verifier compares the records with its own scan.

pub(crate) mod circuit;
pub mod rule;
#[cfg(test)]
mod tests;
