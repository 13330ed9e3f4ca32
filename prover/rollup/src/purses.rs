//! Out of which accounts of a key a clause takes what it needs, and into which it puts what it makes.
//!
//! An account holds two tokens at most, and one key may own many accounts, all of which a clause of one of them can
//! draw from. So whoever holds a third token holds it in another account. Cell 0 is no account of this kind: no step
//! runs on it.

use serde::Serialize;
use taproof_circuits::{
    state::State,
    transaction::{Draft, Fee, Number, Once, Purse, Taken},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, CellIndex, Holding, Pool, Token},
};

/// What a key owns.
#[derive(Clone, Debug)]
pub struct Purses {
    owner: PublicKey,
    accounts: Vec<(CellIndex, Account)>,
    /// Empty cells, for new accounts.
    vacant: Vec<CellIndex>,
}

/// Why a key's accounts do not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PurseError {
    /// They hold too little.
    #[error("the key's accounts hold {} beside the fee, and {} are needed", token.amount(*held), token.amount(*needed))]
    Insufficient {
        /// Of what.
        token: Token,
        /// What they hold.
        held: u128,
        /// What is needed.
        needed: u64,
    },
    /// None of them can sign.
    #[error("the key owns no account that can sign a clause: one with bitcoin for the fee, in a cell other than 0")]
    NoSigner,
    /// The account is not one of them.
    #[error("cell {0} is no account of the key")]
    NotTheKeys(CellIndex),
    /// It cannot hold both tokens of a pool.
    #[error("account {0} holds another token beside those of the pool, or bitcoin would be in its second holding")]
    CannotTrade(CellIndex),
    /// No cell is empty.
    #[error("no cell is left for a new account")]
    Full,
}

/// Where a clause puts what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Into a holding of its token.
    First(CellIndex),
    /// Into a second holding of its token.
    Second(CellIndex),
    /// Into a second holding that is opened for it.
    Paired(CellIndex),
    /// Into an account that is opened for it.
    Opened(CellIndex),
}

/// Who signs a clause, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The account.
    pub account: CellIndex,
    /// The nonce or the ticket.
    pub once: Once,
    /// The fee, which the account's first holding pays.
    pub fee_sat: u64,
}

impl Signer {
    fn fee(&self) -> Fee {
        Fee { amount_sat: self.fee_sat, is_from_second: false }
    }
}

/// The account that an order trades in, and what has to be put there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trader {
    /// The account.
    pub account: CellIndex,
    /// Whether its second holding pays.
    pub pays_second: bool,
    /// What has to be done before, if anything.
    pub preparation: Option<Preparation>,
}

/// What makes an account one that an order can trade in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The tokens of both holdings.
    tokens: [Token; 2],
    /// Whether the account is opened for it.
    opens: bool,
    /// Whether its second holding is.
    pairs: bool,
    /// What is put into each of the holdings.
    adds: [u64; 2],
}

impl Purses {
    /// What a key owns in a state, and so many of its empty cells.
    pub fn new(state: &State, owner: &PublicKey, vacant: Vec<CellIndex>) -> Self {
        let accounts = state.accounts_of(owner).filter(|(index, _)| *index != CellIndex::default());
        Self { owner: *owner, accounts: accounts.collect(), vacant }
    }

    /// The accounts.
    pub fn accounts(&self) -> &[(CellIndex, Account)] {
        &self.accounts
    }

    /// All that the accounts hold of a token.
    pub fn total(&self, token: Token) -> u128 {
        self.holdings().filter(|(_, holding)| holding.token == token).map(|(_, held)| u128::from(held.balance)).sum()
    }

    fn account(&self, index: CellIndex) -> Option<&Account> {
        self.accounts.iter().find(|(of, _)| *of == index).map(|(_, account)| account)
    }

    /// All holdings, the first ones of all accounts before the second ones of the same account.
    fn holdings(&self) -> impl Iterator<Item = (Purse, Holding)> {
        self.accounts.iter().flat_map(|(index, account)| {
            let first = Holding { token: account.token, balance: account.balance };
            let second = (account.second != Holding::default()).then_some((Purse::second(*index), account.second));
            [(Purse::first(*index), first)].into_iter().chain(second)
        })
    }

