//! The ledger: a rollup's state on disk, with what waits to be applied and what came of each batch.
//!
//! It is one [redb] file. Every change is one durable transaction, so that a crash at any moment leaves the ledger as it
//! was before or after, never between. Opening it checks every page's checksum and computes the root anew from the cells.
//! One process at a time has it open.

mod error;
mod tables;

use crate::artefact::{self, Artefact};
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction, backends::FileBackend};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};
use tables::{ARTEFACTS, CELLS, DEPOSITS, FORMAT, Head, TRANSACTIONS};
use taproof_circuits::{
    state::{Batch, Plan, Refusal, State},
    transaction::{Deposit, Transaction},
};
use taproof_verifier::cell::{Cell, ChainId, Depth};
use tempfile::NamedTempFile;

pub use error::LedgerError;

/// The most transactions that wait.
pub const TRANSACTIONS_MAX: u64 = 1 << 20;
/// The most deposits that wait.
pub const DEPOSITS_MAX: u64 = 1 << 20;
/// A batch with this many deposits need not hold all that are due.
pub const DEPOSITS_PER_BATCH_ENOUGH: usize = 4096;

/// A deposit that a scan of Bitcoin's blocks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScannedDeposit {
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
    /// All transactions that were waiting.
    pub transactions: Vec<Transaction>,
}

impl AppliedBatch {
    /// The transactions that were refused, with the reasons.
    pub fn rejected(&self) -> impl Iterator<Item = (&Transaction, &Refusal)> {
        self.batch.rejected.iter().map(|rejected| (&self.transactions[rejected.position], &rejected.reason))
    }
}

