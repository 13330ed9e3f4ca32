//! The commands: each parses its arguments, calls the library and reports.

mod account;
mod anchor;
mod batch;
mod bench;
mod bridge;
mod clause;
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
mod known;
mod light;
mod node_advice;
mod node_options;
mod offer;
mod output;
mod overview;
mod path_text;
mod pool;
mod prove;
mod psbt;
mod rapidsnark;
mod rebuild;
mod regtest;
mod session;
mod setup;
mod shown_cell;
mod steps;
mod swap;
mod token;
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
use taproof_circuits::step::Machines;

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
    /// Prints the report as one line of JSON on standard output; the lines on standard error are JSON as well.
    ///
    /// Those on standard error are {"error", "advice", "exit_code"}, {"warning"} and {"note"}. Where a file that the
    /// command writes goes to standard output, the report goes to standard error. In names that are not UTF-8,
    /// replacement characters stand for the bytes that are not. `completions`, `--help` and `--version` print text.
    #[arg(long, global = true)]
    json: bool,
    /// Shows no progress.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Which instructions proving and setup use: portable, avx2 or ifma. If not given, the fastest that the processor
    /// has.
    #[arg(long, global = true, env = Backend::VARIABLE, value_name = "NAME", hide_env_values = true)]
    backend: Option<Backend>,
    /// The machines whose steps it proves.
    #[arg(skip)]
    machines: Machines,
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

    /// The machines whose steps are known.
    fn machines(&self) -> &Machines {
        &self.machines
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
    Token(Box<token::TokenCommand>),
    Pool(Box<pool::PoolCommand>),
    Swap(Box<swap::Swap>),
    Offer(Box<offer::OfferCommand>),
    Steps(Box<steps::Steps>),
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

/// Parses the command line of this process, runs the command and reports a failure. Steps are those of the machines.
pub fn main(machines: Machines) -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    if let Some(exit_code) = rapidsnark::main_by_name(arguments.iter().cloned()) {
        return exit_code;
    }
    let Cli { mut global, command } = match usage::parse::<Cli>(Cli::command(), &arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, Cli::command(), &arguments),
    };
    global.machines = machines;
    // It takes the place of another program, which has one code for all failures.
    let is_rapidsnark = matches!(command, Command::Rapidsnark(_));
    let run = || match command {
        Command::Demo(command) => command.run(&global),
        Command::Wallet(command) => command.run(&global),
        Command::Setup(command) => command.run(&global),
        Command::Join(command) => command.run(&global),
        Command::Tx(command) => command.run(&global),
        Command::Token(command) => command.run(&global),
        Command::Pool(command) => command.run(&global),
        Command::Swap(command) => command.run(&global),
        Command::Offer(command) => command.run(&global),
        Command::Steps(command) => command.run(&global),
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

    /// The lines of texts below options that stand after another of the same paragraph. Terminals differ in width, so
    /// paragraphs are filled when they are shown.
    fn filled_lines(command: &mut clap::Command) -> Vec<String> {
        let texts = [command.get_after_help(), command.get_after_long_help()].map(|text| text.map(ToString::to_string));
        let mut filled = Vec::new();
        for text in texts.iter().flatten() {
            let is_prose = |line: &str| line.starts_with(|letter: char| !letter.is_whitespace());
            let lines: Vec<&str> = text.lines().collect();
            let pairs = lines.windows(2).filter(|pair| is_prose(pair[0]) && is_prose(pair[1]));
            filled.extend(pairs.map(|pair| format!("{}: {}", command.get_name(), pair[1])));
        }
        command.get_subcommands_mut().for_each(|command| filled.extend(filled_lines(command)));
        filled
    }

    #[test]
    fn paragraphs_of_help_are_one_line_each() {
        assert_eq!(filled_lines(&mut Cli::command()), [""; 0], "end lines of the source with a backslash");
    }

    /// What a document calls `taproof` with, in code: each call's words.
    fn calls(text: &str) -> Vec<Vec<String>> {
        let (mut code, mut prose, mut is_code) = (Vec::new(), String::new(), false);
        for line in text.lines() {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            if is_code || line.starts_with("    taproof ") {
                code.push(line.to_owned());
            } else if !is_fence {
                prose = prose + line + " ";
            }
        }
        code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
        let mut calls = Vec::new();
        for piece in &code {
            for (start, name) in piece.match_indices("taproof ") {
                // At the start of a command: `cargo test -p taproof` is none.
                let before = piece[..start].trim_end();
                if before.is_empty() || before.ends_with(['$', '(', '&', '|', ';']) {
                    let call = &piece[start + name.len()..];
                    let end = call.find(['#', '|', '&', ';', ')', '>', '<']).unwrap_or(call.len());
                    calls.push(call[..end].split_whitespace().map(str::to_owned).collect());
                }
            }
        }
        calls
    }

    /// Why there is no such call, if there is none.
    fn wrong_call(cli: &clap::Command, call: &[impl AsRef<str>]) -> Option<String> {
        let mut command = cli;
        let call: Vec<&str> = call.iter().map(AsRef::as_ref).collect();
        let mut words = call.iter().copied().peekable();
        while let Some(below) = words.peek().and_then(|word| command.find_subcommand(word)) {
            (command, _) = (below, words.next());
        }
        let is_name = |word: &str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
        if let Some(word) = words.peek().filter(|word| is_name(word) && !word.starts_with('-'))
            && command.has_subcommands()
        {
            return Some(format!("{call:?}: {} has no {word}", command.get_name()));
        }
        let known = |name: &str| command.get_arguments().any(|argument| argument.get_long() == Some(name));
        let options = words.filter_map(|word| word.strip_prefix("--"));
        let mut names = options.map(|option| option.split(['=', ',', '.']).next().unwrap_or_default());
        let unknown = names.find(|name| !name.is_empty() && !known(name))?;
        Some(format!("{call:?}: {} has no --{unknown}", command.get_name()))
    }

    #[test]
    fn documents_call_commands_and_options_that_there_are() {
        let mut cli = Cli::command();
        cli.build();
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let pages = std::fs::read_dir(top.join("docs")).expect("documents").map(|page| page.expect("a page").path());
        let pages = pages.chain(["README.md", "CHANGELOG.md"].map(|name| top.join(name)));
        let (mut count, mut wrong) = (0, Vec::new());
        for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
            let text = std::fs::read_to_string(&page).expect("text");
            let calls = calls(&text);
            count += calls.len();
            let wrong_calls = calls.iter().filter_map(|call| wrong_call(&cli, call));
            wrong.extend(wrong_calls.map(|call| format!("{}: {call}", page.display())));
        }
        assert_eq!(wrong, [""; 0]);
        assert!(count > 200, "{count} calls were seen");
        for call in [&["walet", "new"][..], &["wallet", "knew"], &["setup", "--magic"], &["bridge", "send", "--to=1"]] {
            assert!(wrong_call(&cli, call).is_some(), "{call:?}");
        }
    }

    #[test]
    fn help_fits_into_80_columns() {
        let mut examples = 0;
        assert_eq!(wide_lines(&mut Cli::command(), &mut examples), [""; 0], "break examples with a backslash");
        assert!(examples > 80, "{examples} lines of examples were seen");
    }
}
