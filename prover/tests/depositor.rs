//! Depositors and owners who run no node: what they pay, take back and demand over an Esplora server, and what they
//! are told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::esplora;
mod scene;

use bitcoin::{Address, Amount, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, consensus::encode};
use esplora::Server;
use scene::Scene;
use serde_json::{Value, json};
use std::fs;
use taproof_bitcoin::{
    anchor::{Funding, pay},
    node::{EmbeddedNode, Node},
};
use taproof_verifier::{deposit::Deposit, exit::ExitRequest};
use taproof_wallet::{Phrase, Wallet};

const FINAL_DEPTH_BLOCKS: u32 = 3;
const EXPIRY_BLOCKS: u32 = 30;
const REFUND_DELAY_BLOCKS: u32 = 40;

/// A rollup with small deadlines on the embedded chain, whose wallet has coins.
fn founded() -> Scene {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let seed = "11".repeat(32);
    let [depth, expiry, delay] =
        [FINAL_DEPTH_BLOCKS, EXPIRY_BLOCKS, REFUND_DELAY_BLOCKS].map(|blocks| blocks.to_string());
    let slots = [
        "setup",
        "--payments-only",
        "--seed",
        &seed,
        "--depth",
        "2",
        "--slots",
        "1",
        "--deposit-slots",
        "2",
        "--withdraw-slots",
        "1",
    ];
    let deadlines =
        ["--final-depth", &depth, "--deposit-window", "10", "--deposit-expiry", &expiry, "--refund-delay", &delay];
    scene.report(&[&slots[..], &deadlines].concat());
    scene
}

fn poster(scene: &Scene) -> ScriptBuf {
    let keys = scene.report(&["wallet", "keys"]);
    let address: Address<_> = keys["poster_address"].as_str().unwrap().parse().unwrap();
    address.assume_checked().script_pubkey()
}

fn embedded(scene: &Scene) -> EmbeddedNode {
    EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).unwrap()
}

/// A depositor with a wallet and the rollup's parameters, and a server of the chain on which that wallet has coins.
fn depositor(founder: &Scene) -> (Scene, Server) {
    let depositor = Scene::new();
    depositor.report(&["wallet", "new"]);
    for file in ["rollup/params.json", "rollup/program.bin"] {
        fs::copy(founder.path(file), depositor.path(file)).unwrap();
    }
    let chain = embedded(founder).chain().clone();
    let server = Server::start(EmbeddedNode::new(chain, poster(&depositor)));
    server.mine(103);
    (depositor, server)
}

/// A command that asks the server.
fn over<'a>(server: &'a Server, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--esplora", &server.url]].concat()
}

fn output(report: &Value) -> OutPoint {
    serde_json::from_value(report["output"].clone()).unwrap()
}

