//! What a batch does about the requests that wait.
//!
//! A batch regards the requests that stand on Bitcoin up to the block that it refers to, in their order, each in turn:
//!
//! 1. One with a record in the batch that serves it, which no request before it has taken, is served: of an exit
//!    request a withdrawal of bitcoin with its cell, amount, fee and destination; of a claim request a step that opens
//!    its cell at its height with its secret.
//! 2. Else, of one whose cell had a request before it served in this batch: if the batch shows the cell, and it could
//!    not serve the request after those before it that were served or wait by this rule, the request is refuted. If
//!    not, it goes on waiting.
//! 3. Else, one whose cell lies outside the batch's tree is refuted: nobody has anything there.
//! 4. Else, one that the cells which the batch shows, as they were before the batch, show to be one that they could not
//!    serve is refuted.
//! 5. Else, the batch leaves the request out. It may, if it did enough for requests before this one:
//!    [`REQUESTS_ENOUGH`] or more, of requests served and cells shown that refuted some. Then the request goes on
//!    waiting.
//!
//! Where the batch's program opens no locks, a claim request has no turn and is void. Else a program that is replaced
//! by one without locks would leave requests behind that nobody can make good, and nobody may leave out: all would stop
//! for good. Upgrades are announced for longer than a window, so requests that are made before can be served before.
//!
//! Whoever makes batches can keep this whatever is asked: [`answer`](super::answer) takes the same turns, and says
//! which withdrawals and openings to make ahead of all else and which cells to show. So no request, bogus, stale or
//! replayed, stops the rollup, and none that is good can be left out. All of it is known when the batch is made.
//!
//! The rules say what a batch must do, and leave it free to do more: a record serves its request wherever that stands
//! in the queue, and a cell may be shown for any. So a flood of bogus requests keeps no good one from being served by
//! a poster who wants to.
//!
//! A withdrawal says neither nonce nor owner. So the one that is made for a request may serve an earlier one on the
//! cell, which differs in those alone: that one settles in its place, and the later has lost its nonce and waits or is
//! refuted by rule 2. If those that cannot be served could only wait there, somebody who has one more served in each
//! batch would let any number of them stand in the queue for as long as he likes.

use super::{Refuting, Request, ScannedRequest};
use crate::{
    cell::{ARITY, CellElements, CellIndex, Depth, MerklePath, PathError},
    evidence::ClaimRequest,
    field::NotCanonicalError,
    record::{Destination, WithdrawRecord},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use ark_bn254::Fr;

/// A batch that serves this many requests, or shows as many cells that refute some, may leave later requests waiting.
/// It bounds what a flood of requests adds to a payload: at most 65 cells with their paths, as the last request can be
/// one for two cells, 162,500 bytes in the deepest tree.
pub const REQUESTS_ENOUGH: usize = 64;

/// A cell of the state before a batch, shown to refute requests that rest on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Refutation {
    /// Where the cell is.
    pub index: CellIndex,
    /// What it holds, of whatever kind it is.
    pub cell: CellElements,
    /// The siblings on the way to the root before the batch.
    pub path: MerklePath,
}

