//! The ledger in line with the chain.

use super::{Sequencer, SequencerError};
use crate::ledger::{Ledger, LedgerError};
use std::ops::Range;
use taproof_verifier::follow::{Checkpoint, Follower, Tip, VerifiedBatch};

/// From where blocks have to be read for a ledger to come in line with the chain.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum ReadFrom {
    /// None have to be read: the ledger has what the chain has.
    Nowhere,
    /// From a checkpoint on, with which the ledger agrees.
    Checkpoint(Checkpoint),
    /// From the rollup's start.
    Start,
}

/// A batch that somebody else anchored and that the ledger has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// Its number.
    pub batch: u64,
    /// The ledger's own batches that were taken back for it.
    pub taken_back: Range<u64>,
}

/// Says from where blocks have to be read, so that a follower of them tells of all batches that the ledger may not
/// have. That of whoever follows the chain all along has told of final batches once, and nobody may have listened for
/// the ledger.
///
/// # Errors
/// [`LedgerError::Store`].
pub fn read_from(ledger: &Ledger, follower: &Follower) -> Result<ReadFrom, LedgerError> {
    if ledger.agrees_with(follower.tip())? {
        return Ok(ReadFrom::Nowhere);
    }
    match follower.checkpoint() {
        Some(checkpoint) if ledger.agrees_with(checkpoint.tip())? => Ok(ReadFrom::Checkpoint(checkpoint)),
        _ => Ok(ReadFrom::Start),
    }
}

/// Takes a batch over that the chain has, unless the ledger has it already.
///
/// # Errors
/// As [`Ledger::take_over`].
pub fn take_over(ledger: &mut Ledger, batch: &VerifiedBatch) -> Result<Option<TakenOver>, LedgerError> {
    let (number, next) = (batch.batch(), ledger.next_batch());
    let is_taken = ledger.take_over(batch)?;
    Ok(is_taken.then_some(TakenOver { batch: number, taken_back: number..next.max(number) }))
}

/// Makes sure that the ledger has what the chain has after all its batches were taken over.
///
/// # Errors
/// [`LedgerError::Final`] if every batch of the chain is one that the ledger has, and it has more that were final;
/// [`LedgerError::Store`].
pub fn expect_in_line(ledger: &Ledger, tip: &Tip) -> Result<(), LedgerError> {
    if ledger.agrees_with(tip)? { Ok(()) } else { Err(LedgerError::Final(tip.batches)) }
}

/// How many batches are final.
pub fn final_batches(follower: &Follower) -> u64 {
    follower.checkpoint().map_or(0, |checkpoint| checkpoint.tip().batches)
}

/// Forgets how to take back what is final on the chain, which the ledger agrees with.
pub(super) fn settle(ledger: &mut Ledger, follower: &Follower) -> Result<(), LedgerError> {
    let first_unfinal = final_batches(follower);
    if ledger.first_unfinal()? < first_unfinal {
        ledger.forget_before(first_unfinal)?;
    }
    Ok(())
}

impl Sequencer<'_> {
    /// Takes a batch that the chain does not have back, with all after it, and gives their numbers: what they
    /// credited and applied waits again.
    ///
    /// # Errors
    /// [`SequencerError::Final`], [`SequencerError::Anchored`], [`SequencerError::NoSuchBatch`],
    /// [`SequencerError::Ledger`].
    pub fn take_back(&mut self, batch: u64) -> Result<Range<u64>, SequencerError> {
        let (anchored, next) = (self.follower.tip().batches, self.ledger.next_batch());
        if batch < final_batches(self.follower) {
            return Err(SequencerError::Final(batch));
        }
        if batch < anchored {
            return Err(SequencerError::Anchored { batch, anchored });
        }
        if batch > next {
            return Err(SequencerError::NoSuchBatch(batch));
        }
        self.ledger.rewind_to(batch)?;
        Ok(batch..next)
    }
}
