//! `taproof token`.

use super::{
    Global,
    clause::{ClauseArgs, Desk, purse_failure},
    failure::{Exit, Failure, Fallible, Result},
    known::Outset,
    session::NodeOptions,
    values::{amount, cell, owner, token_name},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;
use taproof_circuits::{
    state::State,
    transaction::{Purse, Taken, TokenTerms},
};
use taproof_rollup::{
    amount::{Decimal, decimal_text},
    told::Known,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Token, TokenCell, TokenName},
};

/// Makes tokens, mints and burns them, and shows those that there are.
#[derive(Debug, Args)]
#[command(after_help = "\
A token is known by the number of its cell: names are anybody's choice, and two tokens may have one name. Amounts are \
written with the token's decimal places. The account in cell 0 can hold and pay bitcoin, and sign none of this.

Examples:
  taproof token create --name gold --decimals 2 --cap 1000000 \\
    --add-to txs.json
  taproof token mint --token 20 --amount 5000.00 --add-to txs.json
  taproof token mint --token 20 --amount 10 --owner $KEY --add-to txs.json
  taproof token burn --token 20 --amount 0.50 --dry-run
  taproof token renounce --token 20
  taproof token show 20
  taproof token list")]
pub(crate) struct TokenCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a token in an empty cell. The account that signs is its issuer, which alone can mint it.
    Create {
        /// The token's name, of at most 31 bytes.
        #[arg(long, value_parser = token_name, value_name = "NAME")]
        name: TokenName,
        /// How many decimal places amounts are shown with.
        #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=18))]
        decimals: u8,
        /// The most that may ever exist.
        #[arg(long, value_parser = amount, value_name = "AMOUNT")]
        cap: Decimal,
        /// The empty cell, whose number is the token's; without it, the first.
        #[arg(long, value_parser = cell, value_name = "CELL")]
        cell: Option<CellIndex>,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Mints an amount of a token of which the key's account is the issuer.
    Mint {
        #[command(flatten)]
        named: Named,
        /// The amount.
        #[arg(long, value_parser = amount, value_name = "AMOUNT")]
        amount: Decimal,
        /// The account that gets it, which holds the token already; without it, and without an owner, one of the key.
        #[arg(long, value_parser = cell, value_name = "CELL", conflicts_with = "owner")]
        to: Option<CellIndex>,
        /// Opens an account of this owner for it: 64 hexadecimal digits.
        #[arg(long, value_parser = owner, value_name = "KEY")]
        owner: Option<PublicKey>,
        /// Mints for the last time: nobody can mint the token afterwards.
        #[arg(long)]
        renounce: bool,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Destroys an amount of a token that the key holds.
    Burn {
        #[command(flatten)]
        named: Named,
        /// The amount.
        #[arg(long, value_parser = amount, value_name = "AMOUNT")]
        amount: Decimal,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Gives up minting a token, for ever.
    Renounce {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Shows a token.
    Show {
        /// The token's number.
        #[arg(value_parser = cell, value_name = "TOKEN")]
        token: CellIndex,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Lists all tokens.
    List {
        #[command(flatten)]
        node: NodeOptions,
    },
}

/// Which token.
#[derive(Clone, Copy, Debug, Args)]
struct Named {
    /// The token's number, which is that of its cell.
    #[arg(long, value_parser = cell, value_name = "N")]
    token: CellIndex,
}

/// A token, as it is.
#[derive(Serialize)]
struct Shown {
    token: CellIndex,
    name: String,
    decimals: u8,
    /// What exists of it, in its smallest unit.
    supply: u64,
    /// The most that may exist.
    cap: u64,
    /// Who can mint it; none if nobody can any more.
    issuer: Option<CellIndex>,
}

impl Shown {
    fn new(token: CellIndex, cell: &TokenCell) -> Self {
        let TokenCell { supply, name, cap, issuer, decimals, .. } = *cell;
        let issuer = Some(issuer).filter(|issuer| *issuer != CellIndex::default());
        Self { token, name: name.to_string(), decimals, supply, cap, issuer }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, name, decimals, supply, cap, issuer } = self;
        let [supply, cap] = [supply, cap].map(|units| decimal_text(*units, *decimals));
        write!(f, "token {token:<8} {name:?}: {supply} of at most {cap}, ")?;
        match issuer {
            Some(issuer) => write!(f, "minted by account {issuer}"),
            None => f.write_str("minted by nobody any more"),
        }
    }
}

/// A list of reports, one a line.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Listed<T>(pub(super) Vec<T>);

impl<T: fmt::Display> fmt::Display for Listed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&if lines.is_empty() { "none".to_owned() } else { lines.join("\n") })
    }
}

/// The token of a cell, if it mints one.
fn token_cell(state: &State, index: CellIndex) -> Result<TokenCell> {
    let cell = if state.depth().contains(index) { state.tree().get(index) } else { Cell::Empty };
    let Cell::Token(token) = cell else {
        let failure = Failure::new(Exit::Refuted, format!("cell {index} is no token"));
        return Err(failure.advise("`taproof token list` has those that there are"));
    };
    Ok(token)
}

