//! The same keys and proofs by ark-groth16: our matrices, keys and proofs as it takes them. It is the oracle of the
//! tests and what the benchmarks compare with; no key or proof that leaves this crate comes from it.

use crate::{
    key_file::{Key, KeyFileError},
    setup::PUBLIC_WIRES,
};
use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::PrimeField;
use ark_groth16::{
    Groth16,
    r1cs_to_qap::{R1CSToQAP, evaluate_constraint},
};
use ark_poly::EvaluationDomain;
use ark_relations::{
    gr1cs::{ConstraintSystemRef, Result as R1csResult, SynthesisError},
    utils::matrix::Matrix,
};
use rand::RngCore;
use rayon::prelude::*;
use taproof_arith::Point;
use taproof_circuits::{
    ark::Synthesis,
    cs::{RowView, Shape},
};
use taproof_verifier::groth16::{Proof, VerifyingKey};

/// The reduction of circom and snarkjs, which our keys are made for, over arkworks' domains.
struct OddCosetReduction;

impl R1CSToQAP for OddCosetReduction {
    fn instance_map_with_evaluation<F: PrimeField, D: EvaluationDomain<F>>(
        _: ConstraintSystemRef<F>,
        _: &F,
    ) -> R1csResult<(Vec<F>, Vec<F>, Vec<F>, F, usize, usize)> {
        unreachable!("keys are made by this crate's setup")
    }

    fn witness_map_from_matrices<F: PrimeField, D: EvaluationDomain<F>>(
        matrices: &[Matrix<F>],
        num_inputs: usize,
        num_constraints: usize,
        full_assignment: &[F],
    ) -> R1csResult<Vec<F>> {
        let domain = D::new(num_constraints + num_inputs).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let root = F::get_root_of_unity(2 * domain.size() as u64).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let coset = domain.get_coset(root).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let [mut a, mut b, mut c] = [0, 1, 2].map(|side| -> Vec<F> {
            matrices[side].par_iter().map(|row| evaluate_constraint(row, full_assignment)).collect()
        });
        a.extend(&full_assignment[..num_inputs]);
        for values in [&mut a, &mut b, &mut c] {
            domain.ifft_in_place(values);
            coset.fft_in_place(values);
        }
        a.par_iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = *a * b - c);
        Ok(a)
    }

    fn h_query_scalars<F: PrimeField, D: EvaluationDomain<F>>(_: usize, _: F, _: F, _: F) -> R1csResult<Vec<F>> {
        unreachable!("keys are made by this crate's setup")
    }
}

/// ark-groth16's prover with one of our keys, the matrices built beforehand.
#[derive(Debug)]
pub struct ArkProver {
    key: ark_groth16::ProvingKey<Bn254>,
    matrices: Vec<Matrix<Fr>>,
    public_wires: usize,
}

impl ArkProver {
    /// Takes over a key and the matrices of its circuit.
    ///
    /// # Errors
    /// As [`Key::sections`].
    pub fn new(key: &Key, shape: &Shape) -> Result<Self, KeyFileError> {
        Ok(Self::from_parts(proving_key(key)?, matrices(shape), PUBLIC_WIRES))
    }

    /// Takes a key in the reduction of circom and snarkjs, with the matrices A, B and C of its circuit.
    pub(crate) fn from_parts(
        key: ark_groth16::ProvingKey<Bn254>,
        matrices: Vec<Matrix<Fr>>,
        public_wires: usize,
    ) -> Self {
        Self { key, matrices, public_wires }
    }

    /// Proves an assignment with the blinding r and s, without looking whether the rows hold.
    ///
    /// # Errors
    /// If the field has no domain for the rows.
    pub fn prove(&self, wires: &[Fr], r: Fr, s: Fr) -> R1csResult<ark_groth16::Proof<Bn254>> {
        Groth16::<Bn254, OddCosetReduction>::create_proof_with_reduction_and_matrices(
            &self.key,
            r,
            s,
            &self.matrices,
            self.public_wires,
            self.matrices[0].len(),
            wires,
        )
    }
}

fn matrices(shape: &Shape) -> Vec<Matrix<Fr>> {
    let side = |terms: fn(RowView<'_>) -> Vec<(Fr, usize)>| shape.rows().map(terms).collect();
    vec![
        side(|row| row.a().map(|(wire, coefficient)| (*coefficient, wire)).collect()),
        side(|row| row.b().map(|(wire, coefficient)| (*coefficient, wire)).collect()),
        side(|row| row.c().map(|(wire, coefficient)| (*coefficient, wire)).collect()),
    ]
}

/// A key of a circuit by ark-groth16's generator, by its own reduction: another key than ours, of the same number of
/// points.
///
/// # Errors
/// If the field has no domain for the rows.
pub fn generate(shape: &Shape, rng: &mut impl RngCore) -> R1csResult<ark_groth16::ProvingKey<Bn254>> {
    Groth16::<Bn254>::generate_random_parameters_with_reduction(Synthesis::for_setup(shape), rng)
}

/// A proof as ark-groth16 has it.
pub fn proof(proof: &Proof) -> ark_groth16::Proof<Bn254> {
    ark_groth16::Proof { a: *proof.a(), b: *proof.b(), c: *proof.c() }
}

/// A verifying key as ark-groth16 has it.
pub fn verifying_key(key: &VerifyingKey) -> ark_groth16::VerifyingKey<Bn254> {
    ark_groth16::VerifyingKey {
        alpha_g1: *key.alpha(),
        beta_g2: *key.beta(),
        gamma_g2: *key.gamma(),
        delta_g2: *key.delta(),
        gamma_abc_g1: key.ic().to_vec(),
    }
}

/// A proving key, with a point for every wire.
fn proving_key(key: &Key) -> Result<ark_groth16::ProvingKey<Bn254>, KeyFileError> {
    // Nobody verifies the proofs that ark-groth16 makes with these points.
    key.expect_intact()?;
    let (header, sections) = (key.header(), key.sections()?);
    let mut a_query = vec![G1Affine::zero(); header.wire_count()];
    let (mut b_g1_query, mut b_g2_query) = (a_query.clone(), vec![G2Affine::zero(); a_query.len()]);
    for (wire, point) in sections.a_wires.iter().zip(sections.a) {
        a_query[*wire as usize] = point.to_affine();
    }
    for (wire, (in_g1, in_g2)) in sections.b_wires.iter().zip(sections.b_g1.iter().zip(sections.b_g2)) {
        (b_g1_query[*wire as usize], b_g2_query[*wire as usize]) = (in_g1.to_affine(), in_g2.to_affine());
    }
    Ok(ark_groth16::ProvingKey {
        vk: verifying_key(key.verifying_key()),
        beta_g1: header.points.beta_g1.to_affine(),
        delta_g1: header.points.delta_g1.to_affine(),
        a_query,
        b_g1_query,
        b_g2_query,
        h_query: sections.h.iter().map(Point::to_affine).collect(),
        l_query: sections.l.iter().map(Point::to_affine).collect(),
    })
}
