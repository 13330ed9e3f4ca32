//! Taking over batches that somebody else anchored.

use super::{
    Ledger, LedgerError,
    tables::{DEPOSITS, Head, UNDO, put_cells},
    undo::Undo,
};
use crate::batch::BatchFile;
use redb::ReadableTable;
use taproof_base::store_file::{decode, encode};
use taproof_circuits::state::PostedChunk;
use taproof_verifier::follow::{Tip, VerifiedBatch};

/// How a ledger, as it was after so many batches, compares with what the chain has after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is the same.
    Same,
    /// Somebody else's batch has the number of one that the ledger made.
    Other,
    /// The ledger has fewer batches.
    Behind,
    /// What undoes the batches after it is no longer kept, so that nobody knows how the ledger stood.
    Forgotten,
}

impl Ledger {
    /// Whether the ledger, as it was after so many batches, is known to be what the chain has. If not,
    /// [`Ledger::take_over`] of the chain's batches is the way on.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn agrees_with(&self, tip: &Tip) -> Result<bool, LedgerError> {
        Ok(self.compare(tip)? == Standing::Same)
    }

    /// How the ledger, as it was after so many batches, compares with what the chain has after them.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn compare(&self, tip: &Tip) -> Result<Standing, LedgerError> {
        Ok(match self.head_after(tip.batches)? {
            Some(head) if head.is_at(tip) => Standing::Same,
            Some(_) => Standing::Other,
            None if tip.batches > self.head.next_batch => Standing::Behind,
            None => Standing::Forgotten,
        })
    }

    /// Takes a batch over as the chain has it, from whoever anchored it, unless the ledger has it already; gives
    /// whether it had not. A batch of the ledger's own that has the number is taken back first, with all after it
    /// ([`Ledger::rewind_to`]). Then the posted records are replayed, and the ledger goes on from there. A batch
    /// before the last one that is final here ([`Ledger::forget_before`]) is one that the ledger has: where the last
    /// final one is the chain's, so are those before it.
    ///
    /// Transactions that wait go on waiting; those that the batch holds are refused by the next one. There is no
    /// artefact of the batch: its payload is in the chain.
    ///
    /// # Errors
    /// [`LedgerError::NotNext`] if batches before it are missing, [`LedgerError::Replay`], [`LedgerError::Final`],
    /// [`LedgerError::Store`], [`LedgerError::MustReopen`] and those of the disk.
    pub fn take_over(&mut self, batch: &VerifiedBatch) -> Result<bool, LedgerError> {
        let (next, found) = (self.head.next_batch, batch.batch());
        if found > next {
            return Err(LedgerError::NotNext { expected: next, found });
        }
        if found < next {
            match self.compare(batch.after())? {
                Standing::Same | Standing::Forgotten => return Ok(false),
                Standing::Other | Standing::Behind => self.rewind_to(found)?,
            }
        }
        let after = batch.after();
        let posted: Vec<PostedChunk<'_>> = batch.payload().chunks().iter().map(PostedChunk::from).collect();
        self.state.replay(after.depth, batch.payload().header().reference_height, &posted)?;
        let head = Head {
            depth: after.depth,
            root: after.root,
            next_batch: after.batches,
            deposits_consumed: after.deposits_consumed,
            reference_height: after.reference.height,
            ..self.head
        };
        if let Err(error) = self.store_adopted(batch, head) {
            self.state.rollback();
            return Err(error);
        }
        self.state.commit();
        self.head = head;
        Ok(true)
    }

    /// Whether a batch is known not to be the ledger's: it has not come to the number, or has another batch of it.
    ///
    /// # Errors
    /// [`LedgerError::Artefact`], [`LedgerError::Store`].
    pub fn lacks(&self, batch: &BatchFile) -> Result<bool, LedgerError> {
        let header = batch.header();
        if header.number >= self.head.next_batch {
            return Ok(true);
        }
        if let Some(made) = self.artefact::<BatchFile>(header.number)? {
            return Ok(made.header() != header);
        }
        let after = self.head_after(header.number + 1)?;
        Ok(after.is_some_and(|after| after.root != header.root_after || after.depth != header.depth))
    }

    /// Where the ledger stood after so many batches, if that is known.
    fn head_after(&self, batches: u64) -> Result<Option<Head>, LedgerError> {
        if batches == self.head.next_batch {
            return Ok(Some(self.head));
        }
        let undo = self.read(|transaction| {
            let undo = transaction.open_table(UNDO)?.get(batches)?;
            undo.map(|undo| decode::<Undo>(undo.value())).transpose()
        })?;
        Ok(undo.map(|undo| undo.head))
    }

    fn store_adopted(&mut self, batch: &VerifiedBatch, head: Head) -> Result<(), LedgerError> {
        let mut undo = Undo {
            head: self.head,
            cells: self.state.replaced().collect(),
            transactions: Vec::new(),
            deposits: Vec::new(),
            requests: batch.settled_requests().iter().map(|settled| settled.request).collect(),
        };
        let changes = self.state.changes();
        self.write(|transaction| {
            let mut deposits = transaction.open_table(DEPOSITS)?;
            // As many as a scan has told of: the chain may have brought deposits and batch together.
            for entry in deposits.range(..head.deposits_consumed)? {
                undo.deposits.push(decode(entry?.1.value())?);
            }
            deposits.retain_in(..head.deposits_consumed, |_, _| false)?;
            transaction.open_table(UNDO)?.insert(head.next_batch - 1, encode(&undo).as_slice())?;
            put_cells(transaction, changes.cells)?;
            head.put(transaction)
        })
    }
}
