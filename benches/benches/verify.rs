//! The verifier: proofs alone and together, decoded already, beside ark-groth16's verifier on the same key, proofs
//! and public inputs; and what bytes take.

use ark_bn254::Bn254;
use ark_groth16::{Groth16, prepare_verifying_key};
use ark_serialize::CanonicalDeserialize;
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};
use taproof::bench::{Subject, Trapdoor};
use taproof_benches::compare;
use taproof_kernel::against_ark;
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    groth16::{BatchItem, Proof, verify_batch},
    record::Kind,
    statement::{CircuitId, Context, Registers, Statement},
};

const BATCH: usize = 64;

fn statement(i: u64) -> Statement {
    Statement {
        chain_id: ChainId::from_byte_array([1; 15]),
        circuit: CircuitId::new(Kind::Transfer, Depth::MAX, 64),
        root_before: i.into(),
        root_after: (i + 1).into(),
        data_digest: (3 * i).into(),
        context: Context { height_blocks: 800_000, token: Token::BITCOIN, operator: CellIndex::default() },
        registers: Registers::NONE,
    }
}

fn decode_all(encoded: &[[u8; Proof::LENGTH]]) -> Vec<Proof> {
    Proof::from_bytes_all(encoded).into_iter().map(|proof| proof.expect("the bytes are a proof")).collect()
}

fn from_bytes(criterion: &mut Criterion) {
    let mut trapdoor = Trapdoor::new();
    let key = trapdoor.key().prepare();
    let statements: Vec<_> = (0..BATCH as u64).map(statement).collect();
    let proofs = statements.iter().map(|statement| trapdoor.prove(statement.digest()).to_bytes());
    let encoded: Vec<_> = proofs.collect();
    let mut group = criterion.benchmark_group("Proofs from bytes");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("decode of one", |b| b.iter(|| Proof::from_bytes(black_box(&encoded[0]))));
    group.bench_function("decode of 64", |b| b.iter(|| decode_all(black_box(&encoded))));
    group.bench_function("check of one", |b| {
        b.iter(|| {
            let proof = &decode_all(black_box(&encoded[..1]))[0];
            let _ = black_box(key.verify(&statements[0], proof).expect("the proof is valid"));
        });
    });
    group.bench_function("check of 64", |b| {
        b.iter(|| {
            let proofs = decode_all(black_box(&encoded));
            let item = |(statement, proof)| BatchItem { key: &key, statement, proof };
            let items: Vec<_> = statements.iter().zip(&proofs).map(item).collect();
            black_box(verify_batch(&items).expect("the proofs are valid"));
        });
    });
    let ark_key = prepare_verifying_key(&against_ark::verifying_key(key.key()));
    let input = [statements[0].digest()];
    group.bench_function("check of one by ark-groth16", |b| {
        b.iter(|| {
            let bytes = black_box(&encoded[0][..]);
            let proof = CanonicalDeserialize::deserialize_compressed(bytes).expect("the bytes are a proof");
            assert!(Groth16::<Bn254>::verify_proof(&ark_key, &proof, &input).expect("one public input"));
        });
    });
    group.bench_function("digest of a statement", |b| b.iter(|| black_box(&statements[0]).digest()));
    group.finish();
}

fn verify(criterion: &mut Criterion) {
    compare(criterion, Subject::Verify, &[0, 3, 6]);
    from_bytes(criterion);
}

criterion_group!(benches, verify);
criterion_main!(benches);
