//! One base times many scalars: what a setup computes.
//!
//! Scalars are cut into signed windows. A table holds every multiple that a window can ask for, so each window costs one
//! addition. Additions are affine: a block of sums is advanced together and shares one inversion, about six
//! multiplications a point where a projective sum takes eleven, and the results are affine without a last step.

use crate::{Point, batch_inverse_serial};
use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, CurveConfig, CurveGroup,
    short_weierstrass::{Affine, Projective, SWCurveConfig},
};
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField, Zero};
use rayon::prelude::*;

/// How many sums share an inversion: enough to make it cheap, few enough to stay in the cache.
const BLOCK: usize = 1 << 10;

/// The table of multiples of one base.
#[derive(Debug)]
pub struct FixedBase<P: Point> {
    window_bits: u32,
    /// For each window w, the multiples 1 to 2^(window_bits - 1) of 2^(w * window_bits) times the base.
    windows: Vec<Vec<Affine<P::Config>>>,
}

impl<P: Point> FixedBase<P> {
    /// Makes the table, sized for multiplying about `count` scalars.
    pub fn new(base: &Affine<P::Config>, count: usize) -> Self {
        // The table costs 2^(window_bits - 1) additions a window, each scalar one: balanced when the former is a small part of
        // the latter. Above 13 bits, one window's table no longer fits in a core's cache.
        let window_bits = (usize::BITS - count.leading_zeros()).saturating_sub(4).clamp(3, 13);
        // One bit beyond the scalars' takes the last window's carry.
        let window_count = (Fr::MODULUS_BIT_SIZE + 1).div_ceil(window_bits);
        let firsts = core::iter::successors(Some(base.into_group()), |first| {
            Some((0..window_bits).fold(*first, |power, _| power.double()))
        });
        let firsts = Projective::normalize_batch(&firsts.take(window_count as usize).collect::<Vec<_>>());
        let windows = firsts.par_iter().map(|first| {
            let multiples = core::iter::successors(Some(first.into_group()), |multiple| Some(*multiple + first));
            Projective::normalize_batch(&multiples.take(1 << (window_bits - 1)).collect::<Vec<_>>())
        });
        Self { window_bits, windows: windows.collect() }
    }

    /// The base times each scalar.
    pub fn multiply(&self, scalars: &[Fr]) -> Vec<P> {
        scalars.par_chunks(BLOCK).flat_map_iter(|block| self.multiply_block(block)).collect()
    }

    fn multiply_block(&self, scalars: &[Fr]) -> impl Iterator<Item = P> + use<P> {
        let mut rests: Vec<_> = scalars.iter().map(|scalar| (scalar.into_bigint(), 0u64)).collect();
        let mut sums = Sums::new(scalars.len());
        for multiples in &self.windows {
            for (index, (rest, carry)) in rests.iter_mut().enumerate() {
                // The digit from -2^(bits - 1) to 2^(bits - 1) - 1 that is equal modulo 2^bits to what is left.
                let low = (rest.as_ref()[0] & ((1 << self.window_bits) - 1)) + *carry;
                *rest >>= self.window_bits;
                let half = 1u64 << (self.window_bits - 1);
                *carry = u64::from(low >= half);
                match low {
                    0 => {}
                    low if low < half => sums.add(index, multiples[low as usize - 1]),
                    low if low == 2 * half => {}
                    low => sums.add(index, -multiples[(2 * half - low) as usize - 1]),
                }
            }
            sums.finish_round();
        }
        debug_assert!(rests.iter().all(|(rest, carry)| rest.is_zero() && *carry == 0), "every bit was used");
        sums.sums.into_iter().map(|sum| P::from_affine(&sum))
    }
}

/// Affine sums that advance together: each takes at most one summand a round, and a round shares one inversion.
struct Sums<C: SWCurveConfig> {
    sums: Vec<Affine<C>>,
    pending: Vec<Pending<C>>,
    denominators: Vec<C::BaseField>,
    running: Vec<C::BaseField>,
}

