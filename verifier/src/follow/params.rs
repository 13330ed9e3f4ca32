//! What all who follow a rollup agree on, and the state that they agree on after a batch.

use crate::{
    bridge::{Bridge, Federation},
    cell::{ChainId, Depth, empty_root, grown_root},
    headers::{BlockId, HeaderError},
    payload::PayloadHash,
    program::ProgramId,
    quorum::{Keys, Quorum},
};
use alloc::{format, string::String};
use ark_bn254::Fr;
use bitcoin::{
    Network,
    hashes::{Hash, sha256},
};

/// What the founder of a rollup chooses, and all who follow it must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Founding {
    /// The Bitcoin network.
    pub network: Network,
    /// The depth of the empty tree before the first batch.
    pub genesis_depth: Depth,
    /// Who holds what is deposited, and how long a depositor waits for a refund.
    pub federation: Federation,
    /// How many blocks below its own an anchor may refer to: so long can a deposit or an exit request be left waiting.
    pub deposit_window_blocks: u32,
    /// A deposit cannot be credited in a block more than so many above its own: then it is the depositor's to take
    /// back. [Three windows](Deadlines::EXPIRY_WINDOWS_MIN) or more, and less than the refund's delay.
    pub deposit_expiry_blocks: u32,
    /// A block before the first anchor and the first deposit: blocks are read from the one after it.
    pub start: BlockId,
    /// How many blocks, its own included, make a block final.
    pub final_depth_blocks: u32,
    /// Who changes the program and the sequencers, by announcements on Bitcoin; without them neither ever changes.
    pub upgrade_keys: Option<Quorum>,
    /// How many blocks an announcement stands at the least before it is in force: more than the window and the final
    /// depth together, so that whoever disagrees can leave under the rules that they agreed to. Without upgrade keys 0.
    pub notice_blocks: u32,
    /// The keys whose anchors count at any time; if there are none, anybody's do.
    pub sequencer_keys: Keys,
    /// How many blocks after the last accepted anchor, or the start, the anchors of other keys count, too: at most half
    /// a window, and at least one if there are sequencer keys. 0 where there are neither these nor upgrade keys; with
    /// upgrade keys alone, 0 keeps posting open for good.
    pub quiet_blocks: u32,
    /// What an opening moves at the least, in satoshi: what a cell costs whoever would fill the tree.
    pub opening_min_sat: u64,
    /// The program that proofs are for.
    pub program_id: ProgramId,
}

/// The SHA-256 that tells a rollup from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FoundingDigest([u8; 32]);

impl FoundingDigest {
    /// Takes the hash's bytes.
    pub const fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
    pub fn to_byte_array(self) -> [u8; 32] {
        self.0
    }

    /// The rollup's number on Bitcoin and in signed messages: the first 15 bytes.
    pub fn chain_id(&self) -> ChainId {
        let id = self.0.first_chunk().expect("32 bytes are more than 15");
        ChainId::from_byte_array(*id)
    }
}

impl Founding {
    /// What is put before the parameters when they are hashed.
    const TAG: &[u8] = b"taproof/founding/v3";

    /// SHA-256 of the tag `taproof/founding/v3` and of all parameters: the network as Bitcoin's messages name it (4
    /// bytes); the depth (1); the federation: threshold (1), number of keys (1), the keys (32 each), refund delay (2),
    /// least deposit (8); window (4), expiry (4), the start's height (4) and hash (32), final depth (4); notice (4),
    /// upgrade threshold (1), number of upgrade keys (1), the keys (32 each), zeros where there are none; quiet blocks
    /// (4), number of sequencer keys (1), the keys (32 each); least opening (8); program id (32). Integers are
    /// little-endian, the block's hash is in its internal order, keys ascend.
    pub fn digest(&self) -> FoundingDigest {
        let mut bytes = Self::TAG.to_vec();
        bytes.extend(self.network.magic().to_bytes());
        bytes.push(self.genesis_depth.levels());
        Quorum::write(Some(self.federation.signers()), &mut bytes);
        bytes.extend(self.federation.refund_delay_blocks().to_le_bytes());
        bytes.extend(self.federation.deposit_min_sat().to_le_bytes());
        bytes.extend(self.deposit_window_blocks.to_le_bytes());
        bytes.extend(self.deposit_expiry_blocks.to_le_bytes());
        bytes.extend(self.start.height.to_le_bytes());
        bytes.extend(self.start.hash.to_byte_array());
        bytes.extend(self.final_depth_blocks.to_le_bytes());
        bytes.extend(self.notice_blocks.to_le_bytes());
        Quorum::write(self.upgrade_keys.as_ref(), &mut bytes);
        bytes.extend(self.quiet_blocks.to_le_bytes());
        self.sequencer_keys.write(&mut bytes);
        bytes.extend(self.opening_min_sat.to_le_bytes());
        bytes.extend(self.program_id.to_byte_array());
        FoundingDigest(sha256::Hash::hash(&bytes).to_byte_array())
    }

