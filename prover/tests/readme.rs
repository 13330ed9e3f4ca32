//! The README's journey, run as it stands there: who copies it gets to the end.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use bitcoin::Psbt;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What stands before a block of commands that this test runs.
const MARK: &str = "<!-- prover/tests/readme.rs runs these commands -->\n```console\n";

/// The commands of the README's marked blocks, one after the other, and how many blocks there are.
fn journey() -> (String, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = readme.split(MARK).skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0).collect();
    let mut script = String::new();
    let mut is_continued = false;
    for line in blocks.iter().flat_map(|block| block.lines()) {
        // What is no command is what a command prints.
        let command = if is_continued { Some(line) } else { line.strip_prefix("$ ") };
        if let Some(command) = command {
            script += command;
            script.push('\n');
            is_continued = command.ends_with('\\');
        }
    }
    (script, blocks.len())
}

/// A shell in a folder, for which `taproof` is on the path and which has no settings of the user's.
fn shell(folder: &Path) -> Command {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_taproof"));
    let folders = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([binary.parent().unwrap().to_owned()].into_iter().chain(env::split_paths(&folders)));
    let mut shell = Command::new("sh");
    shell.current_dir(folder).stdin(Stdio::null()).env("PATH", path.unwrap()).env("HOME", folder);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TAPROOF_") {
            shell.env_remove(name);
        }
    }
    shell
}

