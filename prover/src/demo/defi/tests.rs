use super::{report::Session, *};
use crate::demo::{DemoOptions, report};
use bitcoin::Weight;
use std::num::{NonZeroU16, NonZeroUsize};
use taproof_base::progress::{Progress, Silent};
use taproof_bitcoin::anchor::FeeRate;
use taproof_circuits::{
    chunk::count,
    exchange::{
        Parameters, Reserves, Side,
        matching::{Order, match_orders},
    },
    ops,
    state::{Slots, State, StepSlots},
    step::Machines,
};
use taproof_kernel::key_ring::KeyRingError;
use taproof_verifier::{
    cell::{Cell, CellIndex, Depth, Token},
    record::{Records, StepRecords},
};

/// Watches nothing.
struct Unwatched;

impl Observer for Unwatched {
    fn begin(&self, _: &str) -> Box<dyn Progress> {
        Box::new(Silent)
    }

    fn found_unusable(&self, fault: KeyRingError) {
        panic!("keys are made: {fault}");
    }
}

const TRADERS: usize = 6;

fn played(keys: &std::path::Path) -> (Session, DemoRollup, DemoOptions) {
    let slots = |count| NonZeroU16::new(count).expect("not zero");
    let machines = Machines::new(vec![ops::standard()]);
    let step = Some(StepSlots { operations: ops::standard().set().hash(), slots: slots(4).into() });
    let options = DemoOptions {
        machines,
        withdrawals_max: 2,
        fee_sat: 25,
        depth: Depth::new(3).expect("a depth"),
        slots: Slots { step, ..Slots::uniform(slots(4)) },
        keys: keys.to_owned(),
        fee_rate: "10".parse::<FeeRate>().expect("a rate"),
        proofs_at_once: NonZeroUsize::MIN,
    };
    let (session, rollup) =
        play(taproof_fixtures::MAINNET_BLOCK_702861, TRADERS, &options, &Unwatched).expect("the market is played");
    (session, rollup, options)
}

#[test]
fn a_market_is_proven_whole_and_its_report_says_what_happened() {
    let keys = tempfile::tempdir().expect("a scratch folder");
    let (session, rollup, options) = played(keys.path());
    let report = session.report().expect("a report");
    assert!(report.run.roots_agree(), "{:?}", report.run);
    assert_eq!((report.run.batches, rollup.batches.len()), (4, 4));
    assert_eq!(
        report.run.proofs,
        rollup.batches.iter().map(|batch| batch.anchored.batch.chunks().len()).sum::<usize>()
    );
    assert_eq!((report.traders, report.orders.len(), report.withdrawals), (TRADERS, TRADERS, 2));
    tokens_are_conserved(&session);
    everyone_gets_the_one_price(&session, &report);
    who_is_left_out_has_the_reason_that_anyone_computes(&session, &report);
    the_table_is_computed_from_what_is_posted(&report, &rollup, &options);
    liquidity_gains_what_the_state_says(&session, &report);
    the_picture_is_well_formed_and_tells_the_price(&report);
}

/// What all cells together hold of a token.
fn held(state: &State, token: u32) -> u128 {
    let holdings = state.tree().cells().flat_map(|(_, cell)| cell.holdings());
    holdings.filter(|holding| holding.token == Token(token)).map(|holding| u128::from(holding.balance)).sum()
}

fn supply(state: &State, cell: CellIndex) -> u128 {
    state.tree().get(cell).supply().expect("it mints").into()
}

fn tokens_are_conserved(session: &Session) {
    let Session { market, before, after, end, .. } = session;
    let locked = u128::from(taproof_verifier::cell::Pool::SHARES_LOCKED);
    for state in [before, after, end] {
        for token in [market.dollar, market.gold] {
            assert_eq!(held(state, token.get()), supply(state, token));
        }
        assert_eq!(held(state, market.pool.get()) + locked, supply(state, market.pool));
    }
    assert!(held(before, market.dollar.get()) > 0 && held(before, market.gold.get()) == 10_000);
    // The session moves bitcoin and makes none; nothing is deposited or withdrawn in it.
    let bitcoin = [before, after].map(|state| held(state, 0));
    assert_eq!(bitcoin[0], bitcoin[1]);
    assert_eq!(held(before, market.dollar.get()), held(after, market.dollar.get()));
    assert!(held(end, 0) < bitcoin[1], "withdrawals take bitcoin out");
}

