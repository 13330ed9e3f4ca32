//! The requests that wait, and what undoes every change of them.
//!
//! Requests are numbered in the order of the chain and have their turn in that order. The queue has room for so many.
//! While it is full, its room is shared by who asks: the requests of one key on one cell. One that comes then takes
//! the place of another only if some asker has at least two more waiting than its own: the youngest of the asker with
//! the most goes (of several such askers, the one with the highest cell, and there the highest bytes of the key). So a
//! flood by few askers leaves room for everybody else's first request, and no asker loses its oldest to anybody.
//! Nobody is an asker in another's place: it takes the key to sign.
//!
//! A claim request shows a secret in the place of a key, so each is an asker of its own: none can take the place of
//! another that names its cell, and what is queued stays until a batch has settled it.

use super::{Request, RequestId, ScannedRequest};
use crate::cell::CellIndex;
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use bitcoin::Txid;

/// The most requests that wait.
pub const REQUESTS_WAITING_MAX: usize = 1 << 16;

/// Whose requests share one part of the room: a cell, and the key that signs for it or the secret that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    // No claim has two requests, so it does not matter that all come before all exits.
    Claim(CellIndex, [u8; 32]),
    Exit(CellIndex, [u8; 32]),
}

fn asker(request: &Request) -> Asker {
    match request {
        Request::Exit(request) => Asker::Exit(request.from(), request.owner().to_bytes()),
        Request::Claim(claim) => Asker::Claim(claim.request().cell, claim.request().secret),
    }
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
    Gone(Box<ScannedRequest>),
}

/// The requests that wait.
///
/// Every change names the height of its block, which never falls, so that those of blocks that leave the best chain
/// can be taken back ([`Queue::rewind`]) until they are final ([`Queue::forget`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    room: usize,
    requests: BTreeMap<u64, ScannedRequest>,
    ids: BTreeSet<RequestId>,
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
        Self::with_room(REQUESTS_WAITING_MAX)
    }
}

impl Queue {
    /// An empty queue with room for so many requests. Followers agree on [`REQUESTS_WAITING_MAX`], the default.
    pub fn with_room(room: usize) -> Self {
        Self {
            room,
            requests: BTreeMap::new(),
            ids: BTreeSet::new(),
            numbers: BTreeSet::new(),
            counts: BTreeMap::new(),
            longest: BTreeSet::new(),
            queued: 0,
            changes: VecDeque::new(),
        }
    }

    /// A queue in which these wait, of `queued` that ever came. Nothing in it can be taken back.
    pub(crate) fn resume(requests: Vec<ScannedRequest>, queued: u64) -> Self {
        let mut queue = Self { queued, ..Self::default() };
        requests.into_iter().for_each(|request| queue.insert(request));
        queue
    }

    /// The requests that wait, in their order.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = &ScannedRequest> {
        self.requests.values()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many were ever queued: the number of the next.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether a request would be queued: it does not wait already, whatever its signature or its height, and there is
    /// room for its asker.
    pub fn takes(&self, request: &Request) -> bool {
        let has_room = self.requests.len() < self.room || {
            let own = self.counts.get(&asker(request)).copied().unwrap_or(0);
            self.longest.last().is_some_and(|(most, _)| own + 1 < *most)
        };
        has_room && !self.ids.contains(&request.id())
    }

    /// Queues a request, which is signed if it is an exit, if the queue [takes](Queue::takes) it.
    pub fn push(&mut self, height: u32, txid: Txid, vout: u32, request: Request) {
        if !self.takes(&request) {
            return;
        }
        if self.requests.len() >= self.room
            && let Some((_, most)) = self.longest.last().copied()
        {
            let youngest = self.numbers.range(..=(most, u64::MAX)).next_back().map(|(_, number)| *number);
            youngest.into_iter().for_each(|number| self.remove(height, number));
        }
        let index = self.queued;
        self.insert(ScannedRequest { index, height, txid, vout, request });
        self.queued += 1;
        self.changes.push_back(Change { height, what: What::Queued(index) });
    }

    /// Takes a request out that a batch in the block at that height settled.
    pub fn remove(&mut self, height: u32, index: u64) {
        if let Some(request) = self.take(index) {
            self.changes.push_back(Change { height, what: What::Gone(Box::new(request)) });
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
                What::Gone(request) => self.insert(*request),
            }
        }
    }

    /// Forgets what undoes the changes up to a height, because no branch leaves the chain there any more.
    pub fn forget(&mut self, height: u32) {
        while self.changes.front().is_some_and(|change| change.height <= height) {
            self.changes.pop_front();
        }
    }

    fn insert(&mut self, scanned: ScannedRequest) {
        let asker = asker(&scanned.request);
        self.ids.insert(scanned.request.id());
        self.numbers.insert((asker, scanned.index));
        self.recount(asker, |count| count + 1);
        self.requests.insert(scanned.index, scanned);
    }

    fn take(&mut self, index: u64) -> Option<ScannedRequest> {
        let scanned = self.requests.remove(&index)?;
        let asker = asker(&scanned.request);
        self.ids.remove(&scanned.request.id());
        self.numbers.remove(&(asker, index));
        self.recount(asker, |count| count.saturating_sub(1));
        Some(scanned)
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