    /// The times of a deposit.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            window_blocks: self.deposit_window_blocks,
            expiry_blocks: self.deposit_expiry_blocks,
            final_depth_blocks: self.final_depth_blocks,
            refund_delay_blocks: self.federation.refund_delay_blocks(),
        }
    }

    /// Checks what the fields demand of one another.
    ///
    /// # Errors
    /// As [`Deadlines::check`]; [`FoundingError::Notice`] and [`FoundingError::Quiet`].
    pub fn check(&self) -> Result<(), FoundingError> {
        self.deadlines().check(self.network)?;
        let left = u64::from(self.deposit_window_blocks) + u64::from(self.final_depth_blocks);
        let (notice_blocks, has_keys) = (self.notice_blocks, self.upgrade_keys.is_some());
        if if has_keys { left >= notice_blocks.into() } else { notice_blocks != 0 } {
            let (window_blocks, final_depth_blocks) = (self.deposit_window_blocks, self.final_depth_blocks);
            return Err(FoundingError::Notice { notice_blocks, has_keys, window_blocks, final_depth_blocks });
        }
        let (quiet_blocks, window_blocks) = (self.quiet_blocks, self.deposit_window_blocks);
        let has_sequencers = !self.sequencer_keys.is_empty();
        let can_have_sequencers = has_sequencers || has_keys;
        let quiet_max = if can_have_sequencers { window_blocks / 2 } else { 0 };
        if quiet_blocks > quiet_max || has_sequencers && quiet_blocks == 0 {
            return Err(FoundingError::Quiet { quiet_blocks, can_have_sequencers, window_blocks });
        }
        Ok(())
    }
}

/// The parameters of a rollup: what its founder chose, found consistent, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "WrittenParams", into = "WrittenParams"))]
pub struct Params {
    founding: Founding,
    digest: FoundingDigest,
    bridge: Bridge,
}

/// [`Params`] as they are written down.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenParams {
    /// The protocol's version, 3.
    version: u8,
    /// Follows from the rest, and is there for who reads it.
    chain_id: ChainId,
    founding: Founding,
}

