//! What the market measured: its prices, its orders, its liquidity, and what an order takes.

use super::{chart, page, rival};
use crate::demo::{
    DemoError,
    report::{self, Act, RunFigures},
};
use serde::Serialize;
use taproof_bitcoin::anchor::FeeRate;
use taproof_circuits::{
    chunk::count,
    exchange::{FEE_UNIT, Parameters, Reserves, Session as Terms, Side},
    ops,
    state::{State, TransitionError},
    step::Machines,
};
use taproof_rollup::{
    amount::decimal_text,
    workload::market::{DOLLAR_DECIMALS, Market, PlannedOrder},
};
use taproof_verifier::{
    cell::{Cell, CellIndex, Depth, Pool},
    record::{Records, StepRecords},
    statement::CircuitId,
};

/// Satoshi in a bitcoin, and smallest units in a dollar.
const UNITS: [f64; 2] = [1e8, 1e6];
/// What a pool's average of 1 is written as: 2^48.
const PRICE_UNIT: f64 = (1u64 << 48) as f64;
/// The depth of a full tree.
const FULL_DEPTH: Depth = Depth::new(10).expect("a tree has up to ten levels");

/// An order of the session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderFigures {
    /// The trader's account.
    pub cell: u32,
    /// Who it is on Bitcoin.
    pub holder: String,
    /// Whether it pays dollars for bitcoin, or bitcoin for dollars.
    pub buys_bitcoin: bool,
    /// What it pays, in the smallest unit.
    pub pays: u64,
    /// The least that it takes for that.
    pub least: u64,
    /// The price of a bitcoin in dollars that it bears at worst, the pool's fee apart.
    pub limit: f64,
    /// What it got, if it was in.
    pub got: Option<u64>,
    /// Why it was left out, if it was.
    pub left_out: Option<String>,
    /// Whether the session's price is beyond its limit.
    pub is_beyond_limit: bool,
}

/// What became of liquidity in the session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiquidityFigures {
    /// Whose it is.
    pub who: &'static str,
    /// The shares of the pool.
    pub shares: u64,
    /// What they were worth before the session: satoshi, and dollars in the smallest unit.
    pub before: [u64; 2],
    /// What they were worth after it.
    pub after: [u64; 2],
    /// What that is more at the session's price, in dollars.
    pub gain_dollars: f64,
    /// The same in parts of 10,000.
    pub gain_basis_points: f64,
}

/// What the demo of a market measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefiReport {
    /// What every demo measures.
    #[serde(flatten)]
    pub run: RunFigures,
    /// The payments that funded the traders.
    pub payments: usize,
    /// The traders, each with one order.
    pub traders: usize,
    /// The cells that there are at the end: accounts, tokens, a pool.
    pub cells: usize,
    /// Withdrawals to Bitcoin.
    pub withdrawals: usize,
    /// The orders, by trader.
    pub orders: Vec<OrderFigures>,
    /// How many of them are in.
    pub orders_in: usize,
    /// The price of the session, that of a bitcoin in dollars.
    pub price: f64,
    /// The same exactly: so many smallest units of a dollar a satoshi, as a fraction.
    pub price_fraction: [String; 2],
    /// The pool's own price of a bitcoin before the session, and after it.
    pub price_of_pool: [f64; 2],
    /// The pool's moving average of the price before the session, and after it.
    pub price_average: [f64; 2],
    /// What the orders paid: satoshi, and dollars in the smallest unit.
    pub paid: [u64; 2],
    /// What the pool held before the session, of both.
    pub reserves_before: [u64; 2],
    /// What it held after it.
    pub reserves_after: [u64; 2],
    /// The pool's fee, in parts of 10,000.
    pub pool_fee: u16,
    /// How much orders weigh in their price.
    pub pool_weight: u8,
    /// What liquidity gained.
    pub liquidity: Vec<LiquidityFigures>,
    /// The steps of the session: its opening, the orders that are in, its clearing.
    pub session_steps: usize,
    /// Its share of the constraints of the chunks that it is in, by steps, empty slots included.
    pub session_constraints: usize,
    /// The same over the orders that are in.
    pub constraints_per_order: f64,
    /// What that would be in a full tree of ten levels, with chunks of as many slots.
    pub constraints_per_order_full_tree: f64,
    /// The bytes of the session's records as posted, over the orders that are in.
    pub posted_bytes_per_order: f64,
    /// The bytes of the payload of the session's batch over the orders that are in: with all else that is in it.
    pub posted_bytes_per_order_all_in: f64,
    /// The virtual bytes of commit and reveal of that batch over the orders that are in.
    pub vbytes_per_order: f64,
    /// The virtual bytes of a swap on layer 1: one transaction of two inputs and three outputs.
    pub layer_1_vbytes_per_swap: f64,
    /// An order's part of the fee of that batch on Bitcoin.
    pub fee_sat_per_order: f64,
    /// The fee of a swap on layer 1 at the same rate.
    pub layer_1_fee_sat_per_swap: f64,
    /// What a trader pays to the operator for an order.
    pub operator_fee_sat: u64,
}

