//! Proofs from an execution's trace: transforms and sums of points, no matrices.
//!
//! For wires z and the values a, b, c of every row, with blinding r and s and the key's queries (see [`crate::setup`]):
//!
//! - A = alpha + sum z_i A_i + r delta, B = beta + sum z_i B_i + s delta
//! - C = sum z_i L_i + sum h_j H_j + s A + r B - r s delta
//!
//! where h_j are the values of a b - c on the odd coset. Every proof is verified before it is returned.

mod batch;
#[cfg(test)]
mod tests;

#[cfg(test)]
use batch::prove_all;
pub use batch::prove_batch;

use crate::{
    key_file::{Key, KeyFileError, Sections},
    setup::{PUBLIC_WIRES, domain_for},
};
use ark_bn254::{Fr, G1Projective, G2Projective};
use ark_ec::CurveGroup;
use ark_ff::{One, UniformRand};
use rand::{CryptoRng, RngCore, rngs::OsRng};
use rayon::prelude::*;
use taproof_arith::{Domain, Point, Scalars, msm};
use taproof_circuits::{
    chunk::{AssignError, assign, witness::ChunkWitness},
    cs::Assignment,
};
use taproof_verifier::{
    groth16::{Proof, Verified},
    statement::{CircuitId, Statement},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The key file's sections are not what its header says.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// There is no key of the circuit.
    #[error("there is no key of circuit {0}")]
    NoKey(CircuitId),
    /// The chunk's witness does not satisfy its circuit, or is not one for it.
    #[error(transparent)]
    Chunk(#[from] AssignError),
    /// The key is another circuit's.
    #[error("the statement is of circuit {statement}, the key belongs to {key}")]
    OtherCircuit {
        /// The statement's circuit.
        statement: CircuitId,
        /// The key's.
        key: CircuitId,
    },
    /// The assignment is another circuit's.
    #[error("the assignment has {wires} wires and {rows} rows, the key is for {key_wires} and {key_rows}")]
    OtherShape {
        /// The assignment's wires.
        wires: usize,
        /// The assignment's rows.
        rows: usize,
        /// The key's wires.
        key_wires: usize,
        /// The key's rows.
        key_rows: usize,
    },
    /// The wires do not begin with one and the digest of the statement.
    #[error("the assignment is not one for the statement")]
    OtherStatement,
    /// A row does not hold.
    #[error("row {row} of the circuit does not hold")]
    Unsatisfied {
        /// The first such row.
        row: usize,
    },
    /// The proof does not verify: the key's points or the row values are not those of the circuit.
    #[error("the proof does not verify, so the key or the row values are not those of the circuit")]
    Rejected,
}

/// A proof that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Proven {
    proof: Proof,
    verified: Verified,
}

impl Proven {
    /// The proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// What it proves.
    pub fn statement(&self) -> &Statement {
        self.verified.statement()
    }
}

/// What makes a proof reveal nothing of its witness: fresh for every proof, overwritten when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Blinding {
    r: Fr,
    s: Fr,
}

impl Blinding {
    /// Draws from the operating system.
    pub fn fresh() -> Self {
        Self::from_rng(&mut OsRng)
    }

    /// Draws from a generator that the caller answers for.
    pub fn from_rng(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self { r: Fr::rand(rng), s: Fr::rand(rng) }
    }
}

/// Proves a chunk.
///
/// # Errors
/// Each of [`ProveError`]; an unsatisfied chunk's names the slot and the relation.
pub fn prove_chunk(key: &Key, chunk: &ChunkWitness, blinding: &Blinding) -> Result<Proven, ProveError> {
    prove(key, &chunk.statement, assign(chunk)?, blinding)
}

/// Proves a statement from the assignment that satisfies it.
///
/// # Errors
/// Each of [`ProveError`].
pub fn prove(
    key: &Key,
    statement: &Statement,
    assignment: Assignment,
    blinding: &Blinding,
) -> Result<Proven, ProveError> {
    check(key, statement, &assignment)?;
    let sections = key.sections()?;
    let Assignment { wires, a, b, c } = assignment;
    let domain = domain_for(key.header().row_count()).expect("the header's check made this domain");
    let h = quotient_values(&domain, &wires[..PUBLIC_WIRES], a, b, c);
    let proof = assemble(key, &sections, &wires, &h, blinding).ok_or(ProveError::Rejected)?;
    let verified = key.prepared_verifying_key().verify(statement, &proof).map_err(|_| ProveError::Rejected)?;
    Ok(Proven { proof, verified })
}

fn check(key: &Key, statement: &Statement, assignment: &Assignment) -> Result<(), ProveError> {
    let header = key.header();
    if statement.circuit != header.circuit() {
        return Err(ProveError::OtherCircuit { statement: statement.circuit, key: header.circuit() });
    }
    let Assignment { wires, a, b, c } = assignment;
    if wires.len() != header.wire_count() || [a.len(), b.len(), c.len()] != [header.row_count(); 3] {
        return Err(ProveError::OtherShape {
            wires: wires.len(),
            rows: a.len(),
            key_wires: header.wire_count(),
            key_rows: header.row_count(),
        });
    }
    if wires[..PUBLIC_WIRES] != [Fr::one(), statement.digest()] {
        return Err(ProveError::OtherStatement);
    }
    match (a, b, c).into_par_iter().position_first(|(a, b, c)| *a * b != *c) {
        Some(row) => Err(ProveError::Unsatisfied { row }),
        None => Ok(()),
    }
}

/// The values of a b - c on the odd coset, from those of a, b and c on the domain.
fn quotient_values(domain: &Domain, public: &[Fr], mut a: Vec<Fr>, mut b: Vec<Fr>, mut c: Vec<Fr>) -> Vec<Fr> {
    for values in [&mut a, &mut b, &mut c] {
        values.reserve_exact(domain.size() - values.len());
    }
    a.extend(public);
    domain.to_odd_coset([&mut a, &mut b, &mut c]);
    a.par_iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = *a * b - c);
    a
}

/// The three points, or `None` if one is at infinity, which a random blinding makes impossible in practice.
fn assemble(key: &Key, sections: &Sections<'_>, wires: &[Fr], h: &[Fr], blinding: &Blinding) -> Option<Proof> {
    let Blinding { r, s } = blinding;
    let header = key.header();
    let verifying_key = header.verifying_key();
    let delta_g1 = header.delta_g1.to_affine();
    let a_scalars = Scalars::picked(wires, sections.a_wires);
    let b_scalars = Scalars::picked(wires, sections.b_wires);
    let a: G1Projective = msm(sections.a, a_scalars) + verifying_key.alpha() + delta_g1 * r;
    let b_g1: G1Projective = msm(sections.b_g1, b_scalars) + header.beta_g1.to_affine() + delta_g1 * s;
    let b_g2: G2Projective = msm(sections.b_g2, b_scalars) + verifying_key.beta() + *verifying_key.delta() * s;
    let l = msm(sections.l, Scalars::all(&wires[PUBLIC_WIRES..]));
    let h = msm(sections.h, Scalars::all(h));
    let c = l + h + a * s + b_g1 * r - delta_g1 * (*r * s);
    Proof::new(a.into_affine(), b_g2.into_affine(), c.into_affine()).ok()
}
