//! The answers of an Esplora server, as far as they are read.

use super::{
    super::{PoolEntry, Sent, height},
    HistoryEntry, Located,
};
use crate::fee_rate::FeeRate;
use bitcoin::{
    BlockHash, CompactTarget, OutPoint, Script, ScriptBuf, Transaction, TxMerkleNode, Txid,
    block::{Header, Version},
    hashes::Hash,
};
use serde::Deserialize;
use std::collections::BTreeMap;
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
    #[serde(deserialize_with = "height::claimed")]
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
    #[serde(default)]
    vin: Vec<SpentItem>,
    #[serde(default)]
    vout: Vec<OutputItem>,
}

/// An input.
#[derive(Clone, Debug, Deserialize)]
struct SpentItem {
    /// What it spends; a coinbase spends nothing.
    prevout: Option<OutputItem>,
}

/// An output.
#[derive(Clone, Debug, Deserialize)]
struct OutputItem {
    scriptpubkey: ScriptBuf,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    confirmed: bool,
    #[serde(default, deserialize_with = "height::claimed_if_any")]
    block_height: Option<u32>,
    block_hash: Option<BlockHash>,
}

impl HistoryItem {
    /// The block that holds it; `None` if it waits.
    pub(super) fn block(&self) -> Option<BlockId> {
        let Status { confirmed, block_height, block_hash } = self.status;
        Some(BlockId { height: block_height?, hash: block_hash? }).filter(|_| confirmed)
    }

    /// The entry in the history of a script; `None` if it waits.
    pub(super) fn entry(self, script: &Script) -> Option<HistoryEntry> {
        let spends = self.vin.iter().flat_map(|input| &input.prevout).any(|spent| *spent.scriptpubkey == *script);
        let first_output = self.vout.first().map(|output| output.scriptpubkey.clone()).unwrap_or_default();
        Some(HistoryEntry { block: self.block()?, txid: self.txid, spends, first_output })
    }
}

/// An output of `/scripthash/utxo`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ScriptCoin {
    pub(super) txid: Txid,
    pub(super) vout: u32,
    /// In satoshi.
    pub(super) value: u64,
    status: Status,
}

impl ScriptCoin {
    pub(super) fn outpoint(&self) -> OutPoint {
        OutPoint { txid: self.txid, vout: self.vout }
    }

    /// Whether a block holds it, as the server says.
    pub(super) fn is_confirmed(&self) -> bool {
        self.status.confirmed
    }
}

/// `/tx/outspend`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Spending {
    spent: bool,
    /// The transaction that spends the output.
    pub(super) txid: Option<Txid>,
    status: Option<Status>,
}

impl Spending {
    /// Whether a block holds the transaction that spends the output.
    pub(super) fn is_mined(&self) -> bool {
        self.spent && self.status.as_ref().is_some_and(|status| status.confirmed)
    }
}

/// `/tx`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TransactionSummary {
    weight: u64,
    fee: u64,
    status: Status,
}

impl TransactionSummary {
    /// The transaction alone in a pool; `None` if a block holds it.
    pub(super) fn into_pool_entry(self) -> Option<PoolEntry> {
        let Self { weight, fee, status } = self;
        let vsize_vb = weight.div_ceil(4);
        (!status.confirmed).then_some(PoolEntry {
            vsize_vb,
            fee_sat: fee,
            descendant_fee_sat: fee,
            descendant_vsize_vb: vsize_vb,
            descendant_count: 1,
            ancestor_fee_sat: fee,
            ancestor_vsize_vb: vsize_vb,
            ancestor_count: 1,
        })
    }
}

/// `/fee-estimates`: rates in satoshi a virtual byte, by the number of blocks within which they should do.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct FeeEstimates(BTreeMap<String, f64>);

impl FeeEstimates {
    /// The rate of the highest number that is not above the target, of the lowest if all are; `None` if there is no
    /// rate.
    pub(super) fn within(&self, target_blocks: u16) -> Option<FeeRate> {
        let numbered = self.0.iter().filter_map(|(blocks, rate)| Some((blocks.parse::<u16>().ok()?, *rate)));
        let sane: BTreeMap<u16, f64> = numbered.filter(|(_, rate)| rate.is_finite() && *rate > 0.0).collect();
        let (_, rate) = sane.range(..=target_blocks).next_back().or_else(|| sane.first_key_value())?;
        let bounds = (FeeRate::MIN.sat_per_kvb() as f64, FeeRate::MAX.sat_per_kvb() as f64);
        let sat_per_kvb = (rate * 1_000.0).ceil().clamp(bounds.0, bounds.1);
        FeeRate::from_sat_per_kvb(sat_per_kvb as u64).ok()
    }
}

/// A transaction's place in its block.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct MerkleProof {
    #[serde(deserialize_with = "height::claimed")]
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
pub(super) struct ServerRefusal {
    code: Option<i64>,
    message: String,
}

#[derive(Deserialize)]
struct NodeMessage {
    code: i64,
    message: String,
}

impl ServerRefusal {
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
