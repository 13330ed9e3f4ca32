//! What goes wrong with a [redb] file, sorted once for every store.

use crate::io_fault::{is_denied, is_full};
use std::io;

/// What goes wrong with a [redb] file.
#[derive(Debug)]
pub enum StoreFault {
    /// Another process has it open.
    AlreadyOpen,
    /// It is something else: refused for its first bytes, or because it ends too early.
    Foreign,
    /// It was truncated or altered.
    Corrupted(String),
    /// The disk, or what this process may use of it, is full.
    DiskFull(io::Error),
    /// This process may not write it.
    Denied(io::Error),
    /// The disk fails otherwise.
    Io(io::Error),
    /// Anything else.
    Other(Box<redb::Error>),
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> Self {
        match error {
            error if is_full(&error) => Self::DiskFull(error),
            error if is_denied(&error) => Self::Denied(error),
            error => Self::Io(error),
        }
    }
}

/// An error of opening a file.
impl From<redb::DatabaseError> for StoreFault {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::AlreadyOpen,
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Foreign
            }
            error => redb::Error::from(error).into(),
        }
    }
}

/// An error of an open file.
impl From<redb::Error> for StoreFault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Self::Corrupted(what),
            redb::Error::UpgradeRequired(version) => {
                Self::Corrupted(format!("the store is of foreign version {version}"))
            }
            redb::Error::RepairAborted => Self::Corrupted("it cannot be repaired".into()),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Self::Corrupted(error.to_string()),
            error => Self::Other(Box::new(error)),
        }
    }
}

/// Gives a store's error, which has the variants `Corrupted`, `DiskFull`, `Denied`, `Io` and `Store`, what it makes
/// of a file's faults: `from_io` and `from_redb` to sort errors, and `?` on those of transactions and tables.
#[macro_export]
macro_rules! store_errors {
    ($error:ident: $already_open:ident, $foreign:ident) => {
        impl $error {
            pub(super) fn from_io(error: std::io::Error, path: &std::path::Path) -> Self {
                Self::from_fault(error.into(), path)
            }

            /// Sorts an error of opening a file.
            pub(super) fn from_redb(error: redb::DatabaseError, path: &std::path::Path) -> Self {
                Self::from_fault(error.into(), path)
            }

            fn from_fault(fault: $crate::store_fault::StoreFault, path: &std::path::Path) -> Self {
                use $crate::store_fault::StoreFault;
                match fault {
                    StoreFault::AlreadyOpen => Self::$already_open(path.to_owned()),
                    StoreFault::Foreign => Self::$foreign(path.to_owned()),
                    StoreFault::Corrupted(what) => Self::Corrupted(what),
                    StoreFault::DiskFull(error) => Self::DiskFull(error),
                    StoreFault::Denied(source) => Self::Denied { path: path.to_owned(), source },
                    StoreFault::Io(error) => Self::Io(error),
                    StoreFault::Other(error) => Self::Store(error),
                }
            }
        }

        $crate::store_errors!(@from $error:
            redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
    };
    (@from $error:ident: $($cause:ty),*) => {$(
        impl From<$cause> for $error {
            fn from(error: $cause) -> Self {
                Self::from_fault(redb::Error::from(error).into(), std::path::Path::new(""))
            }
        }
    )*};
}
