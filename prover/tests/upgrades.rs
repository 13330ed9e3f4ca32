//! Upgrades from the command line: another program and other sequencers, announced, withdrawn, and followed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use bitcoin::{Address, ScriptBuf, consensus::encode};
use scene::Scene;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use taproof_bitcoin::{
    anchor::Funding,
    bridge::link::Binding,
    node::EmbeddedNode,
    upgrade::{UpgradeAddress, UpgradeRequest, plan},
};
use taproof_verifier::{
    program::ProgramId,
    upgrade::{Change, Upgrade},
};

const NOTICE_BLOCKS: u32 = 12;

/// A rollup of two upgrade keys, both of which must sign, with coins at their address.
struct Upgradable(Scene);

impl Upgradable {
    fn new() -> Self {
        Self::of_depths(&["--depth", "2"])
    }

    fn of_depths(depths: &[&str]) -> Self {
        let scene = Scene::new();
        scene.report(&["wallet", "new"]);
        scene.report(&["regtest", "mine", "105"]);
        let keys = ["0", "1"].map(|index| scene.report(&["bridge", "keys", "--index", index])["signer_key"].clone());
        let seed = "11".repeat(32);
        let mut setup = vec!["setup", "--payments-only", "--seed", &seed, "--slots", "1", "--deposit-slots", "1"];
        setup.extend(depths);
        setup.extend(["--withdraw-slots", "1", "--deposit-min", "500", "--final-depth", "3", "--deposit-window", "8"]);
        let notice = NOTICE_BLOCKS.to_string();
        setup.extend(["--notice", &notice, "--upgrade-threshold", "2"]);
        keys.iter().for_each(|key| setup.extend(["--upgrade-key", key.as_str().unwrap()]));
        scene.report(&setup);
        let upgradable = Self(scene);
        // A miner's reward at the upgrade address, and as many blocks as it takes to spend it.
        let address: Address<_> = upgradable.show()["address"].as_str().unwrap().parse().unwrap();
        // Rewards are halved twice first: a larger coin is too large to announce with.
        upgradable.mine(200, ScriptBuf::new());
        upgradable.mine(1, address.assume_checked().script_pubkey());
        upgradable.mine(100, ScriptBuf::new());
        upgradable
    }

    fn mine(&self, blocks: u32, script: ScriptBuf) {
        let mut node = EmbeddedNode::open(&self.0.path("rollup/regtest.chain"), script).unwrap();
        node.mine(blocks).unwrap();
        node.save().unwrap();
    }

    fn mine_to(&self, height: u64) {
        let blocks = height - self.show()["height"].as_u64().unwrap();
        self.0.report(&["regtest", "mine", &blocks.to_string()]);
    }

    fn show(&self) -> Value {
        self.0.report(&["upgrade", "show"])
    }

    /// Announces something, with the signatures of both keys, and mines it.
    fn announce(&self, name: &str, arguments: &[&str]) {
        self.announce_and(name, arguments, &[]);
    }

    /// As [`Upgradable::announce`], with more arguments for signers.
    fn announce_and(&self, name: &str, arguments: &[&str], signing: &[&str]) {
        let [plan, one, two, done] = ["psbt", "1.psbt", "2.psbt", "tx"].map(|end| format!("{name}.{end}"));
        self.0.report(&[&["upgrade"], arguments, &["--out", &plan, "--fee-rate", "2"]].concat());
        self.0.report(&[&["upgrade", "sign", &plan, "--out", &one], signing].concat());
        let few = self.0.failure(4, &["upgrade", "combine", &one, "--out", &done]);
        assert!(few.contains("1 of 2 signatures"), "{few}");
        let _ = fs::remove_file(self.0.path(&done));
        self.0.report(&[&["upgrade", "sign", &plan, "--index", "1", "--out", &two], signing].concat());
        self.0.report(&["upgrade", "combine", &one, &two, "--out", &done]);
        self.0.report(&["upgrade", "send", &done]);
    }

