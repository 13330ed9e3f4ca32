//! Tokens, pools, orders and offers as a user meets them: from deposits to a rebuilt state, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::Scene;
use serde_json::Value;

/// The token that the first clause makes, in the first empty cell.
const GOLD: &str = "3";
/// The pool of it and bitcoin.
const POOL: &str = "5";

/// A rollup with steps, of an operator and two traders, whose deposits are credited.
fn founded() -> Scene {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let seed = "11".repeat(32);
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "3", "--withdraw-slots", "1", "--step-slots", "4"];
    scene.report(&[&["setup", "--seed", &seed], slots.as_slice()].concat());
    for (index, amount) in [("0", "50000"), ("1", "1000000"), ("2", "500000")] {
        scene.report(&["regtest", "deposit", "--owner", &scene.owner(index), "--amount", amount]);
    }
    scene
}

/// What a key owns in its cells: of each, the cell, both balances and the second token.
fn cells(scene: &Scene, index: &str) -> Vec<(u64, u64, u64, u64)> {
    let account = scene.report(&["account", index]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let cells = account["cells"].as_array().unwrap().iter();
    cells
        .map(|cell| {
            let second = &cell["second"];
            (number(&cell["cell"]), number(&cell["balance"]), number(&second["token"]), number(&second["balance"]))
        })
        .collect()
}

/// The lines of a file of transactions in words.
fn words(scene: &Scene, file: &str) -> String {
    let output = scene.run(&["tx", "decode", file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tokens_are_made_traded_and_offered_up_to_equal_roots() {
    let scene = founded();
    scene.bring_in(0, &[]);
    // Several commands in a row, each of which counts what those before it have put into the file.
    let make = |arguments: &[&str]| scene.report(&[arguments, &["--add-to", "make.json"]].concat());
    make(&["token", "create", "--index", "1", "--name", "gold", "--decimals", "2", "--cap", "1000000"]);
    make(&["token", "mint", "--index", "1", "--token", GOLD, "--amount", "50000.00"]);
    make(&["token", "mint", "--index", "1", "--token", GOLD, "--amount", "10.5", "--owner", &scene.owner("2")]);
    make(&["pool", "create", "--index", "1", "--put", "3:16000", "--put", "0:400000", "--cell", POOL]);
    let told = words(&scene, "make.json");
    for line in [
        "account 1 signs, with nonce 0, a fee of 2 sat, with no end:",
        "makes token \"gold\" in an empty cell, now cell 3: at most 1000000.00 may ever exist, with 2 decimal places",
        "takes 400000 sat from account 1 (first holding)",
        "founds a pool in an empty cell, now cell 5",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let batch = scene.bring_in(1, &["make.json"]);
    assert_eq!((&batch["applied"], &batch["rejected"]), (&4.into(), &serde_json::json!([])), "{batch}");
    let gold = scene.report(&["token", "show", GOLD]);
    assert_eq!((&gold["name"], &gold["supply"], &gold["issuer"]), (&"gold".into(), &5_001_050.into(), &1.into()));
    let pool = scene.report(&["pool", "show", POOL]);
    assert_eq!((&pool["price"], &pool["shares"]), (&"0.040000000".into(), &800_000.into()), "{pool}");
    assert_eq!(scene.report(&["token", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(scene.report(&["pool", "list"]).as_array().map(Vec::len), Some(1));

    trade(&scene);
    liquidity_and_offers(&scene);
    let rebuilt = scene.report(&["rebuild"]);
    assert_eq!(rebuilt["root_rebuilt"], scene.report(&["follow"])["root_verified"]);
    assert_eq!(rebuilt["batches"], 4);
}

/// One who has no gold buys some, and one who has gold sells some, in one session.
fn trade(scene: &Scene) {
    let buys = ["swap", "--index", "2", "--pool", POOL, "--amount", "10000", "--at-least", "350.00"];
    let preview = scene.report(&[&buys[..], &["--dry-run"]].concat());
    let gets = preview["order"]["gets"]["units"].as_u64().unwrap();
    assert!((38_000..40_000).contains(&gets), "{preview}");
    assert_eq!(preview["transactions"].as_array().map(Vec::len), Some(2), "the second holding is opened before");
    assert_eq!(preview["changes"][0]["after"]["units"], 500_000 - 10_000 - 3, "{preview}");
    let more = scene.report(&[&buys[..], &["--add-to", "trade.json"]].concat());
    assert_eq!(more["transactions"], 2);
    let sells = ["swap", "--index", "1", "--pool", POOL, "--token", GOLD, "--amount", "400", "--slippage", "5"];
    scene.report(&[&sells[..], &["--ticket", "7", "--until", "1000", "--add-to", "trade.json"]].concat());
    let told = words(scene, "trade.json");
    for line in [
        "makes the empty second holding of account 2 one of token 3 \"gold\"",
        "trades 10000 sat from account 2 (first holding) in pool 5 for at least 350.00 of token 3 \"gold\"",
        "account 1 signs, with ticket 7, a fee of 1 sat, until height 1000:",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let batch = scene.bring_in(2, &["trade.json"]);
    assert_eq!(batch["applied"], 3, "{batch}");
    let (cell, balance, token, gold) = cells(scene, "2")[0];
    assert_eq!((cell, balance, token), (2, 500_000 - 10_000 - 3, 3));
    assert!((38_000..=40_000).contains(&gold), "{gold}");
}

/// Liquidity joins and leaves, an offer is made and taken, some gold is burnt, and no more can be made.
fn liquidity_and_offers(scene: &Scene) {
    let before = cells(scene, "2");
    let more = |arguments: &[&str]| scene.report(&[arguments, &["--add-to", "more.json"]].concat());
    more(&["pool", "join", "--index", "2", "--pool", POOL, "--amount", "5000"]);
    let exit = ["pool", "exit", "--index", "2", "--pool", POOL];
    let preview = scene.report(&[&exit[..], &["--shares", "100", "--dry-run", "--add-to", "more.json"]].concat());
    let changed: Vec<u64> =
        preview["changes"].as_array().unwrap().iter().filter_map(|change| change["after"]["token"].as_u64()).collect();
    assert_eq!(changed, [0, 3, 5], "{preview}");
    let offer = ["offer", "make", "--index", "1", "--give", "3:1000.00", "--want", "0:25000", "--until", "900"];
    scene.report(&[&offer[..], &["--add-to", "offer.json"]].concat());
    let shown = scene.report(&["offer", "show", "offer.json"]);
    assert_eq!((&shown["gives"][0]["units"], &shown["wants"][0]["units"]), (&100_000.into(), &25_000.into()));
    assert_eq!((&shown["refused"], &shown["offer"]["parts"][0]["signed"]["ticket"]), (&Value::Null, &0.into()));
    more(&["offer", "take", "offer.json", "--index", "2"]);
    let error = scene.failure(4, &["offer", "take", "offer.json", "--index", "2", "--add-to", "more.json"]);
    assert!(error.contains("ticket 0 is used"), "{error}");
    more(&["token", "burn", "--index", "1", "--token", GOLD, "--amount", "0.50"]);
    more(&["token", "renounce", "--index", "1", "--token", GOLD]);
    let error =
        scene.failure(4, &["token", "mint", "--index", "1", "--token", GOLD, "--amount", "1", "--add-to", "more.json"]);
    assert!(error.contains("nobody can mint token 3 any more"), "{error}");
    let batch = scene.bring_in(3, &["more.json"]);
    assert_eq!((&batch["applied"], &batch["rejected"]), (&4.into(), &serde_json::json!([])), "{batch}");
    let after = cells(scene, "2");
    let gold = |cells: &[(u64, u64, u64, u64)]| cells[0].3;
    assert!(gold(&after) > gold(&before) + 100_000 - 25_000, "{before:?}, {after:?}");
    let token = scene.report(&["token", "show", GOLD]);
    assert_eq!((&token["supply"], &token["issuer"]), (&5_001_000.into(), &Value::Null));
}
