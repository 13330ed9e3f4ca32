//! The header chain: headers checked by Bitcoin's rules, and the branch with the most work.
//!
//! A header is accepted iff its parent is known, its difficulty is the one that the network's retargeting demands, its
//! hash meets it, its time is later than the median of the eleven before it, and its version is not outdated at its
//! height. The rule that a header's time must not lie two hours ahead of the clock is left out: every decision here is
//! a function of the headers alone. So are signet's block signatures, which stand in no header.
//!
//! A chain starts at a block whose height and hash are trusted. What the rules need from before it comes as headers
//! that lead up to it, which the hash authenticates. Where they do not reach back to the first header of their
//! retargeting period, the first change of difficulty cannot be recomputed; it is held to the limits of any change, a
//! factor of four, and [`HeaderChain::is_first_retarget_exact`] tells. Where fewer than eleven are known, unknown
//! times count as zero, so the median is a lower bound of the true one.
//!
//! Reorganisations are followed up to a bound: a block with `final_depth_blocks` confirmations is final, and branches
//! that leave the chain below it are refused. What is stored of final headers is their hashes, 32 bytes each, until
//! [`HeaderChain::forget_below`] says that nobody will ask for them.

use alloc::{collections::BTreeMap, vec::Vec};
use bitcoin::{BlockHash, CompactTarget, Network, Work, block::Header, consensus::Params};

mod rules;
#[cfg(test)]
mod tests;

pub use rules::ValidatedHeader;

/// Headers kept beside the best chain. Each cost its miner the work of a block within the bound of reorganisations.
pub const SIDE_HEADERS_MAX: usize = 4_096;

/// How far below the final block hashes are kept at least: there a branch that comes too late is told from an unknown
/// one.
const RECENT_BLOCKS: usize = 4_032;
/// How many hashes are forgotten at a time, so that the others are seldom moved.
const FORGOTTEN_MIN: usize = 2_016;

/// A block's place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockId {
    /// The number of blocks before it.
    pub height: u32,
    /// The hash of its header.
    pub hash: BlockHash,
}

impl core::fmt::Display for BlockId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} at height {}", self.hash, self.height)
    }
}

/// Why a header, or a start, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The parent is not known: a header is missing, or the parent lies below the final block.
    #[error("header {hash} builds on {parent}, which is not known or no longer kept")]
    ParentUnknown {
        /// The header's hash.
        hash: BlockHash,
        /// The hash of its parent.
        parent: BlockHash,
    },
    /// The header would start a branch below the final block.
    #[error("header {hash} forks off below the final block, at height {final_height}")]
    ForksBelowFinal {
        /// The header's hash.
        hash: BlockHash,
        /// The height of the final block.
        final_height: u32,
    },
    /// The difficulty is not the one that the rules demand.
    #[error("the header at height {height} has difficulty bits {found:#010x}, not {expected:#010x}")]
    Bits {
        /// The header's height.
        height: u32,
        /// The bits that the rules demand.
        expected: u32,
        /// The bits that the header has.
        found: u32,
    },
    /// The difficulty is none that the rules could demand.
    #[error("the header at height {height} has difficulty bits {found:#010x}, which cannot follow")]
    BitsOutOfRange {
        /// The header's height.
        height: u32,
        /// The bits that the header has.
        found: u32,
    },
    /// The hash does not meet the difficulty.
    #[error("the header at height {height} lacks the proof of work: its hash is {hash}")]
    ProofOfWork {
        /// The header's height.
        height: u32,
        /// The header's hash.
        hash: BlockHash,
    },
    /// The time is not later than the median of the eleven headers before.
    #[error("the header at height {height} has time {time}, not after the median {median} of those before")]
    TimeTooOld {
        /// The header's height.
        height: u32,
        /// The header's time.
        time: u32,
        /// The median of the times before.
        median: u32,
    },
    /// The first header of a period lies more than ten minutes before its parent (BIP-94).
    #[error("the header at height {height} opens a period with a time too far before its parent's")]
    TimeWarp {
        /// The header's height.
        height: u32,
    },
    /// The version is outdated at this height (BIP-34, BIP-65, BIP-66).
    #[error("the header at height {height} has the outdated version {version}")]
    Version {
        /// The header's height.
        height: u32,
        /// The header's version.
        version: i32,
    },
    /// Too many headers are kept beside the best chain.
    #[error("{SIDE_HEADERS_MAX} headers are kept beside the best chain already")]
    TooManySideHeaders,
    /// Heights end here.
    #[error("the height exceeds 32 bits")]
    HeightOverflow,
    /// No header is given for the start, or more than its height allows.
    #[error("{count} headers cannot lead up to height {height}")]
    LeadLength {
        /// How many are given.
        count: usize,
        /// The height of the start.
        height: u32,
    },
    /// The last of the leading headers is not the trusted one.
    #[error("the chain starts at {expected}, but the headers lead up to {found}")]
    StartHash {
        /// The trusted hash.
        expected: BlockHash,
        /// The hash of the last header given.
        found: BlockHash,
    },
    /// On this network a start needs headers back to one of ordinary difficulty.
    #[error("on this network the start needs headers back to one of ordinary difficulty or to its period's first")]
    LeadTooShort,
    /// A final depth of zero would make blocks final before they exist.
    #[error("the final depth must be at least one block")]
    FinalDepthZero,
}

