//! snarkjs, an independent implementation, checks our witness and proof, proves with our key, and makes a key that we
//! prove with.

use ark_bn254::Fr;
use ark_ff::One;
use rand::SeedableRng;
use std::{
    fs,
    io::{self, Write},
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use taproof_base::progress::Silent;
use taproof_circuits::{
    chunk::{self, witness::ChunkWitness},
    cs::Shape,
    iden3::{
        BinaryFile,
        json::{ProofJson, PublicJson, VerifyingKeyJson},
        prime_bytes, write_r1cs, write_wtns,
    },
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    step::Machines,
    transaction::Deposit,
};
use taproof_kernel::{
    key_file::{self, Key},
    prove::{Blinding, prove_chunk},
    setup::{self, Randomness, SetupOptions},
    zkey,
};
use taproof_verifier::{
    bitcoin::Network,
    cell::{ChainId, Depth},
    groth16::Proof,
    statement::CircuitId,
};

/// A chunk of two slots, one of them filled, in a tree of one level.
fn chunk() -> ChunkWitness {
    let mut state = State::new(ChainId::from_byte_array([7; 15]), Depth::new(1).expect("a legal depth"));
    let slots = Slots::uniform(NonZeroU16::new(2).expect("not zero"));
    let plan =
        Plan { height_blocks: 100, slots, operators: Default::default(), chunks_max: 1, admission: Default::default() };
    let deposit = Deposit { amount_sat: 5000, owner: *SecretKey::from_seed(&[1; 32]).public() };
    let batch = state.apply(&plan, &[deposit], &[]).expect("a plan without operators");
    batch.chunks.into_iter().next().expect("one chunk for the deposit")
}

/// A chunk, its circuit and its key in a folder.
struct Scene {
    folder: tempfile::TempDir,
    chunk: ChunkWitness,
    shape: Shape,
    key: Key,
}

impl Scene {
    fn new() -> Self {
        let (folder, chunk) = (tempfile::tempdir().expect("a scratch folder"), chunk());
        let circuit: CircuitId = chunk.statement.circuit;
        let shape = chunk::shape(&Machines::default(), circuit).expect("a circuit");
        let options = SetupOptions {
            network: Network::Regtest,
            allow_outside_test_networks: false,
            randomness: Randomness::Seed([5; 32]),
        };
        let key = setup::generate(&shape, circuit, &options, &Silent).expect("a small circuit");
        let path = folder.path().join("key");
        key_file::write(&key, &path).expect("there is room");
        let key = Key::open(&path, circuit).expect("just written");
        let scene = Self { folder, chunk, shape, key };
        scene.write("circuit.r1cs", |out| write_r1cs(&scene.shape, out));
        scene.write("witness.wtns", |out| write_wtns(&scene.wires(), out));
        scene.write("circuit.zkey", |out| zkey::write(&scene.key, &scene.shape, out).map_err(io::Error::other));
        let verifying_key = VerifyingKeyJson::from(scene.key.verifying_key());
        scene.write("verification_key.json", |out| Ok(serde_json::to_writer(out, &verifying_key)?));
        let public = PublicJson::new(&[scene.chunk.statement.digest()]);
        scene.write("public.json", |out| Ok(serde_json::to_writer(out, &public)?));
        scene
    }

    fn wires(&self) -> Vec<Fr> {
        chunk::assign(&Machines::default(), &self.chunk).expect("a valid deposit").wires
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let mut file = io::BufWriter::new(fs::File::create(self.path(name)).expect("the folder is ours"));
        write(&mut file).expect("there is room");
        file.flush().expect("there is room");
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&fs::read(self.path(name)).expect("the file is there")).expect("JSON of its sort")
    }

    fn snarkjs(&self, arguments: &str) -> Output {
        snarkjs(self.folder.path(), arguments)
    }

    fn assert_snarkjs(&self, arguments: &str, expected: &str) {
        assert_snarkjs(self.folder.path(), arguments, expected);
    }

    fn assert_snarkjs_refuses(&self, arguments: &str) {
        let output = self.snarkjs(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "snarkjs {arguments}: {text}");
    }
}

