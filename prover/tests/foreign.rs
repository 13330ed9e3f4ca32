//! The prover in rapidsnark's place: other people's circuits, keys and witnesses on the command line, without a rollup.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod scene;

use scene::{Scene, alter, write_small_circuit, write_witness};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output, Stdio},
};
use taproof_circuits::iden3::write_r1cs;

#[test]
fn other_peoples_circuits_are_proven_without_a_rollup() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let report = scene.report(&["prove", "--zkey", "small.zkey", "--witness", "small.wtns"]);
    assert_eq!((&report["constraints"], &report["public_inputs"]), (&2.into(), &1.into()));
    assert_eq!(
        fs::read_to_string(scene.path("public.json")).unwrap().split_whitespace().collect::<String>(),
        "[\"35\"]"
    );
    let proof: Value = serde_json::from_str(&fs::read_to_string(scene.path("proof.json")).unwrap()).unwrap();
    assert_eq!((&proof["protocol"], &proof["curve"]), (&"groth16".into(), &"bn128".into()));
    let imported = scene.report(&["import-zkey", "small.zkey"]);
    assert_eq!((&imported["out"], &imported["wires"]), (&"small.key".into(), &5.into()));
    assert!(scene.failure(3, &["import-zkey", "small.zkey"]).contains("not overwritten"));
    fs::create_dir(scene.path("out")).unwrap();
    let from_key = ["prove", "--key", "small.key", "--witness", "small.wtns", "--proof", "out/p.json"];
    assert_eq!(scene.report(&from_key)["matrix_hash"], report["matrix_hash"]);
    assert!(scene.path("out/p.json").is_file());
    let inspected = scene.report(&["inspect", "small.key"]);
    assert_eq!((&inspected["circuit"], &inspected["constraints"]), (&"a foreign circuit".into(), &2.into()));
    assert!(!scene.path("rollup").exists(), "no data directory is made");
}

