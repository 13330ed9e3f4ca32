//! Files that transactions are added to.

use crate::cli::{
    Global,
    console::counted,
    data_dir::DataDir,
    failure::{Exit, Failure, Result},
    input::read_transactions,
    output::{Output, Replaces, open_output},
    path_text,
};
use std::path::{Path, PathBuf};
use taproof_base::{
    output_file::{Access, OutputFile},
    shown::shown,
};
use taproof_circuits::transaction::Transaction;
use taproof_rollup::{
    told::Told,
    transaction_file::{self, TransactionFile},
};
use taproof_verifier::record::DepositRecord;

/// A file that transactions are added to, made if it does not exist.
pub(in crate::cli) struct Addition {
    path: PathBuf,
    output: OutputFile,
    deposits: Vec<DepositRecord>,
    transactions: Vec<Transaction>,
}

impl Addition {
    pub(in crate::cli) fn read(path: &Path, dir: &DataDir) -> Result<Self> {
        let (format, replaces) = ("transactions", Replaces::WhatWasRead);
        let output = open_output(dir, Output { path, access: Access::Public, format, replaces }, &[])?;
        let TransactionFile { deposits, transactions, malformed } =
            if path.exists() { read_transactions(path)? } else { TransactionFile::default() };
        // A malformed entry would be lost by writing the file again.
        if let Some(entry) = malformed.first().first() {
            return Err(Failure::new(Exit::Input, format!("{}: {entry}", path.display())));
        }
        Ok(Self { path: path.to_owned(), output, deposits, transactions })
    }

    /// What the file holds.
    pub(in crate::cli) fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// Adds transactions, and says how many there are now, and what was added.
    pub(in crate::cli) fn add(mut self, new: Vec<Transaction>, told: &[Told], global: &Global) -> Result {
        self.transactions.extend(new);
        let console = global.console().beside([&self.output])?;
        transaction_file::write_to(self.output, &self.deposits, &self.transactions)?;
        let (file, transactions) = (path_text::text(&self.path), self.transactions.len());
        let report = serde_json::json!({ "file": file, "transactions": transactions, "added": told });
        let count = counted(self.transactions.len(), "transaction");
        console.report(&report, |_| format!("{}: {count}", shown(self.path.display())))
    }
}
