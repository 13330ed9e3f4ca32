//! The files that a command writes, looked at before its work begins.

use super::{
    data_dir::{DataDir, expect_absent, expect_no_file},
    failure::{Exit, Failure, Fallible, Result},
    inspect,
};
use serde::Serialize;
use std::{
    fs, io,
    path::{self, Path},
};
use taproof_base::output_file::{Access, ConflictError, OutputFile, expect_distinct, expect_unguarded};

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

/// What an output takes the place of, besides an empty file. No output takes the place of a file of another known
/// format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// An older file of its own format.
    OwnFormat,
    /// That, and whatever is of no format that is known.
    Unknown,
    /// Nothing: what it held could not be made again.
    Nothing,
    /// What the command has read from the file, and writes again.
    WhatWasRead,
}

impl Output<'_> {
    /// Fails if something is there that this file does not take the place of.
    fn expect_replaceable(&self) -> Result {
        match self.replaces {
            Replaces::Nothing => return expect_absent(self.path),
            Replaces::WhatWasRead => return Ok(()),
            Replaces::OwnFormat | Replaces::Unknown => {}
        }
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

/// Opens the files that will be written. Refused is what would take the place of another output or of an input,
/// whatever its name, of a file of another format, or of what the data directory lives by.
pub(crate) fn open_outputs(dir: &DataDir, outputs: &[Output<'_>], inputs: &[&Path]) -> Result<Vec<OutputFile>> {
    let mut opened = Vec::with_capacity(outputs.len());
    for output in outputs {
        expect_folder_of(output.path)?;
        let found = OutputFile::open(output.path, output.access).map_err(|error| unopened(output.path, error));
        opened.push(found?);
    }
    let distinct = expect_distinct(&opened, inputs).and_then(|()| expect_unguarded(&opened, &dir.guarded()));
    distinct.map_err(|error| match error {
        ConflictError::Io { .. } => Failure::of(Exit::Failed, error),
        _ => Failure::of(Exit::Input, error).advise("name another file"),
    })?;
    outputs.iter().try_for_each(Output::expect_replaceable)?;
    Ok(opened)
}

/// Why a file cannot be written, before anything is.
fn unopened(path: &Path, error: io::Error) -> Failure {
    let failure = match error.kind() {
        io::ErrorKind::IsADirectory => {
            Failure::new(Exit::Input, format!("{} names a folder, where a file is to be written", path.display()))
        }
        io::ErrorKind::NotADirectory => Failure::of(Exit::Input, error).context(path.display()),
        _ => Failure::of(Exit::Failed, error).context(path.display()),
    };
    failure.advise("name another file")
}

/// Fails if the folder is missing that a file, or another folder, would be made in: where it was misspelled, nothing
/// would be found again.
pub(crate) fn expect_folder_of(path: &Path) -> Result {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder.filter(|folder| !folder.is_dir()) else { return Ok(()) };
    let failure = Failure::new(Exit::Input, format!("{}: there is no folder {}", path.display(), folder.display()));
    Err(failure.advise("make the folder first, or name another one"))
}

/// Whether a path can be none but a folder's, be it there or not.
pub(crate) fn names_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(path::is_separator)
}

/// Makes the folder that a user names for files to go into, though none that it would be in.
pub(crate) fn make_folder(folder: &Path) -> Result {
    expect_folder_of(folder)?;
    expect_no_file(folder).map_err(|failure| failure.advise("name another folder"))?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.or_exit_while(Exit::Failed, format!("cannot create {}", folder.display())),
    }
}

/// Opens one file that will be written.
pub(crate) fn open_output(dir: &DataDir, output: Output<'_>, inputs: &[&Path]) -> Result<OutputFile> {
    let mut opened = open_outputs(dir, &[output], inputs)?;
    Ok(opened.remove(0))
}

/// Writes a file that was opened.
pub(crate) fn write(output: OutputFile, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result {
    let path = output.path().display().to_string();
    output.write(write).or_exit_while(Exit::Failed, path)
}

/// Writes JSON that people can read.
pub(crate) fn write_json(output: OutputFile, value: &impl Serialize) -> Result {
    let json = serde_json::to_string_pretty(value)?;
    write(output, |out| writeln!(out, "{json}"))
}
