//! Making a batch of what waits, and storing it.

use super::{
    AppliedBatch, Ledger, LedgerError, WaitingDeposit,
    room::Due,
    tables::{ARTEFACTS, DEPOSITS, Head, TRANSACTIONS, UNDO, put_cells},
    undo::Undo,
};
use taproof_base::{
    artefact::{self, Artefact},
    store_file::encode,
};
use taproof_circuits::{
    state::{Batch, DepositsLeftOutError, Plan, State},
    transaction::{Signed, Transaction, Withdraw},
};
use taproof_verifier::{
    cell::{CellIndex, Depth, Token},
    exit::{self, AnswerRoom, Refutation, ScannedRequest, ServingRecords},
    follow::deposits_enough,
    payload::{PAYLOAD_LENGTH_MAX, encoded_length},
};

/// What waits for a batch.
struct Waiting {
    /// The transactions, each with its number in the table.
    transactions: Vec<(u64, Transaction)>,
    /// The deposits that are void, in front of all others.
    void: Vec<WaitingDeposit>,
    /// The deposits that are due.
    deposits: Vec<WaitingDeposit>,
    /// The exit and claim requests that are due.
    requests: Vec<ScannedRequest>,
}

/// What was applied, and what is shown beside it.
struct Fitted {
    refutations: Vec<Refutation>,
    batch: Batch,
    /// Whether a deposit found no cell.
    has_withdrawals_alone: bool,
}

