//! Transforms in lanes: the butterflies of [`crate::transform`], as many at a time as a vector has lanes.
//!
//! Values are plain words in Montgomery form with the radix 2^256, twiddle factors with the radix 2^260: so products
//! keep the values' form. Between passes values are below 2.4 p; the last pass takes them below p.
//!
//! A pass over long blocks does two layers at a time, so that values are read from memory half as often. A *leaf*, a
//! block that fits a core's first cache, is cut into stretches, one for each lane, and what is left of its layers,
//! which does not leave the stretches, is done on limbs, with twiddle factors that differ from lane to lane.

use super::{
    Task, Unit, Vector,
    field::{Loose, Reduced, ScalarModulus},
    vectors::{Words, words, words_mut},
};
use ark_bn254::Fr;
use core::marker::PhantomData;
use rayon::prelude::*;

type Lanes<V> = Reduced<V, ScalarModulus, 1>;
type Factors<V> = Loose<V, ScalarModulus, 1>;

/// The longest stretch.
const STRETCH_MAX: usize = 1 << 6;

/// The longest block that one task transforms: 2^9 elements take 20 kB in limbs of 52 bits, half as many 18 kB in
/// limbs of 29.
const fn leaf_max<V: Vector>() -> usize {
    V::LANES * STRETCH_MAX
}

/// The most lanes that a vector has here, and the most stretches of a leaf.
const LANES_MAX: usize = 8;

/// The shortest transform: stretches fill a vector.
pub(crate) const SIZE_MIN: usize = LANES_MAX * LANES_MAX;

/// How many steps a task of a long layer takes.
const PIECE: usize = 1 << 9;

/// The factors of the transform of n roots, all times 16, so that their words have the radix 2^260.
#[derive(Clone, Copy)]
pub(crate) struct Factors16<'a> {
    /// The factor of each block of a layer in the transform to values, for fewer than n / 2 blocks.
    pub(crate) twiddles: &'a [Fr],
    /// Those in the transform to coefficients.
    pub(crate) inverses: &'a [Fr],
    /// The factor of each place between the two.
    pub(crate) scales: &'a [Fr],
}

/// Which way a pass goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Splits blocks: (a, b) to (a + t b, a - t b).
    ToCoefficients,
    /// Joins blocks: (a, b) to (a + b, t (a - b)).
    ToValues,
}

/// Replaces values on a domain by those of the same polynomial on the odd coset.
///
/// # Panics
/// If there are fewer than [`SIZE_MIN`] values, or not as many as scales.
pub(crate) fn to_odd_coset<U: Unit>(values: &mut [Fr], factors: Factors16<'_>) {
    assert!(values.len() >= SIZE_MIN && values.len() == factors.scales.len());
    let values = words_mut(values);
    to_coefficients::<U>(values, 0, factors);
    to_values::<U>(values, 0, factors, true);
}

/// Splits block `block` of its layer down to the coefficients, and scales them.
fn to_coefficients<U: Unit>(values: &mut [Words], block: usize, factors: Factors16<'_>) {
    if values.len() <= leaf_max::<U::Vector>() {
        return U::perform(Leaf::<U::Vector> {
            values,
            block,
            factors,
            direction: Direction::ToCoefficients,
            is_last: false,
            vector: PhantomData,
        });
    }
    let length = values.len();
    long_pass::<U>(values, block, factors, Direction::ToCoefficients, false);
    let parts = parts::<U::Vector>(length);
    let next = |(part, values): (usize, &mut [Words])| to_coefficients::<U>(values, parts * block + part, factors);
    values.par_chunks_mut(length / parts).enumerate().for_each(next);
}

/// Joins block `block` of its layer up from the scaled coefficients; the last pass leaves values below p.
fn to_values<U: Unit>(values: &mut [Words], block: usize, factors: Factors16<'_>, is_last: bool) {
    if values.len() <= leaf_max::<U::Vector>() {
        return U::perform(Leaf::<U::Vector> {
            values,
            block,
            factors,
            direction: Direction::ToValues,
            is_last,
            vector: PhantomData,
        });
    }
    let length = values.len();
    let parts = parts::<U::Vector>(length);
    let next = |(part, values): (usize, &mut [Words])| to_values::<U>(values, parts * block + part, factors, false);
    values.par_chunks_mut(length / parts).enumerate().for_each(next);
    long_pass::<U>(values, block, factors, Direction::ToValues, is_last);
}

/// Into how many blocks a pass over a long one splits it: two layers are one pass if the second has blocks longer
/// than a leaf, too.
fn parts<V: Vector>(length: usize) -> usize {
    if length >= 4 * leaf_max::<V>() { 4 } else { 2 }
}

