//! The ledger: a rollup's state on disk, with what waits to be applied and what came of each batch.
//!
//! It is one [redb] file. Every change is one durable transaction, so that a crash at any moment leaves the ledger as
//! it was before or after, never between. Opening it checks every page's checksum and computes the root anew from the
//! cells. One process at a time has it open.
//!
//! A batch can be taken back until it is final ([`Ledger::rewind_to`], [`Ledger::forget_before`]): what undoes it is
//! part of the transaction that stores it. Where somebody else's batch got into the chain, the ledger takes it over
//! ([`Ledger::take_over`]). A ledger that was lost is [restored](Ledger::restore) from the chain.

mod apply;
mod error;
mod restore;
mod room;
mod tables;
mod take_over;
mod undo;

use redb::{Database, ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::{
    io,
    path::{Path, PathBuf},
};
use tables::{ARTEFACTS, DEPOSITS, FORMAT, Head, REFERRED, REQUESTS, REQUESTS_AFTER, TRANSACTIONS, UNDO};
use taproof_base::{
    artefact::{self, Artefact},
    store_error::StoreError,
    store_file::{self, UnnamedStore, decode, encode, or_copy},
};
use taproof_circuits::{
    state::{Batch, State, TransitionError},
    step::Machines,
    transaction::{Deposit, Transaction},
};
use taproof_verifier::{
    cell::{ChainId, Depth},
    exit::{REQUESTS_WAITING_MAX, Refutation, ScannedRequest, SettledRequest},
};
use undo::Undo;

pub use error::LedgerError;
pub use take_over::Standing;

/// The most transactions that wait.
pub const TRANSACTIONS_MAX: u64 = 1 << 20;
/// The most exit requests that wait; a follower has no more.
pub const REQUESTS_MAX: u64 = REQUESTS_WAITING_MAX as u64;
/// The most deposits that wait: two thousand full blocks of nothing else, since with more no batch would be made.
pub const DEPOSITS_MAX: u64 = 1 << 24;

/// A deposit that a scan of Bitcoin's blocks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WaitingDeposit {
    /// What is to be credited.
    pub deposit: Deposit,
    /// The height of its block.
    pub height_blocks: u32,
}

/// The state on disk, open.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    database: Database,
    head: Head,
    state: State,
    /// A write failed, so that the file may be as before or after it.
    is_uncertain: bool,
    /// Why this process may only read the file.
    denied: Option<io::ErrorKind>,
}

/// A batch that was applied.
#[derive(Clone, Debug)]
pub struct AppliedBatch {
    /// The batch's number; the first is 0.
    pub number: u64,
    /// How many deposits are consumed after it, from the first one on.
    pub deposits_consumed: u64,
    /// The chunks, and what became of each transaction, by its position in `transactions`.
    pub batch: Batch,
    /// Whether a deposit that is due found no cell, so that all other deposits and all transactions but withdrawals
    /// wait with it: a batch must credit all or have withdrawals alone.
    pub has_withdrawals_alone: bool,
    /// The cells that refute exit requests, in ascending order.
    pub refutations: Vec<Refutation>,
    /// The requests that the batch serves or refutes.
    pub settled: Vec<SettledRequest>,
    /// All transactions that were waiting.
    pub transactions: Vec<Transaction>,
}

impl AppliedBatch {
    /// Whether there is anything to post: chunks, or cells that refute exit requests.
    pub fn is_batch(&self) -> bool {
        !(self.batch.chunks.is_empty() && self.refutations.is_empty())
    }

    /// The transactions that were refused, with the reasons.
    pub fn rejected(&self) -> impl Iterator<Item = (&Transaction, &TransitionError)> {
        self.batch.rejected.iter().map(|rejected| (&self.transactions[rejected.position], &rejected.reason))
    }
}