impl Ledger {
    /// Makes a batch of what waits: grows the tree to `depth`, serves or refutes the requests up to the plan's
    /// height, applies the deposits up to that height and the transactions, and stores the new state, what still
    /// waits, what undoes the batch, and the artefact that `record` makes of it. Deposits below `void_below` are
    /// passed over: [`Params::void_below`](taproof_verifier::follow::Params::void_below) of the plan's height.
    ///
    /// Whatever waits, the batch can be encoded as a payload once it is proven: deposits beyond what the rules ask
    /// for wait, and where not all transactions find room, those that pay most go first. Where a deposit finds no cell,
    /// the batch [has withdrawals alone](AppliedBatch::has_withdrawals_alone).
    ///
    /// A transaction that is refused waits no longer and is in the result; one that found no room still waits. Where
    /// nothing can be applied, a batch that refutes exit requests has no chunks; without any of those, there is no
    /// batch of that number yet.
    ///
    /// # Errors
    /// [`LedgerError::Plan`], [`LedgerError::Depth`], [`LedgerError::ReferenceGoesBack`],
    /// [`LedgerError::ExitsDoNotFit`], [`LedgerError::RequestLeftOut`], [`LedgerError::DepositsDoNotFit`],
    /// [`LedgerError::DueDoesNotFit`], [`LedgerError::Artefact`], [`LedgerError::MustReopen`] and those of the disk;
    /// then the ledger is as before.
    pub fn apply<A: Artefact>(
        &mut self,
        plan: &Plan,
        depth: Depth,
        void_below: u32,
        record: impl FnOnce(&AppliedBatch) -> A,
    ) -> Result<AppliedBatch, LedgerError> {
        let waiting = self.waiting(plan.height_blocks, void_below)?;
        let stored = self.try_apply(plan, depth, &waiting).and_then(|applied| {
            let head = self.store(&applied, plan.height_blocks, waiting, record)?;
            Ok((applied, head))
        });
        match stored {
            Ok((applied, head)) if applied.is_batch() => {
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

    fn waiting(&self, reference_height: u32, void_below: u32) -> Result<Waiting, LedgerError> {
        let (expected, found) = (self.head.reference_height, reference_height);
        if found < expected {
            return Err(LedgerError::ReferenceGoesBack { expected, found });
        }
        let (void, deposits) = self.void_and_due(reference_height, void_below)?;
        let requests = self.requests()?.into_iter().take_while(|scanned| scanned.height <= reference_height);
        let (transactions, requests) = (self.read_transactions()?, requests.collect());
        Ok(Waiting { transactions, void, deposits, requests })
    }

    /// Applies in memory only.
    fn try_apply(&mut self, plan: &Plan, depth: Depth, waiting: &Waiting) -> Result<AppliedBatch, LedgerError> {
        if depth < self.state.depth() {
            return Err(LedgerError::Depth { expected: self.state.depth(), found: depth });
        }
        let transactions: Vec<_> = waiting.transactions.iter().map(|(_, transaction)| transaction.clone()).collect();
        let Fitted { refutations, batch, has_withdrawals_alone } =
            self.fit_answer(plan, depth, waiting, &transactions)?;
        let bitcoin = batch.chunks.iter().filter(|chunk| chunk.statement.context.token == Token::BITCOIN);
        let withdrawals = bitcoin.flat_map(|chunk| chunk.records().withdrawals().to_vec());
        // The verifier's own rule says what is settled.
        let records = ServingRecords { withdrawals: withdrawals.collect(), claims: Some(Vec::new()) };
        let settled = exit::settle(&waiting.requests, records, &refutations, depth)?;
        let passed = waiting.void.len() + batch.deposits_applied;
        let deposits_consumed = self.head.deposits_consumed + passed as u64;
        let number = self.head.next_batch;
        Ok(AppliedBatch { number, deposits_consumed, batch, has_withdrawals_alone, refutations, settled, transactions })
    }

    /// Applies exits, deposits and transactions, in memory only, with the most exits and refutations that find room;
    /// with withdrawals alone where a deposit finds no cell.
    fn fit_answer(
        &mut self,
        plan: &Plan,
        depth: Depth,
        waiting: &Waiting,
        transactions: &[Transaction],
    ) -> Result<Fitted, LedgerError> {
        // As many as the rules can ask for, which fit beside all exits that they can ask for.
        let deposits = waiting.deposits.iter().take(deposits_enough(plan.slots.deposit.largest().get()));
        let deposits: Vec<_> = deposits.map(|scanned| scanned.deposit).collect();
        // Transactions have half the payload to themselves.
        let length_max = if transactions.is_empty() { PAYLOAD_LENGTH_MAX } else { PAYLOAD_LENGTH_MAX / 2 };
        let mut rooms = AnswerRoom::STEPS.iter().peekable();
        loop {
            let room = *rooms.next().expect("the last is taken or an error");
            self.start_over(depth)?;
            let (served, refutations) = answer(&self.state, &waiting.requests, room);
            // What a smaller room holds as well is not tried twice.
            let is_less = |next: &AnswerRoom| served.len() <= next.served_max && refutations.len() <= next.shown_max;
            while rooms.peek().is_some_and(|next| is_less(next)) {
                rooms.next();
            }
            let is_last = rooms.peek().is_none();
            let fits = encoded_length(&[], &refutations).is_ok_and(|length| length <= length_max);
            if !fits && !refutations.is_empty() && !is_last {
                continue;
            }
            let mut due = Due { depth, served, refutations, deposits: deposits.clone() };
            let mut fitted = self.fit(plan, &due, transactions);
            let full = DepositsLeftOutError::TreeFull;
            let lacks_cells = matches!(&fitted, Err(LedgerError::DepositsDoNotFit { why }) if *why == full);
            if lacks_cells {
                due.deposits.clear();
                fitted = self.fit_withdrawals(plan, &due, transactions);
            }
            match fitted {
                Err(
                    LedgerError::ExitsDoNotFit { .. }
                    | LedgerError::DepositsDoNotFit { .. }
                    | LedgerError::DueDoesNotFit(_),
                ) if !is_last => {}
                batch => {
                    let (refutations, batch) = (due.refutations, batch?);
                    return Ok(Fitted { refutations, batch, has_withdrawals_alone: lacks_cells });
                }
            }
        }
    }

    /// Writes all that a batch changed, and what undoes it; gives the head that is then on disk.
    fn store<A: Artefact>(
        &mut self,
        applied: &AppliedBatch,
        reference_height: u32,
        waiting: Waiting,
        record: impl FnOnce(&AppliedBatch) -> A,
    ) -> Result<Head, LedgerError> {
        let (batch, number) = (&applied.batch, applied.number);
        let artefact = applied.is_batch().then(|| artefact::encode(&record(applied))).transpose()?;
        let head = Head {
            depth: self.state.depth(),
            root: self.state.root(),
            next_batch: number + 1,
            deposits_consumed: applied.deposits_consumed,
            reference_height,
            ..self.head
        };
        let rejected = batch.rejected.iter().map(|rejected| waiting.transactions[rejected.position].0);
        let rejected: Vec<u64> = rejected.collect();
        let undo = self.undo_of(applied, waiting);
        let changes = self.state.changes();
        self.write(|transaction| {
            let mut transactions = transaction.open_table(TRANSACTIONS)?;
            for number in rejected.into_iter().chain(undo.transactions.iter().map(|(number, _)| *number)) {
                transactions.remove(number)?;
            }
            let Some(artefact) = artefact else { return Ok(()) };
            transaction.open_table(DEPOSITS)?.retain_in(..applied.deposits_consumed, |_, _| false)?;
            transaction.open_table(ARTEFACTS)?.insert((number, A::KIND as u8), artefact.as_slice())?;
            transaction.open_table(UNDO)?.insert(number, encode(&undo).as_slice())?;
            put_cells(transaction, changes.cells)?;
            head.put(transaction)
        })?;
        Ok(head)
    }

    fn undo_of(&self, applied: &AppliedBatch, waiting: Waiting) -> Undo {
        let transactions = applied.batch.applied.iter().map(|position| {
            let (number, transaction) = &waiting.transactions[*position];
            (*number, transaction.to_bytes())
        });
        let credited = waiting.deposits.into_iter().take(applied.batch.deposits_applied);
        Undo {
            head: self.head,
            cells: self.state.replaced().collect(),
            transactions: transactions.collect(),
            deposits: waiting.void.into_iter().chain(credited).collect(),
            requests: applied.settled.iter().map(|settled| settled.request).collect(),
        }
    }
}

/// The withdrawals that serve exit requests, and the cells that refute other requests: what the verifier's own rule
/// asks for, and more where there is room. No cell of the state is a lock, so claim requests, of which the sequencer
/// tells where the program opens locks, are all refuted.
fn answer(state: &State, requests: &[ScannedRequest], room: AnswerRoom) -> (Vec<Signed<Withdraw>>, Vec<Refutation>) {
    let answer = exit::answer(requests, state.depth(), true, room, |index| state.tree().get(index).elements());
    let served = answer.served.iter().map(|request| Withdraw::demanded(request, state.chain_id()));
    let show = |index: CellIndex| {
        let path = state.tree().path(index).expect("what is shown lies in the tree");
        Refutation { index, cell: state.tree().get(index).elements(), path }
    };
    (served.collect(), answer.shown.into_iter().map(show).collect())
}