/// One or two layers of a block, on all threads.
fn long_pass<U: Unit>(values: &mut [Words], block: usize, factors: Factors16<'_>, direction: Direction, is_last: bool) {
    let parts = parts::<U::Vector>(values.len());
    let (low, high) = values.split_at_mut(values.len() / 2);
    let pass = |parts| U::perform(Pass::<U::Vector> { parts, block, factors, direction, is_last, vector: PhantomData });
    if parts == 2 {
        let pieces = low.par_chunks_mut(PIECE).zip(high.par_chunks_mut(PIECE));
        return pieces.for_each(|(low, high)| pass(Parts::Halves(low, high)));
    }
    let (first, second) = low.split_at_mut(low.len() / 2);
    let (third, fourth) = high.split_at_mut(high.len() / 2);
    let pieces = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
    let pieces = pieces.zip(third.par_chunks_mut(PIECE).zip(fourth.par_chunks_mut(PIECE)));
    pieces.for_each(|((first, second), (third, fourth))| pass(Parts::Quarters(first, second, third, fourth)));
}

/// The parts of a block, in order, or the same stretch of each.
enum Parts<'a> {
    Halves(&'a mut [Words], &'a mut [Words]),
    Quarters(&'a mut [Words], &'a mut [Words], &'a mut [Words], &'a mut [Words]),
}

/// One or two layers of a block.
struct Pass<'a, V> {
    parts: Parts<'a>,
    block: usize,
    factors: Factors16<'a>,
    direction: Direction,
    is_last: bool,
    vector: PhantomData<V>,
}

impl<V: Vector> Task for Pass<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { block, factors, direction, is_last, .. } = self;
        match (self.parts, direction) {
            (Parts::Halves(low, high), Direction::ToCoefficients) => split_halves::<V>(low, high, block, factors),
            (Parts::Halves(low, high), Direction::ToValues) => join_halves::<V>(low, high, block, factors, is_last),
            (Parts::Quarters(q0, q1, q2, q3), Direction::ToCoefficients) => {
                split_quarters::<V>([q0, q1, q2, q3], block, factors);
            }
            (Parts::Quarters(q0, q1, q2, q3), Direction::ToValues) => {
                join_quarters::<V>([q0, q1, q2, q3], block, factors, is_last);
            }
        }
    }
}

/// (a + t b, a - t b), with a below 2^256.1 and so the results below 2^257.
#[inline(always)]
fn split<V: Vector>(a: Factors<V>, b: Factors<V>, t: Factors<V>) -> [Factors<V>; 2] {
    let product = b.times(&t).limbs();
    [a.limbs().plus(product).carried(), a.limbs().minus(product).plus_p::<3>().carried()]
}

/// (a + b, t (a - b)), with both below 5p and a sum below 2^257.
#[inline(always)]
fn join<V: Vector>(a: Factors<V>, b: Factors<V>, t: Factors<V>) -> (Factors<V>, Lanes<V>) {
    (a.limbs().plus(b.limbs()).carried(), a.limbs().minus(b.limbs()).plus_p::<5>().carried().times(&t))
}

#[inline(always)]
fn split_halves<V: Vector>(low: &mut [Words], high: &mut [Words], block: usize, factors: Factors16<'_>) {
    let t = broadcast::<V>(&factors.inverses[block]);
    for (low, high) in low.chunks_exact_mut(V::LANES).zip(high.chunks_exact_mut(V::LANES)) {
        let [a, b] = split(load::<V>(low).loose(), load::<V>(high).loose(), t);
        store(low, a.reduced());
        store(high, b.reduced());
    }
}

#[inline(always)]
fn join_halves<V: Vector>(low: &mut [Words], high: &mut [Words], block: usize, factors: Factors16<'_>, is_last: bool) {
    let t = broadcast::<V>(&factors.twiddles[block]);
    for (low, high) in low.chunks_exact_mut(V::LANES).zip(high.chunks_exact_mut(V::LANES)) {
        let (a, b) = join(load::<V>(low).loose(), load::<V>(high).loose(), t);
        store_last(low, a.reduced(), is_last);
        store_last(high, b, is_last);
    }
}

