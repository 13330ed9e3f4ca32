//! The command line as a user meets it: one small rollup from words to a rebuilt state, and what goes wrong on the way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::esplora;
mod scene;

use bitcoin::ScriptBuf;
use scene::{Scene, alter};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Command, Stdio},
};
use taproof_bitcoin::node::EmbeddedNode;
use taproof_verifier::{
    cell::{CellElements, CellIndex, MerklePath},
    exit::ExitRequest,
    field::to_bytes,
};

#[test]
fn the_whole_journey_and_what_is_refused_on_the_way() {
    let scene = Scene::funded();
    pay(&scene);
    let batch = scene.report(&["batch", "--reference-depth", "1", "txs.json"]);
    assert_eq!((&batch["batch"], &batch["deposits"], &batch["applied"]), (&0.into(), &2.into(), &3.into()));
    let reasons: Vec<&str> =
        batch["rejected"].as_array().expect("a list").iter().filter_map(|entry| entry["reason"].as_str()).collect();
    for expected in ["signature", "rollup 0909", "does not cover", "outside a tree", "no transaction", "is used"] {
        assert!(reasons.iter().any(|reason| reason.contains(expected)), "{expected}: {reasons:?}");
    }
    assert_eq!(reasons.len(), 6, "{reasons:?}");
    assert_eq!(scene.report(&["batch", "--reference-depth", "1"])["batch"], Value::Null, "nothing waits");

    broken_batches(&scene);
    let proofs = scene.report(&["prove", "rollup/batches/0.batch"]);
    // What the runs with a broken key had made before they failed was not made again.
    assert_eq!((&proofs["proofs"], &proofs["kept"]), (&4.into(), &3.into()));
    broken_proofs(&scene);
    assert_eq!(scene.report(&["verify", "rollup/proofs/0.proofs"])["proofs"], 4);

    let unsent = scene.report(&["anchor", "build", "rollup/proofs/0.proofs"]);
    assert_eq!(unsent["sent"], false);
    assert_eq!(scene.report(&["follow"])["batches"], 0);
    let anchor = scene.report(&["anchor", "build", "rollup/proofs/0.proofs", "--send"]);
    assert_eq!(anchor["sent"], true);
    let error = scene.failure(4, &["anchor", "build", "rollup/proofs/0.proofs", "--send"]);
    assert!(error.contains("does not follow"), "{error}");

    let followed = scene.report(&["follow"]);
    assert_eq!(followed["batches"], 1);
    assert_eq!(followed["root_verified"], batch["root_after"]);
    assert_eq!(followed["payouts_pending"], 1);
    scene.report(&["regtest", "mine", "6"]);
    let events = scene.report(&["follow"])["events"].to_string();
    assert!(events.contains("\"due\"") && events.contains("\"amount_sat\":3000"), "{events}");
    assert_eq!(scene.report(&["follow"])["events"], json!([]), "all of it has been told");
    let exported = scene.report(&["follow", "--export-excerpts", "excerpts"]);
    assert_eq!(exported["excerpts"], 4, "two deposits, a forged anchor and an anchor");
    for source in [&[][..], &["--excerpts", "excerpts", "--rescan"]] {
        let light = scene.report(&[&["follow", "--headers-only"], source].concat());
        assert_eq!((&light["root_verified"], &light["complete"]), (&followed["root_verified"], &Value::Bool(false)));
        let caveats = light["caveats"].to_string();
        assert!(
            caveats.contains("left out") && caveats.contains("--txid") && caveats.contains("--excerpts"),
            "{caveats}"
        );
    }
    let checkpoint = &scene.report(&["follow", "--export-checkpoint", "final.checkpoint"])["checkpoint"];
    assert_eq!(scene.report(&["inspect", "final.checkpoint"])["digest"], checkpoint["digest"]);
    let from_checkpoint = ["follow", "--headers-only", "--rescan", "--checkpoint", "final.checkpoint"];
    assert_eq!(scene.report(&from_checkpoint)["root_verified"], followed["root_verified"]);
    alter(&scene.path("final.checkpoint"), 100);
    assert!(scene.failure(3, &from_checkpoint).contains("checksum"));
    let events = scene.report(&["follow", "--all"])["events"].to_string();
    assert!(events.contains("\"verified\"") && events.contains("\"number\":1"), "{events}");

    without_a_node(&scene, &followed["root_verified"]);

    let rebuilt = scene.report(&["rebuild", "--out", "state.json"]);
    assert_eq!(rebuilt["root_rebuilt"], followed["root_verified"]);
    assert_eq!((&rebuilt["accounts"], &rebuilt["balance_sat"]), (&3.into(), &54_000.into()));
    accounts(&scene, followed["root_verified"].as_str().expect("a root"));
    inspect(&scene);

    // A second batch goes on from the first, and credits a deposit that came between.
    scene.report(&["regtest", "deposit", "--owner", &scene.owner("2"), "--amount", "900"]);
    // Nonces go on from the ledger's and the file's.
    for _ in 0..2 {
        scene.report(&["tx", "transfer", "--from", "0", "--to", "1", "--amount", "1", "--add-to", "more.json"]);
    }
    let error = scene.failure(3, &["tx", "transfer", "--from", "9", "--to", "1", "--amount", "1"]);
    assert!(error.contains("no account yet"), "{error}");
    let batch = scene.report(&["batch", "--reference-depth", "1", "more.json"]);
    assert_eq!((&batch["batch"], &batch["applied"], &batch["waiting"]), (&1.into(), &2.into(), &0.into()));
    scene.report(&["prove", "rollup/batches/1.batch"]);
    anchored_by_the_service(&scene);
    let rebuilt = scene.report(&["rebuild"]);
    assert_eq!((&rebuilt["batches"], &rebuilt["balance_sat"]), (&2.into(), &54_900.into()));
    exit_requests(&scene);
}

