//! `taproof bridge check`, `sign`, `combine` and `send`.

use super::{
    Exit, Fallible, Global, NodeOptions, PsbtVersion, Result, Session, Source, WalletOptions, open_psbt, read_file,
    read_psbt, send, watch, write_psbt,
};
use crate::cli::{
    console::{Console, counted},
    failure::Failure,
    path_text,
    psbt::{CombineOptions, PsbtKind, combine_failure, no_transaction, transaction_of},
    upgrade,
};
use bitcoin::{OutPoint, Psbt, Transaction};
use clap::Args;
use serde::Serialize;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::FeeRate,
    bridge::{
        check::{CheckError, CheckedLink, FeeBounds, SignerView, Summary},
        sign::{CombineError, combine_links},
        watch::BridgeWatch,
    },
    node::{Acceptance, Unspent},
    psbt_file::{self, PsbtFileError},
};

/// What is checked, and from where.
#[derive(Debug, Args)]
struct Checking {
    /// The PSBT, of version 0 or 2, in binary, base64 or hexadecimal.
    psbt: PathBuf,
    #[command(flatten)]
    node: NodeOptions,
    /// The lowest rate of fees that is signed, in satoshi a virtual byte.
    #[arg(long, default_value = "1", value_name = "SAT/VB")]
    fee_rate_min: FeeRate,
    /// The highest rate of fees that is signed.
    #[arg(long, default_value = "500", value_name = "SAT/VB")]
    fee_rate_max: FeeRate,
}

impl Checking {
    fn run(&self, session: &Session, global: &Global) -> Result<CheckedLink> {
        let psbt = read_psbt(&self.psbt)?;
        let source = session.source(&self.node)?;
        let watch = watch(session, &source, global)?;
        let fee_coins = fee_coins(&psbt, &source, &watch)?;
        let fee_bounds = FeeBounds { min: self.fee_rate_min, max: self.fee_rate_max };
        let view = SignerView { scan: watch.scan(), fee_coins: &fee_coins, fee_bounds };
        let kind = PsbtKind::of(&psbt, &session.params);
        CheckedLink::check(psbt, &view).map_err(|refusal| {
            let advice = match (&refusal, kind) {
                (CheckError::FeeTooLow { .. }, _) => {
                    "ask who made it for one that pays more, or let it pay as little with --fee-rate-min"
                }
                (CheckError::FeeTooHigh { .. }, _) => {
                    "ask who made it for one that pays less, or let it pay as much with --fee-rate-max"
                }
                (_, Some(PsbtKind::Announcement)) => {
                    "it is an announcement of the upgrade keys: sign it with `taproof upgrade sign`"
                }
                _ => "sign nothing of the kind; ask who made it for another",
            };
            Failure::of(Exit::Refuted, refusal).advise(advice)
        })
    }
}

/// What this machine's node says of the coins that are not the bridge's.
fn fee_coins(psbt: &Psbt, source: &Source, watch: &BridgeWatch) -> Result<HashMap<OutPoint, Unspent>> {
    let mut coins = HashMap::new();
    for input in &psbt.unsigned_tx.input {
        let outpoint = input.previous_output;
        if watch.scan().coin(&outpoint).is_some() {
            continue;
        }
        if let Some(unspent) = source.node()?.unspent(&outpoint)? {
            coins.insert(outpoint, unspent);
        }
    }
    Ok(coins)
}

#[derive(Serialize)]
struct Report {
    first: u64,
    settled: u32,
    payouts: usize,
    paid_sat: u64,
    change_sat: u64,
    deposits: usize,
    fee_sat: u64,
    weight_wu: u64,
    signatures: usize,
    #[serde(serialize_with = "path_text::serialize")]
    signed: Option<PathBuf>,
}

impl Report {
    fn new(summary: Summary, signed: Option<PathBuf>) -> Self {
        let Summary { binding, payouts, paid_sat, change_sat, deposits, fee_sat, weight_wu, signatures } = summary;
        Self {
            first: binding.first,
            settled: binding.count,
            payouts,
            paid_sat,
            change_sat,
            deposits,
            fee_sat,
            weight_wu,
            signatures,
            signed,
        }
    }

    fn print(&self, console: Console) -> Result {
        console.report(self, |report| {
            let signed = match &report.signed {
                Some(path) => format!("signed: {}", shown(path.display())),
                None => format!("nothing is wrong with it; it has {}", counted(report.signatures, "signature")),
            };
            format!(
                "{}, {} sat, settling {} from number {} on; {} moved; {} sat stay with the bridge; fee {} \
                 sat\n{signed}",
                counted(report.payouts, "payout"),
                report.paid_sat,
                report.settled,
                report.first,
                counted(report.deposits, "deposit"),
                report.change_sat,
                report.fee_sat
            )
        })
    }
}

/// Checks a payout transaction from this machine's own node, and signs nothing.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    checking: Checking,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        Report::new(self.checking.run(&session, global)?.summary(), None).print(global.console())
    }
}

