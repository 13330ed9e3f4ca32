//! What is true now, as far as the node knows: the input of every decision.

use super::{Fees, Generation, Hold, StatementId};
use bitcoin::{OutPoint, Txid};
use taproof_verifier::{headers::BlockId, payload::PayloadHash};

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Neither in a block nor in the node's pool.
    Nowhere,
    /// In the node's pool.
    Pool,
    /// In a block of the best chain.
    Block(BlockId),
}

impl Place {
    /// Whether it is in a block.
    pub fn is_mined(self) -> bool {
        matches!(self, Self::Block(_))
    }
}

/// Who spends an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spender {
    /// Nobody.
    None,
    /// A transaction of the pool, with the fees of it and all that depends on it.
    Pool {
        /// The transaction.
        txid: Txid,
        /// What a replacement has to pay, besides for itself.
        evicted_fee_sat: u64,
    },
    /// A transaction of a block.
    Block(Txid),
}

impl Spender {
    /// Whether it is this transaction, in the pool or in a block.
    pub fn is(self, transaction: Txid) -> bool {
        matches!(self, Self::Pool { txid, .. } | Self::Block(txid) if txid == transaction)
    }
}

/// What became of the coins that a commit spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Each is unspent in a block, or spent by the commit itself.
    Good,
    /// One is created by a transaction that left its block and waits in the pool.
    Unconfirmed(OutPoint),
    /// One is spent by another transaction in the pool.
    SpentInPool(OutPoint, Txid),
    /// One is spent by another transaction in a block.
    SpentInBlock(OutPoint, Txid),
    /// One is nowhere to be found: spent in a block long ago, or its transaction is gone.
    Missing(OutPoint),
}

/// What the node says of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationView {
    /// Where the commit is.
    pub commit: Place,
    /// Where each reveal is, in the order of the attempts.
    pub attempts: Vec<Place>,
    /// The coins that the commit spends, while it is in no block.
    pub inputs: Inputs,
    /// Who spends the commit's first output.
    pub output: Spender,
}

/// Whether a generation can still become an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It can.
    Live,
    /// Its first output is spent in a block.
    Spent,
    /// Its commit cannot be mined.
    Dead,
}

impl GenerationView {
    pub(super) fn fate(&self, generation: &Generation) -> Fate {
        if let Spender::Block(_) = self.output {
            return Fate::Spent;
        }
        match (self.commit, self.inputs) {
            (Place::Block(_) | Place::Pool, _) => Fate::Live,
            (_, Inputs::SpentInBlock(..) | Inputs::Missing(_)) => Fate::Dead,
            // What nobody has seen may as well be built anew from other coins.
            (_, Inputs::SpentInPool(..)) if generation.commit_sent.is_none() => Fate::Dead,
            _ => Fate::Live,
        }
    }

    /// Whether nothing is left to recover at present: the commit was never shown to anybody, is nowhere, or its
    /// output is spent.
    pub(super) fn is_resolved(&self, generation: &Generation) -> bool {
        generation.commit_sent.is_none() || self.commit == Place::Nowhere || self.fate(generation) != Fate::Live
    }
}

/// The anchor of the batch that the chain has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Its block.
    pub block: BlockId,
    /// Its reveal.
    pub txid: Txid,
    /// What it states.
    pub statement: StatementId,
    /// The hash of its payload.
    pub payload_hash: PayloadHash,
}

/// How the batch stands with the rollup's rules at the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The chain has an anchor of this number.
    Anchored(Anchored),
    /// The chain has one, in a final block from before the blocks that are followed.
    AnchoredBefore,
    /// Earlier batches are not anchored.
    Behind {
        /// The number of the batch that comes next.
        next: u64,
    },
    /// The block that the batch refers to is not there, because the chain is shorter.
    ReferenceAhead {
        /// The height of the reference.
        height: u32,
    },
    /// The batch comes next, and would be accepted of a sequencer, or of anybody from a height on.
    NotSequencer {
        /// The height, if no anchor is accepted before.
        open_height: u32,
    },
    /// The batch comes next, and a payload of this hash would be accepted.
    Next(PayloadHash),
    /// The batch comes next, and its proofs are missing.
    Unproven,
    /// The batch comes next, and its proofs are there and cannot be used, for this reason.
    Unusable(String),
    /// The batch comes next, and no payload of it would be accepted.
    Refused(String),
}

/// What is true now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The last block that was followed.
    pub tip: BlockId,
    /// Why the node is not to be believed yet, if it is not up to date.
    pub node_hold: Option<Hold>,
    /// How the batch stands.
    pub standing: Standing,
    /// What became of each generation, in their order.
    pub generations: Vec<GenerationView>,
    /// Fees.
    pub fees: Fees,
}
