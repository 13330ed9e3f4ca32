//! Files that stages hand to one another: one container for batches, proofs and whatever else is not text.
//!
//! A container is, integers little-endian: the magic `taproof\0` (8 bytes), the kind (1), the version of that kind's
//! body (1), the body's length (8), the BLAKE3 checksum of everything before it and of the body (32), then the body
//! and nothing else. A body is the [postcard] encoding of the kind's type and has one form: what decodes to a value
//! but would not be encoded from it again is refused. The checksum finds accidents; it authenticates nothing, so
//! whoever reads a container still verifies what it holds.

use crate::output_file::{Access, OutputFile};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The first bytes of every container.
pub const MAGIC: [u8; 8] = *b"taproof\0";

/// The length of what precedes a body.
pub const HEADER_LENGTH: usize = 8 + 1 + 1 + 8 + 32;

/// The length of what the checksum covers before the body.
const CHECKED_HEADER_LENGTH: usize = HEADER_LENGTH - 32;

/// What a container holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ArtefactKind {
    /// A batch: chunks with their witnesses.
    Batch = 1,
    /// The proofs of a batch.
    Proofs = 2,
    /// A cell with its path to a root.
    StateProof = 3,
    /// What a watch of the bridge keeps between two runs.
    BridgeState = 4,
    /// A follower's state after a final block.
    Checkpoint = 5,
    /// A proof that is kept for a batch that is not proven to its end.
    KeptProof = 6,
}

impl ArtefactKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Batch, Self::Proofs, Self::StateProof, Self::BridgeState, Self::Checkpoint, Self::KeptProof];

    /// The kind of that number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The kind's name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Proofs => "proofs",
            Self::StateProof => "state proof",
            Self::BridgeState => "bridge state",
            Self::Checkpoint => "checkpoint",
            Self::KeptProof => "kept proof",
        }
    }

    /// What a container of the kind is, in a sentence.
    pub fn described(self) -> &'static str {
        match self {
            Self::Batch => "a batch",
            Self::Proofs => "a file of proofs",
            Self::StateProof => "a state proof",
            Self::BridgeState => "a state of the bridge",
            Self::Checkpoint => "a checkpoint",
            Self::KeptProof => "a kept proof",
        }
    }
}

impl core::fmt::Display for ArtefactKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What can be kept in a container.
pub trait Artefact: Serialize + DeserializeOwned {
    /// The kind that the container names.
    const KIND: ArtefactKind;
    /// The version of the body; changes whenever the encoding or its meaning does.
    const VERSION: u8;
    /// The longest body, in bytes.
    const LENGTH_MAX: u64;
    /// Who may read a file of this kind.
    const ACCESS: Access = Access::Public;
}

/// Why bytes are no container of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// The bytes do not begin with [`MAGIC`].
    #[error("it is of no format that taproof knows")]
    Magic,
    /// The bytes end before the container does.
    #[error("truncated: {found} bytes of {expected}")]
    Truncated {
        /// The length that the container says it has, or that of a header.
        expected: u64,
        /// The length that there is.
        found: u64,
    },
    /// Bytes follow the container's end.
    #[error("{0} bytes follow the end")]
    Trailing(u64),
    /// The container's kind is none that this release knows.
    #[error("artefact of unknown kind {0}: a newer release may read it")]
    UnknownKind(u8),
    /// The container holds something else.
    #[error("this is {}, where {} is wanted", found.described(), expected.described())]
    Kind {
        /// The kind that was asked for.
        expected: ArtefactKind,
        /// The kind that the container names.
        found: ArtefactKind,
    },
    /// The body is of a version that this release does not read.
    #[error("{} of version {found}, where this release reads version {expected}", kind.described())]
    Version {
        /// The container's kind.
        kind: ArtefactKind,
        /// The version that this release reads.
        expected: u8,
        /// The version that the container names.
        found: u8,
    },
    /// The body is longer than its kind allows.
    #[error("a body of {length} bytes, where {} has at most {length_max}", kind.described())]
    Oversized {
        /// The container's kind.
        kind: ArtefactKind,
        /// The length that the container names.
        length: u64,
        /// The longest that is read.
        length_max: u64,
    },
    /// The checksum differs: the file was damaged or edited.
    #[error("the checksum differs: the file was damaged or edited")]
    Checksum,
    /// The checksum holds and the body still does not decode.
    #[error("the body does not decode as that of {}: {reason}", kind.described())]
    Body {
        /// The container's kind.
        kind: ArtefactKind,
        /// What the decoder says.
        reason: String,
    },
    /// The body decodes and is not the one encoding of its value.
    #[error("the body of {} is not in its one form", .0.described())]
    NotCanonical(ArtefactKind),
}

