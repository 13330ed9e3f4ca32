//! snarkjs, an independent implementation, checks our witness and proof and proves with our key.

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
use taproof::{
    key_file::{self, Key},
    progress::Silent,
    prove::{Blinding, prove_chunk},
    setup::{self, Randomness, SetupOptions},
    zkey,
};
use taproof_circuits::{
    chunk::{self, witness::ChunkWitness},
    cs::Shape,
    iden3::{
        json::{ProofJson, PublicJson, VerifyingKeyJson},
        write_r1cs, write_wtns,
    },
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::Deposit,
};
use taproof_verifier::{
    bitcoin::Network,
    cell::{ChainId, Depth},
    groth16::Proof,
    statement::CircuitId,
};

/// A chunk of two slots, one of them filled, in a tree of one level.
fn chunk() -> ChunkWitness {
    let mut state = State::new(ChainId(7), Depth::new(1).expect("a legal depth"));
    let two = NonZeroU16::new(2).expect("not zero");
    let slots = Slots { deposit: two, transfer: two, open: two, withdraw: two };
    let plan = Plan { height_blocks: 100, slots, operators: Default::default(), chunks_max: 1 };
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
        let shape = chunk::shape(circuit).expect("a circuit");
        let options = SetupOptions {
            network: Network::Regtest,
            allow_outside_test_networks: false,
            randomness: Randomness::Seed([5; 32]),
        };
        let key = setup::generate(&shape, circuit, &options, &Silent).expect("a small circuit");
        let path = folder.path().join("key");
        key_file::write(&key, &path).expect("there is room");
        let key = Key::open(&path, circuit, shape.matrix_hash()).expect("just written");
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
        chunk::assign(&self.chunk).expect("a valid deposit").wires
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

    /// Runs snarkjs in the folder.
    fn snarkjs(&self, arguments: &str) -> Output {
        let tooling = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snarkjs");
        let program = tooling.join("node_modules/snarkjs/build/cli.cjs");
        let missing = "run `cargo xtask test`, or `npm ci` in prover/tests/snarkjs";
        assert!(program.is_file(), "snarkjs is not installed: {missing}");
        let command = Command::new("node").arg(program).args(arguments.split(' ')).current_dir(&self.folder).output();
        command.unwrap_or_else(|error| panic!("node does not start ({error}): {missing}"))
    }

    fn assert_snarkjs(&self, arguments: &str, expected: &str) {
        let output = self.snarkjs(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(expected), "snarkjs {arguments}: {text}");
    }

    fn assert_snarkjs_refuses(&self, arguments: &str) {
        let output = self.snarkjs(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "snarkjs {arguments}: {text}");
    }
}

#[test]
fn snarkjs_accepts_our_proof_and_no_other_statement() {
    let scene = Scene::new();
    let blinding = Blinding::from_rng(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1));
    let proven = prove_chunk(&scene.key, &scene.chunk, &blinding).expect("a valid deposit");
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
    assert_eq!(scene.json::<PublicJson>("public_made.json").inputs(), Ok(vec![statement.digest()]));
    let verified = scene.key.prepared_verifying_key().verify(statement, &proof).expect("a valid proof");
    assert_eq!(verified.statement(), statement);

    scene.assert_snarkjs("zkey export verificationkey circuit.zkey exported.json", "");
    let mut exported: serde_json::Value = scene.json("exported.json");
    exported.as_object_mut().expect("an object").remove("vk_alphabeta_12");
    assert_eq!(exported, scene.json::<serde_json::Value>("verification_key.json"));
}
