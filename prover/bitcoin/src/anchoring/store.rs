//! The store of anchors: one [redb] file that is opened for the moment of reading or writing, so that other commands
//! can look at it beside a running service.
//!
//! Every change is one durable transaction. A job's payloads are written once each, by their hash.

use super::{AnchorStoreError, Job, Order, Waits, codec};
use crate::anchor::FeeRate;
use bitcoin::{Network, XOnlyPublicKey, bip32::KeySource};
use redb::{Database, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use taproof_base::{
    store_error::StoreError,
    store_file::{self, open_patiently, or_copy},
};
use taproof_verifier::{cell::ChainId, payload::PayloadHash};
use taproof_wallet::PosterScripts;

/// The version of all tables together.
const FORMAT_VERSION: u32 = 1;
/// The version. It stands alone in its table, whose form never changes.
const FORMAT: TableDefinition<'_, (), u32> = TableDefinition::new("taproof anchoring format");
/// The [`Identity`].
const IDENTITY: TableDefinition<'_, (), &[u8]> = TableDefinition::new("identity");
/// The jobs, by batch.
const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");
/// The payloads, by hash.
const PAYLOADS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("payloads");
/// What other processes ask of the service, by batch.
const ORDERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("orders");
/// What the service was last told that others have to know, by name.
const SETTINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("settings");
/// The name of the most that the service pays, in satoshi a thousand virtual bytes.
const FEE_CAP: &str = "fee cap";
/// The name of where the poster's wallet finds its key.
const ORIGIN: &str = "origin";
/// The keys, beside the poster's, that signed reveals at some time.
const LEAF_KEYS: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("leaf keys");
/// What external signers have signed, by batch: a copy of the job, from which the service takes the signatures.
const SIGNED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("signed");

/// What batches wait for, by batch, as [`Waits`].
const WAITS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("waits");

/// Whose anchors a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    chain_id: ChainId,
    network: Network,
    poster: XOnlyPublicKey,
}

impl Identity {
    /// The anchors of a rollup by a poster.
    pub fn new(chain_id: ChainId, poster: &PosterScripts) -> Self {
        Self { chain_id, network: poster.network(), poster: poster.public() }
    }

    /// The rollup.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The poster's scripts, as far as its public key gives them.
    pub fn poster(&self) -> PosterScripts {
        PosterScripts::watch_only(self.poster, self.network)
    }
}

/// The file of jobs.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    identity: Identity,
}

