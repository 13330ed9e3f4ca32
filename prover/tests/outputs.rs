//! The files that a user names for a command to write: what they may take the place of, and what becomes of a reader
//! that leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::{Scene, write_small_circuit, write_witness};
use std::{fs, process::Stdio};

#[test]
fn no_output_takes_the_place_of_what_a_rollup_lives_by() {
    let scene = Scene::funded();
    write_small_circuit(&scene);
    scene.report(&["batch", "--reference-depth", "1"]);
    scene.report(&["follow"]);
    let key = fs::read_dir(scene.path("rollup/keys")).unwrap().next().unwrap().unwrap().file_name();
    let key = format!("keys/{}", key.to_str().unwrap());
    fs::write(scene.path("rollup/anchoring.lock"), "").unwrap();
    let lived_by = ["wallet.words", "ledger.redb", "params.json", "program.bin", "regtest.chain", "chain.redb", &key];
    let all = [&lived_by[..], &["anchoring.lock", "coins.redb", "bridge.state", "anchoring.redb"]].concat();
    let writers: [&[&str]; 6] = [
        &["prove", "rollup/batches/0.batch", "--out"],
        &["follow", "--export-checkpoint"],
        &["export", "--vkey", "small.zkey", "--out"],
        &["report", "--force", "--out"],
        &["prove", "--zkey", "small.zkey", "--witness", "small.wtns", "--proof"],
        &["rapidsnark", "small.zkey", "small.wtns", "p.json"],
    ];
    for name in &all {
        let path = scene.path("rollup").join(name);
        let before = fs::read(&path).ok();
        for writer in writers {
            let exit_code = if writer[0] == "rapidsnark" { 1 } else { 3 };
            let named = format!("rollup/{name}");
            let error = scene.failure(exit_code, &[writer, &[&named]].concat());
            assert!(error.contains("which no output replaces"), "{writer:?} {name}: {error}");
        }
        // A store that is opened is written to: it is one still, if it begins as one.
        let what = |bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) if name.ends_with(".redb") => bytes.get(..4).map(<[u8]>::to_vec),
            bytes => bytes,
        };
        assert!(what(fs::read(&path).ok()) == what(before), "{name} is what it was");
    }
    // By another of its names, too.
    fs::hard_link(scene.path("rollup/wallet.words"), scene.path("hard")).unwrap();
    let error = scene.failure(3, &["export", "--vkey", "small.zkey", "--out", "hard"]);
    assert!(error.contains("wallet.words, which no output replaces"), "{error}");
    // Nor is it replaced where it is another rollup's, or a copy.
    for name in lived_by {
        let copy = scene.path("copy");
        fs::copy(scene.path("rollup").join(name), &copy).unwrap();
        let before = fs::read(&copy).unwrap();
        for writer in writers {
            let exit_code = if writer[0] == "rapidsnark" { 1 } else { 3 };
            let error = scene.failure(exit_code, &[writer, &["copy"]].concat());
            assert!(error.contains("copy is not overwritten with"), "{writer:?} {name}: {error}");
        }
        assert!(fs::read(&copy).unwrap() == before, "{name} is what it was");
        fs::remove_file(&copy).unwrap();
    }
}

