//! What is due and not settled by a final link.

use super::super::link::payout_output;
use std::{
    collections::{VecDeque, vec_deque},
    ops::Range,
};
use taproof_verifier::follow::Payout;

/// The payouts that are due, in order: those with an output, and the number of all.
///
/// A withdrawal that is too small for an output costs whoever makes it next to nothing, so nothing is kept of it but
/// its index, as a gap between those that stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    /// In ascending order of their indices, all below the count.
    payouts: VecDeque<Payout>,
    count: u64,
}

impl Due {
    /// Joins what a snapshot keeps; `None` if that contradicts itself.
    pub(super) fn join(payouts: VecDeque<Payout>, count: u64) -> Option<Self> {
        let ascend = payouts.iter().zip(payouts.iter().skip(1)).all(|(one, next)| one.index < next.index);
        let is_below = payouts.back().is_none_or(|last| last.index < count);
        let have_outputs = payouts.iter().all(|payout| payout_output(payout).is_some());
        (ascend && is_below && have_outputs).then_some(Self { payouts, count })
    }

    /// How many payouts have fallen due, those without an output included.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next one.
    pub(super) fn push(&mut self, payout: Payout) {
        assert_eq!(payout.index, self.count, "payouts fall due in order");
        self.count += 1;
        if payout_output(&payout).is_some() {
            self.payouts.push_back(payout);
        }
    }

    /// Those with an output, from an index on.
    pub(super) fn from(&self, index: u64) -> vec_deque::Iter<'_, Payout> {
        self.payouts.range(self.position(index)..)
    }

    /// Those with an output and an index in the range.
    pub(super) fn within(&self, indices: Range<u64>) -> vec_deque::Iter<'_, Payout> {
        let end = self.position(indices.end);
        self.payouts.range(self.position(indices.start).min(end)..end)
    }

    /// Forgets those below an index.
    pub(super) fn forget_below(&mut self, index: u64) {
        self.payouts.drain(..self.position(index));
    }

    fn position(&self, index: u64) -> usize {
        self.payouts.partition_point(|payout| payout.index < index)
    }
}
