//! The file that is looked at, be it on the disk or a pipe.

use crate::cli::{
    failure::{Exit, Failure, Fallible, Result},
    input::ReadSeek,
};
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The longest file that is read whole.
const LENGTH_MAX: u64 = 512 << 20;
/// How much of a file tells its format, if it has magic bytes.
const START_LENGTH: u64 = 16;

/// A file that is looked at.
pub(super) struct Subject {
    path: PathBuf,
    start: Zeroizing<Vec<u8>>,
    /// All of it, where it can be read but once.
    piped: Option<Zeroizing<Vec<u8>>>,
}

impl Subject {
    /// Opens a file, a pipe, or standard input.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let doing = || path.display().to_string();
        let read = |reader: &mut dyn Read, length: u64| {
            let mut bytes = Zeroizing::new(Vec::new());
            reader.take(length).read_to_end(&mut bytes).map(|_| bytes)
        };
        let (start, piped) = if path == Path::new("-") {
            (None, Some(read(&mut io::stdin().lock(), LENGTH_MAX + 1).or_exit_while(Exit::Input, "standard input")?))
        } else {
            let mut file = File::open(path).or_exit_while(Exit::Input, doing())?;
            let is_regular = file.metadata().or_exit_while(Exit::Input, doing())?.is_file();
            let length = if is_regular { START_LENGTH } else { LENGTH_MAX + 1 };
            let bytes = read(&mut file, length).or_exit_while(Exit::Input, doing())?;
            if is_regular { (Some(bytes), None) } else { (None, Some(bytes)) }
        };
        if piped.as_ref().is_some_and(|bytes| bytes.len() as u64 > LENGTH_MAX) {
            return Err(Failure::new(Exit::Input, format!("more than {LENGTH_MAX} bytes from a pipe")));
        }
        let first = |bytes: &Zeroizing<Vec<u8>>| Zeroizing::new(bytes.iter().copied().take(16).collect::<Vec<u8>>());
        let start = start.or_else(|| piped.as_ref().map(first)).unwrap_or_default();
        Ok(Self { path: path.to_owned(), start, piped })
    }

    /// The first bytes.
    pub(super) fn start(&self) -> &[u8] {
        &self.start
    }

    /// The path, for formats that are opened by it.
    pub(super) fn named(&self) -> Result<&Path> {
        if self.piped.is_some() {
            let failure = Failure::new(Exit::Input, "what comes through a pipe is a file that must be opened in place");
            return Err(failure.advise("name the file itself"));
        }
        Ok(&self.path)
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(bytes) = &self.piped {
            return Ok(bytes.clone());
        }
        let doing = || self.path.display().to_string();
        let mut bytes = Zeroizing::new(Vec::new());
        let file = File::open(&self.path).or_exit_while(Exit::Input, doing())?;
        let length = file.metadata().or_exit_while(Exit::Input, doing())?.len();
        if length > LENGTH_MAX {
            let message = format!("{} has {length} bytes, more than any file of a format without magic bytes", doing());
            return Err(Failure::new(Exit::Input, message));
        }
        // Nothing is moved while it grows, so no copy of a secret stays behind.
        bytes.reserve_exact(length as usize + 1);
        file.take(LENGTH_MAX).read_to_end(&mut bytes).or_exit_while(Exit::Input, doing())?;
        Ok(bytes)
    }

    /// A reader from the start on.
    pub(super) fn reader(&self) -> Result<Box<dyn ReadSeek + '_>> {
        Ok(match &self.piped {
            Some(bytes) => Box::new(Cursor::new(bytes.as_slice())),
            None => {
                let file = File::open(&self.path).or_exit_while(Exit::Input, self.path.display().to_string())?;
                Box::new(BufReader::new(file))
            }
        })
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Whether nobody but its owner can read a file; a pipe is nobody else's.
#[cfg(unix)]
pub(super) fn is_private(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    if path == Path::new("-") {
        return Ok(true);
    }
    Ok(path.metadata()?.permissions().mode() & 0o077 == 0)
}

/// Elsewhere than on Unix the folder's access rules hold, which are not looked at.
#[cfg(not(unix))]
pub(super) fn is_private(_: &Path) -> io::Result<bool> {
    Ok(true)
}
