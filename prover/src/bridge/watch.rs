//! Drives a follower and a [`BridgeScan`] over the blocks of a source.

use super::scan::BridgeScan;
use crate::{
    follow::{self, FollowError},
    node::{ChainSource, NodeError},
};
use taproof_verifier::{
    follow::{Event, Follower, Params},
    program::Program,
};

/// How often a source may reorganise while it is read before that counts as a fault of the source.
const ATTEMPTS_MAX: usize = 16;

/// A follower, and the bridge as the follower's blocks show it.
#[derive(Clone, Debug)]
pub struct BridgeWatch {
    follower: Follower,
    scan: BridgeScan,
}

impl BridgeWatch {
    /// Starts before the rollup's first batch.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn start(source: &dyn ChainSource, params: Params, program: Program) -> Result<Self, FollowError> {
        let scan = BridgeScan::new(params.clone());
        Ok(Self { follower: follow::start(source, params, program)?, scan })
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
        for _ in 0..ATTEMPTS_MAX {
            for event in follow::sync_headers(source, &mut self.follower)? {
                if let Event::Rewound { to, .. } = event {
                    self.scan.rewind(to);
                }
            }
            loop {
                let Some(next) = self.follower.next_block() else { return Ok(()) };
                let block = match source.block(&next.hash) {
                    // The block has left the source's chain since its header was read.
                    Err(NodeError::Block(_)) => break,
                    block => block?,
                };
                let transactions = block.txdata.clone();
                let events = self.follower.connect(block)?;
                self.scan.connect(next, &transactions, &events);
            }
        }
        Err(FollowError::Unsteady)
    }
}