#[cfg(feature = "serde")]
impl From<Params> for WrittenParams {
    fn from(params: Params) -> Self {
        Self { version: Params::VERSION, chain_id: params.chain_id(), founding: params.founding }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<WrittenParams> for Params {
    type Error = FoundingError;

    fn try_from(WrittenParams { version, chain_id, founding }: WrittenParams) -> Result<Self, FoundingError> {
        if version != Self::VERSION {
            return Err(FoundingError::Version(version));
        }
        let params = Self::new(founding)?;
        let expected = params.chain_id();
        if chain_id == expected { Ok(params) } else { Err(FoundingError::ChainId { expected, found: chain_id }) }
    }
}

impl core::ops::Deref for Params {
    type Target = Founding;

    fn deref(&self) -> &Founding {
        &self.founding
    }
}

impl Params {
    /// The version of the protocol.
    pub const VERSION: u8 = 3;

    /// Checks what a founder chose.
    ///
    /// # Errors
    /// As [`Founding::check`].
    pub fn new(founding: Founding) -> Result<Self, FoundingError> {
        founding.check()?;
        let digest = founding.digest();
        let bridge = Bridge::new(founding.federation.clone(), digest);
        Ok(Self { founding, digest, bridge })
    }

    /// The parameters of a rollup whose founder chose otherwise.
    ///
    /// # Errors
    /// As [`Founding::check`].
    pub fn with(&self, alter: impl FnOnce(&mut Founding)) -> Result<Self, FoundingError> {
        let mut founding = self.founding.clone();
        alter(&mut founding);
        Self::new(founding)
    }

    /// What the founder chose.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// What tells the rollup from all others; upgrades do not change it.
    pub fn digest(&self) -> FoundingDigest {
        self.digest
    }

    /// The rollup's number, which its outputs, statements and signatures name.
    pub fn chain_id(&self) -> ChainId {
        self.digest.chain_id()
    }

    /// Who holds what is deposited, and the scripts of their outputs.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The height of the last block in which an anchor may stand that refers to a block at `reference_height`.
    pub fn anchor_height_max(&self, reference_height: u32) -> u32 {
        reference_height.saturating_add(self.deposit_window_blocks)
    }

    /// The first height at which every anchor must credit a deposit, or serve or refute an exit request, of a block
    /// at a height: all that may be referred to there is as high. A batch that does enough of them may leave some for
    /// the next, and one that has withdrawals alone may leave deposits.
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
    /// [`FoundingError::Deadlines`].
    pub fn check(&self, network: Network) -> Result<(), FoundingError> {
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
        Err(FoundingError::Deadlines { deadlines: *self, network })
    }

    /// The time that the federation must have to move a deposit: three days on mainnet, a block elsewhere.
    pub fn sweep_blocks_min(network: Network) -> u32 {
        if network == Network::Bitcoin { 432 } else { 1 }
    }
}

/// Why nobody can found a rollup with these parameters, or what is written down are not the parameters of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// The times that deposits have do not follow one another.
    #[error(
        "a window of {} blocks, expiry after {}, {} confirmations, a refund after {}: the expiry must be {} windows or \
         more, \
        neither a window nor the confirmations may be 0, and from the expiry and the confirmations to the refund {} \
        must be left",
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
    /// The notice of upgrades is too short to leave, or there is one and nobody can announce any.
    #[error("{}", notice_text(*notice_blocks, *has_keys, *window_blocks, *final_depth_blocks))]
    Notice {
        /// The notice.
        notice_blocks: u32,
        /// Whether there are upgrade keys.
        has_keys: bool,
        /// The window.
        window_blocks: u32,
        /// How many blocks make a block final.
        final_depth_blocks: u32,
    },
    /// The quiet blocks are none or more than half a window, or there are some and can be no sequencer.
    #[error("{}", quiet_text(*quiet_blocks, *can_have_sequencers, *window_blocks))]
    Quiet {
        /// The quiet blocks.
        quiet_blocks: u32,
        /// Whether there are sequencer keys, or upgrade keys that can name some.
        can_have_sequencers: bool,
        /// The window.
        window_blocks: u32,
    },
    /// The parameters are written in another version of the protocol.
    #[error("the parameters are of version {0} of the protocol, where {version} is known", version = Params::VERSION)]
    Version(u8),
    /// The chain id does not follow from the rest.
    #[error("the parameters are those of rollup {expected}, not {found}")]
    ChainId {
        /// The one that follows from the rest.
        expected: ChainId,
        /// The one written down.
        found: ChainId,
    },
}

fn notice_text(notice: u32, has_keys: bool, window: u32, final_depth: u32) -> String {
    if has_keys {
        format!(
            "a notice of {notice} blocks leaves no time to exit: it must be more than the window of {window} blocks \
             and the \
             {final_depth} confirmations together"
        )
    } else {
        format!("a notice of {notice} blocks, where there are no upgrade keys that could announce anything")
    }
}

fn quiet_text(quiet: u32, can_have_sequencers: bool, window: u32) -> String {
    if can_have_sequencers {
        format!("{quiet} quiet blocks, where there must be 1 to half the window of {window} blocks")
    } else {
        format!("{quiet} quiet blocks, where there are no sequencers, nor upgrade keys that could name some")
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
    /// The height of the block of the batch's anchor; at first that of the start.
    pub anchored_height: u32,
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
            anchored_height: params.start.height,
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
    /// The program that the parameters name is not given.
    #[error("the rollup begins with program {0}, which is not given")]
    Program(ProgramId),
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
