//! `taproof batch`.

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    session::{NodeOptions, Session, Source, ledger_failure, not_followed},
    tx::cell,
};
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof::{
    artefact::{self, transactions::TransactionFile},
    batch::{BatchFile, BatchHeader},
    follow::{catch_up, start},
    ledger::{AppliedBatch, Ledger, ScannedDeposit},
};
use taproof_circuits::{
    state::Plan,
    transaction::{Deposit, Transaction},
};
use taproof_verifier::{
    cell::{CellIndex, Token},
    exit::Outcome,
    follow::{Event, Follower},
    headers::BlockId,
};

/// Applies exits, deposits and transactions, and cuts them into the chunks of the next batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Deposits and exit requests come from the chain. A transaction that is refused is listed with its reason and the batch goes on.
Where somebody else's batch got into the chain, the ledger takes it over first, in place of one of its own.

Example:
  taproof batch payments.json more.json
  taproof batch --reference-depth 1      # on a regtest chain that nobody reorganises")]
pub(crate) struct BatchCommand {
    /// Files of transactions, as `taproof tx` and `taproof import-block` write them.
    transactions: Vec<PathBuf>,
    /// The account that collects the fees in bitcoin.
    #[arg(long, default_value = "0", value_parser = cell, value_name = "CELL")]
    operator: CellIndex,
    /// The most chunks of the batch.
    #[arg(long, default_value_t = 256, value_name = "N")]
    chunks_max: usize,
    /// Takes this batch and all after it back first, as when a reorganisation moved its deposits: what they credited and applied
    /// waits again. Final batches stay.
    #[arg(long, value_name = "N")]
    take_back: Option<u64>,
    /// How many confirmations the Bitcoin block has that the batch refers to; 1 is the tip. If a reorganisation moves deposits up to
    /// that block, the batch must be taken back and proven anew.
    #[arg(long, default_value_t = 6, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=100))]
    reference_depth: u32,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Serialize)]
struct Rejection {
    transaction: Option<Transaction>,
    reason: String,
}

#[derive(Serialize)]
struct ChunkReport {
    circuit: String,
    records: usize,
}

#[derive(Serialize)]
struct Report {
    batch: Option<u64>,
    file: Option<PathBuf>,
    taken_over: u64,
    reference: BlockId,
    deposits: usize,
    void_deposits: u64,
    exits_served: usize,
    exits_refuted: usize,
    applied: usize,
    rejected: Vec<Rejection>,
    waiting: usize,
    chunks: Vec<ChunkReport>,
    root_after: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rejection in &self.rejected {
            match &rejection.transaction {
                Some(transaction) => {
                    let payment = transaction.payment();
                    let kind = transaction.kind();
                    write!(f, "rejected: {kind} of {} from cell {}", payment.amount, payment.from)?;
                    writeln!(f, ", nonce {}: {}", payment.nonce, rejection.reason)?;
                }
                None => writeln!(f, "rejected: {}", rejection.reason)?,
            }
        }
        if self.taken_over > 0 {
            writeln!(f, "taken over {} batches that somebody else anchored", self.taken_over)?;
        }
        let Some((number, file)) = self.batch.zip(self.file.as_ref()) else {
            return write!(f, "nothing to apply, so there is no batch");
        };
        writeln!(f, "batch      {number} in {}", file.display())?;
        writeln!(f, "refers to  {}", self.reference)?;
        if self.exits_served + self.exits_refuted > 0 {
            writeln!(f, "exits      {} served, {} refuted", self.exits_served, self.exits_refuted)?;
        }
        if self.void_deposits > 0 {
            writeln!(f, "void       {} deposits, which their depositors can take back", self.void_deposits)?;
        }
        write!(f, "applied    {} deposits, {} transactions", self.deposits, self.applied)?;
        writeln!(f, "; {} rejected, {} waiting", self.rejected.len(), self.waiting)?;
        let chunks: Vec<String> =
            self.chunks.iter().map(|chunk| format!("{} ({})", chunk.circuit, chunk.records)).collect();
        writeln!(f, "chunks     {}", chunks.join(", "))?;
        write!(f, "root after {}", self.root_after)
    }
}

