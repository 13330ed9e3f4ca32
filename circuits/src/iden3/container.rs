//! Reading the container that [`BinaryFile`](super::BinaryFile) writes, whoever wrote it.

use super::field_name::field_name;
use ark_ff::PrimeField;
use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Take},
};

/// Why bytes are no container of the wanted format, or lack what it must hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The file system failed.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// The first bytes are another format's.
    #[error("this is no .{expected} file: it begins with \"{}\"", found.escape_ascii())]
    Magic {
        /// What the format begins with.
        expected: &'static str,
        /// What the bytes begin with, four at most.
        found: Vec<u8>,
    },
    /// The format's version is another.
    #[error("the .{format} file is of version {found}, where versions up to {max} are read")]
    Version {
        /// What the format begins with.
        format: &'static str,
        /// The latest version that is read.
        max: u32,
        /// The version that the file names.
        found: u32,
    },
    /// There are more sections than any such format has.
    #[error("{found} sections, where at most {max} are read")]
    SectionCount {
        /// The number that the file names.
        found: u32,
        /// The greatest that is read.
        max: u32,
    },
    /// The file ends early.
    #[error("truncated: {found} bytes of {expected}")]
    Truncated {
        /// The length that the part needs which does not fit.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// A section occurs twice.
    #[error("section {0} occurs twice")]
    DuplicateSection(u32),
    /// A section is missing.
    #[error("section {0} is missing")]
    MissingSection(u32),
    /// A section has not the length that the counts ask for.
    #[error("section {section} has {found} bytes, where the counts ask for {expected}")]
    SectionLength {
        /// The section.
        section: u32,
        /// The length that it must have.
        expected: u64,
        /// The length that it has.
        found: u64,
    },
    /// The file is over another field.
    #[error(
        "the file is one of {}: section {section} names another field than the {field} of BN254 (which iden3's tools \
         call bn128)",
        found.unwrap_or("another curve")
    )]
    OtherField {
        /// The section.
        section: u32,
        /// The field that is read.
        field: &'static str,
        /// The curve of the field that the file names, if it is one that iden3's tools know.
        found: Option<&'static str>,
    },
}

/// A container whose sections have been found: each lies within the file and occurs once.
///
/// Sections may stand in any order. Those that nobody asks for are passed over, and so are bytes after the last one,
/// as snarkjs and rapidsnark do. Nothing is allocated by a number that the file names before the file's length bears
/// it out.
#[derive(Debug)]
pub struct Container<R> {
    reader: R,
    /// Offset and length, by number.
    sections: BTreeMap<u32, (u64, u64)>,
}

impl<R: Read + Seek> Container<R> {
    /// The most sections that are read; the formats have ten at most.
    const SECTIONS_MAX: u32 = 64;

