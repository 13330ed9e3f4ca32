//! What transactions would do, if they were given to a batch now.

use super::Book;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};
use taproof_circuits::{state::State, transaction::Transaction};
use taproof_rollup::told::{Amount, Known, Told};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Holding, Token},
};

/// What a key owns of a token, before and after.
#[derive(Debug, Serialize)]
struct Change {
    before: Amount,
    after: Amount,
}

/// What would come of transactions.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Preview {
    dry_run: bool,
    transactions: Vec<Told>,
    /// What the key would own otherwise than now; none where nothing is known of that.
    changes: Option<Vec<Change>>,
    /// What an order would get, if its session were held now.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Fill>,
}

/// What an order would get.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum Fill {
    /// So much.
    Gets(Amount),
    /// Nothing, for this reason.
    LeftOut(String),
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gets(amount) => write!(f, "the order would get {amount} in a session now; other orders change that"),
            Self::LeftOut(reason) => write!(f, "the order would be left out of a session now: {reason}"),
        }
    }
}

impl Preview {
    /// What would come of transactions that are applied after all that waits.
    pub(in crate::cli) fn of(
        book: Option<Book>,
        owner: &PublicKey,
        told: Vec<Told>,
        transactions: &[Transaction],
    ) -> Self {
        let changes = book.map(|mut book| {
            let before = book.state().clone();
            transactions.iter().for_each(|transaction| book.add(transaction.clone()));
            changes(&before, book.state(), owner)
        });
        Self { dry_run: true, transactions: told, changes, order: None }
    }

    /// The same, of transactions that were applied one after the other.
    pub(in crate::cli) fn between(
        before: &State,
        after: &State,
        owner: &PublicKey,
        told: Vec<Told>,
        order: Option<Fill>,
    ) -> Self {
        Self { dry_run: true, transactions: told, changes: Some(changes(before, after, owner)), order }
    }
}

fn changes(before: &State, after: &State, owner: &PublicKey) -> Vec<Change> {
    let known = Known { state: Some(after), ..Known::default() };
    let [before, after] = [before, after].map(|state| owned(state, owner));
    let tokens = before.keys().chain(after.keys()).copied().collect::<std::collections::BTreeSet<Token>>();
    let of = |owned: &BTreeMap<Token, u64>, token: Token| owned.get(&token).copied().unwrap_or(0);
    let changed = tokens.into_iter().filter(|token| of(&before, *token) != of(&after, *token));
    changed
        .map(|token| Change {
            before: known.amount(token, of(&before, token)),
            after: known.amount(token, of(&after, token)),
        })
        .collect()
}

/// What a key owns, by token.
fn owned(state: &State, owner: &PublicKey) -> BTreeMap<Token, u64> {
    let mut owned = BTreeMap::new();
    for (_, account) in state.accounts_of(owner) {
        for Holding { token, balance } in [Holding { token: account.token, balance: account.balance }, account.second] {
            let sum: &mut u64 = owned.entry(token).or_default();
            *sum = sum.saturating_add(balance);
        }
    }
    owned
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.transactions.iter().flat_map(Told::lines).collect();
        match &self.changes {
            None => lines.push("without a ledger, what comes of it is not known".to_owned()),
            Some(changes) if changes.is_empty() => lines.push("the key owns what it owned".to_owned()),
            Some(changes) => lines
                .extend(changes.iter().map(|Change { before, after }| format!("the key owns {after}, after {before}"))),
        }
        lines.extend(self.order.as_ref().map(ToString::to_string));
        lines.push("nothing is signed, and nothing is written".to_owned());
        f.write_str(&lines.join("\n"))
    }
}