impl DefiReport {
    /// A self-contained page in HTML: no scripts, nothing that is loaded from elsewhere.
    pub fn to_html(&self) -> String {
        page::page(self)
    }

    /// The picture of the clearing.
    pub fn to_svg(&self) -> String {
        chart::svg(self)
    }

    /// What an order that is in takes, on Taproof and on layer 1 where there is something to compare with.
    pub fn rows(&self) -> Vec<[String; 3]> {
        let rate = self.run.fee_rate_sat_per_kvb as f64 / 1_000.0;
        let row = |name: &str, here: String, there: Option<String>| [name.to_owned(), here, there.unwrap_or_default()];
        vec![
            row("posted bytes", format!("{:.2}", self.posted_bytes_per_order), None),
            row("posted bytes, all in", format!("{:.1}", self.posted_bytes_per_order_all_in), None),
            row(
                "virtual bytes",
                format!("{:.1}", self.vbytes_per_order),
                Some(format!("{:.1}", self.layer_1_vbytes_per_swap)),
            ),
            row(
                &format!("fee on Bitcoin, sat at {rate} sat/vB"),
                format!("{:.0}", self.fee_sat_per_order),
                Some(format!("{:.0}", self.layer_1_fee_sat_per_swap)),
            ),
            row("constraints, all in", format!("{:.0}", self.constraints_per_order), None),
            row("constraints in a full tree", format!("{:.0}", self.constraints_per_order_full_tree), None),
        ]
    }

    /// The orders that are left out.
    pub fn left_out(&self) -> impl Iterator<Item = (&OrderFigures, &str)> {
        self.orders.iter().filter_map(|order| Some((order, order.left_out.as_deref()?)))
    }
}

impl AsRef<RunFigures> for DefiReport {
    fn as_ref(&self) -> &RunFigures {
        &self.run
    }
}

impl OrderFigures {
    /// What it pays, in words.
    pub fn pays_words(&self) -> String {
        words(self.pays, self.buys_bitcoin)
    }

    /// What it got, in words.
    pub fn got_words(&self) -> Option<String> {
        self.got.map(|got| words(got, !self.buys_bitcoin))
    }
}

/// An amount with its token.
pub(super) fn words(amount: u64, is_dollar: bool) -> String {
    if is_dollar { format!("{} dollars", decimal_text(amount, DOLLAR_DECIMALS)) } else { format!("{amount} sat") }
}

/// All that the report is made of.
pub(super) struct Session {
    pub(super) run: RunFigures,
    pub(super) market: Market,
    pub(super) orders: Vec<PlannedOrder>,
    /// Before the act of the session.
    pub(super) before: State,
    /// After it.
    pub(super) after: State,
    /// As it was rebuilt at the end.
    pub(super) end: State,
    /// The act of the session.
    pub(super) act: Act,
    /// The rows of each of its chunks.
    pub(super) rows: Vec<usize>,
    pub(super) payments: usize,
    pub(super) withdrawals: usize,
    pub(super) fee_rate: FeeRate,
    pub(super) fee_sat: u64,
    pub(super) machines: Machines,
}

/// What a session posts, and its part of the chunks that prove it: other steps may stand beside its own.
struct Chunks {
    records: Vec<Records>,
    steps: usize,
    parts: Vec<Part>,
    constraints: usize,
    /// What the orders pay, as the session opened with it.
    paid: [u64; 2],
}

