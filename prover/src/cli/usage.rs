//! A command line that is wrong: told as text, or as JSON where that is asked for.

use clap::error::ErrorKind;
use std::{ffi::OsString, process::ExitCode};

/// The exit code of a wrong command line.
const USAGE: u8 = 2;

/// Prints what is wrong with a command line, or the help or version that it asks for, and gives the exit code.
pub(super) fn report(error: &clap::Error, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let is_json = arguments.into_iter().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if is_json && error.use_stderr() {
        eprintln!("{}", json(error));
    } else {
        // Nobody is left to tell if the output is gone.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
}

fn json(error: &clap::Error) -> serde_json::Value {
    let text = error.render().to_string();
    let (message, usage) = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ("a command or a value is missing", text.as_str()),
        _ => text.split_once("\n\nUsage:").unwrap_or((&text, "")),
    };
    let message = message.trim().trim_start_matches("error: ");
    let message: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let usage = usage.rsplit_once("Usage:").map_or(usage, |(_, usage)| usage);
    let usage = usage.lines().map(str::trim).find(|line| !line.is_empty());
    let advice = usage.map(|usage| format!("usage: {usage}; --help says more"));
    serde_json::json!({ "error": message.join(" "), "advice": advice, "exit_code": USAGE })
}
