//! Proofs made from a key's secrets: verifiers are measured without a circuit.

use ark_bn254::{Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{Field, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use taproof_verifier::groth16::{Proof, VerifyingKey};

/// The secrets of a key, with which anything can be proven; always the same ones, so that the key is fit for nothing
/// else.
#[derive(Debug)]
pub struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
    ic: [Fr; 2],
    rng: ChaCha20Rng,
}

impl Trapdoor {
    /// Draws from a fixed seed.
    #[expect(clippy::new_without_default, reason = "secrets are drawn, which is no default")]
    pub fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut scalar = || Fr::rand(&mut rng);
        let (alpha, beta, gamma, delta, ic) = (scalar(), scalar(), scalar(), scalar(), [scalar(), scalar()]);
        Self { alpha, beta, gamma, delta, ic, rng }
    }

    /// The key of these secrets.
    pub fn key(&self) -> VerifyingKey {
        VerifyingKey::new(g1(self.alpha), g2(self.beta), g2(self.gamma), g2(self.delta), &self.ic.map(g1))
            .expect("random points make a key")
    }

    /// A proof that the key accepts for a public input; another one each time.
    pub fn prove(&mut self, input: Fr) -> Proof {
        let (a, b) = (Fr::rand(&mut self.rng), Fr::rand(&mut self.rng));
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
