//! The container that iden3's binary formats share.

use std::io::{self, Write};

/// Writes a container: a magic of 4 bytes, a version and the number of sections (32 bits each), then for each section
/// its number (32 bits), its length in bytes (64 bits) and its contents. Integers are little-endian.
pub struct BinaryFile<'w> {
    out: &'w mut dyn Write,
    sections_left: u32,
}

impl<'w> BinaryFile<'w> {
    /// Starts a container.
    ///
    /// # Errors
    /// Those of writing.
    pub fn start(out: &'w mut dyn Write, magic: [u8; 4], version: u32, section_count: u32) -> io::Result<Self> {
        out.write_all(&magic)?;
        out.write_all(&version.to_le_bytes())?;
        out.write_all(&section_count.to_le_bytes())?;
        Ok(Self { out, sections_left: section_count })
    }

    /// Writes a section whose length is known before its contents.
    ///
    /// # Errors
    /// Those of writing.
    ///
    /// # Panics
    /// If `write` writes another length, or there are more sections than announced: the caller's mistake.
    pub fn section(
        &mut self,
        number: u32,
        length: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sections_left = self.sections_left.checked_sub(1).expect("no more sections than announced");
        self.out.write_all(&number.to_le_bytes())?;
        self.out.write_all(&length.to_le_bytes())?;
        let mut counting = Counting { out: self.out, written: 0 };
        write(&mut counting)?;
        assert_eq!(counting.written, length, "section {number} has the announced length");
        Ok(())
    }

    /// Ends the container.
    ///
    /// # Panics
    /// If there are fewer sections than announced.
    pub fn finish(self) {
        assert_eq!(self.sections_left, 0, "as many sections as announced");
    }
}

struct Counting<'w> {
    out: &'w mut dyn Write,
    written: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