/// A session's part of one chunk.
struct Part {
    circuit: CircuitId,
    steps: usize,
    /// The steps of the chunk: the session's, and others.
    of: usize,
}

impl Part {
    /// Its share of so many rows; empty slots are shared as all else is.
    fn share(&self, rows: usize) -> usize {
        (rows * self.steps).div_ceil(self.of)
    }
}

impl Session {
    pub(super) fn report(&self) -> Result<DefiReport, DemoError> {
        let chunks = self.chunks();
        let [pool_before, pool_after] = [&self.before, &self.after].map(|state| self.pool(state));
        let reserves_before = self.reserves_of_session(&pool_before);
        let terms = self.terms(&pool_before, chunks.paid);
        let orders: Vec<_> = self.orders.iter().map(|order| self.order(order, &terms)).collect();
        let orders_in = orders.iter().filter(|order| order.got.is_some()).count();
        let per_order = |total: f64| total / orders_in as f64;
        let mut full_tree = 0;
        for part in &chunks.parts {
            let slot = count(&self.machines, CircuitId { depth: FULL_DEPTH, slots: 1, ..part.circuit })?;
            full_tree += part.share(slot.constraints_per_slot * usize::from(part.circuit.slots));
        }
        let reserves = |pool: &Pool| [pool.first.balance, pool.second.balance];
        let spot = |[x, y]: [u64; 2]| dollars_a_bitcoin(y as f64 / x as f64);
        let average = |pool: &Pool| dollars_a_bitcoin(pool.average as f64 / PRICE_UNIT);
        let swap = rival::swap_on_layer_1().weight();
        Ok(DefiReport {
            payments: self.payments,
            traders: self.market.traders.len(),
            cells: self.end.tree().cells().count(),
            withdrawals: self.withdrawals,
            orders_in,
            orders,
            price: dollars_a_bitcoin(terms.n as f64 / terms.d as f64),
            price_fraction: [terms.n, terms.d].map(|part| part.to_string()),
            price_of_pool: [spot(reserves_before), spot(reserves(&pool_after))],
            price_average: [average(&pool_before), average(&pool_after)],
            paid: chunks.paid,
            reserves_before,
            reserves_after: reserves(&pool_after),
            pool_fee: pool_before.fee,
            pool_weight: pool_before.weight,
            liquidity: self.liquidity(&terms),
            session_steps: chunks.steps,
            session_constraints: chunks.constraints,
            constraints_per_order: per_order(chunks.constraints as f64),
            constraints_per_order_full_tree: per_order(full_tree as f64),
            posted_bytes_per_order: per_order(report::posted_bytes(&chunks.records) as f64),
            posted_bytes_per_order_all_in: per_order(self.act.payload_bytes as f64),
            vbytes_per_order: per_order(self.act.anchor_vsize_vb as f64),
            layer_1_vbytes_per_swap: swap.to_wu() as f64 / 4.0,
            fee_sat_per_order: per_order(report::fee_sat(self.fee_rate, self.act.anchor_vsize_vb)),
            layer_1_fee_sat_per_swap: self.fee_rate.fee(swap).to_sat() as f64,
            operator_fee_sat: self.fee_sat,
            run: self.run.clone(),
        })
    }

    /// The pool in a state of the session's time.
    pub(super) fn pool(&self, state: &State) -> Pool {
        self.market.pool_of(state).expect("the pool was founded in the act before")
    }

    /// What the pool held when the session opened: liquidity has joined before, in the same batch.
    pub(super) fn reserves_of_session(&self, before: &Pool) -> [u64; 2] {
        let [dx, dy] = self.market.joining();
        [before.first.balance + dx, before.second.balance + dy]
    }

    /// The terms that the session opened with.
    pub(super) fn terms(&self, before: &Pool, [a, b]: [u64; 2]) -> Terms {
        let [x, y] = self.reserves_of_session(before);
        let reserves = Reserves::new(x, y).expect("a pool has such reserves");
        let parameters = Parameters::new(before.fee, before.weight, before.averaging_blocks);
        Terms::open(reserves, &parameters.expect("a pool has such parameters"), a, b)
    }

