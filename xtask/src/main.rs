//! Development tasks: `cargo xtask test` runs everything that CI runs.
#![forbid(unsafe_code)]

mod tools;

use anyhow::{Context, ensure};
use clap::Parser;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

#[derive(Parser)]
#[command(about = "Development tasks of Taproof")]
enum Task {
    /// Installs what is missing, then runs every check, test and fuzz target.
    Test {
        /// How long each fuzz target runs.
        #[arg(long, default_value_t = 5, value_name = "SECONDS")]
        fuzz_s: u32,
    },
    /// Runs the fuzz targets, or the one that is named.
    Fuzz {
        /// The target; all of them if left out.
        target: Option<String>,
        /// How long each target runs.
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        seconds: u32,
    },
    /// Writes the pinned constraint counts and matrix hashes anew; the commit says why they changed.
    Pin,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test { fuzz_s } => test(fuzz_s),
        Task::Fuzz { target, seconds } => fuzz(target.as_deref(), seconds),
        Task::Pin => run(cargo().args(["test", "-p", "taproof-circuits", "pinned"]).env("TAPROOF_REPIN", "1")),
    }
}

fn test(fuzz_s: u32) -> anyhow::Result<()> {
    tools::ensure_native_compiler()?;
    tools::ensure_component("fmt", "rustfmt")?;
    tools::ensure_component("clippy", "clippy")?;
    tools::ensure_snarkjs(&root())?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().args(["check", "-p", "taproof-verifier", "--no-default-features"]))?;
    fuzz(None, fuzz_s)?;
    run(cargo().args(["test", "--workspace", "--doc"]))?;
    run(cargo().args(["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]))
}

/// Builds and runs fuzz targets with cargo-fuzz. The sanitizer is off: the targets are safe Rust and look for panics,
/// broken round trips and unbounded allocation.
fn fuzz(target: Option<&str>, seconds: u32) -> anyhow::Result<()> {
    let cargo_fuzz = tools::ensure_cargo_fuzz(&root())?;
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => fuzz_targets()?,
    };
    run(fuzz_command(&cargo_fuzz, "build").args(["--sanitizer", "none"]))?;
    for target in targets {
        let limits = [format!("-max_total_time={seconds}"), "-rss_limit_mb=2048".into(), "-print_final_stats=0".into()];
        run(fuzz_command(&cargo_fuzz, "run").args(["--sanitizer", "none", &target, "--"]).args(limits))?;
    }
    Ok(())
}

/// cargo-fuzz needs compiler flags that a stable toolchain accepts only when told so.
fn fuzz_command(cargo_fuzz: &Path, verb: &str) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command.arg(verb).current_dir(root()).env("RUSTC_BOOTSTRAP", "1").env("CARGO", env!("CARGO"));
    command
}

fn fuzz_targets() -> anyhow::Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be listed", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    targets.sort();
    ensure!(!targets.is_empty(), "{} holds no fuzz target", folder.display());
    Ok(targets)
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

/// Runs a command, says how long it took, and fails if it does.
fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("xtask: {command:?}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{command:?} could not be started"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    eprintln!("xtask: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}
