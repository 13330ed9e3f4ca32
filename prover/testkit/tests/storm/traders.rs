//! Those who make tokens and trade: they found pools, join and leave them, give orders that hold for a while, hold
//! sessions of their own, and make offers that others take.
//!
//! Each signs by the state that a poster shows, which may be lost, with limits that may not be met, and hands some of
//! it to both posters. Some of what is handed in was signed by somebody who has no right to, or is handed in again.

use super::Storm;
use rand::{Rng, seq::SliceRandom};
use taproof_circuits::{
    exchange::Parameters,
    ops,
    state::State,
    transaction::{
        Clause, Draft, Fee, Number, Once, Part, Purse, StepTransaction, Taken, TokenTerms, Trade, Transaction,
    },
};
use taproof_rollup::purses::{Place, Purses, Signer, Trader};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Pool, Token, TokenCell, TokenName},
    record::StepRecord,
};

const TOKENS_MAX: usize = 3;
const POOLS_MAX: usize = 4;
/// The most that an issuer mints at once, and that may exist of some tokens.
const MINTED_MAX: u64 = 5_000_000;
const CAP_LOW: u64 = 12_000_000;
/// How many things a trader thinks of at a time.
const ATTEMPTS_MAX: usize = 10;
/// The most offers that somebody may still take, and transactions that somebody may hand in again.
const OFFERS_MAX: usize = 8;
const HANDED_IN_MAX: usize = 40;

/// What somebody gives for what, signed by ticket.
pub(super) struct Offer {
    clause: Clause,
    gives: (Token, u64),
    wants: (Token, u64),
}

/// What somebody signed by nonce in the calm, to be looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) signer: CellIndex,
    pub(super) nonce: u32,
}

/// One who looks at what a poster shows.
struct Desk {
    poster: usize,
    owner: usize,
    purses: Purses,
    vacant: Vec<CellIndex>,
    tokens: Vec<(Token, TokenCell)>,
    pools: Vec<(CellIndex, Pool)>,
    /// The first holdings of others.
    others: Vec<(Purse, Token)>,
    /// The signers of what waits by nonce.
    queued: Vec<CellIndex>,
}

impl Desk {
    /// The nonce of an account after all that waits and what was signed since.
    fn nonce(&mut self, of: CellIndex) -> u32 {
        let account = self.purses.accounts().iter().find(|(index, _)| *index == of);
        let nonce = account.map_or(0, |(_, account)| account.nonce);
        let queued = self.queued.iter().filter(|signer| **signer == of).count() as u32;
        self.queued.push(of);
        nonce + queued
    }

    fn base(&self, of: CellIndex) -> u32 {
        self.purses.accounts().iter().find(|(index, _)| *index == of).map_or(0, |(_, account)| account.tickets.base)
    }
}

fn tokens(state: &State) -> Vec<(Token, TokenCell)> {
    let token = |(index, cell): (CellIndex, &Cell)| match cell {
        Cell::Token(token) => Some((Token(index.get()), *token)),
        _ => None,
    };
    state.tree().cells().filter_map(token).collect()
}

fn pools(state: &State) -> Vec<(CellIndex, Pool)> {
    let pool = |(index, cell): (CellIndex, &Cell)| match cell {
        Cell::Pool(pool) => Some((index, *pool)),
        _ => None,
    };
    state.tree().cells().filter_map(pool).collect()
}

/// The clause of an order, whose fee is paid in bitcoin: out of the first holding, if it has any.
fn order(trader: &Trader, trade: Trade, fee_sat: u64, once: Once) -> Draft {
    let purse = Purse { cell: trader.account, is_second: trader.pays_second };
    Draft::order(purse, trade, Fee { amount_sat: fee_sat, is_from_second: false }, once)
}

impl Storm {
    /// What an owner sees at a poster's.
    fn desk(&mut self, poster: usize, owner: usize) -> Desk {
        let ledger = &self.posters[poster].ledger;
        let (state, waiting) = (ledger.state(), ledger.transactions().expect("readable"));
        let key = self.owners[owner].public();
        let cells = 1..8u32.pow(state.depth().levels().into());
        let cells = cells.filter_map(CellIndex::new).filter(|index| state.tree().get(*index) == Cell::Empty);
        let mut vacant: Vec<CellIndex> = cells.collect();
        vacant.shuffle(&mut self.rng);
        vacant.truncate(4);
        let accounts = state.tree().cells().filter_map(|(index, cell)| match cell {
            Cell::Account(account) if account.owner != *key && index != CellIndex::default() => Some((index, *account)),
            _ => None,
        });
        let purses = |(index, account): (CellIndex, Account)| {
            [(Purse::first(index), account.token), (Purse::second(index), account.second.token)]
        };
        let others = accounts.flat_map(purses).filter(|(purse, token)| !purse.is_second || *token != Token::BITCOIN);
        let others = others.collect();
        let (tokens, pools) = (tokens(state), pools(state));
        let queued = waiting.iter().flat_map(Transaction::nonces).map(|(signer, _)| signer).collect();
        Desk { poster, owner, purses: Purses::new(state, key, vacant.clone()), vacant, tokens, pools, others, queued }
    }