impl TokenCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Create { name, decimals, cap, cell, clause } => {
                let mut desk = Desk::open(&clause, global)?;
                let cap = cap.units(decimals).or_exit(Exit::Input);
                let cap =
                    cap.map_err(|failure| failure.context("--cap").advise("give more --decimals, or a lower cap"))?;
                let cell = desk.empty_cell(cell)?;
                let issuer = desk.account(2, None)?;
                let terms = TokenTerms { name, cap, decimals };
                let draft = desk.priced(0, |fee_sat| {
                    let signer = desk.signer(issuer, fee_sat)?;
                    Ok(desk.purses().begin(&signer, &[]).map_err(purse_failure)?.token(cell, terms))
                })?;
                desk.take_draft(draft)?;
                desk.finish()
            }
            Action::Mint { named, amount, to, owner, renounce, clause } => {
                let mut desk = Desk::open(&clause, global)?;
                let (token, issuer) = issued(&desk, named, &clause)?;
                let amount = desk.units(token, amount)?;
                let draft = desk.priced(0, |fee_sat| {
                    let signer = desk.signer(issuer, fee_sat)?;
                    let purses = desk.purses();
                    let minted = purses.begin(&signer, &[]).map_err(purse_failure)?.mint(token, amount, renounce);
                    let all = Taken::Exactly(amount);
                    Ok(match (to, owner) {
                        (Some(to), _) => minted.receive(purse_of(&desk, to, token)?, all),
                        (None, Some(owner)) => minted.open(desk.empty_cell(None)?, token, &owner, all),
                        (None, None) => {
                            let place = purses.place(token, issuer, 0).map_err(purse_failure)?;
                            purses.put(minted, token, place, all)
                        }
                    })
                })?;
                desk.take_draft(draft)?;
                desk.finish()
            }
            Action::Burn { named, amount, clause } => {
                let mut desk = Desk::open(&clause, global)?;
                token_cell(desk.state(), named.token)?;
                let token = Token(named.token.get());
                let amount = desk.units(token, amount)?;
                let holder = desk.account(3, Some((token, amount)))?;
                let draft = desk.priced(0, |fee_sat| {
                    let signer = desk.signer(holder, fee_sat)?;
                    Ok(desk.purses().begin(&signer, &[(token, amount)]).map_err(purse_failure)?.burn(token, amount))
                })?;
                desk.take_draft(draft)?;
                desk.finish()
            }
            Action::Renounce { named, clause } => {
                let mut desk = Desk::open(&clause, global)?;
                let (token, issuer) = issued(&desk, named, &clause)?;
                let draft = desk.priced(0, |fee_sat| {
                    let signer = desk.signer(issuer, fee_sat)?;
                    Ok(desk.purses().begin(&signer, &[]).map_err(purse_failure)?.mint(token, 0, true))
                })?;
                desk.take_draft(draft)?;
                desk.finish()
            }
            Action::Show { token, node } => {
                let state = Outset::find(&node, global)?.state;
                let shown = Shown::new(token, &token_cell(&state, token)?);
                global.console().report(&shown, ToString::to_string)
            }
            Action::List { node } => {
                let state = Outset::find(&node, global)?.state;
                let tokens = state.tree().cells().filter_map(|(index, cell)| match cell {
                    Cell::Token(token) => Some(Shown::new(index, token)),
                    _ => None,
                });
                global.console().report(&Listed(tokens.collect()), ToString::to_string)
            }
        }
    }
}

/// The token, and the account of its issuer, which signs.
fn issued(desk: &Desk<'_>, named: Named, clause: &ClauseArgs) -> Result<(Token, CellIndex)> {
    let cell = token_cell(desk.state(), named.token)?;
    let token = Token(named.token.get());
    if cell.issuer == CellIndex::default() {
        let failure = Failure::new(Exit::Refuted, format!("nobody can mint token {} any more", token.0));
        return Err(failure.advise("its issuer has renounced it"));
    }
    let issuer = clause.from.unwrap_or(cell.issuer);
    let is_own = desk.purses().accounts().iter().any(|(index, _)| *index == issuer);
    if !is_own || issuer != cell.issuer {
        let message = format!("account {} is the issuer of token {}, and another would sign", cell.issuer, token.0);
        let failure = Failure::new(Exit::Refuted, message);
        return Err(failure.advise("name its key with --account and --index, and leave out --from"));
    }
    Ok((token, issuer))
}

/// The holding of a token in an account.
fn purse_of(desk: &Desk<'_>, index: CellIndex, token: Token) -> Result<Purse> {
    match desk.book().account(index) {
        Some(account) if account.token == token => Ok(Purse::first(index)),
        Some(account) if account.second.token == token => Ok(Purse::second(index)),
        _ => {
            let known: Known<'_> = desk.known();
            let failure = Failure::new(Exit::Refuted, format!("cell {index} holds no {}", known.token(token)));
            Err(failure.advise("open an account for it with --owner KEY"))
        }
    }
}
