//! The operator's matching: which orders of a session are in, which are left out, and why.
//!
//! An order is in as a whole or not at all, and every order that is in must get at least its limit at the price that
//! follows from all of them. So the question is about sets: another order moves the price for all.
//!
//! **Limits are prices.** An order that pays `o` of x gets floor(o (F - fee) N / (F D)), which is at least its limit
//! `l` exactly if N / D >= l F / (o (F - fee)), as l is an integer. One that pays y gets at least `l` exactly if N / D
//! <= o (F - fee) / (l F). These fractions are compared by products, so nothing here is rounded. An order that pays x
//! makes the price N / D fall, and bears any price from its limit up; one that pays y makes it rise, and bears any
//! price from its limit down.
//!
//! **The rule.**
//!
//! 1. *Bound.* Orders that pay nothing are out. Of each side the smallest are candidates, as long as the pool and all
//!    that they pay stay below 2^63. So no session of candidates breaks a bound: x' and y' are at most that sum, and
//!    at least 1.
//! 2. *Crossing.* Candidates stand in a line by their limits; at equal limits those that pay x are before those that
//!    pay y, and of a side the earlier ones farther out. A cut of the line takes those before it that pay x and those
//!    after it that pay y: all that would bear a price there. As the cut moves on, more of x and less of y is paid in
//!    and the price of the cut falls, while limits rise. Take the first cut whose price is at most the limit after it.
//!    If its price is also at least the limit before it, all that it takes bear its price, and no other candidate would
//!    bear it once he is in, too: those that it takes are in. Otherwise the price is above the limit of the order
//!    before the cut if the cut is moved before that order, and below it where it is: as a whole, this order is on the
//!    wrong side of any cut. It is set aside, and the line is cut again without it.
//! 3. *Offers.* Those that are out are offered a place once more, the smallest first, both sides in turn, until in a
//!    round none takes it. One takes it if the bound holds with it and it and all that are in bear the price with it.
//!
//! **It ends**: step 2 sets one order aside each time, step 3 ends after [`ROUNDS_MAX`] rounds. A cut is found by
//! bisection on sums that are kept as a Fenwick tree, so all takes O(n log n) comparisons, beside the rounds.
//!
//! **All limits are met**: step 2 ends with a cut that says so, and step 3 adds none that would change it.
//!
//! **It is maximal**: no order that is out could be in beside those that are, alone, as it says of itself by its
//! [`LeftOutError`], which anybody can check with one division. Only when the rounds run out it could, and is told so
//! ([`LeftOutError::Rounds`]). Two together might still: the most orders, or the most that is paid, is a question of
//! subsets that add up to given sums, which nobody can answer for many. And where there is a set that holds exactly
//! those candidates that bear its price, step 2 finds it: as the price of a cut falls and limits rise, there is at most
//! one. Orders that bear the price, but not what they would make of it, are known from auctions of electricity
//! as paradoxically rejected blocks (Euphemia, the algorithm of the European day-ahead markets).

use super::{FEE_UNIT, Parameters, RESERVE_END, Reserves, Session, Side, division::multiply};
use std::cmp::Ordering;

mod line;

use line::Line;

/// The most rounds of offers. Orders of a random book take two or three; a book that is made for it might take one for
/// each order, and the time of all of them squared.
pub const ROUNDS_MAX: usize = 16;

/// What the matching knows of an order: that its clause is valid and that it is funded is for the caller to see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it pays: x or y.
    pub side: Side,
    /// How much of it.
    pub amount: u64,
    /// Its limit: the least that it must get.
    pub least: u64,
}

/// Why an order is left out of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOutError {
    /// It pays nothing.
    #[error("it pays nothing")]
    Nothing,
    /// With it, the pool and what is paid in of its token would reach 2^63.
    #[error("the pool and what is paid in would reach 2^63")]
    Bound,
    /// At the session's price it would get too little, even if it did not move the price.
    #[error("at the session's price it would get {output}, less than its limit")]
    Limit {
        /// What it would get.
        output: u64,
    },
    /// At the session's price it would get its limit, but it would move the price too far for itself. A smaller order
    /// at the same price could be in.
    #[error("it is too large: with it, it would get {output}, less than its limit")]
    Size {
        /// What it would get.
        output: u64,
    },
    /// It would move the price too far for an order that is in.
    #[error("with it, the order at position {position} would get less than its limit")]
    Other {
        /// That order's position.
        position: usize,
    },
    /// It could be in, but the rounds of offers had ended.
    #[error("the rounds of offers had ended")]
    Rounds,
}

/// Which orders are in, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// The session as it opens: what is unpaid are the sums `A` and `B` to post.
    pub session: Session,
    /// For each order, in the order they were given: what it gets, or why it is left out.
    pub outcomes: Vec<Result<u64, LeftOutError>>,
    /// What the pool holds after the session.
    pub reserves: Reserves,
}

