//! `taproof account`, `taproof prove-account` and `taproof verify-account`.

use super::{
    Global,
    console::counted,
    failure::{Exit, Failure, Fallible, Result},
    in_line::{APART, bring_up},
    input::read_artefact,
    output::{Output, Replaces, open_output},
    overview::request_entries,
    rebuild::rebuilt,
    session::{NodeOptions, Session, ledger_failure},
    shown_cell::ShownCell,
    values::{self, owner, root},
    wallet::{KeyNumber, WalletOptions},
};
use crate::overview::ExitRow;
use ark_bn254::Fr;
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf, str::FromStr};
use taproof_base::{
    artefact::{self, Artefact},
    store_error::StoreError,
};
use taproof_circuits::{state::State, transaction::Transaction};
use taproof_rollup::{
    ledger::{Ledger, LedgerError},
    state_proof::StateProof,
    told::Known,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{self, CellIndex, MerklePath},
    exit::ScannedRequest,
    follow::{Follower, ScannedDeposit},
};

/// Shows what a key owns: its cells with their balances, and which of its deposits, exit requests and transactions
/// wait.
#[derive(Debug, Args)]
#[command(after_help = "\
What the ledger holds is shown where there is one, batches that are not anchored yet included; what the chain has \
beyond it is taken over first. Else, and with --from-chain, the state is rebuilt from whole blocks. Headers and \
excerpts show no balances.

Examples:
  taproof account                  # of the wallet's first key
  taproof account $KEY
  taproof account 0/3    # the key that `taproof wallet keys` lists as owner 0/3
  taproof account 3      # the same
  taproof account $KEY --from-chain --esplora https://blockstream.info/api")]
pub(crate) struct Account {
    /// The owner's key, in 64 hexadecimal digits; or the wallet's key of this account and index, as 0/3, or of this
    /// index in account 0, as 3; the wallet's first key if not given.
    #[arg(value_name = "KEY")]
    key: Option<KeyName>,
    /// Rebuilds the state from the chain even where there is a ledger.
    #[arg(long)]
    from_chain: bool,
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
}

/// A key as commands print it.
#[derive(Clone, Copy, Debug)]
enum KeyName {
    Key(PublicKey),
    Number(KeyNumber),
}

impl FromStr for KeyName {
    type Err = String;

    /// Reads the key, also in quotes and after other words, as in lines of JSON and of `taproof wallet keys`; or
    /// account and index, or the index alone.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let word = text.split_whitespace().last().unwrap_or_default().trim_matches(['"', '\'', ',']);
        /// More digits are a key, or a part of one.
        const NUMBER_DIGITS_MAX: usize = 10;
        let is_number =
            !word.is_empty() && word.len() <= NUMBER_DIGITS_MAX && word.bytes().all(|byte| byte.is_ascii_digit());
        let (account, index) = match word.split_once('/') {
            Some(numbers) => numbers,
            None if is_number => ("0", word),
            None => {
                let in_words = |error| format!("{error}; or a key of the wallet by account and index, as 0/3, or 3");
                return owner(word).map(Self::Key).map_err(in_words);
            }
        };
        let number = |part: &str| {
            let number = part.parse().ok().filter(|number| *number < 1 << 31);
            number.ok_or_else(|| format!("{word} is no account and index below 2^31, as 0/3, or index, as 3"))
        };
        Ok(Self::Number(KeyNumber { account: number(account)?, index: number(index)? }))
    }
}

/// A cell of the key's.
#[derive(Serialize)]
struct Holding {
    cell: CellIndex,
    token: u32,
    balance: u64,
    nonce: u32,
    /// What it holds of another token, if it is open for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<cell::Holding>,
    /// What it holds, with the names and decimal places of the tokens.
    words: String,
}

/// A deposit that no batch has come to.
#[derive(Serialize)]
struct Waiting {
    amount_sat: u64,
    height: u32,
    /// Whether no batch can credit it any more; not known from the ledger.
    is_void: Option<bool>,
}

impl Waiting {
    fn new(scanned: &ScannedDeposit, follower: &Follower) -> Self {
        let is_void = Some(follower.has_expired(scanned));
        Self { amount_sat: scanned.deposit.amount_sat, height: scanned.height, is_void }
    }
}

