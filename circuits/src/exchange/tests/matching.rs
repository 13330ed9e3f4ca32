//! The matching against its rule, written once more for few orders as a search through all their subsets.

mod cases;

use super::{
    super::{
        Parameters, Reserves, Side,
        matching::{LeftOutError, Matching, Order, match_in_rounds, match_orders, set_aside},
    },
    any_amount, any_parameters, big, parameters, reserves,
};
use num_bigint::BigUint;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{cmp::Ordering, collections::VecDeque};

const TOP: u64 = (1 << 63) - 1;

/// A market: a pool and orders.
#[derive(Clone, Debug)]
struct Market {
    pool: Reserves,
    parameters: Parameters,
    orders: Vec<Order>,
}

/// A set of orders, one bit for each.
type Set = u32;

fn compare(a: (BigUint, BigUint), b: (BigUint, BigUint)) -> Ordering {
    (a.0 * b.1).cmp(&(b.0 * a.1))
}

fn to_set(positions: impl IntoIterator<Item = usize>) -> Set {
    positions.into_iter().fold(0, |set, position| set | 1 << position)
}

impl Market {
    fn run(&self) -> Matching {
        match_orders(self.pool, &self.parameters, &self.orders)
    }

    fn sets(&self) -> impl Iterator<Item = Set> {
        0..1 << self.orders.len()
    }

    fn members(&self, set: Set) -> impl Iterator<Item = &Order> {
        self.orders.iter().enumerate().filter(move |(position, _)| set >> position & 1 == 1).map(|(_, order)| order)
    }

    fn paid(&self, set: Set, side: Side) -> u128 {
        self.members(set).filter(|order| order.side == side).map(|order| u128::from(order.amount)).sum()
    }

    /// N and D of the session of a set.
    fn price(&self, set: Set) -> (BigUint, BigUint) {
        let weight = big(self.parameters.weight()) * big(10_000 - self.parameters.fee());
        let sum = |held: u64, side| big(10_000u32) * big(held) + &weight * big(self.paid(set, side));
        (sum(self.pool.y(), Side::Y), sum(self.pool.x(), Side::X))
    }

    /// Whether the pool and what a set pays stay below 2^63.
    fn is_bounded(&self, set: Set) -> bool {
        let sum = |held: u64, side| u128::from(held) + self.paid(set, side);
        sum(self.pool.x(), Side::X) < 1 << 63 && sum(self.pool.y(), Side::Y) < 1 << 63
    }

    /// What an order gets at the price of a set.
    fn output(&self, order: &Order, set: Set) -> BigUint {
        let (n, d) = self.price(set);
        let (bought, sold) = if order.side == Side::X { (n, d) } else { (d, n) };
        big(order.amount) * big(10_000 - self.parameters.fee()) * bought / (big(10_000u32) * sold)
    }

    /// Whether a set is a session that its orders agree to.
    fn is_agreed(&self, set: Set) -> bool {
        let agrees = |order: &Order| order.amount > 0 && self.output(order, set) >= big(order.least);
        self.is_bounded(set) && self.members(set).all(agrees)
    }

    /// An order's limit as a price.
    fn limit(&self, order: &Order) -> (BigUint, BigUint) {
        let kept = big(order.amount) * big(10_000 - self.parameters.fee());
        let least = big(order.least) * big(10_000u32);
        if order.side == Side::X { (least, kept) } else { (kept, least) }
    }

    /// How the price of a set compares with an order's limit.
    fn compare(&self, set: Set, order: &Order) -> Ordering {
        compare(self.price(set), self.limit(order))
    }

    /// The orders among some that bear the price of a set: of those whose limit it is exactly, too, if `if_equal`.
    fn bearing(&self, among: Set, set: Set, if_equal: bool) -> Set {
        let bears = |order: &Order| match (self.compare(set, order), order.side) {
            (Ordering::Equal, _) => if_equal,
            (Ordering::Greater, Side::X) | (Ordering::Less, Side::Y) => true,
            (Ordering::Less, Side::X) | (Ordering::Greater, Side::Y) => false,
        };
        (0..self.orders.len())
            .filter(|at| among >> at & 1 == 1 && bears(&self.orders[*at]))
            .fold(0, |s, at| s | 1 << at)
    }
}

