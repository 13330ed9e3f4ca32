//! Sums of points times scalars.

mod window;

use crate::{
    Backend, Point,
    affine::{Adder, PortableAdder},
    backend::on_backend,
    point::{Field, InLanes},
};
use ark_bn254::Fr;
use ark_ec::short_weierstrass::Projective;
use ark_ff::{AdditiveGroup, BigInteger, PrimeField, Zero};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use window::Workspace;
use zeroize::Zeroize;

/// Scalars recoded in signed digits of a width that suits sums over all of them. Any number of sums can share them.
/// They may be secret, and are overwritten when dropped.
#[derive(Clone, Debug)]
pub struct Recoded {
    windows: Windows,
    /// For each window the digit of every scalar, each plus [`Windows::half`].
    columns: Vec<Vec<u16>>,
}

/// How many scalars are recoded at a time: their integers stay in a core's first cache.
const RECODED_TOGETHER: usize = 512;

impl Recoded {
    /// Recodes elements, on all threads.
    pub fn of(values: &[Fr]) -> Self {
        let mut recoded = Self::zeros(Windows::for_length(values.len()), values.len());
        let Self { windows, columns } = &mut recoded;
        let mut blocks: Vec<Vec<&mut [u16]>> = Vec::new();
        blocks.resize_with(values.len().div_ceil(RECODED_TOGETHER), Vec::new);
        for column in columns {
            blocks.iter_mut().zip(column.chunks_mut(RECODED_TOGETHER)).for_each(|(block, column)| block.push(column));
        }
        let values = values.par_chunks(RECODED_TOGETHER);
        values.zip(blocks).for_each(|(values, columns)| windows.recode(values, columns));
        recoded
    }

    /// The same in windows that suit something else, on this thread.
    pub(crate) fn in_windows(windows: Windows, values: &[Fr]) -> Self {
        let mut recoded = Self::zeros(windows, values.len());
        windows.recode(values, recoded.columns.iter_mut().map(Vec::as_mut_slice));
        recoded
    }

    fn zeros(windows: Windows, len: usize) -> Self {
        Self { windows, columns: vec![vec![0; len]; windows.count as usize] }
    }

    fn len(&self) -> usize {
        self.columns[0].len()
    }
}

impl Drop for Recoded {
    fn drop(&mut self) {
        self.columns.zeroize();
    }
}

/// One scalar for each base: a vector as it stands, a part of one, or picked from one by index.
#[derive(Clone, Copy, Debug)]
pub struct Scalars<'a> {
    recoded: &'a Recoded,
    first: usize,
    picked: Option<&'a [u32]>,
}

impl<'a> Scalars<'a> {
    /// All values in order.
    pub fn all(recoded: &'a Recoded) -> Self {
        Self::after(recoded, 0)
    }

    /// The values from that index on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn after(recoded: &'a Recoded, first: usize) -> Self {
        assert!(first <= recoded.len(), "there are as many values");
        Self { recoded, first, picked: None }
    }

    /// The values at the given indices; zero where there is none. Indices may lie in a mapped file, which somebody can
    /// overwrite after they were checked: the sum is wrong then, as it is if they overwrite a base, and no panic ends
    /// the process.
    pub fn picked(recoded: &'a Recoded, indices: &'a [u32]) -> Self {
        Self { picked: Some(indices), ..Self::all(recoded) }
    }

    /// The number of scalars.
    pub fn len(&self) -> usize {
        self.picked.map_or(self.recoded.len() - self.first, <[u32]>::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digits of one window.
    pub(crate) fn digits(self, window: u32) -> impl Iterator<Item = i32> + Clone + use<'a> {
        let Self { recoded: Recoded { windows, columns }, first, picked } = self;
        let column = &columns[window as usize][first..];
        let half = windows.half(window);
        (0..self.len()).map(move |index| {
            let digit = column.get(picked.map_or(index, |indices| indices[index] as usize));
            digit.map_or(0, |digit| i32::from(*digit) - half)
        })
    }
}

