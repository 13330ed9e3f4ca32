//! Baby Jubjub in rows: points, keys, and the two multiplications that a signature needs.
//!
//! A point is kept in one of two forms. [`EdwardsPoint`] is the form of keys and records, a x^2 + y^2 = 1 + d x^2 y^2
//! with a = 168700 and d = 168696; a is a square and d is none, so its addition is complete: six rows, right for any
//! two points of the curve. `MontgomeryPoint` is v^2 = u^3 + A u^2 + u with A = 2 (a + d) / (a - d) = 168698 (the other
//! coefficient, 4 / (a - d), is 1); u = (1 + y) / (1 - y) and v = u / x. Its addition takes three rows and holds only
//! for two points whose u differ. The multiplications use it where that is proven of every input that their rows admit:
//!
//! - [`multiply_base`]: S B for a witness S below l, 674 rows with the bits of S;
//! - [`multiply_key`]: (2^n + 2 c + 1) A for a point A of order l and n bits c, 8 + 6 n rows.
//!
//! A point of prime order l has none of the exceptions of the birational map: x and v are not zero unless it is the
//! identity, and u = -1 would need v^2 = A - 2 = d, which is no square.

mod base;
mod key;

pub use base::multiply_base;
pub use key::multiply_key;

use super::bits::{self, Bit};
use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;
use ark_ec::twisted_edwards::{MontCurveConfig, TECurveConfig};
use ark_ff::{AdditiveGroup, Field};
use taproof_verifier::baby_jubjub::{BabyJubjub, Point, PointProjective, PublicKey, Scalar};

/// The coefficient a of the Edwards form.
const EDWARDS_A: Fr = <BabyJubjub as TECurveConfig>::COEFF_A;
/// The coefficient d of the Edwards form.
const EDWARDS_D: Fr = BabyJubjub::COEFF_D;
/// The coefficient A of the Montgomery form.
const MONTGOMERY_A: Fr = <BabyJubjub as MontCurveConfig>::COEFF_A;

/// A point in the Edwards form, whose identity is (0, 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdwardsPoint<V> {
    /// The x coordinate.
    pub x: V,
    /// The y coordinate.
    pub y: V,
}

impl<V: Variable> EdwardsPoint<V> {
    /// Adds two wires, which nothing holds to the curve.
    pub fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, point: &Point) -> Self {
        Self { x: cs.witness(point.x), y: cs.witness(point.y) }
    }

    /// A point known to all.
    pub fn constant(point: &Point) -> Self {
        Self { x: point.x.into(), y: point.y.into() }
    }

    /// The inverse; free.
    pub fn negate(self) -> Self {
        Self { x: -self.x, y: self.y }
    }

    /// `if_one` or `if_zero`, two rows.
    pub fn select<CS: ConstraintSystem<Var = V>>(cs: &mut CS, bit: &Bit<V>, if_one: &Self, if_zero: &Self) -> Self {
        Self { x: bit.select(cs, &if_one.x, &if_zero.x), y: bit.select(cs, &if_one.y, &if_zero.y) }
    }

    /// The sum of any two points of the curve, six rows.
    pub fn add<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, other: &Self) -> Self {
        let beta = cs.product(&self.x, &other.y);
        let gamma = cs.product(&self.y, &other.x);
        let delta = cs.product(&(self.y.clone() - self.x.clone() * EDWARDS_A), &(other.x.clone() + other.y.clone()));
        let tau = cs.product(&beta, &gamma) * EDWARDS_D;
        // delta = y1 y2 - a x1 x2 - a x1 y2 + y1 x2.
        let x = quotient(cs, &(beta.clone() + gamma.clone()), &(V::one() + tau.clone()));
        let y = quotient(cs, &(delta + beta * EDWARDS_A - gamma), &(V::one() - tau));
        Self { x, y }
    }

    /// The double of a point of the curve from the squares of its coordinates, three rows.
    fn double_from_squares<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, squares: &[V; 2]) -> Self {
        let [x_squared, y_squared] = squares.clone();
        let a_x_squared = x_squared * EDWARDS_A;
        let product = cs.product(&self.x, &self.y);
        // On the curve the denominators are 1 + d x^2 y^2 and 1 - d x^2 y^2, neither of which is zero.
        let sum = a_x_squared.clone() + y_squared.clone();
        let x = quotient(cs, &(product.clone() + product), &sum);
        let y = quotient(cs, &(y_squared - a_x_squared), &(V::one() + V::one() - sum));
        Self { x, y }
    }

    /// The squares of the coordinates, two rows.
    fn squares<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> [V; 2] {
        [cs.product(&self.x, &self.x), cs.product(&self.y, &self.y)]
    }

    /// The Montgomery form of a point of order l, two rows.
    fn to_montgomery<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> MontgomeryPoint<V> {
        let u = quotient(cs, &(V::one() + self.y.clone()), &(V::one() - self.y.clone()));
        let v = quotient(cs, &u, &self.x);
        MontgomeryPoint { u, v }
    }
}

