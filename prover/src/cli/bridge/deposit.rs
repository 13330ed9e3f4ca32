//! `taproof bridge deposit` and `taproof bridge refund`.

use super::{
    super::tx::owner, Exit, Fallible, FeeOptions, FundingOptions, Global, NodeOptions, PsbtVersion, Result, Session,
    WalletOptions, XOnlyPublicKey, send, watch, write_psbt,
};
use crate::cli::{
    coins::{Use, send_kept, spend},
    failure::Failure,
};
use bitcoin::{Address, OutPoint, address::NetworkUnchecked};
use clap::Args;
use std::path::PathBuf;
use taproof::{
    anchor::{AnchorError, Funding, pay},
    bridge::{
        deposit::{RefundError, check_uncredited, deposit_outputs, refund, unfunded_psbt},
        descriptor::BridgeOutput,
    },
    coins::Purpose,
};
use taproof_verifier::{baby_jubjub::PublicKey, deposit};

/// Pays a deposit, or writes it for another wallet to pay.
#[derive(Debug, Args)]
pub(super) struct Deposit {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The owner who is credited on the rollup: 64 hexadecimal digits.
    #[arg(long, value_parser = owner, value_name = "KEY")]
    owner: PublicKey,
    /// The amount, in satoshi.
    #[arg(long, value_name = "SAT")]
    amount: u64,
    /// The key that takes the deposit back if nobody credits it; the wallet's first refund key if not given.
    #[arg(long, value_name = "KEY")]
    refund: Option<XOnlyPublicKey>,
    /// Writes a PSBT with the deposit's two outputs and no input, for another wallet to add its coins to.
    ///
    /// The two outputs must stay next to each other in their order: change comes after them. Where a wallet puts it between
    /// them, nobody is credited, and the money comes back with the refund key after the delay.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["coins", "send"])]
    psbt_out: Option<PathBuf>,
    #[command(flatten)]
    fees: FeeOptions,
    #[command(flatten)]
    funding: FundingOptions,
    /// Sends the transaction; without it, it is shown only.
    #[arg(long)]
    send: bool,
}

impl Deposit {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let params = &session.params;
        let refund = match self.refund {
            Some(refund) => refund,
            None => self.wallet.open(global)?.refund_key(0)?.public(),
        };
        let deposit = deposit::Deposit { amount_sat: self.amount, owner: self.owner, refund };
        let outputs = deposit_outputs(params, &deposit).or_exit(Exit::Input)?;
        let address = BridgeOutput::deposit(&params.bridge, refund).or_exit(Exit::Input)?.address(params.network);
        if let Some(path) = &self.psbt_out {
            write_psbt(path, &unfunded_psbt(outputs), PsbtVersion::default())?;
            let report = serde_json::json!({ "psbt": path, "address": address.to_string(), "refund": refund });
            return global.console().report(&report, |_| {
                let advice = "add coins and change after the two outputs, which stay next to each other";
                format!("{}: a deposit to {address}\n{advice}", path.display())
            });
        }
        let poster = self.wallet.open(global)?.poster_key(0)?;
        let mut source = self.node.open(&session.dir, params.network, poster.script_pubkey())?;
        let funding = self.funding.find(&source, &poster, global)?;
        let fee_rate = self.fees.rate(&source, global)?;
        let build = |coins: &[Funding]| {
            let transaction = pay(outputs.to_vec(), fee_rate, coins, &poster)?;
            Ok((transaction.clone(), transaction))
        };
        let explain = |error: AnchorError| {
            let failure = Failure::of(Exit::Failed, error);
            failure.advise(format!("pay to {} or name coins with --coin", poster.address()))
        };
        let usage = (Purpose::Deposit, if self.send { Use::Keep } else { Use::Show });
        let transaction = spend(&session, source.node()?, &funding, usage, build, explain)?;
        if self.send {
            send_kept(&session, &mut source, &transaction)?;
        }
        let (txid, hex) = (transaction.compute_txid(), bitcoin::consensus::encode::serialize_hex(&transaction));
        let report = serde_json::json!({
            "output": OutPoint { txid, vout: 0 }, "address": address.to_string(), "refund": refund, "sent": self.send,
            "transaction": hex,
        });
        global.console().report(&report, |_| {
            let sent = if self.send { "sent".to_owned() } else { format!("not sent: run again with --send\n{hex}") };
            format!("deposit     {txid}:0\naddress     {address}\nrefund key  {refund}\n{sent}")
        })
    }
}

/// Takes back a deposit that was not credited, once its delay is over.
#[derive(Debug, Args)]
pub(super) struct Refund {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The output that the deposit paid to.
    #[arg(long, value_name = "TXID:VOUT")]
    output: OutPoint,
    /// The number of the refund key in the wallet.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
    /// Where the money goes.
    #[arg(long, value_name = "ADDRESS")]
    to: Address<NetworkUnchecked>,
    #[command(flatten)]
    fees: FeeOptions,
    /// Sends the transaction; without it, it is shown only.
    #[arg(long)]
    send: bool,
}

impl Refund {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let wallet = self.wallet.open(global)?;
        let key = wallet.refund_key(self.index).or_exit(Exit::Input)?;
        let to = self.to.clone().require_network(session.params.network).or_exit(Exit::Input)?;
        let reward_to = wallet.poster_key(0)?.script_pubkey();
        let mut source = self.node.open(&session.dir, session.params.network, reward_to)?;
        let watch = watch(&session, &source, global)?;
        check_uncredited(watch.scan(), &self.output).map_err(refused)?;
        let unspent = source.node()?.unspent(&self.output)?;
        let unspent = unspent.ok_or_else(|| refused(RefundError::NoOutput(self.output)))?;
        let fee_rate = self.fees.rate(&source, global)?;
        let transaction =
            refund(&session.params, self.output, &unspent, &key, to.script_pubkey(), fee_rate).map_err(refused)?;
        if self.send {
            send(&mut source, &transaction)?;
        }
        let (txid, value) = (transaction.compute_txid(), transaction.output[0].value);
        let hex = bitcoin::consensus::encode::serialize_hex(&transaction);
        let report = serde_json::json!({
            "txid": txid, "amount_sat": value.to_sat(), "sent": self.send, "transaction": hex,
        });
        global.console().report(&report, |_| {
            let sent = if self.send { "sent".to_owned() } else { format!("not sent: run again with --send\n{hex}") };
            format!("{} sat to {to} by {txid}\n{sent}", value.to_sat())
        })
    }
}

fn refused(error: RefundError) -> Failure {
    let (exit, advice) = match &error {
        RefundError::Credited(_) => (Exit::Refuted, "withdraw it with `taproof tx withdraw`"),
        RefundError::Open { .. } | RefundError::TooEarly(_) => (Exit::Refuted, "try again then"),
        RefundError::NoOutput(_) => (Exit::Input, "name the output of the deposit"),
        RefundError::OtherKey { .. } => (Exit::Input, "name the refund key with --index"),
        _ => (Exit::Failed, ""),
    };
    let failure = Failure::of(exit, error);
    if advice.is_empty() { failure } else { failure.advise(advice) }
}
