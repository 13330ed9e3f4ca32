//! The values of all wires and rows of a chunk, traced slot by slot in parallel.

use super::{
    circuit::{Layout, NoCircuitError, expect_circuit},
    segments::{BegunSlot, Carry, Globals, SlotCircuit, begin_slot, end_slot, head, tail},
    step::StepSlot,
    witness::{ChunkWitness, SlotWitnesses},
};
use crate::{
    cap::MerkleCap,
    cs::{Assignment, ConstraintSystem, Segment, Trace},
    deposit::circuit::DepositCircuit,
    gadgets::merkle::Cap,
    open::circuit::OpenCircuit,
    step::Machines,
    transfer::circuit::TransferCircuit,
    withdraw::circuit::WithdrawCircuit,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use rayon::prelude::*;
use taproof_verifier::{
    cell::{Depth, MerklePath},
    record::Kind,
    statement::Statement,
};

/// Why a witness is none of its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The statement names no circuit that is known here.
    #[error(transparent)]
    NoCircuit(#[from] NoCircuitError),
    /// The slots are of another kind than the circuit.
    #[error("the circuit proves {circuit} slots, the witness has {witness} slots")]
    KindMismatch {
        /// The circuit's kind.
        circuit: Kind,
        /// The witness's kind.
        witness: Kind,
    },
    /// There are more transitions than slots.
    #[error("{found} transitions do not fit into {slots} slots")]
    TooManyTransitions {
        /// The circuit's slots.
        slots: u16,
        /// The transitions.
        found: usize,
    },
    /// A path is one of a tree of another depth.
    #[error("{segment} has a path of {} levels in a circuit of {}", found.levels(), circuit.levels())]
    DepthMismatch {
        /// Where the path is.
        segment: Segment,
        /// The circuit's depth.
        circuit: Depth,
        /// The path's depth.
        found: Depth,
    },
    /// The cap is one of a tree of another depth.
    #[error("the cap has {found} nodes in a circuit of {expected}")]
    CapMismatch {
        /// The nodes of the circuit's cap.
        expected: usize,
        /// The nodes of the witness's cap.
        found: usize,
    },
    /// A step is handed other registers than the one before it leaves.
    #[error("slot {slot} is handed other registers than the slot before it leaves")]
    RegistersMismatch {
        /// The slot.
        slot: usize,
    },
    /// The update of the operator's cell is missing, or is there though the kind has no fees.
    #[error("the operator's cell is updated exactly for kinds with fees")]
    OperatorMismatch,
    /// A relation does not hold.
    #[error("{segment} violates the relation {relation}")]
    Unsatisfied {
        /// Where.
        segment: Segment,
        /// Which relation.
        relation: &'static str,
    },
    /// The slots satisfy the circuit, but with other records, or other roots, than the statement says.
    #[error("the transitions prove another statement")]
    StatementMismatch,
}

/// Computes all wires and rows of a chunk and checks that every row holds and that the public input is the
/// statement's digest.
///
/// # Errors
/// Each of [`AssignError`].
pub fn assign(machines: &Machines, witness: &ChunkWitness) -> Result<Assignment, AssignError> {
    let circuit = witness.statement.circuit;
    let machine = expect_circuit(machines, circuit)?;
    let assignment = match &witness.slots {
        SlotWitnesses::Deposit(slots) => trace(&DepositCircuit, witness, slots),
        SlotWitnesses::Transfer(slots) => trace(&TransferCircuit, witness, slots),
        SlotWitnesses::Open(slots) => trace(&OpenCircuit, witness, slots),
        SlotWitnesses::Withdraw(slots) => trace(&WithdrawCircuit, witness, slots),
        SlotWitnesses::Step { slots, .. } => match machine {
            Some(machine) => trace(&StepSlot(machine), witness, slots),
            None => Err(AssignError::KindMismatch { circuit: circuit.kind, witness: Kind::Step }),
        },
    }?;
    if assignment.wires[1] != witness.statement.digest() {
        return Err(AssignError::StatementMismatch);
    }
    Ok(assignment)
}

/// Traces a chunk of one kind and checks its rows.
fn trace<S: SlotCircuit>(slot: &S, witness: &ChunkWitness, slots: &[S::Witness]) -> Result<Assignment, AssignError> {
    check_form::<S>(witness, slots)?;
    let layout = Layout::of(slot, witness.statement.circuit);
    let zeros = |length| vec![Fr::ZERO; length];
    let (wires, rows) = (layout.wire_count(), layout.row_count());
    let mut assignment = Assignment { wires: zeros(wires), a: zeros(rows), b: zeros(rows), c: zeros(rows) };
    let mut parts = Parts::split(&layout, &mut assignment);
    let registers_before = slots.first().map(|first| slot.registers(first));
    let registers_before = registers_before.unwrap_or_else(|| zeros(slot.register_count()));
    let ends = trace_slots(slot, witness, slots, &layout, &registers_before, &mut parts)?;
    trace_ends(witness, &registers_before, &ends, parts);
    match first_violation(&assignment).map(|row| layout.relation_of(row)) {
        Some((segment, relation)) => Err(AssignError::Unsatisfied { segment, relation }),
        None => Ok(assignment),
    }
}

/// Checks what the witness's types leave open.
fn check_form<S: SlotCircuit>(witness: &ChunkWitness, slots: &[S::Witness]) -> Result<(), AssignError> {
    let ChunkWitness { statement: Statement { circuit, .. }, cap, operator, .. } = witness;
    if circuit.kind != S::KIND {
        return Err(AssignError::KindMismatch { circuit: circuit.kind, witness: S::KIND });
    }
    if slots.len() > usize::from(circuit.slots) {
        return Err(AssignError::TooManyTransitions { slots: circuit.slots, found: slots.len() });
    }
    if operator.is_some() != S::KIND.pays_fee() {
        return Err(AssignError::OperatorMismatch);
    }
    let check_depth = |segment: Segment, path: &MerklePath| match path.depth() {
        found if found == circuit.depth => Ok(()),
        found => Err(AssignError::DepthMismatch { segment, circuit: circuit.depth, found }),
    };
    let (expected, found) = (MerkleCap::node_count(circuit.depth), cap.nodes().len());
    if found != expected {
        return Err(AssignError::CapMismatch { expected, found });
    }
    for (number, slot) in slots.iter().enumerate() {
        S::paths(slot).try_for_each(|path| check_depth(Segment::Slot(number), path))?;
    }
    operator.as_ref().map_or(Ok(()), |update| check_depth(Segment::Tail, &update.path))
}

/// One of the four vectors of an assignment, cut into its segments.
struct Cut<'a> {
    head: &'a mut [Fr],
    slots: &'a mut [Fr],
    tail: &'a mut [Fr],
}