    /// The account that signs: the one that is named, or of those that can pay the fee the first, and of these rather
    /// one that can pay the amount of a token, too.
    ///
    /// # Errors
    /// [`PurseError::NotTheKeys`] and [`PurseError::NoSigner`].
    pub fn signer(
        &self,
        named: Option<CellIndex>,
        fee_sat: u64,
        pays: Option<(Token, u64)>,
    ) -> Result<CellIndex, PurseError> {
        if let Some(named) = named {
            return self.account(named).map(|_| named).ok_or(PurseError::NotTheKeys(named));
        }
        let can_pay_fee = |(_, account): &&(CellIndex, Account)| {
            fee_sat == 0 || account.token == Token::BITCOIN && account.balance >= fee_sat
        };
        let can_pay = |(_, account): &&(CellIndex, Account)| {
            pays.is_none_or(|(token, amount)| {
                let first = if account.token == Token::BITCOIN { account.balance - fee_sat } else { account.balance };
                account.token == token && first >= amount
                    || account.second.token == token && account.second.balance >= amount && token != Token::BITCOIN
            })
        };
        let able = || self.accounts.iter().filter(can_pay_fee);
        let found = able().find(can_pay).or_else(|| able().next());
        found.map(|(index, _)| *index).ok_or(PurseError::NoSigner)
    }

    /// The purses that pay an amount: one of the signer's account if it can, else one of another, else as many as it
    /// takes, the signer's first.
    fn pieces(&self, signer: &Signer, token: Token, amount: u64) -> Result<Vec<(Purse, u64)>, PurseError> {
        let spendable = |(purse, holding): (Purse, Holding)| {
            let is_fees = purse == Purse::first(signer.account) && holding.token == Token::BITCOIN;
            (purse, if is_fees { holding.balance.saturating_sub(signer.fee_sat) } else { holding.balance })
        };
        let of_token = self.holdings().filter(|(_, holding)| holding.token == token).map(spendable);
        let mut purses: Vec<(Purse, u64)> = of_token.filter(|(_, balance)| *balance > 0).collect();
        purses.sort_by_key(|(purse, _)| purse.cell != signer.account);
        if let Some((purse, _)) = purses.iter().find(|(_, balance)| *balance >= amount) {
            return Ok(vec![(*purse, amount)]);
        }
        let held = purses.iter().map(|(_, balance)| u128::from(*balance)).sum();
        let (mut pieces, mut missing) = (Vec::new(), amount);
        for (purse, balance) in purses {
            let taken = balance.min(missing);
            pieces.push((purse, taken));
            missing -= taken;
            if missing == 0 {
                return Ok(pieces);
            }
        }
        Err(PurseError::Insufficient { token, held, needed: amount })
    }

    /// Begins a clause that takes amounts of tokens, in their order.
    ///
    /// # Errors
    /// [`PurseError::Insufficient`].
    pub fn begin(&self, signer: &Signer, takes: &[(Token, u64)]) -> Result<Draft, PurseError> {
        let mut pieces = Vec::new();
        for (token, amount) in takes.iter().filter(|(_, amount)| *amount > 0) {
            pieces.extend(self.pieces(signer, *token, *amount)?);
        }
        let first = pieces.first().copied().filter(|(purse, _)| purse.cell == signer.account);
        let (purse, amount) = first.unwrap_or((Purse::first(signer.account), 0));
        let draws = if first.is_some() { &pieces[1..] } else { &pieces[..] };
        let begun = Draft::pay(purse, amount, signer.fee(), signer.once);
        Ok(draws.iter().fold(begun, |draft, (purse, amount)| draft.draw(*purse, *amount)))
    }

