//! `taproof demo`.

use super::{
    Global,
    console::{Bar, Console},
    data_dir::cache_dir,
    failure::{Exit, Failure, Fallible, Result},
};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use std::{
    fs,
    num::{NonZeroU16, NonZeroUsize},
    path::PathBuf,
    sync::Mutex,
};
use taproof::{
    anchor::FeeRate,
    demo::{self, DemoError, DemoOptions, DemoReport, Observer, Seconds},
    progress::Progress,
};
use taproof_circuits::state::Slots;
use taproof_verifier::cell::Depth;

/// Takes real payments from a Bitcoin block to a verified root on an embedded Bitcoin chain.
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are made once and kept; a second run is much shorter.

Examples:
  taproof demo
  taproof demo --payments 200 --fee-rate 5 --json
  taproof demo --block block.raw --payments 100")]
pub(crate) struct Demo {
    /// A raw block to take payments from; mainnet block 702861 if not given.
    #[arg(long, value_name = "FILE")]
    block: Option<PathBuf>,
    /// How many of its payments to make.
    #[arg(long, default_value_t = 32, value_name = "N")]
    payments: usize,
    /// How many accounts withdraw afterwards.
    #[arg(long, default_value_t = 4, value_name = "N")]
    withdrawals: usize,
    /// The rate of fees on Bitcoin, in satoshi a virtual byte.
    #[arg(long, default_value = "10", value_name = "SAT/VB")]
    fee_rate: FeeRate,
    /// The fee of every transaction on the rollup, in satoshi.
    #[arg(long, default_value_t = 25, value_name = "SAT")]
    fee: u64,
    /// The depth of the tree.
    #[arg(long, default_value_t = 7, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=10))]
    depth: u8,
    /// The slots of a transfer or open chunk.
    #[arg(long, default_value = "8", value_name = "N")]
    slots: NonZeroU16,
    /// The slots of a deposit chunk.
    #[arg(long, default_value = "20", value_name = "N")]
    deposit_slots: NonZeroU16,
    /// The slots of a withdraw chunk.
    #[arg(long, default_value = "6", value_name = "N")]
    withdraw_slots: NonZeroU16,
    /// The folder of the keys; one in the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// How many chunks to prove at a time.
    #[arg(long, default_value = "2", value_name = "N")]
    at_once: NonZeroUsize,
}

impl Demo {
    pub(crate) fn run(self, global: &Global) -> Result {
        let block = match &self.block {
            Some(path) => fs::read(path).or_exit_while(Exit::Input, path.display().to_string())?,
            None => taproof_fixtures::MAINNET_BLOCK_702861.to_vec(),
        };
        let options = DemoOptions {
            payments_max: self.payments,
            withdrawals_max: self.withdrawals,
            fee_sat: self.fee,
            depth: Depth::new(self.depth).expect("the parser allows 1 to 10"),
            slots: Slots {
                deposit: self.deposit_slots,
                transfer: self.slots,
                open: self.slots,
                withdraw: self.withdraw_slots,
            },
            keys: self.keys.map_or_else(|| cache_dir().map(|cache| cache.join("keys")), Ok)?,
            fee_rate: self.fee_rate,
            proofs_at_once: self.at_once,
        };
        let stages = Stages { console: global.console(), bar: Mutex::new(None) };
        let report = demo::run(&block, &options, &stages).map_err(explain)?;
        stages.end();
        if !report.roots_agree() {
            let DemoReport { root_proven, root_verified, root_rebuilt, .. } = &report;
            let message =
                format!("the roots differ: proven {root_proven}, verified {root_verified}, rebuilt {root_rebuilt}");
            return Err(Failure::new(Exit::Refuted, message));
        }
        global.console().report(&report, text)
    }
}

/// Says what to do about an error.
fn explain(error: DemoError) -> Failure {
    let (exit, advice) = match &error {
        DemoError::Block(_) => (Exit::Input, "give a raw block as `bitcoin-cli getblock HASH 0 | xxd -r -p` writes it"),
        DemoError::NoPayments => (Exit::Input, "give another block, or more --payments"),
        DemoError::Plan(_) => (Exit::Input, "take fewer --payments, a greater --depth or a lower --fee"),
        DemoError::TooMuchMoney { .. } | DemoError::BatchFull | DemoError::Payload(_) => {
            (Exit::Input, "take fewer --payments")
        }
        DemoError::Keys(_) => (Exit::Failed, "name a folder that can be written with --keys DIR"),
        DemoError::Ignored(_) | DemoError::NotFound | DemoError::Rebuild(_) | DemoError::Prove { .. } => {
            (Exit::Refuted, "this is a fault of taproof: please report it")
        }
        _ => (Exit::Failed, ""),
    };
    let failure = Failure::of(exit, error);
    if advice.is_empty() { failure } else { failure.advise(advice) }
}

