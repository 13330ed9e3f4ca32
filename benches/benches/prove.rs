//! The prover on a chunk of transfers, beside ark-groth16 with the same key and matrices built beforehand.

use ark_bn254::Fr;
use ark_ff::UniformRand;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use taproof::{
    against_ark::ArkProver,
    prove::{Blinding, prove},
};
use taproof_benches::{key, transfer_chunk};
use taproof_circuits::chunk::{assign, shape};
use taproof_verifier::cell::Depth;

const SLOTS: u16 = 4;

fn benchmark(criterion: &mut Criterion) {
    let chunk = transfer_chunk(Depth::MAX, SLOTS);
    let circuit = chunk.statement.circuit;
    let shape = shape(circuit).expect("a circuit");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let key = key(&shape, circuit, folder.path());
    let ark = ArkProver::new(&key, &shape).expect("just written");
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let mut group = criterion.benchmark_group(format!("{} constraints", shape.row_count()));
    group.sample_size(10);
    group.bench_function("witness", |bencher| bencher.iter(|| assign(&chunk).expect("valid transfers")));
    let assignment = assign(&chunk).expect("valid transfers");
    group.bench_function("prove and verify", |bencher| {
        let prove =
            |assignment| prove(&key, &chunk.statement, assignment, &Blinding::fresh()).expect("valid transfers");
        bencher.iter_batched(|| assignment.clone(), prove, BatchSize::PerIteration);
    });
    group.bench_function("ark-groth16, matrices built", |bencher| {
        bencher.iter(|| {
            let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
            ark.prove(&assignment.wires, r, s)
        });
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
