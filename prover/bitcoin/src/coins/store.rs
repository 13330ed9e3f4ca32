//! The file of coins that are kept: one [redb] file, opened for the moment of reading or writing. Every change is one
//! durable transaction, and of two processes that want one coin the second is told of the first.

use super::{Purpose, Reservation};
use bitcoin::{
    OutPoint,
    consensus::encode::{deserialize, serialize},
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, backends::FileBackend};
use std::{
    io,
    path::{Path, PathBuf},
};
use taproof_base::{
    store_errors,
    store_file::{self, UnnamedStore, open_patiently, or_copy},
};

/// The version of all tables together.
const FORMAT_VERSION: u32 = 1;
/// The version. It stands alone in its table, whose form never changes.
const FORMAT: TableDefinition<'_, (), u32> = TableDefinition::new("taproof coins format");
/// The reservations, by the coin as Bitcoin encodes it.
const COINS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("coins");

/// Why the file of coins cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoinStoreError {
    /// A coin is kept for another transaction.
    #[error("the coin {} is kept for {}", .0.outpoint, .0.purpose)]
    Kept(Reservation),
    /// Another process has it open for longer than a moment.
    #[error("another process has {} open", .0.display())]
    Busy(PathBuf),
    /// The file is something else.
    #[error("{} is no store of coins", .0.display())]
    NotAStore(PathBuf),
    /// The file is of another format.
    #[error("the store of coins is of version {found}, where this release reads version {FORMAT_VERSION}")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file was truncated or altered.
    #[error("the store of coins is damaged: {0}")]
    Corrupted(String),
    /// The disk, or what this process may use of it, is full.
    #[error("the disk is full")]
    DiskFull(#[source] io::Error),
    /// This process may not write the file.
    #[error("{} may not be opened for writing", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk fails otherwise.
    #[error("the store of coins cannot be read or written")]
    Io(#[source] io::Error),
    /// The store fails otherwise.
    #[error("the store of coins")]
    Store(#[source] Box<redb::Error>),
}

impl CoinStoreError {
    /// Whether the same may work later with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::DiskFull(_))
    }
}

store_errors!(CoinStoreError: Busy, NotAStore);

/// The file of coins that are kept. It is made when the first is.
#[derive(Clone, Debug)]
pub struct CoinStore {
    path: PathBuf,
}

impl CoinStore {
    /// The file at a path, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// All coins that are kept, as of when each was last looked at.
    ///
    /// # Errors
    /// [`CoinStoreError`].
    pub fn reservations(&self) -> Result<Vec<Reservation>, CoinStoreError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let database = self.database(true)?;
        let table = database.begin_read()?.open_table(COINS)?;
        table
            .iter()?
            .map(|entry| {
                let (key, value) = entry?;
                decode(key.value(), value.value())
            })
            .collect()
    }

    /// Keeps coins, all or none.
    ///
    /// # Errors
    /// [`CoinStoreError::Kept`] if one is kept for a transaction that may not share it; otherwise [`CoinStoreError`].
    pub fn keep(&self, reservations: &[Reservation]) -> Result<(), CoinStoreError> {
        if reservations.is_empty() {
            return Ok(());
        }
        self.write(|table| {
            for wanted in reservations {
                // The same transaction twice is no excuse: of two deposits that are alike, one would be none.
                if let Some(kept) = get(table, &wanted.outpoint)?
                    && !kept.purpose.shares_with(wanted.purpose)
                {
                    return Err(CoinStoreError::Kept(kept));
                }
                put(table, wanted)?;
            }
            Ok(())
        })
    }

    /// Keeps exactly these coins for the anchoring service: those that it had before and has not now are free. A coin
    /// that is kept for something else stays kept for that.
    ///
    /// # Errors
    /// [`CoinStoreError`].
    pub fn keep_for_anchors(&self, reservations: &[Reservation]) -> Result<(), CoinStoreError> {
        let is_anchor = |kept: &Reservation| matches!(kept.purpose, Purpose::Anchor { .. });
        let before: Vec<Reservation> = self.reservations()?.into_iter().filter(is_anchor).collect();
        if before.is_empty() && reservations.is_empty() {
            return Ok(());
        }
        self.write(|table| {
            for kept in &before {
                table.remove(serialize(&kept.outpoint).as_slice())?;
            }
            for wanted in reservations {
                if get(table, &wanted.outpoint)?.is_none() {
                    put(table, wanted)?;
                }
            }
            Ok(())
        })
    }

    /// Lets a coin go, whatever it is kept for; `None` if it is not kept.
    ///
    /// # Errors
    /// [`CoinStoreError`].
    pub fn release(&self, outpoint: &OutPoint) -> Result<Option<Reservation>, CoinStoreError> {
        if !self.path.exists() {
            return Ok(None);
        }
        self.write(|table| {
            let kept = get(table, outpoint)?;
            table.remove(serialize(outpoint).as_slice())?;
            Ok(kept)
        })
    }

    /// Lets the coins go that are kept for a transaction, as when a node refuses it.
    ///
    /// # Errors
    /// [`CoinStoreError`].
    pub fn release_spent_by(&self, spender: bitcoin::Txid) -> Result<(), CoinStoreError> {
        for kept in self.reservations()?.iter().filter(|kept| kept.spender == spender) {
            self.renew(&[(*kept, None)])?;
        }
        Ok(())
    }

    /// Replaces what was found by what is true now, where no other process has changed it meanwhile.
    pub(super) fn renew(&self, changes: &[(Reservation, Option<Reservation>)]) -> Result<(), CoinStoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write(|table| {
            for (before, after) in changes {
                if get(table, &before.outpoint)? != Some(*before) {
                    continue;
                }
                match after {
                    Some(after) => put(table, after)?,
                    None => drop(table.remove(serialize(&before.outpoint).as_slice())?),
                }
            }
            Ok(())
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Coins<'_>) -> Result<T, CoinStoreError>) -> Result<T, CoinStoreError> {
        if !self.path.exists() {
            self.create()?;
        }
        let database = self.database(false)?;
        let transaction = database.begin_write()?;
        // A transaction that is dropped is taken back.
        let value = change(&mut transaction.open_table(COINS)?)?;
        transaction.commit()?;
        Ok(value)
    }

    fn create(&self) -> Result<(), CoinStoreError> {
        let io_error = |error| CoinStoreError::from_io(error, &self.path);
        let unnamed = UnnamedStore::new(&self.path).map_err(io_error)?;
        let file = unnamed.file().map_err(io_error)?;
        let database = FileBackend::new(file)
            .and_then(|backend| Database::builder().create_with_backend(backend))
            .map_err(|error| CoinStoreError::from_redb(error, &self.path))?;
        let transaction = database.begin_write()?;
        transaction.open_table(FORMAT)?.insert((), FORMAT_VERSION)?;
        transaction.open_table(COINS)?;
        transaction.commit()?;
        drop(database);
        match unnamed.name() {
            // Another process made it in the same moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.map_err(io_error),
        }
    }

    fn database(&self, to_read: bool) -> Result<Database, CoinStoreError> {
        let database = open(&self.path, to_read)?;
        let transaction = database.begin_read()?;
        let version = match transaction.open_table(FORMAT) {
            Err(TableError::TableDoesNotExist(_)) => return Err(CoinStoreError::NotAStore(self.path.clone())),
            table => table?.get(())?.map(|version| version.value()),
        };
        match version {
            Some(FORMAT_VERSION) => Ok(database),
            Some(found) => Err(CoinStoreError::Version { found }),
            None => Err(CoinStoreError::Corrupted("the version is missing".to_owned())),
        }
    }
}

type Coins<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

/// Opens the file, checking every page, and waiting a few seconds for whoever has it open. One that this process may
/// not write is opened to be read alone.
fn open(path: &Path, to_read: bool) -> Result<Database, CoinStoreError> {
    let metadata = std::fs::metadata(path).map_err(|error| CoinStoreError::from_io(error, path))?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(CoinStoreError::NotAStore(path.to_owned()));
    }
    let builder = store_file::checked();
    let opened = open_patiently(|| match builder.open(path) {
        opened if to_read => Ok(or_copy(opened, path, &builder)?.0),
        opened => opened,
    });
    opened.map_err(|error| CoinStoreError::from_redb(error, path))
}

fn get(table: &Coins<'_>, outpoint: &OutPoint) -> Result<Option<Reservation>, CoinStoreError> {
    let key = serialize(outpoint);
    table.get(key.as_slice())?.map(|value| decode(&key, value.value())).transpose()
}

fn put(table: &mut Coins<'_>, reservation: &Reservation) -> Result<(), CoinStoreError> {
    let value = postcard::to_stdvec(reservation).expect("memory takes any reservation");
    table.insert(serialize(&reservation.outpoint).as_slice(), value.as_slice())?;
    Ok(())
}

fn decode(key: &[u8], value: &[u8]) -> Result<Reservation, CoinStoreError> {
    let corrupted = |what: String| CoinStoreError::Corrupted(what);
    let outpoint: OutPoint = deserialize(key).map_err(|error| corrupted(error.to_string()))?;
    let reservation: Reservation = postcard::from_bytes(value).map_err(|error| corrupted(error.to_string()))?;
    if reservation.outpoint != outpoint {
        return Err(corrupted("a coin stands in another's place".to_owned()));
    }
    Ok(reservation)
}
