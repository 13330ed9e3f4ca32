//! `taproof pool`.

use super::{
    Global,
    clause::{ClauseArgs, Desk, purse_failure},
    failure::{Exit, Failure, Fallible, Result},
    known::Outset,
    session::NodeOptions,
    token::Listed,
    values::{amount, cell, parts, token_amount},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;
use taproof_circuits::{
    exchange::{self, Parameters, Reserves, multiply_divide},
    state::State,
    transaction::Taken,
};
use taproof_rollup::{
    amount::{Decimal, decimal_text},
    told::{Amount, Known},
};
use taproof_verifier::cell::{Cell, CellIndex, Pool, Token};

/// Founds pools of two tokens, joins and leaves them, and shows those that there are.
#[derive(Debug, Args)]
#[command(after_help = "\
A pool holds two tokens, the one of the lower number first, and trades one for the other; token 0 is bitcoin. Whoever \
adds to it gets shares, which are a token of the pool's number. What joining or leaving gives depends on what is \
applied before it, so it is signed with the least that it must give.

Examples:
  taproof pool create --put 0:400000 --put 20:16000.00 --add-to txs.json
  taproof pool join --pool 30 --amount 5000 --slippage 0.5
  taproof pool exit --pool 30 --shares 1000 --dry-run
  taproof pool show 30
  taproof pool list")]
pub(crate) struct PoolCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Founds a pool in an empty cell with amounts of two tokens. 1,000 of its shares belong to nobody, for ever.
    Create {
        /// What it is founded with of a token: its number, 0 for bitcoin, and the amount; of two tokens.
        #[arg(long, value_parser = token_amount, value_name = "TOKEN:AMOUNT", required = true)]
        put: Vec<(Token, Decimal)>,
        /// The fee that orders pay to the pool.
        #[arg(long, value_parser = parts, default_value = "0.3", value_name = "PERCENT")]
        pool_fee: u16,
        /// How much orders weigh in their price: 1 as in Uniswap v2, 2 for the pool's own price after them.
        #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
        weight: u8,
        /// The blocks that the past weighs in the average of the price.
        #[arg(long, default_value_t = 10, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(1..=30))]
        memory: u16,
        /// The empty cell, whose number is the pool's; without it, the first.
        #[arg(long, value_parser = cell, value_name = "CELL")]
        cell: Option<CellIndex>,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Adds to a pool an amount of one of its tokens, and as much of the other as the pool's price asks for.
    Join {
        /// The pool's number, which is that of its cell.
        #[arg(long, value_parser = cell, value_name = "N")]
        pool: CellIndex,
        /// The amount.
        #[arg(long, value_parser = amount, value_name = "AMOUNT")]
        amount: Decimal,
        /// Which of the pool's tokens the amount is of; 0 is bitcoin.
        #[arg(long, default_value_t = 0, value_name = "N")]
        token: u32,
        #[command(flatten)]
        slippage: Slippage,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Gives shares of a pool back, for their part of both tokens.
    Exit {
        /// The pool's number, which is that of its cell.
        #[arg(long, value_parser = cell, value_name = "N")]
        pool: CellIndex,
        /// How many shares; without it, all that the key owns.
        #[arg(long, value_name = "N")]
        shares: Option<u64>,
        #[command(flatten)]
        slippage: Slippage,
        #[command(flatten)]
        clause: ClauseArgs,
    },
    /// Shows what a pool holds, its price and average, its shares, fee and weight.
    Show {
        /// The pool's number.
        #[arg(value_parser = cell, value_name = "POOL")]
        pool: CellIndex,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Lists all pools.
    List {
        #[command(flatten)]
        node: NodeOptions,
    },
}

/// How much less one takes than the state as it is known would give.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Slippage {
    /// How much less it may give than it would now: what is applied before it changes that.
    #[arg(long, value_parser = parts, default_value = "1", value_name = "PERCENT")]
    slippage: u16,
}

impl Slippage {
    /// The least that is taken where so much is expected.
    pub(super) fn least(self, expected: u64) -> u64 {
        let kept = u128::from(exchange::FEE_UNIT - self.slippage);
        (u128::from(expected) * kept / u128::from(exchange::FEE_UNIT)) as u64
    }
}

/// A pool, as it is.
#[derive(Serialize)]
struct Shown {
    pool: CellIndex,
    reserves: [Amount; 2],
    /// The price of the first token in the second, with the decimal places of both.
    price: Option<String>,
    /// Its moving average.
    average: Option<String>,
    /// All shares, those that belong to nobody among them.
    shares: u64,
    /// The fee in parts of 10,000.
    fee_parts: u16,
    weight: u8,
    average_blocks: u16,
    /// The height of its last session.
    last_height: u32,
}

/// The digits after the point that prices are shown with.
const PRICE_DECIMALS: u8 = 9;

impl Shown {
    fn new(index: CellIndex, pool: &Pool, known: &Known<'_>) -> Self {
        let held = [pool.first, pool.second];
        let [first, second] = held.map(|held| 10u128.pow(known.decimals(held.token).into()));
        let unit = 10u128.pow(PRICE_DECIMALS.into());
        let text = |over: u128, factor: u128, under: u128| {
            let price = multiply_divide(over, factor, under).ok()?;
            Some(decimal_text(price.quotient, PRICE_DECIMALS))
        };
        let [x, y] = held.map(|held| u128::from(held.balance));
        Self {
            pool: index,
            reserves: held.map(|held| known.amount(held.token, held.balance)),
            price: text(y * first, unit, x * second),
            average: text(pool.average, first * unit, second << 48),
            shares: pool.supply,
            fee_parts: pool.fee,
            weight: pool.weight,
            average_blocks: pool.averaging_blocks,
            last_height: pool.last_height,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, reserves: [first, second], shares, fee_parts, weight, .. } = self;
        let [price, average] = [&self.price, &self.average].map(|price| price.as_deref().unwrap_or("out of range"));
        writeln!(f, "pool {pool:<9} {first} and {second}")?;
        writeln!(f, "price          {price} of the second for 1 of the first")?;
        writeln!(f, "average        {average}, over {} blocks", self.average_blocks)?;
        writeln!(f, "shares         {shares}, of which {} are nobody's", Pool::SHARES_LOCKED)?;
        writeln!(f, "fee            {}.{:02} %", fee_parts / 100, fee_parts % 100)?;
        writeln!(f, "weight         {weight}")?;
        write!(f, "last session   height {}", self.last_height)
    }
}

/// The pool of a cell, if it is one.
pub(super) fn pool_cell(state: &State, index: CellIndex) -> Result<Pool> {
    let cell = if state.depth().contains(index) { state.tree().get(index) } else { Cell::Empty };
    let Cell::Pool(pool) = cell else {
        let failure = Failure::new(Exit::Refuted, format!("cell {index} is no pool"));
        return Err(failure.advise("`taproof pool list` has those that there are; one that waits for a batch counts"));
    };
    Ok(pool)
}

/// Which of a pool's tokens a number names: 0 or 1.
pub(super) fn side(pool: &Pool, index: CellIndex, token: Token, known: &Known<'_>) -> Result<usize> {
    let tokens = [pool.first.token, pool.second.token];
    tokens.iter().position(|of| *of == token).ok_or_else(|| {
        let [first, second] = tokens.map(|token| known.token(token));
        let failure = Failure::new(Exit::Input, format!("pool {index} holds no {}", known.token(token)));
        failure.advise(format!("it holds {first} and {second}: name one with --token"))
    })
}

fn reserves(pool: &Pool) -> Result<Reserves> {
    Reserves::new(pool.first.balance, pool.second.balance).or_exit(Exit::Failed)
}

impl PoolCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Create { put, pool_fee, weight, memory, cell, clause } => {
                let parameters = Parameters::new(pool_fee, weight, memory).or_exit(Exit::Input);
                let parameters =
                    parameters.map_err(|failure| failure.advise("give a --pool-fee of 10 percent or less"))?;
                create(&put, &parameters, cell, &clause, global)
            }
            Action::Join { pool, amount, token, slippage, clause } => {
                join(pool, Token(token), amount, slippage, &clause, global)
            }
            Action::Exit { pool, shares, slippage, clause } => exit(pool, shares, slippage, &clause, global),
            Action::Show { pool, node } => {
                let state = Outset::find(&node, global)?.state;
                let known = Known { state: Some(&state), ..Known::default() };
                let shown = Shown::new(pool, &pool_cell(&state, pool)?, &known);
                global.console().report(&shown, ToString::to_string)
            }
            Action::List { node } => {
                let state = Outset::find(&node, global)?.state;
                let known = Known { state: Some(&state), ..Known::default() };
                let pools = state.tree().cells().filter_map(|(index, cell)| match cell {
                    Cell::Pool(pool) => Some(Shown::new(index, pool, &known)),
                    _ => None,
                });
                global.console().report(&Listed(pools.collect()), ToString::to_string)
            }
        }
    }
}

