//! Points as bytes: the compressed form of arkworks, without the point at infinity.

use super::pairing::Lines;
use alloc::{borrow::Cow, vec::Vec};
use ark_bn254::{Fq, Fq2, G1Affine, G2Affine};
use ark_ec::{AffineRepr, short_weierstrass::SWCurveConfig};
use ark_ff::{AdditiveGroup, BigInt, Field, MontFp, PrimeField, Zero};

/// Why bytes or coordinates are no point that a proof or a key may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointError {
    /// A coordinate is not below the order of its field.
    #[error("a coordinate is not canonical")]
    NotCanonical,
    /// No point of the curve has these coordinates.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The point has a component outside the subgroup of prime order.
    #[error("the point is not in the subgroup of prime order")]
    NotInSubgroup,
    /// The point is the point at infinity.
    #[error("the point at infinity has no place in a proof or a key")]
    Infinity,
}

/// Set in the last byte iff y is the larger of y and -y.
const FLAG_LARGER: u8 = 0x80;
/// Set in the last byte of the point at infinity.
const FLAG_INFINITY: u8 = 0x40;

/// A point of G2 and the lines of its pairings, which are also what shows that it is in the subgroup.
#[derive(Clone)]
pub(super) struct PointG2 {
    pub(super) point: G2Affine,
    /// None once they are released.
    lines: Option<Lines>,
}

impl PartialEq for PointG2 {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

impl Eq for PointG2 {}

impl core::fmt::Debug for PointG2 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&self.point, f)
    }
}

/// Checks that a point is on the curve, which on G1 is all of the subgroup.
pub(super) fn check_g1(point: &G1Affine) -> Result<(), PointError> {
    if point.is_zero() {
        return Err(PointError::Infinity);
    }
    if point.is_on_curve() { Ok(()) } else { Err(PointError::NotOnCurve) }
}

impl PointG2 {
    /// Checks points together, which is faster than one by one.
    pub(super) fn check_all(points: &[G2Affine]) -> Vec<Result<Self, PointError>> {
        let on_curve = |point: &G2Affine| {
            if point.is_zero() {
                return Err(PointError::Infinity);
            }
            if point.is_on_curve() { Ok(*point) } else { Err(PointError::NotOnCurve) }
        };
        Self::check_subgroup(points.iter().map(on_curve).collect())
    }

    /// Decodes points together, which is faster than one by one.
    pub(super) fn decode_all<'a>(encoded: impl Iterator<Item = &'a [u8; 64]>) -> Vec<Result<Self, PointError>> {
        Self::check_subgroup(encoded.map(g2_from_bytes).collect())
    }

    /// The lines, computed anew if they were released.
    pub(super) fn lines(&self) -> Cow<'_, Lines> {
        self.lines.as_ref().map_or_else(
            || Cow::Owned(Lines::of_one(&self.point).expect("the point was found to be in the subgroup")),
            Cow::Borrowed,
        )
    }

    /// Gives the memory of the lines back.
    pub(super) fn release_lines(&mut self) {
        self.lines = None;
    }

    /// Checks points of the curve; errors stay where they are.
    fn check_subgroup(points: Vec<Result<G2Affine, PointError>>) -> Vec<Result<Self, PointError>> {
        let on_curve: Vec<_> = points.iter().flatten().copied().collect();
        let mut lines = Lines::of_all(&on_curve).into_iter();
        let check = |point: Result<G2Affine, PointError>| {
            let point = point?;
            let lines = lines.next().flatten().ok_or(PointError::NotInSubgroup)?;
            Ok(Self { point, lines: Some(lines) })
        };
        points.into_iter().map(check).collect()
    }
}

/// Encodes x, 32 bytes, little-endian, with the flag of y.
pub(super) fn g1_to_bytes(point: &G1Affine) -> [u8; 32] {
    let mut bytes = fq_to_bytes(&point.x);
    if point.y > -point.y {
        bytes[31] |= FLAG_LARGER;
    }
    bytes
}

/// Decodes what [`g1_to_bytes`] encodes.
pub(super) fn g1_from_bytes(bytes: &[u8; 32]) -> Result<G1Affine, PointError> {
    let (bytes, larger) = split_flag(bytes)?;
    let x = fq_from_bytes(&bytes)?;
    let y_squared = x.square() * x + ark_bn254::g1::Config::COEFF_B;
    let y = sqrt_fq(&y_squared).ok_or(PointError::NotOnCurve)?;
    Ok(G1Affine::new_unchecked(x, if (y > -y) == larger { y } else { -y }))
}

