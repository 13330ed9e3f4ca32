//! What every demo does, whatever is played: keys, a chain with deposits, batch after batch that is made, proven,
//! anchored and followed, and the state rebuilt at the end.

use super::{
    Anchored, DemoBatch, DemoError, DemoOptions, DemoRollup, Observer,
    report::{self, Act, RunFigures, Seconds},
    rollup::{self, DemoChain},
};
use bitcoin::Network;
use std::{sync::Arc, time::Instant};
use taproof_base::progress::Progress;
use taproof_circuits::{
    state::{Batch, State, TransitionError},
    step::Machine,
    transaction::Transaction,
};
use taproof_kernel::{
    key_ring::{self, KeyRing},
    prove::{ProveError, prove_batch},
    proven::Proven,
    setup::{Randomness, SetupOptions},
};
use taproof_rollup::{
    ledger::LedgerError,
    rebuild::rebuild,
    sequencer::{MadeBatch, Sequencer, SequencerError, Terms},
    workload::{BlockPayments, PlanParameters, Workload},
};
use taproof_verifier::{cell::CellIndex, follow::VerifiedBatch};
use taproof_wallet::Phrase;

/// A demo that is being played.
pub(super) struct Stage<'a> {
    options: &'a DemoOptions,
    observer: &'a dyn Observer,
    started: Instant,
    seconds: Seconds,
    phrase: Phrase,
    parameters: PlanParameters,
    ring: KeyRing,
    rollup: DemoChain,
    acts: Vec<Act>,
    kept: Vec<(Anchored, VerifiedBatch)>,
    rebuilt: Option<State>,
}

/// Adds the time that some work takes.
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> Result<T, DemoError>) -> Result<T, DemoError> {
    let started = Instant::now();
    let result = work();
    *seconds += started.elapsed().as_secs_f64();
    result
}

impl<'a> Stage<'a> {
    /// Opens keys, founds a rollup, and deposits what the payments need; gives their plan, too.
    pub(super) fn open(
        payments: &BlockPayments,
        withdrawals_max: usize,
        options: &'a DemoOptions,
        observer: &'a dyn Observer,
    ) -> Result<(Self, Workload), DemoError> {
        let (started, mut seconds) = (Instant::now(), Seconds::default());
        if payments.payments().is_empty() {
            return Err(DemoError::NoPayments);
        }
        let ring = timed(&mut seconds.keys, || open_keys(options, observer))?;
        let (phrase, program) = (Phrase::generate()?, ring.program(&options.machines)?);
        let params = rollup::params(&phrase, &program, options)?;
        observer.begin("signing transactions");
        let parameters = options.plan_parameters(params.chain_id(), withdrawals_max);
        let workload = payments.plan(&parameters)?;
        let progress = observer.begin("mining coins, depositing");
        let rollup =
            timed(&mut seconds.chain, || DemoChain::found(&phrase, program, params, &workload, options, &*progress))?;
        let (acts, kept, rebuilt) = (Vec::new(), Vec::new(), None);
        Ok((
            Self { options, observer, started, seconds, phrase, parameters, ring, rollup, acts, kept, rebuilt },
            workload,
        ))
    }

    /// What the payments were planned with.
    pub(super) fn parameters(&self) -> &PlanParameters {
        &self.parameters
    }

    /// The machine of the rollup's steps.
    pub(super) fn machine(&self) -> Result<Arc<Machine>, DemoError> {
        self.options.machines.iter().next().cloned().ok_or(DemoError::NoOperations)
    }

    /// The state after what was played.
    pub(super) fn state(&self) -> &State {
        self.rollup.ledger.state()
    }

    /// The height that the next batch refers to.
    pub(super) fn height_blocks(&self) -> u32 {
        self.rollup.follower.scanned().height
    }

    /// What was played.
    pub(super) fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// The rows of each chunk of an act, padding slots included.
    pub(super) fn rows(&self, act: &Act) -> Vec<usize> {
        let chunks = act.batch.chunks.iter();
        chunks.map(|chunk| report::row_count(&self.ring, chunk.statement.circuit)).collect()
    }

    /// The state that was rebuilt from the chain.
    pub(super) fn rebuilt(&self) -> &State {
        self.rebuilt.as_ref().expect("the demo is at its end")
    }

    /// Makes a batch of all deposits that wait and these transactions, each of which must be in it, proves it, anchors
    /// it and follows the chain.
    pub(super) fn play_whole(&mut self, transactions: &[Transaction]) -> Result<(), DemoError> {
        self.play(transactions, |_| false)
    }

