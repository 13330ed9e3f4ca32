//! Number-theoretic transforms from a domain of n = 2^k roots to its odd coset.
//!
//! With w of order n and p of order 2n, p^2 = w, and brv the reversal of the k bits of an index:
//!
//! 1. decimation in frequency of the order's inverse takes the values on the domain, in natural order, to n times the
//!    coefficients, that of index brv(i) at place i;
//! 2. place i is multiplied by p^brv(i) / n;
//! 3. the transposed transform takes them to the values at p w^j = p^(2j + 1), in natural order.
//!
//! So no step reverses bits. In both transforms a block of either half shares one twiddle factor, w^(brv(block) / 2),
//! and the powers of step 2 are these factors continued: one table of n powers serves all three. Blocks are split
//! depth first, so that all but the first layers run in a core's cache.

#[cfg(any(test, target_arch = "x86_64"))]
use crate::lanes::transform as lanes;
use crate::{Backend, backend::on_backend, multiply::Multiply};
use ark_bn254::Fr;
use ark_ff::{FftField, Field};
use rayon::prelude::*;

/// The longest block that one task transforms layer by layer: 64 kB.
const LEAF: usize = 1 << 11;

/// How many butterflies a task of a long layer takes.
const PIECE: usize = 1 << 10;

/// The transform of one size.
pub(crate) enum ToOddCoset {
    /// One value at a time.
    Portable(Powers),
    /// In lanes.
    #[cfg(any(test, target_arch = "x86_64"))]
    Lanes(LaneFactors),
}

impl ToOddCoset {
    /// # Panics
    /// If `size` is no power of two or the field has no roots of order 2 * `size`.
    pub(crate) fn new(backend: Backend, size: usize) -> Self {
        #[cfg(any(test, target_arch = "x86_64"))]
        if backend != Backend::Portable && size >= lanes::SIZE_MIN {
            return Self::Lanes(LaneFactors::new(backend, size));
        }
        let _ = backend;
        Self::Portable(Powers::new(size))
    }

    /// Replaces values on the domain by those of the same polynomial on the odd coset.
    ///
    /// # Panics
    /// If the number of values is not the domain's size.
    pub(crate) fn apply(&self, values: &mut [Fr]) {
        match self {
            Self::Portable(powers) => powers.apply(values),
            #[cfg(any(test, target_arch = "x86_64"))]
            Self::Lanes(factors) => factors.apply(values),
        }
    }
}

/// `first` times p^brv(i) for i below n.
fn powers(first: Fr, size: usize) -> Vec<Fr> {
    assert!(size.is_power_of_two(), "a domain's size is a power of two");
    let mut power = Fr::get_root_of_unity(2 * size as u64).expect("the field has roots of twice the order");
    // The highest bit of i adds the lowest power: p^(n / 2) for i = 1, and down to p itself.
    let steps: Vec<Fr> = (0..size.ilog2())
        .map(|_| {
            let step = power;
            power.square_in_place();
            step
        })
        .collect();
    let mut powers = Vec::with_capacity(size);
    powers.push(first);
    for step in steps.iter().rev() {
        powers.par_extend(powers.clone().into_par_iter().map(|power| power.times(step)));
    }
    powers
}

fn inverse(size: usize) -> Fr {
    Fr::from(size as u64).inverse().expect("a power of two is not zero in the field")
}

/// Where in a table of the twiddle factors the inverse of a block's is found, but for its sign: the inverse is the
/// negative, for all blocks but the first, whose factor is one.
///
/// w^(n / 2) = -1, so the inverse of w^e is -w^(n / 2 - e), and the reversal of n / 2 - e is the block with the bits
/// below its highest flipped.
fn negative_inverse(block: usize) -> usize {
    let below_highest = block.checked_ilog2().map_or(0, |highest| (1 << highest) - 1);
    block ^ below_highest
}

/// The factors of the transform in lanes, all times 16.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) struct LaneFactors {
    backend: Backend,
    twiddles: Vec<Fr>,
    inverses: Vec<Fr>,
    scales: Vec<Fr>,
}

#[cfg(any(test, target_arch = "x86_64"))]
impl LaneFactors {
    fn new(backend: Backend, size: usize) -> Self {
        let mut scales = powers(Fr::from(16u64), size);
        let twiddles = scales[..size / 2].to_vec();
        let inverse_of = |block: usize| if block == 0 { twiddles[0] } else { -twiddles[negative_inverse(block)] };
        let inverses = (0..size / 2).into_par_iter().map(inverse_of).collect();
        let size_inverse = inverse(size);
        scales.par_iter_mut().for_each(|scale| *scale = scale.times(&size_inverse));
        Self { backend, twiddles, inverses, scales }
    }

    fn apply(&self, values: &mut [Fr]) {
        let Self { twiddles, inverses, scales, .. } = self;
        let factors = lanes::Factors16 { twiddles, inverses, scales };
        on_backend!(
            self.backend,
            Unit => lanes::to_odd_coset::<Unit>(values, factors),
            Portable => unreachable!("the portable transform has its own factors")
        );
    }
}

/// The factors of the transform of one value at a time.
pub(crate) struct Powers {
    /// p^brv(i) for i below n. The first half are also the twiddle factors.
    powers: Vec<Fr>,
    size_inverse: Fr,
}