/// Runs snarkjs in a folder.
fn snarkjs(folder: &Path, arguments: &str) -> Output {
    node(folder, "node_modules/snarkjs/build/cli.cjs", arguments)
}

/// Runs a program of `tests/snarkjs` in a folder.
fn node(folder: &Path, program: &str, arguments: &str) -> Output {
    let tooling = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snarkjs");
    let missing = "run `cargo xtask test`, or `npm ci` in prover/tests/snarkjs";
    assert!(tooling.join("node_modules/snarkjs").is_dir(), "snarkjs is not installed: {missing}");
    let mut command = Command::new("node");
    command.arg(tooling.join(program)).args(arguments.split_whitespace()).current_dir(folder);
    command.output().unwrap_or_else(|error| panic!("node does not start ({error}): {missing}"))
}

fn assert_snarkjs(folder: &Path, arguments: &str, expected: &str) {
    let output = snarkjs(folder, arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(expected), "snarkjs {arguments}: {text}");
}

#[test]
fn snarkjs_accepts_our_proof_and_no_other_statement() {
    let scene = Scene::new();
    let blinding = Blinding::from_rng(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1));
    let proven = prove_chunk(&Machines::default(), &scene.key, &scene.chunk, &blinding).expect("a valid deposit");
    scene.write("proof.json", |out| Ok(serde_json::to_writer(out, &ProofJson::from(proven.proof()))?));
    scene.assert_snarkjs("groth16 verify verification_key.json public.json proof.json", "OK!");
    let other = PublicJson::new(&[scene.chunk.statement.digest() + Fr::one()]);
    scene.write("other.json", |out| Ok(serde_json::to_writer(out, &other)?));
    scene.assert_snarkjs_refuses("groth16 verify verification_key.json other.json proof.json");
}

#[test]
fn snarkjs_accepts_our_witness_and_no_altered_one() {
    let scene = Scene::new();
    scene.assert_snarkjs("wtns check circuit.r1cs witness.wtns", "WITNESS IS CORRECT");
    let mut wires = scene.wires();
    let last = wires.len() - 1;
    wires[last] += Fr::one();
    assert!(scene.shape.first_unsatisfied(&wires).is_some());
    scene.write("altered.wtns", |out| write_wtns(&wires, out));
    let output = scene.snarkjs("wtns check circuit.r1cs altered.wtns");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("WITNESS IS CORRECT"), "{text}");
}

#[test]
fn snarkjs_proves_with_our_key() {
    let scene = Scene::new();
    scene.assert_snarkjs("groth16 prove circuit.zkey witness.wtns made.json public_made.json", "");
    let proof = Proof::try_from(&scene.json::<ProofJson>("made.json")).expect("points of the groups");
    let statement = &scene.chunk.statement;
    assert_eq!(scene.json::<PublicJson>("public_made.json").inputs(), [statement.digest()]);
    let verified = scene.key.prepared_verifying_key().verify(statement, &proof).expect("a valid proof");
    assert_eq!(verified.statement(), statement);

    scene.assert_snarkjs("zkey export verificationkey circuit.zkey exported.json", "");
    assert_eq!(dense(&scene.path("verification_key.json")), dense(&scene.path("exported.json")));
}

/// A file of JSON without its white space: each tool has its own.
fn dense(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the file is there");
    text.split_whitespace().collect()
}

