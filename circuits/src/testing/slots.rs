//! Slots and chunks under test: sound ones, and ones in which a single relation is broken.

use super::{Piece, assert_conformance, forge::Forge, free_wires, run, unsatisfied};
use crate::{
    chunk::{AssignError, Carry, Globals, SlotCircuit, assign, shape, slot, witness::ChunkWitness},
    cs::{ConstraintSystem, Segment},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use std::collections::BTreeSet;

/// The first slot of a chunk by itself, its globals and carry held to the statement.
struct FirstSlot<'a, S: SlotCircuit> {
    chunk: &'a ChunkWitness,
    witness: &'a S::Witness,
    lie: Option<(Fr, Fr)>,
}

impl<S: SlotCircuit> Piece for FirstSlot<'_, S> {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let statement = &self.chunk.statement;
        let context = &statement.context;
        let fixed = |number: u32| Fr::from(number).into();
        let globals: Globals<CS::Var> = Globals {
            chain_id: fixed(statement.chain_id.0),
            height_blocks: fixed(context.height_blocks),
            token: fixed(context.token.0),
            operator: fixed(context.operator.get()),
            root_before: statement.root_before.into(),
            depth: statement.circuit.depth,
        };
        let carry = Carry { root: statement.root_before.into(), fee_sum: fixed(0) };
        let mut forge = Forge::new(cs, self.lie);
        slot::<S, _>(&mut forge, &globals, true, self.witness, |_| carry);
        assert!(
            forge.told() || self.lie.is_some_and(|(honest, _)| cs.value(&honest.into()) != honest),
            "no such value"
        );
    }
}

/// Checks that `relation` and no other is violated in the first slot, and that the prover's own check names it.
pub(crate) fn assert_breaks_alone<S: SlotCircuit>(chunk: &ChunkWitness, witness: &S::Witness, relation: &str) {
    let (shape, assignment) = run(&FirstSlot::<S> { chunk, witness, lie: None });
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]));
    match assign(chunk) {
        Err(AssignError::Unsatisfied { segment: Segment::Slot(0), relation: named }) => assert_eq!(named, relation),
        other => panic!("not the error that names {relation}: {:?}", other.err()),
    }
}

/// Checks that `relation` and no other is violated in the first slot when the first wire that holds `honest` holds
/// `forged` instead and all that follows is computed from it.
pub(crate) fn assert_forgery_breaks<S: SlotCircuit>(
    chunk: &ChunkWitness,
    witness: &S::Witness,
    [honest, forged]: [Fr; 2],
    relation: &str,
) {
    let (shape, assignment) = run(&FirstSlot::<S> { chunk, witness, lie: Some((honest, forged)) });
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]));
}

/// Checks a valid chunk: the circuit accepts it, both back ends agree on it, and no wire can change alone.
pub(crate) fn assert_chunk_sound(chunk: &ChunkWitness) {
    let assignment = assign(chunk).expect("a valid chunk");
    let shape = shape(chunk.statement.circuit).expect("a circuit");
    assert_conformance(&shape, &assignment);
    assert_eq!(shape.first_unsatisfied(&assignment.wires), None);
    let free = free_wires(&shape, &assignment);
    assert_eq!(free, Vec::<usize>::new(), "wires that nothing holds");
}

/// Checks that the last slot of a valid chunk, a padding slot, has zeros for its `N` - 2 elements and hands on what it is
/// handed; gives the relations that hold those elements, the root after and the sum of fees, each changed alone.
pub(crate) fn assert_padding_holds<const N: usize>(chunk: &ChunkWitness) -> [&'static str; N] {
    let assignment = assign(chunk).expect("a valid chunk");
    let shape = shape(chunk.statement.circuit).expect("a circuit");
    let end = shape.wire_count() - shape.tail().wire_count();
    let carried = end - shape.carry_count()..end;
    let before = carried.clone().map(|wire| wire - shape.slot().wire_count());
    assert!(before.zip(carried).all(|(before, after)| assignment.wires[before] == assignment.wires[after]));
    let elements = end - N..end - shape.carry_count();
    assert!(assignment.wires[elements].iter().all(|element| *element == Fr::ZERO));
    core::array::from_fn(|position| {
        let mut altered = assignment.clone();
        altered.wires[end - N + position] += Fr::ONE;
        let first = shape.first_unsatisfied(&altered.wires).expect("a row holds the wire");
        let (segment, relation) = shape.relation_of(first);
        assert_eq!(segment, Segment::Slot(shape.slot_count() - 1));
        relation
    })
}