/// Why a file could not be read or written as a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not the container that was asked for.
    #[error("{path}: {source}")]
    Artefact {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ArtefactError,
    },
}

/// What a container's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: ArtefactKind,
    /// The version of the body.
    pub version: u8,
    /// The length of the body, in bytes.
    pub length: u64,
    checksum: [u8; 32],
}

impl Header {
    /// Reads the header of a container without looking at its body.
    ///
    /// # Errors
    /// [`ArtefactError::Magic`], [`ArtefactError::Truncated`] and [`ArtefactError::UnknownKind`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ArtefactError> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return Err(ArtefactError::Magic);
        }
        let header: &[u8; HEADER_LENGTH] = bytes
            .first_chunk()
            .ok_or(ArtefactError::Truncated { expected: HEADER_LENGTH as u64, found: bytes.len() as u64 })?;
        let kind = ArtefactKind::from_number(header[8]).ok_or(ArtefactError::UnknownKind(header[8]))?;
        let mut length = [0; 8];
        length.copy_from_slice(&header[10..CHECKED_HEADER_LENGTH]);
        let mut checksum = [0; 32];
        checksum.copy_from_slice(&header[CHECKED_HEADER_LENGTH..]);
        Ok(Self { kind, version: header[9], length: u64::from_le_bytes(length), checksum })
    }
}

/// Encodes a value as a container.
///
/// # Errors
/// [`ArtefactError::Oversized`], if the body is longer than [`Artefact::LENGTH_MAX`]: what a file holds may grow with
/// what strangers put into the chain.
pub fn encode<A: Artefact>(artefact: &A) -> Result<Vec<u8>, ArtefactError> {
    let body = encode_body(artefact);
    let length = body.len() as u64;
    if length > A::LENGTH_MAX {
        return Err(ArtefactError::Oversized { kind: A::KIND, length, length_max: A::LENGTH_MAX });
    }
    Ok(seal(A::KIND, A::VERSION, &body))
}

/// Puts a body that is encoded already into a container.
pub fn seal(kind: ArtefactKind, version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + body.len());
    bytes.extend(MAGIC);
    bytes.extend([kind as u8, version]);
    bytes.extend((body.len() as u64).to_le_bytes());
    let checksum = checksum(&bytes, body);
    bytes.extend(checksum);
    bytes.extend(body);
    bytes
}

/// Decodes what [`encode`] encodes.
///
/// # Errors
/// Each of [`ArtefactError`].
pub fn decode<A: Artefact>(bytes: &[u8]) -> Result<A, ArtefactError> {
    let header = Header::decode(bytes)?;
    check_header::<A>(&header)?;
    let body = &bytes[HEADER_LENGTH..];
    let found = body.len() as u64;
    if found < header.length {
        let header_length = HEADER_LENGTH as u64;
        return Err(ArtefactError::Truncated { expected: header_length + header.length, found: header_length + found });
    }
    if found > header.length {
        return Err(ArtefactError::Trailing(found - header.length));
    }
    if checksum(&bytes[..CHECKED_HEADER_LENGTH], body) != header.checksum {
        return Err(ArtefactError::Checksum);
    }
    let artefact =
        postcard::from_bytes(body).map_err(|error| ArtefactError::Body { kind: A::KIND, reason: error.to_string() })?;
    if encode_body(&artefact) != body {
        return Err(ArtefactError::NotCanonical(A::KIND));
    }
    Ok(artefact)
}