/// The terms of a row of A, B and C.
type Row = [&'static [(u32, i64)]; 3];

/// Wires: one, the outputs `product` and `mixed`, the inputs x and y, the private z, then x z and x + 2 y - z.
const ROWS: [Row; 4] = [
    [&[(3, 1)], &[(4, 1)], &[(1, 1)]],
    [&[(3, 1)], &[(5, 1)], &[(6, 1)]],
    [&[(6, 1)], &[(4, 1), (0, -5)], &[(2, 1), (3, -3)]],
    [&[(3, 1), (4, 2), (5, -1)], &[(0, 1)], &[(7, 1)]],
];

fn witness([x, y, z]: [i64; 3]) -> Vec<Fr> {
    [1, x * y, x * z * (y - 5) + 3 * x, x, y, z, x * z, x + 2 * y - z].map(Fr::from).to_vec()
}

/// Writes the rows as circom would: two outputs, two public inputs, one private.
fn write_circuit(out: &mut dyn Write) -> io::Result<()> {
    let mut rows = Vec::new();
    for terms in ROWS.as_flattened() {
        rows.extend((terms.len() as u32).to_le_bytes());
        for (wire, coefficient) in *terms {
            rows.extend(wire.to_le_bytes());
            rows.extend(taproof_verifier::field::to_bytes(&Fr::from(*coefficient)));
        }
    }
    let mut file = BinaryFile::start(out, *b"r1cs", 1, 3)?;
    file.section(1, 36 + 4 * 4 + 8 + 4, |out| {
        out.write_all(&prime_bytes::<Fr>())?;
        [8u32, 2, 2, 1].iter().try_for_each(|count| out.write_all(&count.to_le_bytes()))?;
        out.write_all(&8u64.to_le_bytes())?;
        out.write_all(&(ROWS.len() as u32).to_le_bytes())
    })?;
    file.section(2, rows.len() as u64, |out| out.write_all(&rows))?;
    file.section(3, 8 * 8, |out| (0..8u64).try_for_each(|label| out.write_all(&label.to_le_bytes())))?;
    file.finish();
    Ok(())
}

/// Runs taproof in a folder that holds no rollup.
fn taproof(folder: &Path, arguments: &str) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
    let output = command.args(arguments.split(' ')).arg("--json").current_dir(folder).output();
    let output = output.expect("the binary starts");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a report")
}

