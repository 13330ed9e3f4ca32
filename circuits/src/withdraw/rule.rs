//! The native rule of a withdrawal. The numbers are those of the [module](super).
//!
//! R2 and R3 hold of every [`Destination`](taproof_verifier::record::Destination) by its type.

use crate::{
    account::{PayerError, Rollup, debit, expect_index, expect_payer},
    transaction::{Body, Signed, Withdraw},
};
use taproof_verifier::{
    cell::{Cell, Depth, Token},
    record::WithdrawRecord,
};

/// Why a withdrawal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// The payer's account does not pay.
    #[error(transparent)]
    Payer(#[from] PayerError),
    /// Bitcoin pays out nothing but bitcoin.
    #[error("token {} is not bitcoin", .0.0)]
    NotBitcoin(Token),
}

impl WithdrawError {
    /// Whether later transitions may make the rule hold.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Payer(error) if error.may_pass())
    }
}

/// Applies a signed withdrawal; gives the payer's cell as it is afterwards.
///
/// # Errors
/// Each of [`WithdrawError`].
pub fn apply(rollup: &Rollup, transaction: &Signed<Withdraw>, from: &Cell) -> Result<Cell, WithdrawError> {
    let payer = expect_payer(rollup, transaction, from)?; // R5, R6 (chain id, token, nonce)
    let body = transaction.body();
    let after = settle(rollup.depth, body.token, &body.record(), from)?;
    transaction.verify(&payer.owner).map_err(PayerError::from)?; // R6
    Ok(after)
}

/// Applies what was posted of a withdrawal, without authority to pay: for rebuilding a state that was proven.
///
/// # Errors
/// Each of [`WithdrawError`] that does not regard chain id, nonce or signature.
pub fn settle(depth: Depth, token: Token, record: &WithdrawRecord, from: &Cell) -> Result<Cell, WithdrawError> {
    expect_index(record.from, depth).map_err(PayerError::from)?; // R1
    if token != Token::BITCOIN {
        return Err(WithdrawError::NotBitcoin(token)); // R5
    }
    Ok(Cell::Account(debit(record.from, from, token, record.amount, record.fee)?)) // R5, R7, R8, R9
}
