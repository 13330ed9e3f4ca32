//! `taproof regtest`.

use super::{
    Global,
    coins::{Use, explain, spend},
    console::counted,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    input::read_transactions,
    node_options::open_embedded,
    session::{Session, Source},
    setup::SAT_MAX,
    values::{address, of_network, owner, script},
    wallet::WalletOptions,
};
use bitcoin::{Address, Amount, Network, ScriptBuf, Transaction, TxOut, XOnlyPublicKey, address::NetworkUnchecked};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use taproof_base::network_name::network_name;
use taproof_bitcoin::{
    anchor::{FeeRate, Funding, pay},
    bridge::deposit::deposit_outputs,
    coins::{Purpose, own_coins},
    node::{EmbeddedNode, Node},
};
use taproof_verifier::{baby_jubjub::PublicKey, deposit::Deposit, exit::ExitRequest};
use taproof_wallet::PosterKey;

/// Mines, deposits, requests exits and pays on the embedded regtest chain of the data directory, without any node.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof regtest mine 101
  taproof regtest deposit --owner $KEY --amount 100000
  taproof regtest deposit --from payments.json
  taproof regtest exit $SCRIPT   # what `taproof tx exit` prints
  taproof regtest pay --address $ADDRESS --amount 50000")]
pub(crate) struct Regtest {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Mines blocks that pay to the wallet; a reward can be spent 100 blocks later.
    Mine {
        /// How many blocks.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
        blocks: u32,
        #[command(flatten)]
        wallet: WalletOptions,
    },
    /// Pays deposits from the wallet's coins, each in a transaction and a block of its own.
    Deposit {
        #[command(flatten)]
        wallet: WalletOptions,
        /// The owner who is credited: 64 hexadecimal digits.
        #[arg(long, value_parser = owner, value_name = "KEY", requires = "amount")]
        owner: Option<PublicKey>,
        /// The amount, in satoshi.
        #[arg(long, value_name = "SAT", requires = "owner")]
        amount: Option<u64>,
        /// Pays the deposits that a file of transactions lists.
        #[arg(long, value_name = "FILE", conflicts_with = "owner", required_unless_present = "owner")]
        from: Option<PathBuf>,
    },
    /// Puts an exit request into a block, in a transaction that the wallet's coins pay for.
    Exit {
        #[command(flatten)]
        wallet: WalletOptions,
        /// The script of the request's output, as `taproof tx exit` prints it.
        #[arg(value_parser = script, value_name = "SCRIPT")]
        script: ScriptBuf,
    },
    /// Pays to an address from the wallet's coins, such as the upgrade address, and mines a block.
    Pay {
        #[command(flatten)]
        wallet: WalletOptions,
        /// The address, one of regtest.
        #[arg(long, value_parser = address, value_name = "ADDRESS")]
        address: Address<NetworkUnchecked>,
        /// The amount, in satoshi.
        #[arg(long, value_name = "SAT", value_parser = clap::value_parser!(u64).range(..=SAT_MAX))]
        amount: u64,
    },
}

impl Regtest {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Mine { blocks, wallet } => {
                let poster = poster(&wallet, global)?;
                let mut node = open(&global.data_dir(), &poster)?;
                let spinner = global.console().spinner("mining");
                node.mine(blocks)?;
                spinner.finish_and_clear();
                report(&node, 0, global)
            }
            Action::Deposit { wallet, owner, amount, from } => {
                let poster = poster(&wallet, global)?;
                let refund = wallet.open(global)?.refund_key(0)?.public();
                let deposits = match (owner.zip(amount), from) {
                    (Some((owner, amount_sat)), _) => vec![Deposit { amount_sat, owner, refund }],
                    (None, Some(path)) => listed(&path, refund)?,
                    (None, None) => Vec::new(),
                };
                deposit(&deposits, &poster, global)
            }
            Action::Exit { wallet, script } => exit(script, &poster(&wallet, global)?, global),
            Action::Pay { wallet, address, amount } => {
                let script_pubkey = of_network(&address, Network::Regtest)?.script_pubkey();
                let output = TxOut { value: Amount::from_sat(amount), script_pubkey };
                pay_to(output, &poster(&wallet, global)?, global)
            }
        }
    }
}

/// What to do where the rollup lives on a node's chain.
const ELSEWHERE: &str = "\
    `taproof regtest` knows the embedded chain alone: on a node's, its own wallet mines and pays, and `taproof bridge \
    deposit --send` and `taproof tx exit --send` send deposits and exit requests";

fn poster(wallet: &WalletOptions, global: &Global) -> Result<PosterKey> {
    let wallet = wallet.open(global)?;
    if wallet.network() != Network::Regtest {
        let failure =
            Failure::new(Exit::Input, format!("the embedded chain is regtest, not {}", network_name(wallet.network())));
        return Err(failure.advise(ELSEWHERE));
    }
    Ok(wallet.poster_key(0)?)
}

/// The embedded chain, if the rollup of the data directory, where there is one, lives on it.
fn open(dir: &DataDir, poster: &PosterKey) -> Result<EmbeddedNode> {
    match open_embedded(dir, poster.network(), poster.script_pubkey(), ELSEWHERE)? {
        Source::Embedded(node) => Ok(node),
        _ => unreachable!("the embedded chain was opened"),
    }
}

