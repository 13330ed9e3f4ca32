//! What all who follow a rollup agree on, and the state that they agree on after a batch.

use crate::{
    bridge::Bridge,
    cell::{ChainId, Depth, empty_root, grown_root},
    envelope::Magic,
    headers::{BlockId, HeaderError},
    payload::PayloadHash,
    program::ProgramId,
};
use ark_bn254::Fr;
use bitcoin::Network;

/// What tells one rollup from another: everything that all who follow it must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Params {
    /// The Bitcoin network.
    pub network: Network,
    /// The rollup's number, which statements and signatures name.
    pub chain_id: ChainId,
    /// Marks the outputs that announce anchors.
    pub magic: Magic,
    /// Marks the outputs that name a deposit's owner.
    pub deposit_magic: Magic,
    /// The depth of the empty tree before the first batch.
    pub genesis_depth: Depth,
    /// Who holds what is deposited, and how long a depositor waits for a refund.
    pub bridge: Bridge,
    /// How many blocks below its own an anchor may refer to: so long can a deposit or an exit request be left waiting.
    pub deposit_window_blocks: u32,
    /// A deposit cannot be credited in a block more than so many above its own: then it is the depositor's to take
    /// back. [Three windows](Deadlines::EXPIRY_WINDOWS_MIN) or more, and less than the refund's delay.
    pub deposit_expiry_blocks: u32,
    /// A block before the first anchor and the first deposit: blocks are read from the one after it.
    pub start: BlockId,
    /// How many blocks, its own included, make a block final.
    pub final_depth_blocks: u32,
    /// The program that proofs are for.
    pub program_id: ProgramId,
}

impl Params {
    /// Checks what the fields demand of one another.
    ///
    /// # Errors
    /// As [`Deadlines::check`].
    pub fn check(&self) -> Result<(), StartError> {
        let deadlines = Deadlines {
            window_blocks: self.deposit_window_blocks,
            expiry_blocks: self.deposit_expiry_blocks,
            final_depth_blocks: self.final_depth_blocks,
            refund_delay_blocks: self.bridge.refund_delay_blocks(),
        };
        deadlines.check(self.network)
    }

    /// The height of the last block in which an anchor may stand that refers to a block at `reference_height`.
    pub fn anchor_height_max(&self, reference_height: u32) -> u32 {
        reference_height.saturating_add(self.deposit_window_blocks)
    }

    /// The first height at which every anchor must credit a deposit, or serve or refute an exit request, of a block
    /// at a height: all that may be referred to there is as high. A batch that does enough of them may leave some for
    /// the next.
    pub fn due_height(&self, height: u32) -> u32 {
        height.saturating_add(self.deposit_window_blocks)
    }

    /// The height below which deposits are void for a batch that refers to a block at `reference_height`: it passes
    /// over them. As its anchor stands at [`Params::anchor_height_max`] or lower, every deposit that it credits is
    /// then at most `deposit_expiry_blocks` blocks old.
    pub fn void_below(&self, reference_height: u32) -> u32 {
        let age_max = self.deposit_expiry_blocks.saturating_sub(self.deposit_window_blocks);
        reference_height.saturating_sub(age_max)
    }
}

/// The times of a deposit, all in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// How many blocks below its own an anchor may refer to.
    pub window_blocks: u32,
    /// How old a deposit may be in the block of the anchor that credits it.
    pub expiry_blocks: u32,
    /// How many blocks, its own included, make a block final.
    pub final_depth_blocks: u32,
    /// How deep a deposit must be until its depositor can take it back.
    pub refund_delay_blocks: u16,
}

impl Deadlines {
    /// How many windows the expiry lasts at least.
    ///
    /// With window w and expiry e, an anchor in block h + w or later refers to block h or a later one, so it does not
    /// leave out a deposit in block h. One in block B refers to B - 1 at most, and what it refers to makes void what
    /// is more than e - w blocks older. So a deposit is credited for certain where an anchor stands in one of the
    /// blocks h + w to h + e - w + 1. These are e - 2 w + 2, and with three windows w + 2: posters that are never
    /// silent for longer than a window void no deposit, whatever their anchors refer to. With two windows and less,
    /// one that posts in every block can.
    pub const EXPIRY_WINDOWS_MIN: u32 = 3;

