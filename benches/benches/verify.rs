//! The verifier: one proof, and 64 together, from bytes and from decoded proofs, beside ark-groth16's verifier on the same
//! key, proof and public input.

use ark_bn254::{Bn254, Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{Field, UniformRand};
use ark_groth16::{Groth16, PreparedVerifyingKey as ArkKey, prepare_verifying_key};
use ark_serialize::CanonicalDeserialize;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{hint::black_box, time::Duration};
use taproof::against_ark;
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    groth16::{BatchItem, PreparedVerifyingKey, Proof, VerifyingKey, verify_batch},
    record::Kind,
    statement::{CircuitId, Context, Statement},
};

const BATCH: usize = 64;

/// The secrets of a key, with which anything can be proven without a circuit.
struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
    ic: [Fr; 2],
    rng: ChaCha20Rng,
}

impl Trapdoor {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut scalar = || Fr::rand(&mut rng);
        let (alpha, beta, gamma, delta, ic) = (scalar(), scalar(), scalar(), scalar(), [scalar(), scalar()]);
        Self { alpha, beta, gamma, delta, ic, rng }
    }

    fn key(&self) -> VerifyingKey {
        let g1 = |scalar: Fr| (G1Projective::generator() * scalar).into_affine();
        let g2 = |scalar: Fr| (G2Projective::generator() * scalar).into_affine();
        VerifyingKey::new(g1(self.alpha), g2(self.beta), g2(self.gamma), g2(self.delta), &self.ic.map(g1))
            .expect("random points make a key")
    }

    fn prove(&mut self, input: Fr) -> Proof {
        let (a, b) = (Fr::rand(&mut self.rng), Fr::rand(&mut self.rng));
        let inputs = self.ic[0] + self.ic[1] * input;
        let delta_inverse = self.delta.inverse().expect("delta is not zero");
        let c = (a * b - self.alpha * self.beta - self.gamma * inputs) * delta_inverse;
        let g1 = |scalar: Fr| (G1Projective::generator() * scalar).into_affine();
        Proof::new(g1(a), (G2Projective::generator() * b).into_affine(), g1(c)).expect("random points make a proof")
    }
}

fn statement(i: u64) -> Statement {
    Statement {
        chain_id: ChainId(1),
        circuit: CircuitId::new(Kind::Transfer, Depth::MAX, 64),
        root_before: Fr::from(i),
        root_after: Fr::from(i + 1),
        data_digest: Fr::from(3 * i),
        context: Context { height_blocks: 800_000, token: Token::BITCOIN, operator: CellIndex::default() },
    }
}

fn check_one(key: &PreparedVerifyingKey, statement: &Statement, proof: &Proof) {
    let _ = black_box(key.verify(statement, proof).expect("the proof is valid"));
}

fn check_all(key: &PreparedVerifyingKey, statements: &[Statement], proofs: &[Proof]) {
    let item = |(statement, proof)| BatchItem { key, statement, proof };
    let items: Vec<_> = statements.iter().zip(proofs).map(item).collect();
    black_box(verify_batch(&items).expect("the proofs are valid"));
}

fn decode_all(encoded: &[[u8; Proof::LENGTH]]) -> Vec<Proof> {
    Proof::from_bytes_all(encoded).into_iter().map(|proof| proof.expect("the bytes are a proof")).collect()
}

fn ark_decode(encoded: &[u8; Proof::LENGTH]) -> ark_groth16::Proof<Bn254> {
    CanonicalDeserialize::deserialize_compressed(&encoded[..]).expect("the bytes are a proof")
}

fn ark_check(key: &ArkKey<Bn254>, input: Fr, proof: &ark_groth16::Proof<Bn254>) {
    assert!(Groth16::<Bn254>::verify_proof(key, proof, black_box(&[input])).expect("one public input"));
}

fn verify(criterion: &mut Criterion) {
    let mut trapdoor = Trapdoor::new();
    let key = trapdoor.key().prepare();
    let statements: Vec<_> = (0..BATCH as u64).map(statement).collect();
    let proofs: Vec<_> = statements.iter().map(|statement| trapdoor.prove(statement.digest())).collect();
    let encoded: Vec<_> = proofs.iter().map(Proof::to_bytes).collect();
    let mut group = criterion.benchmark_group("verify");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("decode of one", |b| b.iter(|| Proof::from_bytes(black_box(&encoded[0]))));
    group.bench_function("decode of 64", |b| b.iter(|| decode_all(black_box(&encoded))));
    group.bench_function("one, decoded", |b| b.iter(|| check_one(&key, &statements[0], &proofs[0])));
    group.bench_function("64, decoded", |b| b.iter(|| check_all(&key, &statements, &proofs)));
    group.bench_function("one, from bytes", |b| {
        b.iter(|| check_one(&key, &statements[0], &decode_all(black_box(&encoded[..1]))[0]))
    });
    group.bench_function("64, from bytes", |b| {
        b.iter(|| check_all(&key, &statements, &decode_all(black_box(&encoded))))
    });
    let ark_key = prepare_verifying_key(&against_ark::verifying_key(key.key()));
    let (input, ark_proof) = (statements[0].digest(), ark_decode(&encoded[0]));
    group.bench_function("ark-groth16: one, decoded", |b| b.iter(|| ark_check(&ark_key, input, &ark_proof)));
    group.bench_function("ark-groth16: one, from bytes", |b| {
        b.iter(|| ark_check(&ark_key, input, &ark_decode(black_box(&encoded[0]))))
    });
    group.bench_function("digest of a statement", |b| b.iter(|| black_box(&statements[0]).digest()));
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
