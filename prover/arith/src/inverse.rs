//! Many inversions for the price of one.

use ark_bn254::Fr;
use ark_ff::Field;

/// Replaces every element by its inverse, on all threads; zeros stay zeros.
pub fn batch_inverse(elements: &mut [Fr]) {
    ark_ff::batch_inversion(elements);
}

/// Replaces every element by its inverse on the calling thread; zeros stay zeros.
///
/// `running` is scratch space, taken from the caller so that a loop over blocks allocates once.
pub fn batch_inverse_serial<F: Field>(elements: &mut [F], running: &mut Vec<F>) {
    running.clear();
    let mut product = F::ONE;
    for element in elements.iter().filter(|element| !element.is_zero()) {
        running.push(product);
        product *= element;
    }
    let mut inverse = product.inverse().expect("a product of elements that are not zero is not zero");
    for element in elements.iter_mut().rev().filter(|element| !element.is_zero()) {
        let before = running.pop().expect("one product was kept for each element that is not zero");
        let inverse_before = inverse * *element;
        *element = inverse * before;
        inverse = inverse_before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, UniformRand};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    proptest! {
        #[test]
        fn inverts_every_element_but_zeros(seed: u64, len in 0usize..300) {
            let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let elements: Vec<Fr> =
                (0..len).map(|_| if rng.gen_bool(0.2) { Fr::ZERO } else { Fr::rand(&mut rng) }).collect();
            let expected: Vec<Fr> = elements.iter().map(|e| e.inverse().unwrap_or(Fr::ZERO)).collect();
            let (mut parallel, mut serial) = (elements.clone(), elements);
            batch_inverse(&mut parallel);
            batch_inverse_serial(&mut serial, &mut Vec::new());
            prop_assert_eq!(&parallel, &expected);
            prop_assert_eq!(&serial, &expected);
        }
    }
}
