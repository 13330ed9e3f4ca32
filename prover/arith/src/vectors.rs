//! Products of vectors of field elements, element by element: the rows of a constraint system, and the quotient's
//! values.

use crate::{
    Backend,
    lanes::field::{BaseModulus, Modulus, ScalarModulus},
    multiply::Multiply,
};
use ark_bn254::{Fq, Fr};
use rayon::prelude::*;

/// How many elements a task takes: three vectors of them fit a core's second cache.
const PIECE: usize = 1 << 11;

/// A prime field whose elements are four words in Montgomery form with the radix 2^256: [`Fr`] and [`Fq`].
#[allow(private_bounds, reason = "lanes are no part of the interface, and no other field has them")]
pub trait Element: Multiply + InLanes {}

/// A prime field that lanes know.
pub(crate) trait InLanes {
    /// Its modulus there.
    type Modulus: Modulus;
}

impl Element for Fr {}

impl InLanes for Fr {
    type Modulus = ScalarModulus;
}

impl Element for Fq {}

impl InLanes for Fq {
    type Modulus = BaseModulus;
}

/// Replaces each element of a by a b - c.
///
/// # Panics
/// If the vectors' lengths differ.
pub fn multiply_subtract<F: Element>(a: &mut [F], b: &[F], c: &[F]) {
    on_backend::multiply_subtract(Backend::current(), a, b, c);
}

/// The position of the first elements with a b other than c, if there are any.
///
/// # Panics
/// If the vectors' lengths differ.
pub fn first_other_product<F: Element>(a: &[F], b: &[F], c: &[F]) -> Option<usize> {
    on_backend::first_other_product(Backend::current(), a, b, c)
}

mod on_backend {
    use super::*;
    use crate::backend::on_backend;
    #[cfg(any(test, target_arch = "x86_64"))]
    use crate::lanes::vectors as lanes;

    pub(super) fn multiply_subtract<F: Element>(backend: Backend, a: &mut [F], b: &[F], c: &[F]) {
        assert!(a.len() == b.len() && a.len() == c.len(), "vectors of one length");
        let pieces = a.par_chunks_mut(PIECE).zip(b.par_chunks(PIECE)).zip(c.par_chunks(PIECE));
        pieces.for_each(|((a, b), c)| {
            on_backend!(
                backend,
                Unit => lanes::multiply_subtract::<Unit, F>(a, b, c),
                Portable => a.iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = a.times(b) - c)
            )
        });
    }

    pub(super) fn first_other_product<F: Element>(backend: Backend, a: &[F], b: &[F], c: &[F]) -> Option<usize> {
        assert!(a.len() == b.len() && a.len() == c.len(), "vectors of one length");
        let portable = |a: &[F], b: &[F], c: &[F]| a.iter().zip(b).zip(c).position(|((a, b), c)| a.times(b) != *c);
        let pieces = a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).zip(c.par_chunks(PIECE)).enumerate();
        let found = pieces.filter_map(|(piece, ((a, b), c))| {
            let all_equal = on_backend!(
                backend,
                Unit => lanes::are_products::<Unit, F>(a, b, c),
                Portable => false
            );
            // In a piece that holds a wrong product, or is not looked at in lanes, each is looked at by itself.
            let position = if all_equal { None } else { portable(a, b, c) };
            position.map(|position| piece * PIECE + position)
        });
        found.find_first(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::PrimeField;
    use rand::SeedableRng;

    /// Random elements, with zero, one and the greatest in each pair of places.
    fn vectors<F: Element + PrimeField>(length: usize) -> [Vec<F>; 2] {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(length as u64);
        let edges = [F::ZERO, F::ONE, -F::ONE];
        let mut vector = |step: usize| {
            let edge = |i: usize| (i < 9).then(|| edges[i / step % 3]);
            (0..length).map(|i| edge(i).unwrap_or_else(|| F::rand(&mut rng))).collect()
        };
        [vector(1), vector(3)]
    }

    fn agrees_with_arkworks<F: Element + PrimeField>() {
        for length in [0, 1, 7, 8, 9, 17, 64, PIECE - 1, PIECE + 9, 3 * PIECE] {
            let [a, b] = vectors::<F>(length);
            let mut c: Vec<F> = vectors(length + 1)[0][..length].to_vec();
            let expected: Vec<F> = a.iter().zip(&b).zip(&c).map(|((a, b), c)| *a * b - c).collect();
            for backend in Backend::available() {
                let mut values = a.clone();
                on_backend::multiply_subtract(backend, &mut values, &b, &c);
                assert_eq!(values, expected, "{backend}, length {length}");
            }
            c = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
            for backend in Backend::available() {
                assert_eq!(on_backend::first_other_product(backend, &a, &b, &c), None, "{backend}, length {length}");
            }
            for wrong in [0, 1, 8, length / 2, length.saturating_sub(1)].into_iter().filter(|wrong| *wrong < length) {
                for difference in [F::ONE, -F::ONE] {
                    let mut c = c.clone();
                    c[wrong] += difference;
                    c[length - 1] += if wrong < length - 1 { F::ONE } else { F::ZERO };
                    for backend in Backend::available() {
                        let found = on_backend::first_other_product(backend, &a, &b, &c);
                        assert_eq!(found, Some(wrong), "{backend}, length {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_scalars_agree_with_arkworks() {
        agrees_with_arkworks::<Fr>();
    }

    #[test]
    fn products_of_coordinates_agree_with_arkworks() {
        agrees_with_arkworks::<Fq>();
    }

    #[test]
    #[should_panic(expected = "vectors of one length")]
    fn vectors_of_other_lengths_are_refused() {
        multiply_subtract(&mut [Fr::from(1u64)], &[], &[Fr::from(1u64)]);
    }
}
