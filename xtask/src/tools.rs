//! What the tests need beside a Rust toolchain: found, or installed where that can be done, or named.

use crate::run;
use anyhow::{Context, bail, ensure};
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Ensures a C and a C++ compiler, for Bitcoin's script code and its curve library.
pub(crate) fn ensure_native_compiler() -> anyhow::Result<()> {
    if works("cc", &["--version"]) && works("c++", &["--version"]) {
        return Ok(());
    }
    install_debian(&["build-essential"], "a C and a C++ compiler")
}

/// Ensures a subcommand of cargo that comes as a component of the toolchain.
pub(crate) fn ensure_component(subcommand: &str, component: &str) -> anyhow::Result<()> {
    if works(env!("CARGO"), &[subcommand, "--version"]) {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add", component]))
        .with_context(|| format!("`cargo {subcommand}` is missing: install the toolchain's component {component}"))
}

/// Ensures a release of the compiler beside the one that is used.
pub(crate) fn ensure_toolchain(release: &str) -> anyhow::Result<()> {
    if works("rustup", &["run", release, "cargo", "--version"]) {
        return Ok(());
    }
    run(Command::new("rustup").args(["toolchain", "install", release, "--profile", "minimal"]))
        .with_context(|| format!("Rust {release} is missing: rustup toolchain install {release}"))
}

/// Ensures snarkjs in the pinned version, for the tests that let it check our proofs and prove with our keys.
pub(crate) fn ensure_snarkjs(root: &Path) -> anyhow::Result<()> {
    ensure_npm_packages(&root.join("prover/tests/snarkjs"))
}

/// Ensures Uniswap's library in the pinned version, for the test that compares the exchange with it.
pub(crate) fn ensure_uniswap(root: &Path) -> anyhow::Result<()> {
    ensure_npm_packages(&root.join("circuits/tests/uniswap"))
}

/// Ensures the wallets' libraries, in pinned versions, that the tests let sign commits: two of npm's and one of
/// Python's.
pub(crate) fn ensure_signers(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("prover/tests/signers");
    ensure_npm_packages(&folder)?;
    if !works("python3", &["-m", "pip", "--version"]) {
        install_debian(&["python3", "python3-pip", "python3-setuptools"], "Python with pip")?;
    }
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--require-hashes", "--upgrade", "--target", "python", "--requirement", "requirements.txt"])
        .current_dir(folder))
}

/// Installs what a folder's lock file names.
fn ensure_npm_packages(folder: &Path) -> anyhow::Result<()> {
    if !(works("node", &["--version"]) && works("npm", &["--version"])) {
        install_debian(&["nodejs", "npm"], "Node.js and npm")?;
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder))
}

/// Ensures valgrind, which counts instructions.
pub(crate) fn ensure_valgrind() -> anyhow::Result<()> {
    if works("valgrind", &["--version"]) {
        return Ok(());
    }
    install_debian(&["valgrind"], "valgrind")
}

/// Ensures a headless Chromium, in which the report is looked at.
pub(crate) fn ensure_chromium() -> anyhow::Result<()> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    if std::env::var_os("CHROMIUM").is_some() || names.iter().any(|name| works(name, &["--version"])) {
        return Ok(());
    }
    install_debian(&["chromium"], "Chromium")
}

/// Where cargo builds.
pub(crate) fn target_folder(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Ensures cargo-fuzz below the target folder and tells where it is.
pub(crate) fn ensure_cargo_fuzz(root: &Path) -> anyhow::Result<PathBuf> {
    let tools = target_folder(root).join("tools");
    let program = tools.join("bin/cargo-fuzz");
    if !works(program.as_os_str(), &["--version"]) {
        run(Command::new(env!("CARGO"))
            .args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ_VERSION, "--root"])
            .arg(&tools))?;
    }
    Ok(program)
}

/// Whether a program can be started and is content with the arguments.
pub(crate) fn works(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// Installs Debian packages as root, and otherwise says what to install.
pub(crate) fn install_debian(packages: &[&str], what: &str) -> anyhow::Result<()> {
    let names = packages.join(" ");
    if !works("apt-get", &["--version"]) {
        bail!("{what} is missing: install it with your system's package manager");
    }
    let user = Command::new("id").arg("-u").output().context("`id` could not be started")?;
    ensure!(user.stdout.trim_ascii() == b"0", "{what} is missing: run `sudo apt-get install {names}`");
    run(Command::new("apt-get").arg("update").stdout(io::stderr()))?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .stdout(io::stderr()))
}
