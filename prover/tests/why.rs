//! What `bridge why` says of requests and of announcements of the upgrade keys, and what became of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime, consensus::encode,
    transaction::Version,
};
use scene::Scene;
use serde_json::{Value, json};
use std::fs;
use taproof_bitcoin::testing::bitcoind::Bitcoind;
use taproof_verifier::{cell::CellIndex, evidence::ClaimRequest};

const SLOTS: [&str; 6] = ["--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
const NOTICE_BLOCKS: u64 = 12;

/// What is said of an output.
fn told(scene: &Scene, transaction: &str, vout: usize) -> (String, Value) {
    let output = scene.report(&["bridge", "why", transaction])["outputs"][vout].clone();
    (output["meaning"].as_str().unwrap().to_owned(), output["fate"].clone())
}

#[test]
fn announcements_are_told_with_what_became_of_them() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let key = scene.report(&["bridge", "keys"])["signer_key"].as_str().unwrap().to_owned();
    let (seed, notice) = ("11".repeat(32), NOTICE_BLOCKS.to_string());
    let setup =
        ["setup", "--payments-only", "--seed", &seed, "--depth", "1", "--deposit-window", "8", "--final-depth", "3"];
    let upgrades = ["--notice", &notice, "--upgrade-threshold", "1", "--upgrade-key", &key];
    scene.report(&[&setup[..], &upgrades, &SLOTS].concat());
    let address = scene.report(&["upgrade", "show"])["address"].as_str().unwrap().to_owned();
    let paid = scene.report(&["regtest", "pay", "--address", &address, "--amount", "90000"]);
    let (meaning, fate) = told(&scene, paid["txid"].as_str().unwrap(), 0);
    assert!(meaning.contains("to the upgrade address") && fate.is_null(), "{meaning}");

    let write = |name: &str, arguments: &[&str]| {
        let [plan, signed, done] = ["psbt", "signed.psbt", "tx"].map(|end| format!("{name}.{end}"));
        scene.report(&[&["upgrade"], arguments, &["--out", &plan, "--fee-rate", "2"]].concat());
        scene.report(&["upgrade", "sign", &plan, "--renounce", "--out", &signed]);
        scene.report(&["upgrade", "combine", &signed, "--out", &done]);
        done
    };
    let send = |done: &str| scene.report(&["upgrade", "send", done])["txid"].as_str().unwrap().to_owned();
    let keys = send(&write("keys", &["announce", "--open-posting"]));
    let (meaning, fate) = told(&scene, &keys, 0);
    assert!(meaning.starts_with("announces 0: no sequencers"), "{meaning}");
    assert!(fate.as_str().unwrap().starts_with("accepted at height "), "{fate}");
    assert!(told(&scene, &keys, 1).0.contains("to the upgrade address"));
    let text = String::from_utf8(scene.run(&["bridge", "why", &keys]).stdout).unwrap();
    assert!(text.contains(", 1 confirmation\n"), "{text}");

    // One that comes too late is in a block all the same, if a miner takes it.
    let height = (scene.report(&["upgrade", "show"])["height"].as_u64().unwrap() + 1 + NOTICE_BLOCKS).to_string();
    let late = write("late", &["announce", "--open-posting", "--from", &height]);
    let before = scene.report(&["bridge", "why", &late]);
    assert!(before["outputs"][0]["fate"].is_null() && before["notes"][0].as_str().unwrap().contains("announcement"));
    scene.report(&["regtest", "mine", "1"]);
    let would = format!("would be ignored in the next block: the announcement is for height {height}");
    assert!(told(&scene, &late, 0).1.as_str().unwrap().starts_with(&would));
    let hex = fs::read_to_string(scene.path(&late)).unwrap();
    let transaction: Transaction = encode::deserialize_hex(hex.trim()).unwrap();
    let mut node =
        taproof_bitcoin::node::EmbeddedNode::open(&scene.path("rollup/regtest.chain"), Default::default()).unwrap();
    node.chain_mut().mine(std::slice::from_ref(&transaction), &ScriptBuf::new()).unwrap();
    node.save().unwrap();
    drop(node);
    let (meaning, fate) = told(&scene, &transaction.compute_txid().to_string(), 0);
    assert!(meaning.starts_with("announces 1: "), "{meaning}");
    assert!(fate.as_str().unwrap().starts_with(&format!("ignored: the announcement is for height {height}")), "{fate}");

    // What is taken back, by what; also once all of it is final.
    let back = send(&write("back", &["withdraw"]));
    for blocks in ["1", "9"] {
        let (_, fate) = told(&scene, &keys, 0);
        assert!(fate.as_str().unwrap().starts_with(&format!("accepted, and withdrawn by {back} at height ")), "{fate}");
        let (meaning, fate) = told(&scene, &back, 0);
        assert!(meaning.contains("withdrawn") && fate.as_str().unwrap().contains("is withdrawn"), "{meaning}: {fate}");
        scene.report(&["regtest", "mine", blocks]);
    }
    // What is in force is told as that, and what takes its place as well.
    let first_height = scene.report(&["upgrade", "show"])["height"].as_u64().unwrap() + 1 + NOTICE_BLOCKS;
    let [from, later] = [first_height, first_height + 2].map(|height| height.to_string());
    let one = send(&write("one", &["announce", "--open-posting", "--from", &from]));
    let two = send(&write("two", &["announce", "--open-posting", "--from", &later]));
    let fate = |txid| told(&scene, txid, 0).1.as_str().unwrap().to_owned();
    let accepted = first_height - NOTICE_BLOCKS;
    let in_force = format!("accepted at height {accepted}, in force from height {from} on");
    assert_eq!(fate(&one), in_force.replace(", in force", ": in force") + ", unless it is withdrawn before");
    scene.report(&["regtest", "mine", &NOTICE_BLOCKS.to_string()]);
    assert_eq!(fate(&one), in_force);
    scene.report(&["regtest", "mine", "1"]);
    assert_eq!(fate(&one), format!("{in_force}, until {two} took its place at height {later}"));
    assert!(fate(&two).ends_with(&format!("in force from height {later} on")));

    let end = send(&write("end", &["withdraw", "--renounce"]));
    let (meaning, fate) = told(&scene, &end, 0);
    assert!(meaning.contains("give up their right"), "{meaning}");
    assert!(fate.as_str().unwrap().ends_with("the upgrade keys have given up their right for good"), "{fate}");
}

