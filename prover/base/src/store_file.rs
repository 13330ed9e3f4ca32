//! Making and opening the [redb] file of a store.

use crate::{io_fault::is_denied, temporary_file::temporary_in};
use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError, backends::InMemoryBackend};
use std::{
    fs::{File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tempfile::NamedTempFile;

/// How long to wait for another process that has a file open.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A store that is being made. Its file gets its name when all is in it, so that a crash leaves no half store.
pub struct UnnamedStore {
    file: NamedTempFile,
    path: PathBuf,
}

impl UnnamedStore {
    /// An empty file in the folder where the store will be.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { file: temporary_in(folder_of(path), &mut tempfile::Builder::new())?, path: path.to_owned() })
    }

    /// The file, for redb.
    pub fn file(&self) -> io::Result<File> {
        self.file.reopen()
    }

    /// Gives it its name, durably; [`io::ErrorKind::AlreadyExists`] if another file has the name.
    pub fn name(self) -> io::Result<()> {
        self.file.persist_noclobber(&self.path).map_err(|error| error.error)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What opens every store: it looks at each page's checksum first, since redb panics at a page that is damaged.
pub fn checked() -> Builder {
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(true);
    builder
}

/// Opens a file, waiting a few seconds for another process that has it open.
pub fn open_patiently(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, DatabaseError> {
    let started = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// A store that is read, as `opened` has it, or where this process may not write its file, which redb does even to
/// read it, as a copy in memory, with the reason. What is written to a copy is lost.
pub fn or_copy(
    opened: Result<Database, DatabaseError>,
    path: &Path,
    builder: &Builder,
) -> Result<(Database, Option<io::ErrorKind>), DatabaseError> {
    match opened {
        Err(DatabaseError::Storage(StorageError::Io(error))) if is_denied(&error) => {
            let memory = InMemoryBackend::new();
            let bytes = read(path)?;
            memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes)).map_err(StorageError::Io)?;
            Ok((builder.create_with_backend(memory)?, Some(error.kind())))
        }
        opened => Ok((opened?, None)),
    }
}

/// Copies a store to another place.
pub fn copy(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    let started = Instant::now();
    let bytes = loop {
        match read(from) {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            read => break read?,
        }
    };
    Ok(std::fs::write(to, bytes).map_err(StorageError::Io)?)
}

/// Reads the file while nobody writes to it.
fn read(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    // Not as what may not be written: more is amiss here.
    let unreadable = |error| StorageError::Io(io::Error::other(format!("{} cannot be read: {error}", path.display())));
    let mut file = File::open(path).map_err(unreadable)?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Err(DatabaseError::DatabaseAlreadyOpen),
        // Where there are no locks, nobody has one.
        Err(TryLockError::Error(_)) | Ok(()) => {}
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
