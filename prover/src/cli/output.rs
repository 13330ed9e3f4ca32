//! The files that a command writes, looked at before its work begins.

use super::{
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
};
use serde::Serialize;
use std::path::Path;
use taproof::output_file::{Access, ConflictError, OutputFile, expect_distinct};

/// Opens the files that will be written. One that would take the place of another, or of an input, is refused, whatever its name.
pub(crate) fn open_outputs(outputs: &[(&Path, Access)], inputs: &[&Path]) -> Result<Vec<OutputFile>> {
    let mut opened = Vec::with_capacity(outputs.len());
    for (path, access) in outputs {
        DataDir::create_parent(path)?;
        opened.push(OutputFile::open(path, *access).or_exit_while(Exit::Failed, path.display().to_string())?);
    }
    expect_distinct(&opened, inputs).map_err(|error| match error {
        ConflictError::Outputs { .. } | ConflictError::Input { .. } => {
            Failure::of(Exit::Input, error).advise("name another file")
        }
        _ => Failure::of(Exit::Failed, error),
    })?;
    Ok(opened)
}

/// Opens one file that will be written.
pub(crate) fn open_output(path: &Path, access: Access, inputs: &[&Path]) -> Result<OutputFile> {
    let mut opened = open_outputs(&[(path, access)], inputs)?;
    Ok(opened.remove(0))
}

/// Writes JSON that people can read.
pub(crate) fn write_json(output: OutputFile, value: &impl Serialize) -> Result {
    let json = serde_json::to_string_pretty(value)?;
    let path = output.path().display().to_string();
    output.write(|out| writeln!(out, "{json}")).or_exit_while(Exit::Failed, path)
}
