//! The embedded regtest chain as a node: it keeps what it is sent until a block is mined.

use super::{
    Acceptance, ChainSource, Coin, CoinScan, FeeFloors, Found, Node, NodeError, PackageVerdict, PoolEntry, Sent,
    SyncState, Unspent, pool::Pool,
};
use crate::{
    fee_rate::FeeRate,
    regtest::{BlockError, ChainFile, ChainFileError, RegtestChain},
};
use bitcoin::{Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid, block::Header};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};
use taproof_verifier::headers::BlockId;

/// A regtest chain, the transactions that wait for its next block, and the file that processes share, if any.
#[derive(Debug)]
pub struct EmbeddedNode {
    chain: RegtestChain,
    pool: Mutex<Pool>,
    reward_to: ScriptBuf,
    file: Option<ChainFile>,
}

impl EmbeddedNode {
    /// A node in memory whose blocks pay `reward_to`.
    pub fn new(chain: RegtestChain, reward_to: ScriptBuf) -> Self {
        Self { chain, pool: Mutex::default(), reward_to, file: None }
    }

    /// A node whose chain is kept in a file, which no other process can write meanwhile.
    ///
    /// # Errors
    /// As [`ChainFile::open`].
    pub fn open(path: &Path, reward_to: ScriptBuf) -> Result<Self, ChainFileError> {
        let (file, chain) = ChainFile::open(path)?;
        Ok(Self { chain, pool: Mutex::default(), reward_to, file: Some(file) })
    }

    /// The chain.
    pub fn chain(&self) -> &RegtestChain {
        &self.chain
    }

    /// The chain, to be mined or reorganised by hand; call [`EmbeddedNode::save`] afterwards.
    pub fn chain_mut(&mut self) -> &mut RegtestChain {
        &mut self.chain
    }

    /// Mines the waiting transactions that are still valid and then as many empty blocks as it takes to have mined
    /// `blocks`.
    ///
    /// # Errors
    /// [`MineError`]; what the chain file does not hold is not mined for others.
    pub fn mine(&mut self, blocks: u32) -> Result<(), MineError> {
        if blocks == 0 {
            return Ok(());
        }
        let waiting = self.pool().take(&self.chain);
        self.chain.mine(&waiting, &self.reward_to)?;
        self.chain.mine_empty(blocks - 1, &self.reward_to)?;
        Ok(self.save()?)
    }

    /// Writes the chain to its file, if it has one.
    ///
    /// # Errors
    /// [`ChainFileError::Io`].
    pub fn save(&self) -> Result<(), ChainFileError> {
        self.file.as_ref().map_or(Ok(()), |file| file.save(&self.chain))
    }

    /// Makes the pool take nothing new below a rate, as pools do that are full.
    pub fn set_pool_minimum(&self, rate: FeeRate) {
        self.pool().set_minimum(rate);
    }

    fn find(&self, hash: &BlockHash) -> Result<&Block, NodeError> {
        let height = self.chain.height_of(hash);
        height.and_then(|height| self.chain.block_at(height)).ok_or(NodeError::Block(*hash))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // A pool is replaced as a whole, so a panic elsewhere leaves none half changed.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing was mined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MineError {
    /// The chain refuses the block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The block is not in the file.
    #[error(transparent)]
    File(#[from] ChainFileError),
}

impl ChainSource for EmbeddedNode {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        Ok(self.chain.height())
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        Ok(self.chain.block_at(height).map(Block::block_hash))
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        Ok(self.find(hash)?.header)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.find(hash).cloned()
    }
}

impl Node for EmbeddedNode {
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        let mut pool = self.pool().clone();
        Ok(transactions.iter().map(|transaction| pool.add(&self.chain, transaction)).collect())
    }

    fn send(&self, transaction: &Transaction) -> Result<Sent, NodeError> {
        let verdict = sent(self.pool().add(&self.chain, transaction));
        verdict.map_err(|rejection| NodeError::Rejected { txid: transaction.compute_txid(), rejection })
    }

    fn send_package(&self, parent: &Transaction, child: &Transaction) -> Result<[PackageVerdict; 2], NodeError> {
        Ok(self.pool().add_package(&self.chain, parent, child).map(sent))
    }

    fn pool_entry(&self, txid: &Txid) -> Result<Option<PoolEntry>, NodeError> {
        Ok(self.pool().entry(&self.chain, txid))
    }

    fn pool_spender(&self, outpoint: &OutPoint) -> Result<Option<Txid>, NodeError> {
        Ok(self.pool().spender(&self.chain, outpoint))
    }

    fn find(&self, txid: &Txid) -> Result<Option<Found>, NodeError> {
        let is_it = |transaction: &&Transaction| transaction.compute_txid() == *txid;
        if let Some(transaction) = self.pool().transactions().iter().find(is_it) {
            return Ok(Some(Found { transaction: transaction.clone(), block: None }));
        }
        let mined = (0..).zip(self.chain.blocks()).find_map(|(height, block)| {
            let transaction = block.txdata.iter().find(is_it)?.clone();
            Some(Found { transaction, block: Some(BlockId { height, hash: block.block_hash() }) })
        });
        Ok(mined)
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError> {
        Ok(self.chain.coin(outpoint).map(|coin| Unspent {
            output: coin.output.clone(),
            confirmations: self.chain.height() - coin.height + 1,
            is_coinbase: coin.coinbase,
        }))
    }

    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError> {
        let coins = self.chain.coins().filter(|(_, coin)| scripts.contains(&coin.output.script_pubkey));
        let mut coins: Vec<Coin> = coins
            .map(|(outpoint, coin)| Coin {
                outpoint: *outpoint,
                output: coin.output.clone(),
                height: coin.height,
                is_coinbase: coin.coinbase,
            })
            .collect();
        coins.sort_by_key(|coin| (coin.height, coin.outpoint));
        Ok(CoinScan { block: BlockId { height: self.chain.height(), hash: self.chain.tip_hash() }, coins })
    }

    fn fee_estimate(&self, _: u16) -> Result<Option<FeeRate>, NodeError> {
        Ok(None)
    }

    fn fee_floors(&self) -> Result<FeeFloors, NodeError> {
        Ok(FeeFloors { min_pool: self.pool().minimum(), incremental: FeeRate::MIN })
    }

    fn sync_state(&self) -> Result<SyncState, NodeError> {
        Ok(SyncState { initial_download: false, headers: self.chain.height(), blocks: self.chain.height() })
    }
}

/// The pool's verdict on what it was given to keep.
fn sent(verdict: Acceptance) -> PackageVerdict {
    match verdict {
        Acceptance::AlreadyInPool => Ok(Sent::AlreadyInPool),
        Acceptance::AlreadyInChain => Ok(Sent::AlreadyInChain),
        Acceptance::Rejected(rejection) => Err(rejection),
        Acceptance::Accepted | Acceptance::NotJudged => Ok(Sent::Accepted),
    }
}
