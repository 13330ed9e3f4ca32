//! `taproof bridge status`.

use super::{Global, NodeOptions, Result, Session, look_on, total};
use crate::cli::console::counted;
use clap::Args;
use serde::Serialize;
use std::fmt;
use taproof_bitcoin::bridge::{
    scan::{BridgeCoin, BridgeScan},
    why::{Fate, fate_of},
};

/// Shows what the bridge holds and owes, and which deposits must be moved soon.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    node: NodeOptions,
    /// Deposits whose refund opens within so many blocks are told as urgent.
    #[arg(long, default_value_t = 288, value_name = "BLOCKS")]
    warn_within: u32,
}

#[derive(Serialize)]
struct Urgent {
    output: String,
    amount_sat: u64,
    refund_height: u32,
    /// Whether the depositor can take it back in the next block.
    is_open: bool,
}

#[derive(Serialize)]
struct Report {
    height: u32,
    held_sat: u64,
    coins: usize,
    immature_sat: u64,
    /// Deposits that the next batches credit.
    waiting: usize,
    waiting_sat: u64,
    /// Deposits that no batch came to in time: their depositors can take them back.
    void: usize,
    void_sat: u64,
    due: u64,
    unpaid: usize,
    unpaid_sat: u64,
    next_index: u64,
    /// What the next payout transaction goes on from; null where none can be built.
    head: Option<String>,
    /// Why none can be built.
    head_fault: Option<String>,
    urgent: Vec<Urgent>,
    faults: Vec<String>,
}

impl Report {
    fn new(scan: &BridgeScan, warn_within: u32) -> Self {
        let held: Vec<&BridgeCoin> = scan.coins().into_iter().filter(|coin| scan.is_held(coin)).collect();
        let height = scan.scanned().height;
        let immature = held.iter().filter(|coin| !scan.is_spendable(coin));
        let urgent = held.iter().filter_map(|coin| {
            let refund_height = scan.refund_height(coin)?;
            let urgent = refund_height <= height.saturating_add(warn_within);
            let (output, amount_sat) = (coin.outpoint.to_string(), coin.output.value.to_sat());
            urgent.then_some(Urgent { output, amount_sat, refund_height, is_open: scan.is_exposed(coin) })
        });
        let fated = |is_it: fn(&Fate) -> bool| {
            let coins = scan.coins().into_iter().filter(|coin| fate_of(scan, coin).is_some_and(|fate| is_it(&fate)));
            let values: Vec<u64> = coins.map(|coin| coin.output.value.to_sat()).collect();
            (values.len(), values.into_iter().fold(0, u64::saturating_add))
        };
        let (waiting, waiting_sat) = fated(|fate| matches!(fate, Fate::Waiting { .. }));
        let (void, void_sat) = fated(|fate| matches!(fate, Fate::Void { .. }));
        let head = scan.head();
        Self {
            urgent: urgent.collect(),
            waiting,
            waiting_sat,
            void,
            void_sat,
            height,
            held_sat: total(held.iter().map(|coin| coin.output.clone())).to_sat(),
            coins: held.len(),
            immature_sat: total(immature.map(|coin| coin.output.clone())).to_sat(),
            due: scan.due_count(),
            unpaid: scan.unpaid().len(),
            unpaid_sat: scan.unpaid().map(|payout| payout.amount_sat).fold(0, u64::saturating_add),
            next_index: scan.next_index(),
            head: head.as_ref().ok().map(|head| head.outpoint.to_string()),
            head_fault: head.err().map(|error| error.to_string()),
            faults: scan.faults().iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "height    {}", self.height)?;
        let coins = counted(self.coins, "coin");
        writeln!(f, "held      {} sat in {coins} for the signers to spend", self.held_sat)?;
        if self.immature_sat > 0 {
            writeln!(f, "immature  {} sat of it are rewards of miners, locked for 100 blocks", self.immature_sat)?;
        }
        writeln!(
            f,
            "deposits  {} waiting, {} sat; {} void, {} sat",
            self.waiting, self.waiting_sat, self.void, self.void_sat
        )?;
        writeln!(f, "payouts   {} due so far, {} unpaid, {} sat", self.due, self.unpaid, self.unpaid_sat)?;
        write!(f, "chain     next is payout {}", self.next_index)?;
        match (&self.head, &self.head_fault) {
            (Some(head), _) => write!(f, ", from {head}")?,
            (None, Some(fault)) => write!(f, ", and no transaction can pay it now: {fault}")?,
            (None, None) => {}
        }
        for Urgent { output, amount_sat, refund_height, is_open } in &self.urgent {
            let (when, advice) = match is_open {
                true => ("since", ": `taproof bridge payout --exposed` moves it, if the depositor is not faster"),
                false => ("from", " on"),
            };
            write!(
                f,
                "\nurgent    {output}: its depositor can take {amount_sat} sat back {when} height \
                 {refund_height}{advice}"
            )?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\nfault     {fault}"))
    }
}

impl Status {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let source = session.source(&self.node)?;
        let watch = look_on(&session, &source, global)?;
        global.console().report(&Report::new(watch.scan(), self.warn_within), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_that_is_open_is_told_as_open() {
        let urgent =
            |refund_height, is_open| Urgent { output: "ab:0".to_owned(), amount_sat: 25_000, refund_height, is_open };
        let report = Report {
            height: 276,
            held_sat: 50_000,
            coins: 2,
            immature_sat: 0,
            waiting: 0,
            waiting_sat: 0,
            void: 0,
            void_sat: 0,
            due: 0,
            unpaid: 0,
            unpaid_sat: 0,
            next_index: 0,
            head: None,
            head_fault: None,
            urgent: vec![urgent(271, true), urgent(290, false)],
            faults: Vec::new(),
        };
        let told = report.to_string();
        assert!(told.contains("can take 25000 sat back since height 271: `taproof bridge payout --exposed`"), "{told}");
        assert!(told.ends_with("can take 25000 sat back from height 290 on"), "{told}");
    }
}
