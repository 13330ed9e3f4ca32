//! The JSON-RPC back end against a real bitcoind: every call, every class of refusal, and a node that is down, slow,
//! killed, starting, behind, on another network or not ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::bitcoind;

use bitcoin::{
    Amount, BlockHash, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime, hashes::Hash, transaction::Version,
};
use bitcoind::{
    Bitcoind, Options,
    proxy::{ConnectionFault, Proxy},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use taproof_bitcoin::{
    anchor::FeeRate,
    node::{Acceptance, ChainSource, ErrorClass, Node, NodeError, RejectClass, RpcAuth, RpcNode, Sent, publish},
};
use zeroize::Zeroizing;

/// A day after which a node takes a tip for old, long ago.
const LONG_AGO: u32 = 1_600_000_000;

/// Anybody can spend these outputs: the hash of a script that is true.
fn anyone() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&ScriptBuf::from(vec![0x51]).wscript_hash())
}

/// Spends outputs to one output; what is left is the fee.
fn spend(outpoints: &[OutPoint], value_sat: u64) -> Transaction {
    let input = |outpoint: &OutPoint| {
        let mut witness = Witness::new();
        witness.push([0x51]);
        TxIn { previous_output: *outpoint, sequence: Sequence::MAX, witness, ..TxIn::default() }
    };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: outpoints.iter().map(input).collect(),
        output: vec![TxOut { value: Amount::from_sat(value_sat), script_pubkey: anyone() }],
    }
}

fn first_output(transaction: &Transaction) -> OutPoint {
    OutPoint { txid: transaction.compute_txid(), vout: 0 }
}

/// A node with some coins that anybody can spend, 50 bitcoin each.
fn funded(coins: u32) -> (Bitcoind, RpcNode, Vec<OutPoint>) {
    let bitcoind = Bitcoind::start();
    let coins = bitcoind.fund(coins, &anyone()).into_iter().map(|(outpoint, _)| outpoint).collect();
    let node = bitcoind.node();
    (bitcoind, node, coins)
}

const COIN_SAT: u64 = 5_000_000_000;

