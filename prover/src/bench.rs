//! Measurements for CI and for choosing a machine: what the prover takes, beside arkworks, in turn in one run.
//!
//! Absolute times swing with the machine and its neighbours; ratios of two programs that are measured in turn do so far less. So a
//! comparison with stored measurements compares ratios wherever both have arkworks beside them.

mod chain;

use crate::{
    against_ark::ArkProver,
    key_file::{self, Key, KeyFileError},
    progress::Progress,
    prove::{Blinding, ProveError, prove},
    setup::{self, Randomness, SetupError, SetupOptions},
};
use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, VariableBaseMSM,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::{FftField, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use bitcoin::Network;
use chain::Chain;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};
use std::{
    hint::black_box,
    io,
    num::NonZeroUsize,
    time::{Duration, Instant},
};
use taproof_arith::{Domain, FixedBase, G1, G2, Point, Scalars, msm};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// From an assignment in memory to a proof; ours checks every row and verifies the proof, ark-groth16 does neither.
    Prove,
    /// A sum of points of G1 times random scalars.
    MsmG1,
    /// The same in G2.
    MsmG2,
    /// From values on a domain to those on its odd coset.
    Transform,
}

/// Whose code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Ours, for every processor.
    Portable,
    /// arkworks: ark-groth16 with matrices built beforehand, ark-ec, ark-poly.
    Ark,
}

/// What to measure, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What.
    pub subject: Subject,
    /// The binary logarithm of the domain's size or of the number of points.
    pub log_size: u32,
    /// How often each program runs.
    pub rounds: NonZeroUsize,
    /// Whether arkworks runs, too.
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
    /// The constraints, or the points or values.
    pub constraints: u64,
    /// The threads that it could use.
    pub threads: usize,
    /// How often it ran.
    pub rounds: usize,
    /// The median over the rounds, in microseconds a constraint (or point, or value).
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
    #[error("size {found}: {subject:?} is measured at sizes from {min} to {max}")]
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

/// Runs each program once to warm up and then in turn, and reports the rounds that are done.
///
/// # Errors
/// Each of [`BenchError`].
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Vec<Measurement>, BenchError> {
    let (min, max) = match request.subject {
        Subject::Prove => (Chain::LOG_SIZE_MIN, Chain::LOG_SIZE_MAX),
        _ => (1, 26),
    };
    if !(min..=max).contains(&request.log_size) {
        return Err(BenchError::Size { subject: request.subject, found: request.log_size, min, max });
    }
    match request.subject {
        Subject::Prove => run_prove(request, progress),
        Subject::MsmG1 => run_msm::<G1>(request, progress),
        Subject::MsmG2 => run_msm::<G2>(request, progress),
        Subject::Transform => run_transform(request, progress),
    }
}

fn run_prove(request: &Request, progress: &dyn Progress) -> Result<Vec<Measurement>, BenchError> {
    let chain = Chain::new(request.log_size);
    let (shape, statement) = (chain.shape(), chain.statement());
    let key = key(&chain, &shape, progress)?;
    key.sections()?;
    let assignment = chain.assignment(&shape);
    let ours = || {
        let given = assignment.clone();
        let start = Instant::now();
        let proven = prove(&key, &statement, given, &Blinding::fresh())?;
        let elapsed = start.elapsed();
        black_box(proven.proof());
        Ok(elapsed)
    };
    if !request.against_ark {
        return measure(request, chain.row_count(), progress, ours, None);
    }
    let ark = ArkProver::new(&key, &shape)?;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let arks = || {
        let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
        Ok(timed(|| ark.prove(&assignment.wires, r, s).expect("the key was made for this domain")))
    };
    measure(request, chain.row_count(), progress, ours, Some(Box::new(arks)))
}

/// A key with fixed secrets, which is fit for nothing else.
fn key(chain: &Chain, shape: &taproof_circuits::cs::Shape, progress: &dyn Progress) -> Result<Key, BenchError> {
    let (network, randomness) = (Network::Regtest, Randomness::Seed([1; 32]));
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    let circuit = chain.statement().circuit;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    key_file::write(&setup::generate(shape, circuit, &options, progress)?, &path)?;
    Ok(Key::open(&path, circuit, shape.matrix_hash())?)
}

fn run_msm<P: Point>(request: &Request, progress: &dyn Progress) -> Result<Vec<Measurement>, BenchError> {
    let scalars = scalars(request.log_size);
    let points = FixedBase::<P>::new(&Affine::generator(), scalars.len()).multiply(&scalars);
    let ours = || Ok(timed(|| msm(black_box(&points), Scalars::all(&scalars))));
    if !request.against_ark {
        return measure(request, scalars.len(), progress, ours, None);
    }
    let ark_points: Vec<Affine<P::Config>> = points.iter().map(Point::to_affine).collect();
    let arks = || Ok(timed(|| Projective::msm(black_box(&ark_points), &scalars).expect("one scalar a point")));
    measure(request, scalars.len(), progress, ours, Some(Box::new(arks)))
}