fn everyone_gets_the_one_price(session: &Session, report: &DefiReport) {
    let [n, d] = report.price_fraction.each_ref().map(|part| part.parse::<u128>().expect("a number"));
    let (unit, kept) = (10_000, 10_000 - u128::from(report.pool_fee));
    assert!((report.price - n as f64 / d as f64 * 100.0).abs() < 1e-6);
    let mut paid = [0u64; 2];
    for (planned, order) in session.orders.iter().zip(&report.orders) {
        let cell = CellIndex::new(order.cell).expect("an index");
        let holdings = |state: &State| state.tree().get(cell).holdings().map(|holding| holding.balance);
        let (before, after) = (holdings(&session.before), holdings(&session.after));
        let Some(got) = order.got else {
            assert_eq!(after[1], before[1], "who is left out keeps dollars");
            continue;
        };
        let (over, under, pays) = if order.buys_bitcoin { (d, n, 1) } else { (n, d, 0) };
        // 2^40 and 2^79 at the most: products of these amounts have 128 bits.
        let at_the_price = u128::from(order.pays) * kept * over / (unit * under);
        assert_eq!(u128::from(got), at_the_price, "account {}", order.cell);
        assert!(got >= order.least && order.least > 0);
        paid[pays] += order.pays;
        if order.buys_bitcoin {
            assert_eq!(before[1] - after[1], order.pays);
            assert_eq!(after[0] + 25 - before[0], got);
        } else {
            assert_eq!(after[1] - before[1], got);
        }
        assert_eq!(planned.trade.amount, order.pays);
    }
    assert_eq!(paid, report.paid);
    assert!(report.orders_in > 0 && paid[0] > 0 && paid[1] > 0);
}

fn who_is_left_out_has_the_reason_that_anyone_computes(session: &Session, report: &DefiReport) {
    let [x, y] = report.reserves_before;
    let reserves = Reserves::new(x, y).expect("a pool's");
    let parameters = Parameters::new(report.pool_fee, report.pool_weight, 10).expect("a pool's");
    let orders = session.orders.iter().map(|planned| Order {
        side: if planned.trade.sells_second { Side::Y } else { Side::X },
        amount: planned.trade.amount,
        least: planned.trade.least,
    });
    let matching = match_orders(reserves, &parameters, &orders.collect::<Vec<_>>());
    let expected = matching.outcomes.iter().map(|outcome| outcome.map_err(|reason| reason.to_string()));
    let told = report.orders.iter().map(|order| match (order.got, &order.left_out) {
        (Some(got), None) => Ok(got),
        (None, Some(reason)) => Err(reason.clone()),
        other => panic!("in or out, and why: {other:?}"),
    });
    assert!(told.eq(expected));
    assert_eq!([matching.reserves.x(), matching.reserves.y()], report.reserves_after);
    assert_eq!(report.orders_in + report.left_out().count(), TRADERS);
    assert!(report.left_out().count() > 0, "the largest order is too large");
}

fn the_table_is_computed_from_what_is_posted(report: &DefiReport, rollup: &DemoRollup, options: &DemoOptions) {
    let anchored = &rollup.batches[2].anchored;
    let mut records = Vec::new();
    let (mut rows, mut steps, mut orders) = (0, 0, 0);
    for chunk in anchored.batch.chunks() {
        let Records::Step(posted) = chunk.records() else { continue };
        let is_order = |number| number == ops::Order::NUMBER;
        let in_session = [ops::Session::NUMBER, ops::Order::NUMBER, ops::Clear::NUMBER];
        let all = posted.records();
        let own: Vec<_> = all.iter().filter(|record| in_session.contains(&record.operation)).cloned().collect();
        if !own.is_empty() {
            let constraints = count(&options.machines, chunk.statement.circuit).expect("its circuit").constraints;
            rows += (constraints * own.len()).div_ceil(all.len());
            steps += own.len();
            orders += own.iter().filter(|record| is_order(record.operation)).count();
            records.push(Records::Step(StepRecords::new(posted.operations().clone(), own).expect("its records")));
        }
    }
    let per_order = |total: usize| total as f64 / orders as f64;
    assert_eq!((orders, steps), (report.orders_in, report.session_steps));
    assert_eq!(steps, orders + 2);
    assert_eq!((report.session_constraints, report.constraints_per_order), (rows, per_order(rows)));
    assert!(report.constraints_per_order_full_tree > report.constraints_per_order);
    assert_eq!(report.posted_bytes_per_order, per_order(report::posted_bytes(&records)));
    let anchor = &anchored.anchor;
    let vsize_vb = anchor.commit().vsize() + anchor.reveal().vsize();
    assert_eq!(report.vbytes_per_order, per_order(vsize_vb));
    assert_eq!(report.posted_bytes_per_order_all_in, per_order(anchor.payload().len()));
    // At 10 sat a virtual byte.
    assert_eq!(report.fee_sat_per_order, per_order(vsize_vb * 10));
    // Fees are paid for whole virtual bytes.
    assert_eq!((report.layer_1_vbytes_per_swap, report.layer_1_fee_sat_per_swap), (254.5, 2_550.0));
    let rows = report.rows();
    assert!(rows.iter().any(|[name, here, there]| {
        name.contains("10 sat/vB") && *here == format!("{:.0}", report.fee_sat_per_order) && there == "2550"
    }));
}

