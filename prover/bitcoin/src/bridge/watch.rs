//! Drives a follower and a [`BridgeScan`] over the blocks of a source, and keeps both between two runs.
//!
//! What is kept is one file, a container of [`taproof_base::artefact`]: the follower's checkpoint and the scan as they
//! stand after the last final block. A file that is missing, damaged or of another rollup costs time only: then
//! everything is read from the rollup's start; so is one of an earlier version. Who can write the file can make this
//! machine believe anything about the past; it is as much to be guarded as the program.

use super::scan::{BridgeScan, Snapshot};
use crate::{
    follow::{self, Changes, FollowError, Next},
    node::ChainSource,
};
use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};
use std::{io, path::Path};
use taproof_base::artefact::{self, Artefact, ArtefactKind, FileError};
use taproof_verifier::{
    follow::{Checkpoint, Event, Follower, Params},
    headers::BlockId,
    program::Programs,
};

/// A follower, and the bridge as the follower's blocks show it.
#[derive(Clone, Debug)]
pub struct BridgeWatch {
    follower: Follower,
    scan: BridgeScan,
}

/// What is kept between two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeState {
    /// The digest of the rollup's parameters.
    params: [u8; 32],
    checkpoint: Vec<u8>,
    scan: Snapshot,
}

impl BridgeState {
    /// The bridge after the last final block.
    pub fn scan(&self) -> &Snapshot {
        &self.scan
    }
}

impl Artefact for BridgeState {
    const KIND: ArtefactKind = ArtefactKind::BridgeState;
    const VERSION: u8 = 3;
    /// A hundred bytes for each of ten million coins, and payouts of what can be paid out. A bridge with more than that
    /// is not kept, and read anew each time.
    const LENGTH_MAX: u64 = 1_000_000_000;
}

/// Why a watch began at the rollup's start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Afresh {
    /// There is no file yet.
    #[error("nothing is kept yet")]
    Nothing,
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is of another rollup, or contradicts itself.
    #[error("what is kept is of another rollup or contradicts itself")]
    Other,
    /// The source's chain has left what was final.
    #[error(
        "a reorganisation below a final block: block {block} was final, and the source's chain has {found} in its place"
    )]
    Left {
        /// The last block that was final.
        block: BlockId,
        /// The hash that the source has at its height.
        found: BlockHash,
    },
    /// The follower does not go on from the checkpoint.
    #[error("the follower does not go on from what is kept: {0}")]
    Follower(FollowError),
}

impl BridgeWatch {
    /// Starts before the rollup's first batch.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn start(source: &dyn ChainSource, params: Params, programs: impl Into<Programs>) -> Result<Self, FollowError> {
        let scan = BridgeScan::new(params.clone());
        Ok(Self { follower: follow::start(source, params, programs)?, scan })
    }

    /// Goes on from what a file keeps, or from the start if it cannot, and says why.
    ///
    /// # Errors
    /// [`FollowError`] if the source does not answer, or from the start neither.
    pub fn open(
        path: &Path,
        source: &dyn ChainSource,
        params: Params,
        programs: impl Into<Programs>,
    ) -> Result<(Self, Option<Afresh>), FollowError> {
        let programs = programs.into();
        match Self::resume(path, source, &params, &programs) {
            Ok(watch) => Ok((watch, None)),
            Err(Afresh::Follower(error)) if error.is_transient() => Err(error),
            Err(reason) => Ok((Self::start(source, params, programs)?, Some(reason))),
        }
    }

    fn resume(path: &Path, source: &dyn ChainSource, params: &Params, programs: &Programs) -> Result<Self, Afresh> {
        let state: BridgeState = match artefact::read(path) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Afresh::Nothing);
            }
            state => state?,
        };
        let checkpoint = Checkpoint::from_bytes(&state.checkpoint).map_err(|_| Afresh::Other)?;
        let block = checkpoint.block();
        let scan = BridgeScan::restore(params.clone(), state.scan).filter(|scan| scan.scanned() == block);
        let scan = scan.filter(|_| state.params == digest(params)).ok_or(Afresh::Other)?;
        match source.block_hash(block.height) {
            Ok(Some(found)) if found != block.hash => return Err(Afresh::Left { block, found }),
            Err(error) => return Err(Afresh::Follower(error.into())),
            _ => {}
        }
        let follower = follow::resume(source, params.clone(), programs.clone(), checkpoint);
        Ok(Self { follower: follower.map_err(Afresh::Follower)?, scan })
    }

    /// Keeps the state after the last final block.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let Some(checkpoint) = self.follower.checkpoint() else { return Ok(()) };
        let scan = self.scan.snapshot(checkpoint.block());
        let state = BridgeState { params: digest(self.scan.params()), checkpoint: checkpoint.to_bytes(), scan };
        artefact::write(path, &state)
    }

    /// The rollup.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// The bridge.
    pub fn scan(&self) -> &BridgeScan {
        &self.scan
    }

    /// Reads and scans all that the source has.
    ///
    /// # Errors
    /// [`FollowError`]. What was scanned stays scanned, and calling again goes on.
    pub fn catch_up(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        let mut changes = Changes::default();
        loop {
            let Self { follower, scan } = &mut *self;
            follow::sync_headers(source, follower, |event| {
                if let Event::Rewound { to, .. } = event {
                    scan.rewind(*to);
                }
            })?;
            loop {
                let Some(next) = self.follower.next_block() else { return Ok(()) };
                let block = match changes.next(&self.follower, follow::next_block(source, &self.follower))? {
                    Next::Read(block) => block,
                    Next::Gone => break,
                    Next::End => return Ok(()),
                };
                let transactions = block.txdata.clone();
                let events = self.follower.connect(block)?;
                self.scan.connect(next, &transactions, &events);
            }
        }
    }
}

fn digest(params: &Params) -> [u8; 32] {
    let json = serde_json::to_vec(params).expect("parameters are strings and numbers");
    blake3::derive_key("taproof v1 bridge state parameters", &json)
}
