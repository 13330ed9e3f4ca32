//! `taproof bench`.

use super::{
    Global,
    console::Bar,
    failure::{Exit, Failure, Fallible, Result},
    form::or_misplaced,
    input::read_json,
    output::{Output, Replaces, open_output, write},
    values::{percent, threads},
};
use crate::bench::{self, Backend, BenchError, Measurement, Request, Subject};
use clap::{Args, ValueEnum};
use std::{
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};
use taproof_base::output_file::Access;

/// Measures the prover, the verifier or a kernel, beside arkworks if asked, in turn in one run.
#[derive(Debug, Args)]
#[command(override_usage = "\
taproof bench [OPTIONS] <SUBJECT>
       taproof bench [OPTIONS] --baseline <FILE>")]
#[command(after_help = "\
`prove` makes a key for the size first, which takes longer than a proof. A stored run is compared by the ratio to \
arkworks where both have it, so that another machine's speed makes no difference. With a baseline and no subject, all \
that it holds is measured again, on as many threads as then.

Examples:
  taproof bench prove --size 18 --against ark --json
  taproof bench msm-g1 --size 16 --threads 2 --against ark --save baseline.json
  taproof bench transform --size 16 --threads 2 --against ark \\
    --save baseline.json
  taproof bench --baseline baseline.json --regression 15")]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(required_unless_present = "baseline")]
    subject: Option<Subject>,
    /// The binary logarithm of the number of constraints, proofs, steps, points, values, states, blocks or anchors; if
    /// not given 16, for setup and msm-g2 14, for payments and orders 18, for steps 12, for hash 10, for verify 0, for
    /// scan and follow 5, for anchors 6.
    #[arg(long, value_name = "LOG2", requires = "subject")]
    size: Option<u32>,
    /// What to measure beside.
    #[arg(long, value_name = "PROVER")]
    against: Option<Against>,
    /// How often each program runs.
    #[arg(long, default_value = "5", value_name = "N")]
    rounds: NonZeroUsize,
    /// How many threads to use; all processors if not given, or what the baseline used.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<u16>,
    /// Puts the measurements into a file, in place of those of the same subject, size, threads and back end.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compares with measurements that were saved, and fails if this run is slower than allowed.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much slower than the baseline is allowed, in percent.
    #[arg(long, default_value_t = 10.0, value_parser = percent, value_name = "PERCENT", requires = "baseline")]
    regression: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Against {
    /// arkworks: ark-groth16 with matrices built and keys prepared beforehand, ark-ec, ark-poly; for hashes
    /// taceo-poseidon2
    Ark,
}

impl Bench {
    pub(crate) fn run(self, global: &Global) -> Result {
        let stored = self.baseline.as_deref().map(read).transpose()?;
        let save = self.save.as_deref().map(|path| {
            let (format, replaces) = ("measurements", Replaces::WhatWasRead);
            open_output(&global.data_dir(), Output { path, access: Access::Public, format, replaces }, &[])
        });
        let save = save.transpose()?;
        let console = global.console().beside(&save)?;
        let mut saved = match &self.save {
            Some(path) if path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0) => read(path)?,
            _ => Vec::new(),
        };
        let mut measurements = Vec::new();
        let mut slowdowns = Vec::new();
        for (request, threads) in self.requests(stored.as_deref().unwrap_or_default())? {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().or_exit(Exit::Failed)?;
            let bar = Bar::new(console, &format!("measuring {}", request.subject));
            let measured = pool.install(|| bench::run(&request, &bar));
            bar.end();
            let measured = measured.map_err(|error| match error {
                // One that a baseline names is the file's.
                BenchError::Size { .. } if self.subject.is_some() => Failure::of(Exit::Usage, error),
                BenchError::Size { .. } => Failure::of(Exit::Input, error),
                error => Failure::of(Exit::Failed, error),
            })?;
            if let Some(stored) = &stored {
                let slowdown = bench::slowdown(&measured, stored).ok_or_else(|| {
                    let missing = "the baseline has no measurement of this subject, size, threads and back end";
                    Failure::new(Exit::Input, missing).advise("save one with --save")
                })?;
                slowdowns.push((request, slowdown));
            }
            measurements.extend(measured);
        }
        if let Some(save) = save {
            bench::merge(&mut saved, &measurements);
            let json = serde_json::to_vec_pretty(&saved)?;
            write(save, |file| file.write_all(&json))?;
        }
        console.report(&measurements, |measurements| Text { measurements, slowdowns: &slowdowns }.to_string())?;
        self.refuse(&slowdowns)
    }

    /// What is to be measured, and on how many threads, 0 for all processors.
    fn requests(&self, stored: &[Measurement]) -> Result<Vec<(Request, usize)>> {
        let threads = self.threads.map_or(0, usize::from);
        let asked_for_ark = self.against.is_some();
        let request = |subject, log_size, against_ark| Request { subject, log_size, rounds: self.rounds, against_ark };
        if let Some(subject) = self.subject {
            let size = self.size.unwrap_or_else(|| subject.size_default());
            return Ok(vec![(request(subject, size, asked_for_ark), threads)]);
        }
        let of_ours = stored.iter().filter(|measurement| measurement.backend == Backend::ours());
        let requests = of_ours.map(|ours| {
            let is_of_ark = |other: &&Measurement| other.backend == Backend::Ark && other.is_same_run(ours);
            let against_ark = asked_for_ark || stored.iter().any(|other| is_of_ark(&other));
            (request(ours.bench, ours.size, against_ark), self.threads.map_or(ours.threads, usize::from))
        });
        let requests: Vec<_> = requests.collect();
        if requests.is_empty() {
            let name = Backend::ours().name();
            return Err(Failure::new(Exit::Input, format!("the baseline has no measurement of the back end {name}")));
        }
        Ok(requests)
    }

    fn refuse(&self, slowdowns: &[(Request, f64)]) -> Result {
        let is_too_slow = |(_, slowdown): &&(Request, f64)| *slowdown > 1.0 + self.regression / 100.0;
        let too_slow: Vec<_> =
            slowdowns.iter().filter(is_too_slow).map(|slowdown| Verdict(slowdown).to_string()).collect();
        if too_slow.is_empty() {
            return Ok(());
        }
        let message = format!("{}, where {} % are allowed", too_slow.join("; "), self.regression);
        Err(Failure::new(Exit::Refuted, message))
    }
}

