use super::*;
use crate::testing::esplora as served;
use crate::{
    node::{
        EmbeddedNode, ErrorClass, Found, HEIGHT_MAX, Node, RejectClass, Sent,
        esplora::{
            answers::ServerRefusal,
            coins::{COINS_MAX, LIST_BYTES_MAX},
        },
    },
    regtest::{COINBASE_MATURITY_BLOCKS, RegtestChain},
};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxMerkleNode, TxOut, Witness, absolute::LockTime, transaction::Version,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use served::{Limit, PAGE, Server, summary};
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
};
use taproof_verifier::block::{ValidatedBlock, ValidatedExcerpt};

fn connect(server: &Server) -> EsploraNode {
    EsploraNode::connect(&server.url, Network::Regtest).expect("regtest")
}

fn anyone() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&ScriptBuf::from(vec![0x51]).wscript_hash())
}

fn spend(outpoint: OutPoint, value_sat: u64) -> Transaction {
    let mut witness = Witness::new();
    witness.push([0x51]);
    let input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, witness, ..TxIn::default() };
    let output = TxOut { value: Amount::from_sat(value_sat), script_pubkey: anyone() };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
}

/// A chain whose last block holds three payments beside its coinbase.
fn server() -> (Server, Vec<Txid>) {
    let elsewhere = ScriptBuf::new_op_return([]);
    let mut chain = RegtestChain::new();
    chain.mine_empty(6, &anyone()).expect("empty blocks are valid");
    chain.mine_empty(COINBASE_MATURITY_BLOCKS, &elsewhere).expect("empty blocks are valid");
    let coins = chain.spendable_coins(&anyone());
    let payments: Vec<Transaction> = coins[..3].iter().map(|(outpoint, _)| spend(*outpoint, 1_000_000)).collect();
    chain.mine(&payments, &elsewhere).expect("valid");
    let txids = payments.iter().map(Transaction::compute_txid).collect();
    (Server::start(EmbeddedNode::new(chain, elsewhere)), txids)
}

fn is_answer_error<T>(result: Result<T, NodeError>) -> bool {
    matches!(result, Err(NodeError::Answer { .. }))
}

#[test]
fn an_honest_server_gives_the_chain() {
    let (server, txids) = server();
    let (node, chain) = (connect(&server), server.chain());
    assert_eq!((node.network(), node.tip_height().expect("answers")), (Network::Regtest, chain.height()));
    let tip = node.block_hash(chain.height()).expect("answers").expect("mined");
    assert_eq!(tip, chain.tip_hash());
    assert_eq!(node.block_hash(chain.height() + 1).expect("answers"), None);
    assert_eq!(node.block(&tip).expect("mined"), *chain.tip());
    assert_eq!(node.header(&tip).expect("mined"), chain.tip().header);
    let nowhere = BlockHash::all_zeros();
    assert!(matches!(node.block(&nowhere), Err(NodeError::Block(hash)) if hash == nowhere));
    assert!(matches!(node.header(&nowhere), Err(NodeError::Block(hash)) if hash == nowhere));
    for (first, count) in
        [(0, 1), (0, 500), (3, 25), (chain.height() - 4, 5), (chain.height(), 9), (chain.height() + 1, 9)]
    {
        let end = (first + count).min(chain.height() + 1);
        let expected: Vec<_> = (first..end).map(|height| chain.block_at(height).expect("mined").header).collect();
        assert_eq!(node.headers(first, count).expect("answers"), expected, "{count} from {first}");
    }

    // The rewards of six blocks and three payments, over pages of four.
    let history = node.history(&anyone(), 0).expect("answers");
    assert_eq!(history.len(), 9);
    assert!(history.is_sorted() && history[..6].iter().zip(1..).all(|(entry, height)| entry.block.height == height));
    let block = BlockId { height: chain.height(), hash: tip };
    let of_block: Vec<Txid> =
        history.iter().filter(|entry| entry.block == block && entry.spends).map(|entry| entry.txid).collect();
    assert!(txids.iter().all(|txid| of_block.contains(txid)) && of_block.len() == txids.len());
    assert!(history[..6].iter().all(|entry| !entry.spends && entry.first_output == anyone()));
    assert!(node.history(&ScriptBuf::from(vec![0x52]), 0).expect("answers").is_empty());
    // Older pages are not asked for.
    let requests = server.requests();
    assert_eq!(node.history(&anyone(), chain.height()).expect("answers"), history[6..]);
    assert_eq!(server.requests() - requests, 1);

    let located = node.inclusion(&txids[1]).expect("answers").expect("mined");
    assert_eq!((located.height, located.inclusion.position), (chain.height(), 2));
    assert_eq!(node.inclusion(&Txid::all_zeros()).expect("answers"), None);
    let excerpt = node.excerpt(&block, &[txids[2], txids[0]]).expect("answers");
    let checked = ValidatedExcerpt::new(excerpt, block).expect("included");
    let found: Vec<Txid> = checked.transactions().iter().map(|(txid, _)| *txid).collect();
    assert!(found.contains(&txids[0]) && found.contains(&txids[2]) && !found.contains(&txids[1]));
    let elsewhere = BlockId { height: 1, hash: chain.block_at(1).expect("mined").block_hash() };
    assert!(matches!(node.excerpt(&elsewhere, &txids[..1]), Err(NodeError::Block(_))));
}

