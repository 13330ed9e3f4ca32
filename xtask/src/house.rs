//! The rules of the house that no compiler knows: no line is too long, no crate depends on another against the arrows
//! of docs/architecture.md, and no modules use each other in a circle that it does not name.

use crate::{cargo, root};
use anyhow::{Context, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[cfg(test)]
mod tests;

/// The most columns of a line.
const COLUMNS_MAX: usize = 120;

/// Where the arrows are written down, and in which sections.
const ARCHITECTURE: &str = "docs/architecture.md";
const CRATES: &str = "## Crates";
const CIRCLES: &str = "## Circles";

/// Checks all of it.
pub(crate) fn check() -> anyhow::Result<()> {
    check_columns()?;
    let text = fs::read_to_string(root().join(ARCHITECTURE)).with_context(|| format!("no {ARCHITECTURE}"))?;
    let packages = packages()?;
    check_crates(&packages, &Arrows::parse(&text, CRATES)?)?;
    check_circles(&packages, &Circles::parse(&text)?)
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

/// The rows of the table of a section, each as its cells.
fn rows<'t>(text: &'t str, section: &str) -> anyhow::Result<Vec<Vec<&'t str>>> {
    let after = text.split_once(&format!("{section}\n")).with_context(|| format!("no section `{section}`"))?.1;
    let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = table.skip(2).map(|line| line.trim_matches('|').split('|').collect()).collect();
    ensure!(!rows.is_empty(), "no table in `{section}`");
    Ok(rows)
}

/// What may use what: crates in order, each of which may use some of those above it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrows(Vec<(String, BTreeSet<String>)>);

impl Arrows {
    /// Reads a table whose first columns are a name and what it may use.
    fn parse(text: &str, section: &str) -> anyhow::Result<Self> {
        let mut arrows = Self::default();
        for row in rows(text, section)? {
            let [name, uses, ..] = row.as_slice() else { bail!("no row of arrows: {row:?}") };
            let (name, uses) = (names(name).pop_first().with_context(|| format!("no name: {row:?}"))?, names(uses));
            if let Some(unknown) = uses.iter().find(|used| arrows.uses_of(used).is_none()) {
                bail!("{name} may use {unknown}, which is not above it in `{section}`");
            }
            arrows.0.push((name, uses));
        }
        Ok(arrows)
    }

    fn uses_of(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.0.iter().find(|(row, _)| row == name).map(|(_, uses)| uses)
    }
}

/// The modules of a crate that use each other in a circle, by the crate's name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Circles(BTreeSet<(String, BTreeSet<String>)>);

impl Circles {
    /// Reads a table whose first columns are a crate and modules.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let circle = |row: Vec<&str>| {
            let [name, modules, ..] = row.as_slice() else { bail!("no row of a circle: {row:?}") };
            let name = names(name).pop_first().with_context(|| format!("no name: {row:?}"))?;
            Ok((name, names(modules)))
        };
        rows(text, CIRCLES)?.into_iter().map(circle).collect::<anyhow::Result<_>>().map(Self)
    }
}

/// The names in a cell of a table, in order of the alphabet.
fn names(cell: &str) -> BTreeSet<String> {
    let words = cell.split(|letter: char| letter.is_whitespace() || letter == ',').map(|word| word.trim_matches('`'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A crate of this workspace.
struct Package {
    name: String,
    /// The folder that its manifest lies in.
    folder: PathBuf,
    /// What it is built with, tests left out, of this workspace's crates.
    uses: BTreeSet<String>,
}

/// The crates of this workspace. Tests may use what a crate itself may not, and so may what a crate offers for the
/// tests of others, with its feature `testing`: that is optional.
fn packages() -> anyhow::Result<Vec<Package>> {
    let output = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("no metadata")?;
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let package = |package: &serde_json::Value| {
        let manifest = Path::new(package["manifest_path"].as_str().context("no manifest")?);
        let testing = package["features"]["testing"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_testing = |used: &String| testing.iter().any(|feature| *feature == format!("dep:{used}"));
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        let built = dependencies.iter().filter(|dependency| dependency["kind"] != "dev").map(name);
        let uses = built.filter(|used| ours.contains(used) && !is_testing(used)).collect();
        Ok(Package { name: name(package), folder: manifest.parent().context("no folder")?.to_owned(), uses })
    };
    packages.iter().map(package).collect()
}

/// Compares what crates depend on with the arrows between them.
fn check_crates(packages: &[Package], arrows: &Arrows) -> anyhow::Result<()> {
    for Package { name, uses, .. } in packages {
        let may_use = arrows.uses_of(name).with_context(|| format!("{ARCHITECTURE} says nothing of {name}"))?;
        let wrong: Vec<&String> = uses.difference(may_use).collect();
        ensure!(wrong.is_empty(), "{name} may not depend on {wrong:?}: see {ARCHITECTURE}");
    }
    let is_there = |name: &String| packages.iter().any(|package| package.name == *name);
    let gone: Vec<&String> = arrows.0.iter().map(|(name, _)| name).filter(|name| !is_there(name)).collect();
    ensure!(gone.is_empty(), "{ARCHITECTURE} names {gone:?}, which are no crates");
    Ok(())
}

/// Compares the circles of modules with those that are written down.
fn check_circles(packages: &[Package], written: &Circles) -> anyhow::Result<()> {
    let mut found = Circles::default();
    for Package { name, folder, .. } in packages {
        let sources = folder.join("src");
        let mut uses = BTreeMap::new();
        if sources.is_dir() {
            gather(&sources, &sources, &mut uses)?;
        }
        found.0.extend(circles(&uses).into_iter().map(|circle| (name.clone(), circle)));
    }
    let told = |circles: BTreeSet<&(String, BTreeSet<String>)>| format!("{circles:?}");
    ensure!(
        found == *written,
        "circles of modules that {ARCHITECTURE} does not name: {}; that it names and are not there: {}",
        told(found.0.difference(&written.0).collect()),
        told(written.0.difference(&found.0).collect()),
    );
    Ok(())
}

/// Adds what each module below a folder uses, by the module's first name. Tests may use anything.
fn gather(folder: &Path, top: &Path, uses: &mut BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing") {
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

/// The largest sets of modules that use each other, directly or through others.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(used) = next.pop().and_then(|module| uses.get(module)) {
            next.extend(used.iter().filter(|module| uses.contains_key(*module) && reached.insert((*module).clone())));
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = uses.keys().map(|module| (module, reached(module))).collect();
    let circle = |module: &String| -> BTreeSet<String> {
        let both = reached[module].iter().filter(|other| reached[other].contains(module));
        both.cloned().collect()
    };
    uses.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}

/// The first names of the paths in a source, below the crate's root. Comments and a module of tests at the end are
/// left out.
fn used(source: &str) -> BTreeSet<String> {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test"].iter().filter_map(|start| source.find(start)).min();
    let lines = source[..tests.unwrap_or(source.len())].lines();
    let code: String = lines.flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]).collect();
    let mut found = BTreeSet::new();
    for rest in after_word(&code, "crate").filter_map(|rest| rest.strip_prefix("::")) {
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_names(list)),
            None => found.extend(word_at(rest)),
        }
    }
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
