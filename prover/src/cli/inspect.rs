//! `taproof inspect`.

mod circuits;
mod rollup;

use super::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use taproof::{
    anchor::AnchorArtefact,
    artefact::{self, transactions::TransactionFile},
    regtest::{ChainFile, RegtestChain},
};
use taproof_verifier::program::Program;

/// Says what a file is and what it holds, or counts the circuits.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  taproof inspect .taproof/anchors/0.json
  taproof inspect circuits --depth 10 --json")]
pub(crate) struct Inspect {
    #[command(subcommand)]
    action: Option<Action>,
    /// Any file that taproof writes, or a raw Bitcoin block.
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    Circuits(circuits::Circuits),
}

/// One line of a report for people.
pub(crate) type Line = (&'static str, String);

/// What a file holds: for programs, and for people.
struct Finding {
    value: Value,
    lines: Vec<Line>,
}

impl Finding {
    fn new(format: &'static str, report: &impl Serialize, lines: Vec<Line>) -> Result<Self> {
        let mut value = serde_json::to_value(report)?;
        value["format"] = format.into();
        let lines = std::iter::once(("format", format.to_owned())).chain(lines).collect();
        Ok(Self { value, lines })
    }
}

/// The longest text that is read whole.
const TEXT_LENGTH_MAX: u64 = 512 << 20;

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> Result {
        match (self.action, self.file) {
            (Some(Action::Circuits(circuits)), _) => circuits.run(global),
            (None, Some(file)) => {
                let finding = inspect(&file)?;
                global.console().report(&finding.value, |_| text(&finding.lines))
            }
            (None, None) => Err(Failure::new(Exit::Failed, "nothing to inspect").advise("name a file")),
        }
    }
}

fn text(lines: &[Line]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:width$}{value}")).collect();
    lines.join("\n")
}

/// Tells a file's format by its first bytes.
fn inspect(path: &Path) -> Result<Finding> {
    let open = || File::open(path).or_exit_while(Exit::Input, path.display().to_string());
    let mut start = Vec::new();
    open()?.take(16).read_to_end(&mut start).or_exit_while(Exit::Input, path.display().to_string())?;
    let read = |bytes: &mut Vec<u8>| -> Result {
        open()?.take(TEXT_LENGTH_MAX).read_to_end(bytes).or_exit_while(Exit::Input, path.display().to_string())?;
        Ok(())
    };
    if start.starts_with(&bitcoin::Network::Regtest.magic().to_bytes()) {
        return chain(&ChainFile::read(path).or_exit_while(Exit::Input, path.display().to_string())?);
    }
    if start.starts_with(b"taproofk") {
        return rollup::key(path);
    }
    if start.starts_with(b"redb") {
        return Finding::new(
            "ledger",
            &serde_json::json!({}),
            vec![("holds", "the state; see `taproof rebuild`".into())],
        );
    }
    let mut bytes = Vec::new();
    read(&mut bytes)?;
    if start.starts_with(&artefact::MAGIC) {
        return rollup::artefact(path, &bytes);
    }
    if let Ok(program) = Program::from_bytes(&bytes) {
        return rollup::program(&program);
    }
    if start.trim_ascii_start().starts_with(b"{") {
        let text = String::from_utf8(bytes).or_exit_while(Exit::Input, path.display().to_string())?;
        return json(&text, path);
    }
    match bitcoin::consensus::deserialize(&bytes) {
        Ok(found) => block(&found),
        Err(_) => Err(unknown(path)),
    }
}

fn unknown(path: &Path) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{} is of no format that taproof knows", path.display()));
    failure.advise("it may be damaged at its start, or written by a newer release")
}

fn json(text: &str, path: &Path) -> Result<Finding> {
    let value: Value = serde_json::from_str(text).or_exit_while(Exit::Input, path.display().to_string())?;
    if value.get("transactions").is_some() {
        let file = TransactionFile::from_json(text).or_exit_while(Exit::Input, path.display().to_string())?;
        return transactions(&file);
    }
    if value.get("reveal").is_some() {
        return anchor(&AnchorArtefact::from_json(text).or_exit_while(Exit::Input, path.display().to_string())?);
    }
    if value.get("program_id").is_some() {
        return rollup::params(&super::session::read_params(path)?);
    }
    Err(unknown(path))
}

