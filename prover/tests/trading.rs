//! Tokens, pools, orders and offers as a user meets them: from deposits to a rebuilt state, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::Scene;
use serde_json::Value;
use std::fs;

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
    assert!(!told.contains("a batch would not"), "{told}");
    let decoded = scene.report(&["tx", "decode", "make.json"]);
    assert_eq!(decoded["transactions"][0]["parts"][0]["actions"][1]["cell"], 3, "{decoded}");
    let batch = scene.bring_in(1, &["make.json"]);
    assert_eq!((&batch["applied"], &batch["rejected"]), (&4.into(), &serde_json::json!([])), "{batch}");
    let told = words(&scene, "make.json");
    assert!(told.contains("a batch would not apply it now: part 0, step 0: PAY of cell 1: the clause is"), "{told}");
    // Without a rollup the same words, but for the tokens that only the state tells.
    let elsewhere = Scene::new();
    fs::copy(scene.path("make.json"), elsewhere.path("make.json")).unwrap();
    let told = words(&elsewhere, "make.json");
    assert!(told.contains("takes 400000 of its token from account 1 (first holding)"), "{told}");
    assert!(!told.contains("a batch would not"), "{told}");
    let account = String::from_utf8(scene.run(&["account", "1"]).stdout).unwrap();
    assert!(account.contains("sat and 34000.00 of token 3 \"gold\", nonce 4"), "{account}");
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
    let printed = scene.run(&offer);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    fs::write(scene.path("offer.json"), printed.stdout).unwrap();
    let inspected = scene.report(&["inspect", "offer.json"]);
    assert_eq!((&inspected["format"], &inspected["steps"]), (&"transaction of the rollup".into(), &2.into()));
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

/// Runs a command that must fail, and looks at what it says and advises.
fn refused(scene: &Scene, exit_code: i32, arguments: &str, told: &str, advised: &str) {
    let words: Vec<&str> = arguments.split(' ').collect();
    let output = scene.run(&[&["--json"], words.as_slice()].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{arguments}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments}");
    let last: Value = serde_json::from_str(stderr.lines().next_back().unwrap()).unwrap();
    let [error, advice] = [&last["error"], &last["advice"]].map(|text| text.as_str().unwrap_or_default());
    assert!(error.contains(told) && advice.contains(advised), "{arguments}: {error}; {advice}");
}

