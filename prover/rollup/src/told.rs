//! Transactions in plain words, and as a structure that says the same.
//!
//! Everything that a wallet signs is shown like this first. A [`Told`] is made of a transaction alone, or with a state,
//! from which it takes the tokens that records do not name, their names and their decimal places. Names are anybody's
//! choice, so they stand in quotes and behind the token's number, which is the token.

mod action;
mod step;

use crate::amount::decimal_text;
use bitcoin::{Address, Network};
use serde::{Serialize, Serializer};
use std::{collections::HashMap, fmt};
use taproof_circuits::{
    state::State,
    step::{Machines, Operation},
    transaction::{Clause, ClauseStep, Part, Transaction},
};
use taproof_verifier::{
    cell::{Cell, CellIndex, ChainId, Token},
    record::Destination,
};

pub use action::{Action, Holding, Taken};

/// An amount of a token, as far as the token is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// The token; `None` where only the state would tell.
    pub token: Option<Token>,
    /// The amount, in the token's smallest unit.
    pub units: u64,
    /// Both in words.
    pub words: String,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What is known of the tokens and cells that a transaction names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The state that the transaction would be applied to.
    pub state: Option<&'a State>,
    /// The network that withdrawals are paid out on.
    pub network: Option<Network>,
    /// The operations that have words of their own.
    pub machines: Option<&'a Machines>,
}

impl Known<'_> {
    /// What a cell holds; `None` where no state is known.
    fn cell(&self, index: CellIndex) -> Option<Cell> {
        let state = self.state?;
        Some(if state.depth().contains(index) { state.tree().get(index) } else { Cell::Empty })
    }

    /// An operation of one of the machines.
    fn operation(&self, number: u8) -> Option<&dyn Operation> {
        self.machines?.iter().find_map(|machine| machine.get(number))
    }

    /// How many decimal places amounts of a token are shown with.
    pub fn decimals(&self, token: Token) -> u8 {
        match CellIndex::new(token.0).and_then(|index| self.cell(index)) {
            Some(Cell::Token(cell)) => cell.decimals,
            _ => 0,
        }
    }

    /// A token in words: its number, and its name in quotes if it has one.
    pub fn token(&self, token: Token) -> String {
        match CellIndex::new(token.0).and_then(|index| self.cell(index)) {
            _ if token == Token::BITCOIN => "bitcoin".to_owned(),
            Some(Cell::Token(cell)) => format!("token {} {:?}", token.0, cell.name.to_string()),
            Some(Cell::Pool(_)) => format!("shares of pool {}", token.0),
            _ => format!("token {}", token.0),
        }
    }

    /// An amount of a token.
    pub fn amount(&self, token: Token, units: u64) -> Amount {
        let kind = CellIndex::new(token.0).and_then(|index| self.cell(index));
        let number = decimal_text(units, self.decimals(token));
        let words = match kind {
            _ if token == Token::BITCOIN => format!("{units} sat"),
            Some(Cell::Pool(_)) => format!("{units} {}", self.token(token)),
            _ => format!("{number} of {}", self.token(token)),
        };
        Amount { token: Some(token), units, words }
    }

    fn destination(&self, destination: &Destination) -> String {
        let script = destination.script_pubkey();
        let address = self.network.and_then(|network| Address::from_script(&script, network).ok());
        address.map_or_else(|| format!("script {}", script.to_hex_string()), |address| address.to_string())
    }
}

/// What makes a part run once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Once {
    /// The account's nonce.
    Nonce(u64),
    /// One of the account's tickets.
    Ticket(u64),
}

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonce(nonce) => write!(f, "nonce {nonce}"),
            Self::Ticket(ticket) => write!(f, "ticket {ticket}"),
        }
    }
}

/// What the owner of an account signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The account.
    pub account: CellIndex,
    /// The nonce or the ticket that it uses.
    #[serde(flatten)]
    pub once: Once,
    /// What it pays to the operator.
    pub fee: Amount,
    /// The last height that the batch may refer to; `None` if any will do.
    pub until: Option<u32>,
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, once, fee, until } = self;
        write!(f, "account {account} signs, with {once}, a fee of {fee}, ")?;
        match until {
            Some(height) => write!(f, "until height {height}"),
            None => f.write_str("with no end"),
        }
    }
}

/// A part of a transaction: what one owner signs, or steps that anyone runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldPart {
    /// What is signed; `None` where nothing is.
    pub signed: Option<Signed>,
    /// What it does, in order.
    #[serde(serialize_with = "with_words")]
    pub actions: Vec<Action>,
}