fn transactions(file: &TransactionFile) -> Result<Finding> {
    #[derive(Serialize)]
    struct Report {
        deposits: usize,
        transactions: usize,
        malformed: Vec<String>,
        amount: u128,
        fees: u128,
    }
    let payments = || file.well_formed().map(taproof_circuits::transaction::Transaction::payment);
    let report = Report {
        deposits: file.deposits.len(),
        transactions: file.well_formed().count(),
        malformed: file.transactions.iter().filter_map(|entry| Some(entry.as_ref().err()?.to_string())).collect(),
        amount: payments().map(|payment| u128::from(payment.amount)).sum(),
        fees: payments().map(|payment| u128::from(payment.fee)).sum(),
    };
    let mut lines = vec![
        ("deposits", report.deposits.to_string()),
        ("transactions", report.transactions.to_string()),
        ("amount", report.amount.to_string()),
        ("fees", report.fees.to_string()),
    ];
    lines.extend(report.malformed.iter().map(|reason| ("malformed", reason.clone())));
    Finding::new("transactions", &report, lines)
}

fn anchor(anchor: &AnchorArtefact) -> Result<Finding> {
    #[derive(Serialize)]
    struct Report {
        network: String,
        batch: u64,
        root_after: String,
        poster: String,
        payload_bytes: usize,
        commit_txid: String,
        commit_vsize_vb: u64,
        commit_fee_sat: u64,
        reveal_txid: String,
        reveal_vsize_vb: u64,
        reveal_fee_sat: u64,
    }
    let announcement = anchor.announcement();
    let (commit, reveal) = (anchor.commit_figures(), anchor.reveal_figures());
    let report = Report {
        network: anchor.network().to_string(),
        batch: announcement.batch,
        root_after: hex::encode(taproof_verifier::field::to_bytes(&announcement.root_after)),
        poster: anchor.poster().to_string(),
        payload_bytes: anchor.payload().len(),
        commit_txid: commit.txid.to_string(),
        commit_vsize_vb: commit.vsize_vb,
        commit_fee_sat: commit.fee_sat,
        reveal_txid: reveal.txid.to_string(),
        reveal_vsize_vb: reveal.vsize_vb,
        reveal_fee_sat: reveal.fee_sat,
    };
    let transaction = |figures: &taproof::anchor::TransactionFigures| {
        format!("{}, {} vB, fee {} sat", figures.txid, figures.vsize_vb, figures.fee_sat)
    };
    let lines = vec![
        ("network", report.network.clone()),
        ("batch", report.batch.to_string()),
        ("root after", report.root_after.clone()),
        ("poster", report.poster.clone()),
        ("payload", format!("{} bytes", report.payload_bytes)),
        ("commit", transaction(&commit)),
        ("reveal", transaction(&reveal)),
    ];
    Finding::new("anchor", &report, lines)
}

fn chain(chain: &RegtestChain) -> Result<Finding> {
    #[derive(Serialize)]
    struct Report {
        height: u32,
        tip: String,
        transactions: usize,
    }
    let report = Report {
        height: chain.height(),
        tip: chain.tip_hash().to_string(),
        transactions: chain.blocks().map(|block| block.txdata.len()).sum(),
    };
    let lines = vec![
        ("height", report.height.to_string()),
        ("tip", report.tip.clone()),
        ("transactions", report.transactions.to_string()),
    ];
    Finding::new("regtest chain", &report, lines)
}

fn block(block: &bitcoin::Block) -> Result<Finding> {
    #[derive(Serialize)]
    struct Report {
        hash: String,
        transactions: usize,
        outputs: usize,
        weight_wu: u64,
    }
    let report = Report {
        hash: block.block_hash().to_string(),
        transactions: block.txdata.len(),
        outputs: block.txdata.iter().map(|transaction| transaction.output.len()).sum(),
        weight_wu: block.weight().to_wu(),
    };
    let lines = vec![
        ("hash", report.hash.clone()),
        ("transactions", report.transactions.to_string()),
        ("outputs", report.outputs.to_string()),
        ("weight", format!("{} wu", report.weight_wu)),
    ];
    Finding::new("block", &report, lines)
}
