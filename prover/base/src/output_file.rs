//! Files that commands write.
//!
//! A regular file, or one that is not there yet, appears whole or not at all: it is written under a temporary name and
//! renamed. Everything else is written in place: devices, pipes, what a shell has opened, and files that cannot be
//! renamed over, as those that a container has mounted by themselves. Symbolic links stay, and what they lead to is
//! written, but for what another user has put into a folder where everybody may make files, as `/tmp`: that is refused.
//!
//! A new file gets the mode that the umask leaves, or 0600 if it holds secrets; a file that exists keeps its mode and
//! owner.

mod place;
mod target;
#[cfg(all(test, unix))]
mod tests;

use crate::temporary_file;
use place::{Identity, Place, Standard};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
};
use target::Target;
use tempfile::{NamedTempFile, PersistError};

/// Who may read a file that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever the umask lets.
    Public,
    /// Its owner alone.
    Private,
}

/// A file that is going to be written: where it is to be is known, and that it can be written.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    sink: Sink,
    access: Access,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    /// Open, and written as it is.
    Stream(File),
    /// A pipe with a name that nobody reads yet. To open it is to wait for a reader.
    #[cfg(unix)]
    Fifo(PathBuf),
    /// A regular file, there or not, which is replaced where that can be done.
    Regular {
        target: PathBuf,
        place: Place,
    },
}

/// Why files may not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictError {
    /// One file would take the place of another.
    #[error("{first} and {second} are one file or stream, which cannot hold both")]
    Outputs {
        /// The first of the two.
        first: PathBuf,
        /// The second.
        second: PathBuf,
    },
    /// A file that is read would be overwritten.
    #[error("{output} is the file {input}, which is read")]
    Input {
        /// The file that would be written.
        output: PathBuf,
        /// The name by which it is read.
        input: PathBuf,
    },
    /// What a command reports would be mixed into a file.
    #[error("{output} is where the report goes")]
    Report {
        /// The file.
        output: PathBuf,
    },
    /// A file that nothing may take the place of would be overwritten.
    #[error("{output} is the file {file}, which no output replaces")]
    Guarded {
        /// The file that would be written.
        output: PathBuf,
        /// The name under which it is guarded.
        file: PathBuf,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OutputFile {
    /// Finds out where a file is to be written and that it can be. `-` is standard output, which must lead somewhere.
    ///
    /// Nothing is written or left behind if [`OutputFile::write`] is not called.
    ///
    /// # Errors
    /// Those of the file system, for a folder or a file that may not be written among others.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), sink: Sink::open(path)?, access })
    }

    /// Writes the file. Whatever fails, and whenever the process is killed, a regular file holds what it held before or
    /// all that `write` wrote; only one that cannot be renamed over can hold less if the disk is full or the process
    /// killed just then.
    ///
    /// # Errors
    /// Those of `write` and of the file system; [`io::ErrorKind::WouldBlock`] if the file cannot be replaced and
    /// another process has locked it.
    pub fn write(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let written = match self.sink {
            Sink::Stdout => write_stream(io::stdout().lock(), write),
            Sink::Stderr => write_stream(io::stderr().lock(), write),
            Sink::Stream(file) => write_stream(file, write),
            #[cfg(unix)]
            Sink::Fifo(path) => write_stream(no_link(&mut File::options()).write(true).open(path)?, write),
            Sink::Regular { target, .. } => {
                replace(&target, self.access, write, |temporary, target| temporary.persist(target))
            }
        };
        written.map_err(|error| match error.kind() {
            // A reader of a report may leave when it has seen enough. A file that nobody took is lost.
            io::ErrorKind::BrokenPipe => io::Error::other("whoever was to read it has left"),
            _ => error,
        })
    }

    /// The name that the file was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is standard output, which then has no place for anything else.
    pub fn is_stdout(&self) -> bool {
        matches!(self.sink, Sink::Stdout)
    }

    /// The regular file that writing would change.
    fn changed(&self) -> io::Result<Option<Place>> {
        let metadata = match &self.sink {
            Sink::Regular { place, .. } => return Ok(Some(place.clone())),
            Sink::Stream(file) => Some(file.metadata()?),
            Sink::Stdout => Standard::Output.metadata(),
            _ => None,
        };
        Ok(metadata.filter(Metadata::is_file).as_ref().and_then(Identity::of_open).map(Place::Found))
    }

    /// Where the contents go, if that can hold those of one file alone. Devices hold whatever comes.
    fn taken(&self) -> io::Result<Option<Place>> {
        match &self.sink {
            Sink::Regular { place, .. } => Ok(Some(place.clone())),
            Sink::Stdout => Ok(Some(Standard::Output.place())),
            Sink::Stderr => Ok(Some(Standard::Error.place())),
            Sink::Stream(file) => Ok(Place::of_one_reader(&file.metadata()?)),
            #[cfg(unix)]
            Sink::Fifo(path) => Ok(Place::of_one_reader(&fs::metadata(path)?)),
        }
    }
}

