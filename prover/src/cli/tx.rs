//! `taproof tx`.

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    session::{ledger_failure, read_params},
    wallet::{KeyNumber, WalletOptions},
};
use bitcoin::{Address, address::NetworkUnchecked};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};
use taproof::{
    artefact::transactions::{self, TransactionFile},
    ledger::Ledger,
};
use taproof_circuits::transaction::{Open, Transaction, Transfer, UnsignedTransaction, Withdraw};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token},
    exit::{ExitRequest, PAYOUT_MIN_SAT},
    record::{DepositRecord, Destination},
};

/// Makes and signs one transaction, and prints it or adds it to a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof tx transfer --from 1 --to 2 --amount 5000 --fee 10
  taproof tx open --from 1 --to 3 --owner $KEY --amount 7000 --add-to txs.json
  taproof tx withdraw --from 2 --nonce 0 --chain-id 1 --address bcrt1q... --amount 4000 --add-to txs.json
  taproof tx exit --from 2 --amount 4000 --address bcrt1q...")]
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
    /// Demands on Bitcoin to be paid to an address on Bitcoin, so that no poster can leave it out: prints the output that any
    /// transaction may carry there. Within the rollup's window it is served, if the account is the key's and can pay.
    Exit {
        #[command(flatten)]
        payment: PaymentArgs,
        /// A native segwit or taproot address.
        #[arg(long, value_name = "ADDRESS")]
        address: Address<NetworkUnchecked>,
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
    /// How many transactions that account has sent; without it, counted from the ledger and from the file that is added
    /// to.
    #[arg(long, value_name = "N")]
    nonce: Option<u32>,
    /// The amount, in satoshi or the token's smallest unit.
    #[arg(long, value_name = "SAT")]
    amount: u64,
    /// The fee for the operator, on top of the amount.
    #[arg(long, default_value_t = 0, value_name = "SAT")]
    fee: u64,
    /// The token that is paid; 0 is bitcoin.
    #[arg(long, default_value_t = 0, value_name = "N")]
    token: u32,
    /// The rollup that the transaction is for; without it, the data directory's.
    #[arg(long, value_name = "N")]
    chain_id: Option<u32>,
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
        let payment = self.body.payment();
        let is_exit = matches!(self.body, BodyArgs::Exit { .. });
        if is_exit && payment.add_to.is_some() {
            let failure = Failure::new(Exit::Input, "an exit request goes to Bitcoin, not into a file of transactions");
            return Err(failure.advise("leave out --add-to"));
        }
        let wallet = payment.wallet.open(global)?;
        let file = payment.add_to.as_deref().map(Addition::read).transpose()?;
        let chain_id = match payment.chain_id {
            Some(chain_id) => ChainId(chain_id),
            None => {
                read_params(&global.data_dir().params())
                    .map_err(|failure| failure.advise("name the rollup with --chain-id"))?
                    .chain_id
            }
        };
        let nonce = match payment.nonce {
            Some(nonce) => nonce,
            None => next_nonce(global, chain_id, payment.from, file.as_ref())?,
        };
        let key = payment.key.secret_key(&wallet)?;
        let transaction = self.body.unsigned(chain_id, nonce)?.sign(&key);
        if is_exit {
            return exit_output(&transaction, *key.public(), global);
        }
        match file {
            Some(file) => file.add(transaction, global),
            None => global.console().print(serde_json::to_string(&transaction)?),
        }
    }
}

/// The nonce that a payer's next transaction has: after what the ledger has applied, and what waits in the ledger or the file.
fn next_nonce(global: &Global, chain_id: ChainId, from: CellIndex, file: Option<&Addition>) -> Result<u32> {
    let advise =
        |failure: Failure| failure.advise("give --nonce, the number of transactions that the account has sent");
    let ledger = Ledger::open(&global.data_dir().ledger(), chain_id).map_err(ledger_failure).map_err(advise)?;
    let account = ledger.state().account(from);
    let account = account.ok_or_else(|| advise(Failure::new(Exit::Input, format!("cell {from} is no account yet"))))?;
    let waiting = ledger.transactions().map_err(ledger_failure)?;
    let later = waiting.iter().chain(file.into_iter().flat_map(|file| &file.transactions)).filter(|transaction| {
        let payment = transaction.payment();
        payment.chain_id == chain_id && payment.from == from && payment.nonce >= account.nonce
    });
    let next = later.map(|transaction| transaction.payment().nonce.saturating_add(1)).max();
    Ok(next.unwrap_or(account.nonce))
}

