//! The variables of the environment that stand for options. One rule holds for all: an empty one is as good as none,
//! and what no option would take is refused with the variable's name.

use super::values::threads;
use std::{
    env,
    ffi::{OsStr, OsString},
};
use taproof_arith::Backend;

/// What the names of our own variables begin with.
const PREFIX: &str = "TAPROOF_";
/// The variable for `--dir`, which takes whatever a path may be.
const FOLDER: &str = "TAPROOF_DIR";
/// The variables by which rayon takes the number of threads. It passes over a value that it cannot read, and takes any
/// other, however great.
const THREADS: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

/// What a variable is set to. None are left that are no text once [`check`] has been called.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a variable is set to anything.
pub(super) fn is_set(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Fails, in words, if a variable holds what no option would take.
pub(super) fn check() -> Result<(), String> {
    check_all(env::vars_os())
}

fn check_all(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), String> {
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|_| !value.is_empty()) else { continue };
        if name.starts_with(PREFIX) && name != FOLDER && value.to_str().is_none() {
            // It may be a password.
            return Err(format!("invalid value for {name}: it is no text in UTF-8"));
        }
        // To rayon, 0 is as good as no value.
        if THREADS.contains(&name) && value != "0" {
            threads(&value.to_string_lossy())
                .map_err(|wanted| format!("invalid value {value:?} for {name}: {wanted}"))?;
        }
    }
    Ok(())
}

/// Makes the process use the back end that the environment names, if it names one.
pub(super) fn force_backend() -> Result<(), String> {
    let Some(name) = variable(Backend::VARIABLE) else { return Ok(()) };
    let in_words = |error: String| format!("invalid value {name:?} for {}: {error}", Backend::VARIABLE);
    let backend: Backend =
        name.parse().map_err(|error: taproof_arith::UnknownBackendError| in_words(error.to_string()))?;
    backend.force().map_err(|error| in_words(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: impl Into<OsString>) -> Result<(), String> {
        check_all([(OsString::from("HOME"), OsString::from("/")), (name.into(), value.into())].into_iter())
    }

    #[test]
    fn variables_of_threads_are_bounded_as_the_option_is() {
        for name in THREADS {
            for value in ["", "0", "1", "2", "1024"] {
                assert_eq!(checked(name, value), Ok(()), "{value}");
            }
            for value in ["-1", "1025", "100000", "18446744073709551616", "abc", " 2", "1.5"] {
                let told = checked(name, value).expect_err("it is refused");
                let expected = format!("invalid value {value:?} for {name}: a whole number from 1 to 1024 is wanted");
                assert_eq!(told, expected);
            }
        }
        assert_eq!(checked("OTHER_NUM_THREADS", "100000"), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_refused_with_the_name_of_its_variable() {
        use std::os::unix::ffi::OsStringExt;
        let no_text = || OsString::from_vec(b"http://\xff".to_vec());
        for name in ["TAPROOF_NODE", "TAPROOF_WALLET_PASSWORD", "RAYON_NUM_THREADS"] {
            let told = checked(name, no_text()).expect_err("it is refused");
            assert!(told.contains(&format!("for {name}: ")), "{told}");
        }
        assert_eq!(checked("OTHER", no_text()), Ok(()));
        assert_eq!(checked("TAPROOF_DIR", no_text()), Ok(()), "a folder may have any name");
    }
}
