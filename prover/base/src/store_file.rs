//! Making, opening, reading and writing the [redb] file of a store.

use crate::{io_fault::is_denied, store_error::StoreError, temporary_file::temporary_in};
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError, TableDefinition,
    TableError, WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};
use serde::{Serialize, de::DeserializeOwned};
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
    ///
    /// # Errors
    /// Those of the disk.
    pub fn new(path: &Path) -> Result<Self, StoreError> {
        let file = temporary_in(folder_of(path), &mut tempfile::Builder::new());
        let file = file.map_err(|error| StoreError::from_io(error, path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// The store in it, to be filled.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn database(&self) -> Result<Database, StoreError> {
        self.database_on(&mut Database::builder(), FileBackend::new)
    }

    /// The same over a backend of one's own.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn database_on<B: StorageBackend>(
        &self,
        builder: &mut Builder,
        backend: impl FnOnce(File) -> Result<B, DatabaseError>,
    ) -> Result<Database, StoreError> {
        let file = self.file.reopen().map_err(|error| StoreError::from_io(error, &self.path))?;
        let database = backend(file).and_then(|backend| builder.create_with_backend(backend));
        database.map_err(|error| StoreError::from_opening(error, &self.path))
    }

    /// Gives it its name, durably; `false`, and the file is gone, if another file has the name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn name(self) -> Result<bool, StoreError> {
        let synced = |_| File::open(folder_of(&self.path))?.sync_all();
        match self.file.persist_noclobber(&self.path).map_err(|error| error.error).and_then(synced) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::from_io(error, &self.path)),
        }
    }
}

/// Makes a store with what `fill` puts into it, unless another process makes it in the same moment.
///
/// # Errors
/// Those of the disk; then there is no file.
pub fn make(path: &Path, fill: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let unnamed = UnnamedStore::new(path)?;
    write(&unnamed.database()?, fill)?;
    unnamed.name()?;
    Ok(())
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

/// Whether there is a file.
///
/// # Errors
/// [`StoreError::NotAStore`] if it can be no store, as it is empty or no file, and those of the disk.
pub fn exists(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(true),
        Ok(_) => Err(StoreError::NotAStore(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::from_io(error, path)),
    }
}

/// Opens a file, waiting a few seconds for another process that has it open.
///
/// # Errors
/// [`StoreError::Busy`], [`StoreError::NotAStore`], [`StoreError::Corrupted`] and those of the disk.
pub fn open_patiently(path: &Path, open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, StoreError> {
    let started = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            opened => return opened.map_err(|error| StoreError::from_opening(error, path)),
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
            let bytes = read_file(path)?;
            memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes)).map_err(StorageError::Io)?;
            Ok((builder.create_with_backend(memory)?, Some(error.kind())))
        }
        opened => Ok((opened?, None)),
    }
}

/// Copies a store to another place.
///
/// # Errors
/// [`StoreError::Busy`] and those of the disk.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let started = Instant::now();
    let bytes = loop {
        match read_file(from) {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            read => break read.map_err(|error| StoreError::from_opening(error, from))?,
        }
    };
    std::fs::write(to, bytes).map_err(|error| StoreError::from_io(error, from))
}

/// Reads the file while nobody writes to it.
fn read_file(path: &Path) -> Result<Vec<u8>, DatabaseError> {
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

/// Reads what is in a store now.
///
/// # Errors
/// As `look`, and those of the disk.
pub fn read<T>(
    database: &Database,
    look: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    look(&database.begin_read()?)
}

/// Runs one durable transaction: all of `change`, or nothing.
///
/// # Errors
/// As `change`, and those of the disk.
pub fn write<T, E: From<StoreError>>(
    database: &Database,
    change: impl FnOnce(&WriteTransaction) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = database.begin_write().map_err(StoreError::from)?;
    // A transaction that is dropped is taken back.
    let value = change(&transaction)?;
    transaction.commit().map_err(StoreError::from)?;
    Ok(value)
}

/// Looks at the version of all tables together, which stands alone in its table.
///
/// # Errors
/// [`StoreError::NotAStore`] without that table, [`StoreError::Version`] and [`StoreError::Corrupted`].
pub fn expect_version(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, (), u32>,
    expected: u32,
    path: &Path,
) -> Result<(), StoreError> {
    let table = match transaction.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Err(StoreError::NotAStore(path.to_owned())),
        table => table?,
    };
    match table.get(())?.map(|version| version.value()) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(StoreError::Version { expected, found }),
        None => Err(StoreError::corrupted("the version is missing")),
    }
}

/// Encodes a value of a table.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("memory takes any value of a table")
}

/// Decodes what [`encode`] encodes.
///
/// # Errors
/// [`StoreError::Corrupted`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(StoreError::corrupted)?;
    if rest.is_empty() { Ok(value) } else { Err(StoreError::corrupted("bytes follow a value")) }
}
