//! The stored headers: read again before a follower begins, and added to as the chain goes on.

use super::{ChainStore, ChainStoreError, Progress};
use crate::{
    follow::{FollowError, lead_first, read_lead},
    node::{ChainSource, NodeError},
};
use bitcoin::{Block, BlockHash, Network, Work, block::Header};
use std::{collections::HashMap, ops::RangeInclusive};
use taproof_verifier::{follow::Follower, headers::BlockId};

/// How many stored headers are read at a time.
const HEADERS_AT_A_TIME: u32 = 2_016;

/// A source whose headers are read from a store where that has them, so that whoever begins anew asks only for the
/// others.
pub struct WithStoredHeaders<'a> {
    store: &'a ChainStore,
    source: &'a dyn ChainSource,
    /// The heights of the stored headers, if they are of the source's chain.
    heights: Option<RangeInclusive<u32>>,
}

impl<'a> WithStoredHeaders<'a> {
    /// Takes the store's headers if the source's chain has the last of them.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn new(store: &'a ChainStore, source: &'a dyn ChainSource) -> Result<Self, FollowError> {
        let mut heights = store.header_heights()?;
        if let Some(end) = heights.as_ref().map(|heights| *heights.end()) {
            let last = store.headers(end, 1)?.first().map(Header::block_hash);
            heights = heights.filter(|_| last.is_some());
            if source.block_hash(end)? != last {
                heights = None;
            }
        }
        Ok(Self { store, source, heights })
    }
}

impl ChainSource for WithStoredHeaders<'_> {
    fn network(&self) -> Network {
        self.source.network()
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.source.tip_height()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.source.block_hash(height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        self.source.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.source.block(hash)
    }

    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        let is_stored = self.heights.as_ref().is_some_and(|heights| heights.contains(&first_height));
        // What the store no longer gives, the source does.
        let stored =
            if is_stored { self.store.headers(first_height, count_max).unwrap_or_default() } else { Vec::new() };
        if stored.is_empty() { self.source.headers(first_height, count_max) } else { Ok(stored) }
    }
}

/// Writes the headers of blocks that no longer change.
pub(super) fn write_headers(
    store: &ChainStore,
    follower: &Follower,
    headers: &mut HashMap<BlockHash, Header>,
    headers_next: &mut u32,
    source: &dyn ChainSource,
) -> Result<(), FollowError> {
    let chain = follower.headers();
    let mut settled = Vec::new();
    for height in *headers_next..=chain.final_block().height {
        let Some(block) = chain.at(height) else { break };
        let header = match headers.get(&block.hash) {
            Some(header) => *header,
            None => source.header(&block.hash)?,
        };
        settled.push(header);
    }
    if settled.is_empty() {
        return Ok(());
    }
    store.append(&Progress { checkpoint: None, events: &[], headers_first: *headers_next, headers: &settled })?;
    *headers_next += settled.len() as u32;
    // What is left belongs to blocks that are not final, or to branches that lost.
    headers.retain(|hash, _| chain.header(hash).is_some());
    settled.iter().for_each(|header| {
        headers.remove(&header.block_hash());
    });
    Ok(())
}

/// The headers from [`lead_first`] up to a block: what the store has of them, and the others from the source. Where
/// nothing of the chain was scanned yet they are kept as they come, so that a source that breaks off is not asked for
/// them again.
pub(super) fn kept_lead(
    store: &ChainStore,
    source: &dyn ChainSource,
    network: Network,
    block: BlockId,
    needed_height: u32,
) -> Result<Vec<Header>, FollowError> {
    let first = lead_first(network, block.height, needed_height);
    let count = block.height - first + 1;
    let mut lead = store.headers(first, count)?;
    let is_whole = |lead: &[Header]| lead.last().map(Header::block_hash) == Some(block.hash);
    if is_whole(&lead) {
        return Ok(lead);
    }
    if store.has_log()? {
        return read_lead(source, network, block.height, needed_height);
    }
    // Nothing vouches for these headers before the last is the block's: what does not lead there is forgotten.
    if lead.is_empty() || lead.len() == count as usize {
        store.forget_headers(first)?;
        lead.clear();
    }
    while lead.len() < count as usize {
        let next = first + lead.len() as u32;
        let headers = source.headers(next, HEADERS_AT_A_TIME.min(block.height - next + 1))?;
        let Some(found) = headers.first() else { return Err(FollowError::TooShort(next)) };
        if lead.last().is_some_and(|last| last.block_hash() != found.prev_blockhash) {
            store.forget_headers(first)?;
            return Err(FollowError::Unsteady);
        }
        store.append(&Progress { checkpoint: None, events: &[], headers_first: next, headers: &headers })?;
        lead.extend(headers);
    }
    if !is_whole(&lead) {
        store.forget_headers(first)?;
    }
    Ok(lead)
}

