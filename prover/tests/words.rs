//! What the command line says of what it is given: in words of its own, with what is wanted and advice that holds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::{Scene, write_small_circuit};
use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::{Command, Output, Stdio},
    thread,
};

/// The lines of an error: what went wrong, and what to do.
fn told(scene: &Scene, exit_code: i32, arguments: &[&str]) -> (String, String) {
    let output = scene.command(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {text}");
    let (error, help) = text.split_once("\n  help: ").unwrap_or((&text, ""));
    (error.trim().trim_start_matches("error: ").to_owned(), help.trim().to_owned())
}

/// Runs a command whose standard input begins like this and goes on with zeros for as long as somebody reads.
fn endless(mut command: Command, start: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let start = start.to_vec();
    let writer = thread::spawn(move || {
        let mut written = start.len();
        let mut result = stdin.write_all(&start);
        while result.is_ok() {
            result = stdin.write_all(&[0; 4096]);
            written += 4096;
        }
        (written, result.expect_err("the loop ends with one").kind())
    });
    let output = child.wait_with_output().expect("it ends");
    let (written, end) = writer.join().expect("nothing panics");
    assert!(end == io::ErrorKind::BrokenPipe && written < 1 << 20, "{written} bytes were taken: {end}");
    output
}

#[test]
fn the_first_bytes_of_a_pipe_decide_before_the_rest_is_read() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    for (start, arguments, expected) in [
        (
            &b"ptau\x01\0\0\0"[..],
            &["prove", "--zkey", "-", "--witness", "small.wtns"][..],
            "standard input is a powers-of-tau file (.ptau), where a .zkey is wanted",
        ),
        (b"", &["prove", "--zkey", "-", "--witness", "small.wtns"], "of no format that taproof knows, where a .zkey"),
        (b"", &["prove", "--zkey", "small.zkey", "--witness", "-"], "where a witness (.wtns) is wanted"),
        (b"wtns", &["prove", "--key", "-", "--witness", "small.wtns"], "where a key that was made ready"),
        (b"zkey", &["verify", "--vkey", "-", "--proof", "p", "--public", "i"], "where a verifying key"),
        (b"", &["verify", "--vkey", "-", "--proof", "p", "--public", "i"], "where a verifying key"),
        (b"r1cs", &["import-zkey", "-", "--out", "new.key"], "is a circuit (.r1cs), where a .zkey is wanted"),
        (b"ptau", &["rapidsnark", "-", "small.wtns", "p.json", "i.json"], "where a .zkey is wanted"),
        (b"taproofk", &["inspect", "-"], "must be opened in place"),
    ] {
        let output = endless(scene.command(arguments), start);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_file_in_anothers_place_is_told_with_where_it_belongs() {
    let scene = Scene::funded();
    write_small_circuit(&scene);
    scene.bring_in(0, &[]);
    scene.report(&["import-zkey", "small.zkey"]);
    fs::write(scene.path("binary"), [0xff, 0xfe, 0x00, 0x01]).unwrap();
    fs::write(scene.path("noise"), "no format of ours").unwrap();
    fs::write(scene.path("nothing"), "").unwrap();
    fs::write(scene.path("cut.json"), "{\"transactions\": [").unwrap();
    let key = "rollup/keys/transfer-d2-n2-v1.key";
    for (arguments, error, help) in [
        (
            &["verify", key][..],
            "made ready by taproof, where a file of proofs is wanted",
            "in keys/ of the data directory",
        ),
        (
            &["verify", "small.key"],
            "where a file of proofs is wanted",
            "`taproof prove --key small.key --witness FILE`",
        ),
        (&["verify", "rollup/ledger.redb"], "is a store of a data directory (redb), where", "--dir"),
        (&["verify", "rollup/params.json"], "is a rollup's params.json, where", "--dir"),
        (&["verify", "rollup/batches/0.batch"], "is a batch, where", "`taproof prove rollup/batches/0.batch`"),
        (&["verify", "nothing"], "nothing is empty, where a file of proofs is wanted", ""),
        (&["verify", "noise"], "noise is of no format that taproof knows, where a file of proofs is wanted", ""),
        (&["verify", "rollup"], "rollup is a folder, where a file of proofs is wanted", ""),
        (
            &["prove", "rollup/proofs/0.proofs"],
            "is a file of proofs, where a batch",
            "`taproof verify rollup/proofs/0.proofs`",
        ),
        (&["verify-account", "small.wtns"], "is a witness (.wtns), where a state proof", "--witness small.wtns`"),
        (&["batch", "small.wtns"], "is a witness (.wtns), where a file of transactions is wanted", "taproof prove"),
        (&["batch", "rollup/params.json"], "is a rollup's params.json, where a file of transactions", "--dir"),
        (&["batch", "binary"], "binary: it is no text in UTF-8", ""),
        (&["tx", "transfer", "--to", "1", "--amount", "1", "--add-to", "binary"], "binary", ""),
        (&["join", "binary", "binary", "--dir", "new"], "binary: it is no text in UTF-8", ""),
        (&["join", "noise", "noise", "--dir", "new"], "noise: it is no JSON: see line 1, column 2", ""),
        (&["inspect", "cut.json"], "cut.json: it is JSON that is not whole: it ends in the middle", ""),
        (&["join", "none", "none", "--dir", "new"], "none: ", "name params.json and program.bin, in this order"),
        (
            &["join", "rollup/program.bin", "rollup/params.json", "--dir", "new"],
            "is a rollup's program.bin, where a rollup's params.json is wanted",
            "in this order",
        ),
        (
            &["import-block", "small.zkey"],
            "is a .zkey, where a Bitcoin block is wanted",
            "taproof import-zkey small.zkey",
        ),
        (
            &["import-zkey", "small.wtns", "--out", "new.key"],
            "where a .zkey is wanted",
            "`taproof prove --zkey FILE --witness small.wtns`",
        ),
        (&["bridge", "send", "small.wtns"], "is a witness (.wtns), where a Bitcoin transaction", "taproof prove"),
        (&["bridge", "send", "noise"], "noise is neither a transaction nor a PSBT", ""),
        (&["wallet", "keys", "--wallet", "small.wtns"], "where a wallet is wanted", "taproof prove"),
        (
            &["verify", "--vkey", "rollup/params.json", "--proof", "noise", "--public", "noise"],
            "a rollup's params.json, where a verifying key",
            "--dir",
        ),
        (&["bench", "--baseline", "rollup/params.json"], "where a file of measurements is wanted", "--dir"),
    ] {
        let (said, advice) = told(&scene, 3, arguments);
        assert!(said.contains(error), "{arguments:?}: {said}");
        assert!(advice.contains(help), "{arguments:?}: {advice}");
        assert!(!advice.contains(&said), "said once");
    }
    let (said, advice) = told(&scene, 1, &["rapidsnark", "small.wtns", "small.zkey", "p.json", "i.json"]);
    assert!(said.contains("where a .zkey is wanted") && advice.contains("in this order"), "{said}: {advice}");
}

#[test]
fn a_cut_block_is_told_to_be_cut() {
    let scene = Scene::new();
    let block = taproof_fixtures::MAINNET_BLOCK_702861;
    let long = [block, &[0]].concat();
    for (bytes, expected) in [
        (&block[..5_000], "cut: the block is not whole: 5000 bytes end before its last transaction does"),
        (&block[..10], "cut: this is no block as nodes store and send it: 10 bytes are less than a header"),
        (&long, "cut: bytes follow the end of the block"),
    ] {
        fs::write(scene.path("cut"), bytes).unwrap();
        assert_eq!(scene.failure(3, &["import-block", "cut"]), expected);
    }
}

#[test]
fn rapidsnarks_arguments_fail_as_rapidsnarks_do() {
    let scene = Scene::new();
    for arguments in [&["rapidsnark"][..], &["rapidsnark", "a.zkey"], &["rapidsnark", "a", "b", "c", "d", "e"]] {
        let (said, _) = told(&scene, 1, arguments);
        assert!(said.contains("Usage: taproof rapidsnark"), "{said}");
    }
    scene.failure(1, &["rapidsnark", "a.zkey"]);
    scene.failure(2, &["prove"]);
}

#[test]
fn what_is_there_or_not_is_told_with_what_helps() {
    let scene = Scene::funded();
    let owner = scene.owner("0");
    scene.report(&["batch", "--reference-depth", "1"]);
    // 64 is the first cell that a tree of two levels does not have.
    let (said, advice) = told(&scene, 3, &["tx", "transfer", "--from", "64", "--to", "1", "--amount", "1"]);
    assert_eq!(said, "cell 64 is outside a tree of 64 cells");
    assert!(advice.contains("0 to 63"), "{advice}");
    let from = ["tx", "open", "--from", "64", "--nonce", "0", "--to", "5", "--owner", &owner, "--amount", "1000"];
    assert!(told(&scene, 4, &from).0.contains("cell 64 is outside a tree of 64 cells"));

    let report = scene.report(&["report"]);
    assert_eq!((&report["anchors"], &report["batches"]), (&0.into(), &1.into()));
    let (said, advice) = told(&scene, 3, &["report"]);
    assert!(said == "report.html exists and is not overwritten" && advice.contains("--force"), "{said}: {advice}");
    assert_eq!(scene.report(&["report", "--force"])["batches"], 1);

    for command in [&["setup"][..], &["join", "rollup/params.json", "rollup/program.bin"]] {
        let (said, advice) = told(&scene, 3, command);
        assert!(said.contains("params.json") && advice.contains("--dir"), "{said}: {advice}");
        assert!(!advice.contains("another file"), "there is no option for it: {advice}");
    }
}

#[test]
fn who_does_not_answer_is_told_with_its_own_address() {
    let scene = Scene::funded();
    let user = ["--node-user", "me", "--node-password", "it"];
    let (said, advice) = told(&scene, 1, &["status", "--esplora", "http://127.0.0.1:1"]);
    assert!(said.starts_with("http://127.0.0.1:1 does not answer"), "{said}");
    assert!(advice.contains("Esplora") && !advice.contains("rpcport"), "{advice}");
    let (_, advice) = told(&scene, 1, &[&["status", "--node", "http://127.0.0.1:1"], &user[..]].concat());
    assert!(advice.contains("rpcport"), "{advice}");
    // Whoever listens there speaks something else, as bitcoind does to other nodes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let speaker = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        stream.write_all(b"\xfa\xbf\xb5\xda\x80\xff\nversion\n").unwrap();
    });
    let (said, advice) = told(&scene, 3, &[&["status", "--node", &url], &user[..]].concat());
    speaker.join().unwrap();
    assert_eq!(said, format!("whoever listens at {url} does not speak HTTP"));
    assert!(advice.contains("8332"), "{advice}");
    for option in ["--node", "--esplora"] {
        let (said, advice) = told(&scene, 2, &["status", option, "foo"]);
        assert!(said.starts_with("foo is no address: write http://host:port") && !advice.is_empty(), "{said}");
    }
}

