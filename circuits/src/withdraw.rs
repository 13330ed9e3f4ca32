//! Withdraw: pays from an account to an output on Bitcoin.
//!
//! Public: the record (from, amount, fee, destination). Private: the nonce, the signature, the payer's cell before, the
//! path. The cap of the state and the sum of fees run from slot to slot. In an active slot:
//!
//! - R1: the record's elements are 1 + 2 from + 2^33 number + 2^65 amount + 2^129 fee, head and tail, with from below
//!   8^depth and both amounts below 2^64.
//! - R2: the destination's number is 0 (witness version 0, 20 bytes), 1 (version 0, 32 bytes), 2 (version 1, 32
//!   bytes), 3 (key hash, 20 bytes) or 4 (script hash, 20 bytes).
//! - R3: head, the program's first 20 bytes, is below 2^160; tail, its last 12, is below 2^96, and zero for numbers 0,
//!   3 and 4.
//! - R4: the payer's cell before is in the state at `from`.
//! - R5: it is an account of the chunk's token, which is bitcoin.
//! - R6: its owner signed the [message](crate::transaction) of chain id, kind, token, record and its nonce.
//! - R7: the payer's balance after is the balance before minus amount and fee, and both balances are below 2^64.
//! - R8: the payer's nonce after is the nonce before plus 1, and below 2^32.
//! - R9: the payer's token, owner, tickets and second holding stay; the state after is the one with the payer's cell
//!   after at `from`.
//! - R10: the sum of fees grows by the fee.
//!
//! In a padding slot:
//!
//! - R11: the record's elements are zero, the cap and the sum of fees stay.

pub(crate) mod circuit;
pub mod rule;
#[cfg(test)]
mod tests;
