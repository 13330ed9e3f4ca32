//! Files mapped into memory.

use memmap2::{Mmap, MmapMut};
use std::{
    fs::{File, TryLockError},
    io::{self, Read},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long another process may hold a file locked before the file is copied.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A file mapped read-only, under a shared lock for as long as it is mapped; or a copy of one that another process
/// holds locked.
///
/// Whoever can read a file can lock it, and has no right thereby to keep others from reading. But who holds the lock
/// may also be about to write, so that the file cannot be mapped: it would change, or end, under the reader. So it is
/// read into memory.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    /// Holds the lock; none of a copy.
    file: Option<File>,
}

impl MappedFile {
    /// Maps a file, or copies it if another process does not let go of its lock within two seconds.
    ///
    /// # Errors
    /// Those of opening, mapping and reading.
    #[allow(unsafe_code, reason = "mapping a file is unsafe by its nature")]
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !lock_within(&file, PATIENCE)? {
            return Ok(Self { map: copy(&file)?, file: None });
        }
        // SAFETY: the map is read-only, and its bytes must not change while it lives. Files that are mapped are made
        // under another name and renamed, which leaves this map on the old file. Where that cannot be done they are
        // written in place under an exclusive lock, which the shared one keeps out, as it does all writers that heed
        // locks. One that ignores both could change what is read, which the digests of the file's sections are there to
        // find.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map, file: Some(file) })
    }

    /// Whether this is a copy. What it was made of may have been written meanwhile, so that it holds some of the old
    /// and some of the new.
    pub fn is_copy(&self) -> bool {
        self.file.is_none()
    }

    /// The file's bytes; the first is aligned to a page.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// Takes a shared lock; whether that could be done within a time.
fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if started.elapsed() < patience => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The contents in memory of our own; [`io::ErrorKind::UnexpectedEof`] if the file becomes shorter meanwhile.
fn copy(mut file: &File) -> io::Result<Mmap> {
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut memory = MmapMut::map_anon(length)?;
    file.read_exact(&mut memory)?;
    memory.make_read_only()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_shared_and_copies_a_file_that_another_has_locked() {
        let folder = std::env::temp_dir().join(format!("taproof-mapped-{}", std::process::id()));
        std::fs::write(&folder, b"some bytes").expect("the temporary folder is writable");
        let first = MappedFile::open(&folder).expect("a file that exists");
        let second = MappedFile::open(&folder).expect("readers share");
        assert_eq!((first.bytes(), second.bytes()), (&b"some bytes"[..], &b"some bytes"[..]));
        drop((first, second));
        let writer = File::options().write(true).open(&folder).expect("the file is ours");
        writer.lock().expect("nobody holds it");
        let copy = MappedFile::open(&folder).expect("it can be read");
        assert!(copy.is_copy());
        writer.set_len(0).expect("the file is ours");
        assert_eq!(copy.bytes(), b"some bytes", "what becomes of the file does not matter");
        assert_eq!(MappedFile::open(&folder).expect("it can be read").bytes(), b"");
        drop(writer);
        assert!(!MappedFile::open(&folder).expect("a file that exists").is_copy());
        std::fs::remove_file(&folder).expect("the file is ours");
        assert_eq!(MappedFile::open(&folder).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}
