//! Drives the verifier's follower with what a [`ChainSource`] has.
//!
//! The follower decides; here is only the reading. [`sync_headers`] brings its header chain up to the source's tip,
//! [`scan_next`] gives it the next block, and a driver alternates the two for as long as it likes. A source may
//! reorganise between two calls or in the middle of one: nothing read from it is believed for longer than the call.
//! It may fail at any call as well, in the middle of a branch: what the follower took it keeps, every rewind is told
//! when it happens and not at the end, and calling again goes on.

use crate::{
    chain_store::ChainStoreError,
    light::ExcerptError,
    node::{ChainSource, NodeError},
};
use bitcoin::{Block, BlockHash, Network, block::Header};
use std::{thread, time::Duration};
use taproof_base::network_name::network_name;
use taproof_verifier::{
    block::BlockError,
    follow::{Checkpoint, ConnectError, Event, Follower, Params, StartError, UnknownProgramError},
    headers::{BlockId, HeaderError},
    program::Programs,
};

/// How often in a row a source may change while it is read, without anything new, before it is left at that.
const CHANGES_MAX: u32 = 16;
/// How many changes in a row are followed without a pause, and the first and the longest pause after those.
const CHANGES_WITHOUT_PAUSE: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often a block is asked for that is not there: of several back ends behind one address another may have it.
const BLOCK_REQUESTS: u32 = 2;
/// Headers whose median bounds the time of the next.
const MEDIAN_TIME_SPAN: u32 = 11;
/// How many headers are asked for at a time, which bounds what they take before they are checked.
const HEADERS_AT_A_TIME: u32 = 2_000;

/// Why following stopped. What was scanned before stays scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The source did not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The follower does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A header breaks a rule, or its branch leaves the chain below the final block.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A block is not what its header commits to.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A program is in force that is not known here.
    #[error(transparent)]
    UnknownProgram(#[from] UnknownProgramError),
    /// What was found cannot be kept, or what was kept cannot be read.
    #[error(transparent)]
    Store(#[from] ChainStoreError),
    /// What a light follower needs is not to be had.
    #[error(transparent)]
    Excerpt(#[from] ExcerptError),
    /// The source follows another network.
    #[error("the source follows {}, the rollup lives on {}", network_name(*.found), network_name(*.expected))]
    Network {
        /// The rollup's network.
        expected: Network,
        /// The source's.
        found: Network,
    },
    /// The source has no block at a height that the rollup needs.
    #[error("the source has no block at height {0} yet")]
    TooShort(u32),
    /// The source's chain does not have the block of a checkpoint.
    #[error("the source's chain has another block at height {} than the checkpoint", .0.height)]
    Checkpoint(BlockId),
    /// The block that the rollup starts after is not in the source's chain: a reorganisation took it away, or the
    /// source is on another branch than everybody else.
    #[error(
        "the rollup starts after block {start}, and the source's chain has {found} there: it was reorganised below the \
         rollup's \
        start. Unless the block comes back, the rollup is lost: nothing that was or will be anchored counts, deposits \
        come back \
        by refund alone, and another rollup must be founded, after a block with more confirmations"
    )]
    StartLost {
        /// The block that the rollup starts after.
        start: BlockId,
        /// The hash that the source has at its height.
        found: BlockHash,
    },
    /// The source reorganises faster than its headers can be read.
    #[error("the source's chain changes all the time while it is read")]
    Unsteady,
    /// The source's best chain is another than the one that was followed, and has no more work: blocks of it were
    /// marked invalid there, or it is a source that has not caught up.
    #[error(
        "the source's best chain ends at height {tip_height} and has no more work than the one that was followed \
         before, up to block \
        {followed}"
    )]
    NoMoreWork {
        /// The last block that was followed.
        followed: BlockId,
        /// The height of the source's last block.
        tip_height: u32,
    },
}

impl From<ConnectError> for FollowError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Program(unknown) => Self::UnknownProgram(unknown),
            ConnectError::Block(error) => Self::Block(error),
            error => unreachable!("a block is refused for itself or for a program: {error}"),
        }
    }
}

