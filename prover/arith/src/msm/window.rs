//! The sum of one window: each base times a small digit.

use crate::{
    Point,
    affine::{Adder, Addition, Cache, Summands, prefetch},
};
use ark_ec::short_weierstrass::{Affine, Projective};
use ark_ff::{AdditiveGroup, Zero};

/// The bit of an entry that says that a base is to be negated: the sign of its digit.
const NEGATIVE: u32 = 1 << 31;

/// An index and a sign share 32 bits.
pub(super) const POINTS_MAX: usize = 1 << 31;

/// What a thread needs for one window after another.
///
/// Bases are sorted by the amount of their digit, and the points of each *bucket* added up in rounds, each of which
/// halves the buckets. All additions of a round are independent, so they share inversions and no two of them meet in
/// one bucket. So many buckets are halved together as hold [`TOGETHER`] points: enough additions a round to share an
/// inversion, and few enough sums to stay in a core's cache.
pub(super) struct Workspace<P: Point, A: Adder<P>> {
    adder: A,
    /// For each base whose digit is not zero, its index and sign; sorted by the digit's amount.
    order: Vec<u32>,
    /// The length of each bucket.
    lengths: Vec<u32>,
    /// The sums of this round, bucket after bucket, and those of the next one.
    sums: Vec<A::Sum>,
    next: Vec<A::Sum>,
    /// What every bucket adds up to, then the lists that weigh them.
    buckets: Vec<A::Sum>,
    /// Whether there is a sum at each of these positions.
    present: Vec<bool>,
}

/// How many points are in the buckets that are halved together, if no bucket alone has more.
pub(super) const TOGETHER: usize = 1 << 14;

impl<P: Point, A: Adder<P>> Workspace<P, A> {
    pub(super) fn new() -> Self {
        Self {
            adder: A::new(),
            order: Vec::new(),
            lengths: Vec::new(),
            sums: Vec::new(),
            next: Vec::new(),
            buckets: Vec::new(),
            present: Vec::new(),
        }
    }

    /// The sum of the bases, each times its digit, whose amount is `digit_max` at most, a power of two.
    pub(super) fn sum(
        &mut self,
        bases: &[P],
        digits: impl Iterator<Item = i32> + Clone,
        digit_max: u32,
    ) -> Projective<P::Config> {
        self.sort(digits, digit_max);
        if self.order.is_empty() {
            return Projective::zero();
        }
        self.fill(bases);
        self.weigh()
    }

    /// Finds the order and the lengths.
    fn sort(&mut self, digits: impl Iterator<Item = i32> + Clone, digit_max: u32) {
        let Self { order, lengths, .. } = self;
        lengths.clear();
        lengths.resize(digit_max as usize, 0);
        for digit in digits.clone().filter(|digit| *digit != 0) {
            lengths[digit.unsigned_abs() as usize - 1] += 1;
        }
        let mut total = 0;
        let start = |length: &u32| {
            total += length;
            total - length
        };
        let mut ends: Vec<u32> = lengths.iter().map(start).collect();
        // Every entry is written, so what is there need not be cleared.
        order.resize(total as usize, 0);
        for (index, digit) in (0..).zip(digits).filter(|(_, digit)| *digit != 0) {
            let end = &mut ends[digit.unsigned_abs() as usize - 1];
            order[*end as usize] = index | digit.cast_unsigned() & NEGATIVE;
            *end += 1;
        }
    }

    /// Adds up every bucket.
    fn fill(&mut self, bases: &[P]) {
        let Self { adder, order, lengths, sums, next, buckets, present, .. } = self;
        present.clear();
        present.extend(lengths.iter().map(|length| *length > 0));
        buckets.clear();
        let (mut order, mut lengths) = (&order[..], &mut lengths[..]);
        while !lengths.is_empty() {
            let (mut count, mut points) = (1, lengths[0] as usize);
            while count < lengths.len() && points + lengths[count] as usize <= TOGETHER {
                points += lengths[count] as usize;
                count += 1;
            }
            let (these, later) = lengths.split_at_mut(count);
            let (sorted, rest) = order.split_at(points);
            let base = |entry: &u32| (&bases[(entry & !NEGATIVE) as usize], entry & NEGATIVE != 0);
            let summand = |entry| {
                let (base, negated) = base(entry);
                (A::of_point(base), negated)
            };
            let lone = |entry| {
                let (base, negated) = base(entry);
                A::lift(base, negated)
            };
            halve(adder, Summands::Points, sorted, these, sums, summand, lone);
            while these.iter().any(|length| *length > 1) {
                halve(adder, Summands::Sums, sums, these, next, |sum| (A::of_sum(sum), false), |sum| *sum);
                core::mem::swap(sums, next);
            }
            let mut from = 0;
            buckets.extend(these.iter().map(|length| match length {
                0 => A::INFINITY,
                _ => {
                    from += 1;
                    sums[from - 1]
                }
            }));
            (order, lengths) = (rest, later);
        }
    }

