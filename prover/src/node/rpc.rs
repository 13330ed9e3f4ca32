//! A bitcoind, asked by JSON-RPC over plain HTTP.

use super::{Acceptance, ChainSource, NodeError};
use bitcoin::{
    Block, BlockHash, Network, Transaction, Txid,
    block::Header,
    consensus::{Decodable, encode},
};
use jsonrpc::bitreq_http::{self, BitreqHttpTransport};
use serde::{Deserialize, de::DeserializeOwned};
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
/// bitcoind's codes for a transaction that it refuses: bad, rejected.
const RPC_VERIFY_ERRORS: [i32; 3] = [-22, -25, -26];
/// bitcoind's code for a transaction that is in a block already.
const RPC_VERIFY_ALREADY_IN_UTXO_SET: i32 = -27;
/// bitcoind's reasons for not testing what it has.
const KNOWN_REASONS: [&str; 2] = ["txn-already-in-mempool", "txn-already-known"];

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

#[derive(Deserialize)]
struct BlockchainInfo {
    chain: String,
}

#[derive(Deserialize)]
struct TestAcceptance {
    txid: Txid,
    allowed: Option<bool>,
    #[serde(rename = "reject-reason")]
    reject_reason: Option<String>,
    #[serde(rename = "package-error")]
    package_error: Option<String>,
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
        let info: BlockchainInfo = node.call("getblockchaininfo", json!([]))?;
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

    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        let method = "testmempoolaccept";
        let raw: Vec<String> = transactions.iter().map(encode::serialize_hex).collect();
        let answers: Vec<TestAcceptance> = self.call(method, json!([raw]))?;
        let txids = transactions.iter().map(Transaction::compute_txid);
        if !answers.iter().map(|answer| answer.txid).eq(txids) {
            return Err(NodeError::Answer { method, reason: "verdicts on other transactions".to_owned() });
        }
        Ok(answers.into_iter().map(Acceptance::from).collect())
    }

    fn send(&mut self, transaction: &Transaction) -> Result<Txid, NodeError> {
        let txid = transaction.compute_txid();
        match self.call::<Txid>("sendrawtransaction", json!([encode::serialize_hex(transaction)])) {
            Ok(_) | Err(NodeError::Rpc { code: RPC_VERIFY_ALREADY_IN_UTXO_SET, .. }) => Ok(txid),
            Err(NodeError::Rpc { code, message, .. }) if RPC_VERIFY_ERRORS.contains(&code) => {
                Err(NodeError::Rejected { txid, reason: message })
            }
            Err(error) => Err(error),
        }
    }
}

impl From<TestAcceptance> for Acceptance {
    fn from(answer: TestAcceptance) -> Self {
        let reason = answer.reject_reason.unwrap_or_default();
        match answer.allowed {
            Some(true) => Self::Accepted,
            _ if KNOWN_REASONS.contains(&reason.as_str()) => Self::AlreadyKnown,
            Some(false) => Self::Rejected(reason),
            None => answer.package_error.map_or(Self::NotJudged, Self::Rejected),
        }
    }
}
