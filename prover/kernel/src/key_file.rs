//! The proving key as a file that is mapped into memory and used in place.
//!
//! A header of fixed length names the circuit and says where each section lies; the sections hold points as
//! [`taproof_arith`] computes with them, aligned to cache lines, and for a foreign circuit its matrices. Opening
//! reads the header and the IC points alone, so it takes no longer for a key of a gigabyte. The sections are read
//! through once, on all threads, before the first proof, for values that no key holds; their digests are compared
//! when a proof fails.
//!
//! [`KeyFile`] is a key of whatever circuit; [`Key`] is one of Taproof's own circuits,
//! [`ForeignKey`](crate::foreign_key::ForeignKey) one of anyone's.

mod header;
#[cfg(test)]
mod tests;

pub use header::KeyHeader;

use crate::{
    matrices::{Matrices, Matrix},
    proving_key::{
        Circuit, FixedPointError, POINT_SECTION_COUNT, Parts, ProvingKey, SECTION_NAMES, Sections, check_point, digest,
        is_coordinate,
    },
};
use bytemuck::{AnyBitPattern, cast_slice};
use header::{ALIGNMENT, Section, layout};
use rayon::prelude::*;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};
use taproof_arith::{G1, MappedFile, Point};
use taproof_base::{
    io_fault::is_full,
    output_file::{Access, OutputFile},
};
use taproof_circuits::iden3::json::VerifyingKeyPoints;
use taproof_verifier::{
    groth16::{self, PointError, PreparedVerifyingKey, VerifyingKey},
    statement::CircuitId,
};