/// Takes back what the store has above the last header that the source's chain has, too; whether it has any above a
/// height then.
pub(super) fn leave_stale_headers(
    store: &ChainStore,
    source: &dyn ChainSource,
    height: u32,
) -> Result<bool, FollowError> {
    let Some(heights) = store.header_heights()?.filter(|heights| *heights.end() > height) else { return Ok(false) };
    let last = store.headers(*heights.end(), 1)?.first().map(Header::block_hash);
    if last.is_some() && source.block_hash(*heights.end())? == last {
        return Ok(true);
    }
    let shared = shared_height(store, source, heights)?;
    store.rewind_to(shared.max(height), None)?;
    Ok(shared > height)
}

/// Gives stored headers from a height on to a follower; the height of the first that is not stored.
pub(super) fn accept_stored(store: &ChainStore, follower: &mut Follower, first: u32) -> Result<u32, FollowError> {
    let mut next = first;
    loop {
        let headers = store.headers(next, HEADERS_AT_A_TIME)?;
        if headers.is_empty() {
            return Ok(next);
        }
        for header in headers {
            follower.accept_header(header)?;
            next += 1;
        }
    }
}

/// The height of the last stored header that the source's chain has, too; the first is taken for one.
fn shared_height(
    store: &ChainStore,
    source: &dyn ChainSource,
    heights: RangeInclusive<u32>,
) -> Result<u32, FollowError> {
    let hash_at = |height: u32| Ok::<_, ChainStoreError>(store.headers(height, 1)?.first().map(Header::block_hash));
    let (mut shared, mut apart) = (*heights.start(), heights.end() + 1);
    // All below the fork is shared, all above is not.
    while apart - shared > 1 {
        let middle = shared + (apart - shared) / 2;
        match source.block_hash(middle)? {
            Some(hash) if hash_at(middle)? == Some(hash) => shared = middle,
            _ => apart = middle,
        }
    }
    Ok(shared)
}

/// The height of the last stored header that the source's chain has, if that chain has more work than the stored one
/// above.
pub(super) fn fork_height(store: &ChainStore, source: &dyn ChainSource, stored: BlockId) -> Result<u32, FollowError> {
    let Some(heights) = store.header_heights()? else { return Ok(0) };
    let shared = shared_height(store, source, heights)?;
    let stored_work = work(&mut |height| Ok(store.headers(height, HEADERS_AT_A_TIME)?), shared + 1)?;
    let source_work = work(&mut |height| Ok(source.headers(height, HEADERS_AT_A_TIME)?), shared + 1)?;
    if source_work <= stored_work {
        return Err(ChainStoreError::LessWork { stored, fork_height: shared }.into());
    }
    Ok(shared)
}

/// The work of the headers from a height on, as far as they are linked and each meets its own difficulty. Whether that
/// difficulty is the right one, a follower finds out.
fn work(
    read: &mut dyn FnMut(u32) -> Result<Vec<Header>, FollowError>,
    first: u32,
) -> Result<Option<Work>, FollowError> {
    let (mut next, mut sum, mut parent) = (first, None::<Work>, None::<BlockHash>);
    loop {
        let headers = read(next)?;
        if headers.is_empty() {
            return Ok(sum);
        }
        next += headers.len() as u32;
        for header in headers {
            let is_linked = parent.is_none_or(|parent| parent == header.prev_blockhash);
            if !is_linked || header.validate_pow(header.target()).is_err() {
                return Ok(sum);
            }
            parent = Some(header.block_hash());
            sum = Some(sum.map_or(header.work(), |sum| sum + header.work()));
        }
    }
}
