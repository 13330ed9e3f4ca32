//! Runs one subject of `taproof bench` once on one thread, for an instruction counter: `cargo xtask count` counts
//! what [`counted`] runs. Prints the instruction sets that the program saw, on which its choice of code depends. If
//! the processor cannot run the back end, that is all it does.
//!
//! `cargo run -p taproof-benches --example count_instructions -- BACKEND SUBJECT LOG2`

use clap::ValueEnum;
use taproof::bench::{Prepared, Program, Subject, prepare};
use taproof_arith::Backend;
use taproof_base::progress::Silent;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let backend = arguments.next().and_then(|name| name.parse::<Backend>().ok());
    let subject = arguments.next().and_then(|name| Subject::from_str(&name, false).ok());
    let size = arguments.next().and_then(|size| size.parse().ok());
    let (Some(backend), Some(subject), Some(log_size)) = (backend, subject, size) else {
        panic!("a back end, a subject of `taproof bench` and a size")
    };
    println!("{}", instruction_sets().join(" "));
    if backend.force().is_err() {
        return;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let Prepared { mut ours, .. } = prepare(subject, log_size, false, &Silent).expect("the size is in range");
        counted(&mut ours);
    });
}

/// What an instruction counter looks for.
#[inline(never)]
fn counted(program: &mut Program) {
    program().expect("the inputs are valid");
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected;
    let sets = [
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512ifma", is_x86_feature_detected!("avx512ifma")),
    ];
    sets.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_sets() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
