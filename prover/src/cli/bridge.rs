//! `taproof bridge`.

mod deposit;
mod funds;
mod payout;
mod refund;
mod signing;
mod status;
mod why;

use super::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
    input::read_text,
    psbt::{PsbtVersion, PsbtVersionOption, open_psbt, read_file, read_psbt, write_psbt},
    session::{NodeOptions, Session, Source, not_followed},
    values::bitcoin_key,
    wallet::WalletOptions,
};
use bitcoin::{Amount, TxOut, XOnlyPublicKey};
use clap::{Args, Subcommand};
use taproof_base::{artefact::FileError, io_fault::is_denied};
use taproof_bitcoin::{
    bridge::{
        descriptor::BridgeOutput,
        signer_key::SignerKeys,
        watch::{Afresh, BridgeWatch},
    },
    chain_store::WithStoredHeaders,
    follow::FollowError,
    node::ChainSource,
};

pub(super) use funds::{FeeOptions, FundingOptions, expect_within_cap};
pub(super) use payout::origin;
pub(super) use signing::{ANNOUNCEMENT, Send};

/// Deposits, and pays out withdrawals by the signers of the bridge.
///
/// Deposits need nobody's leave. Payouts go from whoever runs `payout`, who is not trusted, to t signers, each of whom
/// runs `sign` beside a node of its own, and back to `combine` and `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof bridge address --refund $REFUND_KEY
  taproof bridge deposit --owner $KEY --amount 100000 --send
  taproof bridge deposit --owner $KEY --amount 100000 --recipe   # others pay
  taproof bridge why TXID
  taproof bridge refund --output TXID:0 --to bcrt1q... --send
  taproof bridge status
  taproof bridge payout --out link.psbt
  taproof bridge sign link.psbt --out signed-1.psbt
  taproof bridge combine signed-1.psbt signed-2.psbt --out link.tx
  taproof bridge send link.tx")]
pub(crate) struct BridgeCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows a signer's or depositor's keys.
    Keys(Keys),
    /// Shows the bridge's address and descriptor, or those of a depositor.
    #[command(alias = "descriptor")]
    Address(Address),
    /// Pays a deposit, or writes it for another wallet to pay.
    Deposit(Box<deposit::Deposit>),
    /// Takes back a deposit that was not credited, once its delay is over.
    Refund(Box<refund::Refund>),
    /// Says what each output of a transaction is: a deposit and what became of it, or why it is none.
    Why(why::Why),
    /// Shows what the bridge holds and owes, and which deposits must be moved soon.
    Status(status::Status),
    /// Builds the next payout transaction, without the signers' signatures.
    Payout(Box<payout::Payout>),
    /// Checks a payout transaction from this machine's own node, and signs nothing.
    Check(signing::Check),
    /// Checks a payout transaction from this machine's own node, and signs it if nothing is wrong.
    Sign(signing::Sign),
    /// Joins signatures to the transaction.
    Combine(signing::Combine),
    /// Sends a transaction.
    Send(Send),
}

impl BridgeCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Keys(command) => command.run(global),
            Action::Address(command) => command.run(global),
            Action::Deposit(command) => command.run(global),
            Action::Refund(command) => command.run(global),
            Action::Why(command) => command.run(global),
            Action::Status(command) => command.run(global),
            Action::Payout(command) => command.run(global),
            Action::Check(command) => command.run(global),
            Action::Sign(command) => command.run(global),
            Action::Combine(command) => command.run(global),
            Action::Send(command) => command.run(global, &signing::LINK),
        }
    }
}

#[derive(Debug, Args)]
struct Keys {
    #[command(flatten)]
    wallet: WalletOptions,
    /// The number of the keys.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
}

impl Keys {
    fn run(self, global: &Global) -> Result {
        let wallet = self.wallet.open(global)?;
        let signer = wallet.signer_key(self.index).or_exit(Exit::Input)?.public().to_string();
        let refund = wallet.refund_key(self.index).or_exit(Exit::Input)?.public().to_string();
        let expression = wallet.signer_key_expression(self.index).or_exit(Exit::Input)?;
        let report = serde_json::json!({
            "index": self.index, "signer_key": signer, "signer_key_expression": expression, "refund_key": refund,
        });
        global
            .console()
            .report(&report, |_| format!("signer key  {signer}\n            {expression}\nrefund key  {refund}"))
    }
}