    /// Makes another program of trees of so many levels, and gives its id.
    fn make(&self, seed: &str, levels: &str) -> String {
        let seed = seed.repeat(32);
        let make = ["upgrade", "make", "--seed", &seed, "--depth", levels, "--full-depth", levels];
        let made = self.0.report(&make);
        made["program_id"].as_str().unwrap().to_owned()
    }

    fn deposit(&self, amount: &str) {
        self.0.report(&["regtest", "deposit", "--owner", &self.0.owner("0"), "--amount", amount]);
    }
}

#[test]
fn another_program_is_announced_passed_and_followed_from_scratch() {
    let rollup = Upgradable::new();
    let scene = &rollup.0;
    let first = scene.params().program_id.to_string();
    rollup.deposit("50000");
    scene.bring_in(0, &[]);
    let second = rollup.make("22", "2");
    assert_ne!(first, second);
    // A tree that can grow needs circuits for both depths.
    let growing = scene.report(&["upgrade", "make", "--full-depth", "3"]);
    let circuits: BTreeSet<&str> =
        growing["circuits"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(circuits.len(), 8, "{circuits:?}");
    assert!(["withdraw-d2-n1-v1", "withdraw-d3-n1-v1"].iter().all(|name| circuits.contains(name)), "{circuits:?}");
    let early = scene.failure(4, &["upgrade", "announce", "--program", &second, "--from", "1", "--out", "no.psbt"]);
    assert!(early.contains("for height 1"), "{early}");
    let height = rollup.show()["height"].as_u64().unwrap() + 1 + u64::from(NOTICE_BLOCKS);
    rollup.announce("up", &["announce", "--program", &second, "--from", &height.to_string()]);
    let show = rollup.show();
    assert_eq!((&show["program_id"], &show["next_number"]), (&json!(first), &json!(1)));
    assert_eq!(
        (&show["announced"][0]["program_id"], &show["announced"][0]["height"]),
        (&json!(second), &json!(height))
    );
    let followed = scene.report(&["follow"]);
    let is_announced = |event: &Value| event["event"] == "announced";
    assert!(followed["events"].as_array().unwrap().iter().any(is_announced), "{followed}");
    let status = scene.run(&["status"]);
    assert!(String::from_utf8(status.stdout).unwrap().contains("announced"));
    // Below the height a batch is the old program's.
    rollup.deposit("7000");
    scene.bring_in(1, &[]);
    rollup.mine_to(height);
    rollup.deposit("8000");
    let report = scene.bring_in(2, &[]);
    assert_eq!(report["deposits"], 1);
    assert_eq!(rollup.show()["program_id"], json!(second));
    // A poster who has the program alone is told who has its keys.
    let [keys, away] = [format!("rollup/keys/{second}"), "away".to_owned()].map(|path| scene.path(&path));
    fs::rename(&keys, &away).unwrap();
    let keyless = scene.run(&["prove", "rollup/batches/2.batch", "--out", "2.proofs"]);
    let told = String::from_utf8(keyless.stderr).unwrap();
    assert_eq!(keyless.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("copy the key file from keys/{second}/")) && told.contains("poster"), "{told}");
    fs::rename(&away, &keys).unwrap();
    let root = scene.report(&["follow"])["root_verified"].clone();
    assert_eq!(scene.report(&["rebuild"])["ledger"], "intact");

    // Others follow from the rollup's start. Who lacks the new program is told, and goes on when it is there.
    let other = Scene::new();
    fs::create_dir_all(other.path("rollup")).unwrap();
    for file in ["params.json", "program.bin", "regtest.chain"] {
        fs::copy(scene.path("rollup").join(file), other.path("rollup").join(file)).unwrap();
    }
    let stopped = other.failure(1, &["follow"]);
    let expected = format!("program {second}, in force from height {height} on, is not known here");
    assert!(stopped.contains(&expected), "{stopped}");
    let stopped = other.run(&["--json", "upgrade", "show"]);
    let shown: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!((&shown["height"], &shown["program_id"]), (&json!(height), &json!(second)));
    assert!(String::from_utf8(stopped.stderr).unwrap().contains("taproof upgrade add"));
    let stopped = other.run(&["bridge", "status"]);
    let stopped = String::from_utf8(stopped.stderr).unwrap();
    assert!(stopped.contains(&expected) && stopped.contains("taproof upgrade add"), "{stopped}");
    let program = scene.path(&format!("rollup/programs/{second}.bin"));
    let added = other.report(&["upgrade", "add", program.to_str().unwrap()]);
    assert_eq!(added["program_id"], json!(second));
    let followed = other.report(&["follow"]);
    assert_eq!((&followed["root_verified"], &followed["batches"]), (&root, &json!(3)));

    // So does who joins with both, and makes the next batch with the keys.
    let joined = Scene::new();
    fs::create_dir_all(joined.path("rollup")).unwrap();
    fs::copy(scene.path("rollup/regtest.chain"), joined.path("rollup/regtest.chain")).unwrap();
    let [params, program_1] = ["params.json", "program.bin"].map(|file| scene.path("rollup").join(file));
    let [params, program_1, program_2] = [&params, &program_1, &program].map(|path| path.to_str().unwrap());
    let stopped = joined.run(&["join", params, program_1]);
    let stopped = String::from_utf8(stopped.stderr).unwrap();
    assert!(stopped.contains(&expected) && stopped.contains("PROGRAM LATER-PROGRAM"), "{stopped}");
    let report = joined.report(&["join", params, program_1, program_2]);
    assert_eq!((&report["root_verified"], &report["program_id"]), (&root, &json!(second)));
    assert_eq!(report["next_batch"], 3);
}

