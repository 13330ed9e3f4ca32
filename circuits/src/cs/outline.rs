//! The size of a segment: wires and rows counted, nothing recorded.

use super::{ConstraintSystem, Variable};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use core::ops::{Add, AddAssign, Mul, Neg, Sub};

/// The variable of a back end that keeps none.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

/// Counts wires and rows and keeps the names of relations, which is all that laying out a trace and reporting on it
/// need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    wire_count: usize,
    row_count: usize,
    relations: Vec<(usize, &'static str)>,
}

impl Outline {
    /// The number of wires.
    pub fn wire_count(&self) -> usize {
        self.wire_count
    }

    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// The name of the relation that a row belongs to.
    pub fn relation_of(&self, row: usize) -> &'static str {
        relation_of(&self.relations, row)
    }
}

/// The last name given at or before a row.
pub(super) fn relation_of(relations: &[(usize, &'static str)], row: usize) -> &'static str {
    let after = relations.partition_point(|(start, _)| *start <= row);
    after.checked_sub(1).map_or("unnamed relation", |last| relations[last].1)
}

impl ConstraintSystem for Outline {
    type Var = Nothing;

    fn witness(&mut self, _: Fr) -> Nothing {
        self.wire_count += 1;
        Nothing
    }

    fn value(&self, _: &Nothing) -> Fr {
        Fr::ZERO
    }

    fn enforce(&mut self, _: &Nothing, _: &Nothing, _: &Nothing) {
        self.row_count += 1;
    }

    fn relation(&mut self, name: &'static str) {
        self.relations.push((self.row_count, name));
    }
}

impl From<Fr> for Nothing {
    fn from(_: Fr) -> Self {
        Self
    }
}

impl Add for Nothing {
    type Output = Self;
    fn add(self, _: Self) -> Self {
        self
    }
}

impl AddAssign for Nothing {
    fn add_assign(&mut self, _: Self) {}
}

impl Sub for Nothing {
    type Output = Self;
    fn sub(self, _: Self) -> Self {
        self
    }
}

impl Neg for Nothing {
    type Output = Self;
    fn neg(self) -> Self {
        self
    }
}

impl Mul<Fr> for Nothing {
    type Output = Self;
    fn mul(self, _: Fr) -> Self {
        self
    }
}

impl Variable for Nothing {}
