use super::*;
use crate::regtest::{COINBASE_MATURITY_BLOCKS, Coin, RegtestChain};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, absolute::LockTime, consensus::encode, hashes::Hash,
    transaction::Version,
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
            let (status, body) = match (authorized, &request) {
                (false, _) => ("401 Unauthorized".to_owned(), String::new()),
                (true, Value::Array(calls)) => {
                    // bitcoind may answer in any order.
                    let answers = calls.iter().rev().map(|call| respond(&mut handler, call));
                    let answers: Result<Vec<Value>, String> = answers.collect();
                    answers.map_or_else(|status| (status, String::new()), |answers| ok(&json!(answers)))
                }
                (true, call) => match respond(&mut handler, call) {
                    Ok(answer) if answer["error"].is_null() => ok(&answer),
                    Ok(answer) => ("500 Error".to_owned(), answer.to_string()),
                    Err(status) => (status, String::new()),
                },
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("a reader");
        }
    });
    format!("http://{address}")
}

fn ok(answer: &Value) -> (String, String) {
    ("200 OK".to_owned(), answer.to_string())
}

/// The answer to a call, or the status of one without a body: codes above zero are such.
fn respond(handler: &mut Handler, call: &Value) -> Result<Value, String> {
    let parameters = call["params"].as_array().cloned().unwrap_or_default();
    let (result, error) = match handler(call["method"].as_str().expect("a method"), &parameters) {
        Ok(result) => (result, Value::Null),
        Err((status @ 1.., words)) => return Err(format!("{status} {words}")),
        Err((code, message)) => (Value::Null, json!({ "code": code, "message": message })),
    };
    Ok(json!({ "result": result, "error": error, "id": call["id"] }))
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
    let headers = remote.headers(2, 50).expect("answers");
    let expected: Vec<_> = (2..52).map(|height| chain.block_at(height).expect("mined").header).collect();
    assert_eq!(headers, expected);
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
    let error = connect(answering(500)).expect_err("an error of the server");
    assert!(error.is_transient() && matches!(error, NodeError::Http { status: 500, .. }), "{error:?}");
    let forbidden = connect(answering(403)).expect_err("a whitelist");
    assert!(matches!(forbidden, NodeError::Forbidden { method: "getblockchaininfo", .. }), "{forbidden:?}");
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
    for url in ["ftp://127.0.0.1:1", "127.0.0.1:1", "http://me:secret@127.0.0.1:1", "http://host:port", "http://"] {
        let error = RpcNode::connect(url, &right, Network::Regtest).expect_err("no plain address");
        assert!(matches!(error, NodeError::Url(_)) && !error.to_string().contains("secret"));
    }
}

#[test]
fn a_service_waits_for_whatever_a_node_says() {
    let says = |code: i32| connect(Box::new(move |_, _| Err((code, "no".to_owned())))).expect_err("an error");
    for code in [500, 403, 429, 503, -1, -28, -32603, -32601] {
        assert!(says(code).may_pass(), "{code}");
    }
    let url = serve(Box::new(|_, _| Ok(json!({ "chain": "main" }))));
    let auth = |password: &str| RpcAuth::UserPassword {
        user: "__cookie__".to_owned(),
        password: Zeroizing::new(password.to_owned()),
    };
    let connect = |url: &str, password| RpcNode::connect(url, &auth(password), Network::Regtest).expect_err("refused");
    assert!(connect(&url, "wrong").may_pass(), "the password may be changed at the node");
    assert!(connect("http://127.0.0.1:1", "0123").may_pass());
    assert!(!connect(&url, "0123").may_pass(), "another network stays one");
    assert!(!connect("nowhere", "0123").may_pass());
}