#[test]
fn every_wrong_input_is_refused_with_a_reason_and_advice() {
    let scene = founded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let make = |arguments: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        scene.report(&[words.as_slice(), &["--index", "1", "--add-to", "make.json"]].concat());
    };
    make("token create --name gold --decimals 2 --cap 1000");
    make("token mint --token 3 --amount 900");
    make("pool create --put 3:160 --put 0:400000");
    scene.report(&["batch", "--reference-depth", "1", "make.json"]);
    let long = format!("token create --cap 1 --name {}", "x".repeat(32));
    for (exit_code, arguments, told, advised) in [
        (2, long.as_str(), "a name has at most 31 bytes", ""),
        (2, "token create --name a --cap 1 --decimals 19", "a whole number from 0 to 18", ""),
        (2, "token create --name a --cap x", "an amount is digits", ""),
        (3, "token create --index 1 --name a --cap 1.5", "1 decimal places, where the token has 0", "more --decimals"),
        (4, "token create --index 1 --name a --cap 1 --cell 2", "the cell is an account", "--force"),
        (4, "token create --index 0 --name a --cap 1", "no account that can sign", "cell 0 takes part in payments"),
        (4, "token create --index 9 --name a --cap 1", "no account that can sign", "taproof tx open"),
        (4, "token create --index 1 --from 2 --name a --cap 1", "cell 2 is no account of the key", "--from"),
        (4, "token mint --index 1 --token 9 --amount 1", "cell 9 is no token", "taproof token list"),
        (3, "token mint --index 1 --token 3 --amount 0.125", "3 decimal places, where", "at most 2 digits"),
        (4, "token mint --index 1 --token 3 --amount 100.01", "exceeds the cap", "--force"),
        (4, "token mint --index 2 --token 3 --amount 1", "account 1 is the issuer", "--index"),
        (4, "token mint --index 1 --token 3 --amount 1 --to 2", "cell 2 holds no token 3", "--owner"),
        (4, "token burn --index 1 --token 3 --amount 999", "hold 74000 of token 3", "take less"),
        (4, "token burn --index 1 --token 9 --amount 1", "cell 9 is no token", "taproof token list"),
        (4, "token renounce --index 2 --token 3", "account 1 is the issuer", "--index"),
        (4, "token show 9", "cell 9 is no token", "taproof token list"),
        (3, "pool create --index 1 --put 0:1", "two tokens, and 1 are given", "twice"),
        (3, "pool create --index 1 --put 0:1 --put 0:2", "both are token 0", "another token"),
        (3, "pool create --index 1 --put 0:1 --put 3:2", "1000 are locked", "put more"),
        (3, "pool create --index 1 --put 0:4000 --put 3:2 --pool-fee 11", "the fee is 1100", "10 percent"),
        (2, "pool create --index 1 --put 0:4000 --put 3:2 --weight 3", "from 1 to 2", ""),
        (2, "pool create --index 1 --put 0=4000", "TOKEN:AMOUNT is wanted", ""),
        (4, "pool create --index 2 --put 0:4000 --put 3:20", "hold 0 of token 3", "take less"),
        (4, "pool join --index 1 --pool 3 --amount 1", "cell 3 is no pool", "taproof pool list"),
        (3, "pool join --index 1 --pool 4 --amount 1 --token 9", "pool 4 holds no token 9", "--token"),
        (3, "pool join --index 1 --pool 4 --amount 0", "makes no share", "add more"),
        (4, "pool join --index 2 --pool 4 --amount 1000", "hold 0 of token 3", "take less"),
        (4, "pool exit --index 2 --pool 4", "owns no shares of pool 4", "--index"),
        (4, "pool exit --index 1 --pool 4 --shares 999999999", "cannot leave", "fewer --shares"),
        (4, "pool show 3", "cell 3 is no pool", "taproof pool list"),
        (4, "swap --index 2 --pool 3 --amount 1", "cell 3 is no pool", "taproof pool list"),
        (3, "swap --index 2 --pool 4 --amount 1 --token 9", "pool 4 holds no token 9", "--token"),
        (3, "swap --index 2 --pool 4 --amount 1.5", "1 decimal places, where", "whole numbers"),
        (4, "swap --index 2 --pool 4 --amount 0", "pays nothing", "--at-least"),
        (4, "swap --index 2 --pool 4 --amount 1 --token 3", "hold 0 of token 3", "take less"),
        (4, "swap --index 2 --pool 4 --amount 1 --from 1", "cell 1 is no account of the key", "--from"),
        (4, "swap --index 1 --pool 4 --amount 1000 --until 1", "it holds until height 1", "--force"),
        (4, "swap --index 1 --pool 4 --amount 1000 --ticket 64", "none of the 64 from 0 on", "offer renew"),
        (2, "swap --pool 4 --amount 1 --at-least 1 --slippage 1", "cannot be used with", ""),
        (2, "swap --pool 4 --amount 1 --slippage 101", "from 0 to 100 percent", ""),
        (2, "swap --pool 4 --amount 1 --nonce 1 --ticket 1", "cannot be used with", ""),
        (3, "offer make --index 1 --give 3:1 --want 3:1", "token 3 is given and wanted", "for another"),
        (3, "offer make --index 1 --give 3:1 --want 0:0", "gives something and wants something", "above 0"),
        (4, "offer make --index 2 --give 3:1 --want 0:1", "hold 0 of token 3", "take less"),
        (4, "offer make --index 1 --give 3:1 --want 0:1 --until 1", "it holds until height 1", "--force"),
        (3, "offer take none.json", "none.json", "see that the file is there"),
        (3, "offer take make.json --index 2", "an offer is one clause", "taproof tx decode"),
        (3, "offer show rollup/params.json", "params.json", ""),
        (3, "tx decode none.json", "none.json", "see that the file is there"),
        (3, "tx decode rollup/params.json", "where a file of transactions is wanted", ""),
    ] {
        refused(&scene, exit_code, arguments, told, advised);
    }
    let payments = Scene::funded();
    refused(&payments, 3, "token create --name a --cap 1", "payments alone", "--step-slots");
}

