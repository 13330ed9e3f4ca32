//! The folder that holds everything of one rollup.

use super::failure::{Exit, Failure, Fallible, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder that holds everything of one rollup.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The folder at a path, which need not exist.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The words of the wallet.
    pub(crate) fn wallet(&self) -> PathBuf {
        self.0.join("wallet.words")
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder of a file that is to be written.
    pub(crate) fn create_parent(path: &Path) -> Result {
        let Some(parent) = path.parent() else { return Ok(()) };
        fs::create_dir_all(parent).or_exit_while(Exit::Failed, format!("cannot create {}", parent.display()))
    }
}

/// Fails if a file that would be written exists.
pub(crate) fn expect_absent(path: &Path) -> Result {
    if path.exists() {
        let failure = Failure::new(Exit::Failed, format!("{} exists and is not overwritten", path.display()));
        return Err(failure.advise("move it away or name another file"));
    }
    Ok(())
}