/// Shows the demo's stages, one bar at a time.
struct Stages {
    console: Console,
    bar: Mutex<Option<Bar>>,
}

impl Stages {
    fn end(&self) {
        self.show(None);
    }

    fn show(&self, next: Option<Bar>) {
        let last = std::mem::replace(&mut *self.bar.lock().expect("no stage panics while it is named"), next);
        if let Some(last) = last {
            last.end();
        }
    }
}

impl Observer for Stages {
    fn begin(&self, stage: &str) -> Box<dyn Progress> {
        let bar = Bar::new(self.console, stage);
        self.show(Some(bar.clone()));
        Box::new(bar)
    }
}

fn text(report: &DemoReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["kind", "records", "chunks", "slots", "constraints", "posted bytes a record"]);
    for kind in &report.kinds {
        table.add_row([
            kind.kind.to_owned(),
            kind.records.to_string(),
            kind.chunks.to_string(),
            kind.slots.to_string(),
            kind.constraints.to_string(),
            format!("{:.1}", kind.posted_bytes_per_record),
        ]);
    }
    table.add_row([
        "all".to_owned(),
        report.kinds.iter().map(|kind| kind.records).sum::<usize>().to_string(),
        report.chunks.to_string(),
        String::new(),
        report.constraints.to_string(),
        String::new(),
    ]);
    (1..6).for_each(|column| align_right(&mut table, column));
    let (payments, seconds) = (payment_figures(report), seconds(report));
    [header(report), table.to_string(), payments, totals(report), seconds, roots(report)].join("\n\n")
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn header(report: &DemoReport) -> String {
    format!(
        "{} payments of block {}\n{} deposits fund them, {} withdrawals follow; {} accounts",
        report.payments, report.block, report.deposits, report.withdrawals, report.accounts
    )
}

fn payment_figures(report: &DemoReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["a payment", "Taproof", "layer 1"]);
    let rate = report.fee_rate_sat_per_kvb as f64 / 1_000.0;
    let with_openings = report.posted_bytes_per_payment_with_openings;
    let rows = [
        (
            "posted bytes, between accounts that exist".to_owned(),
            format!("{:.2}", report.posted_bytes_per_payment),
            None,
        ),
        ("posted bytes, with this batch's openings".to_owned(), format!("{with_openings:.1}"), None),
        ("posted bytes, all in".to_owned(), format!("{:.1}", report.posted_bytes_per_payment_all_in), None),
        (
            "virtual bytes".to_owned(),
            format!("{:.1}", report.vbytes_per_payment),
            Some(format!("{:.1}", report.layer_1_vbytes_per_payment)),
        ),
        (
            format!("fee in sat at {rate} sat/vB"),
            format!("{:.0}", report.fee_sat_per_payment),
            Some(format!("{:.0}", report.layer_1_fee_sat_per_payment)),
        ),
    ];
    for (name, here, there) in rows {
        table.add_row([name, here, there.unwrap_or_default()]);
    }
    (1..3).for_each(|column| align_right(&mut table, column));
    table.to_string()
}

fn totals(report: &DemoReport) -> String {
    format!(
        "{} proofs of {} bytes in all; payload of {} bytes; commit and reveal of {} vB; deposits of {} vB, once",
        report.proofs, report.proof_bytes, report.payload_bytes, report.anchor_vsize_vb, report.deposits_vsize_vb
    )
}

fn seconds(report: &DemoReport) -> String {
    let Seconds { keys, chain, apply, prove, anchor, follow, rebuild, total } = report.seconds;
    format!(
        "{total:.1} s: keys {keys:.1}, embedded chain {chain:.1}, apply {apply:.1}, prove {prove:.1}, \
         anchor {anchor:.1}, follow {follow:.1}, rebuild {rebuild:.1}"
    )
}

fn roots(report: &DemoReport) -> String {
    format!(
        "root proven    {}\nroot verified  {}\nroot rebuilt   {}",
        report.root_proven, report.root_verified, report.root_rebuilt
    )
}
