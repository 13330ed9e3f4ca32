//! A bitcoind, asked by JSON-RPC.

mod answers;
mod transport;

use super::{
    Acceptance, ChainSource, CoinScan, FeeFloors, Found, Node, NodeError, PackageVerdict, PoolEntry, RejectClass,
    Rejection, Sent, SyncState, Unspent, height, reject::classify,
};
use crate::fee_rate::FeeRate;
use answers::{
    BlockPlace, BlockchainInfo, ChainName, FeeEstimate, MempoolEntry, MempoolInfo, PackageAnswer, RawTransaction,
    ScanAnswer, Spending, TestAcceptance, TxOutAnswer, fee_rate,
};
use bitcoin::{
    Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid,
    block::Header,
    consensus::{Decodable, encode},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use taproof_verifier::headers::BlockId;
use transport::Transport;

pub use transport::RpcAuth;

/// How long a call may take: a full block travels and a package is judged well within it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a search of all coins may take; on mainnet it takes minutes.
const SCAN_TIMEOUT: Duration = Duration::from_secs(1_800);
/// Headers that one batch of calls asks for.
const HEADERS_BATCH: u32 = 500;
/// bitcoind's code for a height above its tip.
const RPC_INVALID_PARAMETER: i32 = -8;
/// bitcoind's code for what has none of its own, and its words where it has thrown a block away.
const RPC_MISC_ERROR: i32 = -1;
const PRUNED: &str = "pruned data";
/// bitcoind's code for a mistake of its own, and for an estimator of fees that is switched off, as with `-blocksonly`.
const RPC_INTERNAL_ERROR: i32 = -32_603;
/// bitcoind's code for an unknown block or transaction.
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
/// What bitcoind says where two would search its coins at once.
const SCAN_RUNS: &str = "Scan already in progress";
/// bitcoind refuses by default what pays more than 0.1 bitcoin a thousand virtual bytes; our fees have limits of
/// their own.
const NO_FEE_LIMIT: u8 = 0;
/// bitcoind's codes for a transaction that it refuses: bad, rejected.
const RPC_VERIFY_ERRORS: [i32; 3] = [-22, -25, -26];
/// bitcoind's code for a transaction that is in a block already.
const RPC_VERIFY_ALREADY_IN_UTXO_SET: i32 = -27;
/// The code for a call that a node does not know.
const RPC_METHOD_NOT_FOUND: i32 = -32_601;
/// How many outputs of a transaction are asked for to find it.
const FIND_OUTPUTS_MAX: u32 = 32;
/// The highest number of blocks that bitcoind estimates fees for.
const ESTIMATE_TARGET_BLOCKS_MAX: u16 = 1_008;

/// A connection to a bitcoind that follows the network it should.
///
/// It outlives the node's restarts: a cookie that the node does not know any more is read again once, and then the
/// network is checked again.
#[derive(Debug)]
pub struct RpcNode {
    transport: Transport,
    network: Network,
    timeout: Duration,
}

impl RpcNode {
    /// Connects to the node at `http://host:port` and asks which network it follows.
    ///
    /// # Errors
    /// [`NodeError::Url`], [`NodeError::Cookie`], [`NodeError::Network`], and whatever a call may meet.
    pub fn connect(url: &str, auth: &RpcAuth, network: Network) -> Result<Self, NodeError> {
        Self::connect_within(url, auth, network, TIMEOUT)
    }

    /// Connects to a node whose every answer has to come within a time; searches for coins have theirs.
    ///
    /// # Errors
    /// As [`RpcNode::connect`].
    pub fn connect_within(url: &str, auth: &RpcAuth, network: Network, timeout: Duration) -> Result<Self, NodeError> {
        let node = Self { transport: Transport::new(url, auth.clone())?, network, timeout };
        node.check_network()?;
        Ok(node)
    }

    fn check_network(&self) -> Result<(), NodeError> {
        let info: ChainName = self.transport.call("getblockchaininfo", &json!([]), self.timeout)?;
        if Network::from_core_arg(&info.chain) != Ok(self.network) {
            return Err(NodeError::Network { expected: self.network, found: info.chain });
        }
        Ok(())
    }

    fn call<T: DeserializeOwned>(&self, method: &'static str, arguments: Value) -> Result<T, NodeError> {
        self.call_within(method, &arguments, self.timeout)
    }

    fn call_within<T: DeserializeOwned>(
        &self,
        method: &'static str,
        arguments: &Value,
        timeout: Duration,
    ) -> Result<T, NodeError> {
        self.with_fresh_cookie(|| self.transport.call(method, arguments, timeout))
    }

    fn batch<T: DeserializeOwned>(
        &self,
        method: &'static str,
        arguments: &[Value],
    ) -> Result<Vec<Result<T, NodeError>>, NodeError> {
        self.with_fresh_cookie(|| self.transport.batch(method, arguments, self.timeout))
    }

    /// Does something again if the node does not know the cookie and has written another.
    fn with_fresh_cookie<T>(&self, what: impl Fn() -> Result<T, NodeError>) -> Result<T, NodeError> {
        match what() {
            Err(NodeError::Unauthorized { .. }) if self.transport.read_cookie_again()? => {
                // Who answers now need not be who answered before.
                self.check_network()?;
                what()
            }
            answer => answer,
        }
    }

    /// A block, or a part of it, that the node gives in hexadecimal.
    fn fetch<T: Decodable>(&self, method: &'static str, hash: &BlockHash, arguments: Value) -> Result<T, NodeError> {
        let text: String = self.call(method, arguments).map_err(|error| match error {
            NodeError::Rpc { code: RPC_INVALID_ADDRESS_OR_KEY, .. } => NodeError::Block(*hash),
            NodeError::Rpc { code: RPC_MISC_ERROR, message, .. } if message.contains(PRUNED) => self.pruned(*hash),
            error => error,
        })?;
        decode_hex(method, &text)
    }

    /// Where a block lies that the node has thrown away, and what it keeps, as far as it says.
    fn pruned(&self, hash: BlockHash) -> NodeError {
        let place = self.call::<BlockPlace>("getblockheader", json!([hash, true]));
        let info = self.call::<BlockchainInfo>("getblockchaininfo", json!([]));
        NodeError::Pruned {
            hash,
            height: place.ok().map(|place| place.height),
            kept_from: info.ok().and_then(|info| info.pruneheight),
        }
    }
}

impl RpcNode {
    /// A block's place in the best chain; `None` if it is not in it.
    fn place_of(&self, hash: &BlockHash) -> Result<Option<BlockId>, NodeError> {
        let place: BlockPlace = self.call("getblockheader", json!([hash, true]))?;
        Ok((place.confirmations > 0).then_some(BlockId { height: place.height, hash: *hash }))
    }

    /// A mined transaction by an output that is unspent: all that a node without an index of transactions knows.
    fn find_by_outputs(&self, txid: &Txid) -> Result<Option<Found>, NodeError> {
        for vout in 0..FIND_OUTPUTS_MAX {
            let Some(unspent) = self.unspent(&OutPoint { txid: *txid, vout })? else { continue };
            let height = (self.tip_height()? + 1).saturating_sub(unspent.confirmations);
            let Some(hash) = self.block_hash(height)? else { continue };
            let found = self.block(&hash)?.txdata.into_iter().find(|transaction| transaction.compute_txid() == *txid);
            // A block may have come between the calls: the next output is asked for anew.
            if let Some(transaction) = found {
                return Ok(Some(Found { transaction, block: Some(BlockId { height, hash }) }));
            }
        }
        Ok(None)
    }
}

fn decode_hex<T: Decodable>(method: &'static str, text: &str) -> Result<T, NodeError> {
    encode::deserialize_hex(text).map_err(|error| NodeError::Answer { method, reason: error.to_string() })
}

fn expect_hash(method: &'static str, found: BlockHash, expected: &BlockHash) -> Result<(), NodeError> {
    if found == *expected {
        return Ok(());
    }
    Err(NodeError::Answer { method, reason: format!("block {found} instead of {expected}") })
}

impl ChainSource for RpcNode {
    fn network(&self) -> Network {
        self.network
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        let method = "getblockcount";
        height::checked(method, self.call(method, json!([]))?)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        match self.call("getblockhash", json!([height])) {
            Ok(hash) => Ok(Some(hash)),
            Err(NodeError::Rpc { code: RPC_INVALID_PARAMETER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        let method = "getblockheader";
        let header: Header = self.fetch(method, hash, json!([hash, false]))?;
        expect_hash(method, header.block_hash(), hash)?;
        Ok(header)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        let method = "getblock";
        let block: Block = self.fetch(method, hash, json!([hash, 0]))?;
        expect_hash(method, block.block_hash(), hash)?;
        Ok(block)
    }

    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        let tip_height = self.tip_height()?;
        let end = first_height.saturating_add(count_max.min(HEADERS_BATCH)).min(tip_height.saturating_add(1));
        let heights: Vec<Value> = (first_height..end).map(|height| json!([height])).collect();
        let mut hashes: Vec<BlockHash> = Vec::with_capacity(heights.len());
        for answer in self.batch("getblockhash", &heights)? {
            match answer {
                Ok(hash) => hashes.push(hash),
                // The chain has become shorter meanwhile.
                Err(NodeError::Rpc { code: RPC_INVALID_PARAMETER, .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let method = "getblockheader";
        let arguments: Vec<Value> = hashes.iter().map(|hash| json!([hash, false])).collect();
        let mut headers: Vec<Header> = Vec::with_capacity(hashes.len());
        for (answer, hash) in self.batch::<String>(method, &arguments)?.into_iter().zip(&hashes) {
            let header: Header = decode_hex(method, &answer?)?;
            expect_hash(method, header.block_hash(), hash)?;
            if headers.last().is_some_and(|parent| parent.block_hash() != header.prev_blockhash) {
                break;
            }
            headers.push(header);
        }
        Ok(headers)
    }
}

impl Node for RpcNode {
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        let method = "testmempoolaccept";
        let raw: Vec<String> = transactions.iter().map(encode::serialize_hex).collect();
        let answers: Vec<TestAcceptance> = self.call(method, json!([raw, NO_FEE_LIMIT]))?;
        let txids = transactions.iter().map(Transaction::compute_txid);
        if !answers.iter().map(|answer| answer.txid).eq(txids) {
            return Err(NodeError::Answer { method, reason: "verdicts on other transactions".to_owned() });
        }
        Ok(answers.into_iter().map(Acceptance::from).collect())
    }

    fn send(&self, transaction: &Transaction) -> Result<Sent, NodeError> {
        let txid = transaction.compute_txid();
        // bitcoind does not tell whether what it took was new.
        let sent = if self.pool_entry(&txid)?.is_some() { Sent::AlreadyInPool } else { Sent::Accepted };
        let raw = encode::serialize_hex(transaction);
        match self.call::<Txid>("sendrawtransaction", json!([raw, NO_FEE_LIMIT])) {
            Ok(_) => Ok(sent),
            Err(NodeError::Rpc { code: RPC_VERIFY_ALREADY_IN_UTXO_SET, .. }) => Ok(Sent::AlreadyInChain),
            Err(NodeError::Rpc { code, message, .. }) if RPC_VERIFY_ERRORS.contains(&code) => {
                Err(NodeError::Rejected { txid, rejection: classify(message) })
            }
            Err(error) => Err(error),
        }
    }

    fn send_package(&self, parent: &Transaction, child: &Transaction) -> Result<[PackageVerdict; 2], NodeError> {
        let method = "submitpackage";
        // bitcoind does not tell whether what it took was new.
        let known =
            [self.pool_entry(&parent.compute_txid())?.is_some(), self.pool_entry(&child.compute_txid())?.is_some()];
        let raw = [parent, child].map(encode::serialize_hex);
        let refused = |rejection: Rejection| Ok([Err(rejection.clone()), Err(rejection)]);
        let answer: PackageAnswer = match self.call(method, json!([raw, NO_FEE_LIMIT])) {
            Ok(answer) => answer,
            Err(NodeError::Rpc { code, message, .. }) if RPC_VERIFY_ERRORS.contains(&code) => {
                return refused(classify(message));
            }
            Err(NodeError::Rpc { code: RPC_METHOD_NOT_FOUND, .. }) => {
                let reason = "it pays too little alone, and the node takes no packages".to_owned();
                return refused(Rejection { class: RejectClass::FeeTooLow, reason });
            }
            Err(error) => return Err(error),
        };
        let verdict = |transaction: &Transaction, is_known: bool| -> Result<PackageVerdict, NodeError> {
            let verdict = answer.verdict(&transaction.compute_wtxid());
            let verdict = verdict
                .ok_or_else(|| NodeError::Answer { method, reason: "verdicts on other transactions".to_owned() })?;
            Ok(verdict.map(|()| if is_known { Sent::AlreadyInPool } else { Sent::Accepted }))
        };
        Ok([verdict(parent, known[0])?, verdict(child, known[1])?])
    }

    fn pool_entry(&self, txid: &Txid) -> Result<Option<PoolEntry>, NodeError> {
        match self.call::<MempoolEntry>("getmempoolentry", json!([txid])) {
            Ok(entry) => Ok(Some(entry.into())),
            Err(NodeError::Rpc { code: RPC_INVALID_ADDRESS_OR_KEY, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn pool_spender(&self, outpoint: &OutPoint) -> Result<Option<Txid>, NodeError> {
        let method = "gettxspendingprevout";
        let answers: Vec<Spending> = self.call(method, json!([[{ "txid": outpoint.txid, "vout": outpoint.vout }]]))?;
        match answers.as_slice() {
            [answer] if answer.outpoint() == *outpoint => Ok(answer.spendingtxid),
            _ => Err(NodeError::Answer { method, reason: "an answer on other outputs".to_owned() }),
        }
    }

    fn find(&self, txid: &Txid) -> Result<Option<Found>, NodeError> {
        let method = "getrawtransaction";
        match self.call::<RawTransaction>(method, json!([txid, 1])) {
            Ok(answer) => {
                let transaction: Transaction = decode_hex(method, &answer.hex)?;
                if transaction.compute_txid() != *txid {
                    return Err(NodeError::Answer { method, reason: "another transaction".to_owned() });
                }
                let block = answer.blockhash.map(|hash| self.place_of(&hash)).transpose()?.flatten();
                Ok(Some(Found { transaction, block }))
            }
            Err(NodeError::Rpc { code: RPC_INVALID_ADDRESS_OR_KEY, .. }) => self.find_by_outputs(txid),
            Err(error) => Err(error),
        }
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError> {
        let answer: Option<TxOutAnswer> = self.call("gettxout", json!([outpoint.txid, outpoint.vout, false]))?;
        Ok(answer.map(Unspent::from))
    }

    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError> {
        let method = "scantxoutset";
        let descriptors: Vec<String> = scripts.iter().map(|script| format!("raw({script:x})")).collect();
        let answer = self.call_within(method, &json!(["start", descriptors]), SCAN_TIMEOUT.max(self.timeout));
        let answer: ScanAnswer = answer.map_err(|error| match error {
            NodeError::Rpc { code: RPC_INVALID_PARAMETER, message, .. } if message.starts_with(SCAN_RUNS) => {
                NodeError::Busy { method }
            }
            error => error,
        })?;
        answer.into_scan(scripts).map_err(|reason| NodeError::Answer { method, reason })
    }

    fn fee_estimate(&self, target_blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        let target_blocks = target_blocks.clamp(1, ESTIMATE_TARGET_BLOCKS_MAX);
        match self.call::<FeeEstimate>("estimatesmartfee", json!([target_blocks, "economical"])) {
            Ok(answer) => Ok(answer.feerate.map(fee_rate)),
            // A node that estimates no fees has none to tell.
            Err(NodeError::Rpc { code: RPC_INTERNAL_ERROR | RPC_METHOD_NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fee_floors(&self) -> Result<FeeFloors, NodeError> {
        let info: MempoolInfo = self.call("getmempoolinfo", json!([]))?;
        Ok(info.into())
    }

    fn sync_state(&self) -> Result<SyncState, NodeError> {
        let info: BlockchainInfo = self.call("getblockchaininfo", json!([]))?;
        Ok(SyncState { initial_download: info.initialblockdownload, headers: info.headers, blocks: info.blocks })
    }
}
