//! What a signer checks before it signs: everything, from its own chain.
//!
//! [`CheckedLink::check`] takes a PSBT from whoever coordinates, believes nothing in it, and compares each part with
//! the signer's own [`BridgeScan`] and with what the signer's own node says of the coins that pay the fee. A
//! [`CheckedLink`] is the only thing that can be signed. The rules, in the order of checking:
//!
//! 1. the transaction has version 2, no lock time, and replaceable inputs without relative locks, each once;
//! 2. the chain is without fault, and input 0 spends its head;
//! 3. output 0 binds the link to the payouts that come next, each of them due, in order; a link that settles none moves
//!    a deposit;
//! 4. output 1 goes to the bridge's own script; the payouts follow, each exact; at most one output more, to a witness
//!    program;
//! 5. each input is a coin that the federation may spend, as the scan knows it, or a confirmed coin of somebody else
//!    who pays the fee, with nothing in it for the federation's keys, and none is a miner's reward with less than 100
//!    confirmations;
//! 6. the bridge loses nothing but the payouts: output 1 and the payouts are worth at least the bridge's inputs;
//! 7. the PSBT offers the federation's leaf for each of the bridge's inputs and no other way, with a signature over
//!    everything; what signatures it has already hold, also where a wallet has finished an input;
//! 8. weight and fee are within bounds;
//! 9. whoever pays the fee has signed for it already, so that no signer's wallet takes that input for its own.
//!
//! With them, the worst that a coordinator can do is nothing: no payout, or payouts in links that he does not send.

use super::{
    descriptor::{KnownOutputs, Leaf},
    link::{BINDING_VOUT, Binding, CHANGE_VOUT, FIRST_PAYOUT_VOUT, MAX_LINK_WEIGHT_WU, MAX_PAYOUTS, payout_output},
    scan::{BridgeCoin, BridgeScan, Credit, Head, Origin},
    sign::{check_signatures, reopen},
    weight::signed_weight_wu,
};
use crate::{anchor::FeeRate, node::Unspent};
use bitcoin::{
    OutPoint, Psbt, Sequence, TapSighashType, Transaction, TxOut, absolute::LockTime, psbt, sighash::SighashCache,
    transaction::Version,
};
use std::collections::{HashMap, HashSet};
use taproof_verifier::bridge::OUTPUT_MIN_SAT;

mod fee_coin;
mod refusal;

pub use refusal::CheckError;

/// The fee rates between which a signer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeBounds {
    /// The least: a link that pays less would not be relayed.
    pub min: FeeRate,
    /// The most: above it somebody has made a mistake.
    pub max: FeeRate,
}

/// What a signer knows by itself.
#[derive(Clone, Copy, Debug)]
pub struct SignerView<'a> {
    /// The bridge, by the signer's own follower.
    pub scan: &'a BridgeScan,
    /// The coins that are to pay the fee, as the signer's own node knows them: confirmed and unspent.
    pub fee_coins: &'a HashMap<OutPoint, Unspent>,
    /// The signer's bounds.
    pub fee_bounds: FeeBounds,
}

/// A PSBT that a signer has checked in every part; there is no other way to make one.
#[derive(Clone, Debug)]
pub struct CheckedLink {
    psbt: Psbt,
    spent: Vec<TxOut>,
    leaves: Vec<Option<Leaf>>,
    summary: Summary,
}

/// What a checked link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which payouts it settles.
    pub binding: Binding,
    /// How many of these it pays: the others are too small for an output.
    pub payouts: usize,
    /// What it pays out.
    pub paid_sat: u64,
    /// What stays with the bridge.
    pub change_sat: u64,
    /// How many deposits it moves to the bridge's own script.
    pub deposits: usize,
    /// What the miner gets.
    pub fee_sat: u64,
    /// The weight with all signatures.
    pub weight_wu: u64,
    /// How many signers have signed each input of the bridge.
    pub signatures: usize,
}