impl BodyArgs {
    fn payment(&self) -> &PaymentArgs {
        match self {
            Self::Transfer { payment, .. }
            | Self::Open { payment, .. }
            | Self::Exit { payment, .. }
            | Self::Withdraw { payment, .. } => payment,
        }
    }

    fn unsigned(&self, chain_id: ChainId, nonce: u32) -> Result<UnsignedTransaction> {
        let PaymentArgs { from, amount, fee, token, .. } = *self.payment();
        let token = Token(token);
        Ok(match self {
            Self::Transfer { to, .. } => {
                UnsignedTransaction::Transfer(Transfer { chain_id, token, from, nonce, to: *to, amount, fee })
            }
            Self::Open { to, owner, .. } => {
                UnsignedTransaction::Open(Open { chain_id, token, from, nonce, to: *to, amount, fee, owner: *owner })
            }
            Self::Exit { payment, address } | Self::Withdraw { payment, address } => {
                if token == Token::BITCOIN && amount < PAYOUT_MIN_SAT {
                    let message = format!("the bridge pays out {PAYOUT_MIN_SAT} sat at least: less would be lost");
                    return Err(
                        Failure::new(Exit::Input, message).advise("withdraw more, or pay it to somebody on the rollup")
                    );
                }
                let address = address.clone().require_network(payment.wallet.network()).or_exit(Exit::Input)?;
                let destination = Destination::from_script_pubkey(&address.script_pubkey()).ok_or_else(|| {
                    let failure =
                        Failure::new(Exit::Input, format!("{address} is no witness program of version 0 or 1"));
                    failure.advise("give an address that begins with bc1q, bc1p, or the like of the network")
                })?;
                UnsignedTransaction::Withdraw(Withdraw { chain_id, token, from, nonce, amount, fee, destination })
            }
        })
    }
}

/// Prints the output on Bitcoin that demands a withdrawal.
fn exit_output(transaction: &Transaction, owner: PublicKey, global: &Global) -> Result {
    let Transaction::Withdraw(signed) = transaction else { unreachable!("an exit is a withdrawal") };
    let request = signed.demand(owner).or_exit(Exit::Input)?;
    let magic = read_params(&global.data_dir().params())
        .map_err(|failure| failure.advise("a request carries the rollup's magic, which its params.json has"))?
        .deposit_magic;
    let output = request.output(magic);
    let report = ExitOutput {
        request,
        script_pubkey: output.script_pubkey.to_hex_string(),
        value_sat: output.value.to_sat(),
        output: bitcoin::consensus::encode::serialize_hex(&output),
    };
    global.console().report(&report, |report| {
        format!("put this output into any transaction on Bitcoin:\n  value  0\n  script {}", report.script_pubkey)
    })
}

#[derive(Serialize)]
struct ExitOutput {
    request: ExitRequest,
    /// Hexadecimal digits.
    script_pubkey: String,
    value_sat: u64,
    /// The output as Bitcoin serialises it, in hexadecimal digits.
    output: String,
}

/// A file that a transaction is added to, made if it does not exist.
struct Addition {
    path: PathBuf,
    deposits: Vec<DepositRecord>,
    transactions: Vec<Transaction>,
}

impl Addition {
    fn read(path: &Path) -> Result<Self> {
        let TransactionFile { deposits, transactions } =
            if path.exists() { TransactionFile::read(path).or_exit(Exit::Input)? } else { TransactionFile::default() };
        // A malformed entry would be lost by writing the file again.
        let transactions = transactions.into_iter().collect::<std::result::Result<_, _>>().or_exit(Exit::Input)?;
        Ok(Self { path: path.to_owned(), deposits, transactions })
    }

    fn add(mut self, transaction: Transaction, global: &Global) -> Result {
        self.transactions.push(transaction);
        DataDir::create_parent(&self.path)?;
        transactions::write(&self.path, &self.deposits, &self.transactions)?;
        let report = serde_json::json!({ "file": self.path, "transactions": self.transactions.len() });
        let text = || format!("{}: {} transactions", self.path.display(), self.transactions.len());
        global.console().report(&report, |_| text())
    }
}
