//! A market among those whom a block has paid: tokens, a pool, orders, liquidity, withdrawals.
//!
//! The people are the holders of a [`Workload`] that has been applied. The richest founds: he issues dollars, hands
//! them to whoever will buy bitcoin, and founds a pool of bitcoin and dollars. The second richest provides liquidity,
//! the third issues gold. The others trade. Who they are and what they have is the block's; what they want is drawn
//! from a hash of who they are, so that the same block gives the same market.
//!
//! It has three acts, each planned from the state that the one before left: [`Market::issue`], [`Market::trade`] at a
//! later Bitcoin block, as a pool clears above the height that it was founded at, and [`Market::leave`].

use super::{BlockPayments, Holder, PlanParameters, Workload};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::{cmp::Reverse, collections::HashMap, sync::Arc};
use taproof_circuits::{
    exchange::{FEE_UNIT, Parameters, Reserves, exit},
    schnorr::SecretKey,
    state::State,
    step::Machine,
    transaction::{
        Clause, ClauseError, Draft, Fee, Number, Once, Purse, StepTransaction, Taken, TokenTerms, Trade, Transaction,
        UnsignedTransaction, Withdraw,
    },
};
use taproof_verifier::{
    cell::{Cell, CellIndex, Depth, Pool, Token, TokenName},
    record::Destination,
};

/// The least that a holder has been paid to take part.
pub const MEMBER_MIN_SAT: u64 = 10_000;
/// Those who take part beside the traders: the founder, the provider of liquidity, the issuer of gold.
pub const CAST: usize = 3;
/// The decimal places of a dollar.
pub const DOLLAR_DECIMALS: u8 = 6;
/// What a bitcoin costs where the pool is founded, in the smallest unit of a dollar a satoshi: 42,000 dollars.
pub const PRICE_FOUNDED: u64 = 420;

/// The cells that the market needs beside those of its people: two tokens, the pool, three accounts.
const CELLS: u32 = 6;
/// The decimal places of gold, which counts grams.
const GOLD_DECIMALS: u8 = 3;
/// What one trader buys of it.
const GOLD_SOLD: u64 = 1_000;
/// What he pays for that.
const GOLD_PRICE_SAT: u64 = 1_500;
/// The pool's fee, in parts of 10,000, its weight, and the blocks that its average remembers.
const POOL: (u16, u8, u16) = (30, 2, 10);
/// Blocks after which an order expires.
const EXPIRY_BLOCKS: u32 = 144;
/// The pool holds so many times what the trader in the middle pays, if the founder has as much.
const POOL_SIZE: u64 = 1_000;
/// The largest order pays this part of the pool, too much for its own limit.
const PART_OF_POOL_LARGEST: u64 = 8;
/// No other order pays more than so many times what the trader in the middle pays.
const PAYS_MAX: u64 = 5;
/// The steps of a clause that are receipts of others.
const RECEIPTS_MAX: usize = 100;
/// The limits of orders about the price of the pool, in parts of 10,000: up to the first worse for whoever pays, up to
/// the second better.
const LIMITS: (u64, u64) = (400, 10);

/// A holder who takes part.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who it is.
    pub holder: Holder,
    /// The account.
    pub cell: CellIndex,
    key: SecretKey,
}

/// An order that a trader gave.
#[derive(Clone, Debug)]
pub struct PlannedOrder {
    /// Who gave it, by its place among [`Market::traders`].
    pub trader: usize,
    /// What it trades.
    pub trade: Trade,
    /// Its position among the transactions of the act.
    pub position: usize,
}

/// The market: its people and its cells.
#[derive(Clone, Debug)]
pub struct Market {
    parameters: PlanParameters,
    machine: Arc<Machine>,
    /// Who issues dollars and founds the pool.
    pub founder: Member,
    /// Who adds liquidity before the session, and takes it out afterwards.
    pub provider: Member,
    /// Who issues gold.
    pub goldsmith: Member,
    /// Who trades.
    pub traders: Vec<Member>,
    /// The token that the founder issues.
    pub dollar: CellIndex,
    /// The token that the goldsmith issues.
    pub gold: CellIndex,
    /// The pool of bitcoin and dollars.
    pub pool: CellIndex,
    /// The account of the founder's shares.
    pub founder_shares: CellIndex,
    /// The account of the provider's shares.
    pub provider_shares: CellIndex,
    /// The account of the gold that a trader buys.
    gold_account: CellIndex,
    reserves: [u64; 2],
    /// What each trader pays: half of them bitcoin, half of them all the dollars that they are handed.
    pays: Vec<u64>,
}

