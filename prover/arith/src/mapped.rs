//! Files mapped into memory.

use memmap2::Mmap;
use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// A file mapped read-only, under a shared lock for as long as it is mapped.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    /// Holds the lock.
    _file: File,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// Those of opening and mapping; [`io::ErrorKind::WouldBlock`] if another process holds the file locked for
    /// writing.
    #[allow(unsafe_code, reason = "mapping a file is unsafe by its nature")]
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.try_lock_shared().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        // SAFETY: the map is read-only, and its bytes must not change while it lives. Files that are mapped are
        // made under another name and renamed, which leaves this map on the old file. Where that cannot be done they are
        // written in place under an exclusive lock, which the shared one keeps out, as it does all writers that heed locks. One that ignores both could change what is read,
        // which the digests of the file's sections are there to find.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map, _file: file })
    }

    /// The file's bytes; the first is aligned to a page.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_shared_and_refuses_a_file_that_is_being_written() {
        let folder = std::env::temp_dir().join(format!("taproof-mapped-{}", std::process::id()));
        std::fs::write(&folder, b"some bytes").expect("the temporary folder is writable");
        let first = MappedFile::open(&folder).expect("a file that exists");
        let second = MappedFile::open(&folder).expect("readers share");
        assert_eq!((first.bytes(), second.bytes()), (&b"some bytes"[..], &b"some bytes"[..]));
        drop((first, second));
        let writer = File::options().write(true).open(&folder).expect("the file is ours");
        writer.lock().expect("nobody holds it");
        assert_eq!(MappedFile::open(&folder).expect_err("locked").kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        std::fs::remove_file(&folder).expect("the file is ours");
        assert_eq!(MappedFile::open(&folder).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}
