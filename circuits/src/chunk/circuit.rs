//! The matrices and sizes of the circuits.

use super::segments::{Carry, Globals, SlotCircuit, begin_slot, blank_operator, carry_wires, end_slot, head, tail};
use super::step::StepSlot;
use crate::{
    cap::MerkleCap,
    cs::{ConstraintSystem, Nothing, Outline, Segment, SegmentShape, Shape},
    deposit::circuit::DepositCircuit,
    gadgets::merkle::Cap,
    open::circuit::OpenCircuit,
    step::{Machine, Machines},
    transfer::circuit::TransferCircuit,
    withdraw::circuit::WithdrawCircuit,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use serde::Serialize;
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    record::Kind,
    statement::{CircuitId, Context, Registers, Statement},
};

/// There is no circuit of that identity: its kind, version or set of operations is unknown here, or it has no slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no circuit {0}")]
pub struct NoCircuitError(pub CircuitId);

/// The matrices of a circuit; of steps, as a machine that is known has them.
///
/// # Errors
/// [`NoCircuitError`].
pub fn shape(machines: &Machines, circuit: CircuitId) -> Result<Shape, NoCircuitError> {
    let machine = expect_circuit(machines, circuit)?;
    Ok(match circuit.kind {
        Kind::Deposit => shape_of(&DepositCircuit, circuit),
        Kind::Transfer => shape_of(&TransferCircuit, circuit),
        Kind::Open => shape_of(&OpenCircuit, circuit),
        Kind::Withdraw => shape_of(&WithdrawCircuit, circuit),
        Kind::Step => shape_of(&StepSlot(machine.ok_or(NoCircuitError(circuit))?), circuit),
    })
}

/// Checks that there is a circuit of that identity; gives the machine of steps.
pub(super) fn expect_circuit(machines: &Machines, circuit: CircuitId) -> Result<Option<&Machine>, NoCircuitError> {
    let CircuitId { kind, depth, slots, .. } = circuit;
    let machine = machines.get(circuit.operations);
    let named = match machine {
        Some(machine) if kind == Kind::Step => machine.circuit(depth, slots),
        _ => CircuitId::new(kind, depth, slots),
    };
    let known = circuit == named && slots > 0;
    if known { Ok(machine) } else { Err(NoCircuitError(circuit)) }
}

fn shape_of<S: SlotCircuit>(slot: &S, circuit: CircuitId) -> Shape {
    let statement = blank_statement(circuit);
    let (depth, slots) = (circuit.depth, usize::from(circuit.slots));
    let globals = Globals::at(depth, SegmentShape::wire_at);
    let mut head_shape = SegmentShape::new(0);
    let registers = vec![Fr::ZERO; slot.register_count()];
    let start = head(&mut head_shape, &statement, &MerkleCap::blank(depth), &registers, Fr::ZERO);
    let head_wires = head_shape.wire_count();
    let mut slot_shape = SegmentShape::new(head_wires);
    let padding = slot.padding(&statement);
    let begun = begin_slot(&mut slot_shape, slot, &globals, false, &start.registers, &padding);
    // The posted elements are the first wires of a slot's end, what it hands on the last.
    let elements_start = slot_shape.wire_count();
    end_slot(&mut slot_shape, &S::RELATIONS, begun, start.clone());
    let slot_start = |slot: usize| head_wires + slot * slot_shape.wire_count();
    let element_count = S::KIND.elements_per_record();
    let elements: Vec<_> = (0..slots)
        .map(|slot| slot_start(slot) + elements_start)
        .flat_map(|first| (first..first + element_count).map(SegmentShape::wire_at))
        .collect();
    let end = slot_start(slots);
    let carry_count = carry_wires(depth, registers.len());
    let mut carried = (end - carry_count..end).map(SegmentShape::wire_at);
    let cap = Cap::new(carried.by_ref().take(MerkleCap::node_count(depth)).collect());
    let fee_sum = carried.next().expect("the sum of fees follows the cap");
    let carry = Carry { cap, fee_sum, registers: carried.collect() };
    let operator = S::KIND.pays_fee().then(|| blank_operator(depth));
    let mut tail_shape = SegmentShape::new(end);
    let digest = tail(&mut tail_shape, circuit, &globals, &elements, &start, &carry, operator.as_ref());
    tail_shape.enforce_equal(&digest, &SegmentShape::wire_at(1));
    Shape::new(head_shape, slot_shape, tail_shape, slots, carry_count)
}

