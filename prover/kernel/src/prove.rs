//! Proofs: transforms and sums of points.
//!
//! The values of every row come from an execution's trace for Taproof's circuits, which need no matrices ([`prove`]),
//! and from the matrices in the key for anyone's ([`prove_foreign`]). From there on there is one path.
//!
//! For wires z and the values a, b, c of every row, with the key's queries (see [`crate::setup`]), these points prove
//! the statement and would give the wires away to whoever can guess them:
//!
//! - A = alpha + sum z_i A_i, B = beta + sum z_i B_i in G2, C = sum z_i L_i + sum h_j H_j
//!
//! where h_j are the values of a b - c on the odd coset. Blinded by r1 and r2, they are A / r1, r1 (B + r2 delta),
//! C + r2 A. As r1 makes the first point any but infinity and r2 the second any, each with equal probability, and the
//! check leaves no choice of the third, the proof is distributed as that of Groth's prover, whose own way of
//! blinding, A + r delta and B + s delta, takes the sum of B in G1 as well (Baghery, Kohlweiss, Siim, Volkhov,
//! "Another Look at Extraction and Randomization of Groth's zk-SNARK", 2020, theorem 3). Every proof is verified
//! before it is returned.

mod cost;
mod foreign;
mod parallel;
#[cfg(test)]
mod tests;

pub use foreign::{ForeignProof, ForeignProveError, prove_foreign};
#[cfg(test)]
use parallel::prove_all;
pub use parallel::prove_batch;

use crate::{
    key_file::{Key, KeyFileError},
    proven::Proven,
    proving_key::Parts,
    setup::PUBLIC_WIRES,
};
use ark_bn254::Fr;
use ark_ec::{CurveGroup, short_weierstrass::Projective};
use ark_ff::{Field, One, UniformRand, Zero};
use rand::{CryptoRng, RngCore, rngs::OsRng};
use taproof_arith::{Domain, Point, Recoded, Scalars, msm, vectors};
use taproof_base::progress::{Part, Silent, Work};
use taproof_circuits::{
    chunk::{AssignError, assign, shape, witness::ChunkWitness},
    cs::Assignment,
    step::Machines,
};
use taproof_verifier::{
    groth16::Proof,
    statement::{CircuitId, Statement},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The key was made for other matrices of the circuit, or the file's sections are not what its header says, or
    /// hold what no key holds.
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

/// What makes a proof reveal nothing of its witness: fresh for every proof, overwritten when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Blinding {
    /// Not zero.
    pub(crate) r1: Fr,
    pub(crate) r2: Fr,
}

impl Blinding {
    /// Draws from the operating system.
    pub fn fresh() -> Self {
        Self::from_rng(&mut OsRng)
    }

    /// Draws from a generator that the caller answers for.
    pub fn from_rng(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        loop {
            let (r1, r2) = (Fr::rand(rng), Fr::rand(rng));
            if !r1.is_zero() && !r2.is_zero() {
                return Self { r1, r2 };
            }
        }
    }
}

/// Proves a chunk; one of steps, by the machine that has its operations.
///
/// # Errors
/// Each of [`ProveError`]; an unsatisfied chunk's names the slot and the relation.
pub fn prove_chunk(
    machines: &Machines,
    key: &Key,
    chunk: &ChunkWitness,
    blinding: &Blinding,
) -> Result<Proven, ProveError> {
    let work = Work::new(0, &Silent);
    prove_chunk_part(machines, key, chunk, blinding, &work.part(0))
}

/// Only where there is no proof are the circuit's matrices built, to see whether the key was made for them.
fn prove_chunk_part(
    machines: &Machines,
    key: &Key,
    chunk: &ChunkWitness,
    blinding: &Blinding,
    part: &Part<'_>,
) -> Result<Proven, ProveError> {
    let result = prove_part(key, &chunk.statement, assign(machines, chunk)?, blinding, part);
    if let Err(ProveError::Rejected | ProveError::OtherShape { .. }) = result {
        let shape = shape(machines, key.circuit()).map_err(AssignError::from)?;
        key.expect_matrices(shape.matrix_hash())?;
    }
    result
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
    let work = Work::new(0, &Silent);
    prove_part(key, statement, assignment, blinding, &work.part(0))
}

