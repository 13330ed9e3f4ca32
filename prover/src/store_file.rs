//! Making and opening the [redb] file of a store.

use crate::temporary_file::temporary_in;
use redb::{Database, DatabaseError};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tempfile::{Builder, NamedTempFile};

/// How long to wait for another process that has a file open.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A store that is being made. Its file gets its name when all is in it, so that a crash leaves no half store.
pub(crate) struct UnnamedStore {
    file: NamedTempFile,
    path: PathBuf,
}

impl UnnamedStore {
    /// An empty file in the folder where the store will be.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { file: temporary_in(folder_of(path), &mut Builder::new())?, path: path.to_owned() })
    }

    /// The file, for redb.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.reopen()
    }

    /// Gives it its name, durably; [`io::ErrorKind::AlreadyExists`] if another file has the name.
    pub(crate) fn name(self) -> io::Result<()> {
        self.file.persist_noclobber(&self.path).map_err(|error| error.error)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file, waiting a few seconds for another process that has it open.
pub(crate) fn open_patiently(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, DatabaseError> {
    let started = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            result => return result,
        }
    }
}