impl FollowError {
    /// Whether trying again later may help with nothing changed here.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Node(NodeError::Block(_)) | Self::TooShort(_) | Self::Unsteady | Self::NoMoreWork { .. } => true,
            Self::Node(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Excerpt(ExcerptError::Node(error)) => error.is_transient(),
            _ => false,
        }
    }
}

/// Starts a follower before the rollup's first batch, with the headers before its start block from the source.
///
/// # Errors
/// [`FollowError`].
pub fn start(source: &dyn ChainSource, params: Params, programs: impl Into<Programs>) -> Result<Follower, FollowError> {
    expect_network(source, params.network)?;
    let lead = read_lead_to_start(source, &params)?;
    Ok(Follower::new(params, programs, &lead)?)
}

/// Goes on from a checkpoint, with the headers that it needs from the source.
///
/// # Errors
/// [`FollowError`].
pub fn resume(
    source: &dyn ChainSource,
    params: Params,
    programs: impl Into<Programs>,
    checkpoint: Checkpoint,
) -> Result<Follower, FollowError> {
    expect_network(source, params.network)?;
    let height = checkpoint.block().height;
    let lead = read_lead(source, params.network, height, checkpoint.tip().reference.height)?;
    Ok(Follower::resume(params, programs, checkpoint, &lead)?)
}

/// Reads headers until the follower's best chain is the source's, or has as much work. Each rewind that this brings
/// about is given to `rewound` as it happens, so that what is kept beside the follower stays in step with it where
/// the source fails later.
///
/// # Errors
/// [`FollowError`]; calling again goes on.
pub fn sync_headers(
    source: &dyn ChainSource,
    follower: &mut Follower,
    mut rewound: impl FnMut(&Event),
) -> Result<(), FollowError> {
    sync_headers_with(source, follower, &mut |_, _, event| {
        event.iter().for_each(&mut rewound);
        Ok(())
    })
}

/// What is told of each header that a follower took, with the rewind that it brought about.
type OnHeader<'a, E> = dyn FnMut(&Follower, &Header, Option<Event>) -> Result<(), E> + 'a;

/// As [`sync_headers`], giving each header that the follower took to `accepted`, with the rewind that it brought about.
pub(crate) fn sync_headers_with<E: From<FollowError>>(
    source: &dyn ChainSource,
    follower: &mut Follower,
    accepted: &mut OnHeader<'_, E>,
) -> Result<(), E> {
    let mut changes = Changes::default();
    loop {
        let work = follower.headers().work();
        let read = read_branch(source, follower, changes.count, accepted)?;
        if read == Read::All {
            return Ok(());
        }
        if follower.headers().work() > work {
            changes.forget();
        } else if !changes.pause() {
            // A source that tells of blocks and does not give their headers is as good as one that has none.
            return if read == Read::Short { Ok(()) } else { Err(FollowError::Unsteady.into()) };
        }
    }
}

/// What came of reading a source's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// All that it has.
    All,
    /// Fewer than it told of: its chain changed meanwhile, or several back ends stand behind one address.
    Short,
    /// Headers of another branch than the block that both had.
    Changed,
}

/// Counts how often in a row a source changed while it was read, without anything new.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    count: u32,
}

impl Changes {
    /// Something new was read.
    fn forget(&mut self) {
        self.count = 0;
    }

    /// Counts a change, and waits a little where there were several; `false` if there were too many.
    fn pause(&mut self) -> bool {
        self.count += 1;
        if self.count > CHANGES_MAX {
            return false;
        }
        if let Some(exponent) = self.count.checked_sub(CHANGES_WITHOUT_PAUSE) {
            thread::sleep(PAUSE_FIRST.saturating_mul(1 << exponent.min(16)).min(PAUSE_MAX));
        }
        true
    }