    /// Does one of the things that traders do. One who lacks something for it does another.
    pub(super) fn trade(&mut self, poster: usize) {
        for _ in 0..ATTEMPTS_MAX {
            let owner = self.rng.gen_range(0..self.owners.len());
            let mut desk = self.desk(poster, owner);
            let (tokens, pools) = (desk.tokens.len(), desk.pools.len());
            let done = match self.rng.gen_range(0..100) {
                0..4 if tokens < TOKENS_MAX => self.make_token(&mut desk),
                4..10 if pools < POOLS_MAX => self.found(&mut desk),
                0..20 => self.mint(&mut desk),
                20..23 => self.burn(&mut desk),
                23..32 => self.join(&mut desk),
                32..38 => self.leave(&mut desk),
                38..70 => self.order(&mut desk),
                70..74 => self.hold_session(&mut desk),
                74..80 => self.offer(&mut desk),
                80..91 => self.take_offer(&mut desk),
                91..96 => self.give(&mut desk),
                96..98 => self.repeat(poster),
                _ => self.renew_tickets(&mut desk),
            };
            if done.is_some() {
                return;
            }
        }
    }

    /// Gives an order in any pool, of anybody's who can.
    pub(super) fn order_somewhere(&mut self, poster: usize) {
        let owner = self.rng.gen_range(0..self.owners.len());
        let mut desk = self.desk(poster, owner);
        // One who lacks something for it leaves it.
        let _: Option<()> = self.order(&mut desk);
    }

    /// The account that signs, if one can pay the fee, with its nonce or one of its tickets, used or not.
    fn signer(&mut self, desk: &mut Desk, named: Option<CellIndex>, tickets: f64) -> Option<Signer> {
        let fee_sat = self.rng.gen_range(0..20);
        let fee_sat = if self.rng.gen_bool(0.2) { 0 } else { fee_sat };
        let account = desk.purses.signer(named, fee_sat, None).ok()?;
        let until = self.until();
        let number = if self.rng.gen_bool(tickets) {
            let place = self.rng.gen_range(0..64);
            Number::Ticket { base: desk.base(account), place }
        } else {
            Number::Nonce(desk.nonce(account))
        };
        Some(Signer { account, once: Once { number, until }, fee_sat })
    }

    /// Some of what is signed holds for good, some hardly until it is in a batch.
    fn until(&mut self) -> u32 {
        let blocks = self.rng.gen_range(0..80);
        if self.rng.gen_bool(0.3) { u32::MAX } else { self.height() + blocks }
    }

    /// Signs a clause; now and then somebody else does, who has no right to.
    fn sign_clause(&mut self, desk: &Desk, draft: Draft) -> Option<Clause> {
        let signer = if self.rng.gen_bool(0.04) { self.rng.gen_range(0..self.owners.len()) } else { desk.owner };
        self.sign_as(signer, draft)
    }

    fn sign_as(&mut self, owner: usize, draft: Draft) -> Option<Clause> {
        let key = &self.owners[owner];
        let clause = draft.sign(&ops::standard(), self.params.chain_id(), key).ok()?;
        self.books.tokens.signed.add_clause(key.public(), clause.clone());
        Some(clause)
    }

    /// Hands parts to a poster as one transaction, and some to the other as well.
    fn hand_in(&mut self, desk: &Desk, parts: Vec<Part>) {
        let transaction = Transaction::Steps(StepTransaction { chain_id: self.params.chain_id(), parts });
        self.posters[desk.poster].ledger.add_transactions(std::slice::from_ref(&transaction)).expect("room");
        if self.rng.gen_bool(0.2) {
            self.posters[1 - desk.poster].ledger.add_transactions(std::slice::from_ref(&transaction)).expect("room");
        }
        self.handed_in.push(transaction);
        if self.handed_in.len() > HANDED_IN_MAX {
            self.handed_in.remove(0);
        }
    }

