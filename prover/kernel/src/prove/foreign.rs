//! Proofs for anyone's circuit, from a key that holds its matrices and a witness that others have computed.

use super::{Blinding, cost, make};
use crate::{foreign_key::ForeignKey, key_file::KeyFileError};
use ark_bn254::Fr;
use ark_ff::One;
use rayon::prelude::*;
use taproof_arith::Recoded;
use taproof_base::progress::{Progress, Work};
use taproof_verifier::groth16::Proof;

/// Why there is no proof for a foreign circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignProveError {
    /// The key file's sections are not what its header says, or hold what no key holds.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The witness is another circuit's.
    #[error("the witness has {found} values and the key's circuit {expected} wires, so it is another circuit's")]
    OtherCircuit {
        /// The wires of the key's circuit.
        expected: usize,
        /// The witness's values.
        found: usize,
    },
    /// The first value is not one, as that of every witness is.
    #[error("the first value of the witness is not one")]
    FirstNotOne,
    /// The proof does not verify. A key does not hold C, so this is the first that is seen of a row that does not hold.
    #[error(
        "the proof that was made does not verify: the witness does not satisfy the circuit, or the key contradicts \
         itself"
    )]
    Unsatisfied,
}

/// A proof for a foreign circuit, which has been verified, and the public inputs that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ForeignProof {
    proof: Proof,
    public_inputs: Vec<Fr>,
}

impl ForeignProof {
    /// The proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The public inputs, outputs of the circuit among them, in the order of their wires.
    pub fn public_inputs(&self) -> &[Fr] {
        &self.public_inputs
    }
}

/// Proves a witness: the values of all wires, the constant one first.
///
/// The values of the rows of C, whose matrix a key does not hold, are taken to be the products of those of A and B,
/// as snarkjs and rapidsnark do; whether they are those of the witness shows when the proof is verified, which is
/// done before it is returned.
///
/// # Errors
/// Each of [`ForeignProveError`].
pub fn prove_foreign(
    key: &ForeignKey,
    witness: &[Fr],
    blinding: &Blinding,
    progress: &dyn Progress,
) -> Result<ForeignProof, ForeignProveError> {
    let counts = key.counts();
    if witness.len() != counts.wires() {
        return Err(ForeignProveError::OtherCircuit { expected: counts.wires(), found: witness.len() });
    }
    if !witness[0].is_one() {
        return Err(ForeignProveError::FirstNotOne);
    }
    let parts = key.parts()?;
    let work = Work::new(cost::proof(&parts), progress);
    let part = work.part(cost::proof(&parts));
    let capacity = counts.domain().size();
    let [a, b] = parts.sections.matrices.multiply(witness, capacity);
    let mut c = Vec::with_capacity(capacity);
    c.par_extend(a.par_iter().zip(&b).map(|(a, b)| *a * b));
    part.advance(cost::rows(&parts));
    let public = &witness[..counts.public_wires()];
    let proof = make(&parts, public, &Recoded::of(witness), [a, b, c], blinding, &part);
    let public_inputs = public[1..].to_vec();
    match proof {
        Some(proof) if key.verifies(&public_inputs, &proof) => Ok(ForeignProof { proof, public_inputs }),
        _ => {
            key.expect_intact()?;
            Err(ForeignProveError::Unsatisfied)
        }
    }
}