/// Why a file cannot be used as the proving key of a circuit, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path}: the key file cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process is writing to the file, or has it locked where it would have to be written in place.
    #[error("{0}: another process has the key file locked")]
    Locked(PathBuf),
    /// The file cannot be written.
    #[error("{path}: the key file cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room for the file.
    #[error("{path}: the disk is full, or what this process may use of it: the key takes {length} bytes")]
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
    /// A point of the header is no member of its group.
    #[error(transparent)]
    Point(#[from] FixedPointError),
    /// A point of the section IC is none.
    #[error("the key's IC point {index}: {source}")]
    IcPoint {
        /// The public wire.
        index: usize,
        /// What is wrong with its point.
        source: PointError,
    },
    /// The verifying key of one of Taproof's circuits is none.
    #[error("the key's verifying key: {0}")]
    VerifyingKey(groth16::KeyError),
    /// The key is another circuit's.
    #[error("the key belongs to {found}, not to {expected}")]
    OtherCircuit {
        /// The circuit that was asked for.
        expected: CircuitId,
        /// The key's.
        found: Circuit,
    },
    /// The key is a foreign circuit's.
    #[error("the key belongs to a foreign circuit, where one of Taproof's is wanted")]
    ForeignCircuit,
    /// The key is one of Taproof's circuits, so it holds no matrices.
    #[error("the key belongs to circuit {0} of Taproof, whose proofs are made from batches, not from witnesses")]
    OwnCircuit(CircuitId),
    /// The circuit has the same name but other matrices, so it changed after the key was made.
    #[error("the key belongs to other matrices of circuit {0}: make the key anew")]
    OtherMatrices(CircuitId),
    /// The bytes of a section do not hash to the header's digest.
    #[error("the key was altered in its section {0}")]
    SectionAltered(&'static str),
    /// A section holds what no key holds.
    #[error("the key's section {0} holds values out of range or out of order")]
    SectionInvalid(&'static str),
}

/// A mapped key of whatever circuit, its header and IC points checked.
#[derive(Debug)]
pub struct KeyFile {
    file: MappedFile,
    header: KeyHeader,
    /// The first section with values that no key holds, if there is one, once all have been read through.
    invalid_section: OnceLock<Option<usize>>,
}

impl KeyFile {
    /// Maps a key and checks its header and the section of the IC points, which proofs are checked with. A key that
    /// another process has locked is copied and read through instead, so that nobody is kept from proving by whoever
    /// can read his key.
    ///
    /// # Errors
    /// Any of [`KeyFileError`] that does not concern another section or what the caller wants.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let file = MappedFile::open(path).map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
        if !file.is_copy() {
            return Self::new(file);
        }
        // Who had it locked may have been writing: a copy counts if all of it is one key.
        let copied = Self::new(file).and_then(|key| key.expect_intact().map(|()| key));
        copied.map_err(|_| KeyFileError::Locked(path.to_owned()))
    }

    fn new(file: MappedFile) -> Result<Self, KeyFileError> {
        let header = KeyHeader::decode(file.bytes())?;
        let key = Self { file, header, invalid_section: OnceLock::new() };
        key.check_digest(0)?;
        for (index, point) in key.ic().iter().enumerate() {
            check_point(point).map_err(|source| KeyFileError::IcPoint { index, source })?;
        }
        Ok(key)
    }

    /// What the header says.
    pub fn header(&self) -> &KeyHeader {
        &self.header
    }

    /// The key that proofs are checked with.
    pub fn verifying_key(&self) -> VerifyingKeyPoints {
        self.header.points.verifying_key(self.ic())
    }

    /// A point for each public wire.
    pub(crate) fn ic(&self) -> &[G1] {
        self.sections_unchecked().ic
    }

    /// The sections. Their values are read through the first time: indices must be in range and order, coordinates
    /// below the field's order. Whether they are the circuit's shows in a proof, which is verified;
    /// [`KeyFile::expect_intact`] tells if the file was damaged.
    ///
    /// # Errors
    /// [`KeyFileError::SectionAltered`], [`KeyFileError::SectionInvalid`].
    pub fn sections(&self) -> Result<Sections<'_>, KeyFileError> {
        match *self.invalid_section.get_or_init(|| self.first_invalid_section()) {
            None => Ok(self.sections_unchecked()),
            Some(section) => {
                self.check_digest(section)?;
                Err(KeyFileError::SectionInvalid(SECTION_NAMES[section]))
            }
        }
    }

    /// Reads all sections through and compares their digests.
    ///
    /// # Errors
    /// [`KeyFileError::SectionAltered`].
    pub fn expect_intact(&self) -> Result<(), KeyFileError> {
        (0..SECTION_NAMES.len()).try_for_each(|section| self.check_digest(section))
    }

    /// What a proof is made with.
    ///
    /// # Errors
    /// As [`KeyFile::sections`].
    pub(crate) fn parts(&self) -> Result<Parts<'_>, KeyFileError> {
        Ok(Parts { counts: self.header.counts, points: &self.header.points, sections: self.sections()? })
    }

    fn check_digest(&self, section: usize) -> Result<(), KeyFileError> {
        let found = &self.header.sections[section];
        if digest(self.bytes_of(found)) == found.digest {
            Ok(())
        } else {
            Err(KeyFileError::SectionAltered(SECTION_NAMES[section]))
        }
    }

    fn first_invalid_section(&self) -> Option<usize> {
        let (sections, wire_count) = (self.sections_unchecked(), self.header.wire_count());
        for (wires, section) in [(sections.a_wires, 1), (sections.b_wires, 3)] {
            let in_range = wires.last().is_none_or(|last| (*last as usize) < wire_count);
            if !in_range || !wires.is_sorted_by(|left, right| left < right) {
                return Some(section);
            }
        }
        // Sums take coordinates below the field's order for granted.
        let g1 = [sections.a, sections.b_g1, sections.l, sections.h].map(cast_slice::<_, [u64; 4]>);
        for (coordinates, section) in g1.into_iter().zip([2, 4, 6, 7]).chain([(cast_slice(sections.b_g2), 5)]) {
            if !coordinates.par_iter().all(is_coordinate) {
                return Some(section);
            }
        }
        match self.header.circuit {
            Circuit::Own(_) => None,
            Circuit::Foreign => sections.matrices.first_invalid(wire_count).map(|matrix| POINT_SECTION_COUNT + matrix),
        }
    }

    fn bytes_of(&self, section: &Section) -> &[u8] {
        // The header was checked against the file's length, which a mapping fixes.
        &self.file.bytes()[section.offset as usize..][..section.length as usize]
    }

    fn sections_unchecked(&self) -> Sections<'_> {
        let [ic, a_wires, a, b_wires, b_g1, b_g2, l, h, a_ends, a_terms, b_ends, b_terms, coefficients] =
            self.header.sections.each_ref().map(|section| self.bytes_of(section));
        Sections {
            ic: cast(ic),
            a_wires: cast(a_wires),
            a: cast(a),
            b_wires: cast(b_wires),
            b_g1: cast(b_g1),
            b_g2: cast(b_g2),
            l: cast(l),
            h: cast(h),
            matrices: Matrices {
                a: Matrix { row_ends: cast(a_ends), terms: cast(a_terms) },
                b: Matrix { row_ends: cast(b_ends), terms: cast(b_terms) },
                coefficients: cast(coefficients),
            },
        }
    }
}

/// A section as its values. Its offset and length fit the type: the header's check saw to it.
fn cast<T: AnyBitPattern>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).expect("sections are aligned and hold whole values")
}

/// A mapped key of one of Taproof's circuits, with its verifying key, which has exactly one public input.
#[derive(Debug)]
pub struct Key {
    file: KeyFile,
    circuit: CircuitId,
    prepared: PreparedVerifyingKey,
}

