//! `taproof offer`.

use super::{
    Global,
    clause::{ClauseArgs, Desk, purse_failure},
    failure::{Exit, Failure, Result},
    form::or_misplaced,
    input::read_transactions,
    known::Outset,
    session::NodeOptions,
    tx::Book,
    values::token_amount,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use taproof_circuits::{
    state::{Outlook, TransitionError},
    step::Registers,
    transaction::{Clause, Part, StepTransaction, Taken, Transaction},
};
use taproof_rollup::{
    amount::Decimal,
    purses::Place,
    told::{Amount, Known, Told},
};
use taproof_verifier::cell::Token;

/// Makes offers that anyone can take, and takes them: so much of one token for so much of another.
#[derive(Debug, Args)]
#[command(after_help = "\
An offer is a clause that its maker signs with a ticket and hands on as a file. Whoever takes it adds a clause of his \
own, and both are applied together or not at all: the maker gets exactly what he asks for, the taker exactly what is \
offered. It can be taken once, by anybody, as long as its ticket is not used and the maker holds what he offers. \
Making another with the same ticket leaves one of them; `taproof offer renew` ends all that are not taken.

Examples:
  taproof offer make --give 20:1000.00 --want 0:25000 > offer.json
  taproof offer make --give 0:500 --want 20:20 --ticket 7 --until 850000
  taproof offer show offer.json
  taproof offer take offer.json --add-to txs.json
  taproof offer renew --from 3 --add-to txs.json")]
pub(crate) struct OfferCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Signs an offer. It pays no fee of its own unless one is given: the taker pays for both.
    Make {
        /// What is given: a token's number, 0 for bitcoin, and the amount.
        #[arg(long, value_parser = token_amount, value_name = "TOKEN:AMOUNT")]
        give: (Token, Decimal),
        /// What is wanted for it.
        #[arg(long, value_parser = token_amount, value_name = "TOKEN:AMOUNT")]
        want: (Token, Decimal),
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Takes an offer: signs the clause that gives what it wants, and puts what it gives into the key's accounts.
    Take {
        /// The file of the offer.
        file: PathBuf,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Says what an offer gives and wants, and whether it can be taken now.
    Show {
        /// The file of the offer.
        file: PathBuf,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Gives an account 64 new tickets in place of the old ones: no offer or order with one of those holds any more.
    Renew {
        #[command(flatten)]
        clause: ClauseArgs,
    },
}

/// What an offer comes to.
#[derive(Serialize)]
struct Shown {
    offer: Told,
    gives: Vec<Amount>,
    wants: Vec<Amount>,
    /// Why it cannot be taken now, if it cannot.
    refused: Option<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |amounts: &[Amount]| {
            let texts: Vec<String> = amounts.iter().map(ToString::to_string).collect();
            if texts.is_empty() { "nothing".to_owned() } else { texts.join(" and ") }
        };
        writeln!(f, "{}", self.offer)?;
        match &self.refused {
            Some(reason) => write!(f, "it cannot be taken now: {reason}"),
            None => write!(f, "whoever takes it pays {} and gets {}", list(&self.wants), list(&self.gives)),
        }
    }
}

/// What is given and wanted of an offer.
struct Terms {
    gives: Vec<(Token, u64)>,
    wants: Vec<(Token, u64)>,
}

/// Why nobody can take an offer.
enum Untakable {
    /// By the rules.
    Refused(TransitionError),
    /// It asks for more than a payment.
    Owes,
}

impl fmt::Display for Untakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => reason.fmt(f),
            Self::Owes => f.write_str("it leaves more open than what a payment settles"),
        }
    }
}

impl Terms {
    /// What the rules leave in motion after the offer's own clause.
    fn of(offer: &StepTransaction, outlook: &Outlook) -> std::result::Result<Self, Untakable> {
        let Registers { lanes, dues, session, .. } = outlook.left_open(offer).map_err(Untakable::Refused)?;
        if dues.iter().any(Option::is_some) || session.is_some() {
            return Err(Untakable::Owes);
        }
        let of = |sign: i128| {
            let amounts = lanes.iter().filter(|lane| lane.value * sign > 0);
            let amounts = amounts.map(|lane| u64::try_from(lane.value * sign).map(|amount| (lane.token, amount)));
            amounts.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| Untakable::Owes)
        };
        let (gives, mut wants) = (of(1)?, of(-1)?);
        wants.sort();
        Ok(Self { gives, wants })
    }
}