#[derive(Serialize)]
struct AccountReport {
    owner: PublicKey,
    /// Where the state is from: the ledger or the chain.
    source: &'static str,
    batches: u64,
    root: String,
    cells: Vec<Holding>,
    deposits: Vec<Waiting>,
    exits: Vec<ExitRow>,
    /// Transactions from the key's cells that wait in the ledger.
    transactions: usize,
}

impl fmt::Display for AccountReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "owner          {}", self.owner)?;
        if self.cells.is_empty() {
            writeln!(f, "cells          none")?;
        }
        for Holding { cell, nonce, words, .. } in &self.cells {
            writeln!(f, "cell {cell:<10}{words}, nonce {nonce}")?;
        }
        for Waiting { amount_sat, height, is_void } in &self.deposits {
            let state = if *is_void == Some(true) { "void, its refund key takes it back" } else { "not credited yet" };
            writeln!(f, "deposit        {amount_sat} sat at height {height}: {state}")?;
        }
        request_entries(&self.exits, &[]).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        if self.transactions > 0 {
            writeln!(f, "transactions   {} wait for a batch", self.transactions)?;
        }
        let batches = counted(self.batches, "batch");
        write!(f, "root           {} after {batches}, from the {}", self.root, self.source)
    }
}

/// Proves what a cell holds: writes it with its path to the verified root.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof prove-account 3 --out 3.account")]
pub(crate) struct ProveAccount {
    /// The cell.
    #[arg(value_parser = values::cell)]
    cell: CellIndex,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    node: NodeOptions,
}

/// Checks a cell's proof against the root that the verifier takes from the chain, or against a given root.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof verify-account 3.account
  taproof verify-account 3.account --root 0f3a...")]
pub(crate) struct VerifyAccount {
    /// The proof, as `taproof prove-account` writes it.
    proof: PathBuf,
    /// A root that was verified elsewhere: 64 hexadecimal digits, as `taproof follow` prints it.
    #[arg(long, value_parser = root, value_name = "HEX")]
    root: Option<Fr>,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Serialize)]
struct Report {
    index: u32,
    batches: u64,
    root: String,
    #[serde(flatten)]
    shown: ShownCell,
    /// With it and the elements, others check the cell by the verifier alone.
    path: MerklePath,
}

/// A report of what was checked and holds; what does not hold is an error.
#[derive(Serialize)]
struct Verified {
    verified: bool,
    #[serde(flatten)]
    report: Report,
}

fn text(report: &Report) -> String {
    let Report { index, root, batches, shown, .. } = report;
    format!("cell {index} holds {shown}\nroot {root} after {}", counted(*batches, "batch"))
}

fn holdings(state: &State, owner: &PublicKey) -> Vec<Holding> {
    let cells = state.accounts_of(owner);
    let known = Known { state: Some(state), ..Known::default() };
    let holding = |(cell, account): (CellIndex, cell::Account)| {
        let second = Some(account.second).filter(|second| *second != cell::Holding::default());
        let mut words = known.amount(account.token, account.balance).to_string();
        if let Some(second) = second {
            words = format!("{words} and {}", known.amount(second.token, second.balance));
        }
        Holding { cell, token: account.token.0, balance: account.balance, nonce: account.nonce, second, words }
    };
    cells.map(holding).collect()
}

impl Account {
    pub(crate) fn run(self, global: &Global) -> Result {
        let owner = match self.key {
            Some(KeyName::Key(key)) => key,
            Some(KeyName::Number(number)) => *number.secret_key(&self.wallet.open(global)?)?.public(),
            None => *KeyNumber { account: 0, index: 0 }.secret_key(&self.wallet.open(global)?)?.public(),
        };
        let session = Session::open(global)?;
        let report = if self.from_chain || !session.dir.ledger().exists() {
            self.read_chain(owner, &session, global)?
        } else if self.node.is_at_hand(&session.dir)? {
            self.read_ledger(owner, &session, global)?
        } else {
            global.console().warn("no chain is at hand: what it has beyond the ledger is not known");
            AccountReport::new(owner, &session.ledger().map_err(or_read_chain)?, None, &session)?
        };
        global.console().report(&report, ToString::to_string)
    }

