//! The anchoring service as a process of its own, against a real bitcoind: signals, `kill -9`, a second service, and
//! a signer that is asked by files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod signers;

use taproof_bitcoin::testing::bitcoind;

use bitcoin::{Address, Network, NetworkKind, Psbt, ScriptBuf, bip32::Xpriv, key::Secp256k1};
use bitcoind::{
    Bitcoind,
    proxy::{ConnectionFault, Proxy},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};
use taproof_bitcoin::node::Node;
use taproof_wallet::PosterScripts;
use tempfile::TempDir;

const FINAL_DEPTH_BLOCKS: u32 = 3;
/// A well-known mnemonic, from the vectors of BIP-39.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
/// Where a signer with these words finds the poster's key.
const PATH: &str = "86h/1h/0h/0/0";

/// A node, and a data directory whose first batches are proven.
struct Scene {
    bitcoind: Bitcoind,
    folder: TempDir,
}

impl Scene {
    fn new(batches: u64) -> Self {
        let scene = Self { bitcoind: Bitcoind::start(), folder: tempfile::tempdir().unwrap() };
        let mut import =
            scene.command(&["wallet", "import"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(WORDS.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        scene.bitcoind.fund(8, &scene.poster());
        let (seed, final_depth) = ("11".repeat(32), FINAL_DEPTH_BLOCKS.to_string());
        let sizes = ["--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
        scene.on_chain(
            &[&["setup", "--payments-only", "--seed", &seed, "--final-depth", &final_depth], sizes.as_slice()].concat(),
        );
        let keys = scene.report(&["wallet", "keys"]);
        let owner = keys["owners"][0]["owner"].as_str().unwrap().to_owned();
        for batch in 0..batches {
            scene.on_chain(&["bridge", "deposit", "--owner", &owner, "--amount", "50000", "--send"]);
            scene.mine(1);
            scene.on_chain(&["batch", "--reference-depth", "1"]);
            scene.report(&["prove", &format!("rollup/batches/{batch}.batch")]);
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn poster(&self) -> ScriptBuf {
        let keys = self.report(&["wallet", "keys"]);
        let address: Address<_> = keys["poster_address"].as_str().unwrap().parse().unwrap();
        address.assume_checked().script_pubkey()
    }

    /// The script of a key's taproot address.
    fn address_of(&self, key: &str) -> ScriptBuf {
        PosterScripts::watch_only(key.parse().unwrap(), Network::Regtest).script_pubkey()
    }

    fn mine(&self, blocks: u32) {
        self.bitcoind.mine(blocks, &self.bitcoind.new_script());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        command.args(["--json", "--dir"]).arg(self.path("rollup")).args(arguments).current_dir(self.folder.path());
        command.env_remove("TAPROOF_NODE").env_remove("TAPROOF_PASSPHRASE").env_remove("TAPROOF_DIR");
        command.stdin(Stdio::null());
        command
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Arguments, and the node.
    fn with_node(&self, arguments: &[&str]) -> Vec<String> {
        let node = ["--node".to_owned(), self.bitcoind.url(), "--cookie".to_owned()];
        let cookie = self.bitcoind.cookie_file().to_str().unwrap().to_owned();
        arguments.iter().map(ToString::to_string).chain(node).chain([cookie]).collect()
    }

    fn on_chain(&self, arguments: &[&str]) -> Value {
        let arguments = self.with_node(arguments);
        self.report(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs a command that must fail with this exit code, and gives the error.
    fn failure(&self, exit_code: i32, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.command(arguments).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(exit_code), "{arguments:?}: {stderr}");
        let error: Value = serde_json::from_str(stderr.trim().lines().last().unwrap()).unwrap();
        assert_eq!(error["exit_code"], exit_code);
        error["error"].as_str().unwrap().to_owned()
    }

    /// Starts the service, which runs until it is told to end.
    fn serve(&self, arguments: &[&str]) -> Running {
        self.serve_at(&self.bitcoind.url(), arguments)
    }

    /// As [`Scene::serve`], with the node at another address.
    fn serve_at(&self, url: &str, arguments: &[&str]) -> Running {
        let cookie = self.bitcoind.cookie_file();
        let node = ["anchor", "run", "--every", "1", "--node", url, "--cookie", cookie.to_str().unwrap()];
        let mut child = self.command(&[&node, arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let journal = BufReader::new(child.stdout.take().unwrap());
        Running { child, journal }
    }

    fn status(&self, batch: &str) -> Value {
        self.report(&["anchor", "status", "--batch", batch])["jobs"][0].clone()
    }
}

/// A running service.
struct Running {
    child: Child,
    journal: BufReader<ChildStdout>,
}

impl Running {
    /// Reads the journal until it says something of a batch.
    fn wait_for(&mut self, batch: u64, event: &str, field: &str, value: &str) {
        self.read_until(&format!("batch {batch} {event} {value}"), |note| {
            note["batch"] == batch && note["event"] == event && note[field] == value
        });
    }

    /// Reads the journal until there is a line of a kind.
    fn read_until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.journal.read_line(&mut line).unwrap() > 0, "it ended before {what}");
            let note: Value = serde_json::from_str(&line).unwrap();
            if is_it(&note) {
                return note;
            }
        }
    }

    /// Reads the journal until it says that it waits for something that is told by these words.
    fn wait_for_waiting(&mut self, words: &str) -> Value {
        let waits = |note: &Value| note["event"] == "waits" && note["reason"].as_str().unwrap().contains(words);
        self.read_until(&format!("it waits: {words}"), waits)
    }

    fn wait_for_state(&mut self, batch: u64, state: &str) {
        self.wait_for(batch, "moved", "to", state);
    }

    /// Waits until the node has the reveal: its state is stored before.
    fn wait_for_reveal(&mut self, batch: u64) {
        self.wait_for(batch, "sent", "what", "reveal");
    }

    /// Sends a signal, on which it ends by itself.
    fn end_by(mut self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{signal} is no failure");
    }

    fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is over already, unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_anchors_as_blocks_come_and_ends_when_it_is_told_to() {
    let scene = Scene::new(1);
    let mut service = scene.serve(&[]);
    service.wait_for_reveal(0);
    let other = scene.with_node(&["anchor", "run", "--once"]);
    let error = scene.failure(5, &other.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("anchoring.lock") && error.contains("locked"), "{error}");
    let sent = scene.status("0");
    assert_eq!(sent["state"], "reveal sent", "told beside the service");
    let error = scene.failure(3, &["anchor", "bump", "--batch", "0", "--fee-rate", "101"]);
    assert!(error.contains("above the cap of 100 sat/vB"), "{error}");
    service.kill9();

    // The lock has gone with the process, and the next one goes on with what was sent.
    let mut service = scene.serve(&[]);
    scene.mine(1);
    service.wait_for_state(0, "in block");
    service.end_by("-INT");
    let mut service = scene.serve(&[]);
    scene.mine(FINAL_DEPTH_BLOCKS);
    service.wait_for_state(0, "final");
    service.end_by("-TERM");
    let anchored = scene.status("0");
    assert_eq!((&anchored["closed"], &anchored["commits"]), (&true.into(), &1.into()));
    assert_eq!((&anchored["commit_txid"], &anchored["reveal_txid"]), (&sent["commit_txid"], &sent["reveal_txid"]));
    assert_eq!(scene.on_chain(&["follow"])["batches"], 1);
}

#[test]
fn the_service_waits_for_its_node_from_the_start_on_and_says_so() {
    let scene = Scene::new(1);
    let proxy = Proxy::start(scene.bitcoind.rpc_port());
    let url = proxy.url();
    // What ends one look ends a command that looks once.
    proxy.set(ConnectionFault::Refuse);
    let cookie = scene.bitcoind.cookie_file();
    let once = ["anchor", "run", "--once", "--node", &url, "--cookie", cookie.to_str().unwrap()];
    assert!(scene.failure(1, &once).contains("does not answer"));
    let mut wrong = once;
    wrong[6] = "/nowhere/.cookie";
    assert!(scene.failure(3, &wrong).contains("/nowhere/.cookie"));

    let mut service = scene.serve_at(&url, &[]);
    let waits = service.wait_for_waiting("does not answer");
    assert!(waits["seconds"].as_u64().unwrap() >= 1 && waits["advice"].is_string());
    proxy.set(ConnectionFault::Answer("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"));
    service.wait_for_waiting("refuses the user and password");
    proxy.set(ConnectionFault::None);
    service.wait_for_reveal(0);

    let faults = [
        ("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "HTTP status 500"),
        ("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", "does not allow"),
        (
            "HTTP/1.1 500 X\r\nContent-Length: \
             58\r\n\r\n{\"result\":null,\"error\":{\"code\":-1,\"message\":\"no\"},\"id\":0}\n",
            "code -1: no",
        ),
        (
            "HTTP/1.1 500 X\r\nContent-Length: \
             62\r\n\r\n{\"result\":null,\"error\":{\"code\":-32603,\"message\":\"no\"},\"id\":0}\n",
            "code -32603: no",
        ),
    ];
    for (answer, words) in faults {
        proxy.set(ConnectionFault::Answer(answer));
        service.wait_for_waiting(words);
        proxy.set(ConnectionFault::None);
        service.read_until("it goes on", |note| note["event"] == "goes_on");
    }
    scene.mine(1);
    service.wait_for_state(0, "in block");
    service.end_by("-TERM");
}

/// Lets an independent signer sign a file; gives the file of what came out.
fn sign_by(scene: &Scene, signer: &str, from: &str) -> String {
    let seed = hex::encode(bip39::Mnemonic::parse(WORDS).unwrap().to_seed(""));
    let to = format!("{signer}.psbt");
    signers::sign(signer, &seed, PATH, &scene.path(from), &scene.path(&to));
    to
}

#[test]
fn independent_wallets_sign_the_commit_and_a_hot_key_does_the_rest() {
    let scene = Scene::new(1);
    let key = scene.report(&["wallet", "keys"])["poster_key"].as_str().unwrap().to_owned();
    let seed = bip39::Mnemonic::parse(WORDS).unwrap().to_seed("");
    let master = Xpriv::new_master(NetworkKind::Test, &seed).unwrap();
    let watch_only = format!("tr([{}/{PATH}]{key})", master.fingerprint(&Secp256k1::new()));
    // From here on the service has a wallet of its own, without coins.
    fs::remove_file(scene.path("rollup/wallet.words")).unwrap();
    scene.report(&["wallet", "new"]);
    let options = ["--watch-only", &watch_only, "--hot-key"];
    let looked = scene.on_chain(&[&["anchor", "run", "--once"], options.as_slice()].concat());
    assert_eq!(looked["jobs"][0]["state"], "built");
    let written = scene.report(&["anchor", "psbt", "--batch", "0", "--out", "unsigned"]);
    assert_eq!(written["files"], serde_json::json!(["unsigned/commit.psbt"]), "one ordinary transaction");

    // Each signer alone is enough; what they give back, finished or not, binary or in base64, is taken.
    for signer in ["embit", "scure", "scure-final", "bitcoinjs", "bitcoinjs-final"] {
        let signed = sign_by(&scene, signer, "unsigned/commit.psbt");
        let taken = scene.report(&["anchor", "psbt", "--batch", "0", "--signed", &signed]);
        assert_eq!(taken["accepted"], serde_json::json!(["commit"]), "{signer}");
    }
    let mut service = scene.serve(&options);
    service.wait_for_reveal(0);
    scene.report(&["anchor", "bump", "--batch", "0"]);
    service.wait_for_state(0, "bumped");
    scene.mine(1);
    service.wait_for_state(0, "in block");
    service.end_by("-TERM");
    let bitcoin = scene.bitcoind.node().coins(&[scene.address_of(&key)]).unwrap().coins;
    let height = scene.bitcoind.tip().0;
    let returned = bitcoin.iter().filter(|coin| coin.height == height).count();
    assert_eq!(returned, 2, "the commit's change, and what the reveal returns");
}

/// Signs a file as a signer does who has the words, into another folder.
fn sign(scene: &Scene, from: &Path, to: &str) -> String {
    let seed = bip39::Mnemonic::parse(WORDS).unwrap().to_seed("");
    let master = Xpriv::new_master(NetworkKind::Test, &seed).unwrap();
    let mut psbt = Psbt::deserialize(&fs::read(from).unwrap()).unwrap();
    psbt.sign(&master, &Secp256k1::new()).unwrap();
    fs::create_dir_all(scene.path(to)).unwrap();
    let path = scene.path(to).join(from.file_name().unwrap());
    fs::write(&path, psbt.serialize()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_signer_that_is_asked_by_files_anchors_a_batch() {
    let scene = Scene::new(2);
    let key = scene.report(&["wallet", "keys"])["poster_key"].as_str().unwrap().to_owned();
    let seed = bip39::Mnemonic::parse(WORDS).unwrap().to_seed("");
    let master = Xpriv::new_master(NetworkKind::Test, &seed).unwrap();
    let origin = format!("{}/{PATH}", master.fingerprint(&Secp256k1::new()));
    // The service has no key from here on.
    fs::remove_file(scene.path("rollup/wallet.words")).unwrap();
    let write = ["anchor", "psbt", "--batch", "0", "--origin", &origin, "--out"];
    let write_to = |folder: &'static str| [write.as_slice(), &[folder]].concat();
    assert!(scene.failure(3, &write_to("unsigned")).contains("nothing was anchored"));
    let looked = scene.on_chain(&["anchor", "run", "--once", "--watch-only", &key]);
    assert_eq!((&looked["jobs"][0]["state"], looked["jobs"][0]["advice"].is_string()), (&"built".into(), true));

    // Written once, and again as long as nothing else lies there; a folder that cannot be made is said.
    let written = scene.report(&write_to("unsigned"));
    assert_eq!(scene.report(&write_to("unsigned")), written);
    let unsigned: Vec<PathBuf> = serde_json::from_value(written["files"].clone()).unwrap();
    let unsigned: Vec<PathBuf> = unsigned.iter().map(|file| scene.folder.path().join(file)).collect();
    assert!(unsigned.len() > 2, "a commit and reveals at rising fees: {unsigned:?}");
    assert!(scene.failure(3, &write_to("rollup/params.json/unsigned")).contains("there is no folder"));
    assert!(scene.failure(1, &write_to("/proc")).contains("/proc"), "nobody can write there");
    let signed: Vec<String> = unsigned.iter().map(|file| sign(&scene, file, "signed")).collect();
    let kept = fs::read(&signed[0]).unwrap();
    let error = scene.failure(3, &write_to("signed"));
    assert!(error.contains("commit.psbt") && error.contains("something else"), "{error}");
    assert_eq!(fs::read(&signed[0]).unwrap(), kept, "signatures are not written over");

    let read = |exit_code, file: &str| scene.failure(exit_code, &["anchor", "psbt", "--batch", "0", "--signed", file]);
    fs::write(scene.path("half.psbt"), &kept[..kept.len() / 2]).unwrap();
    for (exit_code, file) in [(3, "half.psbt"), (3, "rollup/params.json"), (3, "missing.psbt")] {
        assert!(read(exit_code, file).contains(file));
    }
    assert!(read(4, unsigned[0].to_str().unwrap()).contains("not signed"));
    let all: Vec<&str> = signed.iter().flat_map(|file| ["--signed", file.as_str()]).collect();
    let taken = scene.report(&[&["anchor", "psbt", "--batch", "0"], all.as_slice()].concat());
    assert_eq!(taken["accepted"].as_array().map(Vec::len), Some(signed.len()));

    let mut service = scene.serve(&["--watch-only", &key]);
    service.wait_for_reveal(0);
    scene.mine(1);
    service.wait_for_state(1, "built");
    service.end_by("-TERM");
    assert_eq!((&scene.status("0")["state"], &scene.status("1")["state"]), (&"in block".into(), &"built".into()));
    let error = scene.failure(4, &["anchor", "psbt", "--batch", "1", "--signed", &signed[0]]);
    assert!(error.contains(&signed[0]), "{error}");
    assert!(scene.failure(3, &["anchor", "psbt", "--batch", "7", "--out", "seven"]).contains("no anchor here"));
    assert!(!scene.path("seven").exists());
}
