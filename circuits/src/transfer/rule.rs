//! The native rule of a transfer. The numbers are those of the [module](super).

use crate::{
    account::{AccountError, PayerError, Rollup, credit, debit, expect_index, expect_payer},
    transaction::{Body, Signed, Transfer},
};
use taproof_verifier::{
    cell::{Cell, Depth, Token},
    record::TransferRecord,
};

/// Why a transfer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The payer's account does not pay.
    #[error(transparent)]
    Payer(#[from] PayerError),
    /// The cell that is paid is outside the tree, no account of the token, or cannot hold so much.
    #[error("recipient: {0}")]
    Recipient(AccountError),
}

impl TransferError {
    /// Whether later transitions may make the rule hold.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Payer(error) => error.may_pass(),
            Self::Recipient(error) => error.may_pass(),
        }
    }
}

/// What a transfer does to its two cells, the payer's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferEffect {
    /// The payer's cell after the first update.
    pub from_after: Cell,
    /// The recipient's cell between the updates: `from_after` if the payer pays itself.
    pub to_before: Cell,
    /// The recipient's cell after both.
    pub to_after: Cell,
}

/// Applies a signed transfer to the cells it names, as they are before it.
///
/// # Errors
/// Each of [`TransferError`].
pub fn apply(
    rollup: &Rollup,
    transaction: &Signed<Transfer>,
    from: &Cell,
    to: &Cell,
) -> Result<TransferEffect, TransferError> {
    let payer = expect_payer(rollup, transaction, from)?; // R3, R4 (chain id, token, nonce)
    let body = transaction.body();
    let effect = settle(rollup.depth, body.token, &body.record(), from, to)?;
    transaction.verify(&payer.owner).map_err(PayerError::from)?; // R4
    Ok(effect)
}

/// Applies what was posted of a transfer, without authority to pay: for rebuilding a state that was proven.
///
/// # Errors
/// Each of [`TransferError`] that does not regard chain id, nonce or signature.
pub fn settle(
    depth: Depth,
    token: Token,
    record: &TransferRecord,
    from: &Cell,
    to: &Cell,
) -> Result<TransferEffect, TransferError> {
    expect_index(record.from, depth).map_err(PayerError::from)?; // R1
    expect_index(record.to, depth).map_err(TransferError::Recipient)?; // R1
    let from_after = Cell::Account(debit(record.from, from, token, record.amount, record.fee)?); // R3, R5, R6, R7
    let to_before = if record.from == record.to { from_after } else { *to };
    // R8, R9, R10
    let credited = credit(record.to, &to_before, token, record.amount).map_err(TransferError::Recipient)?;
    Ok(TransferEffect { from_after, to_before, to_after: Cell::Account(credited) })
}
