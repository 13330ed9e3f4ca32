//! Measurements for CI and for choosing a machine: what the prover takes, beside arkworks, in turn in one run.
//!
//! Absolute times swing with the machine and its neighbours; ratios of two programs that are measured in turn do so
//! far less. So a comparison with stored measurements compares ratios wherever both have arkworks beside them.

mod baseline;
mod chain;
mod chunk;
mod following;
mod kernels;
mod market;
mod stages;
mod trapdoor;

pub use baseline::{NoTimeError, check, merge, slowdown};
pub use chunk::transfer_chunk;
pub use following::{AnchorBlocks, FullBlocks};
pub use market::order_chunk;
pub use trapdoor::Trapdoor;

use ark_bn254::{Fq, Fr};
use chain::Chain;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    hint::black_box,
    io,
    num::NonZeroUsize,
    ops::RangeInclusive,
    time::{Duration, Instant},
};
use taproof_arith::{G1, G2};
use taproof_base::progress::Progress;
use taproof_kernel::{key_file::KeyFileError, prove::ProveError, setup::SetupError};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// From an assignment in memory to a verified proof, of 2^SIZE constraints, 12 to 24; ark-groth16 neither checks
    /// the rows nor verifies
    Prove,
    /// From a circuit of 2^SIZE constraints, 12 to 24, to a key in memory
    Setup,
    /// 2^SIZE proofs checked together, 0 to 10, decoded already; ark-groth16, its key prepared, checks one after the
    /// other
    Verify,
    /// From a chunk's witness to its wires and rows: as many transfers as fit 2^SIZE constraints, 15 to 20; no
    /// counterpart of arkworks
    Witness,
    /// From signed transfers to a verified proof, at depth 10: as many as fit 2^SIZE constraints, 15 to 20; by the
    /// payment
    Payments,
    /// From 2^SIZE signed orders of one pool, 0 to 7, to verified proofs, at depth 10, in chunks of at most 2^18
    /// constraints, two proofs at once; by the order
    Orders,
    /// The native rule on 2^SIZE steps of sessions, 0 to 20, as whoever rebuilds a state applies them: without
    /// signatures, digests and tree; one thread
    Steps,
    /// The sum of 2^SIZE points of G1, 1 to 26, times random scalars
    MsmG1,
    /// The sum of 2^SIZE points of G2, 1 to 26, times random scalars
    MsmG2,
    /// From 2^SIZE values on a domain, 1 to 26, to those on its odd coset
    Transform,
    /// 2^SIZE products in the field of scalars, 1 to 26, less an element each, as a quotient takes them
    ProductsFr,
    /// The same in the field of coordinates
    ProductsFq,
    /// Permutations of 2^SIZE states of Poseidon2, 0 to 22, beside those of the crate taceo-poseidon2
    Hash,
    /// Mainnet block 702861, 2^SIZE times, 0 to 8, from bytes and looked through for anchors and deposits; by the
    /// kilobyte
    Scan,
    /// A chain of 2^SIZE blocks with the transactions of mainnet block 702861, 0 to 8, from bytes and followed; by
    /// the kilobyte
    Follow,
    /// 2^SIZE anchors of 16 proofs each, 0 to 12, one a block, followed and verified
    Anchors,
}

impl Subject {
    /// The sizes that can be measured: binary logarithms of the number of constraints, proofs, orders, steps, points,
    /// values, states, blocks or anchors.
    pub fn sizes(self) -> RangeInclusive<u32> {
        match self {
            Self::Prove | Self::Setup => Chain::LOG_SIZE_MIN..=Chain::LOG_SIZE_MAX,
            Self::Verify => 0..=10,
            Self::Witness | Self::Payments => chunk::LOG_SIZE_MIN..=chunk::LOG_SIZE_MAX,
            Self::MsmG1 | Self::MsmG2 | Self::Transform | Self::ProductsFr | Self::ProductsFq => 1..=26,
            Self::Orders => 0..=market::LOG_SIZE_MAX,
            Self::Steps => 0..=20,
            Self::Hash => 0..=22,
            Self::Scan | Self::Follow => 0..=8,
            Self::Anchors => 0..=12,
        }
    }

    /// The size that is measured if none is asked for.
    pub fn size_default(self) -> u32 {
        match self {
            Self::Prove | Self::MsmG1 | Self::Transform | Self::ProductsFr | Self::ProductsFq | Self::Witness => 16,
            Self::Payments => 18,
            Self::Orders => 7,
            Self::Steps => 12,
            Self::Setup | Self::MsmG2 => 14,
            Self::Verify => 0,
            Self::Hash => 10,
            Self::Scan | Self::Follow => 5,
            Self::Anchors => 6,
        }
    }

