//! Paths in reports. JSON is text and a file's name need not be: a report must not fail by the name of what was written
//! before it.

use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};

/// What is shown of a path: all of it where it is UTF-8, and the replacement character for what is not.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A path in a report, or several, or perhaps one.
pub(crate) trait Shown {
    /// The same as text.
    type Text: Serialize;

    /// What the report says.
    fn shown(&self) -> Self::Text;
}

impl Shown for PathBuf {
    type Text = String;

    fn shown(&self) -> String {
        text(self)
    }
}

impl<P: Shown> Shown for Option<P> {
    type Text = Option<P::Text>;

    fn shown(&self) -> Self::Text {
        self.as_ref().map(P::shown)
    }
}

impl<P: Shown> Shown for Vec<P> {
    type Text = Vec<P::Text>;

    fn shown(&self) -> Self::Text {
        self.iter().map(P::shown).collect()
    }
}

/// Serialises the paths of a report's field: `#[serde(serialize_with = "path_text::serialize")]`, which every field of
/// a path needs.
pub(crate) fn serialize<P: Shown, S: Serializer>(paths: &P, serializer: S) -> Result<S::Ok, S::Error> {
    paths.shown().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::fs;

    /// The fields of paths in what a source file derives `Serialize` for that are not serialised as text.
    fn unshown(source: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let derived = source.split("#[derive(").skip(1).filter(|rest| {
            let traits = rest.split(')').next().unwrap_or_default();
            traits.split(", ").any(|name| name == "Serialize")
        });
        for item in derived {
            let item = item.split("\n}").next().unwrap_or_default();
            let mut before = "";
            for line in item.lines().map(str::trim) {
                let is_path = line.ends_with("PathBuf,") || line.ends_with("PathBuf>,");
                if is_path && !before.contains("path_text::serialize") {
                    found.push(line);
                }
                before = line;
            }
        }
        found
    }

    #[test]
    fn every_path_of_a_report_is_serialised_as_text() {
        let bad = "#[derive(Serialize)]\nstruct A {\n    out: Option<PathBuf>,\n}\n";
        assert_eq!(unshown(bad), ["out: Option<PathBuf>,"]);
        let (mut folders, mut files) = (vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli").into()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir::<std::path::PathBuf>(folder).expect("the sources are here") {
                let path = entry.expect("they can be read").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let source = fs::read_to_string(&path).expect("sources are text");
                assert_eq!(unshown(&source), [""; 0], "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 50, "{files} files were read");
    }
}