#[test]
fn a_killed_run_loses_only_the_proofs_in_flight() {
    let scene = Scene::funded();
    pay(&scene);
    scene.report(&["batch", "--reference-depth", "1", "txs.json"]);
    let prove = ["prove", "rollup/batches/0.batch", "--at-once", "1"];
    let kept = || {
        let entries = fs::read_dir(scene.path("rollup/proofs/kept"));
        entries
            .map_or(0, |entries| entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count())
    };
    let mut child = scene.command(&prove).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while kept() == 0 {
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()), "the run fails");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let made = kept();
    assert!((1..=4).contains(&made));
    let output = scene.run(&[&["--json"], prove.as_slice()].concat());
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["proofs"], &report["kept"]), (&4.into(), &made.into()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("kept from an earlier run, and checked: {made} of 4 proofs")), "{said}");
    assert_eq!(scene.report(&["verify", "rollup/proofs/0.proofs"])["proofs"], 4);
    assert_eq!(kept(), 4, "they are the batch's until it is final");
    let one = fs::read_dir(scene.path("rollup/proofs/kept")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(scene.report(&["inspect", one.to_str().expect("UTF-8")])["batch"], 0);
    // Once the batch is final, proofs of its statements are of no use.
    scene.report(&["anchor", "build", "rollup/proofs/0.proofs", "--send"]);
    scene.report(&["regtest", "mine", "110"]);
    scene.report(&["follow"]);
    scene.report(&["regtest", "deposit", "--owner", &scene.owner("2"), "--amount", "900"]);
    scene.report(&["batch", "--reference-depth", "1"]);
    scene.report(&["prove", "rollup/batches/1.batch"]);
    assert_eq!(kept(), 1, "those of a batch that is final are swept");
}

/// Who has the rollup's parameters and an Esplora server finds the same root, whatever the server says.
fn without_a_node(scene: &Scene, root: &Value) {
    let node = EmbeddedNode::open(&scene.path("rollup/regtest.chain"), ScriptBuf::new()).expect("our own chain");
    let server = esplora::Server::start(EmbeddedNode::new(node.chain().clone(), ScriptBuf::new()));
    drop(node);
    let reader = || {
        let reader = Scene::new();
        fs::create_dir(reader.path("rollup")).expect("an empty folder");
        for file in ["rollup/params.json", "rollup/program.bin"] {
            fs::copy(scene.path(file), reader.path(file)).expect("the rollup has it");
        }
        reader
    };
    let poster = scene.report(&["wallet", "keys"])["poster_address"].as_str().expect("an address").to_owned();
    let light = ["follow", "--headers-only", "--esplora", &server.url, "--poster", &poster];
    let full = ["follow", "--esplora", &server.url];
    for (arguments, is_complete) in [(&full[..], true), (&light, false)] {
        let followed = reader().report(arguments);
        assert_eq!((&followed["root_verified"], &followed["complete"]), (root, &is_complete.into()));
    }
    assert!(reader().failure(3, &light[..4]).contains("nothing to ask"));
    // A block or a header that is not what its hash says, and a server that is gone.
    for path in ["/block/", "/blocks/"] {
        let altered = reader();
        server.lie(path, |(status, mut body)| {
            let middle = body.len() / 2;
            body[middle] ^= 1;
            (status, body)
        });
        for arguments in [&full[..], &light] {
            altered.failure(1, arguments);
        }
        server.be_honest();
        assert_eq!(&altered.report(&full)["root_verified"], root, "nothing of the lie was kept");
    }
    assert!(!reader().failure(1, &["follow", "--esplora", "http://127.0.0.1:1/api"]).is_empty());
}

#[test]
fn proofs_of_batches_that_were_taken_back_are_used_again_where_they_hold() {
    let scene = Scene::funded();
    pay(&scene);
    scene.report(&["regtest", "mine", "6"]);
    let options = ["batch", "--chunks-max", "2"];
    let batch = |arguments: &[&str]| scene.report(&[&options, arguments].concat());
    let prove = |number: u64| {
        let report = scene.report(&["prove", &format!("rollup/batches/{number}.batch")]);
        (report["proofs"].as_u64().expect("a number"), report["kept"].as_u64().expect("a number"))
    };
    let (first, second) = (batch(&["txs.json"]), batch(&[]));
    assert_eq!((&first["batch"], &second["batch"]), (&0.into(), &1.into()));
    assert_eq!([prove(0), prove(1)], [(2, 0), (2, 0)]);
    // Both are made again on the same chain, and state what they stated.
    assert_eq!(batch(&["--take-back", "0"])["root_after"], first["root_after"]);
    assert_eq!(prove(0), (2, 2));
    assert_eq!(batch(&[])["root_after"], second["root_after"]);
    assert_eq!(prove(1), (2, 2));
    // Blocks come, and both refer to what they referred to.
    scene.report(&["regtest", "mine", "2"]);
    assert_eq!(batch(&["--take-back", "0"])["reference"], first["reference"]);
    assert_eq!(prove(0), (2, 2));
    assert_eq!(batch(&[])["reference"], second["reference"]);
    assert_eq!(prove(1), (2, 2));
    // On another block the same transactions are other statements.
    let moved = batch(&["--take-back", "1", "--reference-depth", "6"]);
    assert_eq!(moved["root_after"], second["root_after"]);
    let height = |report: &Value| report["reference"]["height"].as_u64().expect("a height");
    assert_eq!(height(&moved), height(&second) + 2);
    assert_eq!(prove(1), (2, 0));
    // A block of half a window ago leaves too little time for the anchor.
    let window = scene.params().deposit_window_blocks;
    scene.report(&["regtest", "mine", &(window / 2).to_string()]);
    assert_eq!(height(&batch(&["--take-back", "1"])), height(&moved) + u64::from(window / 2));
}

