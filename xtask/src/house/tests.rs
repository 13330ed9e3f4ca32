use super::*;

const TEXT: &str = "\
# Architecture
## Other
| not | this |
|---|---|
| a | b |

## Crates

Some words.

| crate | may use | what it is |
|---|---|---|
| `verifier` | | formats |
| `kernel` | `verifier` | keys |
| `rollup` | `kernel`, `verifier` | ledger |

## Circles

| crate | modules | why |
|---|---|---|
| `kernel` | `one`, `other` | they are one thing |

| another | table |
";

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn package(name: &str, uses: &[&str]) -> Package {
    Package { name: name.to_owned(), folder: PathBuf::from("nowhere"), uses: set(uses) }
}

#[test]
fn crates_depend_on_what_is_written_alone() {
    let arrows = Arrows::parse(TEXT, CRATES).expect("a table");
    let told = |packages: &[Package]| check_crates(packages, &arrows).map_err(|error| error.to_string());
    let (verifier, kernel) = (|| package("verifier", &[]), || package("kernel", &["verifier"]));
    assert_eq!(told(&[verifier(), kernel(), package("rollup", &["verifier"])]), Ok(()));
    let wrong = told(&[verifier(), kernel(), package("rollup", &[]), package("new", &[])]);
    assert!(wrong.is_err_and(|error| error.contains("says nothing of new")));
    let wrong = told(&[package("verifier", &["kernel"]), kernel(), package("rollup", &[])]);
    assert!(wrong.is_err_and(|error| error.contains("verifier may not depend on [\"kernel\"]")));
    assert!(told(&[verifier(), kernel()]).is_err_and(|error| error.contains("names [\"rollup\"]")));
    let circle = TEXT.replace("| `verifier` | |", "| `verifier` | `kernel` |");
    let error = Arrows::parse(&circle, CRATES).expect_err("kernel is below").to_string();
    assert!(error.contains("verifier may use kernel"), "{error}");
    assert!(Arrows::parse(TEXT, "## Elsewhere").is_err());
}

#[test]
fn circles_of_modules_are_found() {
    let uses = [
        ("lib", &["one"][..]),
        ("one", &["other", "below", "unknown_macro"][..]),
        ("other", &["third"][..]),
        ("third", &["one"][..]),
        ("below", &["below"][..]),
        ("another", &["one"][..]),
    ];
    let uses: BTreeMap<_, _> = uses.into_iter().map(|(module, used)| (module.to_owned(), set(used))).collect();
    assert_eq!(circles(&uses), BTreeSet::from([set(&["one", "other", "third"])]));
    let written = Circles::parse(TEXT).expect("a table");
    assert_eq!(written.0, BTreeSet::from([("kernel".to_owned(), set(&["one", "other"]))]));
    let wrong = check_circles(&[], &written).expect_err("there is none").to_string();
    assert!(wrong.contains("are not there"), "{wrong}");
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let source = "\
use crate::{
    artefact::{self, Artefact},
    node::{esplora::{Esplora, rest}, Node}, // crate::comment
    shown::shown,
};
use crate::prove;
//! [`crate::in_words`]
fn f() -> crate::follow::Follower { crate::batch::new(subcrate::other::x, taproof_circuits::y) }

#[cfg(test)]
mod tests {
    use crate::toy;
}
";
    let expected = ["artefact", "batch", "follow", "node", "prove", "shown"];
    assert_eq!(used(source), set(&expected));
}

#[test]
fn long_lines_that_can_be_broken_are_found() {
    let (word, words) = ("a".repeat(121), "aa ".repeat(41));
    let (row, told_row, short) = (format!("| {words} |"), format!("//! | {words} |"), "é ".repeat(60));
    let text = [word, words, row, told_row, short].join("\n");
    assert_eq!(long_lines(&text).collect::<Vec<_>>(), [2]);
}

#[test]
fn this_repository_keeps_its_arrows() {
    check().expect("as docs/architecture.md says");
}
