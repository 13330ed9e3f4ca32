//! What a follower keeps between two runs: where it stands, and everything final that it has found.
//!
//! It is one [redb] file, `chain.redb`. Each time the final block has moved on, one durable transaction writes the
//! checkpoint together with the anchors, refused anchors and due payouts of the blocks that became final, so that a
//! crash at any moment leaves all of them or none. The [log](ChainStore::events) is a function of the final blocks of
//! the chain: it lists each event once, in the order of the chain, however often the follower was stopped, and
//! whoever wrote it.
//!
//! The file is open only for the moment of reading or writing; who finds it open waits a little. So a service may
//! follow while others look. Every opening checks every page, which is quick: the file takes a few megabytes a year.
//!
//! The header chain is kept, too, 48 bytes a header: nothing has to be read again from the node, and a chain that
//! leaves the stored one can be compared with it by work. See [`StoredFollower`] for how a follower goes on from the
//! store.

mod compact;
mod error;
mod event;
mod stored_follower;
mod stored_headers;
mod summary;
mod tables;
mod undone;

#[cfg(test)]
mod tests;

use bitcoin::{
    Transaction, TxOut,
    block::Header,
    hashes::{Hash, sha256},
};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction,
    backends::FileBackend,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};
use tables::{ANCHORS, FORMAT, HEAD, HEADERS, Head, LOG, PAYOUTS};
use taproof_base::{
    store_error::StoreError,
    store_file::{self, UnnamedStore, copy, decode, encode, open_patiently, or_copy},
};
use taproof_verifier::{
    envelope::Announcement,
    follow::{Checkpoint, Params},
    headers::BlockId,
};

pub use error::ChainStoreError;
pub use event::{DuePayout, FinalAnchor, FinalEvent, FinalUpgrade, RefusedAnchor, RefusedMore, VoidDeposits};
pub use stored_follower::{Origin, StoredFollower};
pub use stored_headers::WithStoredHeaders;
pub use summary::ChainSummary;
pub use undone::Undone;

/// What redb may cache while the file is open.
const CACHE_BYTES: usize = 4 << 20;

/// How a store's follower sees the chain. The two are never mixed: what the one accepts, the other could not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// Every block was seen whole.
    Full,
    /// Headers, and of the blocks what somebody showed.
    Light,
}

/// What one write adds.
#[derive(Debug)]
struct Progress<'a> {
    checkpoint: Option<&'a Checkpoint>,
    /// In the order of the chain, none above the checkpoint.
    events: &'a [FinalEvent],
    /// Final headers that follow on those that are stored, and the height of the first; they may overlap.
    headers_first: u32,
    headers: &'a [Header],
}

/// The file; not open.
#[derive(Clone, Debug)]
pub struct ChainStore {
    path: PathBuf,
    /// What all who follow the rollup agree on, as one hash.
    rollup: [u8; 32],
    view: View,
}

impl ChainStore {
    /// The store of a rollup at a path, where there need not be a file.
    pub fn new(path: PathBuf, params: &Params, view: View) -> Self {
        let json = serde_json::to_vec(params).expect("memory takes any parameters");
        Self { path, rollup: sha256::Hash::hash(&json).to_byte_array(), view }
    }