impl Market {
    /// The sets of candidates that hold all that bear their price, and none that does not; those whose limit it is
    /// exactly may be in or not.
    fn balances(&self, among: Set) -> Vec<Set> {
        let has_no = |set: Set, other: Set| set & other == 0;
        let is_balance = |set: &Set| {
            has_no(*set, !among)
                && has_no(self.bearing(among, *set, false), !set)
                && has_no(*set, !self.bearing(among, *set, true))
        };
        self.sets().filter(is_balance).collect()
    }

    /// Whether exactly those candidates are in a set that bear its price.
    fn is_exact(&self, among: Set, set: Set) -> bool {
        set == self.bearing(among, set, true)
    }

    /// Offers: the smallest of a side are asked until one cannot take a place, then those of the other side, and so on;
    /// whoever has been asked is asked again in the next round.
    fn after_offers(&self, mut set: Set) -> Set {
        loop {
            let before = set;
            let mut asked = [Side::X, Side::Y].map(|side| {
                let is_of = |order: &Order| order.side == side && order.amount > 0;
                let is_asked = |at: &usize| before >> at & 1 == 0 && is_of(&self.orders[*at]);
                let mut asked: Vec<_> = (0..self.orders.len()).filter(is_asked).collect();
                asked.sort_by_key(|at| (self.orders[*at].amount, *at));
                VecDeque::from(asked)
            });
            while asked != [VecDeque::new(), VecDeque::new()] {
                while let Some(at) = asked[0].pop_front() {
                    if !self.is_agreed(set | 1 << at) {
                        break;
                    }
                    set |= 1 << at;
                }
                asked.reverse();
            }
            if set == before {
                return set;
            }
        }
    }

    /// Whether a set of candidates shows that an order cannot be in as a whole: it has all whose limits are better and
    /// none whose is worse, and without the order the price is on one side of its limit, with it on the other.
    fn crosses(&self, position: usize, others: Set, without: Set) -> bool {
        let order = &self.orders[position];
        let is_placed = |at: usize| {
            let other = &self.orders[at];
            match (compare(self.limit(other), self.limit(order)), other.side) {
                (Ordering::Equal, _) => true,
                (Ordering::Less, Side::X) | (Ordering::Greater, Side::Y) => without >> at & 1 == 1,
                (Ordering::Greater, Side::X) | (Ordering::Less, Side::Y) => without >> at & 1 == 0,
            }
        };
        let expected = match order.side {
            Side::X => (Ordering::Greater, Ordering::Less),
            Side::Y => (Ordering::Less, Ordering::Greater),
        };
        (self.compare(without, order), self.compare(without | 1 << position, order)) == expected
            && (0..self.orders.len()).filter(|at| others >> at & 1 == 1).all(is_placed)
    }
}

/// The orders that are in.
fn taken(matching: &Matching) -> Set {
    let bits = matching.outcomes.iter().enumerate().map(|(position, outcome)| Set::from(outcome.is_ok()) << position);
    bits.sum()
}

/// Orders near a pool's price, with limits on both sides of it, of sizes that move it: small numbers, so that limits
/// and prices are often equal, or large ones.
fn any_market(most: usize) -> impl Strategy<Value = Market> {
    let small = (1..40u64, 1..40u64, Just(20u64));
    let large = (1_000_000..2_000_000u64, 1_000_000..2_000_000u64, Just(1_000_000u64));
    let huge = (1..TOP, 1..TOP, Just(TOP));
    let scales = prop_oneof![3 => small, 3 => large, 1 => huge];
    (
        scales,
        any_parameters(),
        proptest::collection::vec(
            (any::<bool>(), any::<u32>(), prop_oneof![1 => Just(0), 9 => 700..1_250u32]),
            0..=most,
        ),
    )
        .prop_map(|((x, y, scale), parameters, orders)| {
            let order = |(is_x, size, part): (bool, u32, u32)| {
                let amount = ((u128::from(scale) * u128::from(size)) >> 32) as u64;
                let (side, sold, bought) = if is_x { (Side::X, x, y) } else { (Side::Y, y, x) };
                // Any price at all, or from seven tenths of what the spot price gives to a quarter above it.
                let spot = u128::from(amount) * u128::from(bought) / u128::from(sold);
                let least = spot * u128::from(part) / 1_000;
                Order { side, amount, least: least.min(u64::MAX.into()) as u64 }
            };
            let orders = orders.into_iter().map(order).collect();
            Market { pool: reserves(x, y), parameters, orders }
        })
}

