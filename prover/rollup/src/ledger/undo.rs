//! Taking batches back.

use super::{
    Ledger, LedgerError, WaitingDeposit,
    tables::{ARTEFACTS, DEPOSITS, Head, REFERRED, REQUESTS, REQUESTS_AFTER, TRANSACTIONS, UNDO, put_cells},
};
use redb::{ReadableTable, TableError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taproof_base::{
    store_error::StoreError,
    store_file::{decode, encode},
};
use taproof_circuits::{state::State, tree::ChangeSet};
use taproof_verifier::{
    cell::{Cell, CellIndex},
    exit::ScannedRequest,
};

/// What undoes a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undo {
    /// Where the ledger stood.
    pub(super) head: Head,
    /// The cells that the batch replaced.
    pub(super) cells: Vec<(CellIndex, Cell)>,
    /// The transactions that it applied, as their own bytes, each with its number.
    pub(super) transactions: Vec<(u64, Vec<u8>)>,
    /// The deposits that it credited or passed over.
    pub(super) deposits: Vec<WaitingDeposit>,
    /// The requests that it settled.
    pub(super) requests: Vec<ScannedRequest>,
}

impl Ledger {
    /// Takes back batch `batch` and all after it: the state before it is in force again, what it credited waits, and
    /// the transactions that were applied wait in their old order, ahead of those that came later. Transactions that
    /// were refused do not come back. The artefacts of the batches are gone. Where one of them was taken over with
    /// deposits that no scan had told of, no deposit waits until the next scan.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchBatch`] if `batch` is beyond the next one, [`LedgerError::Final`] if what undoes a batch
    /// is no longer kept, [`LedgerError::Store`], [`LedgerError::MustReopen`] and those of the disk; then the
    /// ledger is as before.
    pub fn rewind_to(&mut self, batch: u64) -> Result<(), LedgerError> {
        let next = self.head.next_batch;
        if batch > next {
            return Err(LedgerError::NoSuchBatch(batch));
        }
        let undone = self.undos(batch)?;
        if undone.len() as u64 != next - batch {
            return Err(LedgerError::Final(batch));
        }
        let Some(first) = undone.first() else { return Ok(()) };
        // Of two batches that replaced a cell, the earlier one knows what was there.
        let replaced: BTreeMap<CellIndex, Cell> =
            undone.iter().rev().flat_map(|undo| undo.cells.iter().copied()).collect();
        let head = Head { next_transaction: self.head.next_transaction, ..first.head };
        let state = self.state_before(&head, &replaced)?;
        let consumed = self.head.deposits_consumed;
        let heads_after = undone.iter().skip(1).map(|undo| undo.head).chain([self.head]);
        let referred: Vec<(u64, u32)> = (batch..).zip(heads_after.map(|head| head.reference_height)).collect();
        self.write(|transaction| {
            put_cells(transaction, replaced)?;
            let mut transactions = transaction.open_table(TRANSACTIONS)?;
            for (number, bytes) in undone.iter().flat_map(|undo| &undo.transactions) {
                transactions.insert(number, bytes.as_slice())?;
            }
            let mut deposits = transaction.open_table(DEPOSITS)?;
            let taken_back: Vec<&WaitingDeposit> = undone.iter().flat_map(|undo| &undo.deposits).collect();
            if taken_back.len() as u64 == consumed - head.deposits_consumed {
                for (number, deposit) in (head.deposits_consumed..).zip(taken_back) {
                    deposits.insert(number, encode(deposit).as_slice())?;
                }
            } else {
                deposits.retain(|_, _| false)?;
            }
            let mut artefacts = transaction.open_table(ARTEFACTS)?;
            for (batch, height) in referred {
                // Only what was made here has artefacts, and proofs.
                if artefacts.range((batch, 0)..(batch + 1, 0))?.next().is_some() {
                    transaction.open_table(REFERRED)?.insert(batch, height)?;
                }
            }
            artefacts.retain_in((batch, 0).., |_, _| false)?;
            transaction.open_table(UNDO)?.retain_in(batch.., |_, _| false)?;
            let mut requests_after = transaction.open_table(REQUESTS_AFTER)?;
            let after = requests_after.get(())?.map_or(0, |batches| batches.value());
            requests_after.insert((), after.min(batch))?;
            head.put(transaction)
        })?;
        (self.head, self.state) = (head, state);
        Ok(())
    }

    /// Forgets what undoes the batches before this one, because their anchors are final.
    ///
    /// # Errors
    /// [`LedgerError::Store`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn forget_before(&mut self, batch: u64) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let mut undos = transaction.open_table(UNDO)?;
            let mut requests = transaction.open_table(REQUESTS)?;
            let after = transaction.open_table(REQUESTS_AFTER)?.get(())?.map_or(0, |batches| batches.value());
            for entry in undos.range(after.min(batch)..batch)? {
                // What they settled no longer waits on the chain either.
                for settled in decode::<Undo>(entry?.1.value())?.requests {
                    let encoded = encode(&settled);
                    let is_same = requests.get(settled.index)?.is_some_and(|stored| stored.value() == encoded);
                    if is_same {
                        requests.remove(settled.index)?;
                    }
                }
            }
            undos.retain_in(..batch, |_, _| false)?;
            transaction.open_table(REFERRED)?.retain_in(..batch, |_, _| false)?;
            Ok(())
        })
    }

    /// The height of the Bitcoin block that the batch of the next number referred to which was made here and taken
    /// back, if one was. Made again for the same height, a batch of the same content states the same, and its proofs
    /// hold.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn referred(&self) -> Result<Option<u32>, LedgerError> {
        self.read(|transaction| match transaction.open_table(REFERRED) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok(table?.get(self.head.next_batch)?.map(|height| height.value())),
        })
    }

    /// The number of the first batch that can still be taken back; that of the next batch if none can.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn first_unfinal(&self) -> Result<u64, LedgerError> {
        let first =
            self.read(|transaction| Ok(transaction.open_table(UNDO)?.first()?.map(|(number, _)| number.value())));
        Ok(first?.unwrap_or(self.head.next_batch))
    }

    fn undos(&self, first: u64) -> Result<Vec<Undo>, LedgerError> {
        self.read(|transaction| {
            transaction.open_table(UNDO)?.range(first..)?.map(|entry| decode(entry?.1.value())).collect()
        })
    }

    /// The state with some cells put back. All nodes are computed anew, since a tree does not shrink.
    fn state_before(&self, head: &Head, replaced: &BTreeMap<CellIndex, Cell>) -> Result<State, LedgerError> {
        let mut cells: BTreeMap<CellIndex, Cell> =
            self.state.tree().cells().map(|(index, cell)| (index, *cell)).collect();
        cells.extend(replaced);
        cells.retain(|_, cell| *cell != Cell::Empty);
        let stored = ChangeSet { depth: head.depth, root: head.root, cells: cells.into_iter().collect() };
        let state = State::load(head.chain_id, &stored).map_err(StoreError::corrupted)?;
        Ok(state.with_machines(self.state.machines().clone()))
    }
}
