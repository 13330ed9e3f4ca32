//! `taproof demo`.

mod defi;

use super::{
    Global,
    console::Stages,
    data_dir::{DataDir, cache_dir, expect_no_file},
    failure::{Exit, Failure, Fallible, Result},
    form::elsewhere,
    input::read_file,
    overview::{self, Screen, entry},
    path_text,
    session::{Session, Source, ledger_failure},
    setup::{SizeOptions, Sizes, another_key, expect_possible, steps},
};
use crate::{
    demo::{self, DemoBatch, DemoError, DemoOptions, DemoReport, DemoRollup, Observer, RunFigures, Seconds},
    overview::Overview,
};
use bitcoin::ScriptBuf;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use defi::Defi;
use serde::Serialize;
use std::{
    fs::{self, File, TryLockError},
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};
use taproof_base::{
    artefact,
    output_file::{Access, write_file},
    private,
    progress::Progress,
};
use taproof_bitcoin::{anchor::FeeRate, node::EmbeddedNode, regtest::ChainFile};
use taproof_circuits::state::SlotCounts;
use taproof_kernel::key_ring::{self, KeyRingError, key_path};
use taproof_rollup::ledger::Ledger;
use taproof_verifier::block::BLOCK_LENGTH_MAX;

/// Takes real payments from a Bitcoin block to a verified root on an embedded Bitcoin chain.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
The keys are made once and kept; a second run is much shorter. The rollup is left as a data directory like any other: \
in --dir, if that is given and empty, else in a folder of the user's cache that the next demo replaces. If not given, \
--depth is 7, --slots 8, --deposit-slots 20 and --withdraw-slots 6.

Examples:
  taproof demo
  taproof demo defi
  taproof demo --dir demo && taproof --dir demo report
  taproof demo --payments 200 --fee-rate 5 --json
  taproof demo --block block.raw --payments 100"
)]
pub(crate) struct Demo {
    #[command(subcommand)]
    scene: Option<Scene>,
    /// How many of its payments to make.
    #[arg(long, default_value_t = 32, value_name = "N")]
    payments: usize,
    #[command(flatten)]
    options: Options,
}

/// What is played beside payments.
#[derive(Debug, Subcommand)]
enum Scene {
    Defi(Defi),
}

/// What all scenes can be told.
#[derive(Debug, Args)]
struct Options {
    /// A raw block to take payments from; mainnet block 702861 if not given.
    #[arg(long, value_name = "FILE")]
    block: Option<PathBuf>,
    /// How many accounts withdraw afterwards.
    #[arg(long, default_value_t = 4, value_name = "N")]
    withdrawals: usize,
    /// The rate of fees on Bitcoin, in satoshi a virtual byte.
    #[arg(long, default_value = "10", value_name = "SAT/VB")]
    fee_rate: FeeRate,
    /// The fee of every transaction on the rollup, in satoshi.
    #[arg(long, default_value_t = 25, value_name = "SAT")]
    fee: u64,
    #[command(flatten)]
    sizes: SizeOptions,
    /// The folder of the keys; one in the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// How many chunks to prove at a time.
    #[arg(long, default_value = "2", value_name = "N")]
    at_once: NonZeroUsize,
}

impl Demo {
    pub(crate) fn run(self, global: &Global) -> Result {
        if let Some(Scene::Defi(defi)) = self.scene {
            return defi.run(global);
        }
        let block = self.options.block()?;
        let home = Home::choose(global)?;
        let options = self.options.demo(global, None)?;
        let stages = Stages::new(global.console());
        let (report, rollup) = demo::run(&block, self.payments, &options, &stages).map_err(explain)?;
        let kept = home.leave(report, &rollup, &options, stages)?;
        global.console().report(&kept, |kept| text(&kept.report, &kept.overview, &home))
    }
}

impl Options {
    /// The block that payments are taken from.
    fn block(&self) -> Result<Vec<u8>> {
        match &self.block {
            Some(path) => match elsewhere(path, "a Bitcoin block") {
                Some(failure) => Err(failure),
                None => read_file(path, BLOCK_LENGTH_MAX as u64),
            },
            None => Ok(taproof_fixtures::MAINNET_BLOCK_702861.to_vec()),
        }
    }

    /// The demo's own options, with steps in chunks of so many slots, if it has any.
    fn demo(self, global: &Global, step_slots: Option<SlotCounts>) -> Result<DemoOptions> {
        let (depth, mut slots) = self.sizes.sizes(&Sizes::of_payments())?;
        let machines = global.machines().clone();
        if let Some(counts) = step_slots {
            slots.step = Some(steps(&machines, counts)?);
            expect_possible(&machines, depth, &slots)?;
        }
        Ok(DemoOptions {
            machines,
            withdrawals_max: self.withdrawals,
            fee_sat: self.fee,
            depth,
            slots,
            keys: self.keys.map_or_else(|| cache_dir().map(|cache| cache.join("keys")), Ok)?,
            fee_rate: self.fee_rate,
            proofs_at_once: self.at_once,
        })
    }
}

