//! One base times many scalars: what a setup computes.
//!
//! Scalars are cut into signed windows. A table holds every multiple that a window can ask for, so each window costs one
//! addition. Additions are affine: a block of sums is advanced together and shares one inversion, about six
//! multiplications a point where a projective sum takes eleven, and the results are affine without a last step.

use crate::{
    Point,
    affine::{Block, Xy},
    point::Field,
};
use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, CurveGroup,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::{AdditiveGroup, BigInteger, PrimeField};
use rayon::prelude::*;

/// How many sums share an inversion: enough to make it cheap, few enough to stay in the cache.
const BLOCK: usize = Block::<Fr>::ADDITIONS;

/// The table of multiples of one base.
#[derive(Debug)]
pub struct FixedBase<P: Point> {
    window_bits: u32,
    /// For each window w, the multiples 1 to 2^(window_bits - 1) of 2^(w * window_bits) times the base.
    windows: Vec<Vec<Xy<Field<P>>>>,
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
            let multiples = multiples.take(1 << (window_bits - 1)).collect::<Vec<_>>();
            Projective::normalize_batch(&multiples).iter().map(Xy::from_affine).collect()
        });
        Self { window_bits, windows: windows.collect() }
    }

    /// The base times each scalar.
    pub fn multiply(&self, scalars: &[Fr]) -> Vec<P> {
        scalars.par_chunks(BLOCK).flat_map_iter(|block| self.multiply_block(block)).collect()
    }

    fn multiply_block(&self, scalars: &[Fr]) -> impl Iterator<Item = P> + use<P> {
        let mut rests: Vec<_> = scalars.iter().map(|scalar| (scalar.into_bigint(), 0u64)).collect();
        let mut sums = vec![Xy::INFINITY; scalars.len()];
        let mut block = Block::new();
        let mut summands = Vec::with_capacity(scalars.len());
        for multiples in &self.windows {
            for (index, (rest, carry)) in rests.iter_mut().enumerate() {
                // The digit from -2^(bits - 1) to 2^(bits - 1) - 1 that is equal modulo 2^bits to what is left.
                let low = (rest.as_ref()[0] & ((1 << self.window_bits) - 1)) + *carry;
                *rest >>= self.window_bits;
                let half = 1u64 << (self.window_bits - 1);
                *carry = u64::from(low >= half);
                let summand = match low {
                    0 => continue,
                    low if low < half => multiples[low as usize - 1],
                    low if low == 2 * half => continue,
                    low => -multiples[(2 * half - low) as usize - 1],
                };
                block.announce(&sums[index], &summand);
                summands.push((index, summand));
            }
            let mut additions = block.invert();
            for (index, summand) in summands.drain(..) {
                sums[index] = additions.next(&sums[index], &summand);
            }
            block.clear();
        }
        debug_assert!(rests.iter().all(|(rest, carry)| rest.is_zero() && *carry == 0), "every bit was used");
        sums.into_iter().map(|sum| P::from_affine(&sum.to_affine()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1, G2};
    use ark_bn254::{G1Affine, G2Affine};
    use ark_ff::{Field as _, UniformRand};
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
}
