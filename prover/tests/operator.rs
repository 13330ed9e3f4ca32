//! Founding a rollup and running it from the command line: what an operator must not be able to get wrong without being told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use bitcoin::ScriptBuf;
use scene::Scene;
use serde_json::Value;
use std::{fs, process::Output};
use taproof::{founding::RollupIdentity, node::EmbeddedNode};

const SETUP: [&str; 9] = ["setup", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];

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
fn a_rollup_can_be_founded_on_a_chain_of_one_block() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let setup = scene.report(&SETUP);
    assert_eq!(setup["start"]["height"], 0);
    scene.report(&["regtest", "mine", "7"]);
    assert_eq!(scene.report(&["follow"])["height"], 7);
}

#[test]
fn number_and_marks_are_derived_and_setting_them_by_hand_is_warned_of() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let setup = |options: &[&str]| {
        let output = scene.run(&[&SETUP[..], options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let params = scene.params();
        for file in ["params.json", "program.bin", "ledger.redb"] {
            fs::remove_file(scene.path("rollup").join(file)).unwrap();
        }
        (params, stderr(&output))
    };
    let (derived, warnings) = setup(&[]);
    assert_eq!(RollupIdentity::of(&derived), RollupIdentity::derive(&derived));
    assert!(!warnings.contains("by hand"), "{warnings}");
    // The keys are the same, and the rollup is another.
    let (other, _) = setup(&["--deposit-min", "20000"]);
    assert_eq!(other.program_id, derived.program_id);
    assert_ne!(other.chain_id, derived.chain_id);
    assert_ne!(other.magic, derived.magic);
    assert_ne!(other.deposit_magic, derived.deposit_magic);
    let (named, warnings) = setup(&["--chain-id", "7"]);
    assert_eq!((named.chain_id.0, named.magic), (7, derived.magic));
    assert!(warnings.contains("set by hand"), "{warnings}");
    let (named, warnings) = setup(&["--magic", "01020304", "--deposit-magic", "05060708"]);
    assert_eq!((named.magic.0, named.deposit_magic.0), ([1, 2, 3, 4], [5, 6, 7, 8]));
    assert!(warnings.contains("set by hand"), "{warnings}");
}

#[test]
fn the_network_is_the_rollups() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let keys = scene.report(&["wallet", "keys", "--network", "bitcoin"]);
    assert_ne!(keys["poster_key"], scene.report(&["wallet", "keys"])["poster_key"]);
    let transfer = ["tx", "transfer", "--from", "0", "--to", "1", "--nonce", "0", "--amount", "5", "--chain-id", "1"];
    assert!(scene.failure(3, &transfer).contains("keys differ by network"));
    scene.report(&SETUP);
    // The same rollup, but for its network.
    let path = scene.path("rollup/params.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"regtest\"", "\"bitcoin\"")).unwrap();
    assert_eq!(scene.report(&["wallet", "keys"]), keys);
    for network in ["regtest", "signet"] {
        for command in [&["wallet", "keys"][..], &["bridge", "keys"], &transfer[..10]] {
            let error = scene.failure(3, &[command, &["--network", network]].concat());
            assert_eq!(error, format!("the rollup lives on bitcoin, not on {network}"), "{command:?}");
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
    refused("not empty", &["open", "--to", "1", "--owner", &scene.owner("5"), "--amount", "5"]);
    let error = scene.failure(4, &["tx", "transfer", "--from", "0", "--index", "1", "--to", "1", "--amount", "5"]);
    assert!(error.starts_with("cell 0 is owned by "), "{error}");
    let address = scene.report(&["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let exit = ["tx", "exit", "--amount", "50001", "--address", &address];
    assert!(scene.failure(4, &exit).contains("does not cover"));
    assert!(
        scene.failure(3, &["tx", "transfer", "--to", "1", "--amount", "5", "--chain-id", "9"]).contains("not chain 9")
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
