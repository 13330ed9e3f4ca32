//! Rebuilds the state of a rollup from what is posted on Bitcoin, and from nothing else.
//!
//! A [`Rebuild`] takes the follower's events. Each verified batch's records are replayed by the native rules, and the
//! roots that come out are compared with those that the proofs stand for. A rewind takes batches back. A
//! [`Restoration`] keeps what is final apart from what may be taken back, so that a ledger can be made of it that was
//! lost, or never was here.

use std::collections::{BTreeMap, VecDeque};
use taproof_bitcoin::{
    follow::{FollowError, catch_up, start},
    node::ChainSource,
};
use taproof_circuits::{
    state::{PostedChunk, ReplayError, State},
    step::Machines,
    tree::{ChangeSet, TreeError},
};
use taproof_verifier::{
    cell::{Cell, CellIndex},
    follow::{Event, Follower, Params, Tip, VerifiedBatch},
    program::Programs,
};

/// Why a state was not rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// Following stopped.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The records of a batch whose proofs hold do not replay: the program's keys are not those of these rules.
    #[error("batch {batch}: {source}")]
    Replay {
        /// The batch.
        batch: u64,
        /// Where the records break a rule.
        source: Box<ReplayError>,
    },
    /// The event is not the one that comes next, as after a start in the middle.
    #[error("batch {found} comes where batch {expected} is next")]
    OutOfOrder {
        /// The next batch.
        expected: u64,
        /// The batch of the event.
        found: u64,
    },
    /// A rewind goes back further than what is remembered.
    #[error("batch {batch} is to be taken back, and is final")]
    Final {
        /// The first batch to be taken back.
        batch: u64,
    },
    /// Taking a batch back led to another root than it had started from.
    #[error("taking back batch {batch}: {source}")]
    Undo {
        /// The batch.
        batch: u64,
        /// What is wrong with the state.
        source: TreeError,
    },
}

/// What a batch replaced.
#[derive(Clone, Debug)]
struct Undo {
    before: Tip,
    anchor_height: u32,
    cells: Vec<(CellIndex, Cell)>,
}

/// A state that follows the verified batches of the chain.
#[derive(Clone, Debug)]
pub struct Rebuild {
    state: State,
    batches: u64,
    undo: VecDeque<Undo>,
}

impl Rebuild {
    /// The empty state of a rollup.
    pub fn new(params: &Params) -> Self {
        Self { state: State::new(params.chain_id(), params.genesis_depth), batches: 0, undo: VecDeque::new() }
    }

    /// The same, with the rules of the steps of these machines.
    #[must_use]
    pub fn with_machines(mut self, machines: Machines) -> Self {
        self.state.set_machines(machines);
        self
    }

    /// The state after the last batch.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many batches are replayed.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// The state, to be kept.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Takes an event of the follower.
    ///
    /// # Errors
    /// [`RebuildError`]; the state is as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), RebuildError> {
        match event {
            Event::Verified(batch) => self.replay(batch),
            Event::Rewound { tip, .. } => self.take_back(tip.batches),
            _ => Ok(()),
        }
    }

    /// Forgets how to take back batches that are anchored at or below a final height.
    pub fn settle(&mut self, final_height: u32) {
        while self.undo.front().is_some_and(|undo| undo.anchor_height <= final_height) {
            self.undo.pop_front();
        }
    }

    fn replay(&mut self, batch: &VerifiedBatch) -> Result<(), RebuildError> {
        let (expected, found) = (self.batches, batch.batch());
        if found != expected {
            return Err(RebuildError::OutOfOrder { expected, found });
        }
        let (header, chunks) = (batch.payload().header(), batch.payload().chunks());
        let posted: Vec<PostedChunk<'_>> = chunks.iter().map(PostedChunk::from).collect();
        let replayed = self.state.replay(header.depth, header.reference_height, &posted);
        replayed.map_err(|source| RebuildError::Replay { batch: found, source: Box::new(source) })?;
        // The last chunk's root is the batch's, which the payload's form guarantees and the replay has compared.
        assert_eq!(self.state.root(), batch.root(), "a replayed batch ends at its posted root");
        // The tree itself knows what the batch replaced, whatever kinds of records there are.
        let cells = self.state.replaced().collect();
        self.state.commit();
        self.undo.push_back(Undo { before: *batch.before(), anchor_height: batch.block().height, cells });
        self.batches += 1;
        Ok(())
    }

    /// Takes batches back until there are `batches`: the cells that they replaced are put back, and all nodes above are
    /// computed anew, since a tree does not shrink.
    fn take_back(&mut self, batches: u64) -> Result<(), RebuildError> {
        let count = self.batches.saturating_sub(batches);
        if count == 0 {
            return Ok(());
        }
        let kept = (self.undo.len() as u64).checked_sub(count).ok_or(RebuildError::Final { batch: batches })?;
        let taken: Vec<&Undo> = self.undo.iter().skip(kept as usize).collect();
        let mut cells: BTreeMap<CellIndex, Cell> =
            self.state.tree().cells().map(|(index, cell)| (index, *cell)).collect();
        taken.iter().rev().for_each(|undo| cells.extend(undo.cells.iter().copied()));
        let first = taken.first().expect("the count is not zero");
        let is_occupied = |(_, cell): &(CellIndex, Cell)| *cell != Cell::Empty;
        let stored = ChangeSet {
            depth: first.before.depth,
            root: first.before.root,
            cells: cells.into_iter().filter(is_occupied).collect(),
        };
        let state = State::load(self.state.chain_id(), &stored)
            .map_err(|source| RebuildError::Undo { batch: batches, source })?;
        self.state = state.with_machines(self.state.machines().clone());
        self.undo.truncate(kept as usize);
        self.batches = batches;
        Ok(())
    }
}