/// Why there is no market.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarketError {
    /// Too few have been paid enough.
    #[error("{found} holders have been paid {MEMBER_MIN_SAT} sat or more, and {needed} are needed")]
    Members {
        /// Those who have.
        found: usize,
        /// The traders, and [`CAST`].
        needed: usize,
    },
    /// The tree has no cells for tokens and pool.
    #[error("{accounts} accounts and {CELLS} cells more do not fit into a tree of {} levels", depth.levels())]
    TreeTooSmall {
        /// The accounts.
        accounts: usize,
        /// The tree's depth.
        depth: Depth,
    },
    /// The rollup's operations are not those that the market needs.
    #[error(transparent)]
    Clause(#[from] ClauseError),
}

impl BlockPayments {
    /// How many payments it takes until so many holders have been paid so much; `None` if all are not enough.
    pub fn payments_that_fund(&self, holders: usize, least_sat: u64) -> Option<usize> {
        let (mut received, mut funded) = (HashMap::new(), 0);
        let reaches = |(_, payment): &(usize, &super::BlockPayment)| {
            let sum: &mut u64 = received.entry(payment.to).or_default();
            let before = *sum;
            *sum = sum.saturating_add(payment.amount_sat);
            funded += usize::from(before < least_sat && *sum >= least_sat);
            funded >= holders
        };
        self.payments().iter().enumerate().find(reaches).map(|(position, _)| position + 1)
    }

    /// How many holders all payments together have paid so much.
    pub fn holders_paid(&self, least_sat: u64) -> usize {
        let mut received: HashMap<usize, u64> = HashMap::new();
        for payment in self.payments() {
            let sum = received.entry(payment.to).or_default();
            *sum = sum.saturating_add(payment.amount_sat);
        }
        received.into_values().filter(|sum| *sum >= least_sat).count()
    }
}

impl Market {
    /// Finds so many traders, and the others, among the accounts of a workload that this state has applied. The
    /// parameters are those that it was planned with.
    ///
    /// # Errors
    /// [`MarketError::Members`] and [`MarketError::TreeTooSmall`].
    pub fn new(
        workload: &Workload,
        state: &State,
        machine: Arc<Machine>,
        parameters: PlanParameters,
        traders: usize,
    ) -> Result<Self, MarketError> {
        let balance = |cell: CellIndex| state.account(cell).map_or(0, |account| account.balance);
        let accounts = workload.accounts.iter().filter(|account| account.holder != Holder::Operator);
        let mut members: Vec<_> = accounts.filter(|account| balance(account.cell) >= MEMBER_MIN_SAT).collect();
        let (found, needed) = (members.len(), traders + CAST);
        if found < needed || traders == 0 {
            return Err(MarketError::Members { found, needed });
        }
        members.sort_by_key(|account| Reverse(balance(account.cell)));
        let mut members = members.into_iter().map(|account| Member {
            holder: account.holder.clone(),
            cell: account.cell,
            key: parameters.secret_key(&account.holder),
        });
        let mut next = || members.next().expect("they were counted");
        let (founder, provider, goldsmith) = (next(), next(), next());
        let mut traders: Vec<Member> = (0..traders).map(|_| next()).collect();
        traders.sort_by_key(|trader| trader.cell);
        let (accounts, depth) = (workload.accounts.len(), state.depth());
        let first = u32::try_from(accounts).ok().filter(|first| first.saturating_add(CELLS) <= depth.cell_count());
        let first = first.ok_or(MarketError::TreeTooSmall { accounts, depth })?;
        let cell = |number: u32| CellIndex::new(first + number).expect("a tree has fewer cells than there are indices");
        let balances: Vec<u64> = traders.iter().map(|trader| balance(trader.cell)).collect();
        let middle = middle(&balances) / 2;
        let x = round((balance(founder.cell) / 2).min(middle.saturating_mul(POOL_SIZE)));
        let reserves = [x, x.saturating_mul(PRICE_FOUNDED)];
        let pays = pays(&traders, &balances, middle, reserves);
        let (dollar, gold, pool) = (cell(0), cell(1), cell(2));
        let (founder_shares, provider_shares, gold_account) = (cell(3), cell(4), cell(5));
        Ok(Self {
            parameters,
            machine,
            founder,
            provider,
            goldsmith,
            traders,
            dollar,
            gold,
            pool,
            founder_shares,
            provider_shares,
            gold_account,
            reserves,
            pays,
        })
    }