#[derive(Debug, Args)]
struct Address {
    /// The refund key of a depositor; without it, the bridge's own address, which makes no deposit.
    #[arg(long, value_parser = bitcoin_key, value_name = "KEY")]
    refund: Option<XOnlyPublicKey>,
}

impl Address {
    fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let params = &session.params;
        let output = match self.refund {
            Some(refund) => BridgeOutput::deposit(params.bridge(), refund),
            None => BridgeOutput::own(params.bridge()),
        };
        let output = output.or_exit(Exit::Input)?;
        // With what is known of the signers' keys, where something is.
        let known = signer_keys(&session)?.descriptor(params.bridge(), self.refund).or_exit(Exit::Input)?;
        let (address, descriptor) = (output.address(params.network).to_string(), known.to_string());
        let report = serde_json::json!({ "address": address, "descriptor": descriptor });
        global.console().report(&report, |_| {
            let caution =
                "a payment without a deposit's second output is credited to nobody: use `taproof bridge deposit`";
            format!("address     {address}\ndescriptor  {descriptor}\n{caution}")
        })
    }
}

/// What the data directory knows of where the signers' keys come from.
pub(super) fn signer_keys(session: &Session) -> Result<SignerKeys> {
    let path = session.dir.bridge_keys();
    if !path.exists() {
        return Ok(SignerKeys::default());
    }
    SignerKeys::from_lines(&read_text(&path)?).or_exit_while(Exit::Input, path.display().to_string())
}

/// The bridge up to the tip of a node that is not behind, as those must see it who sign or plan for others.
fn watch(session: &Session, source: &Source, global: &Global) -> Result<BridgeWatch> {
    source.node()?;
    look_on(session, source, global)
}

/// The bridge up to the tip of a source that is not behind.
fn look_on(session: &Session, source: &Source, global: &Global) -> Result<BridgeWatch> {
    source.expect_current()?;
    let spinner = global.console().spinner("following the chain");
    let watch = catch_up(session, source)?;
    spinner.finish_and_clear();
    Ok(watch)
}

/// The bridge up to a source's tip, from where the data directory has it.
pub(super) fn catch_up(session: &Session, source: &Source) -> Result<BridgeWatch> {
    let path = session.dir.bridge_state();
    let (params, programs) = (session.params.clone(), session.programs.clone());
    // The headers that following has kept need not be asked for again.
    let store = session.chain_store();
    let chain = match WithStoredHeaders::new(&store, source.chain()) {
        Err(FollowError::Store(_)) => None,
        chain => Some(chain.map_err(not_followed)?),
    };
    let chain = chain.as_ref().map_or(source.chain(), |chain| chain as &dyn ChainSource);
    let (mut watch, afresh) = BridgeWatch::open(&path, chain, params, programs).map_err(not_followed)?;
    match afresh {
        None | Some(Afresh::Nothing) => {}
        Some(reason @ (Afresh::Left { .. } | Afresh::Follower(_))) => {
            let advice = format!(
                "see that other nodes say the same; if Bitcoin has really reorganised below a final block, people must \
                 decide what was \
                 paid (docs/operating.md); then move {} away",
                path.display()
            );
            return Err(Failure::of(Exit::Refuted, reason).advise(advice));
        }
        Some(reason) => session.console.warn(format!("{reason}; reading everything from the rollup's start")),
    }
    // What was read is kept, whatever ended it.
    let caught_up = watch.catch_up(chain);
    match watch.save(&path) {
        Err(FileError::Io { source, .. }) if is_denied(&source) => {
            let path = path.display();
            session.console.warn(format!("{path} may not be written, so it is made again the next time: {source}"));
        }
        // What strangers have put into the chain is longer than a file may be.
        Err(error @ FileError::Artefact { .. }) => {
            session.console.warn(format!("the bridge's state is not kept, so everything will be read again: {error}"));
        }
        saved => saved?,
    }
    caught_up.map_err(not_followed)?;
    Ok(watch)
}

/// Sends a transaction if the node would relay it, and mines it where the chain is the embedded one.
fn send(source: &mut Source, transaction: &bitcoin::Transaction) -> Result {
    source.expect_current()?;
    source.payer().send(transaction)?;
    if let Source::Embedded(node) = source {
        node.mine(1)?;
    }
    Ok(())
}

fn total(outputs: impl Iterator<Item = TxOut>) -> Amount {
    outputs.map(|output| output.value).sum()
}
