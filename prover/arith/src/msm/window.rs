//! One window of a multi-scalar multiplication: the points are sorted by their digit, and each bucket is summed by halving
//! it round after round. All additions of a round are independent, so they share inversions, and no two of them
//! ever meet in one bucket.

use crate::{
    Point,
    affine::{Block, Xy},
    multiply::Multiply,
    point::Field,
};
use ark_ec::short_weierstrass::Projective;
use ark_ff::{AdditiveGroup, Zero};

/// Set in an entry of the order where the point's digit is negative.
const NEGATIVE: u32 = 1 << 31;

/// The most points that one multiplication takes: an index and a sign fit 32 bits.
pub(super) const POINTS_MAX: usize = NEGATIVE as usize;

/// What the windows that one thread works on use after one another.
pub(super) struct Workspace<P: Point> {
    /// The points whose digit is not zero, by the digit's size.
    order: Vec<u32>,
    /// What is left of each bucket, one bucket after the other.
    sums: Vec<Xy<Field<P>>>,
    /// How many points or sums are left of each bucket.
    lengths: Vec<u32>,
    steps: Vec<Step>,
    block: Block<Field<P>>,
}

impl<P: Point> Workspace<P> {
    pub(super) fn new() -> Self {
        Self { order: Vec::new(), sums: Vec::new(), lengths: Vec::new(), steps: Vec::new(), block: Block::new() }
    }

    /// Sums each point times its digit, given as the digits' iterator, which is run twice; digits go up to `digit_max` in size.
    pub(super) fn sum<D: Iterator<Item = i32>>(
        &mut self,
        bases: &[P],
        digits: impl Fn() -> D,
        digit_max: u32,
    ) -> Projective<P::Config> {
        self.sort(digits, digit_max);
        let sums: usize = self.lengths.iter().map(|length| length.div_ceil(2) as usize).sum();
        self.sums.clear();
        self.sums.resize(sums, Xy::INFINITY);
        self.halve::<true>(bases);
        while self.lengths.iter().any(|length| *length > 1) {
            self.halve::<false>(bases);
        }
        self.spread();
        self.weigh()
    }

    /// Finds the order and the lengths.
    fn sort<D: Iterator<Item = i32>>(&mut self, digits: impl Fn() -> D, digit_max: u32) {
        let Self { order, lengths, .. } = self;
        lengths.clear();
        lengths.resize(digit_max as usize, 0);
        for digit in digits().filter(|digit| *digit != 0) {
            lengths[digit.unsigned_abs() as usize - 1] += 1;
        }
        let mut total = 0;
        let start = |length: &u32| {
            total += length;
            total - length
        };
        let mut ends: Vec<u32> = lengths.iter().map(start).collect();
        order.clear();
        order.resize(total as usize, 0);
        for (index, digit) in digits().enumerate().filter(|(_, digit)| *digit != 0) {
            let end = &mut ends[digit.unsigned_abs() as usize - 1];
            order[*end as usize] = index as u32 | if digit < 0 { NEGATIVE } else { 0 };
            *end += 1;
        }
    }

    /// Adds the points of each bucket in pairs; a last one without partner stays. The first round reads the bases, later ones
    /// work in place: what is written never lies behind what is still to be read.
    fn halve<const FIRST: bool>(&mut self, bases: &[P]) {
        let (mut from, mut to) = (0, 0);
        for bucket in 0..self.lengths.len() {
            let pairs = self.lengths[bucket] / 2;
            for _ in 0..pairs {
                if FIRST {
                    prefetch_base(bases, &self.order, from as usize + PREFETCH_AHEAD);
                    prefetch_base(bases, &self.order, from as usize + PREFETCH_AHEAD + 1);
                }
                let [left, right] = [from, from + 1].map(|at| read::<P, FIRST>(bases, &self.order, &self.sums, at));
                self.block.announce(&left, &right);
                self.steps.push(Step { from, is_pair: true });
                from += 2;
                if self.block.len() == Block::<Field<P>>::ADDITIONS {
                    to = self.run::<FIRST>(bases, to);
                }
            }
            if self.lengths[bucket] % 2 == 1 {
                self.steps.push(Step { from, is_pair: false });
                from += 1;
            }
            self.lengths[bucket] -= pairs;
        }
        to = self.run::<FIRST>(bases, to);
        self.sums.truncate(to);
    }

