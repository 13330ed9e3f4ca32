//! Rules on one account that the kinds share.

use crate::{
    schnorr::SignatureError,
    transaction::{Body, Signed},
};
use taproof_verifier::cell::{Account, Cell, CellIndex, ChainId, Depth, Token};

/// The rollup that a rule is applied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Which rollup.
    pub chain_id: ChainId,
    /// The depth of its tree.
    pub depth: Depth,
}

/// Why a cell is not the account that a rule needs, or cannot be credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The index is outside the tree.
    #[error("cell {index} is outside a tree of {} cells", depth.cell_count())]
    IndexOutOfRange {
        /// The index.
        index: CellIndex,
        /// The depth of the tree.
        depth: Depth,
    },
    /// The cell holds no account.
    #[error("cell {index} is empty")]
    EmptyCell {
        /// The cell.
        index: CellIndex,
    },
    /// The account holds another token.
    #[error("cell {index} holds token {}, not {}", found.0, expected.0)]
    WrongToken {
        /// The cell.
        index: CellIndex,
        /// What the rule moves.
        expected: Token,
        /// What the account holds.
        found: Token,
    },
    /// The balance would exceed 64 bits.
    #[error("a credit of {} to the balance of {} in cell {index} exceeds 64 \
             bits", token.amount(*amount), token.amount(*balance))]
    BalanceOverflow {
        /// What is counted.
        token: Token,
        /// The cell.
        index: CellIndex,
        /// Its balance.
        balance: u64,
        /// What would be added.
        amount: u64,
    },
}

impl AccountError {
    /// Whether later transitions may make the rule hold.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::EmptyCell { .. } | Self::BalanceOverflow { .. })
    }
}

/// Why an account does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayerError {
    /// The transaction is one of another rollup.
    #[error("the transaction is for rollup {found}, this is rollup {expected}")]
    WrongChain {
        /// This rollup.
        expected: ChainId,
        /// The one that the transaction names.
        found: ChainId,
    },
    /// The cell is not an account of the token.
    #[error("payer: {0}")]
    Account(#[from] AccountError),
    /// The nonce was used already.
    #[error("nonce {found} is used, the account is at {expected}")]
    StaleNonce {
        /// The account's nonce.
        expected: u32,
        /// The transaction's nonce.
        found: u32,
    },
    /// Transactions before this one are missing.
    #[error("nonce {found} is too high, the account is at {expected}")]
    NonceTooHigh {
        /// The account's nonce.
        expected: u32,
        /// The transaction's nonce.
        found: u32,
    },
    /// The account has sent 2^32 - 1 transactions and can send no more.
    #[error("the account's nonce is exhausted")]
    NonceExhausted,
    /// The balance does not cover amount and fee.
    #[error("the balance of {} does not cover {}", token.amount(*balance), token.amount(*needed))]
    InsufficientBalance {
        /// What is counted.
        token: Token,
        /// The balance.
        balance: u64,
        /// Amount and fee.
        needed: u128,
    },
    /// The account's owner did not sign this.
    #[error("the owner's signature: {0}")]
    BadSignature(#[from] SignatureError),
}

impl PayerError {
    /// Whether later transitions may make the rule hold.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Account(error) => error.may_pass(),
            Self::NonceTooHigh { .. } | Self::InsufficientBalance { .. } => true,
            _ => false,
        }
    }
}

/// Checks that an index lies in the tree.
///
/// # Errors
/// [`AccountError::IndexOutOfRange`].
pub fn expect_index(index: CellIndex, depth: Depth) -> Result<(), AccountError> {
    if depth.contains(index) { Ok(()) } else { Err(AccountError::IndexOutOfRange { index, depth }) }
}

/// Checks that a cell is an account of a token.
///
/// # Errors
/// [`AccountError::EmptyCell`] and [`AccountError::WrongToken`].
pub fn expect_account(index: CellIndex, cell: &Cell, token: Token) -> Result<Account, AccountError> {
    match cell {
        Cell::Account(account) if account.token == token => Ok(*account),
        Cell::Account(account) => Err(AccountError::WrongToken { index, expected: token, found: account.token }),
        _ => Err(AccountError::EmptyCell { index }),
    }
}

/// Adds to the balance of an account of a token.
///
/// # Errors
/// As [`expect_account`], and [`AccountError::BalanceOverflow`].
pub fn credit(index: CellIndex, cell: &Cell, token: Token, amount: u64) -> Result<Account, AccountError> {
    let account = expect_account(index, cell, token)?;
    let balance = account.balance;
    let sum = balance.checked_add(amount).ok_or(AccountError::BalanceOverflow { token, index, balance, amount })?;
    Ok(Account { balance: sum, ..account })
}

/// Takes amount and fee from an account of a token and counts the transaction.
///
/// # Errors
/// [`PayerError::Account`], [`PayerError::NonceExhausted`] and [`PayerError::InsufficientBalance`].
pub fn debit(index: CellIndex, cell: &Cell, token: Token, amount: u64, fee: u64) -> Result<Account, PayerError> {
    let account = expect_account(index, cell, token)?;
    let nonce = account.nonce.checked_add(1).ok_or(PayerError::NonceExhausted)?;
    let needed = u128::from(amount) + u128::from(fee);
    let insufficient = PayerError::InsufficientBalance { token, balance: account.balance, needed };
    let balance = u64::try_from(needed).ok().and_then(|needed| account.balance.checked_sub(needed));
    Ok(Account { nonce, balance: balance.ok_or(insufficient)?, ..account })
}

/// Checks all of a signed transaction that regards who pays, but the signature: that comes last, for it costs most.
///
/// # Errors
/// [`PayerError::WrongChain`], [`PayerError::Account`], [`PayerError::StaleNonce`] and [`PayerError::NonceTooHigh`].
pub fn expect_payer<B: Body>(rollup: &Rollup, transaction: &Signed<B>, from: &Cell) -> Result<Account, PayerError> {
    let payment = transaction.body().payment();
    if payment.chain_id != rollup.chain_id {
        return Err(PayerError::WrongChain { expected: rollup.chain_id, found: payment.chain_id });
    }
    expect_index(payment.from, rollup.depth)?;
    let account = expect_account(payment.from, from, payment.token)?;
    let (expected, found) = (account.nonce, payment.nonce);
    match found.cmp(&expected) {
        core::cmp::Ordering::Less => Err(PayerError::StaleNonce { expected, found }),
        core::cmp::Ordering::Greater => Err(PayerError::NonceTooHigh { expected, found }),
        core::cmp::Ordering::Equal => Ok(account),
    }
}
