//! `taproof tx`.

mod addition;
mod book;
mod decode;
mod exit;
mod preview;

use super::{
    Global,
    batch::FEE_MIN_SAT,
    failure::{Exit, Failure, Result},
    in_line::APART,
    known::{Outset, not_asked},
    session::{NodeOptions, Session, ledger_failure, read_params},
    values::{address, cell, chain_id, of_network, owner},
    wallet::{KeyNumber, WalletOptions},
};
use bitcoin::{Address, Network, address::NetworkUnchecked};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use taproof_base::store_error::StoreError;
use taproof_circuits::{
    state::Admission,
    transaction::{Open, Transaction, Transfer, UnsignedTransaction, Withdraw},
};
use taproof_rollup::{
    ledger::{Ledger, LedgerError},
    told::{Known, Told},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token},
    record::Destination,
};

pub(super) use addition::Addition;
pub(super) use book::Book;
pub(super) use preview::{Fill, Preview};

/// Makes and signs one transaction, and prints it or adds it to a file.
#[derive(Debug, Args)]
#[command(after_help = "\
The cell that pays is found by its owner's key. What a batch would reject is refused with the reason, and --force \
signs it all the same; what may yet pass, like a payment to a cell that is not opened yet, is signed with a warning. \
Both go by the ledger, which takes over what the chain has beyond it where one is at hand. What is printed, `taproof \
batch` takes, alone or one after the other in a file.

Examples:
  taproof tx transfer --to 2 --amount 5000 --fee 10 > payment.json
  taproof tx open --to 3 --owner $KEY --amount 7000 --add-to txs.json
  taproof tx withdraw --from 2 --nonce 0 --address bcrt1q... \\
    --amount 4000 --add-to txs.json
  taproof tx exit --amount 4000 --address bcrt1q... --send
  taproof tx decode txs.json")]
pub(crate) struct TxCommand {
    #[command(subcommand)]
    body: BodyArgs,
}

#[derive(Debug, Subcommand)]
enum BodyArgs {
    Decode(decode::Decode),
    /// Pays from one account to another.
    Transfer {
        #[command(flatten)]
        payment: PaymentArgs,
        /// The account that is paid.
        #[arg(long, value_parser = cell, value_name = "CELL")]
        to: CellIndex,
    },
    /// Pays into an empty cell, which becomes an account. The amount is at least what the rollup's founder chose
    /// (`setup --opening-min`). Where the tree has no cell left, it grows if the program has circuits for a deeper one.
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
    /// Makes an exit request: demands a withdrawal on Bitcoin, so that no poster can leave it out. It is served within
    /// the rollup's window if the account is the key's and can pay. Sends a transaction that carries the request, or
    /// shows its output, which any transaction may carry.
    Exit {
        #[command(flatten)]
        payment: PaymentArgs,
        #[command(flatten)]
        carrier: Box<exit::Carrier>,
        /// An address of any type: `1...`, `3...`, `bc1q...`, `bc1p...`, or the like of the network.
        #[arg(long, value_parser = address, value_name = "ADDRESS")]
        address: Address<NetworkUnchecked>,
    },
    /// Pays to an address on Bitcoin.
    Withdraw {
        #[command(flatten)]
        payment: PaymentArgs,
        /// An address of any type: `1...`, `3...`, `bc1q...`, `bc1p...`, or the like of the network.
        #[arg(long, value_parser = address, value_name = "ADDRESS")]
        address: Address<NetworkUnchecked>,
    },
}

