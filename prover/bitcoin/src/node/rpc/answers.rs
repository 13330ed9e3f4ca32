//! The answers of bitcoind, as far as they are read, and what they mean.

use super::super::{Acceptance, Coin, CoinScan, FeeFloors, PoolEntry, Rejection, Unspent, height, reject::classify};
use crate::fee_rate::FeeRate;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, TxOut, Txid, Wtxid, amount::serde::as_btc};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use taproof_verifier::headers::BlockId;

/// bitcoind's reasons for not testing what its pool has.
const IN_POOL_REASONS: [&str; 2] = ["txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool"];
/// bitcoind's reason for not testing what is in a block.
const IN_CHAIN_REASON: &str = "txn-already-known";

/// bitcoind's reasons for a transaction of a package that it has not judged by itself, of several versions.
const UNJUDGED_REASONS: [&str; 2] = ["package-not-validated", "unevaluated"];

/// `getblockchaininfo`, as far as it tells the network.
#[derive(Deserialize)]
pub(super) struct ChainName {
    pub(super) chain: String,
}

/// `getblockchaininfo`, as far as it tells how far the node is.
#[derive(Deserialize)]
pub(super) struct BlockchainInfo {
    #[serde(deserialize_with = "height::claimed")]
    pub(super) blocks: u32,
    #[serde(deserialize_with = "height::claimed")]
    pub(super) headers: u32,
    pub(super) initialblockdownload: bool,
    /// The lowest height whose block a pruned node has.
    #[serde(default, deserialize_with = "height::claimed_if_any")]
    pub(super) pruneheight: Option<u32>,
}

/// `getrawtransaction`, with details.
#[derive(Deserialize)]
pub(super) struct RawTransaction {
    pub(super) hex: String,
    /// Of a transaction that is in a block.
    pub(super) blockhash: Option<BlockHash>,
}

/// `getblockheader`, with details; blocks that are not in the best chain have -1 confirmations.
#[derive(Deserialize)]
pub(super) struct BlockPlace {
    #[serde(deserialize_with = "height::claimed")]
    pub(super) height: u32,
    pub(super) confirmations: i64,
}

/// One verdict of `testmempoolaccept`.
#[derive(Deserialize)]
pub(super) struct TestAcceptance {
    pub(super) txid: Txid,
    allowed: Option<bool>,
    #[serde(rename = "reject-reason")]
    reject_reason: Option<String>,
    #[serde(rename = "reject-details")]
    reject_details: Option<String>,
    #[serde(rename = "package-error")]
    package_error: Option<String>,
}

impl From<TestAcceptance> for Acceptance {
    fn from(answer: TestAcceptance) -> Self {
        let reason = answer.reject_reason.unwrap_or_default();
        match answer.allowed {
            Some(true) => Self::Accepted,
            Some(false) if IN_POOL_REASONS.contains(&reason.as_str()) => Self::AlreadyInPool,
            Some(false) if reason == IN_CHAIN_REASON => Self::AlreadyInChain,
            // The details begin with the reason.
            Some(false) => Self::Rejected(classify(answer.reject_details.unwrap_or(reason))),
            None => answer.package_error.map_or(Self::NotJudged, |reason| Self::Rejected(classify(reason))),
        }
    }
}

/// `submitpackage`.
#[derive(Deserialize)]
pub(super) struct PackageAnswer {
    package_msg: String,
    #[serde(rename = "tx-results")]
    results: HashMap<Wtxid, PackageResult>,
}

#[derive(Deserialize)]
struct PackageResult {
    error: Option<String>,
}

impl PackageAnswer {
    /// The verdict on a transaction; `None` if there is none.
    pub(super) fn verdict(&self, wtxid: &Wtxid) -> Option<Result<(), Rejection>> {
        let Some(error) = &self.results.get(wtxid)?.error else { return Some(Ok(())) };
        // What is wrong with the package as a whole is told once for all.
        let is_unjudged = UNJUDGED_REASONS.contains(&error.as_str());
        Some(Err(classify(if is_unjudged { self.package_msg.clone() } else { error.clone() })))
    }
}

/// `getmempoolentry`.
#[derive(Deserialize)]
pub(super) struct MempoolEntry {
    vsize: u64,
    descendantcount: u32,
    descendantsize: u64,
    ancestorcount: u32,
    ancestorsize: u64,
    fees: EntryFees,
}

#[derive(Deserialize)]
struct EntryFees {
    #[serde(with = "as_btc")]
    base: Amount,
    #[serde(with = "as_btc")]
    ancestor: Amount,
    #[serde(with = "as_btc")]
    descendant: Amount,
}

