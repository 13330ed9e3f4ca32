//! The answers of an Esplora server, as far as they are read.

use super::{super::Sent, Located};
use bitcoin::{
    BlockHash, CompactTarget, Transaction, TxMerkleNode, Txid,
    block::{Header, Version},
    hashes::Hash,
};
use serde::Deserialize;
use taproof_verifier::{
    block::{BRANCH_LENGTH_MAX, Inclusion},
    headers::BlockId,
};

/// What the server's node says where a transaction is in a block already.
const ALREADY_IN_CHAIN_CODE: i64 = -27;
/// How reasons begin where a transaction waits already.
const ALREADY_IN_POOL: [&str; 2] = ["txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool"];
/// How a reason begins where a transaction is in a block already.
const ALREADY_IN_CHAIN: &str = "txn-already-known";
/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 200;

/// A block of `/blocks`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BlockSummary {
    pub(super) id: BlockHash,
    pub(super) height: u32,
    /// Servers write the same bits with a sign and without.
    version: i64,
    timestamp: u32,
    bits: u32,
    nonce: u32,
    merkle_root: TxMerkleNode,
    /// The first block has none.
    previousblockhash: Option<BlockHash>,
}

impl BlockSummary {
    pub(super) fn header(&self) -> Header {
        // A version is its low 32 bits; the hash shows if it is another.
        let version = Version::from_consensus(self.version as i32);
        Header {
            version,
            prev_blockhash: self.previousblockhash.unwrap_or_else(BlockHash::all_zeros),
            merkle_root: self.merkle_root,
            time: self.timestamp,
            bits: CompactTarget::from_consensus(self.bits),
            nonce: self.nonce,
        }
    }
}

/// A transaction of a script's history.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HistoryItem {
    pub(super) txid: Txid,
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    confirmed: bool,
    block_height: Option<u32>,
    block_hash: Option<BlockHash>,
}

impl HistoryItem {
    /// The block that holds it; `None` if it waits.
    pub(super) fn block(&self) -> Option<BlockId> {
        let Status { confirmed, block_height, block_hash } = self.status;
        Some(BlockId { height: block_height?, hash: block_hash? }).filter(|_| confirmed)
    }
}

/// A transaction's place in its block.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct MerkleProof {
    block_height: u32,
    merkle: Vec<TxMerkleNode>,
    pos: u32,
}

impl MerkleProof {
    /// The transaction with its branch, or why that cannot be one. Servers tell nothing that proves its witnesses.
    pub(super) fn into_located(self, transaction: Transaction) -> Result<Located, String> {
        if self.merkle.len() > BRANCH_LENGTH_MAX {
            return Err(format!("a branch of {} nodes", self.merkle.len()));
        }
        let inclusion = Inclusion { position: self.pos, transaction, branch: self.merkle, witness_branch: None };
        Ok(Located { height: self.block_height, inclusion })
    }
}

/// Why a transaction was not taken: words, with the error of the server's node as JSON among them.
pub(super) struct Refusal {
    code: Option<i64>,
    message: String,
}

#[derive(Deserialize)]
struct NodeMessage {
    code: i64,
    message: String,
}

impl Refusal {
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json = text.find('{').zip(text.rfind('}')).and_then(|(start, end)| text.get(start..=end));
        let parsed = json.and_then(|json| serde_json::from_str::<NodeMessage>(json).ok());
        let (code, message) = match parsed {
            Some(NodeMessage { code, message }) => (Some(code), message),
            None => (None, text.trim().to_owned()),
        };
        Self { code, message: message.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect() }
    }

    /// What became of the transaction, or the reason of the refusal.
    pub(super) fn sent(self) -> Result<Sent, String> {
        let starts_with = |beginning: &&str| self.message.starts_with(beginning);
        if self.code == Some(ALREADY_IN_CHAIN_CODE) || starts_with(&ALREADY_IN_CHAIN) {
            return Ok(Sent::AlreadyInChain);
        }
        if ALREADY_IN_POOL.iter().any(starts_with) {
            return Ok(Sent::AlreadyInPool);
        }
        Err(self.message)
    }
}
