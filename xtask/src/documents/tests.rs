use super::*;

#[test]
fn the_documents_are_in_order() {
    check().unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn a_table_that_was_filled_is_none() {
    let table = "| who | needs |\n|---|---|\n| a wallet | blocks |\n";
    assert_eq!(broken_tables(table).count(), 0);
    let filled = "-  who | needs | |---|---| | a wallet |\n  blocks |\n";
    assert_eq!(broken_tables(filled).collect::<Vec<_>>(), ["1: a table that is none"]);
    let short = "| who | needs |\n|---|---|\n| a wallet |\n\n| alone |\n";
    assert_eq!(broken_tables(short).collect::<Vec<_>>(), ["3: a row of 1 cells in a table of 2"]);
    let code = "```text\n|---|\n```\nand `a` or | b\n";
    assert_eq!(broken_tables(code).count(), 0, "neither is a table");
    assert_eq!(broken_tables("| a \\| b | c |\n|---|---|\n").count(), 0, "a bar in a cell");
}

#[test]
fn paths_and_links_lead_somewhere() {
    let exists = |path: &Path| ["docs/b.md", "prover/src", "a.md"].map(Path::new).contains(&path);
    let paths = "`prover/src` and `prover/gone.rs`, `other/gone.rs`, `prover/<room>/src`\n";
    assert_eq!(broken_paths(paths, exists).collect::<Vec<_>>(), ["1: there is no prover/gone.rs"]);
    let page = "# First, and more\n[a](../a.md) [b](b.md) [own](#first-and-more) [far](https://example.org/gone)\n";
    let wrong = "[a](a.md) [up](../a.md#first) [own](#second) [b](b.md#first-and-more)\n";
    let documents = |text: &str| {
        let name = PathBuf::from("docs/b.md");
        BTreeMap::from([(name, text.to_owned()), (PathBuf::from("a.md"), "# Other\n".to_owned())])
    };
    let broken = |text: &str| broken_links(Path::new("docs/b.md"), &documents(text), exists).collect::<Vec<_>>();
    assert_eq!(broken(page), [""; 0]);
    let expected = ["a.md", "../a.md#first", "#second", "b.md#first-and-more"];
    assert_eq!(broken(wrong), expected.map(|target| format!("1: a link to {target}, which is not there")));
}
