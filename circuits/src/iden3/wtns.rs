//! Witnesses as .wtns files, version 2.

use super::BinaryFile;
use ark_bn254::Fr;
use ark_ff::PrimeField;
use std::io::{self, Write};
use taproof_verifier::field;

/// Why bytes are no witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WtnsError {
    /// Not the layout that [`write_wtns`] writes, or another field.
    #[error("the bytes are not a witness over the scalar field of BN254 in the format wtns 2")]
    Layout,
    /// A value is not below the order of the field.
    #[error("the value of wire {0} is not below the order of the field")]
    NotCanonical(usize),
}

/// The order of a field of 254 bits, 32 bytes, little-endian.
pub(super) fn modulus_bytes<F: PrimeField>() -> [u8; 32] {
    let mut bytes = [0; 32];
    for (out, limb) in bytes.chunks_exact_mut(8).zip(F::MODULUS.as_ref()) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

/// Writes the values of all wires.
///
/// # Errors
/// Those of writing.
pub fn write_wtns(wires: &[Fr], out: &mut dyn Write) -> io::Result<()> {
    let count = u32::try_from(wires.len()).expect("a circuit has fewer than 2^32 wires");
    let mut file = BinaryFile::start(out, *b"wtns", 2, 2)?;
    file.section(1, 4 + 32 + 4, |out| {
        out.write_all(&32u32.to_le_bytes())?;
        out.write_all(&modulus_bytes::<Fr>())?;
        out.write_all(&count.to_le_bytes())
    })?;
    file.section(2, 32 * u64::from(count), |out| {
        wires.iter().try_for_each(|value| out.write_all(&field::to_bytes(value)))
    })?;
    file.finish();
    Ok(())
}

/// Reads what [`write_wtns`] writes, and nothing else.
///
/// # Errors
/// Each of [`WtnsError`].
pub fn read_wtns(bytes: &[u8]) -> Result<Vec<Fr>, WtnsError> {
    /// The container's start, the first section and the head of the second.
    const HEADER: usize = 12 + 12 + 40 + 12;
    let (header, values) = bytes.split_at_checked(HEADER).ok_or(WtnsError::Layout)?;
    let values: Vec<Fr> = match values.as_chunks::<32>() {
        (values, []) => values
            .iter()
            .enumerate()
            .map(|(wire, value)| field::from_bytes(value).map_err(|_| WtnsError::NotCanonical(wire)))
            .collect::<Result<_, _>>()?,
        _ => return Err(WtnsError::Layout),
    };
    if u32::try_from(values.len()).is_err() {
        return Err(WtnsError::Layout);
    }
    // The header is a function of the number of values.
    let mut expected = Vec::with_capacity(bytes.len());
    write_wtns(&values, &mut expected).map_err(|_| WtnsError::Layout)?;
    if expected[..HEADER] == *header { Ok(values) } else { Err(WtnsError::Layout) }
}