#[test]
fn transactions_are_handed_on_or_refused_by_class() {
    let (server, _) = server();
    let node = connect(&server);
    let coin = server.chain().spendable_coins(&anyone())[0].0;
    assert_eq!(node.send(&spend(coin, 1_000_000)).expect("valid"), Sent::Accepted);
    let missing = node.send(&spend(OutPoint::new(Txid::all_zeros(), 7), 1_000)).expect_err("no such coin");
    assert_eq!(missing.class(), ErrorClass::Rejected(RejectClass::MissingInputs));
    assert!(missing.to_string().ends_with("is refused: bad-txns-inputs-missingorspent"), "{missing}");
    let says = |text: &str| ServerRefusal::read(text.as_bytes()).sent();
    assert_eq!(says(r#"x {"code":-27,"message":"Transaction outputs already in utxo set"}"#), Ok(Sent::AlreadyInChain));
    assert_eq!(says(r#"{"code":-26,"message":"txn-already-in-mempool"}"#), Ok(Sent::AlreadyInPool));
    assert_eq!(says("} no JSON {"), Err("} no JSON {".to_owned()));
    assert_eq!(says(&"a\n".repeat(10_000)).expect_err("a reason").len(), REASON_CHARS);
    server.lie("/tx", |_| (503, Vec::new()));
    assert!(node.send(&spend(coin, 900_000)).expect_err("busy").is_transient());
}

#[test]
fn whoever_pays_learns_of_coins_fees_and_the_pool() {
    let (server, txids) = server();
    let (node, chain) = (connect(&server), server.chain());
    // The embedded node of the same chain says the same of coins and transactions.
    let own = EmbeddedNode::new(chain.clone(), anyone());
    let scan = node.coins(&[anyone(), anyone()]).expect("answers");
    assert_eq!(scan, own.coins(&[anyone()]).expect("answers"));
    assert_eq!(scan.coins.iter().filter(|coin| coin.is_coinbase).count(), 3, "three of six rewards are spent");
    for coin in &scan.coins {
        assert_eq!(node.unspent(&coin.outpoint).expect("answers"), own.unspent(&coin.outpoint).expect("answers"));
    }
    let spent = chain.tip().txdata[1].input[0].previous_output;
    for outpoint in [spent, OutPoint::new(txids[0], 1), OutPoint::new(Txid::all_zeros(), 0)] {
        assert_eq!(node.unspent(&outpoint).expect("answers"), None, "{outpoint}");
    }
    let block = BlockId { height: chain.height(), hash: chain.tip_hash() };
    let found = node.find(&txids[2]).expect("answers").expect("mined");
    assert_eq!((found.block, found.transaction.compute_txid()), (Some(block), txids[2]));
    assert_eq!(node.find(&Txid::all_zeros()).expect("answers"), None);

    let coin = scan.coins[0].outpoint;
    assert_eq!(node.pool_spender(&coin).expect("answers"), None);
    let spend = spend(coin, 1_000_000);
    node.send(&spend).expect("valid");
    assert_eq!(node.pool_spender(&coin).expect("answers"), Some(spend.compute_txid()));
    assert!(node.unspent(&coin).expect("answers").is_some(), "the best chain leaves it unspent");
    assert_eq!(
        node.find(&spend.compute_txid()).expect("answers"),
        Some(Found { transaction: spend.clone(), block: None })
    );
    let entry = node.pool_entry(&spend.compute_txid()).expect("answers").expect("it waits");
    assert_eq!(entry.vsize_vb, spend.weight().to_vbytes_ceil());
    server.mine(1);
    assert_eq!(node.pool_spender(&coin).expect("answers"), None, "it is mined");
    assert_eq!(node.pool_entry(&spend.compute_txid()).expect("answers"), None);
    assert_eq!(node.unspent(&coin).expect("answers"), None);

    for (target, expected) in [(0, "4.5"), (1, "4.5"), (2, "4.5"), (6, "3"), (144, "1.001"), (1_008, "1")] {
        let rate = node.fee_estimate(target).expect("answers").expect("a rate");
        assert_eq!(rate.to_string(), expected, "within {target}");
    }
    for odd in [json!({}), json!({ "x": 1.0, "70000": 2.0 }), json!({ "1": -3.0 })] {
        server.lie("/fee-estimates", move |_| (200, odd.to_string().into_bytes()));
        assert_eq!(node.fee_estimate(6).expect("answers"), None);
    }
    server.lie("/fee-estimates", |_| (200, json!({ "1": 1e300 }).to_string().into_bytes()));
    assert_eq!(node.fee_estimate(6).expect("answers"), Some(crate::fee_rate::FeeRate::MAX));
}

#[test]
fn lies_about_coins_are_noticed_where_they_can_be() {
    let (server, txids) = server();
    let node = connect(&server);
    let coin = node.coins(&[anyone()]).expect("answers").coins[0].outpoint;
    // An output of another script, one that is not there, and a transaction that is not the named one.
    for (txid, vout) in [(server.chain().tip().txdata[0].compute_txid(), 0), (txids[0], 9)] {
        server.lie("/scripthash/", move |_| {
            let coin =
                json!([{ "txid": txid, "vout": vout, "value": 1, "status": { "confirmed": true, "block_height": 1 } }]);
            (200, coin.to_string().into_bytes())
        });
        assert!(is_answer_error(node.coins(&[anyone()])), "{txid}:{vout}");
    }
    // A value is the transaction's, whatever the list says.
    server.lie("/scripthash/", |(status, body)| {
        let mut coins: Value = serde_json::from_slice(&body).expect("a list");
        coins[0]["value"] = json!(1);
        (status, coins.to_string().into_bytes())
    });
    assert_eq!(node.coins(&[anyone()]).expect("answers").coins[0].outpoint, coin);
    assert!(node.coins(&[anyone()]).expect("answers").coins[0].output.value > Amount::from_sat(1));
    // A transaction that is in no block is shown in one.
    let spend = spend(coin, 1_000_000);
    server.be_honest();
    node.send(&spend).expect("valid");
    let txid = spend.compute_txid();
    server.lie("/tx/", move |(status, body)| match status {
        404 => (200, json!({ "block_height": 3, "merkle": [], "pos": 0 }).to_string().into_bytes()),
        _ => (status, body),
    });
    assert!(is_answer_error(node.unspent(&OutPoint::new(txid, 0))));
    assert!(is_answer_error(node.find(&txid)));
}

/// A list of coins, of the values that are given.
fn list(coins: impl Iterator<Item = (OutPoint, u64)>) -> Vec<u8> {
    let status = json!({ "confirmed": true, "block_height": 1 });
    let list = coins.map(
        |(outpoint, value)| json!({ "txid": outpoint.txid, "vout": outpoint.vout, "value": value, "status": status }),
    );
    list.collect::<Value>().to_string().into_bytes()
}

#[test]
fn coins_that_no_block_holds_are_not_taken() {
    let (server, _) = server();
    let node = connect(&server);
    let real = node.coins(&[anyone()]).expect("answers").coins[0].outpoint;
    // The server has the transaction, which has the id, and says that it was mined.
    let spend = spend(real, 1_000_000);
    node.send(&spend).expect("valid");
    let made_up = OutPoint::new(spend.compute_txid(), 0);
    server.lie("/scripthash/", move |_| (200, list([(made_up, 1_000_000), (real, 1), (real, 2)].into_iter())));
    let coins = node.coins(&[anyone()]).expect("answers").coins;
    assert_eq!(coins.iter().map(|coin| coin.outpoint).collect::<Vec<_>>(), [real], "once");
}

/// A block that takes no work can hold whatever the server likes.
#[test]
fn blocks_without_work_prove_no_coins() {
    let (server, txids) = server();
    let node = connect(&server);
    let tip = server.chain().tip().clone();
    let mut header = tip.header;
    while header.validate_pow(header.target()).is_ok() {
        header.nonce += 1;
    }
    let (honest, coinbase) = (tip.block_hash().to_string(), tip.txdata[0].compute_txid().to_string());
    // The hash at the tip's height is the made-up one, by which its header and its first transaction are asked for.
    let mut answers = [encode::serialize_hex(&header), coinbase].into_iter().cycle();
    server.lie("/block", move |(status, body)| match status {
        404 => (200, answers.next().expect("without end").into_bytes()),
        _ if body == honest.as_bytes() => (200, header.block_hash().to_string().into_bytes()),
        _ => (status, body),
    });
    let refused = node.unspent(&OutPoint::new(txids[0], 0)).expect_err("no work");
    assert!(refused.to_string().contains("has no proof of work"), "{refused}");
    assert!(is_answer_error(node.coins(&[anyone()])));
}

#[test]
fn a_server_that_names_coins_without_end_is_asked_for_few() {
    let (server, _) = server();
    let node = connect(&server);
    let txid = |index: u32| Txid::hash(&index.to_le_bytes());
    let real = node.coins(&[anyone()]).expect("answers").coins[0].outpoint;
    let many = list((0..20_000).map(|index| (OutPoint::new(txid(index), 0), 1_000)).chain([(real, 2_000)]));
    assert!(many.len() < LIST_BYTES_MAX);
    server.lie("/scripthash/", move |_| (200, many.clone()));
    let before = server.requests();
    let coins = node.coins(&[anyone()]).expect("answers").coins;
    assert_eq!(coins.iter().map(|coin| coin.outpoint).collect::<Vec<_>>(), [real], "the most valuable");
    let requests = server.requests() - before;
    assert!(requests < 3 * COINS_MAX, "{requests} requests");
    // A list that is longer than any is not read.
    server.lie("/scripthash/", |_| (200, vec![b' '; LIST_BYTES_MAX + 1]));
    assert!(is_answer_error(node.coins(&[anyone()])));
}

/// As many characters of a reason as are kept.
const REASON_CHARS: usize = 200;

#[test]
fn a_server_of_another_network_is_refused() {
    let (server, _) = server();
    for network in [Network::Bitcoin, Network::Testnet4, Network::Signet] {
        let refused = EsploraNode::connect(&server.url, network);
        assert!(matches!(refused, Err(NodeError::Network { expected, .. }) if expected == network));
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let down = EsploraNode::connect(&format!("http://{closed}"), Network::Regtest).expect_err("nobody listens");
    assert!(down.is_transient());
    let wrong = EsploraNode::connect("http://me:secret@host", Network::Regtest).expect_err("no plain address");
    assert!(matches!(wrong, NodeError::Url(_)) && !wrong.to_string().contains("secret"));
}

#[test]
fn what_is_no_esplora_server_is_told_as_that() {
    let (server, _) = server();
    let answers: [(u16, &[u8], &str); 4] = [
        (404, b"not found", "HTTP status 404"),
        (301, b"", "HTTP status 301"),
        (403, b"", "HTTP status 403"),
        (200, b"<!doctype html><title>Explorer</title>", "no hash"),
    ];
    for (status, body, words) in answers {
        server.lie("/block-height/", move |_| (status, body.to_vec()));
        let refused = EsploraNode::connect(&server.url, Network::Regtest).expect_err("no such server");
        assert!(matches!(refused, NodeError::NotEsplora { .. }) && !refused.is_transient(), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains("does not answer as an Esplora server") && told.contains(words), "{told}");
        assert!(!told.contains("node"), "{told}");
    }
    // What may pass is told as before.
    server.lie("/block-height/", |_| (503, Vec::new()));
    let busy = EsploraNode::connect(&server.url, Network::Regtest).expect_err("it is busy");
    assert!(matches!(busy, NodeError::Http { status: 503, .. }), "{busy:?}");
}

#[test]
fn lies_about_blocks_and_transactions_are_noticed() {
    let (server, txids) = server();
    let (node, chain) = (connect(&server), server.chain());
    let tip = chain.tip_hash();
    let other = chain.block_at(3).expect("mined").clone();
    let raw = encode::serialize(&other);
    server.lie("/block/", move |_| (200, raw.clone()));
    assert!(is_answer_error(node.block(&tip)), "another block");
    let header = encode::serialize_hex(&other.header);
    server.lie("/block/", move |_| (200, header.clone().into_bytes()));
    assert!(is_answer_error(node.header(&tip)), "another header");
    let raw = encode::serialize(&other.txdata[0]);
    server.lie("/tx/", move |_| (200, raw.clone()));
    assert!(is_answer_error(node.transaction(&txids[0])), "another transaction");

    // The hash of a block says nothing of its transactions by itself: the check of its contents does.
    let mut emptied = chain.tip().clone();
    emptied.txdata.truncate(1);
    let raw = encode::serialize(&emptied);
    server.lie("/block/", move |_| (200, raw.clone()));
    let block = node.block(&tip).expect("its header has the hash");
    let id = BlockId { height: chain.height(), hash: tip };
    assert!(ValidatedBlock::new(block, id).is_err());

    // A branch that leads elsewhere is one that the check of an excerpt refuses.
    server.lie("/tx/", |(status, body)| match serde_json::from_slice::<Value>(&body) {
        Ok(mut proof) => {
            proof["merkle"][0] = json!(TxMerkleNode::all_zeros());
            (status, proof.to_string().into_bytes())
        }
        Err(_) => (status, body),
    });
    let excerpt = node.excerpt(&id, &txids[..1]).expect("well-formed");
    assert!(ValidatedExcerpt::new(excerpt, id).is_err());
}

#[test]
fn lies_about_headers_and_histories_end_the_list() {
    let (server, _) = server();
    let (node, chain) = (connect(&server), server.chain());
    server.lie("/blocks/1", |(status, body)| {
        let mut page: Value = serde_json::from_slice(&body).expect("a page");
        page[2]["nonce"] = json!(7_777_777);
        (status, page.to_string().into_bytes())
    });
    assert!(is_answer_error(node.headers(5, 10)), "a header that has not its hash");
    let parent = chain.block_at(40).expect("mined").clone();
    server.lie("/blocks/1", move |(status, body)| {
        let mut page: Value = serde_json::from_slice(&body).expect("a page");
        page[2] = summary(&parent, 12);
        (status, page.to_string().into_bytes())
    });
    let headers = node.headers(5, 10).expect("well-formed");
    let expected: Vec<_> = (5..12).map(|height| chain.block_at(height).expect("mined").header).collect();
    assert_eq!(headers, expected, "up to the block that is not the child of the one before");

    // A server that gives the same page for ever, and one that gives new ones for ever.
    server.lie("/scripthash/", {
        let mut first = None;
        move |reply| first.get_or_insert(reply).clone()
    });
    assert_eq!(node.history(&anyone(), 0).expect("it ends").len(), PAGE);
    server.lie("/scripthash/", {
        let mut count = 0u32;
        move |_| {
            let txid = |index: u32| Txid::hash(&index.to_le_bytes());
            let page: Value = (count..count + 20_000)
                .map(|index| json!({ "txid": txid(index), "status": { "confirmed": false } }))
                .collect();
            count += 20_000;
            (200, page.to_string().into_bytes())
        }
    });
    assert!(is_answer_error(node.history(&anyone(), 0)), "a history without end");
}

#[test]
fn heights_that_no_chain_has_are_refused_at_once() {
    let (server, txids) = server();
    let node = connect(&server);
    let instead = |path: &'static str, field: Option<&'static str>, height: u64| {
        server.lie(path, move |(status, body)| {
            let Some(field) = field else { return (status, height.to_string().into_bytes()) };
            let mut value: Value = serde_json::from_slice(&body).expect("JSON");
            *value.pointer_mut(field).expect("the field") = json!(height);
            (status, value.to_string().into_bytes())
        });
    };
    for height in [u64::from(HEIGHT_MAX) + 1, 1 << 31, u64::from(u32::MAX)] {
        instead("/blocks/tip/height", None, height);
        assert!(is_answer_error(node.tip_height()), "{height}");
        assert!(is_answer_error(node.headers(0, 3)), "{height}");
        assert!(is_answer_error(node.sync_state()), "{height}");
        assert!(is_answer_error(node.coins(&[anyone()])), "{height}");
        server.be_honest();
        instead("/blocks/1", Some("/0/height"), height);
        assert!(is_answer_error(node.headers(5, 10)), "{height}");
        server.be_honest();
        instead("/scripthash/", Some("/0/status/block_height"), height);
        assert!(is_answer_error(node.history(&anyone(), 0)), "{height}");
        server.be_honest();
        instead("/tx/", Some("/block_height"), height);
        assert!(is_answer_error(node.inclusion(&txids[0])), "{height}");
        server.be_honest();
    }
}

/// Calls everything that reads; what comes back does not matter.
fn ask_everything(node: &EsploraNode, block: BlockId, txid: Txid) {
    let _ = node.tip_height();
    let _ = node.block_hash(block.height);
    let _ = node.header(&block.hash);
    let _ = node.block(&block.hash);
    let _ = node.headers(0, 15);
    let _ = node.history(&anyone(), 0);
    let _ = node.inclusion(&txid);
    let _ = node.excerpt(&block, &[txid]);
    let _ = node.coins(&[anyone()]);
    let _ = node.find(&txid);
    let _ = node.unspent(&OutPoint { txid, vout: 0 });
    let _ = node.pool_spender(&OutPoint { txid, vout: 0 });
    let _ = node.pool_entry(&txid);
    let _ = node.fee_estimate(6);
}

#[test]
fn no_reply_makes_the_client_panic() {
    let (server, txids) = server();
    let (node, chain) = (connect(&server), server.chain());
    let id = BlockId { height: chain.height(), hash: chain.tip_hash() };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = ["", "null", "-1", "4294967296", "{}", "[]", "[null]", "\"\"", "\u{feff}1", "NaN", &deep];
    for (status, body) in bodies.iter().flat_map(|body| [200, 204, 301, 404, 429, 500].map(|status| (status, *body))) {
        let body = body.as_bytes().to_vec();
        server.lie("", move |_| (status, body.clone()));
        ask_everything(&node, id, txids[0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_altered_reply_makes_the_client_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        static SERVER: std::sync::OnceLock<(Server, Vec<Txid>)> = std::sync::OnceLock::new();
        let (server, txids) = SERVER.get_or_init(server);
        server.be_honest();
        let (node, chain) = (connect(server), server.chain());
        server.lie("", move |(status, mut body)| {
            if !body.is_empty() {
                for (index, byte) in &changes {
                    let index = index.index(body.len());
                    body[index] = *byte;
                }
                body.truncate(cut.map_or(body.len(), |cut| cut.index(body.len())));
            }
            (status, body)
        });
        ask_everything(&node, BlockId { height: chain.height(), hash: chain.tip_hash() }, txids[0]);
    }
}

/// A server that answers so many requests and puts off the next ones.
fn limited(requests: usize, status: u16, retry_after: Option<&str>, refusals: Option<usize>) -> (Server, RegtestChain) {
    let (server, _) = server();
    let chain = server.chain();
    server.limit(Limit { requests, status, retry_after: retry_after.map(ToOwned::to_owned), refusals });
    (server, chain)
}

/// What a waiting node says, and for how long it waits.
type Told = Arc<Mutex<Vec<(String, Duration)>>>;

fn patient(server: &Server, total: Duration) -> (Result<EsploraNode, NodeError>, Told) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let patience = Patience::new(total, move |error, pause| {
        log.lock().expect("no holder panics").push((error.to_string(), pause));
    });
    (EsploraNode::connect_patiently(&server.url, Network::Regtest, patience), told)
}

#[test]
fn a_server_that_asks_for_pauses_gets_them_and_gives_everything() {
    let in_two_seconds = jiff::Timestamp::now() + Duration::from_secs(2);
    let date = in_two_seconds.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (status, retry_after) in [(429, Some("1")), (503, Some(date.as_str())), (503, None), (502, Some("soon"))] {
        let (server, chain) = limited(6, status, retry_after, Some(1));
        let (node, told) = patient(&server, Duration::from_secs(60));
        let node = node.expect("it answers in the end");
        let count = chain.height() + 1;
        let headers = node.headers(0, count).expect("it answers in the end");
        assert_eq!(headers.len() as u32, count);
        assert_eq!(headers.last(), Some(&chain.tip().header));
        let told = told.lock().expect("no holder panics").clone();
        assert!(!told.is_empty() && told.iter().all(|(error, _)| error.contains(&status.to_string())), "{told:?}");
        if retry_after == Some("1") {
            assert!(told.iter().all(|(error, pause)| error.contains("wait 1 s") && *pause == Duration::from_secs(1)));
        }
    }
}

#[test]
fn a_server_that_asks_for_too_much_is_not_waited_for() {
    let (server, _) = limited(2, 429, Some("3600"), None);
    let (node, told) = patient(&server, Duration::from_secs(600));
    let node = node.expect("two answers");
    assert!(node.tip_height().is_ok());
    let error = node.tip_height().expect_err("an hour");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.to_string().ends_with("status 429 and asks to wait 3600 s"), "{error}");
    assert!(told.lock().expect("no holder panics").is_empty());
    // Without an end to it, patience has one.
    server.limit(Limit { requests: 0, status: 503, retry_after: None, refusals: None });
    let (refused, told) = patient(&server, Duration::from_secs(1));
    assert!(matches!(refused, Err(NodeError::Http { status: 503, retry_after: None, .. })));
    assert_eq!(told.lock().expect("no holder panics").len(), 2, "a quarter of a second, then half of one");
    // What was read before it broke off is given.
    let (server, chain) = limited(5, 429, Some("3600"), None);
    let headers = connect(&server).headers(0, chain.height() + 1).expect("three pages");
    assert_eq!(headers.len(), 30);
}
