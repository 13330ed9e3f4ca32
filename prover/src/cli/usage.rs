//! A command line: how it is parsed, and what is wrong with it, told as text, or as JSON where that is asked for.

use super::{
    console::STDOUT,
    environment,
    failure::{Exit, Failure},
};
use clap::{
    Arg, Command, FromArgMatches,
    builder::ValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    num::ParseIntError,
    process::ExitCode,
};

/// The exit code of a wrong command line.
const USAGE: u8 = 2;
/// The exit code of a wrong command line of rapidsnark's, which has no other for any failure.
const USAGE_OF_RAPIDSNARK: u8 = 1;
/// The greatest numbers that options of any kind may take, the greatest first.
const GREATEST: [u64; 5] = [u64::MAX, i64::MAX as u64, u32::MAX as u64, u16::MAX as u64, u8::MAX as u64];

/// Parses a command line. Options that it does not name are taken from the environment.
pub(super) fn parse<C: FromArgMatches>(command: Command, arguments: &[OsString]) -> Result<C, clap::Error> {
    let mut command = with_set_variables(with_negative_numbers(command));
    let matches = command.try_get_matches_from_mut(arguments);
    let parsed = matches.and_then(|matches| C::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    if parsed.as_ref().is_err_and(|error| !error.use_stderr()) {
        return parsed;
    }
    environment::check().map_err(|wrong| clap::Error::raw(ErrorKind::ValueValidation, wrong + "\n"))?;
    parsed.map_err(|error| in_words(error, command, arguments))
}

/// Leaves out of account the variables that are set to nothing.
fn with_set_variables(command: Command) -> Command {
    let of_set = |arg: Arg| match arg.get_env() {
        Some(name) if !environment::is_set(name) => arg.env(None::<&'static str>),
        _ => arg,
    };
    command.mut_args(of_set).mut_subcommands(with_set_variables)
}

/// Lets every argument have a negative number for its value, so that it is refused as that and not as an unknown
/// option.
fn with_negative_numbers(command: Command) -> Command {
    let allow = |arg: Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(allow).mut_subcommands(with_negative_numbers)
}

/// The same error, with the numbers that are wanted in place of a library's words for one that is none, the variable in
/// place of the option where the value comes from it, and the usage of the whole command, not of what was given of it.
fn in_words(mut error: clap::Error, mut command: Command, arguments: &[OsString]) -> clap::Error {
    command.build();
    let named = named(&mut command, arguments);
    if error.get(ContextKind::Usage).is_some() {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(named.render_usage()));
    }
    if error.kind() != ErrorKind::ValueValidation {
        return error;
    }
    let argument = argument(&error, named);
    let text = error.render().to_string();
    let mut told = text.clone();
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    if is_out_of_range(&source) || source.contains("parse integer") || is_of_integer(&error) {
        let range = argument.map(|argument| range(argument.get_value_parser()));
        let words = range.map_or("a whole number is wanted".to_owned(), |(least, greatest)| {
            format!("a whole number from {least} to {greatest} is wanted")
        });
        if let Some((start, end)) = told.rsplit_once(&source) {
            told = format!("{start}{words}{end}");
        }
    }
    if let Some((option, variable)) = argument.and_then(|argument| Some((argument, argument.get_env()?)))
        && !is_given(option, arguments)
    {
        told = told.replacen(&format!("'{option}'"), &variable.to_string_lossy(), 1);
    }
    if told == text { error } else { clap::Error::raw(error.kind(), told.trim_start_matches("error: ")) }
}

/// Whether a library says that a number is out of its range. Other words say of other things that they are not in one.
fn is_out_of_range(told: &str) -> bool {
    told.split_once(OUT_OF_RANGE)
        .is_some_and(|(_, range)| range.starts_with(|first: char| first.is_ascii_digit() || first == '-'))
}

fn is_of_integer(error: &clap::Error) -> bool {
    error.source().is_some_and(|source| source.is::<ParseIntError>())
}

/// Whether an option is on a command line, so that no variable stands for it.
fn is_given(option: &Arg, arguments: &[OsString]) -> bool {
    let long = option.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let is_it = |argument: &OsString| argument.to_string_lossy().split('=').next() == Some(&long);
    arguments.iter().take_while(|argument| *argument != "--").any(is_it)
}

/// The command that a line names, of those below this one, which is built.
fn named<'a>(command: &'a mut Command, arguments: &[OsString]) -> &'a mut Command {
    let matches = lenient(command.clone()).try_get_matches_from(arguments).ok();
    let (mut command, mut matches) = (command, matches.as_ref());
    while let Some((name, inner)) = matches.and_then(|matches| matches.subcommand()) {
        command = command.find_subcommand_mut(name).expect("it was matched");
        matches = Some(inner);
    }
    command
}