fn run_transform(request: &Request, progress: &dyn Progress) -> Result<Vec<Measurement>, BenchError> {
    let values = scalars(request.log_size);
    let domain = Domain::new(values.len()).expect("the size is in range");
    let ours = || {
        let mut values = values.clone();
        Ok(timed(|| domain.to_odd_coset([black_box(&mut values)])))
    };
    let ark_domain = Radix2EvaluationDomain::<Fr>::new(values.len()).expect("the size is in range");
    let root = Fr::get_root_of_unity(2 * values.len() as u64).expect("the size is in range");
    let coset = ark_domain.get_coset(root).expect("a root is not zero");
    let arks = || {
        let mut values = values.clone();
        Ok(timed(|| {
            ark_domain.ifft_in_place(black_box(&mut values));
            coset.fft_in_place(&mut values);
        }))
    };
    measure(request, values.len(), progress, ours, request.against_ark.then(|| Box::new(arks) as Run<'_>))
}

fn scalars(log_size: u32) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    (0..1usize << log_size).map(|_| Fr::rand(&mut rng)).collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// Runs a program once and tells how long it took.
type Run<'a> = Box<dyn FnMut() -> Result<Duration, BenchError> + 'a>;

fn measure<'a>(
    request: &Request,
    count: usize,
    progress: &dyn Progress,
    ours: impl FnMut() -> Result<Duration, BenchError> + 'a,
    arks: Option<Run<'a>>,
) -> Result<Vec<Measurement>, BenchError> {
    let ours: Run<'a> = Box::new(ours);
    let mut runs = vec![(Backend::Portable, ours, Vec::new())];
    runs.extend(arks.map(|run| (Backend::Ark, run, Vec::new())));
    for (_, run, _) in &mut runs {
        run()?;
    }
    let rounds = request.rounds.get();
    for round in 0..rounds {
        progress.report(round as u64, rounds as u64);
        for (_, run, times) in &mut runs {
            times.push(run()?);
        }
    }
    let measurement = |(backend, _, mut times): (Backend, Run<'_>, Vec<Duration>)| {
        times.sort_unstable();
        let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        Measurement {
            bench: request.subject,
            backend,
            size: request.log_size,
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

/// The processor's name, where the system tells it, and its architecture.
fn machine() -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned));
    format!("{} ({})", name.unwrap_or_else(|| "unknown processor".into()), std::env::consts::ARCH)
}

/// How much slower a measurement is than a stored one: 1 for equally fast, 1.1 for a tenth slower. Where both runs have arkworks beside ours,
/// ours is taken relative to it. `None` if there is no stored measurement of the same subject, size and threads.
pub fn slowdown(now: &[Measurement], stored: &[Measurement]) -> Option<f64> {
    let ours = now.iter().find(|measurement| measurement.backend != Backend::Ark)?;
    let same = |other: &&Measurement| (other.bench, other.size, other.threads) == (ours.bench, ours.size, ours.threads);
    let median = |of: &[Measurement], is_ark: bool| {
        let mut all = of.iter().filter(same).filter(|other| (other.backend == Backend::Ark) == is_ark);
        all.next().map(|measurement| measurement.median_us_per_constraint)
    };
    let ratio = median(now, false)? / median(stored, false)?;
    match (median(now, true), median(stored, true)) {
        (Some(ark_now), Some(ark_stored)) => Some(ratio * ark_stored / ark_now),
        _ => Some(ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn request(subject: Subject, log_size: u32, against_ark: bool) -> Request {
        Request { subject, log_size, rounds: NonZeroUsize::new(2).unwrap(), against_ark }
    }

    #[test]
    fn every_subject_is_measured_beside_arkworks() {
        for subject in [Subject::Prove, Subject::MsmG1, Subject::MsmG2, Subject::Transform] {
            let log_size = if subject == Subject::Prove { Chain::LOG_SIZE_MIN } else { 5 };
            let measurements = run(&request(subject, log_size, true), &Silent).unwrap();
            let backends: Vec<_> = measurements.iter().map(|measurement| measurement.backend).collect();
            assert_eq!(backends, [Backend::Portable, Backend::Ark]);
            for m in measurements {
                assert_eq!((m.bench, m.size, m.rounds), (subject, log_size, 2));
                assert!(0.0 < m.min_us_per_constraint && m.min_us_per_constraint <= m.median_us_per_constraint);
                assert!(m.median_us_per_constraint <= m.max_us_per_constraint);
            }
        }
        assert_eq!(run(&request(Subject::Transform, 3, false), &Silent).unwrap().len(), 1);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (subject, size) in [(Subject::Prove, 11), (Subject::Prove, 25), (Subject::MsmG1, 0), (Subject::MsmG2, 27)] {
            assert!(matches!(run(&request(subject, size, false), &Silent), Err(BenchError::Size { .. })));
        }
    }

    #[test]
    fn slowdowns_are_relative_to_arkworks_where_both_have_it() {
        let of = |backend, size, median| Measurement {
            bench: Subject::Prove,
            backend,
            size,
            constraints: 1,
            threads: 2,
            rounds: 1,
            median_us_per_constraint: median,
            min_us_per_constraint: median,
            max_us_per_constraint: median,
            machine: String::new(),
        };
        let stored = [of(Backend::Portable, 12, 2.0), of(Backend::Ark, 12, 6.0)];
        let slower_machine = [of(Backend::Portable, 12, 4.0), of(Backend::Ark, 12, 12.0)];
        assert_eq!(slowdown(&slower_machine, &stored), Some(1.0));
        assert_eq!(slowdown(&slower_machine[..1], &stored), Some(2.0));
        assert_eq!(slowdown(&[of(Backend::Portable, 13, 2.0)], &stored), None);
        assert_eq!(slowdown(&stored, &[]), None);
    }
}
