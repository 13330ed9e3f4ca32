//! Founding a rollup and running it from the command line: what an operator must not be able to get wrong without
//! being told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use bitcoin::ScriptBuf;
use scene::{Scene, alter};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    num::NonZeroU16,
    process::{Command, Output, Stdio},
};
use taproof_base::artefact;
use taproof_bitcoin::node::EmbeddedNode;
use taproof_circuits::{
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::Deposit,
};
use taproof_rollup::batch::{BatchFile, BatchHeader};

/// The chain id of no rollup here.
const OTHER_ROLLUP: &str = "090909090909090909090909090909";
const SETUP: [&str; 10] =
    ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Replaces the last `depth` blocks of the embedded chain by empty ones, and one more.
fn reorganise(scene: &Scene, depth: u32) {
    let mut node = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).unwrap();
    let height = node.chain().height();
    let branch = vec![Vec::new(); depth as usize + 1];
    node.chain_mut().reorganise(height - depth, &branch, &ScriptBuf::new()).unwrap();
    node.save().unwrap();
}

#[test]
fn a_rollup_starts_at_a_final_block() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "10"]);
    let start = |height: &str| scene.failure(3, &[&SETUP[..], &["--start", height]].concat());
    assert!(start("6").contains("5 of the 6 confirmations"));
    assert!(start("10").contains("1 of the 6 confirmations"));
    assert!(start("11").contains("no block at height 11"));
    let setup = scene.report(&SETUP);
    assert_eq!(setup["start"]["height"], 5);
    // All that may leave the chain leaves it, before and after the rollup was followed.
    for _ in 0..2 {
        reorganise(&scene, 5);
        assert_eq!(scene.report(&["follow"])["batches"], 0);
    }
    // A reorganisation of what was final ends the rollup, and that is said.
    reorganise(&scene, 9);
    for kept in [true, false] {
        let text = stderr(&scene.run(&["follow"]));
        assert!(text.contains("reorganised below the rollup's start"), "{kept}: {text}");
        assert!(text.contains("taproof bridge refund"), "{kept}: {text}");
        let _ = fs::remove_file(scene.path("rollup/chain.redb"));
    }
}

#[test]
fn what_no_payload_holds_is_refused_before_it_is_proven() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let slots = ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--withdraw-slots", "2000"];
    assert!(scene.failure(3, &slots).contains("more than the 131072 of a payload"));
    scene.report(&SETUP);
    // So many chunks are too long without any record. No ledger makes such a batch.
    let params = scene.params();
    let mut state = State::new(params.chain_id(), params.genesis_depth);
    let slots = Slots::uniform(NonZeroU16::MIN);
    let plan = Plan {
        height_blocks: params.start.height,
        slots,
        operators: Default::default(),
        chunks_max: 3_000,
        admission: Default::default(),
    };
    let owner = *SecretKey::from_seed(&[1; 32]).public();
    let batch = state.apply(&plan, &vec![Deposit { amount_sat: 1, owner }; 2_300], &[]).unwrap();
    let header = BatchHeader::of((&params, params.program_id), 0, &batch, 2_300, params.start);
    let file = BatchFile::new(header, batch.chunks).unwrap();
    artefact::write(&scene.path("long.batch"), &file).unwrap();
    let error = scene.failure(3, &["prove", "long.batch"]);
    assert!(error.contains("no payload holds the batch") && error.contains("of the longest payload"), "{error}");
}

#[test]
fn a_rollup_can_be_founded_on_a_chain_of_one_block() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let setup = scene.report(&SETUP);
    assert_eq!(setup["start"]["height"], 0);
    scene.report(&["regtest", "mine", "7"]);
    assert_eq!(scene.report(&["follow"])["height"], 7);
}

