//! What operators meet around upgrades: the programs that lie here, the keys that they need, and the coins for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;
mod signers;

use bitcoin::{
    NetworkKind,
    bip32::{DerivationPath, Xpriv},
    key::Secp256k1,
};
use scene::Scene;
use serde_json::json;
use std::fs;
use taproof_wallet::{Phrase, Wallet};

const SLOTS: [&str; 6] = ["--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];

/// A rollup that begins with trees of one level and can grow to two, whose own wallet has the one upgrade key.
fn growing() -> Scene {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let key = scene.report(&["bridge", "keys"])["signer_key"].as_str().unwrap().to_owned();
    let seed = "11".repeat(32);
    let setup =
        ["setup", "--payments-only", "--seed", &seed, "--depth", "1", "--full-depth", "2", "--upgrade-key", &key];
    scene.report(&[&setup[..], &["--upgrade-threshold", "1"], &SLOTS].concat());
    scene
}

#[test]
fn what_is_no_program_among_the_programs_is_passed_over_and_named() {
    let scene = growing();
    // Depths and slots are those of the program in force.
    let made = scene.report(&["upgrade", "make", "--seed", &"22".repeat(32)]);
    let id = made["program_id"].as_str().unwrap();
    let circuits: Vec<&str> = made["circuits"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let is_alike = |name: &&str| (name.contains("-d1-n1-") || name.contains("-d2-n1-")) && name.ends_with("-v1");
    assert!(circuits.len() == 8 && circuits.iter().all(is_alike), "{circuits:?}");
    let programs = scene.path("rollup/programs");
    fs::write(programs.join("stray.bin"), "garbage").unwrap();
    fs::create_dir(programs.join("folder.bin")).unwrap();
    let show = scene.run(&["--json", "upgrade", "show"]);
    assert!(show.status.success());
    let warnings = String::from_utf8(show.stderr).unwrap();
    assert!(warnings.lines().count() == 2 && warnings.contains("stray.bin") && warnings.contains("folder.bin"));
    assert!(warnings.matches("passed over: ").count() == 2, "{warnings}");
    let known = scene.report(&["upgrade", "show"])["programs_known"].clone();
    assert!(known.as_array().unwrap().contains(&json!(id)), "{known}");

    // One that was cut off is as good as none, and is put back.
    let file = programs.join(format!("{id}.bin"));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let known = scene.report(&["upgrade", "show"])["programs_known"].clone();
    assert!(!known.as_array().unwrap().contains(&json!(id)), "{known}");
    for length in [3, bytes.len() / 2] {
        fs::write(scene.path("cut.bin"), &bytes[..length]).unwrap();
        let refused = scene.run(&["upgrade", "add", "cut.bin"]);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(3), "{told}");
        assert!(told.contains("the bytes end early or go on") && told.contains("get it anew"), "{told}");
    }
    fs::write(scene.path("again.bin"), bytes).unwrap();
    scene.report(&["upgrade", "add", "again.bin"]);
    let known = scene.report(&["upgrade", "show"])["programs_known"].clone();
    assert!(known.as_array().unwrap().contains(&json!(id)), "{known}");
}

#[test]
fn a_hot_key_is_shown_so_that_it_can_be_named_as_a_sequencer() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let words = Phrase::read_file(&scene.path("rollup/wallet.words")).unwrap();
    let wallet = Wallet::new(&words, "", bitcoin::Network::Regtest);
    let keys = scene.report(&["wallet", "keys"]);
    assert_eq!(keys["hot_key"], json!(wallet.hot_key(0).unwrap().public().to_string()));
    assert_ne!(keys["hot_key"], keys["poster_key"]);
    let text = String::from_utf8(scene.run(&["wallet", "keys"]).stdout).unwrap();
    assert!(text.contains(&format!("hot key         {}", keys["hot_key"].as_str().unwrap())), "{text}");
}