#[test]
fn outputs_are_files_pipes_or_devices_and_never_an_input() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let name = |name: &str| scene.path(name).to_str().expect("UTF-8").to_owned();
    let prove = |proof: &str, public: &str| {
        let arguments = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns", "--proof", proof];
        arguments.into_iter().chain(["--public", public]).map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = |exit_code, proof: &str, public: &str| {
        scene.failure(exit_code, &prove(proof, public).iter().map(String::as_str).collect::<Vec<_>>())
    };
    // A device and a pipe stay what they are; nobody but root makes devices, and a link to one stays as well.
    let made = Command::new("mknod").args([&name("null"), "c", "1", "3"]).status().is_ok_and(|status| status.success());
    if !made {
        std::os::unix::fs::symlink("/dev/null", scene.path("null")).unwrap();
    }
    assert!(Command::new("mkfifo").arg(name("pipe")).status().unwrap().success());
    let reader = {
        let pipe = scene.path("pipe");
        std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    scene.report(&prove("pipe", "null").iter().map(String::as_str).collect::<Vec<_>>());
    assert!(reader.join().unwrap().contains("\"pi_a\""));
    assert!(
        !fs::metadata(scene.path("null")).unwrap().is_file() && !fs::metadata(scene.path("pipe")).unwrap().is_file()
    );
    // Standard output is the proof's alone, by either name, and the report goes to standard error.
    for stdout in ["/dev/stdout", "-"] {
        let output = scene.command(&["--json"]).args(prove(stdout, "public.json")).output().unwrap();
        let proof: Value = serde_json::from_slice(&output.stdout).expect("a proof and nothing else");
        assert_eq!(proof["protocol"], "groth16");
        assert!(String::from_utf8(output.stderr).unwrap().contains("\"constraints\":2"));
    }
    // What others may read they may read, and links stay.
    fs::write(scene.path("plain"), "").unwrap();
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions();
    assert_eq!(mode("public.json"), mode("plain"));
    scene.report(&["import-zkey", "small.zkey", "--out", "small.key"]);
    assert_eq!(mode("small.key"), mode("plain"));
    std::os::unix::fs::symlink("target.json", scene.path("link.json")).unwrap();
    scene.report(&prove("link.json", "public.json").iter().map(String::as_str).collect::<Vec<_>>());
    assert!(scene.path("link.json").is_symlink() && scene.path("target.json").is_file());
    // One name for two files, or an input's name, is refused before anything is proven or written.
    let small = fs::read(scene.path("small.wtns")).unwrap();
    fs::hard_link(scene.path("small.wtns"), scene.path("hard")).unwrap();
    std::os::unix::fs::symlink("small.zkey", scene.path("soft")).unwrap();
    assert!(refused(3, "new.json", "./new.json").contains("one file"));
    assert!(refused(3, "target.json", "link.json").contains("one file"));
    for input in ["small.wtns", "small.zkey", "hard", "soft"] {
        assert!(refused(3, "new.json", input).contains("which is read"), "{input}");
        assert!(refused(3, input, "new.json").contains("which is read"), "{input}");
    }
    assert_eq!(fs::read(scene.path("small.wtns")).unwrap(), small);
    assert!(!scene.path("new.json").exists());
    // What cannot be written is said before the key is read, which is none here.
    fs::create_dir(scene.path("folder")).unwrap();
    let early = ["prove", "--zkey", "none.zkey", "--witness", "small.wtns", "--proof", "folder"];
    assert!(scene.failure(3, &early).contains("folder names a folder, where a file is to be written"));
}

#[test]
fn other_peoples_files_are_refused_with_their_fault() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["import-zkey", "small.zkey", "--out", "small.key"]);
    let prove = |key: [&str; 2], witness: &str| {
        [["prove", key[0], key[1]], ["--witness", witness, "--quiet"]].concat().into_iter().map(str::to_owned).collect()
    };
    let refused = |exit_code, arguments: Vec<String>, expected: &str| {
        let error = scene.failure(exit_code, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(error.contains(expected), "{error}");
    };
    let (zkey, key) = (["--zkey", "small.zkey"], ["--key", "small.key"]);
    fs::write(scene.path("proof"), "of no form that is known").unwrap();
    write_witness(&scene, "wrong.wtns", &[1, 36, 5, 7, 26]);
    write_witness(&scene, "short.wtns", &[1, 35, 5, 7]);
    write_witness(&scene, "two.wtns", &[2, 35, 5, 7, 26]);
    for key in [zkey, key] {
        refused(4, prove(key, "wrong.wtns"), "does not satisfy");
        refused(3, prove(key, "short.wtns"), "4 values and the key's circuit 5 wires");
        refused(3, prove(key, "two.wtns"), "not one");
        refused(3, prove(key, "none.wtns"), "none.wtns");
        refused(3, prove(key, "small.zkey"), "small.zkey is a .zkey, where a witness (.wtns) is wanted");
    }
    refused(3, prove(["--zkey", "small.key"], "small.wtns"), "made ready by taproof, where a .zkey is wanted");
    refused(3, prove(["--zkey", "small.wtns"], "small.wtns"), "a witness (.wtns), where a .zkey is wanted");
    refused(3, prove(["--key", "small.zkey"], "small.wtns"), "a .zkey, where a key that was made ready");
    refused(3, prove(["--zkey", "proof"], "small.wtns"), "this is no .zkey file");
    refused(3, prove(["--key", "proof"], "small.wtns"), "not a proving key");
    refused(3, prove(["--key", "own.key"], "small.wtns"), "made from batches");
    refused(3, prove(["--zkey", "none.zkey"], "small.wtns"), "none.zkey");
    for (name, length) in [("small.zkey", 500), ("small.wtns", 100)] {
        let bytes = fs::read(scene.path(name)).unwrap();
        fs::write(scene.path("cut"), &bytes[..length]).unwrap();
        let arguments = if length == 500 { prove(["--zkey", "cut"], "small.wtns") } else { prove(zkey, "cut") };
        refused(3, arguments, "truncated");
    }
    assert!(scene.failure(3, &["import-zkey", "small.wtns", "--out", "no.key"]).contains("where a .zkey is wanted"));
    assert!(!scene.path("no.key").exists());
    alter(&scene.path("small.key"), fs::metadata(scene.path("small.key")).unwrap().len() as usize - 1);
    refused(3, prove(key, "small.wtns"), "altered in its section coefficients");
    assert!(!scene.path("proof.json").exists(), "what fails writes nothing");

    // What belongs to one way of proving is no option of the other.
    for arguments in [
        &["prove"][..],
        &["prove", "0.batch", "--zkey", "small.zkey", "--witness", "small.wtns"],
        &["prove", "--zkey", "small.zkey", "--key", "small.key", "--witness", "small.wtns"],
        &["prove", "--zkey", "small.zkey"],
        &["prove", "--witness", "small.wtns"],
        &["prove", "0.batch", "--proof", "proof.json"],
        &["prove", "--zkey", "small.zkey", "--witness", "small.wtns", "--at-once", "2"],
    ] {
        assert_eq!(scene.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// Runs a command with bytes on its standard input.
fn piped(mut command: Command, bytes: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, bytes).expect("it reads all of it");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn files_say_by_their_contents_which_option_is_meant() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["prove", "--zkey", "small.zkey", "--witness", "small.wtns"]);
    scene.report(&["import-zkey", "small.zkey"]);
    scene.report(&["export", "--vkey", "small.zkey"]);
    let advice = |arguments: &[&str], expected: &str| {
        let output = scene.run(arguments);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("help: ") && said.contains(expected), "{arguments:?}: {said}");
    };
    advice(&["prove", "small.zkey"], "--zkey small.zkey");
    advice(&["prove", "small.key"], "--key small.key");
    advice(&["prove", "small.wtns"], "--witness small.wtns");
    advice(&["prove", "--key", "small.zkey", "--witness", "small.wtns"], "--zkey small.zkey");
    advice(&["prove", "--zkey", "small.key", "--witness", "small.wtns"], "--key small.key");
    advice(&["prove", "--zkey", "small.zkey", "--witness", "small.key"], "--key small.key");
    advice(&["verify", "proof.json"], "taproof verify --vkey");
    advice(&["verify", "verification_key.json"], "--vkey verification_key.json");
    let swapped = ["verify", "--vkey", "public.json", "--proof", "proof.json", "--public", "verification_key.json"];
    advice(&swapped, "--public public.json");
}