    /// The store that is there, whichever rollup's it is and however its follower sees the chain; `None` without a
    /// file.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn find(path: &Path) -> Result<Option<Self>, ChainStoreError> {
        let unknown = Self { path: path.to_owned(), rollup: [0; 32], view: View::Full };
        let Some(database) = unknown.open(true)? else { return Ok(None) };
        let head = store_file::read(&database, |transaction| tables::read_head(transaction, path))?;
        Ok(Some(Self { rollup: head.rollup, view: head.view, ..unknown }))
    }

    /// Copies the file, if there is one, to a place of one's own, where it can be written.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn copy_to(&self, path: &Path) -> Result<(), ChainStoreError> {
        if !self.path.exists() {
            return Ok(());
        }
        Ok(copy(&self.path, path)?)
    }

    /// The SHA-256 of the rollup's parameters as JSON.
    pub fn rollup(&self) -> [u8; 32] {
        self.rollup
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the store's follower sees the chain.
    pub fn view(&self) -> View {
        self.view
    }

    /// Where the follower stands; `None` without a file, or after the chain left what was final.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, ChainStoreError> {
        self.read(None, |_, head| head.checkpoint())
    }

    /// How many events the log has.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn event_count(&self) -> Result<u64, ChainStoreError> {
        self.read(0, |_, head| Ok(head.events))
    }

    /// The events of the log from a position on, `count_max` at most.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn events(&self, first: u64, count_max: usize) -> Result<Vec<(u64, FinalEvent)>, ChainStoreError> {
        self.read(Vec::new(), |transaction, _| {
            let table = transaction.open_table(LOG)?;
            let decoded = table.range(first..)?.take(count_max).map(|entry| {
                let (position, event) = entry?;
                Ok((position.value(), decode(event.value())?))
            });
            decoded.collect()
        })
    }

    /// The position of the first event that no user has been told.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn first_untold(&self) -> Result<u64, ChainStoreError> {
        self.read(0, |_, head| Ok(head.told))
    }

    /// Remembers that the user has been told all events before a position.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn set_told(&self, position: u64) -> Result<(), ChainStoreError> {
        self.write(|transaction, head| {
            let Some(mut head) = head else { return Ok(()) };
            head.told = head.told.max(position).min(head.events);
            head.put(transaction)
        })
    }

    /// A batch's anchor, if it is final.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn anchor(&self, batch: u64) -> Result<Option<FinalAnchor>, ChainStoreError> {
        self.read(None, |transaction, _| match tables::logged(transaction, ANCHORS, batch)? {
            Some(FinalEvent::Anchor(anchor)) => Ok(Some(anchor)),
            Some(_) => Err(StoreError::corrupted("an anchor's place holds something else")),
            None => Ok(None),
        })
    }

    /// The payout of that index, if it is due.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn payout(&self, index: u64) -> Result<Option<DuePayout>, ChainStoreError> {
        self.read(None, |transaction, _| match tables::logged(transaction, PAYOUTS, index)? {
            Some(FinalEvent::Payout(payout)) => Ok(Some(payout)),
            Some(_) => Err(StoreError::corrupted("a payout's place holds something else")),
            None => Ok(None),
        })
    }

    /// The heights of the stored headers; `None` if there are none.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn header_heights(&self) -> Result<Option<RangeInclusive<u32>>, ChainStoreError> {
        self.read(None, |_, head| Ok(head.header_heights()))
    }

    /// Stored headers from a height on, `count_max` at most; none if the first is not stored.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn headers(&self, first: u32, count_max: u32) -> Result<Vec<Header>, ChainStoreError> {
        self.read(Vec::new(), |transaction, head| {
            let Some(heights) = head.header_heights().filter(|heights| heights.contains(&first)) else {
                return Ok(Vec::new());
            };
            let last = first.saturating_add(count_max.saturating_sub(1)).min(*heights.end());
            if count_max == 0 { Ok(Vec::new()) } else { compact::read(transaction, &head, first..=last) }
        })
    }

    /// Whether the log has begun: blocks were scanned up to some height.
    fn has_log(&self) -> Result<bool, ChainStoreError> {
        self.read(false, |_, head| Ok(head.logged_height.is_some()))
    }

    /// Forgets all headers, of which the next to be added is at a height, unless the log has begun.
    fn forget_headers(&self, first: u32) -> Result<(), ChainStoreError> {
        if self.header_heights()?.is_none() {
            return Ok(());
        }
        self.write(|transaction, head| {
            let Some(mut head) = head.filter(|head| head.logged_height.is_none()) else { return Ok(()) };
            head.headers_count = 0;
            compact::truncate(transaction, &mut head, 0)?;
            head.headers_first = first;
            head.put(transaction)
        })
    }

    /// Adds what a follower has found, unless the store is further already.
    fn append(&self, progress: &Progress<'_>) -> Result<(), ChainStoreError> {
        self.write(|transaction, head| {
            let mut head = head.unwrap_or_else(|| Head::new(self.rollup, self.view, progress.headers_first));
            compact::append(transaction, &mut head, progress.headers_first, progress.headers)?;
            let is_ahead = |checkpoint: &&Checkpoint| {
                let is_logged = head.logged_height.is_some_and(|logged| logged >= checkpoint.block().height);
                !is_logged || (head.checkpoint.is_none() && head.logged_height == Some(checkpoint.block().height))
            };
            if let Some(checkpoint) = progress.checkpoint.filter(is_ahead) {
                log(transaction, &mut head, progress.events)?;
                head.logged_height = Some(checkpoint.block().height);
                head.checkpoint = Some(checkpoint.to_bytes());
            }
            head.put(transaction)
        })
    }

    /// Begins at a checkpoint, unless something is logged: the log has what happened after it.
    fn begin_at(&self, checkpoint: &Checkpoint) -> Result<(), ChainStoreError> {
        self.write(|transaction, head| {
            let height = checkpoint.block().height;
            // Headers may be there already.
            let mut head = head.unwrap_or_else(|| Head::new(self.rollup, self.view, height + 1));
            if head.logged_height.is_some() {
                return Ok(());
            }
            head.checkpoint = Some(checkpoint.to_bytes());
            head.logged_height = Some(height);
            head.payouts = checkpoint.tip().payouts;
            head.put(transaction)
        })
    }

    /// Takes back everything above a height, because the chain has left what was final; what that was is remembered
    /// where the last final block is given.
    fn rewind_to(&self, height: u32, final_block: Option<BlockId>) -> Result<(), ChainStoreError> {
        self.write(|transaction, head| {
            let Some(mut head) = head else { return Ok(()) };
            let mut undone = final_block.map(|block| Undone::new(block, height));
            let mut table = transaction.open_table(LOG)?;
            let mut anchors = transaction.open_table(ANCHORS)?;
            let mut payouts = transaction.open_table(PAYOUTS)?;
            while let Some(position) = head.events.checked_sub(1) {
                let event = match table.get(position)? {
                    Some(event) => decode::<FinalEvent>(event.value())?,
                    None => return Err(tables::missing(position)),
                };
                if event.height() <= height {
                    break;
                }
                undone.iter_mut().for_each(|undone| undone.add(&event));
                table.remove(position)?;
                match event {
                    FinalEvent::Anchor(anchor) => drop(anchors.remove(anchor.batch)?),
                    FinalEvent::Payout(payout) => {
                        payouts.remove(payout.index)?;
                        head.payouts = payout.index;
                    }
                    FinalEvent::Refused(_)
                    | FinalEvent::RefusedMore(_)
                    | FinalEvent::Void(_)
                    | FinalEvent::Upgrade(_)
                    | FinalEvent::UpgradeRefused(_) => {}
                }
                head.events = position;
            }
            compact::truncate(transaction, &mut head, height)?;
            head.told = head.told.min(head.events);
            head.logged_height = head.logged_height.map(|logged| logged.min(height));
            head.checkpoint = None;
            undone.map_or(Ok(()), |undone| undone.remember(transaction))?;
            head.put(transaction)
        })
    }

    /// Reads from the file as it is now; without one, `absent` is the answer.
    fn read<T>(
        &self,
        absent: T,
        read: impl FnOnce(&ReadTransaction, Head) -> Result<T, StoreError>,
    ) -> Result<T, ChainStoreError> {
        let Some(database) = self.open(true)? else { return Ok(absent) };
        let transaction = database.begin_read().map_err(StoreError::from)?;
        let head = self.read_head(&transaction)?;
        Ok(read(&transaction, head)?)
    }

    /// Runs one durable transaction, on a new file if there is none: all of `change`, or nothing.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction, Option<Head>) -> Result<(), StoreError>,
    ) -> Result<(), ChainStoreError> {
        let Some(database) = self.open(false)? else {
            return Ok(self.create(|transaction| change(transaction, None))?);
        };
        let transaction = database.begin_read().map_err(StoreError::from)?;
        let head = self.read_head(&transaction)?;
        drop(transaction);
        Ok(store_file::write(&database, |transaction| change(transaction, Some(head)))?)
    }

    fn create(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let unnamed = UnnamedStore::new(&self.path)?;
        let database = unnamed.database_on(Database::builder().set_cache_size(CACHE_BYTES), backend)?;
        let is_empty = store_file::write(&database, |transaction| {
            transaction.open_table(FORMAT)?.insert((), tables::FORMAT_VERSION)?;
            transaction.open_table(LOG)?;
            transaction.open_table(ANCHORS)?;
            transaction.open_table(PAYOUTS)?;
            transaction.open_table(HEADERS)?;
            change(transaction)?;
            Ok::<_, StoreError>(transaction.open_table(HEAD)?.get(())?.is_none())
        })?;
        drop(database);
        if is_empty || unnamed.name()? { Ok(()) } else { Err(StoreError::Busy(self.path.clone())) }
    }

    /// Opens the file, checking every page; `None` if there is none. One that this process may not write is opened to
    /// be read alone.
    fn open(&self, to_read: bool) -> Result<Option<Database>, StoreError> {
        if !store_file::exists(&self.path)? {
            return Ok(None);
        }
        let database = open_patiently(&self.path, || {
            let mut builder = store_file::checked();
            builder.set_cache_size(CACHE_BYTES);
            let file = File::options().read(true).write(true).open(&self.path).map_err(redb::StorageError::Io);
            let opened = file.map_err(DatabaseError::from).and_then(|file| builder.create_with_backend(backend(file)?));
            if to_read { Ok(or_copy(opened, &self.path, &builder)?.0) } else { opened }
        });
        database.map(Some)
    }

    fn read_head(&self, transaction: &ReadTransaction) -> Result<Head, ChainStoreError> {
        let head = tables::read_head(transaction, &self.path)?;
        if (head.rollup, head.view) != (self.rollup, self.view) {
            return Err(ChainStoreError::WrongRollup(self.path.clone()));
        }
        Ok(head)
    }
}

