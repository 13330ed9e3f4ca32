//! Prints, as lines of JSON, what a chunk of transfers, or of orders of one pool, takes: setup; then, each in a process
//! of its own, key loading, witness generation on one thread and the proof with the peak of anonymous memory, which is
//! all memory of the process but the mapped key; and the peak while several such chunks are proven at a time.
//!
//! `cargo run --release -p taproof-benches --example prove_memory -- [SLOTS] [DEPTH] [AT_ONCE] [transfers|orders]`

use std::{
    fs,
    num::NonZeroUsize,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use taproof::bench::{order_chunk, transfer_chunk};
use taproof_base::progress::Silent;
use taproof_benches::key;
use taproof_circuits::{
    chunk::{assign, shape, witness::ChunkWitness},
    ops,
    step::Machines,
};
use taproof_kernel::{
    key_file::Key,
    prove::{Blinding, prove, prove_batch},
};
use taproof_verifier::cell::Depth;

/// The process's anonymous memory in bytes, as Linux tells it.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5 or later");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of kB");
    kib * 1024
}

/// Runs `work` and gives its result and its seconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// Runs `work` and gives the greatest anonymous memory of the process while it ran.
fn peak_bytes_of(work: impl FnOnce()) -> u64 {
    let (peak, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    peak.into_inner()
}

/// The operations of the circuits here.
fn machines() -> Machines {
    Machines::new(vec![ops::standard()])
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: u16| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (slots, levels, at_once) = (argument(12), argument(10), argument(2));
    let depth = u8::try_from(levels).ok().and_then(Depth::new).expect("1 to 10 levels");
    let what = arguments.next().unwrap_or_else(|| "transfers".into());
    let chunk = match what.as_str() {
        "transfers" => transfer_chunk(depth, slots),
        "orders" => order_chunk(depth, slots),
        _ => panic!("{what}: neither transfers nor orders"),
    };
    match arguments.next() {
        None => {
            // The proof is made in a process of its own, in which nothing that the setup freed is counted or used
            // again.
            let folder = tempfile::tempdir().expect("a scratch folder");
            let (shape, shape_s) = timed(|| shape(&machines(), chunk.statement.circuit).expect("a circuit"));
            let (_, setup_s) = timed(|| key(&shape, chunk.statement.circuit, folder.path()));
            println!("{}", serde_json::json!({ "shape_seconds": shape_s, "setup_seconds": setup_s }));
            let program = std::env::current_exe().expect("this program has a path");
            for at_once in [1, at_once] {
                let sizes = [slots, levels, at_once].map(|size| size.to_string());
                let status = Command::new(&program).args(sizes).arg(&what).arg(folder.path().join("key")).status();
                assert!(status.expect("this program starts again").success(), "the proof failed");
            }
        }
        Some(path) if at_once == 1 => println!("{}", report(&chunk, Path::new(&path))),
        Some(path) => println!("{}", report_several(&chunk, Path::new(&path), usize::from(at_once))),
    }
}

fn report_several(chunk: &ChunkWitness, path: &Path, at_once: usize) -> serde_json::Value {
    let key = Key::open_any(path).expect("just written");
    let rows = key.header().row_count() as f64;
    let chunks = vec![chunk.clone(); 2 * at_once];
    let count = NonZeroUsize::new(at_once).expect("at least one chunk at a time");
    let mut prove_s = 0.0;
    let peak_bytes = peak_bytes_of(|| {
        let results;
        (results, prove_s) = timed(|| prove_batch(&machines(), &chunks, |_| Some(&key), count, &|_| (), &Silent));
        assert!(results.iter().all(Result::is_ok), "a valid chunk");
    });
    serde_json::json!({
        "at_once": at_once,
        "threads": rayon::current_num_threads(),
        "prove_microseconds_per_constraint": prove_s * 1e6 / (rows * chunks.len() as f64),
        "peak_bytes_per_constraint_of_one": peak_bytes as f64 / rows,
    })
}

fn report(chunk: &ChunkWitness, path: &Path) -> serde_json::Value {
    let circuit = chunk.statement.circuit;
    let (key, load_s) = timed(|| Key::open_any(path).expect("just written"));
    let (_, sections_s) = timed(|| key.sections().is_ok());
    let rows = key.header().row_count() as f64;
    let (mut witness_s, mut prove_s) = (0.0, 0.0);
    let peak_bytes = peak_bytes_of(|| {
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let assignment;
        (assignment, witness_s) = timed(|| one_thread.install(|| assign(&machines(), chunk).expect("a valid chunk")));
        let proven;
        (proven, prove_s) = timed(|| prove(&key, &chunk.statement, assignment, &Blinding::fresh()));
        assert_eq!(*proven.expect("a valid chunk").statement(), chunk.statement);
    });
    serde_json::json!({
        "circuit": circuit.to_string(),
        "constraints": rows,
        "threads": rayon::current_num_threads(),
        "key_bytes": key.header().file_length(),
        "key_load_seconds": load_s,
        "key_sections_seconds": sections_s,
        "witness_microseconds_per_constraint_one_thread": witness_s * 1e6 / rows,
        "prove_seconds": prove_s,
        "prove_microseconds_per_constraint": prove_s * 1e6 / rows,
        "peak_bytes_per_constraint": peak_bytes as f64 / rows,
    })
}