/// What the chain's final blocks make of a state, and the batches after them, which may still be taken back: all that a
/// [ledger](crate::ledger::Ledger::restore) is made of.
#[derive(Clone, Debug)]
pub struct Restoration {
    rebuild: Rebuild,
    /// The tip after the last final batch.
    tip: Tip,
    unsettled: VecDeque<VerifiedBatch>,
}

impl Restoration {
    /// Before the rollup's first batch.
    pub fn new(params: &Params) -> Self {
        Self { rebuild: Rebuild::new(params), tip: Tip::genesis(params), unsettled: VecDeque::new() }
    }

    /// The same, with the rules of the steps of these machines.
    #[must_use]
    pub fn with_machines(self, machines: Machines) -> Self {
        Self { rebuild: self.rebuild.with_machines(machines), ..self }
    }

    /// Takes an event of a follower that began at the rollup's start.
    ///
    /// # Errors
    /// [`RebuildError::OutOfOrder`] and [`RebuildError::Final`]; all is as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), RebuildError> {
        match event {
            Event::Verified(batch) => {
                let (expected, found) = (self.tip.batches + self.unsettled.len() as u64, batch.batch());
                if found != expected {
                    return Err(RebuildError::OutOfOrder { expected, found });
                }
                self.unsettled.push_back(batch.as_ref().clone());
            }
            Event::Rewound { tip, .. } => {
                let kept = tip.batches.checked_sub(self.tip.batches);
                self.unsettled.truncate(kept.ok_or(RebuildError::Final { batch: tip.batches })? as usize);
            }
            _ => {}
        }
        Ok(())
    }

    /// Replays the batches that are anchored at or below a final height.
    ///
    /// # Errors
    /// [`RebuildError::Replay`].
    pub fn settle(&mut self, final_height: u32) -> Result<(), RebuildError> {
        while let Some(batch) = self.unsettled.front().filter(|batch| batch.block().height <= final_height) {
            self.rebuild.replay(batch)?;
            self.rebuild.settle(final_height);
            self.tip = *batch.after();
            self.unsettled.pop_front();
        }
        Ok(())
    }

    /// The state after the last final batch, the tip after it, and the batches that follow.
    pub fn into_parts(self) -> (State, Tip, Vec<VerifiedBatch>) {
        (self.rebuild.into_state(), self.tip, self.unsettled.into())
    }

    /// The state after the last batch.
    ///
    /// # Errors
    /// [`RebuildError::Replay`].
    pub fn into_state(mut self) -> Result<State, RebuildError> {
        self.settle(u32::MAX)?;
        Ok(self.rebuild.into_state())
    }
}

/// Follows a rollup from its start to the source's tip and gathers what its ledger is made of; each event goes to
/// `observe` as well.
///
/// # Errors
/// [`RebuildError`].
pub fn restore(
    source: &dyn ChainSource,
    params: Params,
    programs: impl Into<Programs>,
    machines: &Machines,
    mut observe: impl FnMut(&Event),
) -> Result<(Follower, Restoration), RebuildError> {
    let mut restoration = Restoration::new(&params).with_machines(machines.clone());
    let mut follower = start(source, params, programs)?;
    catch_up(source, &mut follower, |follower, event| match event {
        Some(event) => {
            observe(&event);
            restoration.apply(&event)
        }
        None => restoration.settle(follower.headers().final_block().height),
    })?;
    Ok((follower, restoration))
}

/// Follows a rollup from its start to the source's tip and rebuilds its state; `progress` is called after each block
/// with the follower as it is then.
///
/// # Errors
/// [`RebuildError`].
pub fn rebuild(
    source: &dyn ChainSource,
    params: Params,
    programs: impl Into<Programs>,
    machines: &Machines,
    mut progress: impl FnMut(&Follower),
) -> Result<(Follower, State), RebuildError> {
    let mut rebuild = Rebuild::new(&params).with_machines(machines.clone());
    let mut follower = start(source, params, programs)?;
    catch_up(source, &mut follower, |follower, event| {
        match event {
            Some(event) => rebuild.apply(&event)?,
            None => {
                rebuild.settle(follower.headers().final_block().height);
                progress(follower);
            }
        }
        Ok::<(), RebuildError>(())
    })?;
    Ok((follower, rebuild.into_state()))
}

#[cfg(test)]
mod tests;
