//! The prover's kernels over sizes, beside arkworks' in the same run: multi-scalar multiplication, transforms,
//! products of vectors, and the hash, beside taceo-poseidon2.

use criterion::{Criterion, criterion_group, criterion_main};
use taproof::bench::Subject;
use taproof_benches::compare;

fn kernels(criterion: &mut Criterion) {
    for subject in [Subject::MsmG1, Subject::MsmG2, Subject::Transform, Subject::ProductsFr, Subject::ProductsFq] {
        compare(criterion, subject, &[12, 14, 16, 18]);
    }
    compare(criterion, Subject::Hash, &[0, 6, 12]);
}

criterion_group!(benches, kernels);
criterion_main!(benches);
