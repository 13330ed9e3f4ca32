//! Cells that hold the liquidity of two tokens.

use super::Holding;

/// A pool: it holds two tokens and trades one for the other, and mints shares of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Pool {
    /// All shares, those that are locked among them.
    pub supply: u64,
    /// What it holds of its first token, the one of the lower index.
    pub first: Holding,
    /// What it holds of its second token.
    pub second: Holding,
    /// What it held of both after its last session.
    pub at_last_session: [u64; 2],
    /// The moving average of the price of the first token in the second, times 2^48: 96 bits.
    pub average: u128,
    /// The height of its last session.
    pub last_height: u32,
    /// The fee of orders, in parts of 10,000: 14 bits.
    pub fee: u16,
    /// How much orders weigh in their price, 1 or 2: 2 bits.
    pub weight: u8,
    /// The blocks that the past weighs in the average.
    pub averaging_blocks: u16,
}

impl Pool {
    /// The first element of a pool's cell.
    pub const KIND: u8 = 5;
    /// The shares that nobody can take out of a pool.
    pub const SHARES_LOCKED: u64 = 1_000;
}
