//! A command line: how it is parsed, and what is wrong with it, told as text, or as JSON where that is asked for.

use clap::{
    Arg, Command, FromArgMatches,
    builder::ValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{
    error::Error,
    ffi::OsString,
    num::{ParseFloatError, ParseIntError},
    process::ExitCode,
};

/// The exit code of a wrong command line.
const USAGE: u8 = 2;
/// The exit code of a wrong command line of rapidsnark's, which has no other for any failure.
const USAGE_OF_RAPIDSNARK: u8 = 1;
/// The greatest numbers that options of any kind may take, the greatest first.
const GREATEST: [u64; 5] = [u64::MAX, i64::MAX as u64, u32::MAX as u64, u16::MAX as u64, u8::MAX as u64];

/// Parses a command line.
pub(super) fn parse<C: FromArgMatches>(command: Command, arguments: &[OsString]) -> Result<C, clap::Error> {
    let mut command = with_negative_numbers(command);
    let matches = command.try_get_matches_from_mut(arguments);
    let parsed = matches.and_then(|matches| C::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    parsed.map_err(|error| in_words(error, &command, arguments))
}

/// Lets every argument have a negative number for its value, so that it is refused as that and not as an unknown
/// option.
fn with_negative_numbers(command: Command) -> Command {
    let allow = |arg: Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(allow).mut_subcommands(with_negative_numbers)
}

/// The same error, with the numbers that are wanted in place of a library's words for one that is none.
fn in_words(error: clap::Error, command: &Command, arguments: &[OsString]) -> clap::Error {
    let source = error.source().filter(|_| error.kind() == ErrorKind::ValueValidation);
    let Some(source) = source else { return error };
    let told = source.to_string();
    let words = if source.is::<ParseFloatError>() {
        "a number is wanted, such as 1.5".to_owned()
    } else if source.is::<ParseIntError>() || told.contains(OUT_OF_RANGE) || told.contains("parse integer") {
        let range = argument(&error, command, arguments).map(|argument| range(argument.get_value_parser()));
        range.map_or("a whole number is wanted".to_owned(), |(least, greatest)| {
            format!("a whole number from {least} to {greatest} is wanted")
        })
    } else {
        return error;
    };
    let text = error.render().to_string();
    let Some((start, end)) = text.rsplit_once(&told) else { return error };
    let message = format!("{start}{words}{end}");
    clap::Error::raw(error.kind(), message.trim_start_matches("error: "))
}

/// How clap says that a number is in none of an argument's bounds.
const OUT_OF_RANGE: &str = " is not in ";

/// The argument whose value an error is about.
fn argument<'a>(error: &clap::Error, command: &'a Command, arguments: &[OsString]) -> Option<&'a Arg> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) else { return None };
    let words = arguments.iter().filter_map(|argument| argument.to_str());
    let command = words.fold(command, |command, word| command.find_subcommand(word).unwrap_or(command));
    command.get_arguments().find(|argument| argument.to_string() == *name)
}

/// The least and the greatest number that an argument takes, as its own parser tells.
fn range(parser: &ValueParser) -> (String, String) {
    let refusal = |number: u64| {
        let probe = Arg::new("number").value_parser(parser.clone());
        let probe = Command::new("probe").no_binary_name(true).arg(probe);
        let refused = probe.try_get_matches_from([number.to_string()]).err()?;
        Some(refused.source().map(ToString::to_string).unwrap_or_default())
    };
    let stated = GREATEST.into_iter().filter_map(refusal).find_map(|told| {
        let (_, range) = told.split_once(OUT_OF_RANGE)?;
        let (least, greatest) = range.split_once("..=")?;
        Some((least.to_owned(), greatest.to_owned()))
    });
    stated.unwrap_or_else(|| {
        let least = u64::from(refusal(0).is_some());
        let greatest = GREATEST.into_iter().find(|number| refusal(*number).is_none()).unwrap_or(u64::MAX);
        (least.to_string(), greatest.to_string())
    })
}

/// Prints what is wrong with a command line, or the help or version that it asks for, and gives the exit code.
pub(super) fn report(error: &clap::Error, command: Command, arguments: &[OsString]) -> ExitCode {
    let is_json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let exit_code = if error.use_stderr() { exit_code(command, arguments) } else { 0 };
    if is_json && error.use_stderr() {
        eprintln!("{}", json(error, exit_code));
    } else {
        // Nobody is left to tell if the output is gone.
        let _ = error.print();
    }
    ExitCode::from(exit_code)
}

/// The exit code of a wrong command line: the command's own, for one that takes another program's place.
fn exit_code(command: Command, arguments: &[OsString]) -> u8 {
    let matches = command.ignore_errors(true).try_get_matches_from(arguments).ok();
    match matches.as_ref().and_then(|matches| matches.subcommand_name()) {
        Some("rapidsnark") => USAGE_OF_RAPIDSNARK,
        _ => USAGE,
    }
}