const TO: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[test]
fn a_depositor_without_a_node_pays_looks_and_takes_back() {
    let founder = founded();
    let (depositor, server) = depositor(&founder);
    let owner = depositor.owner("0");
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "50000"];
    // Built, kept, and sent from the file.
    let built = depositor.report(&over(&server, &deposit));
    assert_eq!(built["sent"], false);
    fs::write(depositor.path("deposit.tx"), built["transaction"].as_str().unwrap()).unwrap();
    let looked = depositor.report(&["bridge", "why", "deposit.tx"]);
    assert_eq!((&looked["outputs"][0]["is_deposit"], &looked["block"]), (&true.into(), &Value::Null));
    depositor.report(&over(&server, &["bridge", "send", "deposit.tx"]));
    let place = output(&built);
    let (txid, named) = (place.txid.to_string(), place.to_string());
    let waiting = depositor.report(&over(&server, &["bridge", "why", &txid]));
    assert!(waiting["notes"].to_string().contains("from when a block holds it"), "{waiting}");
    server.mine(1);
    let height = server.chain().height();
    let seen = depositor.report(&over(&server, &["bridge", "why", &txid]));
    assert_eq!((&seen["block"]["height"], &seen["confirmations"]), (&height.into(), &1.into()));
    let fate = seen["outputs"][0]["fate"].as_str().unwrap();
    assert!(fate.contains(&format!("from height {} on", height + 10)), "{fate}");
    assert!(seen["notes"].to_string().contains("not deep yet"), "{seen}");
    let status = depositor.report(&over(&server, &["bridge", "status"]));
    assert_eq!((&status["waiting"], &status["waiting_sat"], &status["void"]), (&1.into(), &50_000.into(), &0.into()));
    // What may still be credited is not taken back; a signer or a coordinator asks a node of its own.
    let refund = ["bridge", "refund", "--to", TO];
    let error = depositor.failure(4, &over(&server, &refund));
    assert!(error.contains("can still be credited"), "{error}");
    assert!(
        depositor.failure(3, &over(&server, &["bridge", "payout", "--out", "link.psbt"])).contains("cannot be checked")
    );

    // Nobody credits it: it is void, and told as that, and comes back.
    server.mine(EXPIRY_BLOCKS);
    let followed = depositor.report(&over(&server, &["follow"]));
    assert_eq!(followed["deposits"], json!({ "credited": 0, "waiting": 0, "waiting_sat": 0, "void": 1 }));
    assert_eq!(depositor.report(&over(&server, &["status"]))["deposits"]["void"], 1);
    let error = depositor.failure(4, &over(&server, &refund));
    assert!(error.contains(&format!("in {} blocks", REFUND_DELAY_BLOCKS - EXPIRY_BLOCKS - 1)), "{error}");
    server.mine(REFUND_DELAY_BLOCKS - EXPIRY_BLOCKS - 1);
    // The deposit is found by its key, by its transaction, and by its output.
    let by_key = depositor.report(&over(&server, &refund));
    for place in [&txid, &named] {
        assert_eq!(depositor.report(&over(&server, &[&refund[..], &["--output", place]].concat())), by_key);
    }
    assert_eq!(output(&by_key), place);
    let taken = depositor.report(&over(&server, &[&refund[..], &["--send"]].concat()));
    server.mine(FINAL_DEPTH_BLOCKS);
    let fate =
        depositor.report(&over(&server, &["bridge", "why", &txid]))["outputs"][0]["fate"].as_str().unwrap().to_owned();
    assert!(fate.contains("void") && fate.contains(taken["txid"].as_str().unwrap()), "{fate}");
    assert!(depositor.failure(3, &over(&server, &refund)).contains("no output pays"));
}

#[test]
fn a_rollup_whose_start_is_undone_takes_no_deposits_and_gives_back_what_it_has() {
    let scene = founded();
    let owner = scene.owner("0");
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "50000"];
    let place = output(&scene.report(&[&deposit[..], &["--send"]].concat()));
    // A reorganisation to below the start; the deposit's transaction is mined again.
    let mut node = embedded(&scene);
    let paid = node.find(&place.txid).unwrap().unwrap().transaction;
    let height = node.chain().height();
    let mut branch = vec![Vec::new(); 8];
    branch[7].push(paid);
    node.chain_mut().reorganise(height - 6, &branch, &ScriptBuf::new()).unwrap();
    node.save().unwrap();
    drop(node);
    // The chain as a server shows it, to the same wallet.
    let server = Server::start(EmbeddedNode::new(embedded(&scene).chain().clone(), poster(&scene)));
    for options in [&["--send"][..], &["--recipe"], &["--psbt-out", "deposit.psbt"]] {
        let output = scene.run(&over(&server, &[&deposit[..], options].concat()));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains("the rollup is lost"), "{options:?}: {text}");
    }
    let refused = scene.run(&["regtest", "deposit", "--owner", &owner, "--amount", "50000"]);
    assert!(!refused.status.success() && String::from_utf8(refused.stderr).unwrap().contains("the rollup is lost"));
    server.mine(REFUND_DELAY_BLOCKS);
    // No follower's state is there, nor the program.
    for file in ["chain.redb", "bridge.state", "program.bin"] {
        let _ = fs::remove_file(scene.path("rollup").join(file));
    }
    let taken = scene.report(&over(&server, &["bridge", "refund", "--to", TO, "--send"]));
    assert_eq!(output(&taken), place);
    server.mine(1);
    assert!(server.chain().coin(&place).is_none());
}