    fn chunks(&self) -> Chunks {
        let mut found = Chunks { records: Vec::new(), steps: 0, parts: Vec::new(), constraints: 0, paid: [0; 2] };
        for (chunk, rows) in self.act.batch.chunks.iter().zip(&self.rows) {
            let Records::Step(all) = chunk.records() else { continue };
            let is_part =
                |operation| [ops::Session::NUMBER, ops::Order::NUMBER, ops::Clear::NUMBER].contains(&operation);
            let records = all.records().iter().filter(|record| is_part(record.operation));
            let records: Vec<_> = records.cloned().collect();
            if records.is_empty() {
                continue;
            }
            let opening = records.iter().find(|record| record.operation == ops::Session::NUMBER);
            found.paid = opening.map_or(found.paid, |record| [record.a, record.b]);
            let part = Part { circuit: chunk.statement.circuit, steps: records.len(), of: all.records().len() };
            found.steps += part.steps;
            found.constraints += part.share(*rows);
            found.parts.push(part);
            let operations = all.operations().clone();
            found.records.push(Records::Step(StepRecords::new(operations, records).expect("they were a chunk's")));
        }
        found
    }

    fn order(&self, planned: &PlannedOrder, terms: &Terms) -> OrderFigures {
        let trader = &self.market.traders[planned.trader];
        let trade = planned.trade;
        let rejected = self.act.batch.rejected.iter().find(|rejected| rejected.position == planned.position);
        let left_out = rejected.map(|rejected| match rejected.reason {
            TransitionError::LeftOut(reason) => reason.to_string(),
            other => other.to_string(),
        });
        let got = left_out.is_none().then(|| self.gained(trader.cell, trade.sells_second));
        let (pays, least) = (trade.amount as f64, trade.least as f64);
        let kept = f64::from(FEE_UNIT - terms.fee) / f64::from(FEE_UNIT);
        let limit = if trade.sells_second { pays * kept / least } else { least / (pays * kept) };
        let side = if trade.sells_second { Side::Y } else { Side::X };
        let quoted = terms.quote(side, trade.amount).ok().and_then(|division| division.amount().ok());
        OrderFigures {
            cell: trader.cell.get(),
            holder: trader.holder.to_string(),
            buys_bitcoin: trade.sells_second,
            pays: trade.amount,
            least: trade.least,
            limit: dollars_a_bitcoin(limit),
            got,
            left_out,
            is_beyond_limit: quoted.is_none_or(|quoted| quoted < trade.least),
        }
    }

    /// What the holding that an order of an account did not pay from has gained in the session: of bitcoin, the fee
    /// was taken off.
    fn gained(&self, cell: CellIndex, is_bitcoin: bool) -> u64 {
        let holding = |state: &State| state.tree().get(cell).holdings()[usize::from(!is_bitcoin)].balance;
        let fee = if is_bitcoin { self.fee_sat } else { 0 };
        (holding(&self.after) + fee).saturating_sub(holding(&self.before))
    }

    fn liquidity(&self, terms: &Terms) -> Vec<LiquidityFigures> {
        let Market { founder_shares, provider_shares, .. } = self.market;
        let shares = |cell| match self.after.tree().get(cell) {
            Cell::Account(account) => account.balance,
            _ => 0,
        };
        let price = terms.n as f64 / terms.d as f64;
        let value = |[x, y]: [u64; 2]| (x as f64 * price + y as f64) / UNITS[1];
        let figures = |who, cell, before: [u64; 2]| {
            let shares = shares(cell);
            let after = self.market.worth(&self.after, shares);
            let gain_dollars = value(after) - value(before);
            let gain_basis_points = gain_dollars / value(before) * f64::from(FEE_UNIT);
            LiquidityFigures { who, shares, before, after, gain_dollars, gain_basis_points }
        };
        let of_founder = self.market.worth(&self.before, shares(founder_shares));
        vec![
            figures("the founder", founder_shares, of_founder),
            figures("who joined", provider_shares, self.market.joining()),
        ]
    }
}

/// A price in smallest units of a dollar a satoshi as one in dollars a bitcoin.
pub(super) fn dollars_a_bitcoin(price: f64) -> f64 {
    price * UNITS[0] / UNITS[1]
}
