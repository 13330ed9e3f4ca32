//! The shape of a circuit: the sparse rows of its matrices, one slot recorded once.

use super::{ConstraintSystem, Variable, outline::relation_of};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, Zero};
use core::ops::{Add, AddAssign, Mul, Neg, Sub};
use taproof_verifier::field;

/// A sum of wires with coefficients: terms by rising wire, none of them zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinearCombination(Vec<(u32, Fr)>);

impl LinearCombination {
    /// The terms, by rising wire.
    pub fn terms(&self) -> &[(u32, Fr)] {
        &self.0
    }

    fn wire(index: u32) -> Self {
        Self(vec![(index, Fr::ONE)])
    }

    /// Merges two sorted lists of terms.
    fn merge(self, other: Self) -> Self {
        let mut sum = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.into_iter().peekable(), other.0.into_iter().peekable());
        loop {
            let term = match (left.peek(), right.peek()) {
                (Some((i, _)), Some((j, _))) if i == j => {
                    let ((wire, a), (_, b)) = (left.next().expect("peeked"), right.next().expect("peeked"));
                    (wire, a + b)
                }
                (Some((i, _)), Some((j, _))) if i > j => right.next().expect("peeked"),
                (Some(_), _) => left.next().expect("peeked"),
                (None, Some(_)) => right.next().expect("peeked"),
                (None, None) => return Self(sum),
            };
            if !term.1.is_zero() {
                sum.push(term);
            }
        }
    }
}

impl From<Fr> for LinearCombination {
    fn from(constant: Fr) -> Self {
        if constant.is_zero() { Self::default() } else { Self(vec![(0, constant)]) }
    }
}

impl Add for LinearCombination {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.merge(other)
    }
}

impl AddAssign for LinearCombination {
    fn add_assign(&mut self, other: Self) {
        *self = core::mem::take(self).merge(other);
    }
}

impl Sub for LinearCombination {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.merge(-other)
    }
}

impl Neg for LinearCombination {
    type Output = Self;
    fn neg(mut self) -> Self {
        self.0.iter_mut().for_each(|(_, coefficient)| *coefficient = -*coefficient);
        self
    }
}

impl Mul<Fr> for LinearCombination {
    type Output = Self;
    fn mul(mut self, factor: Fr) -> Self {
        if factor.is_zero() {
            return Self::default();
        }
        self.0.iter_mut().for_each(|(_, coefficient)| *coefficient *= factor);
        self
    }
}

impl Variable for LinearCombination {}

/// One row: a * b = c.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row of A.
    pub a: LinearCombination,
    /// The row of B.
    pub b: LinearCombination,
    /// The row of C.
    pub c: LinearCombination,
}

/// The part of a circuit that a row or wire belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// What comes once, before the slots.
    Head,
    /// The slot of that number, from 0.
    Slot(usize),
    /// What comes once, after the slots.
    Tail,
}

impl core::fmt::Display for Segment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Head => f.write_str("the head"),
            Self::Slot(slot) => write!(f, "slot {slot}"),
            Self::Tail => f.write_str("the tail"),
        }
    }
}

/// Records the rows of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentShape {
    first_wire: u32,
    wire_count: u32,
    rows: Vec<Row>,
    relations: Vec<(usize, &'static str)>,
}

impl SegmentShape {
    /// A segment whose wires start at `first_wire`.
    pub fn new(first_wire: usize) -> Self {
        Self { first_wire: first_wire.try_into().expect("a circuit has fewer than 2^32 wires"), ..Self::default() }
    }

    /// The number of wires that the segment adds.
    pub fn wire_count(&self) -> usize {
        self.wire_count as usize
    }

    /// The rows in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A wire of any segment as a variable.
    pub fn wire_at(index: usize) -> LinearCombination {
        LinearCombination::wire(index.try_into().expect("a circuit has fewer than 2^32 wires"))
    }

    /// The name of the relation that a row belongs to.
    pub fn relation_of(&self, row: usize) -> &'static str {
        relation_of(&self.relations, row)
    }
}