    /// Says how to go on after reading something of the next block of the follower's best chain; `None` was read where
    /// all are scanned. A block that is not to be had has left the source's chain since its header was read, or
    /// another back end answers. If that goes on, a block that is not final by its headers is one that the source does
    /// not have yet, and where the others are scanned all is done.
    ///
    /// # Errors
    /// Those of reading, and [`NodeError::Block`] if the block is final: its source should have it.
    pub(crate) fn next<T>(
        &mut self,
        follower: &Follower,
        read: Result<Option<T>, FollowError>,
    ) -> Result<Next<T>, FollowError> {
        match read {
            Ok(Some(found)) => {
                self.forget();
                Ok(Next::Read(found))
            }
            Ok(None) => Ok(Next::End),
            Err(
                FollowError::Node(NodeError::Block(_)) | FollowError::Excerpt(ExcerptError::Node(NodeError::Block(_))),
            ) => self.missing(follower),
            Err(error) => Err(error),
        }
    }

    fn missing<T>(&mut self, follower: &Follower) -> Result<Next<T>, FollowError> {
        if self.pause() {
            return Ok(Next::Gone);
        }
        match follower.next_block() {
            Some(next) if next.height <= follower.headers().final_block().height => {
                Err(NodeError::Block(next.hash).into())
            }
            _ => Ok(Next::End),
        }
    }
}

/// How to go on after reading something of a follower's next block.
#[derive(Debug)]
pub(crate) enum Next<T> {
    /// It was read.
    Read(T),
    /// It is not to be had now: the headers are to be read again.
    Gone,
    /// There is nothing more to read.
    End,
}

/// Scans the next block of the follower's best chain; `None` if all are scanned.
///
/// # Errors
/// [`FollowError`]; a block that the source no longer has is transient, and [`sync_headers`] is the way on.
pub fn scan_next(source: &dyn ChainSource, follower: &mut Follower) -> Result<Option<Vec<Event>>, FollowError> {
    let Some(block) = next_block(source, follower)? else { return Ok(None) };
    Ok(Some(follower.connect(block)?))
}

/// Reads the next block of the follower's best chain; `None` if all are scanned.
pub(crate) fn next_block(source: &dyn ChainSource, follower: &Follower) -> Result<Option<Block>, FollowError> {
    let Some(next) = follower.next_block() else { return Ok(None) };
    let mut block = source.block(&next.hash);
    for _ in 1..BLOCK_REQUESTS {
        if let Err(NodeError::Block(_)) = block {
            block = source.block(&next.hash);
        }
    }
    Ok(Some(block?))
}

/// Reads and scans all that the source has, giving each event to `observe` as it comes, with the follower as it is
/// then.
///
/// # Errors
/// [`FollowError`], after which calling again goes on; or what `observe` fails with: it is not told of that event
/// again, nor of what came with it.
pub fn catch_up<E: From<FollowError>>(
    source: &dyn ChainSource,
    follower: &mut Follower,
    mut observe: impl FnMut(&Follower, Option<Event>) -> Result<(), E>,
) -> Result<(), E> {
    let mut changes = Changes::default();
    loop {
        sync_headers_with(source, follower, &mut |follower, _, event| match event {
            Some(event) => observe(follower, Some(event)),
            None => Ok(()),
        })?;
        loop {
            let scanned = scan_next(source, follower);
            match changes.next(follower, scanned)? {
                Next::Read(events) => {
                    events.into_iter().try_for_each(|event| observe(follower, Some(event)))?;
                    observe(follower, None)?;
                }
                Next::Gone => break,
                Next::End => return Ok(()),
            }
        }
    }
}

pub(crate) fn expect_network(source: &dyn ChainSource, expected: Network) -> Result<(), FollowError> {
    let found = source.network();
    if found == expected { Ok(()) } else { Err(FollowError::Network { expected, found }) }
}

/// The lowest height that headers which lead up to `height` should reach: the start of its period of difficulty, far
/// enough back for median times and for the block at `needed_height`.
pub(crate) fn lead_first(network: Network, height: u32, needed_height: u32) -> u32 {
    let interval = u32::try_from(network.params().difficulty_adjustment_interval()).expect("a period has 2,016 blocks");
    let period_start = height - height % interval;
    period_start.min(height.saturating_sub(MEDIAN_TIME_SPAN - 1)).min(needed_height)
}

