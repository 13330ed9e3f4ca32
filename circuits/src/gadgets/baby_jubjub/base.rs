//! S B for the base point B and a witness S: signed digits, a table, and no comparison of S with l.
//!
//! **Range.** S = S' + (l - 2^250) t with S' of 250 bits and a bit t. As 2^250 < l < 2^251, these sums are exactly
//! the integers from 0 to l - 1. Some have two forms; nothing reads the bits but this gadget, and both forms are the
//! same S.
//!
//! **Digits.** With signs s_j = 2 b_j - 1 of the bits of S', 2 S' - (2^250 - 1) = s_0 + sum of 2 * 8^i d_i over the
//! 83 windows i of three bits each, d_i one of -7, -5, ..., 7. In multiples of H = ((l + 1) / 2) B, of which B is the
//! double, the windows add up S' B less a constant, which the last addition puts back together with t (l - 2^250) B.
//!
//! **No exceptions.** Before window i the sum is T H with T odd and |T| <= 2 * 8^i - 1; the entry is Q H with Q = 2 *
//! 8^i d_i, so |T| < |Q| and |T| + |Q| <= 2^250 - 1 < l. Hence neither T, Q, T - Q nor T + Q is a multiple of l: the
//! points differ, are not opposite, and are not the identity. The last addition is complete.

use super::{EdwardsPoint, MontgomeryPoint, invert_all, to_montgomery_values};
use crate::{
    cs::{ConstraintSystem, Variable},
    gadgets::bits::Bit,
};
use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, BigInt, BigInteger, Field, PrimeField};
use std::sync::LazyLock;
use taproof_verifier::baby_jubjub::{Point, PointProjective, Scalar};

/// Windows of three bits.
pub(super) const WINDOWS: usize = 83;
/// Bits of S': one, then three a window.
pub(super) const LOW_BITS: usize = 1 + 3 * WINDOWS;

/// Multiples of the base point.
struct Table {
    /// H.
    first: Entry,
    /// For each window 8^i (1, 3, 5, 7) B.
    windows: Vec<[Entry; 4]>,
    /// What the last addition adds for t = 0 and t = 1.
    last: [Point; 2],
}

/// A point of the table in both forms.
#[derive(Clone, Copy)]
struct Entry {
    edwards: Point,
    montgomery: MontgomeryPoint<Fr>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let half = Scalar::from(2u64).inverse().expect("2 is below the prime l");
    let low_power = Scalar::from(2u64).pow([LOW_BITS as u64]);
    let base = PointProjective::from(Point::generator());
    let mut points = vec![base * half];
    let mut unit = base;
    for _ in 0..WINDOWS {
        let double = unit.double();
        points.extend([unit, unit + double, unit + double.double(), unit + double.double() + double]);
        unit = double.double().double();
    }
    let forms = to_montgomery_values(&points);
    let entries: Vec<_> = PointProjective::normalize_batch(&points)
        .into_iter()
        .zip(forms)
        .map(|(edwards, montgomery)| Entry { edwards, montgomery })
        .collect();
    let (windows, _) = entries[1..].as_chunks::<4>();
    let missing = (low_power - Scalar::ONE) * half;
    let last = [missing, missing - low_power].map(|scalar| (base * scalar).into_affine());
    Table { first: entries[0], windows: windows.to_vec(), last }
});

/// The digits of a scalar.
struct Digits {
    /// Whether s_0 is +1.
    first: bool,
    /// Whether the digit is positive, and (|d| - 1) / 2.
    windows: [(bool, usize); WINDOWS],
    /// t.
    last: bool,
}

impl Digits {
    fn of(scalar: &Scalar) -> Self {
        let mut low = scalar.into_bigint();
        let last = low.get_bit(LOW_BITS);
        if last {
            low.sub_with_borrow(&last_weight());
        }
        let window =
            |i: usize| (0..3).rev().fold(0, |digit, bit| 2 * digit + usize::from(low.get_bit(1 + 3 * i + bit)));
        let signed = |digit: usize| if digit >= 4 { (true, digit - 4) } else { (false, 3 - digit) };
        Self { first: low.get_bit(0), windows: core::array::from_fn(|i| signed(window(i))), last }
    }
}