    /// Issues dollars and gold, gives each trader a purse for dollars and half of them dollars to spend, and founds
    /// the pool.
    ///
    /// # Errors
    /// [`MarketError::Clause`].
    pub fn issue(&self, state: &State) -> Result<Vec<Transaction>, MarketError> {
        let [x, y] = self.reserves;
        let (dollar, gold) = (Token(self.dollar.get()), Token(self.gold.get()));
        let terms =
            |name: &str, cap, decimals| TokenTerms { name: TokenName::new(name).expect("a short name"), cap, decimals };
        let mut act = Act::new(self, state);
        let dollars = act.begin(&self.founder).token(self.dollar, terms("dollar", u64::MAX, DOLLAR_DECIMALS));
        act.alone(&self.founder, dollars);
        let grams = act.begin(&self.goldsmith).token(self.gold, terms("gold", 1_000 * GOLD_SOLD, GOLD_DECIMALS));
        let grams = grams.mint(gold, 10 * GOLD_SOLD, true).pair(self.goldsmith.cell, gold);
        act.alone(&self.goldsmith, grams.keep(Purse::second(self.goldsmith.cell), Taken::AllAtLeast(10 * GOLD_SOLD)));
        for member in self.traders.iter().chain([&self.provider]) {
            let paired = act.begin(member).pair(member.cell, dollar);
            act.alone(member, paired);
        }
        let mut handed: Vec<(CellIndex, u64)> = Vec::new();
        for (place, trader) in self.traders.iter().enumerate() {
            if sells_second(place) {
                handed.push((trader.cell, self.pays[place]));
            }
        }
        handed.push((self.provider.cell, self.joining()[1]));
        for (number, handed) in handed.chunks(RECEIPTS_MAX).enumerate() {
            let own = if number == 0 { y } else { 0 };
            let minted = own + handed.iter().map(|(_, amount)| amount).sum::<u64>();
            let mut draft = act.begin(&self.founder).mint(dollar, minted, false);
            if own > 0 {
                let purse = Purse::second(self.founder.cell);
                draft = draft.pair(self.founder.cell, dollar).keep(purse, Taken::Exactly(own));
            }
            for (cell, amount) in handed {
                draft = draft.receive(Purse::second(*cell), Taken::Exactly(*amount));
            }
            act.alone(&self.founder, draft);
        }
        let (fee, weight, memory_blocks) = POOL;
        let parameters = Parameters::new(fee, weight, memory_blocks).expect("parameters of a pool");
        let founds = act
            .begin_with(&self.founder, x)
            .draw(Purse::second(self.founder.cell), y)
            .found_pool(self.pool, &parameters)
            .open(self.founder_shares, Token(self.pool.get()), self.founder.key.public(), Taken::AllAtLeast(1));
        act.alone(&self.founder, founds);
        act.sign()
    }

    /// Adds liquidity, sells gold by an offer that its issuer signed off-line, and gives one order of each trader.
    ///
    /// # Errors
    /// [`MarketError::Clause`].
    pub fn trade(
        &self,
        state: &State,
        height_blocks: u32,
    ) -> Result<(Vec<Transaction>, Vec<PlannedOrder>), MarketError> {
        let mut act = Act::new(self, state);
        let [dx, dy] = self.joining();
        let joins = act
            .begin_with(&self.provider, dx)
            .draw(Purse::second(self.provider.cell), dy)
            .join(self.pool)
            .open(self.provider_shares, Token(self.pool.get()), self.provider.key.public(), Taken::AllAtLeast(1));
        act.alone(&self.provider, joins);
        let until = height_blocks + EXPIRY_BLOCKS;
        let ticket = Once { number: Number::Ticket { base: 0, place: 0 }, until };
        let offered = Draft::pay(Purse::first(self.goldsmith.cell), 0, Fee::default(), ticket)
            .draw(Purse::second(self.goldsmith.cell), GOLD_SOLD)
            .keep(Purse::first(self.goldsmith.cell), Taken::Exactly(GOLD_PRICE_SAT))
            .joint();
        let buyer = &self.traders[0];
        let (gold, owner) = (Token(self.gold.get()), buyer.key.public());
        let bought = act
            .begin_with(buyer, GOLD_PRICE_SAT)
            .open(self.gold_account, gold, owner, Taken::Exactly(GOLD_SOLD))
            .joint();
        act.together(vec![(self.goldsmith.key.clone(), offered), (buyer.key.clone(), bought)]);
        let mut orders = Vec::with_capacity(self.traders.len());
        for (place, trader) in self.traders.iter().enumerate() {
            let trade = self.wants(place);
            let purse = if trade.sells_second { Purse::second(trader.cell) } else { Purse::first(trader.cell) };
            let once = Once { until, ..act.once(trader) };
            let order = Draft::order(purse, trade, act.fee(), once);
            orders.push(PlannedOrder { trader: place, trade, position: act.drafts.len() });
            act.alone(trader, order);
        }
        Ok((act.sign()?, orders))
    }

