//! The rules of the house that no compiler knows: no line is too long, and nothing is used against the arrows of
//! docs/architecture.md.

use crate::{cargo, root};
use anyhow::{Context, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

#[cfg(test)]
mod tests;

/// The most columns of a line.
const COLUMNS_MAX: usize = 120;

/// Where the arrows are written down, and in which sections.
const ARCHITECTURE: &str = "docs/architecture.md";
const CRATES: &str = "## Crates";
const ROOMS: &str = "## Rooms of the prover";

/// The modules that the rooms are made of.
const SOURCES: &str = "prover/src";
/// What a module of the prover's library is reached by.
const LIBRARY: [&str; 2] = ["crate", "taproof"];
/// The crates of this workspace that a room may use or not, as sources name them.
const BELOW: [(&str, &str); 3] =
    [("taproof_verifier", "verifier"), ("taproof_circuits", "circuits"), ("taproof_arith", "arith")];

/// Checks both.
pub(crate) fn check() -> anyhow::Result<()> {
    check_columns()?;
    let text = fs::read_to_string(root().join(ARCHITECTURE)).with_context(|| format!("no {ARCHITECTURE}"))?;
    check_crates(&Arrows::parse(&text, CRATES)?)?;
    check_rooms(&Arrows::parse(&text, ROOMS)?)
}

fn check_columns() -> anyhow::Result<()> {
    let listed = Command::new("git").args(["ls-files", "*.rs", "*.md", "*.toml"]).current_dir(root()).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let mut long = Vec::new();
    for name in listed.lines() {
        let Ok(text) = fs::read_to_string(root().join(name)) else { continue };
        long.extend(long_lines(&text).map(|line| format!("{name}:{line}")));
    }
    ensure!(long.is_empty(), "lines of more than {COLUMNS_MAX} columns:\n{}", long.join("\n"));
    Ok(())
}

/// What a word takes that makes a line too long by itself: a key, a hash, a link.
const WORD_COLUMNS_MIN: usize = 80;

/// The numbers of lines that are too long and could be broken: those of tables cannot, nor those of one long word.
fn long_lines(text: &str) -> impl Iterator<Item = usize> {
    let numbered = (1..).zip(text.lines());
    let long = numbered.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    let breakable = long.filter(|(_, line)| {
        let line = line.trim();
        let told = line.trim_start_matches("//!").trim_start_matches("///").trim_start();
        let is_long = |word: &str| word.chars().count() >= WORD_COLUMNS_MIN;
        !told.starts_with('|') && !line.split_whitespace().any(is_long)
    });
    breakable.map(|(number, _)| number)
}

/// What may use what: rows of a table, each of which may use those above it alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrows {
    /// The names, in order, each with what it may use and what belongs to it.
    rows: Vec<(String, BTreeSet<String>, BTreeSet<String>)>,
}

impl Arrows {
    /// Reads the table of a section: a name, what it may use, and in a third column what belongs to it.
    fn parse(text: &str, section: &str) -> anyhow::Result<Self> {
        let after = text.split_once(&format!("{section}\n")).with_context(|| format!("no section `{section}`"))?.1;
        let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let mut arrows = Self::default();
        for line in table.skip(2) {
            let cells: Vec<BTreeSet<String>> = line.trim_matches('|').split('|').map(names).collect();
            let [name, uses, rest @ ..] = cells.as_slice() else { bail!("no row of arrows: {line}") };
            let name = name.first().with_context(|| format!("no name: {line}"))?;
            let known = |used: &String| arrows.row(used).is_some() || BELOW.iter().any(|(_, below)| below == used);
            if let Some(unknown) = uses.iter().find(|used| !known(used)) {
                bail!("{name} may use {unknown}, which is not above it in `{section}`");
            }
            arrows.rows.push((name.clone(), uses.clone(), rest.first().cloned().unwrap_or_default()));
        }
        ensure!(!arrows.rows.is_empty(), "no table in `{section}`");
        Ok(arrows)
    }

    fn row(&self, name: &str) -> Option<&(String, BTreeSet<String>, BTreeSet<String>)> {
        self.rows.iter().find(|(row, ..)| row == name)
    }

