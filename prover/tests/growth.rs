//! A tree that grows, from the command line: what finds no cell makes it grow, and what opens an account pays for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::Scene;
use serde_json::{Value, json};

const YOUNG: [&str; 8] = ["setup", "--payments-only", "--depth", "1", "--full-depth", "2", "--slots", "1"];
const SLOTS: [&str; 8] =
    ["--deposit-slots", "8", "--withdraw-slots", "1", "--deposit-min", "500", "--final-depth", "3"];

#[test]
fn the_ninth_account_makes_a_tree_of_eight_cells_grow() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "110"]);
    let error = scene.failure(3, &["setup", "--depth", "3", "--full-depth", "2"]);
    assert!(error.contains("of 3 levels cannot grow to 2"), "{error}");
    let seed = "11".repeat(32);
    let setup = scene.report(&[&YOUNG[..], &SLOTS, &["--seed", &seed]].concat());
    assert_eq!(
        (&setup["depth"], &setup["full_depth"], &setup["opening_min_sat"]),
        (&json!(1), &json!(2), &json!(1_000))
    );
    assert_eq!(setup["circuits"].as_array().map(Vec::len), Some(8));
    let deposit = |owner: u32| {
        let owner = scene.owner(&owner.to_string());
        scene.report(&["regtest", "deposit", "--owner", &owner, "--amount", "30000"]);
    };
    (0..8).for_each(deposit);
    let first = scene.bring_in(0, &[]);
    let told =
        |report: &Value| [&report["depth"], &report["grown"], &report["withdrawals_alone"]].map(Value::to_string);
    assert_eq!(told(&first), ["1", "false", "false"]);

    let owner = scene.owner("9");
    let open = |amount| ["tx", "open", "--from", "0", "--to", "8", "--owner", &owner, "--amount", amount];
    let error = scene.failure(3, &open("999"));
    assert!(error.contains("opened with 1000 sat at least"), "{error}");
    scene.report(&[&open("999")[..], &["--force", "--add-to", "less.json"]].concat());
    let report = scene.run(&["--json", "batch", "--reference-depth", "1", "less.json"]);
    assert_eq!(report.status.code(), Some(4), "all are rejected");
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert!(report["rejected"][0]["reason"].as_str().unwrap().contains("1000 sat at least"), "{report}");
    let error = scene.failure(3, &[&open("1000")[..], &["--token", "1"]].concat());
    assert!(error.contains("with bitcoin alone"), "{error}");

    // The tree has no cell left, so the opening makes it grow, and nobody is told otherwise. A cell that is taken
    // stays so.
    let opened = scene.run(&[&open("1000")[..], &["--add-to", "open.json"]].concat());
    let said = String::from_utf8(opened.stderr).unwrap();
    assert!(opened.status.success() && said.contains("opens an account in cell 8"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    for (cell, reason) in [("3", "cell 3 is not empty"), ("64", "outside a tree of 64 cells")] {
        let refused =
            scene.failure(4, &["tx", "open", "--from", "0", "--to", cell, "--owner", &owner, "--amount", "1000"]);
        assert!(refused.contains(reason), "{refused}");
        let told = scene.run(&["tx", "open", "--from", "0", "--to", cell, "--owner", &owner, "--amount", "1000"]);
        let told = String::from_utf8(told.stderr).unwrap();
        assert!(told.contains("cell 8 is the first that is empty"), "{told}");
    }
    let grown = scene.bring_in(1, &["open.json"]);
    assert_eq!((told(&grown), &grown["applied"]), (["2", "true", "false"].map(String::from), &json!(1)));
    deposit(10);
    let further = scene.bring_in(2, &[]);
    assert_eq!((told(&further), &further["deposits"]), (["2", "false", "false"].map(String::from), &json!(1)));
    for cell in ["0", "8", "9"] {
        let file = format!("{cell}.account");
        scene.report(&["prove-account", cell, "--out", &file]);
        let root = further["root_after"].as_str().unwrap();
        scene.report(&["verify-account", &file, "--root", root]);
    }
    assert_eq!(scene.report(&["rebuild"])["root_rebuilt"], further["root_after"]);
}

#[test]
fn in_a_tree_that_cannot_grow_the_batch_says_that_it_has_withdrawals_alone() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "110"]);
    scene.report(
        &[&["setup", "--payments-only", "--depth", "1", "--slots", "1"][..], &SLOTS, &["--seed", &"11".repeat(32)]]
            .concat(),
    );
    let deposit = |owner: u32| {
        let owner = scene.owner(&owner.to_string());
        scene.report(&["regtest", "deposit", "--owner", &owner, "--amount", "30000"]);
    };
    (0..8).for_each(deposit);
    scene.bring_in(0, &[]);
    deposit(8);
    let said = scene.run(&["batch", "--reference-depth", "1"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("no cell left for 1 deposit and cannot grow"), "{said}");
    let address = scene.report(&["wallet", "keys"])["poster_address"].as_str().unwrap().to_owned();
    let tx = |arguments: &[&str]| scene.report(&[&["tx"], arguments, &["--add-to", "txs.json"]].concat());
    tx(&["transfer", "--from", "1", "--index", "1", "--to", "2", "--amount", "100"]);
    tx(&["withdraw", "--from", "0", "--amount", "10000", "--address", &address]);
    let made = scene.bring_in(1, &["txs.json"]);
    assert_eq!((&made["withdrawals_alone"], &made["applied"], &made["waiting"]), (&json!(true), &json!(1), &json!(1)));
    assert_eq!((&made["deposits"], &made["deposits_waiting"]), (&json!(0), &json!(1)));
}
