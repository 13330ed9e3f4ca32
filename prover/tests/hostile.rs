//! What strangers write: files that are small and would become huge, and texts that would make a terminal show what
//! nobody said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::esplora;
mod scene;

use bitcoin::ScriptBuf;
use scene::Scene;
use serde_json::{Value, json};
use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};
use taproof_bitcoin::node::EmbeddedNode;

/// Clears the screen, sets a title, begins a line of its own, and turns the direction of writing.
const FORGED: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\r\napplied 5 deposits\u{202e}\u{9b}2J";

/// A rollup without keys that anything could be proven with, and with coins.
fn rollup() -> Scene {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "20"]);
    let small =
        ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
    scene.report(&[&small[..], &["--seed", &"11".repeat(32)]].concat());
    scene
}

/// Makes sure that nothing is shown that moves a cursor or begins a line that is not ours.
fn expect_harmless(output: &Output, what: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let text = str::from_utf8(stream).unwrap();
        let is_harmless = |character: char| character == '\n' || !(character.is_control() || character == '\u{202e}');
        assert!(text.chars().all(is_harmless), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("applied 5")), "{what}: {text:?}");
    }
}

#[test]
fn what_strangers_write_is_shown_on_one_line_without_controls() {
    let scene = rollup();
    let name = format!("{}.json", FORGED.replace('/', ""));
    let transactions =
        |format: &str, entry: Value| json!({ "format": format, "version": 1, "transactions": [entry] }).to_string();
    let files = [
        ("variant", transactions("taproof-transactions", json!({ FORGED: 1 }))),
        ("format", transactions(FORGED, json!(1))),
        ("field", json!({ "format": "taproof-transactions", "version": 1, "transactions": [], FORGED: 1 }).to_string()),
        ("parameters", json!({ "program_id": FORGED, FORGED: 1 }).to_string()),
        ("proof", json!({ "pi_a": FORGED, "protocol": FORGED }).to_string()),
        ("measurement", json!([{ "machine": FORGED }]).to_string()),
        ("report", format!("<!doctype html><title>{FORGED}</title><h1>Rollup ")),
        ("nothing", String::new()),
    ];
    for (what, content) in files {
        fs::write(scene.path(&name), content).unwrap();
        for json in [&[][..], &["--json"]] {
            for command in [&["inspect"][..], &["batch"], &["verify", "--vkey"], &["join"], &["anchor", "publish"]] {
                let output = scene.run(&[json, command, &[&name]].concat());
                expect_harmless(&output, &format!("{command:?} {what}"));
            }
        }
    }
    // Files are written under such names, too.
    let page = format!("{name}.html");
    for command in [&["report", "--out", &page][..], &["inspect", &page]] {
        let output = scene.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        expect_harmless(&output, &format!("{command:?}"));
    }
    fs::write(scene.path("rollup/params.json"), json!({ FORGED: FORGED }).to_string()).unwrap();
    for command in ["status", "follow", "batch"] {
        let output = scene.run(&[command]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        expect_harmless(&output, command);
        assert!(String::from_utf8_lossy(&output.stderr).contains("\\u{1b}[2J"), "{command}");
    }
}

/// Runs a command in as much memory as a few times the file's length.
fn run_in_little_memory(scene: &Scene, command: &[&str]) -> Output {
    let binary = scene.command(command);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -v 1000000 && exec \"$0\" \"$@\""]).arg(binary.get_program()).args(binary.get_args());
    shell.current_dir(scene.path("")).env_remove("TAPROOF_DIR").output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_small_file_of_many_entries_takes_little_memory_and_few_lines() {
    const COUNT: usize = 3_000_000;
    let scene = rollup();
    let zeros = "0,".repeat(COUNT - 1);
    let text = format!(r#"{{"format":"taproof-transactions","version":1,"transactions":[{zeros}0]}}"#);
    fs::write(scene.path("many.json"), text).unwrap();
    for command in [&["inspect", "many.json"][..], &["batch", "many.json", "--reference-depth", "1"]] {
        let output = run_in_little_memory(&scene, command);
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(if command[0] == "batch" { 4 } else { 0 }), "{command:?}: {stderr}");
        assert!(stdout.len() < 10_000 && stdout.contains("2999980 more"), "{command:?}: {stdout}");
        let output = run_in_little_memory(&scene, &[&["--json"], command].concat());
        assert!(output.stdout.len() < 10_000, "{command:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |name: &str| report[name].as_array().map(Vec::len);
        match command[0] {
            "batch" => assert_eq!((list("rejected"), &report["malformed_more"]), (Some(20), &(COUNT - 20).into())),
            _ => assert_eq!((list("malformed"), &report["malformed_count"]), (Some(20), &COUNT.into())),
        }
    }
    let inputs = format!("[{}\"1\"]", "\"1\",".repeat(COUNT / 2 - 1));
    fs::write(scene.path("public.json"), inputs).unwrap();
    let output = run_in_little_memory(&scene, &["--json", "inspect", "public.json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["count"], report["inputs"].as_array().map(Vec::len)), (&(COUNT / 2).into(), Some(1 << 10)));
}

#[test]
fn a_server_that_lies_about_heights_is_told_at_once() {
    let scene = rollup();
    let chain = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).unwrap().chain().clone();
    let server = esplora::Server::start(EmbeddedNode::new(chain, ScriptBuf::new()));
    fs::remove_file(scene.path("rollup/regtest.chain")).unwrap();
    for height in ["4294967295", "2147483648", "-1", "18446744073709551616"] {
        server.lie("/blocks/tip/height", move |_| (200, height.as_bytes().to_vec()));
        for command in [&["follow"][..], &["status"], &["bridge", "status"]] {
            let started = Instant::now();
            let output = scene.run(&[command, &["--esplora", &server.url]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(started.elapsed() < Duration::from_secs(10), "{command:?}");
            assert!(!output.status.success(), "{command:?} {height}");
            assert!(output.status.code().is_some_and(|code| code < 100), "{command:?} {height}: {stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
        let error = scene.failure(1, &["follow", "--esplora", &server.url]);
        assert!(error.contains("the answer to GET /blocks/tip/height is not understood"), "{error}");
    }
}