#[test]
fn pipes_and_standard_input_are_read() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["import-zkey", "small.zkey"]);
    let [zkey, key, witness] =
        ["small.zkey", "small.key", "small.wtns"].map(|name| fs::read(scene.path(name)).unwrap());
    for (arguments, bytes) in [
        (["prove", "--zkey", "small.zkey", "--witness", "-"], &witness),
        (["prove", "--zkey", "-", "--witness", "small.wtns"], &zkey),
        (["prove", "--key", "-", "--witness", "small.wtns"], &key),
        (["prove", "--key", "/dev/stdin", "--witness", "small.wtns"], &key),
        (["prove", "--key", "small.key", "--witness", "/dev/stdin"], &witness),
    ] {
        let output = piped(scene.command(&arguments), bytes);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        scene.report(&["export", "--vkey", "small.zkey"]);
        let verify = ["verify", "--vkey", "verification_key.json", "--proof", "proof.json", "--public", "public.json"];
        assert_eq!(scene.report(&verify)["public_inputs"], 1);
        fs::remove_file(scene.path("proof.json")).unwrap();
    }
    // Nothing is written beside what has no place of its own.
    let nowhere = piped(scene.command(&["import-zkey", "/dev/stdin"]), &zkey);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--out FILE"));
    // Bytes after the end, and a witness of version 1, are taken as snarkjs and rapidsnark take them.
    let mut longer = witness.clone();
    longer[4] = 1;
    longer.extend([0; 100]);
    assert!(piped(scene.command(&["prove", "--zkey", "small.zkey", "--witness", "-"]), &longer).status.success());
    for (arguments, exit_code) in [
        (&["prove", "--zkey", "-", "--witness", "-"][..], 3),
        (&["prove", "--zkey", "/dev/stdin", "--witness", "-"], 3),
        (&["verify", "--vkey", "-", "--proof", "/dev/fd/0", "--public", "public.json"], 3),
        (&["rapidsnark", "/dev/stdin", "/dev/stdin", "p.json", "i.json"], 1),
    ] {
        let twice = scene.run(arguments);
        let said = String::from_utf8_lossy(&twice.stderr).into_owned();
        assert_eq!(twice.status.code(), Some(exit_code), "{arguments:?}: {said}");
        assert!(said.contains("standard input holds one file"), "{arguments:?}: {said}");
    }
    // Of several witnesses one without a name of its own has none for its proof.
    for nameless in ["-", "/dev/stdin"] {
        let error = scene.failure(3, &["prove", "--key", "small.key", "--witness", "small.wtns", nameless]);
        assert!(error.contains("no name for its proof to go by"), "{error}");
    }
    let (named, arguments) = (["a", "b"], ["prove", "--key", "small.key", "--witness", "small.wtns", "-"]);
    let arguments = [&arguments[..], &["--proof"], &named, &["--public", "c", "d"]].concat();
    assert!(piped(scene.command(&arguments), &witness).status.success() && scene.path("b").is_file());
    let imported = piped(scene.command(&["import-zkey", "-", "--out", "piped.key"]), &zkey);
    assert!(imported.status.success() && fs::read(scene.path("piped.key")).unwrap() == key);
}