/// What became of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Accepted {
    /// It was known.
    Known,
    /// It extends the best chain.
    Extended,
    /// It stands on a branch with no more work than the best chain.
    Side,
    /// Its branch has the most work now: blocks above this one have left the best chain.
    Reorganised(BlockId),
}

/// The tree of validated headers and its best chain.
#[derive(Clone, Debug)]
pub struct HeaderChain {
    params: &'static Params,
    final_depth_blocks: u32,
    start: BlockId,
    first_retarget_exact: bool,
    /// The hashes of the best chain, from the first leading header on.
    best: Vec<BlockHash>,
    base_height: u32,
    final_height: u32,
    unsettled: BTreeMap<BlockHash, ValidatedHeader>,
}

impl HeaderChain {
    /// Starts at a trusted block. `lead` are consecutive headers, the last of which is the trusted block's; see the
    /// module's words on what more of them allow to check. Leading headers are themselves checked by all rules.
    ///
    /// # Errors
    /// [`HeaderError`] if the last header is not the trusted one, a header breaks a rule, or too few are given.
    pub fn new(
        network: Network,
        start: BlockId,
        lead: &[Header],
        final_depth_blocks: u32,
    ) -> Result<Self, HeaderError> {
        Self::by_rules(network.params(), start, lead, final_depth_blocks)
    }

    /// As [`HeaderChain::new`], by any rules of difficulty.
    pub(crate) fn by_rules(
        params: &'static Params,
        start: BlockId,
        lead: &[Header],
        final_depth_blocks: u32,
    ) -> Result<Self, HeaderError> {
        if final_depth_blocks == 0 {
            return Err(HeaderError::FinalDepthZero);
        }
        let length_error = || HeaderError::LeadLength { count: lead.len(), height: start.height };
        let (first, rest) = lead.split_first().ok_or_else(length_error)?;
        let found = rest.last().unwrap_or(first).block_hash();
        if found != start.hash {
            return Err(HeaderError::StartHash { expected: start.hash, found });
        }
        let count = u32::try_from(rest.len()).map_err(|_| length_error())?;
        let first_height = start.height.checked_sub(count).ok_or_else(length_error)?;
        let trusted = ValidatedHeader::first(*first, first_height, params)?;
        let root = rest.iter().try_fold(trusted, |parent, header| parent.child(*header, params))?;
        if !root.knows_ordinary_bits(params) {
            return Err(HeaderError::LeadTooShort);
        }
        Ok(Self {
            params,
            final_depth_blocks,
            start,
            first_retarget_exact: root.knows_period_start() || params.no_pow_retargeting,
            best: lead.iter().map(Header::block_hash).collect(),
            base_height: first_height,
            final_height: start.height,
            unsettled: BTreeMap::from([(start.hash, root)]),
        })
    }

    /// The trusted block.
    pub fn start(&self) -> BlockId {
        self.start
    }

    /// The network whose rules hold.
    pub fn network(&self) -> Network {
        self.params.network
    }

    /// Whether the first change of difficulty after the start is recomputed, not only bounded.
    pub fn is_first_retarget_exact(&self) -> bool {
        self.first_retarget_exact
    }

    /// The last block of the best chain.
    pub fn tip(&self) -> BlockId {
        self.tip_header().id()
    }

    /// The work of the best chain since the first leading header.
    pub fn work(&self) -> Work {
        self.tip_header().work()
    }

    /// The highest final block: the best chain up to it cannot change any more.
    pub fn final_block(&self) -> BlockId {
        BlockId { height: self.final_height, hash: self.best[(self.final_height - self.base_height) as usize] }
    }

    /// The block of the best chain at a height; `None` below the first hash that is kept and above the tip.
    pub fn at(&self, height: u32) -> Option<BlockId> {
        let hash = *self.best.get(height.checked_sub(self.base_height)? as usize)?;
        Some(BlockId { height, hash })
    }

    /// Whether a block is in the best chain, from the first hash that is kept on.
    pub fn contains(&self, block: BlockId) -> bool {
        self.at(block.height) == Some(block)
    }

    /// The header of a block that is not yet final, or of the final block, on whatever branch.
    pub fn header(&self, hash: &BlockHash) -> Option<&ValidatedHeader> {
        self.unsettled.get(hash)
    }

