//! The embedded regtest chain as a node: it keeps what it is sent until a block is mined.

use super::{Acceptance, ChainSource, NodeError};
use crate::regtest::{BlockError, ChainFile, ChainFileError, RegtestChain};
use bitcoin::{Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid, block::Header};
use std::path::Path;

/// A regtest chain, the transactions that wait for its next block, and the file that processes share, if any.
#[derive(Debug)]
pub struct EmbeddedNode {
    chain: RegtestChain,
    waiting: Vec<Transaction>,
    reward_to: ScriptBuf,
    file: Option<ChainFile>,
}

impl EmbeddedNode {
    /// A node in memory whose blocks pay `reward_to`.
    pub fn new(chain: RegtestChain, reward_to: ScriptBuf) -> Self {
        Self { chain, waiting: Vec::new(), reward_to, file: None }
    }

    /// A node whose chain is kept in a file, which no other process can write meanwhile.
    ///
    /// # Errors
    /// As [`ChainFile::open`].
    pub fn open(path: &Path, reward_to: ScriptBuf) -> Result<Self, ChainFileError> {
        let (file, chain) = ChainFile::open(path)?;
        Ok(Self { chain, waiting: Vec::new(), reward_to, file: Some(file) })
    }

    /// The chain.
    pub fn chain(&self) -> &RegtestChain {
        &self.chain
    }

    /// The chain, to be mined or reorganised by hand; call [`EmbeddedNode::save`] afterwards.
    pub fn chain_mut(&mut self) -> &mut RegtestChain {
        &mut self.chain
    }

    /// Mines the waiting transactions and then as many empty blocks as it takes to have mined `blocks`.
    ///
    /// # Errors
    /// [`MineError`]; what the chain file does not hold is not mined for others.
    pub fn mine(&mut self, blocks: u32) -> Result<(), MineError> {
        if blocks == 0 {
            return Ok(());
        }
        self.chain.mine(&self.waiting, &self.reward_to)?;
        self.waiting.clear();
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

    fn find(&self, hash: &BlockHash) -> Result<&Block, NodeError> {
        let height = self.chain.height_of(hash);
        height.and_then(|height| self.chain.block_at(height)).ok_or(NodeError::Block(*hash))
    }

    fn is_known(&self, transaction: &Transaction) -> bool {
        let txid = transaction.compute_txid();
        let mut outputs = (0u32..).zip(&transaction.output).map(|(vout, _)| OutPoint { txid, vout });
        self.waiting.iter().any(|waiting| waiting.compute_txid() == txid)
            || outputs.any(|outpoint| self.chain.coin(&outpoint).is_some())
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

    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        let mut pool = self.waiting.clone();
        let mut verdicts = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            if self.is_known(transaction) {
                verdicts.push(Acceptance::AlreadyKnown);
                continue;
            }
            pool.push(transaction.clone());
            let verdict = match self.chain.check_transactions(&pool) {
                Ok(facts) => facts.last().and_then(|facts| facts.nonstandard).map(|rule| rule.to_string()),
                Err((_, error)) => Some(error.to_string()),
            };
            if verdict.is_some() {
                pool.pop();
            }
            verdicts.push(verdict.map_or(Acceptance::Accepted, Acceptance::Rejected));
        }
        Ok(verdicts)
    }

    fn send(&mut self, transaction: &Transaction) -> Result<Txid, NodeError> {
        let txid = transaction.compute_txid();
        match self.test_accept(std::slice::from_ref(transaction))?.pop() {
            Some(Acceptance::Rejected(reason)) => Err(NodeError::Rejected { txid, reason }),
            Some(Acceptance::Accepted) => {
                self.waiting.push(transaction.clone());
                Ok(txid)
            }
            _ => Ok(txid),
        }
    }
}
