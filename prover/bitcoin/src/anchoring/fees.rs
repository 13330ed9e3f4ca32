//! Fees: what an anchor starts with, and what its next reveal must pay.
//!
//! The reveal spends the commit, so miners weigh both together: its fee is counted for the package. A replacement
//! obeys BIP-125: it pays what it evicts, and for its own size at the node's incremental rate on top.

use super::{Config, Headroom, Hold};
use crate::{
    anchor::FeeRate,
    node::{Node, NodeError},
};
use bitcoin::{Amount, Weight};

/// What the node says of fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Its estimate for the target, if it has one.
    pub estimate: Option<FeeRate>,
    /// What enters its pool.
    pub min_pool: FeeRate,
    /// What a replacement pays for its own size.
    pub incremental: FeeRate,
}

/// A commit and its reveal, as a replacement of the reveal sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The reveal's size.
    pub reveal_vsize_vb: u64,
    /// The commit's size and fee, while it is in no block.
    pub unmined_commit: Option<(u64, u64)>,
    /// What the commit locks, in satoshi.
    pub locked_sat: u64,
    /// The least that the reveal must return, in satoshi.
    pub dust_sat: u64,
    /// The fee of the latest reveal.
    pub last_fee_sat: u64,
    /// The fees of all that a replacement would evict.
    pub evicted_fee_sat: u64,
}

/// A fee to aim for and the bounds within which another is as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRange {
    /// The least that replaces.
    pub min_sat: u64,
    /// The fee to aim for.
    pub aim_sat: u64,
    /// The most that headroom and cap allow.
    pub max_sat: u64,
}

pub(super) fn fee_sat(rate: FeeRate, vsize_vb: u64) -> u64 {
    rate.fee(Weight::from_wu(vsize_vb.saturating_mul(4))).to_sat()
}

/// A rate, forced into the range that rates have.
fn clamped(sat_per_kvb: u128) -> FeeRate {
    let (min, max) = (FeeRate::MIN.sat_per_kvb(), FeeRate::MAX.sat_per_kvb());
    let rate = u64::try_from(sat_per_kvb).unwrap_or(max).clamp(min, max);
    FeeRate::from_sat_per_kvb(rate).expect("the rate was clamped to the range")
}

impl Fees {
    /// The rate to start with: the estimate, at least the floor and what enters the pool, at most the cap.
    ///
    /// # Errors
    /// [`Hold::PoolAboveCap`] if nothing below the cap enters the pool.
    pub fn first_rate(&self, config: &Config) -> Result<FeeRate, Hold> {
        self.rate_within(config.fee_floor, config.fee_cap)
    }

    /// The estimate, at least the floor and what enters the pool, at most the cap.
    ///
    /// # Errors
    /// [`Hold::PoolAboveCap`] if nothing below the cap enters the pool.
    pub fn rate_within(&self, floor: FeeRate, cap: FeeRate) -> Result<FeeRate, Hold> {
        if self.min_pool > cap {
            return Err(Hold::PoolAboveCap { min_pool: self.min_pool, cap });
        }
        Ok(self.estimate.unwrap_or(floor).max(floor).max(self.min_pool).min(cap))
    }

