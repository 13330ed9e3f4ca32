//! Prints, as one line of JSON, what a chunk of transfers takes: setup and key loading, witness generation on one thread,
//! and the proof with its peak of anonymous memory, which is all memory but the mapped key.
//!
//! `cargo run --release -p taproof-benches --example prove_memory -- [SLOTS] [DEPTH]`

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use taproof::{
    key_file::Key,
    prove::{Blinding, prove},
};
use taproof_benches::{key, transfer_chunk};
use taproof_circuits::chunk::{assign, shape};
use taproof_verifier::cell::Depth;

/// The process's anonymous memory in bytes, as Linux tells it.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5 or later");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of kB");
    kib * 1024
}

/// Runs `work` and gives its result, its seconds and the greatest growth of anonymous memory while it ran.
fn measured<T>(work: impl FnOnce() -> T) -> (T, f64, u64) {
    let (before, peak, done) = (anonymous_bytes(), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        (result, seconds, peak.load(Ordering::Relaxed).saturating_sub(before))
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: u16| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (slots, levels) = (argument(12), argument(10));
    let depth = u8::try_from(levels).ok().and_then(Depth::new).expect("1 to 10 levels");
    let chunk = transfer_chunk(depth, slots);
    let circuit = chunk.statement.circuit;
    let (shape, shape_s, _) = measured(|| shape(circuit).expect("a circuit"));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (made, setup_s, _) = measured(|| key(&shape, circuit, folder.path()));
    let (rows, matrix_hash) = (shape.row_count() as f64, shape.matrix_hash());
    let key_bytes = made.header().file_length();
    drop((made, shape));
    let path = folder.path().join("key");
    let (key, load_s, _) = measured(|| Key::open(&path, circuit, matrix_hash).expect("just written"));
    let (_, digests_s, _) = measured(|| key.sections().is_ok());
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let (_, witness_s, _) = measured(|| one_thread.install(|| assign(&chunk).map(drop)));
    let (assignment, _, assignment_bytes) = measured(|| assign(&chunk).expect("valid transfers"));
    let (proven, prove_s, prove_bytes) =
        measured(|| prove(&key, &chunk.statement, assignment, &Blinding::fresh()).expect("valid transfers"));
    assert_eq!(*proven.statement(), chunk.statement);
    println!(
        "{}",
        serde_json::json!({
            "circuit": circuit.to_string(),
            "constraints": rows,
            "threads": rayon::current_num_threads(),
            "shape_seconds": shape_s,
            "setup_seconds": setup_s,
            "key_bytes": key_bytes,
            "key_load_seconds": load_s,
            "key_digests_seconds": digests_s,
            "witness_microseconds_per_constraint_one_thread": witness_s * 1e6 / rows,
            "prove_seconds": prove_s,
            "prove_microseconds_per_constraint": prove_s * 1e6 / rows,
            "peak_bytes_per_constraint": (assignment_bytes + prove_bytes) as f64 / rows,
        })
    );
}
