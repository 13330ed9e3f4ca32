//! An overview on a screen of 80 columns.

use crate::cli::console::counted;
use crate::overview::{AnchorRow, ClaimRow, ExitRow, Overview, UpgradesRow};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use std::fmt;
use taproof_base::{network_name::network_name, shown};

/// The most anchors that are listed.
const ANCHORS_LISTED_MAX: usize = 12;
/// The most requests of a kind that are listed.
const REQUESTS_LISTED_MAX: usize = 8;
/// The columns of the screen.
const WIDTH: usize = 80;
/// The columns of a line's label. A hash takes the rest but one.
const LABEL_WIDTH: usize = 15;
/// The digits of a transaction's id in the table; all of them are in the report and in JSON.
const TXID_DIGITS: usize = 8;

/// An overview as `taproof status` prints it.
pub(crate) struct Screen<'a>(pub(crate) &'a Overview);

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(overview) = self;
        f.write_str(&self.entries().join("\n"))?;
        let hidden = overview.anchors.len().saturating_sub(ANCHORS_LISTED_MAX);
        let listed = &overview.anchors[hidden..];
        if listed.is_empty() {
            return write!(f, "\n{}", entry("anchors", "none yet"));
        }
        if hidden > 0 {
            let count = overview.anchors.len();
            write!(f, "\n{}", entry("anchors", &format!("the last {ANCHORS_LISTED_MAX} of {count}")))?;
        }
        write!(f, "\n{}", anchor_table(listed))?;
        for row in listed {
            if let Some(note) = &row.note {
                write!(f, "\n{}", entry("note", &format!("batch {} waits: {note}", row.batch)))?;
            }
        }
        Ok(())
    }
}

impl Screen<'_> {
    /// The lines before the table.
    fn entries(&self) -> Vec<String> {
        let Self(overview) = self;
        let mut entries = vec![
            entry("rollup", &format!("{} on {}", overview.chain_id, network_name(overview.network))),
            entry("height", &overview.height.to_string()),
            entry("block", &overview.block.to_string()),
            entry("root verified", &overview.root_verified),
            entry("batches", &self.batches()),
        ];
        entries.extend(upgrade_entries(&overview.upgrades, overview.height));
        entries.push(entry("deposits", &overview.deposits.to_string()));
        entries.extend(request_entries(&overview.exits, &overview.claims));
        let (due, due_sat) = (overview.payouts_due, overview.payouts_due_sat);
        let (waiting, waiting_sat) = (overview.payouts_waiting, overview.payouts_waiting_sat);
        let payouts = format!("{due} due so far, {due_sat} sat; {waiting} not final, {waiting_sat} sat");
        entries.push(entry("payouts", &payouts));
        if overview.batches_unseen > 0 {
            let unseen = counted(overview.batches_unseen, "batch");
            entries.push(entry("not seen", &format!("{unseen} before the checkpoint, and what fell due by them")));
        }
        if let Some(bridge) = &overview.bridge {
            let (settled, unpaid_sat, held_sat) = (bridge.payouts_settled, bridge.unpaid_sat, bridge.held_sat);
            let settled = counted(settled, "payout");
            let bridged = format!("{settled} settled, {unpaid_sat} sat unpaid; {held_sat} sat held");
            entries.push(entry("bridge", &bridged));
            entries.extend(bridge.faults.iter().map(|fault| entry("fault", fault)));
        }
        if let Some(refused) = overview.refused.last() {
            let (count, height) = (overview.refused_count, refused.height);
            let last = format!("{}, the last at height {height}: {}", counted(count, "anchor"), refused.reason);
            entries.push(entry("refused", &last));
        }
        entries
    }

    fn batches(&self) -> String {
        let Self(overview) = self;
        let mut text = format!("{} anchored", overview.batches);
        for (state, count) in [("proven", overview.batches_proven()), ("made", overview.batches_made())] {
            if count > 0 {
                text += &format!(", {count} {state} and not anchored");
            }
        }
        text + &format!("; {} in the tree", counted(overview.tree_levels, "level"))
    }
}

