use super::*;

const TABLE: &str = "\
# Architecture
## Other
| not | this |
|---|---|
| a | b |

## Rooms of the prover

Some words.

| room | may use | modules |
|---|---|---|
| base | verifier | `artefact`, `shown` |
| kernel | `base` verifier circuits | `prove` |
| bitcoin | base verifier | `node`, `follow` |

| another | table |
";

fn rooms() -> Arrows {
    Arrows::parse(TABLE, ROOMS).expect("a table")
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_table_says_what_may_use_what() {
    let rooms = rooms();
    assert_eq!(rooms.rows.len(), 3);
    assert_eq!(rooms.of("follow"), Some("bitcoin"));
    assert!(rooms.allows("kernel", "base") && rooms.allows("bitcoin", "bitcoin"));
    assert!(!rooms.allows("base", "kernel") && !rooms.allows("bitcoin", "circuits"));
    let circle = TABLE.replace("| base | verifier |", "| base | verifier kernel |");
    let error = Arrows::parse(&circle, ROOMS).expect_err("kernel is below").to_string();
    assert!(error.contains("base may use kernel"), "{error}");
    assert!(Arrows::parse(TABLE, CRATES).is_err());
}

#[test]
fn arrows_against_the_direction_are_found() {
    let sound = [
        ("lib", &[][..]),
        ("artefact", &["shown", "taproof_verifier"][..]),
        ("shown", &[][..]),
        ("prove", &["artefact", "taproof_circuits", "unknown_macro"][..]),
        ("node", &["follow"][..]),
        ("follow", &["node", "artefact"][..]),
    ];
    let uses = |changed: (&str, &[&str])| -> BTreeMap<String, BTreeSet<String>> {
        let all = sound.iter().copied().chain([changed]);
        all.map(|(module, used)| (module.to_owned(), set(used))).collect()
    };
    let wrong = |changed| wrong_arrows(&rooms(), &uses(changed));
    assert_eq!(wrong(("lib", &["anything"][..])), [""; 0]);
    assert_eq!(wrong(("artefact", &["prove"][..])), ["artefact (base) uses prove (kernel)"]);
    assert_eq!(wrong(("node", &["taproof_circuits"][..])), ["node (bitcoin) uses taproof_circuits (circuits)"]);
    assert_eq!(wrong(("new", &[][..])), ["new is in no room"]);
    let mut fewer = uses(("lib", &[][..]));
    fewer.remove("shown");
    assert_eq!(wrong_arrows(&rooms(), &fewer), ["there is no shown"]);
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
fn f() -> taproof::follow::Follower { crate::batch::new(subcrate::other::x, taproof_circuits::y) }

#[cfg(test)]
mod tests {
    use crate::toy;
}
";
    let expected = ["artefact", "batch", "follow", "node", "prove", "shown", "taproof_circuits"];
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
    let text = fs::read_to_string(root().join(ARCHITECTURE)).expect("it is there");
    check_crates(&Arrows::parse(&text, CRATES).expect("a table")).expect("no crate uses what it may not");
    check_rooms(&Arrows::parse(&text, ROOMS).expect("a table")).expect("no module uses what it may not");
}
