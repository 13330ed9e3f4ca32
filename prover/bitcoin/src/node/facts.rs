//! What a node says of transactions, coins, fees and itself.

use super::error::Rejection;
use crate::{fee_rate::FeeRate, regtest::COINBASE_MATURITY_BLOCKS};
use bitcoin::{OutPoint, Transaction, TxOut};
use taproof_verifier::headers::BlockId;

/// A node's verdict on a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acceptance {
    /// It would be relayed.
    Accepted,
    /// It waits in the pool, perhaps with another witness.
    AlreadyInPool,
    /// It is in a block. A node does not notice this of a transaction whose outputs are all spent: it misses the
    /// inputs then.
    AlreadyInChain,
    /// It would not be relayed.
    Rejected(Rejection),
    /// The node did not judge it, because of another of the same package.
    NotJudged,
}

impl Acceptance {
    /// Whether the node has the transaction, in its pool or in a block.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::AlreadyInPool | Self::AlreadyInChain)
    }
}

/// What became of a transaction that was sent and not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It is new to the node's pool.
    Accepted,
    /// It waited in the pool already.
    AlreadyInPool,
    /// It is in a block already.
    AlreadyInChain,
}

/// What became of one transaction of a package that was sent.
pub type PackageVerdict = Result<Sent, Rejection>;

/// A transaction of a node's pool. Sums include the transaction itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolEntry {
    /// Its virtual size.
    pub vsize_vb: u64,
    /// What it pays.
    pub fee_sat: u64,
    /// What it and all that spends from it in the pool pay: a replacement evicts them all and has to pay more.
    pub descendant_fee_sat: u64,
    /// The virtual size of these.
    pub descendant_vsize_vb: u64,
    /// Their number.
    pub descendant_count: u32,
    /// What it and all in the pool that it spends from pay.
    pub ancestor_fee_sat: u64,
    /// The virtual size of these.
    pub ancestor_vsize_vb: u64,
    /// Their number.
    pub ancestor_count: u32,
}

/// A transaction that a node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The transaction.
    pub transaction: Transaction,
    /// The block of the best chain that holds it; `None` while it waits in the pool.
    pub block: Option<BlockId>,
}

/// An output that the best chain leaves unspent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspent {
    /// The value and who may spend it.
    pub output: TxOut,
    /// Blocks from the one that created it to the tip, both counted: at least 1.
    pub confirmations: u32,
    /// Whether it is the reward of a block.
    pub is_coinbase: bool,
}

impl Unspent {
    /// How many more blocks a miner's reward stays locked for; none for any other output.
    pub fn immature_blocks(&self) -> u32 {
        if self.is_coinbase { COINBASE_MATURITY_BLOCKS.saturating_sub(self.confirmations) } else { 0 }
    }
}

/// An output that a search of the best chain found unspent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it was created.
    pub outpoint: OutPoint,
    /// The value and who may spend it.
    pub output: TxOut,
    /// The height of the block that created it.
    pub height: u32,
    /// Whether it is the reward of a block.
    pub is_coinbase: bool,
}

/// The outcome of a search for coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinScan {
    /// The tip that the search saw.
    pub block: BlockId,
    /// The coins, by height and then by outpoint.
    pub coins: Vec<Coin>,
}

/// The lowest fee rates that a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeFloors {
    /// What a transaction must pay to enter the pool.
    pub min_pool: FeeRate,
    /// What a replacement must pay for its own size beyond what it evicts.
    pub incremental: FeeRate,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncState {
    /// Whether the node takes itself to be far behind: its tip is old, and it neither relays nor mines.
    pub initial_download: bool,
    /// The height of its best header.
    pub headers: u32,
    /// The height of its tip.
    pub blocks: u32,
}
