//! `taproof status` and `taproof report`.

use super::{
    Global, bridge,
    data_dir::expect_absent,
    failure::{Exit, Failure, Fallible, Result},
    output::open_output,
    session::{NodeOptions, Session, not_followed},
};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof::{
    anchoring,
    bridge::watch::BridgeWatch,
    follow::FollowError,
    output_file::Access,
    overview::{AnchorRow, Overview},
};

/// The most anchors that `taproof status` lists.
const ANCHORS_LISTED_MAX: usize = 12;

/// Shows on one screen where the rollup stands: the tip, the verified root, anchors with their fees and depth, deposits, payouts.
#[derive(Debug, Args)]
#[command(after_help = "\
The chain is followed to its tip first. Anchors that are on their way are those of `taproof anchor run`, which may be running. What the
signers have paid is shown where `taproof bridge status` was run before.

Examples:
  taproof status
  taproof status --node http://127.0.0.1:38332 --cookie .cookie --json")]
pub(crate) struct Status {
    #[command(flatten)]
    node: NodeOptions,
}

/// Writes one self-contained HTML file that shows the chain of anchors, roots, fees, bytes and times.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof report --out report.html")]
pub(crate) struct Report {
    #[command(flatten)]
    node: NodeOptions,
    /// The file to write.
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    out: PathBuf,
    /// Replaces the file if there is one.
    #[arg(long)]
    force: bool,
}

impl Status {
    pub(crate) fn run(self, global: &Global) -> Result {
        let overview = collect(global, &self.node)?;
        global.console().report(&overview, |overview| Screen(overview).to_string())
    }
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    anchors: usize,
    bytes: usize,
}

impl Report {
    pub(crate) fn run(self, global: &Global) -> Result {
        if !self.force {
            expect_absent(&self.out)?;
        }
        let out = open_output(&self.out, Access::Public, &[])?;
        let console = global.console().beside([&out]);
        let overview = collect(global, &self.node)?;
        let html = overview.to_html();
        out.write(|file| file.write_all(html.as_bytes()))
            .or_exit_while(Exit::Failed, self.out.display().to_string())?;
        let written = Written { anchors: overview.anchors.len(), bytes: html.len(), file: self.out };
        console.report(&written, |written| {
            format!("{} anchors on one page of {} bytes, in {}", written.anchors, written.bytes, written.file.display())
        })
    }
}

/// Follows the chain to its tip and takes the service's jobs, if it has any.
fn collect(global: &Global, node: &NodeOptions) -> Result<Overview> {
    let session = Session::open(global)?;
    let source = session.source(node)?;
    let spinner = global.console().spinner("following the chain");
    let mut stored = session.stored_follower(&source)?;
    stored.catch_up(source.chain(), |_, _| Ok::<(), FollowError>(())).map_err(not_followed)?;
    // The chain is what an overview is about: where something else cannot be read, that is said, and the rest is shown.
    let console = global.console();
    let store = anchoring::Store::find(&session.dir.anchoring());
    let jobs = store.and_then(|store| store.map_or(Ok(Vec::new()), |store| store.jobs()));
    let jobs = jobs.unwrap_or_else(|error| {
        console.warn(format!("anchors on their way are not shown: {}", Failure::from(error).message()));
        Vec::new()
    });
    // Only who watches the bridge has its state; to read the whole chain for it would take its time.
    let watched = session.dir.bridge_state().exists().then(|| bridge::catch_up(&session, &source)).transpose();
    let watched = watched.unwrap_or_else(|failure| {
        console.warn(format!("what the bridge holds is not shown: {}", failure.message()));
        None
    });
    spinner.finish_and_clear();
    Overview::new(&stored, &jobs, watched.as_ref().map(BridgeWatch::scan)).or_exit(Exit::Failed)
}

/// An overview on one screen.
struct Screen<'a>(&'a Overview);

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(overview) = self;
        writeln!(f, "rollup         {} on {}", overview.chain_id, overview.network)?;
        writeln!(f, "tip            {} at height {}", overview.block, overview.height)?;
        writeln!(f, "root verified  {}", overview.root_verified)?;
        writeln!(f, "batches        {}, {} levels in the tree", overview.batches, overview.tree_levels)?;
        let (waiting, waiting_sat) = (overview.deposits_waiting, overview.deposits_waiting_sat);
        writeln!(f, "deposits       {} credited; {waiting} waiting, {waiting_sat} sat", overview.deposits_credited)?;
        let (due, due_sat) = (overview.payouts_due, overview.payouts_due_sat);
        let (waiting, waiting_sat) = (overview.payouts_waiting, overview.payouts_waiting_sat);
        writeln!(f, "payouts        {due} due so far, {due_sat} sat; {waiting} not final, {waiting_sat} sat")?;
        if let Some(bridge) = &overview.bridge {
            let (settled, unpaid_sat, held_sat) = (bridge.payouts_settled, bridge.unpaid_sat, bridge.held_sat);
            writeln!(f, "bridge         {settled} payouts settled, {unpaid_sat} sat unpaid; {held_sat} sat held")?;
            bridge.faults.iter().try_for_each(|fault| writeln!(f, "fault          {fault}"))?;
        }
        if let Some(refused) = overview.refused.last() {
            let (count, height) = (overview.refused.len(), refused.height);
            writeln!(f, "refused        {count} anchors, the last at height {height}: {}", refused.reason)?;
        }
        let hidden = overview.anchors.len().saturating_sub(ANCHORS_LISTED_MAX);
        let listed = &overview.anchors[hidden..];
        if listed.is_empty() {
            return write!(f, "anchors        none yet");
        }
        if hidden > 0 {
            writeln!(f, "anchors        the last {ANCHORS_LISTED_MAX} of {}", overview.anchors.len())?;
        }
        write!(f, "{}", anchor_table(listed))?;
        for row in listed {
            if let Some(note) = &row.note {
                write!(f, "\nbatch {} waits: {note}", row.batch)?;
            }
        }
        Ok(())
    }
}

fn anchor_table(rows: &[AnchorRow]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["batch", "state", "height", "depth", "bytes", "fee sat", "sat/vB", "transaction"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        table.add_row([
            row.batch.to_string(),
            row.state.clone(),
            or_dash(row.height.map(|height| height.to_string())),
            or_dash(row.depth_blocks.map(|depth| depth.to_string())),
            or_dash(row.reveal_bytes.map(|bytes| bytes.to_string())),
            or_dash(row.fee_sat.map(|fee| fee.to_string())),
            or_dash(row.sat_per_vb().map(|rate| format!("{rate:.2}"))),
            or_dash(row.txid.map(|txid| txid.to_string())),
        ]);
    }
    for column in [0, 2, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
