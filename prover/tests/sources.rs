//! Where the command line reads the chain: options and variables, servers that limit their users, and what is not
//! there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::esplora;
mod scene;

use bitcoin::ScriptBuf;
use scene::Scene;
use serde_json::Value;
use std::fs;
use taproof_bitcoin::node::EmbeddedNode;

#[test]
fn a_server_that_allows_150_requests_a_run_is_followed_in_the_end() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    // More headers before the rollup's start than 150 answers hold, and more blocks after it.
    scene.report(&["regtest", "mine", "1600"]);
    let small =
        ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
    scene.report(&[&small[..], &["--seed", &"11".repeat(32)]].concat());
    scene.report(&["regtest", "mine", "250"]);
    let node = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).expect("our own chain");
    let server = esplora::Server::start(EmbeddedNode::new(node.chain().clone(), ScriptBuf::new()));
    drop(node);
    let expected = scene.report(&["follow"]);
    fs::remove_file(scene.path("rollup/chain.redb")).expect("what the node told is forgotten");
    let refuse = |status, retry_after: &str, refusals| {
        let retry_after = Some(retry_after.to_owned());
        server.limit(esplora::Limit { requests: 150, status, retry_after, refusals });
    };
    let follow = ["--json", "follow", "--esplora", &server.url];
    let mut runs = 0;
    let followed = loop {
        refuse(429, "3600", None);
        let output = scene.run(&follow);
        runs += 1;
        if output.status.success() {
            break output;
        }
        let error: Value = serde_json::from_slice(&output.stderr).expect("the error alone");
        assert!(error["error"].as_str().is_some_and(|error| error.contains("asks to wait 3600 s")), "{error}");
        assert!(error["advice"].as_str().is_some_and(|advice| advice.contains("is kept")), "{error}");
        assert!(runs < 8, "each run goes on from the one before");
    };
    assert!(runs > 2, "{runs} runs");
    let followed: Value = serde_json::from_slice(&followed.stdout).expect("a report");
    assert_eq!((&followed["height"], &followed["block"]), (&expected["height"], &expected["block"]));
    // A short pause is made, and said.
    fs::remove_file(scene.path("rollup/chain.redb")).expect("a run has written it");
    refuse(503, "1", Some(1));
    let output = scene.run(&follow);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("waiting 1 s") && stderr.contains("HTTP status 503"), "{stderr}");
}

#[test]
fn where_the_chain_is_read_is_said_by_options_first_and_what_was_forgotten_is_said() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "20"]);
    let small =
        ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
    scene.report(&[&small[..], &["--seed", &"11".repeat(32)]].concat());
    let node = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).expect("our own chain");
    let server = esplora::Server::start(EmbeddedNode::new(node.chain().clone(), ScriptBuf::new()));
    drop(node);
    // The flag wins over the environment.
    let mut command = scene.command(&["--json", "follow", "--esplora", &server.url]);
    let output = command.env("TAPROOF_NODE", "http://127.0.0.1:1").env("TAPROOF_NODE_COOKIE", "/nowhere").output();
    assert!(output.expect("the binary starts").status.success());
    let told = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = scene.command(&[&["--json"], arguments].concat());
        let output = command.envs(variables.iter().copied()).output().expect("the binary starts");
        let error: Value = serde_json::from_slice(&output.stderr).expect("an error");
        (output.status.code(), error["error"].to_string(), error["advice"].to_string())
    };
    let cookie = [("TAPROOF_NODE", "http://127.0.0.1:1"), ("TAPROOF_NODE_COOKIE", "/nowhere/.cookie")];
    let (code, error, advice) = told(&["follow"], &cookie);
    assert!(code == Some(3) && error.contains("/nowhere/.cookie") && advice.contains("--cookie"), "{error}: {advice}");
    // A rollup that was founded on a node, and no node is named.
    fs::remove_file(scene.path("rollup/regtest.chain")).expect("our own chain");
    for command in [&["follow"][..], &["status"], &["batch"], &["anchor", "run", "--once"], &["regtest", "mine", "1"]] {
        let (code, error, advice) = told(command, &[]);
        assert!(code == Some(3) && error.contains("embedded regtest chain does not have"), "{command:?}: {error}");
        // `regtest` has no such option.
        let way_on = if command[0] == "regtest" { "knows the embedded chain alone" } else { "--node URL" };
        assert!(advice.contains(way_on), "{command:?}: {advice}");
    }
    assert!(!scene.path("rollup/regtest.chain").exists(), "no chain is made where the rollup cannot live on it");
    let other = Scene::new();
    other.report(&["wallet", "new"]);
    other.report(&["regtest", "mine", "30"]);
    fs::copy(other.path("rollup/regtest.chain"), scene.path("rollup/regtest.chain")).expect("a chain");
    let (_, error, advice) = told(&["follow"], &[]);
    assert!(error.contains("starts after block") && advice.contains("--node URL"), "another chain: {error}: {advice}");
}

#[test]
fn an_overview_shows_what_can_be_read_and_warns_of_the_rest() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "20"]);
    let small =
        ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
    scene.report(&[&small[..], &["--seed", &"11".repeat(32)]].concat());
    scene.report(&["regtest", "mine", "2"]);
    fs::copy(scene.path("rollup/regtest.chain"), scene.path("short.chain")).expect("our own chain");
    scene.report(&["regtest", "mine", "20"]);
    scene.report(&["bridge", "status"]);
    scene.report(&["follow"]);
    // The node is behind what was followed, and one file is no store.
    fs::copy(scene.path("short.chain"), scene.path("rollup/regtest.chain")).expect("our own chain");
    fs::write(scene.path("rollup/anchoring.redb"), "no store").expect("our own folder");
    let warned = |command: &str| {
        let output = scene.run(&["--json", command]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && stderr.contains("{\"warning\":\"the node reaches height"),
            "{command}: {stderr}"
        );
        stderr
    };
    warned("follow");
    let stderr = warned("status");
    assert!(stderr.contains("anchors on their way are not shown"), "{stderr}");
    assert!(stderr.contains("what the bridge holds is not shown"), "{stderr}");
}

#[test]
fn mainnet_has_every_name_that_people_give_it() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    for name in ["mainnet", "main", "bitcoin"] {
        assert_eq!(scene.report(&["wallet", "keys", "--network", name])["network"], "bitcoin");
    }
    assert_eq!(scene.report(&["wallet", "keys", "--network", "testnet4"])["network"], "testnet4");
    let output = scene.run(&["wallet", "keys", "--network", "moon"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("mainnet, testnet, testnet4, signet or regtest"), "{stderr}");
}