    /// Takes the provider's liquidity out, and withdraws what some traders have of bitcoin to their own scripts: those
    /// who bought some first. Gives how many those are, too.
    ///
    /// # Errors
    /// [`MarketError::Clause`].
    pub fn leave(&self, state: &State, withdrawals_max: usize) -> Result<(Vec<Transaction>, usize), MarketError> {
        let mut act = Act::new(self, state);
        let shares = state.account(self.provider_shares).map_or(0, |account| account.balance);
        let leaves = act.begin(&self.provider).draw(Purse::first(self.provider_shares), shares).exit(self.pool);
        // A hundredth below what they are worth now: no more is lost where others move the pool before.
        let least = self.worth(state, shares).map(|worth| worth - worth / 100);
        let leaves = leaves
            .keep(Purse::first(self.provider.cell), Taken::AllAtLeast(least[0]))
            .keep(Purse::second(self.provider.cell), Taken::AllAtLeast(least[1]));
        act.alone(&self.provider, leaves);
        let mut transactions = act.sign()?;
        let mut traders: Vec<(usize, &Member)> = self.traders.iter().enumerate().collect();
        traders.sort_by_key(|(place, _)| !sells_second(*place));
        let withdrawn = traders.into_iter().filter_map(|(_, trader)| self.withdraws(state, trader));
        let before = transactions.len();
        transactions.extend(withdrawn.take(withdrawals_max));
        let withdrawals = transactions.len() - before;
        Ok((transactions, withdrawals))
    }

    /// The withdrawal of all bitcoin that a trader has, if its script can be paid so much.
    fn withdraws(&self, state: &State, trader: &Member) -> Option<Transaction> {
        let Holder::Script(script) = &trader.holder else { return None };
        let destination = Destination::from_script_pubkey(script)?;
        let (account, fee) = (state.account(trader.cell)?, self.parameters.fee_sat);
        let amount = account.balance.checked_sub(fee).filter(|amount| *amount >= destination.payout_min_sat())?;
        let (chain_id, token, from) = (self.parameters.chain_id, Token::BITCOIN, trader.cell);
        let body = Withdraw { chain_id, token, from, nonce: account.nonce, amount, fee, destination };
        Some(UnsignedTransaction::Withdraw(body).sign(&trader.key))
    }

    /// What so many shares are worth of both tokens of the pool; nothing where there is no such pool.
    pub fn worth(&self, state: &State, shares: u64) -> [u64; 2] {
        let Some(pool) = self.pool_of(state) else { return [0; 2] };
        let reserves = Reserves::new(pool.first.balance, pool.second.balance);
        let exited = reserves.ok().and_then(|reserves| exit(reserves, pool.supply, shares).ok());
        exited.map_or([0; 2], |exited| [exited.x, exited.y].map(|division| division.quotient as u64))
    }

    /// The pool, once it is founded.
    pub fn pool_of(&self, state: &State) -> Option<Pool> {
        match state.tree().get(self.pool) {
            Cell::Pool(pool) => Some(pool),
            _ => None,
        }
    }

    /// What the provider adds before the session: an eighth of the pool.
    pub fn joining(&self) -> [u64; 2] {
        self.reserves.map(|reserve| reserve / 8)
    }

    /// What a trader wants.
    fn wants(&self, place: usize) -> Trade {
        let (sells_second, amount) = (sells_second(place), self.pays[place]);
        let unit = u64::from(FEE_UNIT);
        let (worse, better) = LIMITS;
        let drawn = draw(&self.traders[place], 1) % (worse + better + 1);
        // Where a bitcoin costs more, it is dearer to buy, and sells for more.
        let (over, under) = if sells_second {
            let is_largest = place == largest(self.traders.len());
            let limit = if is_largest { unit + worse } else { unit + drawn - better };
            (unit, PRICE_FOUNDED * limit)
        } else {
            (PRICE_FOUNDED * (unit + drawn - worse), unit)
        };
        let least = u128::from(amount) * u128::from(over) / u128::from(under);
        let least = u64::try_from(least).expect("about the worth of an amount that is a small part of the pool");
        Trade { pool: self.pool, sells_second, amount, least }
    }
}