/// The class and the reason of a refusal, which testing and sending agree on.
fn refusal(node: &RpcNode, transaction: &Transaction) -> (RejectClass, String) {
    let tested = match node.test_accept(std::slice::from_ref(transaction)).unwrap().remove(0) {
        Acceptance::Rejected(rejection) => rejection,
        other => panic!("{other:?} instead of a refusal"),
    };
    match node.send(transaction) {
        Err(NodeError::Rejected { txid, rejection }) => {
            assert_eq!((txid, rejection.class), (transaction.compute_txid(), tested.class), "{}", tested.reason);
            (rejection.class, rejection.reason)
        }
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[test]
fn blocks_and_headers_are_read_one_by_one_and_in_batches() {
    let bitcoind = Bitcoind::start();
    let node = bitcoind.node();
    assert_eq!((node.network(), node.tip_height().unwrap()), (Network::Regtest, 0));
    bitcoind.mine(620, &anyone());
    assert_eq!(node.tip_height().unwrap(), 620);
    for height in [0, 1, 620] {
        let hash = node.block_hash(height).unwrap().unwrap();
        assert_eq!(hash, bitcoind.block_hash(height));
        assert_eq!(node.block(&hash).unwrap(), bitcoind.block(&hash));
        assert_eq!(node.header(&hash).unwrap().block_hash(), hash);
    }
    assert_eq!(node.block_hash(621).unwrap(), None);
    let nowhere = BlockHash::from_byte_array([7; 32]);
    assert!(matches!(node.block(&nowhere), Err(NodeError::Block(hash)) if hash == nowhere));
    assert!(matches!(node.header(&nowhere), Err(NodeError::Block(hash)) if hash == nowhere));

    let mut headers = Vec::new();
    while headers.len() <= 620 {
        let more = node.headers(u32::try_from(headers.len()).unwrap(), 1_000).unwrap();
        assert!(!more.is_empty());
        headers.extend(more);
    }
    for (header, height) in headers.iter().zip(0..) {
        assert_eq!(header.block_hash(), bitcoind.block_hash(height));
    }
    assert_eq!(node.headers(618, 2).unwrap(), headers[618..620]);
    assert!(node.headers(621, 10).unwrap().is_empty() && node.headers(5, 0).unwrap().is_empty());
    assert_eq!(node.headers(u32::MAX, u32::MAX).unwrap(), []);

    // After a reorganisation the old block is still there, but not at its height.
    let old_tip = bitcoind.block_hash(620);
    bitcoind.reorganise(3, 4);
    assert_eq!(node.tip_height().unwrap(), 621);
    assert_eq!(node.headers(617, 9).unwrap()[0], headers[617]);
    assert_eq!(node.headers(617, 9).unwrap()[4].block_hash(), bitcoind.tip().1);
    assert_ne!(node.block_hash(620).unwrap(), Some(old_tip));
    assert_eq!(node.header(&old_tip).unwrap(), headers[620]);
}

#[test]
fn coins_pool_and_fees_are_told() {
    let (bitcoind, node, coins) = funded(3);
    let scan = node.coins(&[anyone(), ScriptBuf::new_op_return([])]).unwrap();
    assert_eq!((scan.block.height, scan.block.hash), bitcoind.tip());
    assert!(scan.coins.iter().map(|coin| coin.outpoint).eq(coins.iter().copied()));
    let coin = &scan.coins[1];
    assert_eq!((coin.height, coin.is_coinbase, coin.output.value.to_sat()), (2, true, COIN_SAT));
    assert_eq!(coin.output.script_pubkey, anyone());
    assert!(node.coins(&[]).unwrap().coins.is_empty());

    // The pool spends it, the chain does not.
    let parent = spend(&coins[..1], COIN_SAT - 1_234);
    let child = spend(&[first_output(&parent)], COIN_SAT - 5_678);
    assert_eq!(node.pool_spender(&coins[0]).unwrap(), None);
    assert_eq!(node.pool_entry(&parent.compute_txid()).unwrap(), None);
    bitcoind.send(&parent);
    bitcoind.send(&child);
    let unspent = node.unspent(&coins[0]).unwrap().unwrap();
    assert_eq!((unspent.confirmations, unspent.is_coinbase, unspent.output.value.to_sat()), (103, true, COIN_SAT));
    assert_eq!(node.unspent(&first_output(&parent)).unwrap(), None);
    assert_eq!(node.pool_spender(&coins[0]).unwrap(), Some(parent.compute_txid()));
    let vsize_vb = parent.weight().to_wu().div_ceil(4);
    let entry = node.pool_entry(&parent.compute_txid()).unwrap().unwrap();
    assert_eq!((entry.fee_sat, entry.vsize_vb, entry.ancestor_count, entry.descendant_count), (1_234, vsize_vb, 1, 2));
    assert_eq!((entry.descendant_fee_sat, entry.descendant_vsize_vb), (5_678, 2 * vsize_vb));
    let entry = node.pool_entry(&child.compute_txid()).unwrap().unwrap();
    assert_eq!((entry.fee_sat, entry.ancestor_fee_sat, entry.ancestor_vsize_vb), (4_444, 5_678, 2 * vsize_vb));
    assert_eq!((entry.ancestor_count, entry.descendant_count), (2, 1));
    // What a miner would add to the fee in his mind is not paid.
    bitcoind.prioritise(&parent.compute_txid(), 1_000_000);
    assert_eq!(node.pool_entry(&parent.compute_txid()).unwrap().unwrap().fee_sat, 1_234);

    bitcoind.mine(1, &bitcoind.new_script());
    assert_eq!(node.unspent(&coins[0]).unwrap(), None);
    let unspent = node.unspent(&first_output(&child)).unwrap().unwrap();
    assert_eq!((unspent.confirmations, unspent.is_coinbase), (1, false));
    assert_eq!(node.pool_spender(&coins[0]).unwrap(), None);

    let floors = node.fee_floors().unwrap();
    assert_eq!((floors.min_pool, floors.incremental), (FeeRate::MIN, FeeRate::MIN));
    for target_blocks in [0, 1, 6, u16::MAX] {
        assert_eq!(node.fee_estimate(target_blocks).unwrap(), None, "an empty chain teaches nothing");
    }
}

#[test]
fn floors_have_the_precision_of_the_node() {
    let arguments = ["-minrelaytxfee=0.00001234", "-incrementalrelayfee=0.00000567"].map(str::to_owned).to_vec();
    let bitcoind = Bitcoind::start_with(Options { arguments, ..Options::default() });
    let floors = bitcoind.node().fee_floors().unwrap();
    assert_eq!((floors.min_pool.sat_per_kvb(), floors.incremental.sat_per_kvb()), (1_234, 567));
}

#[test]
fn a_transaction_is_new_then_known_then_in_a_block() {
    let (bitcoind, node, coins) = funded(1);
    let transaction = spend(&coins, COIN_SAT - 1_000);
    let verdict = |transaction: &Transaction| node.test_accept(std::slice::from_ref(transaction)).unwrap().remove(0);
    assert_eq!(verdict(&transaction), Acceptance::Accepted);
    assert_eq!(node.send(&transaction).unwrap(), Sent::Accepted);
    assert_eq!(verdict(&transaction), Acceptance::AlreadyInPool);
    assert_eq!(node.send(&transaction).unwrap(), Sent::AlreadyInPool);
    bitcoind.mine(1, &bitcoind.new_script());
    assert_eq!(verdict(&transaction), Acceptance::AlreadyInChain);
    assert_eq!(node.send(&transaction).unwrap(), Sent::AlreadyInChain);
    // Once its outputs are spent too, a node has nothing left to know it by.
    bitcoind.mine_with(&[spend(&[first_output(&transaction)], COIN_SAT - 2_000)], &bitcoind.new_script());
    assert_eq!(refusal(&node, &transaction).0, RejectClass::MissingInputs);
}

#[test]
fn packages_are_tested_together_and_a_known_commit_hides_nothing() {
    let (bitcoind, node, coins) = funded(2);
    let commit = spend(&coins[..1], COIN_SAT - 1_000);
    let reveal = spend(&[first_output(&commit)], COIN_SAT - 2_000);
    let bad_reveal = spend(&[first_output(&commit)], COIN_SAT);
    let package = |reveal: &Transaction| node.test_accept(&[commit.clone(), reveal.clone()]).unwrap();
    assert_eq!(package(&reveal), [Acceptance::Accepted, Acceptance::Accepted]);
    assert!(matches!(publish(&node, &commit, &bad_reveal), Err(NodeError::Rejected { .. })));
    assert!(bitcoind.pool().is_empty(), "nothing is sent of a bad package");

    node.send(&commit).unwrap();
    let verdicts = package(&reveal);
    assert_eq!(verdicts[0], Acceptance::AlreadyInPool);
    assert_ne!(verdicts[1], Acceptance::Accepted, "a package of known ones is not judged as a whole");
    publish(&node, &commit, &reveal).unwrap();
    publish(&node, &commit, &reveal).unwrap();
    assert_eq!(bitcoind.pool().len(), 2);

    // In a package nothing may be replaced, whatever it pays; alone it may.
    let dearer = spend(&coins[..1], COIN_SAT - 9_000);
    let its_child = spend(&[first_output(&dearer)], COIN_SAT - 10_000);
    let verdicts = node.test_accept(&[dearer.clone(), its_child]).unwrap();
    assert!(
        matches!(&verdicts[0], Acceptance::Rejected(rejection) if rejection.class == RejectClass::Conflict),
        "{verdicts:?}"
    );
    assert_eq!(node.test_accept(&[dearer]).unwrap(), [Acceptance::Accepted]);
    bitcoind.mine(1, &bitcoind.new_script());
    publish(&node, &commit, &reveal).expect_err("the commit's output is spent: the chain has to be asked");
}

#[test]
fn a_dear_transaction_is_no_mistake() {
    let (_bitcoind, node, coins) = funded(1);
    // 0.1 bitcoin a thousand virtual bytes is what bitcoind takes for meant by default; this pays 50,000 times as much.
    let transaction = spend(&coins, 1_000);
    assert_eq!(node.test_accept(std::slice::from_ref(&transaction)).unwrap(), [Acceptance::Accepted]);
    assert_eq!(node.send(&transaction).unwrap(), Sent::Accepted);
}

#[test]
fn refusals_have_classes() {
    let (bitcoind, node, coins) = funded(4);
    let expect = |transaction: &Transaction, class: RejectClass, reason: &str| {
        let found = refusal(&node, transaction);
        assert_eq!((found.0, found.1.contains(reason)), (class, true), "{reason}: {found:?}");
    };
    let nowhere = OutPoint { txid: Txid::from_byte_array([9; 32]), vout: 0 };
    expect(&spend(&[nowhere], 1_000), RejectClass::MissingInputs, "");
    expect(&spend(&coins[..1], COIN_SAT), RejectClass::FeeTooLow, "min relay fee not met");
    expect(&spend(&coins[..1], COIN_SAT + 1), RejectClass::Consensus, "bad-txns-in-belowout");
    expect(&spend(&coins[..1], 10), RejectClass::Policy, "dust");
    expect(&spend(&[coins[0], coins[0]], 1_000), RejectClass::Consensus, "bad-txns-inputs-duplicate");
    let (tip_height, tip_hash) = bitcoind.tip();
    let young = bitcoind.mine_with(&[], &anyone());
    let young = OutPoint { txid: bitcoind.block(&young).txdata[0].compute_txid(), vout: 0 };
    assert_ne!(bitcoind.tip().1, tip_hash);
    expect(&spend(&[young], 1_000), RejectClass::TooEarly, "bad-txns-premature-spend-of-coinbase");
    let mut locked = spend(&coins[..1], COIN_SAT - 1_000);
    locked.lock_time = LockTime::from_height(tip_height + 10).unwrap();
    locked.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
    expect(&locked, RejectClass::TooEarly, "non-final");
    let mut locked = spend(&coins[..1], COIN_SAT - 1_000);
    locked.input[0].sequence = Sequence::from_height(1_000);
    expect(&locked, RejectClass::TooEarly, "non-BIP68-final");
    let mut unsigned = spend(&coins[..1], COIN_SAT - 1_000);
    unsigned.input[0].witness = Witness::from_slice(&[[0x52]]);
    // Nodes do not tell whether a script breaks a rule of blocks or one of relay.
    assert!(matches!(refusal(&node, &unsigned).0, RejectClass::Policy | RejectClass::Consensus));

    // Replacements: dear enough or not, and one that spends what it would replace.
    let first = spend(&coins[1..2], COIN_SAT - 1_000);
    node.send(&first).unwrap();
    expect(&spend(&coins[1..2], COIN_SAT - 1_001), RejectClass::FeeTooLow, "insufficient fee");
    let own = spend(&[coins[1], first_output(&first)], COIN_SAT);
    expect(&own, RejectClass::Conflict, "bad-txns-spends-conflicting-tx");
    let second = spend(&coins[1..2], COIN_SAT - 3_000);
    assert_eq!(node.send(&second).unwrap(), Sent::Accepted);
    assert_eq!(node.pool_entry(&first.compute_txid()).unwrap(), None);
    // The one that was replaced is refused as too cheap a replacement of its successor.
    assert_eq!(refusal(&node, &first).0, RejectClass::FeeTooLow);

    // A chain of transactions is as long as the pool's limit, which differs between versions.
    let mut last = spend(&coins[2..3], COIN_SAT - 1_000);
    for length in 1.. {
        assert!(length <= 200, "the pool has a limit");
        if let Err(error) = node.send(&last) {
            assert_eq!(error.class(), ErrorClass::Rejected(RejectClass::PackageLimit), "{error}");
            assert!(length > 20 && !error.is_transient());
            break;
        }
        last = spend(&[first_output(&last)], last.output[0].value.to_sat() - 1_000);
    }
}

#[test]
fn a_transaction_of_a_displaced_block_waits_again() {
    let (bitcoind, node, coins) = funded(1);
    let transaction = spend(&coins, COIN_SAT - 1_000);
    node.send(&transaction).unwrap();
    bitcoind.mine(1, &bitcoind.new_script());
    bitcoind.mine_empty(2);
    assert_eq!(node.unspent(&first_output(&transaction)).unwrap().unwrap().confirmations, 3);
    bitcoind.reorganise(3, 4);
    assert_eq!(node.unspent(&first_output(&transaction)).unwrap(), None);
    assert!(node.pool_entry(&transaction.compute_txid()).unwrap().is_some());
    assert_eq!(node.send(&transaction).unwrap(), Sent::AlreadyInPool);
}

#[test]
fn the_connection_outlives_the_node() {
    let (mut bitcoind, node, coins) = funded(1);
    let transaction = spend(&coins, COIN_SAT - 1_000);
    node.send(&transaction).unwrap();
    bitcoind.flush();
    let (height, _) = bitcoind.tip();
    bitcoind.kill9();
    let down = node.tip_height().expect_err("killed");
    assert!(matches!(down, NodeError::Unreachable { .. }) && down.is_transient(), "{down:?}");
    assert!(matches!(
        RpcNode::connect(&bitcoind.url(), &bitcoind.auth(), Network::Regtest),
        Err(error) if error.is_transient()
    ));

    // While it starts, every failure says to try again. The cookie is another one afterwards.
    let cookie = std::fs::read_to_string(bitcoind.cookie_file()).unwrap();
    bitcoind.launch();
    let start = Instant::now();
    loop {
        match node.tip_height() {
            Ok(_) => break,
            // Until the node has written its new cookie, the old one is refused.
            Err(NodeError::Unauthorized { .. }) => (),
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{}", bitcoind.log_tail());
    }
    bitcoind.wait_until_ready();
    assert_ne!(std::fs::read_to_string(bitcoind.cookie_file()).unwrap(), cookie);
    // The chain was written, the pool was in memory alone.
    assert_eq!(node.tip_height().unwrap(), height);
    assert_eq!(node.pool_entry(&transaction.compute_txid()).unwrap(), None);
    assert_eq!(node.send(&transaction).unwrap(), Sent::Accepted);

    // A node that is stopped keeps its pool, and its cookie is gone.
    bitcoind.stop();
    let absent = RpcNode::connect(&bitcoind.url(), &bitcoind.auth(), Network::Regtest).expect_err("no cookie");
    assert!(matches!(absent, NodeError::Cookie { .. }) && absent.is_transient(), "{absent:?}");
    bitcoind.restart();
    bitcoind.wait_for("the pool", || node.pool_entry(&transaction.compute_txid()).unwrap().is_some());
}

#[test]
fn a_node_that_lost_its_chain_has_a_shorter_one() {
    let mut bitcoind = Bitcoind::start();
    bitcoind.mine(5, &anyone());
    bitcoind.flush();
    bitcoind.mine(3, &anyone());
    let node = bitcoind.node();
    let lost = bitcoind.block_hash(8);
    bitcoind.kill9();
    bitcoind.restart();
    assert_eq!((node.tip_height().unwrap(), node.block_hash(6).unwrap()), (5, None));
    assert!(matches!(node.block(&lost), Err(NodeError::Block(hash)) if hash == lost));
    assert_eq!(node.headers(4, 10).unwrap().len(), 2);
}

#[test]
fn killed_in_the_middle_of_calls() {
    let mut bitcoind = Bitcoind::start();
    bitcoind.mine(50, &anyone());
    let (node, ended) = (bitcoind.node(), AtomicBool::new(false));
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut failures = 0;
            while !ended.load(Ordering::Relaxed) {
                if let Err(error) = node.headers(0, 50) {
                    assert!(error.is_transient(), "{error:?}");
                    failures += 1;
                }
            }
            failures
        });
        thread::sleep(Duration::from_millis(50));
        bitcoind.kill9();
        thread::sleep(Duration::from_millis(50));
        ended.store(true, Ordering::Relaxed);
        assert!(caller.join().unwrap() > 0);
    });
}

