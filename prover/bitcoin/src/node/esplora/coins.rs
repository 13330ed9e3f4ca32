//! What an Esplora server says to somebody who pays and has no node: coins, fees, and whether a transaction waits.
//!
//! Of this only the transactions can be checked, against their ids and the blocks that hold them. So values and scripts
//! of coins are true, and each was mined in a block of the server's chain. Whether a coin is spent, what others pay and
//! what waits is the server's word: a lie makes a transaction that nobody mines, or one at another rate than is usual.
//! Signers and posters, for whom more depends on it, ask a node of their own.

use super::{
    EsploraNode, PAGE_BYTES_MAX, SHORT_BYTES_MAX,
    answers::{FeeEstimates, ScriptCoin, ServerRefusal, Spending, TransactionSummary},
};
use crate::{
    fee_rate::FeeRate,
    node::{
        Acceptance, ChainSource, Coin, CoinScan, FeeFloors, Found, Node, NodeError, PackageVerdict, PoolEntry, Sent,
        SyncState, Unspent, reject::classify,
    },
};
use bitcoin::{
    OutPoint, Script, ScriptBuf, Transaction, Txid,
    block::Header,
    consensus::encode,
    hashes::{Hash, sha256},
};
use taproof_verifier::{block::ValidatedExcerpt, headers::BlockId};

/// How many coins are read. Each costs some questions, and its transaction may be as large as a block.
pub(super) const COINS_MAX: usize = 32;
/// The longest list of a script's coins, of some ten thousand.
pub(super) const LIST_BYTES_MAX: usize = 4 << 20;

impl EsploraNode {
    /// A transaction that is proven to be in the block at a height, of the server's chain, which took work to make;
    /// `None` if it is in none.
    fn mined(&self, txid: &Txid) -> Result<Option<(BlockId, Transaction)>, NodeError> {
        let Some(located) = self.inclusion(txid)? else { return Ok(None) };
        // The chain may have become shorter meanwhile.
        let Some(hash) = self.block_hash(located.height)? else { return Ok(None) };
        let block = BlockId { height: located.height, hash };
        let excerpt = match self.excerpt(&block, &[*txid]) {
            Err(NodeError::Block(_)) => return Ok(None),
            excerpt => excerpt?,
        };
        self.expect_work(&excerpt.header)?;
        ValidatedExcerpt::new(excerpt, block)
            .map_err(|error| NodeError::Answer { method: "GET /tx/merkle-proof", reason: error.to_string() })?;
        Ok(Some((block, located.inclusion.transaction)))
    }

    /// Fails for a header that costs nothing to make up. Whether its block is in the chain with the most work is not
    /// asked.
    fn expect_work(&self, header: &Header) -> Result<(), NodeError> {
        let target = header.target();
        if target <= self.network.params().max_attainable_target && header.validate_pow(target).is_ok() {
            return Ok(());
        }
        let reason = format!("block {} has no proof of work", header.block_hash());
        Err(NodeError::Answer { method: "GET /block/header", reason })
    }

    fn spending(&self, outpoint: &OutPoint) -> Result<Option<Spending>, NodeError> {
        let path = format!("/tx/{}/outspend/{}", outpoint.txid, outpoint.vout);
        self.json("GET /tx/outspend", &path, SHORT_BYTES_MAX)
    }

    /// What a server names as a script's coins, as far as it is worth reading: the most valuable, by the server's word.
    fn listed(&self, script: &Script) -> Result<Vec<(u64, OutPoint)>, NodeError> {
        let path = format!("/scripthash/{}/utxo", sha256::Hash::hash(script.as_bytes()));
        let listed: Option<Vec<ScriptCoin>> = self.json("GET /scripthash/utxo", &path, LIST_BYTES_MAX)?;
        let confirmed = listed.into_iter().flatten().filter(ScriptCoin::is_confirmed);
        let mut coins: Vec<(u64, OutPoint)> = confirmed.map(|coin| (coin.value, coin.outpoint())).collect();
        coins.sort_unstable_by(|left, right| right.cmp(left));
        coins.truncate(COINS_MAX);
        Ok(coins)
    }

    /// Those outputs of a transaction, which all pay to one of the scripts, if a block is proven to hold it.
    fn mined_coins(&self, outpoints: &[OutPoint], scripts: &[ScriptBuf]) -> Result<Vec<Coin>, NodeError> {
        let Some((block, transaction)) = outpoints.first().map_or(Ok(None), |first| self.mined(&first.txid))? else {
            return Ok(Vec::new());
        };
        let is_coinbase = transaction.is_coinbase();
        let coin = |outpoint: &OutPoint| {
            let output = transaction.output.get(outpoint.vout as usize);
            let output = output.filter(|output| scripts.contains(&output.script_pubkey));
            let output = output.cloned().ok_or_else(|| NodeError::Answer {
                method: "GET /scripthash/utxo",
                reason: format!("output {outpoint} is none to the script"),
            })?;
            Ok(Coin { outpoint: *outpoint, output, height: block.height, is_coinbase })
        };
        outpoints.iter().map(coin).collect()
    }
}

