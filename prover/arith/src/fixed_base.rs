//! One base times many scalars: what a setup computes.
//!
//! Scalars are cut into signed windows. A table holds every multiple that a window can ask for, so each window after
//! the first costs one addition. Additions are affine: a block of sums is advanced together and shares one inversion,
//! about six multiplications a point where a projective sum takes eleven, and the results are affine without a last
//! step.

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

/// How many scalars go through a window before the next, in blocks of additions: the window's multiples are then in a
/// core's cache, as are the sums.
const BLOCKS_MAX: usize = 4;

/// How many chunks of scalars there are for each thread, unless they are few or many: enough for all threads to end
/// together.
const CHUNKS_PER_THREAD: usize = 16;

/// Told from any thread how many more products there are.
pub type Tell<'a> = &'a (dyn Fn(usize) + Sync);

/// What is to be multiplied, and how.
pub struct BatchMul<'a, P: Point> {
    windows: Windows,
    base: &'a Affine<P::Config>,
    scalars: &'a [&'a [Fr]],
    tell: Tell<'a>,
}

/// The base times each scalar of every vector, on all threads. They share one table.
pub fn batch_mul<P: Point, const N: usize>(
    base: &Affine<P::Config>,
    scalars: [&[Fr]; N],
    tell: Tell<'_>,
) -> [Vec<P>; N] {
    let count = scalars.iter().map(|scalars| scalars.len() as u64).sum();
    let bits = (3..=WINDOW_BITS_MAX).min_by_key(|bits| cost(count, *bits));
    let windows = Windows::new(bits.expect("there are widths to choose from"));
    let products = P::batch_mul(Backend::current(), &BatchMul { windows, base, scalars: &scalars, tell });
    products.try_into().expect("as many vectors as of scalars")
}

/// Additions for so many scalars: one each a window but the first, and one for each entry of the table.
fn cost(count: u64, window_bits: u32) -> u64 {
    let windows = u64::from(Windows::count(window_bits));
    count.saturating_mul(windows - 1).saturating_add(windows << (window_bits - 1))
}

/// The products of each vector on one back end.
pub(crate) fn batch_mul_on<P: InLanes>(backend: Backend, work: &BatchMul<'_, P>) -> Vec<Vec<P>> {
    on_backend!(
        backend,
        Unit => batch_mul_by::<P, P::Adder<Unit>>(work),
        Portable => batch_mul_by::<P, PortableAdder<Field<P>>>(work)
    )
}

fn batch_mul_by<P: Point, A: Adder<P>>(&BatchMul { windows, base, scalars, tell }: &BatchMul<'_, P>) -> Vec<Vec<P>> {
    let table = table::<P, A>(windows, base);
    // All threads touch the memory first, which takes as long as some of the additions.
    let infinities = |scalars: &&[Fr]| scalars.par_iter().map(|_| P::INFINITY).collect();
    let mut products: Vec<Vec<P>> = scalars.iter().map(infinities).collect();
    let count: usize = products.iter().map(Vec::len).sum();
    let chunk_len = count.div_ceil(CHUNKS_PER_THREAD * rayon::current_num_threads());
    let chunk_len = chunk_len.clamp(A::BLOCK / 2, BLOCKS_MAX * A::BLOCK);
    let vectors = scalars.iter().zip(&mut products);
    let chunks = vectors.flat_map(|(scalars, products)| scalars.chunks(chunk_len).zip(products.chunks_mut(chunk_len)));
    let chunks: Vec<_> = chunks.collect();
    chunks.into_par_iter().with_max_len(1).for_each_init(A::new, |adder, (scalars, products)| {
        multiply_chunk(adder, &table, Scalars::all(&Recoded::in_windows(windows, scalars)), products);
        tell(products.len());
    });
    products
}

/// For each window w of c bits, the multiples by 1 to 2^(c - 1) of 2^(w c) times the base.
fn table<P: Point, A: Adder<P>>(windows: Windows, base: &Affine<P::Config>) -> Vec<Vec<A::Sum>> {
    let power = |first: &Projective<P::Config>| Some((0..windows.bits).fold(*first, |first, _| first.double()));
    let firsts = core::iter::successors(Some(base.into_group()), power).take(windows.count as usize);
    let firsts = Projective::normalize_batch(&firsts.collect::<Vec<_>>());
    firsts.par_iter().with_max_len(1).map(|first| multiples::<P, A>(&P::from_affine(first), windows.bits - 1)).collect()
}

