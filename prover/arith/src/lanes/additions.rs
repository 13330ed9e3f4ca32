//! Affine additions in lanes, sharing inversions lane by lane.
//!
//! Points are used as they are stored, without a multiplication to change the Montgomery radix from 2^256 to 2^260:
//! the words of x, four times, are the form of x / 4 with the new radix, and those of y, twice, that of y / 8. With u
//! = 1/2 these are the coordinates (u^2 x, u^3 y) of the same point on the isomorphic curve y^2 = x^3 + u^6 b, and
//! the formulas of addition do not read b.

use super::{
    Mask, Register, Task, Unit, Vector,
    field::{BaseModulus, Limbs, Loose, Modulus, Reduced, canonical, half},
};
use crate::{
    Point,
    affine::{self, Adder, Cache, Xy, invert_all, prefetch},
    point::{Coordinate, Field},
};
use ark_ff::AdditiveGroup;
use bytemuck::{Pod, Zeroable};

/// A point on the isomorphic curve: each component of its coordinates below 2.4 p, zeros for infinity.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Scaled<P>(P);

/// Adds points whose coordinates have N components, in the lanes of a unit.
pub(crate) struct LaneAdder<U: Unit, const N: usize> {
    groups: Vec<Group<U::Vector, N>>,
    specials: Vec<Special>,
}

/// An addition in every lane.
struct Group<W: Vector, const N: usize> {
    denominator: Loose<W, BaseModulus, N>,
    /// The product of the denominators before.
    before: Loose<W, BaseModulus, N>,
    /// The lanes whose left and whose right summand is negated.
    negated: [Mask; 2],
}

/// Additions in groups of one for each lane.
struct Block<'a, const N: usize> {
    full: &'a [Addition<'a, N>],
    /// What is left of full groups. The lanes for which there is no addition repeat the last one, sum and place.
    last: Option<[Addition<'a, N>; LANES_MAX]>,
}

/// The lanes of a group in which the sum is not that of a chord.
struct Special {
    group: usize,
    left_infinite: Mask,
    right_infinite: Mask,
    tangent: Mask,
    opposite: Mask,
}

/// Summands in every lane: x is from 0 to below 4p, y or -y from 0 to below 2.4p.
struct Summands<W: Vector, const N: usize> {
    x: Limbs<W, BaseModulus, N>,
    y: Limbs<W, BaseModulus, N>,
}

/// The most lanes that a vector has.
const LANES_MAX: usize = 8;

/// How many additions before its turn a summand is asked for.
const PREFETCH_AHEAD: usize = 32;

/// An addition of summands of N components, each with the words of a coordinate.
type Addition<'a, const N: usize> = affine::Addition<'a, [[u64; 8]; N]>;

impl<U: Unit, const N: usize> LaneAdder<U, N> {
    /// Finds the groups and specials of a block; gives the product of all denominators.
    #[inline(always)]
    fn announce(&mut self, summands: affine::Summands, block: &Block<'_, N>) -> Reduced<U::Vector, BaseModulus, N> {
        self.groups.clear();
        self.specials.clear();
        let mut product = Loose::one();
        for (index, group) in block.groups::<U::Vector>().enumerate() {
            let later = index * U::Vector::LANES + PREFETCH_AHEAD;
            for addition in block.full.get(later..later + U::Vector::LANES).unwrap_or_default() {
                prefetch(addition.left, Cache::First);
                prefetch(addition.right, Cache::First);
            }
            let negated = negated::<U::Vector, N>(group);
            let [left, right] = Summands::<U::Vector, N>::read(summands, group, negated);
            // Below 8p.
            let mut denominator = right.x.minus(left.x).plus_p::<4>().carried();
            if denominator.maybe_zero() | left.maybe_infinite() | right.maybe_infinite() != 0 {
                let special = Special::find(index, &left, &right, &denominator);
                let none = special.left_infinite | special.right_infinite | special.opposite;
                let twice = left.y.plus(left.y).plus_p::<5>().carried();
                denominator = denominator.replaced(special.tangent, twice).replaced(none, Loose::one());
                self.specials.push(special);
            }
            self.groups.push(Group { denominator, before: product, negated });
            product = product.times(&denominator).loose();
        }
        product.reduced()
    }