#[derive(Debug, Args)]
struct PaymentArgs {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    key: KeyNumber,
    /// The account that pays; without it, the one that the key owns, of several the first that can pay.
    #[arg(long, value_parser = cell, value_name = "CELL")]
    from: Option<CellIndex>,
    /// How many transactions that account has sent; without it, counted from the ledger and from the file that is added
    /// to.
    #[arg(long, value_name = "N")]
    nonce: Option<u32>,
    /// The amount, in satoshi or the token's smallest unit.
    #[arg(long, value_name = "SAT")]
    amount: u64,
    /// The fee for the operator, on top of the amount; if not given, 1 sat, the least that `taproof batch` takes by
    /// default, and none for an exit, which no operator can refuse.
    #[arg(long, value_name = "SAT")]
    fee: Option<u64>,
    /// The token that is paid; 0 is bitcoin.
    #[arg(long, default_value_t = 0, value_name = "N")]
    token: u32,
    /// The rollup that the transaction is for; without it, the data directory's.
    #[arg(long, value_parser = chain_id, value_name = "HEX")]
    chain_id: Option<ChainId>,
    /// Signs what a batch would reject, too, and for another rollup than the data directory's.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    node: NodeOptions,
    /// Adds the transaction to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
    /// Signs nothing and writes nothing: says what the transaction would do, and what the key would own after it.
    #[arg(long)]
    dry_run: bool,
}

impl TxCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        let payment = match &self.body {
            BodyArgs::Decode(decode) => return decode.run(global),
            body => body.payment().expect("all others pay"),
        };
        let is_exit = matches!(self.body, BodyArgs::Exit { .. });
        if is_exit && payment.add_to.is_some() {
            let failure = Failure::new(Exit::Input, "an exit request goes to Bitcoin, not into a file of transactions");
            return Err(failure.advise("leave out --add-to"));
        }
        let file = payment.add_to.as_deref().map(|path| Addition::read(path, &global.data_dir())).transpose()?;
        let network = payment.network(global)?;
        let key = payment.key.secret_key(&payment.wallet.open(global)?)?;
        let chain_id = payment.chain_id(global)?;
        let added = file.as_ref().map_or(&[][..], Addition::transactions);
        let book = match &self.body {
            BodyArgs::Exit { carrier, .. } => carrier.book(payment, chain_id, global)?,
            _ => payment.book(chain_id, added, global)?,
        };
        let from = match (payment.from, &book) {
            (Some(from), _) => from,
            (None, Some(book)) => book.payer(key.public(), Token(payment.token), self.body.needed(payment))?,
            (None, None) => return Err(unknown("from")),
        };
        let nonce = match (payment.nonce, &book) {
            (Some(nonce), _) => nonce,
            (None, Some(book)) => book.next_nonce(from)?,
            (None, None) => return Err(unknown("nonce")),
        };
        let unsigned = self.body.unsigned(payment, &Payer { network, chain_id, from, nonce })?;
        // Nobody gets to see the signature before these words are shown.
        let transaction = unsigned.sign(&key);
        let known = Known { state: book.as_ref().map(Book::state), network: Some(network), machines: None };
        let told = Told::new(&transaction, &known);
        told.lines().into_iter().filter(|_| !payment.dry_run).for_each(|line| global.console().note(line));
        payment.expect_opening(&transaction, chain_id, global)?;
        if let Some(book) = &book {
            payment.expect_passing(book, &transaction, key.public(), global)?;
        }
        let (fee, least) = (self.body.fee(payment), self.body.least_fee(payment));
        if fee < least {
            global.console().warn(format!(
                "`taproof batch` takes no fee below {least} sat, unless told otherwise by its --fee-min, and rejects \
                 this"
            ));
        }
        if payment.dry_run {
            let preview = Preview::of(book, key.public(), vec![told], std::slice::from_ref(&transaction));
            return global.console().produce(&preview, ToString::to_string);
        }
        if let BodyArgs::Exit { carrier, payment, .. } = &self.body {
            return carrier.carry(&transaction, *key.public(), payment, global);
        }
        match file {
            Some(file) => file.add(vec![transaction], &[told], global),
            None => global.console().produce_json(&transaction),
        }
    }
}