impl CheckedLink {
    /// Checks a PSBT.
    ///
    /// # Errors
    /// [`CheckError`]: the first rule that it breaks.
    pub fn check(mut psbt: Psbt, view: &SignerView<'_>) -> Result<Self, CheckError> {
        reopen(&mut psbt, view.scan.params().bridge().federation().signers());
        let transaction = &psbt.unsigned_tx;
        check_form(transaction)?;
        let head = check_head(transaction, view.scan)?;
        let binding = check_binding(transaction, head, view.scan)?;
        let change = check_change(transaction, view.scan)?;
        let payouts = check_payouts(transaction, binding, view.scan)?;
        let coins = check_inputs(&psbt, view)?;
        if binding.count == 0 && !coins.iter().any(|coin| matches!(coin, Input::Bridge(coin) if is_deposit(coin))) {
            return Err(CheckError::Idle);
        }
        let paid_sat: u64 = payouts.iter().map(|output| output.value.to_sat()).sum();
        let spent_sat: u64 =
            coins.iter().map(|coin| if let Input::Bridge(coin) = coin { sat(&coin.output) } else { 0 }).sum();
        let change_sat = sat(change);
        if u128::from(change_sat) + u128::from(paid_sat) < u128::from(spent_sat) {
            return Err(CheckError::BridgeLoses { spent_sat, change_sat, paid_sat });
        }
        let mut leaves = Vec::with_capacity(coins.len());
        let mut outputs = KnownOutputs::new(view.scan.params().bridge());
        for (position, coin) in coins.iter().enumerate() {
            let Input::Bridge(coin) = coin else {
                leaves.push(None);
                continue;
            };
            leaves.push(Some(check_leaf(position, &psbt.inputs[position], coin, &mut outputs)?));
        }
        let spent: Vec<TxOut> = coins.iter().map(|coin| coin.output().clone()).collect();
        let signatures = count_signatures(&psbt, &spent, &leaves, view.scan)?;
        let (fee_sat, weight_wu) = check_cost(&psbt, &spent, &leaves, view)?;
        fee_coin::check_signed(&psbt, &spent, |position| leaves[position].is_none())?;
        let deposits = coins.iter().filter(|coin| matches!(coin, Input::Bridge(coin) if is_deposit(coin))).count();
        let payouts = payouts.len();
        let summary = Summary { binding, payouts, paid_sat, change_sat, deposits, fee_sat, weight_wu, signatures };
        Ok(Self { spent, leaves, summary, psbt })
    }

    /// What it does.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The PSBT.
    pub fn psbt(&self) -> &Psbt {
        &self.psbt
    }

    /// The PSBT, to be signed.
    pub(super) fn into_psbt(self) -> Psbt {
        self.psbt
    }

    /// The outputs that the inputs spend.
    pub(super) fn spent(&self) -> &[TxOut] {
        &self.spent
    }

    /// For each input the leaf that the federation spends it by; `None` for those of others.
    pub(super) fn leaves(&self) -> &[Option<Leaf>] {
        &self.leaves
    }
}

/// Whose coin an input spends.
enum Input<'a> {
    Bridge(&'a BridgeCoin),
    Other(&'a TxOut),
}

impl Input<'_> {
    fn output(&self) -> &TxOut {
        match self {
            Self::Bridge(coin) => &coin.output,
            Self::Other(output) => output,
        }
    }
}

fn sat(output: &TxOut) -> u64 {
    output.value.to_sat()
}

fn is_deposit(coin: &BridgeCoin) -> bool {
    matches!(coin.origin, Origin::Deposit { .. })
}

fn check_form(transaction: &Transaction) -> Result<(), CheckError> {
    if transaction.version != Version::TWO {
        return Err(CheckError::Version(transaction.version.0));
    }
    if transaction.lock_time != LockTime::ZERO {
        return Err(CheckError::LockTime(transaction.lock_time));
    }
    let mut seen = HashSet::with_capacity(transaction.input.len());
    for (position, input) in transaction.input.iter().enumerate() {
        if input.sequence != Sequence::ENABLE_RBF_NO_LOCKTIME {
            return Err(CheckError::Sequence(position));
        }
        if !seen.insert(input.previous_output) {
            return Err(CheckError::Inputs(position));
        }
    }
    if seen.is_empty() { Err(CheckError::Inputs(0)) } else { Ok(()) }
}

