//! Files of JSON: Taproof's own, and those for snarkjs and rapidsnark.

use super::{Finding, bitcoin_files, circom, iden3, rollup};
use crate::bench::Measurement;
use crate::cli::{
    console::counted,
    element_text,
    failure::{Exit, Fallible, Result},
    input::{InputError, JSON_LENGTH_MAX},
    session::params_of_protocol_2,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use taproof_bitcoin::anchor::AnchorArtefact;
use taproof_circuits::{transaction::Transaction, tree::ChangeSet};
use taproof_rollup::transaction_file::TransactionFile;
use taproof_verifier::cell::{Cell, Holding, Token};

/// The names by which objects of JSON are told apart.
const NAMES: [&str; 15] = [
    "transactions",
    "reveal",
    "founding",
    "deposit_magic",
    "pi_a",
    "vk_alpha_1",
    "cells",
    "transfer",
    "open",
    "withdraw",
    "steps",
    "n8q",
    "X_2",
    "eval_a",
    "evaluations",
];

/// What a text of JSON is on the outside. No more than that is kept of a text that may be of any form.
enum Outline {
    /// An object with these of the names, and others.
    Object(BTreeSet<&'static str>),
    /// A list of strings and whole numbers alone.
    Numbers,
    /// Another list.
    List,
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Outside;

        impl<'de> Visitor<'de> for Outside {
            type Value = Outline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<Outline, A::Error> {
                let mut found = BTreeSet::new();
                while let Some((field, IgnoredAny)) = fields.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                    found.extend(NAMES.iter().find(|name| **name == field));
                }
                Ok(Outline::Object(found))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Outline, A::Error> {
                let mut are_numbers = true;
                while let Some(entry) = list.next_element::<&RawValue>()? {
                    are_numbers &= entry.get().starts_with(['"', '-'])
                        || entry.get().starts_with(|digit: char| digit.is_ascii_digit());
                }
                Ok(if are_numbers { Outline::Numbers } else { Outline::List })
            }
        }

        deserializer.deserialize_any(Outside)
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(InputError::from).or_exit(Exit::Input)
}

/// What a text of JSON holds, if it is one of the forms that are known.
pub(super) fn file(text: &str) -> Result<Option<Finding>> {
    let outline = parsed(text)?;
    // Only transactions and a state's cells are longer in the commands that read them.
    let is_long =
        matches!(&outline, Outline::Object(names) if names.contains("transactions") || names.contains("cells"));
    if !is_long && text.len() as u64 > JSON_LENGTH_MAX {
        return Err(InputError::TooLong { length_max: JSON_LENGTH_MAX }).or_exit(Exit::Input);
    }
    let finding = match outline {
        Outline::Object(names) => {
            let has = |name: &str| names.contains(name);
            if has("transactions") {
                transactions(&TransactionFile::from_json(text).or_exit(Exit::Input)?)
            } else if has("reveal") {
                bitcoin_files::anchor(&AnchorArtefact::from_json(text).or_exit(Exit::Input)?)
            } else if has("founding") {
                rollup::params(&parsed(text)?)
            } else if has("deposit_magic") {
                return Err(params_of_protocol_2());
            } else if has("n8q") {
                return circom::json(text, &has);
            } else if has("pi_a") {
                iden3::proof(&parsed(text)?)
            } else if has("vk_alpha_1") {
                iden3::verifying_key(&parsed(text)?)
            } else if has("cells") {
                state(&parsed(text)?)
            } else if ["transfer", "open", "withdraw", "steps"].into_iter().any(has) {
                transaction(&parsed(text)?)
            } else {
                return circom::json(text, &has);
            }
        }
        Outline::Numbers => iden3::public_inputs(&parsed(text)?),
        Outline::List => measurements(&parsed::<Vec<Measurement>>(text)?),
    };
    finding.map(Some)
}

/// Sums by token.
type Sums = BTreeMap<Token, u128>;

fn add(sums: &mut Sums, token: Token, amount: u64) {
    *sums.entry(token).or_default() += u128::from(amount);
}

fn sums_text(sums: &Sums) -> String {
    let amounts: Vec<String> = sums.iter().map(|(token, amount)| token.amount(*amount).to_string()).collect();
    if amounts.is_empty() { Token::BITCOIN.amount(0u64).to_string() } else { amounts.join(", ") }
}

fn sums_value(sums: &Sums) -> Value {
    sums.iter().map(|(token, amount)| json!({ "token": token, "amount": amount })).collect()
}

fn transactions(file: &TransactionFile) -> Result<Finding> {
    let (mut amounts, mut fees, mut deposited) = (Sums::new(), Sums::new(), Sums::new());
    for transaction in &file.transactions {
        match transaction.payment() {
            Some(payment) => {
                add(&mut amounts, payment.token, payment.amount);
                add(&mut fees, payment.token, payment.fee);
            }
            None => add(&mut fees, Token::BITCOIN, transaction.fee_sat()),
        }
    }
    file.deposits.iter().for_each(|deposit| add(&mut deposited, Token::BITCOIN, deposit.amount_sat));
    let malformed: Vec<String> = file.malformed.first().iter().map(ToString::to_string).collect();
    let (malformed_count, malformed_more) = (file.malformed.count(), file.malformed.count() - malformed.len());
    let (deposits, count) = (file.deposits.len(), file.transactions.len());
    let report = json!({
        "deposits": deposits,
        "deposited": sums_value(&deposited),
        "transactions": count,
        "malformed": malformed,
        "malformed_count": malformed_count,
        "amounts": sums_value(&amounts),
        "fees": sums_value(&fees),
    });
    let mut lines = vec![
        ("deposits", format!("{deposits}, {}", sums_text(&deposited))),
        ("transactions", count.to_string()),
        ("amounts", sums_text(&amounts)),
        ("fees", sums_text(&fees)),
    ];
    lines.extend(malformed.into_iter().map(|reason| ("malformed", reason)));
    lines.extend((malformed_more > 0).then(|| ("malformed", format!("{malformed_more} more"))));
    Finding::new("transactions", &report, lines)
}

/// One transaction, as `taproof tx` prints it.
fn transaction(transaction: &Transaction) -> Result<Finding> {
    let kind = transaction.kind();
    let Some(payment) = transaction.payment() else { return steps(transaction) };
    let report = json!({
        "kind": kind.name(),
        "chain_id": payment.chain_id,
        "from": payment.from,
        "nonce": payment.nonce,
        "token": payment.token,
        "amount": payment.amount,
        "fee": payment.fee,
    });
    let lines = vec![
        ("kind", kind.name().to_owned()),
        ("chain id", payment.chain_id.to_string()),
        ("from cell", payment.from.to_string()),
        ("nonce", payment.nonce.to_string()),
        ("amount", payment.token.amount(payment.amount).to_string()),
        ("fee", payment.token.amount(payment.fee).to_string()),
    ];
    Finding::new("transaction of the rollup", &report, lines)
}

/// A transaction of steps.
fn steps(transaction: &Transaction) -> Result<Finding> {
    let (count, chain_id, fee) = (transaction.slots().0, transaction.chain_id(), transaction.fee_sat());
    let signers: Vec<_> = transaction.nonces();
    let report = json!({
        "kind": transaction.kind().name(),
        "chain_id": chain_id,
        "steps": count,
        "nonces": signers.iter().map(|(from, nonce)| json!({ "from": from, "nonce": nonce })).collect::<Value>(),
        "fee": fee,
    });
    let mut lines = vec![
        ("kind", transaction.kind().name().to_owned()),
        ("chain id", chain_id.to_string()),
        ("steps", count.to_string()),
        ("fee", Token::BITCOIN.amount(fee).to_string()),
    ];
    lines.extend(signers.into_iter().map(|(from, nonce)| ("signed", format!("from cell {from}, nonce {nonce}"))));
    Finding::new("transaction of the rollup", &report, lines)
}

/// A whole state, as `taproof rebuild` writes it.
fn state(state: &ChangeSet) -> Result<Finding> {
    let mut balances = Sums::new();
    for (_, cell) in &state.cells {
        if let Cell::Account(account) = cell {
            add(&mut balances, account.token, account.balance);
            if account.second != Holding::default() {
                add(&mut balances, account.second.token, account.second.balance);
            }
        }
    }
    let report = json!({
        "depth": state.depth.levels(),
        "accounts": state.cells.len(),
        "balances": sums_value(&balances),
        "root": element_text(&state.root),
    });
    let lines = vec![
        ("depth", counted(state.depth.levels(), "level")),
        ("accounts", state.cells.len().to_string()),
        ("balances", sums_text(&balances)),
        ("root", format!("{}, which this file claims and does not prove", element_text(&state.root))),
    ];
    Finding::new("state", &report, lines)
}

/// What `taproof bench --save` keeps.
fn measurements(measurements: &[Measurement]) -> Result<Finding> {
    let mut subjects: Vec<String> = measurements.iter().map(|measured| measured.bench.to_string()).collect();
    subjects.dedup();
    let mut machines: Vec<&str> = measurements.iter().map(|measured| measured.machine.as_str()).collect();
    machines.sort_unstable();
    machines.dedup();
    let report = json!({ "measurements": measurements.len(), "subjects": subjects, "machines": machines });
    let lines = vec![
        ("measurements", measurements.len().to_string()),
        ("subjects", subjects.join(", ")),
        ("machines", machines.join(", ")),
    ];
    Finding::new("measurements", &report, lines)
}