fn create(
    put: &[(Token, Decimal)],
    parameters: &Parameters,
    cell: Option<CellIndex>,
    clause: &ClauseArgs,
    global: &Global,
) -> Result {
    let [mut first, mut second] = put[..] else {
        let failure = Failure::new(Exit::Input, format!("a pool holds two tokens, and {} are given", put.len()));
        return Err(failure.advise("give --put TOKEN:AMOUNT twice"));
    };
    if first.0 == second.0 {
        let failure = Failure::new(Exit::Input, format!("a pool holds two tokens, and both are token {}", first.0.0));
        return Err(failure.advise("give --put for another token"));
    }
    if first.0 > second.0 {
        std::mem::swap(&mut first, &mut second);
    }
    let mut desk = Desk::open(clause, global)?;
    let takes = [(first.0, desk.units(first.0, first.1)?), (second.0, desk.units(second.0, second.1)?)];
    let founded = Reserves::new(takes[0].1, takes[1].1).or_exit(Exit::Input);
    let founded = founded.and_then(|reserves| exchange::found(reserves).or_exit(Exit::Input));
    let shares = founded.map_err(|failure| failure.advise("put more into it"))?.shares - Pool::SHARES_LOCKED;
    let cell = desk.empty_cell(cell)?;
    let token = Token(cell.get());
    let founder = desk.account(6, Some(takes[0]))?;
    let draft = desk.priced(0, |fee_sat| {
        let (signer, purses) = (desk.signer(founder, fee_sat)?, desk.purses());
        let founds = purses.begin(&signer, &takes).map_err(purse_failure)?.found_pool(cell, parameters);
        // The pool takes an empty cell itself, so that its shares can have the next one at most.
        let place = desk.place_beside(&purses, token, founder, cell)?;
        Ok(purses.put(founds, token, place, Taken::AllAtLeast(shares)))
    })?;
    desk.take_draft(draft)?;
    desk.finish()
}

