//! Disks that are full, writers that are killed, files that were damaged, and folders that may not be written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![cfg(unix)]

mod scene;

use scene::{Scene, alter};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

const SETUP: [&str; 9] = ["setup", "--depth", "1", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];

/// Runs a command that may write no file of more than so many kilobytes, and is killed or gets an error where it does.
fn run_within(scene: &Scene, kilobytes: u32, is_killed: bool, arguments: &[&str]) -> Output {
    let program = scene.command(arguments);
    let trap = if is_killed { "" } else { "trap '' XFSZ; " };
    let mut shell = std::process::Command::new("sh");
    // The unit of `ulimit -f` is 512 bytes in some shells and 1,024 in others: here it does not matter which.
    shell.args(["-c", &format!("ulimit -c 0; ulimit -f {kilobytes}; {trap}exec \"$0\" \"$@\"")]);
    shell.arg(program.get_program()).args(program.get_args()).current_dir(scene.path(""));
    shell.stdin(Stdio::null()).output().unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_key_is_there_whole_or_not_at_all_and_setup_goes_on_from_where_it_was_stopped() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let keys = scene.path("rollup/keys");
    let output = run_within(&scene, 300, false, &SETUP);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the disk is full") && said.contains("make room"), "{said}");
    assert_eq!(said.matches("rollup/keys/deposit").count(), 1, "the file is named once: {said}");
    assert_eq!(files(&keys), [""; 0].map(PathBuf::from));
    // Killed while it writes, it leaves its temporary file, which the next one removes.
    let output = run_within(&scene, 300, true, &SETUP);
    assert_eq!(output.status.code(), None);
    assert_eq!(files(&keys).len(), 1);
    scene.report(&SETUP);
    assert!(files(&keys).iter().all(|file| file.extension().is_some_and(|extension| extension == "key")));
    assert_eq!(files(&keys).len(), 4);
}

#[test]
fn damaged_keys_are_named_and_setup_makes_others() {
    let scene = Scene::funded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let key = scene.path("rollup/keys/deposit-d2-n2-v1.key");
    let whole = fs::read(&key).unwrap();
    alter(&key, whole.len() - 100);
    let prove = ["prove", "rollup/batches/0.batch"];
    let error = scene.failure(3, &prove);
    assert!(error.starts_with(&key.display().to_string()) && error.contains("altered"), "{error}");
    fs::write(&key, &whole[..1_000]).unwrap();
    let error = scene.failure(3, &prove);
    assert!(error.starts_with(&key.display().to_string()) && error.contains("truncated"), "{error}");
    fs::remove_file(&key).unwrap();
    let error = scene.failure(3, &prove);
    assert_eq!(error.matches("deposit-d2-n2-v1.key").count(), 1, "{error}");
    let said = String::from_utf8(scene.run(&prove).stderr).unwrap();
    assert!(said.contains("restore the key file that the rollup was founded with"), "{said}");

    // Where no rollup is founded with it yet, another is made; from the same seed it is the same.
    fs::write(&key, &whole).unwrap();
    alter(&key, whole.len() - 100);
    for founded in ["params.json", "program.bin", "ledger.redb"] {
        fs::remove_file(scene.path("rollup").join(founded)).unwrap();
    }
    let seed = "11".repeat(32);
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1"];
    let output = scene.run(&[&["setup", "--seed", &seed], &slots[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let named = format!("warning: {}: ", key.display());
    assert!(said.contains(&named) && said.contains("another key is made"), "{said}");
    assert!(fs::read(&key).unwrap() == whole);
}
