//! `taproof demo defi`.

use super::{Home, Options, align_right, explain, kinds, roots, totals};
use crate::{
    cli::{
        Global,
        console::Stages,
        failure::{Exit, Fallible, Result},
        overview::{Screen, entry},
    },
    demo::{
        RunFigures,
        defi::{self, DefiReport},
    },
    overview::Overview,
};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use std::num::NonZeroU16;
use taproof_base::output_file::{Access, write_file};

/// How many orders that were left out are named.
const NAMED_MAX: usize = 3;

/// Lets those whom a block has paid trade: two tokens, a pool, a session in which all orders clear at one price.
#[derive(Debug, Args)]
#[command(after_help = "\
The traders are funded by as many payments of the block as that takes. Orders, shares and tokens are steps, in chunks \
of --step-slots: 12 have just below 2^17 rows in a tree of 7 levels. The page defi.html in the data directory shows \
the clearing; all else is as for `taproof demo`.

Examples:
  taproof demo defi
  taproof demo defi --traders 20 --json")]
pub(super) struct Defi {
    /// How many traders give an order each.
    #[arg(long, default_value_t = 100, value_name = "N")]
    traders: usize,
    /// The slots of chunks of steps.
    #[arg(long, default_value = "12", value_name = "N,...", value_delimiter = ',')]
    step_slots: Vec<NonZeroU16>,
    #[command(flatten)]
    options: Options,
}

impl Defi {
    pub(super) fn run(self, global: &Global) -> Result {
        let block = self.options.block()?;
        let home = Home::choose(global)?;
        // At least one: there is a default.
        let options = self.options.demo(global, self.step_slots.try_into().ok())?;
        let stages = Stages::new(global.console());
        let (report, rollup) = defi::run(&block, self.traders, &options, &stages).map_err(explain)?;
        let html = report.to_html();
        let kept = home.leave(report, &rollup, &options, stages)?;
        let page = home.dir.defi_page();
        write_file(&page, Access::Public, |file| file.write_all(html.as_bytes()))
            .or_exit_while(Exit::Failed, page.display().to_string())?;
        global.console().report(&kept, |kept| text(&kept.report, &kept.overview, &home))
    }
}

fn text(report: &DefiReport, overview: &Overview, home: &Home) -> String {
    let parts = [
        header(report),
        left_out(report),
        figures(report),
        kinds(&report.run),
        totals(&report.run),
        roots(&report.run),
        Screen(overview).to_string(),
        home.next_steps(),
        format!("The clearing is drawn in\n  {}", home.dir.defi_page().display()),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn header(report: &DefiReport) -> String {
    let DefiReport { payments, traders, orders_in, withdrawals, price, .. } = report;
    let RunFigures { block, deposits, batches, .. } = &report.run;
    let funded = format!("{payments}, from {deposits} deposits, fund {traders} traders");
    let [pool_before, pool_after] = report.price_of_pool;
    let [average_before, average_after] = report.price_average;
    let mut entries = vec![
        entry("block", block),
        entry("payments", &funded),
        entry("orders", &format!("{orders_in} of {traders} are in, all at one price")),
        entry("price", &format!("{price:.2} dollars a bitcoin")),
        entry("pool", &format!("{pool_before:.2} before, {pool_after:.2} after")),
        entry("average", &format!("{average_before:.2} before, {average_after:.2} after")),
    ];
    for liquidity in &report.liquidity {
        let gain = format!(
            "{}: {:+.2} dollars, {:.2} parts of 10,000",
            liquidity.who, liquidity.gain_dollars, liquidity.gain_basis_points
        );
        entries.push(entry("liquidity", &gain));
    }
    entries.push(entry("batches", &format!("{batches}, with {withdrawals} withdrawals to Bitcoin")));
    entries.join("\n")
}

/// Some of the orders that are left out, and why.
fn left_out(report: &DefiReport) -> String {
    let told = |(order, reason): (&defi::OrderFigures, &str)| {
        let (does, beyond) = if order.buys_bitcoin { ("buys for", "less") } else { ("sells", "more") };
        let (cell, pays, limit) = (order.cell, order.pays_words(), order.limit);
        format!("  account {cell} {does} {pays} at {limit:.2} or {beyond}:\n    {reason}")
    };
    // Those that would bear the price come first, as few know why they are out.
    let mut left_out: Vec<_> = report.left_out().collect();
    left_out.sort_by_key(|(order, _)| order.is_beyond_limit);
    if left_out.is_empty() {
        return String::new();
    }
    let more = left_out.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = left_out.into_iter().take(NAMED_MAX).map(told).collect();
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    format!("left out\n{}{more}", named.join("\n"))
}

fn figures(report: &DefiReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["an order that is in", "Taproof", "layer 1"]);
    for row in report.rows() {
        table.add_row(row);
    }
    (1..3).for_each(|column| align_right(&mut table, column));
    table.to_string()
}
