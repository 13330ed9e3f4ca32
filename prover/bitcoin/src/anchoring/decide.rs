//! The rules: in which state a batch's anchor is, and what is to be done next. Nothing here reads a clock, a node or
//! a file.

use super::{
    Attempt, Config, Fees, Generation, GenerationView, Hold, Inputs, Job, JobState, Place, Spender, Standing, Sweep,
    View,
    fees::FeeRange,
    view::{Anchored, Fate},
};
use crate::anchor::FeeRate;
use taproof_verifier::payload::PayloadHash;

/// What is to be done next. Each names a generation by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Build commit and reveal for the payload that the chain asks for.
    Build {
        /// What both pay.
        fee_rate: FeeRate,
    },
    /// Hand the commit over for the first time.
    SendCommit {
        /// The generation.
        generation: usize,
        /// The reveal that comes after it, or with it where the commit pays too little by itself.
        attempt: usize,
    },
    /// Hand a first reveal over.
    SendReveal {
        /// The generation.
        generation: usize,
        /// The reveal.
        attempt: usize,
    },
    /// Hand over again what is in no block: the commit, then the latest reveal.
    Rebroadcast {
        /// The generation.
        generation: usize,
    },
    /// Replace the reveal by one that pays more.
    Bump {
        /// The generation.
        generation: usize,
        /// What it may pay.
        range: FeeRange,
    },
    /// Take the commit's output back.
    Sweep {
        /// The generation.
        generation: usize,
        /// What the sweep pays.
        fee_sat: u64,
    },
    /// Hand the latest sweep over again.
    ResendSweep {
        /// The generation.
        generation: usize,
    },
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state that the batch is in.
    pub state: JobState,
    /// Why, for the log.
    pub reason: String,
    /// What stands in the way, if anything does.
    pub hold: Option<Hold>,
    /// What to do; after it, decide again.
    pub action: Option<Action>,
    /// Whether nothing can happen any more.
    pub is_closed: bool,
}

impl Decision {
    fn rest(state: JobState, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), hold: None, action: None, is_closed: false }
    }

    fn held(state: JobState, hold: Hold) -> Self {
        Self { hold: Some(hold.clone()), ..Self::rest(state, hold.to_string()) }
    }

    fn with(self, action: Option<Action>) -> Self {
        Self { action, ..self }
    }

    /// With the next step of taking commits back, or with what it waits for.
    fn with_sweep(
        self,
        job: &Job,
        view: &View,
        config: &Config,
        is_due: impl Fn(&Generation, &GenerationView) -> bool,
    ) -> Self {
        let hold = unswept(job, view, &is_due).cloned();
        Self { hold, ..self }.with(sweep(job, view, config, is_due))
    }
}

/// Decides on one batch. The gate is here: right before anything is sent, [`Standing`] says what the rules make of
/// the payload at the tip, so a batch is published, deferred or stale on what is true then.
pub fn decide(job: &Job, view: &View, config: &Config) -> Decision {
    if let Some(hold) = &view.node_hold {
        return Decision::held(job.state, hold.clone());
    }
    match &view.standing {
        Standing::Anchored(anchored) => settled(job, view, config, anchored),
        Standing::AnchoredBefore => {
            let is_closed = leftovers(job, view).next().is_none();
            Decision { is_closed, ..Decision::rest(JobState::Final, "anchored before the blocks that are followed") }
                .with_sweep(job, view, config, is_left_over)
        }
        _ if job.is_abandoned => abandoned(job, view, config),
        Standing::Unproven => Decision::rest(JobState::Stale, "its proofs are missing"),
        Standing::Unusable(reason) => Decision::held(job.progress(), Hold::Proofs(reason.clone())),
        Standing::Refused(reason) => {
            Decision::rest(JobState::Stale, reason.clone()).with_sweep(job, view, config, is_waiting_in_vain)
        }
        Standing::Behind { next } => Decision::held(job.progress(), Hold::PreviousBatch(*next)),
        Standing::ReferenceAhead { height } => Decision::held(job.progress(), Hold::ReferenceAhead(*height)),
        Standing::NotSequencer { open_height } => quiet(job, view, config, *open_height),
        Standing::Next(wanted) => drive(job, view, config, *wanted),
    }
}