#[test]
fn outputs_replace_their_own_kind_and_make_no_folders() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let prove = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns"];
    // Whatever else is there under rapidsnark's names gives way, as it does there.
    fs::write(scene.path("proof.json"), "half a pro").unwrap();
    fs::write(scene.path("public.json"), "[\"7\"]").unwrap();
    scene.report(&prove);
    scene.report(&prove);
    assert_eq!(scene.report(&["inspect", "proof.json"])["format"], "proof (json)");
    scene.report(&["export", "--vkey", "small.zkey"]);
    scene.report(&["export", "--vkey", "small.zkey"]);
    for folder in ["keys/", "keys", "keys/"] {
        let report = scene.report(&["export", "--vkey", "small.zkey", "--out", folder]);
        assert_eq!(report["out"], "keys/verification_key.json");
    }
    let error = scene.failure(3, &["export", "--vkey", "small.zkey", "--out", "no/keys/"]);
    assert!(error.contains("there is no folder no"), "{error}");
    let error = scene.failure(3, &["export", "--vkey", "small.zkey", "--out", "small.wtns/"]);
    assert!(error.contains("small.wtns/ is no folder"), "{error}");
    fs::write(scene.path("notes"), "what I think of it").unwrap();
    let error = scene.failure(3, &["export", "--vkey", "small.zkey", "--out", "notes"]);
    assert!(error.contains("of no format that taproof knows"), "{error}");
    let error = scene.failure(3, &[&prove[..], &["--public", "proof.json"]].concat());
    assert!(error.contains("one file"), "{error}");
    let error = scene.failure(3, &[&prove[..], &["--public", "verification_key.json"]].concat());
    assert!(error.contains("its format is: verifying key (json)"), "{error}");
    // The key is none: the folder is missed before anything is read.
    for command in [
        &["prove", "--zkey", "none.zkey", "--witness", "small.wtns", "--proof", "no/p.json"][..],
        &["rapidsnark", "none.zkey", "small.wtns", "p.json", "no/public.json"],
        &["export", "--vkey", "none.zkey", "--out", "no/vkey.json"],
        &["import-zkey", "none.zkey", "--out", "no/small.key"],
    ] {
        // One takes the place of a program that has one code for all failures.
        let error = scene.failure(if command[0] == "rapidsnark" { 1 } else { 3 }, command);
        assert!(error.contains("there is no folder no"), "{error}");
    }
    assert!(!scene.path("no").exists());
}

/// Commands that write a file that the user names last.
fn writers(owner: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["bridge", "payout", "--out"],
        vec!["bridge", "sign", "none.psbt", "--out"],
        vec!["bridge", "combine", "none.psbt", "--out"],
        vec!["bridge", "deposit", "--owner", owner, "--amount", "1000", "--offline", "--psbt-out"],
        vec!["tx", "exit", "--amount", "4000", "--address", ADDRESS, "--psbt-out"],
        vec!["tx", "transfer", "--to", "1", "--amount", "5", "--add-to"],
        vec!["import-block", "none.raw", "--out"],
        vec!["prove-account", "0", "--out"],
        vec!["rebuild", "--out"],
        vec!["bench", "hash", "--size", "2", "--rounds", "1", "--save"],
        vec!["follow", "--export-checkpoint"],
    ]
}

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[test]
fn one_rule_holds_for_all_outputs() {
    let scene = Scene::funded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let owner = scene.owner("0");
    fs::copy(scene.path("rollup/params.json"), scene.path("parameters")).unwrap();
    for writer in writers(&owner) {
        let to = |path: &'static str| [&writer[..], &[path]].concat();
        let error = scene.failure(3, &to("rollup/wallet.words"));
        assert!(error.contains("which no output replaces"), "{writer:?}: {error}");
        let error = scene.failure(3, &to("no/file"));
        assert!(error.contains("there is no folder no"), "{writer:?}: {error}");
        let before = fs::read(scene.path("parameters")).unwrap();
        let output = scene.run(&to("parameters"));
        assert!(!output.status.success(), "{writer:?}");
        assert!(fs::read(scene.path("parameters")).unwrap() == before, "{writer:?} leaves what is no file of its kind");
    }
    for folder in [&["follow", "--export-excerpts"][..], &["export", "rollup/batches/0.batch", "--out"]] {
        let error = scene.failure(3, &[folder, &["parameters"]].concat());
        assert_eq!(error, "parameters is no folder", "{folder:?}");
    }
    let folder = ["follow", "--export-excerpts", "no/excerpts"];
    assert!(scene.failure(3, &folder).contains("there is no folder no"));
    assert!(scene.failure(3, &["wallet", "new", "--wallet", "no/words"]).contains("there is no folder no"));
    assert!(!scene.path("no").exists());
    // What is made for another wallet to sign is not written over: it may be signed by now.
    let deposit =
        ["bridge", "deposit", "--owner", &owner, "--amount", "1000", "--offline", "--psbt-out", "deposit.psbt"];
    scene.report(&deposit);
    assert!(scene.failure(3, &deposit).contains("exists and is not overwritten"));
    // What is read and written again is.
    for _ in 0..2 {
        scene.report(&["tx", "transfer", "--to", "1", "--amount", "5", "--add-to", "txs.json"]);
        scene.report(&["bench", "hash", "--size", "2", "--rounds", "1", "--save", "measured.json"]);
    }
    assert_eq!(scene.report(&["inspect", "txs.json"])["transactions"], 2);
}

