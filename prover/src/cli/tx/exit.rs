//! How an exit request gets onto Bitcoin.

use super::{Book, PaymentArgs};
use crate::cli::{
    Global,
    bridge::{FeeOptions, FundingOptions},
    coins::{Use, coin_store_failure, explain, spend},
    failure::{Exit, Failure, Fallible, Result},
    known::Outset,
    path_text,
    psbt::{PsbtVersion, open_psbt, write_psbt},
    session::{Session, Source, read_params},
};
use bitcoin::{
    Psbt, Transaction as BitcoinTransaction, TxOut, absolute::LockTime, consensus::encode, transaction::Version,
};
use clap::Args;
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::{Funding, pay},
    bridge::recipe::core_call,
    coins::{CoinStore, Purpose},
    node::{NodeError, RejectClass},
};
use taproof_circuits::transaction::Transaction;
use taproof_verifier::{baby_jubjub::PublicKey, cell::ChainId, exit::ExitRequest, follow::Follower};
use taproof_wallet::PosterKey;

/// What carries the request to Bitcoin.
#[derive(Debug, Args)]
pub(super) struct Carrier {
    /// Sends a transaction that carries the request, paid from the wallet's coins.
    #[arg(long)]
    send: bool,
    /// Writes a PSBT with the request's output and no input, for another wallet to add its coins to.
    #[arg(long, value_name = "FILE", conflicts_with = "send")]
    psbt_out: Option<PathBuf>,
    #[command(flatten)]
    fees: FeeOptions,
    #[command(flatten)]
    funding: FundingOptions,
}

#[derive(Serialize)]
struct Report {
    request: ExitRequest,
    /// Hexadecimal digits.
    script_pubkey: String,
    value_sat: u64,
    /// The output as Bitcoin serialises it, in hexadecimal digits.
    output: String,
    /// The call by which Bitcoin Core makes a PSBT of it.
    core: String,
    #[serde(serialize_with = "path_text::serialize")]
    psbt: Option<PathBuf>,
    /// The transaction that was sent.
    txid: Option<bitcoin::Txid>,
    /// The first height at which every anchor must serve or refute the request, if it is in the next block.
    due_height: Option<u32>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((txid, due_height)) = self.txid.zip(self.due_height) {
            write!(
                f,
                "sent in {txid}, with nonce {}: every anchor must serve or refute it from about height {due_height} \
                 on; see `taproof follow`",
                self.request.nonce()
            )?;
            return Ok(());
        }
        if let Some(path) = &self.psbt {
            writeln!(f, "psbt    {}, without coins", shown(path.display()))?;
        }
        write!(
            f,
            "put this output into any transaction on Bitcoin, or send one with --send:\n  value  0\n  script {}",
            self.script_pubkey
        )?;
        write!(f, "\nwith Bitcoin Core:\n  {}", self.core)
    }
}

impl Carrier {
    /// What is known of the account: by the ledger, or where there is none by the chain, unless all that it would
    /// tell is given.
    pub(super) fn book(&self, payment: &PaymentArgs, chain_id: ChainId, global: &Global) -> Result<Option<Book>> {
        let dir = global.data_dir();
        let is_told = payment.from.is_some() && payment.nonce.is_some() && payment.force;
        if dir.ledger().exists() || !dir.program().exists() || is_told {
            return payment.book(chain_id, &[], global);
        }
        let session = Session::open(global)?;
        let advise = |failure: Failure| {
            failure.advise(
                "without a chain, give --from and --nonce, and --force: whether the account can pay is then \
                            not checked",
            )
        };
        Ok(Some(Book::new(Outset::of_chain(&session, &payment.node, global).map_err(advise)?, &[])))
    }

