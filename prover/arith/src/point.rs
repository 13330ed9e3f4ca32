//! Points as plain data: the coordinates' Montgomery limbs, little-endian, the point at infinity as zeros.
//!
//! (0, 0) is on neither curve, so zeros stand for infinity alone. The types have no padding and no invalid bit
//! patterns, so a slice of them can be a view of a mapped file; whether the bytes are points of the curve is for the
//! file's digests to say.

use crate::{affine::Xy, multiply::Multiply};
use ark_bn254::{Fq, Fq2, Fr, g1, g2};
use ark_ec::{
    AffineRepr, CurveConfig,
    short_weierstrass::{Affine, SWCurveConfig},
};
use ark_ff::{AdditiveGroup, BigInt};
use bytemuck::{Pod, Zeroable};

/// A point of G1: 64 bytes, x then y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct G1 {
    x: [u64; 4],
    y: [u64; 4],
}

/// A point of G2: 128 bytes, x then y, of each the coefficient of 1 then that of u.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct G2 {
    x: [[u64; 4]; 2],
    y: [[u64; 4]; 2],
}

/// What both groups' points can do.
pub trait Point: Pod + PartialEq + Send + Sync + core::fmt::Debug {
    /// The curve.
    type Config: SWCurveConfig<ScalarField = Fr, BaseField: Multiply>;

    /// The coordinates, zeros for infinity.
    #[doc(hidden)]
    fn xy(&self) -> Xy<Field<Self>>;

    /// The point as arkworks has it.
    fn to_affine(&self) -> Affine<Self::Config> {
        self.xy().to_affine()
    }

    /// The point as plain data.
    fn from_affine(affine: &Affine<Self::Config>) -> Self;

    /// Whether this is the point at infinity.
    fn is_infinity(&self) -> bool {
        *self == Self::zeroed()
    }
}

/// The field of a point's coordinates.
pub(crate) type Field<P> = <<P as Point>::Config as CurveConfig>::BaseField;

fn element(limbs: [u64; 4]) -> Fq {
    Fq::new_unchecked(BigInt::new(limbs))
}

fn element2(limbs: [[u64; 4]; 2]) -> Fq2 {
    Fq2::new(element(limbs[0]), element(limbs[1]))
}

fn limbs2(element: Fq2) -> [[u64; 4]; 2] {
    [element.c0.0.0, element.c1.0.0]
}

impl Point for G1 {
    type Config = g1::Config;

    #[inline(always)]
    fn xy(&self) -> Xy<Fq> {
        Xy { x: element(self.x), y: element(self.y) }
    }

    fn from_affine(affine: &Affine<g1::Config>) -> Self {
        let (x, y) = affine.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
        Self { x: x.0.0, y: y.0.0 }
    }
}

impl Point for G2 {
    type Config = g2::Config;

    #[inline(always)]
    fn xy(&self) -> Xy<Fq2> {
        Xy { x: element2(self.x), y: element2(self.y) }
    }

    fn from_affine(affine: &Affine<g2::Config>) -> Self {
        let (x, y) = affine.xy().unwrap_or((Fq2::ZERO, Fq2::ZERO));
        Self { x: limbs2(x), y: limbs2(y) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::{G1Affine, G2Affine};
    use ark_ec::CurveGroup;
    use ark_ff::{Field, PrimeField};

    #[test]
    fn layout_is_limbs_in_order_and_converts_back() {
        let point = (G2Affine::generator() * Fr::from(7u64)).into_affine();
        let raw = G2::from_affine(&point);
        assert_eq!(raw.to_affine(), point);
        let bytes: &[u8] = bytemuck::bytes_of(&raw);
        assert_eq!(bytes.len(), 128);
        // The third coordinate is the coefficient of 1 in y, in Montgomery form: times 2^256.
        let radix = Fq::from(2u64).pow([256]);
        let expected: Vec<u8> = (point.y.c0 * radix).into_bigint().0.iter().flat_map(|l| l.to_le_bytes()).collect();
        assert_eq!(bytes[64..96], expected);

        let point = (G1Affine::generator() * Fr::from(7u64)).into_affine();
        assert_eq!(G1::from_affine(&point).to_affine(), point);
        assert_eq!(size_of::<G1>(), 64);
    }

    #[test]
    fn zeros_are_infinity() {
        assert!(G1::zeroed().is_infinity() && G1::zeroed().to_affine().is_zero());
        assert!(G2::zeroed().is_infinity() && G2::zeroed().to_affine().is_zero());
        assert_eq!(G1::from_affine(&G1Affine::zero()), G1::zeroed());
        assert_eq!(G2::from_affine(&G2Affine::zero()), G2::zeroed());
    }
}