    /// Finds the sums of a block, from the last group to the first.
    #[inline(always)]
    fn finish<P: Point>(
        &mut self,
        summands: affine::Summands,
        block: &Block<'_, N>,
        sums: &mut [Scaled<P>],
        mut inverse: Loose<U::Vector, BaseModulus, N>,
    ) {
        for (index, group) in block.groups::<U::Vector>().enumerate().rev() {
            let Group { denominator, before, negated } = &self.groups[index];
            let [left, right] = Summands::<U::Vector, N>::read(summands, group, *negated);
            let denominator_inverse = inverse.times(before);
            inverse = inverse.times(denominator).loose();
            let special = self.specials.pop_if(|special| special.group == index);
            // Below 10p, which is below 2^257.
            let mut numerator = right.y.minus(left.y).plus_p::<5>().carried();
            if let Some(special) = &special {
                let square = left.x.carried().squared().limbs();
                numerator = numerator.replaced(special.tangent, square.plus(square).plus(square).carried());
            }
            let slope = numerator.times(&denominator_inverse.loose()).loose();
            // x is below 10.4 p < 2^257, left.x - x + 3p below 7p, and y below 7.4 p.
            let mut x = slope.squared().limbs().minus(left.x).minus(right.x).plus_p::<8>().carried().reduced();
            let run = left.x.minus(x.limbs()).plus_p::<3>().carried();
            let mut y = slope.times(&run).limbs().minus(left.y).plus_p::<3>().carried().reduced();
            if let Some(Special { left_infinite, right_infinite, opposite, .. }) = special {
                let nothing = opposite | left_infinite & right_infinite;
                x = x.replaced(left_infinite, right.x.carried().reduced());
                y = y.replaced(left_infinite, right.y.plus_p::<3>().carried().reduced());
                x = x.replaced(right_infinite, left.x.carried().reduced()).zeroed(nothing);
                y = y.replaced(right_infinite, left.y.plus_p::<3>().carried().reduced()).zeroed(nothing);
            }
            store(group, sums, &x, &y);
        }
    }
}

impl<W: Vector, const N: usize> Summands<W, N> {
    /// Reads the left and right summand for each lane of a group.
    #[inline(always)]
    fn read(summands: affine::Summands, group: &[Addition<'_, N>], negated: [Mask; 2]) -> [Self; 2] {
        const NONE: &[u64; 8] = &[0; 8];
        let mut rows = [[[NONE; LANES_MAX]; N]; 2];
        assert_eq!(group.len(), W::LANES, "an addition for each lane");
        for lane in 0..W::LANES {
            for i in 0..N {
                rows[0][i][lane] = &group[lane].left[i];
                rows[1][i][lane] = &group[lane].right[i];
            }
        }
        [Self::load(summands, &rows[0], negated[0]), Self::load(summands, &rows[1], negated[1])]
    }

    #[inline(always)]
    fn load(summands: affine::Summands, rows: &[[&[u64; 8]; LANES_MAX]; N], negated: Mask) -> Self {
        let mut words = [[W::splat(0); 8]; N];
        for i in 0..N {
            words[i] = W::load_rows(&rows[i][..W::LANES]);
        }
        let (x, y) = words.as_flattened().split_at(4 * N);
        let (x, y) = match summands {
            affine::Summands::Points => (Limbs::from_words::<2>(x), Limbs::from_words::<1>(y)),
            affine::Summands::Sums => (Reduced::from_words(x).limbs(), Reduced::from_words(y).limbs()),
        };
        Self { x, y: if negated == 0 { y } else { y.negated_in(negated) } }
    }

    /// The lanes that may hold infinity: all that do, and hardly any others.
    #[inline(always)]
    fn maybe_infinite(&self) -> Mask {
        self.x.all_zero()
    }
}

impl Special {
    /// Looks at a group closely. The denominator is right.x - left.x + 4p.
    #[inline(always)]
    fn find<W: Vector, const N: usize>(
        group: usize,
        left: &Summands<W, N>,
        right: &Summands<W, N>,
        denominator: &Loose<W, BaseModulus, N>,
    ) -> Self {
        let left_infinite = left.x.all_zero() & left.y.all_zero();
        let right_infinite = right.x.all_zero() & right.y.all_zero();
        let infinite = left_infinite | right_infinite;
        let same_x = denominator.is_zero() & !infinite;
        let same_y = is_zero(right.y.minus(left.y)) & !is_zero(left.y);
        Self { group, left_infinite, right_infinite, tangent: same_x & same_y, opposite: same_x & !same_y }
    }
}

impl<'a, const N: usize> Block<'a, N> {
    #[inline(always)]
    fn of<W: Vector>(additions: &'a [Addition<'a, N>]) -> Self {
        let (full, rest) = additions.split_at(additions.len() / W::LANES * W::LANES);
        let last = rest.last().map(|last| core::array::from_fn(|lane| *rest.get(lane).unwrap_or(last)));
        Self { full, last }
    }

