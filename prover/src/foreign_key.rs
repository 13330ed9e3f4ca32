//! The key of anyone's circuit: from a .zkey, or from a mapped key file that was made from one.

use crate::{
    key_file::{KeyFile, KeyFileError},
    proving_key::{Circuit, Counts, FixedPoints, Parts, ProvingKey},
};
use ark_bn254::{Bn254, Fr, G1Projective};
use ark_ec::CurveGroup;
use ark_groth16::{Groth16, PreparedVerifyingKey, prepare_verifying_key};
use std::path::Path;
use taproof_arith::{G1, Point, Recoded, Scalars, msm};
use taproof_verifier::groth16::Proof;

/// A key that holds the matrices of its circuit, with its verifying key.
#[derive(Debug)]
pub struct ForeignKey {
    store: Store,
    prepared: PreparedVerifyingKey<Bn254>,
}

#[derive(Debug)]
enum Store {
    Memory(Box<ProvingKey>),
    Mapped(Box<KeyFile>),
}

/// The key belongs to one of Taproof's own circuits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key belongs to {0} of Taproof and holds no matrices")]
pub struct NotForeign(pub Circuit);

impl ForeignKey {
    /// Takes a key that [`zkey::read`](crate::zkey::read) has read.
    ///
    /// # Errors
    /// [`NotForeign`].
    pub fn new(key: ProvingKey) -> Result<Self, NotForeign> {
        if key.circuit != Circuit::Foreign {
            return Err(NotForeign(key.circuit));
        }
        let prepared = prepare(&key.points);
        Ok(Self { store: Store::Memory(Box::new(key)), prepared })
    }

    /// Maps a key file and checks its header.
    ///
    /// # Errors
    /// Any of [`KeyFileError`] that reading a header can show, and [`KeyFileError::OwnCircuit`].
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let file = KeyFile::open(path)?;
        if let Circuit::Own(circuit) = file.header().circuit() {
            return Err(KeyFileError::OwnCircuit(circuit));
        }
        let prepared = prepare(&file.header().points);
        Ok(Self { store: Store::Mapped(Box::new(file)), prepared })
    }

    /// The circuit's sizes.
    pub fn counts(&self) -> Counts {
        match &self.store {
            Store::Memory(key) => key.counts,
            Store::Mapped(file) => file.header().counts(),
        }
    }

    /// The hash of the circuit's matrices A and B.
    pub fn matrix_hash(&self) -> [u8; 32] {
        match &self.store {
            Store::Memory(key) => key.matrix_hash,
            Store::Mapped(file) => file.header().matrix_hash(),
        }
    }

    /// Whether anyone can forge proofs for this key: nobody has contributed to its second phase, as after `snarkjs groth16 setup`.
    pub fn is_forgeable(&self) -> bool {
        self.points().are_forgeable()
    }

    /// What a proof is made with.
    ///
    /// # Errors
    /// As [`KeyFile::sections`].
    pub(crate) fn parts(&self) -> Result<Parts<'_>, KeyFileError> {
        match &self.store {
            Store::Memory(key) => Ok(key.parts()),
            Store::Mapped(file) => file.parts(),
        }
    }

    /// As [`KeyFile::expect_intact`].
    pub(crate) fn expect_intact(&self) -> Result<(), KeyFileError> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::Mapped(file) => file.expect_intact(),
        }
    }

    /// Whether a proof proves the public inputs, which are one for each public wire but the first.
    pub(crate) fn verifies(&self, public_inputs: &[Fr], proof: &Proof) -> bool {
        let [one, points @ ..] = self.ic() else { return false };
        if points.len() != public_inputs.len() {
            return false;
        }
        let inputs: G1Projective = msm(points, Scalars::all(&Recoded::of(public_inputs))) + one.to_affine();
        let proof = ark_groth16::Proof { a: *proof.a(), b: *proof.b(), c: *proof.c() };
        Groth16::<Bn254>::verify_proof_with_prepared_inputs(&self.prepared, &proof, &inputs.into_affine().into())
            .is_ok_and(|valid| valid)
    }

    fn points(&self) -> &FixedPoints {
        match &self.store {
            Store::Memory(key) => &key.points,
            Store::Mapped(file) => &file.header().points,
        }
    }

    fn ic(&self) -> &[G1] {
        match &self.store {
            Store::Memory(key) => &key.ic,
            Store::Mapped(file) => file.ic(),
        }
    }
}

/// Prepares the points that do not depend on the public inputs; those that do are summed for each proof.
fn prepare(points: &FixedPoints) -> PreparedVerifyingKey<Bn254> {
    prepare_verifying_key(&ark_groth16::VerifyingKey {
        alpha_g1: points.alpha.to_affine(),
        beta_g2: points.beta.to_affine(),
        gamma_g2: points.gamma.to_affine(),
        delta_g2: points.delta.to_affine(),
        gamma_abc_g1: Vec::new(),
    })
}