/// An assignment cut into its segments: wires, A z, B z and C z.
struct Parts<'a>([Cut<'a>; 4]);

impl<'a> Parts<'a> {
    fn split(layout: &Layout, assignment: &'a mut Assignment) -> Self {
        let cut = |vector: &'a mut Vec<Fr>, head_length: usize, slot_length: usize| {
            let (head, rest) = vector.split_at_mut(head_length);
            let (slots, tail) = rest.split_at_mut(layout.slots * slot_length);
            Cut { head, slots, tail }
        };
        let Assignment { wires, a, b, c } = assignment;
        let wires = cut(wires, layout.head.wire_count(), layout.slot.wire_count());
        let rows = [a, b, c].map(|vector| cut(vector, layout.head.row_count(), layout.slot.row_count()));
        let [a, b, c] = rows;
        Self([wires, a, b, c])
    }
}

/// What the slots leave for the tail.
struct Ends {
    /// The elements that all slots post.
    elements: Vec<Fr>,
    /// What the last slot hands on.
    carry: Carry<Fr>,
}

/// Fills all slots: in parallel what they are by themselves, which is nearly all of it, then what joins each to the
/// one before.
fn trace_slots<S: SlotCircuit>(
    slot: &S,
    witness: &ChunkWitness,
    slots: &[S::Witness],
    layout: &Layout,
    registers_before: &[Fr],
    parts: &mut Parts<'_>,
) -> Result<Ends, AssignError> {
    let globals = globals(&witness.statement);
    let wires_per_slot = layout.slot.wire_count();
    let rows_per_slot = layout.slot.row_count();
    let [wires, a, b, c] = &mut parts.0;
    let (wires, wires_of_padding) = wires.slots.split_at_mut(slots.len() * wires_per_slot);
    let [(a, a_of_padding), (b, b_of_padding), (c, c_of_padding)] =
        [a, b, c].map(|side| side.slots.split_at_mut(slots.len() * rows_per_slot));
    let begun: Vec<(Trace<'_>, BegunSlot<Fr>)> = wires
        .par_chunks_exact_mut(wires_per_slot)
        .zip(a.par_chunks_exact_mut(rows_per_slot))
        .zip(b.par_chunks_exact_mut(rows_per_slot))
        .zip(c.par_chunks_exact_mut(rows_per_slot))
        .zip(slots)
        .map(|((((wires, a), b), c), witness)| {
            let mut trace = Trace::new(wires, a, b, c);
            let begun = begin_slot(&mut trace, slot, &globals, true, &slot.registers(witness), witness);
            (trace, begun)
        })
        .collect();
    let element_count = layout.slots * S::KIND.elements_per_record();
    let mut elements = Vec::with_capacity(element_count);
    let registers = registers_before.to_vec();
    let mut carry = Carry { cap: Cap::new(witness.cap.nodes().to_vec()), fee_sum: Fr::ZERO, registers };
    for ((number, handed), (mut trace, begun)) in slots.iter().enumerate().zip(begun) {
        // The slot was traced with the registers that its witness claims to be handed.
        if slot.registers(handed) != carry.registers {
            return Err(AssignError::RegistersMismatch { slot: number });
        }
        let (posted, handed_on) = end_slot(&mut trace, &S::RELATIONS, begun, carry);
        trace.finish();
        elements.extend(posted);
        carry = handed_on;
    }
    let padding = [wires_of_padding, a_of_padding, b_of_padding, c_of_padding];
    trace_padding(slot, &witness.statement, layout, padding, &carry);
    elements.resize(element_count, Fr::ZERO);
    Ok(Ends { elements, carry })
}

/// Fills the padding slots, which are all alike: they post zeros and hand on what they are handed.
fn trace_padding<S: SlotCircuit>(
    slot: &S,
    statement: &Statement,
    layout: &Layout,
    [wires, a, b, c]: [&mut [Fr]; 4],
    carry: &Carry<Fr>,
) {
    if wires.is_empty() {
        return;
    }
    let (first_wires, wires) = wires.split_at_mut(layout.slot.wire_count());
    let [(first_a, a), (first_b, b), (first_c, c)] = [a, b, c].map(|side| side.split_at_mut(layout.slot.row_count()));
    let mut trace = Trace::new(first_wires, first_a, first_b, first_c);
    let padding = slot.padding(statement);
    let begun = begin_slot(&mut trace, slot, &globals(statement), false, &carry.registers, &padding);
    end_slot(&mut trace, &S::RELATIONS, begun, carry.clone());
    trace.finish();
    for (first, others) in [(first_wires, wires), (first_a, a), (first_b, b), (first_c, c)] {
        others.par_chunks_exact_mut(first.len()).for_each(|other| other.copy_from_slice(first));
    }
}

/// Fills tail and head.
fn trace_ends(witness: &ChunkWitness, registers_before: &[Fr], Ends { elements, carry }: &Ends, parts: Parts<'_>) {
    let ChunkWitness { statement, cap, operator, .. } = witness;
    let Parts([wires, a, b, c]) = parts;
    let mut trace = Trace::new(wires.tail, a.tail, b.tail, c.tail);
    let (globals, cap_before) = (globals(statement), Cap::new(cap.nodes().to_vec()));
    let start = Carry { cap: cap_before, fee_sum: Fr::ZERO, registers: registers_before.to_vec() };
    let digest = tail(&mut trace, statement.circuit, &globals, elements, &start, carry, operator.as_ref());
    trace.enforce_equal(&digest, &digest);
    trace.finish();
    let mut trace = Trace::new(wires.head, a.head, b.head, c.head);
    head(&mut trace, statement, cap, registers_before, digest);
    trace.finish();
}

fn globals(statement: &Statement) -> Globals<Fr> {
    let Statement { chain_id, context, circuit, .. } = statement;
    Globals {
        chain_id: chain_id.element(),
        height_blocks: context.height_blocks.into(),
        token: context.token.0.into(),
        operator: context.operator.get().into(),
        depth: circuit.depth,
    }
}

/// The first row that does not hold.
fn first_violation(assignment: &Assignment) -> Option<usize> {
    /// Rows that one task checks.
    const ROWS_PER_TASK: usize = 4096;
    let Assignment { a, b, c, .. } = assignment;
    let rows = a.par_chunks(ROWS_PER_TASK).zip(b.par_chunks(ROWS_PER_TASK)).zip(c.par_chunks(ROWS_PER_TASK));
    let first = rows.enumerate().filter_map(|(task, ((a, b), c))| {
        let broken = a.iter().zip(b).zip(c).position(|((a, b), c)| *a * b != *c)?;
        Some(task * ROWS_PER_TASK + broken)
    });
    first.min()
}
