//! The first 1408 bytes of a key file. Integers are little-endian, points as the sections store them.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `taproofk` |
//! | 8 | 4 | byte order: 0x01020304 as the writing machine stores it |
//! | 12 | 4 | version of the layout: 3 |
//! | 16 | 8 | length of the file |
//! | 24 | 8 | one of Taproof's circuits: kind (1), depth (1), slots (4), version (2); a foreign circuit: zero |
//! | 32 | 32 | hash of the circuit's matrices |
//! | 64 | 16 | wires, public wires, rows, binary logarithm of the domain's size (4 each) |
//! | 80 | 192 | alpha, beta and delta in G1 (64 each) |
//! | 272 | 384 | beta, gamma and delta in G2 (128 each) |
//! | 656 | 624 | for each of the 13 sections: offset (8), length (8), BLAKE3 (32) |
//! | 1280 | 1 | 1 if the key is a foreign circuit's, has contributions, and all of them are beacons |
//! | 1281 | 32 | the hash of the circuit's set of operations; zero if it has none |
//! | 1313 | 63 | zero |
//! | 1376 | 32 | BLAKE3 of the 1376 bytes before |
//!
//! | section | values |
//! |---|---|
//! | IC | a point of G1 for each public wire |
//! | A wires, A | the wires that occur in A, rising (4 bytes each), and a point of G1 for each |
//! | B wires, B in G1, B in G2 | the wires that occur in B, rising, and for each a point of G1 and one of G2 |
//! | L | a point of G1 for each wire but the public ones |
//! | H | a point of G1 for each root of the odd coset |
//! | row ends of A, terms of A, the same of B | for each row where its terms end (4 bytes); a wire and the index of a coefficient (4 each) |
//! | coefficients | 1, -1, then the others by rising limbs: Montgomery limbs (32 bytes each) |
//!
//! Points are Montgomery limbs, x then y, zeros for infinity. One of Taproof's circuits has two public wires, the
//! smallest domain and none of the last five sections. A foreign circuit's hash is BLAKE3 over
//! `taproof/foreign-matrices/v1`, the 16 bytes of its counts and the digests of the last five sections.

use super::KeyFileError;
use crate::{
    foreign_key::Weakness,
    proving_key::{Circuit, Counts, FixedPoints, POINT_SECTION_COUNT, SECTION_COUNT, foreign_matrix_hash},
    setup,
};
use bytemuck::{AnyBitPattern, bytes_of, pod_read_unaligned};
use taproof_verifier::{cell::Depth, operation::OperationsHash, record::Kind, statement::CircuitId};

pub(super) const LENGTH: usize = 1408;
/// Sections start at multiples of this, a cache line.
pub(super) const ALIGNMENT: usize = 64;

const MAGIC: [u8; 8] = *b"taproofk";
const BYTE_ORDER: u32 = 0x0102_0304;
const LAYOUT_VERSION: u32 = 3;
const CHECKSUM_AT: usize = LENGTH - 32;
const SECTIONS_AT: usize = 656;

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
    pub(super) circuit: Circuit,
    pub(super) matrix_hash: [u8; 32],
    pub(super) counts: Counts,
    pub(crate) points: FixedPoints,
    pub(crate) beacons_only: bool,
    pub(super) sections: [Section; SECTION_COUNT],
}

impl KeyHeader {
    /// The circuit that the key belongs to.
    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// The hash of the circuit's matrices: [`taproof_circuits::cs::Shape::matrix_hash`] of one of Taproof's circuits,
    /// and for a foreign circuit what the table above says.
    pub fn matrix_hash(&self) -> [u8; 32] {
        self.matrix_hash
    }

    /// The circuit's sizes.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of the circuit's wires.
    pub fn wire_count(&self) -> usize {
        self.counts.wires()
    }

    /// The number of the circuit's rows.
    pub fn row_count(&self) -> usize {
        self.counts.rows()
    }

