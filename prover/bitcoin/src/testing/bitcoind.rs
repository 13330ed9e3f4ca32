//! A real bitcoind on regtest for integration tests: `mod bitcoind;`, then [`Bitcoind::start`].
//!
//! The executable is `BITCOIND_EXE`, or `bitcoind` on the path; where there is neither the tests fail and say how to
//! get one. Each node has a data directory and ports of its own and dies with the value. A test that fails shows the
//! end of the node's log. There is no wallet: blocks pay to any script, and tests sign for themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

pub mod proxy;

use crate::node::{RpcAuth, RpcNode};
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, Script, ScriptBuf, Transaction, TxIn, TxOut, Txid, WScriptHash,
    Witness,
    absolute::LockTime,
    consensus::encode::{deserialize_hex, serialize_hex},
    hashes::Hash,
    transaction::Version,
};
use jsonrpc::bitreq_http::BitreqHttpTransport;
use serde_json::{Value, json, value::RawValue};
use std::{
    cell::Cell,
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use taproof_wallet::{Phrase, PosterKey, Wallet};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// How long a node may take to start, to stop and to follow another.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a starting node is asked whether it is there.
const POLL: Duration = Duration::from_millis(20);
/// Confirmations that a block's reward needs before it can be spent.
pub const MATURITY_BLOCKS: u32 = 100;
/// The argument for the smallest pool, of 5 MB, that [`Bitcoind::fill_pool`] can fill.
pub const SMALL_POOL: &str = "-maxmempool=5";
/// Transactions that fill such a pool at most, and the outputs of each: a little less than the largest that is relayed.
const FILLERS_MAX: u64 = 120;
const FILLER_OUTPUTS: usize = 2_000;
const FILLER_COIN: Amount = Amount::from_sat(5_000_000);
const FILLER_OUTPUT: Amount = Amount::from_sat(1_000);
/// Lines of the log that a failing test shows.
const LOG_LINES: usize = 25;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network; nodes of other networks than regtest stay at their genesis block.
    pub network: Network,
    /// The user and password, in place of the cookie.
    pub password: Option<(&'static str, &'static str)>,
    /// Whether other nodes can connect.
    pub listen: bool,
    /// More arguments.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { network: Network::Regtest, password: None, listen: false, arguments: Vec::new() }
    }
}

/// The coins that [`Bitcoind::fill_pool`] spends: 6 bitcoin.
pub fn filler_coins() -> Vec<TxOut> {
    vec![TxOut { value: FILLER_COIN, script_pubkey: anyone() }; FILLERS_MAX as usize]
}

/// Anybody can spend it: the hash of a script that is true.
fn anyone() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&ScriptBuf::from(vec![0x51]).wscript_hash())
}

fn spend(coin: OutPoint, output: Vec<TxOut>) -> Transaction {
    let input = TxIn { previous_output: coin, witness: Witness::from_slice(&[[0x51]]), ..TxIn::default() };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}

/// A running node, or one that was killed and may be started again.
pub struct Bitcoind {
    folder: TempDir,
    options: Options,
    rpc_port: u16,
    peer_port: u16,
    child: Option<Child>,
    client: Option<jsonrpc::Client>,
    scripts: Cell<u32>,
}

