//! A market in one process: payments of a real block fund traders, who trade in one session of a pool.
//!
//! Four batches, each proven, anchored and followed as the payments of [`demo`](super) are:
//!
//! 1. *Payments* of the block, as many as fund the traders.
//! 2. *Tokens and a pool*: the richest holder issues dollars, hands them to half of the traders, and founds a pool of
//!    bitcoin and dollars. Another issues gold.
//! 3. *The session*: liquidity joins, one buys gold by an offer that its issuer signed off-line, and all orders that
//!    are in clear at one price.
//! 4. *Leaving*: the liquidity that joined leaves, and some traders withdraw their bitcoin to Bitcoin.

mod chart;
mod page;
mod report;
mod rival;
#[cfg(test)]
mod tests;

pub use report::{DefiReport, LiquidityFigures, OrderFigures};

use super::{DemoError, DemoOptions, DemoRollup, Observer, stage::Stage};
use report::Session;
use taproof_circuits::state::TransitionError;
use taproof_rollup::workload::{
    BlockPayments,
    market::{CAST, MEMBER_MIN_SAT, Market, MarketError},
};

/// Runs the market of so many traders over a consensus-encoded block; gives what it measured and the rollup that it
/// leaves.
///
/// # Errors
/// Each of [`DemoError`].
pub fn run(
    block: &[u8],
    traders: usize,
    options: &DemoOptions,
    observer: &dyn Observer,
) -> Result<(DefiReport, DemoRollup), DemoError> {
    let (played, rollup) = play(block, traders, options, observer)?;
    Ok((played.report()?, rollup))
}

/// Plays all acts; gives what the report is made of.
fn play(
    block: &[u8],
    traders: usize,
    options: &DemoOptions,
    observer: &dyn Observer,
) -> Result<(Session, DemoRollup), DemoError> {
    observer.begin("reading the block");
    let all = BlockPayments::from_block(block, usize::MAX)?;
    let needed = traders.saturating_add(CAST);
    let count = all.payments_that_fund(needed, MEMBER_MIN_SAT);
    let count = count.ok_or(MarketError::Members { found: all.holders_paid(MEMBER_MIN_SAT), needed })?;
    let payments = BlockPayments::from_block(block, count)?;
    let (mut stage, workload) = Stage::open(&payments, 0, options, observer)?;
    stage.play_whole(&workload.transactions)?;
    let (machine, parameters) = (stage.machine()?, stage.parameters().clone());
    let market = Market::new(&workload, stage.state(), machine, parameters, traders)?;

    observer.begin("signing clauses");
    let issued = market.issue(stage.state())?;
    stage.play_whole(&issued)?;

    let before = stage.state().clone();
    let (transactions, orders) = market.trade(&before, stage.height_blocks())?;
    let is_left_out = |reason: &TransitionError| matches!(reason, TransitionError::LeftOut(_));
    stage.play(&transactions, is_left_out)?;
    let after = stage.state().clone();

    let (transactions, withdrawals) = market.leave(&after, options.withdrawals_max)?;
    stage.play_whole(&transactions)?;
    let run = stage.finish(&payments, &workload)?;
    let session = Session {
        run,
        market,
        orders,
        before,
        after,
        end: stage.rebuilt().clone(),
        act: stage.acts()[2].clone(),
        rows: stage.rows(&stage.acts()[2]),
        payments: payments.payments().len(),
        withdrawals,
        fee_rate: options.fee_rate,
        fee_sat: options.fee_sat,
        machines: options.machines.clone(),
    };
    Ok((session, stage.into_rollup()))
}