impl ConstraintSystem for SegmentShape {
    type Var = LinearCombination;

    fn witness(&mut self, _: Fr) -> LinearCombination {
        let index = self.first_wire + self.wire_count;
        self.wire_count += 1;
        LinearCombination::wire(index)
    }

    fn value(&self, _: &LinearCombination) -> Fr {
        Fr::ZERO
    }

    fn enforce(&mut self, a: &LinearCombination, b: &LinearCombination, c: &LinearCombination) {
        self.rows.push(Row { a: a.clone(), b: b.clone(), c: c.clone() });
    }

    fn relation(&mut self, name: &'static str) {
        self.relations.push((self.rows.len(), name));
    }
}

/// How many rows are encoded at a time to be hashed, which bounds the memory for it.
const ROWS_PER_PIECE: usize = 1 << 12;

/// The matrices of a whole circuit: a head, `slots` copies of one slot, a tail.
///
/// Wires are numbered head first, then slot after slot, then the tail. The last `carry_count` wires of the head and of
/// each slot carry values into the next slot. The recorded slot is slot 0: a term on a head wire before the carry
/// stands for the same wire in every slot, any other term moves by the slot's wires from copy to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    head: SegmentShape,
    slot: SegmentShape,
    tail: SegmentShape,
    slots: usize,
    carry_count: usize,
}

impl Shape {
    /// Joins the recorded segments.
    ///
    /// # Panics
    /// If the segments' first wires do not join up.
    pub fn new(head: SegmentShape, slot: SegmentShape, tail: SegmentShape, slots: usize, carry_count: usize) -> Self {
        let after_head = head.wire_count();
        assert_eq!((head.first_wire, slot.first_wire as usize), (0, after_head), "the slot follows the head");
        assert_eq!(tail.first_wire as usize, after_head + slots * slot.wire_count(), "the tail follows the slots");
        assert!(carry_count <= after_head && carry_count <= slot.wire_count(), "the carry is part of each segment");
        Self { head, slot, tail, slots, carry_count }
    }

    /// The number of wires, with the constant one and the public input.
    pub fn wire_count(&self) -> usize {
        self.head.wire_count() + self.slots * self.slot.wire_count() + self.tail.wire_count()
    }