#[test]
fn a_pruned_block_is_told_with_its_height() {
    let node = |tells: bool| -> Handler {
        Box::new(move |method, parameters| match method {
            "getblock" => Err((-1, "Block not available (pruned data)".to_owned())),
            "getblockheader" if tells && parameters[1] == json!(true) => {
                Ok(json!({ "height": 7, "confirmations": 100 }))
            }
            "getblockheader" => Err((403, "Forbidden".to_owned())),
            _ if tells => Ok(json!({ "chain": "regtest", "blocks": 200, "headers": 200, "initialblockdownload": false,
                "pruneheight": 150 })),
            _ => Ok(json!({ "chain": "regtest" })),
        })
    };
    let hash = BlockHash::all_zeros();
    let told = connect(node(true)).expect("regtest").block(&hash).expect_err("pruned").to_string();
    assert!(told.contains("at height 7; it keeps blocks from height 150 on"), "{told}");
    let told = connect(node(false)).expect("regtest").block(&hash).expect_err("pruned").to_string();
    assert!(told.starts_with("the node is pruned") && told.ends_with(&hash.to_string()), "{told}");
    let other: Handler = Box::new(|method, _| match method {
        "getblock" => Err((-1, "Block not found on disk".to_owned())),
        _ => Ok(json!({ "chain": "regtest" })),
    });
    let error = connect(other).expect("regtest").block(&hash).expect_err("gone");
    assert!(matches!(error, NodeError::Rpc { code: -1, .. }), "{error:?}");
}