#[test]
fn a_psbt_on_standard_output_stands_there_alone() {
    let scene = Scene::funded();
    let owner = scene.owner("0");
    let output =
        scene.run(&["bridge", "deposit", "--owner", &owner, "--amount", "1000", "--offline", "--psbt-out", "-"]);
    assert!(output.status.success() && output.stdout.starts_with(b"psbt\xff"));
    fs::write(scene.path("deposit.psbt"), &output.stdout).unwrap();
    assert_eq!(scene.report(&["inspect", "deposit.psbt"])["format"], "psbt");
    assert!(String::from_utf8(output.stderr).unwrap().contains("bip-21"));
}

#[test]
fn a_deposit_of_more_than_the_wallet_has_says_what_it_has() {
    let scene = Scene::funded();
    let owner = scene.owner("0");
    for amount in ["1000000000000", "2100000000000000"] {
        let error = scene.failure(1, &["regtest", "deposit", "--owner", &owner, "--amount", amount]);
        assert!(error.contains("are needed for outputs and fees, and the coins given are worth"), "{error}");
    }
}

#[test]
fn what_goes_to_a_reader_that_has_left_is_lost_and_said_to_be() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let prove = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns"];
    for (arguments, other) in [
        ([&prove[..], &["--proof", "-", "--public", "other"]].concat(), Some("other")),
        ([&prove[..], &["--public", "-", "--proof", "other"]].concat(), Some("other")),
        (vec!["rapidsnark", "small.zkey", "small.wtns", "-", "other"], Some("other")),
        (vec!["export", "--vkey", "small.zkey", "--out", "-"], None),
        (vec!["import-zkey", "small.zkey", "--out", "-"], None),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = scene.command(&arguments).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("whoever was to read it has left"), "{arguments:?}: {said}");
        if let Some(other) = other {
            assert!(fs::metadata(scene.path(other)).unwrap().len() > 0, "{arguments:?}");
            fs::remove_file(scene.path(other)).unwrap();
        }
        if cfg!(unix) {
            let program = scene.command(&arguments);
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(program.get_program()).args(program.get_args());
            let output = shell.current_dir(scene.path("")).stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains("standard output is closed"), "{arguments:?}: {said}");
        }
    }
    // Who asked for no more than a report has seen enough of it.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = scene.command(&["inspect", "small.wtns"]).stdout(writer).status().unwrap();
    assert!(status.success());
}

