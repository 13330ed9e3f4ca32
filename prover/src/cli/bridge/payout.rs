//! `taproof bridge payout`.

use super::{
    Exit, FeeOptions, FundingOptions, Global, NodeOptions, PsbtVersionOption, Result, Session, WalletOptions,
    XOnlyPublicKey, open_psbt, signer_keys, watch, write_psbt,
};
use crate::cli::{
    coins::{Use, no_coins, spend},
    console::{Console, counted},
    failure::Failure,
    path_text,
    psbt::key_source,
};
use bitcoin::{OutPoint, Txid, Weight, bip32::KeySource};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::{FeeRate, Funding},
    bridge::{
        link::{MAX_LINK_WEIGHT_WU, MAX_PAYOUTS},
        plan::{Plan, PlanError, PlanRequest, plan, sign_fee_inputs},
        scan::{BridgeCoin, BridgeScan, HeadError},
        signer_key::{SignerKey, SignerKeyError},
    },
    coins::Purpose,
    node::Node,
};
use taproof_wallet::PosterKey;

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
    /// The most payouts in the transaction, those that are too small for an output not counted.
    #[arg(
        long,
        default_value_t = MAX_PAYOUTS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_PAYOUTS)),
    )]
    payouts_max: u32,
    /// The most deposits that are moved for their own sake, those whose refund opens first; as many as fit if not
    /// given.
    #[arg(long, value_name = "N")]
    deposits_max: Option<usize>,
    /// Moves deposits, too, that their depositors can take back already. If one does, the transaction is void.
    #[arg(long)]
    exposed: bool,
    /// Where a signer's key comes from, for hardware signers: [FINGERPRINT/PATH]KEY, [FINGERPRINT/PATH]XPUB/0/0 or
    /// KEY=FINGERPRINT/PATH. Not needed for keys that `setup` was given in these forms.
    #[arg(long = "origin", value_parser = origin, value_name = "ORIGIN")]
    origins: Vec<(XOnlyPublicKey, KeySource)>,
    /// The file of the PSBT.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    psbt: PsbtVersionOption,
}

/// A key and where it comes from: KEY=FINGERPRINT/PATH, or a key expression with both.
pub(in crate::cli) fn origin(text: &str) -> std::result::Result<(XOnlyPublicKey, KeySource), String> {
    const FORM: &str = "an origin is KEY=FINGERPRINT/PATH or [FINGERPRINT/PATH]KEY";
    if let Some((key, source)) = text.split_once('=') {
        let key: SignerKey = key.parse().map_err(|error: SignerKeyError| error.to_string())?;
        return Ok((key.key(), key_source(source)?));
    }
    let key: SignerKey = text.parse().map_err(|error: SignerKeyError| error.to_string())?;
    Ok((key.key(), key.origin().ok_or(FORM)?))
}

#[derive(Serialize)]
struct Report {
    #[serde(serialize_with = "path_text::serialize")]
    psbt: PathBuf,
    first: u64,
    settled: u32,
    payouts: usize,
    paid_sat: u64,
    deposits: usize,
    deposits_left: usize,
    /// Deposits that are left alone because their depositors can take them back.
    deposits_exposed: usize,
    fee_sat: u64,
    top_up_sat: u64,
    weight_wu: u64,
    /// Coins of other wallets that pay the fee, which these must sign first.
    unsigned: usize,
    unpaid_after: usize,
}

