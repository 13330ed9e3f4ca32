//! Files of transactions: JSON, for people and other programs to read and write.
//!
//! `{"format": "taproof-transactions", "version": 1, "deposits": [...], "transactions": [...]}`. Deposits say which cell the
//! operator should credit when it meets a deposit on Bitcoin by that owner. What one transaction gets wrong is the
//! matter of that one: the rest of the file is still read.
//!
//! Transactions alone, one after the other as `taproof tx` prints them, are such a file, too.

use super::FileError;
use crate::output_file::OutputFile;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use taproof_circuits::transaction::Transaction;
use taproof_verifier::record::DepositRecord;

/// The name of the format.
const FORMAT: &str = "taproof-transactions";
/// The version of the format.
const VERSION: u32 = 1;
/// The longest text that is read, in bytes: half a million transactions.
pub const TEXT_LENGTH_MAX: u64 = 256 << 20;

/// Deposits that are expected, and transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFile {
    /// The cells that the operator should credit, in the order of the deposits on Bitcoin.
    pub deposits: Vec<DepositRecord>,
    /// The transactions, in order; an entry that is none keeps its place.
    pub transactions: Vec<Result<Transaction, MalformedTransaction>>,
}

/// An entry of a file of transactions that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {position} is no transaction: {reason}")]
pub struct MalformedTransaction {
    /// The entry's place, from 0.
    pub position: usize,
    /// What the decoder says.
    pub reason: String,
}

/// Why a text is no file of transactions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionFileError {
    /// The text is longer than is read.
    #[error("more than {TEXT_LENGTH_MAX} bytes of transactions")]
    Oversized,
    /// The text is not JSON of this form.
    #[error("not a file of transactions: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is of another format.
    #[error("format \"{0}\", where \"{FORMAT}\" is wanted")]
    Format(String),
    /// The text is of a version that is not known.
    #[error("version {0}, where version {VERSION} is known")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<T> {
    format: String,
    version: u32,
    #[serde(default)]
    deposits: Vec<DepositRecord>,
    transactions: Vec<T>,
}

impl TransactionFile {
    /// Reads a text.
    ///
    /// # Errors
    /// Each of [`TransactionFileError`].
    pub fn from_json(text: &str) -> Result<Self, TransactionFileError> {
        if text.len() as u64 > TEXT_LENGTH_MAX {
            return Err(TransactionFileError::Oversized);
        }
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>().peekable();
        if let Some(Ok(first)) = values.peek()
            && is_alone(first)
        {
            let transactions = values.collect::<Result<Vec<_>, _>>()?;
            return Ok(Self { deposits: Vec::new(), transactions: entries(transactions) });
        }
        let Text { format, version, deposits, transactions } = serde_json::from_str::<Text<Value>>(text)?;
        if format != FORMAT {
            return Err(TransactionFileError::Format(format));
        }
        if version != VERSION {
            return Err(TransactionFileError::Version(version));
        }
        Ok(Self { deposits, transactions: entries(transactions) })
    }

    /// The transactions that are well-formed.
    pub fn well_formed(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter().flatten()
    }
}

/// Whether a value stands for a transaction, rather than for a file of them: it names one kind and nothing else.
fn is_alone(value: &Value) -> bool {
    let Value::Object(fields) = value else { return false };
    fields.len() == 1 && ["transfer", "open", "withdraw"].iter().any(|kind| fields.contains_key(*kind))
}

fn entries(values: Vec<Value>) -> Vec<Result<Transaction, MalformedTransaction>> {
    let entry = |(position, value)| {
        serde_json::from_value(value).map_err(|error| MalformedTransaction { position, reason: error.to_string() })
    };
    values.into_iter().enumerate().map(entry).collect()
}

/// Writes deposits and transactions as a text that [`TransactionFile::from_json`] reads.
pub fn to_json(deposits: &[DepositRecord], transactions: &[Transaction]) -> String {
    let (format, version) = (FORMAT.to_owned(), VERSION);
    let text = Text { format, version, deposits: deposits.to_vec(), transactions: transactions.to_vec() };
    let mut json = serde_json::to_string_pretty(&text).expect("keys are strings and numbers are integers");
    json.push('\n');
    json
}

