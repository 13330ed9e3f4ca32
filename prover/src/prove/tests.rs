use super::*;
use crate::{progress::Silent, setup::ProvingKey, toy::Toy};
use ark_bn254::{Bn254, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, PrimeField};
use ark_groth16::{Groth16, r1cs_to_qap::R1CSToQAP};
use ark_poly::EvaluationDomain;
use ark_relations::{
    gr1cs::{ConstraintSystemRef, Result as R1csResult, SynthesisError},
    utils::matrix::Matrix,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{
    num::{NonZeroU16, NonZeroUsize},
    sync::Mutex,
};
use taproof_arith::{G1, G2};
use taproof_circuits::{
    chunk::witness::SlotWitnesses,
    cs::{Segment, Shape},
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::Deposit,
};
use taproof_verifier::cell::{ChainId, Depth};

const TOY: Toy = Toy { seed: 1, head_rows: 5, slot_rows: 6, slots: 3, tail_rows: 4 };

fn blinding(seed: u64) -> Blinding {
    Blinding::from_rng(&mut ChaCha20Rng::seed_from_u64(seed))
}

/// The reduction of circom and snarkjs for ark-groth16's prover, from the matrices.
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
        let root = F::get_root_of_unity(2 * domain.size() as u64).expect("a small domain");
        let coset = domain.get_coset(root).expect("the root is not zero");
        let [mut a, b, c] = [0, 1, 2].map(|side| -> Vec<F> {
            let dot = |row: &Vec<(F, usize)>| row.iter().map(|(k, wire)| full_assignment[*wire] * k).sum();
            matrices[side].iter().map(dot).collect()
        });
        a.extend(&full_assignment[..num_inputs]);
        let [a, b, c] = [a, b, c].map(|values| coset.fft(&domain.ifft(&values)));
        Ok(a.iter().zip(b).zip(c).map(|((a, b), c)| *a * b - c).collect())
    }

    fn h_query_scalars<F: PrimeField, D: EvaluationDomain<F>>(_: usize, _: F, _: F, _: F) -> R1csResult<Vec<F>> {
        unreachable!("the keys are ours")
    }
}

fn ark_verifying_key(key: &ProvingKey) -> ark_groth16::VerifyingKey<Bn254> {
    let key = key.verifying_key();
    ark_groth16::VerifyingKey {
        alpha_g1: *key.alpha(),
        beta_g2: *key.beta(),
        gamma_g2: *key.gamma(),
        delta_g2: *key.delta(),
        gamma_abc_g1: key.ic().to_vec(),
    }
}

fn ark_proving_key(key: &ProvingKey) -> ark_groth16::ProvingKey<Bn254> {
    let g1 = |points: &[G1]| points.iter().map(G1::to_affine).collect::<Vec<_>>();
    let mut a_query = vec![G1Affine::zero(); key.wire_count as usize];
    let (mut b_g1_query, mut b_g2_query) = (a_query.clone(), vec![G2Affine::zero(); a_query.len()]);
    for (wire, point) in key.a_wires.iter().zip(&key.a) {
        a_query[*wire as usize] = point.to_affine();
    }
    for (wire, (in_g1, in_g2)) in key.b_wires.iter().zip(key.b_g1.iter().zip(&key.b_g2)) {
        b_g1_query[*wire as usize] = in_g1.to_affine();
        b_g2_query[*wire as usize] = G2::to_affine(in_g2);
    }
    ark_groth16::ProvingKey {
        vk: ark_verifying_key(key),
        beta_g1: key.beta_g1.to_affine(),
        delta_g1: key.delta_g1.to_affine(),
        a_query,
        b_g1_query,
        b_g2_query,
        h_query: g1(&key.h),
        l_query: g1(&key.l),
    }
}

