//! Open: pays from an account into an empty cell, which becomes the account of a named owner.
//!
//! Public: the record (from, to, amount, fee, owner.x). Private: the owner's y, the nonce, the signature, the payer's
//! cell before, both paths. The cap of the state and the sum of fees run from slot to slot; the payer's cell is
//! updated first. In an active slot:
//!
//! - R1: the record's elements are 1 + 2 from + 2^33 to + 2^65 amount + 2^129 fee and owner.x, with both indices below
//!   8^depth and both amounts below 2^64.
//! - R2: the payer's cell before is in the state at `from`.
//! - R3: it is an account of the chunk's token.
//! - R4: its owner signed the [message](crate::transaction) of chain id, kind, token, record and its nonce.
//! - R5: the payer's balance after is the balance before minus amount and fee, and both balances are below 2^64.
//! - R6: the payer's nonce after is the nonce before plus 1, and below 2^32.
//! - R7: the payer's token, owner, tickets and second holding stay; the next state is the one with the payer's cell
//!   after at `from`.
//! - R8: in that state, the cell at `to` is empty.
//! - R9: (owner.x, owner.y) is a key: on the curve and in the subgroup of order l.
//! - R10: the cell after is an account of the chunk's token, nonce 0, the amount, that owner, no used tickets and no
//!   second holding, which are zeros; the state after is the one with it at `to`.
//! - R11: the sum of fees grows by the fee.
//!
//! In a padding slot:
//!
//! - R12: the record's elements are zero, the cap and the sum of fees stay.

pub(crate) mod circuit;
pub mod rule;
#[cfg(test)]
mod tests;