/// Without a ledger, who pays and how often it has paid must be given.
fn unknown(what: &str) -> Failure {
    let failure = Failure::new(Exit::Input, format!("without a ledger --{what} must be given"));
    failure.advise("give --from and --nonce, the number of transactions that the account has sent")
}

/// For which rollup, and from which account, a transaction is made.
struct Payer {
    network: Network,
    chain_id: ChainId,
    from: CellIndex,
    nonce: u32,
}

impl PaymentArgs {
    /// The rollup's network, which keys depend on.
    fn network(&self, global: &Global) -> Result<Network> {
        self.wallet.network(global)?.ok_or_else(|| {
            let failure = Failure::new(Exit::Input, "keys differ by network, and there is no rollup here to tell it");
            failure.advise("name the rollup's --dir, or give --network")
        })
    }

    fn chain_id(&self, global: &Global) -> Result<ChainId> {
        let path = global.data_dir().params();
        let Some(named) = self.chain_id else {
            let params = read_params(&path).map_err(|failure| failure.advise("name the rollup with --chain-id"))?;
            return Ok(params.chain_id());
        };
        if !self.force && path.exists() {
            let rollup = read_params(&path)?.chain_id();
            if rollup != named {
                let failure = Failure::new(Exit::Input, format!("this is rollup {rollup}, not rollup {named}"));
                return Err(failure.advise("leave out --chain-id, or sign for the other rollup with --force"));
            }
        }
        Ok(named)
    }

    /// What the ledger knows, which is brought up to the chain first where one is at hand; none, with a warning,
    /// where there is no ledger and nothing is asked of it.
    fn book(&self, chain_id: ChainId, added: &[Transaction], global: &Global) -> Result<Option<Book>> {
        let dir = global.data_dir();
        let is_ours = || read_params(&dir.params()).is_ok_and(|params| params.chain_id() == chain_id);
        if dir.ledger().exists() && dir.program().exists() && is_ours() && self.node.is_at_hand(&dir)? {
            let session = Session::open(global);
            match session.and_then(|session| Outset::brought_up(&session, &self.node, global)) {
                Ok(Some(outset)) => return Ok(Some(Book::new(outset, added))),
                Ok(None) => global.console().warn(APART),
                Err(failure) if failure.cause::<LedgerError>().is_some() => {}
                Err(failure) => global.console().warn(not_asked(&failure)),
            }
        }
        let ledger = Ledger::open(&dir.ledger(), chain_id);
        let ledger = ledger.map(|ledger| ledger.with_machines(global.machines().clone()));
        match ledger.and_then(|ledger| Outset::of_ledger(&ledger, global)) {
            Ok(outset) => Ok(Some(Book::new(outset, added))),
            Err(error) if self.from.is_some() && self.nonce.is_some() => {
                global.console().warn(format!(
                    "{error}; --from and --nonce need none, so the transaction is signed, and whether a batch would \
                     take it is not checked"
                ));
                Ok(None)
            }
            // What the other command is about to apply counts: a nonce that is given now may be used by then.
            Err(error @ LedgerError::Store(StoreError::Busy(_))) => Err(ledger_failure(error)),
            Err(error) => Err(ledger_failure(error)
                .advise("give --from and --nonce, the number of transactions that the account has sent")),
        }
    }

