//! `taproof status` and `taproof report`.

mod screen;

use super::{
    Global, bridge,
    console::counted,
    data_dir::{DataDir, expect_absent},
    failure::{Exit, Failure, Fallible, Result},
    output::{Output, Replaces, open_output},
    path_text,
    session::{NodeOptions, Session, Source, not_followed},
};
use crate::overview::{Overview, Unanchored};
use clap::Args;
use serde::Serialize;
use std::{io, path::PathBuf};
use taproof_base::{
    artefact::{self, FileError},
    output_file::Access,
    shown::shown,
};
use taproof_bitcoin::{anchoring, bridge::watch::BridgeWatch, follow::FollowError, proven_batch::ProvenBatch};
use taproof_rollup::batch::BatchFile;

pub(super) use screen::{Screen, entry, request_entries, upgrade_entries};

/// Shows on one screen where the rollup stands: the tip, the verified root, batches, anchors with their fees and
/// depth, deposits, payouts.
#[derive(Debug, Args)]
#[command(after_help = "\
The chain is followed to its tip first. Anchors that are on their way are those of `taproof anchor run`, which may be \
running. What the signers have paid is shown where `taproof bridge status` was run before.

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
    /// Replaces the file if there is one, unless it is another kind of file that taproof knows.
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
    #[serde(serialize_with = "path_text::serialize")]
    file: PathBuf,
    /// Those that are in the chain or on their way.
    anchors: usize,
    /// All that are shown, those without an anchor included.
    batches: usize,
    bytes: usize,
}

impl Report {
    pub(crate) fn run(self, global: &Global) -> Result {
        if !self.force {
            expect_absent(&self.out).map_err(|failure| {
                failure.advise(
                    "--force replaces it, unless it is of another format that taproof knows; or name another file \
                     with --out",
                )
            })?;
        }
        let (format, replaces) = ("report", if self.force { Replaces::Unknown } else { Replaces::OwnFormat });
        let out = Output { path: &self.out, access: Access::Public, format, replaces };
        let out = open_output(&global.data_dir(), out, &[])?;
        let console = global.console().beside([&out])?;
        let overview = collect(global, &self.node)?;
        let html = overview.to_html();
        out.write(|file| file.write_all(html.as_bytes()))
            .or_exit_while(Exit::Failed, self.out.display().to_string())?;
        let batches = overview.anchors.len();
        let anchors = batches - overview.batches_made() - overview.batches_proven();
        let written = Written { anchors, batches, bytes: html.len(), file: self.out };
        console.report(&written, |written| {
            let batches = counted(written.batches, "batch");
            format!("{batches} on one page of {} bytes, in {}", written.bytes, shown(written.file.display()))
        })
    }
}

fn collect(global: &Global, node: &NodeOptions) -> Result<Overview> {
    let session = Session::open(global)?;
    let source = session.source(node)?;
    collect_from(&session, &source, global)
}

/// Follows the chain to its tip and takes the service's jobs, if it has any.
pub(super) fn collect_from(session: &Session, source: &Source, global: &Global) -> Result<Overview> {
    let spinner = global.console().spinner("following the chain");
    let mut stored = session.stored_follower(source)?;
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
    let watched = session.dir.bridge_state().exists().then(|| bridge::catch_up(session, source)).transpose();
    let watched = watched.unwrap_or_else(|failure| {
        console.warn(format!("what the bridge holds is not shown: {}", failure.message()));
        None
    });
    spinner.finish_and_clear();
    let overview = Overview::new(&stored, &jobs, watched.as_ref().map(BridgeWatch::scan));
    let mut overview = overview.or_exit(Exit::Failed)?;
    session.judge_requests(&mut overview.exits, &mut overview.claims, stored.follower().tip());
    let unanchored = unanchored(&session.dir, &overview);
    Ok(overview.with_unanchored(unanchored))
}

/// The batches that were made here and follow on the anchored ones, by their files: the ledger may be in use.
fn unanchored(dir: &DataDir, overview: &Overview) -> Vec<Unanchored> {
    let mut found: Vec<Unanchored> = Vec::new();
    let mut root = overview.root_verified.clone();
    for number in overview.batches.. {
        let path = dir.batch(number);
        if !path.exists() {
            break;
        }
        let batch: BatchFile = match artefact::read(&path) {
            Ok(batch) => batch,
            Err(error) => {
                found.push(Unanchored { number, is_proven: false, note: Some(error.to_string()) });
                break;
            }
        };
        let header = batch.header();
        // What a batch that was taken back left behind follows on another root. In a tree that has grown, roots are
        // others.
        let has_grown = header.depth.levels() != overview.tree_levels;
        if !has_grown && super::element_text(&header.root_before) != root {
            break;
        }
        root = super::element_text(&header.root_after);
        let proofs = artefact::read::<ProvenBatch>(&dir.proofs(number));
        let is_proven = proofs.as_ref().is_ok_and(|proofs| {
            let statements = proofs.payload().statements();
            statements.iter().eq(batch.chunks().iter().map(|chunk| &chunk.statement))
        });
        let note = match &proofs {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("its proofs cannot be used: {error}")),
            Ok(_) if is_proven => None,
            Ok(_) => Some(format!("{} are proofs of something else", dir.proofs(number).display())),
        };
        found.push(Unanchored { number, is_proven, note });
    }
    found
}