/// Chooses the orders of a session by the [rule](self). The result is a function of its arguments alone. Positions of
/// orders matter only between those of equal limits or of equal amounts, where the earlier one comes first.
///
/// # Examples
/// ```
/// use taproof_circuits::exchange::{
///     Parameters, Reserves, Side,
///     matching::{LeftOutError, Order, match_orders},
/// };
///
/// let pool = Reserves::new(1_000_000, 4_000_000)?;
/// let parameters = Parameters::new(30, 2, 10)?;
/// let orders = [
///     Order { side: Side::X, amount: 1_000, least: 3_900 },
///     Order { side: Side::Y, amount: 4_000, least: 990 },
///     Order { side: Side::X, amount: 1_000, least: 4_100 },
/// ];
/// let matching = match_orders(pool, &parameters, &orders);
/// let limit = LeftOutError::Limit { output: 3_988 };
/// assert_eq!(matching.outcomes, [Ok(3_988), Ok(997), Err(limit)]);
/// assert_eq!((matching.session.unpaid_x, matching.session.unpaid_y), (1_000, 4_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn match_orders(reserves: Reserves, parameters: &Parameters, orders: &[Order]) -> Matching {
    match_in_rounds(reserves, parameters, orders, ROUNDS_MAX)
}

pub(super) fn match_in_rounds(
    reserves: Reserves,
    parameters: &Parameters,
    orders: &[Order],
    rounds: usize,
) -> Matching {
    let book = Book::new(reserves, *parameters, orders);
    let by_size = book.by_size();
    let mut line = Line::new(&book, &book.within_bound(&by_size));
    let mut taken = Taken::new(&book, &line.cross());
    taken.offer(&by_size, rounds);
    taken.matching()
}

/// What the steps before the offers do: who is set aside, in order, who is in, and who was a candidate.
#[cfg(test)]
pub(super) fn set_aside(
    reserves: Reserves,
    parameters: &Parameters,
    orders: &[Order],
) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let book = Book::new(reserves, *parameters, orders);
    let candidates = book.within_bound(&book.by_size());
    let mut line = Line::new(&book, &candidates);
    let aside = std::iter::from_fn(|| line.set_one_aside()).collect();
    (aside, line.cross(), candidates)
}

/// A fraction; if the lower part is zero, it is above all others.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    over: u128,
    under: u128,
}

impl Ratio {
    fn compare(self, other: Self) -> Ordering {
        multiply(self.over, other.under).cmp(&multiply(other.over, self.under))
    }

    fn is_below(self, other: Self) -> bool {
        self.compare(other).is_lt()
    }
}

/// What orders pay of both tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Paid {
    x: u64,
    y: u64,
}

impl Paid {
    fn of(order: Order) -> Self {
        match order.side {
            Side::X => Self { x: order.amount, y: 0 },
            Side::Y => Self { x: 0, y: order.amount },
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    fn minus(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }
}

/// The orders and the pool that they trade with.
struct Book<'o> {
    reserves: Reserves,
    parameters: Parameters,
    orders: &'o [Order],
    /// The price that each order bears at worst.
    limits: Vec<Ratio>,
}

impl<'o> Book<'o> {
    fn new(reserves: Reserves, parameters: Parameters, orders: &'o [Order]) -> Self {
        let limit = |order: &Order| {
            let kept = u128::from(order.amount) * u128::from(FEE_UNIT - parameters.fee());
            let least = u128::from(order.least) * u128::from(FEE_UNIT);
            match order.side {
                Side::X => Ratio { over: least, under: kept },
                Side::Y => Ratio { over: kept, under: least },
            }
        };
        Self { reserves, parameters, orders, limits: orders.iter().map(limit).collect() }
    }

    /// The positions of orders that pay something, the smallest first.
    fn by_size(&self) -> Vec<usize> {
        let mut positions: Vec<_> =
            (0..self.orders.len()).filter(|position| self.orders[*position].amount > 0).collect();
        positions.sort_by_key(|position| self.orders[*position].amount);
        positions
    }

    /// Of positions by size those that fit into the pool together.
    fn within_bound(&self, by_size: &[usize]) -> Vec<usize> {
        let mut paid = Paid::default();
        let mut fits = |position: &usize| {
            let with = self.with(paid, *position);
            paid = with.unwrap_or(paid);
            with.is_some()
        };
        by_size.iter().copied().filter(|position| fits(position)).collect()
    }

    /// The sums with another order, if they are within the bound.
    fn with(&self, paid: Paid, position: usize) -> Option<Paid> {
        let order = self.orders[position];
        let (held, sum) = match order.side {
            Side::X => (self.reserves.x(), paid.x),
            Side::Y => (self.reserves.y(), paid.y),
        };
        // The sum before is within the bound, so that this one cannot overflow.
        let sum = (held + sum).checked_add(order.amount)?;
        (sum < RESERVE_END).then(|| paid.plus(Paid::of(order)))
    }

