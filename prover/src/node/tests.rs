use super::*;
use crate::regtest::{COINBASE_MATURITY_BLOCKS, Coin, RegtestChain};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, absolute::LockTime, consensus::encode, transaction::Version,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};
use zeroize::Zeroizing;

const COOKIE: &str = "__cookie__:0123";
/// base64 of [`COOKIE`].
const COOKIE_HEADER: &str = "Basic X19jb29raWVfXzowMTIz";

/// Answers a call: the result, or a code and a message.
type Handler = Box<dyn FnMut(&str, &[Value]) -> Result<Value, (i32, String)> + Send>;

/// An HTTP server on the loopback that speaks as much JSON-RPC as the client; it serves until the process ends.
fn serve(mut handler: Handler) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some((authorized, request)) = read_request(&mut stream) else { continue };
            let (status, body) = if authorized {
                let parameters = request["params"].as_array().cloned().unwrap_or_default();
                let method = request["method"].as_str().expect("a method").to_owned();
                let (status, result, error) = match handler(&method, &parameters) {
                    Ok(result) => ("200 OK", result, Value::Null),
                    Err((503, _)) => ("503 Busy", Value::Null, Value::Null),
                    Err((code, message)) => ("500 Error", Value::Null, json!({ "code": code, "message": message })),
                };
                let body = json!({ "result": result, "error": error, "id": request["id"] }).to_string();
                (status, if status.starts_with("503") { String::new() } else { body })
            } else {
                ("401 Unauthorized", String::new())
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("a reader");
        }
    });
    format!("http://{address}")
}

fn read_request(stream: &mut TcpStream) -> Option<(bool, Value)> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorized) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorized = value == COOKIE_HEADER,
            _ if line.is_empty() => break,
            _ => (),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((authorized, serde_json::from_slice(&body).ok()?))
}

/// bitcoind's calls, answered from an embedded node.
fn bitcoind(node: Arc<Mutex<EmbeddedNode>>) -> Handler {
    let decode = |value: &Value| encode::deserialize_hex(value.as_str().expect("hexadecimal")).expect("a transaction");
    Box::new(move |method, parameters| {
        let node = node.lock().expect("no handler panics");
        match method {
            "getblockchaininfo" => Ok(json!({ "chain": "regtest", "blocks": node.chain().height() })),
            "getblockcount" => Ok(json!(node.chain().height())),
            "getblockhash" => {
                let height = u32::try_from(parameters[0].as_u64().expect("a height")).expect("a height");
                let hash = node.block_hash(height).expect("in memory");
                hash.map(|hash| json!(hash)).ok_or((-8, "Block height out of range".to_owned()))
            }
            "getblockheader" => {
                assert_eq!(parameters[1], json!(false));
                let hash = serde_json::from_value(parameters[0].clone()).expect("a hash");
                let header = node.header(&hash).map_err(|_| (-5, "Block not found".to_owned()))?;
                Ok(json!(encode::serialize_hex(&header)))
            }
            "getblock" => {
                assert_eq!(parameters[1], json!(0));
                let hash = serde_json::from_value(parameters[0].clone()).expect("a hash");
                let block = node.block(&hash).map_err(|_| (-5, "Block not found".to_owned()))?;
                Ok(json!(encode::serialize_hex(&block)))
            }
            "testmempoolaccept" => {
                let transactions: Vec<Transaction> =
                    parameters[0].as_array().expect("a list").iter().map(decode).collect();
                let verdicts = node.test_accept(&transactions).expect("in memory");
                let answer = |(verdict, transaction): (Acceptance, &Transaction)| {
                    let txid = transaction.compute_txid();
                    match verdict {
                        Acceptance::Accepted => json!({ "txid": txid, "allowed": true }),
                        Acceptance::AlreadyInPool => {
                            json!({ "txid": txid, "allowed": false, "reject-reason": "txn-already-in-mempool" })
                        }
                        Acceptance::AlreadyInChain => {
                            json!({ "txid": txid, "allowed": false, "reject-reason": "txn-already-known" })
                        }
                        Acceptance::Rejected(rejection) => {
                            json!({ "txid": txid, "allowed": false, "reject-reason": rejection.reason })
                        }
                        Acceptance::NotJudged => json!({ "txid": txid }),
                    }
                };
                Ok(verdicts.into_iter().zip(&transactions).map(answer).collect())
            }
            "sendrawtransaction" => {
                let transaction: Transaction = decode(&parameters[0]);
                node.send(&transaction).map_err(|error| (-26, error.to_string()))?;
                Ok(json!(transaction.compute_txid()))
            }
            "getmempoolentry" => Err((-5, "Transaction not in mempool".to_owned())),
            other => Err((-32601, format!("no method {other}"))),
        }
    })
}

fn cookie() -> (tempfile::TempDir, RpcAuth) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(".cookie");
    std::fs::write(&path, format!("{COOKIE}\n")).expect("our folder");
    (folder, RpcAuth::CookieFile(path))
}

fn connect(handler: Handler) -> Result<RpcNode, NodeError> {
    let (_folder, auth) = cookie();
    RpcNode::connect(&serve(handler), &auth, Network::Regtest)
}

