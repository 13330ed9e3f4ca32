//! Inverses modulo a prime by division steps, which take a third of the time of arkworks' binary algorithm.
//!
//! A division step takes (delta, f, g), f odd, to (1 - delta, g, (g - f) / 2) if delta > 0 and g is odd, and to (1 +
//! delta, f, (g + (g mod 2) f) / 2) otherwise; from f = p and g = x it ends at g = 0 and f = 1 or -1 (Bernstein and
//! Yang, "Fast constant-time gcd computation and modular inversion", 2019). 62 steps at a time depend on the lowest
//! words of f and g alone and amount to a matrix of words, which is then applied to f and g, and modulo p to the
//! numbers d and e with f = d x and g = e x (Pornin, "Optimized binary GCD for modular inversion", 2020, for the idea
//! of batches; the window of several bits when f and g are odd is Wuille's, of libsecp256k1). The time depends on the
//! number.

use alloc::vec::Vec;
use ark_bn254::{Fq, Fq2};
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField, Zero};

/// The inverse; zero for zero.
pub(crate) fn inverse_fq(element: &Fq) -> Fq {
    if element.is_zero() {
        return Fq::ZERO;
    }
    let inverse = inverse_modulo(&element.into_bigint().0, &Fq::MODULUS.0);
    Fq::from_bigint(BigInt::new(inverse)).expect("an inverse is below the modulus")
}

/// The conjugate over the norm; zero for zero. u^2 = -1.
pub(crate) fn inverse_fq2(element: &Fq2) -> Fq2 {
    let inverse = inverse_fq(&(element.c0.square() + element.c1.square()));
    Fq2::new(element.c0 * inverse, -element.c1 * inverse)
}

/// Replaces every element by its inverse, with one inversion and three multiplications for each; zeros stay zeros.
///
/// On the calling thread: with its feature `parallel`, arkworks' `batch_inversion` and all that stands on it hand
/// even a few elements to a pool of threads, which takes longer than inverting them.
pub(crate) fn batch_inverse<F: Field>(elements: &mut [F], inverse_of: fn(&F) -> F) {
    let mut product = F::ONE;
    let mut products_before = Vec::with_capacity(elements.len());
    for element in elements.iter().filter(|element| !element.is_zero()) {
        products_before.push(product);
        product *= element;
    }
    let mut inverse = inverse_of(&product);
    for element in elements.iter_mut().rev().filter(|element| !element.is_zero()) {
        let before = products_before.pop().expect("there is one for each element that is not zero");
        (*element, inverse) = (inverse * before, inverse * *element);
    }
}

/// A number of five signed digits to the base 2^62, all but the highest from 0 to below 2^62.
type Digits = [i64; 5];

const DIGIT: u64 = (1 << 62) - 1;

/// What 62 division steps do to f and g, times 2^62: f to u f + v g, g to q f + r g.
#[derive(Clone, Copy)]
struct Steps {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

/// 1 / x modulo an odd prime p below 2^256, for x from 1 to p - 1, both of four words, the lowest first. Other numbers
/// that have an inverse modulo p have it found, too; for those without one the result is meaningless.
pub fn inverse_modulo(x: &[u64; 4], p: &[u64; 4]) -> [u64; 4] {
    let modulus = digits(p);
    // Newton's iteration doubles the number of bits that are right, of which an odd number has three at first.
    let p_inverse = (0..5).fold(p[0], |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(p[0].wrapping_mul(inverse))));
    let (mut f, mut g) = (modulus, digits(x));
    let (mut d, mut e) = ([0; 5], [1, 0, 0, 0, 0]);
    // -delta.
    let mut eta = -1;
    while g != [0; 5] {
        let steps = divide(&mut eta, low_word(&f), low_word(&g));
        update_modulo(&mut d, &mut e, &steps, &modulus, p_inverse);
        update(&mut f, &mut g, &steps);
    }
    // 1 = f = d x, or -1 = f: the sign of f is that of its highest digit. d is above -2p and below p.
    let add_modulus = |d: Digits| carried(core::array::from_fn(|i| d[i] + modulus[i]));
    if d[4] < 0 {
        d = add_modulus(d);
    }
    if f[4] < 0 {
        d = carried(d.map(|digit| -digit));
    }
    if d[4] < 0 {
        d = add_modulus(d);
    }
    words(&d)
}

