//! How a batch keeps the rules about requests, whatever waits.
//!
//! It serves what can be served, as far as there is room for records, in the order of the queue and wherever in it
//! that stands: on each cell the first request that the cell can serve, then the first that it can serve after that,
//! and so on. It then takes the turns that [`settle`](super::settle) takes, and shows the cells of those that the rules
//! let it neither serve nor leave out, and of as many others as there is room for.
//!
//! Why it never has to leave out a request that it must not. Say that one is neither served nor refuted in its turn,
//! and that no request on its cell was served before. The state before the batch can serve it then, or cells would be
//! shown that say otherwise. Its record was not made, since a record is taken by a request that has its terms, and so
//! its cell, no later than by the one it is made for. So as many records as there is room for, [`REQUESTS_ENOUGH`] or
//! more, were made for requests before it, all of these are taken, and enough was done.
//!
//! Withdrawals that a batch makes besides never break the plan. Each serves the first request with its terms that is
//! left without: there the sum that rule 5 counts grows by one, and it shrinks by one at most, and no earlier, where
//! that request was the first on its cell to be refuted. An opening is of one request alone.

use super::{
    ExitRequest, REQUESTS_ENOUGH, Refuting, Request, ScannedRequest,
    settlement::{Terms, Turn, Turns, Untaken},
};
use crate::{
    cell::{CellElements, CellIndex, Depth},
    evidence::ClaimRequest,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// What a batch is to do about the requests that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The requests whose withdrawals the batch makes, in this order and ahead of all else.
    pub served: Vec<ExitRequest>,
    /// The requests by which it opens locks, in any order, ahead of all else as well.
    pub claims: Vec<ClaimRequest>,
    /// The cells that it shows, in ascending order.
    pub shown: Vec<CellIndex>,
}

/// How many requests a batch has room to serve, and how many cells to show. It does what it must with less, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRoom {
    /// For how many withdrawals and openings, of which it makes up to [`REQUESTS_ENOUGH`] in any case.
    pub served_max: usize,
    /// For how many cells. If the rules demand more, more are shown: [`REQUESTS_ENOUGH`] at most, and one more where
    /// the last is one of two.
    pub shown_max: usize,
}

impl AnswerRoom {
    /// What whoever makes batches tries one after another, until the payload has room for all of it. What is refuted
    /// in one batch need not be in the next, and paths that stand together share what they have in common: so much at
    /// once costs least. The last is what the rules demand, which always fits.
    pub const STEPS: [Self; 5] = [
        Self { served_max: 512, shown_max: 2_048 },
        Self { served_max: 512, shown_max: 512 },
        Self { served_max: 256, shown_max: 256 },
        Self { served_max: 128, shown_max: 128 },
        Self { served_max: 0, shown_max: 0 },
    ];
}

/// Says what a batch is to do about the requests that wait up to the block that it refers to, in their order, so that
/// [`settle`](super::settle) accepts it. `opens_locks` says whether its program does: if not, claim requests are void.
/// `cell` gives the cells of the state before the batch, in a tree of that depth.
pub fn answer(
    waiting: &[ScannedRequest],
    depth: Depth,
    opens_locks: bool,
    room: AnswerRoom,
    cell: impl Fn(CellIndex) -> CellElements,
) -> Answer {
    let requests = waiting.iter().map(|scanned| &scanned.request);
    let requests = requests.filter(|request| opens_locks || request.claim().is_none());
    let served = servable(requests.clone(), depth, room.served_max.max(REQUESTS_ENOUGH), &cell);
    let mut untaken: Untaken = served.iter().map(Terms::from).collect();
    let (mut turns, mut shown) = (Turns::new(depth), BTreeSet::new());
    for request in requests {
        let before = |index| depth.contains(index).then(|| cell(index));
        let shows = |refuting: &Refuting, must: bool| {
            let new = refuting.cells().filter(|index| !shown.contains(index)).count();
            new == 0 || must || shown.len() + new <= room.shown_max
        };
        match turns.take(request, untaken.take(request), before, shows) {
            Turn::Refuted(refuting) => shown.extend(refuting.iter().flat_map(Refuting::cells)),
            Turn::Served | Turn::Waits => {}
            Turn::LeftOut => unreachable!("what is not served is refuted, or enough was done"),
        }
    }
    Answer {
        served: served.iter().filter_map(Request::exit).copied().collect(),
        claims: served.iter().filter_map(Request::claim).copied().collect(),
        shown: shown.into_iter().collect(),
    }
}

/// The first requests that the cells can serve one after another, so many at most.
fn servable<'a>(
    requests: impl Iterator<Item = &'a Request>,
    depth: Depth,
    count_max: usize,
    cell: impl Fn(CellIndex) -> CellElements,
) -> Vec<Request> {
    // What the cells of exits hold after those before; of a lock nothing is left.
    let mut cells = BTreeMap::<CellIndex, CellElements>::new();
    let mut served = Vec::new();
    for request in requests.filter(|request| depth.contains(request.cell())) {
        if served.len() >= count_max {
            break;
        }
        let now = |index| depth.contains(index).then(|| cells.get(&index).copied().unwrap_or_else(|| cell(index)));
        let own = now(request.cell()).unwrap_or_default();
        if request.refuted_by(depth, now).is_some() {
            continue;
        }
        cells.insert(request.cell(), request.after(own));
        served.push(*request);
    }
    served
}
