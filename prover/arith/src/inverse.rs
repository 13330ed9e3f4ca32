//! Many inversions for the price of one.

use ark_bn254::Fr;

/// Replaces every element by its inverse, on all threads; zeros stay zeros.
pub fn batch_inverse(elements: &mut [Fr]) {
    ark_ff::batch_inversion(elements);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, Field, UniformRand};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    proptest! {
        #[test]
        fn inverts_every_element_but_zeros(seed: u64, len in 0usize..300) {
            let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let elements: Vec<Fr> =
                (0..len).map(|_| if rng.gen_bool(0.2) { Fr::ZERO } else { Fr::rand(&mut rng) }).collect();
            let expected: Vec<Fr> = elements.iter().map(|e| e.inverse().unwrap_or(Fr::ZERO)).collect();
            let mut inverses = elements;
            batch_inverse(&mut inverses);
            prop_assert_eq!(&inverses, &expected);
        }
    }
}
