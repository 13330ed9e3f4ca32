//! The proving key as a file that is mapped into memory and used in place.
//!
//! A header of fixed length names the circuit and says where each section lies; the sections hold points as
//! [`taproof_arith`] computes with them, aligned to cache lines. Opening reads the header alone, so it takes no longer for
//! a key of a gigabyte. The sections are read through once, on all threads, before the first proof.

mod header;
#[cfg(test)]
mod tests;

pub use header::KeyHeader;

use crate::{atomic_file::write_atomically, setup::ProvingKey};
use bytemuck::AnyBitPattern;
use header::{ALIGNMENT, SECTION_COUNT, Section, layout};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};
use taproof_arith::{G1, G2, MappedFile};
use taproof_verifier::{
    groth16::{self, PreparedVerifyingKey},
    statement::CircuitId,
};

/// Why a file cannot be used as the proving key of a circuit, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("the key file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process is writing to the file.
    #[error("the key file {0} is locked by another process")]
    Locked(PathBuf),
    /// The file cannot be written.
    #[error("the key file {path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room for the file.
    #[error("the disk is full: the key file {path} takes {length} bytes")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What it takes.
        length: u64,
    },
    /// The file does not begin as a key does.
    #[error("the file is not a proving key")]
    NotAKey,
    /// The key was written by a machine of the other byte order, or this is one.
    #[error("the key's byte order is not this machine's, or this machine is not little-endian")]
    ForeignByteOrder,
    /// The layout is another version's.
    #[error("the key's layout is version {found}, and this program knows version {known}: make the key anew")]
    ForeignVersion {
        /// The file's.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// The file ends early.
    #[error("the key is truncated: {found} bytes of {expected}")]
    Truncated {
        /// The length that the key needs at least.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The header does not hash to its checksum.
    #[error("the key's header was altered")]
    HeaderAltered,
    /// The header contradicts itself or the length of the file.
    #[error("the key's header is inconsistent")]
    Inconsistent,
    /// The verifying key in the header is none.
    #[error("the verifying key in the key's header: {0}")]
    VerifyingKey(groth16::KeyError),
    /// The key is another circuit's.
    #[error("the key belongs to circuit {found}, not to {expected}")]
    OtherCircuit {
        /// The circuit that was asked for.
        expected: CircuitId,
        /// The key's.
        found: CircuitId,
    },
    /// The circuit has the same name but other matrices, so it changed after the key was made.
    #[error("the key belongs to other matrices of circuit {0}: make the key anew")]
    OtherMatrices(CircuitId),
    /// The bytes of a section do not hash to the header's digest.
    #[error("the key was altered in its section {0}")]
    SectionAltered(&'static str),
    /// A section that hashes as it should holds what no key holds.
    #[error("the key's section {0} holds wires out of range or out of order")]
    SectionInvalid(&'static str),
}

/// The sections' names, in order.
const NAMES: [&str; SECTION_COUNT] = ["A wires", "A", "B wires", "B in G1", "B in G2", "L", "H"];

/// A mapped proving key, its header checked.
#[derive(Debug)]
pub struct Key {
    file: MappedFile,
    header: KeyHeader,
    prepared: PreparedVerifyingKey,
    /// What is wrong with the sections, once they have been read through.
    sections_checked: OnceLock<Result<(), SectionFault>>,
}

/// What reading the sections through can find.
#[derive(Clone, Copy, Debug)]
enum SectionFault {
    Altered(&'static str),
    Invalid(&'static str),
}

impl Key {
    /// Maps the key of a circuit and checks its header.
    ///
    /// # Errors
    /// Any of [`KeyFileError`] that reading a header can show.
    pub fn open(path: &Path, circuit: CircuitId, matrix_hash: [u8; 32]) -> Result<Self, KeyFileError> {
        let key = Self::open_any(path)?;
        if key.header.circuit != circuit {
            return Err(KeyFileError::OtherCircuit { expected: circuit, found: key.header.circuit });
        }
        if key.header.matrix_hash != matrix_hash {
            return Err(KeyFileError::OtherMatrices(circuit));
        }
        Ok(key)
    }

    /// Maps a key of whatever circuit, to report on it.
    ///
    /// # Errors
    /// As [`Key::open`].
    pub fn open_any(path: &Path) -> Result<Self, KeyFileError> {
        let file = MappedFile::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => KeyFileError::Locked(path.to_owned()),
            _ => KeyFileError::Read { path: path.to_owned(), source },
        })?;
        let header = KeyHeader::decode(file.bytes())?;
        let prepared = header.verifying_key.prepare();
        Ok(Self { file, header, prepared, sections_checked: OnceLock::new() })
    }

    /// What the header says.
    pub fn header(&self) -> &KeyHeader {
        &self.header
    }

    /// The verifying key, prepared.
    pub fn prepared_verifying_key(&self) -> &PreparedVerifyingKey {
        &self.prepared
    }

    /// Reads all sections through and compares their digests, the first time it is called.
    ///
    /// # Errors
    /// [`KeyFileError::SectionAltered`], [`KeyFileError::SectionInvalid`].
    pub fn sections(&self) -> Result<Sections<'_>, KeyFileError> {
        self.sections_checked.get_or_init(|| self.check_sections()).map_err(|fault| match fault {
            SectionFault::Altered(name) => KeyFileError::SectionAltered(name),
            SectionFault::Invalid(name) => KeyFileError::SectionInvalid(name),
        })?;
        Ok(self.sections_unchecked())
    }

    fn check_sections(&self) -> Result<(), SectionFault> {
        for (section, name) in self.header.sections.iter().zip(NAMES) {
            let mut hasher = blake3::Hasher::new();
            hasher.update_rayon(self.bytes_of(section));
            if hasher.finalize() != section.digest {
                return Err(SectionFault::Altered(name));
            }
        }
        let sections = self.sections_unchecked();
        for (wires, name) in [(sections.a_wires, NAMES[0]), (sections.b_wires, NAMES[2])] {
            let in_range = wires.last().is_none_or(|last| *last < self.header.wire_count);
            if !in_range || !wires.is_sorted_by(|left, right| left < right) {
                return Err(SectionFault::Invalid(name));
            }
        }
        Ok(())
    }

    fn bytes_of(&self, section: &Section) -> &[u8] {
        // The header was checked against the file's length, which a mapping fixes.
        &self.file.bytes()[section.offset as usize..][..section.length as usize]
    }

    fn sections_unchecked(&self) -> Sections<'_> {
        let [a_wires, a, b_wires, b_g1, b_g2, l, h] = self.header.sections.each_ref().map(|s| self.bytes_of(s));
        Sections {
            a_wires: cast(a_wires),
            a: cast(a),
            b_wires: cast(b_wires),
            b_g1: cast(b_g1),
            b_g2: cast(b_g2),
            l: cast(l),
            h: cast(h),
        }
    }
}

/// A section as its values. Its offset and length fit the type: the header's check saw to it.
fn cast<T: AnyBitPattern>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).expect("sections are aligned and hold whole values")
}