/// Checks that what a command reports is not mixed into a file that it writes: the report goes to standard output, or
/// to standard error where standard output is one of the files.
///
/// # Errors
/// [`ConflictError::Report`], and [`ConflictError::Io`] for an output that cannot be looked at.
pub fn expect_report_apart(outputs: &[&OutputFile]) -> Result<(), ConflictError> {
    let is_taken = outputs.iter().any(|output| output.is_stdout());
    let report = if is_taken { Standard::Error } else { Standard::Output }.place();
    for output in outputs {
        let taken = output.taken().map_err(|source| ConflictError::Io { path: output.path.clone(), source })?;
        if taken.is_some_and(|taken| taken == report) {
            return Err(ConflictError::Report { output: output.path.clone() });
        }
    }
    Ok(())
}

/// Checks that no file takes the place of another or of one that is read, by whichever of its names, and that no
/// stream is to take two files. Devices may be given twice. An input that is not there is none.
///
/// # Errors
/// Each of [`ConflictError`].
pub fn expect_distinct(outputs: &[OutputFile], inputs: &[&Path]) -> Result<(), ConflictError> {
    let io_error = |path: &Path, source| ConflictError::Io { path: path.to_owned(), source };
    let (mut changed, mut taken) = (HashMap::new(), HashMap::new());
    for output in outputs {
        if let Some(place) = output.changed().map_err(|error| io_error(&output.path, error))? {
            changed.insert(place, &output.path);
        }
        let place = output.taken().map_err(|error| io_error(&output.path, error))?;
        if let Some(first) = place.and_then(|place| taken.insert(place, &output.path)) {
            return Err(ConflictError::Outputs { first: first.clone(), second: output.path.clone() });
        }
    }
    for input in inputs {
        let Ok(metadata) = fs::metadata(input) else { continue };
        let place = Identity::of(input, &metadata).map_err(|error| io_error(input, error))?;
        if let Some(output) = changed.get(&Place::Found(place)) {
            return Err(ConflictError::Input { output: (*output).clone(), input: input.to_path_buf() });
        }
    }
    Ok(())
}

/// Checks that no output takes the place of one of these files, by whichever of its names, be it there or not.
///
/// # Errors
/// [`ConflictError::Guarded`], and [`ConflictError::Io`] for an output that cannot be looked at.
pub fn expect_unguarded(outputs: &[OutputFile], guarded: &[PathBuf]) -> Result<(), ConflictError> {
    // What cannot be found cannot be written either.
    let places: HashMap<Place, &PathBuf> =
        guarded.iter().filter_map(|file| Some((Place::of(file).ok()??, file))).collect();
    for output in outputs {
        let changed = output.changed();
        let changed = changed.map_err(|source| ConflictError::Io { path: output.path.clone(), source })?;
        if let Some(file) = changed.and_then(|place| places.get(&place)) {
            return Err(ConflictError::Guarded { output: output.path.clone(), file: file.to_path_buf() });
        }
    }
    Ok(())
}

