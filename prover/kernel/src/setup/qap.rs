//! The columns of a circuit's matrices as polynomials, evaluated at one point.

use super::PUBLIC_WIRES;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, One, Zero};
use rayon::prelude::*;
use taproof_circuits::cs::{LinearCombination, RowView, Segment, Shape};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// For each wire, its column of A, B and C at the point. Secret, as the point is.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Columns {
    pub(super) a: Vec<Fr>,
    pub(super) b: Vec<Fr>,
    pub(super) c: Vec<Fr>,
}

impl Columns {
    /// Sums each wire's coefficients times the rows' Lagrange polynomials at the point.
    ///
    /// Slots are alike, so each is summed apart in the numbering of the recorded slot and then moved to its place.
    pub(super) fn evaluate(shape: &Shape, lagrange: &[Fr]) -> Self {
        let mut columns = Self::zeros(shape.wire_count());
        for row in (0..shape.row_count()).filter(|row| !matches!(shape.locate(*row).0, Segment::Slot(_))) {
            columns.add_row(shape.row(row), lagrange[row]);
        }
        let (slot_rows, slot_wires) = (shape.slot().rows(), shape.slot().wire_count());
        let slots: Vec<usize> = (0..shape.slot_count()).collect();
        for group in slots.chunks(rayon::current_num_threads().max(1)) {
            let sums: Vec<Self> = group
                .par_iter()
                .map(|slot| {
                    let first_row = shape.head().rows().len() + slot * slot_rows.len();
                    let mut sums = Self::zeros(shape.head().wire_count() + slot_wires);
                    for (row, weight) in slot_rows.iter().zip(&lagrange[first_row..]) {
                        add(&mut sums.a, &row.a, weight);
                        add(&mut sums.b, &row.b, weight);
                        add(&mut sums.c, &row.c, weight);
                    }
                    sums
                })
                .collect();
            for (slot, sums) in group.iter().zip(&sums) {
                columns.add_slot(shape, *slot, sums);
            }
        }
        for (wire, weight) in lagrange[shape.row_count()..].iter().take(PUBLIC_WIRES).enumerate() {
            columns.a[wire] += weight;
        }
        columns
    }

    /// beta A + alpha B + C for each wire.
    pub(super) fn joined(&self, alpha: Fr, beta: Fr) -> Vec<Fr> {
        let sides = self.a.par_iter().zip(&self.b).zip(&self.c);
        sides.map(|((a, b), c)| beta * a + alpha * b + c).collect()
    }

    fn zeros(wire_count: usize) -> Self {
        let zeros = || vec![Fr::ZERO; wire_count];
        Self { a: zeros(), b: zeros(), c: zeros() }
    }

    fn add_row(&mut self, row: RowView<'_>, weight: Fr) {
        row.a().for_each(|(wire, coefficient)| self.a[wire] += weight * coefficient);
        row.b().for_each(|(wire, coefficient)| self.b[wire] += weight * coefficient);
        row.c().for_each(|(wire, coefficient)| self.c[wire] += weight * coefficient);
    }

    /// Adds a slot's sums: those of shared wires where they stand, the others moved by the slots before.
    fn add_slot(&mut self, shape: &Shape, slot: usize, sums: &Self) {
        let shared = shape.head().wire_count() - shape.carry_count();
        let moved = shared + slot * shape.slot().wire_count();
        for (column, sums) in [(&mut self.a, &sums.a), (&mut self.b, &sums.b), (&mut self.c, &sums.c)] {
            column.iter_mut().zip(&sums[..shared]).for_each(|(value, sum)| *value += sum);
            column[moved..].iter_mut().zip(&sums[shared..]).for_each(|(value, sum)| *value += sum);
        }
    }
}

fn add(column: &mut [Fr], side: &LinearCombination, weight: &Fr) {
    for (wire, coefficient) in side.terms() {
        column[*wire as usize] += if coefficient.is_one() { *weight } else { *weight * coefficient };
    }
}

/// The wires whose value is not zero, and their values.
pub(super) fn occurring(column: &[Fr]) -> (Vec<u32>, Zeroizing<Vec<Fr>>) {
    let wires: Vec<u32> = (0..).zip(column).filter(|(_, value)| !value.is_zero()).map(|(wire, _)| wire).collect();
    // Collected from an iterator that knows its length: a vector that grows would leave copies of secrets behind.
    let values = wires.iter().map(|wire| column[*wire as usize]).collect();
    (wires, Zeroizing::new(values))
}
