//! `taproof inspect circuits`.

use crate::cli::{Global, failure::Result};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use taproof_circuits::chunk::{CircuitCount, counts};
use taproof_verifier::cell::Depth;

/// Counts the constraints of every circuit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof inspect circuits --depth 10 --json")]
pub(super) struct Circuits {
    /// The depth of the tree.
    #[arg(long, default_value_t = 10, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=10))]
    depth: u8,
    /// The slots of a chunk.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
}

impl Circuits {
    pub(super) fn run(self, global: &Global) -> Result {
        let depth = Depth::new(self.depth).expect("the parser allows 1 to 10");
        let spinner = global.console().spinner("synthesising circuits");
        let counts = counts(global.machines(), depth, self.slots)?;
        spinner.finish_and_clear();
        global.console().report(&counts, |counts| table(counts))
    }
}

fn table(counts: &[CircuitCount]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["kind", "depth", "slots", "constraints a slot", "constraints", "matrix hash"]);
    for count in counts {
        table.add_row([
            count.kind.name().to_owned(),
            count.depth.to_string(),
            count.slots.to_string(),
            count.constraints_per_slot.to_string(),
            count.constraints.to_string(),
            hex::encode(count.matrix_hash),
        ]);
    }
    for column in 1..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
