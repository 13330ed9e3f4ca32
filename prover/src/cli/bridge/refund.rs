//! `taproof bridge refund`.

use super::{Exit, Fallible, FeeOptions, Global, NodeOptions, Result, Session, Source, WalletOptions, look_on, send};
use crate::cli::{
    failure::Failure,
    session::{has_start, read_params},
    values::{address, of_network, outpoint, txid},
};
use bitcoin::{Address, OutPoint, Txid, address::NetworkUnchecked};
use clap::Args;
use std::str::FromStr;
use taproof_bitcoin::bridge::{
    deposit::{RefundError, check_uncredited, refund},
    descriptor::BridgeOutput,
};
use taproof_verifier::follow::Params;
use taproof_wallet::PosterKey;

/// Takes back a deposit that was not credited, once its delay is over.
///
/// It takes the rollup's params.json, the refund key and a chain, and no state of a follower: the deposit is found in
/// the chain, by its transaction or by the key. Where the rollup can be followed, what it has credited is left to it.
#[derive(Debug, Args)]
pub(super) struct Refund {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The output that the deposit paid to, or its transaction; without it, the one deposit that the chain has for
    /// the key.
    #[arg(long, value_name = "TXID[:VOUT]")]
    output: Option<Place>,
    /// The number of the refund key in the wallet.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
    /// Where the money goes.
    #[arg(long, value_parser = address, value_name = "ADDRESS")]
    to: Address<NetworkUnchecked>,
    #[command(flatten)]
    fees: FeeOptions,
    /// Does not look whether the rollup has credited the deposit. If it has, the money is yours there already, and what
    /// you take back here is missing for others.
    #[arg(long)]
    no_follow: bool,
    /// Sends the transaction; without it, it is shown only.
    #[arg(long)]
    send: bool,
}

/// Where a deposit is said to be.
#[derive(Clone, Copy, Debug)]
enum Place {
    Output(OutPoint),
    Transaction(Txid),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.contains(':') {
            true => outpoint(text).map(Self::Output),
            false => txid(text).map(Self::Transaction),
        }
    }
}

impl Refund {
    pub(super) fn run(self, global: &Global) -> Result {
        let dir = global.data_dir();
        let params = read_params(&dir.params())?;
        let wallet = self.wallet.open(global)?;
        let key = wallet.refund_key(self.index).or_exit(Exit::Input)?;
        let to = of_network(&self.to, params.network)?;
        let reward_to = wallet.poster_key(0)?.script_pubkey();
        let mut source = self.node.open(&dir, params.network, reward_to, global.console())?;
        let outpoint = find(self.output, &source, &params, &key)?;
        let unspent = source.payer().unspent(&outpoint)?;
        let unspent = unspent.ok_or_else(|| refused(RefundError::NoOutput(outpoint)))?;
        if self.no_follow {
            global.console().warn("whether the rollup has credited it is not looked at");
        } else {
            leave_what_is_credited(&params, &source, &outpoint, global)?;
        }
        let fee_rate = self.fees.rate(&source, global)?;
        let transaction = refund(&params, outpoint, &unspent, &key, to.script_pubkey(), fee_rate).map_err(refused)?;
        if self.send {
            send(&mut source, &transaction)?;
        }
        let (txid, value) = (transaction.compute_txid(), transaction.output[0].value);
        let hex = bitcoin::consensus::encode::serialize_hex(&transaction);
        let report = serde_json::json!({
            "output": outpoint, "txid": txid, "amount_sat": value.to_sat(), "sent": self.send, "transaction": hex,
        });
        global.console().report(&report, |_| {
            let sent = if self.send { "sent".to_owned() } else { format!("not sent: run again with --send\n{hex}") };
            format!("{} sat to {to} by {txid}\n{sent}", value.to_sat())
        })
    }
}

/// The deposit's output, in the chain alone.
fn find(place: Option<Place>, source: &Source, params: &Params, key: &PosterKey) -> Result<OutPoint> {
    let script = BridgeOutput::deposit(params.bridge(), key.public()).or_exit(Exit::Input)?.script_pubkey();
    let found: Vec<OutPoint> = match place {
        Some(Place::Output(outpoint)) => return Ok(outpoint),
        Some(Place::Transaction(txid)) => {
            let transaction = source.payer().find(&txid)?.map(|found| found.transaction);
            let outputs = (0..).zip(transaction.iter().flat_map(|transaction| &transaction.output));
            let paying = outputs.filter(|(_, output)| output.script_pubkey == script);
            paying.map(|(vout, _)| OutPoint { txid, vout }).collect()
        }
        None => source.payer().coins(&[script])?.coins.into_iter().map(|coin| coin.outpoint).collect(),
    };
    match found[..] {
        [outpoint] => Ok(outpoint),
        [] => {
            let message = format!("no output pays to the deposit address of the refund key {}", key.public());
            Err(Failure::new(Exit::Input, message)
                .advise("name the output with --output, or the number of the key with --index"))
        }
        _ => {
            let all: Vec<String> = found.iter().map(ToString::to_string).collect();
            let message = format!("several outputs pay to the deposit address of the key: {}", all.join(", "));
            Err(Failure::new(Exit::Input, message).advise("name one with --output"))
        }
    }
}

/// Refuses what the rollup has credited or may still credit, as far as there is a rollup that can be followed.
fn leave_what_is_credited(params: &Params, source: &Source, outpoint: &OutPoint, global: &Global) -> Result {
    if has_start(params, source)? == Some(false) {
        global.console().warn(
            "a reorganisation has undone the block that the rollup starts after, and the rollup with it: nothing is \
             credited there",
        );
        return Ok(());
    }
    if !global.data_dir().program().exists() {
        global
            .console()
            .warn("whether the rollup has credited it is not looked at: that takes the rollup's program.bin");
        return Ok(());
    }
    let watch = look_on(&Session::open(global)?, source, global);
    let watch =
        watch.map_err(|failure| failure.advise("try again later, or do without following the rollup: --no-follow"))?;
    check_uncredited(watch.scan(), outpoint).map_err(refused)
}

fn refused(error: RefundError) -> Failure {
    let (exit, advice) = match &error {
        RefundError::Credited(_) => (Exit::Refuted, "withdraw it with `taproof tx withdraw`"),
        RefundError::Open { .. } | RefundError::TooEarly(_) => (Exit::Refuted, "try again then"),
        RefundError::NoOutput(_) => (Exit::Input, "name the output of the deposit"),
        RefundError::OtherKey { .. } => (Exit::Input, "name the refund key with --index"),
        _ => (Exit::Failed, ""),
    };
    Failure::of(exit, error).advise(advice)
}
