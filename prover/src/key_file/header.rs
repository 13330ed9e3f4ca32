//! The first 896 bytes of a key file. Integers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `taproofk` |
//! | 8 | 4 | byte order: 0x01020304 as the writing machine stores it |
//! | 12 | 4 | version of the layout: 1 |
//! | 16 | 8 | length of the file |
//! | 24 | 8 | circuit: kind (1), depth (1), slots (2), version (2), zero (2) |
//! | 32 | 32 | hash of the circuit's matrices |
//! | 64 | 12 | wires, rows, binary logarithm of the domain's size (4 each) |
//! | 76 | 4 | zero |
//! | 80 | 296 | verifying key, as [`VerifyingKey::to_bytes`] encodes it |
//! | 376 | 128 | beta and delta in G1, as the sections store points |
//! | 504 | 336 | for each of the 7 sections: offset (8), length (8), BLAKE3 (32) |
//! | 840 | 24 | zero |
//! | 864 | 32 | BLAKE3 of the 864 bytes before |

use super::KeyFileError;
use crate::setup;
use taproof_arith::G1;
use taproof_verifier::{cell::Depth, groth16::VerifyingKey, record::Kind, statement::CircuitId};

pub(super) const LENGTH: usize = 896;
pub(super) const SECTION_COUNT: usize = 7;
/// Sections start at multiples of this, a cache line.
pub(super) const ALIGNMENT: usize = 64;

const MAGIC: [u8; 8] = *b"taproofk";
const BYTE_ORDER: u32 = 0x0102_0304;
const LAYOUT_VERSION: u32 = 1;
const CHECKSUM_AT: usize = LENGTH - 32;
const SECTIONS_AT: usize = 504;

/// Where a section lies and what its bytes hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) digest: [u8; 32],
}

/// What the header says, checked to be consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    pub(super) circuit: CircuitId,
    pub(super) matrix_hash: [u8; 32],
    pub(super) wire_count: u32,
    pub(super) row_count: u32,
    pub(super) verifying_key: VerifyingKey,
    pub(crate) beta_g1: G1,
    pub(crate) delta_g1: G1,
    pub(super) sections: [Section; SECTION_COUNT],
}

impl KeyHeader {
    /// The circuit that the key belongs to.
    pub fn circuit(&self) -> CircuitId {
        self.circuit
    }

    /// The hash of the circuit's matrices, [`taproof_circuits::cs::Shape::matrix_hash`].
    pub fn matrix_hash(&self) -> [u8; 32] {
        self.matrix_hash
    }

    /// The number of the circuit's wires.
    pub fn wire_count(&self) -> usize {
        self.wire_count as usize
    }

    /// The number of the circuit's rows.
    pub fn row_count(&self) -> usize {
        self.row_count as usize
    }

