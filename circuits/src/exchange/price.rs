//! Prices, and the moving average of a pool.
//!
//! A price is that of one unit of the first token in units of the second, times 2^48, in 96 bits.

use super::{Division, Parameters, Reserves};

/// A price: 48 bits before the point and 48 after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(u128);

/// A price that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// It has more than 96 bits.
    #[error("a price of {0} / 2^48 has more than 96 bits")]
    High(u128),
    /// It is zero and has no inverse.
    #[error("a price of zero has no inverse")]
    Zero,
}

/// The bits of a price.
const BITS: u32 = 96;

/// Where the point is.
const FRACTION_BITS: u32 = 48;

impl Price {
    /// The lowest average: 2^32, which is 2^-16. An eighth of it is still so many units that rounding down does not
    /// hold an average where it is.
    pub const AVERAGE_MIN: Self = Self(1 << 32);

    /// The highest price: 2^96 - 1.
    pub const MAX: Self = Self((1 << BITS) - 1);

    /// Takes a price times 2^48.
    ///
    /// # Errors
    /// [`PriceError::High`] if it has more than 96 bits.
    pub fn new(bits: u128) -> Result<Self, PriceError> {
        if bits > Self::MAX.0 {
            return Err(PriceError::High(bits));
        }
        Ok(Self(bits))
    }

    /// The price times 2^48.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// floor(y 2^48 / x): the price at which a pool would trade very little, without a fee.
    ///
    /// # Errors
    /// [`PriceError::High`] if it has more than 96 bits.
    pub fn spot(reserves: Reserves) -> Result<Self, PriceError> {
        Self::new(Self::spot_division(reserves).quotient)
    }

    /// The division of [`Price::spot`]: a quotient of at most 111 bits, and a remainder below x.
    pub fn spot_division(reserves: Reserves) -> Division {
        let (dividend, x) = (u128::from(reserves.y()) << FRACTION_BITS, u128::from(reserves.x()));
        Division { quotient: dividend / x, remainder: dividend % x }
    }

    /// floor(2^96 / p): the price of the second token in the first.
    ///
    /// # Errors
    /// [`PriceError::Zero`] for zero, [`PriceError::High`] for 1, whose inverse is 2^96.
    pub fn inverse(self) -> Result<Self, PriceError> {
        Self::new((1u128 << BITS).checked_div(self.0).ok_or(PriceError::Zero)?)
    }
}

/// The most blocks that an average advances by at once.
pub const ADVANCE_BLOCKS_MAX: u32 = 1 << 16;

/// An average that a session has advanced, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// `dh`: the blocks since the last session, at most [`ADVANCE_BLOCKS_MAX`].
    pub blocks: u32,
    /// `q`: the spot price, held within an eighth of the average before: at most 9/8 of 2^96.
    pub held: u128,
    /// (average H + q dh) / (H + dh), before it is held within bounds.
    pub division: Division,
    /// The average after.
    pub average: Price,
}

/// Why an average does not advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the height {height} is not above {last}, that of the pool's last session")]
pub struct AverageError {
    /// The height that the batch refers to.
    pub height: u32,
    /// The height of the last session.
    pub last: u32,
}

/// Advances a pool's average to a height by what the pool holds before the session.
///
/// With e the average before and H its memory,
///
/// - dh = min(height - last, 2^16), where height > last;
/// - q = clamp(floor(y 2^48 / x), e - floor(e / 8), e + floor(e / 8)), so the lower bound is 7 e / 8 rounded up and the
///   upper one 9 e / 8 rounded down: both are exact integers from one shift, and nothing is divided by 8 twice;
/// - the average after is floor((e H + q dh) / (H + dh)), raised to 2^32 if below and lowered to 2^96 - 1 if above.
///
/// So one session moves the average by an eighth at most, however long the pool was idle: floor(e / 8) = e >> 3. To
/// show q takes no division by more than x: q is the upper bound u if y 2^48 >= u x, the lower bound l if y 2^48 < l x,
/// and otherwise the quotient. e H + q dh has at most 113 bits.
///
/// # Errors
/// [`AverageError`] if the height is not above that of the last session.
pub fn advance(
    average: Price,
    reserves: Reserves,
    parameters: &Parameters,
    last: u32,
    height: u32,
) -> Result<Advanced, AverageError> {
    let blocks = height.checked_sub(last).filter(|blocks| *blocks > 0).ok_or(AverageError { height, last })?;
    let blocks = blocks.min(ADVANCE_BLOCKS_MAX);
    let reach = average.0 >> 3;
    let held = Price::spot_division(reserves).quotient.clamp(average.0 - reach, average.0 + reach);
    let memory = u128::from(parameters.memory_blocks());
    let (sum, weights) = (average.0 * memory + held * u128::from(blocks), memory + u128::from(blocks));
    let division = Division { quotient: sum / weights, remainder: sum % weights };
    let average = Price(division.quotient.clamp(Price::AVERAGE_MIN.0, Price::MAX.0));
    Ok(Advanced { blocks, held, division, average })
}
