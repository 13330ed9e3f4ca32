//! `taproof bench`.

use super::{
    Global,
    console::Bar,
    failure::{Exit, Failure, Fallible, Result},
};
use clap::{Args, ValueEnum};
use std::{fmt, fs, num::NonZeroUsize, path::PathBuf};
use taproof::{
    atomic_file::write_atomically,
    bench::{self, Backend, BenchError, Measurement, Request, Subject},
};

/// Measures the prover or one of its kernels, beside arkworks if asked, in turn in one run.
#[derive(Debug, Args)]
#[command(after_help = "\
`prove` makes a key for the size first, which takes longer than a proof. A stored run is compared by the ratio to arkworks where
both have it, so that another machine's speed makes no difference.
Examples:
  taproof bench prove --size 18 --against ark --json
  taproof bench msm-g1 --size 16 --against ark --save msm.json
  taproof bench msm-g1 --size 16 --against ark --baseline msm.json --regression 10")]
pub(crate) struct Bench {
    /// What to measure.
    subject: SubjectArg,
    /// The binary logarithm of the number of constraints, points or values.
    #[arg(long, default_value_t = 16, value_name = "LOG2")]
    size: u32,
    /// What to measure beside.
    #[arg(long, value_name = "PROVER")]
    against: Option<Against>,
    /// How often each program runs.
    #[arg(long, default_value = "5", value_name = "N")]
    rounds: NonZeroUsize,
    /// How many threads to use; all processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Writes the measurements to a file.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compares with measurements that were saved, and fails if this run is slower than allowed.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much slower than the baseline is allowed, in percent.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT", requires = "baseline")]
    regression: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SubjectArg {
    /// From an assignment in memory to a verified proof.
    Prove,
    /// A sum of points of G1 times scalars.
    MsmG1,
    /// A sum of points of G2 times scalars.
    MsmG2,
    /// Values on a domain to values on its odd coset.
    Transform,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Against {
    /// arkworks: ark-groth16 with matrices built beforehand, ark-ec, ark-poly.
    Ark,
}

impl Bench {
    pub(crate) fn run(self, global: &Global) -> Result {
        let subject = match self.subject {
            SubjectArg::Prove => Subject::Prove,
            SubjectArg::MsmG1 => Subject::MsmG1,
            SubjectArg::MsmG2 => Subject::MsmG2,
            SubjectArg::Transform => Subject::Transform,
        };
        let stored = self.baseline.as_ref().map(|path| -> Result<Vec<Measurement>> {
            let text = fs::read_to_string(path).or_exit_while(Exit::Input, path.display().to_string())?;
            serde_json::from_str(&text).or_exit_while(Exit::Input, path.display().to_string())
        });
        let stored = stored.transpose()?;
        let request = Request {
            subject,
            log_size: self.size,
            rounds: self.rounds,
            against_ark: matches!(self.against, Some(Against::Ark)),
        };
        let threads = self.threads.map_or(0, NonZeroUsize::get);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().or_exit(Exit::Failed)?;
        let bar = Bar::new(global.console(), "measuring");
        let measured = pool.install(|| bench::run(&request, &bar));
        bar.end();
        let measurements = measured.map_err(|error| match error {
            BenchError::Size { .. } => Failure::of(Exit::Input, error),
            error => Failure::of(Exit::Failed, error),
        })?;
        if let Some(path) = &self.save {
            let json = serde_json::to_vec_pretty(&measurements)?;
            write_atomically(path, |file| std::io::Write::write_all(file, &json))?;
        }
        global.console().report(&measurements, |measurements| Text(measurements).to_string())?;
        match stored {
            Some(stored) => self.compare(&measurements, &stored),
            None => Ok(()),
        }
    }

    fn compare(&self, measurements: &[Measurement], stored: &[Measurement]) -> Result {
        let slowdown = bench::slowdown(measurements, stored).ok_or_else(|| {
            let failure =
                Failure::new(Exit::Input, "the baseline has no measurement of this subject, size and threads");
            failure.advise("save one with --save")
        })?;
        if slowdown > 1.0 + self.regression / 100.0 {
            let percent = 100.0 * (slowdown - 1.0);
            let message = format!("{percent:.1} % slower than the baseline, where {} % are allowed", self.regression);
            return Err(Failure::new(Exit::Refuted, message));
        }
        Ok(())
    }
}

/// Measurements as a table, with the ratio to arkworks.
struct Text<'a>(&'a [Measurement]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return Ok(()) };
        write!(f, "{} constraints or values, {} threads, {}", first.constraints, first.threads, first.machine)?;
        for m in self.0 {
            let backend = match m.backend {
                Backend::Portable => "portable",
                Backend::Ark => "ark",
            };
            let (median, min, max) = (m.median_us_per_constraint, m.min_us_per_constraint, m.max_us_per_constraint);
            write!(f, "\n{backend:<10}{median:>9.3} us each, {min:.3} to {max:.3} over {} rounds", m.rounds)?;
        }
        if let [ours, ark] = self.0 {
            let ratio = ark.median_us_per_constraint / ours.median_us_per_constraint;
            write!(f, "\narkworks takes {ratio:.2} times as long")?;
        }
        Ok(())
    }
}