/// Passes over what is wrong in a line, and over the environment.
fn lenient(command: Command) -> Command {
    command.ignore_errors(true).mut_args(|arg| arg.env(None::<&'static str>)).mut_subcommands(lenient)
}

/// How clap says that a number is in none of an argument's bounds.
const OUT_OF_RANGE: &str = " is not in ";

/// The argument of a command whose value an error is about.
fn argument<'a>(error: &clap::Error, command: &'a Command) -> Option<&'a Arg> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) else { return None };
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
        return ExitCode::from(exit_code);
    }
    match error.print().and_then(|()| io::stdout().flush()) {
        Err(source) if !error.use_stderr() => Failure::of(Exit::Failed, source).context(STDOUT).report(is_json),
        // Nobody is left to tell if standard error is gone.
        _ => ExitCode::from(exit_code),
    }
}

/// The exit code of a wrong command line: the command's own, for one that takes another program's place.
fn exit_code(mut command: Command, arguments: &[OsString]) -> u8 {
    command.build();
    match named(&mut command, arguments).get_name() {
        "rapidsnark" => USAGE_OF_RAPIDSNARK,
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
    let usage = usage.lines().map(str::trim).skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let usage: Vec<&str> = usage.collect();
    let advice = (!usage.is_empty()).then(|| format!("usage: {}; --help says more", usage.join(" or ")));
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

    /// The neutral point, which is in no subgroup that keys are taken from.
    const NEUTRAL: &str = "0100000000000000000000000000000000000000000000000000000000000000";

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
            (&["setup", "--step-slots", "10,0"], "a whole number from 1 to 65535 is wanted"),
            (&["setup", "--withdraw-slots", "65536,1"], "a whole number from 1 to 65535 is wanted"),
            (&["setup", "--notice", "1000000000"], "a whole number from 1 to 525600 is wanted"),
            (&["prove", "x", "--at-once", "abc"], "a whole number from 1 to 18446744073709551615 is wanted"),
            (&["prove", "x", "--threads", "1025"], "'--threads <N>': a whole number from 1 to 1024 is wanted"),
            (&["bench", "hash", "--threads=0"], "'--threads <N>': a whole number from 1 to 1024 is wanted"),
            (&["bench", "--regression=-200"], "a number that is not negative is wanted"),
            (&["bench", "--regression", "nan"], "a number that is not negative is wanted"),
            (&["regtest", "mine", "-1"], "'-1' for '<BLOCKS>': a whole number from 1 to 10000 is wanted"),
            (&["bench", "--regression", "abc"], "a number that is not negative is wanted, such as 1.5"),
            (&["account", "abc"], "64 hexadecimal digits are wanted, and there are 3; or a key of the wallet"),
            (&["account", NEUTRAL], "this is no owner's key"),
            (&["setup", "--seed", "00"], "64 hexadecimal digits are wanted, and there are 2"),
            (
                &["tx", "transfer", "--to", "1", "--amount", "1", "--chain-id", "0011223"],
                "30 hexadecimal digits are wanted, and there are 7",
            ),
        ] {
            let error = error_of(&[&["taproof"], line].concat());
            let text = error.render().to_string();
            assert!(text.contains(told), "{line:?}: {text}");
            assert!(text.starts_with("error: invalid value") && text.contains("--help"), "{line:?}: {text}");
        }
    }

    #[test]
    fn the_usage_is_that_of_the_whole_command() {
        let options = |line: &[&str]| {
            let text = error_of(&[&["taproof"], line].concat()).render().to_string();
            let (_, usage) = text.split_once("Usage: ").expect("it has a usage");
            let lines = usage.lines().map(str::trim).take_while(|line| !line.is_empty()).map(str::to_owned);
            lines.collect::<Vec<String>>()
        };
        let verify = [
            "taproof verify [OPTIONS] <PROOFS>",
            "taproof verify [OPTIONS] --vkey <FILE> --proof <FILE> --public <FILE>",
        ];
        assert_eq!(options(&["verify", "--vkey", "x"]), verify);
        assert_eq!(options(&["--dir", "prove", "verify"]), verify, "a value is no command");
        let prove = [
            "taproof prove [OPTIONS] <BATCH>",
            "taproof prove [OPTIONS] <--zkey <FILE>|--key <FILE>> --witness <FILE>...",
        ];
        assert_eq!(options(&["prove"]), prove);
        assert_eq!(options(&["prove", "--zkey", "x"]), prove);
        let export = ["taproof export [OPTIONS] --out <DIR> <BATCH>", "taproof export [OPTIONS] --vkey <KEY>"];
        assert_eq!(options(&["export", "1.batch", "--vkey", "k"]), export);
        assert_eq!(options(&["status", "--nod"]), ["taproof status [OPTIONS]"]);
        let deposit = ["taproof bridge deposit [OPTIONS] --owner <KEY> --amount <SAT>"];
        assert_eq!(options(&["bridge", "deposit", "--nonsense"]), deposit);
        let advice = json(&error_of(&["taproof", "prove"]), 2)["advice"].to_string();
        assert!(advice.contains("<BATCH> or taproof prove [OPTIONS] <--zkey"), "{advice}");
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
