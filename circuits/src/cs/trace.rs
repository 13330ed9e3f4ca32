//! The trace of an execution: wires and row values, with no matrices.

use super::{ConstraintSystem, Variable};
use ark_bn254::Fr;

impl Variable for Fr {}

/// The values of all wires, and of A z, B z and C z for every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The wires: the constant one, the public input, then the rest.
    pub wires: Vec<Fr>,
    /// A z.
    pub a: Vec<Fr>,
    /// B z.
    pub b: Vec<Fr>,
    /// C z.
    pub c: Vec<Fr>,
}

/// Fills the wires and row values of one segment from its execution.
///
/// The slices are exactly as long as the segment's [`super::SegmentShape`]; running past them is a bug of the circuit
/// and panics.
#[derive(Debug)]
pub struct Trace<'a> {
    wires: &'a mut [Fr],
    a: &'a mut [Fr],
    b: &'a mut [Fr],
    c: &'a mut [Fr],
    wire_count: usize,
    row_count: usize,
}

impl<'a> Trace<'a> {
    /// Starts a segment over its part of the assignment.
    pub fn new(wires: &'a mut [Fr], a: &'a mut [Fr], b: &'a mut [Fr], c: &'a mut [Fr]) -> Self {
        Self { wires, a, b, c, wire_count: 0, row_count: 0 }
    }

    /// Ends a segment.
    ///
    /// # Panics
    /// If the execution did not fill the segment: its shape then depended on values.
    pub fn finish(self) {
        assert_eq!(self.wire_count, self.wires.len(), "every wire of the segment has a value");
        assert_eq!(self.row_count, self.a.len(), "every row of the segment has values");
    }
}

impl ConstraintSystem for Trace<'_> {
    type Var = Fr;

    fn witness(&mut self, value: Fr) -> Fr {
        self.wires[self.wire_count] = value;
        self.wire_count += 1;
        value
    }

    fn value(&self, var: &Fr) -> Fr {
        *var
    }

    fn enforce(&mut self, a: &Fr, b: &Fr, c: &Fr) {
        self.a[self.row_count] = *a;
        self.b[self.row_count] = *b;
        self.c[self.row_count] = *c;
        self.row_count += 1;
    }

    fn relation(&mut self, _: &'static str) {}
}
