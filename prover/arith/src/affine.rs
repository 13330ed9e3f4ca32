//! Affine additions that share inversions: about six multiplications a sum, where a mixed addition takes eleven.

use crate::{Point, multiply::Multiply, point::Field};
use ark_ec::{
    AffineRepr,
    short_weierstrass::{Affine, SWCurveConfig},
};

/// A point in affine coordinates of a curve y^2 = x^3 + b; the point at infinity is (0, 0), which is on no such curve
/// with b not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xy<F> {
    pub(crate) x: F,
    pub(crate) y: F,
}

impl<F: Multiply> Xy<F> {
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

impl<F: Multiply> core::ops::Neg for Xy<F> {
    type Output = Self;
    fn neg(self) -> Self {
        Self { x: self.x, y: -self.y }
    }
}

/// An addition: two summands, whether each is to be negated, and the place of the sum.
#[derive(Clone, Copy)]
pub(crate) struct Addition<'a, T> {
    pub(crate) left: &'a T,
    pub(crate) right: &'a T,
    pub(crate) left_negated: bool,
    pub(crate) right_negated: bool,
    pub(crate) to: u32,
}

impl<'a, T> Addition<'a, T> {
    /// An addition of summands as they stand.
    #[inline(always)]
    pub(crate) fn plain(left: &'a T, right: &'a T, to: u32) -> Self {
        Self { left, right, left_negated: false, right_negated: false, to }
    }
}

/// What the summands of additions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summands {
    /// Points as they are given.
    Points,
    /// Sums as the adder stores them.
    Sums,
}

/// Adds points, many at a time. The summands may be equal, opposite or infinite.
pub(crate) trait Adder<P: Point>: Send {
    /// A sum, as its adder stores it.
    type Sum: Copy + Send + Sync + core::fmt::Debug;

    /// What both points and sums are read as.
    type Summand: 'static;

    /// The point at infinity.
    const INFINITY: Self::Sum;

    /// How many additions share an inversion: enough to make it cheap, few enough to stay in a core's cache.
    const BLOCK: usize;

    /// An adder, which keeps its buffers from call to call.
    fn new() -> Self;

    /// A point as a summand of [`Summands::Points`].
    fn of_point(point: &P) -> &Self::Summand;

    /// A sum as a summand of [`Summands::Sums`].
    fn of_sum(sum: &Self::Sum) -> &Self::Summand;

    /// A point, or its negative, as a sum.
    fn lift(point: &P, negated: bool) -> Self::Sum;

    /// A sum's coordinates.
    fn lower(sum: &Self::Sum) -> Xy<Field<P>>;

