//! Reading: anyone's key, checked and brought into the form that proofs are made with.

use super::{COEFFICIENT_LENGTH, PARAMETERS_LENGTH, PROTOCOL_GROTH16, protocol_name};
use crate::{
    matrices::{Builder, MatricesBuf, Side},
    proving_key::{
        Circuit, Counts, FixedPointError, FixedPoints, POINT_SECTION_COUNT, ProvingKey, check_point, digest,
        foreign_matrix_hash,
    },
};
use ark_bn254::{Fq, Fr};
use ark_ff::{BigInt, PrimeField};
use bytemuck::{AnyBitPattern, bytes_of, cast_slice_mut, pod_read_unaligned};
use rayon::prelude::*;
use std::io::{self, Read, Seek};
use taproof_arith::{Domain, G1, G2, Point};
use taproof_circuits::iden3::{Container, ContainerError, expect_prime};
use taproof_verifier::groth16::PointError;

/// Why bytes are no key that proofs can be made with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The container is not one, or lacks what a key has.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The key is for another proof system.
    #[error(
        "the key is one of {} (protocol {}), where Groth16 (protocol {PROTOCOL_GROTH16}) is read",
        protocol_name(*.0),
        .0
    )]
    Protocol(u32),
    /// There is no such domain.
    #[error("a domain of {found} roots, where a power of two up to 2^{log_size_max} is read")]
    DomainSize {
        /// The number of roots.
        found: u32,
        /// The binary logarithm of the greatest number.
        log_size_max: u32,
    },
    /// The counts do not agree.
    #[error(
        "the counts contradict one another: {wires} wires, {public_inputs} public inputs, {roots} roots of the domain"
    )]
    Counts {
        /// The number of wires.
        wires: u32,
        /// The number of public inputs.
        public_inputs: u32,
        /// The number of roots.
        roots: u32,
    },
    /// A point of which a key has only one is no member of its group.
    #[error(transparent)]
    FixedPoint(#[from] FixedPointError),
    /// A point of a section is none.
    #[error("point {index} of section {section}: {source}")]
    Point {
        /// The section.
        section: u32,
        /// The point, from 0.
        index: usize,
        /// What is wrong with it.
        source: PointError,
    },
    /// B occurs in one group alone.
    #[error("wire {wire} occurs in B in one group and not in the other: sections 6 and 7 contradict each other")]
    OneSidedB {
        /// The wire.
        wire: usize,
    },
    /// A coefficient belongs to neither A nor B.
    #[error("coefficient {index} is one of matrix {found}, where 0 is A and 1 is B")]
    Matrix {
        /// The coefficient, from 0.
        index: u32,
        /// The number of the matrix.
        found: u32,
    },
    /// A coefficient's row is beyond the domain.
    #[error("coefficient {index} stands in row {row} of a domain of {roots} roots")]
    Row {
        /// The coefficient, from 0.
        index: u32,
        /// The row.
        row: u32,
        /// The number of roots.
        roots: u32,
    },
    /// A coefficient's wire does not exist.
    #[error("coefficient {index} is for wire {wire} of {wires} wires")]
    Wire {
        /// The coefficient, from 0.
        index: u32,
        /// The wire.
        wire: u32,
        /// The number of wires.
        wires: u32,
    },
    /// A coefficient is not below the order of the field.
    #[error("coefficient {index} is not below the order of the field")]
    Coefficient {
        /// The coefficient, from 0.
        index: u32,
    },
    /// The last rows are not those of the public wires.
    #[error("the matrices do not end with one row for each public wire, as those of a .zkey do")]
    PublicRows,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Container(error.into())
    }
}

/// Fails if a .zkey is for another protocol than Groth16, of which nothing else is read.
///
/// # Errors
/// [`ReadError::Protocol`], and [`ReadError::Container`] if it is no .zkey.
pub fn expect_protocol(reader: impl Read + Seek) -> Result<(), ReadError> {
    expect_groth16(&mut Container::open(reader, "zkey", 1)?)
}

fn expect_groth16(file: &mut Container<impl Read + Seek>) -> Result<(), ReadError> {
    let protocol = value::<u32>(&mut file.section(1, 4)?)?;
    if protocol == PROTOCOL_GROTH16 { Ok(()) } else { Err(ReadError::Protocol(protocol)) }
}