/// What a demo reports: its figures, and where the rollup is.
#[derive(Serialize)]
struct Kept<R> {
    #[serde(flatten)]
    report: R,
    #[serde(serialize_with = "path_text::serialize")]
    dir: PathBuf,
    #[serde(skip)]
    overview: Overview,
}

/// Where the demo's rollup is left.
struct Home {
    dir: DataDir,
    /// As if the user had named that folder.
    global: Global,
    /// Whether the next demo takes its place.
    is_replaced: bool,
    /// Held while a demo runs whose place is the next one's, too.
    _lock: Option<File>,
}

impl Home {
    /// The folder that the user named, which must be empty, else one in the user's cache.
    fn choose(global: &Global) -> Result<Self> {
        let (path, is_replaced) = match global.named_dir() {
            Some(path) => (path.to_owned(), false),
            None => (cache_dir()?.join("demo"), true),
        };
        expect_no_file(&path).map_err(|failure| failure.advise("name a new folder with --dir"))?;
        if !is_replaced && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            let failure = Failure::new(Exit::Input, format!("{} is not empty", path.display()));
            return Err(failure.advise("name a new folder with --dir: the demo overwrites no rollup"));
        }
        let lock = is_replaced.then(|| lock(&path.with_extension("lock"))).transpose()?;
        let global = global.in_dir(path);
        Ok(Self { dir: global.data_dir(), global, is_replaced, _lock: lock })
    }

    /// Keeps the rollup of a demo whose roots agree, and looks at it.
    fn leave<R: AsRef<RunFigures>>(
        &self,
        report: R,
        rollup: &DemoRollup,
        options: &DemoOptions,
        stages: Stages,
    ) -> Result<Kept<R>> {
        let run = report.as_ref();
        if !run.roots_agree() {
            let RunFigures { root_proven, root_verified, root_rebuilt, .. } = run;
            let message =
                format!("the roots differ: proven {root_proven}, verified {root_verified}, rebuilt {root_rebuilt}");
            return Err(Failure::new(Exit::Refuted, message));
        }
        Observer::begin(&stages, "keeping the rollup");
        self.keep(rollup, options)?;
        drop(stages);
        let session = Session::open(&self.global)?;
        let source = Source::Embedded(EmbeddedNode::open(&self.dir.chain(), ScriptBuf::new())?);
        let overview = overview::collect_from(&session, &source, &self.global)?;
        Ok(Kept { report, dir: self.dir.path().to_owned(), overview })
    }

    /// Writes the rollup as a data directory.
    fn keep(&self, rollup: &DemoRollup, options: &DemoOptions) -> Result {
        let dir = &self.dir;
        let doing = || dir.path().display().to_string();
        if self.is_replaced && dir.path().exists() {
            fs::remove_dir_all(dir.path()).or_exit_while(Exit::Failed, doing())?;
        }
        dir.create()?;
        fs::create_dir_all(dir.keys()).or_exit_while(Exit::Failed, doing())?;
        for circuit in key_ring::circuits(self.global.machines(), options.depth, &options.slots) {
            link(&key_path(&options.keys, circuit), &key_path(&dir.keys(), circuit))?;
        }
        rollup.phrase.create_file(&dir.wallet())?;
        ChainFile::open(&dir.chain())?.0.save(&rollup.chain)?;
        write_file(&dir.program(), Access::Public, |file| file.write_all(&rollup.program.to_bytes()))?;
        let mut ledger = Ledger::create(&dir.ledger(), rollup.params.chain_id(), rollup.params.genesis_depth)
            .map_err(ledger_failure)?
            .with_machines(self.global.machines().clone());
        for DemoBatch { anchored, verified } in &rollup.batches {
            ledger.take_over(verified).map_err(ledger_failure)?;
            let number = verified.batch();
            let files = [dir.batch(number), dir.proofs(number), dir.anchor(number)];
            files.iter().try_for_each(|path| DataDir::create_parent(path))?;
            let [batch, proofs, anchor] = &files;
            artefact::write(batch, &anchored.batch)?;
            artefact::write(proofs, &anchored.proofs)?;
            write_file(anchor, Access::Public, |file| file.write_all(anchored.anchor.to_json().as_bytes()))?;
        }
        // The parameters come last, as in `taproof setup`: where they are, the rest is.
        let params = serde_json::to_string_pretty(&rollup.params)?;
        write_file(&dir.params(), Access::Public, |file| writeln!(file, "{params}"))?;
        Ok(())
    }

    /// What to look at next.
    fn next_steps(&self) -> String {
        let dir = shell_word(self.dir.path());
        let kept = if self.is_replaced { "until the next demo, in" } else { "in" };
        format!(
            "The rollup is kept {kept} {dir}. Look at it:\n  \
             taproof --dir {dir} report --out demo.html\n  \
             taproof --dir {dir} follow --all\n  \
             taproof --dir {dir} prove-account 1 --out 1.account\n  \
             taproof --dir {dir} rebuild --out state.json"
        )
    }
}

