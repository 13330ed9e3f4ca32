use super::*;
use crate::{
    against_ark::{self, ArkProver},
    setup,
    toy::{self, Toy},
};
use ark_bn254::Bn254;
use ark_ff::AdditiveGroup;
use ark_groth16::Groth16;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{
    num::{NonZeroU16, NonZeroUsize},
    sync::Mutex,
};
use taproof_base::progress::Silent;
use taproof_circuits::{
    chunk::witness::SlotWitnesses,
    cs::{ConstraintSystem, Segment, SegmentShape, Shape},
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::Deposit,
};
use taproof_verifier::cell::{ChainId, Depth};

const TOY: Toy = Toy { seed: 1, head_rows: 5, slot_rows: 6, slots: 3, tail_rows: 4 };

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn blinding(seed: u64) -> Blinding {
    Blinding::from_rng(&mut rng(seed))
}

/// Our proof and that of ark-groth16 with the same key, rerandomised by ark-groth16 with the same r1 and r2, are the
/// same points, and ark-groth16 accepts them.
fn assert_agrees_with_ark(toy: &Toy) {
    let shape = toy.shape();
    let key = toy.key(&shape);
    let assignment = toy.assignment(&shape);
    assert_eq!(shape.first_unsatisfied(&assignment.wires), None, "the toy's trace follows its shape");
    let (statement, blinding) = (toy.statement(), blinding(toy.seed));
    let ark = ArkProver::new(&key, &shape).expect("the key was just written");
    let plain = ark.prove(&assignment.wires, Fr::ZERO, Fr::ZERO).expect("the assignment is satisfied");
    let (their_key, mut rng) = (against_ark::verifying_key(key.verifying_key()), rng(toy.seed));
    let expected = Groth16::<Bn254>::rerandomize_proof(&their_key, &plain, &mut rng);
    let proven = prove(&key, &statement, assignment, &blinding).expect("the assignment is satisfied");
    let proof = proven.proof();
    assert_eq!((proof.a(), proof.b(), proof.c()), (&expected.a, &expected.b, &expected.c));
    assert_eq!(*proven.statement(), statement);
    let prepared = ark_groth16::prepare_verifying_key(&their_key);
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
            let size = setup::domain_for(rows).expect("a small domain").size();
            assert_eq!(size, if rows == power - 2 { power } else { 2 * power });
            assert_agrees_with_ark(&toy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn proofs_of_random_circuits(
        seed: u64,
        head_rows in 0usize..30,
        slot_rows in 0usize..30,
        slots in 0u16..6,
        tail_rows in 0usize..30,
    ) {
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
    let running = Mutex::new((0, 0));
    let items: Vec<u64> = (0..9).collect();
    let at_once = NonZeroUsize::new(2).expect("not zero");
    let results = prove_all(&items, at_once, |item| {
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
    assert!(prove_all(&[(); 0], at_once, |()| unreachable!("there is no item")).is_empty());
}

/// A chunk of two slots, one deposit among them.
fn deposit_chunk() -> ChunkWitness {
    let mut state = State::new(ChainId::from_byte_array([7; 15]), Depth::new(1).expect("a legal depth"));
    let slots = Slots::uniform(NonZeroU16::new(2).expect("not zero"));
    let plan =
        Plan { height_blocks: 100, slots, operators: Default::default(), chunks_max: 1, admission: Default::default() };
    let deposit = Deposit { amount_sat: 5000, owner: *SecretKey::from_seed(&[1; 32]).public() };
    let batch = state.apply(&plan, &[deposit], &[]).expect("a plan without operators");
    batch.chunks.into_iter().next().expect("one chunk for the deposit")
}

/// A key that an earlier build made for the same circuit, whose matrices were others then, with as many rows and with
/// fewer.
#[test]
fn a_key_of_other_matrices_is_named() {
    let chunk = deposit_chunk();
    let circuit = chunk.statement.circuit;
    let shape = shape(&Machines::default(), circuit).expect("a circuit");
    let prove_with = |shape: &Shape| {
        let key = toy::key(shape, circuit);
        let at_once = NonZeroUsize::new(1).expect("not zero");
        let mut results =
            prove_batch(&Machines::default(), std::slice::from_ref(&chunk), |_| Some(&key), at_once, &|_| (), &Silent);
        results.push(prove_chunk(&Machines::default(), &key, &chunk, &blinding(1)));
        results
    };
    assert!(prove_with(&shape).iter().all(Result::is_ok));
    // The recorded segments again, each row with its two factors exchanged: every assignment that satisfies one
    // satisfies the other.
    let exchanged = |segment: &SegmentShape, first_wire: usize, rows_left_out: usize| {
        let mut copy = SegmentShape::new(first_wire);
        (0..segment.wire_count()).for_each(|_| drop(copy.witness(Fr::ZERO)));
        segment.rows().iter().skip(rows_left_out).for_each(|row| copy.enforce(&row.b, &row.a, &row.c));
        copy
    };
    for rows_left_out in [0, 1] {
        let (head, slot) = (exchanged(shape.head(), 0, 0), exchanged(shape.slot(), shape.head().wire_count(), 0));
        let tail_start = shape.wire_count() - shape.tail().wire_count();
        let tail = exchanged(shape.tail(), tail_start, rows_left_out);
        let other = Shape::new(head, slot, tail, shape.slot_count(), shape.carry_count());
        for result in prove_with(&other) {
            assert!(
                matches!(&result, Err(ProveError::Key(KeyFileError::OtherMatrices(named))) if *named == circuit),
                "{result:?}"
            );
        }
    }
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
    let reports = Mutex::new(Vec::new());
    let progress = |done: u64, total: u64| reports.lock().expect("no panic").push((done, total));
    let results = prove_batch(&Machines::default(), &chunks, |_| Some(&key), at_once, &|_| (), &progress);
    let total = 2 * cost::proof_with(&key);
    let mut reports = reports.into_inner().expect("no panic");
    reports.sort_unstable();
    assert_eq!(reports, [(0, total), (total / 2, total), (total, total)], "a chunk that fails is done with");
    let unsatisfied = |result: &_| {
        matches!(result, Err(ProveError::Chunk(AssignError::Unsatisfied { segment: Segment::Slot(0), .. })))
    };
    assert!(unsatisfied(&results[0]), "{:?}", results[0]);
    assert!(matches!(&results[1], Err(ProveError::OtherCircuit { statement, .. }) if *statement == circuit));
    let results = prove_batch(&Machines::default(), &chunks[1..], |_| None, at_once, &|_| (), &Silent);
    assert!(matches!(&results[..], [Err(ProveError::NoKey(missing))] if *missing == circuit));
}