/// Writes a file of transactions that was opened beforehand, whole or not at all.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_to(output: OutputFile, deposits: &[DepositRecord], transactions: &[Transaction]) -> Result<(), FileError> {
    let (path, json) = (output.path().to_owned(), to_json(deposits, transactions));
    output.write(|file| file.write_all(json.as_bytes())).map_err(|source| FileError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output_file::Access;
    use taproof_circuits::{
        schnorr::SecretKey,
        transaction::{Transfer, UnsignedTransaction},
    };
    use taproof_verifier::cell::{CellIndex, ChainId, Token};

    fn transaction() -> Transaction {
        let (from, to) = (CellIndex::default(), CellIndex::new(9).unwrap());
        let body = Transfer { chain_id: ChainId(1), token: Token(0), from, nonce: 0, to, amount: 5, fee: 1 };
        UnsignedTransaction::Transfer(body).sign(&SecretKey::from_seed(&[1; 32]))
    }

    fn deposit() -> DepositRecord {
        DepositRecord { to: CellIndex::default(), amount_sat: 7, owner: *SecretKey::from_seed(&[1; 32]).public() }
    }

    #[test]
    fn files_round_trip() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("transactions.json");
        let output = OutputFile::open(&path, Access::Public).unwrap();
        write_to(output, &[deposit()], &[transaction(), transaction()]).unwrap();
        let file = TransactionFile::from_json(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(file.deposits, [deposit()]);
        assert_eq!(file.transactions, [Ok(transaction()), Ok(transaction())]);
    }

    #[test]
    fn a_malformed_entry_does_not_spoil_the_others() {
        let json = to_json(&[], &[transaction(), transaction(), transaction()]);
        let mut value: Value = serde_json::from_str(&json).unwrap();
        value["transactions"][1]["transfer"]["body"]["to"] = (1u64 << 30).into();
        let file = TransactionFile::from_json(&value.to_string()).unwrap();
        assert_eq!(file.well_formed().count(), 2);
        let Err(malformed) = &file.transactions[1] else { panic!("the index is out of range") };
        assert!(malformed.position == 1 && malformed.reason.contains("2^30"), "{malformed}");
    }

    #[test]
    fn transactions_alone_are_a_file() {
        let one = serde_json::to_string(&transaction()).unwrap();
        for text in [one.clone(), format!("{one}\n{one}\n")] {
            let file = TransactionFile::from_json(&text).unwrap();
            assert!(file.deposits.is_empty());
            assert_eq!(file.transactions, vec![Ok(transaction()); text.trim_end().lines().count()]);
        }
        let malformed = format!("{one}{}", one.replace("\"to\":9", "\"to\":1073741824"));
        let file = TransactionFile::from_json(&malformed).unwrap();
        assert!(matches!(&file.transactions[..], [Ok(_), Err(entry)] if entry.position == 1), "{file:?}");
        for length in 0..one.len() {
            assert!(TransactionFile::from_json(&one[..length]).is_err(), "{length} bytes");
        }
        assert!(TransactionFile::from_json(&format!("{one}{}", &one[..9])).is_err());
    }

    #[test]
    fn foreign_texts_are_named() {
        let json = to_json(&[], &[]);
        let other = |from: &str, to: &str| TransactionFile::from_json(&json.replace(from, to));
        assert!(matches!(other("taproof-t", "other-t"), Err(TransactionFileError::Format(_))));
        assert!(matches!(other("1", "2"), Err(TransactionFileError::Version(2))));
        assert!(matches!(other("deposits", "more"), Err(TransactionFileError::Json(_))));
        for length in 0..json.trim_end().len() {
            assert!(TransactionFile::from_json(&json[..length]).is_err(), "{length} bytes");
        }
    }
}
