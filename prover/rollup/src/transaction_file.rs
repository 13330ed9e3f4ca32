//! Files of transactions: JSON, for people and other programs to read and write.
//!
//! `{"format": "taproof-transactions", "version": 1, "deposits": [...], "transactions": [...]}`. Deposits say which
//! cell the operator should credit when it meets a deposit on Bitcoin by that owner. What one transaction gets wrong
//! is the matter of that one: the rest of the file is still read.
//!
//! Transactions alone, one after the other as `taproof tx` prints them, are such a file, too.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};
use taproof_base::{artefact::FileError, output_file::OutputFile, shown::shown};
use taproof_circuits::transaction::Transaction;
use taproof_verifier::record::DepositRecord;

/// The name of the format.
const FORMAT: &str = "taproof-transactions";
/// The version of the format.
const VERSION: u32 = 1;
/// The longest text that is read, in bytes: half a million transactions.
pub const TEXT_LENGTH_MAX: u64 = 256 << 20;

/// The most entries that are none whose faults are kept.
pub const MALFORMED_KEPT_MAX: usize = 20;
/// The most characters of what is kept of a fault.
const REASON_CHARS_MAX: usize = 200;

/// Deposits that are expected, and transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFile {
    /// The cells that the operator should credit, in the order of the deposits on Bitcoin.
    pub deposits: Vec<DepositRecord>,
    /// The transactions that are well-formed, in order.
    pub transactions: Vec<Transaction>,
    /// The entries that are none.
    pub malformed: Malformed,
}

/// The entries of a file that are no transactions: how many, and what the first of them get wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Malformed {
    count: usize,
    first: Vec<MalformedTransaction>,
}

impl Malformed {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first of them, at most [`MALFORMED_KEPT_MAX`].
    pub fn first(&self) -> &[MalformedTransaction] {
        &self.first
    }
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
    #[error("not a file of transactions: {}", shown(.0))]
    Json(#[from] serde_json::Error),
    /// The text is of another format.
    #[error("format \"{}\", where \"{FORMAT}\" is wanted", shown(.0))]
    Format(String),
    /// The text is of a version that is not known.
    #[error("version {0}, where version {VERSION} is known")]
    Version(u32),
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    deposits: &'a [DepositRecord],
    transactions: &'a [Transaction],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    version: u32,
    #[serde(default)]
    deposits: Vec<DepositRecord>,
    transactions: Entries,
}

/// What the entries of a list turn out to be, one after the other: nothing else of them is kept.
#[derive(Default)]
struct Entries {
    transactions: Vec<Transaction>,
    malformed: Malformed,
}

impl Entries {
    fn add(&mut self, entry: &RawValue) {
        let position = self.transactions.len() + self.malformed.count;
        let error = match serde_json::from_str(entry.get()) {
            Ok(transaction) => return self.transactions.push(transaction),
            Err(error) => error,
        };
        self.malformed.count += 1;
        if self.malformed.first.len() < MALFORMED_KEPT_MAX {
            let reason = reason(&error).chars().take(REASON_CHARS_MAX).collect();
            self.malformed.first.push(MalformedTransaction { position, reason });
        }
    }

    fn into_file(self, deposits: Vec<DepositRecord>) -> TransactionFile {
        let Self { transactions, malformed } = self;
        TransactionFile { deposits, transactions, malformed }
    }
}

/// What the decoder says of an entry, without the place within the entry, which would look like one in the file.
fn reason(error: &serde_json::Error) -> String {
    let text = shown(error);
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or(text.clone(), str::to_owned)
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of transactions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(entry) = list.next_element::<&RawValue>()? {
                    entries.add(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// Whether a value stands for a transaction, rather than for a file of them: it names one kind and nothing else.
struct Alone(bool);

impl<'de> Deserialize<'de> for Alone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Alone;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a transaction")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Alone, A::Error> {
                let (mut count, mut is_kind) = (0, false);
                while let Some((name, IgnoredAny)) = fields.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                    count += 1;
                    is_kind = ["transfer", "open", "withdraw", "steps"].contains(&name.as_ref());
                }
                Ok(Alone(count == 1 && is_kind))
            }
        }