impl Node for EsploraNode {
    /// The server's node judges what it is sent.
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        Ok(vec![Acceptance::NotJudged; transactions.len()])
    }

    fn send(&self, transaction: &Transaction) -> Result<Sent, NodeError> {
        let raw = encode::serialize_hex(transaction);
        let answer = self.exchange("POST /tx", "/tx", Some(raw.as_bytes()), SHORT_BYTES_MAX)?;
        if answer.status == 200 {
            return Ok(Sent::Accepted);
        }
        if answer.status != 400 {
            return Err(self.status(&answer));
        }
        ServerRefusal::read(&answer.body)
            .sent()
            .map_err(|reason| NodeError::Rejected { txid: transaction.compute_txid(), rejection: classify(reason) })
    }

    /// Servers need not take packages, so each is sent alone.
    fn send_package(&self, parent: &Transaction, child: &Transaction) -> Result<[PackageVerdict; 2], NodeError> {
        let verdict = |transaction| match self.send(transaction) {
            Ok(sent) => Ok(Ok(sent)),
            Err(NodeError::Rejected { rejection, .. }) => Ok(Err(rejection)),
            Err(error) => Err(error),
        };
        Ok([verdict(parent)?, verdict(child)?])
    }

    /// The entry of the transaction alone: a server does not tell what hangs on it.
    fn pool_entry(&self, txid: &Txid) -> Result<Option<PoolEntry>, NodeError> {
        let summary: Option<TransactionSummary> = self.json("GET /tx", &format!("/tx/{txid}"), PAGE_BYTES_MAX)?;
        Ok(summary.and_then(TransactionSummary::into_pool_entry))
    }

    fn pool_spender(&self, outpoint: &OutPoint) -> Result<Option<Txid>, NodeError> {
        let spending = self.spending(outpoint)?;
        Ok(spending.filter(|spending| !spending.is_mined()).and_then(|spending| spending.txid))
    }

    fn find(&self, txid: &Txid) -> Result<Option<Found>, NodeError> {
        if let Some((block, transaction)) = self.mined(txid)? {
            return Ok(Some(Found { transaction, block: Some(block) }));
        }
        Ok(self.transaction(txid)?.map(|transaction| Found { transaction, block: None }))
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError> {
        let Some((block, transaction)) = self.mined(&outpoint.txid)? else { return Ok(None) };
        let Some(output) = transaction.output.get(outpoint.vout as usize).cloned() else { return Ok(None) };
        if self.spending(outpoint)?.is_some_and(|spending| spending.is_mined()) {
            return Ok(None);
        }
        let confirmations = self.tip_height()?.saturating_add(1).saturating_sub(block.height).max(1);
        Ok(Some(Unspent { output, confirmations, is_coinbase: transaction.is_coinbase() }))
    }

    /// The most valuable coins, each proven to be in a block of the server's chain. A server names as many as it likes,
    /// and whoever pays to the script adds to them, so no more than 32 are looked at.
    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError> {
        let height = self.tip_height()?;
        let hash = self.block_hash(height)?;
        let hash = hash.ok_or_else(|| NodeError::Http { url: self.url.clone(), status: 404, retry_after: None })?;
        let mut listed = Vec::new();
        for script in scripts {
            listed.extend(self.listed(script)?);
        }
        listed.sort_unstable_by(|left, right| right.cmp(left));
        listed.dedup();
        listed.truncate(COINS_MAX);
        // A transaction is read once, and of it the outputs alone are kept; a coin is one, also if it is named twice.
        let mut outpoints: Vec<OutPoint> = listed.into_iter().map(|(_, outpoint)| outpoint).collect();
        outpoints.sort_unstable();
        outpoints.dedup();
        let mut coins = Vec::new();
        for of_one in outpoints.chunk_by(|left, right| left.txid == right.txid) {
            coins.extend(self.mined_coins(of_one, scripts)?);
        }
        coins.sort_by_key(|coin| (coin.height, coin.outpoint));
        Ok(CoinScan { block: BlockId { height, hash }, coins })
    }

    fn fee_estimate(&self, target_blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        let estimates: Option<FeeEstimates> = self.json("GET /fee-estimates", "/fee-estimates", SHORT_BYTES_MAX)?;
        Ok(estimates.and_then(|estimates| estimates.within(target_blocks)))
    }

    /// What nodes take by default: a server does not tell what its own takes.
    fn fee_floors(&self) -> Result<FeeFloors, NodeError> {
        Ok(FeeFloors { min_pool: FeeRate::MIN, incremental: FeeRate::MIN })
    }

    fn sync_state(&self) -> Result<SyncState, NodeError> {
        let height = self.tip_height()?;
        Ok(SyncState { initial_download: false, headers: height, blocks: height })
    }
}