    /// As [`Stage::play_whole`], but transactions may be left out for these reasons.
    pub(super) fn play(
        &mut self,
        transactions: &[Transaction],
        may_be: impl Fn(&TransitionError) -> bool,
    ) -> Result<(), DemoError> {
        let Self { options, observer, seconds, ring, rollup, .. } = self;
        observer.begin("applying transactions");
        let made = timed(&mut seconds.apply, || make_batch(rollup, transactions, may_be))?;
        let (number, batch) = (made.applied.number, made.applied.batch);
        let progress = observer.begin("proving chunks");
        let proven = timed(&mut seconds.prove, || prove(&batch, ring, options, &*progress))?;
        drop(progress);
        observer.begin("anchoring: commit and reveal");
        let anchored = timed(&mut seconds.anchor, || rollup.anchor(number, &proven, options))?;
        observer.begin("following the chain");
        let verified = timed(&mut seconds.follow, || rollup.follow())?;
        self.acts.push(Act::new(batch, &anchored.anchor));
        self.kept.push((anchored, verified));
        Ok(())
    }

    /// Rebuilds the state from the chain alone, and sums up what was measured.
    pub(super) fn finish(&mut self, payments: &BlockPayments, workload: &Workload) -> Result<RunFigures, DemoError> {
        let Self { options, observer, seconds, rollup, .. } = self;
        observer.begin("rebuilding the state from the chain alone");
        let rebuilt = timed(&mut seconds.rebuild, || {
            let (params, programs) = (rollup.follower.params().clone(), rollup.follower.programs().clone());
            Ok(rebuild(&rollup.node, params, programs, &options.machines, |_| ())?.1)
        })?;
        self.seconds.total = self.started.elapsed().as_secs_f64();
        let verified = self.kept.last().ok_or(DemoError::NotFound)?.1.root();
        let roots = [self.state().root(), verified, rebuilt.root()];
        let figures = RunFigures {
            block: payments.block_hash().to_string(),
            deposits: workload.deposits.len(),
            deposits_vsize_vb: self.rollup.deposits_vsize_vb,
            fee_rate_sat_per_kvb: self.options.fee_rate.sat_per_kvb(),
            seconds: self.seconds,
            seconds_total: self.seconds.total,
            ..RunFigures::of(&self.acts, &self.ring, roots)
        };
        self.rebuilt = Some(rebuilt);
        Ok(figures)
    }

    /// The rollup that it leaves.
    pub(super) fn into_rollup(self) -> DemoRollup {
        let Self { phrase, rollup, kept, .. } = self;
        let params = rollup.follower.params().clone();
        let program = rollup.follower.program_at(params.start.height).expect("it was founded with it").clone();
        let chain = rollup.node.chain().clone();
        let batches = kept.into_iter().map(|(anchored, verified)| DemoBatch { anchored, verified }).collect();
        DemoRollup { phrase, params, program, chain, batches }
    }
}

fn open_keys(options: &DemoOptions, observer: &dyn Observer) -> Result<KeyRing, DemoError> {
    let circuits = key_ring::circuits(&options.machines, options.depth, &options.slots);
    let setup =
        SetupOptions { network: Network::Regtest, allow_outside_test_networks: false, randomness: Randomness::Os };
    observer.begin("opening keys");
    let ring = KeyRing::open_or_make(&options.machines, &options.keys, &circuits, &setup, |circuit, fault| {
        fault.into_iter().for_each(|fault| observer.found_unusable(fault));
        observer.begin(&format!("making the key of {circuit}"))
    })?;
    Ok(ring)
}

/// Makes a batch, which has to hold all deposits, and all transactions but those that may be left out.
fn make_batch(
    rollup: &mut DemoChain,
    transactions: &[Transaction],
    may_be: impl Fn(&TransitionError) -> bool,
) -> Result<MadeBatch, DemoError> {
    let terms = Terms {
        reference_depth_blocks: Some(1),
        depth_min: None,
        chunks_max: usize::MAX,
        admission: Default::default(),
    };
    let mut sequencer = Sequencer::new(&mut rollup.ledger, &rollup.follower)?;
    let mut draft = sequencer.draft(&terms, transactions)?;
    draft.pay_fees_to(CellIndex::default());
    let made = sequencer.make(&draft, transactions).map_err(|error| match error {
        SequencerError::Ledger(LedgerError::DepositsDoNotFit { .. } | LedgerError::DueDoesNotFit(_)) => {
            DemoError::BatchFull
        }
        other => other.into(),
    })?;
    let batch = &made.applied.batch;
    if let Some(rejected) = batch.rejected.iter().find(|rejected| !may_be(&rejected.reason)) {
        return Err(DemoError::Rejected { position: rejected.position, reason: rejected.reason });
    }
    if !batch.left_over.is_empty() || made.deposits_waiting > 0 {
        return Err(DemoError::BatchFull);
    }
    Ok(made)
}

fn prove(
    batch: &Batch,
    ring: &KeyRing,
    options: &DemoOptions,
    progress: &dyn Progress,
) -> Result<Vec<Proven>, DemoError> {
    let at_once = options.proofs_at_once;
    let results =
        prove_batch(&options.machines, &batch.chunks, |circuit| ring.key(circuit), at_once, &|_| (), progress);
    let prove_error = |(chunk, result): (usize, Result<Proven, ProveError>)| {
        result.map_err(|source| DemoError::Prove { chunk, source })
    };
    results.into_iter().enumerate().map(prove_error).collect()
}