fn matrices(shape: &Shape) -> Vec<Matrix<Fr>> {
    let rows = |side: fn(taproof_circuits::cs::RowView<'_>) -> Vec<(Fr, usize)>| shape.rows().map(side).collect();
    vec![
        rows(|row| row.a().map(|(wire, k)| (*k, wire)).collect()),
        rows(|row| row.b().map(|(wire, k)| (*k, wire)).collect()),
        rows(|row| row.c().map(|(wire, k)| (*k, wire)).collect()),
    ]
}

/// Our proof and that of ark-groth16 with the same key and blinding are the same points, and ark-groth16 accepts them.
fn assert_agrees_with_ark(toy: &Toy) {
    let shape = toy.shape();
    let (proving_key, key) = (toy.proving_key(&shape), toy.key(&shape));
    let assignment = toy.assignment(&shape);
    assert_eq!(shape.first_unsatisfied(&assignment.wires), None, "the toy's trace follows its shape");
    let (statement, blinding) = (toy.statement(), blinding(toy.seed));
    let expected = Groth16::<Bn254, OddCosetReduction>::create_proof_with_reduction_and_matrices(
        &ark_proving_key(&proving_key),
        blinding.r,
        blinding.s,
        &matrices(&shape),
        PUBLIC_WIRES,
        shape.row_count(),
        &assignment.wires,
    )
    .expect("the assignment is satisfied");
    let proven = prove(&key, &statement, assignment, &blinding).expect("the assignment is satisfied");
    let proof = proven.proof();
    assert_eq!((proof.a(), proof.b(), proof.c()), (&expected.a, &expected.b, &expected.c));
    assert_eq!(*proven.statement(), statement);
    let prepared = ark_groth16::prepare_verifying_key(&ark_verifying_key(&proving_key));
    let verify = |input| Groth16::<Bn254>::verify_proof(&prepared, &expected, &[input]).expect("one input");
    assert!(verify(statement.digest()));
    assert!(!verify(statement.digest() + Fr::one()));
}

#[test]
fn proofs_are_those_of_ark_groth16() {
    for toy in [
        TOY,
        Toy { seed: 2, head_rows: 0, slot_rows: 3, slots: 1, tail_rows: 0 },
        Toy { seed: 3, head_rows: 1, slot_rows: 0, slots: 4, tail_rows: 1 },
        Toy { seed: 4, head_rows: 40, slot_rows: 70, slots: 5, tail_rows: 30 },
    ] {
        assert_agrees_with_ark(&toy);
    }
}

/// With the rows of the two public wires, the domain is full at 2^k - 2 rows and doubles after it.
#[test]
fn proofs_at_the_boundaries_of_domains() {
    for power in [4, 8, 16, 64] {
        for rows in power - 2..=power + 1 {
            let toy = Toy::of_rows(rows, rows as u64);
            let shape = toy.shape();
            assert_eq!(shape.row_count(), rows);
            let size = domain_for(rows).expect("a small domain").size();
            assert_eq!(size, if rows == power - 2 { power } else { 2 * power });
            assert_agrees_with_ark(&toy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn proofs_of_random_circuits(seed: u64, head_rows in 0usize..30, slot_rows in 0usize..30, slots in 0u16..6, tail_rows in 0usize..30) {
        prop_assume!(head_rows + slot_rows * usize::from(slots) + tail_rows > 0);
        assert_agrees_with_ark(&Toy { seed, head_rows, slot_rows, slots, tail_rows });
    }
}

#[test]
fn blinding_is_fresh() {
    let shape = TOY.shape();
    let key = TOY.key(&shape);
    let prove = || prove(&key, &TOY.statement(), TOY.assignment(&shape), &Blinding::fresh()).expect("satisfied");
    assert_ne!(prove().proof(), prove().proof());
}

#[test]
fn no_proof_leaves_for_what_does_not_hold() {
    let shape = TOY.shape();
    let key = TOY.key(&shape);
    let (statement, good) = (TOY.statement(), TOY.assignment(&shape));
    let attempt = |statement: &Statement, assignment| prove(&key, statement, assignment, &blinding(1));

    let mut broken = good.clone();
    broken.c[9] += Fr::one();
    broken.c[12] += Fr::one();
    assert!(matches!(attempt(&statement, broken), Err(ProveError::Unsatisfied { row: 9 })));

    // A wire that its rows' values do not show: only the pairing notices.
    for wire in [2, good.wires.len() - 1] {
        let mut broken = good.clone();
        broken.wires[wire] += Fr::one();
        assert!(shape.first_unsatisfied(&broken.wires).is_some());
        assert!(matches!(attempt(&statement, broken), Err(ProveError::Rejected)));
    }
    // Row values that hold but are not the wires'.
    let mut broken = good.clone();
    (broken.a[3], broken.c[3]) = (Fr::ZERO, Fr::ZERO);
    assert!(matches!(attempt(&statement, broken), Err(ProveError::Rejected)));

    let other = Statement { root_after: Fr::from(99u64), ..statement };
    assert!(matches!(attempt(&other, good.clone()), Err(ProveError::OtherStatement)));
    let mut broken = good.clone();
    broken.wires[0] = Fr::from(2u64);
    assert!(matches!(attempt(&statement, broken), Err(ProveError::OtherStatement)));
    let mut other = statement;
    other.circuit.slots += 1;
    assert!(matches!(attempt(&other, good.clone()), Err(ProveError::OtherCircuit { .. })));
    let (wires, rows) = (good.wires.len(), good.a.len());
    for (wires, [a, b, c]) in [
        (wires - 1, [rows; 3]),
        (0, [rows; 3]),
        (wires, [rows - 1, rows, rows]),
        (wires, [rows, rows - 1, rows]),
        (wires, [rows, rows, rows + 1]),
    ] {
        let mut broken = good.clone();
        broken.wires.resize(wires, Fr::ZERO);
        broken.a.resize(a, Fr::ZERO);
        broken.b.resize(b, Fr::ZERO);
        broken.c.resize(c, Fr::ZERO);
        assert!(matches!(attempt(&statement, broken), Err(ProveError::OtherShape { .. })));
    }
    assert!(attempt(&statement, good).is_ok());
}

#[test]
fn batches_keep_their_order_and_their_bound() {
    let shape = TOY.shape();
    let key = TOY.key(&shape);
    let (running, reports) = (Mutex::new((0, 0)), Mutex::new(Vec::new()));
    let progress = |done: u64, total: u64| reports.lock().expect("no panic").push((done, total));
    let items: Vec<u64> = (0..9).collect();
    let at_once = NonZeroUsize::new(2).expect("not zero");
    let results = prove_all(&items, at_once, &progress, |item| {
        let count = |by: i32| {
            let mut running = running.lock().expect("no panic");
            running.0 += by;
            running.1 = running.1.max(running.0);
        };
        count(1);
        let mut assignment = TOY.assignment(&shape);
        if *item == 4 {
            assignment.c[0] += Fr::one();
        }
        let result = prove(&key, &TOY.statement(), assignment, &blinding(*item));
        count(-1);
        result
    });
    assert!(running.into_inner().expect("no panic").1 <= 2);
    for (item, result) in items.iter().zip(results) {
        match result {
            Ok(proven) => {
                let alone = prove(&key, &TOY.statement(), TOY.assignment(&shape), &blinding(*item));
                assert_eq!(proven, alone.expect("satisfied"), "proof {item} is in its place");
            }
            Err(ProveError::Unsatisfied { row: 0 }) => assert_eq!(*item, 4),
            Err(error) => panic!("{error}"),
        }
    }
    let mut reports = reports.into_inner().expect("no panic");
    reports.sort_unstable();
    assert_eq!(reports, (0..=9).map(|done| (done, 9)).collect::<Vec<_>>());
    assert!(prove_all(&[(); 0], at_once, &Silent, |()| unreachable!("there is no item")).is_empty());
}

/// A chunk of two slots, one deposit among them.
fn deposit_chunk() -> ChunkWitness {
    let mut state = State::new(ChainId(7), Depth::new(1).expect("a legal depth"));
    let two = NonZeroU16::new(2).expect("not zero");
    let slots = Slots { deposit: two, transfer: two, open: two, withdraw: two };
    let plan = Plan { height_blocks: 100, slots, operators: Default::default(), chunks_max: 1 };
    let deposit = Deposit { amount_sat: 5000, owner: *SecretKey::from_seed(&[1; 32]).public() };
    let batch = state.apply(&plan, &[deposit], &[]).expect("a plan without operators");
    batch.chunks.into_iter().next().expect("one chunk for the deposit")
}

#[test]
fn a_failed_chunk_is_named_and_the_others_go_on() {
    let key = TOY.key(&TOY.shape());
    let chunk = deposit_chunk();
    let circuit = chunk.statement.circuit;
    let mut broken = chunk.clone();
    let SlotWitnesses::Deposit(slots) = &mut broken.slots else { unreachable!("a deposit was made") };
    slots[0].record.amount_sat += 1;
    let at_once = NonZeroUsize::new(2).expect("not zero");
    let chunks = [broken, chunk];
    let results = prove_batch(&chunks, |_| Some(&key), at_once, &Silent);
    let unsatisfied = |result: &_| {
        matches!(result, Err(ProveError::Chunk(AssignError::Unsatisfied { segment: Segment::Slot(0), .. })))
    };
    assert!(unsatisfied(&results[0]), "{:?}", results[0]);
    assert!(matches!(&results[1], Err(ProveError::OtherCircuit { statement, .. }) if *statement == circuit));
    let results = prove_batch(&chunks[1..], |_| None, at_once, &Silent);
    assert!(matches!(&results[..], [Err(ProveError::NoKey(missing))] if *missing == circuit));
}
