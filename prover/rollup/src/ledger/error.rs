//! Why a ledger cannot do what it is asked.

use std::path::PathBuf;
use taproof_base::{artefact::ArtefactError, store_error::StoreError};
use taproof_circuits::state::{DepositsLeftOutError, ExitsLeftOutError, PlanError, ReplayError};
use taproof_verifier::{
    cell::{ChainId, Depth},
    exit::LeftOutError,
    payload::PayloadError,
};

/// Why a ledger cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// There is no such file.
    #[error("there is no ledger at {}", .0.display())]
    NotFound(PathBuf),
    /// A new ledger would replace a file.
    #[error("{} exists already", .0.display())]
    AlreadyExists(PathBuf),
    /// The file is of another rollup.
    #[error("the ledger is one of rollup {found}, not of rollup {expected}")]
    WrongChain {
        /// The rollup that was asked for.
        expected: ChainId,
        /// The ledger's.
        found: ChainId,
    },
    /// The file. The state can be rebuilt from Bitcoin.
    #[error("the ledger: {0}")]
    Store(#[from] StoreError),
    /// An earlier write failed, so the file may be as before or after it. Opening it again settles which.
    #[error("an earlier write failed: the ledger {} must be opened again", .0.display())]
    MustReopen(PathBuf),
    /// Too many transactions or deposits wait.
    #[error("at most {count_max} {what} may wait")]
    TooMany {
        /// What waits.
        what: &'static str,
        /// How many may.
        count_max: u64,
    },
    /// Deposits do not join those that are known.
    #[error("deposits from number {first} on, where {consumed} are consumed and {known} known")]
    DepositsApart {
        /// The number of the first one given.
        first: u64,
        /// How many are consumed.
        consumed: u64,
        /// How many are known.
        known: u64,
    },
    /// A batch must hold all deposits that are due, and these do not fit.
    #[error("not all deposits that are due fit into a batch: {why}")]
    DepositsDoNotFit {
        /// Why not.
        why: DepositsLeftOutError,
    },
    /// A batch must serve or refute all exit requests that are due, and these do not fit.
    #[error("not all exits that are due fit into a batch: {why}")]
    ExitsDoNotFit {
        /// Why not.
        why: ExitsLeftOutError,
    },
    /// What a batch must hold fits no payload, as where the program's circuits have very many slots.
    #[error("what the next batch must hold fits no payload: {0}")]
    DueDoesNotFit(PayloadError),
    /// A batch must serve or refute all requests that are due, and this one does not.
    #[error("the batch breaks the rule of requests: {0}")]
    RequestLeftOut(#[from] LeftOutError),
    /// A batch cannot refer to a block before that of the batch before.
    #[error("a batch that refers to height {found}, where the one before refers to {expected}")]
    ReferenceGoesBack {
        /// The height that the last batch refers to.
        expected: u32,
        /// The height that was asked for.
        found: u32,
    },
    /// What undoes a batch is no longer kept, because the batch is final.
    #[error("batch {0} is final and cannot be taken back")]
    Final(u64),
    /// A batch cannot be of a shallower tree.
    #[error("a batch of {} levels, where the tree has {}", found.levels(), expected.levels())]
    Depth {
        /// The tree's depth.
        expected: Depth,
        /// The depth that was asked for.
        found: Depth,
    },
    /// The plan does not suit the state.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no batch of that number.
    #[error("there is no batch {0}")]
    NoSuchBatch(u64),
    /// The batch is not the one that comes next.
    #[error("batch {found} comes where batch {expected} is next")]
    NotNext {
        /// The next batch.
        expected: u64,
        /// The batch that was given.
        found: u64,
    },
    /// The batch does not follow from the ledger's state.
    #[error("the batch does not follow from the ledger's state: {0}")]
    Replay(#[from] ReplayError),
    /// A stored artefact does not decode, or one is too long to be stored.
    #[error("a batch's artefact: {0}")]
    Artefact(#[from] ArtefactError),
}