impl Powers {
    fn new(size: usize) -> Self {
        Self { powers: powers(Fr::ONE, size), size_inverse: inverse(size) }
    }

    fn apply(&self, values: &mut [Fr]) {
        assert_eq!(values.len(), self.powers.len(), "one value for each root");
        self.to_coefficients(values, 0);
        self.to_values(values, 0);
    }

    /// Splits block `block` of its layer; the leaves are scaled as well.
    fn to_coefficients(&self, values: &mut [Fr], block: usize) {
        if values.len() > LEAF {
            let (low, high) = values.split_at_mut(values.len() / 2);
            let twiddle = self.twiddle(block);
            pieces(low, high, |low, high| split(low, high, &twiddle, block));
            rayon::join(|| self.to_coefficients(low, 2 * block), || self.to_coefficients(high, 2 * block + 1));
            return;
        }
        let mut length = values.len();
        let mut first = block;
        while length > 1 {
            for (block, values) in (first..).zip(values.chunks_exact_mut(length)) {
                let (low, high) = values.split_at_mut(length / 2);
                split(low, high, &self.twiddle(block), block);
            }
            (length, first) = (length / 2, 2 * first);
        }
        let powers = &self.powers[first..][..values.len()];
        values.iter_mut().zip(powers).for_each(|(value, power)| *value = value.times(&self.size_inverse.times(power)));
    }

    /// Joins block `block` of its layer.
    fn to_values(&self, values: &mut [Fr], block: usize) {
        if values.len() > LEAF {
            let (low, high) = values.split_at_mut(values.len() / 2);
            rayon::join(|| self.to_values(low, 2 * block), || self.to_values(high, 2 * block + 1));
            let twiddle = self.powers[block];
            pieces(low, high, |low, high| join(low, high, &twiddle));
            return;
        }
        let mut length = 2;
        while length <= values.len() {
            let first = block * (values.len() / length);
            for (twiddle, values) in self.powers[first..].iter().zip(values.chunks_exact_mut(length)) {
                let (low, high) = values.split_at_mut(length / 2);
                join(low, high, twiddle);
            }
            length *= 2;
        }
    }

    /// The inverse of a block's twiddle factor, up to the sign that [`split`] gives it.
    fn twiddle(&self, block: usize) -> Fr {
        self.powers[negative_inverse(block)]
    }
}

/// Runs butterflies of two halves on all threads.
fn pieces(low: &mut [Fr], high: &mut [Fr], run: impl Fn(&mut [Fr], &mut [Fr]) + Sync) {
    low.par_chunks_mut(PIECE).zip(high.par_chunks_mut(PIECE)).for_each(|(low, high)| run(low, high));
}

/// (a, b) to (a + t b, a - t b), where the factor t is `twiddle` for block 0 and -`twiddle` for others.
fn split(low: &mut [Fr], high: &mut [Fr], twiddle: &Fr, block: usize) {
    if block == 0 {
        for (low, high) in low.iter_mut().zip(high) {
            let difference = *low - *high;
            *low += *high;
            *high = difference;
        }
        return;
    }
    for (low, high) in low.iter_mut().zip(high) {
        let product = high.times(twiddle);
        *high = *low + product;
        *low -= product;
    }
}

/// (a, b) to (a + b, t (a - b)).
fn join(low: &mut [Fr], high: &mut [Fr], twiddle: &Fr) {
    for (low, high) in low.iter_mut().zip(high) {
        let difference = *low - *high;
        *low += *high;
        *high = difference.times(twiddle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, UniformRand};
    use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
    use rand::SeedableRng;

    #[test]
    fn agrees_with_evaluation() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(7);
        for size in [1, 2, 4, 8, 64, 128] {
            let coefficients: Vec<Fr> = (0..size).map(|_| Fr::rand(&mut rng)).collect();
            let root = Fr::get_root_of_unity(2 * size as u64).expect("a small order");
            let at = |exponent: usize| {
                let point = root.pow([exponent as u64]);
                coefficients.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient)
            };
            for backend in Backend::available() {
                let mut values: Vec<Fr> = (0..size).map(|i| at(2 * i)).collect();
                ToOddCoset::new(backend, size).apply(&mut values);
                assert!((0..size).map(|i| at(2 * i + 1)).eq(values), "{backend}, size {size}");
            }
        }
    }

    #[test]
    fn agrees_with_an_independent_implementation_across_tasks() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(8);
        for size in [1 << 8, 1 << 9, 1 << 10, LEAF, 2 * LEAF, 8 * LEAF] {
            let domain = Radix2EvaluationDomain::<Fr>::new(size).expect("a legal size");
            let root = Fr::get_root_of_unity(2 * size as u64).expect("a legal order");
            let coset = domain.get_coset(root).expect("a root is not zero");
            for fill in [0, size / 2, size] {
                let mut values: Vec<Fr> = (0..fill).map(|_| Fr::rand(&mut rng)).collect();
                values.resize(size, Fr::ZERO);
                let expected = coset.fft(&domain.ifft(&values));
                for backend in Backend::available() {
                    let mut values = values.clone();
                    ToOddCoset::new(backend, size).apply(&mut values);
                    assert_eq!(values, expected, "{backend}, size {size}");
                }
            }
        }
    }
}