fn join(
    index: CellIndex,
    token: Token,
    amount: Decimal,
    slippage: Slippage,
    clause: &ClauseArgs,
    global: &Global,
) -> Result {
    let mut desk = Desk::open(clause, global)?;
    let pool = pool_cell(desk.state(), index)?;
    let side = side(&pool, index, token, &desk.known())?;
    let amount = desk.units(token, amount)?;
    let held = [pool.first, pool.second];
    // As much of the other as the price asks for, rounded up: less would make fewer shares of all of the first.
    let (over, under) = (u128::from(held[1 - side].balance), u128::from(held[side].balance));
    let other = u64::try_from((u128::from(amount) * over).div_ceil(under)).or_exit(Exit::Input);
    let other = other.map_err(|failure| failure.advise("add less"))?;
    let amounts = if side == 0 { [amount, other] } else { [other, amount] };
    let joined = exchange::join(reserves(&pool)?, pool.supply, amounts[0], amounts[1]).or_exit(Exit::Input);
    let minted = joined.map_err(|failure| failure.advise("add less"))?.minted;
    if minted == 0 {
        let failure = Failure::new(Exit::Input, "so little makes no share of the pool, and would be given away");
        return Err(failure.advise("add more"));
    }
    let takes = [(held[0].token, amounts[0]), (held[1].token, amounts[1])];
    let shares = Token(index.get());
    let joiner = desk.account(6, Some(takes[0]))?;
    let draft = desk.priced(0, |fee_sat| {
        let (signer, purses) = (desk.signer(joiner, fee_sat)?, desk.purses());
        let joins = purses.begin(&signer, &takes).map_err(purse_failure)?.join(index);
        let place = purses.place(shares, joiner, 0).map_err(purse_failure)?;
        Ok(purses.put(joins, shares, place, Taken::AllAtLeast(slippage.least(minted))))
    })?;
    desk.take_draft(draft)?;
    desk.finish()
}

fn exit(index: CellIndex, shares: Option<u64>, slippage: Slippage, clause: &ClauseArgs, global: &Global) -> Result {
    let mut desk = Desk::open(clause, global)?;
    let pool = pool_cell(desk.state(), index)?;
    let token = Token(index.get());
    let owned = u64::try_from(desk.purses().total(token)).unwrap_or(u64::MAX);
    let shares = shares.unwrap_or(owned);
    if shares == 0 {
        let failure = Failure::new(Exit::Refuted, format!("the key owns no shares of pool {index}"));
        return Err(failure.advise("name another of the wallet's keys with --account and --index"));
    }
    let exited = exchange::exit(reserves(&pool)?, pool.supply, shares).or_exit(Exit::Refuted);
    let exited = exited.map_err(|failure| failure.advise("give back fewer --shares"))?;
    let gets = [(pool.first.token, exited.x.amount()), (pool.second.token, exited.y.amount())];
    let leaver = desk.account(6, Some((token, shares)))?;
    let draft = desk.priced(0, |fee_sat| {
        let (signer, purses) = (desk.signer(leaver, fee_sat)?, desk.purses());
        let mut draft = purses.begin(&signer, &[(token, shares)]).map_err(purse_failure)?.exit(index);
        let mut opened = 0;
        for (token, amount) in gets {
            let place = purses.place(token, leaver, opened).map_err(purse_failure)?;
            opened += usize::from(matches!(place, taproof_rollup::purses::Place::Opened(_)));
            let least = slippage.least(amount.or_exit(Exit::Failed)?);
            draft = purses.put(draft, token, place, Taken::AllAtLeast(least));
        }
        Ok(draft)
    })?;
    desk.take_draft(draft)?;
    desk.finish()
}
