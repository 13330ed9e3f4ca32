//! Slots and chunks under test: sound ones, and ones in which a single relation is broken.

use super::{Lie, assert_conformance, forge::Forge, free_wires, unsatisfied};
use crate::{
    chunk::{AssignError, Carry, Globals, SlotCircuit, assign, shape, slot, witness::ChunkWitness},
    cs::{Assignment, ConstraintSystem, Segment, SegmentShape, Shape, Trace},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use std::{cell::Cell, collections::BTreeSet};
use taproof_verifier::statement::Statement;

/// A slot by itself, its globals and the carried root held to given values.
struct OneSlot<'a, S: SlotCircuit> {
    statement: &'a Statement,
    root: Fr,
    active: bool,
    witness: &'a S::Witness,
    lies: &'a [Lie],
    /// The root that the transition starts from, as the last run had it.
    root_found: Cell<Fr>,
}

impl<S: SlotCircuit> OneSlot<'_, S> {
    /// Runs the slot: the shape honestly, the trace with the lies.
    fn run(&self) -> (Shape, Assignment) {
        let mut head = SegmentShape::new(0);
        self.synthesize(&mut head);
        let zeros = |length| vec![Fr::ZERO; length];
        let (wires, rows) = (head.wire_count(), head.rows().len());
        let mut assignment = Assignment { wires: zeros(wires), a: zeros(rows), b: zeros(rows), c: zeros(rows) };
        let Assignment { wires, a, b, c } = &mut assignment;
        let mut trace = Trace::new(wires, a, b, c);
        let mut forge = Forge::new(&mut trace, self.lies);
        self.synthesize(&mut forge);
        forge.finish();
        trace.finish();
        let end = head.wire_count();
        let shape = Shape::new(head, SegmentShape::new(end), SegmentShape::new(end), 0, 0);
        assert_conformance(&shape, &assignment);
        (shape, assignment)
    }

    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        cs.witness(Fr::ONE);
        let context = &self.statement.context;
        let fixed = |number: u32| Fr::from(number).into();
        let globals: Globals<CS::Var> = Globals {
            chain_id: fixed(self.statement.chain_id.0),
            height_blocks: fixed(context.height_blocks),
            token: fixed(context.token.0),
            operator: fixed(context.operator.get()),
            root_before: self.root.into(),
            depth: self.statement.circuit.depth,
        };
        let carry = Carry { root: self.root.into(), fee_sum: fixed(0) };
        slot::<S, _>(cs, &globals, self.active, self.witness, |root| {
            self.root_found.set(root);
            carry
        });
    }
}

/// Checks that `relation` and no other is violated in a chunk's first slot, and that the prover's own check names it.
pub(crate) fn assert_breaks_alone<S: SlotCircuit>(chunk: &ChunkWitness, witness: &S::Witness, relation: &str) {
    let (statement, root) = (&chunk.statement, chunk.statement.root_before);
    let slot = OneSlot::<S> { statement, root, active: true, witness, lies: &[], root_found: Cell::default() };
    let (shape, assignment) = slot.run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]));
    match assign(chunk) {
        Err(AssignError::Unsatisfied { segment: Segment::Slot(0), relation: named }) => assert_eq!(named, relation),
        other => panic!("not the error that names {relation}: {:?}", other.err()),
    }
}

/// Checks that `relation` and no other is violated in a slot that tells lies, in the state that the lies suit.
pub(crate) fn assert_lies_break<S: SlotCircuit>(
    statement: &Statement,
    active: bool,
    witness: &S::Witness,
    lies: &[Lie],
    relation: &str,
) {
    let mut slot =
        OneSlot::<S> { statement, root: statement.root_before, active, witness, lies, root_found: Cell::default() };
    slot.run();
    slot.root = slot.root_found.get();
    let (shape, assignment) = slot.run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]), "{lies:?}");
}

/// Checks that `relation` and no other is violated in a chunk's first slot when the first wire that holds `honest` holds
/// `forged` instead and all that follows is computed from it.
pub(crate) fn assert_forgery_breaks<S: SlotCircuit>(
    chunk: &ChunkWitness,
    witness: &S::Witness,
    [honest, forged]: [Fr; 2],
    relation: &str,
) {
    let (statement, root) = (&chunk.statement, chunk.statement.root_before);
    let lies = &[Lie::First { honest, forged }];
    let slot = OneSlot::<S> { statement, root, active: true, witness, lies, root_found: Cell::default() };
    let (shape, assignment) = slot.run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]), "{lies:?}");
}

/// Checks that a padding slot cannot post a record, move the root or count a fee.
pub(crate) fn assert_padding_is_inert<S: SlotCircuit>(statement: &Statement) {
    let names = S::RELATIONS;
    let witness = S::padding(statement);
    let elements = (0..S::KIND.elements_per_record()).map(|wire| (names.record, wire));
    for (relation, wire) in elements.chain([(names.root_after, 0), (names.fee, 0)]) {
        let lie = Lie::At { relation, wire, forged: Fr::from(77u64) };
        assert_lies_break::<S>(statement, false, &witness, &[lie], relation);
    }
    let lie = Lie::At { relation: "S1, active bit", wire: 0, forged: Fr::from(2u64) };
    assert_lies_break::<S>(statement, false, &witness, &[lie], "S1, active bit");
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
