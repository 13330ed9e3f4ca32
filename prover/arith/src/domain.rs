//! Number-theoretic transforms over the roots of unity of order 2^k.

use crate::batch_inverse;
use ark_bn254::Fr;
use ark_ff::{FftField, Field, One, Zero};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rayon::prelude::*;

/// The roots of unity of order n = 2^k, on which vectors of n values are transformed in place and in natural order.
///
/// The *odd coset* are the n odd powers of the root of order 2n that squares to this domain's generator: together with the
/// domain they are the domain of twice the size.
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    roots: Radix2EvaluationDomain<Fr>,
    odd_coset: Radix2EvaluationDomain<Fr>,
}

impl Domain {
    /// The greatest k: the field has roots of order 2^28, and the odd coset takes those of order 2^(k + 1).
    pub const LOG_SIZE_MAX: u32 = Fr::TWO_ADICITY - 1;

    /// The smallest domain of at least `size_min` roots, or `None` if the field has too few.
    pub fn new(size_min: usize) -> Option<Self> {
        let size = size_min.checked_next_power_of_two()?;
        if size.ilog2() > Self::LOG_SIZE_MAX {
            return None;
        }
        let roots = Radix2EvaluationDomain::new(size)?;
        let root_of_double = Fr::get_root_of_unity(2 * size as u64)?;
        Some(Self { roots, odd_coset: roots.get_coset(root_of_double)? })
    }

    /// The number of roots.
    pub fn size(&self) -> usize {
        self.roots.size()
    }

    /// The binary logarithm of the number of roots.
    pub fn log_size(&self) -> u32 {
        self.roots.log_size_of_group
    }

    /// From coefficients to values on the domain. A shorter vector is filled with zeros.
    ///
    /// # Panics
    /// If the vector is longer than the domain, as all transforms do.
    pub fn forward(&self, values: &mut Vec<Fr>) {
        self.assert_fits(values);
        self.roots.fft_in_place(values);
    }

    /// From values on the domain to coefficients.
    ///
    /// # Panics
    /// As [`Domain::forward`].
    pub fn inverse(&self, values: &mut Vec<Fr>) {
        self.assert_fits(values);
        self.roots.ifft_in_place(values);
    }

    /// From values on the domain to those of the same polynomial on the odd coset.
    ///
    /// # Panics
    /// As [`Domain::forward`].
    pub fn to_odd_coset(&self, values: &mut Vec<Fr>) {
        self.inverse(values);
        self.odd_coset.fft_in_place(values);
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

    fn assert_fits(&self, values: &[Fr]) {
        assert!(values.len() <= self.size(), "{} values for a domain of {}", values.len(), self.size());
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
        batch_inverse(&mut values);
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
    use ark_ff::{AdditiveGroup, UniformRand};
    use rand::SeedableRng;

    fn rng() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::seed_from_u64(7)
    }

    fn evaluate(coefficients: &[Fr], point: Fr) -> Fr {
        coefficients.iter().rev().fold(Fr::zero(), |sum, coefficient| sum * point + coefficient)
    }

    #[test]
    fn transforms_agree_with_evaluation() {
        let mut rng = rng();
        for size in [1, 2, 8, 64] {
            let domain = Domain::new(size).expect("a small domain");
            let coefficients: Vec<Fr> = (0..size).map(|_| Fr::rand(&mut rng)).collect();
            let root = Fr::get_root_of_unity(2 * size as u64).expect("a small order");
            let mut values = coefficients.clone();
            domain.forward(&mut values);
            for (i, value) in values.iter().enumerate() {
                assert_eq!(*value, evaluate(&coefficients, root.pow([2 * i as u64])));
            }
            let mut back = values.clone();
            domain.inverse(&mut back);
            assert_eq!(back, coefficients);
            domain.to_odd_coset(&mut values);
            for (i, value) in values.iter().enumerate() {
                assert_eq!(*value, evaluate(&coefficients, root.pow([2 * i as u64 + 1])));
            }
        }
    }

    #[test]
    fn short_vectors_are_filled_with_zeros() {
        let domain = Domain::new(5).expect("a small domain");
        assert_eq!((domain.size(), domain.log_size()), (8, 3));
        let mut values = vec![Fr::one()];
        domain.forward(&mut values);
        assert_eq!(values, vec![Fr::one(); 8]);
    }

    #[test]
    fn lagrange_values_interpolate() {
        let mut rng = rng();
        for size in [1, 4, 2 * BLOCK] {
            let domain = Domain::new(size).expect("a small domain");
            let coefficients: Vec<Fr> = (0..size).map(|_| Fr::rand(&mut rng)).collect();
            let point = Fr::rand(&mut rng);
            let mut values = coefficients.clone();
            domain.forward(&mut values);
            let dot = |left: &[Fr], right: &[Fr]| left.iter().zip(right).map(|(l, r)| *l * r).sum::<Fr>();
            let lagrange = domain.lagrange_at(point).expect("a random point is no root");
            assert_eq!(dot(&lagrange, &values), evaluate(&coefficients, point));

            // A multiple of the vanishing polynomial is known by its values on the odd coset alone.
            domain.to_odd_coset(&mut values);
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
