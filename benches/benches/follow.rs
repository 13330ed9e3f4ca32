//! Following: block 702861 looked through, full blocks followed, and anchors of 16 proofs each verified. On one
//! thread, but for the anchors, whose proofs take all of them.
//!
//! An element of the first two is a kilobyte: 1,000 bytes.

use criterion::{Criterion, criterion_group, criterion_main};
use taproof::bench::Subject;
use taproof_benches::compare;

fn follow(criterion: &mut Criterion) {
    compare(criterion, Subject::Scan, &[3]);
    compare(criterion, Subject::Follow, &[3]);
    compare(criterion, Subject::Anchors, &[0, 4]);
}

criterion_group!(benches, follow);
criterion_main!(benches);
