//! One service a data directory: two with the same key would only race each other.

use super::ServiceError;
use std::{
    fs::{File, TryLockError},
    path::Path,
};
use taproof_base::private;

/// The lock of a running service. The system lets it go when the process ends, however it ends.
#[derive(Debug)]
pub struct ServiceLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl ServiceLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`ServiceError::Locked`] if another process has it; [`ServiceError::Lock`].
    pub fn take(path: &Path) -> Result<Self, ServiceError> {
        let error = |source| ServiceError::Lock { path: path.to_owned(), source };
        let file = private::open_lock(path).map_err(error)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(ServiceError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }
}
