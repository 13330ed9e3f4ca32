//! The exit requests that wait, and what undoes every change of them.
//!
//! Requests are numbered in the order of the chain and have their turn in that order. The queue has room for so many.
//! While it is full, its room is shared by who asks: the requests of one key on one cell. One that comes then takes
//! the place of another only if some asker has at least two more waiting than its own: the youngest of the asker with
//! the most goes (of several such askers, the one with the highest cell, and there the highest bytes of the key). So a
//! flood by few askers leaves room for everybody else's first request, and no asker loses its oldest to anybody.
//! Nobody is an asker in another's place: it takes the key to sign.

use super::{ExitId, ExitRequest, ScannedExit};
use crate::cell::CellIndex;
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use bitcoin::Txid;

/// The most exit requests that wait.
pub const EXITS_WAITING_MAX: usize = 1 << 16;

/// Whose requests share one part of the room: a cell, and the key that signs for it.
type Asker = (CellIndex, [u8; 32]);

fn asker(request: &ExitRequest) -> Asker {
    (request.from(), request.owner().to_bytes())
}

/// A change of the queue in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    height: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// A request of this number was queued.
    Queued(u64),
    /// A request was settled, or lost its place.
    Gone(Box<ScannedExit>),
}

/// The exit requests that wait.
///
/// Every change names the height of its block, which never falls, so that those of blocks that leave the best chain
/// can be taken back ([`Queue::rewind`]) until they are final ([`Queue::forget`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    room: usize,
    exits: BTreeMap<u64, ScannedExit>,
    ids: BTreeSet<ExitId>,
    /// The numbers of each asker's requests.
    numbers: BTreeSet<(Asker, u64)>,
    /// How many each asker has.
    counts: BTreeMap<Asker, usize>,
    /// The same, the most last.
    longest: BTreeSet<(usize, Asker)>,
    /// How many requests were queued.
    queued: u64,
    /// What can be taken back, in its order.
    changes: VecDeque<Change>,
}

impl Default for Queue {
    fn default() -> Self {
        Self::with_room(EXITS_WAITING_MAX)
    }
}

impl Queue {
    /// An empty queue with room for so many requests. Followers agree on [`EXITS_WAITING_MAX`], the default.
    pub fn with_room(room: usize) -> Self {
        Self {
            room,
            exits: BTreeMap::new(),
            ids: BTreeSet::new(),
            numbers: BTreeSet::new(),
            counts: BTreeMap::new(),
            longest: BTreeSet::new(),
            queued: 0,
            changes: VecDeque::new(),
        }
    }

    /// A queue in which these wait, of `queued` that ever came. Nothing in it can be taken back.
    pub(crate) fn resume(exits: Vec<ScannedExit>, queued: u64) -> Self {
        let mut queue = Self { queued, ..Self::default() };
        exits.into_iter().for_each(|exit| queue.insert(exit));
        queue
    }

    /// The requests that wait, in their order.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = &ScannedExit> {
        self.exits.values()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.exits.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.exits.is_empty()
    }

    /// How many were ever queued: the number of the next.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether a request would be queued: it does not wait already, signatures aside, and there is room for its asker.
    pub fn takes(&self, request: &ExitRequest) -> bool {
        let has_room = self.exits.len() < self.room || {
            let own = self.counts.get(&asker(request)).copied().unwrap_or(0);
            self.longest.last().is_some_and(|(most, _)| own + 1 < *most)
        };
        has_room && !self.ids.contains(&request.id())
    }

    /// Queues a request that is signed, if the queue [takes](Queue::takes) it.
    pub fn push(&mut self, height: u32, txid: Txid, vout: u32, request: ExitRequest) {
        if !self.takes(&request) {
            return;
        }
        if self.exits.len() >= self.room
            && let Some((_, most)) = self.longest.last().copied()
        {
            let youngest = self.numbers.range(..=(most, u64::MAX)).next_back().map(|(_, number)| *number);
            youngest.into_iter().for_each(|number| self.remove(height, number));
        }
        let index = self.queued;
        self.insert(ScannedExit { index, height, txid, vout, request });
        self.queued += 1;
        self.changes.push_back(Change { height, what: What::Queued(index) });
    }

    /// Takes a request out that a batch in the block at that height settled.
    pub fn remove(&mut self, height: u32, index: u64) {
        if let Some(exit) = self.take(index) {
            self.changes.push_back(Change { height, what: What::Gone(Box::new(exit)) });
        }
    }

    /// Takes back what happened in blocks above a height, the latest first.
    pub fn rewind(&mut self, height: u32) {
        while self.changes.back().is_some_and(|change| change.height > height) {
            let Some(change) = self.changes.pop_back() else { break };
            match change.what {
                What::Queued(index) => {
                    self.take(index);
                    self.queued = index;
                }
                What::Gone(exit) => self.insert(*exit),
            }
        }
    }

    /// Forgets what undoes the changes up to a height, because no branch leaves the chain there any more.
    pub fn forget(&mut self, height: u32) {
        while self.changes.front().is_some_and(|change| change.height <= height) {
            self.changes.pop_front();
        }
    }

    fn insert(&mut self, exit: ScannedExit) {
        let asker = asker(&exit.request);
        self.ids.insert(exit.request.id());
        self.numbers.insert((asker, exit.index));
        self.recount(asker, |count| count + 1);
        self.exits.insert(exit.index, exit);
    }

    fn take(&mut self, index: u64) -> Option<ScannedExit> {
        let exit = self.exits.remove(&index)?;
        let asker = asker(&exit.request);
        self.ids.remove(&exit.request.id());
        self.numbers.remove(&(asker, index));
        self.recount(asker, |count| count.saturating_sub(1));
        Some(exit)
    }

    fn recount(&mut self, asker: Asker, change: impl FnOnce(usize) -> usize) {
        let before = self.counts.remove(&asker).unwrap_or(0);
        self.longest.remove(&(before, asker));
        let after = change(before);
        if after > 0 {
            self.counts.insert(asker, after);
            self.longest.insert((after, asker));
        }
    }
}

#[cfg(test)]
mod tests;