/// The sum of the bases, each times its scalar, on all threads.
///
/// Scalars are cut into signed digits of c bits, and each window of digits is a task. Digits of zero cost nothing, so
/// neither do zero scalars nor the upper windows of short ones. The bases may lie in a mapped file. The time depends
/// on the scalars: neither this nor anything else in the prover hides them from someone who can time it.
///
/// # Panics
/// If there is not one scalar for each base, or there are 2^31 bases or more.
pub fn msm<P: Point>(bases: &[P], scalars: Scalars<'_>) -> Projective<P::Config> {
    P::msm(Backend::current(), bases, scalars)
}

/// The same on one back end.
pub(crate) fn msm_on<P: InLanes>(backend: Backend, bases: &[P], scalars: Scalars<'_>) -> Projective<P::Config> {
    on_backend!(
        backend,
        Unit => msm_by::<P, P::Adder<Unit>>(bases, scalars),
        Portable => msm_by::<P, PortableAdder<Field<P>>>(bases, scalars)
    )
}

fn msm_by<P: Point, A: Adder<P>>(bases: &[P], scalars: Scalars<'_>) -> Projective<P::Config> {
    assert_eq!(bases.len(), scalars.len(), "one scalar for each base");
    assert!(bases.len() <= window::POINTS_MAX, "an index of a base fits 31 bits");
    if bases.is_empty() {
        return Projective::zero();
    }
    let windows = scalars.recoded.windows;
    // Workspaces are large, so no more are made than there are windows in work at a time.
    let idle = Mutex::new(Vec::new());
    let workspaces = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = |position: u32| {
        let mut workspace = workspaces().pop().unwrap_or_else(Workspace::<P, A>::new);
        let sum = workspace.sum(bases, scalars.digits(position), windows.digit_max());
        workspaces().push(workspace);
        sum
    };
    let sums: Vec<_> = (0..windows.count).into_par_iter().with_max_len(1).map(sum).collect();
    let double = |point: Projective<P::Config>| (0..windows.bits).fold(point, |point, _| point.double());
    sums.into_iter().rev().fold(Projective::zero(), |total, sum| double(total) + sum)
}

type BigInt = <Fr as PrimeField>::BigInt;

/// How scalars are cut: `count` digits of `bits` bits, from -2^(bits - 1) to 2^(bits - 1).
///
/// Digits are read from scalars plus `offset`, 2^(bits - 1) in every digit but the highest, which takes care of the
/// carry from below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) bits: u32,
    pub(crate) count: u32,
    offset: BigInt,
}

impl Windows {
    /// The width that takes the fewest multiplications for a number of bases.
    fn for_length(length: usize) -> Self {
        let bits = (2..=WINDOW_BITS_MAX).min_by_key(|bits| Self::cost(length as u64, *bits));
        Self::new(bits.expect("there are widths to choose from"))
    }