    /// Where a token can be put: where the key holds it already, the named account first; else where a second holding
    /// is free; else in a new account, the n-th of those that the clause opens.
    ///
    /// # Errors
    /// [`PurseError::Full`].
    pub fn place(&self, token: Token, near: CellIndex, opened: usize) -> Result<Place, PurseError> {
        let mut holdings: Vec<_> = self.holdings().filter(|(_, holding)| holding.token == token).collect();
        holdings.sort_by_key(|(purse, _)| purse.cell != near);
        if let Some((purse, _)) = holdings.first() {
            return Ok(if purse.is_second { Place::Second(purse.cell) } else { Place::First(purse.cell) });
        }
        let is_free = |(_, account): &&(CellIndex, Account)| {
            token != Token::BITCOIN && account.token != token && account.second == Holding::default()
        };
        let mut free: Vec<_> = self.accounts.iter().filter(is_free).collect();
        free.sort_by_key(|(index, _)| *index != near);
        match (free.first(), self.vacant.get(opened)) {
            (Some((index, _)), _) => Ok(Place::Paired(*index)),
            (None, Some(cell)) => Ok(Place::Opened(*cell)),
            (None, None) => Err(PurseError::Full),
        }
    }

    /// Puts what is in motion of a token into a place of the key's.
    pub fn put(&self, draft: Draft, token: Token, place: Place, taken: Taken) -> Draft {
        match place {
            Place::First(cell) => draft.keep(Purse::first(cell), taken),
            Place::Second(cell) => draft.keep(Purse::second(cell), taken),
            Place::Paired(cell) => draft.pair(cell, token).keep(Purse::second(cell), taken),
            Place::Opened(cell) => draft.open(cell, token, &self.owner, taken),
        }
    }

    /// The account in which an amount of a pool's token can be traded for the other: one that holds both, or can, of
    /// these rather one that needs no preparation; `fee_sat` is what the order pays beside.
    ///
    /// # Errors
    /// Each of [`PurseError`] but [`PurseError::NoSigner`].
    pub fn trader(
        &self,
        pool: &Pool,
        pays: Token,
        amount: u64,
        fee_sat: u64,
        named: Option<CellIndex>,
    ) -> Result<Trader, PurseError> {
        let gets = if pays == pool.first.token { pool.second.token } else { pool.first.token };
        let held = self.total(pays);
        if held < u128::from(amount) {
            return Err(PurseError::Insufficient { token: pays, held, needed: amount });
        }
        if let Some(named) = named
            && self.account(named).is_none()
        {
            return Err(PurseError::NotTheKeys(named));
        }
        let candidates = self.accounts.iter().filter(|(index, _)| named.is_none_or(|named| named == *index));
        let traders =
            candidates.filter_map(|(index, account)| trader(*index, account, [pays, gets], [amount, fee_sat]));
        let effort = |trader: &Trader| {
            trader.preparation.map_or(0, |preparation| 1 + 2 * preparation.adds.iter().filter(|add| **add > 0).count())
        };
        if let Some(found) = traders.min_by_key(effort) {
            return Ok(found);
        }
        if let Some(named) = named {
            return Err(PurseError::CannotTrade(named));
        }
        let account = *self.vacant.first().ok_or(PurseError::Full)?;
        // Bitcoin can be in the first holding alone.
        let tokens = if gets == Token::BITCOIN { [gets, pays] } else { [pays, gets] };
        let pays_second = tokens[1] == pays;
        let mut adds = [0; 2];
        adds[usize::from(pays_second)] = amount;
        adds[0] = if tokens[0] == Token::BITCOIN { adds[0].saturating_add(fee_sat) } else { adds[0] };
        let preparation = Preparation { tokens, opens: true, pairs: true, adds };
        Ok(Trader { account, pays_second, preparation: Some(preparation) })
    }

    /// The clause that prepares an account for an order.
    ///
    /// # Errors
    /// [`PurseError::Insufficient`].
    pub fn prepare(&self, signer: &Signer, account: CellIndex, preparation: &Preparation) -> Result<Draft, PurseError> {
        let Preparation { tokens, opens, pairs, adds } = *preparation;
        // What the account has already is not taken from it to be put back.
        let others = Self {
            accounts: self.accounts.iter().filter(|(index, _)| *index != account).copied().collect(),
            ..self.clone()
        };
        let takes = [(tokens[0], adds[0]), (tokens[1], adds[1])];
        let mut draft = others.begin(signer, &takes)?;
        if opens {
            draft = draft.open(account, tokens[0], &self.owner, Taken::Exactly(adds[0]));
        } else if adds[0] > 0 {
            draft = draft.keep(Purse::first(account), Taken::Exactly(adds[0]));
        }
        if pairs {
            draft = draft.pair(account, tokens[1]);
        }
        if adds[1] > 0 {
            draft = draft.keep(Purse::second(account), Taken::Exactly(adds[1]));
        }
        Ok(draft)
    }
}