/// A number for a trader, which only depends on who it is.
fn draw(trader: &Member, number: u8) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("taproof v1 workload market");
    hasher.update(&[number]).update(&trader.holder.to_bytes());
    let bytes: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(*bytes.first_chunk().expect("32 bytes"))
}

/// The balance in the middle of all; there is one at least.
fn middle(balances: &[u64]) -> u64 {
    let mut balances = balances.to_vec();
    balances.sort_unstable();
    balances[balances.len() / 2]
}

/// The place of the trader with the largest order: the last of those who pay dollars.
fn largest(traders: usize) -> usize {
    if sells_second(traders - 1) { traders - 1 } else { traders.saturating_sub(2) }
}

/// What traders pay. Those who pay bitcoin pay a part of the half of what they have, drawn but within bounds; whoever
/// follows one of them pays about as much in dollars; and the last of these pays much more.
fn pays(traders: &[Member], balances: &[u64], middle: u64, [_, y]: [u64; 2]) -> Vec<u64> {
    let mut pays: Vec<u64> = Vec::with_capacity(traders.len());
    for (place, trader) in traders.iter().enumerate() {
        let amount = if !sells_second(place) {
            let most = (balances[place] / 2).min(middle * PAYS_MAX);
            most / 10 * (1 + draw(trader, 0) % 10)
        } else if place == largest(traders.len()) {
            y / PART_OF_POOL_LARGEST
        } else {
            pays[place - 1].saturating_mul(PRICE_FOUNDED) / 100 * (75 + draw(trader, 0) % 51)
        };
        pays.push(round(amount));
    }
    pays
}

/// Whether the trader of a place pays dollars; the others pay bitcoin.
fn sells_second(place: usize) -> bool {
    place % 2 == 1
}

/// An amount with two digits, as people choose amounts; at least one.
fn round(amount: u64) -> u64 {
    let digits = amount.checked_ilog10().unwrap_or(0);
    let unit = 10u64.pow(digits.saturating_sub(1));
    (amount / unit * unit).max(1)
}

/// The transactions of an act as they are drafted, to be signed all at once.
struct Act<'a> {
    market: &'a Market,
    state: &'a State,
    /// The clauses that a member begins in this act.
    begun: HashMap<CellIndex, u32>,
    drafts: Vec<Vec<(SecretKey, Draft)>>,
}

impl<'a> Act<'a> {
    fn new(market: &'a Market, state: &'a State) -> Self {
        Self { market, state, begun: HashMap::new(), drafts: Vec::new() }
    }

    /// The fee, which is paid in bitcoin: of all members the first holding.
    fn fee(&self) -> Fee {
        Fee { amount_sat: self.market.parameters.fee_sat, is_from_second: false }
    }

    /// The member's next nonce.
    fn once(&mut self, member: &Member) -> Once {
        let begun = self.begun.entry(member.cell).or_default();
        let nonce = self.state.account(member.cell).map_or(0, |account| account.nonce) + *begun;
        *begun += 1;
        Once { number: Number::Nonce(nonce), until: u32::MAX }
    }

    /// A clause of a member that pays nothing yet but the fee.
    fn begin(&mut self, member: &Member) -> Draft {
        self.begin_with(member, 0)
    }

    /// A clause of a member that begins with so much of its bitcoin.
    fn begin_with(&mut self, member: &Member, amount_sat: u64) -> Draft {
        let once = self.once(member);
        Draft::pay(Purse::first(member.cell), amount_sat, self.fee(), once)
    }

    /// A transaction of one clause.
    fn alone(&mut self, member: &Member, draft: Draft) {
        self.together(vec![(member.key.clone(), draft)]);
    }

    /// A transaction of clauses by their keys.
    fn together(&mut self, clauses: Vec<(SecretKey, Draft)>) {
        self.drafts.push(clauses);
    }

    fn sign(self) -> Result<Vec<Transaction>, MarketError> {
        let (machine, chain_id) = (&*self.market.machine, self.market.parameters.chain_id);
        let signed = self.drafts.into_par_iter().map(|clauses| {
            let sign = |(key, draft): (SecretKey, Draft)| draft.sign(machine, chain_id, &key);
            let clauses = clauses.into_iter().map(sign).collect::<Result<Vec<Clause>, ClauseError>>()?;
            Ok(Transaction::Steps(StepTransaction::of_clauses(chain_id, clauses)))
        });
        signed.collect()
    }
}

#[cfg(test)]
mod tests;
