//! Where blocks come from and transactions go: a bitcoind by JSON-RPC, an Esplora server, or the embedded regtest
//! chain.
//!
//! [`ChainSource`] is all that following asks: blocks of the best chain. [`Node`] is a source that also has a pool,
//! coins and an opinion on fees, as whoever sends transactions needs it. A source is trusted for nothing but being
//! there: blocks are checked against the hash they were asked by, and the follower checks the hashes. What a node
//! says of its pool and its coins cannot be checked: ask your own.

mod embedded;
mod error;
mod esplora;
mod facts;
mod height;
mod http;
mod pool;
mod reject;
mod rpc;

#[cfg(test)]
mod tests;

use crate::fee_rate::FeeRate;
use bitcoin::{Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid, block::Header};

pub use embedded::{EmbeddedNode, MineError};
pub use error::{ErrorClass, NodeError, RejectClass, Rejection};
pub use esplora::{EsploraNode, HistoryEntry, Located, Patience};
pub use facts::{Acceptance, Coin, CoinScan, FeeFloors, Found, PackageVerdict, PoolEntry, Sent, SyncState, Unspent};
pub use height::HEIGHT_MAX;
pub use http::check_address;
pub use reject::policy_advice;
pub use rpc::{RpcAuth, RpcNode};

/// The blocks of a best chain.
pub trait ChainSource {
    /// The network that the source follows.
    fn network(&self) -> Network;

    /// The height of the source's tip.
    ///
    /// # Errors
    /// [`NodeError`].
    fn tip_height(&self) -> Result<u32, NodeError>;

    /// The hash of the block at a height of the source's best chain; `None` above its tip.
    ///
    /// # Errors
    /// [`NodeError`].
    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError>;

    /// The header of the block of this hash.
    ///
    /// # Errors
    /// [`NodeError::Block`] if the source has none; otherwise [`NodeError`].
    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError>;

    /// A block of this hash.
    ///
    /// # Errors
    /// [`NodeError::Block`] if the source has none; otherwise [`NodeError`].
    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError>;

    /// Headers of the best chain from a height on, each the child of the one before: as many as asked for, or fewer
    /// where the chain ends, the source reorganises meanwhile, or it would rather give them in several answers; none
    /// above the tip.
    ///
    /// # Errors
    /// [`NodeError`].
    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        let mut headers: Vec<Header> = Vec::new();
        for height in first_height..first_height.saturating_add(count_max) {
            let Some(hash) = self.block_hash(height)? else { break };
            let header = match self.header(&hash) {
                Err(NodeError::Block(_)) => break,
                header => header?,
            };
            if headers.last().is_some_and(|parent| parent.block_hash() != header.prev_blockhash) {
                break;
            }
            headers.push(header);
        }
        Ok(headers)
    }
}

/// A source that takes transactions, and says what it knows of coins, fees and its pool.
pub trait Node: ChainSource {
    /// What the node would do with each transaction if it were sent after those before it.
    ///
    /// # Errors
    /// [`NodeError`] when the node does not answer; a refusal is an answer.
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError>;

    /// Hands a transaction to the node for the next blocks; sending again what it has makes it tell its peers again.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if the node refuses it; otherwise [`NodeError`].
    fn send(&self, transaction: &Transaction) -> Result<Sent, NodeError>;

    /// Hands a transaction and one that spends from it over as one package, for a parent that pays too little to
    /// enter the pool alone: what it lacks of the pool's minimum the child may pay. Gives what became of each, in
    /// this order. What is taken alone is taken alone, so a refusal of the child need not be one of the parent.
    ///
    /// # Errors
    /// [`NodeError`] when the node does not answer; a refusal is an answer.
    fn send_package(&self, parent: &Transaction, child: &Transaction) -> Result<[PackageVerdict; 2], NodeError>;

    /// A transaction that waits in the node's pool; `None` if it does not.
    ///
    /// # Errors
    /// [`NodeError`].
    fn pool_entry(&self, txid: &Txid) -> Result<Option<PoolEntry>, NodeError>;

    /// The transaction of the pool that spends an output; `None` if none does.
    ///
    /// # Errors
    /// [`NodeError`].
    fn pool_spender(&self, outpoint: &OutPoint) -> Result<Option<Txid>, NodeError>;

    /// A transaction of the best chain or the pool; `None` if the node knows of none. Nodes without an index of all
    /// transactions know those that leave an output unspent.
    ///
    /// # Errors
    /// [`NodeError`].
    fn find(&self, txid: &Txid) -> Result<Option<Found>, NodeError>;

    /// An output that the best chain leaves unspent, whatever the pool does with it; `None` if there is none.
    ///
    /// # Errors
    /// [`NodeError`].
    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError>;

    /// All outputs to these scripts that the best chain leaves unspent. It may take minutes on mainnet.
    ///
    /// # Errors
    /// [`NodeError::Busy`] while another such search runs; otherwise [`NodeError`].
    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError>;

    /// The fee rate that should bring a transaction into one of the next blocks; `None` if the node has seen too
    /// little to say.
    ///
    /// # Errors
    /// [`NodeError`].
    fn fee_estimate(&self, target_blocks: u16) -> Result<Option<FeeRate>, NodeError>;

    /// The lowest fee rates that the node's pool takes at present.
    ///
    /// # Errors
    /// [`NodeError`].
    fn fee_floors(&self) -> Result<FeeFloors, NodeError>;

    /// How far the node is.
    ///
    /// # Errors
    /// [`NodeError`].
    fn sync_state(&self) -> Result<SyncState, NodeError>;
}

/// Sends a commit and the reveal that spends it, after asking whether both would be relayed; a second time does no
/// harm.
///
/// # Errors
/// [`NodeError::Rejected`] if either would be refused, before either is sent; otherwise [`NodeError`], after which the
/// commit may have been sent and calling again is the way on.
pub fn publish(node: &dyn Node, commit: &Transaction, reveal: &Transaction) -> Result<(), NodeError> {
    let verdicts = node.test_accept(&[commit.clone(), reveal.clone()])?;
    let [for_commit, mut for_reveal] = <[Acceptance; 2]>::try_from(verdicts).map_err(|verdicts| NodeError::Answer {
        method: "testmempoolaccept",
        reason: format!("{} verdicts on two transactions", verdicts.len()),
    })?;
    // A package with a known commit is not judged as a whole, but its reveal can be judged alone.
    if for_commit.is_known() && for_reveal != Acceptance::Accepted {
        for_reveal = node.test_accept(std::slice::from_ref(reveal))?.pop().unwrap_or(Acceptance::NotJudged);
    }
    refuse_rejected(commit, &for_commit)?;
    refuse_rejected(reveal, &for_reveal)?;
    node.send(commit)?;
    node.send(reveal)?;
    Ok(())
}

fn refuse_rejected(transaction: &Transaction, verdict: &Acceptance) -> Result<(), NodeError> {
    let rejection = match verdict {
        Acceptance::Rejected(rejection) => rejection.clone(),
        Acceptance::NotJudged => {
            Rejection { class: RejectClass::Policy, reason: "the node did not judge it".to_owned() }
        }
        _ => return Ok(()),
    };
    Err(NodeError::Rejected { txid: transaction.compute_txid(), rejection })
}