    /// The number of public inputs, without the constant one: 1.
    pub fn public_count(&self) -> usize {
        1
    }

    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.head.rows.len() + self.slots * self.slot.rows.len() + self.tail.rows.len()
    }

    /// The number of slots.
    pub fn slot_count(&self) -> usize {
        self.slots
    }

    /// The number of wires at the end of the head and of each slot that the next slot reads.
    pub fn carry_count(&self) -> usize {
        self.carry_count
    }

    /// The segment before the slots.
    pub fn head(&self) -> &SegmentShape {
        &self.head
    }

    /// The segment that stands for every slot.
    pub fn slot(&self) -> &SegmentShape {
        &self.slot
    }

    /// The segment after the slots.
    pub fn tail(&self) -> &SegmentShape {
        &self.tail
    }

    /// The segment that a row belongs to, and the row's number within it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn locate(&self, row: usize) -> (Segment, usize) {
        assert!(row < self.row_count(), "row {row} does not exist");
        let Some(after_head) = row.checked_sub(self.head.rows.len()) else { return (Segment::Head, row) };
        match after_head.checked_sub(self.slots * self.slot.rows.len()) {
            Some(tail_row) => (Segment::Tail, tail_row),
            None => (Segment::Slot(after_head / self.slot.rows.len()), after_head % self.slot.rows.len()),
        }
    }

    /// The name of the relation that a row belongs to.
    ///
    /// # Panics
    /// As [`Shape::locate`].
    pub fn relation_of(&self, row: usize) -> (Segment, &'static str) {
        let (segment, local) = self.locate(row);
        let shape = match segment {
            Segment::Head => &self.head,
            Segment::Slot(_) => &self.slot,
            Segment::Tail => &self.tail,
        };
        (segment, shape.relation_of(local))
    }

    /// One row of the whole circuit.
    ///
    /// # Panics
    /// As [`Shape::locate`].
    pub fn row(&self, row: usize) -> RowView<'_> {
        let shared_wires = self.head.wire_count() - self.carry_count;
        let (segment, local) = self.locate(row);
        match segment {
            Segment::Head => RowView { row: &self.head.rows[local], shared_wires, shift: 0 },
            Segment::Slot(slot) => {
                RowView { row: &self.slot.rows[local], shared_wires, shift: slot * self.slot.wire_count() }
            }
            Segment::Tail => RowView { row: &self.tail.rows[local], shared_wires, shift: 0 },
        }
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = RowView<'_>> {
        (0..self.row_count()).map(|row| self.row(row))
    }

    /// The first row that an assignment of all wires leaves unsatisfied, computed from the matrices alone.
    ///
    /// # Panics
    /// If there are not [`Shape::wire_count`] wires.
    pub fn first_unsatisfied(&self, wires: &[Fr]) -> Option<usize> {
        assert_eq!(wires.len(), self.wire_count(), "one value for each wire");
        self.rows().position(|row| !row.is_satisfied(wires))
    }

    /// A digest of the matrices that tells any two circuits apart: BLAKE3 over the number of slots and carried
    /// wires, then for the head, the recorded slot and the tail the number of wires and rows and each row's
    /// three lists of terms, each list preceded by its length. Integers are 32 bits, elements 32 bytes, little-endian.
    pub fn matrix_hash(&self) -> [u8; 32] {
        let count = |n: usize| u32::try_from(n).expect("a circuit has fewer than 2^32 rows and wires").to_le_bytes();
        let mut hasher = blake3::Hasher::new_derive_key("taproof circuit matrices v1");
        hasher.update(&count(self.slots)).update(&count(self.carry_count));
        for segment in [&self.head, &self.slot, &self.tail] {
            hasher.update(&count(segment.wire_count())).update(&count(segment.rows.len()));
            // Long pieces, because the hash runs on several lanes and threads only within one.
            for rows in segment.rows.chunks(ROWS_PER_PIECE) {
                let mut bytes = Vec::new();
                for side in rows.iter().flat_map(|row| [&row.a, &row.b, &row.c]) {
                    bytes.extend(count(side.0.len()));
                    for (wire, coefficient) in &side.0 {
                        bytes.extend(wire.to_le_bytes());
                        bytes.extend(field::to_bytes(coefficient));
                    }
                }
                hasher.update_rayon(&bytes);
            }
        }
        *hasher.finalize().as_bytes()
    }
}

/// A row of the whole circuit, its terms moved to the wires of its slot.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    row: &'a Row,
    shared_wires: usize,
    shift: usize,
}

impl<'a> RowView<'a> {
    /// The terms of A.
    pub fn a(self) -> impl Iterator<Item = (usize, &'a Fr)> {
        self.terms(&self.row.a)
    }

    /// The terms of B.
    pub fn b(self) -> impl Iterator<Item = (usize, &'a Fr)> {
        self.terms(&self.row.b)
    }

    /// The terms of C.
    pub fn c(self) -> impl Iterator<Item = (usize, &'a Fr)> {
        self.terms(&self.row.c)
    }

    /// Whether the wires satisfy the row.
    pub fn is_satisfied(self, wires: &[Fr]) -> bool {
        let [a, b, c] = self.evaluate(wires);
        a * b == c
    }

    /// The values of A z, B z and C z.
    pub fn evaluate(self, wires: &[Fr]) -> [Fr; 3] {
        [&self.row.a, &self.row.b, &self.row.c]
            .map(|side| self.terms(side).map(|(wire, coefficient)| wires[wire] * coefficient).sum())
    }

    fn terms(self, side: &'a LinearCombination) -> impl Iterator<Item = (usize, &'a Fr)> {
        side.0.iter().map(move |(wire, coefficient)| {
            let wire = *wire as usize;
            (if wire < self.shared_wires { wire } else { wire + self.shift }, coefficient)
        })
    }
}
