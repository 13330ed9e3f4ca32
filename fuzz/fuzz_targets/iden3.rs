//! Other people's files: .zkey, .wtns, .r1cs, JSON, and the mapped key that a .zkey is made into. The input is read
//! as each of them, and as edits of a well-formed one whose digests are made to hold, so that the fuzzer gets past
//! magic and checksums. Nothing panics, and whatever is proven verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{fs, io::Cursor, path::PathBuf, sync::LazyLock};
use taproof_base::progress::Silent;
use taproof_circuits::{
    cs::{ConstraintSystem, SegmentShape, Shape},
    iden3::{
        check_r1cs,
        json::{ProofJson, PublicJson, VerifyingKeyJson, VerifyingKeyPoints},
        read_wtns, write_r1cs, write_wtns,
    },
};
use taproof_kernel::{
    foreign_key::{ForeignKey, ForeignVerifyingKey},
    key_file::{self, Key},
    prove::{Blinding, prove_foreign},
    setup::{self, Randomness, SetupOptions},
    zkey,
};
use taproof_verifier::{
    ark_bn254::Fr, bitcoin::Network, cell::Depth, groth16::Proof, record::Kind, statement::CircuitId,
};

struct Seeds {
    path: PathBuf,
    zkey: Vec<u8>,
    wtns: Vec<u8>,
    r1cs: Vec<u8>,
    key: Vec<u8>,
    witness: Vec<Fr>,
}

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("taproof-fuzz-iden3-{}", std::process::id()));
    // x y = public, x + 3 y = z.
    let mut head = SegmentShape::new(0);
    let [_, public, x, y] = [(); 4].map(|()| head.witness(Fr::from(0u64)));
    head.enforce(&x, &y, &public);
    head.wire(&(x + y * Fr::from(3u64)));
    let end = head.wire_count();
    let shape = Shape::new(head, SegmentShape::new(end), SegmentShape::new(end), 0, 0);
    let circuit = CircuitId::new(Kind::Open, Depth::new(1).expect("a legal depth"), 0);
    let (network, randomness) = (Network::Regtest, Randomness::Seed([1; 32]));
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    let own = setup::generate(&shape, circuit, &options, &Silent).expect("a small circuit");
    key_file::write(&own, &path).expect("the folder for temporary files can be written");
    let own = Key::open(&path, circuit).expect("just written");
    let (mut zkey, mut wtns, mut r1cs) = (Vec::new(), Vec::new(), Vec::new());
    write_r1cs(&shape, &mut r1cs).expect("memory");
    zkey::write(&own, &shape, &mut zkey).expect("memory");
    let witness: Vec<Fr> = [1u64, 35, 5, 7, 26].map(Fr::from).to_vec();
    write_wtns(&witness, &mut wtns).expect("memory");
    key_file::write(&zkey::read(Cursor::new(&zkey)).expect("just written"), &path).expect("there is room");
    let key = fs::read(&path).expect("just written");
    Seeds { path, zkey, wtns, r1cs, key, witness }
});

fuzz_target!(|input: &[u8]| {
    let _ = read_wtns(Cursor::new(input));
    let _ = zkey::read(Cursor::new(input));
    let _ = check_r1cs(Cursor::new(input), &SEEDS.witness);
    json(input);
    // One well-formed file an input, for what gets as far as a proof takes a thousand times as long as what does not.
    match input.split_first() {
        Some((0, edits)) => {
            let _ = read_wtns(Cursor::new(edited(&SEEDS.wtns, edits)));
        }
        Some((1, edits)) => {
            if let Ok(key) = zkey::read(Cursor::new(edited(&SEEDS.zkey, edits))) {
                prove(&ForeignKey::new(key).expect("a .zkey's circuit is foreign"));
            }
        }
        Some((2, edits)) => {
            let mut bytes = edited(&SEEDS.key, edits);
            seal(&mut bytes);
            open(&bytes);
        }
        Some((3, edits)) => {
            let _ = check_r1cs(Cursor::new(edited(&SEEDS.r1cs, edits)), &SEEDS.witness);
        }
        _ => open(input),
    }
});

/// Reads the input as each sort of JSON.
fn json(input: &[u8]) {
    let proof = serde_json::from_slice::<ProofJson>(input).ok().and_then(|json| Proof::try_from(&json).ok());
    if let Some(proof) = proof {
        assert_eq!(Proof::try_from(&ProofJson::from(&proof)), Ok(proof));
    }
    if let Ok(public) = serde_json::from_slice::<PublicJson>(input) {
        let _ = public.inputs();
    }
    let key = serde_json::from_slice::<VerifyingKeyJson>(input).ok();
    if let Some(Ok(points)) = key.map(|json| VerifyingKeyPoints::try_from(&json)) {
        let _ = ForeignVerifyingKey::new(&points);
    }
}

/// Takes the input as edits: where (2 bytes) and what to put there (1 byte). A rest of 2 bytes cuts the file.
fn edited(seed: &[u8], input: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let (edits, rest) = input.as_chunks::<3>();
    for [low, high, value] in edits {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        bytes[at] = *value;
    }
    if let [low, high] = rest {
        bytes.truncate(usize::from(u16::from_le_bytes([*low, *high])));
    }
    bytes
}

/// Makes the digests of a key file's wires and matrices, the hash of its matrices and the header's checksum hold.
/// Those of its points stay as they are, for what stands for a point is theirs alone to say.
fn seal(bytes: &mut [u8]) {
    const CHECKSUM_AT: usize = 1312;
    const SECTIONS_AT: usize = 656;
    if bytes.len() < CHECKSUM_AT + 32 {
        return;
    }
    let mut hash = blake3::Hasher::new();
    hash.update(b"taproof/foreign-matrices/v1").update(&bytes[64..80]);
    for section in 0..13 {
        let entry = SECTIONS_AT + section * 48;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
        let (offset, length) = (number(entry), number(entry + 8));
        let contents = offset.checked_add(length).and_then(|end| bytes.get(offset..end)).map(blake3::hash);
        if let Some(digest) = contents.filter(|_| [1, 3].contains(&section) || section >= 8) {
            bytes[entry + 16..entry + 48].copy_from_slice(digest.as_bytes());
        }
        if section >= 8 {
            hash.update(&bytes[entry + 16..entry + 48]);
        }
    }
    bytes[32..64].copy_from_slice(hash.finalize().as_bytes());
    let checksum = blake3::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 32].copy_from_slice(checksum.as_bytes());
}

fn open(bytes: &[u8]) {
    fs::write(&SEEDS.path, bytes).expect("the folder for temporary files can be written");
    if let Ok(key) = ForeignKey::open(&SEEDS.path) {
        prove(&key);
    }
}

fn prove(key: &ForeignKey) {
    let _ = prove_foreign(key, &SEEDS.witness, &Blinding::fresh(), &Silent);
}
