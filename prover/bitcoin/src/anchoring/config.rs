//! What an operator chooses: fees, when to raise them, and depths.

use crate::anchor::FeeRate;

/// What the reveal's output returns, from which its fee can be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headroom {
    /// As much as raising the fee of the whole package to the cap takes, or what the coins allow.
    ForCap,
    /// A fixed amount, in satoshi.
    Fixed(u64),
}

/// What an operator chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Never pay less.
    pub fee_floor: FeeRate,
    /// Never pay more, for commit and reveal together.
    pub fee_cap: FeeRate,
    /// In how many blocks an anchor should be mined, for the node's estimate.
    pub target_blocks: u16,
    /// After how many blocks without the anchor its fee is raised.
    pub bump_every_blocks: u32,
    /// By how much at least, in percent of the package's rate.
    pub bump_percent: u32,
    /// What the reveal returns.
    pub headroom: Headroom,
    /// How many blocks, its own included, make an anchor safe: leftovers are swept from then on.
    pub safe_depth_blocks: u32,
    /// How many blocks, its own included, make an anchor final, as the rollup's parameters have it.
    pub final_depth_blocks: u32,
    /// How many reveals at rising fees an external signer signs at once.
    pub ladder_rungs: u8,
    /// How many batches at which nothing can happen any more are remembered.
    pub closed_kept: usize,
}

/// Why a configuration makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The floor is above the cap.
    #[error("the fee floor of {floor} sat/vB is above the cap of {cap} sat/vB")]
    FloorAboveCap {
        /// The floor.
        floor: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// A number lies outside its range.
    #[error("{what} is from {min} to {max}")]
    Range {
        /// The number's name.
        what: &'static str,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
}

impl Config {
    /// What is chosen where nobody chooses: 1 to 100 sat/vB, three blocks, a quarter more every three blocks.
    pub fn new(final_depth_blocks: u32) -> Self {
        let rate = |sat_per_kvb| FeeRate::from_sat_per_kvb(sat_per_kvb).expect("within the range of rates");
        Self {
            fee_floor: rate(1_000),
            fee_cap: rate(100_000),
            target_blocks: 3,
            bump_every_blocks: 3,
            bump_percent: 25,
            headroom: Headroom::ForCap,
            safe_depth_blocks: 6,
            final_depth_blocks,
            ladder_rungs: 8,
            closed_kept: 1_000,
        }
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// Each of [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.fee_floor > self.fee_cap {
            return Err(ConfigError::FloorAboveCap { floor: self.fee_floor, cap: self.fee_cap });
        }
        let ranges = [
            ("the target in blocks", u32::from(self.target_blocks), 1, 1_008),
            ("the interval of bumps in blocks", self.bump_every_blocks, 1, 1_008),
            ("the bump in percent", self.bump_percent, 1, 1_000),
            ("the safe depth in blocks", self.safe_depth_blocks, 1, 1_008),
            ("the number of reveals to sign", u32::from(self.ladder_rungs), 1, 32),
        ];
        match ranges.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((what, _, min, max)) => Err(ConfigError::Range { what, min, max }),
            None => Ok(()),
        }
    }
}
