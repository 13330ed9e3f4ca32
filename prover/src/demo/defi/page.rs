//! The market as a page: the picture of the clearing, what an order takes, who was left out and why, all orders.

use super::report::{DefiReport, LiquidityFigures, OrderFigures, words};
use crate::overview::html::{Hash, Number, STYLE, Text};
use std::fmt::{self, Write};

/// What the picture adds to the style of pages.
const CHART_STYLE: &str = "\
svg.clearing{height:auto;border:0;margin:1rem 0}
svg.clearing path{fill:none;stroke-width:2}
svg.clearing path.grid{stroke:var(--line);stroke-width:1}
svg.clearing text{fill:var(--soft);font:14px system-ui,sans-serif}
svg.clearing path.demand{stroke:var(--mark)}svg.clearing text.demand{fill:var(--mark)}
svg.clearing path.supply{stroke:var(--good)}svg.clearing text.supply{fill:var(--good)}
svg.clearing path.pool{stroke:var(--good);stroke-dasharray:7 5}svg.clearing text.pool{fill:var(--good)}
svg.clearing path.price{stroke:var(--ink);stroke-dasharray:2 4}
svg.clearing circle.price{fill:var(--ink)}svg.clearing text.price{fill:var(--ink);font-weight:600}
td.wide{white-space:normal;text-align:left}";

/// The whole page.
pub(super) fn page(report: &DefiReport) -> String {
    let mut page = String::new();
    write_page(report, &mut page).expect("a string takes any text");
    page
}

fn write_page(report: &DefiReport, page: &mut String) -> fmt::Result {
    let DefiReport { price, orders_in, traders, .. } = report;
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>A market on Bitcoin: {orders_in} orders at one price</title>\n\
         <style>\n{STYLE}\n{CHART_STYLE}\n</style>\n</head>\n<body>\n\
         <h1>{orders_in} orders at one price: {price:.2} dollars a bitcoin</h1>\n\
         <p>{traders} traders, funded by {} payments of block {}. Proven, anchored on an embedded Bitcoin chain, and \
         rebuilt from it.</p>",
        report.payments,
        Hash(&report.run.block)
    )?;
    write_tiles(report, page)?;
    page.push_str("<h2>The clearing</h2>\n");
    page.push_str(&super::chart::svg(report));
    writeln!(
        page,
        "<p>Each step is an order, at the price that it bears at worst. The pool sells or buys the difference: where \
         demand meets supply and pool, all orders that are in trade, and nobody gains by being first. With w = {} that \
         is the pool's own price after the session, its fee of {} parts of 10,000 apart. Orders that were left out \
         because they would move the price too far are not drawn.</p>",
        report.pool_weight, report.pool_fee
    )?;
    write_figures(report, page)?;
    write_liquidity(&report.liquidity, page)?;
    write_orders("Left out", "left-out", report.orders.iter().filter(|order| order.got.is_none()), page)?;
    write_orders("In", "in", report.orders.iter().filter(|order| order.got.is_some()), page)?;
    page.push_str("</body>\n</html>\n");
    Ok(())
}

fn write_tiles(report: &DefiReport, page: &mut String) -> fmt::Result {
    let [pool_before, pool_after] = report.price_of_pool;
    let [average_before, average_after] = report.price_average;
    let [sat, dollars] = report.paid;
    let run = &report.run;
    let tiles = [
        ("orders in", report.orders_in.to_string(), format!("of {}", report.traders)),
        ("price", format!("{:.2}", report.price), "dollars a bitcoin, for all".to_owned()),
        ("price of the pool", format!("{pool_after:.2}"), format!("{pool_before:.2} before")),
        ("average price", format!("{average_after:.2}"), format!("{average_before:.2} before")),
        ("paid in", words(sat, false), words(dollars, true)),
        ("proofs", run.proofs.to_string(), format!("in {} batches; {} constraints", run.batches, run.constraints)),
        ("withdrawals", report.withdrawals.to_string(), "to Bitcoin".to_owned()),
    ];
    page.push_str("<dl>\n");
    for (name, value, more) in tiles {
        writeln!(page, "<div><dt>{name}</dt><dd>{}<small>{}</small></dd></div>", Text(value), Text(more))?;
    }
    writeln!(page, "</dl>\n<p id=\"root\">Verified root {}</p>", Hash(&run.root_verified))
}

fn write_figures(report: &DefiReport, page: &mut String) -> fmt::Result {
    page.push_str(
        "<h2>What an order takes</h2>\n<table id=\"figures\">\n<tr><th class=\"text\">an order that is in</th>",
    );
    page.push_str("<th>Taproof</th><th>layer 1</th></tr>\n");
    for [name, here, there] in report.rows() {
        writeln!(
            page,
            "<tr><td class=\"text wide\">{}</td><td data-name=\"Taproof\">{here}</td><td data-name=\"layer 1\">{}</td>\
             </tr>",
            Text(name),
            if there.is_empty() { "–".to_owned() } else { there }
        )?;
    }
    page.push_str(
        "</table>\n<p>On layer 1: one transaction of two inputs and three outputs, by which two who have \
        found each other swap a token for bitcoin.</p>\n",
    );
    Ok(())
}

fn write_liquidity(liquidity: &[LiquidityFigures], page: &mut String) -> fmt::Result {
    page.push_str("<h2>Liquidity</h2>\n<table id=\"liquidity\">\n<tr><th class=\"text\">whose</th><th>shares</th>");
    page.push_str("<th>before</th><th>after</th><th>gain, dollars</th><th>of 10,000</th></tr>\n");
    for figures in liquidity {
        let both = |[sat, dollars]: [u64; 2]| format!("{}, {}", words(sat, false), words(dollars, true));
        writeln!(
            page,
            "<tr><td class=\"text\" data-name=\"whose\">{}</td><td data-name=\"shares\">{}</td>\
             <td class=\"wide\" data-name=\"before\">{}</td><td class=\"wide\" data-name=\"after\">{}</td>\
             <td data-name=\"gain, dollars\">{:.2}</td><td data-name=\"of 10,000\">{:.2}</td></tr>",
            figures.who,
            Number(Some(figures.shares)),
            both(figures.before),
            both(figures.after),
            figures.gain_dollars,
            figures.gain_basis_points
        )?;
    }
    page.push_str(
        "</table>\n<p>At the session's price. With w = 2 the pool trades at the price that it ends at, so \
        what its liquidity gains is the fee, and it loses nothing to whoever trades first.</p>\n",
    );
    Ok(())
}

fn write_orders<'o>(
    title: &str,
    id: &str,
    orders: impl Iterator<Item = &'o OrderFigures>,
    page: &mut String,
) -> fmt::Result {
    let orders: Vec<_> = orders.collect();
    if orders.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>{title}: {} orders</h2>\n<table id=\"{id}\">", orders.len())?;
    page.push_str("<tr><th>account</th><th>pays</th><th>limit</th><th class=\"text\">gets</th></tr>\n");
    for order in orders {
        let outcome = order.got_words().or_else(|| order.left_out.clone()).unwrap_or_default();
        writeln!(
            page,
            "<tr><td data-name=\"account\" title=\"{}\">{}</td><td data-name=\"pays\">{}</td>\
             <td data-name=\"limit\">{:.2}</td><td class=\"note\" data-name=\"gets\">{}</td></tr>",
            Text(&order.holder),
            order.cell,
            Text(order.pays_words()),
            order.limit,
            Text(outcome)
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}