/// A node on which anybody can spend some coins: their script is the hash of a script that is true.
fn funded() -> (EmbeddedNode, Vec<(OutPoint, Coin)>) {
    let script = ScriptBuf::new_p2wsh(&anyone().wscript_hash());
    let mut chain = RegtestChain::new();
    chain.mine_empty(COINBASE_MATURITY_BLOCKS + 2, &script).expect("empty blocks are valid");
    let coins = chain.spendable_coins(&script);
    (EmbeddedNode::new(chain, script), coins)
}

fn anyone() -> ScriptBuf {
    ScriptBuf::from(vec![0x51])
}

fn spend(outpoint: OutPoint, value_sat: u64) -> Transaction {
    let mut input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, ..TxIn::default() };
    input.witness.push(anyone());
    let script_pubkey = ScriptBuf::new_p2wsh(&anyone().wscript_hash());
    let output = TxOut { value: Amount::from_sat(value_sat), script_pubkey };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
}

/// A transaction and one that spends it.
fn package(coins: &[(OutPoint, Coin)]) -> (Transaction, Transaction) {
    let parent = spend(coins[0].0, 4_999_000_000);
    let child = spend(OutPoint { txid: parent.compute_txid(), vout: 0 }, 4_998_000_000);
    (parent, child)
}

#[test]
fn blocks_come_through_unaltered() {
    let (node, _) = funded();
    let chain = node.chain().clone();
    let remote = connect(bitcoind(Arc::new(Mutex::new(node)))).expect("regtest");
    assert_eq!(remote.tip_height().expect("answers"), chain.height());
    assert_eq!(remote.network(), Network::Regtest);
    for height in [0, 1, chain.height()] {
        let hash = remote.block_hash(height).expect("answers").expect("in the chain");
        assert_eq!(Some(&remote.block(&hash).expect("in the chain")), chain.block_at(height));
        assert_eq!(remote.header(&hash).expect("in the chain").block_hash(), hash);
    }
    assert_eq!(remote.block_hash(chain.height() + 1).expect("answers"), None);
    let nowhere = spend(OutPoint::null(), 1).compute_wtxid();
    let unknown: BlockHash = nowhere.to_string().parse().expect("32 bytes");
    assert!(matches!(remote.block(&unknown), Err(NodeError::Block(hash)) if hash == unknown));
    assert!(matches!(remote.header(&unknown), Err(NodeError::Block(hash)) if hash == unknown));
}

#[test]
fn a_package_is_tested_then_sent_and_sending_again_does_no_harm() {
    let (node, coins) = funded();
    let (parent, child) = package(&coins);
    let shared = Arc::new(Mutex::new(node));
    let remote = connect(bitcoind(shared.clone())).expect("regtest");
    for _ in 0..2 {
        publish(&remote, &parent, &child).expect("valid");
    }
    shared.lock().expect("no handler panics").mine(1).expect("valid");
    let node = shared.lock().expect("no handler panics");
    assert_eq!(node.chain().tip().txdata[1..], [parent, child]);
}

#[test]
fn nothing_is_sent_of_a_package_with_a_bad_reveal() {
    let (node, coins) = funded();
    let (parent, mut child) = package(&coins);
    child.output[0].value = Amount::from_sat(4_999_000_001);
    let shared = Arc::new(Mutex::new(node));
    let remote = connect(bitcoind(shared.clone())).expect("regtest");
    let error = publish(&remote, &parent, &child).expect_err("spends more than there is");
    assert!(matches!(error, NodeError::Rejected { txid, .. } if txid == child.compute_txid()));
    assert!(!error.is_transient());
    let mut node = shared.lock().expect("no handler panics");
    node.mine(1).expect("an empty block");
    assert_eq!(node.chain().tip().txdata.len(), 1);
    let error = node.send(&child).expect_err("its parent was not sent");
    assert!(matches!(error, NodeError::Rejected { .. }));
    assert!(matches!(remote_send(&shared, node, &child), Err(NodeError::Rejected { .. })));
}

fn remote_send(
    shared: &Arc<Mutex<EmbeddedNode>>,
    held: std::sync::MutexGuard<'_, EmbeddedNode>,
    transaction: &Transaction,
) -> Result<Sent, NodeError> {
    drop(held);
    connect(bitcoind(shared.clone())).expect("regtest").send(transaction)
}

#[test]
fn a_known_commit_does_not_hide_the_verdict_on_its_reveal() {
    let (node, coins) = funded();
    let (parent, child) = package(&coins);
    let shared = Arc::new(Mutex::new(node));
    let mut inner = bitcoind(shared.clone());
    shared.lock().expect("no handler panics").send(&parent).expect("valid");
    // bitcoind judges nothing of a package that holds what it has.
    let handler: Handler = Box::new(move |method, parameters| {
        let mut answer = inner(method, parameters)?;
        if method == "testmempoolaccept" && answer.as_array().is_some_and(|verdicts| verdicts.len() == 2) {
            answer[1].as_object_mut().expect("a verdict").remove("allowed");
        }
        Ok(answer)
    });
    publish(&connect(handler).expect("regtest"), &parent, &child).expect("valid");
    shared.lock().expect("no handler panics").mine(1).expect("valid");
    assert_eq!(shared.lock().expect("no handler panics").chain().tip().txdata.len(), 3);
}

