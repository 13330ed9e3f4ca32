//! Why a chain store cannot do what it is asked.

use std::path::PathBuf;
use taproof_base::store_error::StoreError;
use taproof_verifier::headers::BlockId;

/// Why a chain store cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainStoreError {
    /// The file is of another rollup, or of one who sees the chain otherwise.
    #[error("{} was written for another rollup, or by a follower that sees more or less of the chain", .0.display())]
    WrongRollup(PathBuf),
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
    /// The file. All of it can be had again from Bitcoin.
    #[error("the chain store: {0}")]
    Store(#[from] StoreError),
}

impl ChainStoreError {
    /// Whether trying again later may help with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(StoreError::Busy(_)))
    }
}
