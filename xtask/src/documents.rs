//! What a document can get wrong without anybody's noticing: a table that is none any more, a link or a path that leads
//! nowhere, a list of packages that others have joined.

use crate::{cargo, root};
use anyhow::{Context, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

#[cfg(test)]
mod tests;

const VERIFIER: &str = "taproof-verifier";

/// Checks every document of the repository.
pub(crate) fn check() -> anyhow::Result<()> {
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output()?;
    let names = String::from_utf8(listed.stdout)?;
    let mut documents = BTreeMap::new();
    for name in names.lines() {
        documents.insert(PathBuf::from(name), fs::read_to_string(root().join(name))?);
    }
    let exists = |path: &Path| root().join(path).exists();
    let wrong: Vec<String> = documents
        .iter()
        .flat_map(|(name, text)| {
            let found = broken_tables(text).chain(broken_paths(text, exists));
            let found: Vec<_> = found.chain(broken_links(name, &documents, exists)).collect();
            found.into_iter().map(|wrong| format!("{}:{wrong}", name.display()))
        })
        .collect();
    ensure!(wrong.is_empty(), "documents:\n{}", wrong.join("\n"));
    check_verifier_packages()
}

/// The lines of a document that are no code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    })
}

/// Rows of tables that stand in the middle of something else, as when lines are filled, or that have another number of
/// cells than their table's first.
fn broken_tables(text: &str) -> impl Iterator<Item = String> {
    let mut cells = None;
    prose(text).filter_map(move |(number, line)| {
        let Some(row) = line.strip_prefix('|') else {
            cells = None;
            return line.contains("|---").then(|| format!("{number}: a table that is none"));
        };
        let found = row.replace("\\|", "").matches('|').count();
        let expected = *cells.get_or_insert(found);
        (found != expected).then(|| format!("{number}: a row of {found} cells in a table of {expected}"))
    })
}

/// The folders whose files documents name from the top.
const FOLDERS: [&str; 8] = ["benches/", "circuits/", "docs/", "fixtures/", "fuzz/", "prover/", "verifier/", "xtask/"];

/// Paths between backticks that there are not.
fn broken_paths(text: &str, exists: impl Fn(&Path) -> bool) -> impl Iterator<Item = String> {
    prose(text).flat_map(move |(number, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|text| FOLDERS.iter().any(|folder| text.starts_with(folder)));
        // What has more than a path in it is a pattern or a command.
        let paths = paths.filter(|text| !text.contains(|letter: char| "<>*{} ".contains(letter)));
        let missing: Vec<_> = paths.filter(|path| !exists(Path::new(path))).collect();
        missing.into_iter().map(|path| format!("{number}: there is no {path}")).collect::<Vec<_>>()
    })
}

/// Links within the repository that lead to no file, or to no heading of a document.
fn broken_links(
    name: &Path,
    documents: &BTreeMap<PathBuf, String>,
    exists: impl Fn(&Path) -> bool,
) -> impl Iterator<Item = String> {
    prose(&documents[name]).flat_map(move |(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let own = targets.filter(|target| !target.contains("://"));
        let broken = own.filter(|target| {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { name.to_owned() } else { beside(name, path) };
            let has_heading =
                |text: &String| prose(text).any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
            !exists(&path) || !heading.is_empty() && !documents.get(&path).is_some_and(has_heading)
        });
        broken.map(|target| format!("{number}: a link to {target}, which is not there")).collect::<Vec<_>>()
    })
}

/// The path from the top of what a document names from its own folder.
fn beside(name: &Path, path: &str) -> PathBuf {
    let mut found = name.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            Component::Normal(part) => found.push(part),
            _ => {}
        }
    }
    found
}

/// What a heading is linked by: lower case, without punctuation, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ' || *letter == '-');
    kept.collect::<String>().replace(' ', "-")
}

/// Where what the verifier is built with is written down.
const DEPENDENCIES: &str = "docs/dependencies.md";

/// Compares the packages that the verifier is built with, without its default features, with those that are written
/// down.
fn check_verifier_packages() -> anyhow::Result<()> {
    let text = fs::read_to_string(root().join(DEPENDENCIES))?;
    let list = text.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```"));
    let (list, _) = list.with_context(|| format!("no list of packages in {DEPENDENCIES}"))?;
    let written: BTreeSet<&str> = list.split([',', ' ', '\n']).filter(|name| !name.is_empty()).collect();
    let arguments = ["tree", "-p", VERIFIER, "--no-default-features", "-e", "normal,build", "--prefix", "none"];
    let output = cargo().args(arguments).output()?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    let built: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != VERIFIER).collect();
    let differing: Vec<_> = written.symmetric_difference(&built).collect();
    ensure!(differing.is_empty(), "{DEPENDENCIES} and the verifier's packages differ: {differing:?}");
    Ok(())
}