#[test]
fn rapidsnarks_command_line_is_ours_by_either_name() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["import-zkey", "small.zkey"]);
    write_witness(&scene, "wrong.wtns", &[1, 36, 5, 7, 26]);
    let link = scene.path("prover");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_taproof"), &link).unwrap();
    let by_name = |arguments: &[&str]| {
        let mut command = Command::new(&link);
        command.args(arguments).current_dir(scene.path(".")).output().expect("the binary starts")
    };
    let by_word = |arguments: &[&str]| scene.run(&[&["rapidsnark"], arguments].concat());
    scene.report(&["export", "--vkey", "small.zkey"]);
    for run in [&by_name as &dyn Fn(&[&str]) -> Output, &by_word] {
        for key in ["small.zkey", "small.key"] {
            let output = run(&[key, "small.wtns", "p.json", "i.json"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "rapidsnark says nothing");
            assert_eq!(fs::read_to_string(scene.path("i.json")).unwrap(), "[\"35\"]");
            let proof = fs::read_to_string(scene.path("p.json")).unwrap();
            assert!(proof.starts_with("{\"pi_a\":[\"") && proof.ends_with("\"protocol\":\"groth16\"}"), "{proof}");
            let verify = ["verify", "--vkey", "verification_key.json", "--proof", "p.json", "--public", "i.json"];
            assert_eq!(scene.report(&verify)["public_inputs"], 1);
            fs::remove_file(scene.path("p.json")).unwrap();
        }
        for wrong in [
            ["small.zkey", "wrong.wtns", "p.json", "i.json"],
            ["none.zkey", "small.wtns", "p.json", "i.json"],
            ["small.zkey", "small.zkey", "p.json", "i.json"],
            ["small.zkey", "small.wtns", "p.json", "p.json"],
            ["small.zkey", "small.wtns", "p.json", "small.wtns"],
        ] {
            let output = run(&wrong);
            assert_eq!(output.status.code(), Some(1), "{wrong:?}");
            assert!(output.stdout.is_empty() && !output.stderr.is_empty());
            assert!(!scene.path("p.json").exists(), "{wrong:?}");
        }
    }
    // Who asks for JSON gets a report, on standard error where standard output is a file.
    let report = scene.report(&["rapidsnark", "small.zkey", "small.wtns", "p.json", "i.json"]);
    assert_eq!((&report["proofs"][0]["proof"], &report["proofs"][0]["public"]), (&"p.json".into(), &"i.json".into()));
    let piped = scene.run(&["--json", "rapidsnark", "small.zkey", "small.wtns", "-", "i.json"]);
    let report: Value = serde_json::from_slice(&piped.stderr).unwrap();
    assert!(report["proofs"].is_array() && piped.stdout.starts_with(b"{\"pi_a\""));
    fs::remove_file(scene.path("p.json")).unwrap();
    // A variable that is wrong is said, and is a failure as any other.
    let by_name = |arguments: &[&str]| {
        let mut command = Command::new(scene.path("prover"));
        command.args(arguments).current_dir(scene.path(""));
        command
    };
    let by_word = |arguments: &[&str]| scene.command(&[&["rapidsnark"], arguments].concat());
    for (variable, value) in [("TAPROOF_BACKEND", "foo"), ("RAYON_NUM_THREADS", "1025"), ("RAYON_NUM_THREADS", "abc")] {
        for command in [&by_name as &dyn Fn(&[&str]) -> Command, &by_word] {
            let mut command = command(&["small.zkey", "small.wtns", "p.json", "i.json"]);
            let output = command.env(variable, value).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{variable}={value}: {said}");
            assert!(said.contains(variable) && said.contains(value), "{said}");
            assert!(!scene.path("p.json").exists());
        }
    }
    let usage = by_name(&["small.zkey"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(1));
    let usage = String::from_utf8(usage.stderr).unwrap();
    assert!(usage.contains("Usage: prover <circuit.zkey> <witness.wtns> <proof.json> <public.json>"), "{usage}");
}

#[test]
fn many_witnesses_are_proven_with_a_key_that_is_opened_once() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    fs::create_dir(scene.path("w")).unwrap();
    for (name, x) in [("w/a.wtns", 5), ("w/b.wtns", 6), ("w/c.wtns", 8)] {
        write_witness(&scene, name, &[1, 7 * x, x, 7, x + 21]);
    }
    let key = ["prove", "--zkey", "small.zkey", "--threads", "1", "--witness"];
    let report = scene.report(&[&key[..], &["w/a.wtns", "w/b.wtns", "w/c.wtns"]].concat());
    assert_eq!(report["proofs"].as_array().map(Vec::len), Some(3));
    assert_eq!((&report["proofs"][1]["proof"], &report["kept"]), (&"w/b.proof.json".into(), &0.into()));
    scene.report(&["export", "--vkey", "small.zkey", "--out", "w"]);
    for (name, product) in [("a", "35"), ("b", "42"), ("c", "56")] {
        let [proof, public] = ["proof", "public"].map(|kind| format!("w/{name}.{kind}.json"));
        assert!(fs::read_to_string(scene.path(&public)).unwrap().contains(&format!("\"{product}\"")));
        scene.report(&["verify", "--vkey", "w/verification_key.json", "--proof", &proof, "--public", &public]);
    }
    let others = ["verify", "--vkey", "w/verification_key.json", "--proof", "w/a.proof.json", "--public"];
    assert!(scene.failure(4, &[&others[..], &["w/b.public.json"]].concat()).contains("does not hold"));
    // A run that was interrupted goes on: what is there and holds stays, what is missing, damaged or another's is made.
    let proof = |name: &str| fs::read_to_string(scene.path(name)).unwrap();
    let kept = proof("w/a.proof.json");
    fs::remove_file(scene.path("w/b.proof.json")).unwrap();
    fs::copy(scene.path("w/a.proof.json"), scene.path("w/c.proof.json")).unwrap();
    let again = scene.report(&[&key[..], &["w/a.wtns", "w/b.wtns", "w/c.wtns"]].concat());
    assert_eq!((&again["kept"], proof("w/a.proof.json")), (&1.into(), kept));
    for name in ["a", "b", "c"] {
        let [proof, public] = ["proof", "public"].map(|kind| format!("w/{name}.{kind}.json"));
        scene.report(&["verify", "--vkey", "w/verification_key.json", "--proof", &proof, "--public", &public]);
    }
    // Names of their own, as many as there are witnesses; one that fails keeps no other from being proven.
    write_witness(&scene, "w/b.wtns", &[1, 43, 6, 7, 27]);
    let names = ["w/a.wtns", "w/b.wtns", "w/c.wtns", "--proof", "1", "2", "3", "--public", "4", "5", "6"];
    let error = scene.failure(4, &[&key[..], &names].concat());
    assert!(error.contains("1 of 3 witnesses") && error.contains("w/b.wtns"), "{error}");
    assert!(scene.path("3").is_file() && scene.path("6").is_file() && !scene.path("2").exists());
    let too_few = ["w/a.wtns", "w/c.wtns", "--proof", "one.json"];
    assert!(scene.failure(3, &[&key[..], &too_few].concat()).contains("2 witnesses and 1 names"));
    let twice = ["w/a.wtns", "w/a.wtns"];
    assert!(scene.failure(3, &[&key[..], &twice].concat()).contains("one file"));
}

