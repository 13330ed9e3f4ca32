//! The commands: each parses its arguments, calls the library and reports.

mod account;
mod anchor;
mod batch;
mod bench;
mod bridge;
mod coins;
mod completions;
mod console;
mod data_dir;
mod demo;
mod environment;
mod export;
mod failure;
mod follow;
mod foreign;
mod foreign_verify;
mod form;
mod import_block;
mod in_line;
mod input;
mod inspect;
mod join;
mod light;
mod node_advice;
mod node_options;
mod output;
mod overview;
mod path_text;
mod prove;
mod psbt;
mod rapidsnark;
mod rebuild;
mod regtest;
mod session;
mod setup;
mod shown_cell;
mod tx;
mod upgrade;
mod usage;
mod values;
mod wallet;

use clap::{Args, CommandFactory, Parser, Subcommand};
use console::Console;
use data_dir::DataDir;
use failure::{EXIT_CODES, Exit, Failure};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};
use taproof_arith::Backend;

/// A zk-rollup prover pipeline for Bitcoin.
///
/// Circuits encode state transitions, a parallel prover turns batches of transactions into Groth16 proofs, and anyone
/// who has Bitcoin's blocks can check every state root and rebuild the whole state.
#[derive(Debug, Parser)]
#[command(name = "taproof", version, after_long_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The folder that holds the rollup's parameters, keys, ledger, batches, proofs and anchors; .taproof if not given.
    #[arg(long, global = true, env = "TAPROOF_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Reports as JSON, one line, on standard output, by every command that reports; on standard error all lines are
    /// JSON as well.
    ///
    /// There they are {"error", "advice", "exit_code"}, {"warning"} and {"note"}. A report goes there, too, where a
    /// file that the command writes is standard output. Names that are no UTF-8 have the replacement character for
    /// what is none. `completions`, `--help` and `--version` print text.
    #[arg(long, global = true)]
    json: bool,
    /// Shows no progress.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// The instructions that proving and setup use, portable, avx2 or ifma; the fastest that the processor has if not
    /// given.
    #[arg(long, global = true, env = Backend::VARIABLE, value_name = "NAME", hide_env_values = true)]
    backend: Option<Backend>,
}

impl Global {
    /// Makes the process use the back end that was named.
    fn force_backend(&self) -> failure::Result {
        let forced = self.backend.map_or(Ok(()), Backend::force);
        forced.map_err(|error| {
            Failure::of(Exit::Input, error).advise("name portable, or none to use the fastest there is")
        })
    }

    fn console(&self) -> Console {
        Console::new(self.json, self.quiet)
    }

    fn data_dir(&self) -> DataDir {
        DataDir::new(self.dir.clone().unwrap_or_else(|| PathBuf::from(".taproof")))
    }

    /// The data directory that the user named, if any.
    fn named_dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The same options for another data directory.
    fn in_dir(&self, dir: PathBuf) -> Self {
        Self { dir: Some(dir), ..self.clone() }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Wallet(wallet::WalletCommand),
    Setup(Box<setup::Setup>),
    Join(join::Join),
    Tx(tx::TxCommand),
    Batch(batch::BatchCommand),
    Prove(Box<prove::Prove>),
    Rapidsnark(rapidsnark::Rapidsnark),
    Verify(prove::Verify),
    Anchor(Box<anchor::Anchor>),
    Follow(follow::Follow),
    Status(overview::Status),
    Report(overview::Report),
    Rebuild(rebuild::Rebuild),
    Account(account::Account),
    ProveAccount(account::ProveAccount),
    VerifyAccount(account::VerifyAccount),
    Export(export::Export),
    Inspect(inspect::Inspect),
    ImportBlock(import_block::ImportBlock),
    ImportZkey(foreign::ImportZkey),
    Regtest(regtest::Regtest),
    Bridge(bridge::BridgeCommand),
    Upgrade(upgrade::UpgradeCommand),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

/// An element as the reports write it: its 32 bytes, little-endian, in hexadecimal.
fn element_text(element: &ark_bn254::Fr) -> String {
    hex::encode(taproof_verifier::field::to_bytes(element))
}

/// Parses the command line, runs the command and reports a failure.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    if let Some(exit_code) = rapidsnark::main_by_name(arguments.iter().cloned()) {
        return exit_code;
    }
    let Cli { global, command } = match usage::parse::<Cli>(Cli::command(), &arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, Cli::command(), &arguments),
    };
    // It takes the place of another program, which has one code for all failures.
    let is_rapidsnark = matches!(command, Command::Rapidsnark(_));
    let run = || match command {
        Command::Demo(command) => command.run(&global),
        Command::Wallet(command) => command.run(&global),
        Command::Setup(command) => command.run(&global),
        Command::Join(command) => command.run(&global),
        Command::Tx(command) => command.run(&global),
        Command::Batch(command) => command.run(&global),
        Command::Prove(command) => command.run(&global),
        Command::Rapidsnark(command) => command.run(&global),
        Command::Verify(command) => command.run(&global),
        Command::Anchor(command) => command.run(&global),
        Command::Follow(command) => command.run(&global),
        Command::Status(command) => command.run(&global),
        Command::Report(command) => command.run(&global),
        Command::Rebuild(command) => command.run(&global),
        Command::Account(command) => command.run(&global),
        Command::ProveAccount(command) => command.run(&global),
        Command::VerifyAccount(command) => command.run(&global),
        Command::Export(command) => command.run(&global),
        Command::Inspect(command) => command.run(&global),
        Command::ImportBlock(command) => command.run(&global),
        Command::ImportZkey(command) => command.run(&global),
        Command::Regtest(command) => command.run(&global),
        Command::Bridge(command) => command.run(&global),
        Command::Upgrade(command) => command.run(&global),
        Command::Bench(command) => command.run(&global),
        Command::Completions(command) => command.run(),
    };
    match global.force_backend().and_then(|()| run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_rapidsnark => failure.with_exit(Exit::Failed).report(global.json),
        Err(failure) => failure.report(global.json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_the_exit_codes_are_documented() {
        let mut cli = Cli::command();
        assert!(cli.render_long_help().to_string().contains("Exit codes:"));
        // Building adds the `help` command, which clap documents itself.
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("taproof "), "`{}` shows no example", command.get_name());
        }
    }

    /// The lines of a command's help, and of that of the commands below it, that are wider than 80 columns.
    fn wide_lines(command: &mut clap::Command, examples: &mut usize) -> Vec<String> {
        let texts = [command.get_after_help(), command.get_after_long_help()].map(|text| text.map(ToString::to_string));
        let unwrapped = texts.iter().flatten().flat_map(|text| text.lines()).filter(|line| line.starts_with("  "));
        let unwrapped: Vec<String> = unwrapped.map(str::to_owned).collect();
        *examples += unwrapped.len();
        // Prose is wrapped; what would have to be wrapped of an example is no example.
        let shown = command.clone().term_width(80).render_long_help().to_string();
        let lines = unwrapped.into_iter().chain(shown.lines().map(str::to_owned));
        let mut wide: Vec<String> = lines.filter(|line| line.chars().count() > 80).collect();
        command.get_subcommands_mut().for_each(|command| wide.extend(wide_lines(command, examples)));
        wide
    }

    #[test]
    fn help_fits_into_80_columns() {
        let mut examples = 0;
        assert_eq!(wide_lines(&mut Cli::command(), &mut examples), [""; 0], "break examples with a backslash");
        assert!(examples > 80, "{examples} lines of examples were seen");
    }
}