/// 62 division steps from the lowest words of f and g.
fn divide(eta: &mut i64, mut f: u64, mut g: u64) -> Steps {
    let (mut u, mut v, mut q, mut r) = (1u64, 0u64, 0u64, 1u64);
    let mut left = 62;
    loop {
        // Steps with an even g halve it: u and v are doubled instead of q and r halved.
        let zeros = (g | u64::MAX << left).trailing_zeros();
        (g, u, v) = (g >> zeros, u << zeros, v << zeros);
        *eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            break;
        }
        // Both are odd. Until eta turns negative again, up to six or four bits of g are cleared at once by a multiple
        // of f.
        let is_swap = *eta < 0;
        if is_swap {
            *eta = -*eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
        }
        let bits = (*eta + 1).min(i64::from(left)) as u32;
        let factor = if is_swap {
            // f (f^2 - 2) is -1 / f modulo 64.
            f.wrapping_mul(g).wrapping_mul(f.wrapping_mul(f).wrapping_sub(2)) & 63
        } else {
            // f + 8 or f, by its third bit, is 1 / f modulo 16.
            let inverse = f.wrapping_add((f.wrapping_add(1) & 4) << 1);
            inverse.wrapping_neg().wrapping_mul(g) & 15
        };
        let factor = factor & (u64::MAX >> (64 - bits));
        g = g.wrapping_add(f.wrapping_mul(factor));
        q = q.wrapping_add(u.wrapping_mul(factor));
        r = r.wrapping_add(v.wrapping_mul(factor));
    }
    let [u, v, q, r] = [u, v, q, r].map(u64::cast_signed);
    Steps { u, v, q, r }
}

/// Applies steps to f and g, which makes both multiples of 2^62, and divides by that.
fn update(f: &mut Digits, g: &mut Digits, steps: &Steps) {
    let Steps { u, v, q, r } = *steps;
    let (mut carry_f, mut carry_g) = (product(u, f[0]) + product(v, g[0]), product(q, f[0]) + product(r, g[0]));
    debug_assert!(carry_f as u64 & DIGIT == 0 && carry_g as u64 & DIGIT == 0);
    for i in 1..5 {
        carry_f = (carry_f >> 62) + product(u, f[i]) + product(v, g[i]);
        carry_g = (carry_g >> 62) + product(q, f[i]) + product(r, g[i]);
        (f[i - 1], g[i - 1]) = (low_digit(carry_f), low_digit(carry_g));
    }
    (f[4], g[4]) = ((carry_f >> 62) as i64, (carry_g >> 62) as i64);
}

/// Applies steps to d and e, adds what multiples of p make both multiples of 2^62, and divides by that. d and e are
/// above -2p and below p before and after.
fn update_modulo(d: &mut Digits, e: &mut Digits, steps: &Steps, modulus: &Digits, p_inverse: u64) {
    let Steps { u, v, q, r } = *steps;
    // p for each of d and e that is negative, times its factor, keeps the range.
    let [sign_d, sign_e] = [d[4] >> 63, e[4] >> 63];
    let (mut of_d, mut of_e) = ((u & sign_d) + (v & sign_e), (q & sign_d) + (r & sign_e));
    let (mut carry_d, mut carry_e) = (product(u, d[0]) + product(v, e[0]), product(q, d[0]) + product(r, e[0]));
    let clearing = |carry: i128, of: i64| {
        let excess = p_inverse.wrapping_mul(carry as u64).wrapping_add(of.cast_unsigned());
        of - (excess & DIGIT).cast_signed()
    };
    (of_d, of_e) = (clearing(carry_d, of_d), clearing(carry_e, of_e));
    carry_d += product(modulus[0], of_d);
    carry_e += product(modulus[0], of_e);
    debug_assert!(carry_d as u64 & DIGIT == 0 && carry_e as u64 & DIGIT == 0);
    for i in 1..5 {
        carry_d = (carry_d >> 62) + product(u, d[i]) + product(v, e[i]) + product(modulus[i], of_d);
        carry_e = (carry_e >> 62) + product(q, d[i]) + product(r, e[i]) + product(modulus[i], of_e);
        (d[i - 1], e[i - 1]) = (low_digit(carry_d), low_digit(carry_e));
    }
    (d[4], e[4]) = ((carry_d >> 62) as i64, (carry_e >> 62) as i64);
}