#[test]
fn passwords_are_right_or_refused() {
    let options = Options { password: Some(("alice", "s3cret:with colon")), ..Options::default() };
    let bitcoind = Bitcoind::start_with(options);
    assert_eq!(bitcoind.node().tip_height().unwrap(), 0);
    let auth = |user: &str, password: &str| RpcAuth::UserPassword {
        user: user.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    };
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join("cookie");
    std::fs::write(&cookie, "__cookie__:0000").unwrap();
    for auth in [auth("alice", "wrong"), auth("bob", "s3cret:with colon"), auth("", ""), RpcAuth::CookieFile(cookie)] {
        let refused = RpcNode::connect(&bitcoind.url(), &auth, Network::Regtest).expect_err("not its password");
        assert!(matches!(refused, NodeError::Unauthorized { .. }) && !refused.is_transient(), "{refused:?}");
        assert!(!refused.to_string().contains("s3cret"));
    }
}

#[test]
fn every_network_is_told_from_the_others() {
    let networks = [Network::Bitcoin, Network::Testnet4, Network::Signet, Network::Regtest];
    for network in networks {
        let bitcoind = Bitcoind::start_with(Options { network, ..Options::default() });
        for asked in networks {
            let connected = RpcNode::connect(&bitcoind.url(), &bitcoind.auth(), asked);
            match connected {
                Ok(node) => assert_eq!((node.network(), asked), (network, network)),
                Err(NodeError::Network { expected, found }) => {
                    assert!(expected == asked && asked != network && found == network.to_core_arg());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_node_that_is_behind_says_so() {
    let mocktime = format!("-mocktime={LONG_AGO}");
    let mut bitcoind = Bitcoind::start_with(Options { arguments: vec![mocktime], ..Options::default() });
    let node = bitcoind.node();
    assert!(node.sync_state().unwrap().initial_download, "the first block is older than any");
    bitcoind.mine(3, &anyone());
    let state = node.sync_state().unwrap();
    assert_eq!((state.initial_download, state.blocks, state.headers), (false, 3, 3));
    bitcoind.stop();
    bitcoind.restart_with(&[]);
    let state = node.sync_state().unwrap();
    assert_eq!((state.initial_download, state.blocks, state.headers), (true, 3, 3));
    // It answers all the same.
    assert_eq!(node.tip_height().unwrap(), 3);
    assert!(node.fee_floors().is_ok() && node.fee_estimate(6).is_ok());
}

#[test]
fn slow_silent_and_broken_connections() {
    let (bitcoind, _, coins) = funded(1);
    let proxy = Proxy::start(bitcoind.rpc_port());
    let timeout = Duration::from_secs(2);
    let node = RpcNode::connect_within(&proxy.url(), &bitcoind.auth(), Network::Regtest, timeout).unwrap();
    proxy.set(ConnectionFault::Delay(Duration::from_millis(50)));
    assert_eq!(node.tip_height().unwrap(), bitcoind.tip().0);

    proxy.set(ConnectionFault::Silence);
    let start = Instant::now();
    let late = node.tip_height().expect_err("silence");
    assert!(matches!(late, NodeError::Timeout { seconds: 2, .. }) && late.is_transient(), "{late:?}");
    assert!(start.elapsed() < 3 * timeout);

    proxy.set(ConnectionFault::Refuse);
    let refused = node.tip_height().expect_err("refused");
    assert!(matches!(refused, NodeError::Unreachable { .. }) && refused.is_transient(), "{refused:?}");

    // The call is done; only its answer is lost. Calling again finds it done.
    let transaction = spend(&coins, COIN_SAT - 1_000);
    for bytes in [0, 10, 150] {
        proxy.set(ConnectionFault::Cut(bytes));
        let cut = node.send(&transaction).expect_err("cut");
        assert!(matches!(cut, NodeError::Unreachable { .. }) && cut.is_transient(), "{cut:?}");
    }
    bitcoind.send(&transaction);
    proxy.set(ConnectionFault::None);
    assert_eq!(node.send(&transaction).unwrap(), Sent::AlreadyInPool);
}

#[test]
fn two_nodes_agree_after_a_split() {
    let listening = Bitcoind::start_with(Options { listen: true, ..Options::default() });
    let other = Bitcoind::start();
    other.connect_to(&listening);
    let coins: Vec<OutPoint> = other.fund(1, &anyone()).into_iter().map(|(outpoint, _)| outpoint).collect();
    listening.wait_for_tip_of(&other);
    let transaction = spend(&coins, COIN_SAT - 1_000);
    assert_eq!(other.node().send(&transaction).unwrap(), Sent::Accepted);
    let node = listening.node();
    listening.wait_for("the transaction", || node.pool_entry(&transaction.compute_txid()).unwrap().is_some());
    other.disconnect();
    listening.mine(1, &listening.new_script());
    assert!(node.unspent(&first_output(&transaction)).unwrap().is_some());
    // The other branch is longer and holds another spend of the same coin.
    let rival = spend(&coins, COIN_SAT - 50_000);
    other.mine_with(std::slice::from_ref(&rival), &other.new_script());
    other.mine_empty(1);
    other.connect_to(&listening);
    listening.wait_for_tip_of(&other);
    assert_eq!(node.unspent(&first_output(&transaction)).unwrap(), None);
    assert!(node.unspent(&first_output(&rival)).unwrap().is_some());
    assert_eq!(node.pool_entry(&transaction.compute_txid()).unwrap(), None);
    assert_eq!(refusal(&node, &transaction).0, RejectClass::MissingInputs);
}

#[test]
fn a_full_pool_takes_packages_that_pay_its_minimum_together() {
    let options = Options { arguments: vec![bitcoind::SMALL_POOL.to_owned()], ..Options::default() };
    let bitcoind = Bitcoind::start_with(options);
    let coins: Vec<OutPoint> = bitcoind.fund(4, &anyone()).into_iter().map(|(outpoint, _)| outpoint).collect();
    let split = Transaction { output: bitcoind::filler_coins(), ..spend(&coins[3..], 0) };
    bitcoind.mine_with(std::slice::from_ref(&split), &bitcoind.new_script());
    bitcoind.fill_pool(split.compute_txid(), 8_000);
    let node = bitcoind.node();
    let min_pool = node.fee_floors().unwrap().min_pool;
    assert!(min_pool.sat_per_kvb() >= 8_000);
    let pair = |coin: usize, parent_fee_sat: u64, child_fee_sat: u64| {
        let parent = spend(&coins[coin..=coin], COIN_SAT - parent_fee_sat);
        let child = spend(&[first_output(&parent)], COIN_SAT - parent_fee_sat - child_fee_sat);
        (parent, child)
    };
    let send = |(parent, child): &(Transaction, Transaction)| {
        let verdicts = node.send_package(parent, child).unwrap();
        verdicts.map(|verdict| verdict.map_err(|rejection| (rejection.class, rejection.reason)))
    };
    let too_low = |verdict: &Result<Sent, (RejectClass, String)>| {
        let refused = verdict.as_ref().err();
        refused.is_some_and(|(class, reason)| *class == RejectClass::FeeTooLow && reason.contains("min"))
    };
    // About 100 virtual bytes each: the parent pays for itself at a satoshi a byte, and the child pays too little or
    // enough.
    let cheap = pair(0, 150, 150);
    let verdicts = node.test_accept(&[cheap.0.clone(), cheap.1.clone()]).unwrap();
    assert!(
        matches!(&verdicts[0], Acceptance::Rejected(rejection) if rejection.class == RejectClass::FeeTooLow),
        "a test judges each alone: {verdicts:?}"
    );
    let verdicts = send(&cheap);
    assert!(verdicts.iter().all(too_low), "{verdicts:?}");
    let dear = pair(0, 150, 20_000);
    assert_eq!(refusal(&node, &dear.0).0, RejectClass::FeeTooLow);
    assert_eq!(send(&dear), [Ok(Sent::Accepted), Ok(Sent::Accepted)]);
    assert_eq!(send(&dear), [Ok(Sent::AlreadyInPool), Ok(Sent::AlreadyInPool)]);
    // A child that breaks a rule does not bring its parent in, whatever it pays.
    let (parent, mut child) = pair(1, 150, 20_000);
    child.output[0].value = Amount::from_sat(10);
    let verdicts = send(&(parent.clone(), child));
    assert!(verdicts.iter().all(Result::is_err), "{verdicts:?}");
    assert_eq!(node.pool_entry(&parent.compute_txid()).unwrap(), None);
    // A parent that enters by itself is in, whatever its child is worth.
    let (parent, child) = pair(2, 20_000, 1);
    let verdicts = send(&(parent, child));
    assert!(verdicts[0] == Ok(Sent::Accepted) && too_low(&verdicts[1]), "{verdicts:?}");
}
