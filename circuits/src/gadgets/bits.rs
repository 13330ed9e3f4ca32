//! Bits, ranges and choices.
//!
//! A [`Bit`] is a variable that rows of the circuit hold to 0 or 1; it has no other constructor, so a selector cannot
//! be left unconstrained. An integer of n bits costs n rows: where it is a witness it *is* the sum of its bits, and
//! where it is given the highest bit is what the others leave over, so no row is spent on the sum.

use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;
use ark_ff::{BigInteger, Field, PrimeField};

/// The widest integer that has one representation only: 2^253 is below the order of the field.
pub const WIDTH_BITS_MAX: usize = 253;

/// A variable that is 0 or 1.
#[derive(Clone, Copy, Debug)]
pub struct Bit<V>(V);

impl<V: Variable> Bit<V> {
    /// Adds a wire held to 0 or 1, one row.
    pub fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, value: bool) -> Self {
        let bit = cs.witness(Fr::from(value));
        cs.enforce(&bit, &bit, &bit);
        Self(bit)
    }

    /// Holds a combination to 0 or 1, one row.
    pub fn enforce<CS: ConstraintSystem<Var = V>>(cs: &mut CS, var: V) -> Self {
        cs.enforce(&var, &var, &var);
        Self(var)
    }

    /// The bit as a variable.
    pub fn var(&self) -> &V {
        &self.0
    }

    /// The other bit; free.
    pub fn not(&self) -> Self {
        Self(V::one() - self.0.clone())
    }

    /// Both, one row.
    pub fn and<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, other: &Self) -> Self {
        Self(cs.product(&self.0, &other.0))
    }

    /// Whether one of some bits is one, of which at most one can be; free.
    ///
    /// The caller knows that no two are one: their sum would be no bit.
    pub(crate) fn any_of(bits: &[&Self]) -> Self {
        Self(bits.iter().fold(V::zero(), |sum, bit| sum + bit.0.clone()))
    }

    /// Whether none of some bits is one, of which at most one can be; free.
    ///
    /// The caller knows that no two are one: their sum would be no bit.
    pub(crate) fn none_of(bits: &[&Self]) -> Self {
        Self::none_of_within(&Self(V::one()), bits)
    }

    /// The same where `whole` is one, of which the bits are parts that exclude each other; free.
    pub(crate) fn none_of_within(whole: &Self, bits: &[&Self]) -> Self {
        Self(bits.iter().fold(whole.0.clone(), |rest, bit| rest - bit.0.clone()))
    }

    /// `if_one` or `if_zero`, one row.
    pub fn select<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, if_one: &V, if_zero: &V) -> V {
        if_zero.clone() + cs.product(&(if_one.clone() - if_zero.clone()), &self.0)
    }

    /// Whether the bit is one, for computing hints; false at setup.
    pub fn value<CS: ConstraintSystem<Var = V>>(&self, cs: &CS) -> bool {
        cs.value(&self.0) == Fr::ONE
    }
}

/// Adds an integer of `width_bits` bits as one wire a bit, the lowest bit first; one row a bit. Higher bits of
/// `value` are dropped.
///
/// # Panics
/// If `width_bits` is above [`WIDTH_BITS_MAX`], whose integers would have a second representation.
pub fn witness_bits<CS: ConstraintSystem>(cs: &mut CS, value: Fr, width_bits: usize) -> Vec<Bit<CS::Var>> {
    assert!(width_bits <= WIDTH_BITS_MAX, "the integer has one representation");
    let integer = value.into_bigint();
    (0..width_bits).map(|position| Bit::witness(cs, integer.get_bit(position))).collect()
}

/// Adds an integer below 2^`width_bits`, which is the sum of one wire a bit; one row a bit. Higher bits of `value`
/// are dropped.
///
/// # Panics
/// As [`witness_bits`].
pub fn witness_integer<CS: ConstraintSystem>(cs: &mut CS, value: u64, width_bits: usize) -> CS::Var {
    compose(&witness_bits(cs, Fr::from(value), width_bits))
}

/// The integer of some bits, the lowest first; free.
pub fn compose<V: Variable>(bits: &[Bit<V>]) -> V {
    bits.iter().rev().fold(V::zero(), |sum, bit| sum.clone() + sum + bit.0.clone())
}

/// Splits a variable into `width_bits` bits, the lowest first, which holds it below 2^`width_bits`; one row a bit.
///
/// # Panics
/// As [`witness_bits`], or if there are no bits.
pub fn decompose<CS: ConstraintSystem>(cs: &mut CS, var: &CS::Var, width_bits: usize) -> Vec<Bit<CS::Var>> {
    assert!(width_bits > 0, "a decomposition has bits");
    let mut bits = witness_bits(cs, cs.value(var), width_bits - 1);
    let rest = var.clone() - compose(&bits);
    let power = Fr::from(2u64).pow([width_bits as u64 - 1]);
    bits.push(Bit::enforce(cs, rest * power.inverse().expect("a power of two is not zero")));
    bits
}

/// Holds a variable below 2^`width_bits`; one row a bit.
///
/// # Panics
/// As [`decompose`].
pub fn enforce_width<CS: ConstraintSystem>(cs: &mut CS, var: &CS::Var, width_bits: usize) {
    decompose(cs, var, width_bits);
}

/// Whether a variable is zero, three rows.
pub fn is_zero<CS: ConstraintSystem>(cs: &mut CS, var: &CS::Var) -> Bit<CS::Var> {
    let inverse_value = cs.value(var).inverse();
    let inverse = cs.witness(inverse_value.unwrap_or_default());
    let zero = cs.witness(Fr::from(inverse_value.is_none()));
    // Where var is zero, the first row makes the answer one; elsewhere the second makes it zero.
    cs.enforce(var, &inverse, &(CS::Var::one() - zero.clone()));
    cs.enforce(var, &zero, &CS::Var::zero());
    // Where var is zero, those rows leave the inverse open.
    cs.enforce(&inverse, &zero, &CS::Var::zero());
    Bit(zero)
}

/// Holds a variable to be other than zero, one row.
pub fn enforce_nonzero<CS: ConstraintSystem>(cs: &mut CS, var: &CS::Var) {
    let inverse = cs.witness(cs.value(var).inverse().unwrap_or_default());
    cs.enforce(var, &inverse, &CS::Var::one());
}

/// Holds `left` and `right` equal where `condition` is one, one row.
pub fn enforce_equal_if<CS: ConstraintSystem>(cs: &mut CS, condition: &Bit<CS::Var>, left: &CS::Var, right: &CS::Var) {
    cs.enforce(&(left.clone() - right.clone()), &condition.0, &CS::Var::zero());
}