#[test]
fn lost_words_of_a_rollup_are_brought_back_and_not_made_anew() {
    let scene = Scene::new();
    let (_, advice) = told(&scene, 3, &["wallet", "keys", "--network", "regtest"]);
    assert!(advice.contains("taproof wallet new"), "{advice}");
    let scene = Scene::funded();
    fs::remove_file(scene.path("rollup/wallet.words")).unwrap();
    let (_, advice) = told(&scene, 3, &["wallet", "keys"]);
    assert!(advice.starts_with("if there was a wallet here, bring back your copy of its words"), "{advice}");
}

#[test]
fn what_is_left_of_a_rollup_is_named_at_once_before_another_is_founded_over_it() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    let (said, advice) = told(&scene, 3, &["setup"]);
    for name in ["params.json", "program.bin", "ledger.redb", "chain.redb", "batches", "proofs"] {
        assert!(said.contains(&format!("rollup/{name}")), "{name}: {said}");
    }
    assert!(advice.contains("move these files away; the wallet can stay"), "{advice}");
    for name in ["params.json", "program.bin", "ledger.redb", "batches", "proofs"] {
        fs::rename(scene.path(&format!("rollup/{name}")), scene.path(name)).unwrap();
    }
    // Another rollup's chain store would be in the way of every command that follows.
    let (said, _) = told(&scene, 3, &["setup"]);
    assert!(said.contains("rollup/chain.redb") && !said.contains("ledger"), "{said}");
}

