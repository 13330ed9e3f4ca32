//! The tables of a chain store's file.

use super::{FinalEvent, View};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::{ops::RangeInclusive, path::Path};
use taproof_base::{
    store_error::StoreError,
    store_file::{self, decode, encode},
};
use taproof_verifier::follow::Checkpoint;

/// The version of all tables together.
pub(super) const FORMAT_VERSION: u32 = 3;

/// The version. It stands alone in its table, whose form never changes.
pub(super) const FORMAT: TableDefinition<'_, (), u32> = TableDefinition::new("taproof chain format");
/// The [`Head`].
pub(super) const HEAD: TableDefinition<'_, (), &[u8]> = TableDefinition::new("head");
/// The events of final blocks, by their position in the order of the chain.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// The positions in the log of anchors, by batch.
pub(super) const ANCHORS: TableDefinition<'_, u64, u64> = TableDefinition::new("anchors");
/// The positions in the log of payouts, by index.
pub(super) const PAYOUTS: TableDefinition<'_, u64, u64> = TableDefinition::new("payouts");
/// What a reorganisation below a final block took back. Stores that met none have no such table.
pub(super) const UNDONE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("undone");
/// Groups of final headers, by the number of the group.
pub(super) const HEADERS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("headers");

/// What the store is of, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) rollup: [u8; 32],
    pub(super) view: View,
    /// The follower's state after the block at `logged_height`; none after a rewind.
    pub(super) checkpoint: Option<Vec<u8>>,
    /// The height up to which the log has every event.
    pub(super) logged_height: Option<u32>,
    pub(super) events: u64,
    pub(super) payouts: u64,
    /// How many of the events the user has been told.
    pub(super) told: u64,
    /// The height of the first stored header, and how many follow each other from there.
    pub(super) headers_first: u32,
    pub(super) headers_count: u32,
}

impl Head {
    pub(super) fn new(rollup: [u8; 32], view: View, headers_first: u32) -> Self {
        Self {
            rollup,
            view,
            checkpoint: None,
            logged_height: None,
            events: 0,
            payouts: 0,
            told: 0,
            headers_first,
            headers_count: 0,
        }
    }

    pub(super) fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let damaged = |error| StoreError::corrupted(format_args!("the checkpoint: {error}"));
        self.checkpoint.as_deref().map(|bytes| Checkpoint::from_bytes(bytes).map_err(damaged)).transpose()
    }

    pub(super) fn header_heights(&self) -> Option<RangeInclusive<u32>> {
        Some(self.headers_first..=self.headers_first.checked_add(self.headers_count.checked_sub(1)?)?)
    }

    pub(super) fn put(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        transaction.open_table(HEAD)?.insert((), encode(self).as_slice())?;
        Ok(())
    }
}

/// Reads the head, after the version.
pub(super) fn read_head(transaction: &ReadTransaction, path: &Path) -> Result<Head, StoreError> {
    store_file::expect_version(transaction, FORMAT, FORMAT_VERSION, path)?;
    let head = transaction.open_table(HEAD)?;
    let head = head.get(())?.ok_or_else(|| StoreError::corrupted("the head is missing"))?;
    decode(head.value())
}

/// The event that an index table points to.
pub(super) fn logged(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, u64>,
    key: u64,
) -> Result<Option<FinalEvent>, StoreError> {
    let Some(position) = transaction.open_table(table)?.get(key)?.map(|position| position.value()) else {
        return Ok(None);
    };
    let log = transaction.open_table(LOG)?;
    let event = log.get(position)?;
    let event = event.ok_or_else(|| missing(position))?;
    decode(event.value()).map(Some)
}

/// The log has a gap.
pub(super) fn missing(position: u64) -> StoreError {
    StoreError::corrupted(format_args!("event {position} is missing"))
}