#[test]
fn a_node_that_estimates_no_fees_has_no_estimate() {
    let estimate = |code: i32| {
        let handler: Handler = Box::new(move |method, _| match method {
            "estimatesmartfee" => Err((code, "Fee estimation disabled".to_owned())),
            _ => Ok(json!({ "chain": "regtest" })),
        });
        connect(handler).expect("regtest").fee_estimate(3)
    };
    assert_eq!(estimate(-32603).expect("no estimate is an answer"), None);
    assert_eq!(estimate(-32601).expect("no estimate is an answer"), None);
    assert!(estimate(-28).is_err());
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

#[test]
fn embedded_replacements_pay_for_what_they_evict() {
    let (node, coins) = funded();
    let value_sat = 5_000_000_000;
    let (parent, child) = (spend(coins[0].0, value_sat - 1_000), spend(coins[1].0, value_sat - 1_000));
    let grandchild = spend(OutPoint { txid: parent.compute_txid(), vout: 0 }, value_sat - 3_000);
    for transaction in [&parent, &child, &grandchild] {
        assert_eq!(node.send(transaction).expect("valid"), Sent::Accepted);
        assert_eq!(node.send(transaction).expect("known"), Sent::AlreadyInPool);
    }
    let vsize_vb = parent.weight().to_wu().div_ceil(4);
    let entry = node.pool_entry(&parent.compute_txid()).expect("in memory").expect("waits");
    assert_eq!((entry.fee_sat, entry.vsize_vb, entry.descendant_count), (1_000, vsize_vb, 2));
    assert_eq!((entry.descendant_fee_sat, entry.descendant_vsize_vb), (3_000, 2 * vsize_vb));
    assert_eq!((entry.ancestor_fee_sat, entry.ancestor_vsize_vb, entry.ancestor_count), (1_000, vsize_vb, 1));
    let entry = node.pool_entry(&grandchild.compute_txid()).expect("in memory").expect("waits");
    assert_eq!((entry.ancestor_fee_sat, entry.ancestor_count, entry.descendant_count), (3_000, 2, 1));
    assert_eq!(node.pool_spender(&coins[0].0).expect("in memory"), Some(parent.compute_txid()));

    // It evicts two that pay 3,000 together, and has to pay for itself beyond that.
    let needed_sat = 3_000 + vsize_vb.div_ceil(10);
    let too_low = node.send(&spend(coins[0].0, value_sat - needed_sat + 1)).expect_err("pays too little");
    assert_eq!(too_low.class(), ErrorClass::Rejected(RejectClass::FeeTooLow));
    let replacement = spend(coins[0].0, value_sat - needed_sat);
    assert_eq!(node.send(&replacement).expect("pays"), Sent::Accepted);
    for gone in [&parent, &grandchild] {
        assert_eq!(node.pool_entry(&gone.compute_txid()).expect("in memory"), None);
    }
    assert!(node.pool_entry(&child.compute_txid()).expect("in memory").is_some());
    assert_eq!(node.pool_spender(&coins[0].0).expect("in memory"), Some(replacement.compute_txid()));
    let orphan = node.send(&grandchild).expect_err("its parent was evicted");
    assert_eq!(orphan.class(), ErrorClass::Rejected(RejectClass::MissingInputs));
}

#[test]
fn the_embedded_node_tells_of_its_coins_and_drops_what_the_chain_made_invalid() {
    let (mut node, coins) = funded();
    let script = coins[0].1.output.script_pubkey.clone();
    let scan = node.coins(&[script.clone(), ScriptBuf::new()]).expect("in memory");
    assert_eq!(scan.block.hash, node.chain().tip_hash());
    assert_eq!(scan.coins.len(), COINBASE_MATURITY_BLOCKS as usize + 2);
    assert_eq!((scan.coins[0].outpoint, scan.coins[0].is_coinbase, scan.coins[0].height), (coins[0].0, true, 1));
    let unspent = node.unspent(&coins[0].0).expect("in memory").expect("unspent");
    assert_eq!((unspent.confirmations, unspent.is_coinbase), (COINBASE_MATURITY_BLOCKS + 2, true));
    assert_eq!(node.unspent(&OutPoint::null()).expect("in memory"), None);
    let early = spend(scan.coins.last().expect("not empty").outpoint, 1_000_000);
    let early = node.send(&early).expect_err("not mature");
    assert_eq!(early.class(), ErrorClass::Rejected(RejectClass::TooEarly));

    let (first, second) = (spend(coins[0].0, 4_999_000_000), spend(coins[0].0, 4_998_000_000));
    node.send(&first).expect("valid");
    let reward_to = ScriptBuf::new_p2wsh(&anyone().wscript_hash());
    node.chain_mut().mine(std::slice::from_ref(&second), &reward_to).expect("valid");
    assert_eq!(node.pool_entry(&first.compute_txid()).expect("in memory"), None);
    assert_eq!(node.send(&second).expect("known"), Sent::AlreadyInChain);
    node.mine(1).expect("nothing waits");
    assert_eq!(node.chain().tip().txdata.len(), 1);
    let headers = node.headers(3, 5).expect("in memory");
    let expected: Vec<_> = (3..8).map(|height| node.chain().block_at(height).expect("mined").header).collect();
    assert_eq!(headers, expected);
    assert_eq!(node.headers(node.chain().height(), 5).expect("in memory").len(), 1);
    assert!(node.headers(node.chain().height() + 1, 5).expect("in memory").is_empty());
}

/// Calls everything; what comes back does not matter.
fn ask_everything(node: &RpcNode, transaction: &Transaction) -> Vec<NodeError> {
    let (txid, outpoint) = (transaction.compute_txid(), transaction.input[0].previous_output);
    let hash = BlockHash::all_zeros();
    let answers = [
        node.tip_height().err(),
        node.block_hash(7).err(),
        node.header(&hash).err(),
        node.block(&hash).err(),
        node.headers(0, 3).err(),
        node.test_accept(std::slice::from_ref(transaction)).err(),
        node.send(transaction).err(),
        node.pool_entry(&txid).err(),
        node.pool_spender(&outpoint).err(),
        node.coins(&[anyone()]).err(),
        node.fee_floors().err(),
        node.sync_state().err(),
    ];
    // These have answers that mean that there is nothing.
    let _ = (node.unspent(&outpoint), node.fee_estimate(6));
    answers.into_iter().flatten().collect()
}

#[test]
fn answers_of_another_shape_are_errors() {
    let transaction = spend(OutPoint::null(), 1);
    let shapes = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("zz"),
        json!([]),
        json!([null]),
        json!([{}]),
        json!({}),
        json!({ "chain": 7, "blocks": -1, "headers": 4_294_967_296u64 }),
        json!({ "vsize": "1", "fees": { "base": -1, "ancestor": 1e18, "descendant": "0.1" } }),
        json!({ "success": true, "height": 1, "bestblock": "00", "unspents": [{ "amount": 21e9 }] }),
        json!({ "mempoolminfee": -0.1, "minrelaytxfee": 1e-9, "incrementalrelayfee": 0 }),
    ];
    for shape in shapes {
        let (answer, connected) = (shape.clone(), Arc::new(Mutex::new(false)));
        let first = connected.clone();
        let handler: Handler = Box::new(move |_, _| {
            let mut connected = first.lock().expect("no holder panics");
            Ok(if std::mem::replace(&mut connected, true) { answer.clone() } else { json!({ "chain": "regtest" }) })
        });
        let errors = ask_everything(&connect(handler).expect("regtest"), &transaction);
        for error in &errors {
            let method = |error: &NodeError| matches!(error, NodeError::Answer { .. });
            assert!(method(error) && !error.is_transient(), "{shape}: {error:?}");
        }
        assert!(errors.len() >= 11, "{shape}: {errors:?}");
    }
}

