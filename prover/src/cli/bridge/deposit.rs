//! `taproof bridge deposit`.

use super::{
    super::values::{bitcoin_key, owner},
    Exit, Fallible, FeeOptions, FundingOptions, Global, NodeOptions, PsbtVersion, Result, Session, WalletOptions,
    XOnlyPublicKey, open_psbt, write_psbt,
};
use crate::cli::{
    coins::{Use, explain, send_kept, spend},
    path_text,
};
use bitcoin::OutPoint;
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::{Funding, pay},
    bridge::{
        deposit::{deposit_outputs, unfunded_psbt},
        recipe::Recipe,
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
    #[arg(long, value_parser = bitcoin_key, value_name = "KEY")]
    refund: Option<XOnlyPublicKey>,
    /// Writes a PSBT with the deposit's two outputs and no input, for another wallet to add its coins to.
    ///
    /// The two outputs must stay next to each other in their order: change comes after them. Where a wallet puts it
    /// between them, nobody is credited, and the money comes back with the refund key after the delay.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["coins", "send"])]
    psbt_out: Option<PathBuf>,
    /// Shows what another wallet needs to pay the deposit: address, amount and data, the call of Bitcoin Core that
    /// makes a PSBT of them, and a BIP-21 line.
    #[arg(long, conflicts_with_all = ["coins", "send"])]
    recipe: bool,
    /// Does not look at the chain for --psbt-out and --recipe, and so not at whether the rollup still lives.
    #[arg(long, conflicts_with_all = ["coins", "send"])]
    offline: bool,
    #[command(flatten)]
    fees: FeeOptions,
    #[command(flatten)]
    funding: FundingOptions,
    /// Sends the transaction; without it, it is shown only.
    #[arg(long)]
    send: bool,
}

/// What is given to another wallet.
#[derive(Serialize)]
struct ForOthers {
    #[serde(serialize_with = "path_text::serialize")]
    psbt: Option<PathBuf>,
    refund: XOnlyPublicKey,
    #[serde(flatten)]
    recipe: Recipe,
}

impl fmt::Display for ForOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recipe { address, amount_sat, data, core, uri, .. } = &self.recipe;
        if let Some(path) = &self.psbt {
            writeln!(f, "psbt        {}, without coins", shown(path.display()))?;
        }
        writeln!(
            f,
            "address     {address}\namount      {amount_sat} sat\ndata        {data}\nrefund key  {}",
            self.refund
        )?;
        writeln!(f, "core        {core}\nbip-21      {uri}")?;
        write!(
            f,
            "The data, by OP_RETURN, is the output right after the payment; change comes after both. A wallet that \
             sorts or shuffles outputs \
             makes no deposit of it, nor does one that pays the BIP-21 line without the data: look with `taproof \
             bridge why` before you send."
        )
    }
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
        let recipe = Recipe::new(params, &deposit).or_exit(Exit::Input)?;
        if self.recipe || self.psbt_out.is_some() {
            let psbt = self.psbt_out.as_deref().map(|path| open_psbt(&session.dir, path, &[])).transpose()?;
            let console = global.console().beside(&psbt)?;
            if self.offline {
                global.console().warn("the chain is not looked at, and so not whether the rollup still lives");
            } else {
                session.expect_alive(&session.source(&self.node)?, global)?;
            }
            if let Some(psbt) = psbt {
                write_psbt(psbt, &unfunded_psbt(outputs), PsbtVersion::default())?;
            }
            let report = ForOthers { psbt: self.psbt_out, refund, recipe };
            return console.report(&report, ToString::to_string);
        }
        let address = &recipe.address;
        let poster = self.wallet.open(global)?.poster_key(0)?;
        let mut source = self.node.open(&session.dir, params.network, poster.script_pubkey(), session.console)?;
        session.expect_alive(&source, global)?;
        let funding = self.funding.find(&source, &poster, global)?;
        let fee_rate = self.fees.rate(&source, global)?;
        let build = |coins: &[Funding]| {
            let transaction = pay(outputs.to_vec(), fee_rate, coins, &poster)?;
            Ok((transaction.clone(), transaction))
        };
        let explain = |error| explain(error, &poster, &funding);
        let usage = (Purpose::Deposit, if self.send { Use::Keep } else { Use::Show });
        let transaction = spend(&session, source.payer(), &funding, usage, build, explain)?;
        if self.send {
            send_kept(&session, &mut source, &transaction)?;
        }
        let (txid, hex) = (transaction.compute_txid(), bitcoin::consensus::encode::serialize_hex(&transaction));
        let report = serde_json::json!({
            "output": OutPoint { txid, vout: 0 }, "address": address, "refund": refund, "sent": self.send,
            "transaction": hex,
        });
        global.console().report(&report, |_| {
            let sent = if self.send { "sent".to_owned() } else { format!("not sent: run again with --send\n{hex}") };
            format!("deposit     {txid}:0\naddress     {address}\nrefund key  {refund}\n{sent}")
        })
    }
}