/// Why bytes are no [`Refutation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefutationError {
    /// A cell's index is 2^30 or more.
    #[error("cell index {0} is not below 2^30")]
    Index(u32),
    /// An element of the cell is not canonical.
    #[error("the cell: {0}")]
    Cell(#[from] NotCanonicalError),
    /// A sibling is not canonical.
    #[error("the path: {0}")]
    Path(#[from] PathError),
}

impl Refutation {
    /// The bytes of a refutation in a tree of a depth.
    pub fn length(depth: Depth) -> usize {
        4 + CellElements::LENGTH + usize::from(depth.levels()) * (ARITY - 1) * 32
    }

    /// The root of the tree that has the cell in its place; `None` if its index is outside the tree.
    pub fn root(&self) -> Option<Fr> {
        self.path.root(self.index, self.cell.hash())
    }

    /// Appends the encoding: index (4 bytes), the cell's elements (32 each), then the siblings, as
    /// [`MerklePath::to_bytes`] orders them, without their count.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.index.get().to_le_bytes());
        out.extend(self.cell.to_bytes());
        out.extend(&self.path.to_bytes()[1..]);
    }

    /// Decodes what [`Refutation::write`] writes for a tree of that depth.
    ///
    /// # Errors
    /// Each of [`RefutationError`]; a wrong length is a [`PathError`].
    pub fn from_bytes(bytes: &[u8], depth: Depth) -> Result<Self, RefutationError> {
        let length = RefutationError::Path(PathError::Length);
        if bytes.len() != Self::length(depth) {
            return Err(length);
        }
        let (index, rest) = bytes.split_first_chunk().ok_or(length)?;
        let (cell, siblings) = rest.split_first_chunk().ok_or(length)?;
        let index = u32::from_le_bytes(*index);
        let index = CellIndex::new(index).ok_or(RefutationError::Index(index))?;
        let cell = CellElements::from_bytes(cell)?;
        let mut path = alloc::vec![depth.levels()];
        path.extend(siblings);
        Ok(Self { index, cell, path: MerklePath::from_bytes(&path)? })
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// What it demands was made.
    Served,
    /// The state could not serve it.
    Refuted,
    /// The program in force opens no locks.
    Void,
}

/// A request that waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledRequest {
    /// The request.
    pub request: ScannedRequest,
    /// What became of it.
    pub outcome: Outcome,
}

/// A batch leaves a request out that it must serve or refute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request {index} is neither served nor refuted")]
pub struct LeftOutError {
    /// The request's number in the order of the chain.
    pub index: u64,
}

/// The records of a batch that serve requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingRecords {
    /// Its withdrawals of bitcoin.
    pub withdrawals: Vec<WithdrawRecord>,
    /// What its steps open locks with, and at which heights; `None` where the program opens no locks.
    pub claims: Option<Vec<ClaimRequest>>,
}

/// All that a record says of the request that it serves, in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Terms {
    Exit(CellIndex, u64, u64, Destination),
    Claim(ClaimRequest),
}

impl From<&WithdrawRecord> for Terms {
    fn from(record: &WithdrawRecord) -> Self {
        Self::Exit(record.from, record.amount, record.fee, record.destination)
    }
}

impl From<&Request> for Terms {
    fn from(request: &Request) -> Self {
        match request {
            Request::Exit(request) => (&request.record()).into(),
            Request::Claim(claim) => Self::Claim(*claim.request()),
        }
    }
}

/// Records that no request has taken yet.
#[derive(Default)]
pub(super) struct Untaken(BTreeMap<Terms, usize>);

impl FromIterator<Terms> for Untaken {
    fn from_iter<T: IntoIterator<Item = Terms>>(records: T) -> Self {
        let mut untaken = BTreeMap::<_, usize>::new();
        records.into_iter().for_each(|terms| *untaken.entry(terms).or_default() += 1);
        Self(untaken)
    }
}

impl Untaken {
    /// Takes a record that serves a request, if one is left.
    pub(super) fn take(&mut self, request: &Request) -> bool {
        let left = self.0.get_mut(&request.into()).filter(|count| **count > 0);
        left.map(|count| *count -= 1).is_some()
    }
}

/// What one request meets in its turn.
pub(super) enum Turn {
    /// Rule 1.
    Served,
    /// Rules 2, 3 and 4; by cells, but for rule 3.
    Refuted(Option<Refuting>),
    /// Rule 2, and rule 5 after enough was done.
    Waits,
    /// Rule 5 before that.
    LeftOut,
}

