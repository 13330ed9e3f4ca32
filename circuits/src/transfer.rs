//! Transfer: pays from one account to another.
//!
//! Public: the record (from, to, amount, fee). Private: the nonce, the signature, both cells before, both paths. The
//! cap of the state and the sum of fees run from slot to slot; the payer's cell is updated first. In an active slot:
//!
//! - R1: the record's element is 1 + 2 from + 2^33 to + 2^65 amount + 2^129 fee, with both indices below 8^depth and
//!   both amounts below 2^64.
//! - R2: the payer's cell before is in the state at `from`.
//! - R3: it is an account of the chunk's token.
//! - R4: its owner signed the [message](crate::transaction) of chain id, kind, token, record and its nonce.
//! - R5: the payer's balance after is the balance before minus amount and fee, and both balances are below 2^64.
//! - R6: the payer's nonce after is the nonce before plus 1, and below 2^32.
//! - R7: the payer's token, owner, tickets and second holding stay; the next state is the one with the payer's cell
//!   after at `from`.
//! - R8: in that state, the cell at `to` is an account of the chunk's token. It may be the payer's own.
//! - R9: its balance after is its balance before plus the amount, below 2^64.
//! - R10: its token, nonce, owner, tickets and second holding stay; the state after is the one with that cell after at
//!   `to`.
//! - R11: the sum of fees grows by the fee.
//!
//! In a padding slot:
//!
//! - R12: the record's element is zero, the cap and the sum of fees stay.

pub(crate) mod circuit;
pub mod rule;
#[cfg(test)]
mod tests;