/// Two layers: after the first, values are below 5.4 p; after the second below 8.4 p < 2^257.
#[inline(always)]
fn split_quarters<V: Vector>(quarters: [&mut [Words]; 4], block: usize, factors: Factors16<'_>) {
    let t = broadcast::<V>(&factors.inverses[block]);
    let [t0, t1] = [broadcast::<V>(&factors.inverses[2 * block]), broadcast::<V>(&factors.inverses[2 * block + 1])];
    let [q0, q1, q2, q3] = quarters;
    let low = q0.chunks_exact_mut(V::LANES).zip(q1.chunks_exact_mut(V::LANES));
    let high = q2.chunks_exact_mut(V::LANES).zip(q3.chunks_exact_mut(V::LANES));
    for ((q0, q1), (q2, q3)) in low.zip(high) {
        let [a, c] = split(load::<V>(q0).loose(), load::<V>(q2).loose(), t);
        let [b, d] = split(load::<V>(q1).loose(), load::<V>(q3).loose(), t);
        let [a, b] = split(a, b, t0);
        let [c, d] = split(c, d, t1);
        store(q0, a.reduced());
        store(q1, b.reduced());
        store(q2, c.reduced());
        store(q3, d.reduced());
    }
}

/// Two layers: after the first, values are below 4.8 p; after the second below 9.6 p < 2^257.
#[inline(always)]
fn join_quarters<V: Vector>(quarters: [&mut [Words]; 4], block: usize, factors: Factors16<'_>, is_last: bool) {
    let t = broadcast::<V>(&factors.twiddles[block]);
    let [t0, t1] = [broadcast::<V>(&factors.twiddles[2 * block]), broadcast::<V>(&factors.twiddles[2 * block + 1])];
    let [q0, q1, q2, q3] = quarters;
    let low = q0.chunks_exact_mut(V::LANES).zip(q1.chunks_exact_mut(V::LANES));
    let high = q2.chunks_exact_mut(V::LANES).zip(q3.chunks_exact_mut(V::LANES));
    for ((q0, q1), (q2, q3)) in low.zip(high) {
        let (a, b) = join(load::<V>(q0).loose(), load::<V>(q1).loose(), t0);
        let (c, d) = join(load::<V>(q2).loose(), load::<V>(q3).loose(), t1);
        let (a, c) = join(a, c, t);
        let (b, d) = join(b.loose(), d.loose(), t);
        store_last(q0, a.reduced(), is_last);
        store_last(q1, b.reduced(), is_last);
        store_last(q2, c, is_last);
        store_last(q3, d, is_last);
    }
}

/// All layers of a short block.
struct Leaf<'a, V> {
    values: &'a mut [Words],
    block: usize,
    factors: Factors16<'a>,
    direction: Direction,
    is_last: bool,
    vector: PhantomData<V>,
}

impl<V: Vector> Task for Leaf<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { values, block, factors, direction, is_last, .. } = self;
        match direction {
            Direction::ToCoefficients => {
                upper_layers::<V>(values, block, factors, direction, false);
                let mut stretches = [Lanes::zero(); STRETCH_MAX];
                let stretches = &mut stretches[..values.len() / V::LANES];
                load_stretches::<V>(stretches, values);
                split_stretches(stretches, V::LANES * block, factors.inverses);
                scale(stretches, &factors.scales[block * values.len()..][..values.len()]);
                store_stretches(values, stretches);
            }
            Direction::ToValues => {
                let mut stretches = [Lanes::zero(); STRETCH_MAX];
                let stretches = &mut stretches[..values.len() / V::LANES];
                load_stretches::<V>(stretches, values);
                join_stretches(stretches, V::LANES * block, factors.twiddles);
                store_stretches(values, stretches);
                upper_layers::<V>(values, block, factors, direction, is_last);
            }
        }
    }
}

/// The layers of a leaf that reach from lane to lane: those whose blocks are longer than a stretch.
#[inline(always)]
fn upper_layers<V: Vector>(
    values: &mut [Words],
    block: usize,
    factors: Factors16<'_>,
    direction: Direction,
    is_last: bool,
) {
    let layers = V::LANES.ilog2();
    for layer in 0..layers {
        // From the leaf down, or up to it.
        let depth = if direction == Direction::ToCoefficients { layer } else { layers - 1 - layer };
        let length = values.len() >> depth;
        for (i, values) in values.chunks_exact_mut(length).enumerate() {
            let (low, high) = values.split_at_mut(length / 2);
            let block = (block << depth) + i;
            match direction {
                Direction::ToCoefficients => split_halves::<V>(low, high, block, factors),
                Direction::ToValues => join_halves::<V>(low, high, block, factors, is_last && depth == 0),
            }
        }
    }
}

