//! The whole journey in one process: real payments in, a verified root on an embedded Bitcoin chain out.
//!
//! Payments of a Bitcoin block become deposits and transactions; these are applied, cut into chunks and proven in
//! parallel; the batch is anchored by a commit and a reveal on a regtest chain that checks every spend; the verifier
//! follows that chain; and the state is rebuilt from the chain alone. Nothing is made up on the way: the verifier is
//! given the rollup's parameters, the program and blocks.
//!
//! [`run`] makes payments and no more, in one batch. [`defi`] goes on from there, a batch an act.

pub mod defi;
mod report;
mod rollup;
mod stage;

pub use report::{ChunkFigures, DemoReport, RunFigures, Seconds};
pub use rollup::Anchored;

use stage::Stage;
use std::{io, num::NonZeroUsize, path::PathBuf};
use taproof_base::progress::Progress;
use taproof_bitcoin::{
    anchor::{AnchorError, FeeRate},
    follow::FollowError,
    node::{MineError, NodeError},
    regtest::{BlockError as ChainError, RegtestChain},
};
use taproof_circuits::{
    chunk::NoCircuitError,
    state::{Slots, TransitionError},
    step::Machines,
};
use taproof_kernel::{key_ring::KeyRingError, prove::ProveError};
use taproof_rollup::{
    ledger::LedgerError,
    rebuild::RebuildError,
    sequencer::SequencerError,
    workload::{BlockError, BlockPayments, PlanError, PlanParameters, market::MarketError},
};
use taproof_verifier::{
    cell::{ChainId, Depth},
    follow::{Params, RuleError, VerifiedBatch},
    payload::PayloadError,
    program::{Program, ProgramError},
};
use taproof_wallet::{Phrase, WalletError};
use zeroize::Zeroizing;

/// What the demo does.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The machines whose steps are known.
    pub machines: Machines,
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
    /// The batches in their order.
    pub batches: Vec<DemoBatch>,
}

/// A batch that the demo leaves.
#[derive(Debug)]
pub struct DemoBatch {
    /// As it was made, proven and anchored.
    pub anchored: Anchored,
    /// As the verifier found it.
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
    /// The block funds too few traders, or the tree has no room for their market.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// No operations of steps are known.
    #[error("no operations of steps are known here, so there are no tokens and no orders")]
    NoOperations,
    /// There is no circuit of that size.
    #[error(transparent)]
    NoCircuit(#[from] NoCircuitError),
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
    fn plan_parameters(&self, chain_id: ChainId, withdrawals_max: usize) -> PlanParameters {
        PlanParameters {
            chain_id,
            depth: self.depth,
            fee_sat: self.fee_sat,
            seed: Zeroizing::new(blake3::derive_key("taproof v1 demo", b"holders")),
            withdrawals_max,
            // The demo's rollup has no least amount, so that every payment of the block is made.
            opening_min_sat: 0,
        }
    }
}

/// Runs the demo over the first payments of a consensus-encoded block, and gives what it measured and the rollup that
/// it leaves.
///
/// # Errors
/// Each of [`DemoError`].
pub fn run(
    block: &[u8],
    payments_max: usize,
    options: &DemoOptions,
    observer: &dyn Observer,
) -> Result<(DemoReport, DemoRollup), DemoError> {
    observer.begin("reading the block");
    let payments = BlockPayments::from_block(block, payments_max)?;
    let (mut stage, workload) = Stage::open(&payments, options.withdrawals_max, options, observer)?;
    stage.play_whole(&workload.transactions)?;
    let figures = stage.finish(&payments, &workload)?;
    let all_payments = BlockPayments::from_block(block, usize::MAX)?;
    let batch = &stage.acts()[0].batch;
    let report = report::of_payments(figures, options, (&payments, &all_payments), &workload, batch, stage.rebuilt());
    Ok((report, stage.into_rollup()))
}
