//! Development tasks: `cargo xtask test` runs everything that CI runs.
#![forbid(unsafe_code)]

mod api;
mod bitcoind;
mod count;
mod documents;
mod fuzz;
mod house;
mod tools;

use anyhow::{Context, ensure};
use clap::Parser;
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
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
    /// Writes down the verifier's public interface; the commit says why it changed.
    Api,
    /// Checks what no compiler knows: the length of lines, that crates and modules use each other as
    /// docs/architecture.md says, and that tables, links and paths of documents are what they seem.
    House,
    /// Prints the executable of a bitcoind for the tests, after building it once if there is none.
    Bitcoind,
    /// Runs the fuzz targets, or the one that is named, dependencies instrumented as well.
    Fuzz {
        /// The target; all of them if left out.
        target: Option<String>,
        /// How long each target runs.
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        seconds: u32,
    },
    /// Counts the instructions of fixed work under valgrind and compares them with stored counts.
    Count {
        /// Stores the counts instead; the commit says why they changed.
        #[arg(long)]
        pin: bool,
    },
    /// Checks every package with the oldest compiler that is promised; `test` checks the verifier so, which others
    /// embed.
    Oldest,
    /// Writes the pinned constraint counts, matrix hashes and data of examples anew; the commit says why they changed.
    Pin,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test { fuzz_s } => test(fuzz_s),
        Task::Api => api::write(),
        Task::House => house::check().and_then(|()| documents::check()),
        Task::Bitcoind => {
            println!("{}", bitcoind::ensure()?.display());
            Ok(())
        }
        Task::Fuzz { target, seconds } => fuzz::run_at_length(target.as_deref(), seconds),
        Task::Count { pin } => count::count(pin),
        Task::Oldest => {
            tools::ensure_toolchain(OLDEST)?;
            check_with_oldest(&["--workspace", "--all-targets"])
        }
        Task::Pin => {
            run(cargo().args(["test", "-p", "taproof-circuits", "pinned"]).env("TAPROOF_REPIN", "1"))?;
            run(cargo().args(["test", "-p", "taproof-verifier", "--lib", "examples_data"]).env("TAPROOF_REPIN", "1"))
        }
    }
}

fn test(fuzz_s: u32) -> anyhow::Result<()> {
    tools::ensure_native_compiler()?;
    tools::ensure_component("fmt", "rustfmt")?;
    tools::ensure_component("clippy", "clippy")?;
    tools::ensure_snarkjs(&root())?;
    tools::ensure_uniswap(&root())?;
    tools::ensure_signers(&root())?;
    tools::ensure_chromium()?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    api::compare()?;
    house::check()?;
    documents::check()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().args(["check", "-p", "taproof-verifier", "--no-default-features"]))?;
    document_and_package()?;
    match tools::ensure_toolchain(OLDEST) {
        Ok(()) => check_with_oldest(&["-p", "taproof-verifier"])?,
        Err(error) => eprintln!("xtask: not checked with Rust {OLDEST}, the oldest that is promised: {error:#}"),
    }
    // A node that has to be built takes what cores the compiler leaves.
    let node = thread::scope(|scope| {
        let node = scope.spawn(bitcoind::ensure);
        run(cargo().args(["test", "--workspace", "--no-run"]))?;
        node.join().expect("a node is found or an error returned")
    })?;
    // Tests leave a core idle while they wait for a node.
    thread::scope(|scope| {
        let built = scope.spawn(fuzz::build_briefly);
        run(cargo().args(["test", "--workspace"]).env("BITCOIND_EXE", node))?;
        built.join().expect("errors are returned")
    })?;
    test_example()?;
    count::count(false)?;
    fuzz::run_briefly(fuzz_s)
}

/// Tests the crate outside of the workspace that has operations of its own, with the `taproof` of this one beside it.
fn test_example() -> anyhow::Result<()> {
    let manifest = root().join("examples/own-operation/Cargo.toml");
    let taproof = tools::target_folder(&root()).join("debug/taproof");
    let in_example = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(arguments).arg("--manifest-path").arg(&manifest);
        command
    };
    run(&mut in_example(&["fmt", "--check"]))?;
    // In the workspace's folder what both need is there already.
    let mut test = in_example(&["test", "--locked"]);
    run(test.arg("--target-dir").arg(tools::target_folder(&root())).env("TAPROOF_EXE", taproof))
}

/// What others can depend on, each after those that it needs.
const PUBLISHED: [&str; 10] = [
    "taproof-fixtures",
    "taproof-verifier",
    "taproof-arith",
    "taproof-circuits",
    "taproof-base",
    "taproof-kernel",
    "taproof-wallet",
    "taproof-bitcoin",
    "taproof-rollup",
    "taproof",
];

/// Checks that what is published has sound documentation and can be packaged.
fn document_and_package() -> anyhow::Result<()> {
    let packages = PUBLISHED.iter().flat_map(|package| ["-p", package]);
    run(cargo().args(["doc", "--no-deps"]).args(packages.clone()).env("RUSTDOCFLAGS", "-D warnings"))?;
    // To verify packages is to build them and all dependencies again, with other profiles than the workspace's, which
    // would take half of the time of all checks. Beside what the tests find it would find a missing file, but no
    // crate's code includes a file of another.
    run(cargo().args(["package", "--no-verify", "--allow-dirty", "--quiet"]).args(packages))
}

/// The oldest compiler that is promised: the workspace's `rust-version`.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Checks packages with the oldest compiler, in a folder of its own: artefacts of two compilers are no use to each
/// other.
fn check_with_oldest(packages: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("rustup");
    command.args(["run", OLDEST, "cargo", "check", "--locked", "--target-dir"]);
    run(command.arg(tools::target_folder(&root()).join("oldest")).args(packages).current_dir(root()))
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

/// A program at the lowest priority: what else runs goes first.
fn nice(program: &str) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19", program]);
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
