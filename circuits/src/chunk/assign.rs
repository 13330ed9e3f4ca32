//! The values of all wires and rows of a chunk, traced slot by slot in parallel.

use super::{
    circuit::{Layout, NoCircuit, expect_circuit},
    segments::{CARRY_WIRES, Carry, Globals, SlotCircuit, head, slot, tail},
    witness::{CellUpdate, ChunkWitness, SlotWitnesses},
};
use crate::{
    cs::{Assignment, ConstraintSystem, Segment, Trace},
    deposit::circuit::DepositCircuit,
    open::circuit::OpenCircuit,
    transfer::circuit::TransferCircuit,
    withdraw::circuit::WithdrawCircuit,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use rayon::prelude::*;
use taproof_verifier::{
    cell::{Depth, MerklePath},
    record::Kind,
    statement::{CircuitId, Statement},
};

/// Why a witness is none of its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The statement names no circuit that is known here.
    #[error(transparent)]
    NoCircuit(#[from] NoCircuit),
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
    /// The slots satisfy the circuit, but with other records, or another root after, than the statement says.
    #[error("the transitions prove another statement")]
    StatementMismatch,
}

/// Computes all wires and rows of a chunk and checks that every row holds and that the public input is the statement's digest.
///
/// # Errors
/// Each of [`AssignError`].
pub fn assign(witness: &ChunkWitness) -> Result<Assignment, AssignError> {
    let circuit = witness.statement.circuit;
    expect_circuit(circuit)?;
    let assignment = match &witness.slots {
        SlotWitnesses::Deposit(slots) => trace::<DepositCircuit>(witness, slots),
        SlotWitnesses::Transfer(slots) => trace::<TransferCircuit>(witness, slots),
        SlotWitnesses::Open(slots) => trace::<OpenCircuit>(witness, slots),
        SlotWitnesses::Withdraw(slots) => trace::<WithdrawCircuit>(witness, slots),
    }?;
    if assignment.wires[1] != witness.statement.digest() {
        return Err(AssignError::StatementMismatch);
    }
    Ok(assignment)
}

/// Traces a chunk of one kind and checks its rows.
fn trace<S: SlotCircuit>(witness: &ChunkWitness, slots: &[S::Witness]) -> Result<Assignment, AssignError> {
    check_form::<S>(&witness.statement.circuit, slots, witness.operator.as_ref())?;
    let layout = Layout::of::<S>(witness.statement.circuit);
    let zeros = |length| vec![Fr::ZERO; length];
    let (wires, rows) = (layout.wire_count(), layout.row_count());
    let mut assignment = Assignment { wires: zeros(wires), a: zeros(rows), b: zeros(rows), c: zeros(rows) };
    let mut parts = Parts::split(&layout, &mut assignment);
    let broken_carry = trace_slots::<S>(&witness.statement, slots, &layout, &mut parts);
    trace_ends::<S>(witness, &layout, parts);
    // A slot that does not start from the carried root violates one row only, which the trace took for satisfied.
    let broken_carry = broken_carry.map(|slot| layout.root_before_row::<S>(slot));
    let broken = first_violation(&assignment).into_iter().chain(broken_carry).min();
    match broken.map(|row| layout.relation_of(row)) {
        Some((segment, relation)) => Err(AssignError::Unsatisfied { segment, relation }),
        None => Ok(assignment),
    }
}

/// Checks what the witness's types leave open.
fn check_form<S: SlotCircuit>(
    circuit: &CircuitId,
    slots: &[S::Witness],
    operator: Option<&CellUpdate>,
) -> Result<(), AssignError> {
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
    for (number, slot) in slots.iter().enumerate() {
        S::paths(slot).try_for_each(|path| check_depth(Segment::Slot(number), path))?;
    }
    operator.map_or(Ok(()), |update| check_depth(Segment::Tail, &update.path))
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

/// Fills all slots. Gives the first one that does not start from the root that the one before ends at.
fn trace_slots<S: SlotCircuit>(
    statement: &Statement,
    slots: &[S::Witness],
    layout: &Layout,
    parts: &mut Parts<'_>,
) -> Option<usize> {
    let globals = globals(statement);
    let wires_per_slot = layout.slot.wire_count();
    let rows_per_slot = layout.slot.row_count();
    let [wires, a, b, c] = &mut parts.0;
    let (wires, wires_of_padding) = wires.slots.split_at_mut(slots.len() * wires_per_slot);
    let [(a, a_of_padding), (b, b_of_padding), (c, c_of_padding)] =
        [a, b, c].map(|side| side.slots.split_at_mut(slots.len() * rows_per_slot));
    let mut fee_sums = Vec::with_capacity(slots.len() + 1);
    fee_sums.push(Fr::ZERO);
    fee_sums.extend(slots.iter().scan(Fr::ZERO, |sum, slot| {
        *sum += Fr::from(S::fee(slot));
        Some(*sum)
    }));
    let roots: Vec<(Fr, Fr)> = wires
        .par_chunks_exact_mut(wires_per_slot)
        .zip(a.par_chunks_exact_mut(rows_per_slot))
        .zip(b.par_chunks_exact_mut(rows_per_slot))
        .zip(c.par_chunks_exact_mut(rows_per_slot))
        .zip(slots.par_iter().zip(&fee_sums))
        .map(|((((wires, a), b), c), (witness, fee_sum))| {
            let mut root_before = Fr::ZERO;
            let mut trace = Trace::new(wires, a, b, c);
            slot::<S, _>(&mut trace, &globals, true, witness, |root| {
                root_before = root;
                Carry { root, fee_sum: *fee_sum }
            });
            trace.finish();
            (root_before, wires[wires_per_slot - CARRY_WIRES])
        })
        .collect();
    let starts = roots.iter().map(|(before, _)| *before);
    let ends = core::iter::once(statement.root_before).chain(roots.iter().map(|(_, after)| *after));
    let broken_carry = starts.zip(ends).position(|(start, end)| start != end);
    let root = roots.last().map_or(statement.root_before, |(_, after)| *after);
    let fee_sum = fee_sums.pop().unwrap_or_default();
    let padding = [wires_of_padding, a_of_padding, b_of_padding, c_of_padding];
    trace_padding::<S>(statement, layout, padding, Carry { root, fee_sum });
    broken_carry
}

/// Fills the padding slots, which are all alike.
fn trace_padding<S: SlotCircuit>(
    statement: &Statement,
    layout: &Layout,
    [wires, a, b, c]: [&mut [Fr]; 4],
    carry: Carry<Fr>,
) {
    if wires.is_empty() {
        return;
    }
    let (first_wires, wires) = wires.split_at_mut(layout.slot.wire_count());
    let [(first_a, a), (first_b, b), (first_c, c)] = [a, b, c].map(|side| side.split_at_mut(layout.slot.row_count()));
    let mut trace = Trace::new(first_wires, first_a, first_b, first_c);
    slot::<S, _>(&mut trace, &globals(statement), false, &S::padding(statement), |_| carry);
    trace.finish();
    for (first, others) in [(first_wires, wires), (first_a, a), (first_b, b), (first_c, c)] {
        others.par_chunks_exact_mut(first.len()).for_each(|other| other.copy_from_slice(first));
    }
}

/// Fills tail and head.
fn trace_ends<S: SlotCircuit>(witness: &ChunkWitness, layout: &Layout, parts: Parts<'_>) {
    let statement = &witness.statement;
    let Parts([wires, a, b, c]) = parts;
    let element_count = S::KIND.elements_per_record();
    let mut elements = Vec::with_capacity(layout.slots * element_count);
    let mut carry = Carry { root: statement.root_before, fee_sum: Fr::ZERO };
    for slot in wires.slots.chunks_exact(layout.slot.wire_count()) {
        let (rest, carried) = slot.split_at(slot.len() - CARRY_WIRES);
        elements.extend_from_slice(&rest[rest.len() - element_count..]);
        carry = Carry { root: carried[0], fee_sum: carried[1] };
    }
    let mut trace = Trace::new(wires.tail, a.tail, b.tail, c.tail);
    let operator = witness.operator.as_ref();
    let digest = tail(&mut trace, statement.circuit, &globals(statement), &elements, &carry, operator);
    trace.enforce_equal(&digest, &digest);
    trace.finish();
    let mut trace = Trace::new(wires.head, a.head, b.head, c.head);
    head(&mut trace, statement, digest);
    trace.finish();
}

fn globals(statement: &Statement) -> Globals<Fr> {
    let Statement { chain_id, root_before, context, circuit, .. } = statement;
    Globals {
        chain_id: chain_id.0.into(),
        height_blocks: context.height_blocks.into(),
        token: context.token.0.into(),
        operator: context.operator.get().into(),
        root_before: *root_before,
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
