//! Files of JSON: Taproof's own, and those for snarkjs and rapidsnark.

use super::{Finding, bitcoin_files, iden3, rollup};
use crate::cli::{
    element_text,
    failure::{Exit, Fallible, Result},
    input::InputError,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use taproof::{anchor::AnchorArtefact, artefact::transactions::TransactionFile, bench::Measurement};
use taproof_circuits::{transaction::Transaction, tree::ChangeSet};
use taproof_verifier::{
    cell::{Cell, Token},
    follow::Params,
};

/// What a text of JSON holds, if it is one of the forms that are known.
pub(super) fn file(text: &str) -> Result<Option<Finding>> {
    let value: Value = serde_json::from_str(text).map_err(InputError::from).or_exit(Exit::Input)?;
    let has = |name: &str| value.get(name).is_some();
    let finding = if has("transactions") {
        transactions(&TransactionFile::from_json(text).or_exit(Exit::Input)?)
    } else if has("reveal") {
        bitcoin_files::anchor(&AnchorArtefact::from_json(text).or_exit(Exit::Input)?)
    } else if has("program_id") {
        rollup::params(&serde_json::from_value::<Params>(value).or_exit(Exit::Input)?)
    } else if has("pi_a") {
        iden3::proof(value)
    } else if has("vk_alpha_1") {
        iden3::verifying_key(value)
    } else if has("cells") {
        state(&serde_json::from_value(value).or_exit(Exit::Input)?)
    } else if ["transfer", "open", "withdraw"].into_iter().any(has) {
        transaction(&serde_json::from_value(value).or_exit(Exit::Input)?)
    } else if value.as_array().is_some_and(|list| list.iter().all(Value::is_string)) {
        iden3::public_inputs(value)
    } else if value.is_array() {
        measurements(&serde_json::from_value::<Vec<Measurement>>(value).or_exit(Exit::Input)?)
    } else {
        return Ok(None);
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
    for payment in file.well_formed().map(Transaction::payment) {
        add(&mut amounts, payment.token, payment.amount);
        add(&mut fees, payment.token, payment.fee);
    }
    file.deposits.iter().for_each(|deposit| add(&mut deposited, Token::BITCOIN, deposit.amount_sat));
    let malformed: Vec<String> =
        file.transactions.iter().filter_map(|entry| Some(entry.as_ref().err()?.to_string())).collect();
    let (deposits, count) = (file.deposits.len(), file.well_formed().count());
    let report = json!({
        "deposits": deposits,
        "deposited": sums_value(&deposited),
        "transactions": count,
        "malformed": malformed,
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
    Finding::new("transactions", &report, lines)
}

/// One transaction, as `taproof tx` prints it.
fn transaction(transaction: &Transaction) -> Result<Finding> {
    let (kind, payment) = (transaction.kind(), transaction.payment());
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
        ("chain id", payment.chain_id.0.to_string()),
        ("from cell", payment.from.to_string()),
        ("nonce", payment.nonce.to_string()),
        ("amount", payment.token.amount(payment.amount).to_string()),
        ("fee", payment.token.amount(payment.fee).to_string()),
    ];
    Finding::new("transaction of the rollup", &report, lines)
}

/// A whole state, as `taproof rebuild` writes it.
fn state(state: &ChangeSet) -> Result<Finding> {
    let mut balances = Sums::new();
    for (_, cell) in &state.cells {
        if let Cell::Account(account) = cell {
            add(&mut balances, account.token, account.balance);
        }
    }
    let report = json!({
        "depth": state.depth.levels(),
        "accounts": state.cells.len(),
        "balances": sums_value(&balances),
        "root": element_text(&state.root),
    });
    let lines = vec![
        ("depth", format!("{} levels", state.depth.levels())),
        ("accounts", state.cells.len().to_string()),
        ("balances", sums_text(&balances)),
        ("root", format!("{}, which this file claims and does not prove", element_text(&state.root))),
    ];
    Finding::new("state", &report, lines)
}

/// What `taproof bench --save` keeps.
fn measurements(measurements: &[Measurement]) -> Result<Finding> {
    let mut subjects: Vec<String> = measurements.iter().map(|measured| format!("{:?}", measured.bench)).collect();
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