/// A statement of a circuit without values.
fn blank_statement(circuit: CircuitId) -> Statement {
    let context = Context { height_blocks: 0, token: Token::BITCOIN, operator: CellIndex::default() };
    let (root_before, root_after, data_digest) = (Fr::ZERO, Fr::ZERO, Fr::ZERO);
    let (chain_id, registers) = (ChainId::from_byte_array([0; 15]), Registers::NONE);
    Statement { chain_id, circuit, root_before, root_after, data_digest, context, registers }
}

/// The sizes of a circuit's segments.
pub(super) struct Layout {
    pub(super) head: Outline,
    pub(super) slot: Outline,
    pub(super) tail: Outline,
    pub(super) slots: usize,
}

impl Layout {
    pub(super) fn of<S: SlotCircuit>(slot: &S, circuit: CircuitId) -> Self {
        let statement = blank_statement(circuit);
        let (depth, slots) = (circuit.depth, usize::from(circuit.slots));
        let globals = Globals::at(depth, |_| Nothing);
        let [mut head_outline, mut slot_outline, mut tail_outline] = core::array::from_fn(|_| Outline::default());
        let registers = vec![Fr::ZERO; slot.register_count()];
        let start = head(&mut head_outline, &statement, &MerkleCap::blank(depth), &registers, Fr::ZERO);
        let padding = slot.padding(&statement);
        let begun = begin_slot(&mut slot_outline, slot, &globals, false, &start.registers, &padding);
        let (_, carry) = end_slot(&mut slot_outline, &S::RELATIONS, begun, start.clone());
        let elements = vec![Nothing; slots * S::KIND.elements_per_record()];
        let operator = S::KIND.pays_fee().then(|| blank_operator(depth));
        let digest = tail(&mut tail_outline, circuit, &globals, &elements, &start, &carry, operator.as_ref());
        tail_outline.enforce_equal(&digest, &Nothing);
        Self { head: head_outline, slot: slot_outline, tail: tail_outline, slots }
    }

    pub(super) fn wire_count(&self) -> usize {
        self.head.wire_count() + self.slots * self.slot.wire_count() + self.tail.wire_count()
    }

    pub(super) fn row_count(&self) -> usize {
        self.head.row_count() + self.slots * self.slot.row_count() + self.tail.row_count()
    }

    /// The segment and the relation of a row.
    pub(super) fn relation_of(&self, row: usize) -> (Segment, &'static str) {
        let Some(after_head) = row.checked_sub(self.head.row_count()) else {
            return (Segment::Head, self.head.relation_of(row));
        };
        match after_head.checked_sub(self.slots * self.slot.row_count()) {
            Some(tail_row) => (Segment::Tail, self.tail.relation_of(tail_row)),
            None => {
                let rows = self.slot.row_count();
                (Segment::Slot(after_head / rows), self.slot.relation_of(after_head % rows))
            }
        }
    }
}

/// The size and identity of a circuit's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CircuitCount {
    /// The kind of transition.
    #[serde(serialize_with = "kind_name")]
    pub kind: Kind,
    /// The depth of the tree.
    pub depth: u8,
    /// The number of slots.
    pub slots: u16,
    /// The rows of one slot.
    pub constraints_per_slot: usize,
    /// The rows of the circuit.
    pub constraints: usize,
    /// [`Shape::matrix_hash`], in JSON as hexadecimal digits.
    #[serde(serialize_with = "hash_digits")]
    pub matrix_hash: [u8; 32],
}

fn kind_name<S: serde::Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

fn hash_digits<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&blake3::Hash::from(*hash))
}

/// Counts one circuit.
///
/// # Errors
/// [`NoCircuitError`].
pub fn count(machines: &Machines, circuit: CircuitId) -> Result<CircuitCount, NoCircuitError> {
    let shape = shape(machines, circuit)?;
    Ok(CircuitCount {
        kind: circuit.kind,
        depth: circuit.depth.levels(),
        slots: circuit.slots,
        constraints_per_slot: shape.slot().rows().len(),
        constraints: shape.row_count(),
        matrix_hash: shape.matrix_hash(),
    })
}

/// Counts the circuits of all kinds at a depth, those of steps for each machine.
///
/// # Errors
/// [`NoCircuitError`] if `slots` is zero.
pub fn counts(machines: &Machines, depth: Depth, slots: u16) -> Result<Vec<CircuitCount>, NoCircuitError> {
    let payments = Kind::PAYMENTS.into_iter().map(|kind| CircuitId::new(kind, depth, slots));
    let steps = machines.iter().map(|machine| machine.circuit(depth, slots));
    payments.chain(steps).map(|circuit| count(machines, circuit)).collect()
}