/// The multiples of a point by 1 to 2^k: each round adds the last of them to all.
fn multiples<P: Point, A: Adder<P>>(point: &P, k: u32) -> Vec<A::Sum> {
    let mut adder = A::new();
    let mut multiples = vec![A::INFINITY; 1 << k];
    multiples[0] = A::lift(point, false);
    for round in 0..k {
        let (multiples, next) = multiples.split_at_mut(1 << round);
        let last = multiples.last().expect("there is one");
        let each = multiples.iter().map(|sum| (A::of_sum(sum), false));
        add_each(&mut adder, each, core::iter::repeat((A::of_sum(last), false)), &mut next[..1 << round]);
    }
    multiples
}

/// The product by each scalar: a sum for each window after the first, in which both summands are multiples.
fn multiply_chunk<P: Point, A: Adder<P>>(
    adder: &mut A,
    table: &[Vec<A::Sum>],
    scalars: Scalars<'_>,
    products: &mut [P],
) {
    let infinity = A::INFINITY;
    let multiple = |window: u32, digit: i32| {
        let place = digit.unsigned_abs().checked_sub(1);
        let sum = place.map_or(&infinity, |place| &table[window as usize][place as usize]);
        (A::of_sum(sum), digit < 0)
    };
    let multiples = |window| scalars.digits(window).map(move |digit| multiple(window, digit));
    let (mut sums, mut next) = (vec![infinity; products.len()], vec![infinity; products.len()]);
    add_each(adder, multiples(0), multiples(1), &mut sums);
    for window in 2..table.len() as u32 {
        add_each(adder, sums.iter().map(|sum| (A::of_sum(sum), false)), multiples(window), &mut next);
        core::mem::swap(&mut sums, &mut next);
    }
    products.iter_mut().zip(&sums).for_each(|(product, sum)| *product = P::from_xy(&A::lower(sum)));
}

/// The sums of summands, given with their signs.
fn add_each<'a, 'b, P: Point, A: Adder<P>>(
    adder: &mut A,
    left: impl Iterator<Item = (&'a A::Summand, bool)>,
    right: impl Iterator<Item = (&'b A::Summand, bool)>,
    sums: &mut [A::Sum],
) {
    let addition = |(to, ((left, left_negated), (right, right_negated)))| Addition {
        left,
        right,
        left_negated,
        right_negated,
        to,
    };
    let additions: Vec<_> = (0..).zip(left.zip(right)).map(addition).collect();
    adder.add(Summands::Sums, &additions, sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1, G2};
    use ark_bn254::{G1Affine, G2Affine};
    use ark_ff::{Field as _, PrimeField, UniformRand};
    use core::sync::atomic::{AtomicUsize, Ordering};
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
        for bits in 3..=WINDOW_BITS_MAX {
            for backend in Backend::available() {
                let told = AtomicUsize::new(0);
                let tell = |count| {
                    told.fetch_add(count, Ordering::Relaxed);
                };
                let parts = [&scalars[..2000], &[], &scalars[2000..]];
                let work = BatchMul { windows: Windows::new(bits), base: &base, scalars: &parts, tell: &tell };
                let products = G1::batch_mul(backend, &work);
                assert!(products.iter().map(Vec::len).eq([2000, 0, 100]));
                let products = products.iter().flatten().map(G1::to_affine);
                assert!(products.eq(expected.iter().copied()), "{backend}, {bits} bits");
                assert_eq!(told.into_inner(), 2100);
            }
        }
        for backend in Backend::available() {
            let base = G2Affine::generator();
            let parts = [&scalars[..100]];
            let work = BatchMul { windows: Windows::new(6), base: &base, scalars: &parts, tell: &|_| () };
            let products = G2::batch_mul(backend, &work);
            for (product, scalar) in products[0].iter().zip(&scalars) {
                assert_eq!(product.to_affine(), (base * scalar).into_affine(), "{backend}");
            }
        }
    }

    #[test]
    fn few_and_many_scalars_choose_their_windows() {
        let base = G1Affine::generator();
        for count in [0, 1, 40, 5000] {
            let scalars = scalars(count);
            let [products]: [Vec<G1>; 1] = batch_mul(&base, [&scalars], &|_| ());
            assert!(products.iter().map(G1::to_affine).eq(scalars.iter().map(|scalar| (base * scalar).into_affine())));
        }
    }
}