#[test]
fn every_choice_of_a_founder_makes_another_rollup() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let setup = |options: &[&str]| {
        let output = scene.run(&[&SETUP[..], options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let params = scene.params();
        for file in ["params.json", "program.bin", "ledger.redb"] {
            fs::remove_file(scene.path("rollup").join(file)).unwrap();
        }
        params
    };
    let derived = setup(&[]);
    // The keys are the same, and the rollup is another.
    let other = setup(&["--deposit-min", "20000"]);
    assert_eq!(other.program_id, derived.program_id);
    assert_ne!(other.chain_id(), derived.chain_id());
    assert_ne!(other.bridge().script_pubkey(), derived.bridge().script_pubkey());
}

#[test]
fn parameters_of_protocol_2_are_named_as_that() {
    let scene = Scene::new();
    fs::create_dir(scene.path("rollup")).unwrap();
    let before = r#"{"network":"regtest","chain_id":7,"magic":[1,2,3,4],"deposit_magic":[5,6,7,8],"genesis_depth":2}"#;
    fs::write(scene.path("rollup/params.json"), before).unwrap();
    for command in
        [&["inspect", "rollup/params.json"][..], &["status"], &["tx", "transfer", "--to", "1", "--amount", "5"]]
    {
        let error = scene.failure(3, command);
        assert!(error.contains("parameters of protocol 2, where 3 is known"), "{command:?}: {error}");
    }
}

#[test]
fn the_network_is_the_rollups() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let keys = scene.report(&["wallet", "keys", "--network", "bitcoin"]);
    assert_ne!(keys["poster_key"], scene.report(&["wallet", "keys"])["poster_key"]);
    let transfer =
        ["tx", "transfer", "--from", "0", "--to", "1", "--nonce", "0", "--amount", "5", "--chain-id", OTHER_ROLLUP];
    assert!(scene.failure(3, &transfer).contains("keys differ by network"));
    scene.report(&SETUP);
    // The same rollup, but for its network.
    let path = scene.path("rollup/params.json");
    let params = scene.params().with(|founding| founding.network = bitcoin::Network::Bitcoin).unwrap();
    fs::write(&path, serde_json::to_string(&params).unwrap()).unwrap();
    assert_eq!(scene.report(&["wallet", "keys"]), keys);
    for network in ["regtest", "signet"] {
        for command in [&["wallet", "keys"][..], &["bridge", "keys"], &transfer[..10]] {
            let error = scene.failure(3, &[command, &["--network", network]].concat());
            assert_eq!(error, format!("the rollup lives on mainnet, not on {network}"), "{command:?}");
        }
    }
    assert!(scene.failure(3, &["regtest", "mine", "1"]).contains("the embedded chain is regtest"));
}

#[test]
fn transactions_that_cannot_pass_are_refused_and_what_is_printed_is_taken() {
    let scene = Scene::funded();
    // Before a batch nothing is known of the account, but that may change.
    let output = scene.run(&["tx", "transfer", "--from", "0", "--to", "1", "--amount", "5", "--nonce", "0"]);
    assert!(output.status.success() && stderr(&output).contains("warning: a batch would reject this, unless"));
    assert!(scene.failure(4, &["tx", "transfer", "--to", "1", "--amount", "5"]).contains("owns no cell"));
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["deposits"], 2);

    let refused = |expected: &str, arguments: &[&str]| {
        let error = scene.failure(4, &[&["tx"], arguments].concat());
        assert!(error.contains(expected), "{arguments:?}: {error}");
        let forced = scene.run(&[&["tx"], arguments, &["--from", "0", "--force"]].concat());
        assert!(forced.status.success(), "{}", stderr(&forced));
        assert!(stderr(&forced).contains("warning: a batch would reject this: "), "{}", stderr(&forced));
    };
    let transfer = |more: &[&'static str]| [&["transfer", "--to", "1"], more].concat();
    refused("does not cover", &transfer(&["--amount", "18446744073709551615"]));
    refused("does not cover", &transfer(&["--amount", "49999", "--fee", "2"]));
    refused("outside a tree", &["transfer", "--amount", "1", "--to", "99999999"]);
    refused("moves nothing", &transfer(&["--amount", "0"]));
    refused("pay itself", &["transfer", "--to", "0", "--amount", "0"]);
    refused("not empty", &["open", "--to", "1", "--owner", &scene.owner("5"), "--amount", "1000"]);
    let error = scene.failure(4, &["tx", "transfer", "--from", "0", "--index", "1", "--to", "1", "--amount", "5"]);
    assert!(error.starts_with("cell 0 is owned by "), "{error}");
    let address = scene.report(&["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let exit = ["tx", "exit", "--amount", "50001", "--address", &address];
    assert!(scene.failure(4, &exit).contains("does not cover"));
    assert!(
        scene
            .failure(3, &["tx", "transfer", "--to", "1", "--amount", "5", "--chain-id", OTHER_ROLLUP])
            .contains(&format!("not rollup {OTHER_ROLLUP}"))
    );

    // The cell is the key's, the nonce the next; what waits is counted.
    let mut printed = Vec::new();
    for (nonce, arguments) in [(0, ["--index", "0", "--to", "1"]), (0, ["--index", "1", "--to", "0"])] {
        let tx = scene.report(&[&["tx", "transfer", "--amount", "6500"], &arguments[..]].concat());
        let body = &tx["transfer"]["body"];
        assert_eq!(
            (&body["from"], &body["nonce"]),
            (&(1 - arguments[3].parse::<u32>().unwrap()).into(), &nonce.into())
        );
        printed.push(tx.to_string());
    }
    fs::write(scene.path("one.json"), &printed[0]).unwrap();
    fs::write(scene.path("both.json"), printed.join("\n")).unwrap();
    let batch = scene.report(&["batch", "--reference-depth", "1", "both.json"]);
    assert_eq!((&batch["applied"], &batch["rejected"]), (&2.into(), &serde_json::json!([])));
    let again = scene.run(&["--json", "batch", "--reference-depth", "1", "one.json"]);
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(report["rejected"][0]["reason"].as_str().unwrap().contains("is used"), "{report}");
}

#[test]
fn fees_go_to_the_operators_own_cell_or_to_the_one_that_is_named() {
    let scene = Scene::funded();
    // Somebody else runs the rollup: the two cells are not his, and he has a wallet or none.
    let words = scene.path("rollup/wallet.words");
    fs::rename(&words, scene.path("user.words")).unwrap();
    let user = ["--wallet", "user.words"];
    let tx = ["tx", "transfer", "--from", "0", "--to", "1", "--nonce", "0", "--amount", "1", "--fee", "3"];
    scene.report(&[&tx[..], &user, &["--add-to", "fee.json"]].concat());
    let batch = ["batch", "--reference-depth", "1", "fee.json"];
    assert!(scene.failure(3, &batch).contains("wallet.words"));
    scene.report(&["wallet", "new"]);
    assert!(scene.failure(3, &batch).contains("own no cell that could collect them"));
    assert!(scene.failure(3, &[&batch[..], &["--operator", "9"]].concat()).contains("cell 9 holds no bitcoin account"));
    assert!(scene.failure(3, &[&batch[..], &["--operator", "64"]].concat()).contains("cell 64"));
    // Nothing was applied, and nothing waits twice. A deposit of his is credited in the same batch, ahead of the fees.
    let owner = scene.owner("7");
    scene.report(&[&["regtest", "deposit", "--owner", &owner, "--amount", "900"], &user[..]].concat());
    let report = scene.report(&batch);
    assert_eq!((&report["batch"], &report["applied"], &report["operator"]), (&0.into(), &1.into(), &2.into()));
    let cells = scene.report(&["inspect", "rollup/batches/0.batch"]);
    assert_eq!(cells["format"], "batch");

    // Without fees nobody is needed; a cell that is named is used.
    fs::remove_file(&words).unwrap();
    let paid = ["tx", "transfer", "--from", "0", "--to", "1", "--amount", "1"];
    let made = scene.run(&[&paid[..], &user, &["--fee", "0", "--add-to", "free.json"]].concat());
    let warned = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success() && warned.contains("takes no fee below 1 sat"), "{warned}");
    let free = ["batch", "--reference-depth", "1", "free.json"];
    let rejected = scene.run(&free);
    assert_eq!(rejected.status.code(), Some(4));
    let text = String::from_utf8(rejected.stdout).unwrap();
    assert!(text.contains("a fee of 0 sat, where the batch takes 1 or more"), "{text}");
    let report = scene.report(&[&free[..], &["--fee-min", "0"]].concat());
    assert_eq!((&report["applied"], &report["operator"]), (&1.into(), &Value::Null));
    // What says nothing of a fee pays what a batch takes.
    let made = scene.run(&[&paid[..], &user, &["--add-to", "least.json"]].concat());
    let told = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success() && told.contains("pays 1 sat to account 1") && !told.contains("warning"), "{told}");
    let report = scene.report(&["batch", "--reference-depth", "1", "least.json", "--operator", "1"]);
    assert_eq!((&report["applied"], &report["operator"]), (&1.into(), &1.into()));
    scene.report(&[&paid[..], &user, &["--fee", "2", "--add-to", "named.json"]].concat());
    let report = scene.report(&["batch", "--reference-depth", "1", "named.json", "--operator", "1"]);
    assert_eq!((&report["applied"], &report["operator"]), (&1.into(), &1.into()));
}

