//! The whole journey in one process: real payments in, a verified root on an embedded Bitcoin chain out.
//!
//! Payments of a Bitcoin block become deposits and transactions; these are applied, cut into chunks and proven in
//! parallel; the batch is anchored by a commit and a reveal on a regtest chain that checks every spend; the verifier
//! follows that chain; and the state is rebuilt from the chain alone. Nothing is made up on the way: the verifier is
//! given the rollup's parameters, the program and blocks.

mod report;
mod rollup;

pub use report::{ChunkFigures, DemoReport, Seconds};
pub use rollup::Anchored;

use bitcoin::Network;
use rollup::DemoChain;
use std::{io, num::NonZeroUsize, path::PathBuf, time::Instant};
use taproof_base::progress::Progress;
use taproof_bitcoin::{
    anchor::{AnchorError, FeeRate},
    follow::FollowError,
    node::{MineError, NodeError},
    regtest::{BlockError as ChainError, RegtestChain},
};
use taproof_circuits::{
    state::{Batch, Slots, TransitionError},
    step::Machines,
};
use taproof_kernel::{
    key_ring::{self, KeyRing, KeyRingError},
    prove::{ProveError, prove_batch},
    proven::Proven,
    setup::{Randomness, SetupOptions},
};
use taproof_rollup::{
    ledger::LedgerError,
    rebuild::{RebuildError, rebuild},
    sequencer::{MadeBatch, Sequencer, SequencerError, Terms},
    workload::{BlockError, BlockPayments, PlanError, PlanParameters, Workload},
};
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth},
    follow::{Params, RuleError, VerifiedBatch},
    payload::PayloadError,
    program::{Program, ProgramError},
};
use taproof_wallet::{Phrase, WalletError};
use zeroize::Zeroizing;

/// What the demo does.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The most payments of the block that are made.
    pub payments_max: usize,
    /// How many accounts withdraw afterwards.
    pub withdrawals_max: usize,
    /// The fee of every transaction on the rollup.
    pub fee_sat: u64,
    /// The depth of the tree.
    pub depth: Depth,
    /// The slots of each kind's circuits.
    pub slots: Slots,
    /// The folder of the keys, which are made if they are not there.
    pub keys: PathBuf,
    /// The rate of fees on Bitcoin.
    pub fee_rate: FeeRate,
    /// How many chunks are proven at a time.
    pub proofs_at_once: NonZeroUsize,
}

/// The rollup that the demo leaves, with all that a data directory holds of one.
#[derive(Debug)]
pub struct DemoRollup {
    /// The words of the wallet that deposited and posted.
    pub phrase: Phrase,
    /// The rollup's parameters.
    pub params: Params,
    /// The program.
    pub program: Program,
    /// The embedded chain.
    pub chain: RegtestChain,
    /// The batch as it was made, proven and anchored.
    pub anchored: Anchored,
    /// The batch as the verifier found it.
    pub verified: VerifiedBatch,
}

/// Watches the demo's stages.
pub trait Observer {
    /// A stage begins; its progress, if it has any, is reported to what this gives.
    fn begin(&self, stage: &str) -> Box<dyn Progress>;

