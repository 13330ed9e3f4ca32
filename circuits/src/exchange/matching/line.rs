//! The line of candidates, and where it is cut.

use super::{Book, Paid, Ratio};
use crate::exchange::Side;

/// Candidates by their limits, and sums of what they pay.
pub(super) struct Line<'b> {
    book: &'b Book<'b>,
    /// Positions in the book.
    places: Vec<usize>,
    /// What each one pays: nothing once it is set aside.
    paid: Vec<Paid>,
    /// A Fenwick tree: at `i` the sum of the places from `i - (i & -i)` to `i - 1`.
    sums: Vec<Paid>,
    /// What all pay.
    total: Paid,
}

/// A cut of the line.
struct Cut {
    /// The candidates before it.
    place: usize,
    /// What those pay whom it takes.
    paid: Paid,
}

impl<'b> Line<'b> {
    pub(super) fn new(book: &'b Book<'b>, candidates: &[usize]) -> Self {
        let mut places = candidates.to_vec();
        // Nearer to the cut are those who are served last: of equal limits the later ones.
        let rank = |position: usize| match book.orders[position].side {
            Side::X => (0, position),
            Side::Y => (1, usize::MAX - position),
        };
        places.sort_unstable_by(|a, b| book.limits[*a].compare(book.limits[*b]).then_with(|| rank(*a).cmp(&rank(*b))));
        let paid: Vec<_> = places.iter().map(|position| Paid::of(book.orders[*position])).collect();
        let mut sums = vec![Paid::default(); paid.len() + 1];
        for i in 1..sums.len() {
            sums[i] = sums[i].plus(paid[i - 1]);
            let parent = i + (i & i.wrapping_neg());
            if parent < sums.len() {
                sums[parent] = sums[parent].plus(sums[i]);
            }
        }
        let total = paid.iter().fold(Paid::default(), |total, paid| total.plus(*paid));
        Self { book, places, paid, sums, total }
    }

    /// Cuts the line, setting aside whoever would have to be cut himself: the positions that are in.
    pub(super) fn cross(&mut self) -> Vec<usize> {
        while self.set_one_aside().is_some() {}
        self.taken_by(&self.first_cut())
    }

    /// Sets the candidate aside who cannot be in as a whole, if there is one: his position.
    pub(super) fn set_one_aside(&mut self) -> Option<usize> {
        let cut = self.first_cut();
        let before = cut.place.checked_sub(1)?;
        self.price(cut.paid).is_below(self.limit(before)).then(|| {
            self.set_aside(before);
            self.places[before]
        })
    }

    /// The first cut whose price is at most the limit after it, or the last one.
    fn first_cut(&self) -> Cut {
        let (mut place, mut before) = (0, Paid::default());
        let mut step = self.paid.len().checked_ilog2().map_or(0, |bits| 1 << bits);
        while step > 0 {
            let next = place + step;
            if next <= self.paid.len() {
                let sum = before.plus(self.sums[next]);
                // The cut before the last place of the step: is its price still above that place's limit?
                let paid = self.at_cut(sum.minus(self.paid[next - 1]));
                if self.limit(next - 1).is_below(self.price(paid)) {
                    (place, before) = (next, sum);
                }
            }
            step /= 2;
        }
        Cut { place, paid: self.at_cut(before) }
    }

    /// What those pay whom a cut takes, from the sum of all before it.
    fn at_cut(&self, before: Paid) -> Paid {
        Paid { x: before.x, y: self.total.y - before.y }
    }

    fn price(&self, paid: Paid) -> Ratio {
        self.book.price(paid)
    }

    fn limit(&self, place: usize) -> Ratio {
        self.book.limits[self.places[place]]
    }

    fn set_aside(&mut self, place: usize) {
        let paid = std::mem::take(&mut self.paid[place]);
        self.total = self.total.minus(paid);
        let mut i = place + 1;
        while i < self.sums.len() {
            self.sums[i] = self.sums[i].minus(paid);
            i += i & i.wrapping_neg();
        }
    }

    fn taken_by(&self, cut: &Cut) -> Vec<usize> {
        let is_taken = |(place, position): (usize, &usize)| {
            let is_before = place < cut.place;
            let is_candidate = self.paid[place] != Paid::default();
            let is_taken = is_candidate && is_before == (self.book.orders[*position].side == Side::X);
            is_taken.then_some(*position)
        };
        self.places.iter().enumerate().filter_map(is_taken).collect()
    }
}
