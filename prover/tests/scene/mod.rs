//! A folder of one's own in which the binary is run.

#![allow(dead_code, reason = "each test uses some of it")]

use ark_bn254::Fr;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use taproof_base::progress::Silent;
use taproof_circuits::{
    cs::{ConstraintSystem, SegmentShape, Shape},
    iden3::write_wtns,
};
use taproof_kernel::{
    key_file::{self, Key},
    setup::{self, Randomness, SetupOptions},
    zkey,
};
use taproof_verifier::{cell::Depth, follow::Params, record::Kind, statement::CircuitId};
use tempfile::TempDir;

/// A data directory of its own.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a scratch folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        command.arg("--dir").arg(self.path("rollup")).args(arguments).current_dir(self.folder.path());
        for variable in [
            "DIR",
            "NODE",
            "NODE_COOKIE",
            "NODE_USER",
            "NODE_PASSWORD",
            "ESPLORA",
            "PASSPHRASE",
            "WALLET_PASSWORD",
            "WALLET_PASSWORD_FILE",
        ] {
            command.env_remove(format!("TAPROOF_{variable}"));
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the binary starts")
    }

    /// Runs a command that must succeed, and gives its report.
    pub(crate) fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(text.trim_end().lines().count(), 1, "a report is one line: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs a command that must fail with this exit code, and gives the error.
    pub(crate) fn failure(&self, exit_code: i32, arguments: &[&str]) -> String {
        let output = self.run(&[&["--json"], arguments].concat());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {stderr}");
        // What a command did before it failed it may report, and then says what it did not do.
        let report: Option<Value> =
            (!output.stdout.is_empty()).then(|| serde_json::from_slice(&output.stdout).expect("JSON"));
        let failed = |report: &Value| report["failed"].as_array().is_some_and(|failed| !failed.is_empty());
        assert!(report.as_ref().is_none_or(failed), "a command that failed in all reports nothing");
        // Warnings may stand before it, and are JSON as well.
        let mut lines = stderr.lines().map(|line| serde_json::from_str(line).expect("all lines are JSON"));
        let error: Value = lines.next_back().expect("an error");
        assert_eq!(error["exit_code"], exit_code);
        error["error"].as_str().expect("a message").to_owned()
    }

    /// The rollup's parameters.
    pub(crate) fn params(&self) -> Params {
        let text = fs::read_to_string(self.path("rollup/params.json")).expect("the rollup is founded");
        serde_json::from_str(&text).expect("parameters")
    }

    pub(crate) fn owner(&self, index: &str) -> String {
        let keys = self.report(&["wallet", "keys", "--index", index]);
        keys["owners"][0]["owner"].as_str().expect("a key").to_owned()
    }

    /// A rollup of 64 cells whose first owner has deposited 50,000 satoshi, and whose second has deposited 7,000.
    pub(crate) fn funded() -> Self {
        let scene = Self::new();
        scene.report(&["wallet", "new"]);
        scene.report(&["regtest", "mine", "105"]);
        let seed = "11".repeat(32);
        let slots =
            ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1", "--deposit-min", "500"];
        let setup = scene.report(&[&["setup", "--payments-only", "--seed", &seed], slots.as_slice()].concat());
        assert_eq!(setup["circuits"].as_array().map(Vec::len), Some(4));
        for (index, amount) in [("0", "50000"), ("1", "7000")] {
            scene.report(&["regtest", "deposit", "--owner", &scene.owner(index), "--amount", amount]);
        }
        scene
    }

    /// Makes, proves and anchors the next batch, and looks at the chain's root after it.
    pub(crate) fn bring_in(&self, batch: u64, files: &[&str]) -> Value {
        let report = self.report(&[&["batch", "--reference-depth", "1"], files].concat());
        assert_eq!(report["batch"], batch);
        self.report(&["prove", &format!("rollup/batches/{batch}.batch")]);
        self.report(&["anchor", "run", "--once"]);
        let followed = self.report(&["follow"]);
        assert_eq!((&followed["batches"], &followed["root_verified"]), (&(batch + 1).into(), &report["root_after"]));
        report
    }

    /// Another poster of the same rollup, with the same wallet, who has joined what the chain has now.
    pub(crate) fn joined_by_another(&self) -> Self {
        let other = Self::new();
        fs::create_dir(other.path("rollup")).expect("a scratch folder");
        other.see_chain_of(self);
        let files = ["params.json", "program.bin"].map(|name| self.path("rollup").join(name));
        let [params, program] = files.each_ref().map(|path| path.to_str().expect("UTF-8"));
        other.report(&["join", params, program]);
        fs::create_dir_all(other.path("rollup/keys")).expect("a scratch folder");
        for key in fs::read_dir(self.path("rollup/keys")).expect("the founder's keys") {
            let key = key.expect("a file");
            fs::copy(key.path(), other.path("rollup/keys").join(key.file_name())).expect("room");
        }
        fs::copy(self.path("rollup/wallet.words"), other.path("rollup/wallet.words")).expect("room");
        other
    }

    /// Takes the embedded chain of another.
    pub(crate) fn see_chain_of(&self, other: &Self) {
        fs::copy(other.path("rollup/regtest.chain"), self.path("rollup/regtest.chain")).expect("room");
    }
}

/// Changes one byte of a file.
pub(crate) fn alter(path: &Path, position: usize) {
    let mut bytes = fs::read(path).expect("the file is there");
    bytes[position] ^= 1;
    fs::write(path, bytes).expect("the file is ours");
}

/// The circuit x y = public, x + 3 y = z, with its key and a witness in the scene's folder: small.zkey, small.wtns.
pub(crate) fn write_small_circuit(scene: &Scene) -> Shape {
    let circuit = CircuitId::new(Kind::Open, Depth::new(1).expect("the test can go on"), 0);
    let mut head = SegmentShape::new(0);
    let [_, public, x, y] = [(); 4].map(|()| head.witness(Fr::from(0u64)));
    head.enforce(&x, &y, &public);
    head.wire(&(x + y * Fr::from(3u64)));
    let end = head.wire_count();
    let shape = Shape::new(head, SegmentShape::new(end), SegmentShape::new(end), 0, 0);
    let (randomness, network) = (Randomness::Seed([1; 32]), bitcoin::Network::Regtest);
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    let key = setup::generate(&shape, circuit, &options, &Silent).expect("the test can go on");
    key_file::write(&key, &scene.path("own.key")).expect("the test can go on");
    let key = Key::open(&scene.path("own.key"), circuit).expect("the test can go on");
    zkey::write(&key, &shape, &mut fs::File::create(scene.path("small.zkey")).expect("the test can go on"))
        .expect("the test can go on");
    write_witness(scene, "small.wtns", &[1, 35, 5, 7, 26]);
    shape
}

pub(crate) fn write_witness(scene: &Scene, name: &str, wires: &[u64]) {
    let wires: Vec<Fr> = wires.iter().map(|wire| Fr::from(*wire)).collect();
    write_wtns(&wires, &mut fs::File::create(scene.path(name)).expect("the test can go on"))
        .expect("the test can go on");
}
