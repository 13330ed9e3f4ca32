//! Where proven batches come from.

use crate::proven_batch::ProvenBatch;
use std::{fs, io, path::PathBuf};
use taproof_base::artefact::{self, FileError};

/// The batches that are proven.
pub trait BatchSource {
    /// A batch, if it is proven.
    ///
    /// # Errors
    /// [`FileError`], where there is something and it cannot be read. The batch waits until it can.
    fn proven(&self, batch: u64) -> Result<Option<ProvenBatch>, FileError>;

    /// Whether there still is something to read of a batch that was proven.
    fn has(&self, _batch: u64) -> bool {
        true
    }
}

/// A folder of files `N.proofs`, as `taproof prove` writes them.
#[derive(Clone, Debug)]
pub struct ProofFolder(PathBuf);

impl ProofFolder {
    /// The folder at a path, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl BatchSource for ProofFolder {
    fn proven(&self, batch: u64) -> Result<Option<ProvenBatch>, FileError> {
        let path = self.0.join(format!("{batch}.proofs"));
        // Whoever opens a pipe waits for who writes to it.
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            let source = io::Error::other("it is no regular file");
            return Err(FileError::Io { path, source });
        }
        match artefact::read(&path) {
            Ok(proven) => Ok(Some(proven)),
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn has(&self, batch: u64) -> bool {
        self.0.join(format!("{batch}.proofs")).exists()
    }
}