/// Whether a transaction's first output announces an anchor of the rollup, be it one or not.
pub(crate) fn announces(transaction: &Transaction, params: &Params) -> bool {
    let parse = |output: &TxOut| Announcement::parse(&output.script_pubkey, params.chain_id());
    transaction.output.first().is_some_and(|output| !matches!(parse(output), Ok(None)))
}

/// Writes the events above what is logged.
fn log(transaction: &WriteTransaction, head: &mut Head, events: &[FinalEvent]) -> Result<(), StoreError> {
    let mut log = transaction.open_table(LOG)?;
    let mut anchors = transaction.open_table(ANCHORS)?;
    let mut payouts = transaction.open_table(PAYOUTS)?;
    let is_new = |event: &&FinalEvent| head.logged_height.is_none_or(|logged| event.height() > logged);
    for event in events.iter().filter(is_new).collect::<Vec<_>>() {
        match event {
            FinalEvent::Anchor(anchor) => {
                anchors.insert(anchor.batch, head.events)?;
            }
            // A store that began at a checkpoint does not know how many there were before a block below it.
            FinalEvent::Payout(payout) if payout.index != head.payouts && !payouts.is_empty()? => {
                let (found, expected) = (payout.index, head.payouts);
                return Err(StoreError::corrupted(format_args!("payout {found} comes where {expected} is next")));
            }
            FinalEvent::Payout(payout) => {
                payouts.insert(payout.index, head.events)?;
                head.payouts = payout.index + 1;
            }
            FinalEvent::Refused(_)
            | FinalEvent::RefusedMore(_)
            | FinalEvent::Void(_)
            | FinalEvent::Upgrade(_)
            | FinalEvent::UpgradeRefused(_) => {}
        }
        log.insert(head.events, encode(event).as_slice())?;
        head.events += 1;
    }
    Ok(())
}

#[cfg(not(test))]
fn backend(file: File) -> Result<FileBackend, DatabaseError> {
    FileBackend::new(file)
}

/// In tests the file can fail as it does when the process is killed.
#[cfg(test)]
fn backend(file: File) -> Result<tests::MortalBackend, DatabaseError> {
    FileBackend::new(file).map(tests::MortalBackend::new)
}
