//! The proving key as a .zkey file, version 1, protocol groth16, that snarkjs and rapidsnark prove with.
//!
//! Points are stored there as here: Montgomery limbs, zeros for infinity. The file holds a point of A and B for every
//! wire, and the coefficients of A and B themselves, for its provers compute the rows from them.

use crate::{
    key_file::{Key, KeyFileError},
    setup::{PUBLIC_WIRES, domain_for},
};
use ark_bn254::{Fq, Fr, G1Affine, G2Affine};
use ark_ff::{Field, PrimeField};
use bytemuck::{bytes_of, cast_slice};
use std::io::{self, Write};
use taproof_arith::{G1, G2, Point};
use taproof_circuits::{cs::Shape, iden3::BinaryFile};

/// Why there is no .zkey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZkeyError {
    /// The key's sections are not what its header says.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The shape is not that of the key's circuit.
    #[error("the matrices are not those of the key's circuit {0}")]
    OtherMatrices(taproof_verifier::statement::CircuitId),
    /// The file cannot be written.
    #[error("the .zkey cannot be written")]
    Write(#[from] io::Error),
}

/// Bytes of a coefficient: the matrix, the row and the wire (4 each), the value (32).
const COEFFICIENT: u64 = 3 * 4 + 32;

/// Writes a key.
///
/// # Errors
/// Each of [`ZkeyError`].
pub fn write(key: &Key, shape: &Shape, out: &mut dyn Write) -> Result<(), ZkeyError> {
    let header = key.header();
    if shape.matrix_hash() != header.matrix_hash() {
        return Err(ZkeyError::OtherMatrices(header.circuit()));
    }
    let sections = key.sections()?;
    let wires = header.wire_count() as u64;
    let mut file = BinaryFile::start(out, *b"zkey", 1, 10)?;
    file.section(1, 4, |out| out.write_all(&1u32.to_le_bytes()))?;
    file.section(2, 2 * 36 + 3 * 4 + 3 * 64 + 3 * 128, |out| write_parameters(key, out))?;
    let ic = header.verifying_key().ic().each_ref().map(G1::from_affine);
    file.section(3, 64 * ic.len() as u64, |out| out.write_all(cast_slice(&ic)))?;
    file.section(4, 4 + COEFFICIENT * coefficient_count(shape), |out| write_coefficients(shape, out))?;
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
    let header = key.header();
    let verifying_key = header.verifying_key();
    let domain = domain_for(header.row_count()).expect("the header's check made this domain");
    write_modulus::<Fq>(out)?;
    write_modulus::<Fr>(out)?;
    for count in [header.wire_count(), PUBLIC_WIRES - 1, domain.size()] {
        out.write_all(&u32::try_from(count).expect("a key has fewer than 2^32 wires and roots").to_le_bytes())?;
    }
    let g1 = |out: &mut dyn Write, point: &G1Affine| out.write_all(bytes_of(&G1::from_affine(point)));
    let g2 = |out: &mut dyn Write, point: &G2Affine| out.write_all(bytes_of(&G2::from_affine(point)));
    g1(out, verifying_key.alpha())?;
    out.write_all(bytes_of(&header.beta_g1))?;
    g2(out, verifying_key.beta())?;
    g2(out, verifying_key.gamma())?;
    out.write_all(bytes_of(&header.delta_g1))?;
    g2(out, verifying_key.delta())
}

fn write_modulus<F: PrimeField>(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&32u32.to_le_bytes())?;
    F::MODULUS.as_ref().iter().try_for_each(|limb| out.write_all(&limb.to_le_bytes()))
}

/// The terms of A and B, and one for each public wire's own row of A.
fn coefficient_count(shape: &Shape) -> u64 {
    let terms: usize = shape.rows().map(|row| row.a().count() + row.b().count()).sum();
    (terms + PUBLIC_WIRES) as u64
}

fn write_coefficients(shape: &Shape, out: &mut dyn Write) -> io::Result<()> {
    let count = coefficient_count(shape);
    out.write_all(&u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge)?.to_le_bytes())?;
    // Values are stored times 2^512, so that the product with a wire's plain value, reduced by Montgomery's method, is in Montgomery form.
    let radix = Fr::from(2u64).pow([256]);
    let mut write = |matrix: u32, row: usize, wire: usize, coefficient: Fr| {
        let mut bytes = [0; COEFFICIENT as usize];
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