    /// Why anyone can forge proofs for the key, if anyone can.
    pub fn weakness(&self) -> Option<Weakness> {
        Weakness::of(&self.points, self.beacons_only)
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
        match self.circuit {
            Circuit::Own(CircuitId { kind, depth, slots, version, .. }) => {
                out.extend([kind as u8, depth.levels()]);
                out.extend(u32::from(slots).to_le_bytes());
                out.extend(version.to_le_bytes());
            }
            Circuit::Foreign => out.extend([0; 8]),
        }
        out.extend(self.matrix_hash);
        out.extend(self.counts.to_bytes());
        let FixedPoints { alpha, beta_g1, delta_g1, beta, gamma, delta } = &self.points;
        [alpha, beta_g1, delta_g1].iter().for_each(|point| out.extend(bytes_of(*point)));
        [beta, gamma, delta].iter().for_each(|point| out.extend(bytes_of(*point)));
        for section in &self.sections {
            out.extend(section.offset.to_le_bytes());
            out.extend(section.length.to_le_bytes());
            out.extend(section.digest);
        }
        out.push(u8::from(self.beacons_only));
        let operations = match self.circuit {
            Circuit::Own(circuit) => circuit.operations,
            Circuit::Foreign => OperationsHash::NONE,
        };
        out.extend(operations.to_byte_array());
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
        let circuit = fields.circuit().ok_or(KeyFileError::Inconsistent)?;
        let matrix_hash = fields.take();
        let counts = Counts::from_bytes(fields.take()).ok_or(KeyFileError::Inconsistent)?;
        let [alpha, beta_g1, delta_g1] = [(); 3].map(|()| fields.value::<_, 64>());
        let [beta, gamma, delta] = [(); 3].map(|()| fields.value::<_, 128>());
        let points = FixedPoints { alpha, beta_g1, delta_g1, beta, gamma, delta };
        let sections =
            core::array::from_fn(|_| Section { offset: fields.u64(), length: fields.u64(), digest: fields.take() });
        let beacons_only = fields.take::<1>() == [1];
        let operations = OperationsHash::from_byte_array(fields.take());
        let circuit = match circuit {
            Circuit::Own(circuit) => Circuit::Own(CircuitId { operations, ..circuit }),
            Circuit::Foreign => Circuit::Foreign,
        };
        let header = Self { circuit, matrix_hash, counts, points, beacons_only, sections };
        if !header.is_of_its_kind() || !header.sections_fit() {
            return Err(KeyFileError::Inconsistent);
        }
        points.check()?;
        Ok(header)
    }

    /// Whether the counts and the hash are such as the circuit's kind has.
    fn is_of_its_kind(&self) -> bool {
        match self.circuit {
            Circuit::Own(circuit) => {
                let domain = setup::domain_for(self.counts.rows());
                (circuit.kind == Kind::Step) == (circuit.operations != OperationsHash::NONE)
                    && self.counts.public_wires() == setup::PUBLIC_WIRES
                    && !self.beacons_only
                    && domain.is_some_and(|domain| domain.log_size() == self.counts.log_domain_size())
            }
            Circuit::Foreign => {
                let digests = self.sections[POINT_SECTION_COUNT..].iter().map(|section| &section.digest);
                self.matrix_hash == foreign_matrix_hash(self.counts, digests)
            }
        }
    }

    /// Whether the sections follow one another without gaps beyond alignment and have the lengths that the counts ask
    /// for.
    fn sections_fit(&self) -> bool {
        let lengths = self.sections.map(|section| section.length);
        // Bounded first, so that neither a product below nor the layout's sum can overflow.
        if lengths.iter().any(|length| *length > 1 << 48) {
            return false;
        }
        let [_, a_wires, _, b_wires, _, _, _, _, _, a_terms, _, b_terms, coefficients] = lengths;
        let (a, b) = (a_wires / 4, b_wires / 4);
        let [wires, public] = [self.counts.wires(), self.counts.public_wires()].map(|count| count as u64);
        let (rows, roots) = (self.counts.rows() as u64, 1 << self.counts.log_domain_size());
        let points = [public * 64, a * 4, a * 64, b * 4, b * 64, b * 128, (wires - public) * 64, roots * 64];
        let matrices = match self.circuit {
            Circuit::Own(_) => [0; SECTION_COUNT - POINT_SECTION_COUNT],
            Circuit::Foreign => [rows * 4, a_terms / 8 * 8, rows * 4, b_terms / 8 * 8, coefficients / 32 * 32],
        };
        a <= wires
            && b <= wires
            && lengths[..POINT_SECTION_COUNT] == points
            && lengths[POINT_SECTION_COUNT..] == matrices
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

/// The rest of a header that is long enough for every field taken from it.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the header is as long as its fields");
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// The circuit, without the set of its operations. Whatever bytes it does not take into account are zero in the one
    /// encoding of each header.
    fn circuit(&mut self) -> Option<Circuit> {
        let [kind, depth, slots @ .., version_low, version_high] = self.take::<8>();
        if kind == 0 {
            return Some(Circuit::Foreign);
        }
        Some(Circuit::Own(CircuitId {
            kind: Kind::from_number(kind)?,
            depth: Depth::new(depth)?,
            slots: u32::from_le_bytes(slots).try_into().ok()?,
            version: u16::from_le_bytes([version_low, version_high]),
            operations: OperationsHash::NONE,
        }))
    }

    fn value<T: AnyBitPattern, const N: usize>(&mut self) -> T {
        pod_read_unaligned(&self.take::<N>())
    }
}

const _: () =
    assert!(SECTIONS_AT + SECTION_COUNT * 48 + 96 == CHECKSUM_AT, "the table and padding end at the checksum");