#[test]
fn a_batch_says_what_waits_and_fails_if_all_is_rejected() {
    let scene = Scene::funded();
    let waiting = scene.report(&["batch"]);
    assert_eq!(waiting["batch"], Value::Null);
    // The deposits stand at heights 106 and 107, which is the tip, and need 6 confirmations.
    let waits = |height: u32, blocks: u32, amount_sat: u32| {
        let what = "deposit";
        serde_json::json!({ "what": what, "amount_sat": amount_sat, "height": height, "blocks": blocks })
    };
    assert_eq!(waiting["waits"], serde_json::json!([waits(106, 4, 50_000), waits(107, 5, 7_000)]));
    let text = String::from_utf8(scene.run(&["batch"]).stdout).unwrap();
    assert!(text.contains("waits      deposit of 7000 sat at height 107, for 5 more blocks"), "{text}");
    assert!(text.ends_with("nothing to apply yet, so there is no batch\n"), "{text}");
    scene.report(&["regtest", "mine", "4"]);
    let report = scene.report(&["batch"]);
    assert_eq!((&report["deposits"], &report["waits"]), (&1.into(), &serde_json::json!([waits(107, 1, 7_000)])));

    let tx = ["tx", "transfer", "--from", "0", "--to", "1", "--amount", "60000", "--force", "--add-to", "bad.json"];
    scene.report(&tx);
    // With a batch of the deposit, and with none.
    scene.report(&["regtest", "mine", "1"]);
    for batch in [1.into(), Value::Null] {
        let rejected = scene.run(&["--json", "batch", "bad.json"]);
        assert_eq!(rejected.status.code(), Some(4), "{}", stderr(&rejected));
        let report: Value = serde_json::from_slice(&rejected.stdout).unwrap();
        assert_eq!((&report["batch"], report["rejected"].as_array().map(Vec::len)), (&batch, Some(1)));
        assert!(stderr(&rejected).contains("the only transaction was rejected"));
    }
}

