//! Witnesses as .wtns files, version 2; version 1, which differs in nothing but its number, is read as well.

use super::{
    BinaryFile, Container, ContainerError,
    container::{PRIME_LENGTH, expect_prime, prime_bytes},
};
use ark_bn254::Fr;
use std::io::{self, Read, Seek, Write};
use taproof_verifier::field;
use zeroize::Zeroizing;

/// Why bytes are no witness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WtnsError {
    /// The container is not one, or lacks what a witness has.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A value is not below the order of the field.
    #[error("the value of wire {0} is not below the order of the field")]
    NotCanonical(usize),
}

impl From<io::Error> for WtnsError {
    fn from(error: io::Error) -> Self {
        Self::Container(error.into())
    }
}

/// Writes the values of all wires.
///
/// # Errors
/// Those of writing.
pub fn write_wtns(wires: &[Fr], out: &mut dyn Write) -> io::Result<()> {
    let count = u32::try_from(wires.len()).expect("a circuit has fewer than 2^32 wires");
    let mut file = BinaryFile::start(out, *b"wtns", 2, 2)?;
    file.section(1, PRIME_LENGTH as u64 + 4, |out| {
        out.write_all(&prime_bytes::<Fr>())?;
        out.write_all(&count.to_le_bytes())
    })?;
    file.section(2, 32 * u64::from(count), |out| {
        wires.iter().try_for_each(|value| out.write_all(&field::to_bytes(value)))
    })?;
    file.finish();
    Ok(())
}

/// Reads the values of all wires of a circuit over the scalar field of BN254, as [`write_wtns`] and the witness
/// calculators of circom write them.
///
/// # Errors
/// Each of [`WtnsError`].
pub fn read_wtns(reader: impl Read + Seek) -> Result<Zeroizing<Vec<Fr>>, WtnsError> {
    const HEADER_LENGTH: u64 = PRIME_LENGTH as u64 + 4;
    let mut file = Container::open(reader, "wtns", 2)?;
    // Room for the name of a longer field than ours.
    let header = file.start(1, 2 * HEADER_LENGTH)?;
    let count = expect_prime::<Fr>(&header, 1, "scalar field")?;
    file.section(1, HEADER_LENGTH)?;
    let count = u32::from_le_bytes(count.try_into().expect("the section has the length of a field and a count"));

    let mut values = file.section(2, 32 * u64::from(count))?;
    // As long as the section, which lies within the file: no more is allocated than there is, and nothing grows,
    // which would leave copies of the witness behind.
    let mut wires = Zeroizing::new(Vec::with_capacity(count as usize));
    let mut piece = Zeroizing::new([0; 32 * PIECE]);
    while wires.len() < count as usize {
        let piece = &mut piece[..32 * PIECE.min(count as usize - wires.len())];
        values.read_exact(piece)?;
        for value in piece.as_chunks::<32>().0 {
            let wire = field::from_bytes(value).map_err(|_| WtnsError::NotCanonical(wires.len()))?;
            wires.push(wire);
        }
    }
    Ok(wires)
}

/// How many values are read at a time.
const PIECE: usize = 1 << 10;
