//! `taproof batch`.

mod operator;
mod report;
mod taken_back;

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Result},
    in_line::{final_batches, settle, take_over},
    input::read_transactions,
    session::{NodeOptions, Session, Source, ledger_failure},
    values::cell,
    wallet::WalletOptions,
};
use clap::Args;
use report::{ChunkReport, Rejection, Report, Wait};
use std::{collections::BTreeSet, path::PathBuf};
use taken_back::TakenBack;
use taproof::{
    artefact::{self, transactions::MALFORMED_KEPT_MAX},
    batch::{BatchFile, BatchHeader},
    ledger::{AppliedBatch, Ledger, LedgerError, ScannedDeposit},
};
use taproof_circuits::{
    state::{Admission, Plan},
    transaction::{Deposit, Transaction},
};
use taproof_verifier::{
    cell::{CellIndex, Token},
    exit::{Outcome, PAYOUT_MIN_SAT},
    follow::Follower,
    headers::BlockId,
};

/// The least fee that a batch takes if it is told nothing else, and that `taproof tx` pays then. Free transactions
/// would let anybody fill batches at no cost; what a payment costs on Bitcoin varies too much for a default.
pub(crate) const FEE_MIN_SAT: u64 = 1;

/// How many confirmations the block has that a batch refers to, if nobody says otherwise. References that deep seldom
/// move.
const REFERENCE_DEPTH_BLOCKS: u32 = 6;

/// Applies exits, deposits and transactions, and cuts them into the chunks of the next batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Deposits and exit requests come from the chain. A transaction that is refused is listed with its reason and the batch goes on; if all
are refused, the exit code is 4. The text lists the first 20. JSON lists all, but of entries that are no transactions the first 20, and
the number of the others as malformed_more. Where somebody else's batch got into the chain, the ledger takes it over first, in place of
one of its own.

Examples:
  taproof batch payments.json more.json
  taproof batch payments.json --operator 7 --fee-min 20
  taproof batch --reference-depth 1   # on regtest, where nothing is reorganised")]
pub(crate) struct BatchCommand {
    /// Files of transactions, as `taproof tx` and `taproof import-block` write them.
    transactions: Vec<PathBuf>,
    /// The account that collects the fees in bitcoin. If not given, and there are fees, it is an account of the
    /// wallet's: of the lowest of its first 20 owner's keys that has one. Without one, nothing is applied.
    #[arg(long, value_parser = cell, value_name = "CELL")]
    operator: Option<CellIndex>,
    #[command(flatten)]
    wallet: WalletOptions,
    /// The least fee that a transaction pays: one that pays less is rejected. Where not all find room, those that pay
    /// most go first.
    #[arg(long, default_value_t = FEE_MIN_SAT, value_name = "SAT")]
    fee_min: u64,
    /// The most chunks of the batch.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    chunks_max: u16,
    /// Takes this batch and all after it back first, as when a reorganisation moved its deposits: what they credited
    /// and applied waits again. Their files are removed, and anchors of which nothing was built are forgotten.
    /// Batches that the chain has stay.
    #[arg(long, value_name = "N")]
    take_back: Option<u64>,
    /// How many confirmations the Bitcoin block has that the batch refers to; 1 is the tip, and 6 is the default, or
    /// half the rollup's window if that is less. If a reorganisation moves deposits up to that block, the batch must
    /// be taken back and proven anew. Where it is not given, a batch that was taken back refers to the height that it
    /// had, so that its proofs hold, unless that is more than half a window ago.
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=100))]
    reference_depth: Option<u32>,
    #[command(flatten)]
    node: NodeOptions,
}

