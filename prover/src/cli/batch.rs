//! `taproof batch`.

mod operator;
mod report;
mod taken_back;

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Result},
    in_line::take_over,
    input::read_transactions,
    session::{NodeOptions, Session, Source, ledger_failure, sequencer_failure},
    values::cell,
    wallet::WalletOptions,
};
use clap::Args;
use report::{ChunkReport, Rejection, Report};
use std::path::PathBuf;
use taken_back::TakenBack;
use taproof_base::artefact;
use taproof_circuits::{chunk::witness::ChunkWitness, state::Admission, transaction::Transaction};
use taproof_rollup::{
    batch::BatchFile,
    ledger::Ledger,
    sequencer::{Sequencer, Terms, expect_within_window},
    transaction_file::MALFORMED_KEPT_MAX,
};
use taproof_verifier::{cell::CellIndex, exit::Outcome, follow::Follower};

/// The least fee that a batch takes if it is told nothing else, and that `taproof tx` pays then. Free transactions
/// would let anybody fill batches at no cost; what a payment costs on Bitcoin varies too much for a default.
pub(crate) const FEE_MIN_SAT: u64 = 1;

/// Applies exits, deposits and transactions, and cuts them into the chunks of the next batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Deposits and exit requests come from the chain. Where a deposit or an opening finds no cell, the tree grows; where it \
cannot, the batch has exits and withdrawals alone until such deposits are void. A transaction that is refused is \
listed with its reason and the batch goes on; if all are refused, the exit code is 4. The text lists the first 20. \
JSON lists all, but of entries that are no transactions the first 20, and the number of the others as malformed_more. \
Where somebody else's batch got into the chain, the ledger takes it over first, in place of one of its own.

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
    /// half the rollup's window if that is less, or 3 for a batch with steps, which has to be in a block within 6. If a
    /// reorganisation moves deposits up to that block, the batch must be taken back and proven anew. Where it is not
    /// given, a batch that was taken back refers to the height that it had, so that its proofs hold, unless that is
    /// more than half a window ago.
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=100))]
    reference_depth: Option<u32>,
    #[command(flatten)]
    node: NodeOptions,
}

impl BatchCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        if let Some(depth_blocks) = self.reference_depth {
            expect_within_window(&session.params, depth_blocks).map_err(sequencer_failure)?;
        }
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
        taken_back::warn_of_unanchored(session, ledger, &follower, global);
        let written_again = write_missing(session, ledger, follower.tip().batches)?;
        let terms = Terms {
            reference_depth_blocks: self.reference_depth,
            depth_min: None,
            chunks_max: self.chunks_max.into(),
            admission: Admission { fee_min_sat: self.fee_min, refuses_dust: true, opening_min_sat: 0 },
        };
        let depth_before = ledger.state().depth();
        let mut sequencer = Sequencer::new(ledger, &follower).map_err(sequencer_failure)?;
        let mut draft = sequencer.draft(&terms, &given.transactions).map_err(sequencer_failure)?;
        if let Some(cell) = self.collector(&sequencer, &draft, &given.transactions, global)? {
            draft.pay_fees_to(cell);
        }
        let made = sequencer.make(&draft, &given.transactions).map_err(sequencer_failure)?;
        let waits = sequencer.too_young(&draft);
        let file = made.is_batch().then(|| write(session, ledger, made.applied.number)).transpose()?;
        let applied = &made.applied;
        let rejected = applied.rejected().map(|(transaction, reason)| Rejection::new(transaction, reason));
        let chunk = |chunk: &ChunkWitness| ChunkReport {
            circuit: chunk.statement.circuit.to_string(),
            records: chunk.slots.len(),
        };
        Ok(Report {
            batch: made.is_batch().then_some(applied.number),
            file,
            taken_over,
            taken_back: taken_back.numbers(),
            written_again,
            reference: draft.reference(),
            operator: draft.collector(),
            void_deposits: made.void_deposits,
            exits_served: made.exit_count(Outcome::Served),
            exits_refuted: made.exit_count(Outcome::Refuted),
            claims_served: made.claim_count(Outcome::Served),
            claims_refuted: made.claim_count(Outcome::Refuted),
            depth: applied.batch.depth.levels(),
            grown: made.is_batch() && applied.batch.depth > depth_before,
            withdrawals_alone: applied.has_withdrawals_alone,
            deposits: applied.batch.deposits_applied,
            deposits_waiting: made.deposits_waiting,
            applied: applied.batch.applied.len(),
            rejected: given.malformed.into_iter().chain(rejected).collect(),
            malformed_more: given.malformed_more,
            waiting: applied.batch.left_over.len(),
            waits,
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
        let (taken_over, follower) = take_over(session, source, ledger, follower, |batches| taken_back.add(batches))?;
        let mut sequencer = Sequencer::new(ledger, &follower).map_err(sequencer_failure)?;
        if let Some(batch) = self.take_back {
            taken_back.add(sequencer.take_back(batch).map_err(sequencer_failure)?);
        }
        Ok((taken_over, follower))
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
