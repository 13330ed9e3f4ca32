//! A bitcoind, asked by JSON-RPC over plain HTTP.

mod answers;

use super::{
    Acceptance, ChainSource, CoinScan, FeeFloors, Node, NodeError, PoolEntry, Sent, SyncState, Unspent,
    reject::classify,
};
use crate::anchor::FeeRate;
use answers::{
    BlockchainInfo, ChainName, FeeEstimate, MempoolEntry, MempoolInfo, ScanAnswer, Spending, TestAcceptance,
    TxOutAnswer, fee_rate,
};
use bitcoin::{
    Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid,
    block::Header,
    consensus::{Decodable, encode},
};
use jsonrpc::bitreq_http::{self, BitreqHttpTransport};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// How long a call may take: a full block travels and a package is judged well within it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// bitcoind's code for a height above its tip.
const RPC_INVALID_PARAMETER: i32 = -8;
/// bitcoind's code for an unknown block or transaction.
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
/// What bitcoind says where two would search its coins at once.
const SCAN_RUNS: &str = "Scan already in progress";
/// bitcoind refuses by default what pays more than 0.1 bitcoin a thousand virtual bytes; our fees have limits of their own.
const NO_FEE_LIMIT: u8 = 0;
/// bitcoind's codes for a transaction that it refuses: bad, rejected.
const RPC_VERIFY_ERRORS: [i32; 3] = [-22, -25, -26];
/// bitcoind's code for a transaction that is in a block already.
const RPC_VERIFY_ALREADY_IN_UTXO_SET: i32 = -27;
/// The highest number of blocks that bitcoind estimates fees for.
const ESTIMATE_TARGET_BLOCKS_MAX: u16 = 1_008;

/// How to prove to a node that one may call it.
#[derive(Clone)]
pub enum RpcAuth {
    /// The user and password of the node's configuration.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// The file that the node writes at each start; read when connecting.
    CookieFile(PathBuf),
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
        }
    }
}

/// A connection to a bitcoind that follows the network it should.
#[derive(Debug)]
pub struct RpcNode {
    client: jsonrpc::Client,
    url: String,
    network: Network,
}

impl RpcNode {
    /// Connects to the node at `http://host:port` and asks which network it follows.
    ///
    /// # Errors
    /// [`NodeError::Url`], [`NodeError::Cookie`], [`NodeError::Network`], and whatever a call may meet.
    pub fn connect(url: &str, auth: &RpcAuth, network: Network) -> Result<Self, NodeError> {
        // A password inside the address would end up in error messages.
        if !url.starts_with("http://") || url.contains('@') {
            return Err(NodeError::Url(url.split('@').next_back().unwrap_or_default().to_owned()));
        }
        let builder = BitreqHttpTransport::builder().timeout(TIMEOUT);
        let builder = builder.url(url).map_err(|_| NodeError::Url(url.to_owned()))?;
        let transport = match auth {
            RpcAuth::UserPassword { user, password } => {
                builder.basic_auth(user.clone(), Some(password.as_str().to_owned()))
            }
            RpcAuth::CookieFile(path) => builder.cookie_auth(read_cookie(path)?.trim_end()),
        };
        let client = jsonrpc::Client::with_transport(transport.build());
        let node = Self { client, url: url.to_owned(), network };
        let info: ChainName = node.call("getblockchaininfo", json!([]))?;
        if Network::from_core_arg(&info.chain) != Ok(network) {
            return Err(NodeError::Network { expected: network, found: info.chain });
        }
        Ok(node)
    }

    fn call<T: DeserializeOwned>(&self, method: &'static str, arguments: Value) -> Result<T, NodeError> {
        let arguments = RawValue::from_string(arguments.to_string()).expect("JSON that was just written");
        self.client.call(method, Some(&arguments)).map_err(|error| self.describe(method, error))
    }

    /// A block, or a part of it, that the node gives in hexadecimal.
    fn fetch<T: Decodable>(&self, method: &'static str, hash: &BlockHash, arguments: Value) -> Result<T, NodeError> {
        let text: String = self.call(method, arguments).map_err(|error| match error {
            NodeError::Rpc { code: RPC_INVALID_ADDRESS_OR_KEY, .. } => NodeError::Block(*hash),
            error => error,
        })?;
        encode::deserialize_hex(&text).map_err(|error| NodeError::Answer { method, reason: error.to_string() })
    }

    fn describe(&self, method: &'static str, error: jsonrpc::Error) -> NodeError {
        let url = self.url.clone();
        match error {
            jsonrpc::Error::Rpc(error) => NodeError::Rpc { method, code: error.code, message: error.message },
            jsonrpc::Error::Transport(error) => match error.downcast_ref::<bitreq_http::Error>() {
                Some(bitreq_http::Error::Http(http)) => match http.status_code {
                    401 | 403 => NodeError::Unauthorized { url },
                    status => NodeError::Http { url, status },
                },
                Some(bitreq_http::Error::Json(error)) => NodeError::Answer { method, reason: error.to_string() },
                _ => NodeError::Unreachable { url, reason: error.to_string() },
            },
            error => NodeError::Answer { method, reason: error.to_string() },
        }
    }
}

fn expect_hash(method: &'static str, found: BlockHash, expected: &BlockHash) -> Result<(), NodeError> {
    if found == *expected {
        return Ok(());
    }
    Err(NodeError::Answer { method, reason: format!("block {found} instead of {expected}") })
}

fn read_cookie(path: &Path) -> Result<Zeroizing<String>, NodeError> {
    let cookie = fs::read_to_string(path).map_err(|source| NodeError::Cookie { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(cookie))
}

impl ChainSource for RpcNode {
    fn network(&self) -> Network {
        self.network
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.call("getblockcount", json!([]))
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

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError> {
        let answer: Option<TxOutAnswer> = self.call("gettxout", json!([outpoint.txid, outpoint.vout, false]))?;
        Ok(answer.map(Unspent::from))
    }

    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError> {
        let method = "scantxoutset";
        let descriptors: Vec<String> = scripts.iter().map(|script| format!("raw({script:x})")).collect();
        let answer: ScanAnswer = self.call(method, json!(["start", descriptors])).map_err(|error| match error {
            NodeError::Rpc { code: RPC_INVALID_PARAMETER, message, .. } if message.starts_with(SCAN_RUNS) => {
                NodeError::Busy { method }
            }
            error => error,
        })?;
        answer.into_scan(scripts).map_err(|reason| NodeError::Answer { method, reason })
    }

    fn fee_estimate(&self, target_blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        let target_blocks = target_blocks.clamp(1, ESTIMATE_TARGET_BLOCKS_MAX);
        let answer: FeeEstimate = self.call("estimatesmartfee", json!([target_blocks, "economical"]))?;
        Ok(answer.feerate.map(fee_rate))
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