#[test]
fn a_damaged_file_of_proofs_is_named_by_who_anchors_and_who_looks() {
    let scene = Scene::funded();
    scene.report(&["batch", "--reference-depth", "1"]);
    scene.report(&["prove", "rollup/batches/0.batch"]);
    let path = scene.path("rollup/proofs/0.proofs");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..50]).unwrap();
    let output = scene.run(&["anchor", "run", "--once"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("0.proofs: truncated: 50 bytes") && text.contains("taproof prove"), "{text}");
    let shown = scene.report(&["anchor", "status"])["jobs"][0].clone();
    assert_eq!((&shown["batch"], &shown["state"]), (&0.into(), &"waiting".into()));
    assert!(shown["waits_for"].as_str().unwrap().contains("truncated"), "{shown}");
    let row = scene.report(&["status"])["anchors"][0].clone();
    assert!(row["note"].as_str().unwrap().contains("truncated"), "{row}");
    // What is copied anew is anchored as if nothing had been.
    fs::write(&path, whole).unwrap();
    let done = scene.report(&["anchor", "run", "--once"]);
    assert_eq!((&done["batches"], &done["jobs"][0]["waits_for"]), (&1.into(), &Value::Null));
}

#[test]
fn a_reorganisation_below_a_final_block_is_told_until_it_is_acknowledged_and_its_batch_is_anchored_again() {
    let scene = Scene::funded();
    let made = scene.bring_in(0, &[]);
    scene.report(&["regtest", "mine", "6"]);
    scene.report(&["anchor", "run", "--once"]);
    assert_eq!(scene.report(&["follow"])["undone"], Value::Null);
    let text = |arguments: &[&str]| {
        let output = scene.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
    };
    assert!(text(&["anchor", "status"]).0.contains("final"));
    let anchored = scene.report(&["status"])["anchors"][0]["height"].as_u64().unwrap();
    let height = scene.report(&["status"])["height"].as_u64().unwrap();
    reorganise(&scene, u32::try_from(height - anchored).unwrap() + 1);

    let words = "a reorganisation below a final block";
    for _ in 0..2 {
        for command in [&["status"][..], &["follow"], &["batch"], &["anchor", "status"]] {
            let (_, warned) = text(command);
            assert!(warned.contains(words) && warned.contains("batch 0 was final"), "{command:?}: {warned}");
            assert!(warned.contains("--acknowledge"), "{command:?}: {warned}");
        }
    }
    assert_eq!(scene.report(&["follow"])["undone"]["first_batch"], 0);
    for command in [&["status"][..], &["anchor", "status"]] {
        let (shown, _) = text(command);
        assert!(shown.contains("not in chain") && !shown.contains("final "), "{command:?}: {shown}");
    }
    assert!(text(&["batch"]).1.contains("taproof rebuild --replace"));
    let (shown, _) = text(&["rebuild"]);
    assert!(shown.contains("1 of them were final before") && shown.contains("--replace"), "{shown}");

    // Its proofs hold, so the service brings it in again.
    scene.report(&["anchor", "run", "--once"]);
    let followed = scene.report(&["follow"]);
    assert_eq!((&followed["batches"], &followed["root_verified"]), (&1.into(), &made["root_after"]));
    assert!(text(&["follow"]).1.contains(words), "who was paid before is still to be looked at");
    text(&["follow", "--acknowledge"]);
    for command in [["follow"], ["status"]] {
        assert_eq!(text(&command).1, "");
    }
}

#[test]
fn what_the_chain_has_is_not_taken_back() {
    let scene = Scene::funded();
    let batch = |options: &[&str]| scene.report(&[&["batch", "--reference-depth", "1"], options].concat());
    assert_eq!(batch(&[])["batch"], 0);
    assert_eq!(batch(&["--take-back", "0"])["batch"], 0, "it is not anchored");
    scene.report(&["prove", "rollup/batches/0.batch"]);
    scene.report(&["anchor", "run", "--once"]);
    let take_back = ["batch", "--reference-depth", "1", "--take-back", "0"];
    assert!(scene.failure(3, &take_back).contains("batch 0 is in the chain"));
    scene.report(&["regtest", "mine", "6"]);
    assert!(scene.failure(3, &take_back).contains("batch 0 is final"));
    assert_eq!(batch(&[])["taken_over"], 0, "nothing was taken back");
}