impl Store {
    /// Opens a store and checks all of its pages, or makes it.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn open(path: &Path, identity: Identity) -> Result<Self, AnchorStoreError> {
        let store = Self { path: path.to_owned(), identity };
        if !store_file::exists(path)? {
            store.create()?;
        }
        store.compare(&read_checked(path)?)?;
        Ok(store)
    }

    /// Opens the store that is there, whoever's it is; `None` if there is none.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn find(path: &Path) -> Result<Option<Self>, AnchorStoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let identity = read_checked(path)?;
        Ok(Some(Self { path: path.to_owned(), identity }))
    }

    /// Whose anchors these are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All jobs, by batch.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn jobs(&self) -> Result<Vec<Job>, AnchorStoreError> {
        self.read_jobs(JOBS)
    }

    /// The copies of jobs that [`Store::put_signed`] keeps.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn signed(&self) -> Result<Vec<Job>, AnchorStoreError> {
        self.read_jobs(SIGNED)
    }

    /// Keeps a copy of a job that has more signatures than the service's own, for the service to take them, beside
    /// those that were kept before and that the service has not taken yet.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_signed(&self, job: &Job) -> Result<(), AnchorStoreError> {
        self.write(|transaction| {
            let payloads = transaction.open_table(PAYLOADS)?;
            let leaf_keys = leaf_keys(&transaction.open_table(LEAF_KEYS)?)?;
            let mut table = transaction.open_table(SIGNED)?;
            let decode = |bytes: &[u8]| self.decode(job.batch(), bytes, &leaf_keys, &payloads);
            let before = table.get(job.batch())?.map(|bytes| decode(bytes.value()));
            let mut merged = job.clone();
            if let Some(before) = before.transpose()? {
                merged.take_signatures(&before, 0);
            }
            table.insert(job.batch(), codec::encode(&merged).as_slice())?;
            Ok(())
        })
    }

    fn read_jobs(&self, table: TableDefinition<'_, u64, &'static [u8]>) -> Result<Vec<Job>, AnchorStoreError> {
        self.read(|transaction| {
            let payloads = transaction.open_table(PAYLOADS)?;
            let leaf_keys = match transaction.open_table(LEAF_KEYS) {
                // Stores of earlier releases have none.
                Err(TableError::TableDoesNotExist(_)) => Vec::new(),
                table => leaf_keys(&table?)?,
            };
            let table = transaction.open_table(table)?;
            let decoded = table.iter()?.map(|entry| {
                let (batch, bytes) = entry?;
                self.decode(batch.value(), bytes.value(), &leaf_keys, &payloads)
            });
            decoded.collect()
        })
    }

    fn decode(
        &self,
        batch: u64,
        bytes: &[u8],
        leaf_keys: &[XOnlyPublicKey],
        payloads: &impl ReadableTable<[u8; 32], &'static [u8]>,
    ) -> Result<Job, StoreError> {
        let payload = |hash: PayloadHash| Ok(payloads.get(hash.to_byte_array())?.map(|bytes| bytes.value().to_vec()));
        let job = codec::decode(bytes, &self.identity, leaf_keys, payload)?;
        if job.batch() != batch {
            return Err(StoreError::corrupted("a job stands in another's place"));
        }
        Ok(job)
    }

    /// Keeps a job in the place of what was kept of it.
    ///
    /// # Errors
    /// [`AnchorStoreError`]; then what was kept before is kept.
    pub fn save(&self, job: &Job) -> Result<(), AnchorStoreError> {
        let bytes = codec::encode(job);
        self.write(|transaction| {
            let mut payloads = transaction.open_table(PAYLOADS)?;
            for generation in job.generations() {
                let hash = generation.payload_hash().to_byte_array();
                if payloads.get(hash)?.is_none() {
                    payloads.insert(hash, generation.payload())?;
                }
            }
            transaction.open_table(JOBS)?.insert(job.batch(), bytes.as_slice())?;
            Ok(())
        })
    }

    /// Forgets jobs, with their payloads and all that waits for them.
    ///
    /// # Errors
    /// [`AnchorStoreError`]; then all are kept.
    pub fn forget<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) -> Result<(), AnchorStoreError> {
        self.write(|transaction| {
            let mut payloads = transaction.open_table(PAYLOADS)?;
            let mut tables = Vec::new();
            for table in [JOBS, ORDERS, SIGNED, WAITS] {
                tables.push(transaction.open_table(table)?);
            }
            for job in jobs {
                // A payload names its batch, so no other job has it.
                for generation in job.generations() {
                    payloads.remove(generation.payload_hash().to_byte_array())?;
                }
                for table in &mut tables {
                    table.remove(job.batch())?;
                }
            }
            Ok(())
        })
    }

    /// Keeps what a batch waits for, or that it waits for nothing, for commands beside the service.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_waits(&self, batch: u64, waits: Option<&Waits>) -> Result<(), AnchorStoreError> {
        let bytes = waits.map(store_file::encode);
        self.write(|transaction| {
            let mut table = transaction.open_table(WAITS)?;
            match bytes {
                Some(bytes) => drop(table.insert(batch, bytes.as_slice())?),
                None => drop(table.remove(batch)?),
            }
            Ok(())
        })
    }

    /// What each batch waits for, as of the service's last look.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn waits(&self) -> Result<BTreeMap<u64, Waits>, AnchorStoreError> {
        self.read(|transaction| match transaction.open_table(WAITS) {
            // Stores of earlier releases have none.
            Err(TableError::TableDoesNotExist(_)) => Ok(BTreeMap::new()),
            table => by_batch(&table?),
        })
    }

    /// Keeps an order for the service, in the place of an older one for the batch.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_order(&self, batch: u64, order: Order) -> Result<(), AnchorStoreError> {
        let bytes = store_file::encode(&order);
        self.write(|transaction| {
            transaction.open_table(ORDERS)?.insert(batch, bytes.as_slice())?;
            Ok(())
        })
    }

    /// The orders that wait.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn orders(&self) -> Result<Vec<(u64, Order)>, AnchorStoreError> {
        self.read(|transaction| by_batch(&transaction.open_table(ORDERS)?))
    }

    /// Keeps a job, and forgets the order that was carried out with it, unless another has taken its place meanwhile.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn fulfil(&self, batch: u64, order: Order, job: Option<&Job>) -> Result<(), AnchorStoreError> {
        let order = store_file::encode(&order);
        self.settle(ORDERS, batch, &order, job)
    }

    /// Keeps a job, and forgets the copy whose signatures it took, unless that has got more of them meanwhile.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn settle_signed(&self, signed: &Job, job: Option<&Job>) -> Result<(), AnchorStoreError> {
        self.settle(SIGNED, signed.batch(), &codec::encode(signed), job)
    }

    fn settle(
        &self,
        table: TableDefinition<'_, u64, &'static [u8]>,
        batch: u64,
        taken: &[u8],
        job: Option<&Job>,
    ) -> Result<(), AnchorStoreError> {
        let bytes = job.map(codec::encode);
        self.write(|transaction| {
            if let Some(bytes) = bytes {
                transaction.open_table(JOBS)?.insert(batch, bytes.as_slice())?;
            }
            let mut table = transaction.open_table(table)?;
            let is_same = table.get(batch)?.is_some_and(|found| found.value() == taken);
            if is_same {
                table.remove(batch)?;
            }
            Ok(())
        })
    }

    /// Keeps where the poster's wallet finds its key.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_origin(&self, (fingerprint, path): &KeySource) -> Result<(), AnchorStoreError> {
        self.put_setting(ORIGIN, format!("{fingerprint}/{path}").as_bytes())
    }

    /// Where the poster's wallet finds its key, if that was told.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn origin(&self) -> Result<Option<KeySource>, AnchorStoreError> {
        let Some(bytes) = self.setting(ORIGIN)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(StoreError::corrupted)?;
        let (fingerprint, path) = text.split_once('/').unwrap_or((&text, ""));
        let fingerprint = fingerprint.parse().map_err(StoreError::corrupted)?;
        Ok(Some((fingerprint, path.parse().map_err(StoreError::corrupted)?)))
    }

    /// Keeps a key that signs reveals, so that what it signs is known again by every later run.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_leaf_key(&self, key: XOnlyPublicKey) -> Result<(), AnchorStoreError> {
        if key == self.identity.poster {
            return Ok(());
        }
        self.write(|transaction| {
            transaction.open_table(LEAF_KEYS)?.insert(key.serialize(), ())?;
            Ok(())
        })
    }

    /// Keeps the most that the service pays, for commands that order it to pay.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn put_fee_cap(&self, cap: FeeRate) -> Result<(), AnchorStoreError> {
        if self.fee_cap()? == Some(cap) {
            return Ok(());
        }
        self.put_setting(FEE_CAP, &cap.sat_per_kvb().to_le_bytes())
    }

    /// The most that the service pays, as of its last start; `None` if it was not started yet.
    ///
    /// # Errors
    /// [`AnchorStoreError`].
    pub fn fee_cap(&self) -> Result<Option<FeeRate>, AnchorStoreError> {
        let Some(bytes) = self.setting(FEE_CAP)? else { return Ok(None) };
        let bytes = bytes.try_into().map_err(|_| StoreError::corrupted("the fee cap is of another length"))?;
        let cap = FeeRate::from_sat_per_kvb(u64::from_le_bytes(bytes)).map_err(StoreError::corrupted)?;
        Ok(Some(cap))
    }

    fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), AnchorStoreError> {
        self.write(|transaction| {
            transaction.open_table(SETTINGS)?.insert(name, value)?;
            Ok(())
        })
    }

    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, AnchorStoreError> {
        self.read(|transaction| match transaction.open_table(SETTINGS) {
            // Stores of earlier releases have none.
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok(table?.get(name)?.map(|value| value.value().to_vec())),
        })
    }

    /// How many payloads there are.
    #[cfg(test)]
    pub(super) fn payload_count(&self) -> u64 {
        let count = self.read(|transaction| Ok(redb::ReadableTableMetadata::len(&transaction.open_table(PAYLOADS)?)?));
        count.expect("ours")
    }

    /// Makes the file. Where another process makes it in the same moment, what that writes is compared like any other.
    fn create(&self) -> Result<(), StoreError> {
        store_file::make(&self.path, |transaction| {
            transaction.open_table(FORMAT)?.insert((), FORMAT_VERSION)?;
            transaction.open_table(IDENTITY)?.insert((), store_file::encode(&self.identity).as_slice())?;
            transaction.open_table(JOBS)?;
            transaction.open_table(PAYLOADS)?;
            transaction.open_table(ORDERS)?;
            transaction.open_table(SIGNED)?;
            Ok(())
        })
    }

    fn compare(&self, found: &Identity) -> Result<(), AnchorStoreError> {
        let Identity { chain_id, network, poster } = self.identity;
        let differs = [
            (chain_id != found.chain_id, "rollup"),
            (network != found.network, "network"),
            (poster != found.poster, "poster"),
        ];
        match differs.into_iter().find(|(differs, _)| *differs) {
            Some((_, what)) => Err(AnchorStoreError::Foreign(what)),
            None => Ok(()),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, AnchorStoreError> {
        Ok(store_file::read(&open_to_read(&self.path, false)?, look)?)
    }

    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), AnchorStoreError> {
        let database = open_patiently(&self.path, || Database::builder().open(&self.path))?;
        Ok(store_file::write(&database, change)?)
    }
}