/// Checks a payout transaction from this machine's own node, and signs it if nothing is wrong.
#[derive(Debug, Args)]
pub(super) struct Sign {
    #[command(flatten)]
    checking: Checking,
    #[command(flatten)]
    wallet: WalletOptions,
    /// The number of the signer's key in the wallet.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
    /// The file of the signed PSBT.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Sign {
    pub(super) fn run(self, global: &Global) -> Result {
        let out = open_psbt(&global.data_dir(), &self.out, &[&self.checking.psbt])?;
        let console = global.console().beside([&out])?;
        let session = Session::open(global)?;
        let key = self.wallet.open(global)?.signer_key(self.index).or_exit(Exit::Input)?;
        let checked = self.checking.run(&session, global)?;
        let summary = checked.summary();
        let signed = checked.sign(&key, session.params.bridge());
        let signed =
            signed.or_exit(Exit::Input).map_err(|failure| failure.advise("name the signer's key with --index"))?;
        write_psbt(out, &signed, PsbtVersion::default())?;
        Report::new(summary, Some(self.out)).print(console)
    }
}

/// Joins signatures to the transaction.
#[derive(Debug, Args)]
pub(super) struct Combine {
    #[command(flatten)]
    options: CombineOptions,
}

impl Combine {
    pub(super) fn run(self, global: &Global) -> Result {
        let command = PsbtKind::Payout.command();
        self.options.run(global, command, |session, psbts| {
            let kinds: Vec<_> = psbts.iter().map(|psbt| PsbtKind::of(psbt, &session.params)).collect();
            combine_links(psbts, &session.params).map_err(|error| match error {
                CombineError::NotALink(position) => {
                    let advice = match kinds[position] {
                        Some(PsbtKind::Announcement) => "announcements are joined with `taproof upgrade combine`",
                        _ => "name the data directory of the rollup that it is for with --dir",
                    };
                    Failure::of(Exit::Refuted, error).advise(advice)
                }
                error => combine_failure(error, command),
            })
        })
    }
}

/// The transaction of a file, or of a PSBT whose every input is finished.
fn finished(path: &Path, words: &Words) -> Result<Transaction> {
    let bytes = read_file(path)?;
    if let Some(transaction) = transaction_of(&bytes) {
        return Ok(transaction);
    }
    let psbt = match psbt_file::parse(&bytes) {
        Ok(psbt) => psbt,
        Err(PsbtFileError::NotAPsbt) => return Err(no_transaction(path)),
        Err(error) => return Err(error).or_exit_while(Exit::Input, path.display().to_string()),
    };
    let is_finished =
        |input: &bitcoin::psbt::Input| input.final_script_witness.is_some() || input.final_script_sig.is_some();
    if let Some(input) = psbt.inputs.iter().position(|input| !is_finished(input)) {
        let message = format!("{} is a PSBT, and its input {input} is not finished", path.display());
        let failure = Failure::new(Exit::Input, message);
        let command = words.command;
        return Err(failure.advise(format!(
            "join what the signers signed with `taproof {command} combine`, and send what it writes"
        )));
    }
    Ok(psbt.extract_tx_unchecked_fee_rate())
}

/// Sends a transaction.
#[derive(Debug, Args)]
pub(in crate::cli) struct Send {
    /// The transaction, in hexadecimal, or a PSBT whose every input is finished.
    file: PathBuf,
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
}

/// What the messages about a transaction name.
pub(in crate::cli) struct Words {
    /// The command that joins signatures.
    command: &'static str,
    /// What to do where the node would refuse it.
    refused: &'static str,
    /// Whether nothing but announcements is sent.
    is_announcement: bool,
}

/// The words for links of payouts.
pub(super) const LINK: Words = Words {
    command: "bridge",
    refused: "if its inputs are spent or its fee is too low, build the payout anew",
    is_announcement: false,
};

/// The words for announcements.
pub(in crate::cli) const ANNOUNCEMENT: Words = Words {
    command: "upgrade",
    refused: "if its coins are spent or its fee is too low, write the announcement anew, and have it signed again",
    is_announcement: true,
};

impl Send {
    /// Sends the transaction, unless it is an announcement that would not count.
    pub(in crate::cli) fn run(self, global: &Global, words: &Words) -> Result {
        let session = Session::open(global)?;
        let transaction = finished(&self.file, words)?;
        // Where the chain is the embedded one, the block that is mined pays the wallet.
        let reward_to = match self.node.is_embedded()?.then(|| self.wallet.open(global)) {
            Some(Ok(wallet)) => wallet.poster_key(0)?.script_pubkey(),
            _ => bitcoin::ScriptBuf::new(),
        };
        let mut source = self.node.open(&session.dir, session.params.network, reward_to, session.console)?;
        let txid = transaction.compute_txid();
        if words.is_announcement && !upgrade::is_announcement(&session.params, &transaction) {
            let failure = Failure::new(Exit::Refuted, format!("{txid} announces nothing of this rollup"));
            return Err(failure.advise(
                "name the data directory of the rollup that it is for with --dir; links of payouts are sent with \
                 `taproof bridge send`",
            ));
        }
        if let Some(block) = source.payer().find(&txid)?.and_then(|found| found.block) {
            let report = serde_json::json!({ "txid": txid, "sent": false, "block": block });
            return global.console().report(&report, |_| format!("{txid} is in block {block} already"));
        }
        upgrade::expect_to_count(&session, &source, &transaction)?;
        if let Some(Acceptance::Rejected(rejection)) =
            source.payer().test_accept(std::slice::from_ref(&transaction))?.first()
        {
            let failure = Failure::new(Exit::Refuted, format!("the node would refuse it: {}", rejection.reason));
            return Err(failure.advise(words.refused));
        }
        send(&mut source, &transaction)?;
        let report = serde_json::json!({ "txid": txid, "sent": true });
        global.console().report(&report, |_| format!("{txid} sent"))
    }
}