    /// Hashes from which a node finds where its chain leaves this one: the tip, then further and further back, and the
    /// start last.
    pub fn locator(&self) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        let start = self.start.height.saturating_sub(self.base_height) as usize;
        let (mut index, mut step) = (self.best.len() - 1, 1);
        while index > start {
            hashes.push(self.best[index]);
            if hashes.len() >= 10 {
                step *= 2;
            }
            index = index.saturating_sub(step);
        }
        hashes.push(self.start.hash);
        hashes
    }

    /// Takes a header, which must come after its parent.
    ///
    /// # Errors
    /// [`HeaderError`], with nothing changed.
    pub fn accept(&mut self, header: Header) -> Result<Accepted, HeaderError> {
        let hash = header.block_hash();
        if self.unsettled.contains_key(&hash) {
            return Ok(Accepted::Known);
        }
        let Some(parent) = self.unsettled.get(&header.prev_blockhash) else {
            return self.without_parent(hash, header.prev_blockhash);
        };
        let validated = parent.child(header, self.params)?;
        let (id, work) = (validated.id(), validated.work());
        let extends = header.prev_blockhash == self.tip().hash;
        if !extends && self.side_count() >= SIDE_HEADERS_MAX {
            return Err(HeaderError::TooManySideHeaders);
        }
        let wins = work > self.work();
        self.unsettled.insert(hash, validated);
        if !wins {
            return Ok(Accepted::Side);
        }
        let accepted = if extends {
            self.best.push(hash);
            Accepted::Extended
        } else {
            Accepted::Reorganised(self.switch_to(id))
        };
        self.settle();
        Ok(accepted)
    }

    /// Allows the hashes of blocks below a height to be forgotten, as far as they are final and not recent. Where
    /// they are many, they are.
    pub fn forget_below(&mut self, height: u32) {
        let recent = (self.final_height - self.base_height) as usize + 1;
        let wanted = height.saturating_sub(self.base_height) as usize;
        let forgotten = wanted.min(recent.saturating_sub(RECENT_BLOCKS));
        if forgotten >= FORGOTTEN_MIN {
            self.best.drain(..forgotten);
            self.best.shrink_to(self.best.len() + FORGOTTEN_MIN);
            self.base_height += forgotten as u32;
        }
    }

    fn without_parent(&self, hash: BlockHash, parent: BlockHash) -> Result<Accepted, HeaderError> {
        if self.is_settled(&hash) {
            return Ok(Accepted::Known);
        }
        if self.is_settled(&parent) {
            return Err(HeaderError::ForksBelowFinal { hash, final_height: self.final_height });
        }
        Err(HeaderError::ParentUnknown { hash, parent })
    }

    fn tip_header(&self) -> &ValidatedHeader {
        let hash = self.best.last().expect("the start is never removed");
        &self.unsettled[hash]
    }

    fn side_count(&self) -> usize {
        self.unsettled.len() - (self.tip().height - self.final_height + 1) as usize
    }

    /// Looks among recent final headers only: what lies deeper is as good as unknown.
    fn is_settled(&self, hash: &BlockHash) -> bool {
        let final_count = (self.final_height - self.base_height) as usize;
        self.best[..final_count].iter().rev().take(RECENT_BLOCKS).any(|settled| settled == hash)
    }

    /// Makes the branch that ends in `tip` the best chain and returns the last block that it shares with the old one.
    fn switch_to(&mut self, tip: BlockId) -> BlockId {
        let mut branch = Vec::new();
        let mut block = tip;
        while self.at(block.height) != Some(block) {
            branch.push(block.hash);
            let parent = self.unsettled[&block.hash].header().prev_blockhash;
            block = BlockId { height: block.height - 1, hash: parent };
        }
        self.best.truncate((block.height - self.base_height) as usize + 1);
        self.best.extend(branch.into_iter().rev());
        block
    }

    /// Makes final what has the depth, and forgets the branches that left the chain below.
    fn settle(&mut self) {
        // A block is its own first confirmation.
        let final_height = self.tip().height.saturating_sub(self.final_depth_blocks - 1).max(self.final_height);
        if final_height == self.final_height {
            return;
        }
        let has_branches = self.side_count() > 0;
        for height in self.final_height..final_height {
            let hash = self.best[(height - self.base_height) as usize];
            self.unsettled.remove(&hash);
        }
        self.final_height = final_height;
        if has_branches {
            self.forget_lost_branches();
        }
    }

    fn forget_lost_branches(&mut self) {
        let mut by_height: Vec<_> = self.unsettled.values().map(ValidatedHeader::id).collect();
        by_height.sort_unstable();
        let final_hash = self.final_block().hash;
        for id in by_height {
            let parent = self.unsettled[&id.hash].header().prev_blockhash;
            if id.hash != final_hash && (id.height <= self.final_height || !self.unsettled.contains_key(&parent)) {
                self.unsettled.remove(&id.hash);
            }
        }
    }
}

/// The least difficulty of a network, as header bits.
fn limit_bits(params: &Params) -> CompactTarget {
    params.max_attainable_target.to_compact_lossy()
}
