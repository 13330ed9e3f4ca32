//! Slots and chunks under test: sound ones, and ones in which a single relation is broken.

use super::{
    Checker, Lie, all_machines, assert_all_held, assert_conformance, assign, forge::Forge, shape, unsatisfied,
};
use crate::{
    cap::MerkleCap,
    chunk::{self, AssignError, BegunSlot, Carry, Globals, SlotCircuit, begin_slot, end_slot, witness::ChunkWitness},
    cs::{Assignment, ConstraintSystem, Nothing, Outline, Segment, SegmentShape, Shape, Trace},
    gadgets::merkle::Cap,
    step::Machines,
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use std::{cell::RefCell, cmp::Ordering, collections::BTreeSet};
use taproof_verifier::statement::Statement;

/// A slot by itself, its globals and the carried cap held to given values.
struct OneSlot<'a, S: SlotCircuit> {
    slot: &'a S,
    statement: &'a Statement,
    cap: MerkleCap,
    active: bool,
    witness: &'a S::Witness,
    lies: &'a [Lie],
    /// The cap that suits the updates of the last run.
    cap_found: RefCell<MerkleCap>,
}

impl<'a, S: SlotCircuit> OneSlot<'a, S> {
    /// The first slot of a chunk.
    fn first(slot: &'a S, chunk: &'a ChunkWitness, active: bool, witness: &'a S::Witness, lies: &'a [Lie]) -> Self {
        let (statement, cap) = (&chunk.statement, chunk.cap.clone());
        let cap_found = RefCell::new(cap.clone());
        Self { slot, statement, cap, active, witness, lies, cap_found }
    }

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

    /// The relations that some row violates, without the shape.
    fn violated(&self) -> BTreeSet<&'static str> {
        let mut checker = Checker::default();
        let mut forge = Forge::new(&mut checker, self.lies);
        self.synthesize(&mut forge);
        forge.finish();
        checker.finish()
    }

    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        cs.witness(Fr::ONE);
        let context = &self.statement.context;
        let fixed = |number: u32| Fr::from(number).into();
        let globals: Globals<CS::Var> = Globals {
            chain_id: self.statement.chain_id.element().into(),
            height_blocks: fixed(context.height_blocks),
            token: fixed(context.token.0),
            operator: fixed(context.operator.get()),
            depth: self.statement.circuit.depth,
        };
        let registers = self.slot.registers(self.witness);
        let registers: Vec<_> = registers.into_iter().map(CS::Var::from).collect();
        let begun = begin_slot(cs, self.slot, &globals, self.active, &registers, self.witness);
        self.find_cap(cs, &begun);
        let cap = Cap::new(self.cap.nodes().iter().map(|node| CS::Var::from(*node)).collect());
        end_slot(cs, &S::RELATIONS, begun, Carry { cap, fee_sum: fixed(0), registers });
    }

    /// Puts into the cap what each update replaces there, unless an earlier update made it.
    fn find_cap<CS: ConstraintSystem>(&self, cs: &CS, begun: &BegunSlot<CS::Var>) {
        let mut nodes = self.cap.nodes().to_vec();
        for update in begun.parts.updates.iter().rev().map(|update| &update.update) {
            let position = update.bits.iter().rev().fold(0, |sum, bit| 2 * sum + usize::from(bit.value(cs)));
            nodes[position] = cs.value(&update.node.before);
        }
        self.cap_found.replace(MerkleCap::new(nodes).expect("as many nodes"));
    }
}

/// Checks that `relation` and no other is violated in a chunk's first slot, and that the prover's own check names it.
pub(crate) fn assert_breaks_alone<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    witness: &S::Witness,
    relation: &str,
) {
    let (shape, assignment) = OneSlot::first(slot, chunk, true, witness, &[]).run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]));
    match assign(chunk) {
        Err(AssignError::Unsatisfied { segment: Segment::Slot(0), relation: named }) => assert_eq!(named, relation),
        other => panic!("not the error that names {relation}: {:?}", other.err()),
    }
}

/// Checks that `relation` and no other is violated in a slot that tells lies, in the state that the lies suit.
pub(crate) fn assert_lies_break<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    active: bool,
    witness: &S::Witness,
    lies: &[Lie],
    relation: &str,
) {
    let mut run = OneSlot::first(slot, chunk, active, witness, lies);
    run.run();
    run.cap = run.cap_found.borrow().clone();
    let (shape, assignment) = run.run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]), "{lies:?}");
}

/// Checks that `relation` and no other is violated in a chunk's first slot when the first wire that holds `honest`
/// holds `forged` instead and all that follows is computed from it.
pub(crate) fn assert_forgery_breaks<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    witness: &S::Witness,
    [honest, forged]: [Fr; 2],
    relation: &str,
) {
    let lies = &[Lie::First { honest, forged }];
    let (shape, assignment) = OneSlot::first(slot, chunk, true, witness, lies).run();
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::from([relation]), "{lies:?}");
}