    /// A key that was there is unusable, and another is made.
    fn found_unusable(&self, fault: KeyRingError);
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The block has no payments, or none were asked for.
    #[error("there are no payments to make")]
    NoPayments,
    /// The payments.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The keys make no program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The embedded chain cannot mine as many coins as the payments need.
    #[error("the payments take {needed_sat} sat, and a regtest chain mines no more than about {mined_sat} sat")]
    TooMuchMoney {
        /// Deposits and fees.
        needed_sat: u128,
        /// What was mined.
        mined_sat: u64,
    },
    /// The embedded chain refuses a block.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The embedded chain refuses a block.
    #[error(transparent)]
    Mine(#[from] MineError),
    /// The embedded chain refuses a transaction.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Following the chain.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The ledger, which is kept in a scratch folder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no scratch folder.
    #[error("no scratch folder for the ledger")]
    Scratch(#[source] io::Error),
    /// The batch is not made.
    #[error(transparent)]
    Sequencer(#[from] SequencerError),
    /// A transaction of the plan is refused.
    #[error("transaction {position} of the plan is refused: {reason}")]
    Rejected {
        /// Its position.
        position: usize,
        /// Why.
        reason: TransitionError,
    },
    /// The batch has no room for all deposits and transactions.
    #[error("one batch has no room for all deposits and transactions")]
    BatchFull,
    /// A chunk is not proven.
    #[error("chunk {chunk} is not proven")]
    Prove {
        /// The chunk, from 0.
        chunk: usize,
        /// Why.
        source: ProveError,
    },
    /// The payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The deposits or the anchor are not built.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The verifier ignores the anchor.
    #[error("the verifier ignores the anchor: {0}")]
    Ignored(RuleError),
    /// The verifier does not find the anchor.
    #[error("the verifier found no anchor in the blocks")]
    NotFound,
    /// The state is not rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

impl DemoOptions {
    fn plan_parameters(&self, chain_id: ChainId) -> PlanParameters {
        PlanParameters {
            chain_id,
            depth: self.depth,
            fee_sat: self.fee_sat,
            seed: Zeroizing::new(blake3::derive_key("taproof v1 demo", b"holders")),
            withdrawals_max: self.withdrawals_max,
            // The demo's rollup has no least amount, so that every payment of the block is made.
            opening_min_sat: 0,
        }
    }
}

/// Runs the demo over a consensus-encoded block, and gives what it measured and the rollup that it leaves.
///
/// # Errors
/// Each of [`DemoError`].
pub fn run(
    block: &[u8],
    options: &DemoOptions,
    observer: &dyn Observer,
) -> Result<(DemoReport, DemoRollup), DemoError> {
    let started = Instant::now();
    let mut seconds = Seconds::default();
    observer.begin("reading the block");
    let payments = BlockPayments::from_block(block, options.payments_max)?;
    if payments.payments().is_empty() {
        return Err(DemoError::NoPayments);
    }

    let ring = timed(&mut seconds.keys, || open_keys(options, observer))?;
    let (phrase, program) = (Phrase::generate()?, ring.program(&Machines::default())?);
    let params = rollup::params(&phrase, &program, options)?;
    observer.begin("signing transactions");
    let workload = payments.plan(&options.plan_parameters(params.chain_id()))?;
    let progress = observer.begin("mining coins, depositing");
    let mut rollup =
        timed(&mut seconds.chain, || DemoChain::found(&phrase, program, params, &workload, options, &*progress))?;
    drop(progress);

    observer.begin("applying transactions");
    let made = timed(&mut seconds.apply, || make_batch(&mut rollup, &workload))?;
    let batch = made.applied.batch;
    let progress = observer.begin("proving chunks");
    let proven = timed(&mut seconds.prove, || prove(&batch, &ring, options, &*progress))?;
    drop(progress);

    observer.begin("anchoring: commit and reveal");
    let anchored = timed(&mut seconds.anchor, || rollup.anchor(made.applied.number, &proven, options))?;
    observer.begin("following the chain");
    let verified = timed(&mut seconds.follow, || rollup.follow())?;
    observer.begin("rebuilding the state from the chain alone");
    let rebuilt = timed(&mut seconds.rebuild, || {
        let (params, programs) = (rollup.follower.params().clone(), rollup.follower.programs().clone());
        rebuild(&rollup.node, params, programs, &Machines::default(), |_| ()).map_err(DemoError::from)
    })?
    .1;
    seconds.total = started.elapsed().as_secs_f64();
    let report = report::Journey {
        options,
        payments: &payments,
        workload: &workload,
        ring: &ring,
        state: rollup.ledger.state(),
        batch: &batch,
        anchor: &anchored.anchor,
        deposits_vsize_vb: rollup.deposits_vsize_vb,
        verified: &verified,
        rebuilt: &rebuilt,
        seconds,
        all_payments: BlockPayments::from_block(block, usize::MAX)?,
    }
    .report();
    let params = rollup.follower.params().clone();
    let program = rollup.follower.program_at(params.start.height).expect("it was founded with it").clone();
    let chain = rollup.node.chain().clone();
    Ok((report, DemoRollup { phrase, params, program, chain, anchored, verified }))
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> Result<T, DemoError>) -> Result<T, DemoError> {
    let started = Instant::now();
    let result = work();
    *seconds = started.elapsed().as_secs_f64();
    result
}

fn open_keys(options: &DemoOptions, observer: &dyn Observer) -> Result<KeyRing, DemoError> {
    let circuits = key_ring::circuits(&Machines::default(), options.depth, &options.slots);
    let setup =
        SetupOptions { network: Network::Regtest, allow_outside_test_networks: false, randomness: Randomness::Os };
    observer.begin("opening keys");
    let ring = KeyRing::open_or_make(&Machines::default(), &options.keys, &circuits, &setup, |circuit, fault| {
        fault.into_iter().for_each(|fault| observer.found_unusable(fault));
        observer.begin(&format!("making the key of {circuit}"))
    })?;
    Ok(ring)
}

/// Makes the one batch of the demo, which has to hold all deposits and transactions.
fn make_batch(rollup: &mut DemoChain, workload: &Workload) -> Result<MadeBatch, DemoError> {
    let terms = Terms {
        reference_depth_blocks: Some(1),
        depth_min: None,
        chunks_max: usize::MAX,
        admission: Default::default(),
    };
    let mut sequencer = Sequencer::new(&mut rollup.ledger, &rollup.follower)?;
    let mut draft = sequencer.draft(&terms)?;
    draft.pay_fees_to(CellIndex::default());
    let made = sequencer.make(&draft, &workload.transactions).map_err(|error| match error {
        SequencerError::Ledger(LedgerError::DepositsDoNotFit { .. } | LedgerError::DueDoesNotFit(_)) => {
            DemoError::BatchFull
        }
        other => other.into(),
    })?;
    let batch = &made.applied.batch;
    if let Some(rejected) = batch.rejected.first() {
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
    let (machines, at_once) = (Machines::default(), options.proofs_at_once);
    let results = prove_batch(&machines, &batch.chunks, |circuit| ring.key(circuit), at_once, &|_| (), progress);
    let prove_error = |(chunk, result): (usize, Result<Proven, ProveError>)| {
        result.map_err(|source| DemoError::Prove { chunk, source })
    };
    results.into_iter().enumerate().map(prove_error).collect()
}