#[test]
fn heights_that_no_chain_has_are_refused_at_once() {
    let answer = |height: u64| -> Handler {
        Box::new(move |method, _| {
            Ok(match method {
                "getblockcount" => json!(height),
                "getblockchaininfo" => {
                    json!({ "chain": "regtest", "blocks": height, "headers": height, "initialblockdownload": false })
                }
                "getblockheader" => json!({ "height": height, "confirmations": 1 }),
                "scantxoutset" => {
                    json!({ "success": true, "height": height, "bestblock": BlockHash::all_zeros(), "unspents": [] })
                }
                "gettxout" => json!({
                    "confirmations": height, "value": 1, "scriptPubKey": { "hex": "51" }, "coinbase": false
                }),
                "getrawtransaction" => {
                    let transaction = encode::serialize_hex(&spend(OutPoint::null(), 1));
                    json!({ "hex": transaction, "blockhash": BlockHash::all_zeros() })
                }
                _ => Value::Null,
            })
        })
    };
    let transaction = spend(OutPoint::null(), 1);
    let ask = |height: u64| {
        let node = connect(answer(height)).expect("regtest");
        [
            node.tip_height().err(),
            node.headers(0, 3).err(),
            node.sync_state().err(),
            node.coins(&[anyone()]).err(),
            node.unspent(&OutPoint::null()).err(),
            node.find(&transaction.compute_txid()).err(),
        ]
    };
    for height in [u64::from(HEIGHT_MAX) + 1, 1 << 31, u64::from(u32::MAX), u64::MAX] {
        for (position, error) in ask(height).iter().enumerate() {
            let Some(error @ NodeError::Answer { reason, .. }) = error else { panic!("{position}: {error:?}") };
            assert!(reason.contains("make no sense") && !error.is_transient(), "{error}");
        }
    }
    let highest = connect(answer(HEIGHT_MAX.into())).expect("regtest");
    assert_eq!(highest.tip_height().expect("in range"), HEIGHT_MAX);
    assert_eq!(highest.sync_state().expect("in range").headers, HEIGHT_MAX);
}

#[test]
fn what_a_node_says_is_shown_on_one_line() {
    let forged = "\u{1b}[2J\r\napplied 5 deposits\u{202e}";
    let expect_shown = |error: &NodeError| {
        let text = error.to_string();
        assert!(text.contains("\\u{1b}[2J\\r\\napplied 5 deposits\\u{202e}"), "{text:?}");
    };
    let says = move |code: i32| {
        connect(Box::new(move |method, _| match method {
            "getblockchaininfo" => Ok(json!({ "chain": "regtest" })),
            "getmempoolentry" => Err((-5, "not in the pool".to_owned())),
            _ => Err((code, forged.to_owned())),
        }))
    };
    let transaction = spend(OutPoint::null(), 1);
    expect_shown(&says(-1).expect("regtest").tip_height().expect_err("an error"));
    let refused = says(-26).expect("regtest").send(&transaction).expect_err("refused");
    expect_shown(&refused);
    let NodeError::Rejected { rejection, .. } = refused else { panic!("{refused}") };
    assert!(!rejection.reason.contains(char::is_control), "what is kept is harmless, too: {rejection}");
    let other = connect(Box::new(move |_, _| Ok(json!({ "chain": forged })))).expect_err("another network");
    expect_shown(&other);
}