impl Ledger {
    /// Makes a new ledger with a state of empty cells.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyExists`] and those of the disk.
    pub fn create(path: &Path, chain_id: ChainId, depth: Depth) -> Result<Self, LedgerError> {
        // The file gets its name when all is in it, so that a crash leaves no half ledger.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unnamed = NamedTempFile::new_in(folder).map_err(LedgerError::from_io)?;
        let file = unnamed.reopen().map_err(LedgerError::from_io)?;
        let database = FileBackend::new(file)
            .and_then(|backend| Database::builder().create_with_backend(backend))
            .map_err(|error| LedgerError::from_redb(error, path))?;
        let state = State::new(chain_id, depth);
        let head = Head::new(&state);
        let mut ledger = Self { path: path.to_owned(), database, head, state, is_uncertain: false };
        ledger.write(|transaction| {
            transaction.open_table(FORMAT)?.insert((), tables::FORMAT_VERSION)?;
            transaction.open_table(CELLS)?;
            transaction.open_table(TRANSACTIONS)?;
            transaction.open_table(DEPOSITS)?;
            transaction.open_table(ARTEFACTS)?;
            head.put(transaction)
        })?;
        unnamed.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => LedgerError::AlreadyExists(path.to_owned()),
            _ => LedgerError::from_io(error.error),
        })?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(LedgerError::from_io)?;
        Ok(ledger)
    }

    /// Opens a ledger, checking all of it.
    ///
    /// # Errors
    /// [`LedgerError::NotFound`], [`LedgerError::AlreadyOpen`], [`LedgerError::NotALedger`], [`LedgerError::Version`],
    /// [`LedgerError::WrongChain`], [`LedgerError::Corrupted`] and those of the disk.
    pub fn open(path: &Path, chain_id: ChainId) -> Result<Self, LedgerError> {
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LedgerError::NotFound(path.to_owned()),
            _ => LedgerError::from_io(error),
        })?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(LedgerError::NotALedger(path.to_owned()));
        }
        let mut builder = Database::builder();
        builder.set_check_integrity_on_open(true);
        let database = builder.open(path).map_err(|error| LedgerError::from_redb(error, path))?;
        let (head, stored) = tables::read_all(&database).map_err(|error| error.at(path))?;
        if head.chain_id != chain_id {
            return Err(LedgerError::WrongChain { expected: chain_id, found: head.chain_id });
        }
        let state = State::load(chain_id, &stored).map_err(|error| LedgerError::Corrupted(error.to_string()))?;
        Ok(Self { path: path.to_owned(), database, head, state, is_uncertain: false })
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

    /// Keeps transactions for the next batch, after those that already wait.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`], [`LedgerError::MustReopen`] and those of the disk; then none is kept.
    pub fn add_transactions(&mut self, transactions: &[Transaction]) -> Result<(), LedgerError> {
        let mut head = self.head;
        self.write(|transaction| {
            let mut table = transaction.open_table(TRANSACTIONS)?;
            let count = redb::ReadableTableMetadata::len(&table)?;
            if count.saturating_add(transactions.len() as u64) > TRANSACTIONS_MAX {
                return Err(LedgerError::TooMany { what: "transactions", count_max: TRANSACTIONS_MAX });
            }
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
    /// [`LedgerError::Corrupted`] and those of the disk.
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
    pub fn set_deposits(&mut self, first: u64, deposits: &[ScannedDeposit]) -> Result<(), LedgerError> {
        let consumed = self.head.deposits_consumed;
        self.write(|transaction| {
            let mut table = transaction.open_table(DEPOSITS)?;
            let known = table.last()?.map_or(consumed, |(number, _)| number.value() + 1);
            if !(consumed..=known).contains(&first) {
                return Err(LedgerError::DepositsApart { first, consumed, known });
            }
            if (first - consumed).saturating_add(deposits.len() as u64) > DEPOSITS_MAX {
                return Err(LedgerError::TooMany { what: "deposits", count_max: DEPOSITS_MAX });
            }
            table.retain_in(first.., |_, _| false)?;
            for (number, deposit) in (first..).zip(deposits) {
                table.insert(number, tables::encode(deposit).as_slice())?;
            }
            Ok(())
        })
    }

    /// The deposits that are not consumed yet, in their order.
    ///
    /// # Errors
    /// [`LedgerError::Corrupted`] and those of the disk.
    pub fn deposits(&self) -> Result<Vec<ScannedDeposit>, LedgerError> {
        let table = self.database.begin_read()?.open_table(DEPOSITS)?;
        table.iter()?.map(|entry| tables::decode(entry?.1.value())).collect()
    }

    /// Makes a batch of what waits: grows the tree to `depth`, applies the deposits up to the plan's height and the
    /// transactions, and stores the new state, what still waits, and the artefact that `record` makes of the batch.
    ///
    /// A transaction that is refused waits no longer and is in the result; one that found no room still waits. If nothing
    /// could be applied, the result has no chunks and there is no batch of that number yet.
    ///
    /// # Errors
    /// [`LedgerError::Plan`], [`LedgerError::Depth`], [`LedgerError::DepositsDoNotFit`], [`LedgerError::MustReopen`] and
    /// those of the disk; then the ledger is as before.
    pub fn apply<A: Artefact>(
        &mut self,
        plan: &Plan,
        depth: Depth,
        record: impl FnOnce(&AppliedBatch) -> A,
    ) -> Result<AppliedBatch, LedgerError> {
        let waiting = self.read_transactions()?;
        let due = |scanned: &ScannedDeposit| scanned.height_blocks <= plan.height_blocks;
        let deposits: Vec<_> = self.deposits()?.into_iter().take_while(due).map(|scanned| scanned.deposit).collect();
        let (numbers, transactions) = waiting.into_iter().unzip::<u64, Transaction, Vec<_>, Vec<_>>();
        let stored = self.try_apply(plan, depth, &deposits, transactions).and_then(|applied| {
            let head = self.store(&applied, &numbers, record)?;
            Ok((applied, head))
        });
        match stored {
            Ok((applied, head)) if !applied.batch.chunks.is_empty() => {
                self.state.commit();
                self.head = head;
                Ok(applied)
            }
            unchanged => {
                self.state.rollback();
                unchanged.map(|(applied, _)| applied)
            }
        }
    }

    /// Keeps an artefact of a batch, in the place of an older one of its kind.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchBatch`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn put_artefact<A: Artefact>(&mut self, batch: u64, artefact: &A) -> Result<(), LedgerError> {
        if batch >= self.head.next_batch {
            return Err(LedgerError::NoSuchBatch(batch));
        }
        let bytes = artefact::encode(artefact);
        self.write(|transaction| {
            transaction.open_table(ARTEFACTS)?.insert((batch, A::KIND as u8), bytes.as_slice())?;
            Ok(())
        })
    }

    /// The artefact of that kind of a batch, if there is one.
    ///
    /// # Errors
    /// [`LedgerError::Artefact`] and those of the disk.
    pub fn artefact<A: Artefact>(&self, batch: u64) -> Result<Option<A>, LedgerError> {
        let table = self.database.begin_read()?.open_table(ARTEFACTS)?;
        match table.get((batch, A::KIND as u8))? {
            Some(bytes) => Ok(Some(artefact::decode(bytes.value())?)),
            None => Ok(None),
        }
    }

    /// Applies in memory only.
    fn try_apply(
        &mut self,
        plan: &Plan,
        depth: Depth,
        deposits: &[Deposit],
        transactions: Vec<Transaction>,
    ) -> Result<AppliedBatch, LedgerError> {
        if depth < self.state.depth() {
            return Err(LedgerError::Depth { expected: self.state.depth(), found: depth });
        }
        while self.state.depth() < depth {
            self.state.grow().map_err(|error| LedgerError::Corrupted(error.to_string()))?;
        }
        let batch = self.state.apply(plan, deposits, &transactions)?;
        match batch.deposit_stop {
            Some(stop) if batch.deposits_applied < DEPOSITS_PER_BATCH_ENOUGH => {
                return Err(LedgerError::DepositsDoNotFit { stop });
            }
            _ => {}
        }
        let deposits_consumed = self.head.deposits_consumed + batch.deposits_applied as u64;
        Ok(AppliedBatch { number: self.head.next_batch, deposits_consumed, batch, transactions })
    }
}

impl Ledger {
    fn read_transactions(&self) -> Result<Vec<(u64, Transaction)>, LedgerError> {
        let table = self.database.begin_read()?.open_table(TRANSACTIONS)?;
        let decode = |bytes: &[u8]| {
            Transaction::from_bytes(bytes).map_err(|error| LedgerError::Corrupted(format!("a transaction: {error}")))
        };
        table
            .iter()?
            .map(|entry| {
                let (number, bytes) = entry?;
                Ok((number.value(), decode(bytes.value())?))
            })
            .collect()
    }

    /// Writes all that a batch changed; gives the head that is then on disk.
    fn store<A: Artefact>(
        &mut self,
        applied: &AppliedBatch,
        numbers: &[u64],
        record: impl FnOnce(&AppliedBatch) -> A,
    ) -> Result<Head, LedgerError> {
        let batch = &applied.batch;
        let (is_batch, number) = (!batch.chunks.is_empty(), applied.number);
        let artefact = is_batch.then(|| artefact::encode(&record(applied)));
        let head = Head {
            depth: self.state.depth(),
            root: self.state.root(),
            next_batch: number + 1,
            deposits_consumed: applied.deposits_consumed,
            ..self.head
        };
        let done: Vec<u64> = batch
            .applied
            .iter()
            .copied()
            .chain(batch.rejected.iter().map(|rejected| rejected.position))
            .map(|position| numbers[position])
            .collect();
        let changes = self.state.changes();
        self.write(|transaction| {
            let mut transactions = transaction.open_table(TRANSACTIONS)?;
            for number in done {
                transactions.remove(number)?;
            }
            let Some(artefact) = artefact else { return Ok(()) };
            transaction.open_table(DEPOSITS)?.retain_in(..applied.deposits_consumed, |_, _| false)?;
            transaction.open_table(ARTEFACTS)?.insert((number, A::KIND as u8), artefact.as_slice())?;
            let mut cells = transaction.open_table(CELLS)?;
            for (index, cell) in &changes.cells {
                match cell {
                    Cell::Empty => cells.remove(index.get())?,
                    cell => cells.insert(index.get(), tables::encode(cell).as_slice())?,
                };
            }
            head.put(transaction)
        })?;
        Ok(head)
    }

    /// Runs one durable transaction: all of `change`, or nothing.
    fn write(&mut self, change: impl FnOnce(&WriteTransaction) -> Result<(), LedgerError>) -> Result<(), LedgerError> {
        if self.is_uncertain {
            return Err(LedgerError::MustReopen(self.path.clone()));
        }
        let written = self.database.begin_write().map_err(LedgerError::from).and_then(|transaction| {
            // A transaction that is dropped is taken back.
            change(&transaction)?;
            Ok(transaction.commit()?)
        });
        self.is_uncertain = written.as_ref().is_err_and(LedgerError::is_of_the_store);
        written
    }
}

#[cfg(test)]
mod tests;
