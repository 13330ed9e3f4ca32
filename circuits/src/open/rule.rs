//! The native rule of an opening. The numbers are those of the [module](super).

use crate::{
    account::{AccountError, PayerError, Rollup, debit, expect_index, expect_payer},
    transaction::{Body, Open, Signed},
};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Depth, Token},
    record::OpenRecord,
};

/// Why an opening is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The payer's account does not pay.
    #[error(transparent)]
    Payer(#[from] PayerError),
    /// The new account's cell is outside the tree.
    #[error("new account: {0}")]
    NewAccount(AccountError),
    /// The new account's cell is taken.
    #[error("cell {index} is not empty")]
    CellOccupied {
        /// The cell.
        index: CellIndex,
    },
}

impl OpenError {
    /// Whether later transitions may make the rule hold.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Payer(error) if error.may_pass())
    }
}

/// What an opening does to its two cells, the payer's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenEffect {
    /// The payer's cell after.
    pub from_after: Cell,
    /// The new account.
    pub to_after: Cell,
}

/// Applies a signed opening to the cells it names, as they are before it.
///
/// # Errors
/// Each of [`OpenError`].
pub fn apply(rollup: &Rollup, transaction: &Signed<Open>, from: &Cell, to: &Cell) -> Result<OpenEffect, OpenError> {
    let payer = expect_payer(rollup, transaction, from)?; // R3, R4 (chain id, token, nonce)
    let body = transaction.body();
    let effect = settle(rollup.depth, body.token, &body.record(), from, to)?;
    transaction.verify(&payer.owner).map_err(PayerError::from)?; // R4
    Ok(effect)
}

/// Applies what was posted of an opening, without authority to pay: for rebuilding a state that was proven.
///
/// # Errors
/// Each of [`OpenError`] that does not regard chain id, nonce or signature.
pub fn settle(
    depth: Depth,
    token: Token,
    record: &OpenRecord,
    from: &Cell,
    to: &Cell,
) -> Result<OpenEffect, OpenError> {
    expect_index(record.from, depth).map_err(PayerError::from)?; // R1
    expect_index(record.to, depth).map_err(OpenError::NewAccount)?; // R1
    let from_after = Cell::Account(debit(record.from, from, token, record.amount, record.fee)?); // R3, R5, R6, R7
    if *to != Cell::Empty {
        return Err(OpenError::CellOccupied { index: record.to }); // R8; the payer's own cell is never empty
    }
    let opened = Account::new(record.owner, token, record.amount); // R9, R10
    Ok(OpenEffect { from_after, to_after: Cell::Account(opened) })
}