impl Ledger {
    /// Makes a new ledger with a state of empty cells.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyExists`] and those of the disk.
    pub fn create(path: &Path, chain_id: ChainId, depth: Depth) -> Result<Self, LedgerError> {
        let state = State::new(chain_id, depth);
        let head = Head::new(&state);
        let (ledger, unnamed) = Self::begin(path, state, head)?;
        ledger.name(unnamed)
    }

    /// A ledger whose file has no name yet.
    fn begin(path: &Path, state: State, head: Head) -> Result<(Self, UnnamedStore), LedgerError> {
        let unnamed = UnnamedStore::new(path)?;
        let database = unnamed.database()?;
        let mut ledger = Self { path: path.to_owned(), database, head, state, is_uncertain: false, denied: None };
        let cells: Vec<_> = ledger.state.tree().cells().map(|(index, cell)| (index, *cell)).collect();
        ledger.write(|transaction| {
            transaction.open_table(FORMAT)?.insert((), tables::FORMAT_VERSION)?;
            tables::put_cells(transaction, cells)?;
            transaction.open_table(TRANSACTIONS)?;
            transaction.open_table(DEPOSITS)?;
            transaction.open_table(REQUESTS)?;
            transaction.open_table(UNDO)?;
            transaction.open_table(REFERRED)?;
            transaction.open_table(ARTEFACTS)?;
            head.put(transaction)
        })?;
        Ok((ledger, unnamed))
    }

    /// Gives a new ledger's file its name.
    fn name(self, unnamed: UnnamedStore) -> Result<Self, LedgerError> {
        if unnamed.name()? { Ok(self) } else { Err(LedgerError::AlreadyExists(self.path)) }
    }

    /// Opens a ledger, checking all of it. One that this process may not write can be read.
    ///
    /// # Errors
    /// [`LedgerError::WrongChain`] and as [`Ledger::find`].
    pub fn open(path: &Path, chain_id: ChainId) -> Result<Self, LedgerError> {
        let ledger = Self::find(path)?;
        if ledger.head.chain_id != chain_id {
            return Err(LedgerError::WrongChain { expected: chain_id, found: ledger.head.chain_id });
        }
        Ok(ledger)
    }

    /// Opens the ledger that is there, whichever rollup's it is, checking all of it.
    ///
    /// # Errors
    /// [`LedgerError::NotFound`] and [`LedgerError::Store`].
    pub fn find(path: &Path) -> Result<Self, LedgerError> {
        if !store_file::exists(path)? {
            return Err(LedgerError::NotFound(path.to_owned()));
        }
        let builder = store_file::checked();
        let opened = or_copy(builder.open(path), path, &builder);
        let (database, denied) = opened.map_err(|error| StoreError::from_opening(error, path))?;
        let (head, stored) = store_file::read(&database, |transaction| tables::read_all(transaction, path))?;
        let state = State::load(head.chain_id, &stored).map_err(StoreError::corrupted)?;
        Ok(Self { path: path.to_owned(), database, head, state, is_uncertain: false, denied })
    }

    /// The same ledger, with the rules of the steps of these machines.
    #[must_use]
    pub fn with_machines(mut self, machines: Machines) -> Self {
        self.state.set_machines(machines);
        self
    }

    /// The state after the last batch.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of the next batch.
    pub fn next_batch(&self) -> u64 {
        self.head.next_batch
    }

    /// How many deposits the batches have consumed.
    pub fn deposits_consumed(&self) -> u64 {
        self.head.deposits_consumed
    }

    /// The height of the Bitcoin block that the last batch refers to; 0 before the first. The next refers to none
    /// below.
    pub fn reference_height(&self) -> u32 {
        self.head.reference_height
    }