/// Checks what everybody can check of a matching: the session's sums, that each order that is in gets what the session
/// gives and at least its limit, and that each one that is out says truly why.
fn assert_right(market: &Market, matching: &Matching) {
    let set = taken(matching);
    assert!(market.is_agreed(set));
    let session = matching.session;
    assert_eq!((big(session.n), big(session.d)), market.price(set));
    assert_eq!(u128::from(session.unpaid_x), market.paid(set, Side::X));
    assert_eq!(u128::from(session.unpaid_y), market.paid(set, Side::Y));
    assert_eq!(matching.outcomes.len(), market.orders.len());
    for (position, (order, outcome)) in market.orders.iter().zip(&matching.outcomes).enumerate() {
        let with = set | 1 << position;
        match *outcome {
            Ok(output) => assert_eq!(big(output), market.output(order, set)),
            Err(LeftOutError::Nothing) => assert_eq!(order.amount, 0),
            Err(LeftOutError::Bound) => assert!(order.amount > 0 && !market.is_bounded(with)),
            Err(LeftOutError::Limit { output }) => {
                assert_eq!(big(output), market.output(order, set));
                assert!(output < order.least && market.output(order, with) < big(order.least));
            }
            Err(LeftOutError::Size { output }) => {
                assert_eq!(big(output), market.output(order, with));
                assert!(output < order.least && market.output(order, set) >= big(order.least));
            }
            Err(LeftOutError::Other { position }) => {
                let other = &market.orders[position];
                assert!(matching.outcomes[position].is_ok() && market.output(other, with) < big(other.least));
                assert!(market.output(order, with) >= big(order.least));
            }
            Err(LeftOutError::Rounds) => assert!(market.is_agreed(with)),
        }
    }
}

/// The rule, by search.
fn assert_by_the_rule(market: &Market) {
    let matching = market.run();
    assert_right(market, &matching);
    let set = taken(&matching);
    // It is maximal: no order could be in as well.
    assert!(!matching.outcomes.contains(&Err(LeftOutError::Rounds)));
    let others = (0..market.orders.len()).filter(|position| set >> position & 1 == 0);
    others.for_each(|position| assert!(!market.is_agreed(set | 1 << position)));
    let (aside, crossed, candidates) = set_aside(market.pool, &market.parameters, &market.orders);
    assert_smallest_are_candidates(market, &candidates);
    let mut left = to_set(candidates);
    for position in aside {
        assert!(market.balances(left).iter().all(|balance| !market.is_exact(left, *balance)));
        let others = left & !(1 << position);
        let mut sets = market.sets().filter(|set| set & !others == 0);
        assert!(sets.any(|set| market.crosses(position, others, set)));
        left = others;
    }
    let (balances, crossed) = (market.balances(left), to_set(crossed));
    assert!(balances.contains(&crossed));
    // There is one price at which there is a balance. If one of them has all that bear the price, it is the one.
    for other in balances {
        assert!(compare(market.price(crossed), market.price(other)).is_eq());
        assert!(other == crossed || !market.is_exact(left, other));
    }
    assert_eq!(market.after_offers(crossed), set);
}

/// Bound: of each side the smallest that fit together are candidates.
fn assert_smallest_are_candidates(market: &Market, candidates: &[usize]) {
    let set = to_set(candidates.iter().copied());
    assert!(market.is_bounded(set));
    for (position, order) in market.orders.iter().enumerate().filter(|(position, _)| set >> position & 1 == 0) {
        let is_smaller = |other: &Order| other.side == order.side && other.amount <= order.amount;
        let smaller = to_set(candidates.iter().copied().filter(|at| is_smaller(&market.orders[*at])));
        assert!(order.amount == 0 || !market.is_bounded(smaller | 1 << position));
    }
}