#[test]
fn orders_can_be_prepared_by_other_accounts_and_dry_runs_leave_nothing() {
    let scene = founded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let make = |arguments: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        scene.report(&[words.as_slice(), &["--index", "1", "--add-to", "make.json"]].concat())
    };
    make("token create --name gold --decimals 2 --cap 1000");
    make("token mint --token 3 --amount 900");
    make("token create --name silver --cap 1000");
    // Account 1 holds bitcoin and gold: silver and, after it, shares of a pool need accounts of their own.
    assert_eq!(make("token mint --token 4 --amount 800")["transactions"], 4);
    make("pool create --put 4:500 --put 0:400000");
    let dry = |arguments: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        scene.report(&[words.as_slice(), &["--index", "1", "--add-to", "make.json", "--dry-run"]].concat())
    };
    // No account holds bitcoin and silver, so one is opened for the order.
    let preview = dry("swap --pool 6 --token 4 --amount 100 --slippage 5");
    let actions = preview["transactions"][0]["parts"][0]["actions"].as_array().unwrap();
    let names: Vec<&str> = actions.iter().filter_map(|action| action["action"].as_str()).collect();
    assert_eq!(names, ["pay", "draw", "open", "draw", "receive"], "{preview}");
    assert_eq!(preview["transactions"][1]["parts"][0]["actions"][0]["action"], "order");
    let before = fs::read(scene.path("make.json")).unwrap();
    for arguments in [
        "token burn --token 3 --amount 1",
        "token renounce --token 3",
        "pool join --pool 6 --amount 4000",
        "offer make --give 3:1 --want 0:5",
        "offer renew",
        "tx transfer --to 2 --amount 5",
    ] {
        let preview = dry(arguments);
        assert_eq!(preview["dry_run"], true, "{arguments}");
    }
    assert_eq!(fs::read(scene.path("make.json")).unwrap(), before);
    let output = scene.run(&["token", "list", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2), "what writes nothing knows no dry run");
    let absent = ["swap", "--index", "1", "--pool", "6", "--amount", "5", "--dry-run", "--add-to", "absent.json"];
    let error = scene.failure(4, &absent);
    assert!(error.contains("cell 6 is no pool"), "{error}");
    assert!(!scene.path("absent.json").exists());
    let batch = scene.report(&["batch", "--reference-depth", "1", "make.json"]);
    assert_eq!((&batch["applied"], &batch["rejected"]), (&5.into(), &serde_json::json!([])), "{batch}");
}

#[test]
fn any_steps_are_made_from_a_file() {
    let scene = founded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let create = ["token", "create", "--index", "1", "--name", "gold", "--cap", "1000", "--add-to", "make.json"];
    scene.report(&create);
    scene.report(&["token", "mint", "--index", "1", "--token", GOLD, "--amount", "10", "--add-to", "make.json"]);
    scene.report(&["batch", "--reference-depth", "1", "make.json"]);
    let write = |name: &str, text: &str| fs::write(scene.path(name), text).unwrap();
    write(
        "plan.json",
        r#"{"pay": {"amount": 700},
            "steps": [{"operation": "mint", "cell": 3, "a": 50}, {"operation": 3, "cell": 1, "flags": 12, "least": 50}],
            "then": [{"operation": "RECEIVE", "cell": 2, "a": 700}]}"#,
    );
    let preview = scene.report(&["steps", "plan.json", "--index", "1", "--dry-run"]);
    let parts = preview["transactions"][0]["parts"].as_array().unwrap();
    assert_eq!((parts.len(), &parts[0]["signed"]["fee"]["units"], &parts[1]["signed"]), (2, &4.into(), &Value::Null));
    scene.report(&["steps", "plan.json", "--index", "1", "--add-to", "txs.json"]);
    let told = words(&scene, "txs.json");
    for line in [
        "takes 700 sat from account 1 (first holding)",
        "mints 50 of token 3 \"gold\"",
        "puts all that is in motion, at least 50 of token 3 \"gold\", into account 1 (second holding)",
        "anyone runs, and nobody signs:",
        "puts exactly 700 sat into account 2 (first holding)",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(scene.report(&["batch", "--reference-depth", "1", "txs.json"])["applied"], 1);
    assert_eq!((cells(&scene, "2")[0].1, cells(&scene, "1")[0].3), (500_700, 60));
    for (exit_code, text, told, advised) in [
        (3, r#"{"steps": [{"operation": "GIVE", "cell": 3}]}"#, "operation \"GIVE\" is not known", "are PAY, DRAW"),
        (3, r#"{"steps": [{"operation": 200, "cell": 3}]}"#, "operation 200 is not known", "are PAY, DRAW"),
        (3, r#"{"steps": [{"operation": "BURN", "cell": 3, "flags": 1}]}"#, "number 0: flags 1", "set where they"),
        (3, r#"{"steps": [{"operation": "BURN", "cell": 1073741824}]}"#, "no cell has the index", ""),
        (3, r#"{"steps": [{"operation": "BURN", "cell": 3, "word": "00"}]}"#, "64 hexadecimal digits", ""),
        (3, r#"{"then": [{"operation": "BURN", "cell": 3, "least": 1}]}"#, "then, number 0: nobody signs", ""),
        (4, r#"{"then": [{"operation": "BURN", "cell": 3, "a": 1}]}"#, "BURN of cell 3", "--force"),
        (3, r#"{"pay": {"amount": 7}}"#, "it has no steps", "--help"),
        (4, r#"{"pay": {"amount": 7}, "steps": [{"operation": "MINT", "cell": 3}]}"#, "7", "--force"),
        (3, r#"{"pays": {"amount": 7}}"#, "unknown field", ""),
        (3, "[]", "it has no steps", "--help"),
    ] {
        write("plan.json", text);
        refused(&scene, exit_code, "steps plan.json --index 1", told, advised);
    }
    refused(&scene, 3, "steps none.json", "none.json", "see that the file is there");
}