/// Reads the key of anyone's circuit: every coordinate is checked to be below the field's order and every point to be
/// on its curve, those of the verifying key in G2 also to be in the subgroup. Points at infinity of A and B are
/// dropped.
///
/// Whether the points are those of the matrices is not known before a proof verifies; C, which the file does not
/// hold, is not needed for it.
///
/// # Errors
/// Each of [`ReadError`].
pub fn read(reader: impl Read + Seek) -> Result<ProvingKey, ReadError> {
    let mut file = Container::open(reader, "zkey", 1)?;
    expect_groth16(&mut file)?;
    let Parameters { wires, public_inputs, log_domain_size, points } = Parameters::read(&mut file)?;
    // Counts that do not agree are refused before anything is allocated, and each list is as long as its section,
    // which lies in the file.
    let (private, roots) = (wires - 1 - public_inputs, 1u32 << log_domain_size);
    let ic = read_points(&mut file, 3, public_inputs + 1)?;
    let l = read_points(&mut file, 8, private)?;
    let h = read_points(&mut file, 9, roots)?;
    let a = read_points(&mut file, 5, wires)?;
    let a_wires = occurring(&a);
    let a = without_infinity(a);
    let (b_g1, b_g2) = (read_points(&mut file, 6, wires)?, read_points(&mut file, 7, wires)?);
    let one_sided = |(in_g1, in_g2): (&G1, &G2)| in_g1.is_infinity() != in_g2.is_infinity();
    if let Some(wire) = b_g1.iter().zip(&b_g2).position(one_sided) {
        return Err(ReadError::OneSidedB { wire });
    }
    let b_wires = occurring(&b_g1);
    let (b_g1, b_g2) = (without_infinity(b_g1), without_infinity(b_g2));
    let (matrices, rows) = read_matrices(&mut file, wires, public_inputs + 1, roots)?;
    let beacons_only = read_beacons_only(&mut file, &points.delta_g1)?;
    let counts = Counts::new(wires, public_inputs + 1, rows, log_domain_size)
        .expect("rows lie in the domain, and the other counts were checked");
    let mut key = ProvingKey {
        circuit: Circuit::Foreign,
        matrix_hash: [0; 32],
        counts,
        points,
        beacons_only,
        ic,
        a_wires,
        a,
        b_wires,
        b_g1,
        b_g2,
        l,
        h,
        matrices,
    };
    let digests = key.sections().to_bytes().map(digest);
    key.matrix_hash = foreign_matrix_hash(counts, &digests[POINT_SECTION_COUNT..]);
    Ok(key)
}

/// The second section.
struct Parameters {
    wires: u32,
    public_inputs: u32,
    log_domain_size: u32,
    points: FixedPoints,
}

impl Parameters {
    fn read<R: Read + Seek>(file: &mut Container<R>) -> Result<Self, ReadError> {
        let section = file.start(2, PARAMETERS_LENGTH)?;
        let rest = expect_prime::<Fq>(&section, 2, "base field")?;
        let mut rest = expect_prime::<Fr>(rest, 2, "scalar field")?;
        file.section(2, PARAMETERS_LENGTH)?;
        let [wires, public_inputs, roots]: [u32; 3] = [value(&mut rest)?, value(&mut rest)?, value(&mut rest)?];
        let log_size_max = Domain::LOG_SIZE_MAX;
        if !roots.is_power_of_two() || roots.ilog2() > log_size_max {
            return Err(ReadError::DomainSize { found: roots, log_size_max });
        }
        let log_domain_size = roots.ilog2();
        let public_wires = public_inputs.checked_add(1);
        if public_wires.and_then(|public| Counts::new(wires, public, 0, log_domain_size)).is_none() {
            return Err(ReadError::Counts { wires, public_inputs, roots });
        }
        let (alpha, beta_g1) = (value(&mut rest)?, value(&mut rest)?);
        let (beta, gamma) = (value(&mut rest)?, value(&mut rest)?);
        let (delta_g1, delta) = (value(&mut rest)?, value(&mut rest)?);
        let points = FixedPoints { alpha, beta_g1, delta_g1, beta, gamma, delta };
        points.check()?;
        Ok(Self { wires, public_inputs, log_domain_size, points })
    }
}

/// Reads a value as it lies in the memory of a little-endian machine, which is how the file stores it.
fn value<T: AnyBitPattern>(reader: &mut impl Read) -> io::Result<T> {
    // As long as a point of G2, the longest value.
    let mut bytes = [0; size_of::<G2>()];
    let bytes = &mut bytes[..size_of::<T>()];
    reader.read_exact(bytes)?;
    Ok(pod_read_unaligned(bytes))
}