#[test]
fn numbers_that_do_not_fit_are_told_with_their_options_before_keys_are_made() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let key = scene.report(&["wallet", "keys"])["poster_key"].as_str().unwrap().to_owned();
    let upgrades = ["--upgrade-key", &key, "--upgrade-threshold", "1"];
    let sequencer = ["--sequencer-key", &key];
    for (options, option) in [
        (&["--refund-delay", "30"][..], "--refund-delay"),
        (&["--deposit-expiry", "200"], "--deposit-expiry"),
        (&[&upgrades[..], &["--notice", "5"]].concat(), "--notice"),
        (&[&upgrades[..], &upgrades[..2]].concat(), "--upgrade-key once"),
        (&[&upgrades[..], &["--quiet-blocks", "73"]].concat(), "--quiet-blocks"),
        (&[&sequencer[..], &["--quiet-blocks", "0"]].concat(), "--quiet-blocks"),
        (&sequencer.repeat(2), "--sequencer-key once"),
        (&["--bridge-key", &key, "--bridge-key", &key, "--bridge-threshold", "1"], "--bridge-key once"),
        (&["--quiet-blocks", "4"], "--sequencer-key"),
    ] {
        let (said, advice) = told(&scene, 3, &[&["setup"], options].concat());
        assert!(advice.contains(option), "{options:?}: {said}: {advice}");
    }
    assert!(!scene.path("rollup/keys").exists());
}