/// Takes the lock of the place that all demos share.
fn lock(path: &Path) -> Result<File> {
    let doing = || path.display().to_string();
    DataDir::create_parent(path)?;
    let file = private::open_lock(path).or_exit_while(Exit::Failed, doing())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let failure = Failure::new(Exit::Busy, "another demo runs");
            Err(failure.advise("wait until it is done, or give this one a folder of its own with --dir"))
        }
        Err(TryLockError::Error(error)) => Err(error).or_exit_while(Exit::Failed, doing()),
    }
}

/// Puts a key, which never changes, into another folder as well: by a link where the file system has them, else as a
/// copy, whole or not at all.
fn link(from: &Path, to: &Path) -> Result {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = File::open(from)
        .and_then(|mut key| write_file(to, Access::Public, |file| io::copy(&mut key, file).map(|_| ())));
    copied.or_exit_while(Exit::Failed, to.display().to_string())
}

/// A path as a shell takes it for one word.
fn shell_word(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+~,:@%".contains(letter);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// Says what to do about an error.
fn explain(error: DemoError) -> Failure {
    let (exit, advice) = match &error {
        DemoError::Block(_) => (Exit::Input, "give a raw block as `bitcoin-cli getblock HASH 0 | xxd -r -p` writes it"),
        DemoError::NoPayments => (Exit::Input, "give another block, or more --payments"),
        DemoError::Market(_) => (Exit::Input, "take fewer --traders, a greater --depth or another block"),
        DemoError::NoOperations | DemoError::NoCircuit(_) => {
            (Exit::Input, "this program has no tokens and no exchange")
        }
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
    Failure::of(exit, error).advise(advice)
}

impl Observer for Stages {
    fn begin(&self, stage: &str) -> Box<dyn Progress> {
        Box::new(Stages::begin(self, stage))
    }

    fn found_unusable(&self, fault: KeyRingError) {
        self.begin("reading keys").warn(another_key(fault));
    }
}

fn text(report: &DemoReport, overview: &Overview, home: &Home) -> String {
    let DemoReport { payments, withdrawals, accounts, run, .. } = report;
    let made = format!("{payments}, funded by {} deposits, followed by {withdrawals} withdrawals", run.deposits);
    let header = [entry("block", &run.block), entry("payments", &made), entry("accounts", &accounts.to_string())];
    let parts = [
        header.join("\n"),
        kinds(run),
        payment_figures(report),
        totals(run),
        roots(run),
        Screen(overview).to_string(),
        home.next_steps(),
    ];
    parts.join("\n\n")
}

fn kinds(run: &RunFigures) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["kind", "records", "chunks", "slots", "constraints", "posted bytes a record"]);
    for kind in &run.kinds {
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
        run.kinds.iter().map(|kind| kind.records).sum::<usize>().to_string(),
        run.chunks.to_string(),
        String::new(),
        run.constraints.to_string(),
        String::new(),
    ]);
    (1..6).for_each(|column| align_right(&mut table, column));
    table.to_string()
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn payment_figures(report: &DemoReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["a payment", "Taproof", "layer 1"]);
    let rate = report.run.fee_rate_sat_per_kvb as f64 / 1_000.0;
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

fn totals(run: &RunFigures) -> String {
    let Seconds { keys, chain, apply, prove, anchor, follow, rebuild, total } = run.seconds;
    let posted = format!(
        "a payload of {} bytes, in a commit and a reveal of {} vB; deposits of {} vB, once",
        run.payload_bytes, run.anchor_vsize_vb, run.deposits_vsize_vb
    );
    let seconds = format!(
        "{total:.1} s: keys {keys:.1}, embedded chain {chain:.1}, apply {apply:.1}, prove {prove:.1}, \
         anchor {anchor:.1}, follow {follow:.1}, rebuild {rebuild:.1}"
    );
    let proofs = format!("{}, of {} bytes in all", run.proofs, run.proof_bytes);
    [entry("proofs", &proofs), entry("posted", &posted), entry("time", &seconds)].join("\n")
}

fn roots(run: &RunFigures) -> String {
    format!(
        "root proven    {}\nroot verified  {}\nroot rebuilt   {}",
        run.root_proven, run.root_verified, run.root_rebuilt
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_copied_leaves_nothing_under_its_name() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let to = folder.path().join("transfer.key");
        // Lies on another file system, and its first byte cannot be read.
        link(Path::new("/proc/self/mem"), &to).expect_err("it is no key");
        assert_eq!(fs::read_dir(folder.path()).expect("ours").count(), 0);
        let from = folder.path().join("from.key");
        fs::write(&from, "a key").expect("ours");
        link(&from, &to).expect("there is room");
        assert_eq!(fs::read(&to).expect("ours"), b"a key");
    }
}