    /// Keeps transactions for the next batch, after those that already wait.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`], [`LedgerError::MustReopen`] and those of the disk; then none is kept.
    pub fn add_transactions(&mut self, transactions: &[Transaction]) -> Result<(), LedgerError> {
        let count = self.read(|transaction| Ok(transaction.open_table(TRANSACTIONS)?.len()?))?;
        if count.saturating_add(transactions.len() as u64) > TRANSACTIONS_MAX {
            return Err(LedgerError::TooMany { what: "transactions", count_max: TRANSACTIONS_MAX });
        }
        let mut head = self.head;
        self.write(|transaction| {
            let mut table = transaction.open_table(TRANSACTIONS)?;
            for waiting in transactions {
                table.insert(head.next_transaction, waiting.to_bytes().as_slice())?;
                head.next_transaction += 1;
            }
            drop(table);
            head.put(transaction)
        })?;
        self.head = head;
        Ok(())
    }

    /// The transactions that wait, in the order they came.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn transactions(&self) -> Result<Vec<Transaction>, LedgerError> {
        Ok(self.read_transactions()?.into_iter().map(|(_, transaction)| transaction).collect())
    }

    /// Replaces all deposits from number `first` on, counted over the whole chain, by what a scan found there.
    ///
    /// A scan that only goes on adds after the last one; after a reorganisation it starts further back.
    ///
    /// # Errors
    /// [`LedgerError::DepositsApart`] if `first` is below what is consumed or beyond what is known, which would leave a
    /// gap; [`LedgerError::TooMany`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn set_deposits(&mut self, first: u64, deposits: &[WaitingDeposit]) -> Result<(), LedgerError> {
        let consumed = self.head.deposits_consumed;
        let known = self.read(|transaction| {
            let last = transaction.open_table(DEPOSITS)?.last()?.map(|(number, _)| number.value());
            Ok(last.map_or(consumed, |last| last + 1))
        })?;
        if !(consumed..=known).contains(&first) {
            return Err(LedgerError::DepositsApart { first, consumed, known });
        }
        if (first - consumed).saturating_add(deposits.len() as u64) > DEPOSITS_MAX {
            return Err(LedgerError::TooMany { what: "deposits", count_max: DEPOSITS_MAX });
        }
        self.write(|transaction| {
            let mut table = transaction.open_table(DEPOSITS)?;
            table.retain_in(first.., |_, _| false)?;
            for (number, deposit) in (first..).zip(deposits) {
                table.insert(number, encode(deposit).as_slice())?;
            }
            Ok(())
        })
    }

    /// The deposits that are not consumed yet, in their order.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn deposits(&self) -> Result<Vec<WaitingDeposit>, LedgerError> {
        self.read(|transaction| {
            transaction.open_table(DEPOSITS)?.iter()?.map(|entry| decode(entry?.1.value())).collect()
        })
    }

    /// The deposits that a batch is to credit which refers to a block of this height, in their order: those up to there
    /// that are not void, which are not below `void_below`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn deposits_due(&self, reference_height: u32, void_below: u32) -> Result<Vec<WaitingDeposit>, LedgerError> {
        Ok(self.void_and_due(reference_height, void_below)?.1)
    }

    /// Replaces the exit and claim requests by those that wait on the chain after its first `batches` batches, in their
    /// order.
    /// What these settled is the chain's to say: of two batches of one root, the one that got in may have settled
    /// less than the ledger's.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn set_requests(&mut self, requests: &[ScannedRequest], batches: u64) -> Result<(), LedgerError> {
        if requests.len() as u64 > REQUESTS_MAX {
            return Err(LedgerError::TooMany { what: "requests", count_max: REQUESTS_MAX });
        }
        let next_batch = self.head.next_batch;
        self.write(|transaction| {
            let mut table = transaction.open_table(REQUESTS)?;
            table.retain(|_, _| false)?;
            for scanned in requests {
                table.insert(scanned.index, encode(scanned).as_slice())?;
            }
            transaction.open_table(REQUESTS_AFTER)?.insert((), batches.min(next_batch))?;
            Ok(())
        })
    }

    /// The exit and claim requests that wait on the chain and that no batch which is not there yet serves or refutes,
    /// in their order.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn requests(&self) -> Result<Vec<ScannedRequest>, LedgerError> {
        self.read(|transaction| {
            let mut settled = Vec::new();
            for entry in transaction.open_table(UNDO)?.range(tables::requests_after(transaction)?..)? {
                settled.extend(decode::<Undo>(entry?.1.value())?.requests);
            }
            settled.sort_by_key(|scanned: &ScannedRequest| scanned.index);
            // Compared in full, as another request may have the number after a reorganisation.
            let is_settled = |scanned: &ScannedRequest| {
                let first = settled.partition_point(|settled| settled.index < scanned.index);
                let mut numbered = settled[first..].iter().take_while(|settled| settled.index == scanned.index);
                numbered.any(|settled| settled == scanned)
            };
            let table = transaction.open_table(REQUESTS)?;
            let waiting = table.iter()?.map(|entry| decode(entry?.1.value()));
            waiting.filter(|scanned| scanned.as_ref().map_or(true, |scanned| !is_settled(scanned))).collect()
        })
    }

    /// Keeps an artefact of a batch, in the place of an older one of its kind.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchBatch`], [`LedgerError::Artefact`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn put_artefact<A: Artefact>(&mut self, batch: u64, artefact: &A) -> Result<(), LedgerError> {
        if batch >= self.head.next_batch {
            return Err(LedgerError::NoSuchBatch(batch));
        }
        let bytes = artefact::encode(artefact)?;
        self.write(|transaction| {
            transaction.open_table(ARTEFACTS)?.insert((batch, A::KIND as u8), bytes.as_slice())?;
            Ok(())
        })
    }

    /// Whether there is an artefact of that kind of a batch.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn has_artefact<A: Artefact>(&self, batch: u64) -> Result<bool, LedgerError> {
        Ok(self.artefact_bytes::<A>(batch)?.is_some())
    }

    /// The artefact of that kind of a batch, if there is one.
    ///
    /// # Errors
    /// [`LedgerError::Artefact`] and those of the disk.
    pub fn artefact<A: Artefact>(&self, batch: u64) -> Result<Option<A>, LedgerError> {
        Ok(self.artefact_bytes::<A>(batch)?.as_deref().map(artefact::decode).transpose()?)
    }
}

