//! The overview as a page.

use super::{AnchorRow, Overview, UpgradesRow};
use std::fmt::{self, Display, Write};
use taproof_base::{network_name::network_name, shown};

/// The style of all pages.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--paper:#fff;--line:#d8dce0;--soft:#5c666f;
--mark:#c8640a;--good:#16794a;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--paper:#15181b;--line:#363c42;--soft:#9aa4ad;
--mark:#f0943a;--good:#4cc38a;--bad:#f2867e}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:2rem 1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.25rem 0;color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:1px;background:var(--line);
border:1px solid var(--line);margin:1.5rem 0}
dl>div{background:var(--paper);padding:.75rem 1rem}
dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
dd small{display:block;font-size:.8rem;color:var(--soft)}
code{font:.85em ui-monospace,monospace}
code.hash{display:inline-flex;max-width:100%;white-space:nowrap;vertical-align:bottom}
code.hash>span:first-child{overflow:hidden;text-overflow:ellipsis}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:500}
td.text,th.text{text-align:left}td.note{white-space:normal;max-width:18rem;text-align:left;overflow-wrap:anywhere}
#schedule td.note{max-width:none}
.final,.safe{color:var(--good)}.stale,.abandoned{color:var(--bad)}
svg{width:100%;height:10rem;display:block;border-bottom:1px solid var(--line)}
rect.bar{fill:var(--mark)}rect.bar.open{fill-opacity:.45}
.axis{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;font-size:.8rem}
@media(max-width:56rem){
tr:has(th){display:none}
tr{display:grid;grid-template-columns:repeat(auto-fit,minmax(6.5rem,1fr));padding:.6rem 0;
border-bottom:1px solid var(--line)}
td,td.text{display:block;padding:.15rem .6rem .15rem 0;border:0;text-align:left;white-space:normal}
td::before{content:attr(data-name);display:block;color:var(--soft);font-size:.75rem}
td.note{grid-column:1/-1;max-width:100%;min-width:0}
}";

/// The most bars of the chart: the last batches.
const BARS_MAX: usize = 120;
const CHART_WIDTH: f64 = 960.0;
const CHART_HEIGHT: f64 = 160.0;
/// The digits of a hash that are shown however little room there is.
const HASH_TAIL: usize = 8;

/// A hash on one line: where there is no room for all of it, its middle is left out, and whoever copies it has it
/// whole.
pub(crate) struct Hash<T>(pub(crate) T);

impl<T: Display> Display for Hash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let (head, tail) = text.split_at(text.len().saturating_sub(HASH_TAIL));
        write!(f, "<code class=\"hash\" title=\"{text}\"><span>{head}</span><span>{tail}</span></code>")
    }
}

/// Text with what HTML would take for markup written out.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in shown::lines(&self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A number with spaces between thousands, or a dash.
pub(crate) struct Number<T>(pub(crate) Option<T>);

impl<T: Display> Display for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = &self.0 else { return f.write_str("–") };
        let digits = number.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                f.write_str("\u{202f}")?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A time in UTC, to the minute.