    /// An addition for each lane, group after group.
    #[inline(always)]
    fn groups<W: Vector>(&self) -> impl DoubleEndedIterator<Item = &[Addition<'a, N>]> + ExactSizeIterator {
        let count = self.full.len() / W::LANES + usize::from(self.last.is_some());
        (0..count).map(move |index| match &self.last {
            Some(last) if index + 1 == count => &last[..W::LANES],
            _ => &self.full[index * W::LANES..][..W::LANES],
        })
    }
}

/// The lanes of a group whose left and whose right summand is negated.
#[inline(always)]
fn negated<W: Vector, const N: usize>(group: &[Addition<'_, N>]) -> [Mask; 2] {
    let mut negated = [0; 2];
    for (lane, addition) in group.iter().take(W::LANES).enumerate() {
        negated[0] |= Mask::from(addition.left_negated) << lane;
        negated[1] |= Mask::from(addition.right_negated) << lane;
    }
    negated
}

/// The lanes whose value, above -5p and below 5p, is a multiple of p.
#[inline(always)]
fn is_zero<W: Vector, const N: usize>(limbs: Limbs<W, BaseModulus, N>) -> Mask {
    limbs.plus_p::<5>().carried().reduced().loose().is_zero()
}

/// Writes the sums of a group to their places.
#[inline(always)]
fn store<P: Point, W: Vector, const N: usize>(
    group: &[Addition<'_, N>],
    sums: &mut [Scaled<P>],
    x: &Reduced<W, BaseModulus, N>,
    y: &Reduced<W, BaseModulus, N>,
) {
    let mut words = [[W::splat(0); 8]; N];
    let flat = words.as_flattened_mut();
    for i in 0..N {
        flat[4 * i..][..4].copy_from_slice(&x.words(i));
        flat[4 * (N + i)..][..4].copy_from_slice(&y.words(i));
    }
    let mut rows = [[[0; 8]; LANES_MAX]; N];
    for i in 0..N {
        W::store_rows(words[i], &mut rows[i][..W::LANES]);
    }
    for (lane, addition) in group.iter().enumerate() {
        let place: &mut [[u64; 8]] = bytemuck::cast_slice_mut(core::slice::from_mut(&mut sums[addition.to as usize]));
        for i in 0..N {
            place[i] = rows[i][lane];
        }
    }
}

/// The inverses, none of the elements being zero.
#[inline(always)]
fn inverted<W: Vector, F: Coordinate, const N: usize>(
    elements: Reduced<W, BaseModulus, N>,
) -> Loose<W, BaseModulus, N> {
    let mut numbers = [[[0; 4]; LANES_MAX]; N];
    for i in 0..N {
        let words = elements.words(i);
        for j in 0..4 {
            let mut lanes = [0; LANES_MAX];
            words[j].store(&mut lanes[..W::LANES]);
            numbers[i].iter_mut().zip(lanes).for_each(|(number, word)| number[j] = word);
        }
    }
    invert_lanes::<F, N>(&mut numbers, W::LANES);
    let mut words = [[W::splat(0); 4]; N];
    for i in 0..N {
        let rows = numbers[i].map(|[w0, w1, w2, w3]| [w0, w1, w2, w3, 0, 0, 0, 0]);
        let rows: [&[u64; 8]; LANES_MAX] = rows.each_ref();
        words[i].copy_from_slice(&W::load_rows(&rows[..W::LANES])[..4]);
    }
    Reduced::from_words(words.as_flattened()).loose()
}

/// Inverts the elements of the first lanes, by one inversion.
fn invert_lanes<F: Coordinate, const N: usize>(words: &mut [[[u64; 4]; LANES_MAX]; N], lanes: usize) {
    let element = |lane: usize| F::from_words(|i| canonical::<BaseModulus>(words[i][lane]));
    let mut elements: Vec<F> = (0..lanes).map(element).collect();
    invert_all(&mut elements, &mut Vec::with_capacity(lanes));
    // Words w are those of the element w / 2^256, but stand for w / 2^260: the inverse's are 2^520 / w, and 2^512 / w
    // are those of the element's inverse.
    for (lane, element) in elements.into_iter().enumerate() {
        let scaled = (0..8).fold(element, |element, _| element.double());
        words.iter_mut().enumerate().for_each(|(i, words)| words[lane] = scaled.words(i));
    }
}

impl<U: Unit, P: Point, const N: usize> Adder<P> for LaneAdder<U, N> {
    type Sum = Scaled<P>;
    type Summand = [[u64; 8]; N];

    const INFINITY: Self::Sum = Scaled(P::INFINITY);
    const BLOCK: usize = 1 << 10;

    fn new() -> Self {
        Self { groups: Vec::new(), specials: Vec::new() }
    }

    #[inline(always)]
    fn of_point(point: &P) -> &Self::Summand {
        let rows = bytemuck::cast_slice(core::slice::from_ref(point));
        rows.try_into().expect("a component takes eight words of a point")
    }

    #[inline(always)]
    fn of_sum(sum: &Self::Sum) -> &Self::Summand {
        <Self as Adder<P>>::of_point(&sum.0)
    }

    #[inline(always)]
    fn lift(point: &P, negated: bool) -> Self::Sum {
        let Xy { x, y } = point.xy();
        let twice = y.double();
        Scaled(P::from_xy(&Xy { x: x.double().double(), y: if negated { -twice } else { twice } }))
    }

    fn lower(sum: &Self::Sum) -> Xy<Field<P>> {
        let words: &[[u64; 4]] = bytemuck::cast_slice(core::slice::from_ref(&sum.0));
        let half = |words| half(words, &BaseModulus::MODULUS);
        let [x, y] = [0, N].map(|first| move |i: usize| half(canonical::<BaseModulus>(words[first + i])));
        Xy { x: Field::<P>::from_words(|i| half(x(i))), y: Field::<P>::from_words(y) }
    }

    fn add(&mut self, summands: affine::Summands, additions: &[Addition<'_, N>], sums: &mut [Self::Sum]) {
        U::perform(Add { adder: self, summands, additions, sums });
    }
}

/// A call of [`Adder::add`].
struct Add<'a, U: Unit, P, const N: usize> {
    adder: &'a mut LaneAdder<U, N>,
    summands: affine::Summands,
    additions: &'a [Addition<'a, N>],
    sums: &'a mut [Scaled<P>],
}

impl<U: Unit, P: Point, const N: usize> Task for Add<'_, U, P, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for block in self.additions.chunks(<LaneAdder<U, N> as Adder<P>>::BLOCK) {
            let block = Block::of::<U::Vector>(block);
            let product = self.adder.announce(self.summands, &block);
            let inverse = inverted::<U::Vector, Field<P>, N>(product);
            self.adder.finish(self.summands, &block, self.sums, inverse);
        }
    }
}