#[test]
fn a_swap_on_layer_1_has_the_size_that_its_parts_have() {
    let swap = rival::swap_on_layer_1();
    // Overhead of 10.5, inputs of 57.5 and outputs of 43 virtual bytes.
    assert_eq!(swap.weight(), Weight::from_wu(42 + 2 * 230 + 3 * 172));
}

fn liquidity_gains_what_the_state_says(session: &Session, report: &DefiReport) {
    let [of_founder, joined] = report.liquidity.as_slice() else { panic!("two have liquidity") };
    let Cell::Account(provider) = session.after.tree().get(session.market.provider.cell) else { panic!("an account") };
    let Cell::Account(left) = session.end.tree().get(session.market.provider.cell) else { panic!("an account") };
    let got = [left.balance + 25 - provider.balance, left.second.balance - provider.second.balance];
    assert_eq!(got, joined.after, "what it was worth is what it got");
    assert_eq!(joined.before, session.market.joining());
    for figures in [of_founder, joined] {
        let value = |[x, y]: [u64; 2]| x as f64 / 1e8 * report.price + y as f64 / 1e6;
        assert!((figures.gain_dollars - value(figures.after) + value(figures.before)).abs() < 1e-6);
        assert!(figures.gain_basis_points > 0.0, "with w = 2 liquidity does not lose: {figures:?}");
    }
    let [pool_before, pool_after] = report.price_of_pool;
    // The session's price is between the pool's before and after it, or that of the pool after it but for its fee.
    assert!((report.price / pool_after - 1.0).abs() < 0.004, "{report:?}");
    let between = |price: f64| price >= pool_before.min(pool_after) - 1.0 && price <= pool_before.max(pool_after) + 1.0;
    assert!(report.price_average.into_iter().all(between), "{report:?}");
}

/// The elements of a text in XML, opening and closing; fails where they do not nest.
fn elements(text: &str) -> Vec<&str> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for piece in text.split('<').skip(1) {
        let (tag, rest) = piece.split_once('>').expect("a tag ends");
        assert!(!rest.contains('>'), "what ends no tag is written out: {rest}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_matches('/').split_whitespace().next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            found.push(name);
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    found
}

fn the_picture_is_well_formed_and_tells_the_price(report: &DefiReport) {
    let svg = report.to_svg();
    let found = elements(&svg);
    assert_eq!((found[0], found[1], found[2]), ("svg", "title", "desc"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let price = format!("{:.2}", report.price);
    // In the title, in the description, and in the picture.
    assert_eq!(svg.matches(&price).count(), 3, "{svg}");
    // A step for each order that is drawn.
    let drawn = |buys: bool| {
        let is_drawn = |order: &&OrderFigures| order.got.is_some() || order.is_beyond_limit;
        report.orders.iter().filter(is_drawn).filter(|order| order.buys_bitcoin == buys).count()
    };
    for (class, buys) in [("demand", true), ("supply", false)] {
        let path = svg.split(&format!("<path class=\"{class}\" d=\"")).nth(1).expect("a curve");
        let path = path.split('"').next().expect("it ends");
        assert_eq!(path.matches('V').count(), drawn(buys), "{class}");
    }
    // Demand meets supply and pool at the price, as the amounts of the description say.
    let html = report.to_html();
    assert!(html.contains(&svg) && html.contains(&price));
    for (order, reason) in report.left_out() {
        let written = reason.replace('\'', "&#39;");
        assert!(html.contains(&written) && html.contains(&order.holder), "{reason}");
    }
    assert!(html.starts_with("<!doctype html>") && !html.contains("<script"));
}