impl BatchCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let mut ledger = session.ledger()?;
        if let Some(batch) = self.take_back {
            ledger.rewind_to(batch).map_err(ledger_failure)?;
        }
        let mut rejected = Vec::new();
        let mut transactions = Vec::new();
        for path in &self.transactions {
            let file = TransactionFile::read(path).or_exit_while(Exit::Input, path.display().to_string())?;
            for entry in file.transactions {
                match entry {
                    Ok(transaction) => transactions.push(transaction),
                    Err(malformed) => {
                        rejected
                            .push(Rejection { transaction: None, reason: format!("{}: {malformed}", path.display()) });
                    }
                }
            }
        }
        let spinner = global.console().spinner("following the chain");
        let source = session.source(&self.node)?;
        let follower = session.follow(&source, |_| ())?;
        let taken_over = take_over(&session, &source, &mut ledger, &follower)?;
        take_deposits(&mut ledger, &follower)?;
        let exits: Vec<_> = follower.pending_exits().copied().collect();
        ledger.set_exits(&exits).map_err(ledger_failure)?;
        ledger.add_transactions(&transactions).map_err(ledger_failure)?;
        spinner.set_message("applying transactions");
        let depth = ledger.state().depth();
        let reference = reference(&follower, &ledger, self.reference_depth)?;
        let plan = Plan {
            height_blocks: reference.height,
            slots: session.slots(depth)?,
            operators: [(Token::BITCOIN, self.operator)].into(),
            chunks_max: self.chunks_max,
        };
        let void_below = session.params.void_below(reference.height);
        let consumed_before = ledger.deposits_consumed();
        let applied = ledger.apply(&plan, depth, void_below, |applied| batch_file(&session, applied, reference));
        let applied = applied.map_err(ledger_failure)?;
        rejected.extend(
            applied
                .rejected()
                .map(|(transaction, reason)| Rejection { transaction: Some(*transaction), reason: reason.to_string() }),
        );
        let made = !applied.batch.chunks.is_empty();
        let file = if made { Some(write(&session, &ledger, applied.number)?) } else { None };
        spinner.finish_and_clear();
        let chunk = |chunk: &taproof_circuits::chunk::witness::ChunkWitness| ChunkReport {
            circuit: chunk.statement.circuit.to_string(),
            records: chunk.slots.len(),
        };
        let count = |outcome| applied.settled.iter().filter(|settled| settled.outcome == outcome).count();
        let credited = applied.batch.deposits_applied as u64;
        let report = Report {
            batch: made.then_some(applied.number),
            file,
            taken_over,
            reference,
            void_deposits: applied.deposits_consumed - consumed_before - credited,
            exits_served: count(Outcome::Served),
            exits_refuted: count(Outcome::Refuted),
            deposits: applied.batch.deposits_applied,
            applied: applied.batch.applied.len(),
            rejected,
            waiting: applied.batch.left_over.len(),
            chunks: applied.batch.chunks.iter().map(chunk).collect(),
            root_after: super::element_text(&applied.batch.root_after),
        };
        global.console().report(&report, ToString::to_string)
    }
}

/// Takes over what others anchored, if anything; gives how many batches that were.
fn take_over(session: &Session, source: &Source, ledger: &mut Ledger, follower: &Follower) -> Result<u64> {
    let mut taken_over = 0;
    if ledger.agrees_with(follower.tip()).map_err(ledger_failure)? {
        return Ok(taken_over);
    }
    // The store tells of final batches once, and nobody may have listened for the ledger: all are read again.
    let (params, program) = (session.params.clone(), session.program.clone());
    let mut reader = start(source.chain(), params, program).map_err(not_followed)?;
    catch_up(source.chain(), &mut reader, |_, event| {
        if let Some(Event::Verified(batch)) = event {
            taken_over += u64::from(ledger.take_over(&batch).map_err(ledger_failure)?);
        }
        Ok::<(), Failure>(())
    })?;
    Ok(taken_over)
}

/// The block that the next batch refers to: so many confirmations deep, but never before that of the batch before.
fn reference(follower: &Follower, ledger: &Ledger, depth_blocks: u32) -> Result<BlockId> {
    let deep = (follower.scanned().height + 1).saturating_sub(depth_blocks);
    let height = deep.max(follower.tip().reference.height).max(ledger.reference_height());
    let block = follower.headers().at(height).filter(|block| block.height <= follower.scanned().height);
    block.ok_or_else(|| {
        let failure = Failure::new(Exit::Failed, format!("the chain has no block at height {height} now"));
        failure
            .advise("the last batch refers to a block that a reorganisation took away; follow the chain and try again")
    })
}

/// Brings the ledger's deposits up to those that the follower has found.
fn take_deposits(ledger: &mut Ledger, follower: &Follower) -> Result {
    let first = ledger.deposits_consumed();
    let pending: Vec<ScannedDeposit> = follower
        .pending_deposits()
        .filter(|scanned| scanned.index >= first)
        .map(|scanned| {
            let (amount_sat, owner) = (scanned.deposit.amount_sat, scanned.deposit.owner);
            ScannedDeposit { deposit: Deposit { amount_sat, owner }, height_blocks: scanned.height }
        })
        .collect();
    ledger.set_deposits(first, &pending).map_err(ledger_failure)
}

fn batch_file(session: &Session, applied: &AppliedBatch, reference: BlockId) -> BatchFile {
    let header = BatchHeader {
        chain_id: session.params.chain_id,
        number: applied.number,
        depth: applied.batch.depth,
        root_before: applied.batch.root_before,
        root_after: applied.batch.root_after,
        reference,
        deposits_consumed: applied.deposits_consumed,
        program_id: session.params.program_id,
    };
    let (chunks, refutations) = (applied.batch.chunks.clone(), applied.refutations.clone());
    BatchFile::with_refutations(header, chunks, refutations).expect("the state's chunks join up")
}

/// Writes a batch's file from the ledger, which has it whatever becomes of the file.
pub(super) fn write(session: &Session, ledger: &Ledger, number: u64) -> Result<PathBuf> {
    let batch = ledger.artefact::<BatchFile>(number).map_err(ledger_failure)?;
    let batch = batch.expect("the ledger keeps each batch that it applies");
    let path = session.dir.batch(number);
    DataDir::create_parent(&path)?;
    artefact::write(&path, &batch)?;
    Ok(path)
}