#[test]
fn one_search_for_coins_at_a_time() {
    let handler: Handler = Box::new(|method, _| match method {
        "scantxoutset" => Err((-8, "Scan already in progress, use action \"abort\" or \"status\"".to_owned())),
        _ => Ok(json!({ "chain": "regtest" })),
    });
    let busy = connect(handler).expect("regtest").coins(&[anyone()]).expect_err("another runs");
    assert!(matches!(busy, NodeError::Busy { method: "scantxoutset" }) && busy.is_transient());
    let script = anyone();
    let handler: Handler = Box::new(move |method, _| match method {
        "scantxoutset" => {
            let other = json!({ "txid": Txid::all_zeros(), "vout": 0, "scriptPubKey": "51ff", "desc": "",
                "amount": 1, "coinbase": false, "height": 1 });
            Ok(json!({ "success": true, "height": 1, "bestblock": BlockHash::all_zeros(), "unspents": [other] }))
        }
        _ => Ok(json!({ "chain": "regtest" })),
    });
    let other = connect(handler).expect("regtest").coins(&[script]);
    assert!(matches!(other, Err(NodeError::Answer { .. })), "a coin of somebody else");
}

#[test]
fn estimates_keep_the_nodes_precision_within_the_range_of_rates() {
    let estimate = |answer: Value| {
        let handler: Handler = Box::new(move |method, _| match method {
            "estimatesmartfee" => Ok(answer.clone()),
            _ => Ok(json!({ "chain": "regtest" })),
        });
        connect(handler).expect("regtest").fee_estimate(6)
    };
    let rate = |answer| estimate(answer).expect("an answer").map(FeeRate::sat_per_kvb);
    assert_eq!(rate(json!({ "errors": ["Insufficient data or no feerate found"], "blocks": 2 })), None);
    assert_eq!(rate(json!({ "feerate": 0.00001234, "blocks": 6 })), Some(1_234));
    assert_eq!(rate(json!({ "feerate": 0.00000099, "blocks": 6 })), Some(100));
    assert_eq!(rate(json!({ "feerate": 0, "blocks": 6 })), Some(100));
    assert_eq!(rate(json!({ "feerate": 20, "blocks": 6 })), Some(10_000_000));
    assert!(estimate(json!({ "feerate": -1, "blocks": 6 })).is_err());
}

