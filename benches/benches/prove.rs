//! The prover on a chunk of transfers, beside ark-groth16 with the same key and matrices built beforehand.

use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{PrimeField, UniformRand};
use ark_groth16::{
    Groth16, ProvingKey, VerifyingKey,
    r1cs_to_qap::{R1CSToQAP, evaluate_constraint},
};
use ark_poly::EvaluationDomain;
use ark_relations::{
    gr1cs::{ConstraintSystemRef, Result as R1csResult, SynthesisError},
    utils::matrix::Matrix,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rayon::prelude::*;
use taproof::{
    key_file::Key,
    prove::{Blinding, prove},
};
use taproof_arith::Point;
use taproof_benches::{key, transfer_chunk};
use taproof_circuits::{
    chunk::{assign, shape},
    cs::{RowView, Shape},
};
use taproof_verifier::cell::Depth;

const SLOTS: u16 = 4;

/// The reduction of circom and snarkjs, which our keys are made for, over arkworks' domains.
struct OddCosetReduction;

impl R1CSToQAP for OddCosetReduction {
    fn instance_map_with_evaluation<F: PrimeField, D: EvaluationDomain<F>>(
        _: ConstraintSystemRef<F>,
        _: &F,
    ) -> R1csResult<(Vec<F>, Vec<F>, Vec<F>, F, usize, usize)> {
        unreachable!("the keys are ours")
    }

    fn witness_map_from_matrices<F: PrimeField, D: EvaluationDomain<F>>(
        matrices: &[Matrix<F>],
        num_inputs: usize,
        num_constraints: usize,
        full_assignment: &[F],
    ) -> R1csResult<Vec<F>> {
        let domain = D::new(num_constraints + num_inputs).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let root = F::get_root_of_unity(2 * domain.size() as u64).expect("a domain of legal size");
        let coset = domain.get_coset(root).expect("the root is not zero");
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
        unreachable!("the keys are ours")
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

/// The key as arkworks holds it, without beta and delta in G1, which no query depends on.
fn ark_key(key: &Key) -> ProvingKey<Bn254> {
    let sections = key.sections().expect("just written");
    let wires = key.header().wire_count();
    let mut a_query = vec![G1Affine::zero(); wires];
    let (mut b_g1_query, mut b_g2_query) = (a_query.clone(), vec![G2Affine::zero(); wires]);
    for (wire, point) in sections.a_wires.iter().zip(sections.a) {
        a_query[*wire as usize] = point.to_affine();
    }
    for (wire, (in_g1, in_g2)) in sections.b_wires.iter().zip(sections.b_g1.iter().zip(sections.b_g2)) {
        (b_g1_query[*wire as usize], b_g2_query[*wire as usize]) = (in_g1.to_affine(), in_g2.to_affine());
    }
    let verifying_key = key.header().verifying_key();
    ProvingKey {
        vk: VerifyingKey {
            alpha_g1: *verifying_key.alpha(),
            beta_g2: *verifying_key.beta(),
            gamma_g2: *verifying_key.gamma(),
            delta_g2: *verifying_key.delta(),
            gamma_abc_g1: verifying_key.ic().to_vec(),
        },
        beta_g1: *verifying_key.alpha(),
        delta_g1: *verifying_key.alpha(),
        a_query,
        b_g1_query,
        b_g2_query,
        h_query: sections.h.iter().map(Point::to_affine).collect(),
        l_query: sections.l.iter().map(Point::to_affine).collect(),
    }
}

fn benchmark(criterion: &mut Criterion) {
    let chunk = transfer_chunk(Depth::MAX, SLOTS);
    let circuit = chunk.statement.circuit;
    let shape = shape(circuit).expect("a circuit");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let key = key(&shape, circuit, folder.path());
    let (ark_key, matrices) = (ark_key(&key), matrices(&shape));
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let mut group = criterion.benchmark_group(format!("{} constraints", shape.row_count()));
    group.sample_size(10);
    group.bench_function("witness", |bencher| bencher.iter(|| assign(&chunk).expect("valid transfers")));
    let assignment = assign(&chunk).expect("valid transfers");
    group.bench_function("prove and verify", |bencher| {
        let prove =
            |assignment| prove(&key, &chunk.statement, assignment, &Blinding::fresh()).expect("valid transfers");
        bencher.iter_batched(|| assignment.clone(), prove, BatchSize::PerIteration);
    });
    group.bench_function("ark-groth16, matrices built", |bencher| {
        bencher.iter(|| {
            let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
            Groth16::<Bn254, OddCosetReduction>::create_proof_with_reduction_and_matrices(
                &ark_key,
                r,
                s,
                &matrices,
                2,
                shape.row_count(),
                &assignment.wires,
            )
        });
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