/// Splits stretches, block `first` and following of their layer, down to single values.
#[inline(always)]
fn split_stretches<V: Vector>(stretches: &mut [Lanes<V>], first: usize, inverses: &[Fr]) {
    let mut length = stretches.len();
    while length > 1 {
        let blocks = stretches.len() / length;
        for block in 0..blocks {
            let t = lane_factors::<V>(inverses, first * blocks + block, blocks);
            for i in block * length..block * length + length / 2 {
                let [a, b] = split(stretches[i].loose(), stretches[i + length / 2].loose(), t);
                (stretches[i], stretches[i + length / 2]) = (a.reduced(), b.reduced());
            }
        }
        length /= 2;
    }
}

/// Joins single values to stretches, block `first` and following of their layer.
#[inline(always)]
fn join_stretches<V: Vector>(stretches: &mut [Lanes<V>], first: usize, twiddles: &[Fr]) {
    let mut length = 2;
    while length <= stretches.len() {
        let blocks = stretches.len() / length;
        for block in 0..blocks {
            let t = lane_factors::<V>(twiddles, first * blocks + block, blocks);
            for i in block * length..block * length + length / 2 {
                let (a, b) = join(stretches[i].loose(), stretches[i + length / 2].loose(), t);
                (stretches[i], stretches[i + length / 2]) = (a.reduced(), b);
            }
        }
        length *= 2;
    }
}

#[inline(always)]
fn scale<V: Vector>(stretches: &mut [Lanes<V>], scales: &[Fr]) {
    let length = stretches.len();
    for i in 0..length {
        stretches[i] = stretches[i].loose().times(&lane_factors(scales, i, length));
    }
}

/// Reads stretches of values, one for each lane.
#[inline(always)]
fn load_stretches<V: Vector>(stretches: &mut [Lanes<V>], values: &[Words]) {
    let length = stretches.len();
    for i in (0..length).step_by(2) {
        let vectors = V::load_rows(&pair_rows::<V>(values, i, length)[..V::LANES]);
        stretches[i] = Lanes::from_words(&vectors[..4]);
        stretches[i + 1] = Lanes::from_words(&vectors[4..]);
    }
}

#[inline(always)]
fn store_stretches<V: Vector>(values: &mut [Words], stretches: &[Lanes<V>]) {
    let length = stretches.len();
    for i in (0..length).step_by(2) {
        let [[w0, w1, w2, w3], [w4, w5, w6, w7]] = [stretches[i].words(0), stretches[i + 1].words(0)];
        let mut rows = [[0; 8]; LANES_MAX];
        V::store_rows([w0, w1, w2, w3, w4, w5, w6, w7], &mut rows[..V::LANES]);
        for lane in 0..V::LANES {
            values[lane * length + i..][..2].as_flattened_mut().copy_from_slice(&rows[lane]);
        }
    }
}

/// The words of two neighbours for each lane, `stride` apart from lane to lane.
#[inline(always)]
fn pair_rows<V: Vector>(table: &[Words], first: usize, stride: usize) -> [&[u64; 8]; LANES_MAX] {
    let mut rows = [&[0; 8]; LANES_MAX];
    for lane in 0..V::LANES {
        let pair = table[lane * stride + first..][..2].as_flattened();
        rows[lane] = pair.try_into().expect("two elements are eight words");
    }
    rows
}

/// A factor for each lane, `stride` apart in the table.
#[inline(always)]
fn lane_factors<V: Vector>(table: &[Fr], first: usize, stride: usize) -> Factors<V> {
    let table = words(table);
    let mut rows = [[0; 8]; LANES_MAX];
    for lane in 0..V::LANES {
        rows[lane][..4].copy_from_slice(&table[first + lane * stride]);
    }
    let vectors = V::load_rows(&rows.each_ref()[..V::LANES]);
    Lanes::from_words(&vectors[..4]).loose()
}

/// The same factor in every lane.
#[inline(always)]
fn broadcast<V: Vector>(factor: &Fr) -> Factors<V> {
    let [w0, w1, w2, w3] = factor.0.0;
    Lanes::from_words(&[V::splat(w0), V::splat(w1), V::splat(w2), V::splat(w3)]).loose()
}

#[inline(always)]
fn load<V: Vector>(values: &[Words]) -> Lanes<V> {
    Lanes::from_words(&V::load_quarters(values))
}

#[inline(always)]
fn store<V: Vector>(values: &mut [Words], lanes: Lanes<V>) {
    V::store_quarters(lanes.words(0), values);
}

/// Writes values, below p after the last pass.
#[inline(always)]
fn store_last<V: Vector>(values: &mut [Words], lanes: Lanes<V>, is_last: bool) {
    store(values, if is_last { lanes.canonical() } else { lanes });
}