    fn session(&self, paid: Paid) -> Session {
        Session::open(self.reserves, &self.parameters, paid.x, paid.y)
    }

    /// The price if so much is paid in.
    fn price(&self, paid: Paid) -> Ratio {
        let Session { n, d, .. } = self.session(paid);
        Ratio { over: n, under: d }
    }

    /// Whether an order gets its limit at a price.
    fn bears(&self, position: usize, price: Ratio) -> bool {
        match self.orders[position].side {
            Side::X => !price.is_below(self.limits[position]),
            Side::Y => !self.limits[position].is_below(price),
        }
    }
}

/// The orders that are in.
struct Taken<'b> {
    book: &'b Book<'b>,
    is_in: Vec<bool>,
    paid: Paid,
    /// Of those that pay x, the one that bears the least fall of the price, and of those that pay y the least rise.
    tightest: [Option<usize>; 2],
}

impl<'b> Taken<'b> {
    fn new(book: &'b Book<'b>, positions: &[usize]) -> Self {
        let is_in = vec![false; book.orders.len()];
        let mut taken = Self { book, is_in, paid: Paid::default(), tightest: [None; 2] };
        positions.iter().for_each(|position| taken.take(*position));
        taken
    }

    fn take(&mut self, position: usize) {
        let order = self.book.orders[position];
        self.is_in[position] = true;
        self.paid = self.paid.plus(Paid::of(order));
        let tightest = &mut self.tightest[order.side as usize];
        let limits = &self.book.limits;
        let is_tighter = |than: usize| match order.side {
            Side::X => limits[than].is_below(limits[position]),
            Side::Y => limits[position].is_below(limits[than]),
        };
        if tightest.is_none_or(is_tighter) {
            *tightest = Some(position);
        }
    }

    /// Why an order that is out cannot be in, beside those that are.
    fn refusal(&self, position: usize) -> Option<LeftOutError> {
        let (book, order) = (self.book, self.book.orders[position]);
        if order.amount == 0 {
            return Some(LeftOutError::Nothing);
        }
        let Some(with) = book.with(self.paid, position) else { return Some(LeftOutError::Bound) };
        let output = |paid| {
            let division = book.session(paid).quote(order.side, order.amount).expect("a session of a pool");
            division.amount().expect("less than its limit")
        };
        if !book.bears(position, book.price(self.paid)) {
            return Some(LeftOutError::Limit { output: output(self.paid) });
        }
        let price = book.price(with);
        if !book.bears(position, price) {
            return Some(LeftOutError::Size { output: output(with) });
        }
        // Those that are paid in its own token get more by it.
        let tightest = self.tightest[order.side as usize].filter(|tightest| !book.bears(*tightest, price));
        tightest.map(|position| LeftOutError::Other { position })
    }

    /// Offers a place to all that are out, in rounds. Those of a side are asked until one cannot take it, then those of
    /// the other side, for whom each that took a place has made room.
    fn offer(&mut self, by_size: &[usize], rounds: usize) {
        for _ in 0..rounds {
            let out = |side| {
                let is_asked = |position: &&usize| !self.is_in[**position] && self.book.orders[**position].side == side;
                by_size.iter().filter(is_asked).copied().collect::<Vec<_>>().into_iter()
            };
            let (mut asked, mut others) = (out(Side::X), out(Side::Y));
            let mut has_taken = false;
            while asked.len() + others.len() > 0 {
                for position in asked.by_ref() {
                    if self.refusal(position).is_some() {
                        break;
                    }
                    self.take(position);
                    has_taken = true;
                }
                std::mem::swap(&mut asked, &mut others);
            }
            if !has_taken {
                break;
            }
        }
    }

    /// Runs the session.
    fn matching(&self) -> Matching {
        let session = self.book.session(self.paid);
        let (mut open, mut x, mut y) = (session, i128::from(self.paid.x), i128::from(self.paid.y));
        let mut outcome = |(position, order): (usize, &Order)| {
            if !self.is_in[position] {
                return Err(self.refusal(position).unwrap_or(LeftOutError::Rounds));
            }
            let fill = open.fill(order.side, order.amount).expect("the session expects it");
            match order.side {
                Side::X => y -= i128::from(fill.output),
                Side::Y => x -= i128::from(fill.output),
            }
            open = fill.session;
            Ok(fill.output)
        };
        let outcomes = self.book.orders.iter().enumerate().map(&mut outcome).collect();
        let reserves = open.clear(self.book.reserves, x, y).expect("a session within the bound clears");
        Matching { session, outcomes, reserves }
    }
}