/// The anchor would not count yet: nothing is sent, and what waits in the pool is taken back before it is mined in
/// vain.
fn quiet(job: &Job, view: &View, config: &Config, open_height: u32) -> Decision {
    let hold = Hold::NotSequencer(open_height);
    let decision = Decision::rest(job.progress(), hold.to_string()).with_sweep(job, view, config, is_waiting_in_vain);
    let hold = decision.hold.clone().or(Some(hold));
    Decision { hold, ..decision }
}

/// The chain has an anchor of this number: adopt it, or stand aside.
fn settled(job: &Job, view: &View, config: &Config, anchored: &Anchored) -> Decision {
    let depth_blocks = view.tip.height.saturating_sub(anchored.block.height) + 1;
    let is_final = depth_blocks >= config.final_depth_blocks;
    let is_safe = is_final || depth_blocks >= config.safe_depth_blocks;
    // While a reorganisation can still take the anchor away, what could replace it is kept, but for reveals that
    // would be mined and paid for in vain: another commit and reveal are made if they are needed again.
    let is_due = if is_safe { is_left_over } else { is_waiting_in_vain };
    let is_closed = is_final && leftovers(job, view).next().is_none();
    let ours = job.generations.iter().flat_map(|generation| &generation.attempts);
    let is_ours = ours.into_iter().any(|attempt| attempt.transaction.compute_txid() == anchored.txid);
    let decision = if anchored.statement != job.statement {
        let reason = format!("the chain has another batch of this number, anchored by {}", anchored.txid);
        Decision::rest(JobState::Stale, reason)
    } else {
        let state = match (is_final, is_safe) {
            (true, _) => JobState::Final,
            (_, true) => JobState::Safe,
            _ => JobState::InBlock,
        };
        let whose = if is_ours { "anchored" } else { "anchored by somebody else" };
        let reason = format!("{whose} by {} at height {}, {depth_blocks} deep", anchored.txid, anchored.block.height);
        Decision::rest(state, reason)
    };
    Decision { is_closed, ..decision }.with_sweep(job, view, config, is_due)
}

/// The batch comes next, and this payload would be accepted: bring it into the chain.
fn drive(job: &Job, view: &View, config: &Config, wanted: PayloadHash) -> Decision {
    // A reveal of another payload would be mined in vain, or, where the batch was proven again, in this one's place.
    let is_in_the_way = |generation: &Generation, seen: &GenerationView| {
        generation.payload_hash() != wanted && is_waiting_in_vain(generation, seen)
    };
    if let Some(action) = sweep(job, view, config, is_in_the_way) {
        return Decision::rest(job.state, "another payload is wanted than the one that waits").with(Some(action));
    }
    let generations = job.generations.iter().zip(&view.generations).enumerate().rev();
    let mut live = generations.filter(|(_, (generation, seen))| {
        generation.payload_hash() == wanted
            && seen.fate(generation) == Fate::Live
            && !is_being_swept(generation, seen)
            && !is_outpriced(generation, seen, &view.fees)
    });
    let Some((index, (generation, seen))) = live.next() else {
        if let Some(hold) = job.refused_at(view.tip) {
            return Decision::held(JobState::Waiting, hold.clone());
        }
        return match view.fees.first_rate(config) {
            Ok(fee_rate) => {
                let reason = if job.generations.is_empty() { "proven" } else { "another commit or payload is needed" };
                Decision::rest(JobState::Waiting, reason).with(Some(Action::Build { fee_rate }))
            }
            Err(hold) => Decision::held(JobState::Waiting, hold),
        };
    };
    let state = generation.progress();
    if state == JobState::Built {
        return Decision::held(state, Hold::AwaitingSignatures);
    }
    let reason = match state {
        JobState::Signed => "signed and stored",
        JobState::CommitSent => "the commit was handed over",
        JobState::RevealSent => "the reveal was handed over",
        _ => "a reveal at a higher fee was handed over",
    };
    let refused = job.refused_at(view.tip);
    let (action, hold) = match send(index, generation, seen, view) {
        Some(action) if refused.is_none() => (Some(action), None),
        _ if job.bump_is_barred_at(view.tip) => (None, refused.cloned()),
        _ => match bump(job, index, generation, seen, view, config) {
            Some(Ok(action)) => (Some(action), None),
            Some(Err(hold)) => (None, Some(refused.cloned().unwrap_or(hold))),
            None => (None, refused.cloned().or_else(|| conflict(seen))),
        },
    };
    let hold = hold.or_else(|| unswept(job, view, is_in_the_way).cloned());
    Decision { hold, action, ..Decision::rest(state, reason) }
}