    /// Carries out the steps, writing from `to` on; gives where the next ones write.
    fn run<const FIRST: bool>(&mut self, bases: &[P], mut to: usize) -> usize {
        let mut additions = self.block.invert();
        for Step { from, is_pair } in self.steps.drain(..) {
            let left = read::<P, FIRST>(bases, &self.order, &self.sums, from);
            self.sums[to] = if is_pair {
                let right = read::<P, FIRST>(bases, &self.order, &self.sums, from + 1);
                additions.next(&left, &right)
            } else {
                left
            };
            to += 1;
        }
        self.block.clear();
        to
    }

    /// Puts each bucket's sum to its place among all buckets, infinity where there is none.
    fn spread(&mut self) {
        let mut from = self.sums.len();
        self.sums.resize(self.lengths.len(), Xy::INFINITY);
        for (bucket, length) in self.lengths.iter().enumerate().rev() {
            self.sums[bucket] = match length {
                0 => Xy::INFINITY,
                _ => {
                    from -= 1;
                    self.sums[from]
                }
            };
        }
    }

    /// The sum of the buckets, each times its digit, which is one more than its place.
    ///
    /// The buckets are cut into stretches of equal length, whose sums are found side by side, so that they share inversions:
    /// adding a stretch from its end up to a running sum, and each running sum to a total, counts each bucket once for each
    /// place up to its own. The running sums then stand for the places before the stretch.
    fn weigh(&mut self) -> Projective<P::Config> {
        let stretches = self.sums.len().min(Block::<Field<P>>::ADDITIONS);
        let length = self.sums.len() / stretches;
        let mut running = vec![Xy::INFINITY; stretches];
        let mut totals = running.clone();
        for place in (0..length).rev() {
            let buckets = self.sums.iter().skip(place).step_by(length);
            add_each(&mut self.block, &mut running, buckets);
            add_each(&mut self.block, &mut totals, running.iter());
        }
        let (mut sum, mut before) = (Projective::zero(), Projective::zero());
        let mut running_sum = Projective::zero();
        for (running, total) in running.iter().zip(&totals).skip(1).rev() {
            sum += total.to_affine::<P::Config>();
            running_sum += running.to_affine::<P::Config>();
            before += running_sum;
        }
        sum += totals[0].to_affine::<P::Config>();
        (0..length.ilog2()).for_each(|_| {
            before.double_in_place();
        });
        sum + before
    }
}

/// Adds a summand to each sum, in one block.
fn add_each<'a, F: Multiply>(
    block: &mut Block<F>,
    sums: &mut [Xy<F>],
    summands: impl Iterator<Item = &'a Xy<F>> + Clone,
) {
    sums.iter().zip(summands.clone()).for_each(|(sum, summand)| block.announce(sum, summand));
    let mut additions = block.invert();
    sums.iter_mut().zip(summands).for_each(|(sum, summand)| *sum = additions.next(sum, summand));
    block.clear();
}

/// How many entries of the order before its turn a base is asked for.
const PREFETCH_AHEAD: usize = 24;

fn prefetch_base<P: Point>(bases: &[P], order: &[u32], position: usize) {
    if let Some(entry) = order.get(position) {
        prefetch(&bases[(entry & !NEGATIVE) as usize]);
    }
}

/// Asks for the cache line of a value that is to be read soon.
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = core::ptr::from_ref(value).cast::<i8>();
        // SAFETY: a prefetch reads nothing that the program sees and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Where a round takes one sum from, or the pair that makes it, and where it puts it.
#[derive(Clone, Copy)]
struct Step {
    from: u32,
    is_pair: bool,
}

/// Where a round's points are read: the first takes them from the bases, later ones from the sums of the one before.
#[inline(always)]
fn read<P: Point, const FIRST: bool>(bases: &[P], order: &[u32], sums: &[Xy<Field<P>>], position: u32) -> Xy<Field<P>> {
    if !FIRST {
        return sums[position as usize];
    }
    let entry = order[position as usize];
    let point = bases[(entry & !NEGATIVE) as usize].xy();
    if entry & NEGATIVE == 0 { point } else { -point }
}