#[test]
fn what_is_not_there_or_on_another_chain_is_told_with_what_to_do() {
    let scene = Scene::funded();
    fs::create_dir(scene.path("new")).unwrap();
    fs::copy(scene.path("rollup/regtest.chain"), scene.path("new/regtest.chain")).unwrap();
    for arguments in [
        &["batch", "none.json"][..],
        &["bridge", "send", "none"],
        &["upgrade", "add", "none"],
        &["join", "rollup/params.json", "rollup/program.bin", "--checkpoint", "none", "--dir", "new"],
    ] {
        let (said, advice) = told(&scene, 3, arguments);
        assert!(said.contains("none") && advice.starts_with("see that the file is there"), "{said}: {advice}");
    }
    let (_, advice) = told(&scene, 3, &["prove", "0"]);
    assert!(advice.contains("rollup/batches"), "{advice}");
    let (_, advice) = told(&scene, 3, &["tx", "transfer", "--from", "5", "--to", "0", "--amount", "1"]);
    assert!(advice.contains("wait for a batch") && advice.contains("--nonce"), "{advice}");

    // A program that is another rollup's, or a later one.
    let other = Scene::new();
    other.report(&["wallet", "new"]);
    other.report(&[
        "setup",
        "--payments-only",
        "--depth",
        "1",
        "--slots",
        "1",
        "--deposit-slots",
        "1",
        "--withdraw-slots",
        "1",
    ]);
    let program = other.path("rollup/program.bin").display().to_string();
    let (_, advice) = told(&scene, 3, &["join", "rollup/params.json", &program, "--dir", "new"]);
    assert!(advice.contains("of one data directory") && advice.contains("LATER-PROGRAM"), "{advice}");

    // These commands take no node, so none is to be named.
    fs::remove_file(scene.path("rollup/regtest.chain")).unwrap();
    let (said, advice) = told(&scene, 3, &["regtest", "mine", "1"]);
    assert!(said.contains("does not have") && !advice.contains("--node"), "{said}: {advice}");
}

