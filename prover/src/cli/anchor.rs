//! `taproof anchor`.

mod build;
mod orders;
mod psbt;
mod run;
mod watch_only;

use super::{
    Global,
    coins::coin_store_failure,
    console::counted,
    failure::{Exit, Failure, Result},
    session::{Session, file_advice, not_followed},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;
use taproof_base::shown::shown;
use taproof_bitcoin::anchoring::{AnchorStoreError, Identity, Job, JobState, ServiceError, Store, Waits};
use taproof_wallet::PosterScripts;

/// Brings proven batches into Bitcoin's chain, and keeps at it until they are final.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof anchor run --once
  taproof anchor run --node http://127.0.0.1:38332 --cookie .cookie --fee-cap 50
  taproof anchor bump --batch 3 --fee-rate 20
  taproof anchor status")]
pub(crate) struct Anchor {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(Box<run::Run>),
    Status(orders::Status),
    Bump(orders::Bump),
    Abandon(orders::Abandon),
    Psbt(psbt::PsbtCommand),
    Build(Box<build::Build>),
}

impl Anchor {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Run(command) => command.run(global),
            Action::Status(command) => command.run(global),
            Action::Bump(command) => command.run(global),
            Action::Abandon(command) => command.run(global),
            Action::Psbt(command) => command.run(global),
            Action::Build(command) => command.run(global),
        }
    }
}

/// What is told of one batch's anchor.
#[derive(Debug, Serialize)]
struct JobReport {
    batch: u64,
    state: &'static str,
    closed: bool,
    commit_txid: Option<String>,
    reveal_txid: Option<String>,
    fee_sat: Option<u64>,
    vsize_vb: Option<u64>,
    payload_bytes: Option<usize>,
    reveals_sent: usize,
    commits: usize,
    waits_for: Option<String>,
    advice: Option<String>,
}

impl JobReport {
    /// What a job says, and what it waits for as of the last look.
    fn new(job: &Job, waits: Option<&Waits>) -> Self {
        let figures = job.figures();
        Self {
            batch: job.batch(),
            state: job.state().name(),
            closed: job.is_closed(),
            commit_txid: figures.map(|figures| figures.commit.to_string()),
            reveal_txid: figures.map(|figures| figures.reveal.to_string()),
            fee_sat: figures.map(|figures| figures.fee_sat),
            vsize_vb: figures.map(|figures| figures.vsize_vb),
            payload_bytes: figures.map(|figures| figures.payload_bytes),
            reveals_sent: figures.map_or(0, |figures| figures.attempts),
            commits: job.generations().len(),
            waits_for: waits.map(|waits| waits.waits_for.clone()),
            advice: waits.and_then(|waits| waits.advice.clone()),
        }
    }

    /// A batch of which nothing is kept but what it waits for.
    fn unread(batch: u64, waits: &Waits) -> Self {
        Self {
            batch,
            state: JobState::Waiting.name(),
            closed: false,
            commit_txid: None,
            reveal_txid: None,
            fee_sat: None,
            vsize_vb: None,
            payload_bytes: None,
            reveals_sent: 0,
            commits: 0,
            waits_for: Some(waits.waits_for.clone()),
            advice: waits.advice.clone(),
        }
    }
}

impl fmt::Display for JobReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {:<6} {:<12}", self.batch, self.state)?;
        if let (Some(fee_sat), Some(vsize_vb)) = (self.fee_sat, self.vsize_vb) {
            write!(f, " {fee_sat} sat for {vsize_vb} vB, {} sent", counted(self.reveals_sent, "reveal"))?;
        }
        if let Some(waits_for) = &self.waits_for {
            write!(f, "\n  waits: {}", shown(waits_for))?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  help: {}", shown(advice))?;
        }
        Ok(())
    }
}

/// The identity of the rollup's anchors by a poster.
fn identity(session: &Session, poster: &PosterScripts) -> Identity {
    Identity::new(session.params.chain_id(), poster)
}

/// The store that the service has made, whoever its poster is.
fn existing_store(session: &Session) -> Result<Store> {
    let store = Store::find(&session.dir.anchoring()).map_err(store_failure)?;
    let missing = || Failure::new(Exit::Input, "nothing was anchored from here");
    store.ok_or_else(|| missing().advise("run `taproof anchor run`"))
}

pub(super) fn store_failure(error: AnchorStoreError) -> Failure {
    let (exit, advice) = match &error {
        AnchorStoreError::Store(error) => {
            file_advice(error, "move it away: what is in the chain is found again, and what was swept or waits is not")
        }
        AnchorStoreError::Foreign(_) => (Exit::Input, "name the --dir and the wallet that it was made with"),
        _ => (Exit::Failed, ""),
    };
    Failure::of(exit, error).advise(advice)
}

fn service_failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Store(error) => store_failure(error),
        ServiceError::Coins(error) => coin_store_failure(error),
        ServiceError::Follow(error) => not_followed(error),
        ServiceError::Config(error) => Failure::of(Exit::Input, error),
        ServiceError::Locked(path) => {
            let failure = Failure::of(Exit::Busy, ServiceError::Locked(path));
            failure.advise("one service a data directory is enough")
        }
        ServiceError::NoSuchBatch(_) => Failure::of(Exit::Input, error),
        error => Failure::of(Exit::Failed, error),
    }
}