#[test]
fn announcements_are_withdrawn_before_their_height_and_the_right_can_be_renounced() {
    let rollup = Upgradable::new();
    let key = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";
    rollup.announce("keys", &["announce", "--sequencer-key", key]);
    let show = rollup.show();
    assert_eq!(show["announced"][0]["sequencers"], json!([key]));
    rollup.announce("back", &["withdraw"]);
    let show = rollup.show();
    assert_eq!((&show["announced"], &show["next_number"]), (&json!([]), &json!(2)));
    assert_eq!((&show["open_height"], &show["can_change"]), (&Value::Null, &json!(true)));
    let trap = rollup.0.report(&["upgrade", "withdraw", "--renounce", "--out", "trap.psbt"]);
    assert_eq!(trap["renounces"], true);
    // What it announces is told all the same, to people and to scripts.
    let told = rollup.0.run(&["--json", "upgrade", "sign", "trap.psbt"]);
    let shown: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(shown["announces"].as_str().unwrap().contains("give up their right for good"), "{shown}");
    assert_eq!((told.status.code(), &shown["renounces"], &shown["signed"]), (Some(4), &json!(true), &Value::Null));
    assert!(shown["refusal"].as_str().unwrap().contains("up for good"), "{shown}");
    let meant = rollup.0.report(&["upgrade", "sign", "trap.psbt", "--renounce"]);
    assert_eq!((&meant["refusal"], &meant["signed"]), (&Value::Null, &Value::Null));
    let careful = rollup.0.failure(4, &["upgrade", "sign", "trap.psbt", "--out", "trapped.psbt"]);
    assert!(careful.contains("up for good"), "{careful}");
    rollup.announce_and("end", &["withdraw", "--renounce"], &["--renounce"]);
    let show = rollup.show();
    assert_eq!((&show["can_change"], &show["is_renounced"]), (&json!(false), &json!(true)));
    let followed = rollup.0.report(&["follow"])["events"].clone();
    let announced = followed.as_array().unwrap().iter().filter(|event| event["event"] == "announced");
    let renounces: Vec<bool> = announced.map(|event| event["renounces"].as_bool().unwrap()).collect();
    assert_eq!(renounces, [false, false, true], "a script need not read English");
    let text = |arguments: &[&str]| String::from_utf8(rollup.0.run(arguments).stdout).unwrap();
    // Coins that are left at the address are still its keys'.
    let told = text(&["upgrade", "show"]);
    assert!(told.contains("renounced") && told.contains(show["address"].as_str().unwrap()), "{told}");
    assert!(text(&["status"]).contains("renounced"));
    let refused = rollup.0.failure(4, &["upgrade", "announce", "--open-posting", "--out", "late.psbt"]);
    assert!(refused.contains("renounced"), "{refused}");
}