/// The sections of a key.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    /// The wires that occur in A, rising.
    pub a_wires: &'a [u32],
    /// For each of them, its point.
    pub a: &'a [G1],
    /// The wires that occur in B, rising.
    pub b_wires: &'a [u32],
    /// For each of them, its point in G1.
    pub b_g1: &'a [G1],
    /// For each of them, its point in G2.
    pub b_g2: &'a [G2],
    /// A point for each wire but the public ones.
    pub l: &'a [G1],
    /// A point for each root of the odd coset.
    pub h: &'a [G1],
}

/// Writes a key file, whole or not at all.
///
/// # Errors
/// [`KeyFileError::DiskFull`], [`KeyFileError::Write`].
pub fn write(key: &ProvingKey, path: &Path) -> Result<(), KeyFileError> {
    let sections: [&[u8]; SECTION_COUNT] = [
        bytemuck::cast_slice(&key.a_wires),
        bytemuck::cast_slice(&key.a),
        bytemuck::cast_slice(&key.b_wires),
        bytemuck::cast_slice(&key.b_g1),
        bytemuck::cast_slice(&key.b_g2),
        bytemuck::cast_slice(&key.l),
        bytemuck::cast_slice(&key.h),
    ];
    let offsets = layout(sections.map(|bytes| bytes.len() as u64));
    let header = KeyHeader {
        circuit: key.circuit,
        matrix_hash: key.matrix_hash,
        wire_count: key.wire_count,
        row_count: key.row_count,
        verifying_key: key.verifying_key.clone(),
        beta_g1: key.beta_g1,
        delta_g1: key.delta_g1,
        sections: core::array::from_fn(|i| Section {
            offset: offsets[i],
            length: sections[i].len() as u64,
            digest: *blake3::Hasher::new().update_rayon(sections[i]).finalize().as_bytes(),
        }),
    };
    let contents = |file: &mut dyn Write| {
        file.write_all(&header.encode())?;
        let mut position = header::LENGTH as u64;
        for (bytes, offset) in sections.into_iter().zip(offsets) {
            file.write_all(&[0; ALIGNMENT][..(offset - position) as usize])?;
            file.write_all(bytes)?;
            position = offset + bytes.len() as u64;
        }
        Ok(())
    };
    write_atomically(path, contents).map_err(|source| write_error(path, header.file_length(), source))
}

fn write_error(path: &Path, length: u64, source: io::Error) -> KeyFileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => KeyFileError::DiskFull { path, length },
        _ => KeyFileError::Write { path, source },
    }
}