fn taproof(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = shell(folder);
    let output = command.args(["-c", "exec taproof --json --dir . \"$@\"", "sh"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_journey_of_the_readme_ends_with_a_payout() {
    let folder = tempfile::tempdir().unwrap();
    let (script, blocks) = journey();
    assert!(blocks > 0, "the README marks the commands that are run here");
    let output = shell(folder.path()).args(["-euxc", &script]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for part in ["wallet", "setup", "deposit", "batch", "prove", "anchor", "exit", "payout", "report"] {
        assert!(script.contains(&format!(" {part}")), "a step of the journey is missing: {part}");
    }
    let root = folder.path().join("my-rollup");
    let status = taproof(&root, &["status"]);
    let anchors = status["anchors"].as_array().unwrap();
    assert!(anchors.len() >= 2 && anchors.iter().all(|anchor| anchor["state"] == "final"), "{status}");
    // A withdrawal, and what an owner demanded on Bitcoin.
    assert_eq!((&status["payouts_due"], &status["bridge"]["payouts_settled"]), (&2.into(), &2.into()), "{status}");
    assert_eq!(status["bridge"]["unpaid_sat"], 0);
    assert!(fs::metadata(root.join("report.html")).unwrap().len() > 1_000);
    // The payout is told as what it is, by its file as by its number, and is not sent twice.
    let why = taproof(&root, &["bridge", "why", "payout.hex"]);
    assert_eq!(why, taproof(&root, &["bridge", "why", why["txid"].as_str().unwrap()]));
    let meanings: Vec<&str> =
        why["outputs"].as_array().unwrap().iter().map(|output| output["meaning"].as_str().unwrap()).collect();
    assert_eq!(meanings[0], "the data of a payout transaction: 2 payouts from number 0 on");
    assert!(meanings[2..].iter().all(|meaning| meaning.starts_with("a payout, or the change")), "{meanings:?}");
    let again = taproof(&root, &["bridge", "send", "payout.hex"]);
    assert_eq!((&again["sent"], &again["block"]), (&false.into(), &why["block"]));
    inspect_knows_every_file(&root);
}

/// All files below a folder, by their paths from there.
fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(prefix)).unwrap().map(|entry| entry.unwrap());
    let found = entries.flat_map(|entry| {
        let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() { files(folder, &format!("{path}/")) } else { vec![path] }
    });
    found.collect()
}

/// Whatever the journey and the commands beside it have written, `taproof inspect` says what it is.
fn inspect_knows_every_file(root: &Path) {
    let export = ["export", "batches/1.batch", "--proofs", "proofs/1.proofs", "--out", "iden3"];
    for arguments in [
        &export[..],
        &["follow", "--export-excerpts", "excerpts", "--export-checkpoint", "final.checkpoint"],
        &["follow", "--headers-only", "--excerpts", "excerpts"],
        &["prove-account", "1", "--out", "1.account"],
    ] {
        taproof(root, arguments);
    }
    let base64 = fs::read(root.join("payout.psbt")).map(|bytes| Psbt::deserialize(&bytes).unwrap().to_string());
    fs::write(root.join("payout.base64"), base64.unwrap()).unwrap();
    let found: BTreeMap<String, String> = files(root, "")
        .into_iter()
        .map(|file| {
            let format = taproof(root, &["inspect", &file])["format"].as_str().unwrap().to_owned();
            (file, format)
        })
        .collect();
    for (file, format) in [
        ("params.json", "parameters"),
        ("program.bin", "program"),
        ("wallet.words", "wallet words"),
        ("txs.json", "transactions"),
        ("ledger.redb", "ledger"),
        ("chain.redb", "chain store"),
        ("light.redb", "chain store of a light follower"),
        ("anchoring.redb", "anchoring store"),
        ("anchoring.lock", "lock"),
        ("bridge.state", "bridge state"),
        ("regtest.chain", "regtest chain"),
        ("batches/0.batch", "batch"),
        ("proofs/0.proofs", "proofs"),
        ("iden3/circuit.r1cs", "circuit (r1cs)"),
        ("iden3/witness.wtns", "witness (wtns)"),
        ("iden3/circuit.zkey", "proving key (zkey)"),
        ("iden3/verification_key.json", "verifying key (json)"),
        ("iden3/proof.json", "proof (json)"),
        ("iden3/public.json", "public inputs (json)"),
        ("payout.psbt", "psbt"),
        ("payout.base64", "psbt"),
        ("signed-0.psbt", "psbt"),
        ("payout.hex", "payout link"),
        ("final.checkpoint", "checkpoint"),
        ("1.account", "state proof"),
        ("state.json", "state"),
        ("report.html", "report"),
    ] {
        assert_eq!(found.get(file).map(String::as_str), Some(format), "{file}: {found:?}");
    }
    assert!(found.iter().any(|(file, format)| file.ends_with(".excerpt") && format == "excerpt"), "{found:?}");
    assert!(found.iter().any(|(file, format)| file.ends_with(".key") && format == "proving key"), "{found:?}");
    let link = taproof(root, &["inspect", "payout.hex"]);
    assert_eq!((&link["payouts"]["first"], &link["payouts"]["count"]), (&0.into(), &2.into()), "{link}");
    assert_eq!(taproof(root, &["inspect", "signed-0.psbt"])["signatures"].as_u64().map(|count| count > 0), Some(true));
    no_secret_is_shown(root);
    let mut piped = shell(root);
    let piped =
        piped.args(["-c", "taproof --json inspect - < payout.base64 && cat iden3/circuit.zkey | taproof inspect -"]);
    let output = piped.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && stdout.contains("psbt") && stdout.contains("zkey"), "{stdout}");
}

/// Of the wallet nothing is told but how many words it has; of a witness nothing but its length.
fn no_secret_is_shown(root: &Path) {
    let words = fs::read_to_string(root.join("wallet.words")).unwrap();
    let mut command = shell(root);
    let output =
        command.args(["-c", "taproof inspect wallet.words; taproof --json inspect wallet.words"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("24, which are not shown"), "{shown}");
    let pairs: Vec<&str> = words.split_whitespace().collect();
    for pair in pairs.windows(2) {
        assert!(!shown.contains(&pair.join(" ")), "two words of the wallet are shown: {shown}");
    }
    let mut keys: Vec<String> =
        taproof(root, &["inspect", "iden3/witness.wtns"]).as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["format", "wires"]);
}