    /// Finds the sections of a container that begins with the four letters of `format`, of any version up to
    /// `version_max`.
    ///
    /// # Errors
    /// [`ContainerError`], but for what concerns single sections.
    pub fn open(mut reader: R, format: &'static str, version_max: u32) -> Result<Self, ContainerError> {
        let file_length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        let mut magic = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut magic)?;
        if magic != format.as_bytes() {
            return Err(ContainerError::Magic { expected: format, found: magic });
        }
        let fits = |end: u64| match file_length {
            found if end > found => Err(ContainerError::Truncated { expected: end, found }),
            _ => Ok(()),
        };
        fits(HEADER_LENGTH)?;
        let found = u32::from_le_bytes(take(&mut reader)?);
        if found > version_max {
            return Err(ContainerError::Version { format, max: version_max, found });
        }
        let section_count = u32::from_le_bytes(take(&mut reader)?);
        if section_count > Self::SECTIONS_MAX {
            return Err(ContainerError::SectionCount { found: section_count, max: Self::SECTIONS_MAX });
        }
        let (mut sections, mut position) = (BTreeMap::new(), HEADER_LENGTH);
        for _ in 0..section_count {
            let start = position + SECTION_HEADER_LENGTH;
            fits(start)?;
            reader.seek(SeekFrom::Start(position))?;
            let number = u32::from_le_bytes(take(&mut reader)?);
            let length = u64::from_le_bytes(take(&mut reader)?);
            position = start.saturating_add(length);
            fits(position)?;
            if sections.insert(number, (start, length)).is_some() {
                return Err(ContainerError::DuplicateSection(number));
            }
        }
        Ok(Self { reader, sections })
    }

    /// The length of a section, in bytes.
    ///
    /// # Errors
    /// [`ContainerError::MissingSection`].
    pub fn length(&self, section: u32) -> Result<u64, ContainerError> {
        self.sections.get(&section).map(|(_, length)| *length).ok_or(ContainerError::MissingSection(section))
    }

    /// A reader of a section that must have the given length.
    ///
    /// # Errors
    /// [`ContainerError::MissingSection`], [`ContainerError::SectionLength`], and those of seeking.
    pub fn section(&mut self, section: u32, expected: u64) -> Result<Take<&mut R>, ContainerError> {
        let found = self.length(section)?;
        if found != expected {
            return Err(ContainerError::SectionLength { section, expected, found });
        }
        self.start_of(section)
    }

    /// The start of a section, of at most `length_max` bytes.
    ///
    /// # Errors
    /// [`ContainerError::MissingSection`], and those of reading.
    pub fn start(&mut self, section: u32, length_max: u64) -> Result<Vec<u8>, ContainerError> {
        let mut bytes = Vec::new();
        self.start_of(section)?.take(length_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn start_of(&mut self, section: u32) -> Result<Take<&mut R>, ContainerError> {
        let (start, length) = *self.sections.get(&section).ok_or(ContainerError::MissingSection(section))?;
        self.reader.seek(SeekFrom::Start(start))?;
        Ok(self.reader.by_ref().take(length))
    }
}

/// The magic, the version and the number of sections.
const HEADER_LENGTH: u64 = 12;
/// A section's number and length.
const SECTION_HEADER_LENGTH: u64 = 12;
/// The bytes of [`prime_bytes`].
pub(super) const PRIME_LENGTH: usize = 4 + 32;

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// How the formats name a field of 254 bits: the length of an element, 32 (4 bytes), and the order (32 bytes),
/// little-endian.
pub fn prime_bytes<F: PrimeField>() -> [u8; PRIME_LENGTH] {
    let mut bytes = [0; PRIME_LENGTH];
    bytes[0] = 32;
    for (out, limb) in bytes[4..].chunks_exact_mut(8).zip(F::MODULUS.as_ref()) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

/// Takes the name of a field from the start of a section's contents, and gives what follows.
///
/// # Errors
/// [`ContainerError::OtherField`], also if there are too few bytes to name a field.
pub fn expect_prime<'a, F: PrimeField>(
    bytes: &'a [u8],
    section: u32,
    field: &'static str,
) -> Result<&'a [u8], ContainerError> {
    let found = || ContainerError::OtherField { section, field, found: field_name(bytes) };
    bytes.strip_prefix(&prime_bytes::<F>()).ok_or_else(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iden3::BinaryFile;
    use ark_bn254::{Fq, Fr};
    use std::io::Cursor;

    /// A container of section 7 with one byte and section 3 with two.
    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = BinaryFile::start(&mut bytes, *b"test", 4, 2).expect("memory");
        file.section(7, 1, |out| out.write_all(&[9])).expect("memory");
        file.section(3, 2, |out| out.write_all(&[1, 2])).expect("memory");
        file.finish();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Container<Cursor<&[u8]>>, ContainerError> {
        Container::open(Cursor::new(bytes), "test", 4)
    }

    /// The sample with bytes replaced.
    fn altered(offset: usize, replacement: &[u8]) -> Vec<u8> {
        let mut bytes = sample();
        bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
        bytes
    }

    #[test]
    fn sections_are_found_in_any_order() {
        let bytes = sample();
        let mut container = open(&bytes).expect("well-formed");
        assert_eq!(container.start(3, 9).expect("there"), [1, 2]);
        assert_eq!(container.start(3, 1).expect("there"), [1]);
        let mut byte = [0];
        container.section(7, 1).expect("there").read_exact(&mut byte).expect("one byte");
        assert_eq!((byte, container.length(7).expect("there")), ([9], 1));
        assert!(matches!(
            container.section(7, 2),
            Err(ContainerError::SectionLength { section: 7, expected: 2, found: 1 })
        ));
        assert!(matches!(container.length(4), Err(ContainerError::MissingSection(4))));
        assert!(matches!(container.start(4, 1), Err(ContainerError::MissingSection(4))));
    }

    #[test]
    fn each_fault_is_named() {
        let open = |bytes: &[u8]| open(bytes).expect_err("a fault");
        assert!(matches!(open(b""), ContainerError::Magic { expected: "test", .. }));
        assert!(matches!(open(b"tes"), ContainerError::Magic { .. }));
        assert!(matches!(open(&altered(0, b"r1cs")), ContainerError::Magic { found, .. } if found == b"r1cs"));
        assert!(matches!(open(&altered(4, &[5])), ContainerError::Version { max: 4, found: 5, .. }));
        assert!(matches!(open(&altered(8, &[255; 4])), ContainerError::SectionCount { .. }));
        assert!(matches!(open(&altered(8, &[3])), ContainerError::Truncated { .. }));
        assert!(matches!(open(&altered(16, &[255; 8])), ContainerError::Truncated { expected: u64::MAX, .. }));
        assert!(matches!(open(&altered(25, &[7])), ContainerError::DuplicateSection(7)));
        let bytes = sample();
        for length in 4..bytes.len() {
            assert!(matches!(open(&bytes[..length]), ContainerError::Truncated { .. }), "{length} bytes");
        }
    }

    #[test]
    fn what_snarkjs_and_rapidsnark_take_is_taken() {
        for version in 0..=4 {
            assert!(open(&altered(4, &[version])).is_ok(), "version {version}");
        }
        let longer = [&sample()[..], &[0; 30]].concat();
        let mut container = open(&longer).expect("what follows the last section is nobody's");
        assert_eq!(container.start(3, 9).expect("there"), [1, 2]);
        assert!(open(&altered(8, &[1])).is_ok(), "one section, and bytes after it");
    }

    #[test]
    fn fields_are_told_apart() {
        let bytes = [&prime_bytes::<Fr>()[..], &[5]].concat();
        assert_eq!(expect_prime::<Fr>(&bytes, 1, "scalar field").expect("it is"), [5]);
        let other = expect_prime::<Fq>(&bytes, 2, "base field");
        assert!(matches!(other, Err(ContainerError::OtherField { section: 2, .. })));
        assert!(expect_prime::<Fr>(&bytes[..35], 1, "scalar field").is_err());
    }
}