fn product(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

fn low_digit(number: i128) -> i64 {
    (number as u64 & DIGIT).cast_signed()
}

/// The number modulo 2^64.
fn low_word(digits: &Digits) -> u64 {
    (digits[0] | digits[1] << 62).cast_unsigned()
}

/// Takes what digits exceed 62 bits, of whatever sign, to the next.
fn carried(mut digits: Digits) -> Digits {
    for i in 0..4 {
        digits[i + 1] += digits[i] >> 62;
        digits[i] &= DIGIT.cast_signed();
    }
    digits
}

fn digits([w0, w1, w2, w3]: &[u64; 4]) -> Digits {
    let digits = [*w0, w0 >> 62 | w1 << 2, w1 >> 60 | w2 << 4, w2 >> 58 | w3 << 6, w3 >> 56];
    digits.map(|digit| (digit & DIGIT).cast_signed())
}

fn words(digits: &Digits) -> [u64; 4] {
    let [d0, d1, d2, d3, d4] = digits.map(i64::cast_unsigned);
    [d0 | d1 << 62, d1 >> 2 | d2 << 60, d2 >> 4 | d3 << 58, d3 >> 6 | d4 << 56]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    /// Inverts numbers of the field, in plain form, edge cases among them.
    fn inverts_modulo<F: PrimeField<BigInt = BigInt<4>>>() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(5);
        let two = F::from(2u64);
        let edges = (0..254).flat_map(|bit| {
            let power = two.pow([bit]);
            [power, -power, power - F::ONE, power + F::ONE]
        });
        let numbers = edges.chain((0..2000).map(|_| F::rand(&mut rng))).filter(|number| !number.is_zero());
        for number in numbers {
            let inverse = inverse_modulo(&number.into_bigint().0, &F::MODULUS.0);
            let inverse = F::from_bigint(BigInt(inverse)).expect("below the modulus");
            assert_eq!(inverse * number, F::ONE, "{number}");
        }
    }

    #[test]
    fn inverses_are_those_of_the_field() {
        inverts_modulo::<Fq>();
        inverts_modulo::<ark_bn254::Fr>();
        assert_eq!(inverse_modulo(&[3, 0, 0, 0], &[7, 0, 0, 0]), [5, 0, 0, 0]);
        // A modulus of 256 bits, that of secp256k1's field, 2^256 - 2^32 - 977: 1 / 2 is half of what follows it.
        let p = [0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX];
        assert_eq!(inverse_modulo(&[2, 0, 0, 0], &p), [0xffff_ffff_7fff_fe18, u64::MAX, u64::MAX, u64::MAX >> 1]);
    }

    fn inverts_every_element_but_zeros<F: Field>(seed: u64, count: usize, inverse_of: fn(&F) -> F) {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let elements: Vec<F> =
            (0..count).map(|_| if rng.gen_bool(0.2) { F::ZERO } else { F::rand(&mut rng) }).collect();
        let mut inverses = elements.clone();
        batch_inverse(&mut inverses, inverse_of);
        for (element, inverse) in elements.iter().zip(inverses) {
            assert_eq!(element.inverse().unwrap_or(F::ZERO), inverse);
        }
    }

    proptest! {
        #[test]
        fn many_are_inverted_and_zeros_stay(seed: u64, count in 0usize..40) {
            inverts_every_element_but_zeros(seed, count, inverse_fq);
            inverts_every_element_but_zeros(seed, count, inverse_fq2);
        }
    }
}
