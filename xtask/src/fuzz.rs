//! Runs the fuzz targets: briefly with the tests' own dependencies, or at length with everything instrumented by
//! cargo-fuzz.
//!
//! No sanitizer is on: the targets are safe Rust and look for panics, broken round trips and unbounded allocation.

use crate::{nice, root, run, tools};
use anyhow::{Context, ensure};
use std::{fs, path::Path, process::Command, sync::Mutex, thread};

/// Compiles every target, at the lowest priority, with coverage of the workspace's own code. Dependencies are those
/// of the tests, whose build takes most of the time.
pub(crate) fn build_briefly() -> anyhow::Result<()> {
    let targets = targets()?;
    let binaries = targets.iter().flat_map(|target| ["--bin", target]);
    // The workspace's other packages choose the dependencies' features: without them all dependencies would be built
    // again.
    let mut build = nice(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace"]).args(binaries);
    // No target waits for the kernels, which take most of the time to compile with all optimisations.
    build.args(["--config", "profile.dev.package.taproof-arith.opt-level=1"]);
    run(build.env("RUSTC_WORKSPACE_WRAPPER", root().join("fuzz/instrumented-rustc")).current_dir(root()))
}

/// Runs every target that [`build_briefly`] compiled for so many seconds, as many at a time as there are cores.
pub(crate) fn run_briefly(seconds: u32) -> anyhow::Result<()> {
    let (programs, targets) = (tools::target_folder(&root()).join("debug"), targets()?);
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().expect("no thread panics here").next();
    let work = || std::iter::from_fn(next).try_for_each(|target| run_quietly(&programs, target, seconds));
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("errors are returned"))
    })
}

/// Runs a target and prints what it says if it finds something, and otherwise one line.
fn run_quietly(programs: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let (corpus, artifacts) = (folder("corpus", target)?, folder("artifacts", target)?);
    let mut command = Command::new(programs.join(target));
    command.arg(corpus).arg(format!("-artifact_prefix={artifacts}/")).args(limits(seconds));
    let output = command.output().with_context(|| format!("{target} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{command:?} failed: {}", output.status);
    eprintln!("xtask: fuzz target {target}: {}", said.lines().last().unwrap_or_default());
    Ok(())
}

/// Runs all targets, or the one that is named, built by cargo-fuzz with coverage of the dependencies' code, too.
pub(crate) fn run_at_length(target: Option<&str>, seconds: u32) -> anyhow::Result<()> {
    let cargo_fuzz = tools::ensure_cargo_fuzz(&root())?;
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => targets()?,
    };
    for target in targets {
        // The development profile optimises what tests wait for; here everything is worth it.
        run(Command::new(&cargo_fuzz)
            .args(["run", "--dev", "--sanitizer", "none", &target, "--"])
            .args(limits(seconds))
            .current_dir(root())
            .env("CARGO", env!("CARGO"))
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2"))?;
    }
    Ok(())
}

/// Inputs may be long from the start: some targets are too slow to come to long ones by and by.
fn limits(seconds: u32) -> [String; 4] {
    let time = format!("-max_total_time={seconds}");
    [time, "-rss_limit_mb=2048".into(), "-print_final_stats=0".into(), "-len_control=0".into()]
}

/// A target's folder of one kind, as cargo-fuzz has it.
fn folder(kind: &str, target: &str) -> anyhow::Result<String> {
    let folder = format!("{}/fuzz/{kind}/{target}", root().display());
    fs::create_dir_all(&folder).with_context(|| format!("{folder} cannot be made"))?;
    Ok(folder)
}

fn targets() -> anyhow::Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be listed", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    targets.sort();
    ensure!(!targets.is_empty(), "{} holds no fuzz target", folder.display());
    Ok(targets)
}
