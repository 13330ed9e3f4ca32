//! Following with headers, and of the blocks only what somebody shows.
//!
//! A light follower takes its headers from any source and checks them by all rules: difficulty, median time, most
//! work. Of the blocks it takes excerpts: transactions with the proofs that they, and their witnesses, are in the
//! block. So an anchor is verified as fully as by one who has the blocks; what is taken on trust is that nothing was
//! left out. An anchor that was left out makes the follower stay behind, or take a later one of the same number; a
//! deposit that was left out makes it refuse the batch that credits it. Neither makes it take a root that is not
//! proven. It reports no payouts.
//!
//! It may begin at a [checkpoint](CheckpointFile) that a full follower wrote, instead of at the rollup's start.
//!
//! Excerpts come from an [`ExcerptSource`]: cut from whole blocks, of all heights or of those named
//! ([`ExcerptCutter`]), or from a folder that a full follower [wrote](ExcerptFolder::write).

use crate::{
    chain_store::announces,
    node::{ChainSource, NodeError},
};
use bitcoin::{
    Block, Transaction,
    hashes::{Hash, sha256},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use taproof_base::{
    artefact::{Artefact, ArtefactKind},
    output_file::{Access, write_file},
};
use taproof_verifier::{
    block::{BlockError, EXCERPT_LENGTH_MAX, Excerpt},
    follow::{Checkpoint, CheckpointError, Params},
    headers::BlockId,
};

/// Why an excerpt is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcerptError {
    /// The source of the block did not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The block is none to be cut.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A file is no excerpt.
    #[error("{} is no excerpt: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BlockError,
    },
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Who shows what matters of a block. Nothing of it is believed before it is checked.
pub trait ExcerptSource {
    /// What the source shows of a block; `None` if nothing.
    ///
    /// # Errors
    /// [`ExcerptError`].
    fn excerpt(&self, block: BlockId) -> Result<Option<Excerpt>, ExcerptError>;
}

/// Whether followers of a rollup look at a transaction. More than these do no harm.
fn matters(transaction: &Transaction, params: &Params) -> bool {
    let has_mark = |script: &[u8]| {
        // OP_RETURN, one push of up to 75, up to 255 or up to 65,535 bytes, and the mark.
        let mark = match script {
            [0x6a, 0x4d, _, _, mark @ ..] | [0x6a, 0x4c, _, mark @ ..] | [0x6a, _, mark @ ..] => mark,
            _ => return false,
        };
        mark.starts_with(&params.chain_id().to_byte_array())
    };
    announces(transaction, params) || transaction.output.iter().any(|output| has_mark(output.script_pubkey.as_bytes()))
}

/// Cuts out of a block what followers of a rollup look at; `None` if there is nothing.
///
/// # Errors
/// [`BlockError::Coinbase`] for a block without transactions.
pub fn cut(block: &Block, params: &Params) -> Result<Option<Excerpt>, BlockError> {
    let positions = (0..).zip(&block.txdata).filter(|(_, transaction)| matters(transaction, params));
    let positions: Vec<u32> = positions.map(|(position, _)| position).collect();
    if positions.is_empty() { Ok(None) } else { Excerpt::of(block, &positions).map(Some) }
}

/// Fetches blocks and cuts them here, so that their source cannot show anything that is not in them. An Esplora
/// server has no branches of witnesses to give, so the blocks that its index names are fetched whole.
pub struct ExcerptCutter<'a> {
    source: &'a dyn ChainSource,
    params: &'a Params,
    heights: Option<BTreeSet<u32>>,
}

impl<'a> ExcerptCutter<'a> {
    /// Looks through every block.
    pub fn new(source: &'a dyn ChainSource, params: &'a Params) -> Self {
        Self { source, params, heights: None }
    }

    /// Looks only through the blocks at these heights, as a server's index of addresses names them.
    pub fn at_heights(source: &'a dyn ChainSource, params: &'a Params, heights: BTreeSet<u32>) -> Self {
        Self { source, params, heights: Some(heights) }
    }
}

impl ExcerptSource for ExcerptCutter<'_> {
    fn excerpt(&self, block: BlockId) -> Result<Option<Excerpt>, ExcerptError> {
        if self.heights.as_ref().is_some_and(|heights| !heights.contains(&block.height)) {
            return Ok(None);
        }
        Ok(cut(&self.source.block(&block.hash)?, self.params)?)
    }
}

/// A folder of excerpts, `HEIGHT-HASH.excerpt` each, so that blocks of branches stand beside each other.
#[derive(Clone, Debug)]
pub struct ExcerptFolder(PathBuf);

impl ExcerptFolder {
    /// The folder at a path.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn file(&self, block: BlockId) -> PathBuf {
        self.0.join(format!("{}-{}.excerpt", block.height, block.hash))
    }

    /// Puts an excerpt into the folder, which must be there, in the place of an older one of the block.
    ///
    /// # Errors
    /// [`ExcerptError::Io`].
    pub fn write(&self, block: BlockId, excerpt: &Excerpt) -> Result<PathBuf, ExcerptError> {
        let path = self.file(block);
        let bytes = excerpt.to_bytes();
        match write_file(&path, Access::Public, |file| file.write_all(&bytes)) {
            Ok(()) => Ok(path),
            Err(source) => Err(ExcerptError::Io { path, source }),
        }
    }
}

impl ExcerptSource for ExcerptFolder {
    fn excerpt(&self, block: BlockId) -> Result<Option<Excerpt>, ExcerptError> {
        let path = self.file(block);
        match read_bounded(&path) {
            Ok(bytes) => match Excerpt::from_bytes(&bytes) {
                Ok(excerpt) => Ok(Some(excerpt)),
                Err(source) => Err(ExcerptError::File { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ExcerptError::Io { path, source }),
        }
    }
}

/// A checkpoint as a file: what a follower knows after a final block, for others to begin there.
///
/// Nothing in it can be checked without the blocks before, so it is believed as whoever gives it. Two that were
/// written after the same block are the same, so [digests](Self::digest) from several sources can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<u8>", try_from = "Vec<u8>")]
pub struct CheckpointFile(pub Checkpoint);

impl CheckpointFile {
    /// The SHA-256 of the checkpoint.
    pub fn digest(&self) -> sha256::Hash {
        sha256::Hash::hash(&self.0.to_bytes())
    }
}

impl From<CheckpointFile> for Vec<u8> {
    fn from(file: CheckpointFile) -> Self {
        file.0.to_bytes()
    }
}

impl TryFrom<Vec<u8>> for CheckpointFile {
    type Error = CheckpointError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Checkpoint::from_bytes(&bytes).map(Self)
    }
}

impl Artefact for CheckpointFile {
    const KIND: ArtefactKind = ArtefactKind::Checkpoint;
    const VERSION: u8 = 1;
    /// A million deposits that wait.
    const LENGTH_MAX: u64 = 128 << 20;
}

/// Reads a file, and no more of it than any excerpt has.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(EXCERPT_LENGTH_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