#[test]
fn mainnet_is_called_mainnet() {
    let scene = Scene::new();
    scene.report(&["wallet", "new"]);
    let signer = scene.report(&["bridge", "keys"])["signer_key"].as_str().unwrap().to_owned();
    for name in ["mainnet", "bitcoin"] {
        let output = scene.command(&["wallet", "keys", "--network", name]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("network         mainnet\n"), "{text}");
        let seed = "07".repeat(32);
        let keys = ["--bridge-threshold", "1", "--bridge-key", &signer];
        let (said, _) =
            told(&scene, 3, &[&["setup", "--payments-only", "--seed", &seed, "--network", name], &keys[..]].concat());
        assert!(!said.contains("bitcoin"), "{said}");
    }
    let scene = Scene::funded();
    let (said, _) = told(&scene, 3, &["wallet", "keys", "--network", "bitcoin"]);
    assert_eq!(said, "the rollup lives on regtest, not on mainnet");
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let withdraw = ["tx", "withdraw", "--from", "0", "--nonce", "0", "--amount", "4000", "--address", address];
    let (said, _) = told(&scene, 3, &withdraw);
    assert_eq!(said, format!("{address} is an address of mainnet, and one of regtest is wanted"));
}

/// Runs a command with these variables, without the options that every test gives: its exit code, and what it says.
fn told_with(scene: &Scene, variables: &[(&str, &OsStr)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
    command.args(arguments).current_dir(scene.path("")).stdin(Stdio::null());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAPROOF_")) {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_empty_variable_is_none_and_one_that_is_no_text_is_named() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let names = [
        "TAPROOF_DIR",
        "TAPROOF_BACKEND",
        "TAPROOF_NODE",
        "TAPROOF_NODE_COOKIE",
        "TAPROOF_NODE_USER",
        "TAPROOF_NODE_PASSWORD",
        "TAPROOF_ESPLORA",
        "TAPROOF_PASSPHRASE",
        "TAPROOF_WALLET_PASSWORD",
        "TAPROOF_WALLET_PASSWORD_FILE",
        "RAYON_NUM_THREADS",
    ];
    let prove = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns"];
    let empty = names.map(|name| (name, OsStr::new("")));
    assert_eq!(told_with(&scene, &empty, &[&prove[..], &["-q"]].concat()), (Some(0), String::new()));
    assert!(!scene.path(".taproof").exists(), "a key of other people's needs no data directory");
    assert_eq!(told_with(&scene, &empty, &["wallet", "new"]), (Some(0), String::new()));
    assert_eq!(told_with(&scene, &empty, &["regtest", "mine", "1"]).0, Some(0), "the embedded chain");
    assert!(scene.path(".taproof/wallet.words").is_file(), "the directory that is used where none is named");
    let (code, said) = told_with(&scene, &empty, &["wallet", "encrypt"]);
    assert!(code == Some(3) && said.contains("need a password"), "{said}");
    // A folder may have any name.
    for name in names.into_iter().filter(|name| *name != "TAPROOF_DIR") {
        let no_text = [(name, OsStr::from_bytes(b"http://\xff"))];
        let (code, said) = told_with(&scene, &no_text, &prove);
        assert!(code == Some(2) && said.contains(&format!(" for {name}: ")), "{name}: {said}");
        assert_eq!(said.contains("http"), name == "RAYON_NUM_THREADS", "passwords are not shown: {said}");
        let (code, said) = told_with(&scene, &no_text, &[&["--json"], &prove[..]].concat());
        let error: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert!(code == Some(2) && error["error"].as_str().unwrap().contains(name), "{said}");
        assert_eq!(told_with(&scene, &no_text, &["--help"]).0, Some(0), "help helps");
    }
}

#[test]
fn variables_are_told_by_their_own_names() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let prove = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns"];
    let (code, said) = told_with(&scene, &[("TAPROOF_BACKEND", OsStr::new("foo"))], &prove);
    assert!(code == Some(2) && said.contains("'foo' for TAPROOF_BACKEND: "), "{said}");
    assert!(said.contains("portable, avx2 and ifma") && !said.contains("--backend"), "{said}");
    let (code, said) = told_with(&scene, &[], &[&prove[..], &["--backend", "foo"]].concat());
    assert!(code == Some(2) && said.contains("'foo' for '--backend <NAME>': "), "{said}");
    for threads in ["1025", "100000", "abc", "-1"] {
        let (code, said) = told_with(&scene, &[("RAYON_NUM_THREADS", OsStr::new(threads))], &prove);
        let expected = format!("\"{threads}\" for RAYON_NUM_THREADS: a whole number from 1 to 1024 is wanted");
        assert!(code == Some(2) && said.contains(&expected), "{said}");
    }
    // What the environment says is no part of the usage.
    let (code, said) = told_with(&scene, &[("TAPROOF_DIR", OsStr::new("x"))], &["verify"]);
    assert!(code == Some(2) && said.contains("Usage: taproof verify [OPTIONS] <PROOFS>\n"), "{said}");
    assert!(!said.contains("--dir"), "{said}");
}

