//! What `taproof batch` tells.

use crate::cli::{console::counted, path_text};
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof_base::shown::shown;
use taproof_circuits::transaction::Transaction;
use taproof_rollup::sequencer::TooYoung;
use taproof_verifier::{cell::CellIndex, headers::BlockId};

/// How many of the deposits and exit requests that wait are listed for people.
const WAITS_LISTED_MAX: usize = 8;

/// How many of what is not in the batch are listed for people.
const REJECTED_LISTED_MAX: usize = 20;

/// A transaction that is not in the batch, and why.
#[derive(Serialize)]
pub(super) struct Rejection {
    transaction: Option<Transaction>,
    reason: String,
}

impl Rejection {
    pub(super) fn new(transaction: &Transaction, reason: impl fmt::Display) -> Self {
        Self { transaction: Some(transaction.clone()), reason: shown(reason) }
    }

    /// An entry of a file that is no transaction.
    pub(super) fn malformed(reason: String) -> Self {
        Self { transaction: None, reason: shown(reason) }
    }
}

#[derive(Serialize)]
pub(super) struct ChunkReport {
    pub(super) circuit: String,
    pub(super) records: usize,
}

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) batch: Option<u64>,
    #[serde(serialize_with = "path_text::serialize")]
    pub(super) file: Option<PathBuf>,
    pub(super) taken_over: u64,
    /// The numbers of the batches of its own that the ledger does not have any more.
    pub(super) taken_back: Vec<u64>,
    /// The batches made before whose files were missing.
    pub(super) written_again: Vec<u64>,
    pub(super) reference: BlockId,
    /// The account that collects the fees, if there are any.
    pub(super) operator: Option<CellIndex>,
    pub(super) deposits: usize,
    /// The depth of the tree after the batch.
    pub(super) depth: u8,
    /// Whether the tree grew.
    pub(super) grown: bool,
    /// Whether deposits found no cell, so that all but exits and withdrawals waits.
    pub(super) withdrawals_alone: bool,
    /// Deposits that are deep enough and found no room, or no cell.
    pub(super) deposits_waiting: usize,
    pub(super) void_deposits: u64,
    pub(super) exits_served: usize,
    pub(super) exits_refuted: usize,
    pub(super) claims_served: usize,
    pub(super) claims_refuted: usize,
    pub(super) applied: usize,
    /// Those that were refused, after entries of files that are no transactions.
    pub(super) rejected: Vec<Rejection>,
    /// How many more entries of files are no transactions.
    pub(super) malformed_more: usize,
    /// Transactions that found no room.
    pub(super) waiting: usize,
    /// What has too few confirmations.
    pub(super) waits: Vec<TooYoung>,
    pub(super) chunks: Vec<ChunkReport>,
    pub(super) root_after: String,
}

impl Report {
    /// How many transactions, and entries that are none, are not in the batch.
    pub(super) fn rejected_count(&self) -> usize {
        self.rejected.len() + self.malformed_more
    }

    fn write_rejected(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rejection in self.rejected.iter().take(REJECTED_LISTED_MAX) {
            match &rejection.transaction {
                Some(transaction) => {
                    let kind = transaction.kind();
                    match (transaction.payment(), transaction) {
                        (Some(payment), _) => {
                            let amount = payment.token.amount(payment.amount);
                            write!(
                                f,
                                "rejected: {kind} of {amount} from cell {}, nonce {}",
                                payment.from, payment.nonce
                            )?;
                        }
                        (None, Transaction::Steps(steps)) => {
                            write!(f, "rejected: {}", counted(steps.step_count(), "step"))?;
                        }
                        (None, _) => write!(f, "rejected: {kind}")?,
                    }
                    writeln!(f, ": {}", rejection.reason)?;
                }
                None => writeln!(f, "rejected: {}", rejection.reason)?,
            }
        }
        match self.rejected_count() - self.rejected.len().min(REJECTED_LISTED_MAX) {
            0 => Ok(()),
            more => writeln!(f, "rejected: {more} more"),
        }
    }

    fn write_waits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.waits.iter().take(WAITS_LISTED_MAX);
        listed.into_iter().try_for_each(|wait| {
            let TooYoung { what, amount_sat, height, blocks } = wait;
            let (what, unit) = (what.name(), if *blocks == 1 { "block" } else { "blocks" });
            writeln!(f, "waits      {what} of {amount_sat} sat at height {height}, for {blocks} more {unit}")
        })?;
        match self.waits.len().saturating_sub(WAITS_LISTED_MAX) {
            0 => Ok(()),
            more => writeln!(f, "waits      {more} more deposits and exits"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_rejected(f)?;
        if self.taken_over > 0 {
            writeln!(f, "taken over {} that somebody else anchored", counted(self.taken_over, "batch"))?;
        }
        if let Some((first, last)) = self.taken_back.first().zip(self.taken_back.last()) {
            writeln!(
                f,
                "taken back batches {first} to {last}: their files are gone, and their transactions wait again"
            )?;
        }
        for batch in &self.written_again {
            writeln!(f, "written    batch {batch} once more: its file was missing")?;
        }
        self.write_waits(f)?;
        if self.withdrawals_alone {
            writeln!(
                f,
                "tree       has no cell left for {} and cannot grow: until the depositors can take back what is void \
                 then, exits and withdrawals are served, and all else waits",
                counted(self.deposits_waiting, "deposit")
            )?;
        }
        let Some((number, file)) = self.batch.zip(self.file.as_ref()) else {
            for (label, refuted) in [("exits", self.exits_refuted), ("claims", self.claims_refuted)] {
                match refuted {
                    0 => {}
                    1 => writeln!(
                        f,
                        "{label:11}1 request cannot be served; the next batch that has anything else refutes it"
                    )?,
                    count => writeln!(
                        f,
                        "{label:11}{count} requests cannot be served; the next batch that has anything else refutes \
                         them"
                    )?,
                }
            }
            let yet = if self.waits.is_empty() { "" } else { " yet" };
            return write!(f, "nothing to apply{yet}, so there is no batch");
        };
        writeln!(f, "batch      {number} in {}", shown(file.display()))?;
        writeln!(f, "refers to  {}", self.reference)?;
        if self.grown {
            writeln!(f, "tree       grows to {}", counted(self.depth, "level"))?;
        }
        if let Some(operator) = self.operator {
            writeln!(f, "fees to    cell {operator}")?;
        }
        let exits = ("exits", self.exits_served, self.exits_refuted);
        for (label, served, refuted) in [exits, ("claims", self.claims_served, self.claims_refuted)] {
            if served + refuted > 0 {
                writeln!(f, "{label:11}{served} served, {refuted} refuted")?;
            }
        }
        if self.void_deposits > 0 {
            writeln!(f, "void       {}, for depositors to take back", counted(self.void_deposits, "deposit"))?;
        }
        let (deposits, applied) = (counted(self.deposits, "deposit"), counted(self.applied, "transaction"));
        write!(f, "applied    {deposits}, {applied}")?;
        writeln!(f, "; {} rejected, {} waiting", self.rejected_count(), self.waiting)?;
        if self.deposits_waiting > 0 && !self.withdrawals_alone {
            writeln!(f, "waits      {}, for the next batch", counted(self.deposits_waiting, "more deposit"))?;
        }
        let chunks: Vec<String> =
            self.chunks.iter().map(|chunk| format!("{} ({})", chunk.circuit, chunk.records)).collect();
        let chunks = if chunks.is_empty() { "none".to_owned() } else { chunks.join(", ") };
        writeln!(f, "chunks     {chunks}")?;
        write!(f, "root after {}", self.root_after)
    }
}
