//! `taproof tx decode`.

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
use taproof_circuits::state::State;
use taproof_rollup::{
    ledger::Ledger,
    told::{Known, Told},
};

/// Says in words what the transactions of a file do, and what their signers sign. It needs no rollup; where there is a
/// ledger, amounts are shown with the tokens that accounts hold, their names and decimal places.
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

#[derive(Serialize)]
struct Report {
    transactions: Vec<Told>,
    /// Entries of the file that are no transactions.
    malformed: Vec<String>,
    malformed_count: usize,
    /// Whether tokens were looked up in a state.
    knows_state: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (number, told) in self.transactions.iter().enumerate() {
            lines.push(format!("transaction {number}, for rollup {}:", told.chain_id));
            lines.extend(told.lines().into_iter().map(|line| format!("  {line}")));
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
        let state = if self.from_chain {
            Some(Outset::of_chain(&Session::open(global)?, &self.node, global)?.state)
        } else {
            known_here(global)
        };
        let network = read_params(&global.data_dir().params()).ok().map(|params| params.network);
        let known = Known { state: state.as_ref(), network };
        let report = Report {
            transactions: file.transactions.iter().map(|transaction| Told::new(transaction, &known)).collect(),
            malformed: file.malformed.first().iter().map(ToString::to_string).collect(),
            malformed_count: file.malformed.count(),
            knows_state: state.is_some(),
        };
        global.console().produce(&report, ToString::to_string)
    }
}

/// What the ledger holds, if there is one and it can be read.
fn known_here(global: &Global) -> Option<State> {
    let dir = global.data_dir();
    if !dir.ledger().exists() {
        return None;
    }
    let params = read_params(&dir.params()).ok()?;
    match Ledger::open(&dir.ledger(), params.chain_id()) {
        Ok(ledger) => Some(ledger.state().clone()),
        Err(error) => {
            global.console().warn(format!("{error}; tokens are shown by their numbers alone"));
            None
        }
    }
}
