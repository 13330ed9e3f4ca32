//! `taproof tx`.

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    wallet::{KeyNumber, WalletOptions},
};
use bitcoin::{Address, address::NetworkUnchecked};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use taproof::artefact::transactions::{self, TransactionFile};
use taproof_circuits::transaction::{Open, Transaction, Transfer, UnsignedTransaction, Withdraw};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token},
    record::Destination,
};

/// Makes and signs one transaction, and prints it or adds it to a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof tx transfer --from 1 --nonce 0 --to 2 --amount 5000 --fee 10
  taproof tx open --from 1 --nonce 1 --to 3 --owner $KEY --amount 7000 --add-to txs.json
  taproof tx withdraw --from 2 --nonce 0 --address bcrt1q... --amount 4000 --add-to txs.json")]
pub(crate) struct TxCommand {
    #[command(subcommand)]
    body: BodyArgs,
}

#[derive(Debug, Subcommand)]
enum BodyArgs {
    /// Pays from one account to another.
    Transfer {
        #[command(flatten)]
        payment: PaymentArgs,
        /// The account that is paid.
        #[arg(long, value_parser = cell, value_name = "CELL")]
        to: CellIndex,
    },
    /// Pays into an empty cell, which becomes an account.
    Open {
        #[command(flatten)]
        payment: PaymentArgs,
        /// The empty cell.
        #[arg(long, value_parser = cell, value_name = "CELL")]
        to: CellIndex,
        /// The new account's owner: 64 hexadecimal digits.
        #[arg(long, value_parser = owner, value_name = "KEY")]
        owner: PublicKey,
    },
    /// Pays to an address on Bitcoin.
    Withdraw {
        #[command(flatten)]
        payment: PaymentArgs,
        /// A native segwit or taproot address.
        #[arg(long, value_name = "ADDRESS")]
        address: Address<NetworkUnchecked>,
    },
}

#[derive(Debug, Args)]
struct PaymentArgs {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    key: KeyNumber,
    /// The account that pays.
    #[arg(long, value_parser = cell, value_name = "CELL")]
    from: CellIndex,
    /// How many transactions that account has sent.
    #[arg(long, value_name = "N")]
    nonce: u32,
    /// The amount, in satoshi or the token's smallest unit.
    #[arg(long, value_name = "SAT")]
    amount: u64,
    /// The fee for the operator, on top of the amount.
    #[arg(long, default_value_t = 0, value_name = "SAT")]
    fee: u64,
    /// The token that is paid; 0 is bitcoin.
    #[arg(long, default_value_t = 0, value_name = "N")]
    token: u32,
    /// The rollup that the transaction is for.
    #[arg(long, default_value_t = 1, value_name = "N")]
    chain_id: u32,
    /// Adds the transaction to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
}

/// Parses a cell's index.
pub(crate) fn cell(text: &str) -> std::result::Result<CellIndex, String> {
    let index = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    CellIndex::new(index).ok_or_else(|| "a cell's index is below 2^30".to_owned())
}

/// Parses an owner's key.
pub(crate) fn owner(text: &str) -> std::result::Result<PublicKey, String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| error.to_string())?;
    PublicKey::from_bytes(&bytes).map_err(|error| error.to_string())
}

impl TxCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        let (unsigned, payment) = self.body.unsigned()?;
        let wallet = payment.wallet.open(global)?;
        let transaction = unsigned.sign(&payment.key.secret_key(&wallet)?);
        match &payment.add_to {
            Some(path) => add(path, transaction, global),
            None => global.console().print(serde_json::to_string(&transaction)?),
        }
    }
}

impl BodyArgs {
    fn unsigned(self) -> Result<(UnsignedTransaction, PaymentArgs)> {
        Ok(match self {
            Self::Transfer { payment, to } => {
                let PaymentArgs { from, nonce, amount, fee, .. } = payment;
                let (chain_id, token) = (ChainId(payment.chain_id), Token(payment.token));
                (UnsignedTransaction::Transfer(Transfer { chain_id, token, from, nonce, to, amount, fee }), payment)
            }
            Self::Open { payment, to, owner } => {
                let PaymentArgs { from, nonce, amount, fee, .. } = payment;
                let (chain_id, token) = (ChainId(payment.chain_id), Token(payment.token));
                (UnsignedTransaction::Open(Open { chain_id, token, from, nonce, to, amount, fee, owner }), payment)
            }
            Self::Withdraw { payment, address } => {
                let network = payment.wallet.network();
                let address = address.require_network(network).or_exit(Exit::Input)?;
                let destination = Destination::from_script_pubkey(&address.script_pubkey()).ok_or_else(|| {
                    let failure =
                        Failure::new(Exit::Input, format!("{address} is no witness program of version 0 or 1"));
                    failure.advise("give an address that begins with bc1q, bc1p, or the like of the network")
                })?;
                let PaymentArgs { from, nonce, amount, fee, .. } = payment;
                let (chain_id, token) = (ChainId(payment.chain_id), Token(payment.token));
                let body = Withdraw { chain_id, token, from, nonce, amount, fee, destination };
                (UnsignedTransaction::Withdraw(body), payment)
            }
        })
    }
}

/// Adds a transaction to a file, which is made if it does not exist.
fn add(path: &Path, transaction: Transaction, global: &Global) -> Result {
    let TransactionFile { deposits, transactions: entries } =
        if path.exists() { TransactionFile::read(path).or_exit(Exit::Input)? } else { TransactionFile::default() };
    // A malformed entry would be lost by writing the file again.
    let mut entries: Vec<Transaction> =
        entries.into_iter().collect::<std::result::Result<_, _>>().or_exit(Exit::Input)?;
    entries.push(transaction);
    DataDir::create_parent(path)?;
    transactions::write(path, &deposits, &entries)?;
    let report = serde_json::json!({ "file": path, "transactions": entries.len() });
    global.console().report(&report, |_| format!("{}: {} transactions", path.display(), entries.len()))
}