/// Writes a file that nothing was to be known of beforehand.
///
/// # Errors
/// As [`OutputFile::open`] and [`OutputFile::write`].
pub fn write_file(path: &Path, access: Access, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    OutputFile::open(path, access)?.write(write)
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        match path.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => {
                if is_closed(&io::stdout())? {
                    return Err(io::Error::other("standard output is closed"));
                }
                return Ok(Self::Stdout);
            }
            Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => return Ok(Self::Stderr),
            _ => {}
        }
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.file_name().is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        match Target::of(path)? {
            // What a shell has opened for us, in the middle of something perhaps: nothing of it is cut off.
            Target::Opened => Ok(Self::Stream(File::options().append(true).open(path)?)),
            Target::Absent(target) => {
                let folder = folder_of(&target);
                // Has no name, so that it is gone whatever happens to the process.
                tempfile::tempfile_in(folder)?;
                let place = Place::absent(&target)?;
                Ok(Self::Regular { target, place })
            }
            Target::Found(target, metadata) if metadata.is_file() => {
                no_link(&mut File::options()).write(true).open(&target)?;
                let place = Place::Found(Identity::of(&target, &metadata)?);
                Ok(Self::Regular { target, place })
            }
            Target::Found(target, metadata) => Self::open_special(target, &metadata),
        }
    }

    #[cfg(unix)]
    fn open_special(target: PathBuf, metadata: &Metadata) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
        let mut options = File::options();
        no_link(&mut options).write(true);
        if !metadata.file_type().is_fifo() {
            return Ok(Self::Stream(options.open(&target)?));
        }
        match options.clone().custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(&target) {
            // There is a reader, who is not to be left alone between the two.
            Ok(_reading) => Ok(Self::Stream(options.open(&target)?)),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(Self::Fifo(target)),
            Err(error) => Err(error),
        }
    }

    #[cfg(not(unix))]
    fn open_special(target: PathBuf, _: &Metadata) -> io::Result<Self> {
        Ok(Self::Stream(File::options().write(true).open(&target)?))
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a stream was closed when the process began. Rust's start then puts /dev/null there, open for reading as
/// well, which a shell's `> /dev/null` is not.
#[cfg(unix)]
fn is_closed(stream: &impl std::os::fd::AsFd) -> io::Result<bool> {
    use std::{io::Read, os::unix::fs::MetadataExt};
    let mut file = File::from(stream.as_fd().try_clone_to_owned()?);
    let Ok(null) = fs::metadata("/dev/null") else { return Ok(false) };
    let (found, null) = (file.metadata()?.rdev(), null.rdev());
    Ok(found != 0 && found == null && file.read(&mut [0]).is_ok())
}

#[cfg(not(unix))]
fn is_closed<T>(_: &T) -> io::Result<bool> {
    Ok(false)
}

fn write_stream(stream: impl Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER_LENGTH, stream);
    write(&mut writer)?;
    writer.flush()
}

const BUFFER_LENGTH: usize = 1 << 20;

/// Writes beside the target and renames; writes in place if that cannot be done and the target is there.
fn replace(
    target: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    rename: impl FnOnce(NamedTempFile, &Path) -> Result<File, PersistError>,
) -> io::Result<()> {
    let folder = folder_of(target);
    // All links were followed before: one that is there now is replaced, and what it leads to is not touched.
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?).filter(|found| !found.is_symlink()),
    };
    let mut temporary = match temporary_in(folder, access, found.is_some()) {
        // Nothing can be made beside the target, which can be written nevertheless.
        Err(_) if found.is_some() => {
            let mut unnamed = tempfile::tempfile()?;
            write_stream(&unnamed, write)?;
            return overwrite(target, &mut unnamed);
        }
        temporary => temporary?,
    };
    temporary_file::hold(&temporary);
    // To the file itself: by its name it would name that in an error, which nobody knows.
    write_stream(temporary.as_file(), write)?;
    if let Some(found) = &found
        && keep_owner_and_mode(temporary.as_file(), found).is_err()
    {
        return overwrite(target, temporary.as_file_mut());
    }
    temporary.as_file().sync_all()?;
    match rename(temporary, target) {
        Ok(_) => {}
        Err(PersistError { error, mut file }) if is_mount(&error) => return overwrite(target, file.as_file_mut()),
        Err(PersistError { error, .. }) => return Err(error),
    }
    // The rename itself is durable once the folder is; a folder cannot be opened on every system.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}

/// Whether a rename failed because the target is the root of a mount.
fn is_mount(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices)
}

/// Puts the contents of one file into another that is there.
fn overwrite(target: &Path, contents: &mut File) -> io::Result<()> {
    let mut target = no_link(&mut File::options()).write(true).open(target)?;
    // Who has mapped the file has locked it, and must not see it change.
    if let Err(TryLockError::WouldBlock) = target.try_lock() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    contents.rewind()?;
    target.set_len(0)?;
    io::copy(contents, &mut target)?;
    target.sync_all()
}

/// Options that open no symbolic link: those that are to be followed have been.
#[cfg(unix)]
fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(libc::O_NOFOLLOW)
}

#[cfg(not(unix))]
fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// A temporary file in a folder. One that takes the place of another is its maker's alone until it gets the other's
/// mode.
#[cfg(unix)]
fn temporary_in(folder: &Path, access: Access, takes_place: bool) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let mode = if takes_place || access == Access::Private { 0o600 } else { 0o666 };
    temporary_file::temporary_in(folder, tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)))
}

#[cfg(not(unix))]
fn temporary_in(folder: &Path, _: Access, _: bool) -> io::Result<NamedTempFile> {
    temporary_file::temporary_in(folder, &mut tempfile::Builder::new())
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, found: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (found.uid(), found.gid()) {
        fchown(file, Some(found.uid()), Some(found.gid()))?;
    }
    file.set_permissions(found.permissions())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(file: &File, found: &Metadata) -> io::Result<()> {
    file.set_permissions(found.permissions())
}