impl Ledger {
    /// The deposits up to a height that are void, and in order behind them those that are due.
    fn void_and_due(
        &self,
        reference_height: u32,
        void_below: u32,
    ) -> Result<(Vec<WaitingDeposit>, Vec<WaitingDeposit>), LedgerError> {
        let mut void: Vec<_> =
            self.deposits()?.into_iter().take_while(|deposit| deposit.height_blocks <= reference_height).collect();
        let due = void.split_off(void.partition_point(|deposit| deposit.height_blocks < void_below));
        Ok((void, due))
    }

    fn artefact_bytes<A: Artefact>(&self, batch: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.read(|transaction| {
            let bytes = transaction.open_table(ARTEFACTS)?.get((batch, A::KIND as u8))?;
            Ok(bytes.map(|bytes| bytes.value().to_vec()))
        })
    }

    fn read_transactions(&self) -> Result<Vec<(u64, Transaction)>, LedgerError> {
        let damaged = |error| StoreError::corrupted(format_args!("a transaction: {error}"));
        self.read(|transaction| {
            let table = transaction.open_table(TRANSACTIONS)?;
            let decoded = table.iter()?.map(|entry| {
                let (number, bytes) = entry?;
                Ok((number.value(), Transaction::from_bytes(bytes.value()).map_err(damaged)?))
            });
            decoded.collect()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, LedgerError> {
        Ok(store_file::read(&self.database, look)?)
    }

    /// Runs one durable transaction: all of `change`, or nothing.
    fn write(&mut self, change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), LedgerError> {
        if self.is_uncertain {
            return Err(LedgerError::MustReopen(self.path.clone()));
        }
        if let Some(why) = self.denied {
            return Err(StoreError::Denied { path: self.path.clone(), source: why.into() }.into());
        }
        let written = store_file::write(&self.database, change);
        self.is_uncertain = written.is_err();
        Ok(written?)
    }
}

#[cfg(test)]
mod tests;