fn prove_part(
    key: &Key,
    statement: &Statement,
    assignment: Assignment,
    blinding: &Blinding,
    part: &Part<'_>,
) -> Result<Proven, ProveError> {
    check(key, statement, &assignment)?;
    let parts = key.parts()?;
    let Assignment { wires, a, b, c } = assignment;
    part.advance(cost::rows(&parts));
    let public = wires[..PUBLIC_WIRES].to_vec();
    let recoded = Recoded::of(&wires);
    drop(wires);
    let proof = make(&parts, &public, &recoded, [a, b, c], blinding, part);
    match proof.and_then(|proof| Proven::by_key(key, statement, proof).ok()) {
        Some(proven) => Ok(proven),
        // Only now is the key read through for damage, which cannot have made a wrong proof.
        None => {
            key.expect_intact()?;
            Err(ProveError::Rejected)
        }
    }
}

fn check(key: &Key, statement: &Statement, assignment: &Assignment) -> Result<(), ProveError> {
    let header = key.header();
    if statement.circuit != key.circuit() {
        return Err(ProveError::OtherCircuit { statement: statement.circuit, key: key.circuit() });
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
    match vectors::first_other_product(a, b, c) {
        Some(row) => Err(ProveError::Unsatisfied { row }),
        None => Ok(()),
    }
}

/// Makes a proof from the wires, of which the first are `public`, and the values of every row, without looking
/// whether they hold; `None` if one of its points is at infinity, which random secrets of the key make impossible in
/// practice.
///
/// The four sums and the transforms that one of them waits for are all open to every thread at a time, so that none
/// is left without work before the end; the longest, that in G2, comes first.
fn make(
    parts: &Parts<'_>,
    public: &[Fr],
    wires: &Recoded,
    rows: [Vec<Fr>; 3],
    blinding: &Blinding,
    part: &Part<'_>,
) -> Option<Proof> {
    let Blinding { r1, r2 } = blinding;
    let Parts { counts, points, sections } = parts;
    let quotient = || {
        let h = Recoded::of(&quotient_values(&counts.domain(), public, rows));
        part.advance(cost::transforms(parts));
        sum(sections.h, Scalars::all(&h), part)
    };
    let in_g2 = || sum(sections.b_g2, Scalars::picked(wires, sections.b_wires), part);
    let a = || sum(sections.a, Scalars::picked(wires, sections.a_wires), part);
    let l = || sum(sections.l, Scalars::after(wires, public.len()), part);
    let ((b, h), (a, l)) = rayon::join(|| rayon::join(in_g2, quotient), || rayon::join(a, l));
    let (a, b) = (a + points.alpha.to_affine(), b + points.beta.to_affine());
    let c = l + h + a * r2;
    let a = a * r1.inverse().expect("r1 is not zero");
    let b = (b + points.delta.to_affine() * r2) * r1;
    Proof::new(a.into_affine(), b.into_affine(), c.into_affine()).ok()
}

/// The values of a b - c on the odd coset, from those of a, b and c on the domain.
fn quotient_values(domain: &Domain, public: &[Fr], [mut a, mut b, mut c]: [Vec<Fr>; 3]) -> Vec<Fr> {
    for values in [&mut a, &mut b, &mut c] {
        values.reserve_exact(domain.size() - values.len());
    }
    a.extend(public);
    domain.to_odd_coset([&mut a, &mut b, &mut c]);
    vectors::multiply_subtract(&mut a, &b, &c);
    a
}

/// A sum of points, which is counted when it is done.
fn sum<P: Point>(points: &[P], scalars: Scalars<'_>, part: &Part<'_>) -> Projective<P::Config> {
    let sum = msm(points, scalars);
    part.advance(cost::sum(points));
    sum
}