/// The headers from [`lead_first`] up to `height`.
pub(crate) fn read_lead(
    source: &dyn ChainSource,
    network: Network,
    height: u32,
    needed_height: u32,
) -> Result<Vec<Header>, FollowError> {
    let mut next = lead_first(network, height, needed_height);
    let mut lead = Vec::with_capacity((height - next + 1) as usize);
    while next <= height {
        let headers = source.headers(next, HEADERS_AT_A_TIME.min(height - next + 1))?;
        if headers.is_empty() {
            return Err(FollowError::TooShort(next));
        }
        next += headers.len() as u32;
        lead.extend(headers);
    }
    Ok(lead)
}

/// The headers that lead up to the block that the rollup starts after.
pub(crate) fn read_lead_to_start(source: &dyn ChainSource, params: &Params) -> Result<Vec<Header>, FollowError> {
    let start = params.start;
    let lead = read_lead(source, params.network, start.height, start.height)?;
    match lead.last().map(Header::block_hash) {
        Some(found) if found != start.hash => Err(FollowError::StartLost { start, found }),
        _ => Ok(lead),
    }
}

/// Says which error it is that the source's chain leaves the follower's below the final block: whether it has the
/// rollup's start decides.
fn left_below_final(source: &dyn ChainSource, follower: &Follower, error: HeaderError) -> FollowError {
    let start = follower.params().start;
    match source.block_hash(start.height) {
        Ok(Some(found)) if found != start.hash => FollowError::StartLost { start, found },
        _ => error.into(),
    }
}

/// Reads the source's headers above the last block that both chains have, or above one that lies so many blocks below
/// it: known headers do no harm, and those of another branch follow on one that is known.
fn read_branch<E: From<FollowError>>(
    source: &dyn ChainSource,
    follower: &mut Follower,
    back_blocks: u32,
    accepted: &mut OnHeader<'_, E>,
) -> Result<Read, E> {
    let tip_height = source.tip_height().map_err(FollowError::from)?;
    let common = common_height(source, follower, tip_height)?;
    let mut height = common.saturating_sub(back_blocks).max(follower.headers().final_block().height);
    while height < tip_height {
        let headers = source.headers(height + 1, HEADERS_AT_A_TIME.min(tip_height - height));
        let headers = headers.map_err(FollowError::from)?;
        if headers.is_empty() {
            return Ok(Read::Short);
        }
        height += headers.len() as u32;
        for header in headers {
            match follower.accept_header(header) {
                Ok(event) => accepted(follower, &header, event)?,
                Err(HeaderError::ParentUnknown { .. }) => return Ok(Read::Changed),
                Err(error @ HeaderError::ForksBelowFinal { .. }) => {
                    return Err(left_below_final(source, follower, error).into());
                }
                Err(error) => return Err(FollowError::from(error).into()),
            }
        }
    }
    Ok(Read::All)
}

/// The height of the last block that both chains have.
fn common_height(source: &dyn ChainSource, follower: &Follower, tip_height: u32) -> Result<u32, FollowError> {
    let headers = follower.headers();
    let final_height = headers.final_block().height;
    if tip_height < final_height {
        return Err(FollowError::TooShort(final_height));
    }
    let mut height = headers.tip().height.min(tip_height);
    loop {
        match source.block_hash(height)? {
            Some(hash) if headers.contains(BlockId { height, hash }) => return Ok(height),
            Some(hash) if height == final_height => {
                return Err(left_below_final(source, follower, HeaderError::ForksBelowFinal { hash, final_height }));
            }
            // The source became shorter since it told of its tip, or another back end answers.
            None if height == final_height => return Err(FollowError::TooShort(height)),
            _ => {}
        }
        height -= 1;
    }
}

#[cfg(test)]
mod tests;