/// A transaction in words.
///
/// # Examples
/// ```
/// use taproof_circuits::{
///     schnorr::SecretKey,
///     transaction::{Transfer, UnsignedTransaction},
/// };
/// use taproof_rollup::told::{Known, Told};
/// use taproof_verifier::cell::{CellIndex, ChainId, Token};
///
/// let [from, to] = [4, 9].map(|index| CellIndex::new(index).expect("a small index"));
/// let chain_id = ChainId::from_byte_array([0; 15]);
/// let body = Transfer { chain_id, token: Token::BITCOIN, from, nonce: 2, to, amount: 500, fee: 1 };
/// let transaction = UnsignedTransaction::Transfer(body).sign(&SecretKey::from_seed(&[1; 32]));
/// let told = Told::new(&transaction, &Known::default());
/// let lines = told.lines();
/// assert_eq!(lines[0], "account 4 signs, with nonce 2, a fee of 1 sat, with no end:");
/// assert_eq!(lines[1], "  pays 500 sat to account 9");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The kind of the transaction.
    pub kind: &'static str,
    /// The rollup that it is for.
    pub chain_id: ChainId,
    /// Its parts, in order.
    pub parts: Vec<ToldPart>,
}

impl Told {
    /// Puts a transaction into words.
    pub fn new(transaction: &Transaction, known: &Known<'_>) -> Self {
        let parts = match transaction {
            Transaction::Steps(steps) => {
                let mut teller = Teller::new(known);
                steps.parts.iter().map(|part| teller.part(part)).collect()
            }
            Transaction::Transfer(signed) => {
                let body = signed.body();
                vec![payment(transaction, known, |amount| Action::Transfer { amount, to: body.to })]
            }
            Transaction::Open(signed) => {
                let body = signed.body();
                let open = |amount| Action::OpenByPayment { amount, cell: body.to, owner: body.owner };
                vec![payment(transaction, known, open)]
            }
            Transaction::Withdraw(signed) => {
                let to = known.destination(&signed.body().destination);
                vec![payment(transaction, known, |amount| Action::Withdraw { amount, to })]
            }
        };
        Self { kind: transaction.kind().name(), chain_id: transaction.chain_id(), parts }
    }

    /// Puts a clause into words.
    pub fn of_clause(chain_id: ChainId, clause: &Clause, known: &Known<'_>) -> Self {
        let transaction = taproof_circuits::transaction::StepTransaction::of_clauses(chain_id, [clause.clone()]);
        Self::new(&Transaction::Steps(transaction), known)
    }

    /// The words, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for part in &self.parts {
            match &part.signed {
                Some(signed) => lines.push(format!("{signed}:")),
                None => lines.push("anyone runs, and nobody signs:".to_owned()),
            }
            lines.extend(part.actions.iter().map(|action| format!("  {action}")));
        }
        lines
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// Writes each action with its words.
fn with_words<S: Serializer>(actions: &[Action], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Worded<'a> {
        #[serde(flatten)]
        action: &'a Action,
        words: String,
    }

    serializer.collect_seq(actions.iter().map(|action| Worded { action, words: action.to_string() }))
}

/// The one part of a payment.
fn payment(transaction: &Transaction, known: &Known<'_>, action: impl FnOnce(Amount) -> Action) -> ToldPart {
    let payment = transaction.payment().expect("a payment has a payer");
    let [amount, fee] = [payment.amount, payment.fee].map(|units| known.amount(payment.token, units));
    let once = Once::Nonce(payment.nonce.into());
    let signed = Signed { account: payment.from, once, fee, until: None };
    ToldPart { signed: Some(signed), actions: vec![action(amount)] }
}

/// Tells the steps of a transaction, and remembers what they make on the way.
struct Teller<'a> {
    known: &'a Known<'a>,
    /// The tokens of both holdings of the accounts that were opened or changed on the way.
    tokens: HashMap<CellIndex, [Option<Token>; 2]>,
}

impl<'a> Teller<'a> {
    fn new(known: &'a Known<'a>) -> Self {
        Self { known, tokens: HashMap::new() }
    }

    fn part(&mut self, part: &Part) -> ToldPart {
        let signed = match part {
            Part::Clause(clause) => clause.steps.first().map(|step| signed(clause, step, self.known)),
            Part::Step(_) => None,
        };
        let actions = part.steps().map(|step| self.action(&step)).collect();
        ToldPart { signed, actions }
    }
}

fn signed(clause: &Clause, first: &ClauseStep, known: &Known<'_>) -> Signed {
    let once = if clause.is_by_ticket() { Once::Ticket(clause.number) } else { Once::Nonce(clause.number) };
    let until = Some(first.limits.until).filter(|until| *until != u32::MAX);
    Signed { account: clause.signer(), once, fee: known.amount(Token::BITCOIN, first.record.b), until }
}

#[cfg(test)]
mod tests;
