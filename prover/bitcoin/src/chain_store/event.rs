//! What happened in final blocks: the entries of the log.

use bitcoin::Txid;
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    cell::Depth, headers::BlockId, payload::PayloadHash, record::Destination, serde_form::element, upgrade::Upgrade,
};

/// An anchor in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalAnchor {
    /// The number of the batch.
    pub batch: u64,
    /// The anchor's block.
    pub block: BlockId,
    /// The time of the block's header, in seconds since 1970.
    pub time_seconds: u32,
    /// The reveal.
    pub txid: Txid,
    /// The hash of the payload.
    pub payload_hash: PayloadHash,
    /// The root after the batch.
    #[serde(with = "element")]
    pub root: ark_bn254::Fr,
    /// The depth of the tree.
    pub depth: Depth,
    /// The chunks, each with a proof.
    pub chunks: u32,
    /// How many deposits are credited or void after the batch.
    pub deposits_consumed: u64,
    /// The length of the reveal, witness included.
    pub reveal_bytes: u32,
    /// The virtual size of the reveal.
    pub reveal_vsize_vb: u32,
    /// The fee of the reveal, where the commit stands in the same block; blocks do not tell it otherwise.
    pub reveal_fee_sat: Option<u64>,
}

/// A transaction of a final block that announces an anchor and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAnchor {
    /// Its block.
    pub block: BlockId,
    /// The transaction.
    pub txid: Txid,
    /// The rule that it breaks, in words.
    pub reason: String,
}

/// Transactions of a final block that announce an anchor and are none, beyond those that are kept one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMore {
    /// Their block.
    pub block: BlockId,
    /// How many they are.
    pub count: u64,
}

/// A payout that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuePayout {
    /// How many payouts of the rollup were due before it.
    pub index: u64,
    /// The batch of the withdrawal.
    pub batch: u64,
    /// The withdrawal's position among all those of the batch.
    pub position: u32,
    /// The amount.
    pub amount_sat: u64,
    /// Where it is to be paid.
    pub destination: Destination,
    /// The block of the batch's anchor.
    pub anchor: BlockId,
}

/// Deposits that a batch passed over, because none had come to them before they expired. They are their depositors'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidDeposits {
    /// How many deposits of the rollup came before the first of them.
    pub first: u64,
    /// How many they are.
    pub count: u64,
    /// The batch.
    pub batch: u64,
    /// The block of the batch's anchor.
    pub anchor: BlockId,
}

/// What the upgrade keys announced in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalUpgrade {
    /// Its block.
    pub block: BlockId,
    /// The transaction.
    pub txid: Txid,
    /// What they announced.
    pub upgrade: Upgrade,
}

/// Something that happened in a final block and cannot change any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinalEvent {
    /// A batch was anchored.
    Anchor(FinalAnchor),
    /// An anchor was refused.
    Refused(RefusedAnchor),
    /// A payout fell due.
    Payout(DuePayout),
    /// Deposits became void for good.
    Void(VoidDeposits),
    /// More anchors of the same block were refused.
    RefusedMore(RefusedMore),
    /// The upgrade keys announced something.
    Upgrade(FinalUpgrade),
    /// What the upgrade keys announced does not count.
    UpgradeRefused(RefusedAnchor),
}

impl FinalEvent {
    /// The height of the block that it stands in; of a payout that of its anchor.
    pub fn height(&self) -> u32 {
        match self {
            Self::Anchor(anchor) => anchor.block.height,
            Self::Refused(refused) => refused.block.height,
            Self::Payout(payout) => payout.anchor.height,
            Self::Void(void) => void.anchor.height,
            Self::RefusedMore(more) => more.block.height,
            Self::Upgrade(upgrade) => upgrade.block.height,
            Self::UpgradeRefused(refused) => refused.block.height,
        }
    }
}
