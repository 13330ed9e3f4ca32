//! What goes wrong with a store's file, sorted once for every store.

use crate::io_fault::{is_denied, is_full};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What goes wrong with a store's [redb] file. The error of each store wraps it, and says which store it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open for longer than a moment, or has just made it.
    #[error("another process has {} open", .0.display())]
    Busy(PathBuf),
    /// It is something else: refused for its first bytes, because it ends too early, or because its tables are others.
    #[error("{} is another kind of file", .0.display())]
    NotAStore(PathBuf),
    /// It is of another format.
    #[error("the file is of version {found}, where this release reads version {expected}")]
    Version {
        /// The version that this release reads.
        expected: u32,
        /// The file's version.
        found: u32,
    },
    /// It was truncated or altered.
    #[error("the file is damaged: {0}")]
    Corrupted(String),
    /// The disk, or what this process may use of it, is full.
    #[error("the disk is full")]
    DiskFull(#[source] io::Error),
    /// This process may not write it.
    #[error("{} may not be opened for writing", path.display())]
    Denied {
        /// The file; empty where it was open already.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk fails otherwise.
    #[error("the file cannot be read or written")]
    Io(#[source] io::Error),
    /// Anything else.
    #[error("the file cannot be used")]
    Other(#[source] Box<redb::Error>),
}

impl StoreError {
    /// What was read is not what was written.
    pub fn corrupted(what: impl ToString) -> Self {
        Self::Corrupted(what.to_string())
    }

    /// Sorts an error of the system about a file.
    pub fn from_io(error: io::Error, path: &Path) -> Self {
        match error {
            error if is_full(&error) => Self::DiskFull(error),
            error if is_denied(&error) => Self::Denied { path: path.to_owned(), source: error },
            error => Self::Io(error),
        }
    }

    /// Sorts an error of opening a file.
    pub fn from_opening(error: redb::DatabaseError, path: &Path) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Busy(path.to_owned()),
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::NotAStore(path.to_owned())
            }
            error => Self::from_redb(error.into(), path),
        }
    }

    fn from_redb(error: redb::Error, path: &Path) -> Self {
        match error {
            redb::Error::Io(error) => Self::from_io(error, path),
            redb::Error::Corrupted(what) => Self::Corrupted(what),
            redb::Error::UpgradeRequired(version) => {
                Self::Corrupted(format!("the store is of foreign version {version}"))
            }
            redb::Error::RepairAborted => Self::corrupted("it cannot be repaired"),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Self::corrupted(error),
            error => Self::Other(Box::new(error)),
        }
    }

    /// Whether the file is unfit: something else, of another version, or damaged.
    pub fn is_unfit(&self) -> bool {
        matches!(self, Self::NotAStore(_) | Self::Version { .. } | Self::Corrupted(_))
    }

    /// Whether the same may work later with nothing changed here: another process has the file, or the disk is full.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::DiskFull(_))
    }
}

/// An error of a file that is open: of its transactions and tables.
impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::from_redb(error.into(), Path::new(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{DatabaseError, StorageError};

    #[test]
    fn what_goes_wrong_is_sorted_by_what_it_asks_for() {
        let path = Path::new("/a/store");
        let io = |kind: io::ErrorKind| StorageError::Io(kind.into());
        let opening = |error: DatabaseError| StoreError::from_opening(error, path);
        let busy = opening(DatabaseError::DatabaseAlreadyOpen);
        assert!(matches!(&busy, StoreError::Busy(found) if found == path) && busy.is_transient() && !busy.is_unfit());
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
            let other = opening(io(kind).into());
            assert!(matches!(&other, StoreError::NotAStore(found) if found == path) && other.is_unfit());
            // Of a file that is open, the disk says it.
            assert!(matches!(StoreError::from(io(kind)), StoreError::Io(_)));
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge, io::ErrorKind::QuotaExceeded] {
            for full in [opening(io(kind).into()), StoreError::from(io(kind)), StoreError::from_io(kind.into(), path)] {
                assert!(matches!(full, StoreError::DiskFull(_)) && full.is_transient() && !full.is_unfit());
            }
        }
        let denied = opening(io(io::ErrorKind::ReadOnlyFilesystem).into());
        assert!(matches!(&denied, StoreError::Denied { path: found, .. } if found == path) && !denied.is_transient());
        let damaged = [
            StorageError::Corrupted("a page".into()).into(),
            redb::TableError::TableDoesNotExist("head".into()).into(),
            DatabaseError::RepairAborted.into(),
        ];
        for damaged in damaged.map(|error: redb::Error| StoreError::from(error)) {
            assert!(matches!(damaged, StoreError::Corrupted(_)) && damaged.is_unfit() && !damaged.is_transient());
        }
    }
}