#[test]
fn another_wallet_is_told_how_to_pay_and_what_it_did_wrong() {
    let scene = founded();
    let (owner, params) = (scene.owner("0"), scene.params());
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "50000"];
    let told = scene.report(&[&deposit[..], &["--psbt-out", "deposit.psbt"]].concat());
    let psbt = Psbt::deserialize(&fs::read(scene.path("deposit.psbt")).unwrap()).unwrap();
    let outputs = psbt.unsigned_tx.output.clone();
    let [(0, credited)] = Deposit::scan(&psbt.unsigned_tx, params.bridge(), params.chain_id())[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((credited.amount_sat, credited.owner.to_string()), (50_000, owner.clone()));
    for field in ["address", "data", "core", "uri", "transaction"] {
        assert!(told[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {told}");
    }
    let shown = scene.report(&[&deposit[..], &["--recipe", "--offline"]].concat());
    assert_eq!(shown["core"], told["core"]);

    // The wallet puts its change between the two, before and after it is mined.
    let change = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: poster(&scene) };
    let mut wrong = psbt.clone();
    wrong.unsigned_tx.output.insert(1, change);
    wrong.outputs.insert(1, Default::default());
    fs::write(scene.path("wrong.psbt"), wrong.serialize()).unwrap();
    let looked = scene.report(&["bridge", "why", "wrong.psbt"]);
    let meanings: Vec<&str> =
        looked["outputs"].as_array().unwrap().iter().map(|output| output["meaning"].as_str().unwrap()).collect();
    assert!(meanings[0].contains("its data stands in output 2 instead of 1"), "{meanings:?}");
    assert!(meanings[1].contains("stands between"), "{meanings:?}");
    // A payment to the address alone is known by the wallet's refund key.
    let mut alone = psbt.unsigned_tx.clone();
    alone.output.truncate(1);
    let hex = encode::serialize_hex(&Transaction { input: vec![Default::default()], ..alone });
    fs::write(scene.path("alone.tx"), hex).unwrap();
    let looked = scene.report(&["bridge", "why", "alone.tx"]);
    assert!(looked["outputs"][0]["meaning"].as_str().unwrap().contains("no output says whom to credit"), "{looked}");
    assert!(scene.failure(3, &["bridge", "why", "no.such"]).contains("no.such"));
    assert!(scene.failure(3, &["bridge", "why", &"00".repeat(32)]).contains("neither in the pool nor in a block"));
}

#[test]
fn accounts_and_exit_requests_are_shown_and_sent() {
    let scene = founded();
    let owner = scene.owner("1");
    scene.report(&["regtest", "deposit", "--owner", &owner, "--amount", "50000"]);
    let account = |arguments: &[&str]| scene.report(&[&["account"], arguments].concat());
    let before = account(&[&owner]);
    assert_eq!((&before["source"], &before["cells"]), (&"ledger".into(), &json!([])));
    scene.report(&["batch", "--reference-depth", "1"]);
    // However the key is written.
    for key in [owner.clone(), format!("\"{owner}\""), format!("owner 0/1      {owner}"), "0/1".to_owned()] {
        let seen = account(&[&key]);
        let cell = json!({ "cell": 0, "token": 0, "balance": 50_000, "nonce": 0, "words": "50000 sat" });
        assert_eq!(seen["cells"], json!([cell]), "{key}");
    }
    assert_eq!(account(&[])["owner"], scene.owner("0"));
    assert_eq!(account(&[])["cells"], json!([]));
    // The batch is not anchored, so the chain knows the deposit alone.
    let seen = account(&[&owner, "--from-chain"]);
    assert_eq!((&seen["source"], &seen["cells"]), (&"chain".into(), &json!([])));
    assert_eq!(seen["deposits"][0]["amount_sat"], 50_000);

    let exit = |amount: &'static str| ["tx", "exit", "--index", "1", "--amount", amount, "--address", TO];
    assert!(scene.failure(4, &exit("50001")).contains("does not cover"));
    let shown = scene.report(&[&exit("5000")[..], &["--psbt-out", "exit.psbt"]].concat());
    let psbt = Psbt::deserialize(&fs::read(scene.path("exit.psbt")).unwrap()).unwrap();
    let script = psbt.unsigned_tx.output[0].script_pubkey.clone();
    let request = ExitRequest::parse(&script, scene.params().chain_id()).unwrap();
    assert_eq!((request.verify(scene.params().chain_id()), request.record().amount), (Ok(()), 5_000));
    assert_eq!(shown["script_pubkey"], script.to_hex_string());
    let data = hex::encode(&script.as_bytes()[3..]);
    assert!(shown["core"].as_str().unwrap().contains(&format!("{{\"data\":\"{data}\"}}")), "{shown}");
    let sent = scene.report(&[&exit("5000")[..], &["--send"]].concat());
    let height = embedded(&scene).chain().height();
    assert_eq!(sent["due_height"], height + 10);
    for report in [scene.report(&["follow"]), scene.report(&["status"]), account(&[&owner, "--from-chain"])] {
        let exits = report["exits"].as_array().unwrap();
        assert_eq!(
            (exits.len(), &exits[0]["amount_sat"], &exits[0]["due_height"]),
            (1, &5_000.into(), &sent["due_height"])
        );
    }
    let text = String::from_utf8(scene.run(&["status"]).stdout).unwrap();
    let line = format!("5000 sat from cell 0, asked at height {height}: every");
    assert!(text.contains(&line), "{text}");
    // Without a ledger the chain is asked, where the account is not yet.
    fs::remove_file(scene.path("rollup/ledger.redb")).unwrap();
    assert!(scene.failure(4, &exit("5000")).contains("owns no cell"));
}

#[test]
fn a_request_that_cannot_be_served_is_told_as_that() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    let exit = |amount: &'static str| {
        let arguments = ["tx", "exit", "--from", "0", "--nonce", "0", "--amount", amount, "--address", TO, "--force"];
        let shown = scene.report(&arguments);
        scene.report(&["regtest", "exit", shown["script_pubkey"].as_str().unwrap()]);
    };
    exit("5000");
    // It is served, and with it the nonce is used.
    assert_eq!(scene.bring_in(1, &["--operator", "0"])["exits_served"], 1);
    exit("6000");
    let text = |arguments: &[&str]| String::from_utf8(scene.run(arguments).stdout).unwrap().replace('\n', " ");
    for command in [&["follow"][..], &["status"], &["account", "0/0"], &["account", "0/0", "--from-chain"]] {
        let told = text(command).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("6000 sat from cell 0") && told.contains("it cannot be served"), "{command:?}: {told}");
        assert!(!told.contains("from height"), "{command:?}: {told}");
    }
    // The other is refuted by a batch that does nothing else.
    let report = scene.bring_in(2, &[]);
    assert_eq!((&report["exits_refuted"], &report["chunks"]), (&1.into(), &json!([])));
    let told = text(&["status"]);
    assert!(!told.contains("6000 sat from cell 0"), "{told}");
}