#[test]
fn a_program_is_announced_that_has_circuits_for_every_tree_that_there_may_be_by_then() {
    let rollup = Upgradable::of_depths(&["--depth", "1", "--full-depth", "2"]);
    let scene = &rollup.0;
    rollup.deposit("50000");
    assert_eq!(scene.bring_in(0, &[])["depth"], 1);
    // The tree has one level, and could have two by then.
    let shallow = rollup.make("33", "1");
    let refused = scene.run(&["upgrade", "announce", "--program", &shallow, "--out", "no.psbt"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("may have 2 levels by then") && told.contains("upgrade make --full-depth 2"), "{told}");
    // One for deeper trees alone lets it grow.
    let deep = rollup.make("44", "2");
    let height = rollup.show()["height"].as_u64().unwrap() + 1 + u64::from(NOTICE_BLOCKS);
    rollup.announce("deep", &["announce", "--program", &deep, "--from", &height.to_string()]);
    // A signer who does not know it signs nothing.
    let file = scene.path(&format!("rollup/programs/{deep}.bin"));
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let unknown = scene.failure(4, &["upgrade", "sign", "deep.psbt", "--out", "blind.psbt"]);
    assert!(unknown.contains("is not known here"), "{unknown}");
    fs::write(&file, bytes).unwrap();
    rollup.mine_to(height);
    rollup.deposit("8000");
    let report = scene.bring_in(1, &[]);
    assert_eq!((&report["deposits"], &report["depth"], &report["grown"]), (&json!(1), &json!(2), &json!(true)));
    assert_eq!(scene.report(&["follow"])["depth"], 2);
}

/// An announcement of a program as other software writes it, which checks nothing.
fn write_announcement(rollup: &Upgradable, program: &str, height: u64, name: &str) {
    let params = rollup.0.params();
    let number = rollup.show()["next_number"].as_u64().unwrap() as u32;
    let script = UpgradeAddress::of(&params).unwrap().script_pubkey().clone();
    let node = EmbeddedNode::open(&rollup.0.path("rollup/regtest.chain"), ScriptBuf::new()).unwrap();
    let coins = node.chain().spendable_coins(&script).into_iter();
    let coins: Vec<Funding> = coins.map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect();
    let program = ProgramId::from_byte_array(hex::decode(program).unwrap().try_into().unwrap());
    let upgrade = Upgrade { number, change: Change::Program { program, height: height as u32 } };
    let (fee_rate, origins) = ("2".parse().unwrap(), BTreeMap::new());
    let planned = plan(&params, &UpgradeRequest { upgrade: &upgrade, coins: &coins, fee_rate, origins }).unwrap();
    fs::write(rollup.0.path(name), planned.psbt.serialize()).unwrap();
}

/// Who writes what the signers are to sign is not trusted: each checks by its own chain.
#[test]
fn a_signer_signs_no_program_under_which_there_could_be_no_batches() {
    let rollup = Upgradable::of_depths(&["--depth", "1", "--full-depth", "2"]);
    let scene = &rollup.0;
    let [shallow, deep] = [rollup.make("33", "1"), rollup.make("44", "3")];
    let height = rollup.show()["height"].as_u64().unwrap() + 50 + u64::from(NOTICE_BLOCKS);
    // The tree has one level, the program in force circuits for two.
    write_announcement(&rollup, &shallow, height, "shallow.psbt");
    let refused = scene.failure(4, &["upgrade", "sign", "shallow.psbt", "--out", "no.psbt"]);
    assert!(refused.contains("may have 2 levels by then"), "{refused}");
    let looked = scene.run(&["--json", "upgrade", "sign", "shallow.psbt"]);
    let shown: Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!(looked.status.code(), Some(4), "whoever signs elsewhere is told, too");
    assert!(shown["refusal"].as_str().unwrap().contains("may have 2 levels by then"), "{shown}");
    assert!(!scene.path("no.psbt").exists());
    // What two signers sign all the same is not sent.
    let sign = |from: &str, to: &str, index: &str| {
        scene.report(&["upgrade", "sign", from, "--without-chain", "--index", index, "--out", to]);
    };
    sign("shallow.psbt", "s1.psbt", "0");
    sign("s1.psbt", "s2.psbt", "1");
    scene.report(&["upgrade", "combine", "s2.psbt", "--out", "shallow.tx"]);
    for command in ["upgrade", "bridge"] {
        let refused = scene.failure(4, &[command, "send", "shallow.tx"]);
        assert!(refused.contains("may have 2 levels by then"), "{refused}");
    }

    // One is announced that this signer does not know: by its height the tree may be as deep as anything.
    rollup.announce("deep", &["announce", "--program", &deep, "--from", &height.to_string()]);
    let (file, later) = (scene.path(&format!("rollup/programs/{deep}.bin")), (height + 5).to_string());
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let own = scene.params().program_id.to_string();
    write_announcement(&rollup, &own, height + 5, "back.psbt");
    for (exit, arguments) in [
        (4, &["upgrade", "sign", "back.psbt", "--out", "no.psbt"][..]),
        (3, &["upgrade", "announce", "--program", &own, "--from", &later, "--out", "no.psbt"]),
    ] {
        let refused = scene.run(arguments);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(exit), "{told}");
        let unknown = format!("program {deep}, in force from height {height} on, is not known here");
        assert!(told.contains(&unknown) && told.contains("taproof upgrade add PROGRAM"), "{told}");
    }
    fs::write(&file, bytes).unwrap();
    let refused = scene.failure(4, &["upgrade", "sign", "back.psbt", "--out", "no.psbt"]);
    assert!(refused.contains("may have 3 levels by then"), "{refused}");

    // If it is mined, those who follow hear of it in time.
    sign("back.psbt", "b1.psbt", "0");
    sign("b1.psbt", "b2.psbt", "1");
    scene.report(&["upgrade", "combine", "b2.psbt", "--out", "back.tx"]);
    let hex = fs::read_to_string(scene.path("back.tx")).unwrap();
    let mut node = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).unwrap();
    node.chain_mut().mine(&[encode::deserialize_hex(hex.trim()).unwrap()], &ScriptBuf::new()).unwrap();
    node.save().unwrap();
    drop(node);
    let told = String::from_utf8(scene.run(&["batch"]).stderr).unwrap();
    assert!(told.contains(&format!("no batch can be made from height {later} on")), "{told}");
    let status = scene.report(&["status"])["upgrades"]["announced"].clone();
    assert_eq!((&status[0]["ends_batches"], &status[1]["height"]), (&Value::Null, &json!(height + 5)));
    assert!(status[1]["ends_batches"].as_str().unwrap().contains("may have 3 levels by then"), "{status}");
    let shown = String::from_utf8(scene.run(&["upgrade", "show"]).stdout).unwrap();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&format!("program {own}, and no batch from then on: ")), "{shown}");
}

