//! The key of anyone's circuit: from a .zkey, or from a mapped key file that was made from one.

use crate::{
    key_file::{KeyFile, KeyFileError},
    proving_key::{Circuit, Counts, FixedPointError, FixedPoints, Parts, ProvingKey, check_member, check_point},
};
use ark_bn254::{Bn254, Fr, G1Projective};
use ark_ec::CurveGroup;
use ark_groth16::{Groth16, PreparedVerifyingKey, prepare_verifying_key};
use std::{fmt, path::Path};
use taproof_arith::{G1, G2, Point, Recoded, Scalars, msm};
use taproof_circuits::iden3::json::VerifyingKeyPoints;
use taproof_verifier::groth16::{PointError, Proof};

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
pub struct NotForeignError(pub Circuit);

impl ForeignKey {
    /// Takes a key that [`zkey::read`](crate::zkey::read) has read.
    ///
    /// # Errors
    /// [`NotForeignError`].
    pub fn new(key: ProvingKey) -> Result<Self, NotForeignError> {
        if key.circuit != Circuit::Foreign {
            return Err(NotForeignError(key.circuit));
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

    /// Why anyone can forge proofs for this key, if anyone can.
    pub fn weakness(&self) -> Option<Weakness> {
        match &self.store {
            Store::Memory(key) => key.weakness(),
            Store::Mapped(file) => file.header().weakness(),
        }
    }

    /// The key that proofs are checked with.
    pub fn verifying_key(&self) -> VerifyingKeyPoints {
        self.points().verifying_key(self.ic())
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
        verifies(&self.prepared, self.ic(), public_inputs, proof)
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

/// Why anyone can forge proofs for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Nobody has contributed to its second phase, as after `snarkjs groth16 setup`: gamma is delta.
    NoContribution,
    /// All contributions are beacons, whose secrets everybody can compute.
    BeaconsOnly,
}

impl Weakness {
    /// The weakness of a key with these points, all of whose contributions are beacons or not.
    pub(crate) fn of(points: &FixedPoints, beacons_only: bool) -> Option<Self> {
        match points.are_forgeable() {
            true => Some(Self::NoContribution),
            false => beacons_only.then_some(Self::BeaconsOnly),
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoContribution => "nobody has contributed to this key, so anyone can forge proofs for it",
            Self::BeaconsOnly => {
                "this key has a beacon and no contribution of anybody, so anyone can compute its secret and forge \
                 proofs for it"
            }
        })
    }
}

/// A verifying key of anyone's circuit, with any number of public inputs, whose points have been checked.
#[derive(Clone, Debug)]
pub struct ForeignVerifyingKey {
    prepared: PreparedVerifyingKey<Bn254>,
    ic: Vec<G1>,
}

/// Why points are no verifying key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyingKeyError {
    /// A point of which a key has only one is no member of its group or at infinity.
    #[error(transparent)]
    FixedPoint(#[from] FixedPointError),
    /// A point of IC is not on the curve.
    #[error("the key's IC point {index}: {source}")]
    IcPoint {
        /// The point: the constant one, then the public inputs.
        index: usize,
        /// What is wrong with it.
        source: PointError,
    },
    /// There is no point of IC.
    #[error("the key has no IC point")]
    NoIcPoint,
}

/// Why a proof does not prove public inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignVerifyError {
    /// There are more or fewer public inputs than the circuit has.
    #[error("{found} public inputs, where the key's circuit has {expected}")]
    InputCount {
        /// Those of the key's circuit.
        expected: usize,
        /// Those that were given.
        found: usize,
    },
    /// The proof is not one of these public inputs for this key.
    #[error("the proof does not hold for these public inputs and this key")]
    Rejected,
}

impl ForeignVerifyingKey {
    /// Checks the points of a key.
    ///
    /// # Errors
    /// Each of [`VerifyingKeyError`].
    pub fn new(key: &VerifyingKeyPoints) -> Result<Self, VerifyingKeyError> {
        let [beta, gamma, delta] = [key.beta, key.gamma, key.delta].map(|point| G2::from_affine(&point));
        let alpha = G1::from_affine(&key.alpha);
        check_member(&alpha).map_err(|source| FixedPointError { name: "alpha", source })?;
        for (name, point) in [("beta in G2", &beta), ("gamma", &gamma), ("delta in G2", &delta)] {
            check_member(point).map_err(|source| FixedPointError { name, source })?;
        }
        let ic: Vec<G1> = key.ic.iter().map(G1::from_affine).collect();
        for (index, point) in ic.iter().enumerate() {
            check_point(point).map_err(|source| VerifyingKeyError::IcPoint { index, source })?;
        }
        if ic.is_empty() {
            return Err(VerifyingKeyError::NoIcPoint);
        }
        let prepared = prepare_verifying_key(&ark_groth16::VerifyingKey {
            alpha_g1: key.alpha,
            beta_g2: key.beta,
            gamma_g2: key.gamma,
            delta_g2: key.delta,
            gamma_abc_g1: Vec::new(),
        });
        Ok(Self { prepared, ic })
    }

    /// The number of public inputs.
    pub fn public_inputs(&self) -> usize {
        self.ic.len() - 1
    }

    /// Checks a proof.
    ///
    /// # Errors
    /// Each of [`ForeignVerifyError`].
    pub fn verify(&self, public_inputs: &[Fr], proof: &Proof) -> Result<(), ForeignVerifyError> {
        if public_inputs.len() != self.public_inputs() {
            let (expected, found) = (self.public_inputs(), public_inputs.len());
            return Err(ForeignVerifyError::InputCount { expected, found });
        }
        if verifies(&self.prepared, &self.ic, public_inputs, proof) {
            Ok(())
        } else {
            Err(ForeignVerifyError::Rejected)
        }
    }

    /// Whether anyone can forge proofs for this key, as its own points show: gamma is delta or its negative. What
    /// became of a key before is not in it.
    pub fn is_forgeable(&self) -> bool {
        let key = &self.prepared.vk;
        key.gamma_g2 == key.delta_g2 || key.gamma_g2 == -key.delta_g2
    }
}

/// Whether a proof proves the public inputs, which are one for each point of IC but the first.
fn verifies(prepared: &PreparedVerifyingKey<Bn254>, ic: &[G1], public_inputs: &[Fr], proof: &Proof) -> bool {
    let [one, points @ ..] = ic else { return false };
    if points.len() != public_inputs.len() {
        return false;
    }
    let inputs: G1Projective = msm(points, Scalars::all(&Recoded::of(public_inputs))) + one.to_affine();
    let proof = ark_groth16::Proof { a: *proof.a(), b: *proof.b(), c: *proof.c() };
    Groth16::<Bn254>::verify_proof_with_prepared_inputs(prepared, &proof, &inputs.into_affine().into())
        .is_ok_and(|valid| valid)
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
