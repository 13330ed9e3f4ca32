//! The stores of a data directory: the ledger, a follower's, the anchoring service's, and that of coins.

use super::Finding;
use crate::cli::{
    anchor,
    coins::{coin_store_failure, report as reservation_report},
    console::counted,
    element_text,
    failure::{Exit, Failure, Result},
    session::{ledger_failure, store_failure},
};
use serde_json::json;
use std::path::Path;
use taproof_base::{network_name::network_name, store_error::StoreError};
use taproof_bitcoin::{
    anchoring::{AnchorStoreError, Store},
    chain_store::{ChainStore, ChainStoreError, View},
    coins::{Busy, CoinStore, CoinStoreError, Reservation},
};
use taproof_rollup::ledger::{Ledger, LedgerError};
use taproof_verifier::cell::Cell;

/// A store, told from the others by its tables.
pub(super) fn store(path: &Path) -> Result<Finding> {
    match Ledger::find(path) {
        Err(LedgerError::Store(StoreError::NotAStore(_))) => {}
        found => return ledger(&found.map_err(ledger_failure)?),
    }
    match ChainStore::find(path) {
        Err(ChainStoreError::Store(StoreError::NotAStore(_))) => {}
        found => return chain_store(&found.map_err(store_failure)?.ok_or_else(|| gone(path))?),
    }
    match Store::find(path) {
        Err(AnchorStoreError::Store(StoreError::NotAStore(_))) => {}
        found => return anchoring(&found.map_err(anchor::store_failure)?.ok_or_else(|| gone(path))?),
    }
    match CoinStore::new(path.to_owned()).reservations() {
        Err(CoinStoreError::Store(StoreError::NotAStore(_))) => {}
        found => return coins(&found.map_err(coin_store_failure)?),
    }
    Err(Failure::new(Exit::Input, format!("{} is a redb file that taproof did not write", path.display())))
}

fn gone(path: &Path) -> Failure {
    Failure::new(Exit::Input, format!("{} has just been moved away", path.display()))
}

fn ledger(ledger: &Ledger) -> Result<Finding> {
    let state = ledger.state();
    let accounts = state.tree().cells().filter(|(_, cell)| matches!(cell, Cell::Account(_))).count();
    let transactions = ledger.transactions().map_err(ledger_failure)?.len();
    let deposits = ledger.deposits().map_err(ledger_failure)?.len();
    let report = json!({
        "chain_id": state.chain_id(),
        "depth": state.depth().levels(),
        "root": element_text(&state.root()),
        "batches": ledger.next_batch(),
        "accounts": accounts,
        "transactions_waiting": transactions,
        "deposits_consumed": ledger.deposits_consumed(),
        "deposits_waiting": deposits,
    });
    let lines = vec![
        ("chain id", state.chain_id().to_string()),
        ("root", format!("{} in a tree of {}", element_text(&state.root()), counted(state.depth().levels(), "level"))),
        ("batches", ledger.next_batch().to_string()),
        ("accounts", accounts.to_string()),
        ("transactions", format!("{transactions} waiting")),
        ("deposits", format!("{} consumed, {deposits} waiting", ledger.deposits_consumed())),
    ];
    Finding::new("ledger", &report, lines)
}

fn coins(kept: &[Reservation]) -> Result<Finding> {
    let report: Vec<_> = kept.iter().map(reservation_report).collect();
    let lines = kept.iter().map(|kept| ("coin", Busy::Kept(*kept).to_string())).collect();
    Finding::new("store of coins that wait", &json!({ "kept": report }), lines)
}

fn chain_store(store: &ChainStore) -> Result<Finding> {
    let summary = store.summary().map_err(store_failure)?.ok_or_else(|| gone(store.path()))?;
    let report = json!({
        "rollup": hex::encode(store.rollup()),
        "block": summary.block,
        "batches": summary.tip.map(|tip| tip.batches),
        "root": summary.tip.map(|tip| element_text(&tip.root)),
        "anchors": summary.anchors,
        "refused": summary.refused,
        "payouts": summary.payouts,
        "headers": summary.headers,
    });
    let block = summary.block.map_or_else(|| "none: the chain is scanned again".to_owned(), |block| block.to_string());
    let mut lines = vec![("rollup", format!("{}, the hash of its parameters", hex::encode(store.rollup())))];
    lines.push(("final block", block));
    lines.extend(summary.tip.map(|tip| ("root", element_text(&tip.root))));
    lines.extend([
        ("anchors", format!("{} final, {} refused", summary.anchors, summary.refused)),
        ("payouts", format!("{} due so far, {} sat", summary.payouts, summary.payouts_sat)),
        ("headers", summary.headers.to_string()),
    ]);
    let format = match summary.view {
        View::Full => "chain store",
        View::Light => "chain store of a light follower",
    };
    Finding::new(format, &report, lines)
}

fn anchoring(store: &Store) -> Result<Finding> {
    let identity = store.identity();
    let jobs = store.jobs().map_err(anchor::store_failure)?;
    let open = jobs.iter().filter(|job| !job.is_closed()).count();
    let poster = identity.poster();
    let jobs_report: Vec<_> =
        jobs.iter().map(|job| json!({ "batch": job.batch(), "state": job.state().name() })).collect();
    let report = json!({
        "chain_id": identity.chain_id(),
        "network": poster.network().to_string(),
        "poster": poster.public().to_string(),
        "open": open,
        "jobs": jobs_report,
    });
    let mut lines = vec![
        ("chain id", identity.chain_id().to_string()),
        ("network", network_name(poster.network()).to_owned()),
        ("poster", poster.public().to_string()),
        ("batches", format!("{} with {open} that are not final yet", jobs.len())),
    ];
    lines.extend(jobs.last().map(|job| ("last batch", format!("{}, {}", job.batch(), job.state().name()))));
    Finding::new("anchoring store", &report, lines)
}
