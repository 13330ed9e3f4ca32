//! The file of coins that are kept: one [redb] file, opened for the moment of reading or writing. Every change is one
//! durable transaction, and of two processes that want one coin the second is told of the first.

use super::{Purpose, Reservation};
use bitcoin::{
    OutPoint,
    consensus::encode::{deserialize, serialize},
};
use redb::{Database, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use taproof_base::{
    store_error::StoreError,
    store_file::{self, open_patiently, or_copy},
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
    /// The file.
    #[error("the store of coins: {0}")]
    Store(#[from] StoreError),
}

impl CoinStoreError {
    /// Whether the same may work later with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

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
        Ok(store_file::read(&self.database(true)?, |transaction| {
            let table = transaction.open_table(COINS)?;
            let decoded = table.iter()?.map(|entry| {
                let (key, value) = entry?;
                decode(key.value(), value.value())
            });
            decoded.collect()
        })?)
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
                remove(table, &kept.outpoint)?;
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
            remove(table, outpoint)?;
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
                    None => remove(table, &before.outpoint)?,
                }
            }
            Ok(())
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Coins<'_>) -> Result<T, CoinStoreError>) -> Result<T, CoinStoreError> {
        if !self.path.exists() {
            store_file::make(&self.path, |transaction| {
                transaction.open_table(FORMAT)?.insert((), FORMAT_VERSION)?;
                transaction.open_table(COINS)?;
                Ok(())
            })?;
        }
        store_file::write(&self.database(false)?, |transaction| {
            change(&mut transaction.open_table(COINS).map_err(StoreError::from)?)
        })
    }

    fn database(&self, to_read: bool) -> Result<Database, StoreError> {
        let database = open(&self.path, to_read)?;
        store_file::read(&database, |transaction| {
            store_file::expect_version(transaction, FORMAT, FORMAT_VERSION, &self.path)
        })?;
        Ok(database)
    }
}

type Coins<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

/// Opens the file, checking every page, and waiting a few seconds for whoever has it open. One that this process may
/// not write is opened to be read alone.
fn open(path: &Path, to_read: bool) -> Result<Database, StoreError> {
    store_file::exists(path)?;
    let builder = store_file::checked();
    open_patiently(path, || match builder.open(path) {
        opened if to_read => Ok(or_copy(opened, path, &builder)?.0),
        opened => opened,
    })
}

fn get(table: &Coins<'_>, outpoint: &OutPoint) -> Result<Option<Reservation>, StoreError> {
    let key = serialize(outpoint);
    table.get(key.as_slice())?.map(|value| decode(&key, value.value())).transpose()
}

fn put(table: &mut Coins<'_>, reservation: &Reservation) -> Result<(), StoreError> {
    table.insert(serialize(&reservation.outpoint).as_slice(), store_file::encode(reservation).as_slice())?;
    Ok(())
}

fn remove(table: &mut Coins<'_>, outpoint: &OutPoint) -> Result<(), StoreError> {
    table.remove(serialize(outpoint).as_slice())?;
    Ok(())
}

fn decode(key: &[u8], value: &[u8]) -> Result<Reservation, StoreError> {
    let outpoint: OutPoint = deserialize(key).map_err(StoreError::corrupted)?;
    let reservation: Reservation = store_file::decode(value)?;
    if reservation.outpoint != outpoint {
        return Err(StoreError::corrupted("a coin stands in another's place"));
    }
    Ok(reservation)
}
