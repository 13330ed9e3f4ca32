//! The constraint system: gadgets are written once against [`ConstraintSystem`] and run by three back ends.
//!
//! [`Shape`] records the sparse rows of A, B and C at setup. [`Trace`] computes, when proving, the wires and the
//! values of every row straight from the execution: its variables are plain field elements, so no linear combination
//! is ever built. [`Outline`] only counts. A row is the relation (A z)(B z) = C z over the wires z, of which wire 0
//! is the constant one and wire 1 the public input.

mod outline;
mod shape;
mod trace;

pub use outline::{Nothing, Outline};
pub use shape::{LinearCombination, Row, RowView, Segment, SegmentShape, Shape};
pub use trace::{Assignment, Trace};

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use core::ops::{Add, AddAssign, Mul, Neg, Sub};

/// A linear combination of wires, or in a trace its value.
pub trait Variable:
    Clone
    + From<Fr>
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Neg<Output = Self>
    + Mul<Fr, Output = Self>
    + Send
    + Sync
{
    /// The combination without terms.
    fn zero() -> Self {
        Self::from(Fr::ZERO)
    }

    /// The constant one.
    fn one() -> Self {
        Self::from(Fr::ONE)
    }
}

/// What gadgets are written against.
///
/// A gadget's shape must not depend on values: in [`Shape`], [`ConstraintSystem::value`] is zero for everything, and
/// tests hold that all back ends take the same rows and wires.
pub trait ConstraintSystem {
    /// A linear combination of wires.
    type Var: Variable;

    /// Adds a wire. Nothing constrains it until it stands in a row.
    fn witness(&mut self, value: Fr) -> Self::Var;

    /// The value of a combination, for computing hints; zero at setup.
    fn value(&self, var: &Self::Var) -> Fr;

    /// Adds the row a * b = c.
    fn enforce(&mut self, a: &Self::Var, b: &Self::Var, c: &Self::Var);

    /// Names the relation that the rows from here on belong to, for the report on an unsatisfied row.
    fn relation(&mut self, name: &'static str);

    /// Adds a wire bound to a * b by one row.
    fn product(&mut self, a: &Self::Var, b: &Self::Var) -> Self::Var {
        let product = self.witness(self.value(a) * self.value(b));
        self.enforce(a, b, &product);
        product
    }

    /// Adds a wire bound to a combination by one row.
    fn wire(&mut self, a: &Self::Var) -> Self::Var {
        let wire = self.witness(self.value(a));
        self.enforce_equal(a, &wire);
        wire
    }

    /// Adds the row a * 1 = b.
    fn enforce_equal(&mut self, a: &Self::Var, b: &Self::Var) {
        self.enforce(a, &Self::Var::one(), b);
    }

    /// Adds the row a * 1 = 0.
    fn enforce_zero(&mut self, a: &Self::Var) {
        self.enforce_equal(a, &Self::Var::zero());
    }
}