fn check_head(transaction: &Transaction, scan: &BridgeScan) -> Result<Head, CheckError> {
    let head = scan.head()?;
    let (expected, found) = (head.outpoint, transaction.input[0].previous_output);
    if found == expected { Ok(head) } else { Err(CheckError::NotTheHead { expected, found }) }
}

fn check_binding(transaction: &Transaction, head: Head, scan: &BridgeScan) -> Result<Binding, CheckError> {
    let output = transaction.output.get(BINDING_VOUT).filter(|output| sat(output) == 0);
    let binding = output.and_then(|output| Binding::parse(&output.script_pubkey, scan.params().chain_id()));
    let binding = binding.ok_or(CheckError::Binding)?;
    if binding.first != head.next_index {
        return Err(CheckError::FirstIndex { expected: head.next_index, found: binding.first });
    }
    let due = scan.due_count();
    if binding.end().is_none_or(|end| end > due) {
        return Err(CheckError::NotDue { index: due, due });
    }
    let count = scan.unpaid_within(binding.count).len();
    if count > MAX_PAYOUTS as usize { Err(CheckError::TooManyPayouts(count)) } else { Ok(binding) }
}

fn check_change<'a>(transaction: &'a Transaction, scan: &BridgeScan) -> Result<&'a TxOut, CheckError> {
    let own_script = scan.params().bridge().script_pubkey();
    let change = transaction.output.get(CHANGE_VOUT as usize).filter(|output| output.script_pubkey == own_script);
    let change = change.ok_or(CheckError::Change)?;
    if sat(change) < OUTPUT_MIN_SAT { Err(CheckError::ChangeDust(sat(change))) } else { Ok(change) }
}

/// The outputs after the second are the payouts, exactly, and one more at most.
fn check_payouts<'a>(
    transaction: &'a Transaction,
    binding: Binding,
    scan: &BridgeScan,
) -> Result<&'a [TxOut], CheckError> {
    let outputs = &transaction.output[FIRST_PAYOUT_VOUT..];
    let payouts = scan.unpaid_within(binding.count);
    let count = payouts.len();
    for (position, payout) in payouts.enumerate() {
        if outputs.get(position) != payout_output(payout).as_ref() {
            return Err(CheckError::Payout { index: payout.index });
        }
    }
    // Data after a payout to somebody's deposit address would make it a deposit for an owner of the coordinator's
    // choice.
    let fee_change = outputs.get(count).is_none_or(|output| output.script_pubkey.is_witness_program());
    if !fee_change || outputs.len() > count + 1 {
        return Err(CheckError::UnknownOutput(FIRST_PAYOUT_VOUT + outputs.len() - 1));
    }
    Ok(&outputs[..count])
}

fn check_inputs<'a>(psbt: &Psbt, view: &SignerView<'a>) -> Result<Vec<Input<'a>>, CheckError> {
    let inputs = psbt.unsigned_tx.input.iter().zip(&psbt.inputs).enumerate();
    inputs
        .map(|(position, (input, fields))| {
            let coin = match view.scan.coin(&input.previous_output) {
                Some(coin) => check_spendable(position, coin, view.scan)?,
                None => {
                    let coin = view.fee_coins.get(&input.previous_output).ok_or(CheckError::UnknownInput(position))?;
                    if !coin.output.script_pubkey.is_witness_program() {
                        return Err(CheckError::FeeScript(position));
                    }
                    if coin.immature_blocks() > 0 {
                        return Err(CheckError::Immature { input: position, blocks: coin.immature_blocks() });
                    }
                    Input::Other(&coin.output)
                }
            };
            if fields.witness_utxo.as_ref() != Some(coin.output()) {
                return Err(CheckError::SpentOutput(position));
            }
            if let Input::Other(output) = coin {
                fee_coin::check_fields(position, output, fields, view.scan.params().bridge())?;
            }
            Ok(coin)
        })
        .collect()
}

