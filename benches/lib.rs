//! Benchmarks of Taproof: what they share. See the files under `benches/` and `examples/`.
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, Throughput};
use std::{path::Path, time::Duration};
use taproof::bench::{Prepared, Subject, prepare};
use taproof_base::progress::Silent;
use taproof_circuits::cs::Shape;
use taproof_kernel::{
    key_file::{self, Key},
    setup::{self, Randomness, SetupOptions},
};
use taproof_verifier::{bitcoin::Network, statement::CircuitId};

/// Measures a subject at several sizes, as [`Subject::sizes`] has them, ours and arkworks' where there is one.
///
/// # Panics
/// If a size is out of range, or a program fails.
pub fn compare(criterion: &mut Criterion, subject: Subject, log_sizes: &[u32]) {
    let mut group = criterion.benchmark_group(format!("{subject:?}"));
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for log_size in log_sizes {
        let Prepared { count, ours, ark } = prepare(subject, *log_size, true, &Silent).expect("the size is in range");
        group.throughput(Throughput::Elements(count as u64));
        for (name, program) in [("taproof", Some(ours)), ("arkworks", ark)] {
            let Some(mut program) = program else { continue };
            let mut run = || program().expect("a program that ran once runs again");
            group.bench_function(BenchmarkId::new(name, log_size), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| run()).sum());
            });
        }
    }
    group.finish();
}

/// Makes a circuit's key with fixed secrets in a folder and opens it.
///
/// # Panics
/// If the folder cannot be written.
pub fn key(shape: &Shape, circuit: CircuitId, folder: &Path) -> Key {
    let (network, randomness) = (Network::Regtest, Randomness::Seed([1; 32]));
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    let key = setup::generate(shape, circuit, &options, &Silent).expect("a circuit of legal size");
    let path = folder.join("key");
    key_file::write(&key, &path).expect("there is room");
    Key::open(&path, circuit).expect("just written")
}
