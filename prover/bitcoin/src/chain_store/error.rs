//! Why a chain store cannot do what it is asked.

use std::{
    io,
    path::{Path, PathBuf},
};
use taproof_base::store_errors;
use taproof_verifier::{follow::CheckpointError, headers::BlockId};

/// Why a chain store cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainStoreError {
    /// Another process has had it open for a while, or has just made it.
    #[error("another process has {} open", .0.display())]
    AlreadyOpen(PathBuf),
    /// The file is something else.
    #[error("{} is no store of a chain", .0.display())]
    NotAStore(PathBuf),
    /// The file is of another format.
    #[error("the chain store is of version {found}, where this release reads version {expected}")]
    Version {
        /// The version that this release reads.
        expected: u32,
        /// The file's version.
        found: u32,
    },
    /// The file is of another rollup, or of one who sees the chain otherwise.
    #[error("{} was written for another rollup, or by a follower that sees more or less of the chain", .0.display())]
    WrongRollup(PathBuf),
    /// The file was truncated or altered. All of it can be had again from Bitcoin.
    #[error("the chain store is damaged: {0}")]
    Corrupted(String),
    /// The checkpoint in the file does not decode.
    #[error("the checkpoint in the chain store: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The source follows a branch that leaves the stored chain below its final block, with no more work than that.
    #[error(
        "the node's chain leaves the stored one after height {fork_height} and has no more work; {stored} is final"
    )]
    LessWork {
        /// The stored final block.
        stored: BlockId,
        /// The last block that both have.
        fork_height: u32,
    },
    /// The disk, or what this process may use of it, is full.
    #[error("the disk is full")]
    DiskFull(#[source] io::Error),
    /// This process may not write the file.
    #[error("{} may not be opened for writing", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk fails otherwise.
    #[error("the chain store cannot be read or written")]
    Io(#[source] io::Error),
    /// The store fails otherwise.
    #[error("the chain store")]
    Store(#[source] Box<redb::Error>),
}

impl ChainStoreError {
    /// Whether trying again later may help with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::AlreadyOpen(_))
    }

    /// Names the file where that was not known.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::NotAStore(_) => Self::NotAStore(path.to_owned()),
            other => other,
        }
    }
}

store_errors!(ChainStoreError: AlreadyOpen, NotAStore);