/// Whether a sweep has taken the reveal's place in the pool, as when the batch had lost. It pays as much for far
/// less, so no reveal takes its place in turn: a batch that is wanted again needs another commit.
fn is_being_swept(generation: &Generation, seen: &GenerationView) -> bool {
    generation.sweeps.iter().any(|sweep| seen.output.is(sweep.transaction.compute_txid()))
}

/// Whether nobody has seen a signed commit, and none of its reveals would bring it into the pool: another costs
/// nothing.
fn is_outpriced(generation: &Generation, seen: &GenerationView, fees: &Fees) -> bool {
    let is_unseen = generation.commit_sent.is_none() && seen.commit == Place::Nowhere;
    is_unseen && generation.is_signed() && generation.entering(false, fees.min_pool).is_none()
}

/// What is to be handed over at this tip.
fn send(index: usize, generation: &Generation, seen: &GenerationView, view: &View) -> Option<Action> {
    let first = || {
        let entering = generation.entering(seen.commit != Place::Nowhere, view.fees.min_pool);
        entering.or_else(|| generation.attempts.iter().position(|attempt| attempt.is_signed()))
    };
    if generation.commit_sent.is_none() && !seen.commit.is_mined() {
        return Some(Action::SendCommit { generation: index, attempt: first()? });
    }
    if generation.latest_sent().is_none() {
        return Some(Action::SendReveal { generation: index, attempt: first()? });
    }
    (generation.broadcast != Some(view.tip.hash)).then_some(Action::Rebroadcast { generation: index })
}

fn conflict(seen: &GenerationView) -> Option<Hold> {
    match seen.inputs {
        _ if seen.commit != Place::Nowhere => None,
        Inputs::Unconfirmed(outpoint) => Some(Hold::InputUnconfirmed(outpoint)),
        Inputs::SpentInPool(outpoint, txid) => Some(Hold::InputConflict { outpoint, txid }),
        _ => None,
    }
}

/// The next replacement of the reveal, if one is due: on demand, by the schedule, or because the pool let the reveal
/// go.
fn bump(
    job: &Job,
    index: usize,
    generation: &Generation,
    seen: &GenerationView,
    view: &View,
    config: &Config,
) -> Option<Result<Action, Hold>> {
    let latest = generation.latest_sent();
    let (position, attempt) = match latest {
        Some(latest) => latest,
        // The commit went out, and the pool takes no reveal that is signed.
        None => generation.attempts.iter().enumerate().find(|(_, attempt)| attempt.is_signed())?,
    };
    // What the coins are spent for instead, no fee of the reveal changes.
    if seen.commit == Place::Nowhere && seen.inputs != Inputs::Good {
        return None;
    }
    let evicted_fee_sat = match seen.output {
        Spender::Pool { evicted_fee_sat, .. } => evicted_fee_sat,
        _ => 0,
    };
    let package = generation.package(seen.commit.is_mined(), evicted_fee_sat)?;
    let since = job.waits_since(latest.and_then(|(_, latest)| latest.sent), view.tip.height);
    let is_late = seen.commit != Place::Nowhere
        && since.is_some_and(|since| view.tip.height.saturating_sub(since) >= config.bump_every_blocks);
    let is_evicted = seen.attempts.get(position) == Some(&Place::Nowhere)
        && !generation.enters(attempt, seen.commit != Place::Nowhere, view.fees.min_pool);
    let wanted = job.bump.and_then(|order| FeeRate::from_sat_per_kvb(order.sat_per_kvb?).ok());
    // What is paid already is no more to be raised to.
    let is_ordered = job.bump.is_some() && wanted.is_none_or(|wanted| wanted > package.rate());
    if !(is_late || is_evicted || is_ordered) {
        return None;
    }
    let range = view.fees.bump(&package, config, wanted);
    Some(range.map(|range| Action::Bump { generation: index, range }))
}

