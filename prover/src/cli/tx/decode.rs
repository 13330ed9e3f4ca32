//! `taproof tx decode`.

use super::Book;
use crate::cli::{
    Global,
    failure::Result,
    input::read_transactions,
    known::Outset,
    session::{NodeOptions, Session, read_params},
};
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof_circuits::transaction::Transaction;
use taproof_rollup::{
    ledger::Ledger,
    told::{Known, Told},
};

/// Says in words what the transactions of a file do, and what their signers sign. It needs no rollup; where there is a
/// ledger, amounts are shown with the tokens that accounts hold, their names and decimal places, and of each
/// transaction is said whether the rules refuse it after those before it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof tx decode txs.json
  taproof tx decode offer.json --from-chain")]
pub(super) struct Decode {
    /// The file of transactions, or an offer.
    file: PathBuf,
    /// Rebuilds the state from the chain even where there is a ledger, or none.
    #[arg(long)]
    from_chain: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// A transaction in words, and what the rules say of it.
#[derive(Serialize)]
struct Decoded {
    #[serde(flatten)]
    told: Told,
    /// Why a batch would not apply it now, if it would not, as far as the state is known.
    refused: Option<String>,
}

#[derive(Serialize)]
struct Report {
    transactions: Vec<Decoded>,
    /// Entries of the file that are no transactions.
    malformed: Vec<String>,
    malformed_count: usize,
    /// Whether tokens were looked up in a state.
    knows_state: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (number, Decoded { told, refused }) in self.transactions.iter().enumerate() {
            lines.push(format!("transaction {number}, for rollup {}:", told.chain_id));
            lines.extend(told.lines().into_iter().map(|line| format!("  {line}")));
            lines.extend(refused.as_ref().map(|reason| format!("  a batch would not apply it now: {reason}")));
        }
        lines.extend(self.malformed.iter().cloned());
        let more = self.malformed_count - self.malformed.len();
        lines.extend((more > 0).then(|| format!("{more} more entries are no transactions")));
        if lines.is_empty() {
            lines.push("no transactions".to_owned());
        }
        f.write_str(&lines.join("\n"))
    }
}

impl Decode {
    pub(super) fn run(&self, global: &Global) -> Result {
        let file = read_transactions(&self.file)?;
        let outset = if self.from_chain {
            Some(Outset::of_chain(&Session::open(global)?, &self.node, global)?)
        } else {
            known_here(global)
        };
        let network = read_params(&global.data_dir().params()).ok().map(|params| params.network);
        let mut book = outset.map(|outset| Book::new(outset, &[]));
        let decode = |transaction: &Transaction| {
            let machines = Some(global.machines());
            let told = Told::new(transaction, &Known { state: book.as_ref().map(Book::state), network, machines });
            let refused = book.as_mut().and_then(|book| book.try_out(transaction));
            Decoded { told, refused }
        };
        let transactions = file.transactions.iter().map(decode).collect();
        let report = Report {
            transactions,
            malformed: file.malformed.first().iter().map(ToString::to_string).collect(),
            malformed_count: file.malformed.count(),
            knows_state: book.is_some(),
        };
        global.console().produce(&report, ToString::to_string)
    }
}

/// What the ledger holds, if there is one and it can be read.
fn known_here(global: &Global) -> Option<Outset> {
    let dir = global.data_dir();
    if !dir.ledger().exists() {
        return None;
    }
    let params = read_params(&dir.params()).ok()?;
    let ledger = Ledger::open(&dir.ledger(), params.chain_id());
    let ledger = ledger.map(|ledger| ledger.with_machines(global.machines().clone()));
    match ledger.and_then(|ledger| Outset::of_ledger(&ledger, global)) {
        Ok(outset) => Some(outset),
        Err(error) => {
            global.console().warn(format!("{error}; tokens are shown by their numbers alone"));
            None
        }
    }
}