    /// Whether what is counted are kilobytes: 1,000 bytes each.
    pub fn counts_kilobytes(self) -> bool {
        matches!(self, Self::Scan | Self::Follow)
    }
}

/// As the command line and JSON name it.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no subject is hidden").get_name())
    }
}

/// Whose code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Ours, with vectors of eight lanes: AVX-512 IFMA.
    Ifma,
    /// Ours, with vectors of four lanes: AVX2.
    Avx2,
    /// Ours, for every processor.
    Portable,
    /// arkworks: ark-groth16, with matrices built and keys prepared beforehand, ark-ec, ark-poly; for hashes
    /// taceo-poseidon2.
    Ark,
}

impl Backend {
    /// What our kernels run on in this process.
    pub fn ours() -> Self {
        match taproof_arith::Backend::current() {
            taproof_arith::Backend::Ifma => Self::Ifma,
            taproof_arith::Backend::Avx2 => Self::Avx2,
            _ => Self::Portable,
        }
    }

    /// The name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifma => "ifma",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
            Self::Ark => "ark",
        }
    }
}

/// What to measure, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What.
    pub subject: Subject,
    /// The binary logarithm of the size: see [`Subject::sizes`].
    pub log_size: u32,
    /// How often each program runs.
    pub rounds: NonZeroUsize,
    /// Whether arkworks runs, too, where it has a counterpart.
    pub against_ark: bool,
}