/// An owner demands a withdrawal by an output on Bitcoin.
fn exit_requests(scene: &Scene) {
    let address = scene.report(&["wallet", "keys"])["poster_address"].as_str().expect("an address").to_owned();
    let exit = ["tx", "exit", "--from", "0", "--amount", "5000", "--address", &address];
    let output = scene.report(&exit);
    let script = hex::decode(output["script_pubkey"].as_str().expect("a script")).expect("digits");
    let script = ScriptBuf::from(script);
    let params = scene.params();
    let request = ExitRequest::parse(&script, params.chain_id()).expect("a request");
    assert_eq!(request.verify(params.chain_id()), Ok(()));
    assert_eq!((request.from().get(), request.record().amount), (0, 5_000));
    let height = scene.report(&["follow"])["height"].as_u64().expect("a height");
    let put = scene.report(&["regtest", "exit", &script.to_hex_string()]);
    assert_eq!(put["height"], height + 1, "it is in a block of its own");
    assert!(scene.failure(3, &["regtest", "exit", "6a00"]).contains("no exit request"));
    let again = scene.run(&["regtest", "exit", &script.to_hex_string()]);
    assert!(String::from_utf8(again.stderr).expect("UTF-8").contains("the same request waits already"));
    scene.report(&["regtest", "mine", "1"]);
    let served = scene.report(&["batch", "--reference-depth", "1", "--operator", "0"]);
    assert_eq!((&served["exits_served"], &served["exits_refuted"]), (&1.into(), &0.into()));
    made_and_proven(scene, served["batch"].as_u64().expect("a batch"));
    let error = scene.failure(3, &[&exit[..], &["--add-to", "txs.json"]].concat());
    assert!(error.contains("not into a file"), "{error}");
    let error = scene.failure(3, &[&exit[..], &["--token", "1"]].concat());
    assert!(error.contains("not bitcoin"), "{error}");
}