    pub(crate) fn new(bits: u32) -> Self {
        let count = Self::count(bits);
        let mut offset = BigInt::zero();
        for window in 0..count - 1 {
            let bit = window * bits + bits - 1;
            offset.0[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        Self { bits, count, offset }
    }

    /// One bit beyond the scalars' takes the carry into the highest digit.
    pub(crate) fn count(bits: u32) -> u32 {
        (Fr::MODULUS_BIT_SIZE + 1).div_ceil(bits)
    }

    /// Multiplications in the field: an affine addition for each point and window, two and a share of the last sums
    /// for each bucket.
    fn cost(length: u64, bits: u32) -> u64 {
        u64::from(Self::count(bits)) * (length * 7 + (16 << (bits - 1)))
    }

    /// What is added to a window's digits so that none is below zero: their part of the offset.
    fn half(&self, window: u32) -> i32 {
        if window + 1 == self.count { 0 } else { self.digit_max() as i32 }
    }

    /// Writes the digits of scalars, each plus [`Windows::half`], window by window.
    fn recode<'a>(&self, values: &[Fr], columns: impl IntoIterator<Item = &'a mut [u16]>) {
        let mut shifted: Vec<BigInt> = values.iter().map(|value| self.shifted(value)).collect();
        let mask = (1u64 << self.bits) - 1;
        for (window, column) in (0..self.count).zip(columns) {
            let first_bit = window * self.bits;
            let (limb, shift) = ((first_bit / 64) as usize, first_bit % 64);
            for (digit, scalar) in column.iter_mut().zip(&shifted) {
                let low = scalar.0[limb] >> shift;
                let high = scalar.0.get(limb + 1).map_or(0, |next| (next << 1) << (63 - shift));
                *digit = ((low | high) & mask) as u16;
            }
        }
        shifted.zeroize();
    }

    /// The integer below the order plus the offset.
    fn shifted(&self, value: &Fr) -> BigInt {
        let mut shifted = value.into_bigint();
        let carry = shifted.add_with_carry(&self.offset);
        debug_assert!(!carry, "a scalar and the offset lie below 2^255");
        shifted
    }

    fn digit_max(&self) -> u32 {
        1 << (self.bits - 1)
    }
}

/// Wider windows have more buckets than a core's cache holds.
const WINDOW_BITS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1, G2, batch_mul};
    use ark_bn254::{g1, g2};
    use ark_ec::{AffineRepr, CurveConfig, short_weierstrass::Affine};
    use ark_ff::{Field, UniformRand};
    use rand::{Rng, SeedableRng};

    /// The points of these logarithms.
    fn of_logs<P: Point>(logs: &[Fr]) -> Vec<P> {
        let [points] = batch_mul(&Affine::generator(), [logs], &|_| ());
        points
    }

    /// Bases with infinities and repetitions, and scalars of every sort, with their logarithms' sum of products.
    fn case<P: Point>(len: usize, seed: u64) -> (Vec<P>, Vec<Fr>, Fr) {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let logs: Vec<Fr> = (0..len)
            .map(|_| match rng.gen_range(0..5) {
                0 => Fr::from(rng.gen_range(0..3u64)),
                _ => Fr::rand(&mut rng),
            })
            .collect();
        let scalars: Vec<Fr> = (0..len)
            .map(|_| match rng.gen_range(0..6) {
                0 => Fr::ZERO,
                1 => Fr::ONE,
                2 => -Fr::ONE,
                3 => Fr::from(rng.r#gen::<u64>()),
                _ => Fr::rand(&mut rng),
            })
            .collect();
        let sum = logs.iter().zip(&scalars).map(|(log, scalar)| *log * scalar).sum();
        (of_logs(&logs), scalars, sum)
    }

    fn sums_agree<P: Point>(len: usize, seed: u64)
    where
        P::Config: CurveConfig<ScalarField = Fr>,
    {
        let (bases, scalars, log) = case::<P>(len, seed);
        for backend in Backend::available() {
            let sum = P::msm(backend, &bases, Scalars::all(&Recoded::of(&scalars)));
            assert_eq!(sum, Affine::<P::Config>::generator() * log, "{backend}, {len}");
        }
    }

    #[test]
    fn agrees_with_the_sum_of_logarithms_across_pieces() {
        for (len, seed) in [(0, 1), (1, 2), (2, 3), (33, 4), (1000, 5)] {
            sums_agree::<G1>(len, seed);
            sums_agree::<G2>(len, seed);
        }
        sums_agree::<G1>(1 << 14, 6);
    }

    /// One bucket has more points than are halved together, and the others of its window enough for two lots more.
    #[test]
    fn agrees_where_buckets_are_halved_in_several_lots() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(10);
        let len = 3 * window::TOGETHER;
        let logs: Vec<Fr> = (0..len as u64).map(|i| Fr::from(i % 1000)).collect();
        let scalar = |i: usize| if i <= window::TOGETHER { Fr::ONE } else { Fr::rand(&mut rng) };
        let scalars: Vec<Fr> = (0..len).map(scalar).collect();
        let log: Fr = logs.iter().zip(&scalars).map(|(log, scalar)| *log * scalar).sum();
        let bases: Vec<G1> = of_logs(&logs);
        for backend in Backend::available() {
            let sum = G1::msm(backend, &bases, Scalars::all(&Recoded::of(&scalars)));
            assert_eq!(sum, Affine::<g1::Config>::generator() * log, "{backend}");
        }
    }

    #[test]
    fn picked_scalars_are_those_at_their_indices() {
        let (bases, scalars, _) = case::<G1>(10, 7);
        let indices = [9u32, 0, 3, 3];
        let expected: Projective<g1::Config> =
            bases.iter().zip(indices).map(|(base, i)| base.to_affine() * scalars[i as usize]).sum();
        assert_eq!(msm(&bases[..4], Scalars::picked(&Recoded::of(&scalars), &indices)), expected);
        // Where there is no scalar, the base counts nothing.
        let beyond = [9u32, 0, u32::MAX, 10];
        let expected = bases[0].to_affine() * scalars[9] + bases[1].to_affine() * scalars[0];
        assert_eq!(msm(&bases[..4], Scalars::picked(&Recoded::of(&scalars), &beyond)), expected);
    }

    /// Bases whose logarithms make every round meet equal, opposite and infinite summands, under scalars that fill one
    /// bucket, every bucket in order, and the edges of the digits.
    fn edges_agree<P: Point>() {
        const LEN: usize = 700;
        let logs: [fn(u64) -> Fr; 4] = [
            |_| Fr::ONE,
            |i| if i.is_multiple_of(2) { Fr::ONE } else { -Fr::ONE },
            |i| Fr::from(i / 3 % 2),
            |i| Fr::from(i % 5) - Fr::from(2u64),
        ];
        let half = Fr::from(2u64).pow([253]);
        let scalars: [fn(u64) -> Fr; 6] = [
            |_| Fr::ONE,
            |_| -Fr::ONE,
            |_| Fr::from(u64::MAX),
            |i| Fr::from(i),
            |i| -Fr::from(i),
            |i| Fr::from(2u64).pow([i % 254]),
        ];
        for logs in logs {
            let logs: Vec<Fr> = (0..LEN as u64).map(logs).collect();
            let bases: Vec<P> = of_logs(&logs);
            let equal = vec![half; LEN];
            let cases = scalars.iter().map(|scalar| (0..LEN as u64).map(scalar).collect()).chain([equal]);
            for (case, scalars) in cases.enumerate() {
                let log: Fr = logs.iter().zip(&scalars).map(|(log, scalar): (&Fr, &Fr)| *log * scalar).sum();
                for backend in Backend::available() {
                    let sum = P::msm(backend, &bases, Scalars::all(&Recoded::of(&scalars)));
                    assert_eq!(sum, Affine::<P::Config>::generator() * log, "{backend}, case {case}");
                }
            }
        }
    }

    #[test]
    fn equal_opposite_and_infinite_points_meet_in_buckets() {
        edges_agree::<G1>();
        edges_agree::<G2>();
    }

    #[test]
    fn every_width_of_windows_gives_back_the_scalar() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(9);
        for bits in 2..=WINDOW_BITS_MAX {
            let windows = Windows::new(bits);
            let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2u64).pow([253])];
            scalars.extend((0..20).map(|_| Fr::rand(&mut rng)));
            let recoded = Recoded::in_windows(windows, &scalars);
            let mut sums = vec![Fr::ZERO; scalars.len()];
            for window in (0..windows.count).rev() {
                for (sum, digit) in sums.iter_mut().zip(Scalars::all(&recoded).digits(window)) {
                    assert!(digit.unsigned_abs() <= windows.digit_max(), "width {bits}");
                    *sum = *sum * Fr::from(1u64 << bits) + Fr::from(digit);
                }
            }
            assert_eq!(sums, scalars, "width {bits}");
        }
    }

    #[test]
    fn of_zeros_alone_is_infinity() {
        let (bases, scalars, _) = case::<G2>(40, 8);
        assert_eq!(
            msm(&bases, Scalars::all(&Recoded::of(&vec![Fr::ZERO; scalars.len()]))),
            Projective::<g2::Config>::zero()
        );
    }
}
