//! What the tests of every circuit share: both back ends on one execution, and the search for wires that nothing holds.

mod forge;
mod slots;
pub(crate) mod state;

pub(crate) use forge::Lie;
pub(crate) use slots::{
    assert_active_is_a_bit, assert_breaks_alone, assert_chunk_sound, assert_forgery_breaks, assert_lies_break,
    assert_padding_holds, assert_padding_is_inert,
};

use crate::cs::{Assignment, ConstraintSystem, Outline, SegmentShape, Shape, Trace};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use rand::SeedableRng;
use std::collections::BTreeSet;

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
    assert_eq!(free_wires(&shape, &assignment), Vec::<usize>::new(), "wires that nothing holds");
    shape.row_count()
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

/// The wires that can change alone, by one or by a random amount, with every row still satisfied.
///
/// The constant one, wire 0, is not a choice of the prover and is left out.
pub(crate) fn free_wires(shape: &Shape, assignment: &Assignment) -> Vec<usize> {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(0x7461_7072);
    let mut uses: Vec<Vec<(usize, usize, Fr)>> = vec![Vec::new(); shape.wire_count()];
    for (number, row) in shape.rows().enumerate() {
        let sides = row.a().map(|t| (0, t)).chain(row.b().map(|t| (1, t))).chain(row.c().map(|t| (2, t)));
        sides.for_each(|(side, (wire, coefficient))| uses[wire].push((number, side, *coefficient)));
    }
    let survives = |wire: usize, delta: Fr| {
        let mut terms = uses[wire].clone();
        terms.sort_by_key(|(row, ..)| *row);
        terms.chunk_by(|left, right| left.0 == right.0).all(|terms| {
            let row = terms[0].0;
            let mut sides = [assignment.a[row], assignment.b[row], assignment.c[row]];
            terms.iter().for_each(|(_, side, coefficient)| sides[*side] += delta * coefficient);
            sides[0] * sides[1] == sides[2]
        })
    };
    (1..shape.wire_count()).filter(|wire| [Fr::ONE, Fr::rand(&mut rng)].iter().any(|d| survives(*wire, *d))).collect()
}

#[test]
fn the_search_finds_a_wire_that_nothing_holds() {
    struct Loose;
    impl Piece for Loose {
        fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
            let held = cs.witness(Fr::from(2u64));
            cs.enforce_equal(&held, &Fr::from(2u64).into());
            cs.witness(Fr::from(3u64));
            let factor = cs.witness(Fr::from(4u64));
            cs.enforce(&factor, &(held - Fr::from(2u64).into()), &Fr::ZERO.into());
        }
    }
    let (shape, assignment) = run(&Loose);
    assert_eq!(free_wires(&shape, &assignment), [2, 3]);
}