/// How an account can trade one token for another, if it can.
fn trader(
    index: CellIndex,
    account: &Account,
    [pays, gets]: [Token; 2],
    [amount, fee_sat]: [u64; 2],
) -> Option<Trader> {
    let second = account.second;
    let is_free = second == Holding::default();
    let other = if account.token == pays { gets } else { pays };
    let is_one = account.token == pays || account.token == gets;
    // Bitcoin can be in the first holding alone.
    if !is_one || !is_free && second.token != other || is_free && other == Token::BITCOIN {
        return None;
    }
    let tokens = [account.token, other];
    let pays_second = other == pays;
    let mut needed = [0; 2];
    needed[usize::from(pays_second)] = amount;
    needed[0] = if account.token == Token::BITCOIN { needed[0].saturating_add(fee_sat) } else { needed[0] };
    let adds = [needed[0].saturating_sub(account.balance), needed[1].saturating_sub(second.balance)];
    let preparation = Preparation { tokens, opens: false, pairs: is_free, adds };
    let is_ready = !is_free && adds == [0; 2];
    Some(Trader { account: index, pays_second, preparation: (!is_ready).then_some(preparation) })
}

/// A ticket of an account that is not used yet: the one that is asked for, or the first that nobody has signed with.
///
/// # Errors
/// [`TicketError`].
pub fn ticket(account: &Account, asked: Option<u64>, signed_with: &[u64]) -> Result<Number, TicketError> {
    let (base, used) = (account.tickets.base, account.tickets.used);
    let is_used = |place: u8| used & 1 << place != 0;
    let is_free = |place: &u8| !is_used(*place) && !signed_with.contains(&(u64::from(base) + u64::from(*place)));
    let place = match asked {
        None => (0..64).find(is_free).ok_or(TicketError::AllUsed { base })?,
        Some(number) => {
            let place = number.checked_sub(base.into()).filter(|place| *place < 64);
            let place = place.ok_or(TicketError::Range { number, base })? as u8;
            if is_used(place) {
                return Err(TicketError::Used(number));
            }
            place
        }
    };
    Ok(Number::Ticket { base, place })
}

/// Why there is no such ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// All are used.
    #[error("all 64 tickets from {base} on are used, or signed with in what waits")]
    AllUsed {
        /// The first of them.
        base: u32,
    },
    /// It is none of those that the account has.
    #[error("ticket {number} is none of the 64 from {base} on that the account has")]
    Range {
        /// The ticket.
        number: u64,
        /// The first that it has.
        base: u32,
    },
    /// It is used.
    #[error("ticket {0} is used")]
    Used(u64),
}

/// The cells that are empty in a state, without those that are spoken for: from a cell on, and then from cell 1 on.
pub fn vacant_cells(
    state: &State,
    from: CellIndex,
    count: usize,
    is_taken: impl Fn(CellIndex) -> bool,
) -> Vec<CellIndex> {
    let mut vacant = Vec::new();
    let (mut next, mut is_around) = (Some(from), false);
    while vacant.len() < count {
        let found = next.and_then(|from| state.tree().vacant_from(from));
        let Some(cell) = found.filter(|cell| !is_around || *cell < from) else {
            if is_around {
                break;
            }
            (next, is_around) = (CellIndex::new(1), true);
            continue;
        };
        if !is_taken(cell) && state.tree().get(cell) == Cell::Empty {
            vacant.push(cell);
        }
        next = CellIndex::new(cell.get() + 1);
    }
    vacant
}

#[cfg(test)]
mod tests;