#[test]
fn a_constraint_that_fails_is_named() {
    let scene = Scene::new();
    let shape = write_small_circuit(&scene);
    write_r1cs(&shape, &mut fs::File::create(scene.path("small.r1cs")).unwrap()).unwrap();
    let prove = ["prove", "--zkey", "small.zkey", "--r1cs", "small.r1cs", "--witness"];
    scene.report(&[&prove[..], &["small.wtns"]].concat());
    write_witness(&scene, "first.wtns", &[1, 36, 5, 7, 26]);
    write_witness(&scene, "second.wtns", &[1, 35, 5, 7, 27]);
    write_witness(&scene, "short.wtns", &[1, 35, 5, 7]);
    let error = scene.failure(4, &[&prove[..], &["first.wtns"]].concat());
    assert!(error.contains("constraint 0 of 2 does not hold") && error.contains("5 * 7 is not 36"), "{error}");
    assert!(scene.failure(4, &[&prove[..], &["second.wtns"]].concat()).contains("constraint 1 of 2"));
    assert!(scene.failure(3, &[&prove[..], &["short.wtns"]].concat()).contains("4 values"));
    let swapped = ["prove", "--zkey", "small.zkey", "--witness", "small.wtns", "--r1cs", "small.zkey"];
    assert!(scene.failure(3, &swapped).contains("where a circuit (.r1cs) is wanted"));
    // A damaged circuit is no constraint that fails.
    alter(&scene.path("small.r1cs"), 0);
    assert!(scene.failure(3, &[&prove[..], &["small.wtns"]].concat()).contains("no .r1cs file"));
}

