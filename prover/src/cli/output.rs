//! The files that a command writes, looked at before its work begins.

use super::{
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    inspect,
};
use serde::Serialize;
use std::{fs, path::Path};
use taproof::output_file::{Access, ConflictError, OutputFile, expect_distinct, expect_unguarded};

/// A file that a user names for a command to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    /// Its name.
    pub(crate) path: &'a Path,
    /// Who may read it if it is made.
    pub(crate) access: Access,
    /// What will be written, as `inspect` names the format.
    pub(crate) format: &'static str,
    /// What it takes the place of.
    pub(crate) replaces: Replaces,
}

/// What an output takes the place of, besides an empty file. No output takes the place of a file of another known format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// An older file of its own format.
    OwnFormat,
    /// That, and whatever is of no format that is known.
    Unknown,
}

impl Output<'_> {
    /// Fails if something is there that this file does not take the place of.
    fn expect_replaceable(&self) -> Result {
        let holds = fs::metadata(self.path).is_ok_and(|found| found.is_file() && found.len() > 0);
        let refused = match holds.then(|| inspect::format(self.path)) {
            Some(Some(found)) if found != self.format => format!("its format is: {found}"),
            Some(None) if self.replaces == Replaces::OwnFormat => "it is of no format that taproof knows".to_owned(),
            _ => return Ok(()),
        };
        let message = format!("{} is not overwritten with: {}; {refused}", self.path.display(), self.format);
        Err(Failure::new(Exit::Input, message).advise("move it away or name another file"))
    }
}

/// Opens the files that will be written. Refused is what would take the place of another output or of an input, whatever its
/// name, of a file of another format, or of what the data directory lives by.
pub(crate) fn open_outputs(dir: &DataDir, outputs: &[Output<'_>], inputs: &[&Path]) -> Result<Vec<OutputFile>> {
    let mut opened = Vec::with_capacity(outputs.len());
    for output in outputs {
        let name = output.path.display().to_string();
        let folder = output.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.exists()) {
            let failure = Failure::new(Exit::Failed, format!("{name}: there is no folder {}", folder.display()));
            return Err(failure.advise("make the folder first, or name another file"));
        }
        opened.push(OutputFile::open(output.path, output.access).or_exit_while(Exit::Failed, name)?);
    }
    let distinct = expect_distinct(&opened, inputs).and_then(|()| expect_unguarded(&opened, &dir.guarded()));
    distinct.map_err(|error| match error {
        ConflictError::Io { .. } => Failure::of(Exit::Failed, error),
        _ => Failure::of(Exit::Input, error).advise("name another file"),
    })?;
    outputs.iter().try_for_each(Output::expect_replaceable)?;
    Ok(opened)
}

/// Opens one file that will be written.
pub(crate) fn open_output(dir: &DataDir, output: Output<'_>, inputs: &[&Path]) -> Result<OutputFile> {
    let mut opened = open_outputs(dir, &[output], inputs)?;
    Ok(opened.remove(0))
}

/// Writes JSON that people can read.
pub(crate) fn write_json(output: OutputFile, value: &impl Serialize) -> Result {
    let json = serde_json::to_string_pretty(value)?;
    let path = output.path().display().to_string();
    output.write(|out| writeln!(out, "{json}")).or_exit_while(Exit::Failed, path)
}