    fn sign_and_hand_in(&mut self, desk: &Desk, draft: Draft) -> Option<()> {
        let clause = self.sign_clause(desk, draft)?;
        self.hand_in(desk, vec![Part::Clause(clause)]);
        Some(())
    }

    /// A part of what a key holds of a token.
    fn part(&mut self, desk: &Desk, token: Token, parts: u64) -> Option<u64> {
        let total = u64::try_from(desk.purses.total(token)).expect("amounts of a storm");
        let amount = total / self.rng.gen_range(2..=parts);
        (amount > 0).then_some(amount)
    }

    fn make_token(&mut self, desk: &mut Desk) -> Option<()> {
        let signer = self.signer(desk, None, 0.4)?;
        let cap = if self.rng.gen_bool(0.5) { CAP_LOW } else { 1 << 40 };
        let terms = TokenTerms { name: TokenName::new("gold").expect("short"), cap, decimals: 2 };
        let cell = *desk.vacant.first()?;
        let draft = desk.purses.begin(&signer, &[]).ok()?.token(cell, terms);
        self.sign_and_hand_in(desk, draft)
    }

    fn mint(&mut self, desk: &mut Desk) -> Option<()> {
        let is_ours = |issuer: CellIndex| desk.purses.accounts().iter().any(|(index, _)| *index == issuer);
        let ours: Vec<_> = desk.tokens.iter().filter(|(_, token)| is_ours(token.issuer)).copied().collect();
        let (token, TokenCell { issuer, .. }) = *ours.choose(&mut self.rng)?;
        let signer = self.signer(desk, Some(issuer), 0.2)?;
        let amount = self.rng.gen_range(1..MINTED_MAX);
        let renounces = self.rng.gen_bool(0.02);
        let minted = desk.purses.begin(&signer, &[]).ok()?.mint(token, amount, renounces);
        let place = desk.purses.place(token, issuer, 0).ok()?;
        let draft = desk.purses.put(minted, token, place, Taken::Exactly(amount));
        self.sign_and_hand_in(desk, draft)
    }

    fn burn(&mut self, desk: &mut Desk) -> Option<()> {
        let (token, _) = *desk.tokens.choose(&mut self.rng)?;
        let amount = self.part(desk, token, 50)?;
        let signer = self.signer(desk, None, 0.4)?;
        let draft = desk.purses.begin(&signer, &[(token, amount)]).ok()?.burn(token, amount);
        self.sign_and_hand_in(desk, draft)
    }

    /// Founds a pool of any two tokens, shares of pools among them.
    fn found(&mut self, desk: &mut Desk) -> Option<()> {
        let shares = desk.pools.iter().map(|(index, _)| Token(index.get()));
        let tokens = desk.tokens.iter().map(|(token, _)| *token).chain(shares);
        let held: Vec<Token> =
            [Token::BITCOIN].into_iter().chain(tokens).filter(|token| desk.purses.total(*token) > 0).collect();
        let mut pair: Vec<Token> = held.choose_multiple(&mut self.rng, 2).copied().collect();
        pair.sort_unstable();
        let [first, second] = pair[..] else { return None };
        let (x, y) = (self.part(desk, first, 3)?, self.part(desk, second, 3)?);
        let signer = self.signer(desk, None, 0.4)?;
        let (fee, weight) = ([0, 30, 100, 1_000][self.rng.gen_range(0..4)], self.rng.gen_range(1..3));
        let parameters = Parameters::new(fee, weight, self.rng.gen_range(1..=30)).expect("within bounds");
        let [cell, opened, ..] = desk.vacant[..] else { return None };
        let draft = desk.purses.begin(&signer, &[(first, x), (second, y)]).ok()?.found_pool(cell, &parameters);
        let key = self.owners[desk.owner].public();
        let draft = draft.open(opened, Token(cell.get()), key, Taken::AllAtLeast(1));
        self.sign_and_hand_in(desk, draft)
    }

    /// Joins a pool, wanting what the state says, a little less, or a little more.
    fn join(&mut self, desk: &mut Desk) -> Option<()> {
        let (index, pool) = *desk.pools.choose(&mut self.rng)?;
        let x = self.part(desk, pool.first.token, 20)?;
        let [held_x, held_y] = [pool.first.balance, pool.second.balance].map(u128::from);
        let y = u64::try_from(u128::from(x) * held_y / held_x).ok()?;
        let signer = self.signer(desk, None, 0.4)?;
        let takes = [(pool.first.token, x), (pool.second.token, y)];
        let joined = desk.purses.begin(&signer, &takes).ok()?.join(index);
        let shares = u128::from(x) * u128::from(pool.supply) / held_x;
        let least = self.least(u64::try_from(shares).ok()?);
        let place = desk.purses.place(Token(index.get()), signer.account, 0).ok()?;
        let draft = desk.purses.put(joined, Token(index.get()), place, Taken::AllAtLeast(least));
        self.sign_and_hand_in(desk, draft)
    }