#[test]
fn a_command_line_that_is_wrong_has_one_exit_code() {
    let scene = Scene::new();
    let (_, said) = told_with(&scene, &[("TAPROOF_DIR", OsStr::new("x"))], &["inspect"]);
    assert!(said.contains("<FILE>") && said.contains("taproof inspect"), "{said}");
    scene.failure(2, &["inspect"]);
    let error = scene.failure(2, &["bench", "hash", "--size", "99"]);
    assert_eq!(error, "size 99: hash is measured at sizes from 0 to 22");
    assert!(!scene.failure(2, &["bench", "nothing"]).is_empty());
    // What is there already, and what is no place for a file, is one kind of failure for all outputs.
    write_small_circuit(&scene);
    scene.report(&["import-zkey", "small.zkey"]);
    scene.report(&["wallet", "new"]);
    fs::create_dir(scene.path("folder")).unwrap();
    for (arguments, expected) in [
        (&["import-zkey", "small.zkey"][..], "small.key exists and is not overwritten"),
        (&["wallet", "new"], "wallet.words exists and is not overwritten"),
        (&["import-zkey", "small.zkey", "--out", "folder"], "folder names a folder, where a file is to be written"),
        (&["import-zkey", "small.zkey", "--out", "new/"], "new/ names a folder, where a file is to be written"),
        (&["import-zkey", "small.zkey", "--out", "no/key"], "no/key: there is no folder no"),
        (&["wallet", "new", "--dir", "small.key"], "small.key is no folder"),
    ] {
        let error = scene.failure(3, arguments);
        assert!(error.ends_with(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn measurements_that_are_none_do_not_switch_the_comparison_off() {
    let scene = Scene::new();
    let measure = ["bench", "hash", "--size", "2", "--rounds", "1", "--threads", "1"];
    scene.report(&[&measure[..], &["--save", "measured.json"]].concat());
    let measured: serde_json::Value = serde_json::from_slice(&fs::read(scene.path("measured.json")).unwrap()).unwrap();
    let compare = ["bench", "--rounds", "1", "--baseline"];
    scene.report(&[&compare[..], &["measured.json", "--regression", "1e9"]].concat());
    for allowed in ["nan", "inf", "1e400", "-1", "-0.5"] {
        let error = scene.failure(2, &[&compare[..], &["measured.json", "--regression", allowed]].concat());
        assert!(error.contains("a number that is not negative is wanted"), "{allowed}: {error}");
    }
    for (name, value, expected) in [
        ("median_us_per_constraint", "-1.0", "median_us_per_constraint of hash at size 2 is -1"),
        ("median_us_per_constraint", "0.0", "a time is greater than 0"),
        ("min_us_per_constraint", "-0.0", "a time is greater than 0"),
        ("median_us_per_constraint", "NaN", "no JSON"),
        ("median_us_per_constraint", "1e400", "no JSON"),
        ("median_us_per_constraint", "null", "JSON of another form"),
        ("threads", "100000", "\"threads\": a whole number from 1 to 1024 is wanted"),
        ("size", "99", "size 99: hash is measured at sizes from 0 to 22"),
    ] {
        let written = measured[0][name].to_string();
        let text = measured.to_string().replacen(&format!("\"{name}\":{written}"), &format!("\"{name}\":{value}"), 1);
        fs::write(scene.path("altered.json"), text).unwrap();
        let error = scene.failure(3, &[&compare[..], &["altered.json"]].concat());
        assert!(error.contains(expected), "{name}: {value}: {error}");
    }
}