    /// Sends the request, or shows how it is sent.
    pub(super) fn carry(
        &self,
        transaction: &Transaction,
        owner: PublicKey,
        payment: &PaymentArgs,
        global: &Global,
    ) -> Result {
        let Transaction::Withdraw(signed) = transaction else { unreachable!("an exit is a withdrawal") };
        let request = signed.demand(owner).or_exit(Exit::Input)?;
        let dir = global.data_dir();
        let psbt = self.psbt_out.as_deref().map(|path| open_psbt(&dir, path, &[])).transpose()?;
        let console = global.console().beside(&psbt)?;
        let params = read_params(&dir.params()).map_err(|failure| {
            failure.advise("a request carries the rollup's chain id, which follows from its params.json")
        })?;
        let output = request.output(params.chain_id());
        if let Some(psbt) = psbt {
            write_psbt(psbt, &unfunded(output.clone()), PsbtVersion::default())?;
        }
        let (mut txid, mut due_height) = (None, None);
        if self.send {
            let session = Session::open(global)?;
            let poster = payment.wallet.open(global)?.poster_key(0)?;
            let mut source =
                payment.node.open(&session.dir, params.network, poster.script_pubkey(), session.console)?;
            if let Some(follower) = session.expect_alive(&source, global)? {
                warn_of_waiting(&follower, &request, global);
            }
            let funding = self.funding.find(&source, &poster, global)?;
            let fee_rate = self.fees.rate(&source, global)?;
            let build = |coins: &[Funding]| {
                let transaction = pay(vec![output.clone()], fee_rate, coins, &poster)?;
                Ok((transaction.clone(), transaction))
            };
            let explain = |error| explain(error, &poster, &funding);
            let usage = (Purpose::ExitRequest, Use::Keep);
            let paid = spend(&session, source.payer(), &funding, usage, build, explain)?;
            due_height = Some(params.due_height(source.chain().tip_height()?.saturating_add(1)));
            put(&mut source, &paid, &poster, &session.dir.coins())?;
            txid = Some(paid.compute_txid());
        }
        // The push of an OP_RETURN of more than 75 bytes: two opcodes and a length.
        let data = output.script_pubkey.as_bytes().get(3..).unwrap_or_default();
        let data = serde_json::json!({ "data": hex::encode(data) }).to_string();
        let report = Report {
            request,
            script_pubkey: output.script_pubkey.to_hex_string(),
            value_sat: output.value.to_sat(),
            output: encode::serialize_hex(&output),
            core: core_call(params.network, &[data]),
            psbt: self.psbt_out.clone(),
            txid,
            due_height,
        };
        // Where it is neither sent nor in a file, what is shown is all there is of it.
        match (&report.txid, &report.psbt) {
            (None, None) => console.produce(&report, ToString::to_string),
            _ => console.report(&report, ToString::to_string),
        }
    }
}

/// Says what the account demands already: whoever runs a command again, not sure that it was sent, exits twice.
fn warn_of_waiting(follower: &Follower, request: &ExitRequest, global: &Global) {
    let from = |request: &ExitRequest| (request.from(), *request.owner());
    for waiting in follower.pending_exits().filter(|waiting| from(&waiting.request) == from(request)) {
        let (amount, nonce) = (waiting.request.record().amount, waiting.request.nonce());
        global.console().warn(format!(
            "a request of {amount} sat with nonce {nonce} waits since height {}, of the same account: this one is \
             another beside it",
            waiting.height
        ));
    }
}

/// Sends the transaction; the embedded chain, whose pool is as strict as the oldest nodes, gets it in a block.
fn put(source: &mut Source, transaction: &BitcoinTransaction, poster: &PosterKey, coins: &Path) -> Result {
    if let Source::Embedded(node) = source {
        node.chain_mut().mine(std::slice::from_ref(transaction), &poster.script_pubkey())?;
        return Ok(node.save()?);
    }
    let sent = source.payer().send(transaction);
    if matches!(&sent, Err(NodeError::Rejected { .. })) {
        let kept = CoinStore::new(coins.to_owned());
        kept.release_spent_by(transaction.compute_txid()).map_err(coin_store_failure)?;
    }
    let is_unusual =
        matches!(&sent, Err(NodeError::Rejected { rejection, .. }) if rejection.class == RejectClass::Policy);
    sent.map(drop).or_exit(Exit::Failed).map_err(|failure| match is_unusual {
        true => failure.advise(
            "a request has more data in one output than Bitcoin Core before version 30 hands on, unless it is started \
             with \
             -datacarriersize=200, and than Bitcoin Knots does with any option: send it through a node of Bitcoin \
             Core, a server that \
             has one, or a miner",
        ),
        false => failure,
    })
}

/// A PSBT with an output and no input.
fn unfunded(output: TxOut) -> Psbt {
    let transaction = BitcoinTransaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: Vec::new(),
        output: vec![output],
    };
    Psbt::from_unsigned_tx(transaction).expect("there are no inputs with scripts")
}
