//! What is cleared away of batches that were taken back, and what is told of those that wait for their anchors.

use crate::cli::{
    Global,
    anchor::store_failure,
    failure::{Exit, Fallible, Result},
    session::Session,
};
use std::{fs, io, ops::Range, path::Path};
use taproof_bitcoin::anchoring::{Job, JobState, ServiceLock, Store};
use taproof_rollup::{batch::BatchFile, ledger::Ledger};
use taproof_verifier::follow::Follower;

/// How many batches may wait for their anchors without a warning.
const UNANCHORED_MAX: u64 = 3;

/// The numbers of the batches that were taken back.
#[derive(Debug, Default)]
pub(super) struct TakenBack(Option<Range<u64>>);

impl TakenBack {
    pub(super) fn add(&mut self, batches: Range<u64>) {
        if !batches.is_empty() {
            let before = self.0.take().unwrap_or(batches.clone());
            self.0 = Some(before.start.min(batches.start)..before.end.max(batches.end));
        }
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.0.clone().into_iter().flatten().collect()
    }

    /// Says which batches are gone where no report does, as nothing came of the command.
    pub(super) fn warn(&self, global: &Global) {
        if let Some(batches) = &self.0 {
            global.console().warn(format!(
                "batches {} to {} were taken back all the same: their files are gone, and their transactions wait \
                 again",
                batches.start,
                batches.end - 1
            ));
        }
    }

    /// Removes the files of these batches, and forgets their anchors. Proofs of an anchor of which something was
    /// built stay, so that the service finds it stale by them and sweeps what waits in the pool.
    pub(super) fn clear_away(&self, session: &Session, global: &Global) -> Result {
        let numbers = self.numbers();
        if numbers.is_empty() {
            return Ok(());
        }
        numbers.iter().try_for_each(|batch| remove(&session.dir.batch(*batch)))?;
        let store = Store::find(&session.dir.anchoring()).map_err(store_failure);
        let jobs = store.and_then(|store| {
            let jobs = store.as_ref().map_or(Ok(Vec::new()), Store::jobs).map_err(store_failure)?;
            Ok((store, jobs))
        });
        let (store, mut jobs) = match jobs {
            Ok(found) => found,
            Err(failure) => {
                // The batches are taken back all the same.
                let told = failure.message();
                global.console().warn(format!("what was proven of batches that were taken back stays: {told}"));
                return Ok(());
            }
        };
        jobs.retain(|job| numbers.contains(&job.batch()));
        let is_sent =
            |job: &&Job| matches!(job.state(), JobState::CommitSent | JobState::RevealSent | JobState::Bumped);
        for batch in jobs.iter().filter(is_sent).map(Job::batch) {
            global.console().warn(format!(
                "batch {batch}: its anchor waits in the pool, and may be mined as it is until other proofs of the \
                 batch are made, which \
                replace it; `taproof anchor abandon --batch {batch}` takes it back now"
            ));
        }
        let is_built = |batch: u64| jobs.iter().any(|job| job.batch() == batch && !job.generations().is_empty());
        for batch in numbers.iter().copied().filter(|batch| !is_built(*batch)) {
            remove(&session.dir.proofs(batch))?;
        }
        // A service that runs forgets them itself at its next look.
        if let (Some(store), Ok(_lock)) = (store, ServiceLock::take(&session.dir.anchoring_lock())) {
            let unbuilt: Vec<&Job> = jobs.iter().filter(|job| !is_built(job.batch())).collect();
            store.forget(unbuilt).map_err(store_failure)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).or_exit_while(Exit::Failed, format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The height that the batch which comes next on the chain refers to, if no block takes it any more. The service says
/// so of proven batches alone.
fn reference_too_old(ledger: &Ledger, follower: &Follower) -> Option<u32> {
    let next_height = follower.scanned().height.saturating_add(1);
    let oldest = next_height.saturating_sub(follower.params().deposit_window_blocks);
    let batch = ledger.artefact::<BatchFile>(follower.tip().batches).ok()??;
    Some(batch.header().reference.height).filter(|reference| *reference < oldest)
}

/// Warns if the batch that comes next on the chain cannot be anchored as it is, or if many wait for their anchors.
pub(super) fn warn_of_unanchored(session: &Session, ledger: &Ledger, follower: &Follower, global: &Global) {
    let anchored = follower.tip().batches;
    let unanchored = ledger.next_batch().saturating_sub(anchored);
    if unanchored == 0 {
        return;
    }
    let undone = session.chain_store().undone().ok().flatten();
    if undone.is_some_and(|undone| undone.has_batch(anchored)) {
        global.console().warn(format!(
            "batch {anchored} was final, and the chain does not have it any more: `taproof anchor run` anchors it \
             again where the \
             chain takes it as it is; where it does not, make the ledger anew from the chain with `taproof rebuild \
             --replace`, \
             and run `taproof batch` again"
        ));
    }
    // Whatever cannot be asked, or is in use, has no say.
    let store = Store::find(&session.dir.anchoring()).ok().flatten();
    let jobs = store.and_then(|store| store.jobs().ok()).unwrap_or_default();
    if jobs.iter().any(|job| job.batch() == anchored && job.state() == JobState::Stale) {
        global.console().warn(format!(
            "batch {anchored} is stale: the chain does not take it as it is, nor any batch after it; `taproof anchor \
             status` says why, and \
            `taproof batch --take-back {anchored}` makes it anew"
        ));
    } else if let Some(reference) = reference_too_old(ledger, follower) {
        global.console().warn(format!(
            "batch {anchored} refers to block {reference}, which is older than the window allows: the chain takes \
             neither it nor any batch after it; `taproof batch --take-back {anchored}` makes it anew"
        ));
    } else if unanchored > UNANCHORED_MAX {
        global.console().warn(format!(
            "{unanchored} batches wait for their anchors, from batch {anchored} on: prove them, and look at `taproof \
             anchor status`"
        ));
    }
}