        deserializer.deserialize_map(Fields)
    }
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
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().peekable();
        if let Some(Ok(first)) = values.peek()
            && serde_json::from_str(first.get()).is_ok_and(|Alone(is_alone)| is_alone)
        {
            let mut entries = Entries::default();
            for value in values {
                entries.add(value?);
            }
            return Ok(entries.into_file(Vec::new()));
        }
        let Text { format, version, deposits, transactions } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(TransactionFileError::Format(format));
        }
        if version != VERSION {
            return Err(TransactionFileError::Version(version));
        }
        Ok(transactions.into_file(deposits))
    }
}

/// Writes deposits and transactions as a text that [`TransactionFile::from_json`] reads.
pub fn to_json(deposits: &[DepositRecord], transactions: &[Transaction]) -> String {
    let text = Written { format: FORMAT, version: VERSION, deposits, transactions };
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
    use serde_json::Value;
    use taproof_base::output_file::Access;
    use taproof_circuits::{
        schnorr::SecretKey,
        transaction::{Transfer, UnsignedTransaction},
    };
    use taproof_verifier::cell::{CellIndex, ChainId, Token};

    fn transaction() -> Transaction {
        let (from, to) = (CellIndex::default(), CellIndex::new(9).unwrap());
        let body = Transfer {
            chain_id: ChainId::from_byte_array([1; 15]),
            token: Token(0),
            from,
            nonce: 0,
            to,
            amount: 5,
            fee: 1,
        };
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
        assert_eq!((&file.transactions[..], file.malformed.count()), (&[transaction(), transaction()][..], 0));
    }

    #[test]
    fn a_malformed_entry_does_not_spoil_the_others() {
        let json = to_json(&[], &[transaction(), transaction(), transaction()]);
        let mut value: Value = serde_json::from_str(&json).unwrap();
        value["transactions"][1]["transfer"]["body"]["to"] = (1u64 << 30).into();
        let file = TransactionFile::from_json(&value.to_string()).unwrap();
        assert_eq!((file.transactions.len(), file.malformed.count()), (2, 1));
        let malformed = &file.malformed.first()[0];
        assert!(malformed.position == 1 && malformed.reason.contains("2^30"), "{malformed}");
        assert!(!malformed.reason.contains("column"), "{malformed}");
    }

    #[test]
    fn transactions_alone_are_a_file() {
        let one = serde_json::to_string(&transaction()).unwrap();
        for text in [one.clone(), format!("{one}\n{one}\n")] {
            let file = TransactionFile::from_json(&text).unwrap();
            assert!(file.deposits.is_empty());
            assert_eq!(file.transactions, vec![transaction(); text.trim_end().lines().count()]);
        }
        let malformed = format!("{one}{}", one.replace("\"to\":9", "\"to\":1073741824"));
        let file = TransactionFile::from_json(&malformed).unwrap();
        assert!(file.transactions.len() == 1 && file.malformed.first()[0].position == 1, "{file:?}");
        for length in 0..one.len() {
            assert!(TransactionFile::from_json(&one[..length]).is_err(), "{length} bytes");
        }
        assert!(TransactionFile::from_json(&format!("{one}{}", &one[..9])).is_err());
    }

    #[test]
    fn of_many_entries_that_are_none_few_are_kept_and_all_are_counted() {
        let json = |entries: String| format!(r#"{{"format":"{FORMAT}","version":1,"transactions":[{entries}]}}"#);
        let one = serde_json::to_string(&transaction()).unwrap();
        let zeros = "0,".repeat(1_000_000);
        let file = TransactionFile::from_json(&json(format!("{zeros}{one}"))).unwrap();
        assert_eq!((file.transactions.len(), file.malformed.count()), (1, 1_000_000));
        assert!(file.malformed.first().iter().map(|entry| entry.position).eq(0..MALFORMED_KEPT_MAX));
        // An entry is as long as a file may be, and names what it likes.
        for entry in [format!("[{zeros}0]"), format!(r#"{{"\u001b[2J\napplied{}":1}}"#, "x".repeat(1 << 20))] {
            let file = TransactionFile::from_json(&json(entry)).unwrap();
            let reason = &file.malformed.first()[0].reason;
            assert!(reason.chars().count() <= REASON_CHARS_MAX, "{reason}");
            assert!(!reason.contains(char::is_control), "{reason}");
        }
        let forged = json(String::new()).replace(FORMAT, "\\u001b[2Jx\\napplied 5 deposits");
        let error = TransactionFile::from_json(&forged).unwrap_err().to_string();
        assert!(error.contains("\\u{1b}[2Jx\\napplied") && !error.contains(char::is_control), "{error}");
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