    /// Carries out additions.
    fn add(&mut self, summands: Summands, additions: &[Addition<'_, Self::Summand>], sums: &mut [Self::Sum]);
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

/// Adds points one after the other, on every processor.
pub(crate) struct PortableAdder<F> {
    cases: Vec<Case>,
    denominators: Vec<F>,
    products: Vec<F>,
}

impl<F: Multiply> PortableAdder<F> {
    /// Finds the case of the next addition and its denominator.
    #[inline(always)]
    fn announce(&mut self, left: &Xy<F>, right: &Xy<F>) {
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
}

/// How many additions before its turn a summand is asked for.
const PREFETCH_AHEAD: usize = 16;
const BLOCK: usize = 1 << 9;

/// The sum of two points, taking the inverse of its denominator if the case has one.
#[inline(always)]
fn sum<F: Multiply>(case: Case, left: &Xy<F>, right: &Xy<F>, inverses: &mut core::slice::Iter<'_, F>) -> Xy<F> {
    let numerator = match case {
        Case::Chord => right.y - left.y,
        Case::Tangent => {
            let square = left.x.squared();
            square.double() + square
        }
        Case::Left => return *left,
        Case::Right => return *right,
        Case::Cancel => return Xy::INFINITY,
    };
    let slope = numerator.times(inverses.next().expect("a chord or tangent announced its denominator"));
    let x = slope.squared() - left.x - right.x;
    Xy { x, y: slope.times(&(left.x - x)) - left.y }
}

impl<P: Point> Adder<P> for PortableAdder<Field<P>> {
    type Sum = P;
    type Summand = P;

    const INFINITY: P = P::INFINITY;
    const BLOCK: usize = BLOCK;

    fn new() -> Self {
        let room = || Vec::with_capacity(BLOCK);
        Self { cases: Vec::with_capacity(BLOCK), denominators: room(), products: room() }
    }

    #[inline(always)]
    fn of_point(point: &P) -> &P {
        point
    }

    #[inline(always)]
    fn of_sum(sum: &P) -> &P {
        sum
    }

    #[inline(always)]
    fn lift(point: &P, negated: bool) -> P {
        if negated { P::from_xy(&-point.xy()) } else { *point }
    }

    fn lower(sum: &P) -> Xy<Field<P>> {
        sum.xy()
    }

    fn add(&mut self, _: Summands, additions: &[Addition<'_, P>], sums: &mut [P]) {
        let read = |point: &P, negated| if negated { -point.xy() } else { point.xy() };
        for block in additions.chunks(BLOCK) {
            for (index, Addition { left, right, left_negated, right_negated, .. }) in block.iter().enumerate() {
                if let Some(later) = block.get(index + PREFETCH_AHEAD) {
                    prefetch(later.left, Cache::First);
                    prefetch(later.right, Cache::First);
                }
                self.announce(&read(left, *left_negated), &read(right, *right_negated));
            }
            invert_all(&mut self.denominators, &mut self.products);
            let mut inverses = self.denominators.iter();
            for (case, addition) in self.cases.iter().zip(block) {
                let left = read(addition.left, addition.left_negated);
                let right = read(addition.right, addition.right_negated);
                sums[addition.to as usize] = P::from_xy(&sum(*case, &left, &right, &mut inverses));
            }
            self.cases.clear();
            self.denominators.clear();
        }
    }
}

/// A core's caches, to one of which memory is asked for before its turn.
pub(crate) enum Cache {
    /// For what is read next.
    First,
    /// For what is read within a block of additions. Lines on their way to the first cache are few at a time, and
    /// whoever asks for one more waits.
    Second,
}

/// Asks for the cache lines of a value that is to be read soon.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(value: &T, cache: Cache) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..size_of::<T>().div_ceil(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let line = core::ptr::from_ref(value).cast::<i8>().wrapping_add(64 * line);
        // SAFETY: a prefetch reads nothing that the program sees and faults at no address.
        match cache {
            Cache::First => unsafe { _mm_prefetch::<_MM_HINT_T0>(line) },
            Cache::Second => unsafe { _mm_prefetch::<_MM_HINT_T1>(line) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, cache);
}

/// Replaces every element by its inverse; none may be zero. `products` is scratch.
pub(crate) fn invert_all<F: Multiply>(elements: &mut [F], products: &mut Vec<F>) {
    products.clear();
    let mut product = F::ONE;
    for element in elements.iter() {
        products.push(product);
        product = product.times(element);
    }
    let mut inverse = product.inverted().expect("a product of elements that are not zero is not zero");
    for (element, before) in elements.iter_mut().zip(products.iter()).rev() {
        let inverse_before = inverse.times(element);
        *element = inverse.times(before);
        inverse = inverse_before;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        G1, G2,
        lanes::{Unit, on_every_unit},
        point::InLanes,
    };
    use ark_bn254::{Fq, Fq2, Fr};
    use ark_ec::CurveGroup;

    /// Every pair of points with the logarithms -2 to 2, among which are equal, opposite and infinite ones, among
    /// enough others to take several blocks.
    fn adds_every_pair<P: Point, A: Adder<P>>(pairs: usize) {
        let logs: Vec<i64> = [-2, -1, 0, 1, 2].into_iter().chain(3..30).collect();
        let multiple = multiples::<P>();
        let points: Vec<P> = logs.iter().map(|log| multiple(*log)).collect();
        let few = (0..5).flat_map(|left| (0..5).map(move |right| (left, right)));
        let many = (0..).map(|i| (i * 7 % 27 + 5, i * 11 % 26 + 5));
        let pairs: Vec<(usize, usize)> = many.take(pairs).chain(few).collect();
        let addition = |to: usize| {
            let (left, right) = pairs[to];
            Addition::plain(A::of_point(&points[left]), A::of_point(&points[right]), to as u32)
        };
        let additions: Vec<_> = (0..pairs.len()).map(addition).collect();
        let mut adder = A::new();
        let mut sums = vec![A::INFINITY; pairs.len()];
        adder.add(Summands::Points, &additions, &mut sums);
        let expected = |i: usize| logs[pairs[i].0] + logs[pairs[i].1];
        for (i, sum) in sums.iter().enumerate() {
            assert_eq!(P::from_xy(&A::lower(sum)), multiple(expected(i)), "{} and {}", pairs[i].0, pairs[i].1);
        }
        // The differences of points and sums, negated on either side, and of points alone.
        let lifted: Vec<A::Sum> = points.iter().map(|point| A::lift(point, true)).collect();
        for negated in [false, true] {
            let addition = |i: usize| {
                let (left, right) = (A::of_sum(&sums[i]), A::of_sum(&lifted[i % lifted.len()]));
                Addition {
                    left,
                    right,
                    left_negated: negated,
                    right_negated: negated,
                    to: (pairs.len() - 1 - i) as u32,
                }
            };
            let additions: Vec<_> = (0..sums.len()).map(addition).collect();
            let mut again = vec![A::INFINITY; pairs.len()];
            adder.add(Summands::Sums, &additions, &mut again);
            for (i, sum) in again.iter().rev().enumerate() {
                let expected = expected(i) - logs[i % logs.len()];
                let expected = multiple(if negated { -expected } else { expected });
                assert_eq!(P::from_xy(&A::lower(sum)), expected, "sum {i}");
            }
        }
        let few: Vec<_> = (0..5).flat_map(|left| (0..5).map(move |right| (left, right))).collect();
        let addition = |(to, (left, right)): (usize, &(usize, usize))| Addition {
            left: A::of_point(&points[*left]),
            right: A::of_point(&points[*right]),
            left_negated: to % 2 == 0,
            right_negated: to % 3 == 0,
            to: to as u32,
        };
        let additions: Vec<_> = few.iter().enumerate().map(addition).collect();
        adder.add(Summands::Points, &additions, &mut sums);
        for (to, (left, right)) in few.iter().enumerate() {
            let sign = |negated: bool| if negated { -1 } else { 1 };
            let expected = sign(to % 2 == 0) * logs[*left] + sign(to % 3 == 0) * logs[*right];
            assert_eq!(P::from_xy(&A::lower(&sums[to])), multiple(expected));
        }
    }

    /// The multiples of the generator by -128 to 128.
    fn multiples<P: Point>() -> impl Fn(i64) -> P {
        let generator = Affine::<P::Config>::generator();
        let first = generator * -Fr::from(128u64);
        let multiples = core::iter::successors(Some(first), |multiple| Some(*multiple + generator));
        let multiples: Vec<P> = multiples.take(257).map(|multiple| P::from_affine(&multiple.into_affine())).collect();
        move |log| multiples[(log + 128) as usize]
    }

    #[test]
    fn sums_of_equal_opposite_and_infinite_points() {
        adds_every_pair::<G1, PortableAdder<Fq>>(3 * BLOCK);
        adds_every_pair::<G2, PortableAdder<Fq2>>(BLOCK);
    }

    #[test]
    fn sums_of_equal_opposite_and_infinite_points_in_lanes() {
        fn on<U: Unit>() {
            adds_every_pair::<G1, <G1 as InLanes>::Adder<U>>(5000);
            adds_every_pair::<G2, <G2 as InLanes>::Adder<U>>(3000);
            for pairs in 0..3 {
                adds_every_pair::<G1, <G1 as InLanes>::Adder<U>>(pairs);
            }
        }
        on_every_unit!(on);
    }
}