#[test]
fn a_payment_that_was_no_deposit_is_told_until_it_is_taken_back() {
    let scene = founded();
    let deposit =
        ["bridge", "deposit", "--owner", &scene.owner("0"), "--amount", "50000", "--psbt-out", "deposit.psbt"];
    scene.report(&deposit);
    let psbt = Psbt::deserialize(&fs::read(scene.path("deposit.psbt")).unwrap()).unwrap();
    // Its data is left out.
    let payment = psbt.unsigned_tx.output[0].clone();
    let phrase = Phrase::read_file(&scene.path("rollup/wallet.words")).unwrap();
    let key = Wallet::new(&phrase, "", scene.params().network).poster_key(0).unwrap();
    let mut node = embedded(&scene);
    let coins = node.chain().spendable_coins(&key.script_pubkey());
    let coins: Vec<Funding> =
        coins.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect();
    let paid = pay(vec![payment], "2".parse().unwrap(), &coins, &key).unwrap();
    node.chain_mut().mine(std::slice::from_ref(&paid), &key.script_pubkey()).unwrap();
    let opens = node.chain().height() + REFUND_DELAY_BLOCKS;
    node.save().unwrap();
    drop(node);
    let txid = paid.compute_txid().to_string();
    let why = || {
        let told = scene.report(&["bridge", "why", &txid]);
        (told["outputs"][0]["fate"].as_str().unwrap().to_owned(), told["notes"].to_string())
    };
    let (fate, notes) = why();
    assert!(fate.ends_with(&format!("the refund opens at height {opens}")), "{fate}");
    assert!(notes.contains("taproof bridge refund"), "{notes}");
    scene.report(&["regtest", "mine", &(REFUND_DELAY_BLOCKS - 1).to_string()]);
    assert!(why().0.ends_with(&format!("the refund is open since height {opens}")), "{}", why().0);
    let named = format!("{txid}:0");
    let taken = scene.report(&["bridge", "refund", "--output", &named, "--to", TO, "--send"]);
    let (fate, notes) = why();
    let expected = format!("taken back by the depositor in {}", taken["txid"].as_str().unwrap());
    assert!(fate.starts_with(&expected), "{fate}");
    assert!(!notes.contains("taproof bridge refund"), "nothing is left to do: {notes}");
}