    /// The name that a member belongs to.
    fn of(&self, member: &str) -> Option<&str> {
        self.rows.iter().find(|(.., members)| members.contains(member)).map(|(name, ..)| name.as_str())
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        from == to || self.row(from).is_some_and(|(_, uses, _)| uses.contains(to))
    }
}

/// The names in a cell of a table, in order of the alphabet.
fn names(cell: &str) -> BTreeSet<String> {
    let words = cell.split(|letter: char| letter.is_whitespace() || letter == ',').map(|word| word.trim_matches('`'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Compares what packages depend on with the arrows between crates.
fn check_crates(arrows: &Arrows) -> anyhow::Result<()> {
    let output = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("no metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let missing: Vec<&String> = ours.iter().filter(|package| arrows.row(package).is_none()).collect();
    ensure!(missing.is_empty(), "{ARCHITECTURE} says nothing of {missing:?}");
    for package in packages {
        let from = name(package);
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        // Tests may use what the crate itself may not.
        let built = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
        for to in built.map(name).filter(|dependency| ours.contains(dependency)) {
            ensure!(arrows.allows(&from, &to), "{from} may not depend on {to}: see {ARCHITECTURE}");
        }
    }
    Ok(())
}

/// Compares what modules of the prover use with the arrows between its rooms.
fn check_rooms(arrows: &Arrows) -> anyhow::Result<()> {
    let folder = root().join(SOURCES);
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    gather(&folder, &folder, &mut uses)?;
    let wrong = wrong_arrows(arrows, &uses);
    ensure!(wrong.is_empty(), "against the arrows of {ARCHITECTURE}:\n{}", wrong.join("\n"));
    Ok(())
}

/// Adds what each module below a folder uses, by the module's first name. Tests may use anything.
fn gather(folder: &Path, top: &Path, uses: &mut BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            gather(&path, top, uses)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let first = path.strip_prefix(top)?.iter().next().context("a path below the folder")?;
            let module = Path::new(first).with_extension("").display().to_string();
            uses.entry(module).or_default().extend(used(&fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn wrong_arrows(arrows: &Arrows, uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let roots = ["lib", "main"];
    for (module, used) in uses.iter().filter(|(module, _)| !roots.contains(&module.as_str())) {
        let Some(room) = arrows.of(module) else {
            wrong.push(format!("{module} is in no room"));
            continue;
        };
        for name in used {
            let below = BELOW.iter().find(|(source, _)| source == name).map(|(_, below)| *below);
            // What is no module of the library is one of a binary's, or a macro.
            let Some(other) = below.or_else(|| arrows.of(name)) else { continue };
            if !arrows.allows(room, other) {
                wrong.push(format!("{module} ({room}) uses {name} ({other})"));
            }
        }
    }
    let members = arrows.rows.iter().flat_map(|(.., members)| members);
    wrong.extend(members.filter(|member| !uses.contains_key(*member)).map(|member| format!("there is no {member}")));
    wrong
}

/// The first names of the paths in a source, below the library's root, and the crates below that it names. Comments
/// and a module of tests at the end are left out.
fn used(source: &str) -> BTreeSet<String> {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test"].iter().filter_map(|start| source.find(start)).min();
    let lines = source[..tests.unwrap_or(source.len())].lines();
    let code: String = lines.flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]).collect();
    let mut found = BTreeSet::new();
    for start in LIBRARY {
        for rest in after_word(&code, start).filter_map(|rest| rest.strip_prefix("::")) {
            match rest.strip_prefix('{') {
                Some(list) => found.extend(first_names(list)),
                None => found.extend(word_at(rest)),
            }
        }
    }
    found.extend(
        BELOW.iter().filter(|(name, _)| after_word(&code, name).next().is_some()).map(|(name, _)| name.to_string()),
    );
    found
}

/// What follows each place where a word stands by itself.
fn after_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).filter_map(move |(start, _)| {
        let (before, after) = (&code[..start], &code[start + word.len()..]);
        (!before.ends_with(is_part) && !after.starts_with(is_part)).then_some(after)
    })
}

/// The first names of a list in braces, whose opening one is passed.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut is_first, mut names) = (1, true, Vec::new());
    for (position, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => is_first = true,
            _ if depth == 1 && is_first && !letter.is_whitespace() => {
                names.extend(word_at(&list[position..]));
                is_first = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The word that a text begins with, if it does.
fn word_at(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
