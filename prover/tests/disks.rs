//! Disks that are full, writers that are killed, files that were damaged, and folders that may not be written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![cfg(unix)]

mod scene;

use scene::{Scene, alter, write_small_circuit};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const SETUP: [&str; 10] =
    ["setup", "--payments-only", "--depth", "1", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];

/// Runs a command that may write no file of more than so many kilobytes, and is killed or gets an error where it does.
fn run_within(scene: &Scene, kilobytes: u32, is_killed: bool, arguments: &[&str]) -> Output {
    let program = scene.command(arguments);
    let trap = if is_killed { "" } else { "trap '' XFSZ; " };
    let mut shell = Command::new("sh");
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
    assert!(said.contains("copy the key file from keys/ of whoever made the program"), "{said}");

    // Where no rollup is founded with it yet, another is made; from the same seed it is the same.
    fs::write(&key, &whole).unwrap();
    alter(&key, whole.len() - 100);
    for founded in ["params.json", "program.bin", "ledger.redb", "chain.redb", "batches", "proofs"] {
        fs::rename(scene.path("rollup").join(founded), scene.path(founded)).unwrap();
    }
    let seed = "11".repeat(32);
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1"];
    let output = scene.run(&[&["setup", "--payments-only", "--seed", &seed], &slots[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let named = format!("warning: {}: ", key.display());
    assert!(said.contains(&named) && said.contains("another key is made"), "{said}");
    assert!(fs::read(&key).unwrap() == whole);
}

#[test]
fn a_full_disk_is_said_by_the_name_of_the_file_that_does_not_fit() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let export = ["export", "--vkey", "small.zkey", "--out", "vkey.json"];
    let before = files(&scene.path(""));
    let output = run_within(&scene, 1, false, &export);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: vkey.json: ") && !said.contains(".taproof-tmp-"), "{said}");
    assert!(said.contains("make room, and run it again"), "{said}");
    assert_eq!(files(&scene.path("")), before, "nothing is there under its name, nor under another");
}

/// The user that nobody is, whom modes bind as they do not bind root.
const NOBODY: u32 = 65_534;

/// A scene whose data directory may not be written by whoever runs commands there.
struct Reader<'a> {
    scene: &'a Scene,
    /// Where the tests are root's: the binary where nobody can reach it, to be run as nobody.
    program: Option<PathBuf>,
}

impl<'a> Reader<'a> {
    fn new(scene: &'a Scene) -> Self {
        let is_root = fs::metadata(scene.path("rollup")).unwrap().uid() == 0;
        let program = is_root.then(|| {
            let program = scene.path("taproof");
            fs::copy(env!("CARGO_BIN_EXE_taproof"), &program).unwrap();
            fs::set_permissions(scene.path(""), fs::Permissions::from_mode(0o777)).unwrap();
            program
        });
        let reader = Self { scene, program };
        reader.set_rights(&scene.path("rollup"), false);
        reader
    }

    fn set_rights(&self, path: &Path, may_write: bool) {
        if path.is_dir() {
            files(path).iter().for_each(|file| self.set_rights(file, may_write));
        }
        if self.program.is_some() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mode = fs::metadata(path).unwrap().permissions().mode();
        let mode = if may_write { mode | 0o200 } else { mode & !0o222 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let ours = self.scene.command(arguments);
        let Some(program) = &self.program else { return self.scene.run(arguments) };
        let mut command = Command::new(program);
        command.args(ours.get_args()).current_dir(self.scene.path("")).uid(NOBODY).gid(NOBODY);
        for (name, _) in ours.get_envs() {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What a command reports, and says besides.
    fn report(&self, arguments: &[&str]) -> (serde_json::Value, String) {
        let output = self.run(&[&["--json"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }
}

impl Drop for Reader<'_> {
    /// So that the scene can be removed.
    fn drop(&mut self) {
        self.set_rights(&self.scene.path("rollup"), true);
    }
}

#[test]
fn who_may_only_read_a_data_directory_sees_all_of_it() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    scene.report(&["bridge", "status"]);
    // What has become final since then, no store has yet.
    scene.report(&["regtest", "mine", "8"]);
    let owner = scene.owner("0");
    let status = ["status"];
    let follow = ["follow", "--all"];
    let account = ["account", owner.as_str()];
    let reader = Reader::new(&scene);
    let read = [&status[..], &follow, &account, &["bridge", "status"]].map(|command| {
        let (report, said) = reader.report(command);
        assert!(said.contains("may not be written"), "{command:?}: {said}");
        report
    });
    assert_eq!(read[0]["anchors"][0]["state"], "final");
    for file in ["ledger", "chain", "anchoring", "coins"] {
        let (report, said) = reader.report(&["inspect", &format!("rollup/{file}.redb")]);
        assert!(report["format"].is_string() && said.is_empty(), "{file}: {said}");
    }
    for command in [
        &["report", "--out", "page.html"][..],
        &["follow", "--headers-only"],
        &["anchor", "status"],
        &["wallet", "coins"],
        &["wallet", "keys"],
        &["rebuild"],
        &["tx", "transfer", "--to", "1", "--amount", "5"],
    ] {
        let output = reader.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Whoever writes is told what may not be written, and what to do.
    for (command, file) in [
        (&["batch", "--reference-depth", "1"][..], "ledger.redb"),
        (&["regtest", "mine", "1"], "regtest.chain"),
        (&["regtest", "deposit", "--owner", &owner, "--amount", "1000"], "coins.redb"),
        (&["anchor", "run", "--once"], "anchoring.lock"),
        (&["wallet", "new", "--wallet", "rollup/other.words"], "other.words"),
    ] {
        let output = reader.run(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains(file), "{command:?}: {said}");
        assert!(said.contains("run it as the user whose files they are"), "{command:?}: {said}");
    }
    drop(reader);
    let written = [&status[..], &follow, &account, &["bridge", "status"]].map(|command| scene.report(command));
    assert_eq!(read, written, "the same as whoever writes sees");
}

#[test]
fn a_directory_that_was_never_followed_is_followed_by_who_may_only_read_it() {
    let scene = Scene::funded();
    fs::remove_file(scene.path("rollup/chain.redb")).unwrap();
    let reader = Reader::new(&scene);
    let (read, said) = reader.report(&["status"]);
    assert!(said.contains("chain.redb may not be written"), "{said}");
    drop(reader);
    assert!(!scene.path("rollup/chain.redb").exists());
    assert_eq!(read, scene.report(&["status"]));
}