#[test]
fn an_embedded_pool_with_a_minimum_takes_a_package_that_pays_it() {
    let (node, coins) = funded();
    let coin_sat = coins[0].1.output.value.to_sat();
    let pair = |parent_fee_sat: u64, child_fee_sat: u64| {
        let parent = spend(coins[0].0, coin_sat - parent_fee_sat);
        let child = spend(OutPoint { txid: parent.compute_txid(), vout: 0 }, coin_sat - parent_fee_sat - child_fee_sat);
        (parent, child)
    };
    let classes = |verdicts: [PackageVerdict; 2]| verdicts.map(|verdict| verdict.map_err(|rejection| rejection.class));
    let min_pool: FeeRate = "5".parse().expect("a rate");
    node.set_pool_minimum(min_pool);
    assert_eq!(node.fee_floors().expect("in memory").min_pool.sat_per_kvb(), 5_000);
    let (parent, child) = pair(200, 200);
    let vsize_vb = (parent.vsize() + child.vsize()) as u64;
    let needed_sat = 5 * vsize_vb;
    let refused = classes(node.send_package(&parent, &child).expect("in memory"));
    assert_eq!(refused, [Err(RejectClass::FeeTooLow), Err(RejectClass::FeeTooLow)]);
    // One satoshi less than both need is too little, and the parent alone stays out.
    let (parent, child) = pair(200, needed_sat - 201);
    let refused = classes(node.send_package(&parent, &child).expect("in memory"));
    assert_eq!(refused, [Err(RejectClass::FeeTooLow), Err(RejectClass::FeeTooLow)]);
    assert_eq!(node.pool_entry(&parent.compute_txid()).expect("in memory"), None);
    // Below what is relayed at all no child helps.
    let (parent, child) = pair(0, 100_000);
    let refused = classes(node.send_package(&parent, &child).expect("in memory"));
    assert_eq!(refused[0], Err(RejectClass::FeeTooLow));
    let (parent, child) = pair(200, needed_sat - 200);
    assert!(node.send(&parent).is_err());
    let sent = classes(node.send_package(&parent, &child).expect("in memory"));
    assert_eq!(sent, [Ok(Sent::Accepted), Ok(Sent::Accepted)]);
    let again = classes(node.send_package(&parent, &child).expect("in memory"));
    assert_eq!(again, [Ok(Sent::AlreadyInPool), Ok(Sent::AlreadyInPool)]);
}

#[test]
fn answers_to_packages_are_read_by_transaction() {
    let (_, coins) = funded();
    let (parent, child) = package(&coins);
    let [first, second] = [&parent, &child].map(|transaction| transaction.compute_wtxid());
    let answering = |answer: Result<Value, (i32, String)>| {
        let handler: Handler = Box::new(move |method, _| match method {
            "submitpackage" => answer.clone(),
            "getmempoolentry" => Err((-5, "Transaction not in mempool".to_owned())),
            _ => Ok(json!({ "chain": "regtest" })),
        });
        connect(handler).expect("regtest").send_package(&parent, &child)
    };
    let results = |message: &str, first_answer: Value, second_answer: Value| {
        let results: serde_json::Map<String, Value> =
            [(first.to_string(), first_answer), (second.to_string(), second_answer)].into_iter().collect();
        answering(Ok(json!({ "package_msg": message, "tx-results": results })))
    };
    let error = |reason: &str| json!({ "txid": parent.compute_txid(), "error": reason });
    let taken = json!({ "txid": parent.compute_txid(), "vsize": 1, "fees": { "base": 0.1 } });
    let classes = |verdicts: Result<[PackageVerdict; 2], NodeError>| {
        verdicts.expect("understood").map(|verdict| verdict.map_err(|rejection| rejection.class))
    };
    assert_eq!(classes(results("success", taken.clone(), taken.clone())), [Ok(Sent::Accepted), Ok(Sent::Accepted)]);
    let verdicts = results("transaction failed", taken, error("bad-txns-in-belowout, value in < value out"));
    assert_eq!(classes(verdicts), [Ok(Sent::Accepted), Err(RejectClass::Consensus)]);
    let verdicts = results("package-mempool-limits", error("package-not-validated"), error("unevaluated"));
    assert_eq!(classes(verdicts), [Err(RejectClass::PackageLimit), Err(RejectClass::PackageLimit)]);
    let refused = classes(answering(Err((-25, "package RBF failed: insufficient anti-DoS fees".to_owned()))));
    assert_eq!(refused, [Err(RejectClass::FeeTooLow), Err(RejectClass::FeeTooLow)]);
    // A node from before there were packages is one whose pool takes no more than what pays by itself.
    let refused = classes(answering(Err((-32_601, "Method not found".to_owned()))));
    assert_eq!(refused, [Err(RejectClass::FeeTooLow), Err(RejectClass::FeeTooLow)]);
    let empty = answering(Ok(json!({ "package_msg": "success", "tx-results": {} })));
    assert!(matches!(empty, Err(NodeError::Answer { method: "submitpackage", .. })), "{empty:?}");
}
