//! One base times many scalars: what a setup computes.
//!
//! Scalars are cut into signed windows. A table holds every multiple that a window can ask for, so each window costs one
//! addition. Additions are affine: a block of sums is advanced together and shares one inversion, about six
//! multiplications a point where a projective sum takes eleven, and the results are affine without a last step.

use crate::{
    Backend, Point,
    affine::{Adder, Addition, PortableAdder, Summands},
    backend::on_backend,
    msm::{Recoded, Scalars, Windows},
    point::{Field, InLanes},
};
use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, CurveGroup,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::AdditiveGroup;
use rayon::prelude::*;

/// Wider windows have tables that hardly fit a core's caches.
const WINDOW_BITS_MAX: u32 = 15;

/// Additions for so many scalars: one each a window, and one for each entry of the table.
fn cost(count: u64, window_bits: u32) -> u64 {
    u64::from(Windows::count(window_bits)).saturating_mul(count.saturating_add(1 << (window_bits - 1)))
}

/// The table of multiples of one base.
#[derive(Debug)]
pub struct FixedBase<P: Point> {
    windows: Windows,
    /// For each window w of c bits, the multiples 1 to 2^(c - 1) of 2^(w c) times the base.
    multiples: Vec<Vec<P>>,
}

impl<P: Point> FixedBase<P> {
    /// Makes the table, sized for multiplying about `count` scalars.
    pub fn new(base: &Affine<P::Config>, count: usize) -> Self {
        let bits = (3..=WINDOW_BITS_MAX).min_by_key(|bits| cost(count as u64, *bits));
        let windows = Windows::new(bits.expect("there are widths to choose from"));
        let double = |power: Projective<P::Config>, _| power.double();
        let firsts =
            core::iter::successors(Some(base.into_group()), |first| Some((0..windows.bits).fold(*first, double)));
        let firsts = Projective::normalize_batch(&firsts.take(windows.count as usize).collect::<Vec<_>>());
        let firsts: Vec<P> = firsts.iter().map(P::from_affine).collect();
        let multiples = |first| P::multiples(Backend::current(), first, windows.bits - 1);
        Self { windows, multiples: firsts.par_iter().map(multiples).collect() }
    }

    /// The base times each scalar.
    pub fn multiply(&self, scalars: &[Fr]) -> Vec<P> {
        P::multiply(Backend::current(), self, scalars)
    }

    pub(crate) fn multiply_on(&self, backend: Backend, scalars: &[Fr]) -> Vec<P>
    where
        P: InLanes,
    {
        on_backend!(
            backend,
            Unit => self.multiply_by::<P::Adder<Unit>>(scalars),
            Portable => self.multiply_by::<PortableAdder<Field<P>>>(scalars)
        )
    }

    fn multiply_by<A: Adder<P>>(&self, scalars: &[Fr]) -> Vec<P> {
        let recoded = Recoded::in_windows(self.windows, scalars);
        let (first, others) = self.multiples.split_first().expect("scalars have windows");
        let mut lifted = Vec::with_capacity(others.len());
        let lift = |multiple: &P| A::lift(multiple, false);
        others.par_iter().map(|multiples| multiples.iter().map(lift).collect()).collect_into_vec(&mut lifted);
        let mut products = vec![P::INFINITY; scalars.len()];
        products.par_chunks_mut(A::BLOCK).enumerate().for_each_init(A::new, |adder, (block, products)| {
            let scalars = Scalars::after(&recoded, block * A::BLOCK);
            multiply_block(adder, first, &lifted, scalars, products);
        });
        products
    }
}

/// The products by as many scalars, the first ones: what the lowest window's digit names, and a sum for each window above.
fn multiply_block<P: Point, A: Adder<P>>(
    adder: &mut A,
    first: &[P],
    lifted: &[Vec<A::Sum>],
    scalars: Scalars<'_>,
    products: &mut [P],
) {
    let place = |digit: i32| digit.unsigned_abs() as usize - 1;
    let of_first = |digit| if digit == 0 { A::INFINITY } else { A::lift(&first[place(digit)], digit < 0) };
    let mut sums: Vec<A::Sum> = scalars.digits(0).take(products.len()).map(of_first).collect();
    let mut next = sums.clone();
    for (window, multiples) in (1..).zip(lifted) {
        let mut additions = Vec::with_capacity(products.len());
        for (index, digit) in scalars.digits(window).take(products.len()).enumerate() {
            if digit == 0 {
                next[index] = sums[index];
                continue;
            }
            let (left, right) = (A::of_sum(&sums[index]), A::of_sum(&multiples[place(digit)]));
            additions.push(Addition { left, right, left_negated: false, right_negated: digit < 0, to: index as u32 });
        }
        adder.add(Summands::Sums, &additions, &mut next);
        core::mem::swap(&mut sums, &mut next);
    }
    products.iter_mut().zip(&sums).for_each(|(product, sum)| *product = P::from_xy(&A::lower(sum)));
}

/// The multiples of a point by 1 to 2^k: each round adds the last of them to all.
pub(crate) fn multiples_on<P: InLanes>(backend: Backend, point: &P, k: u32) -> Vec<P> {
    on_backend!(
        backend,
        Unit => multiples_by::<P, P::Adder<Unit>>(point, k),
        Portable => multiples_by::<P, PortableAdder<Field<P>>>(point, k)
    )
}

fn multiples_by<P: Point, A: Adder<P>>(point: &P, k: u32) -> Vec<P> {
    let mut adder = A::new();
    let mut multiples = vec![A::lift(point, false)];
    for _ in 0..k {
        let last = A::of_sum(multiples.last().expect("there is one"));
        let plus_last = |(to, sum)| Addition::plain(A::of_sum(sum), last, to as u32);
        let additions: Vec<_> = multiples.iter().enumerate().map(plus_last).collect();
        let mut next = vec![A::INFINITY; multiples.len()];
        adder.add(Summands::Sums, &additions, &mut next);
        multiples.append(&mut next);
    }
    multiples.iter().map(|sum| P::from_xy(&A::lower(sum))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1, G2};
    use ark_bn254::{G1Affine, G2Affine};
    use ark_ff::{Field as _, PrimeField, UniformRand};
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
        let scalars = scalars(2100);
        let expected: Vec<G1Affine> = scalars.iter().map(|scalar| (base * scalar).into_affine()).collect();
        for count in [0, 1 << 8, 1 << 11, 1 << 14, 1 << 30] {
            let table = FixedBase::<G1>::new(&base, count);
            for backend in Backend::available() {
                let products = Point::multiply(backend, &table, &scalars);
                assert!(
                    products.iter().map(G1::to_affine).eq(expected.iter().copied()),
                    "{backend}, table for {count}"
                );
            }
        }
        for backend in Backend::available() {
            let multiples = multiples_on(backend, &G1::from_affine(&base), 9);
            let expected = (1..=512u64).map(|factor| (base * Fr::from(factor)).into_affine());
            assert!(multiples.iter().map(G1::to_affine).eq(expected), "{backend}");
        }
        let table = FixedBase::<G2>::new(&G2Affine::generator(), 100);
        for backend in Backend::available() {
            let products = Point::multiply(backend, &table, &scalars[..100]);
            for (product, scalar) in products.iter().zip(&scalars) {
                assert_eq!(product.to_affine(), (G2Affine::generator() * scalar).into_affine(), "{backend}");
            }
        }
    }
}
