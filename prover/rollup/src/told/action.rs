//! What a payment or a step does, and its words.

use super::Amount;
use serde::Serialize;
use std::fmt;
use taproof_verifier::{baby_jubjub::PublicKey, cell::CellIndex};

/// One of the two holdings of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// The one that payments look at.
    First,
    /// The other one.
    Second,
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first holding",
            Self::Second => "second holding",
        })
    }
}

/// How much of what is in motion a step takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// So much.
    Exactly(Amount),
    /// All of it, and no less than this.
    AllAtLeast(Amount),
    /// What is owed to the account, and no less than this.
    DueAtLeast(Amount),
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(amount) => write!(f, "exactly {amount}"),
            Self::AllAtLeast(amount) => write!(f, "all that is in motion, at least {amount},"),
            Self::DueAtLeast(amount) => write!(f, "what is owed to it, at least {amount},"),
        }
    }
}

/// What a payment or a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// A transfer.
    Transfer {
        /// What is paid.
        amount: Amount,
        /// Whom.
        to: CellIndex,
    },
    /// An opening.
    OpenByPayment {
        /// What is paid.
        amount: Amount,
        /// The empty cell.
        cell: CellIndex,
        /// Who owns it then.
        owner: PublicKey,
    },
    /// A withdrawal.
    Withdraw {
        /// What is paid out.
        amount: Amount,
        /// Where on Bitcoin.
        to: String,
    },
    /// PAY.
    Pay {
        /// The account that signs.
        account: CellIndex,
        /// Its holding that pays.
        holding: Holding,
        /// What it pays.
        amount: Amount,
        /// Whether the clause may begin where others have put something in motion.
        joint: bool,
    },
    /// DRAW.
    Draw {
        /// An account of the signer's key.
        account: CellIndex,
        /// Its holding that pays.
        holding: Holding,
        /// What it pays.
        amount: Amount,
        /// The token that its second holding is opened for.
        pairs_with: Option<String>,
        /// Whether it gets new tickets.
        renews_tickets: bool,
    },
    /// RECEIVE.
    Receive {
        /// The account.
        account: CellIndex,
        /// Its holding that is credited.
        holding: Holding,
        /// How much.
        taken: Taken,
        /// Whether the account has to be of the signer's key.
        own: bool,
    },
    /// OPEN.
    Open {
        /// The empty cell.
        cell: CellIndex,
        /// Who owns it then: the key, or the element that is none.
        owner: String,
        /// How much it has.
        taken: Taken,
    },
    /// TOKEN.
    Token {
        /// The empty cell.
        cell: CellIndex,
        /// The token's name.
        name: String,
        /// The most that may exist, with its point.
        cap: String,
        /// How many decimal places amounts are shown with.
        decimals: u64,
    },
    /// MINT.
    Mint {
        /// What is made.
        amount: Amount,
        /// Whether nobody can mint afterwards.
        renounces: bool,
    },
    /// BURN.
    Burn {
        /// What is destroyed.
        amount: Amount,
    },
    /// POOL.
    Pool {
        /// The empty cell.
        cell: CellIndex,
        /// The fee of orders, in parts of 10,000.
        fee_parts: u64,
        /// How much orders weigh in their price.
        weight: u64,
        /// The blocks that the past weighs in the average.
        average_blocks: u64,
    },
    /// JOIN.
    Join {
        /// The pool.
        pool: CellIndex,
    },
    /// EXIT.
    Exit {
        /// The pool.
        pool: CellIndex,
    },
    /// SESSION.
    Session {
        /// The pool.
        pool: CellIndex,
        /// What orders pay of its tokens.
        paid: [Amount; 2],
    },
    /// ORDER.
    Order {
        /// The pool.
        pool: u64,
        /// The account that signs.
        account: CellIndex,
        /// Its holding that pays; the other one is paid.
        holding: Holding,
        /// What it pays.
        pays: Amount,
        /// The least that it gets.
        at_least: Amount,
    },
    /// CLEAR.
    Clear {
        /// The pool.
        pool: CellIndex,
    },
    /// READ.
    Read {
        /// The pool.
        pool: CellIndex,
    },
    /// An operation of a rollup's own.
    Other {
        /// Its number.
        operation: u8,
        /// Its name, if it is known here.
        name: Option<&'static str>,
        /// Its own words, if it has any.
        told: Option<String>,
        /// Its flags.
        flags: u8,
        /// The cell.
        cell: CellIndex,
        /// The three numbers.
        numbers: [u64; 3],
        /// The word, in hexadecimal digits.
        word: String,
        /// The least that the signer wants.
        least: u64,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer { amount, to } => write!(f, "pays {amount} to account {to}"),
            Self::OpenByPayment { amount, cell, owner } => {
                write!(f, "opens an account in cell {cell} for owner {owner}, with {amount}")
            }
            Self::Withdraw { amount, to } => write!(f, "withdraws {amount} to {to} on Bitcoin"),
            Self::Pay { account, holding, amount, joint } => {
                match amount.units {
                    0 => write!(f, "takes nothing from account {account} but the fee, if any ({holding})")?,
                    _ => write!(f, "takes {amount} from account {account} ({holding})")?,
                }
                if *joint { f.write_str(", beside what others give and take in the same transaction") } else { Ok(()) }
            }
            Self::Draw { account, holding, amount, pairs_with, renews_tickets } => {
                let takes = (amount.units > 0).then(|| format!("takes {amount} from account {account} ({holding})"));
                let pairs = pairs_with
                    .as_ref()
                    .map(|token| format!("makes the empty second holding of account {account} one of {token}"));
                let renews = renews_tickets
                    .then(|| format!("gives account {account} 64 new tickets in place of the old ones, used or not"));
                let parts: Vec<String> = [takes, pairs, renews].into_iter().flatten().collect();
                match parts.is_empty() {
                    true => write!(f, "takes nothing from account {account}"),
                    false => f.write_str(&parts.join(", and ")),
                }
            }
            Self::Receive { account, holding, taken, own } => {
                write!(f, "puts {taken} into account {account} ({holding})")?;
                if *own { f.write_str(", if the signer's key owns it") } else { Ok(()) }
            }
            Self::Open { cell, owner, taken } => {
                write!(f, "puts {taken} into a new account of owner {owner} in an empty cell, now cell {cell}")
            }
            Self::Token { cell, name, cap, decimals } => {
                write!(f, "makes token {name:?} in an empty cell, now cell {cell}: at most {cap} may ever exist, ")?;
                write!(f, "with {decimals} decimal places, and the signer's account alone can mint it")
            }
            Self::Mint { amount, renounces } => {
                write!(f, "mints {amount}")?;
                if *renounces { f.write_str(", for the last time: nobody can mint it afterwards") } else { Ok(()) }
            }
            Self::Burn { amount } => write!(f, "burns {amount}, for ever"),
            Self::Pool { cell, fee_parts, weight, average_blocks } => {
                write!(
                    f,
                    "founds a pool in an empty cell, now cell {cell}, with all that is in motion of two tokens: "
                )?;
                write!(f, "fee {}, weight {weight}, average over {average_blocks} blocks", percent(*fee_parts))
            }
            Self::Join { pool } => {
                write!(f, "adds all that is in motion of its two tokens to pool {pool}, for new shares of it")
            }
            Self::Exit { pool } => {
                write!(f, "gives all its shares that are in motion back to pool {pool}, for their part of it")
            }
            Self::Session { pool, paid: [first, second] } => {
                write!(f, "opens the session of pool {pool}, in which orders pay {first} and {second}")
            }
            Self::Order { pool, account, holding, pays, at_least } => {
                write!(f, "trades {pays} from account {account} ({holding}) in pool {pool} for at least {at_least}, ")?;
                f.write_str("into its other holding")
            }
            Self::Clear { pool } => write!(f, "closes the session of pool {pool}"),
            Self::Read { pool } => write!(f, "reads the price of pool {pool}"),
            Self::Other { told: Some(told), .. } => f.write_str(told),
            Self::Other { operation, name, told: None, flags, cell, numbers: [a, b, c], word, least } => {
                match name {
                    Some(name) => write!(f, "runs {name}, operation {operation}, on cell {cell}: ")?,
                    None => write!(f, "runs operation {operation}, which is not known here, on cell {cell}: ")?,
                }
                write!(f, "flags {flags:#04x}, numbers {a}, {b} and {c}, word {word}, at least {least}")
            }
        }
    }
}

/// A fee in parts of 10,000, in percent.
pub(super) fn percent(parts: u64) -> String {
    format!("{}.{:02} %", parts / 100, parts % 100)
}