    /// Fails if the transaction is an opening that no follower accepts, as far as the rollup's parameters are known;
    /// unless told otherwise.
    fn expect_opening(&self, transaction: &Transaction, chain_id: ChainId, global: &Global) -> Result {
        let params = read_params(&global.data_dir().params()).ok().filter(|params| params.chain_id() == chain_id);
        let opening_min_sat = params.map_or(0, |params| params.opening_min_sat);
        match (Admission { opening_min_sat, ..Admission::default() }).check(transaction) {
            Err(error) if self.force => {
                global.console().warn(format!("a batch would reject this: {error}"));
                Ok(())
            }
            Err(error) => {
                let failure = Failure::of(Exit::Input, error);
                Err(failure.advise("open it with more; nothing is signed, and --force signs it all the same"))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Fails if a batch would reject the transaction, unless told otherwise.
    fn expect_passing(&self, book: &Book, transaction: &Transaction, signer: &PublicKey, global: &Global) -> Result {
        let Some(objection) = book.objection(transaction, signer) else { return Ok(()) };
        if !objection.may_pass && !self.force {
            let failure = Failure::new(Exit::Refuted, objection.reason);
            let vacant = book.vacant().filter(|_| matches!(transaction, Transaction::Open(_)));
            let vacant = vacant.map_or_else(String::new, |cell| format!("; cell {cell} is the first that is empty"));
            return Err(failure.advise(format!("nothing is signed; --force signs it all the same{vacant}")));
        }
        let unless = if objection.may_pass { ", unless that changes before" } else { "" };
        global.console().warn(format!("a batch would reject this{unless}: {}", objection.reason));
        Ok(())
    }
}

impl BodyArgs {
    /// Who pays, and how much; none where nothing is paid.
    fn payment(&self) -> Option<&PaymentArgs> {
        match self {
            Self::Transfer { payment, .. }
            | Self::Open { payment, .. }
            | Self::Exit { payment, .. }
            | Self::Withdraw { payment, .. } => Some(payment),
            Self::Decode(_) => None,
        }
    }

    /// The fee that is given, or else the least.
    fn fee(&self, payment: &PaymentArgs) -> u64 {
        payment.fee.unwrap_or_else(|| self.least_fee(payment))
    }

    /// What a batch takes by default. An exit is served without a fee.
    fn least_fee(&self, payment: &PaymentArgs) -> u64 {
        let is_asked = !matches!(self, Self::Exit { .. }) && Token(payment.token) == Token::BITCOIN;
        if is_asked { FEE_MIN_SAT } else { 0 }
    }

    fn needed(&self, payment: &PaymentArgs) -> u128 {
        u128::from(payment.amount) + u128::from(self.fee(payment))
    }

    fn unsigned(&self, payment: &PaymentArgs, payer: &Payer) -> Result<UnsignedTransaction> {
        let Payer { network, chain_id, from, nonce } = *payer;
        let PaymentArgs { amount, token, .. } = *payment;
        let fee = self.fee(payment);
        let token = Token(token);
        Ok(match self {
            Self::Decode(_) => unreachable!("nothing is paid"),
            Self::Transfer { to, .. } => {
                UnsignedTransaction::Transfer(Transfer { chain_id, token, from, nonce, to: *to, amount, fee })
            }
            Self::Open { to, owner, .. } => {
                UnsignedTransaction::Open(Open { chain_id, token, from, nonce, to: *to, amount, fee, owner: *owner })
            }
            Self::Exit { address, .. } | Self::Withdraw { address, .. } => {
                if token != Token::BITCOIN {
                    let message = format!("token {} is not bitcoin, and Bitcoin pays out nothing else", token.0);
                    return Err(Failure::new(Exit::Input, message).advise("leave out --token"));
                }
                let address = of_network(address, network)?;
                let destination = Destination::from_script_pubkey(&address.script_pubkey()).ok_or_else(|| {
                    let failure = Failure::new(Exit::Input, format!("{address} is of no type that the bridge pays to"));
                    failure.advise("give an address that begins with 1, 3, bc1q or bc1p, or the like of the network")
                })?;
                let min_sat = destination.payout_min_sat();
                if amount < min_sat {
                    let message =
                        format!("the bridge pays out {min_sat} sat at least to such an address: less would be lost");
                    return Err(
                        Failure::new(Exit::Input, message).advise("withdraw more, or pay it to somebody on the rollup")
                    );
                }
                UnsignedTransaction::Withdraw(Withdraw { chain_id, token, from, nonce, amount, fee, destination })
            }
        })
    }
}