/// A batch that nobody has proven is known to no service, and grows too old all the same.
#[test]
fn a_batch_that_is_too_old_for_any_anchor_is_told_by_who_makes_the_next() {
    let scene = Scene::funded();
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["batch"], 0);
    let warned = || String::from_utf8(scene.run(&["--json", "batch"]).stderr).unwrap();
    // The next block may hold an anchor that refers to one 144 blocks below it.
    scene.report(&["regtest", "mine", "143"]);
    assert_eq!(warned(), "");
    scene.report(&["regtest", "mine", "1"]);
    let told = warned();
    assert!(told.contains("older than the window allows") && told.contains("--take-back 0"), "{told}");
    assert_eq!(scene.report(&["batch", "--take-back", "0"])["batch"], 0);
    assert_eq!(warned(), "");
}

/// A node that is short is no reason to throw away what was made of a longer chain.
#[test]
fn a_source_that_is_behind_is_waited_for() {
    let scene = Scene::funded();
    let (chain, short) = (scene.path("rollup/regtest.chain"), scene.path("short.chain"));
    fs::copy(&chain, &short).unwrap();
    scene.bring_in(0, &[]);
    scene.report(&["regtest", "mine", "8"]);
    scene.report(&["batch"]);
    let whole = fs::read(&chain).unwrap();
    fs::copy(&short, &chain).unwrap();
    let (owner, keys) = (scene.owner("0"), scene.report(&["wallet", "keys"]));
    let to = keys["poster_address"].as_str().unwrap();
    let deposit = ["bridge", "deposit", "--owner", &owner, "--amount", "20000", "--send"];
    let exit = ["tx", "exit", "--from", "0", "--nonce", "0", "--amount", "1000", "--address", to, "--send"];
    for command in [&["batch"][..], &["account"], &["rebuild"], &["rebuild", "--replace"], &deposit, &exit] {
        let error = scene.failure(1, command);
        assert!(error.contains("which was final here before"), "{command:?}: {error}");
    }
    fs::write(&chain, whole).unwrap();
    assert_eq!(scene.report(&["rebuild"])["ledger"], "intact");
    assert_eq!(scene.report(&["batch"])["taken_over"], 0);
}

/// What is read of a slow node takes long, and nobody may change meanwhile what is going to be replaced.
#[test]
fn a_ledger_that_is_to_be_replaced_is_nobody_elses_meanwhile() {
    let scene = Scene::funded();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let rebuild = ["rebuild", "--replace", "--node", &url, "--node-user", "me", "--node-password", "secret"];
    let mut rebuild = scene.command(&rebuild).stderr(Stdio::null()).spawn().unwrap();
    let _asked = silent.accept().unwrap();
    let batch = scene.run(&["batch", "--reference-depth", "1"]);
    assert_eq!(batch.status.code(), Some(5), "{}", stderr(&batch));
    rebuild.kill().unwrap();
    rebuild.wait().unwrap();
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["deposits"], 2);
}

/// Whatever came of the command, who took a batch back is told that it is gone.
#[test]
fn a_batch_that_was_taken_back_in_vain_is_told_as_that() {
    let scene = Scene::funded();
    scene.report(&["regtest", "deposit", "--owner", &scene.owner("2"), "--amount", "600"]);
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["deposits"], 3);
    let none = scene.run(&["batch", "--chunks-max", "0"]);
    assert_eq!(none.status.code(), Some(2));
    // Three deposits are two chunks.
    let in_vain = scene.run(&["batch", "--reference-depth", "1", "--take-back", "0", "--chunks-max", "1"]);
    assert!(!in_vain.status.success() && in_vain.stdout.is_empty());
    assert!(stderr(&in_vain).contains("batches 0 to 0 were taken back all the same"), "{}", stderr(&in_vain));
    assert!(!scene.path("rollup/batches/0.batch").exists());
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["batch"], 0);
}

#[test]
fn what_can_never_work_is_not_founded() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "10"]);
    for amount in ["0", "329", "2100000000000001"] {
        assert_eq!(scene.run(&["setup", "--deposit-min", amount]).status.code(), Some(2), "{amount}");
    }
    for found in [&["setup", "--depth", "10"][..], &["demo", "--depth", "10", "--dir", "demo"]] {
        let error = scene.failure(3, &[found, &["--slots", "65535"]].concat());
        assert!(error.contains("constraints, where a proof has 268435456"), "{error}");
        let error = scene.failure(3, &[found, &["--slots", "1,2,3,4,5,6,7,8,9"]].concat());
        assert!(error.contains("9 sizes of transfer chunks, more than 8"), "{error}");
        let error = scene.failure(3, &[found, &["--withdraw-slots", "1,4000"]].concat());
        assert!(error.contains("more than the 131072 of a payload"), "{error}");
    }
    let error = scene.failure(3, &["setup", "--step-slots", "4,65535"]);
    assert!(error.contains("65535 slots of step have"), "{error}");
    assert_eq!(scene.run(&["setup", "--payments-only", "--step-slots", "4"]).status.code(), Some(2));
    assert!(!scene.path("rollup/params.json").exists() && !scene.path("demo").exists());
}

