//! Witness generation over sizes: wires and rows of full chunks of transfers at the greatest depth, with the check of
//! every row.
//!
//! The time an element is the time a constraint; the goal is at most 0.3 us on one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use taproof::bench::Subject;
use taproof_benches::compare;

fn witness(criterion: &mut Criterion) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("nothing started threads before");
    compare(criterion, Subject::Witness, &[15, 17, 19]);
}

criterion_group!(benches, witness);
criterion_main!(benches);