    fn leave(&mut self, desk: &mut Desk) -> Option<()> {
        let ours = desk.pools.iter().filter(|(index, _)| desk.purses.total(Token(index.get())) > 0);
        let ours: Vec<_> = ours.copied().collect();
        let (index, pool) = *ours.choose(&mut self.rng)?;
        let shares = self.part(desk, Token(index.get()), 10)?;
        let signer = self.signer(desk, None, 0.4)?;
        let mut draft = desk.purses.begin(&signer, &[(Token(index.get()), shares)]).ok()?.exit(index);
        let mut opened = 0;
        for held in [pool.first, pool.second] {
            let part = u128::from(shares) * u128::from(held.balance) / u128::from(pool.supply);
            let least = self.least(u64::try_from(part).ok()?);
            let place = desk.purses.place(held.token, signer.account, opened).ok()?;
            opened += usize::from(matches!(place, Place::Opened(_)));
            draft = desk.purses.put(draft, held.token, place, Taken::AllAtLeast(least));
        }
        self.sign_and_hand_in(desk, draft)
    }

    /// What somebody demands who expects so much.
    fn least(&mut self, expected: u64) -> u64 {
        let percent = *[0, 80, 95, 99, 100, 102].choose(&mut self.rng).expect("six");
        u64::try_from(u128::from(expected) * percent / 100).expect("an amount")
    }

    /// Gives an order, and prepares the account for it where that lacks something.
    fn order(&mut self, desk: &mut Desk) -> Option<()> {
        let (_, clause) = self.sign_order(desk)?;
        self.hand_in(desk, vec![Part::Clause(clause)]);
        Some(())
    }

    /// Runs a session alone, which has all that it says, or not.
    fn hold_session(&mut self, desk: &mut Desk) -> Option<()> {
        let (trade, clause) = self.sign_order(desk)?;
        let mut paid = [0; 2];
        paid[usize::from(trade.sells_second)] = trade.amount;
        paid[1] += u64::from(self.rng.gen_bool(0.1));
        let session = StepRecord { cell: trade.pool, a: paid[0], b: paid[1], ..StepRecord::new(ops::Session::NUMBER) };
        let clear = StepRecord { cell: trade.pool, ..StepRecord::new(ops::Clear::NUMBER) };
        self.hand_in(desk, vec![Part::Step(session), Part::Clause(clause), Part::Step(clear)]);
        Some(())
    }

    fn sign_order(&mut self, desk: &mut Desk) -> Option<(Trade, Clause)> {
        let (index, pool) = *desk.pools.choose(&mut self.rng)?;
        let sells_second = self.rng.gen_bool(0.5);
        let [pays, gets] = if sells_second { [pool.second, pool.first] } else { [pool.first, pool.second] };
        let amount = self.part(desk, pays.token, 40)?;
        let fee_sat = self.rng.gen_range(0..20);
        let trader = desk.purses.trader(&pool, pays.token, amount, fee_sat, None).ok()?;
        self.prepare(desk, &trader)?;
        let number = if self.rng.gen_bool(0.4) {
            Number::Ticket { base: desk.base(trader.account), place: self.rng.gen_range(0..64) }
        } else {
            Number::Nonce(desk.nonce(trader.account))
        };
        let once = Once { number, until: self.until() };
        let alone = u128::from(amount) * u128::from(gets.balance) / (u128::from(pays.balance) + u128::from(amount));
        let least = self.least(u64::try_from(alone).ok()?);
        let trade = Trade { pool: index, sells_second, amount, least };
        Some((trade, self.sign_clause(desk, order(&trader, trade, fee_sat, once))?))
    }

    fn prepare(&mut self, desk: &mut Desk, trader: &Trader) -> Option<()> {
        let Some(preparation) = &trader.preparation else { return Some(()) };
        let signer = self.signer(desk, None, 0.0)?;
        let prepared = desk.purses.prepare(&signer, trader.account, preparation).ok()?;
        self.sign_and_hand_in(desk, prepared)
    }