#[test]
fn requests_are_told_with_what_became_of_them() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    let to = scene.report(&["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let sent = scene.report(&["tx", "exit", "--address", &to, "--amount", "1000", "--send"]);
    let txid = sent["txid"].as_str().unwrap();
    let (meaning, fate) = told(&scene, txid, 0);
    assert!(meaning.starts_with("an exit request of 1000 sat"), "{meaning}");
    assert!(fate.as_str().unwrap().starts_with("request 0 waits: every anchor from height "), "{fate}");
    // Another one beside it is told, as it may be the same command by mistake.
    let again = scene.run(&["tx", "exit", "--address", &to, "--amount", "1000", "--send"]);
    let warned = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.success() && warned.contains("a request of 1000 sat with nonce 0 waits since height "));
    scene.bring_in(1, &[]);
    let (_, fate) = told(&scene, txid, 0);
    assert!(fate.as_str().unwrap().starts_with("request 0 is served by batch 1, anchored at height "), "{fate}");

    // A claim that is not sent yet, and one of another rollup.
    let cell = CellIndex::new(5).unwrap();
    let chain_id = scene.params().chain_id();
    let output = |chain_id| -> TxOut { ClaimRequest::output(cell, &[7; 32], chain_id) };
    let outputs = vec![output(chain_id), output(taproof_verifier::cell::ChainId::from_byte_array([9; 15]))];
    let claim = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output: outputs };
    let psbt = bitcoin::Psbt::from_unsigned_tx(claim).unwrap();
    fs::write(scene.path("claim.psbt"), psbt.serialize()).unwrap();
    let report = scene.report(&["bridge", "why", "claim.psbt"]);
    assert!(report["outputs"][0]["meaning"].as_str().unwrap().contains("open the lock in cell 5"), "{report}");
    assert_eq!(report["outputs"][1]["meaning"], json!("nothing of this rollup's"));
    assert!(report["notes"][0].as_str().unwrap().contains("counts from when a block holds it"), "{report}");
}

/// A node without an index does not tell of a transaction whose outputs are spent: its blocks do.
#[test]
fn what_a_file_holds_is_found_in_its_block_when_its_outputs_are_spent() {
    let (scene, bitcoind) = (Scene::new(), Bitcoind::start());
    let anyone = ScriptBuf::new_p2wsh(&ScriptBuf::from(vec![0x51]).wscript_hash());
    let (coin, output) = bitcoind.fund(1, &anyone).remove(0);
    let (url, cookie) = (bitcoind.url(), bitcoind.cookie_file());
    let node = ["--node", &url, "--cookie", cookie.to_str().unwrap()];
    scene.report(&["wallet", "new"]);
    let seed = "11".repeat(32);
    scene.report(&[&["setup", "--payments-only", "--seed", &seed, "--depth", "1"], &SLOTS[..], &node].concat());

    let spend = |outpoint: OutPoint, outputs: Vec<TxOut>| {
        let witness = Witness::from_slice(&[[0x51]]);
        let input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, witness, ..TxIn::default() };
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: outputs }
    };
    let paid = |fee_sat| TxOut { value: output.value - Amount::from_sat(fee_sat), script_pubkey: anyone.clone() };
    let cell = CellIndex::new(5).unwrap();
    let claim = spend(coin, vec![ClaimRequest::output(cell, &[7; 32], scene.params().chain_id()), paid(1_000)]);
    fs::write(scene.path("claim.tx"), encode::serialize_hex(&claim)).unwrap();
    let why = || scene.report(&[&["bridge", "why", "claim.tx"], &node[..]].concat());
    assert!(why()["block"].is_null());
    bitcoind.mine_with(std::slice::from_ref(&claim), &anyone);
    let after = OutPoint { txid: claim.compute_txid(), vout: 1 };
    bitcoind.mine_with(&[spend(after, vec![paid(2_000)])], &anyone);
    let report = why();
    assert_eq!(report["block"]["height"], bitcoind.tip().0 - 1, "{report}");
    assert_eq!(report["confirmations"], 2, "{report}");

    // Whose coin something else took is in no block.
    let rival = spend(coin, vec![paid(3_000)]);
    fs::write(scene.path("claim.tx"), encode::serialize_hex(&rival)).unwrap();
    assert!(why()["block"].is_null());
}