/// The values of a table by batch, in its order.
fn by_batch<T: DeserializeOwned, C: FromIterator<(u64, T)>>(
    table: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<C, StoreError> {
    let decoded = table.iter()?.map(|entry| {
        let (batch, value) = entry?;
        Ok((batch.value(), store_file::decode(value.value())?))
    });
    decoded.collect()
}

fn leaf_keys(table: &impl ReadableTable<[u8; 32], ()>) -> Result<Vec<XOnlyPublicKey>, StoreError> {
    let key = |bytes: [u8; 32]| XOnlyPublicKey::from_slice(&bytes).map_err(StoreError::corrupted);
    table.iter()?.map(|entry| key(entry?.0.value())).collect()
}

/// Opens the file to read it, waiting a few seconds for whoever has it open; with a look at every page's checksum if
/// asked.
fn open_to_read(path: &Path, is_checked: bool) -> Result<Database, StoreError> {
    let builder = if is_checked { store_file::checked() } else { Database::builder() };
    open_patiently(path, || Ok(or_copy(builder.open(path), path, &builder)?.0))
}

/// Checks a whole file, and says whose it is.
fn read_checked(path: &Path) -> Result<Identity, StoreError> {
    store_file::exists(path)?;
    store_file::read(&open_to_read(path, true)?, |transaction| {
        store_file::expect_version(transaction, FORMAT, FORMAT_VERSION, path)?;
        let identity = transaction.open_table(IDENTITY)?;
        let identity = identity.get(())?.ok_or_else(|| StoreError::corrupted("the identity is missing"))?;
        store_file::decode(identity.value())
    })
}
