//! How a batch keeps the rules about exit requests, whatever waits.
//!
//! It serves what can be served, as far as there is room for records, in the order of the queue and wherever in it
//! that stands: on each cell the first request that the cell can serve, then the first that it can serve after that,
//! and so on. It then takes the turns that [`settle`](super::settle) takes, and shows the cells of those that the rules
//! let it neither serve nor leave out, and of as many others as there is room for.
//!
//! Why it never has to leave out a request that it must not. Say that one is neither served nor refuted in its turn,
//! and that no request on its cell was served before. The state before the batch can serve it then, or its cell would
//! be shown. Its record was not made, since a record is taken by a request that has its terms, and so its cell, no
//! later than by the one it is made for. So as many records as there is room for, [`EXITS_ENOUGH`] or more, were made
//! for requests before it, all of these are taken, and enough was done.
//!
//! Withdrawals that a batch makes besides never break the plan. Each serves the first request with its terms that is
//! left without: there the sum that rule 5 counts grows by one, and it shrinks by one at most, and no earlier, where
//! that request was the first on its cell to be refuted.

use super::{
    EXITS_ENOUGH, ExitRequest, ScannedExit,
    settlement::{Turn, Turns, terms},
};
use crate::cell::{Cell, CellIndex, Depth};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// What a batch is to do about the requests that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The requests whose withdrawals the batch makes, in this order and ahead of all else.
    pub served: Vec<ExitRequest>,
    /// The cells that it shows, in ascending order.
    pub shown: Vec<CellIndex>,
}

/// How many requests a batch has room to serve, and how many cells to show. It does what it must with less, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRoom {
    /// For how many withdrawals, of which it makes up to [`EXITS_ENOUGH`] in any case.
    pub served_max: usize,
    /// For how many cells. If the rules demand more, more are shown: [`EXITS_ENOUGH`] at most.
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
/// [`settle`](super::settle) accepts it. `cell` gives the cells of the state before the batch, in a tree of that depth.
pub fn answer(waiting: &[ScannedExit], depth: Depth, room: AnswerRoom, cell: impl Fn(CellIndex) -> Cell) -> Answer {
    let served = servable(waiting, depth, room.served_max.max(EXITS_ENOUGH), &cell);
    let mut untaken = BTreeMap::<_, usize>::new();
    served.iter().for_each(|request| *untaken.entry(terms(&request.record())).or_default() += 1);
    let (mut turns, mut shown) = (Turns::new(depth), BTreeSet::new());
    for ScannedExit { request, .. } in waiting {
        let from = request.from();
        let record = untaken.get_mut(&terms(&request.record())).filter(|count| **count > 0);
        let has_room = shown.contains(&from) || !turns.is_enough() || shown.len() < room.shown_max;
        let is_refuted = has_room && depth.contains(from) && !request.is_servable_by(&cell(from).elements());
        match turns.take(from, record.is_some(), is_refuted) {
            Turn::Served => record.into_iter().for_each(|count| *count -= 1),
            Turn::Refuted if depth.contains(from) => drop(shown.insert(from)),
            Turn::Refuted | Turn::Waits => {}
            Turn::LeftOut => unreachable!("what is not served is refuted, or enough was done"),
        }
    }
    Answer { served, shown: shown.into_iter().collect() }
}

/// The first requests that the cells can serve one after another, so many at most.
fn servable(
    waiting: &[ScannedExit],
    depth: Depth,
    count_max: usize,
    cell: impl Fn(CellIndex) -> Cell,
) -> Vec<ExitRequest> {
    let mut cells = BTreeMap::<CellIndex, Cell>::new();
    let mut served = Vec::new();
    for ScannedExit { request, .. } in waiting.iter().filter(|exit| depth.contains(exit.request.from())) {
        if served.len() >= count_max {
            break;
        }
        let now = cells.entry(request.from()).or_insert_with(|| cell(request.from()));
        if request.is_servable_by(&now.elements())
            && let Cell::Account(account) = now
        {
            let record = request.record();
            account.nonce += 1;
            account.balance -= record.amount + record.fee;
            served.push(*request);
        }
    }
    served
}