/// Adds a key as two wires held to a point of the subgroup of order l other than the identity; 17 rows.
///
/// The rows hold a hidden point to the curve and the key to its eightfold, which no component of small order survives.
pub fn witness_key<CS: ConstraintSystem>(cs: &mut CS, key: &PublicKey) -> EdwardsPoint<CS::Var> {
    enforce_eightfold(cs, &eighth(key))
}

/// The point of order l whose eightfold is the key.
fn eighth(key: &PublicKey) -> Point {
    let inverse = Scalar::from(8u64).inverse().expect("8 is below the prime l");
    (*key.point() * inverse).into()
}

/// Eight times a hidden point, which is held to the curve and must not have a small order.
fn enforce_eightfold<CS: ConstraintSystem>(cs: &mut CS, hidden: &Point) -> EdwardsPoint<CS::Var> {
    let mut point = EdwardsPoint::witness(cs, hidden);
    let mut squares = point.squares(cs);
    let [x_squared, y_squared] = squares.clone();
    let sum = x_squared.clone() * EDWARDS_A + y_squared.clone();
    cs.enforce(&(x_squared * EDWARDS_D), &y_squared, &(sum - CS::Var::one()));
    for doubling in 0..3 {
        if doubling > 0 {
            squares = point.squares(cs);
        }
        point = point.double_from_squares(cs, &squares);
    }
    bits::enforce_nonzero(cs, &point.x);
    point
}

/// A point in the Montgomery form; the identity has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MontgomeryPoint<V> {
    u: V,
    v: V,
}

impl<V: Variable> MontgomeryPoint<V> {
    /// The sum of two points whose u differ, given the slope of the line through them; three rows.
    fn add<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, other: &Self, slope: Fr) -> Self {
        let slope = cs.witness(slope);
        cs.enforce(&(other.u.clone() - self.u.clone()), &slope, &(other.v.clone() - self.v.clone()));
        self.third(cs, &slope, &other.u)
    }

    /// The double of a point whose v is not zero; four rows.
    fn double<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> Self {
        let u_squared = cs.product(&self.u, &self.u);
        let numerator = u_squared * Fr::from(3u64) + self.u.clone() * MONTGOMERY_A.double() + V::one();
        let slope = quotient(cs, &numerator, &(self.v.clone() + self.v.clone()));
        self.third(cs, &slope, &self.u)
    }

    /// The inverse of the third point on the line of that slope through this point and one at `other_u`; two rows.
    fn third<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, slope: &V, other_u: &V) -> Self {
        let u = third_u(cs, slope, &self.u, other_u);
        let slope_value = cs.value(slope);
        let v = cs.witness(slope_value * (cs.value(&self.u) - cs.value(&u)) - cs.value(&self.v));
        cs.enforce(&(self.u.clone() - u.clone()), slope, &(v.clone() + self.v.clone()));
        Self { u, v }
    }

    /// The Edwards form of a point of order l, two rows.
    fn to_edwards<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> EdwardsPoint<V> {
        let x = quotient(cs, &self.u, &self.v);
        let y = quotient(cs, &(self.u.clone() - V::one()), &(self.u.clone() + V::one()));
        EdwardsPoint { x, y }
    }
}

/// The u where a line of that slope through points at two other u meets the curve, one row.
fn third_u<CS: ConstraintSystem>(cs: &mut CS, slope: &CS::Var, u: &CS::Var, other_u: &CS::Var) -> CS::Var {
    let others = u.clone() + other_u.clone() + MONTGOMERY_A.into();
    let third = cs.witness(cs.value(slope).square() - cs.value(&others));
    cs.enforce(slope, slope, &(third.clone() + others));
    third
}

/// Adds a wire held to `numerator` / `denominator`, one row; the caller knows that the denominator is not zero.
fn quotient<CS: ConstraintSystem>(cs: &mut CS, numerator: &CS::Var, denominator: &CS::Var) -> CS::Var {
    let inverse = cs.value(denominator).inverse().unwrap_or_default();
    let quotient = cs.witness(cs.value(numerator) * inverse);
    cs.enforce(denominator, &quotient, numerator);
    quotient
}

/// The Montgomery forms of many points for one inversion, as hints: zeros for a point that has none.
fn to_montgomery_values(points: &[PointProjective]) -> Vec<MontgomeryPoint<Fr>> {
    let mut inverses: Vec<Fr> = points.iter().map(|point| (point.z - point.y) * point.x).collect();
    invert_all(&mut inverses);
    let convert = |(point, inverse): (&PointProjective, Fr)| {
        let scaled = (point.z + point.y) * inverse;
        MontgomeryPoint { u: scaled * point.x, v: scaled * point.z }
    };
    points.iter().zip(inverses).map(convert).collect()
}

/// Inverts many elements for one inversion; zeros stay.
fn invert_all(elements: &mut [Fr]) {
    ark_ff::serial_batch_inversion_and_mul(elements, &Fr::ONE);
}

#[cfg(test)]
mod tests;
