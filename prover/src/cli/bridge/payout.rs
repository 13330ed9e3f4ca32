//! `taproof bridge payout`.

use super::{
    Exit, FeeOptions, FundingOptions, Global, NodeOptions, PsbtVersionOption, Result, Session, WalletOptions,
    XOnlyPublicKey, watch, write_psbt,
};
use crate::cli::{
    coins::{Use, spend},
    data_dir::expect_absent,
    failure::Failure,
};
use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taproof::{
    anchor::Funding,
    bridge::{
        link::MAX_PAYOUTS,
        plan::{KeyOrigins, PlanError, PlanRequest, plan, sign_fee_inputs},
    },
    coins::Purpose,
    wallet::PosterKey,
};

/// Builds the next payout transaction, without the signers' signatures.
#[derive(Debug, Args)]
pub(super) struct Payout {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    funding: FundingOptions,
    #[command(flatten)]
    fees: FeeOptions,
    /// The most payouts in the transaction.
    #[arg(long, default_value_t = MAX_PAYOUTS, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_PAYOUTS)))]
    payouts_max: u32,
    /// The most deposits that are moved, the oldest first.
    #[arg(long, default_value_t = 100, value_name = "N")]
    deposits_max: usize,
    /// Moves deposits, too, that their depositors can take back already. If one does, the transaction is void.
    #[arg(long)]
    exposed: bool,
    /// Where a signer's key comes from, for hardware signers: KEY=FINGERPRINT/PATH.
    #[arg(long = "origin", value_parser = origin, value_name = "ORIGIN")]
    origins: Vec<(XOnlyPublicKey, KeySource)>,
    /// The file of the PSBT.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    psbt: PsbtVersionOption,
}

fn origin(text: &str) -> std::result::Result<(XOnlyPublicKey, KeySource), String> {
    let (key, source) = text.split_once('=').ok_or("an origin is KEY=FINGERPRINT/PATH")?;
    let (fingerprint, path) = source.split_once('/').ok_or("an origin is KEY=FINGERPRINT/PATH")?;
    let key = key.parse().map_err(|_| "the key is 64 hexadecimal digits of a point")?;
    let fingerprint: Fingerprint = fingerprint.parse().map_err(|_| "a fingerprint is 8 hexadecimal digits")?;
    let path: DerivationPath = path.parse().map_err(|_| "a path is like 87'/0'/0'/0/0")?;
    Ok((key, (fingerprint, path)))
}

#[derive(Serialize)]
struct Report {
    psbt: PathBuf,
    first: u64,
    payouts: u32,
    paid_sat: u64,
    deposits: usize,
    fee_sat: u64,
    top_up_sat: u64,
    weight_wu: u64,
    unpaid_after: usize,
}

impl Payout {
    pub(super) fn run(self, global: &Global) -> Result {
        expect_absent(&self.out)?;
        let session = Session::open(global)?;
        let poster = self.wallet.open(global)?.poster_key(0)?;
        let source = self.node.open(&session.dir, session.params.network, poster.script_pubkey())?;
        let watch = watch(&session, &source, global)?;
        let funding = self.funding.find(&source, &poster, global)?;
        let fee_rate = self.fees.rate(&source, global)?;
        let origins: KeyOrigins = self.origins.into_iter().collect();
        let build = |funding: &[Funding]| {
            let planned = plan(&PlanRequest {
                scan: watch.scan(),
                fee_rate,
                funding,
                fee_change: poster.script_pubkey(),
                payouts_max: self.payouts_max,
                coins_max: self.deposits_max,
                exposed: self.exposed,
                origins: origins.clone(),
            })?;
            let transaction = planned.psbt.unsigned_tx.clone();
            Ok((planned, transaction))
        };
        let head = watch.scan().head().map_err(|error| explain(error.into(), &poster))?.outpoint;
        let usage = (Purpose::Payout { head }, Use::Keep);
        let mut planned = spend(&session, source.node()?, &funding, usage, build, |error| explain(error, &poster))?;
        sign_fee_inputs(&mut planned.psbt, &poster);
        write_psbt(&self.out, &planned.psbt, self.psbt.version)?;
        let report = Report {
            psbt: self.out,
            first: planned.binding.first,
            payouts: planned.binding.count,
            paid_sat: planned.paid_sat,
            deposits: planned.deposits,
            fee_sat: planned.fee_sat,
            top_up_sat: planned.top_up_sat,
            weight_wu: planned.weight_wu,
            unpaid_after: watch.scan().unpaid().count() - planned.binding.count as usize,
        };
        global.console().report(&report, |report| {
            format!(
                "{}: {} payouts from number {} on, {} sat; {} deposits moved; fee {} sat\n{} payouts remain; now each signer: taproof bridge sign {}",
                report.psbt.display(),
                report.payouts,
                report.first,
                report.paid_sat,
                report.deposits,
                report.fee_sat,
                report.unpaid_after,
                report.psbt.display()
            )
        })
    }
}

fn explain(error: PlanError, poster: &PosterKey) -> Failure {
    let (exit, advice) = match &error {
        PlanError::Nothing => (Exit::Failed, "nothing is to be done".to_owned()),
        PlanError::Funding { .. } => (Exit::Failed, format!("pay to {} or name coins with --coin", poster.address())),
        PlanError::FundingCoin(_) => (Exit::Input, "name coins of the poster's taproot address".to_owned()),
        PlanError::Head(_) => (Exit::Refuted, "see `taproof bridge status`".to_owned()),
        _ => return Failure::of(Exit::Failed, error),
    };
    Failure::of(exit, error).advise(advice)
}