impl Payout {
    pub(super) fn run(self, global: &Global) -> Result {
        let out = open_psbt(&global.data_dir(), &self.out, &[])?;
        let console = global.console().beside([&out])?;
        let session = Session::open(global)?;
        let poster = self.wallet.open(global)?.poster_key(0)?;
        let source = self.node.open(&session.dir, session.params.network, poster.script_pubkey(), session.console)?;
        let watch = watch(&session, &source, global)?;
        let funding = self.funding.find(&source, &poster, global)?;
        let fee_rate = self.fees.rate(&source, global)?;
        let mut origins = signer_keys(&session)?.origins();
        let signers = session.params.bridge().keys();
        if let Some((key, _)) = self.origins.iter().find(|(key, _)| !signers.contains(key)) {
            let failure = Failure::new(Exit::Input, format!("--origin names {key}, which is the key of no signer"));
            return Err(failure.advise("`taproof bridge address` shows the signers' keys in its descriptor"));
        }
        origins.extend(self.origins);
        let build = |funding: &[Funding]| {
            let planned = plan(&PlanRequest {
                scan: watch.scan(),
                fee_rate,
                funding,
                fee_change: poster.script_pubkey(),
                payouts_max: self.payouts_max,
                deposits_max: self.deposits_max.unwrap_or(usize::MAX),
                weight_max_wu: MAX_LINK_WEIGHT_WU,
                exposed: self.exposed,
                origins: origins.clone(),
            })?;
            let transaction = planned.psbt.unsigned_tx.clone();
            Ok((planned, transaction))
        };
        let scan = watch.scan();
        let explain = |error| explain(error, &poster, &funding);
        let head = match scan.head() {
            Err(HeadError::NothingCredited) if scan.unpaid().len() == 0 => return nothing_due(scan, console),
            head => head.map_err(|error| explain(error.into()))?.outpoint,
        };
        let usage = (Purpose::Payout { head }, Use::Keep);
        let mut planned = match spend(&session, source.node()?, &funding, usage, build, explain) {
            Err(failure) if matches!(failure.cause(), Some(PlanError::Nothing)) => return nothing_due(scan, console),
            planned => planned?,
        };
        warn_of_rival(source.node()?, &head, &planned, session.console)?;
        let signed = sign_fee_inputs(&mut planned.psbt, &poster);
        let fee_coins = planned.psbt.inputs.iter().filter(|input| input.tap_scripts.is_empty()).count();
        write_psbt(out, &planned.psbt, self.psbt.version)?;
        let report = Report {
            psbt: self.out,
            first: planned.binding.first,
            settled: planned.binding.count,
            payouts: planned.payouts,
            paid_sat: planned.paid_sat,
            deposits: planned.deposits,
            deposits_left: planned.deposits_left,
            deposits_exposed: planned.deposits_exposed,
            fee_sat: planned.fee_sat,
            top_up_sat: planned.top_up_sat,
            weight_wu: planned.weight_wu,
            unsigned: fee_coins - signed,
            unpaid_after: watch.scan().unpaid().len() - planned.payouts,
        };
        console.report(&report, |report| {
            let open = open_deposits(report.deposits_exposed, None).map(|open| format!("\n{open}")).unwrap_or_default();
            format!(
                "{}: {}, {} sat, settling {} from number {} on; {} moved; fee {} sat\n{} and {} remain for further \
                 links; {}each signer: taproof bridge sign {}{open}",
                shown(report.psbt.display()),
                counted(report.payouts, "payout"),
                report.paid_sat,
                report.settled,
                report.first,
                counted(report.deposits, "deposit"),
                report.fee_sat,
                counted(report.unpaid_after, "payout"),
                counted(report.deposits_left, "deposit"),
                match report.unsigned {
                    0 => "now ".to_owned(),
                    unsigned =>
                        format!("first the wallet signs {} that pays the fee, then ", counted(unsigned, "coin")),
                },
                shown(report.psbt.display())
            )
        })
    }
}

/// Says if what waits in the pool in this link's place is not replaced by it.
fn warn_of_rival(node: &dyn Node, head: &OutPoint, planned: &Plan, console: Console) -> Result {
    let Some(txid) = node.pool_spender(head)? else { return Ok(()) };
    let Some(entry) = node.pool_entry(&txid)? else { return Ok(()) };
    let incremental = node.fee_floors()?.incremental;
    if let Some(rival) = rival(txid, entry.descendant_fee_sat, incremental, (planned.fee_sat, planned.weight_wu)) {
        console.warn(rival);
    }
    Ok(())
}

/// What is told of a transaction in the pool that a link with this fee and weight does not replace. Whoever it pays can
/// hang others on it, and a replacement has to pay more than all of them together.
fn rival(txid: Txid, waiting_sat: u64, incremental: FeeRate, (fee_sat, weight_wu): (u64, u64)) -> Option<String> {
    let weight = Weight::from_wu(weight_wu);
    let needed_sat = waiting_sat.saturating_add(incremental.fee(weight).to_sat());
    let rate = u128::from(needed_sat).saturating_mul(1_000).div_ceil(weight.to_vbytes_ceil().max(1).into());
    let rate = u64::try_from(rate).ok().and_then(|rate| FeeRate::from_sat_per_kvb(rate).ok()).unwrap_or(FeeRate::MAX);
    (fee_sat < needed_sat).then(|| {
        format!(
            "{txid} waits in the pool in this link's place, and pays {waiting_sat} sat with all that spends from it: \
             this one takes its place from {needed_sat} sat on, which is --fee-rate {rate} (and a --fee-cap as high)"
        )
    })
}

