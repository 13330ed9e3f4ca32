//! (2^n + 2 c + 1) A for a point A of order l and n bits c: a ladder that adds A or -A at every bit.
//!
//! The signs s_j = 2 c_j - 1 of the bits give 2 c = 2^n - 1 + sum of 2^j s_j. Starting from 2 A and taking, from the
//! highest bit down, K to 2 K + s_j, the ladder ends at 2^(n+1) + 2 c - (2^n - 1) = 2^n + 2 c + 1.
//!
//! A step computes (K A + s A) + K A without the v of the inner sum, six rows: the sign, the first slope, its u, the
//! second slope, its u and its v.
//!
//! **No exceptions.** 2 <= K < 3 * 2^(n-1), and n <= 240. K A and s A differ and are not opposite, as K - 1 and K + 1
//! lie between 1 and l - 1. Nor are (K + s) A and K A the same or opposite, as s and 2 K + s are no multiples of l.
//! No multiple in between is the identity. All of this holds for every c, so that no challenge makes a signature
//! unprovable or leaves a slope open; A must have order l, which the cells of the state guarantee.

use super::{EdwardsPoint, MontgomeryPoint, base::sign, invert_all, third_u, to_montgomery_values};
use crate::{cs::ConstraintSystem, gadgets::bits::Bit};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use taproof_verifier::baby_jubjub::{Point, PointProjective};

/// The longest c for which the sums above stay below l.
const BITS_MAX: usize = 240;

/// (2^n + 2 c + 1) A for a point A of order l, which the caller guarantees, and n bits c, lowest first; 8 + 6 n rows.
///
/// # Panics
/// If there are more than 240 bits, which would be a mistake of the circuit's author.
pub fn multiply_key<CS: ConstraintSystem>(
    cs: &mut CS,
    bits: &[Bit<CS::Var>],
    key: &EdwardsPoint<CS::Var>,
) -> EdwardsPoint<CS::Var> {
    assert!(bits.len() <= BITS_MAX, "the multiples stay below the order");
    let slopes = slopes(cs, bits, key);
    let key = key.to_montgomery(cs);
    let mut sum = key.double(cs);
    for (bit, slopes) in bits.iter().rev().zip(slopes) {
        sum = step(cs, &sum, bit, &key, slopes);
    }
    sum.to_edwards(cs)
}

/// K A to 2 K A + A or 2 K A - A.
fn step<CS: ConstraintSystem>(
    cs: &mut CS,
    sum: &MontgomeryPoint<CS::Var>,
    bit: &Bit<CS::Var>,
    key: &MontgomeryPoint<CS::Var>,
    slopes: [Fr; 2],
) -> MontgomeryPoint<CS::Var> {
    let v = cs.product(&key.v, &sign(bit));
    let [first, second] = slopes;
    let first = cs.witness(first);
    cs.enforce(&(key.u.clone() - sum.u.clone()), &first, &(v - sum.v.clone()));
    let inner_u = third_u(cs, &first, &sum.u, &key.u);
    // The inner sum's v is first * (u - inner_u) - v, so the slope to it from (u, v) is 2 v / (u - inner_u) - first.
    let second = cs.witness(second);
    let twice_v = sum.v.clone() + sum.v.clone();
    cs.enforce(&(sum.u.clone() - inner_u.clone()), &(first + second.clone()), &twice_v);
    sum.third(cs, &second, &inner_u)
}

/// The two slopes of every step, for two inversions.
fn slopes<CS: ConstraintSystem>(cs: &CS, bits: &[Bit<CS::Var>], key: &EdwardsPoint<CS::Var>) -> Vec<[Fr; 2]> {
    let key = Point::new_unchecked(cs.value(&key.x), cs.value(&key.y));
    let positives: Vec<_> = bits.iter().rev().map(|bit| bit.value(cs)).collect();
    let mut sum = PointProjective::from(key).double();
    let mut points = vec![key.into(), sum];
    for positive in &positives {
        sum.double_in_place();
        sum += if *positive { key } else { -key };
        points.push(sum);
    }
    let points = to_montgomery_values(&points);
    let (key, sums) = (points[0], &points[1..]);
    let steps = || sums.windows(2).zip(&positives);
    let mut runs: Vec<_> = steps().flat_map(|(pair, _)| [key.u - pair[0].u, pair[0].u - pair[1].u]).collect();
    invert_all(&mut runs);
    let (inverses, _) = runs.as_chunks::<2>();
    let rises = steps().map(|(pair, positive)| {
        let v = if *positive { key.v } else { -key.v };
        [v - pair[0].v, pair[0].v + pair[1].v]
    });
    rises.zip(inverses).map(|(rises, inverses)| [rises[0] * inverses[0], rises[1] * inverses[1]]).collect()
}
