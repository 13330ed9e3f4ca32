//! The tables of a ledger's file.

use super::WaitingDeposit;
use ark_bn254::Fr;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::path::Path;
use taproof_base::{
    store_error::StoreError,
    store_file::{self, decode, encode},
};
use taproof_circuits::{state::State, tree::ChangeSet};
use taproof_verifier::{
    cell::{Cell, CellIndex, ChainId, Depth},
    follow::Tip,
    serde_form::element,
};

/// The version of all tables together.
pub(super) const FORMAT_VERSION: u32 = 4;

/// The version. It stands alone in its table, whose form never changes.
pub(super) const FORMAT: TableDefinition<'_, (), u32> = TableDefinition::new("taproof ledger format");
/// The [`Head`].
pub(super) const HEAD: TableDefinition<'_, (), &[u8]> = TableDefinition::new("head");
/// The cells that are not empty, by index.
pub(super) const CELLS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("cells");
/// The transactions that wait, as their own bytes, in the order they came.
pub(super) const TRANSACTIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("transactions");
/// The deposits that are not consumed, by their number on the chain.
pub(super) const DEPOSITS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deposits");
/// The exit and claim requests that wait on the chain, by their number on it.
pub(super) const REQUESTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("requests");
/// How many of the chain's batches settled what they did before those requests were told of. It is made by the first
/// that are.
pub(super) const REQUESTS_AFTER: TableDefinition<'_, (), u64> = TableDefinition::new("requests after");
/// The [`Undo`](super::undo::Undo) of each batch that can be taken back.
pub(super) const UNDO: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("undo");
/// The heights of the Bitcoin blocks that batches referred to which were made here and taken back, by batch.
pub(super) const REFERRED: TableDefinition<'_, u64, u32> = TableDefinition::new("referred");
/// The artefacts of batches, by batch and kind.
pub(super) const ARTEFACTS: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("artefacts");

/// Where the ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) chain_id: ChainId,
    pub(super) depth: Depth,
    #[serde(with = "element")]
    pub(super) root: Fr,
    pub(super) next_batch: u64,
    pub(super) deposits_consumed: u64,
    pub(super) next_transaction: u64,
    /// The height of the Bitcoin block that the last batch refers to.
    pub(super) reference_height: u32,
}

impl Head {
    pub(super) fn new(state: &State) -> Self {
        Self {
            chain_id: state.chain_id(),
            depth: state.depth(),
            root: state.root(),
            next_batch: 0,
            deposits_consumed: 0,
            next_transaction: 0,
            reference_height: 0,
        }
    }

    /// Where a ledger stands that has a state and knows of the batches that made it.
    pub(super) fn at(state: &State, tip: &Tip) -> Self {
        Self {
            next_batch: tip.batches,
            deposits_consumed: tip.deposits_consumed,
            // Before the first batch, the tip refers to the rollup's start.
            reference_height: if tip.batches == 0 { 0 } else { tip.reference.height },
            ..Self::new(state)
        }
    }

    /// Whether the chain's batches lead to the same.
    pub(super) fn is_at(&self, tip: &Tip) -> bool {
        // Before the first batch, the tip refers to the rollup's start.
        let refers_to_same = tip.batches == 0 || self.reference_height == tip.reference.height;
        (self.next_batch, self.root, self.depth, self.deposits_consumed)
            == (tip.batches, tip.root, tip.depth, tip.deposits_consumed)
            && refers_to_same
    }

    pub(super) fn put(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        transaction.open_table(HEAD)?.insert((), encode(self).as_slice())?;
        Ok(())
    }
}

/// Puts cells in the place of what was there.
pub(super) fn put_cells(
    transaction: &WriteTransaction,
    cells: impl IntoIterator<Item = (CellIndex, Cell)>,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(CELLS)?;
    for (index, cell) in cells {
        match cell {
            Cell::Empty => table.remove(index.get())?,
            cell => table.insert(index.get(), encode(&cell).as_slice())?,
        };
    }
    Ok(())
}

/// What [`REQUESTS_AFTER`] holds; 0 before there is such a table.
pub(super) fn requests_after(transaction: &ReadTransaction) -> Result<u64, StoreError> {
    match transaction.open_table(REQUESTS_AFTER) {
        Ok(table) => Ok(table.get(())?.map_or(0, |batches| batches.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Reads the head and the cells, after the version, and looks through what waits.
pub(super) fn read_all(transaction: &ReadTransaction, path: &Path) -> Result<(Head, ChangeSet), StoreError> {
    store_file::expect_version(transaction, FORMAT, FORMAT_VERSION, path)?;
    let head = transaction.open_table(HEAD)?;
    let head = head.get(())?.ok_or_else(|| StoreError::corrupted("the head is missing"))?;
    let head: Head = decode(head.value())?;
    let cells = transaction
        .open_table(CELLS)?
        .iter()?
        .map(|entry| {
            let (index, cell) = entry?;
            let out_of_range = || StoreError::corrupted(format_args!("cell index {} is not below 2^30", index.value()));
            Ok((CellIndex::new(index.value()).ok_or_else(out_of_range)?, decode::<Cell>(cell.value())?))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    for (expected, entry) in (head.deposits_consumed..).zip(transaction.open_table(DEPOSITS)?.iter()?) {
        let (number, deposit) = entry?;
        decode::<WaitingDeposit>(deposit.value())?;
        if number.value() != expected {
            return Err(StoreError::corrupted(format_args!("deposit {expected} is missing")));
        }
    }
    transaction.open_table(TRANSACTIONS)?;
    transaction.open_table(ARTEFACTS)?;
    transaction.open_table(REQUESTS)?;
    transaction.open_table(UNDO)?;
    Ok((head, ChangeSet { depth: head.depth, root: head.root, cells }))
}