    /// What a node says now, its estimate for a number of blocks.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn ask(node: &dyn Node, target_blocks: u16) -> Result<Self, NodeError> {
        let floors = node.fee_floors()?;
        let estimate = node.fee_estimate(target_blocks)?;
        Ok(Self { estimate, min_pool: floors.min_pool, incremental: floors.incremental })
    }

    /// The fee for the next reveal.
    ///
    /// # Errors
    /// [`Hold::AtCap`], [`Hold::HeadroomUsed`] and [`Hold::PoolAboveCap`] if no replacement is allowed or possible.
    pub fn bump(&self, package: &Package, config: &Config, wanted: Option<FeeRate>) -> Result<FeeRange, Hold> {
        let (commit_vsize, commit_fee) = package.unmined_commit.unwrap_or((0, 0));
        let vsize = package.reveal_vsize_vb + commit_vsize;
        let for_rate = |rate| fee_sat(rate, vsize).saturating_sub(commit_fee);
        let rate_now = package.rate();
        let raised = u128::from(rate_now.sat_per_kvb()) * u128::from(100 + config.bump_percent);
        let raised = clamped(raised.div_ceil(100));
        let market = self.estimate.unwrap_or(config.fee_floor).max(self.min_pool);
        let rate = wanted.unwrap_or(raised).max(raised).max(market).min(config.fee_cap);
        let evicted = package.evicted_fee_sat.max(package.last_fee_sat);
        let to_replace = evicted.saturating_add(fee_sat(self.incremental, package.reveal_vsize_vb));
        let min_sat = to_replace.max(fee_sat(self.min_pool, package.reveal_vsize_vb));
        let in_cap = for_rate(config.fee_cap);
        let in_headroom = package.locked_sat.saturating_sub(package.dust_sat);
        if min_sat > in_cap {
            return Err(Hold::AtCap { rate: rate_now, cap: config.fee_cap });
        }
        if min_sat > in_headroom {
            return Err(Hold::HeadroomUsed { rate: rate_now, needed_sat: min_sat, locked_sat: package.locked_sat });
        }
        if self.min_pool > config.fee_cap {
            return Err(Hold::PoolAboveCap { min_pool: self.min_pool, cap: config.fee_cap });
        }
        let max_sat = in_cap.min(in_headroom);
        Ok(FeeRange { min_sat, aim_sat: for_rate(rate).clamp(min_sat, max_sat), max_sat })
    }

    /// The lowest rate at which a virtual size pays a fee, in the range that rates have.
    pub(super) fn rate_of(fee_sat: u64, vsize_vb: u64) -> FeeRate {
        clamped((u128::from(fee_sat) * 1_000).div_ceil(u128::from(vsize_vb.max(1))))
    }

    /// The fee of a sweep that may have to replace what spends the same output in the pool; `None` if the coin is not
    /// worth it.
    pub(super) fn sweep(
        &self,
        config: &Config,
        vsize_vb: u64,
        evicted_sat: Option<u64>,
        value_sat: u64,
    ) -> Option<u64> {
        let rate = self.first_rate(config).ok()?;
        let to_replace = evicted_sat.map(|evicted| evicted.saturating_add(fee_sat(self.incremental, vsize_vb)));
        let fee = fee_sat(rate, vsize_vb).max(to_replace.unwrap_or(0));
        (fee < value_sat).then_some(fee)
    }
}

impl Package {
    /// What the package pays at present.
    pub fn rate(&self) -> FeeRate {
        let (commit_vsize, commit_fee) = self.unmined_commit.unwrap_or((0, 0));
        rate_paid(self.last_fee_sat + commit_fee, self.reveal_vsize_vb + commit_vsize)
    }
}

/// The highest rate that is paid in full, in the range that rates have.
pub(super) fn rate_paid(fee_sat: u64, vsize_vb: u64) -> FeeRate {
    clamped(u128::from(fee_sat) * 1_000 / u128::from(vsize_vb.max(1)))
}

/// What the reveal of a package of that size returns, so that its fee can rise from `rate` to the cap.
pub(super) fn headroom(config: &Config, rate: FeeRate, vsize_vb: u64, dust: Amount) -> Amount {
    let sat = match config.headroom {
        Headroom::Fixed(sat) => sat,
        Headroom::ForCap => fee_sat(config.fee_cap, vsize_vb).saturating_sub(fee_sat(rate, vsize_vb)),
    };
    Amount::from_sat(sat.saturating_add(dust.to_sat()))
}

/// Fees from a first one to the most that headroom and cap allow, each by the same factor above the one before.
pub(super) fn ladder(first_sat: u64, max_sat: u64, step_min_sat: u64, rungs: u8) -> Vec<u64> {
    let mut fees = vec![first_sat];
    let steps = u32::from(rungs).saturating_sub(1).max(1);
    let factor = (max_sat.max(1) as f64 / first_sat.max(1) as f64).powf(1.0 / f64::from(steps));
    for rung in 1..i32::from(rungs) {
        let fee = ((first_sat as f64 * factor.powi(rung)) as u64).min(max_sat);
        // A rung that could not replace the one below it would be signed for nothing.
        if fees.last().is_some_and(|last| fee >= last.saturating_add(step_min_sat)) {
            fees.push(fee);
        }
    }
    fees
}