#[test]
fn each_witness_is_told_to_be_proven_or_not() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    let names = ["m1.wtns", "bad.wtns", "none.wtns", "m3.wtns"];
    for name in ["m1.wtns", "m3.wtns"] {
        write_witness(&scene, name, &[1, 35, 5, 7, 26]);
    }
    write_witness(&scene, "bad.wtns", &[1, 36, 5, 7, 26]);
    let prove = ["prove", "--zkey", "small.zkey", "--witness"];
    let all = [&["--json"], &prove[..], &names].concat();
    let outcome = |arguments: &[&str]| {
        let output = scene.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        (output.status.code(), report, lines)
    };
    let witnesses = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry["witness"].as_str().unwrap().to_owned()).collect()
    };
    let (exit_code, report, lines) = outcome(&all);
    assert_eq!(exit_code, Some(4));
    assert_eq!(witnesses(&report["proofs"]), ["m1.wtns", "m3.wtns"]);
    assert_eq!(witnesses(&report["failed"]), ["bad.wtns", "none.wtns"]);
    let [bad, none] = [0, 1].map(|failed| report["failed"][failed].clone());
    assert_eq!((&bad["exit_code"], &none["exit_code"]), (&4.into(), &3.into()));
    assert!(bad["error"].as_str().unwrap().contains("does not satisfy"), "{bad}");
    assert!(none["error"].as_str().unwrap().contains("none.wtns"), "{none}");
    assert_eq!(bad["older"], serde_json::json!([]));
    assert!(lines.len() == 1 && lines[0]["error"].as_str().unwrap().contains("2 of 4 witnesses"), "{lines:?}");
    // What holds is kept, which is noted as JSON, too; what stays of an earlier run is named.
    write_witness(&scene, "m3.wtns", &[1, 36, 5, 7, 26]);
    let (_, report, lines) = outcome(&all);
    assert_eq!((witnesses(&report["proofs"]), &report["kept"]), (vec!["m1.wtns".to_owned()], &1.into()));
    assert!(lines[0]["note"].as_str().unwrap().contains("1 of 4 proofs were there already"), "{lines:?}");
    let older = report["failed"].as_array().unwrap().last().unwrap()["older"].clone();
    assert_eq!(older, serde_json::json!(["m3.proof.json", "m3.public.json"]));
    let text = scene.run(&all[1..]);
    let said = String::from_utf8(text.stdout).unwrap();
    for line in [
        "1 of 4 witnesses are proven",
        "m1.wtns: in m1.proof.json and m1.public.json",
        "none.wtns: not proven: none.wtns: No such file",
        "; m3.proof.json and m3.public.json are as they were before this run",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // One witness has the same report, and as text the error says it all.
    scene.report(&[&prove[..], &["small.wtns"]].concat());
    let (exit_code, report, _) = outcome(&[&["--json"], &prove[..], &["bad.wtns", "--public", "none.json"]].concat());
    assert_eq!((exit_code, &report["proofs"]), (Some(4), &serde_json::json!([])));
    assert_eq!(
        (&report["failed"][0]["witness"], &report["failed"][0]["older"][0]),
        (&"bad.wtns".into(), &"proof.json".into())
    );
    let text = scene.run(&[&prove[..], &["bad.wtns", "--public", "none.json"]].concat());
    let said = String::from_utf8(text.stderr).unwrap();
    assert!(text.stdout.is_empty() && said.contains("warning: proof.json is as it was before this run"), "{said}");
    let one = scene.report(&[&prove[..], &["small.wtns"]].concat());
    assert_eq!(
        (witnesses(&one["proofs"]), &one["kept"], &one["failed"]),
        (vec!["small.wtns".to_owned()], &0.into(), &serde_json::json!([]))
    );
}