/// Checks that a container is what the reader wants, before anything is allocated for its body.
fn check_header<A: Artefact>(header: &Header) -> Result<(), ArtefactError> {
    if header.kind != A::KIND {
        return Err(ArtefactError::Kind { expected: A::KIND, found: header.kind });
    }
    if header.version != A::VERSION {
        return Err(ArtefactError::Version { kind: A::KIND, expected: A::VERSION, found: header.version });
    }
    if header.length > A::LENGTH_MAX {
        return Err(ArtefactError::Oversized { kind: A::KIND, length: header.length, length_max: A::LENGTH_MAX });
    }
    Ok(())
}

fn encode_body<A: Artefact>(artefact: &A) -> Vec<u8> {
    postcard::to_stdvec(artefact).expect("lengths are known and a vector takes any number of bytes")
}

fn checksum(header: &[u8], body: &[u8]) -> [u8; 32] {
    blake3::Hasher::new().update(header).update_rayon(body).finalize().into()
}

/// Writes a container to a file, whole or not at all.
///
/// # Errors
/// [`FileError::Io`], on a full disk among others, and [`FileError::Artefact`] if the value is longer than its kind
/// allows; an older file of that name then stands unchanged.
pub fn write<A: Artefact>(path: &Path, artefact: &A) -> Result<(), FileError> {
    let output = OutputFile::open(path, A::ACCESS);
    write_to(output.map_err(|source| FileError::Io { path: path.to_owned(), source })?, artefact)
}

/// Writes a container to a file that was opened beforehand.
///
/// # Errors
/// As [`write()`].
pub fn write_to<A: Artefact>(output: OutputFile, artefact: &A) -> Result<(), FileError> {
    let path = output.path().to_owned();
    let bytes = encode(artefact).map_err(|source| FileError::Artefact { path: path.clone(), source })?;
    output.write(|file| file.write_all(&bytes)).map_err(|source| FileError::Io { path, source })
}

