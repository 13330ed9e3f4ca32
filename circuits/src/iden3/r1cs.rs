//! Matrices as a .r1cs file, version 1, and the check of a witness against anyone's.

use super::{
    BinaryFile, Container, ContainerError,
    container::{PRIME_LENGTH, expect_prime},
    prime_bytes,
};
use crate::cs::Shape;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use std::{
    fmt,
    io::{self, BufReader, Read, Seek, Write},
};
use taproof_verifier::field;

/// Bytes of a term: the wire (4) and its coefficient (32).
const TERM: u64 = 4 + 32;

/// Writes a circuit's matrices. The one public wire is an input; every other wire counts as internal and its label is
/// its number.
///
/// # Errors
/// Those of writing.
pub fn write_r1cs(shape: &Shape, out: &mut dyn Write) -> io::Result<()> {
    let count = |n: usize| u32::try_from(n).expect("a circuit has fewer than 2^32 rows and wires").to_le_bytes();
    let (wires, rows) = (shape.wire_count(), shape.row_count());
    let terms: usize = shape.rows().map(|row| row.a().count() + row.b().count() + row.c().count()).sum();
    let mut file = BinaryFile::start(out, *b"r1cs", 1, 3)?;
    file.section(1, 4 + 32 + 4 * 4 + 8 + 4, |out| {
        out.write_all(&prime_bytes::<Fr>())?;
        out.write_all(&count(wires))?;
        // Public outputs, public inputs, private inputs.
        out.write_all(&count(0))?;
        out.write_all(&count(shape.public_count()))?;
        out.write_all(&count(0))?;
        out.write_all(&(wires as u64).to_le_bytes())?;
        out.write_all(&count(rows))
    })?;
    file.section(2, rows as u64 * 3 * 4 + terms as u64 * TERM, |out| {
        for row in shape.rows() {
            write_side(out, row.a())?;
            write_side(out, row.b())?;
            write_side(out, row.c())?;
        }
        Ok(())
    })?;
    file.section(3, wires as u64 * 8, |out| (0..wires as u64).try_for_each(|wire| out.write_all(&wire.to_le_bytes())))?;
    file.finish();
    Ok(())
}

fn write_side<'a>(out: &mut dyn Write, terms: impl Iterator<Item = (usize, &'a Fr)>) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    let mut term_count = 0u32;
    for (wire, coefficient) in terms {
        term_count += 1;
        bytes.extend((wire as u32).to_le_bytes());
        bytes.extend(field::to_bytes(coefficient));
    }
    bytes[..4].copy_from_slice(&term_count.to_le_bytes());
    out.write_all(&bytes)
}

/// Why bytes are no circuit that a witness satisfies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum R1csError {
    /// The container is not one, or lacks what a circuit has.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The counts do not agree.
    #[error("the counts contradict one another: {wires} wires, {public} of them public")]
    Counts {
        /// The number of wires.
        wires: u32,
        /// The number of outputs and public inputs.
        public: u64,
    },
    /// The witness is another circuit's.
    #[error("the witness has {found} values and the circuit {expected} wires, so it is another circuit's")]
    OtherCircuit {
        /// The wires of the circuit.
        expected: u32,
        /// The witness's values.
        found: usize,
    },
    /// A constraint is no constraint.
    #[error(
        "constraint {0} is damaged: it names a wire that is not there, a coefficient beyond the field, or does not end"
    )]
    Constraint(u32),
    /// The constraints do not fill their section.
    #[error("{0} bytes follow the last constraint in its section")]
    Trailing(u64),
    /// A constraint does not hold.
    #[error("constraint {} of {} does not hold: {}", .0.row, .0.rows, .0.text)]
    Unsatisfied(Box<Unsatisfied>),
}

/// The first constraint that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsatisfied {
    /// The constraint, from 0, in the order of the file, which is that of `snarkjs r1cs print`.
    pub row: u32,
    /// The number of constraints.
    pub rows: u32,
    /// Its terms and their values.
    pub text: String,
}

/// A circuit's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R1csCounts {
    /// The number of wires, the constant one among them.
    pub wires: u32,
    /// The number of outputs and public inputs.
    pub public: u32,
    /// The number of constraints.
    pub rows: u32,
}

