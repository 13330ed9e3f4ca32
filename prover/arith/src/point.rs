//! Points as plain data: the coordinates' Montgomery limbs, little-endian, the point at infinity as zeros.
//!
//! (0, 0) is on neither curve, so zeros stand for infinity alone. The types have no padding and no invalid bit
//! patterns, so a slice of them can be a view of a mapped file; whether the bytes are points of the curve is for the
//! file's digests to say.

use crate::{
    Backend, Scalars,
    affine::{Adder, Xy},
    fixed_base::{self, BatchMul},
    lanes::{Unit, additions::LaneAdder},
    msm,
    multiply::Multiply,
};
use ark_bn254::{Fq, Fq2, Fr, g1, g2};
use ark_ec::{
    CurveConfig,
    short_weierstrass::{Affine, Projective, SWCurveConfig},
};
use ark_ff::BigInt;
use bytemuck::{Pod, Zeroable};

/// A point of G1: 64 bytes, a cache line, x then y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct G1 {
    x: [u64; 4],
    y: [u64; 4],
}

/// A point of G2: 128 bytes, x then y, of each the coefficient of 1 then that of u.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct G2 {
    x: [[u64; 4]; 2],
    y: [[u64; 4]; 2],
}

/// What both groups' points can do.
pub trait Point: Pod + PartialEq + Send + Sync + core::fmt::Debug {
    /// The curve.
    type Config: SWCurveConfig<ScalarField = Fr, BaseField: Coordinate>;

    /// The point at infinity.
    const INFINITY: Self;

    /// The coordinates, zeros for infinity.
    #[doc(hidden)]
    fn xy(&self) -> Xy<Field<Self>>;

    /// The point as arkworks has it.
    fn to_affine(&self) -> Affine<Self::Config> {
        self.xy().to_affine()
    }

    /// The point of the coordinates.
    #[doc(hidden)]
    fn from_xy(xy: &Xy<Field<Self>>) -> Self;

    /// [`crate::msm`] on a back end.
    #[doc(hidden)]
    fn msm(backend: Backend, bases: &[Self], scalars: Scalars<'_>) -> Projective<Self::Config>;

    /// [`crate::batch_mul`] on a back end.
    #[doc(hidden)]
    fn batch_mul(backend: Backend, work: &BatchMul<'_, Self>) -> Vec<Vec<Self>>;

    /// The point as plain data.
    fn from_affine(affine: &Affine<Self::Config>) -> Self {
        Self::from_xy(&Xy::from_affine(affine))
    }

    /// Whether this is the point at infinity.
    fn is_infinity(&self) -> bool {
        *self == Self::INFINITY
    }
}

/// What adds a group's points in lanes. The kernels are generic over it, and compiled here, for both groups.
pub(crate) trait InLanes: Point {
    /// The adder on a unit.
    type Adder<U: Unit>: Adder<Self>;
}

impl InLanes for G1 {
    type Adder<U: Unit> = LaneAdder<U, 1>;
}

impl InLanes for G2 {
    type Adder<U: Unit> = LaneAdder<U, 2>;
}

/// The field of a point's coordinates.
pub(crate) type Field<P> = <<P as Point>::Config as CurveConfig>::BaseField;

/// A field of coordinates, as words: of each component the Montgomery form's four, the lowest first.
pub trait Coordinate: Multiply {
    /// How many components an element has.
    #[doc(hidden)]
    const COMPONENTS: usize;

    /// The element of the components' words, each a number below p.
    #[doc(hidden)]
    fn from_words(component: impl Fn(usize) -> [u64; 4]) -> Self;

    /// The words of a component.
    #[doc(hidden)]
    fn words(&self, component: usize) -> [u64; 4];
}

impl Coordinate for Fq {
    const COMPONENTS: usize = 1;

    #[inline(always)]
    fn from_words(component: impl Fn(usize) -> [u64; 4]) -> Self {
        Self::new_unchecked(BigInt::new(component(0)))
    }

    #[inline(always)]
    fn words(&self, _: usize) -> [u64; 4] {
        self.0.0
    }
}

impl Coordinate for Fq2 {
    const COMPONENTS: usize = 2;

    #[inline(always)]
    fn from_words(component: impl Fn(usize) -> [u64; 4]) -> Self {
        Self::new(Fq::from_words(|_| component(0)), Fq::from_words(|_| component(1)))
    }

    #[inline(always)]
    fn words(&self, component: usize) -> [u64; 4] {
        [self.c0, self.c1][component].words(0)
    }
}

impl Point for G1 {
    type Config = g1::Config;
    const INFINITY: Self = Self { x: [0; 4], y: [0; 4] };

    #[inline(always)]
    fn xy(&self) -> Xy<Fq> {
        Xy { x: Fq::from_words(|_| self.x), y: Fq::from_words(|_| self.y) }
    }

    fn msm(backend: Backend, bases: &[Self], scalars: Scalars<'_>) -> Projective<g1::Config> {
        msm::msm_on(backend, bases, scalars)
    }

    fn batch_mul(backend: Backend, work: &BatchMul<'_, Self>) -> Vec<Vec<Self>> {
        fixed_base::batch_mul_on(backend, work)
    }

    fn from_xy(xy: &Xy<Fq>) -> Self {
        Self { x: xy.x.words(0), y: xy.y.words(0) }
    }
}

impl Point for G2 {
    type Config = g2::Config;
    const INFINITY: Self = Self { x: [[0; 4]; 2], y: [[0; 4]; 2] };

    #[inline(always)]
    fn xy(&self) -> Xy<Fq2> {
        Xy { x: Fq2::from_words(|i| self.x[i]), y: Fq2::from_words(|i| self.y[i]) }
    }

    fn msm(backend: Backend, bases: &[Self], scalars: Scalars<'_>) -> Projective<g2::Config> {
        msm::msm_on(backend, bases, scalars)
    }

    fn batch_mul(backend: Backend, work: &BatchMul<'_, Self>) -> Vec<Vec<Self>> {
        fixed_base::batch_mul_on(backend, work)
    }

    fn from_xy(xy: &Xy<Fq2>) -> Self {
        Self { x: [0, 1].map(|i| xy.x.words(i)), y: [0, 1].map(|i| xy.y.words(i)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::{G1Affine, G2Affine};
    use ark_ec::{AffineRepr, CurveGroup};
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