    /// Offers some of a token for some of another, by ticket.
    fn offer(&mut self, desk: &mut Desk) -> Option<()> {
        let mut tokens: Vec<Token> = desk.tokens.iter().map(|(token, _)| *token).collect();
        tokens.push(Token::BITCOIN);
        let pair: Vec<Token> = tokens.choose_multiple(&mut self.rng, 2).copied().collect();
        let [given, wanted] = pair[..] else { return None };
        let gives = (given, self.part(desk, given, 20)?);
        let wants = (wanted, self.rng.gen_range(1..20_000));
        let signer = self.signer(desk, None, 1.0)?;
        let place = desk.purses.place(wanted, signer.account, 0).ok()?;
        let given = desk.purses.begin(&signer, &[gives]).ok()?;
        let draft = desk.purses.put(given, wanted, place, Taken::Exactly(wants.1)).joint();
        let clause = self.sign_clause(desk, draft)?;
        self.offers.push(Offer { clause, gives, wants });
        if self.offers.len() > OFFERS_MAX {
            self.offers.remove(0);
        }
        Some(())
    }

    /// Takes an offer, which somebody else may have taken, or take.
    fn take_offer(&mut self, desk: &mut Desk) -> Option<()> {
        let Offer { clause, gives, wants } = self.offers.choose(&mut self.rng)?;
        let (offered, gives, wants) = (clause.clone(), *gives, *wants);
        let signer = self.signer(desk, None, 0.4)?;
        let place = desk.purses.place(gives.0, signer.account, 0).ok()?;
        let paid = desk.purses.begin(&signer, &[wants]).ok()?;
        let draft = desk.purses.put(paid, gives.0, place, Taken::Exactly(gives.1)).joint();
        let clause = self.sign_clause(desk, draft)?;
        self.hand_in(desk, vec![Part::Clause(offered), Part::Clause(clause)]);
        Some(())
    }

    /// Pays somebody by steps, into an account of his or a new one.
    fn give(&mut self, desk: &mut Desk) -> Option<()> {
        let others: Vec<_> = desk.others.iter().filter(|(_, token)| desk.purses.total(*token) > 0).copied().collect();
        let (to, token) = *others.choose(&mut self.rng)?;
        let amount = self.part(desk, token, 20)?;
        let signer = self.signer(desk, None, 0.3)?;
        let draft = desk.purses.begin(&signer, &[(token, amount)]).ok()?;
        let draft = if self.rng.gen_bool(0.2) {
            let owner = self.owners.choose(&mut self.rng).expect("users").public();
            draft.open(*desk.vacant.first()?, token, owner, Taken::AllAtLeast(amount))
        } else {
            draft.receive(to, Taken::Exactly(amount))
        };
        self.sign_and_hand_in(desk, draft)
    }

    /// Hands something in again, which may be in a batch already, or not any more.
    fn repeat(&mut self, poster: usize) -> Option<()> {
        let transaction = self.handed_in.choose(&mut self.rng)?.clone();
        self.posters[poster].ledger.add_transactions(&[transaction]).expect("room");
        Some(())
    }

    fn renew_tickets(&mut self, desk: &mut Desk) -> Option<()> {
        let signer = self.signer(desk, None, 0.5)?;
        let draft = desk.purses.begin(&signer, &[]).ok()?.rebase(signer.account);
        self.sign_and_hand_in(desk, draft)
    }

    /// An order in a pool of bitcoin, without a limit or an end; prepares the account where it lacks something.
    pub(super) fn order_in_the_calm(&mut self, poster: usize) -> Waiting {
        for _ in 0..100 {
            let owner = self.rng.gen_range(0..self.owners.len());
            let mut desk = self.desk(poster, owner);
            let Some((index, pool)) = desk.pools.choose(&mut self.rng).copied() else { continue };
            let pays = pool.first.token;
            let Some(amount) = self.part(&desk, pays, 40).map(|part| part.min(pool.first.balance / 10)) else {
                continue;
            };
            let Ok(trader) = desk.purses.trader(&pool, pays, amount, 0, None) else { continue };
            if amount == 0 || trader.preparation.is_some() {
                continue;
            }
            let nonce = desk.nonce(trader.account);
            let trade = Trade { pool: index, sells_second: false, amount, least: 0 };
            let once = Once { number: Number::Nonce(nonce), until: u32::MAX };
            let clause = self.sign_as(desk.owner, order(&trader, trade, 0, once)).expect("a clause");
            self.hand_in(&desk, vec![Part::Clause(clause)]);
            return Waiting { signer: trader.account, nonce };
        }
        panic!("nobody has what a pool trades");
    }
}