/// As after a run that ended between ledger and file, or on a full disk.
#[test]
fn the_file_of_a_batch_is_written_again_where_it_is_missing() {
    let scene = Scene::funded();
    let batch = |files: &[&str]| scene.report(&[&["batch", "--reference-depth", "1"], files].concat());
    assert_eq!(batch(&[])["written_again"], serde_json::json!([]));
    let file = scene.path("rollup/batches/0.batch");
    let made = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let missing = scene.run(&["prove", "rollup/batches/0.batch"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(stderr(&missing).contains("`taproof batch` writes it into"), "{}", stderr(&missing));
    let again = batch(&[]);
    assert_eq!((&again["batch"], &again["written_again"]), (&Value::Null, &serde_json::json!([0])));
    assert_eq!(fs::read(&file).unwrap(), made);
    // With others before and behind it.
    for nonce in ["0", "1"] {
        let tx = ["tx", "transfer", "--from", "0", "--to", "1", "--nonce", nonce, "--amount", "1", "--add-to", nonce];
        scene.report(&tx);
    }
    assert_eq!(batch(&["0"])["batch"], 1);
    fs::remove_file(scene.path("rollup/batches/1.batch")).unwrap();
    let next = batch(&["1"]);
    assert_eq!((&next["batch"], &next["written_again"]), (&2.into(), &serde_json::json!([1])));
    // One that is in the chain is needed no more.
    scene.report(&["prove", "rollup/batches/0.batch"]);
    scene.report(&["anchor", "run", "--once"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(batch(&[])["written_again"], serde_json::json!([]));
}

#[test]
fn a_batch_refers_to_a_block_within_the_rollups_window() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let window = ["--deposit-window", "4", "--deposit-expiry", "12"];
    scene.report(
        &[
            &[
                "setup",
                "--payments-only",
                "--depth",
                "2",
                "--slots",
                "2",
                "--deposit-slots",
                "2",
                "--withdraw-slots",
                "1",
            ],
            &window[..],
        ]
        .concat(),
    );
    scene.report(&["regtest", "deposit", "--owner", &scene.owner("0"), "--amount", "50000"]);
    scene.report(&["regtest", "mine", "2"]);
    let too_deep = scene.failure(3, &["batch", "--reference-depth", "5"]);
    assert!(too_deep.contains("window is 4 blocks"), "{too_deep}");
    let batch = scene.report(&["batch"]);
    assert_eq!(batch["deposits"], 1);
    scene.report(&["prove", "rollup/batches/0.batch"]);
    scene.report(&["anchor", "run", "--once"]);
    assert_eq!(scene.report(&["follow"])["batches"], 1);
}

#[test]
fn a_lost_or_damaged_ledger_is_restored_from_the_chain() {
    let scene = Scene::funded();
    let transfer = |amount: &str, file: &str| {
        scene.report(&["tx", "transfer", "--to", "1", "--amount", amount, "--add-to", file]);
    };
    scene.bring_in(0, &[]);
    scene.report(&["regtest", "mine", "6"]);
    transfer("10", "first.json");
    scene.bring_in(1, &["first.json"]);
    let intact = scene.report(&["rebuild"]);
    assert_eq!((&intact["ledger"], &intact["batches"]), (&"intact".into(), &2.into()));

    // Lost: the first batch is final, the second is not.
    let ledger = scene.path("rollup/ledger.redb");
    fs::remove_file(&ledger).unwrap();
    let text = stderr(&scene.run(&["batch"]));
    assert!(text.contains("there is no ledger") && text.contains("taproof rebuild"), "{text}");
    let restored = scene.report(&["rebuild"]);
    assert_eq!((&restored["ledger"], &restored["next_batch"]), (&"restored".into(), &2.into()));
    assert_eq!((&restored["moved_to"], &restored["transactions_kept"]), (&Value::Null, &Value::Null));
    assert_eq!(restored["root_rebuilt"], intact["root_rebuilt"]);
    transfer("20", "second.json");
    scene.bring_in(2, &["second.json"]);

    // The last anchor leaves the chain: the restored ledger takes its batch back.
    fs::remove_file(&ledger).unwrap();
    scene.report(&["rebuild"]);
    reorganise(&scene, 1);
    assert_eq!(scene.report(&["follow"])["batches"], 2);
    let again = scene.report(&["batch", "--reference-depth", "1", "--take-back", "2", "second.json"]);
    assert_eq!((&again["batch"], &again["applied"]), (&2.into(), &1.into()), "{again}");

    // Damaged in the middle of everything: what can be read of it is carried over, and the file is kept.
    let length = fs::metadata(&ledger).unwrap().len() as usize;
    fs::copy(&ledger, scene.path("intact.redb")).unwrap();
    let replaced = scene.report(&["rebuild", "--replace"]);
    assert_eq!((&replaced["ledger"], &replaced["transactions_kept"]), (&"restored".into(), &1.into()));
    assert_eq!(scene.report(&["inspect", "rollup/ledger.redb.old"])["format"], "ledger");
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["applied"], 1, "it waited again");
    let bytes = fs::read(scene.path("intact.redb")).unwrap();
    fs::write(&ledger, &bytes[..length / 2]).unwrap();
    assert!(stderr(&scene.run(&["batch"])).contains("taproof rebuild"));
    let restored = scene.report(&["rebuild"]);
    assert_eq!(restored["transactions_kept"], Value::Null, "{restored}");
    let moved_to = restored["moved_to"].as_str().unwrap();
    assert_eq!(fs::read(scene.path(moved_to)).unwrap(), &bytes[..length / 2]);
    let text = String::from_utf8(scene.run(&["rebuild"]).stdout).unwrap();
    assert!(text.ends_with("ledger         intact\n"), "{text}");
    scene.bring_in(2, &["second.json"]);
}

/// An owner or a signer makes no batches: the ledger that `join` made is brought up by whatever looks at it.
#[test]
fn a_ledger_in_which_no_batch_is_made_follows_the_chain() {
    let founder = Scene::funded();
    founder.bring_in(0, &[]);
    let owner = founder.joined_by_another();
    let account = |scene: &Scene| {
        let report = scene.report(&["account"]);
        let cell = &report["cells"][0];
        let figures = [&cell["balance"], &cell["nonce"]].map(|figure| figure.as_u64().unwrap());
        (figures, report["deposits"].as_array().unwrap().len(), report["source"].as_str().unwrap().to_owned())
    };
    let from_ledger = |balance, nonce, deposits| ([balance, nonce], deposits, "ledger".to_owned());
    assert_eq!(account(&owner), from_ledger(50_000, 0, 0));
    founder.report(&["tx", "transfer", "--to", "1", "--amount", "10", "--fee", "1", "--add-to", "first.json"]);
    founder.bring_in(1, &["first.json"]);
    founder.report(&["regtest", "deposit", "--owner", &founder.owner("0"), "--amount", "900"]);
    // What is signed counts what the chain has, whoever looked at it before.
    owner.see_chain_of(&founder);
    let tx = owner.report(&["tx", "transfer", "--to", "1", "--amount", "5"]);
    assert_eq!(tx["transfer"]["body"]["nonce"], 1);
    assert_eq!(account(&owner), from_ledger(49_990, 1, 1));
    let address = owner.report(&["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let exit = ["tx", "exit", "--address", &address, "--amount"];
    assert!(owner.failure(4, &[&exit[..], &["49991"]].concat()).contains("does not cover"));
    assert_eq!(owner.report(&[&exit[..], &["49990"]].concat())["request"]["nonce"], 1);
    // Back as well, where a reorganisation takes batch and deposit away.
    reorganise(&founder, 2);
    owner.see_chain_of(&founder);
    assert_eq!(account(&owner), from_ledger(50_000, 0, 0));
    // The founder has made the batch: it is nobody's to take back but the poster's.
    let anchored = founder.joined_by_another();
    anchored.report(&["tx", "transfer", "--to", "1", "--amount", "70", "--fee", "1", "--add-to", "other.json"]);
    anchored.bring_in(1, &["other.json"]);
    founder.see_chain_of(&anchored);
    let apart = founder.run(&["account"]);
    assert!(stderr(&apart).contains("`taproof batch` brings the ledger in line"), "{}", stderr(&apart));
    assert_eq!(account(&founder), ([49_930, 1], 0, "chain".to_owned()));
    // Nor does anything fail where no chain is at hand.
    fs::remove_file(owner.path("rollup/regtest.chain")).unwrap();
    assert_eq!(account(&owner), from_ledger(50_000, 0, 0));
    assert!(stderr(&owner.run(&["account"])).contains("no chain is at hand"));
}

#[test]
fn a_rollup_that_exists_is_joined() {
    let founder = Scene::funded();
    founder.bring_in(0, &[]);
    founder.report(&["regtest", "mine", "6"]);
    let checkpoint = founder.report(&["follow", "--export-checkpoint", "final.checkpoint"])["checkpoint"].clone();
    founder.report(&["tx", "transfer", "--to", "1", "--amount", "10", "--add-to", "first.json"]);
    let second = founder.bring_in(1, &["first.json"]);

    let files = ["params.json", "program.bin"].map(|name| founder.path("rollup").join(name));
    let [params, program] = files.each_ref().map(|path| path.to_str().unwrap());
    let join = ["join", params, program];
    let newcomer = || {
        let scene = Scene::new();
        fs::create_dir(scene.path("rollup")).unwrap();
        fs::copy(founder.path("rollup/regtest.chain"), scene.path("rollup/regtest.chain")).unwrap();
        scene
    };
    let poster = newcomer();
    let joined = poster.report(&join);
    assert_eq!((&joined["batches"], &joined["next_batch"]), (&2.into(), &2.into()));
    assert_eq!(
        (&joined["root_verified"], &joined["keys"]["missing"].as_array().unwrap().len()),
        (&second["root_after"], &4)
    );
    assert!(poster.failure(3, &join).contains("not overwritten"));
    // A poster with the founder's keys goes on where the founder stopped.
    let folders = [founder.path("rollup/keys"), poster.path("rollup/keys")];
    assert!(Command::new("cp").arg("-r").args(folders).status().unwrap().success());
    fs::copy(founder.path("rollup/wallet.words"), poster.path("rollup/wallet.words")).unwrap();
    poster.report(&["tx", "transfer", "--to", "1", "--amount", "5", "--add-to", "third.json"]);
    poster.bring_in(2, &["third.json"]);

    // From a checkpoint: no cells and so no ledger, until all blocks are read.
    let signer = newcomer();
    let file = founder.path("final.checkpoint");
    let joined = signer.report(&[&join[..], &["--checkpoint", file.to_str().unwrap()]].concat());
    assert_eq!((&joined["root_verified"], &joined["next_batch"]), (&second["root_after"], &Value::Null));
    assert_eq!(joined["checkpoint"]["digest"], checkpoint["digest"]);
    let status = signer.report(&["status"]);
    assert_eq!(status["root_verified"], second["root_after"]);
    // What is before the checkpoint is not shown, which is told.
    let (batches, shown) = (status["batches"].as_u64().unwrap(), status["anchors"].as_array().unwrap().len() as u64);
    assert!(shown < batches, "{status}");
    assert_eq!(status["batches_unseen"], batches - shown);
    assert_eq!(founder.report(&["status"])["batches_unseen"], 0);
    let text = String::from_utf8(signer.run(&["status"]).stdout).unwrap();
    assert!(text.contains("before the checkpoint, and what fell due by them"), "{text}");
    assert!(stderr(&signer.run(&["batch"])).contains("taproof rebuild"));
    assert_eq!(signer.report(&["rebuild"])["next_batch"], 2);

    // An interrupted run is gone on with; keys that are another rollup's are named.
    let interrupted = newcomer();
    fs::copy(&files[1], interrupted.path("rollup/program.bin")).unwrap();
    fs::copy(signer.path("rollup/chain.redb"), interrupted.path("rollup/chain.redb")).unwrap();
    fs::create_dir(interrupted.path("rollup/keys")).unwrap();
    fs::write(interrupted.path("rollup/keys/transfer-d2-n2-v1.key"), b"no key").unwrap();
    let joined = interrupted.report(&join);
    assert_eq!((&joined["root_verified"], &joined["next_batch"]), (&second["root_after"], &2.into()));
    assert!(joined["keys"]["unusable"][0].as_str().unwrap().starts_with("transfer-d2-n2-v1: "));

    // So is one that ended between the ledger and the parameters, and a file that is lost is put back.
    for lost in ["params.json", "program.bin"] {
        fs::remove_file(interrupted.path("rollup").join(lost)).unwrap();
        if lost == "program.bin" {
            assert!(stderr(&interrupted.run(&["status"])).contains("taproof join"));
        }
        assert_eq!(interrupted.report(&join)["next_batch"], 2);
        assert_eq!(interrupted.report(&["status"])["root_verified"], second["root_after"]);
        assert!(interrupted.failure(3, &join).contains("not overwritten"));
    }

    // A damaged ledger in the way is told with the way on.
    fs::remove_file(interrupted.path("rollup/params.json")).unwrap();
    fs::write(interrupted.path("rollup/ledger.redb"), b"cut").unwrap();
    let damaged = interrupted.run(&join);
    assert!(damaged.status.code() == Some(3) && stderr(&damaged).contains("join once more"), "{}", stderr(&damaged));
    fs::remove_file(interrupted.path("rollup/ledger.redb")).unwrap();
    assert_eq!(interrupted.report(&join)["next_batch"], 2);

    // What does not belong together is refused, and nothing is made.
    let stranger = Scene::funded();
    fs::create_dir(stranger.path("other")).unwrap();
    fs::copy(stranger.path("rollup/regtest.chain"), stranger.path("other/regtest.chain")).unwrap();
    assert!(!stranger.run(&[&join[..], &["--dir", "other"]].concat()).status.success(), "another chain");
    let of_chain = ["params.json", "program.bin"].map(|name| stranger.path("rollup").join(name));
    let [own_params, own_program] = of_chain.each_ref().map(|path| path.to_str().unwrap());
    stranger.report(&["join", own_params, own_program, "--dir", "other"]);
    let other = newcomer();
    alter(&files[1], 200);
    other.failure(3, &join);
    fs::write(&files[1], b"").unwrap();
    other.failure(3, &join);
    let nowhere = Scene::new();
    fs::copy(poster.path("rollup/program.bin"), &files[1]).unwrap();
    assert!(nowhere.failure(3, &join).contains("there is no chain"));
    assert!(!nowhere.path("rollup").exists() && !other.path("rollup/params.json").exists());
}