    /// The key that proofs are checked with.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// The length of the file, in bytes.
    pub fn file_length(&self) -> u64 {
        let [.., last] = self.sections;
        last.offset + last.length
    }

    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut out = Vec::with_capacity(LENGTH);
        out.extend(MAGIC);
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend(LAYOUT_VERSION.to_le_bytes());
        out.extend(self.file_length().to_le_bytes());
        out.extend([self.circuit.kind as u8, self.circuit.depth.levels()]);
        out.extend(self.circuit.slots.to_le_bytes());
        out.extend(self.circuit.version.to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.matrix_hash);
        out.extend(self.wire_count.to_le_bytes());
        out.extend(self.row_count.to_le_bytes());
        out.extend(log_domain_size(self.row_count).expect("the key was made over this domain").to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.verifying_key.to_bytes());
        out.extend(bytemuck::bytes_of(&self.beta_g1));
        out.extend(bytemuck::bytes_of(&self.delta_g1));
        for section in &self.sections {
            out.extend(section.offset.to_le_bytes());
            out.extend(section.length.to_le_bytes());
            out.extend(section.digest);
        }
        out.resize(CHECKSUM_AT, 0);
        out.extend(blake3::hash(&out).as_bytes());
        out.try_into().expect("the fields and the checksum take exactly the header's length")
    }

    /// Decodes the header of a file of `file_length` bytes whose first bytes are `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let file_length = bytes.len() as u64;
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(KeyFileError::NotAKey);
        }
        let header = bytes
            .first_chunk::<LENGTH>()
            .ok_or(KeyFileError::Truncated { expected: LENGTH as u64, found: file_length })?;
        let mut fields = Fields(&header[8..]);
        if fields.u32() != BYTE_ORDER || cfg!(target_endian = "big") {
            return Err(KeyFileError::ForeignByteOrder);
        }
        let version = fields.u32();
        if version != LAYOUT_VERSION {
            return Err(KeyFileError::ForeignVersion { found: version, known: LAYOUT_VERSION });
        }
        if header[CHECKSUM_AT..] != *blake3::hash(&header[..CHECKSUM_AT]).as_bytes() {
            return Err(KeyFileError::HeaderAltered);
        }
        let expected = fields.u64();
        if file_length < expected {
            return Err(KeyFileError::Truncated { expected, found: file_length });
        }
        let decoded = Self::decode_fields(&mut fields)?;
        // One encoding for each header: whatever differs from it, be it padding, is refused.
        if decoded.encode() != *header || decoded.file_length() != file_length {
            return Err(KeyFileError::Inconsistent);
        }
        Ok(decoded)
    }

    /// Decodes what follows the file's length.
    fn decode_fields(fields: &mut Fields<'_>) -> Result<Self, KeyFileError> {
        let kind = Kind::from_number(fields.u8()).ok_or(KeyFileError::Inconsistent)?;
        let depth = Depth::new(fields.u8()).ok_or(KeyFileError::Inconsistent)?;
        let circuit = CircuitId { kind, depth, slots: fields.u16(), version: fields.u16() };
        fields.u16();
        let matrix_hash = fields.take();
        let (wire_count, row_count) = (fields.u32(), fields.u32());
        let log_size = fields.u32();
        fields.u32();
        let verifying_key =
            VerifyingKey::from_bytes(&fields.take::<{ VerifyingKey::LENGTH }>()).map_err(KeyFileError::VerifyingKey)?;
        let (beta_g1, delta_g1) = (fields.point(), fields.point());
        let sections =
            core::array::from_fn(|_| Section { offset: fields.u64(), length: fields.u64(), digest: fields.take() });
        let header = Self { circuit, matrix_hash, wire_count, row_count, verifying_key, beta_g1, delta_g1, sections };
        if log_domain_size(row_count) != Some(log_size) || !header.sections_fit() {
            return Err(KeyFileError::Inconsistent);
        }
        Ok(header)
    }

    /// Whether the sections follow one another without gaps beyond alignment and have the lengths that the counts ask for.
    fn sections_fit(&self) -> bool {
        let [a_wires, a, b_wires, b_g1, b_g2, l, h] = self.sections.map(|section| section.length);
        let Some(private) = (self.wire_count as u64).checked_sub(setup::PUBLIC_WIRES as u64) else { return false };
        let Some(domain) = setup::domain_for(self.row_count as usize) else { return false };
        let counts = [a_wires / 4, b_wires / 4];
        // Bounded first, so that no product below can overflow.
        if counts.iter().any(|count| *count > self.wire_count.into()) {
            return false;
        }
        let lengths = [
            counts[0] * 4,
            counts[0] * 64,
            counts[1] * 4,
            counts[1] * 64,
            counts[1] * 128,
            private * 64,
            domain.size() as u64 * 64,
        ];
        lengths == [a_wires, a, b_wires, b_g1, b_g2, l, h]
            && layout(lengths) == self.sections.map(|section| section.offset)
    }
}

/// The offsets of sections of the given lengths.
pub(super) fn layout(lengths: [u64; SECTION_COUNT]) -> [u64; SECTION_COUNT] {
    let mut next = LENGTH as u64;
    lengths.map(|length| {
        let offset = next.next_multiple_of(ALIGNMENT as u64);
        next = offset + length;
        offset
    })
}

fn log_domain_size(row_count: u32) -> Option<u32> {
    setup::domain_for(row_count as usize).map(|domain| domain.log_size())
}

/// The rest of a header that is long enough for every field taken from it.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the header is as long as its fields");
        self.0 = rest;
        *taken
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn point(&mut self) -> G1 {
        bytemuck::pod_read_unaligned(&self.take::<64>())
    }
}

const _: () =
    assert!(SECTIONS_AT + SECTION_COUNT * 48 + 24 == CHECKSUM_AT, "the table and padding end at the checksum");