    /// The sum of the buckets, each times its digit, which is one more than its place.
    ///
    /// For each bit of the places there is a list of the buckets that have it, which is summed up in rounds, beside
    /// the list of all buckets: a round adds the neighbours of that list, and the second of each two, which have the
    /// round's bit, make up the next list. So 2^k buckets take about 2^(k + 1) additions, a round's all independent.
    fn weigh(&mut self) -> Projective<P::Config> {
        let rounds = self.lengths.len().ilog2();
        // The list of all buckets comes first, then those of the bits, the highest first.
        let mut lists = vec![self.lengths.len()];
        for _ in 0..rounds {
            let all = lists[0];
            let pairs = (0..all / 2).map(|i| [2 * i, 2 * i + 1]);
            let seconds = (0..all.div_ceil(4)).map(|i| [4 * i + 1, (4 * i + 3).min(all - 1)]);
            let mut start = all;
            let others = lists[1..].iter().flat_map(|length| {
                let first = start;
                start += length;
                (0..length.div_ceil(2)).map(move |i| [first + 2 * i, first + (2 * i + 1).min(length - 1)])
            });
            let additions: Vec<[usize; 2]> = pairs.chain(seconds).chain(others).collect();
            self.add_present(&additions);
            lists[0] /= 2;
            lists[1..].iter_mut().for_each(|length| *length = length.div_ceil(2));
            lists.insert(1, all.div_ceil(4));
        }
        let point = |sum: &A::Sum| -> Affine<P::Config> { A::lower(sum).to_affine() };
        let bits =
            self.buckets[1..=rounds as usize].iter().fold(Projective::zero(), |sum, bit| sum.double() + point(bit));
        bits + point(&self.buckets[0])
    }

    /// Replaces the buckets by the sums of those at each two positions; two equal positions stand for one alone.
    fn add_present(&mut self, positions: &[[usize; 2]]) {
        let Self { adder, buckets, next, present, .. } = self;
        next.resize(next.len().max(positions.len()), A::INFINITY);
        let mut additions = Vec::with_capacity(positions.len());
        let mut presents = Vec::with_capacity(positions.len());
        for (to, [left, right]) in positions.iter().enumerate() {
            match (present[*left], present[*right]) {
                (true, true) if left != right => {
                    additions.push(Addition::plain(A::of_sum(&buckets[*left]), A::of_sum(&buckets[*right]), to as u32));
                }
                (true, _) => next[to] = buckets[*left],
                (false, _) => next[to] = buckets[*right],
            }
            presents.push(present[*left] || present[*right]);
        }
        adder.add(Summands::Sums, &additions, next);
        core::mem::swap(buckets, next);
        *present = presents;
    }
}

/// Halves buckets of the given lengths, bucket after bucket: adds each two neighbours, which `summand` gives with
/// their signs, and keeps what has no neighbour, as `lone` gives it.
fn halve<'a, P: Point, A: Adder<P>, T>(
    adder: &mut A,
    summands: Summands,
    mut items: &'a [T],
    lengths: &mut [u32],
    sums: &mut Vec<A::Sum>,
    summand: impl Fn(&'a T) -> (&'a A::Summand, bool),
    lone: impl Fn(&'a T) -> A::Sum,
) {
    let total: usize = lengths.iter().map(|length| length.div_ceil(2) as usize).sum();
    sums.resize(sums.len().max(total), A::INFINITY);
    let mut additions = Vec::with_capacity(A::BLOCK);
    let mut lones = Vec::with_capacity(A::BLOCK);
    let mut finish = |additions: &mut Vec<_>, lones: &mut Vec<_>| {
        adder.add(summands, additions, sums);
        additions.clear();
        lones.drain(..).for_each(|(to, item)| sums[to as usize] = lone(item));
    };
    // Points lie at random places, and are on their way to the core while a block of additions is listed.
    let listed = |item| {
        let (summand, negated) = summand(item);
        if summands == Summands::Points {
            prefetch(summand, Cache::Second);
        }
        (summand, negated)
    };
    let mut to = 0;
    for length in lengths {
        let (bucket, others) = items.split_at(*length as usize);
        let (pairs, last) = bucket.as_chunks();
        for [left, right] in pairs {
            let ((left, left_negated), (right, right_negated)) = (listed(left), listed(right));
            additions.push(Addition { left, right, left_negated, right_negated, to });
            to += 1;
            if additions.len() == A::BLOCK {
                finish(&mut additions, &mut lones);
            }
        }
        if let [last] = last {
            listed(last);
            lones.push((to, last));
            to += 1;
        }
        items = others;
        *length = length.div_ceil(2);
    }
    finish(&mut additions, &mut lones);
}