impl Key {
    /// Maps the key of a circuit and checks its header. Whether the circuit's matrices are still those that the key
    /// was made for is for [`Key::expect_matrices`] to tell, as to build them takes longer than all else that opens a
    /// key.
    ///
    /// # Errors
    /// Any of [`KeyFileError`] that reading a header can show.
    pub fn open(path: &Path, circuit: CircuitId) -> Result<Self, KeyFileError> {
        let file = KeyFile::open(path)?;
        match file.header.circuit {
            Circuit::Own(found) if found == circuit => Self::new(file, circuit),
            found => Err(KeyFileError::OtherCircuit { expected: circuit, found }),
        }
    }

    /// Maps a key of whichever of Taproof's circuits.
    ///
    /// # Errors
    /// As [`Key::open`], and [`KeyFileError::ForeignCircuit`].
    pub fn open_any(path: &Path) -> Result<Self, KeyFileError> {
        let file = KeyFile::open(path)?;
        match file.header.circuit {
            Circuit::Own(circuit) => Self::new(file, circuit),
            Circuit::Foreign => Err(KeyFileError::ForeignCircuit),
        }
    }

    fn new(file: KeyFile, circuit: CircuitId) -> Result<Self, KeyFileError> {
        let points = &file.header.points;
        let [beta, gamma, delta] = [points.beta, points.gamma, points.delta].map(|point| point.to_affine());
        let ic: Vec<_> = file.ic().iter().map(Point::to_affine).collect();
        let key = VerifyingKey::new(points.alpha.to_affine(), beta, gamma, delta, &ic);
        let prepared = key.map_err(KeyFileError::VerifyingKey)?.prepare();
        Ok(Self { file, circuit, prepared })
    }

    /// Checks that the key was made for the matrices of this [hash](taproof_circuits::cs::Shape::matrix_hash).
    ///
    /// # Errors
    /// [`KeyFileError::OtherMatrices`].
    pub fn expect_matrices(&self, matrix_hash: [u8; 32]) -> Result<(), KeyFileError> {
        if self.file.header.matrix_hash == matrix_hash {
            Ok(())
        } else {
            Err(KeyFileError::OtherMatrices(self.circuit))
        }
    }

    /// The circuit that the key belongs to.
    pub fn circuit(&self) -> CircuitId {
        self.circuit
    }

    /// What the header says.
    pub fn header(&self) -> &KeyHeader {
        &self.file.header
    }

    /// The key that proofs are checked with.
    pub fn verifying_key(&self) -> &VerifyingKey {
        self.prepared.key()
    }

    /// The verifying key, prepared.
    pub fn prepared_verifying_key(&self) -> &PreparedVerifyingKey {
        &self.prepared
    }

    /// As [`KeyFile::sections`].
    ///
    /// # Errors
    /// The same.
    pub fn sections(&self) -> Result<Sections<'_>, KeyFileError> {
        self.file.sections()
    }

    /// As [`KeyFile::expect_intact`].
    ///
    /// # Errors
    /// The same.
    pub fn expect_intact(&self) -> Result<(), KeyFileError> {
        self.file.expect_intact()
    }

    /// What a proof is made with.
    pub(crate) fn parts(&self) -> Result<Parts<'_>, KeyFileError> {
        self.file.parts()
    }
}

/// Writes a key file, whole or not at all.
///
/// # Errors
/// [`KeyFileError::DiskFull`], [`KeyFileError::Write`].
pub fn write(key: &ProvingKey, path: &Path) -> Result<(), KeyFileError> {
    let output = OutputFile::open(path, Access::Public);
    write_to(key, output.map_err(|source| KeyFileError::Write { path: path.to_owned(), source })?)
}

/// Writes a key file that was opened beforehand.
///
/// # Errors
/// As [`write()`].
pub fn write_to(key: &ProvingKey, output: OutputFile) -> Result<(), KeyFileError> {
    let sections = key.sections().to_bytes();
    let offsets = layout(lengths(key));
    let header = KeyHeader {
        circuit: key.circuit,
        matrix_hash: key.matrix_hash,
        counts: key.counts,
        points: key.points,
        beacons_only: key.beacons_only,
        sections: core::array::from_fn(|i| Section {
            offset: offsets[i],
            length: sections[i].len() as u64,
            digest: digest(sections[i]),
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
    let path = output.path().to_owned();
    output.write(contents).map_err(|source| write_error(path, header.file_length(), source))
}

/// The length of a key's file, in bytes.
pub fn length(key: &ProvingKey) -> u64 {
    let ([.., offset], [.., length]) = (layout(lengths(key)), lengths(key));
    offset + length
}

fn lengths(key: &ProvingKey) -> [u64; SECTION_NAMES.len()] {
    key.sections().to_bytes().map(|bytes| bytes.len() as u64)
}

fn write_error(path: PathBuf, length: u64, source: io::Error) -> KeyFileError {
    match source.kind() {
        _ if is_full(&source) => KeyFileError::DiskFull { path, length },
        io::ErrorKind::WouldBlock => KeyFileError::Locked(path),
        _ => KeyFileError::Write { path, source },
    }
}
