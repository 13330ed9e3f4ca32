//! The native rule of a deposit. The numbers are those of the [module](super).

use crate::account::{AccountError, credit, expect_index};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Depth, Token},
    record::DepositRecord,
};

/// Why a deposit cannot be credited to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepositError {
    /// The cell is outside the tree, holds another token, or cannot hold so much.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The account is somebody else's.
    #[error("cell {index} belongs to another owner")]
    OwnerMismatch {
        /// The cell.
        index: CellIndex,
    },
}

/// Credits a deposit to the cell it names; gives that cell as it is afterwards.
///
/// # Errors
/// Each of [`DepositError`].
pub fn apply(depth: Depth, record: &DepositRecord, to: &Cell) -> Result<Cell, DepositError> {
    let DepositRecord { to: index, amount_sat, owner } = *record;
    expect_index(index, depth)?; // R1
    let before = match to {
        Cell::Empty => Cell::Account(Account::new(owner, Token::BITCOIN, 0)), // R4
        held => *held,
    };
    let after = credit(index, &before, Token::BITCOIN, amount_sat)?; // R4, R5, R6
    if after.owner != owner {
        return Err(DepositError::OwnerMismatch { index }); // R4
    }
    Ok(Cell::Account(after))
}