/// Encodes c0 then c1 of x, 32 bytes each, little-endian, with the flag of y in the last byte.
pub(super) fn g2_to_bytes(point: &G2Affine) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&fq_to_bytes(&point.x.c0));
    bytes[32..].copy_from_slice(&fq_to_bytes(&point.x.c1));
    if point.y > -point.y {
        bytes[63] |= FLAG_LARGER;
    }
    bytes
}

/// Decodes what [`g2_to_bytes`] encodes to a point of the curve, not yet known to be in the subgroup.
pub(super) fn g2_from_bytes(bytes: &[u8; 64]) -> Result<G2Affine, PointError> {
    let ([c0, c1], []) = bytes.as_chunks::<32>() else { unreachable!("64 bytes are two chunks of 32") };
    let (c1, larger) = split_flag(c1)?;
    let x = Fq2::new(fq_from_bytes(c0)?, fq_from_bytes(&c1)?);
    let y_squared = x.square() * x + ark_bn254::g2::Config::COEFF_B;
    let y = sqrt_fq2(&y_squared).ok_or(PointError::NotOnCurve)?;
    Ok(G2Affine::new_unchecked(x, if (y > -y) == larger { y } else { -y }))
}

/// Takes the flags from the last byte, and tells whether y is the larger root.
fn split_flag(bytes: &[u8; 32]) -> Result<([u8; 32], bool), PointError> {
    let mut bytes = *bytes;
    let flags = bytes[31] & (FLAG_LARGER | FLAG_INFINITY);
    bytes[31] ^= flags;
    if flags & FLAG_INFINITY != 0 {
        return Err(PointError::Infinity);
    }
    Ok((bytes, flags == FLAG_LARGER))
}

fn fq_to_bytes(element: &Fq) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (out, limb) in bytes.chunks_exact_mut(8).zip(element.into_bigint().0) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

fn fq_from_bytes(bytes: &[u8; 32]) -> Result<Fq, PointError> {
    let mut limbs = [0; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *limb = u64::from_le_bytes(*chunk);
    }
    Fq::from_bigint(BigInt::new(limbs)).ok_or(PointError::NotCanonical)
}

/// Bits of the exponent that one multiplication of [`pow_quarter`] takes.
const WINDOW_BITS: usize = 4;

/// The inverse of 2: (p + 1) / 2.
const HALF: Fq = MontFp!("10944121435919637611123202872628637544348155578648911831344518947322613104292");

/// Raises to (p - 3) / 4, the exponent that square roots and their inverses share, p being 3 modulo 4.
fn pow_quarter(base: &Fq) -> Fq {
    let exponent = Fq::MODULUS >> 2;
    let mut powers = [Fq::ONE; 1 << WINDOW_BITS];
    for i in 1..powers.len() {
        powers[i] = powers[i - 1] * base;
    }
    let mut power = Fq::ONE;
    for limb in exponent.0.iter().rev() {
        for shift in (0..u64::BITS as usize).step_by(WINDOW_BITS).rev() {
            for _ in 0..WINDOW_BITS {
                power.square_in_place();
            }
            power *= powers[(limb >> shift) as usize % powers.len()];
        }
    }
    power
}

/// One square root, if there is any.
fn sqrt_fq(square: &Fq) -> Option<Fq> {
    let root = pow_quarter(square) * square;
    (root.square() == *square).then_some(root)
}

/// One square root, if there is any, by the complex method (ePrint 2012/685, algorithm 8).
///
/// With n the root of the norm, (c0 + n) / 2 and (c0 - n) / 2 have product -(c1 / 2)^2. As -1 is no square, one of
/// them is a square, s^2, and the root is s + c1 / (2 s) u. For d the first of them and w = d^((p - 3) / 4), d w is a
/// root of d or of -d, and w or -w is the inverse of that root: one exponentiation gives s and 1 / s.
pub(super) fn sqrt_fq2(square: &Fq2) -> Option<Fq2> {
    let norm = square.c0.square() + square.c1.square();
    let d = (square.c0 + sqrt_fq(&norm)?) * HALF;
    let w = pow_quarter(&d);
    let s = d * w;
    let other = square.c1 * HALF * w;
    let root = if s.square() == d { Fq2::new(s, other) } else { Fq2::new(-other, s) };
    if root.square() == *square {
        return Some(root);
    }
    sqrt_of_base_element(square)
}

/// The square root of an element of Fq, which has d = 0 in the complex method when it is no square in Fq.
fn sqrt_of_base_element(square: &Fq2) -> Option<Fq2> {
    if !square.c1.is_zero() {
        return None;
    }
    match sqrt_fq(&square.c0) {
        Some(root) => Some(Fq2::new(root, Fq::ZERO)),
        None => sqrt_fq(&-square.c0).map(|root| Fq2::new(Fq::ZERO, root)),
    }
}