fn read(path: &Path) -> Result<Vec<Measurement>> {
    let read = read_json(path).map_err(|failure| or_misplaced(failure, path, "a file of measurements"));
    let measurements: Vec<Measurement> = read?;
    let checked = bench::check(&measurements).map_err(|error| error.to_string());
    let checked = checked.and_then(|()| {
        // What a baseline was measured on is used again.
        let threads = measurements.iter().map(|measurement| threads(&measurement.threads.to_string()));
        threads.collect::<std::result::Result<Vec<_>, _>>().map_err(|wanted| format!("\"threads\": {wanted}"))
    });
    checked.map_err(|wrong| Failure::new(Exit::Input, wrong).context(path.display()).advise("measure it anew"))?;
    Ok(measurements)
}

/// How a measurement compares with the stored one.
struct Verdict<'a>(&'a (Request, f64));

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((request, slowdown)) = self;
        let percent = 100.0 * (slowdown - 1.0);
        let (percent, word) = if percent < 0.0 { (-percent, "faster") } else { (percent, "slower") };
        write!(f, "{} of 2^{}: {percent:.1} % {word} than the baseline", request.subject, request.log_size)
    }
}

/// Measurements as a table, with the ratio to arkworks and to the baseline.
struct Text<'a> {
    measurements: &'a [Measurement],
    slowdowns: &'a [(Request, f64)],
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, run) in self.measurements.chunk_by(Measurement::is_same_run).enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            let first = &run[0];
            write!(
                f,
                "{separator}{} of {}, {} threads, {}",
                first.bench, first.constraints, first.threads, first.machine
            )?;
            for m in run {
                let (median, min, max) = (m.median_us_per_constraint, m.min_us_per_constraint, m.max_us_per_constraint);
                let name = m.backend.name();
                write!(f, "\n{name:<10}{median:>9.3} us each, {min:.3} to {max:.3} over {} rounds", m.rounds)?;
                if m.bench.counts_kilobytes() {
                    write!(f, ": {:.0} MB/s, at best {:.0}", 1e3 / median, 1e3 / min)?;
                }
                if m.bench == Subject::Payments {
                    let [a_second, at_best] = [median, min].map(|us| 1e6 / us / m.threads as f64);
                    write!(f, ": {a_second:.2} a second and thread, at best {at_best:.2}")?;
                }
            }
            if let [ours, ark] = run {
                let ratio = ark.median_us_per_constraint / ours.median_us_per_constraint;
                write!(f, "\narkworks takes {ratio:.2} times as long")?;
            }
        }
        self.slowdowns.iter().try_for_each(|slowdown| write!(f, "\n{}", Verdict(slowdown)))
    }
}