/// Nothing is to be paid and nothing to be moved, which is no failure: a coordinator asks each day.
fn nothing_due(scan: &BridgeScan, console: Console) -> Result {
    let exposed: Vec<&BridgeCoin> = scan.coins().into_iter().filter(|coin| scan.is_exposed(coin)).collect();
    let exposed_sat = exposed.iter().map(|coin| coin.output.value.to_sat()).fold(0, u64::saturating_add);
    let report = serde_json::json!({
        "psbt": null, "first": scan.next_index(), "settled": 0, "payouts": 0, "deposits": 0,
        "deposits_exposed": exposed.len(), "exposed_sat": exposed_sat });
    console.report(&report, |_| {
        let open = open_deposits(exposed.len(), Some(exposed_sat)).map(|open| format!("\n{open}")).unwrap_or_default();
        format!("nothing is due: no transaction is built, and nothing is written{open}")
    })
}

/// Says that deposits are left alone because their depositors can take them back, if there are any.
fn open_deposits(count: usize, amount_sat: Option<u64>) -> Option<String> {
    let what = match count {
        0 => return None,
        1 => "1 credited deposit".to_owned(),
        count => format!("{count} credited deposits"),
    };
    let amount = amount_sat.map(|amount_sat| format!(", {amount_sat} sat,")).unwrap_or_default();
    let verb = if count == 1 { "is" } else { "are" };
    Some(format!(
        "{what}{amount} {verb} open to the depositor, who can take back what was credited, and {verb} left alone: \
         --exposed moves \
         what is still there; where a depositor is faster, that transaction is void"
    ))
}

fn explain(error: PlanError, poster: &PosterKey, coins: &[Funding]) -> Failure {
    let (exit, advice) = match &error {
        PlanError::Funding { needed_sat, .. } if coins.is_empty() => return no_coins(*needed_sat, poster),
        PlanError::Funding { .. } => (Exit::Failed, format!("pay to {} or name coins with --coin", poster.address())),
        PlanError::FundingCoin(_) => {
            (Exit::Input, "name coins of a witness address that are not the bridge's".to_owned())
        }
        PlanError::Head(_) => (Exit::Refuted, "see `taproof bridge status`".to_owned()),
        _ => return Failure::of(Exit::Failed, error),
    };
    Failure::of(exit, error).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deposits_that_are_open_to_their_depositors_are_told() {
        assert_eq!(open_deposits(0, Some(0)), None);
        let told = open_deposits(1, Some(25_000)).expect("one is open");
        assert!(told.starts_with("1 credited deposit, 25000 sat, is open") && told.contains("--exposed"), "{told}");
        let told = open_deposits(2, None).expect("two are open");
        assert!(told.starts_with("2 credited deposits are open"), "{told}");
    }

    #[test]
    fn a_link_that_does_not_replace_what_payees_hang_on_the_one_in_the_pool_is_told() {
        let txid = bitcoin::hashes::Hash::all_zeros();
        let incremental = FeeRate::from_sat_per_kvb(1_000).expect("within the range of rates");
        // The link pays 700 sat, and 99,300 sat hang on it.
        let told = rival(txid, 100_000, incremental, (70_000, 2_800)).expect("it is not replaced");
        assert!(told.contains("pays 100000 sat") && told.contains("from 100700 sat on"), "{told}");
        assert!(told.contains("--fee-rate 143.858 "), "{told}");
        assert!(rival(txid, 100_000, incremental, (100_699, 2_800)).is_some());
        assert_eq!(rival(txid, 100_000, incremental, (100_700, 2_800)), None);
    }

    #[test]
    fn origins_are_read_in_every_spelling() {
        let key = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";
        let expected = "d34db33f/86h/1h/1h/0/0";
        let expected = (key.parse().expect("a key"), key_source(expected).expect("an origin"));
        let spellings = [
            format!("{key}=d34db33f/86h/1h/1h/0/0"),
            format!("{key}=[d34db33f/86'/1'/1'/0/0]"),
            format!("[d34db33f/86h/1h/1h/0/0]{key}"),
            format!("[d34db33f/86'/1'/1'/0/0]02{key}"),
        ];
        for text in spellings {
            assert_eq!(origin(&text), Ok(expected.clone()), "{text}");
        }
        for none in [key, "", "=", "d34db33f/86h", &format!("{key}="), &format!("[d34db33f]{}", &key[1..])] {
            assert!(origin(none).is_err(), "{none}");
        }
    }
}
