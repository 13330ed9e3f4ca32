//! Making a ledger of what the chain has, and saving what a damaged one still tells.

use super::{
    Ledger, LedgerError,
    tables::{Head, TRANSACTIONS, UNDO},
    undo::Undo,
};
use crate::rebuild::Restoration;
use redb::{Database, ReadTransaction, ReadableDatabase};
use std::{collections::BTreeMap, path::Path};
use taproof_base::store_file;
use taproof_circuits::{state::State, transaction::Transaction};
use taproof_verifier::cell::Cell;

impl Ledger {
    /// Makes a new ledger that stands where the chain does: the state, what undoes the batches that are not final,
    /// and transactions to wait for the next batch. Deposits and exit requests come from a scan, as ever.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyExists`], [`LedgerError::Replay`], [`LedgerError::TooMany`] and those of the disk; then
    /// there is no file.
    pub fn restore(path: &Path, restoration: Restoration, waiting: &[Transaction]) -> Result<Self, LedgerError> {
        let (state, tip, unsettled) = restoration.into_parts();
        let head = Head::at(&state, &tip);
        let (mut ledger, unnamed) = Self::begin(path, state, head)?;
        for batch in &unsettled {
            ledger.take_over(batch)?;
        }
        ledger.add_transactions(waiting)?;
        ledger.name(unnamed)
    }

    /// What a ledger's file still tells of transactions, in the order they came: those that wait, and those of its
    /// batches that may be taken back, whether the chain has another batch of the number or none. Those of the
    /// batches whose nonce is used up in the chain's state are done with. `None` if the file is too damaged to be
    /// read, or is no ledger.
    pub fn salvage(path: &Path, chain: &State) -> Option<Vec<Transaction>> {
        if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            return None;
        }
        salvage_from(&store_file::checked().open(path).ok()?, chain)
    }

    /// The same of a ledger that is open, and so nobody else's meanwhile.
    pub fn salvaged(&self, chain: &State) -> Option<Vec<Transaction>> {
        salvage_from(&self.database, chain)
    }
}

fn salvage_from(database: &Database, chain: &State) -> Option<Vec<Transaction>> {
    let transaction = database.begin_read().ok()?;
    let mut found = waiting(&transaction)?;
    // What cannot be read of the batches is lost alone.
    let applied = applied(&transaction).unwrap_or_default();
    found.extend(applied.into_iter().filter(|(_, transaction)| !is_used_up(transaction, chain)));
    Some(found.into_values().collect())
}

/// Whether an account that pays has come past the transaction's nonce.
fn is_used_up(transaction: &Transaction, chain: &State) -> bool {
    let is_past = |from, nonce| matches!(chain.tree().get(from), Cell::Account(account) if account.nonce > nonce);
    transaction.nonces().into_iter().any(|(from, nonce)| is_past(from, nonce))
}

fn waiting(transaction: &ReadTransaction) -> Option<BTreeMap<u64, Transaction>> {
    let table = transaction.open_table(TRANSACTIONS).ok()?;
    let entries = table.range(0..).ok()?.flatten();
    Some(entries.filter_map(|(number, bytes)| Some((number.value(), decode(bytes.value())?))).collect())
}

fn applied(transaction: &ReadTransaction) -> Option<BTreeMap<u64, Transaction>> {
    let table = transaction.open_table(UNDO).ok()?;
    let undos = table.range(0..).ok()?.flatten();
    let undos = undos.filter_map(|(_, undo)| store_file::decode::<Undo>(undo.value()).ok());
    let transactions = undos.flat_map(|undo| undo.transactions);
    Some(transactions.filter_map(|(number, bytes)| Some((number, decode(&bytes)?))).collect())
}

fn decode(bytes: &[u8]) -> Option<Transaction> {
    Transaction::from_bytes(bytes).ok()
}
