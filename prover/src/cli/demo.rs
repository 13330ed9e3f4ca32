//! `taproof demo`.

use super::{
    Global,
    console::{Bar, Console},
    data_dir::cache_dir,
    failure::{Exit, Failure, Fallible, Result},
};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use std::{
    fs,
    num::{NonZeroU16, NonZeroUsize},
    path::PathBuf,
    sync::Mutex,
};
use taproof::{
    anchor::FeeRate,
    demo::{self, DemoError, DemoOptions, DemoReport, Observer},
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
    #[arg(long, default_value_t = 40, value_name = "N")]
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
    #[arg(long, default_value = "18", value_name = "N")]
    deposit_slots: NonZeroU16,
    /// The slots of a withdraw chunk.
    #[arg(long, default_value = "4", value_name = "N")]
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
            let message = format!("the roots differ: proven {root_proven}, verified {root_verified}, rebuilt {root_rebuilt}");
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
        self.bar.lock().expect("no stage panics while it is named").take();
    }
}

impl Observer for Stages {
    fn begin(&self, stage: &str) -> Box<dyn Progress> {
        let bar = Bar::new(self.console, stage);
        *self.bar.lock().expect("no stage panics while it is named") = Some(bar.clone());
        Box::new(bar)
    }
}

fn text(report: &DemoReport) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
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
    format!("{}\n{table}\n{}", header(report), figures(report))
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn header(report: &DemoReport) -> String {
    format!(
        "{} payments of block {}\nfunded by {} deposits; {} withdrawals after them; {} accounts",
        report.payments, report.block, report.deposits, report.withdrawals, report.accounts
    )
}

fn figures(report: &DemoReport) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["a payment", "Taproof", "layer 1"]);
    let rate = report.fee_rate_sat_per_kvb as f64 / 1_000.0;
    let mut row = |name: String, here: String, there: String| {
        table.add_row([name, here, there]);
    };
    let none = String::new;
    row("posted bytes, records only".into(), format!("{:.1}", report.posted_bytes_per_payment), none());
    row("posted bytes, proofs and all".into(), format!("{:.1}", report.posted_bytes_per_payment_all_in), none());
    row(
        "posted bytes of a transfer between existing accounts".into(),
        format!("{:.2}", report.posted_bytes_per_transfer_between_existing_accounts),
        none(),
    );
    let (here, there) = (report.vbytes_per_payment, report.layer_1_vbytes_per_payment);
    row("virtual bytes".into(), format!("{here:.1}"), format!("{there:.1}"));
    let (here, there) = (report.fee_sat_per_payment, report.layer_1_fee_sat_per_payment);
    row(format!("fee in sat at {rate} sat/vB"), format!("{here:.0}"), format!("{there:.0}"));
    (1..3).for_each(|column| align_right(&mut table, column));
    table.add_row(["proofs".to_owned(), format!("{} of {} bytes in all", report.proofs, report.proof_bytes), none()]);
    table.add_row(["payload".to_owned(), format!("{} bytes", report.payload_bytes), none()]);
    table.add_row(["commit and reveal".to_owned(), format!("{} vB", report.anchor_vsize_vb), none()]);
    table.add_row(["deposits, once".to_owned(), format!("{} vB", report.deposits_vsize_vb), none()]);
    let seconds = &report.seconds;
    for (name, seconds) in [
        ("keys", seconds.keys),
        ("embedded chain", seconds.chain),
        ("apply", seconds.apply),
        ("prove", seconds.prove),
        ("anchor", seconds.anchor),
        ("follow", seconds.follow),
        ("rebuild", seconds.rebuild),
        ("all", seconds.total),
    ] {
        table.add_row([format!("seconds: {name}"), format!("{seconds:.2}"), none()]);
    }
    table.add_row(["root verified".to_owned(), report.root_verified.clone(), none()]);
    table.add_row(["root rebuilt".to_owned(), report.root_rebuilt.clone(), none()]);
    table
}