#[test]
fn snarkjs_accepts_proofs_for_a_key_that_snarkjs_made() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path();
    let write = |name: &str, write: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("memory");
        fs::write(folder.join(name), bytes).expect("the folder is ours");
    };
    write("circuit.r1cs", &write_circuit);
    write("witness.wtns", &|out| write_wtns(&witness([7, 11, 13]), out));
    let ceremony = node(folder, "ceremony.cjs", "");
    assert!(ceremony.status.success(), "{}", String::from_utf8_lossy(&ceremony.stdout));

    let report = taproof(folder, "prove --zkey circuit.zkey --witness witness.wtns");
    assert_eq!((&report["constraints"], &report["public_inputs"]), (&4.into(), &4.into()));
    assert_eq!(report["forgeable"], false);
    assert_snarkjs(folder, "groth16 verify vk.json public.json proof.json", "OK!");
    let public = fs::read_to_string(folder.join("public.json")).expect("just written");
    let public: Vec<String> = serde_json::from_str(&public).expect("a list of numbers");
    assert_eq!(public, ["77", "567", "7", "11"]);

    fs::create_dir(folder.join("made")).expect("a folder of the test's own");
    let imported = taproof(folder, "import-zkey circuit.zkey --out made/circuit.key");
    assert_eq!(imported["matrix_hash"], report["matrix_hash"]);
    write("other.wtns", &|out| write_wtns(&witness([-1, 0, 99]), out));
    taproof(folder, "prove --key made/circuit.key --witness other.wtns --proof other.json --public inputs.json");
    assert_snarkjs(folder, "groth16 verify vk.json inputs.json other.json", "OK!");
    let output = snarkjs(folder, "groth16 verify vk.json public.json other.json");
    assert!(!output.status.success(), "a proof of other inputs");

    // Before anyone contributes, gamma is delta: proofs are made, and the report says what they are worth.
    for (key, forgeable) in [("first", true), ("beacon", true), ("final", false)] {
        let prove = format!("prove --zkey {key}.zkey --witness witness.wtns --proof first.json");
        assert_eq!(taproof(folder, &prove)["forgeable"], forgeable, "{key}");
        let imported = taproof(folder, &format!("import-zkey {key}.zkey --out made/{key}.key"));
        assert_eq!(imported["forgeable"], forgeable, "{key}");
        for file in [format!("{key}.zkey"), format!("made/{key}.key")] {
            assert_eq!(taproof(folder, &format!("inspect {file}"))["forgeable"], forgeable, "{file}");
            let exported = taproof(folder, &format!("export --vkey {file} --out made/vk.json"));
            assert_eq!(exported["forgeable"], forgeable, "{file}");
        }
        let prove = format!("prove --key made/{key}.key --witness witness.wtns --proof first.json");
        assert_eq!(taproof(folder, &prove)["forgeable"], forgeable, "{key}");
    }

    // In rapidsnark's place: its command line and the form of its files.
    let mut rapidsnark = Command::new(env!("CARGO_BIN_EXE_taproof"));
    rapidsnark.args(["rapidsnark", "circuit.zkey", "witness.wtns", "short.json", "short_public.json"]);
    assert!(rapidsnark.current_dir(folder).status().expect("the binary starts").success());
    assert_snarkjs(folder, "groth16 verify vk.json short_public.json short.json", "OK!");
    // Keys, proofs and circuits of snarkjs, read by us.
    for key in ["circuit.zkey", "made/circuit.key"] {
        taproof(folder, &format!("export --vkey {key} --out exported.json"));
        assert_eq!(dense(&folder.join("exported.json")), dense(&folder.join("vk.json")));
    }
    assert_snarkjs(folder, "groth16 verify exported.json public.json proof.json", "OK!");
    assert_snarkjs(folder, "groth16 prove circuit.zkey witness.wtns theirs.json theirs_public.json", "");
    let verify = "verify --vkey vk.json --proof theirs.json --public theirs_public.json";
    assert_eq!(taproof(folder, verify)["public_inputs"], 4);
    taproof(folder, "prove --zkey circuit.zkey --witness witness.wtns --r1cs circuit.r1cs");
    write("wrong.wtns", &|out| {
        let mut wires = witness([7, 11, 13]);
        wires[6] += Fr::one();
        write_wtns(&wires, out)
    });
    let refused = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        let output = command.args(arguments.split(' ')).current_dir(folder).output().expect("the binary starts");
        assert!(!output.status.success(), "{arguments}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let said = refused("prove --zkey circuit.zkey --witness wrong.wtns --r1cs circuit.r1cs");
    assert!(said.contains("constraint 1 of 4 does not hold: (w3) * (w5) = w6"), "{said}");
    for (arguments, words) in [
        ("prove --zkey plonk.zkey --witness witness.wtns", "PLONK"),
        ("export --vkey plonk.zkey", "PLONK"),
        ("prove --zkey circuit.zkey --witness plonk.zkey", "only Groth16 is proven here"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(words) && !said.contains("proves with it"), "{said}");
    }
    assert_others_are_told(folder);
}

