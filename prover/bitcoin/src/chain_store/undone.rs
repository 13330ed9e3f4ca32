//! What a reorganisation below a final block took back.
//!
//! Such a reorganisation breaks what everybody relies on: payouts may have been made for batches that the chain does
//! not have any more. The follower begins anew and agrees with the chain; what is left is for people to decide, so it
//! is remembered, and told by every command that follows, until somebody acknowledges it.

use super::{ChainStore, ChainStoreError, FinalEvent, tables::UNDONE};
use redb::{ReadableTable, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::fmt;
use taproof_base::{
    store_error::StoreError,
    store_file::{decode, encode},
};
use taproof_verifier::headers::BlockId;

/// What was final and is not in the chain any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The last block that was final.
    pub block: BlockId,
    /// The last block of the stored chain that the chain has now.
    pub fork_height: u32,
    /// The number of the first batch whose anchor was final.
    pub first_batch: Option<u64>,
    /// How many batches there were from it on.
    pub batches: u64,
    /// How many payouts were due for good, at most: those that were taken back twice count twice.
    pub payouts: u64,
}

impl Undone {
    pub(super) fn new(block: BlockId, fork_height: u32) -> Self {
        Self { block, fork_height, first_batch: None, batches: 0, payouts: 0 }
    }

    /// Adds an event that is taken back; the last comes first.
    pub(super) fn add(&mut self, event: &FinalEvent) {
        match event {
            FinalEvent::Anchor(anchor) => {
                self.first_batch = Some(anchor.batch);
                self.batches += 1;
            }
            FinalEvent::Payout(_) => self.payouts += 1,
            FinalEvent::Refused(_)
            | FinalEvent::RefusedMore(_)
            | FinalEvent::Void(_)
            | FinalEvent::Upgrade(_)
            | FinalEvent::UpgradeRefused(_) => {}
        }
    }

    /// Whether a batch of this number was final.
    pub fn has_batch(&self, batch: u64) -> bool {
        self.first_batch.is_some_and(|first| batch.checked_sub(first).is_some_and(|after| after < self.batches))
    }

    /// Remembers it, together with what was remembered before.
    pub(super) fn remember(self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut table = transaction.open_table(UNDONE)?;
        let before = table.get(())?.map(|bytes| decode::<Self>(bytes.value())).transpose()?;
        let undone = before.map_or(self, |before| before.joined(self));
        table.insert((), encode(&undone).as_slice())?;
        Ok(())
    }

    /// This and a later one, which may have taken back the same again.
    fn joined(self, later: Self) -> Self {
        let end = |undone: &Self| undone.first_batch.map(|first| first + undone.batches);
        let first_batch = [self.first_batch, later.first_batch].into_iter().flatten().min();
        let end = end(&self).max(end(&later));
        Self {
            block: if later.block.height >= self.block.height { later.block } else { self.block },
            fork_height: self.fork_height.min(later.fork_height),
            first_batch,
            batches: first_batch.zip(end).map_or(0, |(first, end)| end - first),
            payouts: self.payouts.saturating_add(later.payouts),
        }
    }
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, fork_height, first_batch, batches, payouts } = self;
        write!(f, "a reorganisation below a final block: the chain left block {block} after height {fork_height}")?;
        match (first_batch, batches) {
            (None, _) | (_, 0) => write!(f, "; no batch was anchored there")?,
            (Some(first), 1) => write!(f, "; batch {first} was final, and is to be anchored again")?,
            (Some(first), count) => {
                write!(f, "; batches {first} to {} were final, and are to be anchored again", first + count - 1)?;
            }
        }
        match payouts {
            0 => Ok(()),
            1 => write!(f, "; the bridge may have paid a withdrawal of theirs"),
            count => write!(f, "; the bridge may have paid up to {count} withdrawals of theirs"),
        }
    }
}

impl ChainStore {
    /// What a reorganisation below a final block took back, until it is acknowledged.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn undone(&self) -> Result<Option<Undone>, ChainStoreError> {
        self.read(None, |transaction, _| {
            let table = match transaction.open_table(UNDONE) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let bytes = table.get(())?;
            bytes.map(|bytes| decode(bytes.value())).transpose()
        })
    }

    /// Forgets what a reorganisation below a final block took back.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn acknowledge_undone(&self) -> Result<(), ChainStoreError> {
        if self.undone()?.is_none() {
            return Ok(());
        }
        self.write(|transaction, _| {
            transaction.open_table(UNDONE)?.remove(())?;
            Ok(())
        })
    }
}
