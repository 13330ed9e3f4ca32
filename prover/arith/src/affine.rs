//! Affine additions that share inversions: about six multiplications a sum, where a mixed addition takes eleven.

use crate::multiply::Multiply;
use ark_ec::{
    AffineRepr,
    short_weierstrass::{Affine, SWCurveConfig},
};
use ark_ff::Field;

/// A point in affine coordinates of a curve y^2 = x^3 + b; the point at infinity is (0, 0), which is on no such curve with
/// b not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xy<F> {
    pub(crate) x: F,
    pub(crate) y: F,
}

impl<F: Field> Xy<F> {
    pub(crate) const INFINITY: Self = Self { x: F::ZERO, y: F::ZERO };

    pub(crate) fn is_infinity(&self) -> bool {
        self.x.is_zero() && self.y.is_zero()
    }

    pub(crate) fn to_affine<C: SWCurveConfig<BaseField = F>>(self) -> Affine<C> {
        if self.is_infinity() { Affine::identity() } else { Affine::new_unchecked(self.x, self.y) }
    }

    pub(crate) fn from_affine<C: SWCurveConfig<BaseField = F>>(affine: &Affine<C>) -> Self {
        affine.xy().map_or(Self::INFINITY, |(x, y)| Self { x, y })
    }
}

impl<F: Field> core::ops::Neg for Xy<F> {
    type Output = Self;
    fn neg(self) -> Self {
        Self { x: self.x, y: -self.y }
    }
}

/// How a sum is found, once its slope's denominator has been inverted.
#[derive(Clone, Copy)]
enum Case {
    /// By the chord through two points with different x.
    Chord,
    /// By the tangent at one point.
    Tangent,
    /// The left summand, because the right one is infinity.
    Left,
    /// The right summand, because the left one is infinity.
    Right,
    /// Infinity, because the summands are opposite.
    Cancel,
}

/// A block of additions that share one inversion. Buffers are kept from block to block.
///
/// Each addition is announced by [`Block::announce`], and after [`Block::invert`] finished by [`Sums::next`] with the same
/// summands, in the same order.
pub(crate) struct Block<F> {
    cases: Vec<Case>,
    denominators: Vec<F>,
    products: Vec<F>,
}

impl<F: Multiply> Block<F> {
    /// How many additions to share an inversion: enough to make it cheap, few enough to stay in a core's cache.
    pub(crate) const ADDITIONS: usize = 1 << 9;

    pub(crate) fn new() -> Self {
        let room = || Vec::with_capacity(Self::ADDITIONS);
        Self { cases: Vec::with_capacity(Self::ADDITIONS), denominators: room(), products: room() }
    }

    /// Starts the next block.
    pub(crate) fn clear(&mut self) {
        self.cases.clear();
        self.denominators.clear();
    }

    /// The number of additions announced.
    pub(crate) fn len(&self) -> usize {
        self.cases.len()
    }

    /// Announces the next addition.
    #[inline(always)]
    pub(crate) fn announce(&mut self, left: &Xy<F>, right: &Xy<F>) {
        let case = if left.is_infinity() {
            Case::Right
        } else if right.is_infinity() {
            Case::Left
        } else if left.x != right.x {
            self.denominators.push(right.x - left.x);
            Case::Chord
        } else if left.y == right.y && !left.y.is_zero() {
            self.denominators.push(left.y.double());
            Case::Tangent
        } else {
            Case::Cancel
        };
        self.cases.push(case);
    }

    /// Inverts all denominators, none of which is zero.
    pub(crate) fn invert(&mut self) -> Sums<'_, F> {
        invert_all(&mut self.denominators, &mut self.products);
        Sums { cases: self.cases.iter(), inverses: self.denominators.iter() }
    }
}

/// The sums of a block, one after the other.
pub(crate) struct Sums<'a, F> {
    cases: core::slice::Iter<'a, Case>,
    inverses: core::slice::Iter<'a, F>,
}

impl<F: Multiply> Sums<'_, F> {
    /// The sum of the next addition's summands.
    ///
    /// # Panics
    /// If fewer additions were announced.
    #[inline(always)]
    pub(crate) fn next(&mut self, left: &Xy<F>, right: &Xy<F>) -> Xy<F> {
        let numerator = match self.cases.next().expect("the addition was announced") {
            Case::Chord => right.y - left.y,
            Case::Tangent => {
                let square = left.x.squared();
                square.double() + square
            }
            Case::Left => return *left,
            Case::Right => return *right,
            Case::Cancel => return Xy::INFINITY,
        };
        let slope = numerator.times(self.inverses.next().expect("a chord or tangent announced its denominator"));
        let x = slope.squared() - left.x - right.x;
        Xy { x, y: slope.times(&(left.x - x)) - left.y }
    }
}

/// Replaces every element by its inverse; none may be zero. `products` is scratch.
fn invert_all<F: Multiply>(elements: &mut [F], products: &mut Vec<F>) {
    products.clear();
    let mut product = F::ONE;
    for element in elements.iter() {
        products.push(product);
        product = product.times(element);
    }
    let mut inverse = product.inverse().expect("a product of elements that are not zero is not zero");
    for (element, before) in elements.iter_mut().zip(products.iter()).rev() {
        let inverse_before = inverse.times(element);
        *element = inverse.times(before);
        inverse = inverse_before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::{Fr, G1Affine, g1};
    use ark_ec::CurveGroup;

    #[test]
    fn sums_of_equal_opposite_and_infinite_points() {
        let (p, q) = (G1Affine::generator(), (G1Affine::generator() * Fr::from(9u64)).into_affine());
        let zero = G1Affine::identity();
        let cases = [(p, q), (p, p), (p, -p), (p, zero), (zero, q), (zero, zero), (q, p)];
        let mut block = Block::new();
        for (left, right) in &cases {
            block.announce(&Xy::from_affine(left), &Xy::from_affine(right));
        }
        assert_eq!(block.len(), cases.len());
        let mut sums = block.invert();
        for (left, right) in cases {
            let sum = sums.next(&Xy::from_affine(&left), &Xy::from_affine(&right));
            assert_eq!(sum.to_affine::<g1::Config>(), (left + right).into_affine());
        }
    }

    #[test]
    fn an_empty_block_inverts_nothing() {
        let mut block = Block::<ark_bn254::Fq>::new();
        let _ = block.invert();
        assert_eq!(block.len(), 0);
    }
}
