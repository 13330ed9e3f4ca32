//! Founding a pool, joining it and leaving it.

use super::{
    Division, DivisionError, FEE_MAX, LOCKED_SHARES, MEMORY_BLOCKS_MAX, Price, PriceError, RESERVE_END, multiply_divide,
};

/// What a pool holds of its two tokens: each from 1 to 2^63 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserves {
    x: u64,
    y: u64,
}

/// A reserve that no pool can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool would hold {held} of a token, not from 1 to 2^63 - 1")]
pub struct ReservesError {
    /// What it would hold.
    pub held: i128,
}

impl Reserves {
    /// Takes both.
    ///
    /// # Errors
    /// [`ReservesError`] if one of them is zero or reaches [`RESERVE_END`].
    pub fn new(x: u64, y: u64) -> Result<Self, ReservesError> {
        let reserve = |held: u64| match held {
            1..RESERVE_END => Ok(held),
            _ => Err(ReservesError { held: held.into() }),
        };
        Ok(Self { x: reserve(x)?, y: reserve(y)? })
    }

    /// What is held of the first token.
    pub fn x(&self) -> u64 {
        self.x
    }

    /// What is held of the second token.
    pub fn y(&self) -> u64 {
        self.y
    }

    /// x y, which has at most 126 bits.
    pub fn product(&self) -> u128 {
        u128::from(self.x) * u128::from(self.y)
    }

    /// The reserves after so much has come, or gone where it is negative.
    ///
    /// # Errors
    /// [`ReservesError`] as for [`Reserves::new`].
    pub fn moved(&self, x: i128, y: i128) -> Result<Self, ReservesError> {
        let reserve = |held: u64, moved: i128| {
            let held = moved.saturating_add(held.into());
            u64::try_from(held).map_err(|_| ReservesError { held })
        };
        Self::new(reserve(self.x, x)?, reserve(self.y, y)?)
    }
}

/// What a pool is founded with and never changes: fee, weight, and the memory of its average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    fee: u16,
    weight: u8,
    memory_blocks: u16,
}

/// Parameters that no pool can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// The fee is above a tenth.
    #[error("the fee is {0} parts of 10,000, more than {FEE_MAX}")]
    Fee(u16),
    /// The weight is neither 1 nor 2: at 0 the price would not heed what orders pay, and the pool could be drained.
    #[error("the weight is {0}, neither 1 nor 2")]
    Weight(u8),
    /// The average has no memory, or forgets too slowly.
    #[error("the average remembers {0} blocks, not from 1 to {MEMORY_BLOCKS_MAX}")]
    Memory(u16),
}

impl Parameters {
    /// Takes a fee in parts of 10,000, `w`, and `H` in blocks.
    ///
    /// # Errors
    /// Each of [`ParametersError`].
    pub fn new(fee: u16, weight: u8, memory_blocks: u16) -> Result<Self, ParametersError> {
        if fee > FEE_MAX {
            return Err(ParametersError::Fee(fee));
        }
        if !(1..=2).contains(&weight) {
            return Err(ParametersError::Weight(weight));
        }
        if !(1..=MEMORY_BLOCKS_MAX).contains(&memory_blocks) {
            return Err(ParametersError::Memory(memory_blocks));
        }
        Ok(Self { fee, weight, memory_blocks })
    }

    /// The fee in parts of 10,000, which stays in the pool.
    pub fn fee(&self) -> u16 {
        self.fee
    }

    /// `w`: 1 as Uniswap v2, 2 for a price that is the pool's own after a session.
    pub fn weight(&self) -> u8 {
        self.weight
    }

    /// `H`: the blocks that the past weighs in the average.
    pub fn memory_blocks(&self) -> u16 {
        self.memory_blocks
    }
}

/// What a pool has when it is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    /// All shares: floor(sqrt(x y)), less than 2^63. [`LOCKED_SHARES`] of them belong to nobody.
    pub shares: u64,
    /// The first average: the spot price, or the lowest average if that is higher.
    pub average: Price,
    /// The division that the spot price is the quotient of: y 2^48 by x.
    pub spot: Division,
}