/// The relations that some row of a slot violates, in the state that its updates suit.
pub(crate) fn violated_in_its_state<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    witness: &S::Witness,
) -> BTreeSet<&'static str> {
    violated_by_lies(slot, chunk, true, witness, &[])
}

/// The same of a slot that tells lies.
pub(crate) fn violated_by_lies<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    active: bool,
    witness: &S::Witness,
    lies: &[Lie],
) -> BTreeSet<&'static str> {
    let mut run = OneSlot::first(slot, chunk, active, witness, lies);
    run.violated();
    run.cap = run.cap_found.borrow().clone();
    run.violated()
}

/// Checks that a padding slot cannot post a record, change the cap, which has 64 nodes, or count a fee.
pub(crate) fn assert_padding_is_inert<S: SlotCircuit>(slot: &S, chunk: &ChunkWitness) {
    let names = S::RELATIONS;
    let witness = slot.padding(&chunk.statement);
    let elements = (0..S::KIND.elements_per_record()).map(|wire| (names.record, wire));
    for (relation, wire) in elements.chain([(names.state_after, 0), (names.state_after, 95), (names.fee, 0)]) {
        let lie = Lie::At { relation, wire, forged: Fr::from(77u64) };
        assert_lies_break(slot, chunk, false, &witness, &[lie], relation);
    }
}

/// Checks that S1 alone keeps a valid first slot, whose updates are below different nodes of the cap, from acting
/// twice.
pub(crate) fn assert_active_is_a_bit<S: SlotCircuit>(slot: &S, chunk: &ChunkWitness, witness: &S::Witness) {
    let lie = Lie::At { relation: "S1, active bit", wire: 0, forged: Fr::from(2u64) };
    assert_lies_break(slot, chunk, true, witness, &[lie], "S1, active bit");
}

/// Checks a valid chunk: the circuit accepts it, both back ends agree on it, and no wire can change alone.
pub(crate) fn assert_chunk_sound(chunk: &ChunkWitness) {
    assert_sound_with(&all_machines(), chunk);
}

/// The same of a chunk of these machines.
pub(crate) fn assert_sound_with(machines: &Machines, chunk: &ChunkWitness) {
    let assignment = chunk::assign(machines, chunk).expect("a valid chunk");
    let shape = chunk::shape(machines, chunk.statement.circuit).expect("a circuit");
    assert_conformance(&shape, &assignment);
    assert_eq!(shape.first_unsatisfied(&assignment.wires), None);
    assert_all_held(&shape, &assignment);
}

/// Checks that the last slot of a valid chunk, a padding slot, posts zeros and hands on what it is handed, and that
/// each of those wires, changed alone, violates the relation that holds it: the one named first its elements, the
/// second the cap, the last the sum of fees.
pub(crate) fn assert_padding_holds<S: SlotCircuit>(
    slot: &S,
    chunk: &ChunkWitness,
    [record, state_after, fee]: [&str; 3],
) {
    let assignment = assign(chunk).expect("a valid chunk");
    let shape = shape(chunk.statement.circuit).expect("a circuit");
    let end = shape.wire_count() - shape.tail().wire_count();
    let carried = end - shape.carry_count()..end;
    let before = carried.clone().map(|wire| wire - shape.slot().wire_count());
    assert!(before.zip(carried.clone()).all(|(before, after)| assignment.wires[before] == assignment.wires[after]));
    let mut outline = Outline::default();
    let globals = Globals::at(chunk.statement.circuit.depth, |_| Nothing);
    let registers = vec![Nothing; slot.register_count()];
    begin_slot(&mut outline, slot, &globals, false, &registers, &slot.padding(&chunk.statement));
    let first = end - shape.slot().wire_count() + outline.wire_count();
    let elements = first..first + S::KIND.elements_per_record();
    assert!(assignment.wires[elements.clone()].iter().all(|element| *element == Fr::ZERO));
    let holders = elements.map(|wire| (wire, record));
    let fee_sum = end - 1 - slot.register_count();
    let holders = holders.chain(carried.map(|wire| match wire.cmp(&fee_sum) {
        Ordering::Less => (wire, state_after),
        Ordering::Equal => (wire, fee),
        Ordering::Greater => (wire, "S5, registers"),
    }));
    for (wire, relation) in holders {
        let mut altered = assignment.clone();
        altered.wires[wire] += Fr::ONE;
        let first = shape.first_unsatisfied(&altered.wires).expect("a row holds the wire");
        assert_eq!(shape.relation_of(first), (Segment::Slot(shape.slot_count() - 1), relation), "wire {wire}");
    }
}
