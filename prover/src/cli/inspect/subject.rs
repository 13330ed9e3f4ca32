//! The file that is looked at, be it on the disk or a pipe.

use super::Start;
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

/// The longest file that is no text and has no magic bytes: a program, of as many circuits as two bytes count.
const UNMARKED_LENGTH_MAX: u64 = 1 << 25;

fn read(reader: &mut impl Read, length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    reader.take(length).read_to_end(&mut bytes).map(|_| bytes)
}

/// The most that a pipe may hold that begins like this; none if it is of a format that is opened in place.
fn length_max(start: &[u8]) -> Option<u64> {
    match Start::of(start) {
        Some(Start::Chain | Start::Key | Start::Store) => None,
        None if start.iter().any(|byte| *byte < b'\t') => Some(UNMARKED_LENGTH_MAX),
        _ => Some(LENGTH_MAX),
    }
}

/// A file that is looked at.
pub(super) struct Subject {
    path: PathBuf,
    start: Zeroizing<Vec<u8>>,
    /// All of it, where it can be read but once.
    piped: Option<Zeroizing<Vec<u8>>>,
}

impl Subject {
    /// Opens a file, a pipe, or standard input. What can be read but once is read no longer than what it
    /// begins as can be.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let doing = || path.display().to_string();
        if path == Path::new("-") {
            return Self::of_stream(path, io::stdin().lock()).map_err(|failure| failure.context("standard input"));
        }
        let mut file = File::open(path).or_exit_while(Exit::Input, doing())?;
        if !file.metadata().or_exit_while(Exit::Input, doing())?.is_file() {
            return Self::of_stream(path, file).map_err(|failure| failure.context(doing()));
        }
        let start = read(&mut file, START_LENGTH).or_exit_while(Exit::Input, doing())?;
        Ok(Self { path: path.to_owned(), start, piped: None })
    }

    fn of_stream(path: &Path, mut stream: impl Read) -> Result<Self> {
        let start = read(&mut stream, START_LENGTH).or_exit(Exit::Input)?;
        let piped = match length_max(&start) {
            // Nothing is done with the contents.
            None => start.clone(),
            Some(length_max) => {
                let bytes = read(&mut start.as_slice().chain(stream), length_max + 1).or_exit(Exit::Input)?;
                if bytes.len() as u64 > length_max {
                    let message = format!("it goes on after {length_max} bytes, the most of what begins like this");
                    return Err(Failure::new(Exit::Input, message));
                }
                bytes
            }
        };
        Ok(Self { path: path.to_owned(), start, piped: Some(piped) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_bound_what_is_read_of_a_pipe() {
        let endless = |start: &'static [u8]| Subject::of_stream(Path::new("-"), start.chain(io::repeat(0)));
        let failure = endless(b"").err().expect("zeros without end are of no format");
        assert!(failure.message().contains("goes on after 33554432 bytes"), "{}", failure.message());
        for in_place in [&b"taproofk"[..], b"redb", &bitcoin::Network::Regtest.magic().to_bytes()] {
            let subject = Subject::of_stream(Path::new("-"), Cursor::new(in_place.to_vec()).chain(io::repeat(0)));
            assert!(subject.expect("the rest is not read").named().is_err());
        }
        let whole = Subject::of_stream(Path::new("-"), &b"abandon abandon and so on"[..]).expect("it is short");
        assert_eq!(whole.bytes().expect("it is in memory").as_slice(), b"abandon abandon and so on");
    }
}