/// Orders whose sizes are up to a part of the pool, and whose limits are near the spot price: `width` thousandths to
/// both sides of it.
fn close_market(random: &mut ChaCha8Rng, count: usize, part: u64, width: u64) -> Market {
    let scale = 1 << 40;
    let order = |_| {
        let amount = random.gen_range(1..=scale / part);
        let side = if random.r#gen() { Side::X } else { Side::Y };
        Order { side, amount, least: amount / 1_000 * random.gen_range(1_000 - width..=1_000 + width) }
    };
    let orders = (0..count).map(order).collect();
    Market { pool: reserves(scale, scale), parameters: parameters(0, 2, 1), orders }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn few_orders_are_matched_by_the_rule(market in any_market(7)) {
        assert_by_the_rule(&market);
    }

    /// Whatever orders say, they are matched, and the answer holds.
    #[test]
    fn no_orders_make_it_panic(
        pool in (1..=TOP, 1..=TOP), parameters in any_parameters(),
        orders in proptest::collection::vec((any::<bool>(), any_amount(), any_amount()), 0..20)
    ) {
        let order = |(is_x, amount, least)| Order { side: if is_x { Side::X } else { Side::Y }, amount, least };
        let orders = orders.into_iter().map(order).collect();
        let market = Market { pool: reserves(pool.0, pool.1), parameters, orders };
        assert_right(&market, &market.run());
    }

    /// The result is one of the orders, not of how they are listed, save where limits or sizes are equal.
    #[test]
    fn positions_only_break_ties(seed in any::<u64>(), turn in 1..30usize) {
        let mut market = close_market(&mut ChaCha8Rng::seed_from_u64(seed), 30, 20, 20);
        let mut limits: Vec<_> = market.orders.iter().map(|order| (order.side, order.amount, order.least)).collect();
        limits.sort_unstable_by_key(|(_, amount, _)| *amount);
        limits.dedup_by_key(|(_, amount, _)| *amount);
        prop_assume!(limits.len() == 30);
        let mut outcomes = market.run().outcomes;
        outcomes.rotate_left(turn);
        market.orders.rotate_left(turn);
        let turned = market.run().outcomes;
        for (one, other) in outcomes.iter().zip(turned) {
            match (one, other) {
                (Err(LeftOutError::Other { .. }), Err(LeftOutError::Other { .. })) => {}
                (one, other) => prop_assert_eq!(*one, other),
            }
        }
    }
}

/// Where limits are close to each other, some orders find a place only by an offer.
#[test]
fn close_orders_are_matched_by_the_rule() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut offered = 0;
    for _ in 0..1_500 {
        let market = close_market(&mut random, 7, 8, 60);
        assert_by_the_rule(&market);
        let outcomes = market.run().outcomes;
        offered += u32::from(match_in_rounds(market.pool, &market.parameters, &market.orders, 0).outcomes != outcomes);
    }
    assert!(offered > 0);
}

/// In markets of more orders than have all their subsets searched, offers are made in turn.
#[test]
fn offers_are_made_in_turn() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut offered = 0;
    for _ in 0..3_000 {
        let market = close_market(&mut random, 30, 10, 40);
        let (_, crossed, _) = set_aside(market.pool, &market.parameters, &market.orders);
        let (crossed, set) = (to_set(crossed), taken(&market.run()));
        assert_eq!(market.after_offers(crossed), set);
        offered += (set & !crossed).count_ones();
    }
    assert!(offered > 10, "{offered}");
}

/// The most orders that could be in is a question of subsets, and not what the rule answers. It comes near where one
/// order is a hundredth of the pool.
#[test]
fn nearly_the_most_orders_are_in() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (mut found, mut most) = (0, 0);
    for _ in 0..100 {
        let market = close_market(&mut random, 9, 100, 20);
        found += taken(&market.run()).count_ones();
        most += market.sets().filter(|set| market.is_agreed(*set)).map(Set::count_ones).max().expect("the empty set");
    }
    assert!(found * 100 >= most * 95, "{found} of {most}");
}