impl From<MempoolEntry> for PoolEntry {
    fn from(entry: MempoolEntry) -> Self {
        Self {
            vsize_vb: entry.vsize,
            fee_sat: entry.fees.base.to_sat(),
            descendant_fee_sat: entry.fees.descendant.to_sat(),
            descendant_vsize_vb: entry.descendantsize,
            descendant_count: entry.descendantcount,
            ancestor_fee_sat: entry.fees.ancestor.to_sat(),
            ancestor_vsize_vb: entry.ancestorsize,
            ancestor_count: entry.ancestorcount,
        }
    }
}

/// One answer of `gettxspendingprevout`.
#[derive(Deserialize)]
pub(super) struct Spending {
    txid: Txid,
    vout: u32,
    pub(super) spendingtxid: Option<Txid>,
}

impl Spending {
    pub(super) fn outpoint(&self) -> OutPoint {
        OutPoint { txid: self.txid, vout: self.vout }
    }
}

/// `gettxout` of an output that is there.
#[derive(Deserialize)]
pub(super) struct TxOutAnswer {
    #[serde(deserialize_with = "height::claimed")]
    confirmations: u32,
    #[serde(with = "as_btc")]
    value: Amount,
    #[serde(rename = "scriptPubKey")]
    script_pubkey: ScriptAnswer,
    coinbase: bool,
}

#[derive(Deserialize)]
struct ScriptAnswer {
    hex: ScriptBuf,
}

impl From<TxOutAnswer> for Unspent {
    fn from(answer: TxOutAnswer) -> Self {
        Self {
            output: TxOut { value: answer.value, script_pubkey: answer.script_pubkey.hex },
            confirmations: answer.confirmations,
            is_coinbase: answer.coinbase,
        }
    }
}

/// `scantxoutset`.
#[derive(Deserialize)]
pub(super) struct ScanAnswer {
    success: bool,
    #[serde(deserialize_with = "height::claimed")]
    height: u32,
    bestblock: BlockHash,
    unspents: Vec<ScanCoin>,
}

#[derive(Deserialize)]
struct ScanCoin {
    txid: Txid,
    vout: u32,
    #[serde(rename = "scriptPubKey")]
    script_pubkey: ScriptBuf,
    #[serde(with = "as_btc")]
    amount: Amount,
    coinbase: bool,
    #[serde(deserialize_with = "height::claimed")]
    height: u32,
}

impl ScanAnswer {
    /// The scan, or why it is none.
    pub(super) fn into_scan(self, scripts: &[ScriptBuf]) -> Result<CoinScan, String> {
        if !self.success {
            return Err("the search was broken off".to_owned());
        }
        let scripts: HashSet<&ScriptBuf> = scripts.iter().collect();
        if let Some(coin) = self.unspents.iter().find(|coin| !scripts.contains(&coin.script_pubkey)) {
            return Err(format!("output {}:{} to another script", coin.txid, coin.vout));
        }
        let mut coins: Vec<Coin> = self.unspents.into_iter().map(Coin::from).collect();
        coins.sort_by_key(|coin| (coin.height, coin.outpoint));
        Ok(CoinScan { block: BlockId { height: self.height, hash: self.bestblock }, coins })
    }
}

impl From<ScanCoin> for Coin {
    fn from(coin: ScanCoin) -> Self {
        Self {
            outpoint: OutPoint { txid: coin.txid, vout: coin.vout },
            output: TxOut { value: coin.amount, script_pubkey: coin.script_pubkey },
            height: coin.height,
            is_coinbase: coin.coinbase,
        }
    }
}

/// `estimatesmartfee`; bitcoin for a thousand virtual bytes, and nothing where the node has seen too little.
#[derive(Deserialize)]
pub(super) struct FeeEstimate {
    #[serde(default, with = "as_btc::opt")]
    pub(super) feerate: Option<Amount>,
}

/// `getmempoolinfo`; bitcoin for a thousand virtual bytes.
#[derive(Deserialize)]
pub(super) struct MempoolInfo {
    #[serde(with = "as_btc")]
    mempoolminfee: Amount,
    #[serde(with = "as_btc")]
    minrelaytxfee: Amount,
    #[serde(with = "as_btc")]
    incrementalrelayfee: Amount,
}

impl From<MempoolInfo> for FeeFloors {
    fn from(info: MempoolInfo) -> Self {
        Self {
            min_pool: fee_rate(info.mempoolminfee.max(info.minrelaytxfee)),
            incremental: fee_rate(info.incrementalrelayfee),
        }
    }
}

/// A node's fee for a thousand virtual bytes as a rate, the nearest that there is: nodes can be told to take less than
/// [`FeeRate::MIN`].
pub(super) fn fee_rate(for_kvb: Amount) -> FeeRate {
    let sat_per_kvb = for_kvb.to_sat().clamp(FeeRate::MIN.sat_per_kvb(), FeeRate::MAX.sat_per_kvb());
    FeeRate::from_sat_per_kvb(sat_per_kvb).expect("the rate is in range")
}