#[test]
fn what_is_made_for_standard_output_is_lost_without_it() {
    let scene = Scene::funded();
    scene.report(&["batch", "--reference-depth", "1"]);
    let exit = ["tx", "exit", "--amount", "4000", "--address", ADDRESS];
    for command in [
        &["tx", "transfer", "--to", "1", "--amount", "5"][..],
        &exit,
        &["wallet", "words"],
        &["completions", "zsh"],
        &["--json", "wallet", "words"],
    ] {
        let told = |stdout: Stdio, close: bool| {
            let program = scene.command(command);
            let mut shell = std::process::Command::new("sh");
            let script = if close { "exec \"$0\" \"$@\" >&-" } else { "exec \"$0\" \"$@\"" };
            shell.args(["-c", script]).arg(program.get_program()).args(program.get_args());
            shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let output = shell.current_dir(scene.path("")).stdin(Stdio::null()).stdout(stdout).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (exit_code, said) = told(writer.into(), false);
        assert!(
            exit_code == Some(1) && said.contains("standard output: whoever was to read it"),
            "{command:?}: {said}"
        );
        if cfg!(unix) {
            let (exit_code, said) = told(Stdio::null(), true);
            assert!(exit_code == Some(1) && said.contains("standard output is closed"), "{command:?}: {said}");
        }
    }
    // A full disk is said to be that of standard output, by reports, help and versions, too.
    if cfg!(target_os = "linux") {
        for command in
            [&["wallet", "keys"][..], &["wallet", "words"], &["--help"], &["--version"], &["completions", "bash"]]
        {
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            let output = scene.command(command).stdout(full).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("standard output: No space left on device"), "{command:?}: {said}");
            assert_eq!(output.status.code(), Some(1), "{command:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn standard_output_takes_one_file_and_no_report_beside_it() {
    use std::os::fd::AsFd;
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["import-zkey", "small.zkey"]);
    write_witness(&scene, "other.wtns", &[1, 42, 6, 7, 27]);
    let one = ["prove", "--key", "small.key", "--witness", "small.wtns"];
    let two = [&one[..], &["other.wtns", "--public", "1", "2"]].concat();
    let by_name = ["rapidsnark", "small.key", "small.wtns"];
    let run = |arguments: &[&str], both: bool| {
        let same = fs::File::create(scene.path("same")).unwrap();
        let mut command = scene.command(arguments);
        if both {
            command.stderr(same.as_fd().try_clone_to_owned().unwrap());
        }
        let output = command.stdin(Stdio::null()).stdout(same).output().unwrap();
        let held = fs::read_to_string(scene.path("same")).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap() + &held, held)
    };
    for (arguments, exit_code) in [
        ([&one[..], &["--proof", "-", "--public", "-"]].concat(), 3),
        ([&one[..], &["--proof", "-", "--public", "/dev/stdout"]].concat(), 3),
        ([&one[..], &["--proof", "/dev/stdout", "--public", "same"]].concat(), 3),
        ([&one[..], &["--proof", "/dev/stderr", "--public", "/dev/fd/2"]].concat(), 3),
        ([&two[..], &["--proof", "-", "-"]].concat(), 3),
        ([&by_name[..], &["-", "/dev/fd/1"]].concat(), 1),
        ([&by_name[..], &["same", "-"]].concat(), 1),
        // The report would go there, or be lost with the file that is replaced.
        ([&one[..], &["--proof", "p", "--public", "same"]].concat(), 3),
        ([&one[..], &["--proof", "-", "--public", "/dev/stderr"]].concat(), 3),
        (vec!["export", "--vkey", "small.key", "--out", "same"], 3),
    ] {
        let (code, said, held) = run(&arguments, false);
        assert_eq!(code, Some(exit_code), "{arguments:?}: {said}");
        assert!(
            said.contains("cannot hold both") || said.contains("is where the report goes"),
            "{arguments:?}: {said}"
        );
        assert!(held.is_empty() && !scene.path("p").exists(), "{arguments:?}: nothing is written");
    }
    let mixed = [&one[..], &["--proof", "-", "--public", "i"]].concat();
    let (code, said, _) = run(&mixed, true);
    assert!(code == Some(3) && said.contains("is where the report goes"), "{said}");
    // Each alone has its place, and a device takes all.
    assert_eq!(run(&mixed, false).0, Some(0));
    assert_eq!(run(&[&by_name[..], &["/dev/stdout", "/dev/stderr"]].concat(), false).0, Some(0));
    assert!(scene.run(&[&one[..], &["--proof", "/dev/null", "--public", "/dev/null"]].concat()).status.success());
}

#[test]
fn an_export_stands_beside_no_proof_of_something_else() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    let pay = scene.run(&["tx", "transfer", "--to", "1", "--amount", "5"]);
    fs::write(scene.path("payment"), &pay.stdout).unwrap();
    scene.report(&["batch", "--reference-depth", "1", "payment"]);
    let export = |batch: &'static str| ["export", batch, "--out", "iden3"];
    let first = export("rollup/batches/0.batch");
    scene.report(&[&first[..], &["--proofs", "rollup/proofs/0.proofs"]].concat());
    // Its own proof stays; another chunk's files do not come beside it.
    scene.report(&first);
    let before = fs::read(scene.path("iden3/public.json")).unwrap();
    let error = scene.failure(3, &export("rollup/batches/1.batch"));
    assert!(error.contains("proof.json is there, and is no proof of this chunk"), "{error}");
    assert!(fs::read(scene.path("iden3/public.json")).unwrap() == before, "nothing is written");
    fs::write(scene.path("iden3/proof.json"), "half a pro").unwrap();
    assert!(scene.failure(3, &first).contains("is no proof of this chunk"));
    fs::remove_file(scene.path("iden3/proof.json")).unwrap();
    scene.report(&export("rollup/batches/1.batch"));
}