    /// What the ledger holds, which is brought up to the chain first.
    fn read_ledger(&self, owner: PublicKey, session: &Session, global: &Global) -> Result<AccountReport> {
        let spinner = global.console().spinner("following the chain");
        let brought = bring_up(session, &session.source(&self.node)?).map_err(or_read_chain)?;
        spinner.finish_and_clear();
        match brought {
            Some((ledger, follower)) => AccountReport::new(owner, &ledger, Some(&follower), session),
            None => {
                global.console().warn(APART);
                self.read_chain(owner, session, global)
            }
        }
    }

    fn read_chain(&self, owner: PublicKey, session: &Session, global: &Global) -> Result<AccountReport> {
        if session.dir.light_store().exists() && !session.dir.chain_store().exists() {
            let message = "headers and excerpts are followed here, which show no balances: every block from the \
                           rollup's start is read";
            global.console().warn(message);
        }
        let (follower, state) = rebuilt(session, &self.node, global)?;
        let deposits = follower.pending_deposits().filter(|scanned| scanned.deposit.owner == owner);
        let deposits = deposits.map(|scanned| Waiting::new(scanned, &follower));
        let mut exits = ExitRow::waiting(follower.pending_exits(), follower.params(), Some(&owner));
        ExitRow::judge(&mut exits, &state);
        Ok(AccountReport {
            owner,
            source: "chain",
            batches: follower.tip().batches,
            root: super::element_text(&state.root()),
            cells: holdings(&state, &owner),
            deposits: deposits.collect(),
            exits,
            transactions: 0,
        })
    }
}

/// Adds the way round a ledger that another command has open.
fn or_read_chain(failure: Failure) -> Failure {
    match failure.cause() {
        Some(LedgerError::Store(StoreError::Busy(_))) => {
            failure.advise("wait for the other command, or read the chain: --from-chain")
        }
        _ => failure,
    }
}

impl AccountReport {
    /// What the ledger holds, and what waits on the chain, if that was asked.
    fn new(owner: PublicKey, ledger: &Ledger, follower: Option<&Follower>, session: &Session) -> Result<Self> {
        let (deposits, exits) = match follower {
            Some(follower) => {
                let deposits =
                    follower.pending_deposits().filter(|scanned| scanned.index >= ledger.deposits_consumed());
                let deposits = deposits.map(|scanned| (scanned.deposit.owner, Waiting::new(scanned, follower)));
                (deposits.collect(), follower.pending_exits().collect())
            }
            None => {
                let requests = ledger.requests().map_err(ledger_failure)?;
                let exits: Vec<_> = requests.iter().filter_map(ScannedRequest::exit).collect();
                let deposits = ledger.deposits().map_err(ledger_failure)?.into_iter().map(|scanned| {
                    let (amount_sat, height) = (scanned.deposit.amount_sat, scanned.height_blocks);
                    (scanned.deposit.owner, Waiting { amount_sat, height, is_void: None })
                });
                (deposits.collect::<Vec<_>>(), exits)
            }
        };
        let mut exits = ExitRow::waiting(exits.into_iter(), &session.params, Some(&owner));
        // A ledger with batches that the chain does not have may have settled some of them.
        if follower.is_none_or(|follower| follower.tip().batches == ledger.next_batch()) {
            ExitRow::judge(&mut exits, ledger.state());
        }
        let cells = holdings(ledger.state(), &owner);
        let is_from = |from: CellIndex| cells.iter().any(|holding| holding.cell == from);
        let transactions = ledger.transactions().map_err(ledger_failure)?;
        let spends = |transaction: &Transaction| match transaction {
            Transaction::Steps(steps) => steps.clauses().any(|clause| is_from(clause.signer())),
            _ => transaction.nonces().into_iter().any(|(from, _)| is_from(from)),
        };
        Ok(Self {
            owner,
            source: "ledger",
            batches: ledger.next_batch(),
            root: super::element_text(&ledger.state().root()),
            deposits: deposits.into_iter().filter(|(of, _)| *of == owner).map(|(_, deposit)| deposit).collect(),
            exits,
            transactions: transactions.iter().filter(|transaction| spends(transaction)).count(),
            cells,
        })
    }
}