fn check_spendable<'a>(input: usize, coin: &'a BridgeCoin, scan: &BridgeScan) -> Result<Input<'a>, CheckError> {
    if scan.is_spendable(coin) {
        return Ok(Input::Bridge(coin));
    }
    match coin.origin {
        _ if scan.is_held(coin) => {
            let blocks = coin.spendable_height().saturating_sub(scan.scanned().height + 1);
            Err(CheckError::Immature { input, blocks })
        }
        Origin::Deposit { index, credit: Credit::Credited { .. }, .. } => {
            Err(CheckError::CreditNotFinal { input, index })
        }
        Origin::Deposit { index, .. } => Err(CheckError::NotCredited { input, index }),
        Origin::Own => unreachable!("what is paid to the bridge's own script is its own"),
    }
}

/// Hardware signers go by the PSBT's fields: they must offer nothing but the federation's leaf and a signature over
/// all.
fn check_leaf(
    position: usize,
    fields: &psbt::Input,
    coin: &BridgeCoin,
    outputs: &mut KnownOutputs<'_>,
) -> Result<Leaf, CheckError> {
    let output = outputs.of_coin(coin.origin).map_err(|_| CheckError::Leaf(position))?;
    let leaf = output.federation();
    let hash = leaf.hash();
    let only_leaf = fields.tap_scripts.len() == 1
        && fields.tap_scripts.get(&leaf.control_block).is_some_and(|(script, _)| *script == leaf.script);
    let only_signatures = fields.tap_script_sigs.keys().all(|(_, signed)| *signed == hash)
        && fields.tap_key_origins.values().all(|(leaves, _)| leaves.iter().all(|named| *named == hash));
    let internal = fields.tap_internal_key.is_none_or(|key| key == leaf.control_block.internal_key);
    let root = fields.tap_merkle_root.is_none_or(|root| root == output.merkle_root());
    let final_already = fields.final_script_witness.is_some() || fields.final_script_sig.is_some();
    if !only_leaf || !only_signatures || !internal || !root || fields.tap_key_sig.is_some() || final_already {
        return Err(CheckError::Leaf(position));
    }
    let sighash = fields.sighash_type.map_or(Ok(TapSighashType::Default), |sighash| sighash.taproot_hash_ty());
    match sighash {
        Ok(TapSighashType::Default | TapSighashType::All) => Ok(leaf.clone()),
        _ => Err(CheckError::Sighash(position)),
    }
}

/// How many signatures each of the bridge's inputs has at least, all of which hold.
fn count_signatures(
    psbt: &Psbt,
    spent: &[TxOut],
    leaves: &[Option<Leaf>],
    scan: &BridgeScan,
) -> Result<usize, CheckError> {
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    let mut counts = Vec::with_capacity(leaves.len());
    for (input, (fields, leaf)) in psbt.inputs.iter().zip(leaves).enumerate() {
        let Some(leaf) = leaf else { continue };
        let signers = scan.params().bridge().federation().signers();
        let count = check_signatures(&mut cache, input, &fields.tap_script_sigs, spent, leaf, signers);
        counts.push(count.map_err(|key| CheckError::Signature { input, key })?);
    }
    Ok(counts.into_iter().min().unwrap_or(0))
}

/// The fee and the weight that the link will have.
fn check_cost(
    psbt: &Psbt,
    spent: &[TxOut],
    leaves: &[Option<Leaf>],
    view: &SignerView<'_>,
) -> Result<(u64, u64), CheckError> {
    let threshold = view.scan.params().bridge().threshold();
    let weight = signed_weight_wu(psbt, leaves, view.scan.params().bridge().keys().len(), threshold);
    let weight_wu = weight.to_wu();
    if weight_wu > MAX_LINK_WEIGHT_WU {
        return Err(CheckError::Weight(weight_wu));
    }
    let total = |outputs: &[TxOut]| outputs.iter().map(|output| u128::from(sat(output))).sum::<u128>();
    let fee = total(spent).checked_sub(total(&psbt.unsigned_tx.output)).ok_or(CheckError::Overspent)?;
    let fee_sat = u64::try_from(fee).map_err(|_| CheckError::Overspent)?;
    let FeeBounds { min, max } = view.fee_bounds;
    if fee_sat < min.fee(weight).to_sat() {
        return Err(CheckError::FeeTooLow { fee_sat, weight_wu, min });
    }
    if fee_sat > max.fee(weight).to_sat() {
        return Err(CheckError::FeeTooHigh { fee_sat, weight_wu, max });
    }
    Ok((fee_sat, weight_wu))
}
