//! What the tests of every circuit share: the back ends on one execution, and the search for wires that nothing holds.
//!
//! With the feature `testing`, authors of operations of their own have what these are tested with: a [`Trial`] runs
//! steps by rule and circuit side by side, and [`assert_operation`] violates each of an operation's relations alone.

// Authors have a part of it; this crate's tests need the rest.
#![cfg_attr(not(test), allow(dead_code, unused_imports))]

mod author;
mod checker;
mod forge;
mod free;
pub(crate) mod operations;
pub(crate) mod owing;
mod slots;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod twins;

pub use author::Trial;
pub use operations::{Example, assert_operation};

pub(crate) use checker::Checker;
pub(crate) use forge::Lie;
pub(crate) use free::{FreeWires, Freedom, free_wires, free_wires_of};
pub(crate) use slots::{
    assert_active_is_a_bit, assert_breaks_alone, assert_chunk_sound, assert_forgery_breaks, assert_lies_break,
    assert_padding_holds, assert_padding_is_inert, assert_sound_with, violated_by_lies, violated_in_its_state,
};

use crate::{
    chunk::{self, AssignError, NoCircuitError, witness::ChunkWitness},
    cs::{Assignment, ConstraintSystem, Outline, SegmentShape, Shape, Trace},
    ops,
    step::Machines,
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use std::collections::BTreeSet;
use taproof_verifier::{record::Destination, statement::CircuitId};

/// The machines that tests prove steps of.
pub(crate) fn machines() -> Machines {
    Machines::new(vec![ops::standard()])
}

/// These machines, and that of [`owing`](owing::owing).
fn all_machines() -> Machines {
    Machines::new(vec![ops::standard(), owing::owing()])
}

/// [`chunk::assign`] with all of these machines.
pub(crate) fn assign(witness: &ChunkWitness) -> Result<Assignment, AssignError> {
    chunk::assign(&all_machines(), witness)
}

/// [`chunk::shape`] with all of these machines.
pub(crate) fn shape(circuit: CircuitId) -> Result<Shape, NoCircuitError> {
    chunk::shape(&all_machines(), circuit)
}

/// A part of a circuit with the values it runs on.
pub(crate) trait Piece {
    /// Adds the part's wires and rows.
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS);
}

/// Runs a piece in all back ends and checks that they agree row by row.
pub(crate) fn run(piece: &impl Piece) -> (Shape, Assignment) {
    let mut head = SegmentShape::new(0);
    head.witness(Fr::ONE);
    piece.synthesize(&mut head);
    let mut outline = Outline::default();
    outline.witness(Fr::ONE);
    piece.synthesize(&mut outline);
    assert_eq!((outline.wire_count(), outline.row_count()), (head.wire_count(), head.rows().len()));
    let zeros = |length| vec![Fr::ZERO; length];
    let [wires, rows] = [outline.wire_count(), outline.row_count()];
    let mut assignment = Assignment { wires: zeros(wires), a: zeros(rows), b: zeros(rows), c: zeros(rows) };
    let Assignment { wires, a, b, c } = &mut assignment;
    let mut trace = Trace::new(wires, a, b, c);
    trace.witness(Fr::ONE);
    piece.synthesize(&mut trace);
    trace.finish();
    let end = head.wire_count();
    let shape = Shape::new(head, SegmentShape::new(end), SegmentShape::new(end), 0, 0);
    assert_conformance(&shape, &assignment);
    (shape, assignment)
}

/// Runs a piece that must be satisfied and have no wire that can change alone; returns its number of rows.
pub(crate) fn assert_sound(piece: &impl Piece) -> usize {
    let (shape, assignment) = run(piece);
    assert_eq!(unsatisfied(&shape, &assignment), BTreeSet::new());
    assert_all_held(&shape, &assignment);
    shape.row_count()
}

/// Checks that no wire but the constant one can change alone, by whatever amount, and that the search has looked at
/// all of them.
pub(crate) fn assert_all_held(shape: &Shape, assignment: &Assignment) {
    let held = FreeWires { free: Vec::new(), held_count: shape.wire_count() - 1 };
    assert_eq!(free_wires(shape, assignment), held, "wires that nothing holds");
}

/// Runs a piece that must not be satisfied.
pub(crate) fn assert_refused(piece: &impl Piece) {
    let (shape, assignment) = run(piece);
    assert!(shape.first_unsatisfied(&assignment.wires).is_some(), "false values satisfy every row");
}

/// Checks that the values which a trace computed for each row are those that the matrices give for its wires.
pub(crate) fn assert_conformance(shape: &Shape, assignment: &Assignment) {
    assert_eq!((assignment.wires.len(), assignment.a.len()), (shape.wire_count(), shape.row_count()));
    for (number, row) in shape.rows().enumerate() {
        let traced = [assignment.a[number], assignment.b[number], assignment.c[number]];
        assert_eq!(row.evaluate(&assignment.wires), traced, "row {number}, {:?}", shape.relation_of(number));
    }
}

/// The relations that some row violates, by the matrices.
pub(crate) fn unsatisfied(shape: &Shape, assignment: &Assignment) -> BTreeSet<&'static str> {
    let broken = shape.rows().enumerate().filter(|(_, row)| !row.is_satisfied(&assignment.wires));
    broken.map(|(number, _)| shape.relation_of(number).1).collect()
}

/// Outputs of every kind.
pub(crate) fn any_destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(Destination::P2wpkh),
        any::<[u8; 32]>().prop_map(Destination::P2wsh),
        any::<[u8; 32]>().prop_map(Destination::P2tr),
        any::<[u8; 20]>().prop_map(Destination::P2pkh),
        any::<[u8; 20]>().prop_map(Destination::P2sh),
    ]
}