#[test]
fn who_finds_a_store_in_use_waits() {
    let scene = Scene::funded();
    let pay = ["tx", "transfer", "--from", "0", "--to", "1", "--amount", "1"];
    let ledger =
        taproof_rollup::ledger::Ledger::open(&scene.path("rollup/ledger.redb"), scene.params().chain_id()).unwrap();
    let told = scene.run(&pay);
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(5), "{said}");
    assert!(said.contains("wait until the other command is done") && !said.contains("--nonce"), "{said}");
    // Who says all that it would be asked needs it not, and is told what is then not checked.
    let told = scene.run(&[&pay[..], &["--nonce", "0"]].concat());
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.success() && said.contains("--from and --nonce need none"), "{said}");
    assert!(String::from_utf8(told.stdout).unwrap().contains("transfer"));
    drop(ledger);
    let chain = taproof_bitcoin::regtest::ChainFile::open(&scene.path("rollup/regtest.chain")).unwrap();
    for command in [&["regtest", "mine", "1"][..], &["status"]] {
        let told = scene.run(command);
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(5), "{command:?}: {said}");
        assert!(said.contains("wait until the other command is done"), "{command:?}: {said}");
    }
    drop(chain);
}

#[test]
fn words_come_as_text_and_threads_in_reason() {
    let scene = Scene::new();
    fs::write(scene.path("binary"), [0xff, 0xfe, 0x00]).unwrap();
    let import = || scene.command(&["wallet", "import"]).stdin(fs::File::open(scene.path("binary")).unwrap()).output();
    let output = import().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("standard input is no text"), "{said}");
    for threads in ["0", "1025", "99999999"] {
        for command in [&["prove", "0.batch"][..], &["bench", "hash"]] {
            let output = scene.run(&[command, &["--threads", threads]].concat());
            assert_eq!(output.status.code(), Some(2), "{command:?}: {threads} threads");
        }
    }
}

#[test]
fn a_key_in_a_verifying_keys_place_is_sent_to_export() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let output = scene.run(&["verify", "--vkey", "small.zkey", "--proof", "p.json", "--public", "public.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("`taproof export --vkey small.zkey`"), "{said}");
}

#[cfg(unix)]
#[test]
fn names_that_are_no_utf_8_are_reported_as_far_as_they_are() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let scene = Scene::funded();
    write_small_circuit(&scene);
    let named = |arguments: &[&str], name: &[u8]| {
        let output = scene.command(arguments).arg(OsStr::from_bytes(name)).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {name:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let report = |arguments: &[&str], name: &[u8]| -> serde_json::Value {
        serde_json::from_str(&named(&[&["--json"], arguments].concat(), name)).unwrap()
    };
    scene.report(&["batch", "--reference-depth", "1"]);
    // A payment that is in the file is said to be there: who is told otherwise pays twice.
    let pay = ["tx", "transfer", "--to", "1", "--amount", "10", "--add-to"];
    let paid = report(&pay, b"pay\xff");
    assert_eq!((&paid["file"], &paid["transactions"]), (&"pay\u{fffd}".into(), &1.into()));
    assert!(named(&pay, b"pay\xff").contains("pay\u{fffd}: 2 transactions"));
    let (batch, owner) = ("rollup/batches/0.batch", scene.owner("0"));
    for (arguments, field) in [
        (&["prove", batch, "--out"][..], "file"),
        (&["import-zkey", "small.zkey", "--out"], "out"),
        (&["export", "--vkey", "small.zkey", "--out"], "out"),
        (&["export", batch, "--out"], "out"),
        (&["report", "--out"], "file"),
        (&["rebuild", "--out"], "out"),
        (&["wallet", "new", "--wallet"], "wallet"),
        (&["bridge", "deposit", "--owner", &owner, "--amount", "1000", "--offline", "--psbt-out"], "psbt"),
    ] {
        let name = [arguments[0].as_bytes(), arguments[1].as_bytes(), b"\xff"].concat();
        let name: Vec<u8> = name.into_iter().filter(|byte| *byte != b'/').collect();
        let report = report(arguments, &name);
        assert!(report[field].as_str().is_some_and(|name| name.ends_with('\u{fffd}')), "{arguments:?}: {report}");
        assert!(scene.path(".").join(OsStr::from_bytes(&name)).exists(), "{arguments:?}");
    }
    // A data directory of such a name.
    let dir = scene.path(".").join(OsStr::from_bytes(b"n\xff"));
    fs::rename(scene.path("rollup"), &dir).unwrap();
    fs::write(scene.path("payment"), named(&["tx", "transfer", "--to", "1", "--amount", "10", "--dir"], b"n\xff"))
        .unwrap();
    let batch = report(&["batch", "--reference-depth", "1", "payment", "--dir"], b"n\xff");
    assert!(batch["file"].as_str().is_some_and(|file| file.contains("n\u{fffd}")), "{batch}");
}
