//! Files that appear whole or not at all.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// Writes a file under a temporary name beside `path`, syncs it and renames it to `path`.
///
/// Whatever fails, and whenever the process is killed, `path` holds what it held before or all that `write` wrote.
/// After an error the temporary file is gone.
///
/// # Errors
/// Those of `write` and of the file system.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary);
    write(&mut writer)?;
    let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|failed| failed.error)?;
    // The rename itself is durable once the folder is; a folder cannot be opened on every system.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().expect("the folder exists");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("file");
        let failing = |writer: &mut dyn Write| {
            writer.write_all(&[1; 5000])?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(write_atomically(&path, failing).expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert!(names(folder.path()).is_empty());

        write_atomically(&path, |writer| writer.write_all(b"old")).expect("there is room");
        assert_eq!(write_atomically(&path, failing).expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).expect("it is there"), b"old");
        write_atomically(&path, |writer| writer.write_all(b"new")).expect("there is room");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"new");
        assert_eq!(names(folder.path()), ["file"]);
    }
}
