//! What a deposit or a payout is paid with: the poster's coins, and a rate of fees.

use super::{Exit, Global, Result, Source};
use crate::cli::{failure::Failure, values::outpoint};
use bitcoin::OutPoint;
use clap::Args;
use std::{
    thread,
    time::{Duration, Instant},
};
use taproof_bitcoin::{
    anchor::{FeeRate, Funding},
    anchoring::Fees,
    coins::own_coins,
    node::NodeError,
};
use taproof_wallet::PosterKey;

/// Coins that are paid with: those that were named, or the poster's that the node finds.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct FundingOptions {
    /// A coin of the poster's taproot address to pay with; without any, the node looks for them, which may take
    /// minutes. Those that wait for another transaction are left alone.
    #[arg(long = "coin", value_parser = outpoint, value_name = "TXID:VOUT")]
    pub(super) coins: Vec<OutPoint>,
}

impl FundingOptions {
    /// All coins that may be paid with, those that wait for another transaction included.
    pub(in crate::cli) fn find(&self, source: &Source, poster: &PosterKey, global: &Global) -> Result<Vec<Funding>> {
        if self.coins.is_empty() {
            return search(source, poster, global);
        }
        let funding = |outpoint: &OutPoint| {
            let missing = || Failure::new(Exit::Input, format!("{outpoint} is not unspent in the best chain"));
            let unspent = source.payer().unspent(outpoint)?.ok_or_else(missing)?;
            match unspent.immature_blocks() {
                0 => Ok(Funding { outpoint: *outpoint, output: unspent.output }),
                blocks => {
                    let message = format!("{outpoint} is a miner's reward that is locked for {blocks} more blocks");
                    Err(Failure::new(Exit::Input, message).advise("name another coin"))
                }
            }
        };
        self.coins.iter().map(funding).collect()
    }
}

/// How long to wait for a search that the node makes for somebody else: it makes one at a time, of minutes on mainnet.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(250);

/// Lets the node look for the poster's coins, when it has done so for others.
fn search(source: &Source, poster: &PosterKey, global: &Global) -> Result<Vec<Funding>> {
    let started = Instant::now();
    let spinner = global.console().spinner("looking for coins");
    loop {
        match own_coins(source.payer(), &poster.scripts()) {
            Err(NodeError::Busy { .. }) if started.elapsed() < PATIENCE => {
                spinner.set_message("the node looks for somebody else's coins first");
                thread::sleep(PAUSE);
            }
            found => {
                spinner.finish_and_clear();
                return Ok(found?);
            }
        }
    }
}

/// What a transaction pays to miners.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct FeeOptions {
    /// The rate of fees, in satoshi a virtual byte; the node's estimate if not given.
    #[arg(long, value_name = "SAT/VB")]
    fee_rate: Option<FeeRate>,
    /// Never pays less than this by an estimate, in satoshi a virtual byte.
    #[arg(long, default_value = "1", value_name = "SAT/VB")]
    fee_floor: FeeRate,
    /// Never pays more, in satoshi a virtual byte; a --fee-rate above it is refused.
    #[arg(long, default_value = "100", value_name = "SAT/VB")]
    fee_cap: FeeRate,
    /// In how many blocks the transaction should be mined, for the node's estimate of fees.
    #[arg(long, default_value_t = 3, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(1..=1_008))]
    target_blocks: u16,
}

impl FeeOptions {
    /// The rate that was given, or what the node asks for, between floor and cap.
    pub(in crate::cli) fn rate(&self, source: &Source, global: &Global) -> Result<FeeRate> {
        let Self { fee_rate, fee_floor, fee_cap, target_blocks } = self;
        if let Some(rate) = fee_rate {
            expect_within_cap(*rate, *fee_cap)?;
            return Ok(*rate);
        }
        if fee_floor > fee_cap {
            let message = format!("the fee floor of {fee_floor} sat/vB is above the cap of {fee_cap} sat/vB");
            return Err(Failure::new(Exit::Input, message).advise("raise --fee-cap"));
        }
        let fees = Fees::ask(source.payer(), *target_blocks)?;
        if fees.estimate.is_none() && matches!(source, Source::Rpc(_)) {
            global.console().warn("the node has no estimate of fees: the floor is paid, or what its pool asks for");
        }
        fees.rate_within(*fee_floor, *fee_cap)
            .map_err(|hold| Failure::new(Exit::Failed, hold).advise("wait, or raise --fee-cap"))
    }
}

/// Refuses a rate above a cap.
pub(in crate::cli) fn expect_within_cap(rate: FeeRate, cap: FeeRate) -> Result {
    if rate <= cap {
        return Ok(());
    }
    let message = format!("a fee rate of {rate} sat/vB is above the cap of {cap} sat/vB");
    Err(Failure::new(Exit::Input, message).advise("raise --fee-cap if you mean it"))
}
