//! The bridge from the command line, against a real bitcoind: three signers, each in a data directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::bitcoind;

use bitcoin::{
    Address, Amount, OutPoint, Psbt, PubkeyHash, ScriptBuf, ScriptHash, Sequence, Transaction, TxIn, Txid, WScriptHash,
    consensus::encode, hashes::Hash,
};
use bitcoind::Bitcoind;
use miniscript::psbt::PsbtExt;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use taproof_bitcoin::{
    bridge::deposit,
    node::{Acceptance, Node, Unspent},
    psbt_file,
};
use taproof_verifier::follow::Params;
use taproof_wallet::{Phrase, Wallet};
use tempfile::TempDir;

const FINAL_DEPTH_BLOCKS: u32 = 3;
const REFUND_DELAY_BLOCKS: u32 = 40;

/// A node, and data directories of people who use it.
struct Scene {
    bitcoind: Bitcoind,
    folder: TempDir,
    /// A coin of a wallet that is none of taproof's.
    foreign_coin: OutPoint,
}

impl Scene {
    /// The rollup's parameters.
    fn params(&self) -> Params {
        serde_json::from_slice(&fs::read(self.path("op").join("params.json")).unwrap()).unwrap()
    }

    /// A rollup whose coordinator has coins, and three signers who were given its parameters.
    fn new() -> Self {
        let bitcoind = Bitcoind::start();
        let [(foreign_coin, _)] = bitcoind.fund(1, &bitcoind.new_script())[..] else { panic!("one coin") };
        let scene = Self { bitcoind, folder: tempfile::tempdir().unwrap(), foreign_coin };
        let key = |name: &str| {
            scene.report(name, &["wallet", "new"]);
            let keys = scene.report(name, &["bridge", "keys"]);
            // Alice's key is named with the place that it comes from, as one of a hardware signer's would be.
            let spelling = if name == "alice" { "signer_key_expression" } else { "signer_key" };
            keys[spelling].as_str().unwrap().to_owned()
        };
        let signers = ["alice", "bob", "carol"].map(key);
        scene.report("op", &["wallet", "new"]);
        scene.bitcoind.fund(8, &scene.poster());
        let [final_depth, delay] = [FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS].map(|blocks| blocks.to_string());
        let seed = "11".repeat(32);
        let mut setup =
            vec!["setup", "--payments-only", "--seed", &seed, "--depth", "2", "--slots", "1", "--deposit-slots", "2"];
        setup.extend(["--withdraw-slots", "2", "--final-depth", &final_depth, "--refund-delay", &delay]);
        setup.extend(["--deposit-window", "6", "--deposit-expiry", "20", "--bridge-threshold", "2"]);
        signers.iter().for_each(|key| setup.extend(["--bridge-key", key]));
        scene.on_chain("op", &setup);
        for signer in ["alice", "bob", "carol"] {
            for file in ["params.json", "program.bin"] {
                fs::copy(scene.path("op").join(file), scene.path(signer).join(file)).unwrap();
            }
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn poster(&self) -> ScriptBuf {
        let keys = self.report("op", &["wallet", "keys"]);
        let address: Address<_> = keys["poster_address"].as_str().unwrap().parse().unwrap();
        address.assume_checked().script_pubkey()
    }

    fn run(&self, who: &str, arguments: &[&str]) -> Output {
        self.command(who, arguments).output().unwrap()
    }

    fn command(&self, who: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        command.args(["--json", "--quiet", "--dir"]).arg(self.path(who)).args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("TAPROOF_NODE").env_remove("TAPROOF_PASSPHRASE").env_remove("TAPROOF_DIR");
        command
    }

    /// Runs a command that must succeed, and gives its report.
    fn report(&self, who: &str, arguments: &[&str]) -> Value {
        let output = self.run(who, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// As [`Scene::report`], with the node.
    fn on_chain(&self, who: &str, arguments: &[&str]) -> Value {
        let (url, cookie) = (self.bitcoind.url(), self.bitcoind.cookie_file());
        let node = ["--node", &url, "--cookie", cookie.to_str().unwrap()];
        self.report(who, &[arguments, &node].concat())
    }

    /// Runs a command that must fail with this exit code, with the node, and gives the error.
    fn failure(&self, exit_code: i32, who: &str, arguments: &[&str]) -> String {
        self.whole_failure(exit_code, who, arguments)["error"].as_str().unwrap().to_owned()
    }

    /// As [`Scene::failure`], with the advice beside the error.
    fn whole_failure(&self, exit_code: i32, who: &str, arguments: &[&str]) -> Value {
        let (url, cookie) = (self.bitcoind.url(), self.bitcoind.cookie_file());
        let node = ["--node", &url, "--cookie", cookie.to_str().unwrap()];
        let output = self.run(who, &[arguments, &node].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {stderr}");
        serde_json::from_str(stderr.trim().lines().last().unwrap()).unwrap()
    }

    fn mine(&self, blocks: u32) {
        self.bitcoind.mine(blocks, &self.bitcoind.new_script());
    }

    fn owner(&self) -> String {
        self.report("op", &["wallet", "keys"])["owners"][0]["owner"].as_str().unwrap().to_owned()
    }

    fn deposit(&self, amount: &str) -> OutPoint {
        let report =
            self.on_chain("op", &["bridge", "deposit", "--owner", &self.owner(), "--amount", amount, "--send"]);
        self.mine(1);
        serde_json::from_value(report["output"].clone()).unwrap()
    }

    /// As [`Scene::deposit`], paid with a coin of the poster's.
    fn deposit_from(&self, amount: &str, coin: OutPoint) {
        let (owner, coin) = (self.owner(), coin.to_string());
        let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", amount, "--coin", &coin, "--send"];
        self.on_chain("op", &deposit);
        self.mine(1);
    }

    /// Proves and anchors the next batch, and makes it final.
    fn anchor(&self, batch: u64) {
        let (batch_file, proofs) = (format!("op/batches/{batch}.batch"), format!("op/proofs/{batch}.proofs"));
        self.report("op", &["prove", &batch_file]);
        let coins = self.bitcoind.node().coins(&[self.poster()]).unwrap().coins;
        let coin = coins.iter().max_by_key(|coin| coin.output.value).unwrap();
        let coin = format!("{}:{}", coin.outpoint, coin.output.value.to_sat());
        self.on_chain("op", &["anchor", "build", &proofs, "--coin", &coin, "--send"]);
        self.mine(FINAL_DEPTH_BLOCKS);
    }

    fn status(&self, who: &str) -> Value {
        self.on_chain(who, &["bridge", "status"])
    }
}

fn read(path: &Path) -> Psbt {
    Psbt::deserialize(&fs::read(path).unwrap()).unwrap()
}

/// The amount that a transaction of the chain pays to a script.
fn paid(scene: &Scene, txid: &Value, script: &ScriptBuf) -> u64 {
    let (_, tip) = scene.bitcoind.tip();
    let block = scene.bitcoind.block(&tip);
    let mined = block.txdata.iter().find(|transaction| transaction.compute_txid().to_string() == *txid);
    let outputs = mined.expect("the transaction is in the tip").output.iter();
    outputs.filter(|output| output.script_pubkey == *script).map(|output| output.value.to_sat()).sum()
}

#[test]
fn two_of_three_signers_pay_a_withdrawal_once() {
    let scene = Scene::new();
    let first = scene.deposit("50000");
    write_block_transaction(&scene, &first.txid, "first.tx");
    scene.deposit_from("70000", OutPoint { vout: 2, ..first });
    scene.on_chain("op", &["batch", "--reference-depth", "1"]);
    scene.anchor(0);
    let state = scene.status("carol");
    assert_eq!((&state["held_sat"], &state["unpaid"]), (&120_000.into(), &0.into()));

    let to = withdrawers();
    withdraw_to(&scene, &to);
    scene.on_chain("op", &["batch", "--reference-depth", "1", "txs.json"]);
    scene.anchor(1);
    assert_eq!(scene.status("bob")["unpaid_sat"], 31_086);

    let planned = scene.on_chain("op", &["bridge", "payout", "--out", "link.psbt"]);
    assert_eq!(
        (&planned["payouts"], &planned["paid_sat"], &planned["deposits"]),
        (&3.into(), &31_086.into(), &2.into())
    );
    assert_eq!(planned["unsigned"], 0);
    lies_are_refused(&scene);
    coins_of_other_wallets_are_signed_first(&scene);
    other_payments_leave_its_coin_alone(&scene);
    every_form_is_read(&scene);
    scene.on_chain("alice", &["bridge", "sign", "link.psbt", "--out", "alice.psbt"]);
    let alone = scene.run("op", &["bridge", "combine", "alice.psbt", "--out", "alone.tx"]);
    assert_eq!(alone.status.code(), Some(4), "one signature does not do");
    scene.on_chain("carol", &["bridge", "sign", "link.psbt", "--out", "carol.psbt"]);
    let stranger = scene.failure(3, "op", &["bridge", "sign", "link.psbt", "--out", "op.psbt"]);
    assert!(stranger.contains("none of the bridge's"), "{stranger}");
    let link = scene.report("op", &["bridge", "combine", "alice.psbt", "carol.psbt", "--out", "link.tx"]);
    scene.on_chain("op", &["bridge", "send", "link.tx"]);
    scene.mine(1);
    // To a witness script, a key hash and a script hash: real nodes pass on the least that is paid out to each.
    assert_eq!(to.each_ref().map(|(to, _)| paid(&scene, &link["txid"], to)), [30_000, 546, 540]);
    let state = scene.status("bob");
    assert_eq!((&state["unpaid"], &state["next_index"], &state["held_sat"]), (&0.into(), &3.into(), &88_914.into()));
    assert_eq!(state["faults"], json!([]));
    let overview = scene.on_chain("bob", &["status"]);
    let bridge = json!({ "payouts_settled": 3, "unpaid_sat": 0, "held_sat": 88_914, "faults": [] });
    assert_eq!((&overview["payouts_due"], &overview["bridge"]), (&3.into(), &bridge));
    // The same again is refused by everyone; that nothing is due any more is no failure.
    let again = scene.failure(4, "bob", &["bridge", "sign", "link.psbt", "--out", "bob.psbt"]);
    assert!(again.contains("goes on from"), "{again}");
    let nothing = scene.on_chain("op", &["bridge", "payout", "--out", "none.psbt"]);
    assert_eq!((&nothing["psbt"], &nothing["payouts"]), (&Value::Null, &0.into()));
    assert!(!scene.folder.path().join("none.psbt").exists());

    // A reorganisation takes the payment back: it is unpaid again, and the same transaction takes its place again.
    scene.bitcoind.reorganise(1, 2);
    let state = scene.status("bob");
    assert_eq!((&state["unpaid"], &state["next_index"]), (&3.into(), &0.into()));
    scene.on_chain("op", &["bridge", "send", "link.tx"]);
    scene.mine(1);
    assert_eq!(paid(&scene, &link["txid"], &to[0].0), 30_000);
    assert_eq!(scene.status("alice")["unpaid"], 0);

    // A transaction whose every output is spent is in no node's index, and told from its file as by its id.
    let told = scene.on_chain("alice", &["bridge", "why", "first.tx"]);
    assert_eq!(told, scene.on_chain("alice", &["bridge", "why", &first.txid.to_string()]));
    assert!(told["outputs"][0]["fate"].as_str().unwrap().contains("moved by the bridge"), "{told}");
}

/// Writes a transaction of the last block to a file.
fn write_block_transaction(scene: &Scene, txid: &Txid, name: &str) {
    let transactions = scene.bitcoind.block(&scene.bitcoind.tip().1).txdata;
    let transaction = transactions.iter().find(|transaction| transaction.compute_txid() == *txid).unwrap();
    fs::write(scene.path(name), encode::serialize_hex(transaction)).unwrap();
}

/// Scripts of withdrawers, a witness script, a key hash and a script hash, each with what it is to be paid.
fn withdrawers() -> [(ScriptBuf, u64); 3] {
    [
        (ScriptBuf::new_p2wsh(&WScriptHash::hash(b"withdrawer")), 30_000),
        (ScriptBuf::new_p2pkh(&PubkeyHash::hash(b"withdrawer")), 546),
        (ScriptBuf::new_p2sh(&ScriptHash::hash(b"withdrawer")), 540),
    ]
}

/// Signs the withdrawals from account 0, and none that is smaller than what can be paid.
fn withdraw_to(scene: &Scene, to: &[(ScriptBuf, u64)]) {
    for (nonce, (script, amount)) in to.iter().enumerate() {
        let sign = |network, amount: u64| {
            let address = Address::from_script(script, network).unwrap().to_string();
            let (nonce, amount) = (nonce.to_string(), amount.to_string());
            let from = ["tx", "withdraw", "--from", "0", "--nonce", &nonce, "--add-to", "txs.json"];
            scene.run("op", &[from.as_slice(), &["--address", &address, "--amount", &amount]].concat())
        };
        let dust = sign(bitcoin::Network::Regtest, (*amount).min(330) - 1);
        let told = String::from_utf8(dust.stderr).unwrap();
        assert!(dust.status.code() == Some(3) && told.contains("less would be lost"), "dust is not signed for: {told}");
        if *amount < 30_000 {
            assert_eq!(sign(bitcoin::Network::Regtest, amount - 1).status.code(), Some(3));
        }
        let elsewhere = sign(bitcoin::Network::Bitcoin, *amount);
        let told = String::from_utf8(elsewhere.stderr).unwrap();
        assert!(elsewhere.status.code() == Some(3) && told.contains("one of regtest is wanted"), "{told}");
        let signed = sign(bitcoin::Network::Regtest, *amount);
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    }
}

/// A coin of another wallet may pay the fee, but not before that wallet has agreed to it.
fn coins_of_other_wallets_are_signed_first(scene: &Scene) {
    let coin = scene.foreign_coin.to_string();
    let planned = scene.on_chain("op", &["bridge", "payout", "--coin", &coin, "--out", "foreign.psbt"]);
    assert_eq!((&planned["unsigned"], &planned["payouts"], &planned["settled"]), (&1.into(), &3.into(), &3.into()));
    let refused = scene.failure(4, "bob", &["bridge", "check", "foreign.psbt"]);
    assert!(refused.contains("input 2 pays the fee, and its owner has not signed it"), "{refused}");
}

/// The coin that pays the fee of `link.psbt` is spent by no deposit while the signers sign.
fn other_payments_leave_its_coin_alone(scene: &Scene) {
    let coin = read(&scene.path("link.psbt")).unsigned_tx.input.last().unwrap().previous_output;
    let owner = scene.owner();
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--fee-rate", "9", "--send"];
    let named = coin.to_string();
    let refused = scene.whole_failure(1, "op", &[deposit.as_slice(), &["--coin", &named]].concat());
    let advice = refused["advice"].as_str().unwrap();
    assert!(advice.contains(&named) && advice.contains("waits for the payouts from"), "{refused}");
    scene.on_chain("op", &deposit);
    let kept = scene.report("op", &["wallet", "coins"]);
    let is_kept = |kept: &Value| kept["coin"] == named && kept["purpose"].as_str().unwrap().starts_with("the payouts");
    assert!(kept["kept"].as_array().unwrap().iter().any(is_kept), "{kept}");
}

#[test]
fn a_node_in_its_initial_download_is_paid_nothing_into_and_no_batch_is_made_from_it() {
    let mut scene = Scene::new();
    let owner = scene.owner();
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--send"];
    let payout = ["bridge", "payout", "--out", "link.psbt"];
    // With a node that is not behind, nothing is due, which is no failure.
    let nothing = scene.on_chain("op", &payout);
    assert_eq!((&nothing["psbt"], &nothing["payouts"]), (&Value::Null, &0.into()));
    assert!(!scene.folder.path().join("link.psbt").exists());
    let stranger =
        format!("{}=deadbeef/86h/1h/1h/0/0", "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0");
    let error = scene.failure(3, "op", &[&payout[..], &["--origin", &stranger]].concat());
    assert!(error.contains("the key of no signer"), "{error}");
    scene.bitcoind.stop();
    // The blocks of tests may be of a minute from now.
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3_600;
    scene.bitcoind.restart_with(&["-maxtipage=1", &format!("-mocktime={later}")]);
    for command in [&deposit[..], &deposit[..6], &payout, &["bridge", "status"], &["batch"]] {
        let error = scene.failure(1, "op", command);
        assert!(error.contains("initial download"), "{command:?}: {error}");
    }
    assert!(scene.bitcoind.pool().is_empty());
    assert_eq!(scene.report("op", &["wallet", "coins"])["kept"], json!([]), "nothing was kept for what was not sent");
    scene.bitcoind.stop();
    scene.bitcoind.restart_with(&[]);
    scene.on_chain("op", &deposit);
}

#[test]
fn coins_at_both_addresses_of_the_poster_pay_for_deposits() {
    let scene = Scene::new();
    let owner = scene.owner();
    scene.report("dave", &["wallet", "new"]);
    for file in ["params.json", "program.bin"] {
        fs::copy(scene.path("op").join(file), scene.path("dave").join(file)).unwrap();
    }
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--send"];
    let address = scene.report("dave", &["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let error = scene.failure(1, "dave", &deposit);
    assert!(error.ends_with(&format!("sat are needed, and no coin was found at {address}")), "{error}");
    let phrase = Phrase::read_file(&scene.path("dave/wallet.words")).unwrap();
    let poster = Wallet::new(&phrase, "", bitcoin::Network::Regtest).poster_key(0).unwrap();
    let [(coin, _)] = scene.bitcoind.fund(1, &poster.witness_v0_script_pubkey())[..] else { panic!("one coin") };
    let report = scene.on_chain("dave", &deposit);
    let output: OutPoint = serde_json::from_value(report["output"].clone()).unwrap();
    assert!(scene.bitcoind.pool().contains(&output.txid));
    assert_eq!(scene.bitcoind.node().pool_spender(&coin).unwrap(), Some(output.txid));
}

#[test]
fn every_deposit_of_one_poster_is_mined_whatever_it_pays_and_however_many_are_made_at_once() {
    let scene = Scene::new();
    let owner = scene.owner();
    let deposit =
        |rate: &'static str| ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--fee-rate", rate];
    let output = |report: &Value| serde_json::from_value::<OutPoint>(report["output"].clone()).unwrap().txid;
    let mut sent: Vec<Txid> = Vec::new();
    // In a row, each dearer than the one before; none takes the place of another.
    for rate in ["2", "5", "25"] {
        sent.push(output(&scene.on_chain("op", &[deposit(rate).as_slice(), &["--send"]].concat())));
    }
    // At once.
    let (url, cookie) = (scene.bitcoind.url(), scene.bitcoind.cookie_file());
    let node = ["--send", "--node", &url, "--cookie", cookie.to_str().unwrap()];
    let start = |rate| {
        let mut command = scene.command("op", &[deposit(rate).as_slice(), &node].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = ["30", "40", "50"].map(start);
    for child in children {
        let output_of = child.wait_with_output().unwrap();
        assert!(output_of.status.success(), "{}", String::from_utf8_lossy(&output_of.stderr));
        sent.push(output(&serde_json::from_slice(&output_of.stdout).unwrap()));
    }
    scene.mine(1);
    let (_, tip) = scene.bitcoind.tip();
    let mined: Vec<Txid> = scene.bitcoind.block(&tip).txdata.iter().map(Transaction::compute_txid).collect();
    assert!(sent.iter().all(|txid| mined.contains(txid)), "{sent:?} of {mined:?}");

    // What is shown and not sent keeps nothing; a rate above the cap is refused and not cut.
    let kept = scene.report("op", &["wallet", "coins"])["kept"].as_array().unwrap().len();
    scene.on_chain("op", &deposit("2"));
    assert_eq!(scene.report("op", &["wallet", "coins"])["kept"].as_array().unwrap().len(), kept);
    let error = scene.failure(3, "op", &deposit("101"));
    assert!(error.contains("above the cap of 100 sat/vB"), "{error}");
    scene.on_chain("op", &[deposit("101").as_slice(), &["--fee-cap", "150"]].concat());
}

#[test]
fn the_rate_of_a_deposit_is_the_nodes_estimate_within_floor_and_cap() {
    let scene = Scene::new();
    let owner = scene.owner();
    // A node of regtest has seen too little for an estimate: the floor is paid.
    for (options, sat_per_kvb) in [(vec![], 1_000), (vec!["--fee-floor", "7.5"], 7_500)] {
        let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--send"];
        let report = scene.on_chain("op", &[deposit.as_slice(), &options].concat());
        let txid = serde_json::from_value::<OutPoint>(report["output"].clone()).unwrap().txid;
        let entry = scene.bitcoind.node().pool_entry(&txid).unwrap().unwrap();
        let wanted = (entry.vsize_vb * sat_per_kvb).div_ceil(1_000);
        assert!((wanted..wanted + 9).contains(&entry.fee_sat), "{} sat of {wanted}", entry.fee_sat);
    }
    let error = scene.failure(3, "op", &["bridge", "payout", "--fee-rate", "200", "--out", "none.psbt"]);
    assert!(error.contains("above the cap of 100 sat/vB"), "{error}");
    let floor = ["bridge", "payout", "--fee-floor", "200", "--out", "none.psbt"];
    assert!(scene.failure(3, "op", &floor).contains("above the cap"));
}

/// The PSBT in `link.psbt`, as other signers' tools would write it.
fn every_form_is_read(scene: &Scene) {
    let psbt = read(&scene.path("link.psbt"));
    let keys = scene.report("alice", &["bridge", "keys"]);
    for input in &psbt.inputs[..2] {
        let [(key, (leaves, (_, path)))] = &Vec::from_iter(&input.tap_key_origins)[..] else { panic!("{input:?}") };
        assert_eq!((key.to_string(), leaves.len()), (keys["signer_key"].as_str().unwrap().to_owned(), 1));
        assert_eq!(path.to_string(), "86'/1'/1'/0/0");
    }
    let version_2 = psbt_file::to_version_2(&psbt);
    let forms = [psbt.to_string().into_bytes(), hex::encode(psbt.serialize()).into_bytes(), version_2.clone()];
    for form in forms.into_iter().chain([hex::encode(version_2).into_bytes()]) {
        fs::write(scene.path("form.psbt"), form).unwrap();
        let checked = scene.on_chain("carol", &["bridge", "check", "form.psbt"]);
        assert_eq!((&checked["payouts"], &checked["signatures"]), (&3.into(), &0.into()));
    }
    // A wallet with two of the keys finishes the inputs by itself, and drops what led to them.
    fs::write(scene.path("form.psbt"), psbt_file::to_version_2(&psbt)).unwrap();
    scene.on_chain("alice", &["bridge", "sign", "form.psbt", "--out", "one.psbt"]);
    scene.on_chain("bob", &["bridge", "sign", "one.psbt", "--out", "two.psbt"]);
    let mut finished = read(&scene.path("two.psbt"));
    for input in 0..2 {
        finished.finalize_inp_mut(&bitcoin::key::Secp256k1::verification_only(), input).unwrap();
    }
    fs::write(scene.path("finished.psbt"), finished.to_string()).unwrap();
    let checked = scene.on_chain("carol", &["bridge", "check", "finished.psbt"]);
    assert_eq!(checked["signatures"], 2);
    scene.report("op", &["bridge", "combine", "finished.psbt", "--out", "finished.tx"]);
}

/// What a coordinator may try with the PSBT in `link.psbt`, and why a signer refuses.
fn lies_are_refused(scene: &Scene) {
    let honest = read(&scene.path("link.psbt"));
    let thief = scene.poster();
    let lie = |alter: &dyn Fn(&mut Psbt), reason: &str| {
        let mut psbt = honest.clone();
        alter(&mut psbt);
        fs::write(scene.path("lie.psbt"), psbt.serialize()).unwrap();
        let error = scene.failure(4, "alice", &["bridge", "sign", "lie.psbt", "--out", "signed-lie.psbt"]);
        assert!(error.contains(reason), "{error}, expected {reason}");
        assert!(!scene.path("signed-lie.psbt").exists());
    };
    lie(&|psbt| psbt.unsigned_tx.output[2].script_pubkey = thief.clone(), "output of payout 0 is not what is due");
    lie(&|psbt| psbt.unsigned_tx.output[2].value += Amount::ONE_SAT, "output of payout 0 is not what is due");
    lie(&|psbt| psbt.unsigned_tx.output[1].script_pubkey = thief.clone(), "output 1 does not go to the bridge");
    let short = |psbt: &mut Psbt| {
        psbt.unsigned_tx.output[1].value -= Amount::from_sat(10_000);
        psbt.unsigned_tx.output[5].value += Amount::from_sat(10_000);
    };
    lie(&short, "the bridge spends 120000 sat");
    let elsewhere = |psbt: &mut Psbt| {
        psbt.unsigned_tx.input.push(TxIn {
            previous_output: OutPoint { txid: honest.unsigned_tx.compute_txid(), vout: 9 },
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            ..TxIn::default()
        });
        psbt.inputs.push(Default::default());
    };
    lie(&elsewhere, "not confirmed and unspent");
    let fee = honest.inputs.len() - 1;
    lie(&|psbt| psbt.inputs[fee].final_script_witness = None, "its owner has not signed it");
    let internal = Some(scene.params().bridge().internal_key());
    lie(&|psbt| psbt.inputs[fee].tap_internal_key = internal, "an output that the federation can spend");
    let origins = honest.inputs[0].tap_key_origins.clone();
    lie(&|psbt| psbt.inputs[fee].tap_key_origins = origins.clone(), "names a key of the federation for it");
    // A bound on fees is the signer's own, and he is told which.
    for (option, rate) in [("--fee-rate-min", "400"), ("--fee-rate-max", "1")] {
        let dear = scene.whole_failure(4, "alice", &["bridge", "check", "link.psbt", option, rate]);
        assert!(dear["advice"].as_str().unwrap().contains(option), "{dear}");
    }
}

#[test]
fn a_deposit_that_nobody_credits_comes_back_after_its_delay() {
    let scene = Scene::new();
    let dust = scene.failure(3, "op", &["bridge", "deposit", "--owner", &scene.owner(), "--amount", "9999"]);
    assert!(dust.contains("10000 sat at least"), "{dust}");
    let no_key = scene.run("op", &["bridge", "deposit", "--owner", &"00".repeat(32), "--amount", "5000"]);
    assert_eq!(no_key.status.code(), Some(2), "no owner's key");
    let no_point = ["--refund", &"ff".repeat(32)];
    let no_key = ["bridge", "deposit", "--owner", &scene.owner(), "--amount", "5000"];
    assert_eq!(scene.run("op", &[no_key.as_slice(), &no_point].concat()).status.code(), Some(2), "no refund key");

    // The address is the one that Bitcoin Core derives from the descriptor.
    let refund_key = scene.report("op", &["bridge", "keys"])["refund_key"].as_str().unwrap().to_owned();
    for arguments in [vec!["bridge", "address"], vec!["bridge", "address", "--refund", &refund_key]] {
        let shown = scene.report("op", &arguments);
        let derived = scene.bitcoind.call("deriveaddresses", json!([shown["descriptor"]]));
        assert_eq!(derived, json!([shown["address"]]));
    }

    let output = scene.deposit("50000");
    let (address, named) = ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", output.to_string());
    let refund = ["bridge", "refund", "--output", &named, "--to", address];
    let error = scene.failure(4, "op", &refund);
    assert!(error.contains("can still be credited"), "{error}");
    scene.mine(REFUND_DELAY_BLOCKS - 2);
    let error = scene.failure(4, "op", &refund);
    assert!(error.contains("in 1 blocks"), "{error}");
    // Forced past our own check, it is refused by the node.
    let early = forced(&scene, output);
    let verdicts = scene.bitcoind.node().test_accept(std::slice::from_ref(&early)).unwrap();
    assert!(
        matches!(&verdicts[..], [Acceptance::Rejected(rejection)] if rejection.reason.contains("BIP68")),
        "{verdicts:?}"
    );
    scene.mine(1);
    let taken = scene.on_chain("op", &[refund.as_slice(), &["--send"]].concat());
    scene.mine(1);
    let (_, tip) = scene.bitcoind.tip();
    assert!(scene.bitcoind.block(&tip).txdata.iter().any(|mined| mined.compute_txid().to_string() == taken["txid"]));
    assert_eq!(scene.status("alice")["faults"], json!([]));
}

/// A refund signed as if the delay were over.
fn forced(scene: &Scene, output: OutPoint) -> Transaction {
    let params = scene.params();
    let phrase = Phrase::read_file(&scene.path("op").join("wallet.words")).unwrap();
    let key = Wallet::new(&phrase, "", params.network).refund_key(0).unwrap();
    let unspent = scene.bitcoind.node().unspent(&output).unwrap().unwrap();
    let unspent = Unspent { confirmations: REFUND_DELAY_BLOCKS, ..unspent };
    let transaction = deposit::refund(&params, output, &unspent, &key, scene.poster(), "2".parse().unwrap()).unwrap();
    encode::deserialize(&encode::serialize(&transaction)).unwrap()
}