impl BatchCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        self.expect_within_window(&session)?;
        let mut ledger = session.ledger()?;
        let given = self.read_transactions()?;
        let spinner = global.console().spinner("following the chain");
        let source = session.source(&self.node)?;
        source.expect_current()?;
        session.expect_not_behind(&source)?;
        let follower = session.follow(&source, |_| ())?;
        let mut taken_back = TakenBack::default();
        let done = self.bring_in_line(&session, &source, &mut ledger, follower, &mut taken_back);
        // What was taken back is gone from the ledger, whatever failed after it.
        let cleared = taken_back.clear_away(&session, global);
        let made =
            cleared.and(done).and_then(|brought| self.make(&session, &mut ledger, brought, &taken_back, given, global));
        spinner.finish_and_clear();
        let report = made.inspect_err(|_| taken_back.warn(global))?;
        global.console().report(&report, ToString::to_string)?;
        if report.applied == 0 && report.waiting == 0 && !report.rejected.is_empty() {
            let told = match report.rejected_count() {
                1 => "the only transaction was rejected".to_owned(),
                count => format!("all {count} transactions were rejected"),
            };
            let failure = Failure::new(Exit::Refuted, told);
            return Err(failure.advise("the report has the reasons; `taproof tx` checks what it signs"));
        }
        Ok(())
    }

    /// Makes the next batch with a ledger that is in line with the chain, and says what came of it.
    fn make(
        &self,
        session: &Session,
        ledger: &mut Ledger,
        (taken_over, follower): (u64, Follower),
        taken_back: &TakenBack,
        given: Given,
        global: &Global,
    ) -> Result<Report> {
        taken_back::warn_of_unanchored(session, ledger, follower.tip().batches, global);
        let written_again = write_missing(session, ledger, follower.tip().batches)?;
        take_deposits(ledger, &follower)?;
        let exits: Vec<_> = follower.pending_exits().copied().collect();
        ledger.set_exits(&exits, follower.tip().batches).map_err(ledger_failure)?;
        let new = not_waiting(ledger, given.transactions)?;
        let depth = ledger.state().depth();
        let reference = self.reference(session, &follower, ledger)?;
        let void_below = session.params.void_below(reference.height);
        let mut plan = Plan {
            height_blocks: reference.height,
            slots: session.slots(depth)?,
            operators: Default::default(),
            chunks_max: self.chunks_max.into(),
            admission: Admission { fee_min_sat: self.fee_min, payout_min_sat: PAYOUT_MIN_SAT },
        };
        let operator = self.operator_of(ledger, &plan, void_below, &new, global)?;
        plan.operators.extend(operator.map(|cell| (Token::BITCOIN, cell)));
        ledger.add_transactions(&new).map_err(ledger_failure)?;
        let consumed_before = ledger.deposits_consumed();
        let applied = ledger.apply(&plan, depth, void_below, |applied| batch_file(session, applied, reference));
        let applied = applied.map_err(ledger_failure)?;
        let made = !applied.batch.chunks.is_empty();
        let file = if made { Some(write(session, ledger, applied.number)?) } else { None };
        let rejected = applied.rejected().map(|(transaction, reason)| Rejection::new(transaction, reason));
        let chunk = |chunk: &taproof_circuits::chunk::witness::ChunkWitness| ChunkReport {
            circuit: chunk.statement.circuit.to_string(),
            records: chunk.slots.len(),
        };
        // The batch credits as many as the rules can ask for.
        let deposits_waiting = ledger.deposits_due(reference.height, void_below).map_err(ledger_failure)?.len();
        let count = |outcome| applied.settled.iter().filter(|settled| settled.outcome == outcome).count();
        let credited = applied.batch.deposits_applied as u64;
        Ok(Report {
            batch: made.then_some(applied.number),
            file,
            taken_over,
            taken_back: taken_back.numbers(),
            written_again,
            reference,
            operator,
            void_deposits: applied.deposits_consumed - consumed_before - credited,
            exits_served: count(Outcome::Served),
            exits_refuted: count(Outcome::Refuted),
            deposits: applied.batch.deposits_applied,
            deposits_waiting,
            applied: applied.batch.applied.len(),
            rejected: given.malformed.into_iter().chain(rejected).collect(),
            malformed_more: given.malformed_more,
            waiting: applied.batch.left_over.len(),
            waits: waits(&follower, reference, self.depth_blocks(session)),
            chunks: applied.batch.chunks.iter().map(chunk).collect(),
            root_after: super::element_text(&applied.batch.root_after),
        })
    }

    /// Takes over what the chain has, and takes back what is to be; gives how many batches were taken over, and who
    /// read them.
    fn bring_in_line(
        &self,
        session: &Session,
        source: &Source,
        ledger: &mut Ledger,
        follower: Follower,
        taken_back: &mut TakenBack,
    ) -> Result<(u64, Follower)> {
        let (taken_over, follower) =
            take_over(session, source, ledger, follower, |batch, next| taken_back.add(batch..next))?;
        settle(ledger, &follower)?;
        if let Some(batch) = self.take_back {
            take_back(ledger, &follower, batch, taken_back)?;
        }
        Ok((taken_over, follower))
    }

    /// How many confirmations the block has that the batch refers to. Half a window is left for proofs and anchor.
    fn depth_blocks(&self, session: &Session) -> u32 {
        let half = (session.params.deposit_window_blocks / 2).max(1);
        self.reference_depth.unwrap_or(REFERENCE_DEPTH_BLOCKS.min(half))
    }

    /// Fails if no block can have an anchor of a batch that refers to a block so deep.
    fn expect_within_window(&self, session: &Session) -> Result {
        let window = session.params.deposit_window_blocks;
        match self.reference_depth {
            Some(depth) if depth > window => {
                let failure = Failure::new(
                    Exit::Input,
                    format!(
                        "the rollup's window is {window} blocks: nobody accepts a batch that refers to a block {depth} deep"
                    ),
                );
                Err(failure.advise(format!("give a --reference-depth of {} or less", (window / 2).max(1))))
            }
            _ => Ok(()),
        }
    }

    /// The block that the next batch refers to: so many confirmations deep, or the one that it referred to before it
    /// was taken back, but never before that of the batch before.
    fn reference(&self, session: &Session, follower: &Follower, ledger: &Ledger) -> Result<BlockId> {
        let scanned = follower.scanned().height;
        let deep = (scanned + 1).saturating_sub(self.depth_blocks(session));
        let referred = match self.reference_depth {
            None => ledger.referred().map_err(ledger_failure)?,
            Some(_) => None,
        };
        // A batch has to be in a block within the window: what is left of it must do for proofs and anchor.
        let is_recent = |height: &u32| *height <= deep && scanned - height <= session.params.deposit_window_blocks / 2;
        let height = referred.filter(is_recent).unwrap_or(deep);
        let height = height.max(follower.tip().reference.height).max(ledger.reference_height());
        let block = follower.headers().at(height).filter(|block| block.height <= scanned);
        block.ok_or_else(|| {
            let failure = Failure::new(Exit::Failed, format!("the chain has no block at height {height} now"));
            failure.advise(
                "the last batch refers to a block that a reorganisation took away; follow the chain and try again",
            )
        })
    }

    /// The transactions of the files, what is none in them, as far as that is told, and how many more there are of it.
    fn read_transactions(&self) -> Result<Given> {
        let (mut transactions, mut malformed, mut malformed_more) = (Vec::new(), Vec::new(), 0);
        for path in &self.transactions {
            let file = read_transactions(path)?;
            transactions.extend(file.transactions);
            let told = file.malformed.first().len().min(MALFORMED_KEPT_MAX - malformed.len());
            let entries = file.malformed.first().iter().take(told);
            malformed.extend(entries.map(|entry| Rejection::malformed(format!("{}: {entry}", path.display()))));
            malformed_more += file.malformed.count() - told;
        }
        Ok(Given { transactions, malformed, malformed_more })
    }
}