#[test]
fn proofs_are_verified_as_others_wrap_them() {
    let scene = Scene::new();
    write_small_circuit(&scene);
    scene.report(&["prove", "--zkey", "small.zkey", "--witness", "small.wtns"]);
    scene.report(&["export", "--vkey", "small.zkey"]);
    let proof = fs::read_to_string(scene.path("proof.json")).unwrap();
    let mut wrapped: Value = serde_json::from_str(&proof).unwrap();
    wrapped["publicSignals"] = serde_json::json!(["35"]);
    wrapped.as_object_mut().unwrap().remove("protocol");
    fs::write(scene.path("wrapped.json"), wrapped.to_string()).unwrap();
    let last = proof
        .replacen('{', "{\"protocol\": \"groth16\", \"more\": 1,", 1)
        .replace(",\n  \"protocol\": \"groth16\"", "");
    fs::write(scene.path("last.json"), last).unwrap();
    fs::write(scene.path("numbers.json"), "[35]").unwrap();
    let verify = |proof, public| ["verify", "--vkey", "verification_key.json", "--proof", proof, "--public", public];
    for (proof, public) in [("wrapped.json", "numbers.json"), ("last.json", "public.json")] {
        assert_eq!(scene.report(&verify(proof, public))["public_inputs"], 1);
    }
    assert_eq!(scene.report(&["inspect", "numbers.json"])["format"], "public inputs (json)");
    for (public, told) in [
        ("[\"35\", \"0x1\"]", "public input 2 is hexadecimal"),
        ("[-1]", "public input 1 is negative"),
        ("[\"035\"]", "public input 1 has leading zeros"),
    ] {
        fs::write(scene.path("faulty.json"), public).unwrap();
        let error = scene.failure(3, &verify("proof.json", "faulty.json"));
        assert!(error.contains("faulty.json") && error.contains(told), "{error}");
    }
}