fn read_points<R: Read + Seek, P: Point>(
    file: &mut Container<R>,
    section: u32,
    count: u32,
) -> Result<Vec<P>, ReadError> {
    let mut contents = file.section(section, u64::from(count) * size_of::<P>() as u64)?;
    let mut points = vec![P::zeroed(); count as usize];
    contents.read_exact(cast_slice_mut(&mut points))?;
    match points.par_iter().enumerate().find_map_first(|(index, point)| Some((index, check_point(point).err()?))) {
        Some((index, source)) => Err(ReadError::Point { section, index, source }),
        None => Ok(points),
    }
}

/// The wires whose points are not at infinity.
fn occurring<P: Point>(points: &[P]) -> Vec<u32> {
    (0..).zip(points).filter(|(_, point)| !point.is_infinity()).map(|(wire, _)| wire).collect()
}

fn without_infinity<P: Point>(mut points: Vec<P>) -> Vec<P> {
    points.retain(|point| !point.is_infinity());
    points.shrink_to_fit();
    points
}

/// Reads A and B, and gives the number of rows without those of the public wires.
fn read_matrices<R: Read + Seek>(
    file: &mut Container<R>,
    wires: u32,
    public_wires: u32,
    roots: u32,
) -> Result<(MatricesBuf, u32), ReadError> {
    const SECTION: u32 = 4;
    let start = file.start(SECTION, 4)?;
    let count = start.first_chunk().map_or(0, |count| u32::from_le_bytes(*count));
    let mut contents = file.section(SECTION, 4 + u64::from(count) * COEFFICIENT_LENGTH as u64)?;
    value::<u32>(&mut contents)?;
    let mut builder = Builder::new();
    let mut piece = vec![0; COEFFICIENT_LENGTH * PIECE.min(count as usize)];
    let mut index = 0;
    while index < count {
        let length = PIECE.min((count - index) as usize) * COEFFICIENT_LENGTH;
        contents.read_exact(&mut piece[..length])?;
        for term in piece[..length].as_chunks::<COEFFICIENT_LENGTH>().0 {
            let mut rest = &term[..];
            let [matrix, row, wire] = [value(&mut rest)?, value(&mut rest)?, value::<u32>(&mut rest)?];
            let limbs = BigInt::new(value(&mut rest)?);
            let side = match matrix {
                0 => Side::A,
                1 => Side::B,
                found => return Err(ReadError::Matrix { index, found }),
            };
            if row >= roots {
                return Err(ReadError::Row { index, row, roots });
            }
            if wire >= wires {
                return Err(ReadError::Wire { index, wire, wires });
            }
            if limbs >= Fr::MODULUS {
                return Err(ReadError::Coefficient { index });
            }
            // Limbs in memory stand for their number times 2^-256; doing so twice takes the stored number to the
            // coefficient.
            let once = Fr::new_unchecked(limbs).into_bigint();
            builder.push(side, row, wire, Fr::new_unchecked(once));
            index += 1;
        }
    }
    builder.finish(public_wires).ok_or(ReadError::PublicRows)
}

/// Whether the key has contributions and all are beacons. A list that does not decode, or is not this key's, says
/// nothing: no prover needs it.
fn read_beacons_only<R: Read + Seek>(file: &mut Container<R>, delta: &G1) -> Result<bool, ReadError> {
    const SECTION: u32 = 10;
    /// Room for two thousand contributions.
    const LENGTH_MAX: u64 = 1 << 20;
    match file.start(SECTION, LENGTH_MAX) {
        Ok(bytes) => Ok(are_beacons_only(&bytes, delta).unwrap_or(false)),
        Err(ContainerError::MissingSection(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The list of contributions: the circuit's hash (64 bytes), their number (4), then for each delta after it (64),
/// three more points (64, 64, 128), the transcript (64), the type (4), of which 1 is a beacon's, and the length of
/// its parameters (4) and they themselves.
fn are_beacons_only(bytes: &[u8], delta: &G1) -> Option<bool> {
    const TYPE_AT: usize = 3 * 64 + 128 + 64;
    const TYPE_BEACON: u32 = 1;
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(*bytes.first_chunk()?));
    let (count, mut rest) = bytes.get(64..)?.split_at_checked(4)?;
    let mut last = None;
    for _ in 0..number(count)? {
        let (contribution, after) = rest.split_at_checked(TYPE_AT + 8)?;
        if number(&contribution[TYPE_AT..])? != TYPE_BEACON {
            return Some(false);
        }
        last = Some(&contribution[..64]);
        rest = after.get(usize::try_from(number(&contribution[TYPE_AT + 4..])?).ok()?..)?;
    }
    Some(last == Some(bytes_of(delta)))
}

/// How many coefficients are read at a time.
const PIECE: usize = 1 << 14;
