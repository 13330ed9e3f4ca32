//! Why the service or its store cannot go on.

use super::{ConfigError, Hold};
use crate::{
    anchor::AnchorError,
    coins::{Busy, CoinStoreError},
    follow::FollowError,
    node::NodeError,
};
use std::{io, path::PathBuf};
use taproof_base::store_error::StoreError;
use taproof_verifier::payload::PayloadError;

/// Why the store cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorStoreError {
    /// The file is of another rollup, network or poster.
    #[error("the store of anchors is of another {0}")]
    Foreign(&'static str),
    /// The file.
    #[error("the store of anchors: {0}")]
    Store(#[from] StoreError),
}

impl AnchorStoreError {
    /// Whether the same may work later with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// Why the service stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// It was told to, between two steps.
    #[error("stopped between two steps")]
    Stopped,
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The chain cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The store.
    #[error(transparent)]
    Store(#[from] AnchorStoreError),
    /// The store of coins.
    #[error(transparent)]
    Coins(#[from] CoinStoreError),
    /// A payload cannot be encoded.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A transaction cannot be built for another reason than coins.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// There is no job for that batch.
    #[error("batch {0} has no anchor here")]
    NoSuchBatch(u64),
    /// Another service runs on the same data.
    #[error("another service has {} locked", .0.display())]
    Locked(PathBuf),
    /// The lock file cannot be made.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Decisions do not settle at one tip, which is a mistake of ours.
    #[error("batch {batch} took {steps} steps at one tip")]
    Unsettled {
        /// The batch.
        batch: u64,
        /// The steps.
        steps: usize,
    },
}

impl ServiceError {
    /// Whether the same may work later with nothing changed here: a service waits for what a node says or fails to
    /// say today.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Node(error) | Self::Follow(FollowError::Node(error)) => error.may_pass(),
            Self::Follow(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Coins(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// An error of building, as what stands in the way, with the coins that are not free.
pub(super) fn hold_of(error: &AnchorError, busy: Vec<Busy>) -> Hold {
    match error {
        AnchorError::InsufficientFunds { needed_sat, available_sat } => {
            Hold::NoCoins { needed_sat: *needed_sat, available_sat: *available_sat, busy }
        }
        error => Hold::NotBuilt(error.to_string()),
    }
}