/// Given up: take back what the commits lock, and send nothing else.
fn abandoned(job: &Job, view: &View, config: &Config) -> Decision {
    let is_resolved = leftovers(job, view).next().is_none();
    let was_sent = job.generations.iter().any(|generation| generation.commit_sent.is_some());
    let (state, reason) = match (is_resolved, was_sent) {
        (true, true) => (JobState::Swept, "nothing is left to recover"),
        (true, false) => (JobState::Abandoned, "given up before anything was sent"),
        _ => (JobState::Abandoned, "given up; what the commit locks is taken back"),
    };
    // What others have seen may come back, so it is watched until another anchor of this number is final.
    let is_closed = is_resolved && !was_sent;
    // At once, from under a reveal that waits as well as where only the commit does: the next block would anchor the
    // batch.
    Decision { is_closed, ..Decision::rest(state, reason) }.with_sweep(job, view, config, |_, _| true)
}

/// The generations that may still lock coins.
fn leftovers<'a>(job: &'a Job, view: &'a View) -> impl Iterator<Item = (usize, &'a Generation, &'a GenerationView)> {
    let all = job.generations.iter().zip(&view.generations).enumerate();
    all.filter(|(_, (generation, seen))| !seen.is_resolved(generation))
        .map(|(index, (generation, seen))| (index, generation, seen))
}

/// What the sweeps that are due wait for.
fn unswept<'a>(job: &'a Job, view: &View, is_due: impl Fn(&Generation, &GenerationView) -> bool) -> Option<&'a Hold> {
    let is_any_due = || leftovers(job, view).any(|(_, generation, seen)| is_due(generation, seen));
    job.sweep_refused_at(view.tip).filter(|_| is_any_due())
}

/// Whether a commit is to be swept when its batch is safe without it.
fn is_left_over(generation: &Generation, seen: &GenerationView) -> bool {
    seen.commit.is_mined() || is_waiting_in_vain(generation, seen)
}

/// Whether a reveal of ours waits in the pool, or a sweep that has taken its place; for a batch that has lost. The
/// sweep pays what the reveal would have paid, and a little more, and brings the coins back a block later, with the
/// commit if that waits, too.
fn is_waiting_in_vain(generation: &Generation, seen: &GenerationView) -> bool {
    let Spender::Pool { txid, .. } = seen.output else { return !generation.sweeps.is_empty() };
    let is_own = |attempt: &Attempt| attempt.transaction.compute_txid() == txid;
    !generation.sweeps.is_empty() || generation.attempts.iter().any(is_own)
}

/// The next sweep of a commit, or its replacement, or its repetition at a new tip.
fn sweep(
    job: &Job,
    view: &View,
    config: &Config,
    is_due: impl Fn(&Generation, &GenerationView) -> bool,
) -> Option<Action> {
    if job.sweep_refused_at(view.tip).is_some() {
        return None;
    }
    let due = leftovers(job, view).filter(|(_, generation, seen)| is_due(generation, seen));
    due.filter(|(_, _, seen)| seen.commit != Place::Nowhere).find_map(|(index, generation, seen)| {
        let script = generation.attempts.first()?.transaction.output[1].script_pubkey.clone();
        let dust = script.minimal_non_dust().to_sat();
        let vsize_vb = crate::anchor::sweep_weight(script).to_wu().div_ceil(4);
        let value_sat = generation.locked().to_sat().saturating_sub(dust);
        let (evicted, own_waits) = match seen.output {
            Spender::Pool { txid, evicted_fee_sat } => {
                let own = generation.sweeps.iter().any(|sweep| sweep.transaction.compute_txid() == txid);
                (Some(evicted_fee_sat), own)
            }
            _ => (None, false),
        };
        let last = generation.sweeps.last();
        let is_late = last.is_some_and(|last| view.tip.height.saturating_sub(last.sent) >= config.bump_every_blocks);
        let fee_sat = view.fees.sweep(config, vsize_vb, evicted, value_sat);
        // One that was stored and not sent, because the process ended between, is as good as a new one.
        let is_enough = |last: &Sweep| evicted.is_none() || fee_sat.is_some_and(|fee_sat| last.fee_sat >= fee_sat);
        match last {
            Some(last) if !is_late && (own_waits || is_enough(last)) => {
                let action = Action::ResendSweep { generation: index };
                (generation.broadcast != Some(view.tip.hash)).then_some(action)
            }
            _ => Some(Action::Sweep { generation: index, fee_sat: fee_sat? }),
        }
    })
}
