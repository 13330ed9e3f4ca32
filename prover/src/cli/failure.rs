//! How a command fails: an error for people, and an exit code for scripts.

use super::node_advice::{self, node_error};
use std::{fmt, io, process::ExitCode};
use taproof_base::{io_fault, shown};
use taproof_bitcoin::regtest::ChainFileError;

/// The exit codes, for the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed for another reason than these: a disk, a node, a limit
  2  the command line itself is wrong, or a variable that stands for an option
  3  a file or value that was given is missing, damaged, of another kind or
     version, or does not belong here; or a file that is to be written cannot
     be, because one is there already that it does not replace, or no folder
  4  something was checked and does not hold: a proof, an anchor, a state
  5  another process holds what this one needs: the ledger, a store, the lock
     of a service";

/// What to do where the system forbids something.
const DENIED: &str = "run it as the user whose files they are, or on a copy of the data directory that can be written";

/// What to do where there is no room.
const FULL: &str = "make room, and run it again";

/// What to do where what was named is not there.
const MISSING: &str = "see that the file is there and its name right: a name leads on from the folder that you are in";

/// What kind of failure: the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file or value that was given is not what it must be.
    Input = 3,
    /// Something was checked and does not hold.
    Refuted = 4,
    /// Another process holds what this one needs.
    Busy = 5,
}

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    advice: Option<String>,
}

/// What commands return.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that is described here for the first time.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::Error::msg(message.to_string()), advice: None }
    }

    /// A library's error.
    pub(crate) fn of(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), advice: None }
    }

    /// Adds what the user can do about it, if that is anything.
    pub(crate) fn advise(self, advice: impl fmt::Display) -> Self {
        let advice = Some(advice.to_string()).filter(|advice| !advice.is_empty());
        Self { advice: advice.or(self.advice), ..self }
    }

    /// Says what was being done.
    pub(crate) fn context(self, doing: impl fmt::Display) -> Self {
        Self { error: self.error.context(doing.to_string()), ..self }
    }

    /// Gives the failure another exit code.
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The library's error that is behind the failure, if it is one of this type.
    pub(crate) fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// What went wrong, with its causes.
    pub(crate) fn message(&self) -> String {
        let causes: Vec<String> = self.error.chain().map(ToString::to_string).collect();
        // Causes name files and say what others have said.
        shown::one_line(without_repeats(&causes))
    }

    /// What the user can do about it: what was said where it failed, or else what a node's failure asks for.
    pub(crate) fn advice(&self) -> Option<String> {
        let wait = || self.is_chain_locked().then(|| "wait until the other command is done".to_owned());
        let of_node = || node_error(&self.error).and_then(node_advice::advice);
        let of_system = || {
            let advice = [(io_fault::is_denied as fn(&io::Error) -> bool, DENIED), (io_fault::is_full, FULL)];
            advice.into_iter().find(|(is_kind, _)| self.is_of_system(*is_kind)).map(|(_, advice)| advice.to_owned())
        };
        let of_name = || (self.exit == Exit::Input && self.is_missing()).then(|| MISSING.to_owned());
        self.advice.clone().or_else(wait).or_else(of_node).or_else(of_system).or_else(of_name)
    }

    /// The exit code: that of the node's failure where nothing more was said.
    pub(crate) fn exit(&self) -> Exit {
        match (self.exit, node_error(&self.error)) {
            (Exit::Failed, _) if self.is_chain_locked() => Exit::Busy,
            (Exit::Failed, Some(error)) => node_advice::exit(error),
            (exit, _) => exit,
        }
    }

    /// Whether what was to be read is not there. A folder that lets nobody look into it may hold it all the same.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_of_system(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether one of the causes is an error of the system of this kind.
    fn is_of_system(&self, is_kind: fn(&io::Error) -> bool) -> bool {
        self.error.chain().filter_map(|cause| cause.downcast_ref()).any(is_kind)
    }

    /// Whether another command has the embedded chain.
    fn is_chain_locked(&self) -> bool {
        matches!(self.cause(), Some(ChainFileError::Locked(_)))
    }

    /// Whether this is no failure at all but the reader of the output having gone away.
    fn is_broken_pipe(&self) -> bool {
        let mut causes = self.error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Reports the failure on standard error and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        let (message, advice, exit) = (self.message(), self.advice().map(shown::one_line), self.exit());
        // Nobody is left to tell if standard error is gone as well.
        let mut stderr = io::stderr().lock();
        if json {
            let value = serde_json::json!({ "error": message, "advice": advice, "exit_code": exit as u8 });
            let _ = io::Write::write_fmt(&mut stderr, format_args!("{}\n", shown::json(&value.to_string())));
        } else {
            let _ = io::Write::write_fmt(&mut stderr, format_args!("error: {message}\n"));
            if let Some(advice) = &advice {
                let _ = io::Write::write_fmt(&mut stderr, format_args!("  help: {advice}\n"));
            }
        }
        ExitCode::from(exit as u8)
    }
}

/// Joins an error with its causes, leaving out what is said twice: a cause that the message before it ends with, and
/// the end of the message that its cause begins with.
fn without_repeats(causes: &[String]) -> String {
    let mut message = String::new();
    for cause in causes {
        let told = message.rfind(": ").map_or(0, |colon| colon + 2);
        if cause == &message[told..] || cause.starts_with(&format!("{}: ", &message[told..])) {
            message.truncate(told);
            message += cause;
        } else if message.is_empty() {
            message.clone_from(cause);
        } else if !message.ends_with(cause.as_str()) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Any error fails a command; those that have a code of their own say so with [`Fallible::or_exit`].
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into(), advice: None }
    }
}

/// Turns results of libraries into those of commands.
pub(crate) trait Fallible<T> {
    /// Gives the error an exit code.
    fn or_exit(self, exit: Exit) -> Result<T>;

    /// Gives the error an exit code and says what was being done.
    fn or_exit_while(self, exit: Exit, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Fallible<T> for std::result::Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| Failure { exit, error: error.into(), advice: None })
    }

    fn or_exit_while(self, exit: Exit, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T> {
        self.map_err(|error| Failure { exit, error: error.into().context(doing.to_string()), advice: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_told_twice() {
        let causes = ["a.batch: truncated".to_owned(), "truncated".to_owned(), "why".to_owned()];
        assert_eq!(without_repeats(&causes), "a.batch: truncated: why");
        let causes = ["chunk 3", "none.json", "none.json: not found", "not found"].map(str::to_owned);
        assert_eq!(without_repeats(&causes), "chunk 3: none.json: not found");
        let causes = ["a", "a", "ab"].map(str::to_owned);
        assert_eq!(without_repeats(&causes), "a: ab");
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_broken_pipe());
        assert!(!Failure::new(Exit::Failed, "broken pipe").is_broken_pipe());
    }
}
