//! A session of a pool: it opens with the sums that its orders will pay, gives each order its part at the one price
//! that follows, and clears when all have paid.

use serde::{Deserialize, Serialize};

use super::{Division, DivisionError, FEE_UNIT, Parameters, Reserves, ReservesError, multiply_divide};

/// What an order pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The pool's first token; it gets the second.
    X,
    /// The pool's second token; it gets the first.
    Y,
}

/// An open session: what it carries from its opening to its clearing, beside the pool's index.
///
/// N and D are below 2^79: at most F (2^63 - 1) + 2 F (2^64 - 1) < 50,000 * 2^63 < 2^79. Any other values are taken,
/// too, and nothing overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// N = F y + w (F - fee) B. The price of x in y is N / D.
    pub n: u128,
    /// D = F x + w (F - fee) A.
    pub d: u128,
    /// What is still to be paid in of x.
    pub unpaid_x: u64,
    /// What is still to be paid in of y.
    pub unpaid_y: u64,
    /// The pool's fee in parts of 10,000.
    pub fee: u16,
}

/// An order that a session has filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// What the order gets.
    pub output: u64,
    /// The division that it is the quotient of: o (F - fee) N / (F D), with N and D the other way round for an order
    /// that pays y. With a session's own N and D the product has at most 157 bits and the divisor 93.
    pub division: Division,
    /// The session after.
    pub session: Session,
}

/// Why an order is not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// It pays nothing.
    #[error("an order pays nothing")]
    Nothing,
    /// It pays more than the session still expects.
    #[error("an order pays {amount} where the session expects {unpaid} more")]
    Unexpected {
        /// What it pays.
        amount: u64,
        /// What is still to be paid in.
        unpaid: u64,
    },
    /// It would get more than an amount can be, or there is no price.
    #[error(transparent)]
    Division(#[from] DivisionError),
    /// The session's fee is more than all, or its sums are too large to be any session's.
    #[error("the session is none that a pool can have opened")]
    Session,
}

/// Why a session does not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClearError {
    /// Orders are missing.
    #[error("{x} of the first token and {y} of the second are still to be paid in")]
    Unpaid {
        /// What is missing of the first token.
        x: u64,
        /// What is missing of the second token.
        y: u64,
    },
    /// The pool would hold too little or too much.
    #[error(transparent)]
    Reserves(#[from] ReservesError),
    /// The pool would lose: the product of its reserves would fall.
    #[error("the product of the reserves would fall")]
    Product,
}

impl Session {
    /// Opens a session in which orders will pay `a` of the first token and `b` of the second.
    pub fn open(reserves: Reserves, parameters: &Parameters, a: u64, b: u64) -> Self {
        let unit = u128::from(FEE_UNIT);
        let weight = u128::from(parameters.weight()) * (unit - u128::from(parameters.fee()));
        Self {
            n: unit * u128::from(reserves.y()) + weight * u128::from(b),
            d: unit * u128::from(reserves.x()) + weight * u128::from(a),
            unpaid_x: a,
            unpaid_y: b,
            fee: parameters.fee(),
        }
    }

    /// What an order would get, whether the session expects it or not: o (F - fee) N / (F D) if it pays x, and o (F -
    /// fee) D / (F N) if it pays y.
    ///
    /// # Errors
    /// [`FillError::Division`] and [`FillError::Session`].
    pub fn quote(&self, side: Side, amount: u64) -> Result<Division, FillError> {
        let (bought, sold) = match side {
            Side::X => (self.n, self.d),
            Side::Y => (self.d, self.n),
        };
        let kept = FEE_UNIT.checked_sub(self.fee).ok_or(FillError::Session)?;
        let divisor = sold.checked_mul(FEE_UNIT.into()).ok_or(FillError::Session)?;
        Ok(multiply_divide(u128::from(amount) * u128::from(kept), bought, divisor)?)
    }

    /// Fills an order: takes what it pays off what the session expects, and says what it gets.
    ///
    /// # Errors
    /// Each of [`FillError`].
    pub fn fill(&self, side: Side, amount: u64) -> Result<Fill, FillError> {
        if amount == 0 {
            return Err(FillError::Nothing);
        }
        let mut session = *self;
        let unpaid = match side {
            Side::X => &mut session.unpaid_x,
            Side::Y => &mut session.unpaid_y,
        };
        *unpaid = unpaid.checked_sub(amount).ok_or(FillError::Unexpected { amount, unpaid: *unpaid })?;
        let division = self.quote(side, amount)?;
        Ok(Fill { output: division.amount()?, division, session })
    }

    /// Clears the session: the reserves after it, from those before and what has come of each token, or gone where that
    /// is negative.
    ///
    /// # Errors
    /// Each of [`ClearError`].
    pub fn clear(&self, before: Reserves, x: i128, y: i128) -> Result<Reserves, ClearError> {
        if (self.unpaid_x, self.unpaid_y) != (0, 0) {
            return Err(ClearError::Unpaid { x: self.unpaid_x, y: self.unpaid_y });
        }
        let after = before.moved(x, y)?;
        if after.product() < before.product() {
            return Err(ClearError::Product);
        }
        Ok(after)
    }
}