/// The rules of this [module](self), one request after another: who checks a batch and who makes one take the same
/// turns.
pub(super) struct Turns {
    depth: Depth,
    /// The cells of requests that were served, as those and the ones that wait for them leave them; `None` where what
    /// they were before is not known.
    moved: BTreeMap<CellIndex, Option<CellElements>>,
    /// The cells that were shown and refuted a request.
    refuting: BTreeSet<CellIndex>,
    served: usize,
}

impl Turns {
    pub(super) fn new(depth: Depth) -> Self {
        Self { depth, moved: BTreeMap::new(), refuting: BTreeSet::new(), served: 0 }
    }

    /// Whether enough was done for the requests that had their turn, so that the rest may wait.
    pub(super) fn is_enough(&self) -> bool {
        self.served + self.refuting.len() >= REQUESTS_ENOUGH
    }

    /// Takes the turn of a request, given whether it took a record and what is known of the state before the batch.
    /// `shows` says whether the batch shows cells that refute the request; it is told whether it must refute it.
    pub(super) fn take(
        &mut self,
        request: &Request,
        has_record: bool,
        before: impl Fn(CellIndex) -> Option<CellElements>,
        shows: impl Fn(&Refuting, bool) -> bool,
    ) -> Turn {
        let cell = request.cell();
        let moved = self.moved.get(&cell).copied();
        if has_record {
            self.served += 1;
            let now = moved.unwrap_or_else(|| before(cell));
            self.moved.insert(cell, now.map(|elements| request.after(elements)));
            return Turn::Served;
        }
        if moved.is_none() && !self.depth.contains(cell) {
            return Turn::Refuted(None);
        }
        let now = |index| moved.filter(|_| index == cell).unwrap_or_else(|| before(index));
        let may_wait = moved.is_some() || self.is_enough();
        let refuting = request.refuted_by(self.depth, now);
        let is_next = refuting.is_none();
        if let Some(refuting) = refuting.filter(|refuting| shows(refuting, !may_wait)) {
            self.refuting.extend(refuting.cells());
            return Turn::Refuted(Some(refuting));
        }
        if !may_wait {
            return Turn::LeftOut;
        }
        if let Some(Some(elements)) = moved.filter(|_| is_next) {
            self.moved.insert(cell, Some(request.after(elements)));
        }
        Turn::Waits
    }
}

/// Applies the rules for requests (`docs/protocol.md`, section 12) to those that wait up to the block that the batch
/// refers to, in their order; gives those that wait no longer, in the same order. `refutations` are known to be true.
///
/// # Errors
/// [`LeftOutError`] for the first request that the batch may not leave out and does.
pub fn settle<'a>(
    waiting: impl IntoIterator<Item = &'a ScannedRequest>,
    records: ServingRecords,
    refutations: &[Refutation],
    depth: Depth,
) -> Result<Vec<SettledRequest>, LeftOutError> {
    let opens_locks = records.claims.is_some();
    let claims = records.claims.into_iter().flatten().map(Terms::Claim);
    let mut untaken: Untaken = records.withdrawals.iter().map(Terms::from).chain(claims).collect();
    let shown: BTreeMap<CellIndex, &CellElements> =
        refutations.iter().map(|shown| (shown.index, &shown.cell)).collect();
    let (mut turns, mut settled) = (Turns::new(depth), Vec::new());
    for scanned in waiting {
        let ScannedRequest { index, request, .. } = scanned;
        if request.claim().is_some() && !opens_locks {
            settled.push(SettledRequest { request: *scanned, outcome: Outcome::Void });
            continue;
        }
        let has_record = untaken.take(request);
        let before = |cell| shown.get(&cell).map(|elements| **elements);
        let outcome = match turns.take(request, has_record, before, |_, _| true) {
            Turn::Served => Outcome::Served,
            Turn::Refuted(_) => Outcome::Refuted,
            Turn::Waits => continue,
            Turn::LeftOut => return Err(LeftOutError { index: *index }),
        };
        settled.push(SettledRequest { request: *scanned, outcome });
    }
    Ok(settled)
}
