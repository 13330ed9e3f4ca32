//! What the followed blocks hold of the service's transactions, and which anchors they hold. A reorganisation takes
//! it back.

use super::{Anchored, StatementId};
use bitcoin::{OutPoint, Transaction, Txid};
use std::collections::{BTreeMap, HashMap, HashSet};
use taproof_verifier::{
    follow::{Event, VerifiedBatch},
    headers::BlockId,
};

/// What the followed blocks hold.
#[derive(Debug, Default)]
pub(super) struct ChainIndex {
    watched: HashSet<OutPoint>,
    commits: HashSet<Txid>,
    mined: HashMap<Txid, BlockId>,
    spends: HashMap<OutPoint, (Txid, BlockId)>,
    anchored: BTreeMap<u64, Anchored>,
}

impl ChainIndex {
    /// Looks out for a commit and for spends of outputs, in the blocks that come.
    pub(super) fn watch(&mut self, commit: Txid, outpoints: impl IntoIterator<Item = OutPoint>) {
        self.commits.insert(commit);
        self.watched.extend(outpoints);
    }

    /// Forgets what another index does not look out for, and the anchors before a batch up to a height that is final.
    pub(super) fn narrow(&mut self, other: Self, first_batch: u64, final_height: u32) {
        (self.watched, self.commits) = (other.watched, other.commits);
        self.mined.retain(|commit, _| self.commits.contains(commit));
        self.spends.retain(|outpoint, _| self.watched.contains(outpoint));
        self.anchored.retain(|batch, anchored| *batch >= first_batch || anchored.block.height > final_height);
    }

    /// Takes in the transactions of a block.
    pub(super) fn read(&mut self, id: BlockId, transactions: &[Transaction]) {
        if self.watched.is_empty() {
            return;
        }
        for transaction in transactions {
            let spent = transaction.input.iter().map(|input| input.previous_output);
            let spent: Vec<OutPoint> = spent.filter(|outpoint| self.watched.contains(outpoint)).collect();
            if spent.is_empty() {
                continue;
            }
            // A commit spends watched coins, so no other transaction needs its txid computed.
            let txid = transaction.compute_txid();
            self.spends.extend(spent.into_iter().map(|outpoint| (outpoint, (txid, id))));
            if self.commits.contains(&txid) {
                self.mined.insert(txid, id);
            }
        }
    }

    /// Takes in what the follower made of blocks and headers.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Rewound { to, .. } => self.rewind(to.height),
            Event::Verified(batch) => {
                self.anchored.insert(batch.batch(), anchored(batch));
            }
            _ => {}
        }
    }

    /// The accepted anchor of a batch, if a block that was followed holds it.
    pub(super) fn anchored(&self, batch: u64) -> Option<&Anchored> {
        self.anchored.get(&batch)
    }

    /// The block of a commit.
    pub(super) fn block_of(&self, commit: &Txid) -> Option<BlockId> {
        self.mined.get(commit).copied()
    }

    /// Who spends an output in a block.
    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spends.get(outpoint).map(|(txid, _)| *txid)
    }

    fn rewind(&mut self, height: u32) {
        self.mined.retain(|_, block| block.height <= height);
        self.spends.retain(|_, (_, block)| block.height <= height);
        self.anchored.retain(|_, anchored| anchored.block.height <= height);
    }
}

fn anchored(batch: &VerifiedBatch) -> Anchored {
    Anchored {
        block: batch.block(),
        txid: batch.txid(),
        statement: StatementId::of(batch.payload()),
        payload_hash: batch.payload_hash(),
    }
}