fn listed(path: &std::path::Path, refund: XOnlyPublicKey) -> Result<Vec<Deposit>> {
    let file = read_transactions(path)?;
    let deposit = |record: &taproof_verifier::record::DepositRecord| Deposit {
        amount_sat: record.amount_sat,
        owner: record.owner,
        refund,
    };
    Ok(file.deposits.iter().map(deposit).collect())
}

fn deposit(deposits: &[Deposit], poster: &PosterKey, global: &Global) -> Result {
    let session = Session::open(global)?;
    let source = Source::Embedded(open(&session.dir, poster)?);
    session.expect_alive(&source, global)?;
    let Source::Embedded(mut node) = source else { unreachable!("it was just opened") };
    let spinner = global.console().spinner("depositing");
    // All are checked before the first is paid.
    let outputs = deposits.iter().map(|deposit| deposit_outputs(&session.params, deposit));
    for outputs in outputs.collect::<std::result::Result<Vec<_>, _>>().or_exit(Exit::Input)? {
        node.send(&paid(&session, &node, &outputs, Purpose::Deposit, poster)?)?;
        node.mine(1)?;
    }
    spinner.finish_and_clear();
    report(&node, deposits.len(), global)
}

/// Pays for an output that holds an exit request of the rollup's, and mines it.
fn exit(script: ScriptBuf, poster: &PosterKey, global: &Global) -> Result {
    let session = Session::open(global)?;
    let request = ExitRequest::parse(&script, session.params.chain_id()).ok_or_else(|| {
        let failure = Failure::new(Exit::Input, "the script is no exit request of this rollup's");
        failure.advise("give what `taproof tx exit` prints for it")
    })?;
    request.verify(session.params.chain_id()).or_exit(Exit::Refuted)?;
    let source = Source::Embedded(open(&session.dir, poster)?);
    let follower = session.follow(&source, |_| ())?;
    if follower.pending_exits().any(|exit| exit.request.id() == request.id()) {
        global.console().warn("the same request waits already: this one asks for nothing more");
    }
    let Source::Embedded(mut node) = source else { unreachable!("it was just opened") };
    let outputs = vec![TxOut { value: Amount::ZERO, script_pubkey: script }];
    let transaction = paid(&session, &node, &outputs, Purpose::ExitRequest, poster)?;
    let txid = transaction.compute_txid();
    // Not by the pool: nodes of older releases relay less data than a request has, and blocks may hold it all the same.
    node.chain_mut().mine(&[transaction], &poster.script_pubkey())?;
    node.save()?;
    let height = node.chain().height();
    let report = serde_json::json!({ "txid": txid, "height": height, "request": request });
    global.console().report(&report, |_| {
        let (cell, amount_sat) = (request.from(), request.record().amount);
        format!("cell {cell} demands {amount_sat} sat in block {height}: transaction {txid}")
    })
}

/// Pays for an output, and mines it.
fn pay_to(output: TxOut, poster: &PosterKey, global: &Global) -> Result {
    let session = Session::open(global)?;
    let mut node = open(&session.dir, poster)?;
    let dust_sat = output.script_pubkey.minimal_non_dust().to_sat();
    if output.value.to_sat() < dust_sat {
        let message = format!("nodes pass on no payment of less than {dust_sat} sat to such an address");
        return Err(Failure::new(Exit::Input, message).advise("pay more"));
    }
    let transaction = paid(&session, &node, &[output], Purpose::Payment, poster)?;
    node.send(&transaction)?;
    node.mine(1)?;
    node.save()?;
    let (txid, height) = (transaction.compute_txid(), node.chain().height());
    let report = serde_json::json!({ "txid": txid, "height": height });
    global.console().report(&report, |_| format!("paid in block {height}: transaction {txid}"))
}

/// A transaction that pays outputs from the wallet's coins, those that wait for others left alone.
fn paid(
    session: &Session,
    node: &EmbeddedNode,
    outputs: &[TxOut],
    purpose: Purpose,
    poster: &PosterKey,
) -> Result<Transaction> {
    let fee_rate = FeeRate::from_sat_per_kvb(1_000)?;
    let build = |coins: &[Funding]| {
        let transaction = pay(outputs.to_vec(), fee_rate, coins, poster)?;
        Ok((transaction.clone(), transaction))
    };
    let usage = (purpose, Use::Keep);
    let coins = own_coins(node, &poster.scripts())?;
    spend(session, node, &coins, usage, build, |error| explain(error, poster, &coins))
}

fn report(node: &EmbeddedNode, deposits: usize, global: &Global) -> Result {
    let (height, tip) = (node.chain().height(), node.chain().tip_hash());
    let report = serde_json::json!({ "height": height, "tip": tip.to_string(), "deposits": deposits });
    global.console().report(&report, |_| match deposits {
        0 => format!("tip {tip} at height {height}"),
        _ => format!("{}; tip {tip} at height {height}", counted(deposits, "deposit")),
    })
}