#[test]
fn on_the_embedded_chain_the_wallet_pays_the_upgrade_address() {
    let scene = growing();
    let address = scene.report(&["upgrade", "show"])["address"].as_str().unwrap().to_owned();
    let announce = ["upgrade", "announce", "--sequencer-key", KEY, "--out", "up.psbt"];
    let poor = scene.failure(1, &announce);
    assert!(poor.contains("sat are needed"), "{poor}");
    scene.report(&["regtest", "pay", "--address", &address, "--amount", "50000"]);
    let announced = scene.report(&announce);
    assert_eq!(announced["change_sat"].as_u64().unwrap() + announced["fee_sat"].as_u64().unwrap(), 50_000);
    for (amount, exit, reason) in [("329", 3, "no payment of less than 330"), ("99999999999", 1, "are needed")] {
        let refused = scene.failure(exit, &["regtest", "pay", "--address", &address, "--amount", amount]);
        assert!(refused.contains(reason), "{refused}");
    }
    let elsewhere = scene.failure(3, &["regtest", "pay", "--address", MAINNET_ADDRESS, "--amount", "5000"]);
    assert!(elsewhere.contains("an address of mainnet"), "{elsewhere}");
}

/// Seeds of signers whose programs are not ours.
const SEEDS: [&str; 3] = ["0101010101010101", "0202020202020202", "0303030303030303"];
/// Where each finds its key.
const PATH: &str = "86h/1h/0h/0/0";

/// The key of a seed, with where it comes from.
fn key_of(seed: &str) -> String {
    let secp = Secp256k1::new();
    let master = Xpriv::new_master(NetworkKind::Test, &hex::decode(seed.repeat(4)).unwrap()).unwrap();
    let path: DerivationPath = PATH.parse().unwrap();
    let key = master.derive_priv(&secp, &path).unwrap().to_keypair(&secp).x_only_public_key().0;
    format!("[{}/{PATH}]{key}", master.fingerprint(&secp))
}

/// Signs a file by a program of somebody else's.
fn sign_by(scene: &Scene, signer: &str, seed: &str, from: &str) -> String {
    let to = format!("{signer}.psbt");
    signers::sign(signer, &seed.repeat(4), PATH, &scene.path(from), &scene.path(&to));
    to
}

#[test]
fn independent_wallets_sign_what_is_announced() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    scene.report(&["regtest", "mine", "105"]);
    let keys = SEEDS.map(key_of);
    let seed = "11".repeat(32);
    let mut setup = vec!["setup", "--payments-only", "--seed", &seed, "--depth", "1", "--upgrade-threshold", "2"];
    keys.iter().for_each(|key| setup.extend(["--upgrade-key", key]));
    scene.report(&[&setup[..], &SLOTS].concat());
    let address = scene.report(&["upgrade", "show"])["address"].as_str().unwrap().to_owned();
    scene.report(&["regtest", "pay", "--address", &address, "--amount", "500000"]);
    let signers = [("embit", SEEDS[0]), ("bitcoinjs-leaf", SEEDS[1]), ("scure", SEEDS[2])];
    for (number, [one, two]) in [[0, 1], [1, 2], [2, 0]].into_iter().enumerate() {
        let plan = format!("{number}.psbt");
        let announced = scene.run(&["upgrade", "announce", "--sequencer-key", KEY, "--out", &plan]);
        // The founder's directory knows where the keys come from.
        let told = String::from_utf8(announced.stderr).unwrap();
        assert!(announced.status.success() && !told.contains("comes from"), "{told}");
        let signed = [one, two].map(|signer| sign_by(&scene, signers[signer].0, signers[signer].1, &plan));
        let done = format!("{number}.tx");
        scene.report(&["upgrade", "combine", &signed[0], &signed[1], "--out", &done]);
        scene.report(&["upgrade", "send", &done]);
        assert_eq!(scene.report(&["upgrade", "show"])["next_number"], json!(number + 1));
    }
}

/// A key that is nobody's.
const KEY: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";
/// An address of the first block's reward.
const MAINNET_ADDRESS: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