/// Why a pool is not founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// There would be no more shares than those that are locked.
    #[error("{shares} shares would exist, and {LOCKED_SHARES} are locked")]
    Shares {
        /// floor(sqrt(x y)).
        shares: u64,
    },
    /// One token is worth too much of the other.
    #[error(transparent)]
    Price(#[from] PriceError),
}

/// Founds a pool: floor(sqrt(x y)) shares, and the average max(floor(y 2^48 / x), 2^32).
///
/// # Errors
/// Each of [`FoundError`].
pub fn found(reserves: Reserves) -> Result<Founded, FoundError> {
    let shares = u64::try_from(reserves.product().isqrt()).expect("the root of 126 bits has 63");
    if shares <= LOCKED_SHARES {
        return Err(FoundError::Shares { shares });
    }
    let spot = Price::spot_division(reserves);
    let average = Price::new(spot.quotient.max(Price::AVERAGE_MIN.bits()))?;
    Ok(Founded { shares, average, spot })
}

/// A pool that liquidity has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The shares that are made: the lesser of the two quotients.
    ///
    /// They alone are `m` with m x <= dx S, m y <= dy S, and (m + 1) x > dx S or (m + 1) y > dy S, which takes no
    /// quotient of more than 64 bits to show.
    pub minted: u64,
    /// All shares, after.
    pub shares: u64,
    /// What the pool holds, after.
    pub reserves: Reserves,
}

/// Why liquidity does not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The pool would hold too much.
    #[error(transparent)]
    Reserves(#[from] ReservesError),
    /// There would be more shares than 64 bits count.
    #[error("there would be more than 2^64 - 1 shares")]
    Shares,
}

/// Adds what is paid in, `dx` and `dy`, all of which the pool keeps; its shares grow by the lesser proportion.
///
/// # Errors
/// Each of [`JoinError`].
pub fn join(reserves: Reserves, shares: u64, dx: u64, dy: u64) -> Result<Joined, JoinError> {
    let after = reserves.moved(dx.into(), dy.into())?;
    let proportion = |paid: u64, held: u64| u128::from(paid) * u128::from(shares) / u128::from(held);
    let minted = proportion(dx, reserves.x).min(proportion(dy, reserves.y));
    let minted = u64::try_from(minted).map_err(|_| JoinError::Shares)?;
    let shares = shares.checked_add(minted).ok_or(JoinError::Shares)?;
    Ok(Joined { minted, shares, reserves: after })
}

/// A pool that shares have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// What they get of the first token, and its division.
    pub x: Division,
    /// What they get of the second token, and its division.
    pub y: Division,
    /// All shares, after.
    pub shares: u64,
    /// What the pool holds, after.
    pub reserves: Reserves,
}

/// Why shares do not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitError {
    /// Fewer shares than are locked would stay.
    #[error("of {shares} shares {given} cannot leave: {LOCKED_SHARES} are locked")]
    Shares {
        /// All shares, before.
        shares: u64,
        /// Those that would leave.
        given: u64,
    },
    /// Nothing can be divided.
    #[error(transparent)]
    Division(#[from] DivisionError),
    /// The pool would hold too little.
    #[error(transparent)]
    Reserves(#[from] ReservesError),
}

/// Takes `given` shares out: md(given, x, S) and md(given, y, S), where `S` - given >= 1,000.
///
/// As some shares stay, so does something of each token.
///
/// # Errors
/// [`ExitError::Shares`]; the others cannot occur.
pub fn exit(reserves: Reserves, shares: u64, given: u64) -> Result<Exited, ExitError> {
    let left = shares.checked_sub(given).filter(|left| *left >= LOCKED_SHARES);
    let left = left.ok_or(ExitError::Shares { shares, given })?;
    let part = |held: u64| multiply_divide(given.into(), held.into(), shares.into());
    let (x, y) = (part(reserves.x)?, part(reserves.y)?);
    let reserves = reserves.moved(-i128::from(x.amount()?), -i128::from(y.amount()?))?;
    Ok(Exited { x, y, shares: left, reserves })
}
