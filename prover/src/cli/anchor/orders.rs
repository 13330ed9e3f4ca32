//! `taproof anchor status`, `bump` and `abandon`: they look at the store, and leave orders for the service there.

use super::{JobReport, existing_store, store_failure};
use crate::cli::{
    Global,
    bridge::expect_within_cap,
    failure::{Exit, Failure, Result},
    session::{self, Session},
};
use clap::Args;
use serde::Serialize;
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::FeeRate,
    anchoring::{BumpOrder, Job, JobState, Order, Transition},
    chain_store::Undone,
};

/// Lists the anchors of the data directory with their states and fees.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof anchor status --batch 3")]
pub(super) struct Status {
    /// Lists this batch alone, with the history of its states.
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
}

#[derive(Serialize)]
struct StatusReport {
    jobs: Vec<JobReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Transition>>,
}

impl Status {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let store = existing_store(&session)?;
        let (jobs, waits) = (store.jobs().map_err(store_failure)?, store.waits().map_err(store_failure)?);
        let chain = session.chain_store();
        session.warn_of_undone(&chain)?;
        let undone = chain.undone().map_err(session::store_failure)?;
        let is_undone = |job: &Job| -> Result<bool> {
            // What became final in the chain as it is now became so later.
            let told = job.history().last().map_or(0, |change| change.height);
            let is_older = |undone: &Undone| {
                undone.has_batch(job.batch()) && told < undone.block.height + session.params.final_depth_blocks
            };
            // It may be final again without the service's having looked.
            let is_final = || chain.anchor(job.batch()).map_err(session::store_failure);
            Ok(undone.as_ref().is_some_and(is_older) && is_final()?.is_none())
        };
        let report_on = |job: &Job| -> Result<JobReport> {
            let report = JobReport::new(job, waits.get(&job.batch()));
            Ok(if is_undone(job)? { JobReport { state: job.state_outside_the_chain(), ..report } } else { report })
        };
        let report = match self.batch {
            None => {
                let is_unread = |batch: &u64| jobs.iter().all(|job| job.batch() != *batch);
                let unread = waits.iter().filter(|(batch, _)| is_unread(batch));
                let unread = unread.map(|(batch, waits)| JobReport::unread(*batch, waits));
                let mut reports: Vec<JobReport> =
                    jobs.iter().map(report_on).chain(unread.map(Ok)).collect::<Result<_>>()?;
                reports.sort_by_key(|report| report.batch);
                StatusReport { jobs: reports, history: None }
            }
            Some(batch) => {
                let job = job_of(&jobs, batch)?;
                StatusReport { jobs: vec![report_on(job)?], history: Some(job.history().to_vec()) }
            }
        };
        global.console().report(&report, |report| {
            let jobs = report.jobs.iter().map(ToString::to_string);
            let history = report.history.iter().flatten().map(|change| {
                format!("  height {}: {} -> {}: {}", change.height, change.from, change.to, shown(&change.reason))
            });
            let lines: Vec<String> = jobs.chain(history).collect();
            if lines.is_empty() { "no anchors".to_owned() } else { lines.join("\n") }
        })
    }
}

/// Raises the fee of a batch's anchor by replacing its reveal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof anchor bump --batch 3 --fee-rate 25")]
pub(super) struct Bump {
    /// The batch.
    #[arg(long, value_name = "N")]
    batch: u64,
    /// What commit and reveal pay together, in satoshi a virtual byte; the schedule's next if not given.
    #[arg(long, value_name = "SAT/VB")]
    fee_rate: Option<FeeRate>,
}

impl Bump {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let cap = existing_store(&session)?.fee_cap().map_err(store_failure)?;
        if let Some((rate, cap)) = self.fee_rate.zip(cap) {
            expect_within_cap(rate, cap)
                .map_err(|failure| failure.advise("run `taproof anchor run` with a higher --fee-cap if you mean it"))?;
        }
        if let Some(rate) = self.fee_rate {
            self.expect_raise(rate, &session)?;
        }
        let order = Order::Bump(BumpOrder { sat_per_kvb: self.fee_rate.map(FeeRate::sat_per_kvb) });
        give(self.batch, order, global)
    }
}

impl Bump {
    /// Fails if the anchor pays that much already.
    fn expect_raise(&self, rate: FeeRate, session: &Session) -> Result {
        let jobs = existing_store(session)?.jobs().map_err(store_failure)?;
        let Some(figures) = job_of(&jobs, self.batch)?.figures() else { return Ok(()) };
        let paid = figures.rate();
        if rate > paid {
            return Ok(());
        }
        let failure = Failure::new(Exit::Input, format!("the anchor of batch {} pays {paid} sat/vB", self.batch));
        Err(failure.advise("give a higher --fee-rate, or none for the schedule's next"))
    }
}

/// Gives a batch's anchor up: what its commit locks is taken back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof anchor abandon --batch 3")]
pub(super) struct Abandon {
    /// The batch.
    #[arg(long, value_name = "N")]
    batch: u64,
    /// Takes it up again.
    #[arg(long)]
    undo: bool,
}

impl Abandon {
    pub(super) fn run(self, global: &Global) -> Result {
        give(self.batch, if self.undo { Order::Resume } else { Order::Abandon }, global)
    }
}

fn job_of(jobs: &[Job], batch: u64) -> Result<&Job> {
    let job = jobs.iter().find(|job| job.batch() == batch);
    job.ok_or_else(|| Failure::new(Exit::Input, format!("batch {batch} has no anchor here")))
}

fn give(batch: u64, order: Order, global: &Global) -> Result {
    let session = Session::open(global)?;
    let store = existing_store(&session)?;
    let jobs = store.jobs().map_err(store_failure)?;
    let job = job_of(&jobs, batch)?;
    if matches!(order, Order::Bump(_)) && matches!(job.state(), JobState::Abandoned | JobState::Swept) {
        let failure = Failure::new(Exit::Input, format!("batch {batch} was given up: there is no anchor to raise"));
        return Err(failure.advise(format!("`taproof anchor abandon --undo --batch {batch}` takes it up again")));
    }
    // The service may not have looked since the anchor became final. If it is another poster's, ours can still be
    // given up.
    let is_settled = session.chain_store().anchor(batch).map_err(session::store_failure)?.is_some();
    let is_ours = job.state() == JobState::Final;
    if is_ours || (is_settled && !matches!(order, Order::Abandon)) {
        let failure = Failure::new(Exit::Input, format!("batch {batch} is final: nothing about its anchor can change"));
        return Err(failure.advise("`taproof anchor status` lists what is still on its way"));
    }
    store.put_order(batch, order).map_err(store_failure)?;
    let report = serde_json::json!({ "batch": batch, "ordered": true });
    global.console().report(&report, |_| format!("batch {batch}: ordered; the service carries it out at its next look"))
}
