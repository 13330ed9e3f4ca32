//! The prover over sizes, beside ark-groth16 with the same key and matrices built beforehand; the setup, beside its
//! generator.

use criterion::{Criterion, criterion_group, criterion_main};
use taproof::bench::Subject;
use taproof_benches::compare;

fn benchmark(criterion: &mut Criterion) {
    compare(criterion, Subject::Prove, &[12, 14, 16, 18]);
    compare(criterion, Subject::Setup, &[12, 14]);
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
