//! Bitcoin Core's node for the tests: the user's, or one that is built once from source and kept in the user's cache.

use crate::{nice, run, tools};
use anyhow::{Context, ensure};
use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// The crate that ships Bitcoin Core's source, and its version: cargo fetches it and checks what it got.
const SOURCE_CRATE: &str = "libbitcoinkernel-sys";
const SOURCE_VERSION: &str = "0.4.1";

/// A node without wallet, tools, tests and benchmarks. Little optimisation, and eight files at a time, whose headers
/// are read once: either halves the time to build it, and regtest asks for little.
const OPTIONS: [&str; 16] = [
    "-DCMAKE_UNITY_BUILD=ON",
    "-DCMAKE_UNITY_BUILD_BATCH_SIZE=8",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
    "-DCMAKE_C_FLAGS_RELEASE=-O2",
    "-DENABLE_WALLET=OFF",
    "-DENABLE_IPC=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
    "-DBUILD_DAEMON=ON",
    "-DBUILD_CLI=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DBUILD_BITCOIN_BIN=OFF",
    "-DBUILD_GUI=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
];

/// Run at the end of the source's own configuration: files that define names which others beside them define, too,
/// are compiled alone.
const ALONE: &str = "\
cmake_language(DEFER CALL set_source_files_properties src/index/coinstatsindex.cpp src/node/chainstate.cpp
  DIRECTORY src PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
";

/// The executable of a node: what `BITCOIND_EXE` names, else `bitcoind` on the path, else the cached one, else one
/// that is built now.
pub(crate) fn ensure() -> anyhow::Result<PathBuf> {
    if let Some(named) = env::var_os("BITCOIND_EXE") {
        let named = PathBuf::from(named);
        ensure!(runs(&named), "BITCOIND_EXE={} does not run", named.display());
        return Ok(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|folder| folder.join("bitcoind")).find(|program| runs(program)) {
        return Ok(found);
    }
    let cache = cache_folder()?.join("taproof");
    let program = cache.join(format!("bitcoind-{SOURCE_VERSION}")).join("bitcoind");
    if !runs(&program) {
        build(&cache, &program)?;
        ensure!(runs(&program), "{} was built and does not run", program.display());
    }
    Ok(program)
}

fn runs(program: &Path) -> bool {
    program.is_absolute() && tools::works(program, &["-version"])
}

/// The folder of the system's conventions for what can be made again.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let at_home = || env::home_dir().map(|home| home.join(".cache"));
    named.or_else(at_home).context("there is no home folder to keep bitcoind in: set XDG_CACHE_HOME, or BITCOIND_EXE")
}

/// Builds beside the place that the program is moved to at last, so that a build that is killed leaves no half
/// program there.
fn build(cache: &Path, program: &Path) -> anyhow::Result<()> {
    eprintln!(
        "xtask: no bitcoind is named by BITCOIND_EXE or found on the path: building one, about 6 minutes of two cores"
    );
    let kept = program.parent().context("the program lies in a folder")?;
    fs::create_dir_all(kept).with_context(|| format!("{} cannot be made", kept.display()))?;
    let lock = File::create(kept.join("lock")).context("the lock of the cache cannot be made")?;
    lock.lock().context("the lock of the cache cannot be taken")?;
    if runs(program) {
        return Ok(());
    }
    ensure_tools()?;
    // What an earlier build left may end in the middle of an object file.
    let scratch = cache.join(format!("bitcoind-{SOURCE_VERSION}.build"));
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("{} cannot be removed", scratch.display()))?;
    }
    let source = fetch_source(&scratch.join("fetch"))?;
    let tree = scratch.join("tree");
    let alone = scratch.join("alone.cmake");
    fs::write(&alone, ALONE).with_context(|| format!("{} cannot be written", alone.display()))?;
    let mut include = OsString::from("-DCMAKE_PROJECT_BitcoinCore_INCLUDE=");
    include.push(&alone);
    run(to_stderr(Command::new("cmake").arg("-S").arg(source).arg("-B").arg(&tree).args(OPTIONS).arg(include)))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let jobs = ["--target", "bitcoind", "--parallel", &jobs];
    run(to_stderr(nice("cmake").arg("--build").arg(&tree).args(jobs)))?;
    let built = tree.join("bin/bitcoind");
    fs::rename(&built, program)
        .with_context(|| format!("{} cannot be moved to {}", built.display(), program.display()))?;
    fs::remove_dir_all(&scratch).with_context(|| format!("{} cannot be removed", scratch.display()))
}

fn ensure_tools() -> anyhow::Result<()> {
    tools::ensure_native_compiler()?;
    if !tools::works("cmake", &["--version"]) {
        tools::install_debian(&["cmake"], "CMake")?;
    }
    let include_boost = ["-E", "-x", "c++", "-include", "boost/multi_index_container.hpp", "/dev/null"];
    if !tools::works("c++", &include_boost) {
        tools::install_debian(&["libboost-dev"], "Boost's headers")?;
    }
    Ok(())
}

/// Has cargo fetch the source, as a dependency of an empty crate in this folder, and tells where it lies.
fn fetch_source(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder.join("src")).with_context(|| format!("{} cannot be made", folder.display()))?;
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \
         \"2024\"\n\n[workspace]\n\n[dependencies]\n{SOURCE_CRATE} = \"={SOURCE_VERSION}\"\n"
    );
    fs::write(&manifest, text).with_context(|| format!("{} cannot be written", manifest.display()))?;
    fs::write(folder.join("src/lib.rs"), "").context("an empty file cannot be written")?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(&manifest).current_dir(folder);
    eprintln!("xtask: {command:?}");
    let output = command.stderr(io::stderr()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "{SOURCE_CRATE} {SOURCE_VERSION} could not be fetched: {}", output.status);
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo's metadata is no JSON")?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let package = packages.iter().find(|package| package["name"] == SOURCE_CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    Ok(folder.with_context(|| format!("cargo does not tell where {SOURCE_CRATE} lies"))?.join("bitcoin"))
}

/// Standard output is for the program's path alone.
fn to_stderr(command: &mut Command) -> &mut Command {
    command.stdout(io::stderr())
}