impl Bitcoind {
    /// Starts a node on regtest that nobody connects to, with the cookie as its password.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a node.
    pub fn start_with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let [rpc_port, peer_port] = free_ports();
        let mut node = Self { folder, options, rpc_port, peer_port, child: None, client: None, scripts: Cell::new(0) };
        node.restart();
        node
    }

    /// Starts the node again with what its data directory holds, after [`Bitcoind::kill9`] or [`Bitcoind::stop`].
    pub fn restart(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts the node again with other arguments than before.
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(ToString::to_string).collect();
        self.restart();
    }

    /// Starts the process without waiting until it answers.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the node runs");
        let mut command = Command::new(executable());
        let options = &self.options;
        command
            .arg(format!("-chain={}", options.network.to_core_arg()))
            .arg(format!("-datadir={}", self.folder.path().display()))
            .arg(format!("-rpcport={}", self.rpc_port))
            .args(["-server", "-printtoconsole=0", "-discover=0", "-dnsseed=0", "-fixedseeds=0", "-natpmp=0"])
            .args(["-listenonion=0", "-rest=0", "-txindex=0", "-par=1", "-dbcache=16", "-shrinkdebugfile=0"]);
        match options.listen {
            true => command.args(["-listen=1".to_owned(), format!("-bind=127.0.0.1:{}", self.peer_port)]),
            false => command.args(["-listen=0", "-maxconnections=8"]),
        };
        if options.network != Network::Regtest {
            command.arg("-connect=0");
        }
        if let Some((user, password)) = options.password {
            command.args([format!("-rpcuser={user}"), format!("-rpcpassword={password}")]);
        }
        command.args(&options.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")));
    }

    /// Waits until the node answers and has left its start behind.
    pub fn wait_until_ready(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("our child")) {
                self.child = None;
                panic!("bitcoind exits with {status} while it starts\n{}", self.log_tail());
            }
            // The cookie is written anew at each start; an old one may still lie there.
            self.client = self.connect_client();
            if self.client.is_some() && self.try_call("getblockchaininfo", json!([])).is_ok() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "bitcoind does not answer\n{}", self.log_tail());
            thread::sleep(POLL);
        }
    }

    fn connect_client(&self) -> Option<jsonrpc::Client> {
        let builder = BitreqHttpTransport::builder().timeout(PATIENCE).url(&self.url()).expect("our address");
        let transport = match self.options.password {
            Some((user, password)) => builder.basic_auth(user.to_owned(), Some(password.to_owned())),
            None => builder.cookie_auth(fs::read_to_string(self.cookie_file()).ok()?),
        };
        Some(jsonrpc::Client::with_transport(transport.build()))
    }

    /// The address for calls.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// The port for calls.
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// The cookie, which is there while the node runs and has no password.
    pub fn cookie_file(&self) -> PathBuf {
        self.network_folder().join(".cookie")
    }

    /// How to call the node.
    pub fn auth(&self) -> RpcAuth {
        match self.options.password {
            Some((user, password)) => {
                RpcAuth::UserPassword { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) }
            }
            None => RpcAuth::CookieFile(self.cookie_file()),
        }
    }

    /// A connection as the product makes it.
    pub fn node(&self) -> RpcNode {
        RpcNode::connect(&self.url(), &self.auth(), self.options.network).unwrap_or_else(|error| panic!("{error}"))
    }

    fn network_folder(&self) -> PathBuf {
        let name = match self.options.network {
            Network::Bitcoin => "",
            Network::Testnet => "testnet3",
            Network::Testnet4 => "testnet4",
            Network::Signet => "signet",
            _ => "regtest",
        };
        self.folder.path().join(name)
    }

    /// The end of the node's log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.network_folder().join("debug.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("the end of its log:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
    }

    /// Calls the node: the result, or its error.
    pub fn try_call(&self, method: &str, arguments: Value) -> Result<Value, jsonrpc::Error> {
        let client = self.client.as_ref().expect("the node was started");
        let arguments = RawValue::from_string(arguments.to_string()).expect("JSON");
        client.call(method, Some(&arguments))
    }

    /// Calls the node, which must not fail.
    pub fn call(&self, method: &str, arguments: Value) -> Value {
        self.try_call(method, arguments.clone()).unwrap_or_else(|error| panic!("{method} {arguments}: {error}"))
    }

    /// Mines blocks that pay to a script, with what the pool holds.
    pub fn mine(&self, blocks: u32, script: &Script) -> Vec<BlockHash> {
        let hashes = self.call("generatetodescriptor", json!([blocks, raw(script)]));
        serde_json::from_value(hashes).expect("hashes")
    }

    /// Mines a block of exactly these transactions, whatever the pool holds, that pays to a script.
    pub fn mine_with(&self, transactions: &[Transaction], script: &Script) -> BlockHash {
        let transactions: Vec<String> = transactions.iter().map(serialize_hex).collect();
        let answer = self.call("generateblock", json!([raw(script), transactions]));
        serde_json::from_value(answer["hash"].clone()).expect("a hash")
    }

    /// Mines blocks without transactions, each to a script of its own: no block repeats one of another branch.
    pub fn mine_empty(&self, blocks: u32) -> Vec<BlockHash> {
        (0..blocks).map(|_| self.mine_with(&[], &self.new_script())).collect()
    }

    /// Takes back the last blocks and mines others without transactions. What they held is in the pool afterwards, as
    /// far as it is still valid.
    pub fn reorganise(&self, depth_blocks: u32, new_blocks: u32) -> Vec<BlockHash> {
        let (height, _) = self.tip();
        self.invalidate(&self.block_hash(height - depth_blocks + 1));
        self.mine_empty(new_blocks)
    }

    /// A script that nobody can spend and that no other call gives.
    pub fn new_script(&self) -> ScriptBuf {
        self.scripts.set(self.scripts.get() + 1);
        ScriptBuf::new_p2wsh(&WScriptHash::hash(&self.scripts.get().to_le_bytes()))
    }

    /// Makes the node refuse a block and all after it.
    pub fn invalidate(&self, hash: &BlockHash) {
        self.call("invalidateblock", json!([hash]));
    }

    /// Takes back [`Bitcoind::invalidate`].
    pub fn reconsider(&self, hash: &BlockHash) {
        self.call("reconsiderblock", json!([hash]));
    }

    /// Makes the node treat a transaction as if it paid so much more, or less.
    pub fn prioritise(&self, txid: &Txid, fee_delta_sat: i64) {
        self.call("prioritisetransaction", json!([txid, 0, fee_delta_sat]));
    }

    /// The tip's height and hash.
    pub fn tip(&self) -> (u32, BlockHash) {
        let info = self.call("getblockchaininfo", json!([]));
        let height = serde_json::from_value(info["blocks"].clone()).expect("a height");
        (height, serde_json::from_value(info["bestblockhash"].clone()).expect("a hash"))
    }

    /// The hash of the block at a height.
    pub fn block_hash(&self, height: u32) -> BlockHash {
        serde_json::from_value(self.call("getblockhash", json!([height]))).expect("a hash")
    }

    /// A block.
    pub fn block(&self, hash: &BlockHash) -> Block {
        let text = self.call("getblock", json!([hash, 0]));
        deserialize_hex(text.as_str().expect("hexadecimal")).expect("a block")
    }

    /// The pool.
    pub fn pool(&self) -> Vec<Txid> {
        serde_json::from_value(self.call("getrawmempool", json!([]))).expect("transaction ids")
    }

    /// Sends a transaction, which must be accepted.
    pub fn send(&self, transaction: &Transaction) -> Txid {
        let txid = self.call("sendrawtransaction", json!([serialize_hex(transaction), 0]));
        serde_json::from_value(txid).expect("a transaction id")
    }

    /// Mines so many rewards of 50 bitcoin, or less after halvings, to a script, and as many blocks as make them
    /// spendable.
    pub fn fund(&self, coins: u32, script: &Script) -> Vec<(OutPoint, TxOut)> {
        let blocks: Vec<BlockHash> = (0..coins).map(|_| self.mine_with(&[], script)).collect();
        self.mine(MATURITY_BLOCKS, &self.new_script());
        let reward = |hash: &BlockHash| {
            let block = self.block(hash);
            let coinbase = &block.txdata[0];
            (OutPoint { txid: coinbase.compute_txid(), vout: 0 }, coinbase.output[0].clone())
        };
        blocks.iter().map(reward).collect()
    }

    /// Fills the pool with large transactions at rising fees until it takes nothing below a rate, in satoshi a
    /// thousand virtual bytes. The node needs [`SMALL_POOL`], and a block with a transaction whose first outputs are
    /// [`filler_coins`].
    pub fn fill_pool(&self, coins: Txid, min_sat_per_kvb: u64) {
        for (vout, paid) in (0u32..).zip(0u64..) {
            let info = self.call("getmempoolinfo", json!([]));
            let min: Amount = Amount::from_btc(info["mempoolminfee"].as_f64().expect("a rate")).expect("a rate");
            if min.to_sat() >= min_sat_per_kvb {
                return;
            }
            assert!(paid < FILLERS_MAX, "the pool is larger than {info}");
            let output = TxOut { value: FILLER_OUTPUT, script_pubkey: anyone() };
            let mut filler = spend(OutPoint { txid: coins, vout }, vec![output; FILLER_OUTPUTS]);
            // Each pays a little more than the one before, so that it enters when the others are being let go.
            let fee = Amount::from_sat((min_sat_per_kvb + 100 * paid) * filler.vsize() as u64 / 1_000);
            filler.output[0].value = FILLER_COIN - FILLER_OUTPUT * (FILLER_OUTPUTS as u64 - 1) - fee;
            self.send(&filler);
        }
    }

    /// Connects this node to another, which must listen.
    pub fn connect_to(&self, other: &Self) {
        assert!(other.options.listen, "the other node does not listen");
        self.call("addnode", json!([other.peer_address(), "onetry"]));
        self.wait_for("a connection", || !self.peers().is_empty() && !other.peers().is_empty());
    }

    /// Ends all connections of this node.
    pub fn disconnect(&self) {
        for peer in self.peers() {
            // A connection that ended by itself meanwhile is as good.
            let _ = self.try_call("disconnectnode", json!(["", peer["id"]]));
        }
        self.wait_for("the end of all connections", || self.peers().is_empty());
    }

    /// Waits until this node has the tip of another.
    pub fn wait_for_tip_of(&self, other: &Self) {
        self.wait_for("the other node's tip", || self.tip() == other.tip());
    }

    /// Waits until something holds, and fails with the log if it does not.
    pub fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}; {}", self.log_tail());
            thread::sleep(POLL);
        }
    }

    fn peers(&self) -> Vec<Value> {
        self.call("getpeerinfo", json!([])).as_array().expect("a list").clone()
    }

    fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    /// Has the node write its chain, which it otherwise does about once an hour.
    pub fn flush(&self) {
        self.call("gettxoutsetinfo", json!(["none"]));
    }

    /// Kills the node as a power cut would: nothing that it holds in memory is written. Its pool is lost, and so are
    /// the blocks since the last [`Bitcoind::flush`], or all of them.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// Stops the node; what it holds in memory, its pool too, is written.
    pub fn stop(&mut self) {
        self.call("stop", json!([]));
        let mut child = self.child.take().expect("the node runs");
        let start = Instant::now();
        while child.try_wait().expect("our child").is_none() {
            assert!(start.elapsed() < PATIENCE, "bitcoind does not stop; {}", self.log_tail());
            thread::sleep(POLL);
        }
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, and there is nothing to keep.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("bitcoind at {}: {}", self.url(), self.log_tail());
        }
    }
}

/// A poster's key that is the same in every run; its script is funded by [`Bitcoind::fund`].
pub fn poster(index: u32) -> PosterKey {
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let phrase = Phrase::parse(words).expect("the first phrase of BIP-39's test vectors");
    Wallet::new(&phrase, "", Network::Regtest).poster_key(index).expect("a small index")
}

/// A descriptor for a script as it is.
fn raw(script: &Script) -> String {
    format!("raw({script:x})")
}

/// The executable of the node.
fn executable() -> PathBuf {
    let named = env::var_os("BITCOIND_EXE").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = || env::split_paths(&path).map(|folder| folder.join("bitcoind")).find(|program| program.is_file());
    named.or_else(found).expect(
        "this test needs a bitcoind: run `cargo xtask test`, which finds or builds one, \
         or set BITCOIND_EXE=$(cargo xtask bitcoind), or install Bitcoin Core",
    )
}

/// Ports that nobody listens on at the moment.
fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("bound").port())
}