fn json(error: &clap::Error, exit_code: u8) -> serde_json::Value {
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
    serde_json::json!({ "error": message.join(" "), "advice": advice, "exit_code": exit_code })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// Words of libraries, which say nothing to who types a command.
    const RAW: [&str; 18] = [
        "invalid digit",
        "too large to fit",
        "too small to fit",
        "cannot parse integer",
        "is not in",
        "invalid float",
        "invalid string length",
        "invalid length",
        "odd number of digits",
        "odd length",
        "hex string",
        "bech32",
        "base58",
        "malformed",
        "invalid character",
        "failed to parse",
        "parse error",
        "utf-8",
    ];

    fn error_of(arguments: &[&str]) -> clap::Error {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse::<Cli>(Cli::command(), &arguments).map(|_| ()).expect_err("it is refused")
    }

    /// Every argument that takes a value, with the words that lead to it.
    fn arguments(command: &Command, path: &[String], found: &mut Vec<(Vec<String>, Arg)>) {
        let own = command.get_arguments().filter(|argument| argument.get_action().takes_values());
        found.extend(own.map(|argument| (path.to_vec(), argument.clone())));
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            arguments(inner, &[path, &[inner.get_name().to_owned()]].concat(), found);
        }
    }

    #[test]
    fn no_value_of_any_option_is_refused_in_a_librarys_words() {
        let fresh = Cli::command();
        let mut command = fresh.clone();
        command.build();
        let mut found = Vec::new();
        arguments(&command, &["taproof".to_owned()], &mut found);
        assert!(found.len() > 150, "{} arguments take a value", found.len());
        let digits = "5e".repeat(32);
        let outpoint = format!("{}:0", &digits[1..]);
        let values = [
            "",
            "-1",
            "abc",
            "1.5",
            "18446744073709551616",
            &digits,
            &digits[1..],
            &outpoint,
            "\u{fc}",
            "bcrt1qxyz",
            "0011223",
        ];
        let mut refused = 0;
        for (path, argument) in found {
            for value in values {
                let mut line = path.clone();
                match argument.get_long() {
                    Some(long) => line.push(format!("--{long}={value}")),
                    None => line.push(value.to_owned()),
                }
                let line: Vec<OsString> = line.iter().map(OsString::from).collect();
                let Err(error) = parse::<Cli>(fresh.clone(), &line) else { continue };
                if error.kind() != ErrorKind::ValueValidation {
                    continue;
                }
                refused += 1;
                let told = error.render().to_string();
                let told = told.lines().next().unwrap_or_default().to_lowercase();
                let raw = RAW.into_iter().find(|raw| told.contains(raw));
                assert_eq!(raw, None, "{line:?}: {told}");
            }
        }
        assert!(refused > 400, "{refused} values are refused");
    }

    #[test]
    fn numbers_are_told_with_the_bounds_that_are_meant() {
        for (line, told) in [
            (
                &["tx", "transfer", "--amount", "-1"][..],
                "'-1' for '--amount <SAT>': a whole number from 0 to 18446744073709551615",
            ),
            (&["tx", "transfer", "--amount="], "'' for '--amount <SAT>': a whole number from 0 to"),
            (
                &["tx", "transfer", "--nonce", "4294967296"],
                "'--nonce <N>': a whole number from 0 to 4294967295 is wanted",
            ),
            (&["tx", "transfer", "--nonce", "18446744073709551616"], "a whole number from 0 to 4294967295 is wanted"),
            (&["setup", "--depth", "0"], "'--depth <LEVELS>': a whole number from 1 to 10 is wanted"),
            (&["setup", "--depth", "99999999999999999999"], "a whole number from 1 to 10 is wanted"),
            (&["setup", "--slots", "0"], "a whole number from 1 to 65535 is wanted"),
            (&["prove", "x", "--at-once", "abc"], "a whole number from 1 to 18446744073709551615 is wanted"),
            (&["regtest", "mine", "-1"], "'-1' for '<BLOCKS>': a whole number from 1 to 10000 is wanted"),
            (&["bench", "--regression", "abc"], "a number is wanted, such as 1.5"),
            (&["account", "abc"], "64 hexadecimal digits are wanted, and there are 3; or a key of the wallet"),
            (&["setup", "--seed", "00"], "64 hexadecimal digits are wanted, and there are 2"),
            (&["setup", "--magic", "0011223"], "8 hexadecimal digits are wanted, and there are 7"),
        ] {
            let error = error_of(&[&["taproof"], line].concat());
            let text = error.render().to_string();
            assert!(text.contains(told), "{line:?}: {text}");
            assert!(text.starts_with("error: invalid value") && text.contains("--help"), "{line:?}: {text}");
        }
    }

    #[test]
    fn rapidsnarks_command_line_has_rapidsnarks_exit_code() {
        for (line, expected) in [
            (&["rapidsnark", "a"][..], 1),
            (&["rapidsnark", "a", "b", "c", "d", "e"], 1),
            (&["--dir", "x", "rapidsnark"], 1),
            (&["rapidsnark", "a", "b", "c", "--nonsense"], 1),
            (&["prove"], 2),
            (&["verify", "rapidsnark", "--nonsense"], 2),
            (&["nonsense"], 2),
        ] {
            let line: Vec<OsString> = [&["taproof"], line].concat().iter().map(OsString::from).collect();
            assert!(parse::<Cli>(Cli::command(), &line).is_err(), "{line:?}");
            assert_eq!(exit_code(Cli::command(), &line), expected, "{line:?}");
        }
    }
}