#[test]
fn a_transaction_in_a_block_counts_as_sent() {
    let handler: Handler = Box::new(|method, _| match method {
        "sendrawtransaction" => Err((-27, "Transaction outputs already in utxo set".to_owned())),
        "getmempoolentry" => Err((-5, "Transaction not in mempool".to_owned())),
        _ => Ok(json!({ "chain": "regtest" })),
    });
    let transaction = spend(OutPoint::null(), 1);
    let sent = connect(handler).expect("regtest").send(&transaction);
    assert_eq!(sent.expect("known"), Sent::AlreadyInChain);
}

#[test]
fn failures_have_types() {
    let answering = |code: i32| -> Handler { Box::new(move |_, _| Err((code, "no".to_owned()))) };
    let warmup = connect(answering(-28)).expect_err("starting");
    assert!(warmup.is_transient() && matches!(warmup, NodeError::Rpc { code: -28, .. }));
    let busy = connect(answering(503)).expect_err("busy");
    assert!(busy.is_transient() && matches!(busy, NodeError::Http { status: 503, .. }), "{busy:?}");
    let unknown = connect(answering(-32601)).expect_err("no bitcoind");
    assert!(!unknown.is_transient() && matches!(unknown, NodeError::Rpc { code: -32601, .. }));
    let main: Handler = Box::new(|_, _| Ok(json!({ "chain": "main" })));
    let network = connect(main).expect_err("mainnet");
    assert_eq!(network.to_string(), "the node follows main, not regtest");
    assert!(matches!(connect(Box::new(|_, _| Ok(json!(7)))), Err(NodeError::Answer { .. })));

    let url = serve(Box::new(|_, _| Ok(json!({ "chain": "regtest" }))));
    let wrong = RpcAuth::UserPassword { user: "me".to_owned(), password: Zeroizing::new("wrong".to_owned()) };
    assert_eq!(format!("{wrong:?}"), "UserPassword(me)");
    let refused = RpcNode::connect(&url, &wrong, Network::Regtest).expect_err("not its password");
    assert!(matches!(refused, NodeError::Unauthorized { .. }), "{refused:?}");
    let right = RpcAuth::UserPassword { user: "__cookie__".to_owned(), password: Zeroizing::new("0123".to_owned()) };
    RpcNode::connect(&url, &right, Network::Regtest).expect("its password");
    let missing = RpcAuth::CookieFile("/nonexistent/.cookie".into());
    assert!(matches!(RpcNode::connect(&url, &missing, Network::Regtest), Err(NodeError::Cookie { .. })));

    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let down = RpcNode::connect(&format!("http://{closed}"), &right, Network::Regtest).expect_err("nobody listens");
    assert!(down.is_transient() && matches!(down, NodeError::Unreachable { .. }), "{down:?}");
    for url in ["https://127.0.0.1:1", "127.0.0.1:1", "http://me:secret@127.0.0.1:1"] {
        let error = RpcNode::connect(url, &right, Network::Regtest).expect_err("no plain address");
        assert!(matches!(error, NodeError::Url(_)) && !error.to_string().contains("secret"));
    }
}

#[test]
fn answers_that_do_not_fit_the_question_are_refused() {
    let (node, coins) = funded();
    let (parent, _) = package(&coins);
    let other = node.chain().block_at(1).expect("mined").clone();
    let handler: Handler = Box::new(move |method, _| match method {
        "getblock" => Ok(json!(encode::serialize_hex(&other))),
        "getblockheader" => Ok(json!(encode::serialize_hex(&other.header))),
        "testmempoolaccept" => Ok(json!([])),
        _ => Ok(json!({ "chain": "regtest" })),
    });
    let remote = connect(handler).expect("regtest");
    let tip = node.chain().tip_hash();
    assert!(matches!(remote.block(&tip), Err(NodeError::Answer { method: "getblock", .. })));
    assert!(matches!(remote.header(&tip), Err(NodeError::Answer { method: "getblockheader", .. })));
    assert!(matches!(remote.test_accept(&[parent]), Err(NodeError::Answer { method: "testmempoolaccept", .. })));
    assert!(matches!(remote.tip_height(), Err(NodeError::Answer { method: "getblockcount", .. })));
}

#[test]
fn two_processes_share_a_chain_by_its_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chain.blk");
    let script = ScriptBuf::new_p2wsh(&anyone().wscript_hash());
    let mut node = EmbeddedNode::open(&path, script.clone()).expect("a new file");
    node.mine(COINBASE_MATURITY_BLOCKS + 1).expect("empty blocks are valid");
    let coins = node.chain().spendable_coins(&script);
    node.send(&spend(coins[0].0, 1_000_000)).expect("valid");
    node.mine(1).expect("valid");
    let tip = node.chain().tip_hash();
    drop(node);
    let node = EmbeddedNode::open(&path, script).expect("the lock is free");
    assert_eq!(node.chain().tip_hash(), tip);
}