/// A sum whose slope still lacks its denominator.
struct Pending<C: CurveConfig> {
    index: usize,
    numerator: C::BaseField,
    summand_x: C::BaseField,
}

impl<C: SWCurveConfig> Sums<C> {
    fn new(count: usize) -> Self {
        debug_assert!(C::COEFF_A.is_zero(), "the slope of the tangent below is that of a curve with a = 0");
        let (pending, denominators, running) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        Self { sums: vec![Affine::zero(); count], pending, denominators, running }
    }

    fn add(&mut self, index: usize, summand: Affine<C>) {
        let sum = self.sums[index];
        if summand.is_zero() {
            return;
        }
        if sum.is_zero() {
            self.sums[index] = summand;
            return;
        }
        let (numerator, denominator) = if sum.x != summand.x {
            (summand.y - sum.y, summand.x - sum.x)
        } else if sum.y == summand.y {
            let x_squared = sum.x.square();
            (x_squared.double() + x_squared, sum.y.double())
        } else {
            self.sums[index] = Affine::zero();
            return;
        };
        self.pending.push(Pending { index, numerator, summand_x: summand.x });
        self.denominators.push(denominator);
    }

    fn finish_round(&mut self) {
        batch_inverse_serial(&mut self.denominators, &mut self.running);
        for (pending, inverse) in self.pending.drain(..).zip(self.denominators.drain(..)) {
            let sum = &mut self.sums[pending.index];
            let slope = pending.numerator * inverse;
            let x = slope.square() - sum.x - pending.summand_x;
            sum.y = slope * (sum.x - x) - sum.y;
            sum.x = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1, G2};
    use ark_bn254::{G1Affine, G2Affine, g1};
    use ark_ff::UniformRand;
    use rand::SeedableRng;

    fn scalars(count: usize) -> Vec<Fr> {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(11);
        let half = Fr::from((Fr::MODULUS_MINUS_ONE_DIV_TWO).0[0]);
        let special = [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(4095u64), Fr::from(4096u64), Fr::from(8192u64), half];
        special.into_iter().chain(core::iter::repeat_with(|| Fr::rand(&mut rng))).take(count).collect()
    }

    #[test]
    fn agrees_with_multiplication_at_every_window_size() {
        let base = (G1Affine::generator() * Fr::from(5u64)).into_affine();
        let scalars = scalars(BLOCK + 30);
        let expected: Vec<G1Affine> = scalars.iter().map(|scalar| (base * scalar).into_affine()).collect();
        for count in [0, 1 << 8, 1 << 11, 1 << 14, 1 << 30] {
            let products = FixedBase::<G1>::new(&base, count).multiply(&scalars);
            assert!(products.iter().map(G1::to_affine).eq(expected.iter().copied()), "table for {count}");
        }
        let products = FixedBase::<G2>::new(&G2Affine::generator(), 100).multiply(&scalars[..100]);
        for (product, scalar) in products.iter().zip(&scalars) {
            assert_eq!(product.to_affine(), (G2Affine::generator() * scalar).into_affine());
        }
    }

    #[test]
    fn sums_of_equal_and_opposite_points() {
        let (p, q) = (G1Affine::generator(), (G1Affine::generator() * Fr::from(9u64)).into_affine());
        let cases = [(p, q), (p, p), (p, -p), (p, G1Affine::zero()), (G1Affine::zero(), q)];
        let mut sums = Sums::<g1::Config>::new(cases.len());
        cases.iter().enumerate().for_each(|(i, (left, _))| sums.add(i, *left));
        sums.finish_round();
        cases.iter().enumerate().for_each(|(i, (_, right))| sums.add(i, *right));
        sums.finish_round();
        for (sum, (left, right)) in sums.sums.iter().zip(cases) {
            assert_eq!(*sum, (left + right).into_affine());
        }
    }
}