/// What one program took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// What was measured.
    pub bench: Subject,
    /// Whose code ran.
    pub backend: Backend,
    /// The binary logarithm of the size.
    pub size: u32,
    /// The constraints, or the proofs, payments, orders, steps, points, values, states, kilobytes or anchors.
    pub constraints: u64,
    /// The threads that it could use.
    pub threads: usize,
    /// How often it ran.
    pub rounds: usize,
    /// The median over the rounds, in microseconds a constraint (or proof, payment, order, step, point, value, state,
    /// kilobyte, anchor).
    pub median_us_per_constraint: f64,
    /// The fastest round.
    pub min_us_per_constraint: f64,
    /// The slowest round.
    pub max_us_per_constraint: f64,
    /// The processor, as the operating system names it.
    pub machine: String,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The size is out of range.
    #[error("size {found}: {subject} is measured at sizes from {min} to {max}")]
    Size {
        /// What was to be measured.
        subject: Subject,
        /// The size.
        found: u32,
        /// The least size.
        min: u32,
        /// The greatest size.
        max: u32,
    },
    /// There is no room for a key.
    #[error("no folder for the key")]
    Folder(#[from] io::Error),
    /// The key cannot be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The key cannot be stored or read.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A proof failed.
    #[error(transparent)]
    Prove(#[from] ProveError),
}

/// Runs a program once and tells how long it took, its preparation left out.
pub type Program = Box<dyn FnMut() -> Result<Duration, BenchError>>;

/// A subject with its inputs made, ready to run as often as needed. Inputs depend on subject and size alone.
pub struct Prepared {
    /// The constraints, or the proofs, payments, orders, steps, points, values, states, kilobytes or anchors.
    pub count: usize,
    /// Ours.
    pub ours: Program,
    /// That of arkworks on the same input, where there is one and it was asked for.
    pub ark: Option<Program>,
}

/// Makes a subject's inputs.
///
/// # Errors
/// Each of [`BenchError`].
pub fn prepare(
    subject: Subject,
    log_size: u32,
    against_ark: bool,
    progress: &dyn Progress,
) -> Result<Prepared, BenchError> {
    let sizes = subject.sizes();
    if !sizes.contains(&log_size) {
        return Err(BenchError::Size { subject, found: log_size, min: *sizes.start(), max: *sizes.end() });
    }
    match subject {
        Subject::Prove => stages::prove(log_size, against_ark, progress),
        Subject::Setup => Ok(stages::setup(log_size, against_ark)),
        Subject::Verify => Ok(stages::verify(log_size, against_ark)),
        Subject::Witness => Ok(stages::witness(log_size)),
        Subject::Payments => stages::payments(log_size, progress),
        Subject::Orders => stages::orders(log_size, progress),
        Subject::Steps => Ok(stages::steps(log_size)),
        Subject::MsmG1 => Ok(kernels::msm::<G1>(log_size, against_ark)),
        Subject::MsmG2 => Ok(kernels::msm::<G2>(log_size, against_ark)),
        Subject::Transform => Ok(kernels::transform(log_size, against_ark)),
        Subject::ProductsFr => Ok(kernels::products::<Fr>(log_size, against_ark)),
        Subject::ProductsFq => Ok(kernels::products::<Fq>(log_size, against_ark)),
        Subject::Hash => Ok(kernels::hash(log_size, against_ark)),
        Subject::Scan => Ok(following::scan(log_size)),
        Subject::Follow => Ok(following::follow(log_size)),
        Subject::Anchors => Ok(following::anchors(log_size)),
    }
}

/// Runs each program once to warm up and then in turn, and reports the rounds that are done. Ours comes first.
///
/// # Errors
/// Each of [`BenchError`].
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Vec<Measurement>, BenchError> {
    let Request { subject, log_size, .. } = *request;
    let Prepared { count, ours, ark } = prepare(subject, log_size, request.against_ark, progress)?;
    let mut runs = vec![(Backend::ours(), ours, Vec::new())];
    runs.extend(ark.map(|program| (Backend::Ark, program, Vec::new())));
    for (_, program, _) in &mut runs {
        program()?;
    }
    let rounds = request.rounds.get();
    for round in 0..rounds {
        progress.report(round as u64, rounds as u64);
        for (_, program, times) in &mut runs {
            times.push(program()?);
        }
    }
    let measurement = |(backend, _, mut times): (Backend, Program, Vec<Duration>)| {
        times.sort_unstable();
        let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        Measurement {
            bench: subject,
            backend,
            size: log_size,
            constraints: count as u64,
            threads: rayon::current_num_threads(),
            rounds,
            median_us_per_constraint: us((times[(rounds - 1) / 2] + times[rounds / 2]) / 2),
            min_us_per_constraint: us(times[0]),
            max_us_per_constraint: us(times[rounds - 1]),
            machine: machine(),
        }
    };
    Ok(runs.into_iter().map(measurement).collect())
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// The processor's name, where the system tells it, and its architecture.
fn machine() -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned));
    format!("{} ({})", name.unwrap_or_else(|| "unknown processor".into()), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use taproof_base::progress::Silent;

    fn request(subject: Subject, log_size: u32, against_ark: bool) -> Request {
        Request { subject, log_size, rounds: NonZeroUsize::new(2).unwrap(), against_ark }
    }

    #[test]
    fn every_subject_is_measured_at_its_least_size() {
        for subject in Subject::value_variants() {
            let log_size = *subject.sizes().start();
            let measurements = run(&request(*subject, log_size, true), &Silent).unwrap();
            let backends: Vec<_> = measurements.iter().map(|measurement| measurement.backend).collect();
            match subject {
                Subject::Witness
                | Subject::Payments
                | Subject::Orders
                | Subject::Steps
                | Subject::Scan
                | Subject::Follow
                | Subject::Anchors => {
                    assert_eq!(backends, [Backend::ours()]);
                }
                _ => assert_eq!(backends, [Backend::ours(), Backend::Ark]),
            }
            for m in measurements {
                assert_eq!((m.bench, m.size, m.rounds), (*subject, log_size, 2));
                assert!(0.0 < m.min_us_per_constraint && m.min_us_per_constraint <= m.median_us_per_constraint);
                assert!(m.median_us_per_constraint <= m.max_us_per_constraint);
            }
        }
        assert_eq!(run(&request(Subject::Transform, 3, false), &Silent).unwrap().len(), 1);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for subject in Subject::value_variants() {
            assert!(subject.sizes().contains(&subject.size_default()));
            for size in [subject.sizes().start().wrapping_sub(1), subject.sizes().end() + 1] {
                assert!(matches!(prepare(*subject, size, false, &Silent), Err(BenchError::Size { .. })));
            }
        }
    }

    #[test]
    fn subjects_and_back_ends_have_one_name() {
        for subject in Subject::value_variants() {
            let name = subject.to_possible_value().expect("no subject is hidden");
            assert_eq!(serde_json::to_value(subject).unwrap(), name.get_name());
        }
        for backend in [Backend::Ifma, Backend::Avx2, Backend::Portable, Backend::Ark] {
            assert_eq!(serde_json::to_value(backend).unwrap(), backend.name());
        }
    }
}
