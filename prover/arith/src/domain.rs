//! The roots of unity of order 2^k and the polynomials over them.

use crate::{Backend, transform::ToOddCoset};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, FftField, Field, One, Zero};
use rayon::prelude::*;

/// The roots of unity of order n = 2^k.
///
/// The *odd coset* are the n odd powers of the root of order 2n that squares to this domain's generator: together
/// with the domain they are the domain of twice the size.
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    log_size: u32,
}

impl Domain {
    /// The greatest k: the field has roots of order 2^28, and the odd coset takes those of order 2^(k + 1).
    pub const LOG_SIZE_MAX: u32 = Fr::TWO_ADICITY - 1;

    /// The smallest domain of at least `size_min` roots, or `None` if the field has too few.
    pub fn new(size_min: usize) -> Option<Self> {
        let log_size = size_min.checked_next_power_of_two()?.ilog2();
        (log_size <= Self::LOG_SIZE_MAX).then_some(Self { log_size })
    }

    /// The number of roots.
    pub fn size(&self) -> usize {
        1 << self.log_size
    }

    /// The binary logarithm of the number of roots.
    pub fn log_size(&self) -> u32 {
        self.log_size
    }

    /// Takes vectors of values on the domain, in natural order, to those of the same polynomials on the odd coset. A
    /// shorter vector is filled with zeros.
    ///
    /// # Panics
    /// If a vector is longer than the domain.
    pub fn to_odd_coset<const N: usize>(&self, vectors: [&mut Vec<Fr>; N]) {
        let transform = ToOddCoset::new(Backend::current(), self.size());
        vectors.into_par_iter().for_each(|values| {
            assert!(values.len() <= self.size(), "{} values for a domain of {}", values.len(), self.size());
            values.resize(self.size(), Fr::ZERO);
            transform.apply(values);
        });
    }

    /// The values at `point` of the domain's Lagrange polynomials, or `None` if the point is a root of the domain.
    pub fn lagrange_at(&self, point: Fr) -> Option<Vec<Fr>> {
        Self::lagrange(self.size(), 1, point)
    }

    /// The values at `point` of those Lagrange polynomials of the domain of twice the size that belong to the odd
    /// coset, or `None` if the point is a root of that domain.
    pub fn odd_lagrange_at(&self, point: Fr) -> Option<Vec<Fr>> {
        Self::lagrange(2 * self.size(), 2, point)
    }

    /// L_i(x) = (x^n - 1) w^i / (n (x - w^i)) on n roots: every i, or with a step of 2 the odd ones.
    fn lagrange(size: usize, step: usize, point: Fr) -> Option<Vec<Fr>> {
        let root = Fr::get_root_of_unity(size as u64)?;
        let vanishing = point.pow([size as u64]) - Fr::one();
        if vanishing.is_zero() {
            return None;
        }
        let factor = vanishing * Fr::from(size as u64).inverse()?;
        let root_step = root.pow([step as u64]);
        let powers = |block: usize| {
            let first = root.pow([(step * block * BLOCK + step - 1) as u64]);
            core::iter::successors(Some(first), move |power| Some(*power * root_step))
        };
        let mut values = vec![Fr::zero(); size / step];
        values.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
            values.iter_mut().zip(powers(block)).for_each(|(value, power)| *value = point - power);
        });
        ark_ff::batch_inversion(&mut values);
        values.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
            values.iter_mut().zip(powers(block)).for_each(|(value, power)| *value *= factor * power);
        });
        Some(values)
    }
}

/// How many powers of a root one task steps through.
const BLOCK: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::UniformRand;
    use rand::SeedableRng;

    fn rng() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::seed_from_u64(7)
    }

    fn evaluate(coefficients: &[Fr], point: Fr) -> Fr {
        coefficients.iter().rev().fold(Fr::zero(), |sum, coefficient| sum * point + coefficient)
    }

    #[test]
    fn short_vectors_are_filled_with_zeros() {
        let domain = Domain::new(5).expect("a small domain");
        assert_eq!((domain.size(), domain.log_size()), (8, 3));
        let (mut short, mut long) = (vec![Fr::one(); 5], [vec![Fr::one(); 5], vec![Fr::ZERO; 3]].concat());
        domain.to_odd_coset([&mut short, &mut long]);
        assert_eq!((short.len(), &short), (8, &long));
    }

    #[test]
    fn lagrange_values_interpolate() {
        let mut rng = rng();
        for size in [1, 4, 2 * BLOCK] {
            let domain = Domain::new(size).expect("a small domain");
            let coefficients: Vec<Fr> = (0..size).map(|_| Fr::rand(&mut rng)).collect();
            let point = Fr::rand(&mut rng);
            let root = Fr::get_root_of_unity(size as u64).expect("a small order");
            let mut values: Vec<Fr> = (0..size).map(|i| evaluate(&coefficients, root.pow([i as u64]))).collect();
            let dot = |left: &[Fr], right: &[Fr]| left.iter().zip(right).map(|(l, r)| *l * r).sum::<Fr>();
            let lagrange = domain.lagrange_at(point).expect("a random point is no root");
            assert_eq!(dot(&lagrange, &values), evaluate(&coefficients, point));

            // A multiple of the vanishing polynomial is known by its values on the odd coset alone.
            domain.to_odd_coset([&mut values]);
            let multiple: Vec<Fr> = values.iter().map(|value| -value.double()).collect();
            let odd = domain.odd_lagrange_at(point).expect("a random point is no root");
            let vanishing = point.pow([size as u64]) - Fr::one();
            assert_eq!(dot(&odd, &multiple), evaluate(&coefficients, point) * vanishing);
        }
    }

    #[test]
    fn roots_and_sizes_out_of_range_are_refused() {
        let domain = Domain::new(8).expect("a small domain");
        let root = Fr::get_root_of_unity(16).expect("a small order");
        assert!(domain.lagrange_at(root.square()).is_none());
        assert!(domain.lagrange_at(root).is_some());
        assert!(domain.odd_lagrange_at(root).is_none());
        assert!(Domain::new((1 << Domain::LOG_SIZE_MAX) + 1).is_none());
        assert!(Domain::new(usize::MAX).is_none());
        assert_eq!(Domain::new(0).expect("the domain of one root").size(), 1);
    }
}
