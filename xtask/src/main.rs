//! Development tasks: `cargo xtask test` runs everything that CI runs.
#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use clap::Parser;
use std::process::Command;

#[derive(Parser)]
#[command(about = "Development tasks of Taproof")]
enum Task {
    /// Runs every check and test, installing what is missing.
    Test,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test => test(),
    }
}

fn test() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["test", "--workspace", "--all-targets"])
}

/// Runs cargo and fails if it does.
fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO")).args(arguments).status().context("cargo could not be started")?;
    ensure!(status.success(), "`cargo {}` failed: {status}", arguments.join(" "));
    Ok(())
}
