//! An integer of 248 bits, the width of a name: 31 bytes. Rule and circuit.

use crate::step::{Integer, Step, StepCircuit};
use ark_bn254::Fr;
use ark_ff::PrimeField;

/// The bits of the low part, as many as one integer of a rule can have.
const LOW_BITS: usize = 128;
/// The bits of the high part.
const HIGH_BITS: usize = 120;

/// Gives the circuit an element that is below 2^248.
pub(super) fn integer(step: &mut Step<'_>, element: Fr) {
    let limbs = element.into_bigint().0.map(u128::from);
    step.integer(limbs[0] | limbs[1] << 64, LOW_BITS);
    step.integer(limbs[2] | limbs[3] << 64, HIGH_BITS);
}

/// The twin of [`integer`].
pub(super) fn integer_in_circuit(step: &mut StepCircuit) -> Integer {
    let [low, high] = [LOW_BITS, HIGH_BITS].map(|width| step.integer(width));
    Integer::pack([(low, LOW_BITS), (high, HIGH_BITS)])
}
