//! `taproof inspect`.

mod bitcoin_files;
pub(crate) mod circom;
mod circuits;
mod iden3;
mod json;
mod rollup;
mod stores;
mod subject;

use super::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use subject::Subject;
use taproof_base::{
    artefact::{self, ArtefactKind},
    shown,
};
use taproof_bitcoin::bridge::signer_key::SignerKeys;
use taproof_verifier::program::Program;
use taproof_wallet::Phrase;

/// Says what a file is and what it holds, or counts the circuits.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  taproof inspect .taproof/anchors/0.json
  taproof inspect circuit.zkey
  taproof inspect - < payout.psbt
  taproof inspect circuits --depth 10 --json

Of entries of a file that are no transactions 20 are shown, and of public inputs the first: in JSON, 1,024 of them.")]
pub(crate) struct Inspect {
    #[command(subcommand)]
    action: Option<Action>,
    /// Any file that taproof writes, also for other programs, or a raw Bitcoin block; - is standard input.
    #[arg(required = true)]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    Circuits(circuits::Circuits),
}

/// One line of a report for people.
pub(crate) type Line = (&'static str, String);

/// What a file holds: for programs, and for people.
struct Finding {
    value: Value,
    lines: Vec<Line>,
}

impl Finding {
    fn new(format: &'static str, report: &impl Serialize, lines: Vec<Line>) -> Result<Self> {
        let mut value = serde_json::to_value(report)?;
        value["format"] = format.into();
        let lines = std::iter::once(("format", format.to_owned())).chain(lines).collect();
        Ok(Self { value, lines })
    }
}

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> Result {
        match (self.action, self.file) {
            (Some(Action::Circuits(circuits)), _) => circuits.run(global),
            (None, Some(file)) => {
                let finding = inspect(&file)?;
                global.console().report(&finding.value, |_| text(&finding.lines))
            }
            (None, None) => Err(Failure::new(Exit::Usage, "nothing to inspect").advise("name a file")),
        }
    }
}

fn text(lines: &[Line]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let lines: Vec<String> =
        lines.iter().map(|(name, value)| format!("{name:width$}{}", shown::one_line(value))).collect();
    lines.join("\n")
}

/// A format that a file's first bytes tell.
#[derive(Clone, Copy)]
enum Start {
    Chain,
    Key,
    Store,
    Iden3(iden3::Format),
    Artefact,
}

impl Start {
    fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(&bitcoin::Network::Regtest.magic().to_bytes()) {
            Some(Self::Chain)
        } else if start.starts_with(b"taproofk") {
            Some(Self::Key)
        } else if start.starts_with(b"redb") {
            Some(Self::Store)
        } else if start.starts_with(&artefact::MAGIC) {
            Some(Self::Artefact)
        } else {
            iden3::Format::of(start).map(Self::Iden3)
        }
    }
}

/// The name of a file's format, by its first bytes or, where those do not tell, by what it holds; `None` for what is
/// of none.
pub(crate) fn format(path: &Path) -> Option<String> {
    let subject = Subject::open(path).ok()?;
    let start = subject.start();
    let name = match Start::of(start) {
        Some(Start::Chain) => "regtest chain",
        Some(Start::Key) => "proving key",
        Some(Start::Store) => "store",
        Some(Start::Iden3(format)) => format.name(),
        Some(Start::Artefact) => {
            let kind = start.get(artefact::MAGIC.len()).and_then(|number| ArtefactKind::from_number(*number));
            kind.map_or("a file of a rollup", ArtefactKind::name)
        }
        None => return inspect(path).ok()?.value["format"].as_str().map(str::to_owned),
    };
    Some(name.to_owned())
}

/// Tells a file's format by what it holds.
fn inspect(path: &Path) -> Result<Finding> {
    let subject = Subject::open(path)?;
    if subject.start().is_empty() {
        return empty(path);
    }
    let in_file = |failure: Failure| failure.context(path.display());
    match Start::of(subject.start()) {
        Some(Start::Chain) => return bitcoin_files::chain(subject.named()?),
        Some(Start::Key) => return rollup::key(subject.named()?),
        Some(Start::Store) => return stores::store(subject.named()?),
        Some(Start::Iden3(format)) => return iden3::file(format, &subject),
        Some(Start::Artefact) => return rollup::artefact(&subject.bytes()?).map_err(in_file),
        None => {}
    }
    let bytes = subject.bytes()?;
    if let Ok(program) = Program::from_bytes(&bytes) {
        return rollup::program(&program);
    }
    if taproof_wallet::is_encrypted(&bytes) {
        let holds = "words, or whatever else a password opens".to_owned();
        return Finding::new("encrypted wallet words", &serde_json::json!({}), vec![("holds", holds)]);
    }
    let found = match text_file(&bytes, path)? {
        None => bitcoin_files::binary(&bytes).map_err(in_file)?,
        found => found,
    };
    found.ok_or_else(|| unknown(path))
}

/// A file with nothing in it, which the lock of a service is.
fn empty(path: &Path) -> Result<Finding> {
    if path.extension().is_some_and(|extension| extension == "lock") {
        let holds = "nothing: who runs has it locked".to_owned();
        return Finding::new("lock", &serde_json::json!({}), vec![("holds", holds)]);
    }
    Err(Failure::new(Exit::Input, format!("{} is empty", path.display())))
}

fn unknown(path: &Path) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{} is of no format that taproof knows", path.display()));
    failure.advise("it may be damaged at its start, or written by a newer release")
}

/// A file of text, if it is one of those that are known.
fn text_file(bytes: &[u8], path: &Path) -> Result<Option<Finding>> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(None) };
    // Before JSON, whose lists begin as keys with an origin do.
    if let Some(keys) = SignerKeys::from_lines(text).ok().filter(|keys| !keys.is_empty()) {
        let keys: Vec<String> = keys.to_lines().lines().map(str::to_owned).collect();
        let lines = keys.iter().map(|key| ("key", key.clone())).collect();
        return Finding::new("bridge keys", &serde_json::json!({ "keys": keys }), lines).map(Some);
    }
    if text.trim_start().starts_with(['{', '[']) {
        return json::file(text).map_err(|failure| failure.context(path.display()));
    }
    if text.starts_with("<!doctype html>") && text.contains("<h1>Rollup ") {
        return report(text, "report").map(Some);
    }
    if text.starts_with("<!doctype html>") && text.contains("<svg class=\"clearing\"") {
        return report(text, "market page").map(Some);
    }
    if let Some(finding) = circom::text(text)? {
        return Ok(Some(finding));
    }
    match Phrase::parse(text) {
        Ok(phrase) => words(&phrase, path).map(Some),
        Err(_) => bitcoin_files::hexadecimal(text.trim()),
    }
}

/// The words of a wallet, of which nothing is shown but their number.
fn words(phrase: &Phrase, path: &Path) -> Result<Finding> {
    let count = phrase.reveal().split(' ').count();
    let is_private = subject::is_private(path).or_exit_while(Exit::Input, path.display().to_string())?;
    let report = serde_json::json!({ "words": count, "private": is_private });
    let readers = if is_private { "its owner alone" } else { "others as well: make it private (chmod 600)" };
    let lines = vec![("words", format!("{count}, which are not shown")), ("readable by", readers.to_owned())];
    Finding::new("wallet words", &report, lines)
}

/// A page that `taproof report` or `taproof demo defi` writes.
fn report(html: &str, format: &'static str) -> Result<Finding> {
    let title = html.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map_or("", |(title, _)| title);
    Finding::new(format, &serde_json::json!({ "title": title }), vec![("title", title.to_owned())])
}