impl ProveAccount {
    pub(crate) fn run(self, global: &Global) -> Result {
        let out =
            Output { path: &self.out, access: StateProof::ACCESS, format: "state proof", replaces: Replaces::Nothing };
        let out = open_output(&global.data_dir(), out, &[])?;
        let console = global.console().beside([&out])?;
        let session = Session::open(global)?;
        let (follower, state) = rebuilt(&session, &self.node, global)?;
        let batches = follower.tip().batches;
        let proof =
            StateProof::new(session.params.chain_id(), batches, state.tree(), self.cell).or_exit(Exit::Input)?;
        artefact::write_to(out, &proof)?;
        let shown = ShownCell::new(proof.verify(state.root()).or_exit(Exit::Refuted)?);
        let (index, path) = (self.cell.get(), proof.path().clone());
        let report = Report { index, batches, root: super::element_text(&proof.root()), shown, path };
        console.report(&report, text)
    }
}

impl VerifyAccount {
    pub(crate) fn run(self, global: &Global) -> Result {
        let proof: StateProof = read_artefact(&self.proof)?;
        let root = match self.root {
            Some(root) => root,
            None => self.verified_root(&proof, global)?,
        };
        let shown = ShownCell::new(proof.verify(root).or_exit(Exit::Refuted)?);
        let (index, batches) = (proof.index().get(), proof.batches());
        let path = proof.path().clone();
        let report = Report { index, batches, root: super::element_text(&root), shown, path };
        let verified = Verified { verified: true, report };
        global.console().report(&verified, |verified| format!("verified: {}", text(&verified.report)))
    }

    /// The root that the chain verifies for the proof's batch, or the one in force.
    fn verified_root(&self, proof: &StateProof, global: &Global) -> Result<Fr> {
        let session = Session::open(global)?;
        if proof.chain_id() != session.params.chain_id() {
            let (found, expected) = (proof.chain_id(), session.params.chain_id());
            let failure =
                Failure::new(Exit::Input, format!("the proof is one of rollup {found}, not of rollup {expected}"));
            return Err(failure.advise("name its rollup's --dir"));
        }
        let spinner = global.console().spinner("following the chain");
        let source = session.source(&self.node)?;
        let follower = session.follow(&source, |_| ())?;
        spinner.finish_and_clear();
        let tip = follower.tip();
        if tip.batches != proof.batches() {
            let message = format!("the proof is of batch {}, the chain has {}", proof.batches(), tip.batches);
            let failure = Failure::new(Exit::Refuted, message);
            return Err(
                failure.advise("ask for a proof of the present state, or give the root of that batch with --root")
            );
        }
        Ok(tip.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_wallet_are_named_by_account_and_index_or_by_index() {
        for (text, expected) in [("0/3", (0, 3)), ("3", (0, 3)), ("0", (0, 0)), ("7/2147483647", (7, 2_147_483_647))] {
            let Ok(KeyName::Number(number)) = text.parse() else { panic!("{text} is a number of a key") };
            assert_eq!((number.account, number.index), expected, "{text}");
        }
        for text in ["2147483648", "9999999999", "0/2147483648", "/", "0/", "/3", "-1/3", "0/3/1", "0/abc"] {
            let error = text.parse::<KeyName>().expect_err(text);
            assert!(error.contains("as 0/3, or index, as 3"), "{text}: {error}");
        }
        for text in ["", "abc", "-1", "1.5", "18446744073709551616"] {
            let error = text.parse::<KeyName>().expect_err(text);
            assert!(error.contains("64 hexadecimal digits are wanted"), "{text}: {error}");
        }
    }

    #[test]
    fn keys_are_read_as_commands_print_them() {
        let key = *taproof_circuits::schnorr::SecretKey::from_seed(&[1; 32]).public();
        for text in [format!("{key}"), format!("\"{key}\","), format!("owner 0/3      {key}")] {
            let Ok(KeyName::Key(read)) = text.parse() else { panic!("{text} is a key") };
            assert_eq!(read, key);
        }
    }
}
