//! Why a chain store cannot do what it is asked.

use std::{
    io,
    path::{Path, PathBuf},
};
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

    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(error)
            }
            _ => Self::Io(error),
        }
    }

    /// Sorts an error of opening a file.
    pub(super) fn from_redb(error: redb::DatabaseError, path: &Path) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::AlreadyOpen(path.to_owned()),
            redb::DatabaseError::Storage(redb::StorageError::Io(error)) if is_foreign(&error) => {
                Self::NotAStore(path.to_owned())
            }
            error => redb::Error::from(error).into(),
        }
    }

    /// Names the file where that was not known.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::NotAStore(_) => Self::NotAStore(path.to_owned()),
            other => other,
        }
    }
}

/// Whether the store refused a file for its first bytes, or because it ends too early.
fn is_foreign(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

impl From<redb::Error> for ChainStoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::from_io(error),
            redb::Error::Corrupted(what) => Self::Corrupted(what),
            redb::Error::UpgradeRequired(version) => {
                Self::Corrupted(format!("the store is of foreign version {version}"))
            }
            redb::Error::RepairAborted => Self::Corrupted("it cannot be repaired".into()),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Self::Corrupted(error.to_string()),
            error => Self::Store(Box::new(error)),
        }
    }
}

macro_rules! from_store_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for ChainStoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_store_errors!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