#[test]
fn a_signer_without_a_chain_says_that_it_is_meant() {
    let rollup = Upgradable::new();
    let announced = rollup.0.report(&["upgrade", "announce", "--open-posting", "--out", "up.psbt"]);
    assert_eq!(announced["renounces"], false);
    // A machine that has the wallet and the rollup's files, and no chain.
    let offline = Scene::new();
    fs::create_dir_all(offline.path("rollup")).unwrap();
    for file in ["params.json", "program.bin", "wallet.words"] {
        fs::copy(rollup.0.path("rollup").join(file), offline.path("rollup").join(file)).unwrap();
    }
    fs::copy(rollup.0.path("up.psbt"), offline.path("up.psbt")).unwrap();
    let refused = offline.run(&["upgrade", "sign", "up.psbt", "--out", "signed.psbt"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("no chain is at hand") && told.contains("--without-chain"), "{told}");
    assert!(!offline.path("signed.psbt").exists());
    let signed = offline.run(&["--json", "upgrade", "sign", "up.psbt", "--without-chain", "--out", "signed.psbt"]);
    let told = String::from_utf8(signed.stderr).unwrap();
    assert!(signed.status.success() && told.contains("is not checked"), "{told}");
    let report: Value = serde_json::from_slice(&signed.stdout).unwrap();
    assert_eq!(report["chain_height"], Value::Null);
    let signed = rollup.0.report(&["upgrade", "sign", "up.psbt", "--out", "signed.psbt"]);
    assert_eq!(signed["chain_height"], rollup.show()["height"]);
    // What has its turn no more is signed by nobody.
    rollup.announce("first", &["announce", "--open-posting"]);
    let late = rollup.0.failure(4, &["upgrade", "sign", "up.psbt", "--out", "late.psbt"]);
    assert!(late.contains("has number 0, where number 1 comes next"), "{late}");
}

#[test]
fn what_is_no_announcement_is_neither_signed_nor_joined_and_where_it_belongs_is_told() {
    let rollup = Upgradable::new();
    let scene = &rollup.0;
    scene.report(&["upgrade", "announce", "--open-posting", "--out", "up.psbt"]);
    let told = |arguments: &[&str]| {
        let refused = scene.run(arguments);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}: {told}");
        told
    };
    let dear = told(&["upgrade", "sign", "up.psbt", "--fee-max", "10", "--out", "no.psbt"]);
    assert!(dear.contains("10 sat are the most") && dear.contains("--fee-max"), "{dear}");
    // Neither do signers of the bridge take it for a payout.
    let joined = told(&["bridge", "combine", "up.psbt", "--out", "no.tx"]);
    assert!(joined.contains("no payout of this rollup's") && joined.contains("upgrade combine"), "{joined}");
    let signed = told(&["bridge", "sign", "up.psbt", "--out", "no.psbt"]);
    assert!(signed.contains("taproof upgrade sign"), "{signed}");
    // A payout of the bridge, as far as its mark says.
    let params = scene.params();
    let mut payout = bitcoin::Psbt::deserialize(&fs::read(scene.path("up.psbt")).unwrap()).unwrap();
    payout.unsigned_tx.output[0] = Binding { first: 0, count: 1 }.output(params.chain_id());
    fs::write(scene.path("payout.psbt"), payout.serialize()).unwrap();
    let signed = told(&["upgrade", "sign", "payout.psbt", "--out", "no.psbt"]);
    assert!(signed.contains("taproof bridge sign"), "{signed}");
    let joined = told(&["upgrade", "combine", "payout.psbt", "--out", "no.tx"]);
    assert!(joined.contains("announces nothing of this rollup") && joined.contains("bridge combine"), "{joined}");

    // Another rollup with the same keys: nothing of it is joined here.
    let other = Scene::new();
    fs::create_dir_all(other.path("rollup")).unwrap();
    for file in ["program.bin", "regtest.chain", "wallet.words"] {
        fs::copy(scene.path("rollup").join(file), other.path("rollup").join(file)).unwrap();
    }
    let founded = params.with(|founding| founding.notice_blocks += 1).unwrap();
    fs::write(other.path("rollup/params.json"), serde_json::to_string(&founded).unwrap()).unwrap();
    for index in ["0", "1"] {
        scene.report(&["upgrade", "sign", "up.psbt", "--index", index, "--out", &format!("s{index}.psbt")]);
        fs::copy(scene.path(&format!("s{index}.psbt")), other.path(&format!("s{index}.psbt"))).unwrap();
    }
    let text = String::from_utf8(scene.run(&["inspect", "s0.psbt"]).stdout).unwrap();
    assert!(text.contains("1 signature, 0 of 1 input finalised"), "{text}");
    let refused = other.run(&["upgrade", "combine", "s0.psbt", "s1.psbt", "--out", "no.tx"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{told}");
    assert!(told.contains("announces nothing of this rollup") && told.contains("--dir"), "{told}");
    assert!(!other.path("no.tx").exists());
    // And what is mined here is none of the other's.
    scene.report(&["upgrade", "combine", "s0.psbt", "s1.psbt", "--out", "up.tx"]);
    scene.report(&["upgrade", "send", "up.tx"]);
    other.see_chain_of(scene);
    fs::copy(scene.path("up.tx"), other.path("up.tx")).unwrap();
    let refused = other.failure(4, &["upgrade", "send", "up.tx"]);
    assert!(refused.contains("nothing of this rollup"), "{refused}");
}

#[test]
fn a_rollup_without_upgrade_keys_says_that_nothing_changes() {
    let scene = Scene::funded();
    let show = scene.report(&["upgrade", "show"]);
    assert_eq!(
        (&show["address"], &show["can_change"], &show["open_height"]),
        (&Value::Null, &json!(false), &Value::Null)
    );
    let refused = scene.failure(3, &["upgrade", "withdraw", "--out", "no.psbt"]);
    assert!(refused.contains("no upgrade keys"), "{refused}");
}

#[test]
fn an_announcement_that_would_not_count_is_not_sent() {
    let rollup = Upgradable::new();
    let scene = &rollup.0;
    let nothing = scene.failure(4, &["upgrade", "withdraw", "--out", "nothing.psbt"]);
    assert!(nothing.contains("nothing is announced"), "{nothing}");
    let height = rollup.show()["height"].as_u64().unwrap() + 1 + u64::from(NOTICE_BLOCKS);
    let announce = ["upgrade", "announce", "--open-posting", "--out"];
    let late = scene.report(&[&announce[..], &["late.psbt", "--from", &height.to_string()]].concat());
    assert_eq!(late["last_height"], json!(height - u64::from(NOTICE_BLOCKS)));
    let other = scene.report(&[&announce[..], &["other.psbt"]].concat());
    assert_eq!((&late["number"], &other["number"]), (&json!(0), &json!(0)));
    let sign = |name: &str| {
        let [plan, one, two, done] = ["psbt", "1.psbt", "2.psbt", "tx"].map(|end| format!("{name}.{end}"));
        let shown = scene.report(&["upgrade", "sign", &plan, "--out", &one]);
        scene.report(&["upgrade", "sign", &one, "--index", "1", "--out", &two]);
        scene.report(&["upgrade", "combine", &two, "--out", &done]);
        (shown, done)
    };
    let (shown, done) = sign("late");
    assert_eq!(shown["last_height"], late["last_height"]);
    // In the next block it would count; that passes, and it comes too late.
    rollup.mine(1, ScriptBuf::new());
    let refused = scene.failure(4, &["upgrade", "send", &done]);
    assert!(refused.contains(&format!("for height {height}")), "{refused}");
    let as_link = scene.failure(4, &["bridge", "send", &done]);
    assert!(as_link.contains(&format!("for height {height}")), "{as_link}");
    // What another rollup announces does nothing here, and a payment nowhere.
    let mut foreign: bitcoin::Transaction =
        encode::deserialize_hex(fs::read_to_string(scene.path(&done)).unwrap().trim()).unwrap();
    foreign.output.retain(|output| !output.script_pubkey.is_op_return());
    fs::write(scene.path("foreign.tx"), encode::serialize_hex(&foreign)).unwrap();
    let foreign = scene.failure(4, &["upgrade", "send", "foreign.tx"]);
    assert!(foreign.contains("nothing of this rollup"), "{foreign}");
    let (_, done) = sign("other");
    scene.report(&["upgrade", "send", &done]);
    assert_eq!(scene.report(&["upgrade", "send", &done])["sent"], false, "it is mined");
    // What is not an announcement's is said in its words.
    let unfinished = scene.run(&["upgrade", "send", "other.psbt"]);
    let unfinished = String::from_utf8(unfinished.stderr).unwrap();
    assert!(unfinished.contains("taproof upgrade combine"), "{unfinished}");
}

#[test]
fn wallets_are_told_where_upgrade_keys_come_from() {
    let rollup = Upgradable::new();
    let scene = &rollup.0;
    let keys = ["0", "1"].map(|index| scene.report(&["bridge", "keys", "--index", index]));
    let origins_of = |name: &str| {
        let psbt = bitcoin::Psbt::deserialize(&fs::read(scene.path(name)).unwrap()).unwrap();
        psbt.inputs[0].tap_key_origins.len()
    };
    let announce = ["--json", "upgrade", "announce", "--open-posting", "--out"];
    let told = scene.run(&[&announce[..], &["bare.psbt"]].concat());
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(keys.iter().all(|key| told.contains(key["signer_key"].as_str().unwrap())), "{told}");
    assert_eq!(origins_of("bare.psbt"), 0);
    let [first, second] = keys.each_ref().map(|key| key["signer_key_expression"].as_str().unwrap());
    let told = scene.run(&[&announce[..], &["told.psbt", "--origin", first, "--origin", second]].concat());
    assert!(told.status.success() && !String::from_utf8(told.stderr).unwrap().contains("comes from"));
    assert_eq!(origins_of("told.psbt"), 2);
    let stranger =
        format!("{}=deadbeef/86h/1h/0h/0/0", "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0");
    let refused = scene.failure(3, &[&announce[1..], &["no.psbt", "--origin", &stranger]].concat());
    assert!(refused.contains("no upgrade key"), "{refused}");
}

#[test]
fn sequencers_of_before_are_told_for_as_long_as_their_anchors_count() {
    let rollup = Upgradable::new();
    let key = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";
    let height = rollup.show()["height"].as_u64().unwrap() + 1 + u64::from(NOTICE_BLOCKS);
    rollup.announce("keys", &["announce", "--sequencer-key", key, "--from", &height.to_string()]);
    rollup.mine_to(height - 1);
    let show = rollup.show();
    assert_eq!((&show["sequencers"], &show["former_sequencers"]), (&json!([]), &json!([])));
    // The window is of 8 blocks: an anchor of theirs that refers to the last block of their time counts in that many.
    let former = json!([{ "keys": [], "last_reference": height - 1, "last_height": height + 7 }]);
    for told in [height, height + 6] {
        rollup.mine_to(told);
        let show = rollup.show();
        assert_eq!((&show["sequencers"], &show["former_sequencers"]), (&json!([key]), &former));
    }
    let shown = String::from_utf8(rollup.0.run(&["upgrade", "show"]).stdout).unwrap();
    assert!(shown.contains(&format!("anybody until block {}", height + 7)), "{shown}");
    rollup.mine_to(height + 7);
    assert_eq!(rollup.show()["former_sequencers"], json!([]));
}

#[test]
fn more_sequencer_keys_than_every_node_relays_are_told() {
    let rollup = Upgradable::new();
    let keys = ["poster_key", "hot_key"].map(|name| rollup.0.report(&["wallet", "keys"])[name].clone());
    let [first, second] = keys.each_ref().map(|key| key.as_str().unwrap());
    let announce = |out: &str, keys: &[&str]| {
        let mut arguments = vec!["upgrade", "announce", "--out", out];
        keys.iter().for_each(|key| arguments.extend(["--sequencer-key", *key]));
        String::from_utf8(rollup.0.run(&arguments).stderr).unwrap()
    };
    assert!(!announce("one.psbt", &[first]).contains("before version 30"));
    assert!(announce("two.psbt", &[first, second]).contains("before version 30"));
}