/// Reads an offer: one clause.
fn read(path: &Path) -> Result<(StepTransaction, Clause)> {
    let mut file = read_transactions(path)?;
    if let (Some(Transaction::Steps(steps)), true, true) =
        (file.transactions.pop(), file.transactions.is_empty(), file.malformed.count() == 0)
        && let [Part::Clause(clause)] = &steps.parts[..]
    {
        let clause = clause.clone();
        return Ok((steps, clause));
    }
    let message = format!("{}: an offer is one clause, and this holds something else", path.display());
    let failure = Failure::new(Exit::Input, message).advise("`taproof tx decode` says what it holds");
    Err(or_misplaced(failure, path, "a file of transactions"))
}

impl OfferCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Make { give, want, clause } => make(give, want, &clause, global),
            Action::Take { file, clause } => take(&file, &clause, global),
            Action::Show { file, node } => show(&file, &node, global),
            Action::Renew { clause } => {
                let mut desk = Desk::open(&clause, global)?;
                let account = desk.account(2, None)?;
                let draft = desk.priced(0, |fee_sat| {
                    let signer = desk.signer(account, fee_sat)?;
                    Ok(desk.purses().begin(&signer, &[]).map_err(purse_failure)?.rebase(account))
                })?;
                desk.take_draft(draft)?;
                desk.finish()
            }
        }
    }
}

fn make(give: (Token, Decimal), want: (Token, Decimal), clause: &ClauseArgs, global: &Global) -> Result {
    if give.0 == want.0 {
        let failure = Failure::new(Exit::Input, format!("token {} is given and wanted", give.0.0));
        return Err(failure.advise("offer one token for another"));
    }
    let mut desk = Desk::open(clause, global)?;
    let [given, wanted] = [desk.units(give.0, give.1)?, desk.units(want.0, want.1)?];
    if given == 0 || wanted == 0 {
        let failure = Failure::new(Exit::Input, "an offer gives something and wants something");
        return Err(failure.advise("give amounts above 0"));
    }
    let fee_sat = desk.fee().unwrap_or(0);
    let purses = desk.purses();
    let maker = desk.account(0, Some((give.0, given)))?;
    let signer = desk.signer_by_ticket(maker, fee_sat)?;
    let place = purses.place(want.0, maker, 0).map_err(purse_failure)?;
    let begun = purses.begin(&signer, &[(give.0, given)]).map_err(purse_failure)?;
    let draft = purses.put(begun, want.0, place, Taken::Exactly(wanted)).joint();
    let clause = desk.sign(draft)?;
    desk.take_part(clause)?;
    desk.finish()
}

fn take(file: &Path, clause: &ClauseArgs, global: &Global) -> Result {
    let (offer, made) = read(file)?;
    let mut desk = Desk::open(clause, global)?;
    let terms = Terms::of(&offer, desk.book().outlook()).map_err(|reason| {
        let failure = Failure::new(Exit::Refuted, format!("the offer cannot be taken now: {reason}"));
        failure.advise("`taproof offer show` says what it is; ask its maker for another")
    })?;
    for line in Told::of_clause(offer.chain_id, &made, &desk.known()).lines() {
        global.console().note(format!("the offer: {line}"));
    }
    let taker = desk.account(4, terms.wants.first().copied())?;
    let draft = desk.priced(made.steps.len(), |fee_sat| {
        let (signer, purses) = (desk.signer(taker, fee_sat)?, desk.purses());
        let mut draft = purses.begin(&signer, &terms.wants).map_err(purse_failure)?;
        let mut opened = 0;
        for (token, amount) in &terms.gives {
            let place = purses.place(*token, taker, opened).map_err(purse_failure)?;
            opened += usize::from(matches!(place, Place::Opened(_)));
            draft = purses.put(draft, *token, place, Taken::Exactly(*amount));
        }
        Ok(draft.joint())
    })?;
    let taken = desk.sign(draft)?;
    desk.take([made, taken])?;
    desk.finish()
}

fn show(file: &Path, node: &NodeOptions, global: &Global) -> Result {
    let (offer, made) = read(file)?;
    let book = Book::new(Outset::find(node, global)?, &[]);
    let known = Known { state: Some(book.state()), network: None, machines: Some(global.machines()) };
    let terms = Terms::of(&offer, book.outlook());
    let amounts = |of: &[(Token, u64)]| of.iter().map(|(token, amount)| known.amount(*token, *amount)).collect();
    let offer = Told::of_clause(offer.chain_id, &made, &known);
    let shown = match terms {
        Ok(Terms { gives, wants }) => Shown { offer, gives: amounts(&gives), wants: amounts(&wants), refused: None },
        Err(reason) => Shown { offer, gives: Vec::new(), wants: Vec::new(), refused: Some(reason.to_string()) },
    };
    global.console().produce(&shown, ToString::to_string)
}