/// What is in force and announced, where the founding parameters alone do not say it.
pub(crate) fn upgrade_entries(upgrades: &UpgradesRow, height: u32) -> Vec<String> {
    let mut entries = Vec::new();
    if upgrades.can_change || upgrades.is_renounced {
        entries.push(entry("program", &upgrades.program_id));
    }
    if !upgrades.sequencers.is_empty() {
        entries.push(entry("sequencers", &counted(upgrades.sequencers.len(), "key")));
        entries.push(entry("posting", &upgrades.posting_words(height)));
    }
    entries.extend(upgrades.announced.iter().map(|announced| entry("announced", &announced.to_string())));
    if upgrades.is_renounced {
        entries.push(entry("upgrade keys", upgrades.keys_words()));
    }
    entries
}

/// Exit and claim requests that wait, an entry each.
pub(crate) fn request_entries(exits: &[ExitRow], claims: &[ClaimRow]) -> Vec<String> {
    [listed("exit request", exits), listed("claim request", claims)].concat()
}

/// The first of some requests, an entry each, and how many more there are.
fn listed(label: &str, rows: &[impl fmt::Display]) -> Vec<String> {
    let listed = rows.iter().take(REQUESTS_LISTED_MAX).map(|row| entry(label, &row.to_string()));
    let more = rows.len().saturating_sub(REQUESTS_LISTED_MAX);
    let more = (more > 0).then(|| entry(&format!("{label}s"), &format!("{more} more wait")));
    listed.chain(more).collect()
}

/// A labelled line, broken between words where the screen ends. A word that is longer than a line stays whole.
pub(crate) fn entry(label: &str, text: &str) -> String {
    let text = shown::one_line(text);
    let mut lines = format!("{label:LABEL_WIDTH$}");
    let mut column = LABEL_WIDTH;
    for (position, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if position > 0 && column + 1 + length > WIDTH {
            lines += &format!("\n{:LABEL_WIDTH$}", "");
            column = LABEL_WIDTH;
        } else if position > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += length;
    }
    lines
}

