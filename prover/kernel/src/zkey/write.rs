//! Writing: the key of one of Taproof's circuits, for other provers.

use super::{COEFFICIENT_LENGTH, PARAMETERS_LENGTH, PROTOCOL_GROTH16};
use crate::{
    key_file::{Key, KeyFileError},
    setup::PUBLIC_WIRES,
};
use ark_bn254::{Fq, Fr};
use ark_ff::Field;
use bytemuck::{bytes_of, cast_slice};
use std::io::{self, Write};
use taproof_arith::Point;
use taproof_circuits::{
    cs::Shape,
    iden3::{BinaryFile, prime_bytes},
};

/// Why there is no .zkey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key was made for other matrices, or its sections are not what its header says.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file cannot be written.
    #[error("the .zkey cannot be written")]
    Write(#[from] io::Error),
}

/// Writes a key.
///
/// # Errors
/// Each of [`WriteError`].
pub fn write(key: &Key, shape: &Shape, out: &mut dyn Write) -> Result<(), WriteError> {
    let header = key.header();
    key.expect_matrices(shape.matrix_hash())?;
    key.expect_intact()?;
    let sections = key.sections()?;
    let wires = header.wire_count() as u64;
    let mut file = BinaryFile::start(out, *b"zkey", 1, 10)?;
    file.section(1, 4, |out| out.write_all(&PROTOCOL_GROTH16.to_le_bytes()))?;
    file.section(2, PARAMETERS_LENGTH, |out| write_parameters(key, out))?;
    file.section(3, 64 * sections.ic.len() as u64, |out| out.write_all(cast_slice(sections.ic)))?;
    file.section(4, 4 + COEFFICIENT_LENGTH as u64 * coefficient_count(shape), |out| write_coefficients(shape, out))?;
    file.section(5, 64 * wires, |out| write_every_wire(out, wires, sections.a_wires, sections.a))?;
    file.section(6, 64 * wires, |out| write_every_wire(out, wires, sections.b_wires, sections.b_g1))?;
    file.section(7, 128 * wires, |out| write_every_wire(out, wires, sections.b_wires, sections.b_g2))?;
    file.section(8, 64 * sections.l.len() as u64, |out| out.write_all(cast_slice(sections.l)))?;
    file.section(9, 64 * sections.h.len() as u64, |out| out.write_all(cast_slice(sections.h)))?;
    // A digest of the circuit, of 64 bytes, and no contributions: this is one party's key.
    file.section(10, 64 + 4, |out| {
        out.write_all(&header.matrix_hash())?;
        out.write_all(&[0; 32 + 4])
    })?;
    file.finish();
    Ok(())
}

fn write_parameters(key: &Key, out: &mut dyn Write) -> io::Result<()> {
    let (counts, points) = (key.header().counts(), &key.header().points);
    out.write_all(&prime_bytes::<Fq>())?;
    out.write_all(&prime_bytes::<Fr>())?;
    for count in [counts.wires(), counts.public_wires() - 1, 1 << counts.log_domain_size()] {
        out.write_all(&u32::try_from(count).expect("a key has fewer than 2^32 wires and roots").to_le_bytes())?;
    }
    out.write_all(bytes_of(&points.alpha))?;
    out.write_all(bytes_of(&points.beta_g1))?;
    out.write_all(bytes_of(&points.beta))?;
    out.write_all(bytes_of(&points.gamma))?;
    out.write_all(bytes_of(&points.delta_g1))?;
    out.write_all(bytes_of(&points.delta))
}

/// The terms of A and B, and one for each public wire's own row of A.
fn coefficient_count(shape: &Shape) -> u64 {
    let terms: usize = shape.rows().map(|row| row.a().count() + row.b().count()).sum();
    (terms + PUBLIC_WIRES) as u64
}

fn write_coefficients(shape: &Shape, out: &mut dyn Write) -> io::Result<()> {
    let count = coefficient_count(shape);
    out.write_all(&u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge)?.to_le_bytes())?;
    let radix = Fr::from(2u64).pow([256]);
    let mut write = |matrix: u32, row: usize, wire: usize, coefficient: Fr| {
        let mut bytes = [0; COEFFICIENT_LENGTH];
        bytes[..4].copy_from_slice(&matrix.to_le_bytes());
        bytes[4..8].copy_from_slice(&(row as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&(wire as u32).to_le_bytes());
        // The limbs of an element in memory are those of the element times 2^256.
        for (bytes, limb) in bytes[12..].chunks_exact_mut(8).zip((coefficient * radix).0.0) {
            bytes.copy_from_slice(&limb.to_le_bytes());
        }
        out.write_all(&bytes)
    };
    for (number, row) in shape.rows().enumerate() {
        row.a().try_for_each(|(wire, coefficient)| write(0, number, wire, *coefficient))?;
        row.b().try_for_each(|(wire, coefficient)| write(1, number, wire, *coefficient))?;
    }
    (0..PUBLIC_WIRES).try_for_each(|wire| write(0, shape.row_count() + wire, wire, Fr::ONE))
}

/// Writes a point for every wire: infinity for those that do not occur.
fn write_every_wire<P: Point>(out: &mut dyn Write, wires: u64, occurring: &[u32], points: &[P]) -> io::Result<()> {
    let mut occurring = occurring.iter().zip(points).peekable();
    for wire in 0..wires {
        let point = occurring.next_if(|(at, _)| u64::from(**at) == wire).map_or(P::zeroed(), |(_, point)| *point);
        out.write_all(bytes_of(&point))?;
    }
    Ok(())
}