/// What the files hold that a batch is given.
struct Given {
    transactions: Vec<Transaction>,
    /// What is no transaction, as far as it is told.
    malformed: Vec<Rejection>,
    /// How many more entries are none.
    malformed_more: usize,
}

/// Those transactions that do not wait in the ledger already, as after a batch that failed.
fn not_waiting(ledger: &Ledger, given: Vec<Transaction>) -> Result<Vec<Transaction>> {
    let waiting = ledger.transactions().map_err(ledger_failure)?;
    let waiting: BTreeSet<Vec<u8>> = waiting.iter().map(Transaction::to_bytes).collect();
    Ok(given.into_iter().filter(|transaction| !waiting.contains(&transaction.to_bytes())).collect())
}

/// Takes back batches that the chain does not have.
fn take_back(ledger: &mut Ledger, follower: &Follower, batch: u64, taken_back: &mut TakenBack) -> Result {
    if batch < final_batches(follower) {
        return Err(Failure::of(Exit::Input, LedgerError::Final(batch)));
    }
    let anchored = follower.tip().batches;
    if batch < anchored {
        let failure = Failure::new(Exit::Input, format!("batch {batch} is in the chain, which has {anchored} batches"));
        return Err(failure.advise("it can be taken back once a reorganisation has taken its anchor away"));
    }
    if batch > ledger.next_batch() {
        return Err(Failure::of(Exit::Input, LedgerError::NoSuchBatch(batch)));
    }
    let next = ledger.next_batch();
    ledger.rewind_to(batch).map_err(ledger_failure)?;
    taken_back.add(batch..next);
    Ok(())
}

/// The deposits and exit requests that lie above the block that the batch refers to, with the number of blocks that
/// they still need.
fn waits(follower: &Follower, reference: BlockId, depth_blocks: u32) -> Vec<Wait> {
    let tip_height = follower.scanned().height;
    let wait = |what, amount_sat, height: u32| Wait {
        what,
        amount_sat,
        height,
        // The next batch refers to a block of that many confirmations, and no earlier one than this.
        blocks: (height + depth_blocks - 1).saturating_sub(tip_height),
    };
    let deposits = follower.pending_deposits().filter(|deposit| deposit.height > reference.height);
    let deposits = deposits.map(|scanned| wait("deposit", scanned.deposit.amount_sat, scanned.height));
    let exits = follower.pending_exits().filter(|exit| exit.height > reference.height);
    deposits.chain(exits.map(|exit| wait("exit", exit.request.record().amount, exit.height))).collect()
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

/// Writes the files of batches that the ledger has made and that are not in the chain, where they are missing: a run
/// may have ended between the two, or the disk may have been full. Gives their numbers.
fn write_missing(session: &Session, ledger: &Ledger, anchored: u64) -> Result<Vec<u64>> {
    let mut written = Vec::new();
    for number in anchored..ledger.next_batch() {
        // What was taken over from the chain has none.
        if !session.dir.batch(number).exists() && ledger.has_artefact::<BatchFile>(number).map_err(ledger_failure)? {
            write(session, ledger, number)?;
            written.push(number);
        }
    }
    Ok(written)
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