    /// Checks that each party has its time: the poster the window to credit a deposit, the depositor
    /// [three](Deadlines::EXPIRY_WINDOWS_MIN) of them until nobody credits it any more, and at least
    /// [`Deadlines::sweep_blocks_min`] the federation to move one that was credited at the last moment, from when
    /// that is final until the depositor could take it back.
    ///
    /// # Errors
    /// [`StartError::Deadlines`].
    pub fn check(&self, network: Network) -> Result<(), StartError> {
        let credited = u64::from(self.expiry_blocks) + u64::from(self.final_depth_blocks);
        let moved = credited + u64::from(Self::sweep_blocks_min(network));
        let windows = u64::from(self.window_blocks) * u64::from(Self::EXPIRY_WINDOWS_MIN);
        if 0 < self.window_blocks
            && windows <= self.expiry_blocks.into()
            && 0 < self.final_depth_blocks
            && moved <= self.refund_delay_blocks.into()
        {
            return Ok(());
        }
        Err(StartError::Deadlines { deadlines: *self, network })
    }

    /// The time that the federation must have to move a deposit: three days on mainnet, a block elsewhere.
    pub fn sweep_blocks_min(network: Network) -> u32 {
        if network == Network::Bitcoin { 432 } else { 1 }
    }
}

/// The state of the rollup after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// How many batches there are: the number of the next.
    pub batches: u64,
    /// The hash of the last batch's payload.
    pub payload_hash: PayloadHash,
    /// The root of the state.
    pub root: Fr,
    /// The depth of the tree.
    pub depth: Depth,
    /// How many deposits are credited or passed over as void: all before the one of this number.
    pub deposits_consumed: u64,
    /// How many payouts the batches have made: the number of the next.
    pub payouts: u64,
    /// The Bitcoin block up to which deposits are taken into account.
    pub reference: BlockId,
}

impl Tip {
    /// The empty state.
    pub fn genesis(params: &Params) -> Self {
        Self {
            batches: 0,
            payload_hash: PayloadHash::NONE,
            root: empty_root(params.genesis_depth.levels()),
            depth: params.genesis_depth,
            deposits_consumed: 0,
            payouts: 0,
            reference: params.start,
        }
    }

    /// The root of the same state in a tree of that depth; `None` if the tree would shrink.
    pub fn root_at(&self, depth: Depth) -> Option<Fr> {
        let growths = depth.levels().checked_sub(self.depth.levels())?;
        let grow = |root, level| Some(grown_root(root, Depth::new(level)?));
        (self.depth.levels()..self.depth.levels() + growths).try_fold(self.root, grow)
    }
}

/// Why a follower cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The headers do not lead up to the start.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The program is not the one that the parameters name.
    #[error("the rollup's program is {expected}, not {found}")]
    Program {
        /// The program of the parameters.
        expected: ProgramId,
        /// The program given.
        found: ProgramId,
    },
    /// The tree is deeper from the start than any that the program has circuits for, so no batch could ever be made.
    #[error(
        "the rollup starts with a tree of {} levels, and its program has circuits for {} levels at most",
        genesis.levels(),
        program.levels()
    )]
    GenesisDepth {
        /// The depth of the first tree.
        genesis: Depth,
        /// The deepest that the program has circuits for.
        program: Depth,
    },
    /// The times that deposits have do not follow one another.
    #[error(
        "a window of {} blocks, expiry after {}, {} confirmations, a refund after {}: the expiry must be {} windows or more, \
        neither a window nor the confirmations may be 0, and from the expiry and the confirmations to the refund {} must be left",
        deadlines.window_blocks,
        deadlines.expiry_blocks,
        deadlines.final_depth_blocks,
        deadlines.refund_delay_blocks,
        Deadlines::EXPIRY_WINDOWS_MIN,
        Deadlines::sweep_blocks_min(*network)
    )]
    Deadlines {
        /// The times.
        deadlines: Deadlines,
        /// The network.
        network: Network,
    },
    /// The checkpoint is of another rollup.
    #[error("the checkpoint is of another rollup")]
    Checkpoint,
    /// A checkpoint needs headers back to the last block that a batch referred to.
    #[error("the headers must reach back to the block at height {reference_height}, which the last batch refers to")]
    LeadTooShort {
        /// The height that the headers must reach back to.
        reference_height: u32,
    },
}