/// Checks that what iden3's tools write for other protocols, and what they write besides keys, witnesses and proofs, is
/// told as what it is, in the folder of a ceremony.
fn assert_others_are_told(folder: &Path) {
    for (name, text) in [
        ("fflonk_vk.json", include_str!("snarkjs/fflonk_vk.json")),
        ("fflonk_proof.json", include_str!("snarkjs/fflonk_proof.json")),
        ("one.circom", "pragma circom 2.1.0;\ntemplate M() { signal input a; signal output o; o <== a*a; }\n"),
        ("one.sym", "1,1,0,main.o\n2,2,0,main.a\n"),
        ("one.wasm", "\0asm\x01\0\0\0"),
        ("input.json", "{\"a\":\"12\",\"secret\":[\"99\", 7]}\n"),
        ("A.json", "{\"A\":[\"12\"]}\n"),
    ] {
        fs::write(folder.join(name), text).expect("the folder is ours");
    }
    for (file, format) in [
        ("plonk.zkey", "proving key (zkey)"),
        ("plonk_vk.json", "verifying key of PLONK (json)"),
        ("plonk_proof.json", "proof of PLONK (json)"),
        ("fflonk_vk.json", "verifying key of FFLONK (json)"),
        ("fflonk_proof.json", "proof of FFLONK (json)"),
        ("zkey.json", "proving key (zkey as json)"),
        ("final.ptau", "powers of tau (ptau)"),
        ("one.sym", "symbol table (sym)"),
        ("one.circom", "circuit source (circom)"),
        ("one.wasm", "program (wasm)"),
        ("input.json", "circuit inputs (json)"),
        ("A.json", "circuit inputs (json)"),
        ("vk.json", "verifying key (json)"),
        ("proof.json", "proof (json)"),
    ] {
        assert_eq!(taproof(folder, &format!("inspect {file}"))["format"], format, "{file}");
    }
    assert_eq!(taproof(folder, "inspect final.ptau")["power"], 4);
    assert_eq!(taproof(folder, "inspect plonk_vk.json")["public_inputs"], 4);
    for (arguments, told, help) in [
        (
            "verify --vkey plonk_vk.json --proof plonk_proof.json --public plonk_public.json",
            "plonk_vk.json: the protocol is plonk, where groth16 is read",
            "`snarkjs plonk verify`",
        ),
        (
            "verify --vkey vk.json --proof plonk_proof.json --public public.json",
            "plonk_proof.json: the protocol is plonk, where groth16 is read",
            "`snarkjs plonk verify`",
        ),
        (
            "verify --vkey fflonk_vk.json --proof proof.json --public public.json",
            "fflonk_vk.json: the protocol is fflonk, where groth16 is read",
            "`snarkjs fflonk verify`",
        ),
        (
            "verify --vkey vk.json --proof fflonk_proof.json --public public.json",
            "fflonk_proof.json: the protocol is fflonk, where groth16 is read",
            "`snarkjs fflonk verify`",
        ),
        (
            "verify --vkey zkey.json --proof proof.json --public public.json",
            "zkey.json is a proving key (zkey as json), where a verifying key",
            "name the .zkey",
        ),
        (
            "prove --zkey zkey.json --witness witness.wtns",
            "zkey.json is a proving key (zkey as json), where a .zkey",
            "name the .zkey",
        ),
        ("prove --zkey vk.json --witness witness.wtns", "vk.json is a verifying key", "taproof verify"),
        (
            "prove --zkey circuit.zkey --witness input.json",
            "input.json is a file of circuit inputs (json), where a witness (.wtns) is wanted",
            "compute the witness of them first: `snarkjs wtns calculate circuit.wasm input.json witness.wtns`",
        ),
        ("prove --zkey circuit.zkey --witness A.json", "A.json is a file of circuit inputs", "wtns calculate"),
        ("prove --zkey circuit.zkey --witness one.wasm", "one.wasm is a WebAssembly program", "wtns calculate"),
        ("prove --zkey final.ptau --witness witness.wtns", "is a powers-of-tau file", "snarkjs groth16 setup"),
        (
            "prove --zkey circuit.zkey --witness witness.wtns --r1cs one.sym",
            "one.sym is a symbol table (sym)",
            "inspect",
        ),
        ("prove --zkey circuit.zkey --witness one.circom", "one.circom is a circuit source (circom)", "inspect"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
        let output = command.args(arguments.split(' ')).current_dir(folder).output().expect("the binary starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(3), "{arguments}: {said}");
        assert!(said.contains(told) && said.contains(help), "{arguments}: {said}");
    }
    let mut rapidsnark = Command::new(env!("CARGO_BIN_EXE_taproof"));
    rapidsnark.args(["rapidsnark", "circuit.zkey", "input.json", "p.json", "u.json"]).current_dir(folder);
    let output = rapidsnark.output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.code() == Some(1) && said.contains("compute the witness of them first"), "{said}");
    // Inputs through a pipe are told by their first bytes.
    let mut command = Command::new(env!("CARGO_BIN_EXE_taproof"));
    command.args(["prove", "--zkey", "circuit.zkey", "--witness", "-"]).current_dir(folder);
    let inputs = fs::File::open(folder.join("input.json")).expect("just written");
    let output = command.stdin(inputs).output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("compute the witness of them first"), "{said}");
}