/// l - 2^250.
pub(super) fn last_weight() -> BigInt<4> {
    let mut weight = Scalar::MODULUS;
    weight.sub_with_borrow(&(BigInt::from(1u64) << LOW_BITS as u32));
    weight
}

/// A multiple of the base point, by an integer below l that is a witness of this gadget; 674 rows.
pub fn multiply_base<CS: ConstraintSystem>(cs: &mut CS, scalar: &Scalar) -> EdwardsPoint<CS::Var> {
    let digits = Digits::of(scalar);
    let table = &*TABLE;
    let first = Bit::witness(cs, digits.first);
    let MontgomeryPoint { u, v } = table.first.montgomery;
    let mut sum = MontgomeryPoint { u: u.into(), v: sign(&first) * v };
    let slopes = slopes(table, &digits);
    for ((entries, digit), slope) in table.windows.iter().zip(digits.windows).zip(slopes) {
        let entry = look_up(cs, entries, digit);
        sum = sum.add(cs, &entry, slope);
    }
    let sum = sum.to_edwards(cs);
    let last = Bit::witness(cs, digits.last);
    let [if_zero, if_one] = &table.last;
    let choose = |if_zero: Fr, if_one: Fr| last.var().clone() * (if_one - if_zero) + if_zero.into();
    let rest = EdwardsPoint { x: choose(if_zero.x, if_one.x), y: choose(if_zero.y, if_one.y) };
    sum.add(cs, &rest)
}

/// The entry of a signed digit, five rows: three bits, the product of two, and the sign of v.
fn look_up<CS: ConstraintSystem>(
    cs: &mut CS,
    entries: &[Entry; 4],
    (positive, magnitude): (bool, usize),
) -> MontgomeryPoint<CS::Var> {
    let low = Bit::witness(cs, magnitude & 1 == 1);
    let high = Bit::witness(cs, magnitude & 2 == 2);
    let both = low.and(cs, &high);
    let positive = Bit::witness(cs, positive);
    let choose = |[a, b, c, d]: [Fr; 4]| {
        let terms = low.var().clone() * (b - a) + high.var().clone() * (c - a);
        terms + both.var().clone() * (d - c - b + a) + a.into()
    };
    let u = choose(entries.map(|entry| entry.montgomery.u));
    let v = choose(entries.map(|entry| entry.montgomery.v));
    MontgomeryPoint { u, v: cs.product(&v, &sign(&positive)) }
}

/// +1 for one, -1 for zero.
pub(super) fn sign<V: Variable>(bit: &Bit<V>) -> V {
    bit.var().clone() + bit.var().clone() - V::one()
}

/// The slopes of all additions, for two inversions.
fn slopes(table: &Table, digits: &Digits) -> Vec<Fr> {
    let signed = |point: Point, positive: bool| if positive { point } else { -point };
    let mut sum = PointProjective::from(signed(table.first.edwards, digits.first));
    let mut sums = Vec::with_capacity(WINDOWS);
    for (entries, (positive, magnitude)) in table.windows.iter().zip(digits.windows) {
        sums.push(sum);
        sum += signed(entries[magnitude].edwards, positive);
    }
    let sums = to_montgomery_values(&sums);
    let entries = table.windows.iter().zip(digits.windows).map(|(entries, (positive, magnitude))| {
        let MontgomeryPoint { u, v } = entries[magnitude].montgomery;
        MontgomeryPoint { u, v: if positive { v } else { -v } }
    });
    let (rises, mut runs): (Vec<_>, Vec<_>) =
        sums.iter().zip(entries).map(|(sum, entry)| (entry.v - sum.v, entry.u - sum.u)).unzip();
    invert_all(&mut runs);
    rises.into_iter().zip(runs).map(|(rise, inverse)| rise * inverse).collect()
}