fn anchor_table(rows: &[AnchorRow]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["batch", "state", "height", "depth", "bytes", "fee sat", "sat/vB", "txid"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        table.add_row([
            row.batch.to_string(),
            row.state.clone(),
            or_dash(row.height.map(|height| height.to_string())),
            or_dash(row.depth_blocks.map(|depth| depth.to_string())),
            or_dash(row.reveal_bytes.map(|bytes| bytes.to_string())),
            or_dash(row.fee_sat.map(|fee| fee.to_string())),
            or_dash(row.sat_per_vb().map(|rate| format!("{rate:.2}"))),
            or_dash(row.txid.map(|txid| format!("{}…", &txid.to_string()[..TXID_DIGITS]))),
        ]);
    }
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if ![1, 7].contains(&position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::{AnnouncedRow, BridgeRow, DepositCounts, RefusedRow};
    use bitcoin::{BlockHash, Network, Txid, hashes::Hash};
    use taproof_bitcoin::testing::toy_rollup::ToyRollup;
    use taproof_verifier::{cell::CellIndex, evidence::ClaimRequest, exit::ScannedRequest};

    /// Claim requests that wait, as many as these.
    fn claims(count: u64) -> Vec<ClaimRow> {
        let cell = CellIndex::new((1 << 30) - 1).expect("the last cell");
        let claim = |index| {
            let request = ClaimRequest { cell, secret: [7; 32], height_blocks: 1_234_567 };
            let (height, txid) = (1_234_567, Txid::from_byte_array([0xab; 32]));
            ScannedRequest { index, height, txid, vout: 0, request: request.into() }
        };
        let requests: Vec<ScannedRequest> = (0..count).map(claim).collect();
        let mut rows = ClaimRow::waiting(requests.iter(), &ToyRollup::new().params);
        rows[0].is_servable = Some(false);
        rows
    }

    /// An overview with as much in each place as a rollup of many years has.
    fn full() -> Overview {
        let row = |batch, state: &str, note: Option<&str>| AnchorRow {
            batch,
            state: state.to_owned(),
            height: Some(1_234_567),
            depth_blocks: Some(100_000),
            txid: Some(Txid::from_byte_array([0xab; 32])),
            reveal_bytes: Some(399_999),
            vsize_vb: Some(100_000),
            fee_sat: Some(100_000_000),
            note: note.map(str::to_owned),
            ..AnchorRow::default()
        };
        Overview {
            network: Network::Testnet4,
            chain_id: taproof_verifier::cell::ChainId::from_byte_array([0xff; 15]),
            is_complete: true,
            height: 1_234_567,
            block: BlockHash::from_byte_array([0xcd; 32]),
            final_depth_blocks: 6,
            batches: 1_234_567,
            batches_unseen: 1_234_567,
            root_verified: "ef".repeat(32),
            tree_levels: 10,
            upgrades: UpgradesRow {
                program_id: "ab".repeat(32),
                program_from_height: 1_234_567,
                sequencers: vec!["cd".repeat(32); 20],
                former_sequencers: Vec::new(),
                open_height: Some(1_234_567),
                can_change: true,
                is_renounced: true,
                next_number: u32::MAX,
                announced: vec![AnnouncedRow {
                    number: u32::MAX,
                    height: 1_234_567,
                    program_id: Some("ef".repeat(32)),
                    is_known: false,
                    ends_batches: None,
                    sequencers: None,
                }],
            },
            deposits: DepositCounts {
                credited: 1 << 30,
                waiting: 1 << 20,
                waiting_sat: 2_100_000_000_000_000,
                void: 1 << 10,
            },
            exits: Vec::new(),
            claims: claims(9),
            payouts_due: 1 << 30,
            payouts_due_sat: 2_100_000_000_000_000,
            payouts_waiting: 1 << 20,
            payouts_waiting_sat: 2_100_000_000_000_000,
            bridge: Some(BridgeRow {
                payouts_settled: 1 << 30,
                unpaid_sat: 2_100_000_000_000_000,
                held_sat: 2_100_000_000_000_000,
                faults: vec!["the signers have paid what was not due, and this is told in as many words".to_owned()],
            }),
            anchors: vec![
                row(1_234_564, "final", None),
                row(
                    1_234_565,
                    "commit sent",
                    Some("the fee that the node's estimate asks for is above the cap of 50 sat/vB"),
                ),
                AnchorRow { batch: 1_234_567, state: "proven".to_owned(), ..AnchorRow::default() },
                AnchorRow { batch: 1_234_568, state: "made".to_owned(), ..AnchorRow::default() },
            ],
            refused: vec![RefusedRow {
                height: 1_234_567,
                txid: Txid::from_byte_array([0xab; 32]),
                reason: "the batch does not follow on the one before, or not as the rules want it".to_owned(),
            }],
            refused_count: 1 << 40,
        }
    }

    #[test]
    fn nothing_is_wider_than_80_columns() {
        let screen = Screen(&full()).to_string();
        for line in screen.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words.matches("claim request on the lock in cell 1073741823, asked at height 1234567").count(), 8);
        assert!(
            words.contains("claim requests 1 more wait") && words.contains("the next batch refutes it"),
            "{screen}"
        );
        for shown in ["1 proven and not anchored", "1 made and not anchored", "abababab…", "2100000000000000 sat held"]
        {
            assert!(words.contains(shown), "{shown}:\n{screen}");
        }
        for whole in ["cd".repeat(32), "ef".repeat(32)] {
            assert!(screen.contains(&whole), "hashes can be copied:\n{screen}");
        }
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(entry("note", "short"), "note           short");
        let text = ["word"; 20].join(" ");
        let lines: Vec<_> = entry("note", &text).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("               word") && lines.iter().all(|line| line.len() <= WIDTH));
    }
}