impl From<io::Error> for R1csError {
    fn from(error: io::Error) -> Self {
        Self::Container(error.into())
    }
}

/// Checks a witness against the constraints of a .r1cs file, as circom writes it, in one pass.
///
/// # Errors
/// Each of [`R1csError`]; [`R1csError::Unsatisfied`] for the first constraint that does not hold.
pub fn check_r1cs(reader: impl Read + Seek, witness: &[Fr]) -> Result<R1csCounts, R1csError> {
    const HEADER_LENGTH: u64 = PRIME_LENGTH as u64 + 4 * 4 + 8 + 4;
    let mut file = Container::open(reader, "r1cs", 1)?;
    let header = file.start(1, 2 * HEADER_LENGTH)?;
    let counts = expect_prime::<Fr>(&header, 1, "scalar field")?;
    file.section(1, HEADER_LENGTH)?;
    let count =
        |at: usize| u32::from_le_bytes(counts[at..].first_chunk().copied().expect("the section has its length"));
    let (wires, outputs, inputs, rows) = (count(0), count(4), count(8), count(24));
    let public = u64::from(outputs) + u64::from(inputs);
    // The constant one is a wire and not public.
    if public >= u64::from(wires) {
        return Err(R1csError::Counts { wires, public });
    }
    if witness.len() as u64 != u64::from(wires) {
        return Err(R1csError::OtherCircuit { expected: wires, found: witness.len() });
    }
    let length = file.length(2)?;
    let mut section = BufReader::with_capacity(1 << 20, file.section(2, length)?);
    for row in 0..rows {
        let [a, b, c] = [(); 3].map(|()| Side::read(&mut section, witness).ok_or(R1csError::Constraint(row)));
        let (a, b, c) = (a?, b?, c?);
        if a.value * b.value != c.value {
            let [x, y, z] = [&a, &b, &c].map(|side| side.value.into_bigint());
            let text = format!("({a}) * ({b}) = {c}, and {x} * {y} is not {z}");
            return Err(R1csError::Unsatisfied(Box::new(Unsatisfied { row, rows, text })));
        }
    }
    match io::copy(&mut section, &mut io::sink())? {
        0 => Ok(R1csCounts { wires, public: outputs + inputs, rows }),
        trailing => Err(R1csError::Trailing(trailing)),
    }
}

/// A third of a constraint: the first of its terms, for people, and its value.
struct Side {
    value: Fr,
    terms: Vec<(u32, Fr)>,
    term_count: u32,
}

impl Side {
    /// How many terms people are shown.
    const TERMS_SHOWN: usize = 8;

    fn read(reader: &mut impl Read, witness: &[Fr]) -> Option<Self> {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).ok()?;
        let term_count = u32::from_le_bytes(bytes);
        let (mut value, mut terms) = (Fr::ZERO, Vec::new());
        for _ in 0..term_count {
            let mut bytes = [0; TERM as usize];
            reader.read_exact(&mut bytes).ok()?;
            let (wire, coefficient) = bytes.split_first_chunk::<4>()?;
            let wire = u32::from_le_bytes(*wire);
            let coefficient = field::from_bytes(coefficient.first_chunk()?).ok()?;
            value += *witness.get(wire as usize)? * coefficient;
            if terms.len() < Self::TERMS_SHOWN {
                terms.push((wire, coefficient));
            }
        }
        Some(Self { value, terms, term_count })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (wire, coefficient)) in self.terms.iter().enumerate() {
            let negative = -*coefficient;
            // Small negative numbers are what people wrote.
            let (sign, size) =
                if negative.into_bigint() < coefficient.into_bigint() { ("-", negative) } else { ("+", *coefficient) };
            match (position, sign) {
                (0, "+") => {}
                (0, _) => f.write_str("-")?,
                _ => write!(f, " {sign} ")?,
            }
            match (wire, size == Fr::ONE) {
                (0, _) => write!(f, "{}", size.into_bigint())?,
                (_, true) => write!(f, "w{wire}")?,
                (_, false) => write!(f, "{} w{wire}", size.into_bigint())?,
            }
        }
        match (self.term_count as usize).saturating_sub(self.terms.len()) {
            0 if self.terms.is_empty() => f.write_str("0"),
            0 => Ok(()),
            more => write!(f, " + {more} more"),
        }
    }
}
