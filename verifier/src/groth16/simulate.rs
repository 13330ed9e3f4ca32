//! Proofs made from a key's secrets: the tests of what stands on proofs need no circuit.

use super::{Proof, VerifyingKey};
use ark_bn254::{Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{Field, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

/// The secrets of a key, with which anything can be proven.
pub(crate) struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
    ic: [Fr; 2],
}

impl Trapdoor {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut scalar = || Fr::rand(&mut rng);
        Self { alpha: scalar(), beta: scalar(), gamma: scalar(), delta: scalar(), ic: [scalar(), scalar()] }
    }

    pub(crate) fn key(&self) -> VerifyingKey {
        VerifyingKey::new(g1(self.alpha), g2(self.beta), g2(self.gamma), g2(self.delta), &self.ic.map(g1))
            .expect("random points make a key")
    }

    pub(crate) fn prove(&self, input: Fr, seed: u64) -> Proof {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (a, b) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
        let inputs = self.ic[0] + self.ic[1] * input;
        let delta_inverse = self.delta.inverse().expect("delta is not zero");
        let c = (a * b - self.alpha * self.beta - self.gamma * inputs) * delta_inverse;
        Proof::new(g1(a), g2(b), g1(c)).expect("random points make a proof")
    }
}

fn g1(scalar: Fr) -> G1Affine {
    (G1Projective::generator() * scalar).into_affine()
}

fn g2(scalar: Fr) -> G2Affine {
    (G2Projective::generator() * scalar).into_affine()
}