/// A batch that is not anchored shows in `status`, first as made and then as proven.
fn made_and_proven(scene: &Scene, batch: u64) {
    let state = || {
        let status = scene.report(&["status"]);
        let last = status["anchors"].as_array().expect("a list").last().expect("three batches").clone();
        (last["batch"].as_u64(), last["state"].as_str().map(str::to_owned))
    };
    assert_eq!(state(), (Some(batch), Some("made".to_owned())));
    scene.report(&["prove", &format!("rollup/batches/{batch}.batch")]);
    assert_eq!(state(), (Some(batch), Some("proven".to_owned())));
    let screen = String::from_utf8(scene.run(&["status"]).stdout).expect("UTF-8");
    assert!(screen.contains("1 proven and not anchored"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
}

#[test]
fn a_bridge_has_keys_a_threshold_and_deadlines_in_order() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let psbt = scene.path("unfinished.psbt");
    fs::write(&psbt, UNFINISHED_PSBT).expect("our file");
    let small =
        ["setup", "--payments-only", "--depth", "2", "--slots", "1", "--deposit-slots", "1", "--withdraw-slots", "1"];
    let failure = |options: &[&str]| scene.failure(3, &[&small, options].concat());
    assert!(failure(&["--network", "signet"]).contains("no default signers"));
    assert!(failure(&["--bridge-key", key]).contains("no threshold"));
    assert!(
        failure(&["--bridge-key", key, "--bridge-threshold", "2"]).contains("a threshold of 2, where it is from 1 to")
    );
    assert!(failure(&["--bridge-key", key, "--bridge-key", key, "--bridge-threshold", "2"]).contains("twice"));
    assert!(failure(&["--refund-delay", "1008"]).contains("a refund after 1008"));
    assert!(failure(&["--deposit-window", "0"]).contains("a window of 0"));
    // Where all keys are given, no wallet is asked for.
    fs::remove_file(scene.path("rollup/wallet.words")).expect("our file");
    let [first, second] = ["f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9", key];
    let origin = format!("[d34db33f/86h/1h/1h/0/0]{first}");
    let keys = ["--bridge-key", &origin, "--bridge-key", second, "--bridge-threshold", "2"];
    scene.report(&[&small[..], &keys].concat());
    let found = scene.report(&["inspect", "rollup/bridge.keys"]);
    assert_eq!((&found["format"], &found["keys"][0]), (&"bridge keys".into(), &origin.replace('h', "'").into()));
    // A PSBT is no transaction yet, and it is said.
    let error = scene.failure(3, &["bridge", "send", "unfinished.psbt"]);
    assert!(error.contains("is a PSBT, and its input 0 is not finished"), "{error}");
}

/// The service brings the second batch into the chain, and on until it is final.
fn anchored_by_the_service(scene: &Scene) {
    assert!(scene.failure(3, &["anchor", "status"]).contains("nothing was anchored"));
    assert!(scene.failure(3, &["anchor", "run"]).contains("embedded chain"));
    assert!(
        scene.failure(3, &["anchor", "run", "--once", "--fee-floor", "9", "--fee-cap", "8"]).contains("above the cap")
    );
    let ran = scene.report(&["anchor", "run", "--once"]);
    assert_eq!(
        (&ran["batches"], &ran["jobs"][0]["batch"], &ran["jobs"][0]["state"]),
        (&2.into(), &1.into(), &"in block".into())
    );
    assert_eq!(scene.report(&["anchor", "bump", "--batch", "1"])["ordered"], true);
    for order in ["abandon", "status"] {
        assert_eq!(scene.failure(3, &["anchor", order, "--batch", "7"]), "batch 7 has no anchor here");
    }
    scene.report(&["regtest", "mine", "6"]);
    let ran = scene.report(&["anchor", "run", "--once"]);
    assert_eq!(ran["jobs"][0]["state"], "final");
    let status = scene.report(&["anchor", "status", "--batch", "1"]);
    let states: Vec<&str> =
        status["history"].as_array().expect("a list").iter().filter_map(|change| change["to"].as_str()).collect();
    assert_eq!(states, ["signed", "commit sent", "reveal sent", "in block", "final"]);
    assert_eq!(status["jobs"][0]["closed"], true);
    for order in [&["bump"][..], &["abandon"], &["abandon", "--undo"]] {
        let error = scene.failure(3, &[&["anchor"], order, &["--batch", "1"]].concat());
        assert!(error.contains("batch 1 is final"), "{order:?}: {error}");
    }
    assert!(scene.failure(3, &["batch", "--take-back", "9"]).contains("no batch 9"));
}

#[test]
fn a_batch_of_another_poster_is_taken_over() {
    let scene = Scene::funded();
    // The other poster has a copy of everything, and is faster.
    let other = Scene::new();
    let copied = Command::new("cp").arg("-r").args([scene.path("rollup"), other.path("rollup")]).status();
    assert!(copied.expect("cp is there").success());
    let batch = |scene: &Scene, depth: &str| scene.report(&["batch", "--reference-depth", depth]);
    assert_eq!(batch(&scene, "2")["deposits"], 1);
    let theirs = batch(&other, "1");
    assert_eq!((&theirs["batch"], &theirs["deposits"], &theirs["taken_over"]), (&0.into(), &2.into(), &0.into()));
    other.report(&["prove", "rollup/batches/0.batch"]);
    assert_eq!(other.report(&["anchor", "run", "--once"])["batches"], 1);
    // All of it is final before the slower one looks.
    other.report(&["regtest", "mine", "6"]);
    fs::copy(other.path("rollup/regtest.chain"), scene.path("rollup/regtest.chain")).expect("one chain for both");
    assert_eq!(scene.report(&["follow"])["root_verified"], theirs["root_after"]);
    let nothing = batch(&scene, "1");
    assert_eq!((&nothing["batch"], &nothing["taken_over"]), (&Value::Null, &1.into()));
    scene.report(&["tx", "transfer", "--from", "0", "--to", "1", "--amount", "1", "--add-to", "txs.json"]);
    let ours = scene.report(&["batch", "--reference-depth", "1", "txs.json"]);
    assert_eq!((&ours["batch"], &ours["applied"], &ours["taken_over"]), (&1.into(), &1.into(), &0.into()));
    scene.report(&["prove", "rollup/batches/1.batch"]);
    assert_eq!(scene.report(&["anchor", "run", "--once"])["batches"], 2);
    assert_eq!(scene.report(&["follow"])["root_verified"], ours["root_after"]);
}

/// Signs an opening, a transfer and a withdrawal that hold, and six transactions that do not.
fn pay(scene: &Scene) {
    let new_owner = scene.owner("2");
    let poster = scene.report(&["wallet", "keys"])["poster_address"].as_str().expect("an address").to_owned();
    let tx = |arguments: &[&str]| scene.report(&[&["tx"], arguments, &["--add-to", "txs.json"]].concat());
    let from_first = ["--from", "0", "--index", "0"];
    let open = ["open", "--nonce", "0", "--to", "5", "--owner", &new_owner, "--amount", "10000", "--fee", "10"];
    tx(&[open.as_slice(), &from_first].concat());
    let transfer = ["transfer", "--nonce", "1", "--to", "1", "--amount", "2000", "--fee", "10"];
    tx(&[transfer.as_slice(), &from_first].concat());
    tx(&["withdraw", "--from", "1", "--index", "1", "--nonce", "0", "--address", &poster, "--amount", "3000"]);

    let transfer = |arguments: &[&str]| tx(&[&["transfer", "--amount", "1", "--to", "1"], arguments].concat());
    transfer(&["--from", "0", "--index", "1", "--nonce", "2"]);
    transfer(&["--from", "0", "--nonce", "2", "--chain-id", &"09".repeat(15), "--force"]);
    transfer(&["--from", "0", "--nonce", "2", "--fee", "60000"]);
    tx(&["transfer", "--amount", "1", "--from", "0", "--nonce", "2", "--to", "64", "--force"]);
    transfer(&["--from", "0", "--nonce", "0"]);
    // What `tx` refuses to sign, another program may still write.
    let mut file: Value =
        serde_json::from_str(&fs::read_to_string(scene.path("txs.json")).expect("the file is ours")).expect("JSON");
    let mut malformed = file["transactions"][1].clone();
    malformed["transfer"]["body"]["to"] = (1u64 << 30).into();
    file["transactions"].as_array_mut().expect("a list").push(malformed);
    fs::write(scene.path("txs.json"), file.to_string()).expect("the file is ours");
}

fn broken_batches(scene: &Scene) {
    let bytes = fs::read(scene.path("rollup/batches/0.batch")).expect("the file is ours");
    fs::write(scene.path("short.batch"), &bytes[..bytes.len() - 9]).expect("the file is ours");
    assert!(scene.failure(3, &["prove", "short.batch"]).contains("truncated"));
    fs::write(scene.path("altered.batch"), &bytes).expect("the file is ours");
    alter(&scene.path("altered.batch"), bytes.len() / 2);
    assert!(scene.failure(3, &["prove", "altered.batch"]).contains("checksum"));
    assert!(
        scene
            .failure(3, &["verify", "rollup/batches/0.batch"])
            .contains("is a batch, where a file of proofs is wanted")
    );
    assert!(scene.failure(3, &["prove", "none.batch"]).contains("none.batch"));
    assert!(scene.failure(3, &["prove", "txs.json"]).contains("a file of transactions, where a batch is wanted"));

    // A key that is damaged, another circuit's, or missing.
    let keys = scene.path("rollup/keys");
    let name = |kind: &str, slots| format!("{kind}-d2-n{slots}-v1.key");
    let (transfer, open) = (keys.join(name("transfer", 2)), keys.join(name("open", 2)));
    let kept = scene.path("kept.key");
    fs::rename(&open, &kept).expect("the file is ours");
    assert!(scene.failure(3, &["prove", "rollup/batches/0.batch"]).contains("open-d2-n2-v1"));
    fs::copy(&transfer, &open).expect("the file is ours");
    assert!(scene.failure(3, &["prove", "rollup/batches/0.batch"]).contains("belongs to circuit transfer"));
    fs::copy(&kept, &open).expect("the file is ours");
    let length = fs::metadata(&open).expect("the file is ours").len() as usize;
    alter(&open, length - 100);
    assert!(scene.failure(3, &["prove", "rollup/batches/0.batch"]).contains("altered"));
    fs::rename(&kept, &open).expect("the file is ours");
}

fn broken_proofs(scene: &Scene) {
    let bytes = fs::read(scene.path("rollup/proofs/0.proofs")).expect("the file is ours");
    fs::write(scene.path("altered.proofs"), &bytes).expect("the file is ours");
    alter(&scene.path("altered.proofs"), bytes.len() - 1);
    assert!(scene.failure(3, &["verify", "altered.proofs"]).contains("checksum"));
    // Proofs that are well-formed and of other statements: each proof stands for the next chunk.
    let proven: taproof_bitcoin::proven_batch::ProvenBatch =
        taproof_base::artefact::decode(&bytes).expect("just proven");
    let payload = proven.payload();
    let mut chunks = payload.chunks().to_vec();
    let proofs: Vec<_> = chunks.iter().map(|chunk| chunk.proof.clone()).collect();
    let count = chunks.len();
    chunks.iter_mut().enumerate().for_each(|(i, chunk)| chunk.proof = proofs[(i + 1) % count].clone());
    let forged = taproof_verifier::payload::Payload::new(payload.table().clone(), *payload.header(), chunks);
    let forged = taproof_bitcoin::proven_batch::ProvenBatch::new(forged.expect("a payload of the same form"));
    let forged = forged.expect("of the same length");
    taproof_base::artefact::write(&scene.path("forged.proofs"), &forged).expect("the file is ours");
    scene.failure(4, &["verify", "forged.proofs"]);
    // Anchored all the same, they are ignored by whoever follows.
    scene.report(&["anchor", "build", "forged.proofs", "--send"]);
    let followed = scene.report(&["follow"]);
    assert_eq!(followed["batches"], 0);
    assert_eq!(followed["events"][0]["event"], "ignored");
}

fn accounts(scene: &Scene, root: &str) {
    let proven = scene.report(&["prove-account", "5", "--out", "5.account"]);
    assert_eq!(proven["cell"]["account"]["balance"], 10_000);
    let elements = proven["elements"].as_array().expect("a list");
    let zero = "00".repeat(32);
    assert_eq!((elements.len(), &elements[0], &elements[7]), (8, &json!(format!("01{}", &zero[2..])), &json!(zero)));
    // Whoever has the verifier alone checks the same by what is printed.
    let elements: CellElements = serde_json::from_value(proven["elements"].clone()).expect("eight elements");
    let path: MerklePath = serde_json::from_value(proven["path"].clone()).expect("siblings");
    let found = path.root(CellIndex::new(5).expect("a small index"), elements.hash()).expect("within the tree");
    assert_eq!(proven["root"], hex::encode(to_bytes(&found)));
    assert_eq!(scene.report(&["inspect", "5.account"])["path"], proven["path"]);
    let verified = scene.report(&["verify-account", "5.account"]);
    assert_eq!((&verified["elements"], &verified["verified"]), (&proven["elements"], &Value::Bool(true)));
    let shown = String::from_utf8(scene.run(&["verify-account", "5.account"]).stdout).expect("UTF-8");
    assert!(shown.starts_with("verified: cell 5 holds 10000 sat, nonce 0"), "{shown}");
    assert_eq!(scene.report(&["verify-account", "5.account", "--root", root])["cell"], proven["cell"]);
    let other = "00".repeat(32);
    assert!(scene.failure(4, &["verify-account", "5.account", "--root", &other]).contains("does not lead"));
    scene.failure(3, &["prove-account", "64", "--out", "64.account"]);
    alter(&scene.path("5.account"), 60);
    assert!(scene.failure(3, &["verify-account", "5.account"]).contains("checksum"));
}

fn inspect(scene: &Scene) {
    let formats = [
        ("rollup/batches/0.batch", "batch"),
        ("rollup/proofs/0.proofs", "proofs"),
        ("rollup/anchors/0.json", "anchor"),
        ("rollup/params.json", "parameters"),
        ("rollup/program.bin", "program"),
        ("rollup/keys/transfer-d2-n2-v1.key", "proving key"),
        ("rollup/regtest.chain", "regtest chain"),
        ("rollup/ledger.redb", "ledger"),
        ("rollup/chain.redb", "chain store"),
        ("txs.json", "transactions"),
        ("state.json", "state"),
    ];
    for (file, format) in formats {
        assert_eq!(scene.report(&["inspect", file])["format"], format, "{file}");
    }
    let key = scene.run(&["inspect", "rollup/keys/transfer-d2-n2-v1.key"]);
    let shown = String::from_utf8(key.stdout).expect("UTF-8");
    assert!(shown.contains("transfer-d2-n2-v1") && !shown.contains("circuit transfer"), "said once: {shown}");
    fs::write(scene.path("empty"), b"").expect("the file is ours");
    assert!(scene.failure(3, &["inspect", "empty"]).contains("empty"));
    assert_eq!(scene.failure(3, &["inspect", "nofile.json"]).matches("nofile.json").count(), 1);
    assert_eq!(scene.failure(3, &["batch", "nofile.json"]).matches("nofile.json").count(), 1);
    assert!(scene.failure(3, &["verify", "rollup/batches/0.batch"]).contains("a file of proofs is wanted"));
    fs::write(scene.path("noise"), b"no format of ours").expect("the file is ours");
    assert!(scene.failure(3, &["inspect", "noise"]).contains("no format"));
}

#[test]
fn circuits_are_listed_with_their_counts() {
    let circuits = Scene::new().report(&["inspect", "circuits", "--depth", "10"]);
    let circuits = circuits.as_array().expect("a list");
    for (kind, most) in [("transfer", 20_000), ("deposit", 9_000), ("open", 20_500), ("withdraw", 12_500)] {
        let circuit = circuits.iter().find(|circuit| circuit["kind"] == kind).expect("each kind is listed");
        assert_eq!(circuit["depth"], 10);
        assert!(circuit["constraints_per_slot"].as_u64().is_some_and(|count| count <= most), "{circuit}");
        assert!(circuit["constraints"].as_u64() > circuit["constraints_per_slot"].as_u64());
        assert_eq!(circuit["matrix_hash"].as_str().map(str::len), Some(64));
        assert!(circuit["slots"].is_u64());
    }
}

#[test]
fn a_block_becomes_a_workload() {
    let scene = Scene::new();
    fs::write(scene.path("block.raw"), taproof_fixtures::MAINNET_BLOCK_702861).expect("the file is ours");
    let arguments = ["import-block", "block.raw", "--payments", "60", "--out", "payments.json"];
    let report = scene.report(&arguments);
    assert_eq!(report["payments"], 60);
    let count = |report: &Value, what: &str| report[what].as_u64().expect("a number");
    let planned = count(&report, "opens") + count(&report, "transfers");
    assert_eq!(planned + count(&report, "passed_over"), 60);
    assert_eq!(scene.report(&["inspect", "payments.json"])["transactions"], planned);
    let all = scene.report(&["import-block", "block.raw", "--payments", "60", "--opening-min", "0"]);
    assert_eq!((count(&all, "opens") + count(&all, "transfers"), count(&all, "passed_over")), (60, 0));
    let few = scene.report(&["import-block", "block.raw", "--payments", "60", "--opening-min", "10000000"]);
    assert!(count(&few, "passed_over") > 0 && count(&few, "opens") < count(&all, "opens"));
    assert!(scene.failure(3, &arguments).contains("not overwritten"));
    let whole = scene.report(&["import-block", "block.raw"]);
    let posted = whole["posted_bytes_per_transfer_between_existing_accounts"].as_f64().expect("a number");
    assert!(posted <= 9.0, "{posted}");
    fs::write(scene.path("short.raw"), &taproof_fixtures::MAINNET_BLOCK_702861[..5_000]).expect("the file is ours");
    scene.failure(3, &["import-block", "short.raw"]);
    scene.failure(3, &["import-block", "none.raw"]);
    scene.failure(3, &["import-block", "block.raw", "--depth", "2"]);
}

#[test]
fn a_second_process_on_the_ledger_is_told_to_wait() {
    let scene = Scene::funded();
    let ledger = scene.path("rollup/ledger.redb");
    let _open = taproof_rollup::ledger::Ledger::open(&ledger, scene.params().chain_id()).expect("the file is ours");
    assert!(scene.failure(5, &["batch"]).contains("open"));
}

/// What has no end is given up, whichever command reads it.
#[cfg(unix)]
#[test]
fn devices_are_not_read_without_end() {
    let scene = Scene::new();
    for command in [
        &["import-block", "/dev/zero"][..],
        &["demo", "--block", "/dev/zero"],
        &["join", "/dev/zero", "program.bin", "--node", "http://127.0.0.1:1"],
    ] {
        let error = scene.failure(3, command);
        assert!(error.starts_with("/dev/zero: it holds more than"), "{command:?}: {error}");
    }
}

/// Whoever could enter could lock what is in it.
#[cfg(unix)]
#[test]
fn a_data_directory_is_its_makers_alone() {
    use std::os::unix::fs::PermissionsExt;
    for first in [&["wallet", "new"][..], &["regtest", "mine", "1"]] {
        let scene = Scene::new();
        let rollup = scene.path("rollup");
        if first[0] == "regtest" {
            scene.report(&["wallet", "new", "--wallet", "elsewhere"]);
            scene.report(&[first, &["--wallet", "elsewhere"]].concat());
        } else {
            scene.report(first);
        }
        assert_eq!(fs::metadata(&rollup).unwrap().permissions().mode() & 0o777, 0o700, "{first:?}");
    }
}

/// One input, unsigned, and one output.
const UNFINISHED_PSBT: &str = "70736274ff01003c0200000001ababababababababababababababababababababababababababababab\
    ababab0000000000ffffffff01e8030000000000000000000000000000";

#[test]
fn help_usage_and_missing_files() {
    let scene = Scene::new();
    let help = scene.run(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let commands = ["demo", "setup", "wallet", "tx", "batch", "prove", "anchor", "follow", "verify", "rebuild"];
    let more = [
        "rapidsnark",
        "import-zkey",
        "inspect",
        "prove-account",
        "verify-account",
        "export",
        "import-block",
        "completions",
    ];
    for command in commands.iter().chain(&more) {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is listed");
        let help = scene.run(&[command, "--help"]);
        assert!(
            help.status.success() && String::from_utf8(help.stdout).expect("UTF-8").contains("Example"),
            "{command}"
        );
    }
    assert!(help.contains("Exit codes:"));
    assert_eq!(scene.run(&[]).status.code(), Some(2));
    assert_eq!(scene.run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(scene.run(&["tx", "transfer", "--from", "1073741824"]).status.code(), Some(2));
    assert!(scene.failure(3, &["follow"]).contains("params.json"));
    assert!(scene.failure(3, &["wallet", "keys"]).contains("wallet.words"));
    let advice = String::from_utf8(scene.run(&["wallet", "keys"]).stderr).expect("UTF-8");
    assert!(advice.contains("help: ") && advice.contains("taproof wallet new"), "{advice}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(!scene.run(&["completions", shell]).stdout.is_empty());
    }
    let refused = scene.failure(3, &["setup"]);
    assert!(refused.contains("wallet.words"), "{refused}");
    // What a program asks for as JSON is told as JSON, also where the command line is wrong.
    for (arguments, expected) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["anchor", "bump"], "--batch <N>"),
        (&["anchor"], "is missing"),
        (&["anchor", "bump", "--batch", "x"], "invalid value 'x'"),
    ] {
        let error = scene.failure(2, arguments);
        assert!(error.contains(expected) && !error.contains("error:") && !error.contains('\n'), "{error}");
    }
    assert!(scene.run(&["--json", "--version"]).stdout.starts_with(b"taproof "));
}

#[test]
fn mainnet_keys_are_refused_without_the_flag() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    assert!(scene.failure(3, &["wallet", "import"]).contains("mnemonic"));
    let error = scene.failure(3, &["setup", "--network", "bitcoin"]);
    assert!(error.contains("no default signers"), "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let scene = Scene::new();
    let mut child = scene
        .command(&["inspect", "circuits", "--depth", "10"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_demo_ends_with_equal_roots() {
    let scene = Scene::new();
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1"];
    let demo = ["demo", "--payments", "4", "--withdrawals", "1", "--keys", "keys"];
    let report = scene.report(&[demo.as_slice(), &slots].concat());
    assert_eq!(report["payments"], 4);
    assert_eq!(report["root_verified"], report["root_rebuilt"]);
    assert_eq!(report["proofs"], report["chunks"]);
    for key in ["posted_bytes_per_payment", "constraints", "seconds_total"] {
        assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    assert!(report["posted_bytes_per_payment"].as_f64().is_some_and(|bytes| bytes <= 9.0));
    the_demo_leaves_a_rollup(&scene, &report);
    assert!(scene.failure(3, &demo).contains("is not empty"), "a rollup is not overwritten");

    let scene = Scene::new();
    fs::write(scene.path("block.raw"), b"no block").expect("the file is ours");
    scene.failure(3, &["demo", "--block", "block.raw"]);
    scene.failure(3, &["demo", "--payments", "0"]);
    assert!(!scene.path("rollup").exists(), "what fails leaves nothing");
}

/// What the demo leaves is a data directory like any other: it can be looked at, and goes on.
fn the_demo_leaves_a_rollup(scene: &Scene, report: &Value) {
    assert!(report["dir"].as_str().is_some_and(|dir| dir.ends_with("rollup")), "{report}");
    let status = scene.report(&["status"]);
    assert_eq!((&status["batches"], &status["root_verified"]), (&1.into(), &report["root_verified"]));
    assert_eq!(status["anchors"][0]["state"], "final");
    scene.report(&["report", "--out", "demo.html"]);
    assert_eq!(scene.report(&["rebuild"])["root_rebuilt"], report["root_rebuilt"]);
    assert_eq!(scene.report(&["prove-account", "1", "--out", "1.account"])["index"], 1);
    for (file, format) in [("batches/0.batch", "batch"), ("proofs/0.proofs", "proofs"), ("anchors/0.json", "anchor")] {
        assert_eq!(scene.report(&["inspect", &format!("rollup/{file}")])["format"], format);
    }
    assert_eq!(scene.report(&["verify", "rollup/proofs/0.proofs"])["root_after"], report["root_proven"]);
    // A further deposit is credited by a further batch.
    scene.report(&["regtest", "deposit", "--owner", &scene.owner("0"), "--amount", "20000"]);
    let batch = scene.report(&["batch", "--reference-depth", "1", "--operator", "0"]);
    assert_eq!((&batch["batch"], &batch["deposits"]), (&1.into(), &1.into()));
    scene.report(&["prove", "rollup/batches/1.batch"]);
    assert_eq!(scene.report(&["anchor", "run", "--once"])["batches"], 2);
}

#[test]
fn the_demo_of_a_market_leaves_a_rollup_and_a_page() {
    let scene = Scene::new();
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1", "--step-slots", "4"];
    let demo = ["demo", "defi", "--traders", "2", "--withdrawals", "1", "--keys", "keys"];
    let report = scene.report(&[demo.as_slice(), &slots].concat());
    assert_eq!((&report["traders"], &report["batches"], &report["withdrawals"]), (&2.into(), &4.into(), &1.into()));
    assert_eq!((&report["root_proven"], &report["root_verified"]), (&report["root_verified"], &report["root_rebuilt"]));
    assert!(report["price"].as_f64().is_some_and(|price| (38_000.0..46_000.0).contains(&price)), "{report}");
    for order in report["orders"].as_array().expect("orders") {
        assert!(order["got"].is_u64() != order["left_out"].is_string(), "in, or out with a reason: {order}");
    }
    let status = scene.report(&["status"]);
    assert_eq!((&status["batches"], &status["root_verified"]), (&4.into(), &report["root_verified"]));
    assert_eq!(scene.report(&["rebuild"])["root_rebuilt"], report["root_rebuilt"]);
    assert_eq!(scene.report(&["inspect", "rollup/defi.html"])["format"], "market page");
    let page = fs::read_to_string(scene.path("rollup/defi.html")).expect("the page");
    let price = format!("{:.2} dollars a bitcoin", report["price"].as_f64().expect("a price"));
    assert!(page.contains("<svg class=\"clearing\"") && page.contains(&price));
    assert!(scene.failure(3, &demo).contains("is not empty"), "a rollup is not overwritten");
    let elsewhere = Scene::new();
    let many = elsewhere.failure(3, &["demo", "defi", "--traders", "100000"]);
    assert!(many.contains("holders have been paid 10000 sat or more, and 100003 are needed"), "{many}");
    elsewhere.failure(2, &["demo", "--payments", "3", "defi"]);
}

#[test]
fn the_demo_without_a_folder_leaves_one_in_the_cache_and_says_what_to_look_at() {
    let scene = Scene::new();
    let slots = ["--depth", "2", "--slots", "2", "--deposit-slots", "2", "--withdraw-slots", "1"];
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        command.args(["demo", "--payments", "2", "--withdrawals", "1"]).args(slots).current_dir(scene.path(""));
        command.env_remove("TAPROOF_DIR").env_remove("TAPROOF_NODE").env("XDG_CACHE_HOME", scene.path("cache"));
        let output = command.stdin(Stdio::null()).output().expect("the binary starts");
        (output.status.code(), [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("UTF-8")))
    };
    let demo = || {
        let (exit_code, [shown, errors]) = run();
        assert_eq!(exit_code, Some(0), "{errors}");
        shown
    };
    let home = scene.path("cache/taproof/demo");
    // The second takes the place of the first.
    for _ in 0..2 {
        let shown = demo();
        let root = shown.lines().find_map(|line| line.strip_prefix("root verified  ")).expect("the verified root");
        assert!(shown.matches(root).count() >= 2, "the demo's own and that of `status`: {shown}");
        assert!(shown.contains("batches        1 anchored"), "{shown}");
        assert!(shown.contains(&format!("taproof --dir {} report", home.display())), "{shown}");
        let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains("--dir") && !line.contains("kept");
        assert_eq!(shown.lines().find(is_wide), None, "80 columns, but for paths");
        assert!(home.join("params.json").is_file());
    }
    let lock = fs::File::create(scene.path("cache/taproof/demo.lock")).unwrap();
    lock.lock().unwrap();
    let (exit_code, [_, errors]) = run();
    assert!(exit_code == Some(5) && errors.contains("another demo runs"), "{errors}");
    drop(lock);
    // A key in the cache that was damaged is named and made anew, once.
    let mut keys = fs::read_dir(scene.path("cache/taproof/keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = keys.find(|key| key.file_name().unwrap().to_string_lossy().starts_with("deposit")).expect("its key");
    alter(&key, fs::metadata(&key).unwrap().len() as usize - 1);
    let (exit_code, [_, errors]) = run();
    assert!(exit_code == Some(0) && errors.contains(&format!("warning: {}", key.display())), "{errors}");
    assert!(errors.contains("another key is made"), "{errors}");
    let (exit_code, [_, errors]) = run();
    assert!(exit_code == Some(0) && !errors.contains("another key"), "{errors}");
    fs::write(scene.path("rollup"), "").unwrap();
    let output = scene.run(&["demo"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && errors.contains("rollup is no folder"), "{errors}");
}

#[test]
fn words_are_kept_encrypted_and_opened_with_their_password() {
    let scene = Scene::new();
    let file = scene.path("rollup/wallet.words");
    fs::write(scene.path("password"), "correct horse\r\nanother line\n").expect("our file");
    fs::write(scene.path("wrong"), "correct horse ").expect("our file");
    fs::write(scene.path("empty"), "").expect("our file");
    let with = |arguments: &[&'static str], password| [arguments, &["--wallet-password-file", password]].concat();
    let keys = ["wallet", "keys"];
    scene.report(&["wallet", "new"]);
    let before = (scene.report(&keys), scene.report(&["wallet", "words"]));
    assert!(scene.failure(3, &["wallet", "encrypt"]).contains("need a password"));
    assert!(scene.failure(3, &with(&["wallet", "encrypt"], "empty")).contains("password is empty"));
    assert_eq!(scene.report(&with(&["wallet", "encrypt"], "password"))["encrypted"], true);
    let sealed = fs::read_to_string(&file).expect("text");
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && sealed.len() < 1_000);
    assert_eq!(scene.report(&["inspect", "rollup/wallet.words"])["format"], "encrypted wallet words");
    assert!(scene.failure(3, &with(&keys, "empty")).contains("password is empty"));
    // What a password protects may be read by others; words without one may not.
    let mode = |mode| fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode));
    mode(0o644).expect("our file");
    assert_eq!(scene.report(&with(&keys, "password")), before.0);
    mode(0o600).expect("our file");
    assert!(scene.failure(3, &keys).contains("need a password"));
    assert!(scene.failure(3, &with(&keys, "wrong")).contains("password is wrong"));
    assert!(scene.failure(3, &with(&["wallet", "encrypt"], "password")).contains("encrypted"));
    assert!(scene.failure(3, &with(&["wallet", "new", "--encrypt"], "password")).contains("not overwritten"));
    assert_eq!(scene.report(&with(&["wallet", "words"], "password")), before.1);
    let mut by_variable = scene.command(&[&["--json"], &keys[..]].concat());
    by_variable.env("TAPROOF_WALLET_PASSWORD", "correct horse").stdin(Stdio::null());
    let output = by_variable.output().expect("the binary starts");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("a report"), before.0);
    fs::remove_file(&file).expect("our file");
    scene.report(&with(&["wallet", "new", "--encrypt"], "password"));
    assert!(fs::read_to_string(&file).expect("text").starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
}