/// Reads a container from a file.
///
/// # Errors
/// [`FileError::Io`] and [`FileError::Artefact`]. No more is read than a container of this kind may have.
pub fn read<A: Artefact>(path: &Path) -> Result<A, FileError> {
    let io_error = |source| FileError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let mut bytes = Vec::new();
    (&mut file).take(HEADER_LENGTH as u64).read_to_end(&mut bytes).map_err(io_error)?;
    let check = |bytes: &[u8]| check_header::<A>(&Header::decode(bytes)?);
    let artefact_error = |source| FileError::Artefact { path: path.to_owned(), source };
    check(&bytes).map_err(artefact_error)?;
    // One byte more than the longest body tells a file with trailing bytes from one without.
    file.take(A::LENGTH_MAX + 1).read_to_end(&mut bytes).map_err(io_error)?;
    decode(&bytes).map_err(artefact_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u64,
        bytes: Vec<u8>,
    }

    impl Artefact for Sample {
        const KIND: ArtefactKind = ArtefactKind::Batch;
        const VERSION: u8 = 3;
        const LENGTH_MAX: u64 = 100;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other(u64);

    impl Artefact for Other {
        const KIND: ArtefactKind = ArtefactKind::Proofs;
        const VERSION: u8 = 3;
        const LENGTH_MAX: u64 = 100;
    }

    fn sample() -> Sample {
        Sample { number: 300, bytes: vec![1, 2, 3] }
    }

    /// A container around any body, with a checksum that holds.
    fn container(kind: u8, version: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[kind, version], &(body.len() as u64).to_le_bytes()].concat();
        bytes.extend(checksum(&bytes, body));
        bytes.extend(body);
        bytes
    }

    #[test]
    fn every_truncation_and_every_altered_byte_is_refused() {
        let bytes = encode(&sample()).unwrap();
        assert_eq!(decode::<Sample>(&bytes), Ok(sample()));
        for length in 0..bytes.len() {
            assert!(decode::<Sample>(&bytes[..length]).is_err(), "{length} bytes");
        }
        for position in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            assert!(decode::<Sample>(&altered).is_err(), "byte {position}");
        }
        assert_eq!(decode::<Sample>(&[&bytes[..], &[0]].concat()), Err(ArtefactError::Trailing(1)));
    }

    #[test]
    fn foreign_kinds_and_versions_are_named() {
        let expected = ArtefactKind::Proofs;
        assert_eq!(
            decode::<Other>(&encode(&sample()).unwrap()),
            Err(ArtefactError::Kind { expected, found: Sample::KIND })
        );
        assert_eq!(decode::<Sample>(&container(200, 3, &[])), Err(ArtefactError::UnknownKind(200)));
        let version = ArtefactError::Version { kind: Sample::KIND, expected: 3, found: 4 };
        assert_eq!(decode::<Sample>(&container(1, 4, &[0, 0])), Err(version));
        assert_eq!(decode::<Sample>(b"PK\x03\x04"), Err(ArtefactError::Magic));
        assert_eq!(decode::<Sample>(&[]), Err(ArtefactError::Magic));
    }

    #[test]
    fn oversized_bodies_are_refused_before_they_are_read() {
        let mut bytes = container(1, 3, &[0, 0]);
        bytes[10..18].copy_from_slice(&u64::MAX.to_le_bytes());
        let oversized = ArtefactError::Oversized { kind: Sample::KIND, length: u64::MAX, length_max: 100 };
        assert_eq!(decode::<Sample>(&bytes), Err(oversized));
    }

    #[test]
    fn oversized_values_are_refused_and_an_older_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.batch");
        write(&path, &sample()).unwrap();
        let long = Sample { number: 0, bytes: vec![1; 99] };
        let oversized = ArtefactError::Oversized { kind: Sample::KIND, length: 101, length_max: 100 };
        assert_eq!(encode(&long), Err(oversized.clone()));
        assert!(matches!(write(&path, &long), Err(FileError::Artefact { source, .. }) if source == oversized));
        assert_eq!(read::<Sample>(&path).unwrap(), sample());
        assert!(encode(&Sample { number: 0, bytes: vec![1; 98] }).is_ok());
    }

    #[test]
    fn a_second_form_of_a_value_is_refused() {
        // The number 0 as a variable-length integer of two bytes, then no bytes.
        assert_eq!(decode::<Sample>(&container(1, 3, &[0x80, 0, 0])), Err(ArtefactError::NotCanonical(Sample::KIND)));
        assert_eq!(decode::<Sample>(&container(1, 3, &[0, 0])), Ok(Sample { number: 0, bytes: vec![] }));
        assert!(matches!(decode::<Sample>(&container(1, 3, &[0, 9])), Err(ArtefactError::Body { .. })));
    }

    #[test]
    fn files_are_replaced_whole_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.batch");
        write(&path, &sample()).unwrap();
        let second = Sample { number: 1, ..sample() };
        write(&path, &second).unwrap();
        assert_eq!(read::<Sample>(&path).unwrap(), second);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays behind");
        let missing = read::<Sample>(&directory.path().join("none"));
        assert!(matches!(missing, Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound));
        std::fs::write(&path, &encode(&second).unwrap()[..30]).unwrap();
        assert!(matches!(
            read::<Sample>(&path),
            Err(FileError::Artefact { source: ArtefactError::Truncated { .. }, .. })
        ));
    }

    proptest! {
        #[test]
        fn any_value_round_trips(number: u64, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let sample = Sample { number, bytes };
            prop_assert_eq!(decode::<Sample>(&encode(&sample).unwrap()), Ok(sample));
        }

        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(sample) = decode::<Sample>(&container(1, 3, &bytes)) {
                prop_assert_eq!(encode_body(&sample), bytes);
            }
        }
    }
}