fn utc(seconds: u32) -> String {
    let time = jiff::Timestamp::from_second(seconds.into()).expect("32 bits of seconds end in the year 2106");
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// The whole page.
pub(super) fn page(overview: &Overview) -> String {
    let mut page = String::new();
    write_page(overview, &mut page).expect("a string takes any text");
    page
}

fn write_page(overview: &Overview, page: &mut String) -> fmt::Result {
    let Overview { chain_id, height, block, .. } = overview;
    let network = network_name(overview.network);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Rollup {chain_id} on {network}: {} batches</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n\
         <h1>Rollup {chain_id} on {network}</h1>\n<p>As of block {height}, {}</p>\n",
        overview.batches,
        Hash(block)
    )?;
    if !overview.is_complete {
        page.push_str(
            "<p>Seen through headers and excerpts: an anchor or a deposit that nobody showed is missing.</p>\n",
        );
    }
    if overview.batches_unseen > 0 {
        writeln!(
            page,
            "<p>Begun at a checkpoint: the first {} of the batches are not seen, nor what fell due by them.</p>",
            overview.batches_unseen
        )?;
    }
    write_tiles(overview, page)?;
    write_schedule(&overview.upgrades, overview.height, page)?;
    write_chart(&overview.anchors, page)?;
    write_anchors(&overview.anchors, page)?;
    if !overview.refused.is_empty() {
        page.push_str("<h2>Refused anchors</h2>\n");
        if overview.refused_count > overview.refused.len() as u64 {
            writeln!(page, "<p>The last of {}.</p>", Number(Some(overview.refused_count)))?;
        }
        page.push_str("<table id=\"refused\">\n<tr><th>height</th>");
        page.push_str("<th class=\"text\">transaction</th><th class=\"text\">reason</th></tr>\n");
        for refused in &overview.refused {
            let (height, txid, reason) = (refused.height, Hash(refused.txid), Text(&refused.reason));
            writeln!(
                page,
                "<tr><td data-name=\"height\">{height}</td><td class=\"note\" data-name=\"transaction\">{txid}</td>\
                 <td class=\"note\" data-name=\"reason\">{reason}</td></tr>"
            )?;
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body>\n</html>\n");
    Ok(())
}

fn write_tiles(overview: &Overview, page: &mut String) -> fmt::Result {
    let fees: u64 = overview.anchors.iter().filter(|row| row.height.is_some()).filter_map(|row| row.fee_sat).sum();
    let bytes: u64 = overview.anchors.iter().filter_map(|row| row.reveal_bytes).map(u64::from).sum();
    let tiles = [
        ("batches anchored", overview.batches, format!("{} levels in the tree", overview.tree_levels)),
        (
            "deposits credited",
            overview.deposits.credited,
            format!(
                "{} waiting, {} sat; {} void",
                Number(Some(overview.deposits.waiting)),
                Number(Some(overview.deposits.waiting_sat)),
                Number(Some(overview.deposits.void))
            ),
        ),
        (
            "exit requests waiting",
            overview.exits.len() as u64,
            first_due(overview.exits.iter().map(|exit| exit.due_height)),
        ),
        (
            "claim requests waiting",
            overview.claims.len() as u64,
            first_due(overview.claims.iter().map(|claim| claim.due_height)),
        ),
        (
            "payouts due so far",
            overview.payouts_due,
            format!(
                "{} sat; {} not final",
                Number(Some(overview.payouts_due_sat)),
                Number(Some(overview.payouts_waiting))
            ),
        ),
        ("bytes on Bitcoin", bytes, "reveals, witnesses included".to_owned()),
        ("fees known, sat", fees, "of anchors in the chain".to_owned()),
    ];
    page.push_str("<dl>\n");
    let bridge = overview.bridge.as_ref().map(|bridge| {
        let (unpaid, held) = (Number(Some(bridge.unpaid_sat)), Number(Some(bridge.held_sat)));
        let mut more = format!("{unpaid} sat unpaid; {held} sat held");
        if !bridge.faults.is_empty() {
            more += &format!("; {} faults", bridge.faults.len());
        }
        ("payouts settled", bridge.payouts_settled, more)
    });
    for (name, value, more) in tiles.into_iter().chain(bridge) {
        writeln!(page, "<div><dt>{name}</dt><dd>{}<small>{more}</small></dd></div>", Number(Some(value)))?;
    }
    writeln!(page, "</dl>\n<p id=\"root\">Verified root {}</p>", Hash(&overview.root_verified))
}

/// What is in force, what is announced, and who can change it.
fn write_schedule(upgrades: &UpgradesRow, height: u32, page: &mut String) -> fmt::Result {
    let mut rows =
        vec![("program", format!("{}, from height {} on", upgrades.program_id, upgrades.program_from_height))];
    rows.extend(upgrades.sequencers.iter().map(|key| ("sequencer", key.clone())));
    rows.push(("posting", upgrades.posting_words(height)));
    rows.extend(upgrades.announced.iter().map(|announced| ("announced", announced.to_string())));
    rows.push(("upgrade keys", upgrades.keys_words().to_owned()));
    page.push_str("<h2>Program and posters</h2>\n<table id=\"schedule\">\n");
    for (name, what) in rows {
        writeln!(
            page,
            "<tr><td class=\"text\">{name}</td><td class=\"note\" data-name=\"{name}\">{}</td></tr>",
            Text(what)
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// When the first of the requests that wait is due.
fn first_due(heights: impl Iterator<Item = u32>) -> String {
    let first = heights.min();
    first.map_or_else(|| "none is due".to_owned(), |height| format!("due from height {height} on"))
}

/// A bar a batch: the bytes of its reveal.
fn write_chart(anchors: &[AnchorRow], page: &mut String) -> fmt::Result {
    let bars: Vec<(&AnchorRow, u32)> =
        anchors.iter().filter_map(|row| Some((row, row.reveal_bytes?))).rev().take(BARS_MAX).collect();
    let Some(most) = bars.iter().map(|(_, bytes)| *bytes).max().filter(|most| *most > 0) else { return Ok(()) };
    let step = CHART_WIDTH / bars.len() as f64;
    page.push_str("<h2>Bytes of each batch</h2>\n");
    // Bars may be stretched, words may not: those stand below.
    writeln!(
        page,
        "<svg viewBox=\"0 0 {CHART_WIDTH} {CHART_HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"Bytes of each batch\">"
    )?;
    for (position, (row, bytes)) in bars.iter().rev().enumerate() {
        let height = (f64::from(*bytes) / f64::from(most) * CHART_HEIGHT).max(1.0);
        let (x, y, width) = (position as f64 * step, CHART_HEIGHT - height, (step * 0.8).min(48.0));
        let open = if row.state == "final" { "" } else { " open" };
        writeln!(
            page,
            "<rect class=\"bar{open}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\">\
             <title>batch {}: {} bytes</title></rect>",
            row.batch,
            Number(Some(bytes))
        )?;
    }
    let (first, last) = (bars.last().map_or(0, |(row, _)| row.batch), bars.first().map_or(0, |(row, _)| row.batch));
    writeln!(
        page,
        "</svg>\n<p class=\"axis\"><span>batch {first}</span><span>tallest {} bytes</span><span>batch \
         {last}</span></p>",
        Number(Some(most))
    )
}

fn write_anchors(anchors: &[AnchorRow], page: &mut String) -> fmt::Result {
    page.push_str("<h2>Anchors</h2>\n");
    if anchors.is_empty() {
        page.push_str("<p>There are none yet.</p>\n");
        return Ok(());
    }
    page.push_str("<table id=\"anchors\">\n<tr><th>batch</th><th class=\"text\">state</th><th>height</th>");
    page.push_str(
        "<th>depth</th><th class=\"text\">time, UTC</th><th>proofs</th><th>bytes</th><th>fee, sat</th><th>sat/vB</th>",
    );
    page.push_str("<th class=\"text\">transaction, root after</th></tr>\n");
    for row in anchors.iter().rev() {
        write_row(row, page)?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn write_row(row: &AnchorRow, page: &mut String) -> fmt::Result {
    let rate = row.sat_per_vb().map_or("–".to_owned(), |rate| format!("{rate:.2}"));
    let time = row.time_seconds.map_or("–".to_owned(), utc);
    let state = Text(&row.state);
    write!(
        page,
        "<tr><td data-name=\"batch\">{}</td><td class=\"text {}\" data-name=\"state\">{state}</td>\
         <td data-name=\"height\">{}</td><td data-name=\"depth\">{}</td>\
         <td class=\"text\" data-name=\"time, UTC\">{time}</td><td data-name=\"proofs\">{}</td>\
         <td data-name=\"bytes\">{}</td><td data-name=\"fee, sat\">{}</td><td data-name=\"sat/vB\">{rate}</td>\
         <td class=\"note\" data-name=\"transaction, root after\">",
        row.batch,
        row.state.replace(' ', "-"),
        Number(row.height),
        Number(row.depth_blocks),
        Number(row.chunks),
        Number(row.reveal_bytes),
        Number(row.fee_sat),
    )?;
    if let Some(txid) = row.txid {
        write!(page, "{}", Hash(txid))?;
    }
    if let Some(root) = &row.root {
        write!(page, "<br>{}", Hash(root))?;
    }
    if let Some(note) = &row.note {
        write!(page, "<br>{}", Text(note))?;
    }
    page.push_str("</td></tr>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_to_the_minute() {
        assert_eq!(utc(1_231_006_505), "2009-01-03 18:15");
        assert_eq!(utc(u32::MAX), "2106-02-07 06:28");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped = [0, 7, 999, 1_000, 12_345, 1_234_567].map(|number: u64| Number(Some(number)).to_string());
        let expected = ["0", "7", "999", "1\u{202f}000", "12\u{202f}345", "1\u{202f}234\u{202f}567"];
        assert_eq!(grouped, expected);
        assert_eq!(Number::<u64>(None).to_string(), "–");
    }

    #[test]
    fn markup_in_text_is_written_out() {
        let row = AnchorRow {
            note: Some("<script>alert('x')</script> & \"more\"\u{202e}\u{1b}[2J".to_owned()),
            state: "in block".to_owned(),
            ..AnchorRow::default()
        };
        let mut page = String::new();
        write_row(&row, &mut page).expect("a string takes any text");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;\\u{202e}\\u{1b}[2J")
        );
        assert!(!page.contains("<script"));
    }
}
