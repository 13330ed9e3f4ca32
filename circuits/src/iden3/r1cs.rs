//! Matrices as a .r1cs file, version 1.

use super::{BinaryFile, prime_bytes};
use crate::cs::Shape;
use ark_bn254::Fr;
use std::io::{self, Write};
use taproof_verifier::field;

/// Bytes of a term: the wire (4) and its coefficient (32).
const TERM: u64 = 4 + 32;

/// Writes a circuit's matrices. The one public wire is an input; every other wire counts as internal and its label is its number.
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
