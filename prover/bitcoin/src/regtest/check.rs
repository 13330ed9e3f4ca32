//! What a transaction must obey to be in the next block.

use super::{COINBASE_MATURITY_BLOCKS, Coin, RegtestChain};
use crate::consensus::{TransactionError, check_scripts};
use bitcoin::{Amount, OutPoint, Sequence, Transaction, TxOut, Weight, absolute, relative, transaction};
use std::collections::{HashMap, HashSet};

/// When the next block is: what locks and maturity compare with.
pub(super) struct Moment<'a> {
    /// The height of the block that the transaction is to be in.
    pub(super) height: u32,
    /// The median time of the eleven blocks before it.
    pub(super) median_time_before: u32,
    /// The blocks before it.
    pub(super) chain: &'a RegtestChain,
}

/// Coins with changes laid over them that can still be dropped.
pub(super) struct View<'a> {
    coins: &'a HashMap<OutPoint, Coin>,
    changes: HashMap<OutPoint, Option<Coin>>,
}

impl<'a> View<'a> {
    pub(super) fn new(coins: &'a HashMap<OutPoint, Coin>) -> Self {
        Self { coins, changes: HashMap::new() }
    }

    pub(super) fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        match self.changes.get(outpoint) {
            Some(change) => change.as_ref(),
            None => self.coins.get(outpoint),
        }
    }

    /// What was created (`Some`) and what was spent (`None`).
    pub(super) fn into_changes(self) -> HashMap<OutPoint, Option<Coin>> {
        self.changes
    }

    /// Adds a transaction's outputs, without those that no script can spend.
    pub(super) fn create(&mut self, transaction: &Transaction, height: u32, coinbase: bool) {
        let txid = transaction.compute_txid();
        for (vout, output) in (0u32..).zip(&transaction.output) {
            if !output.script_pubkey.is_op_return() {
                let coin = Coin { output: output.clone(), height, coinbase };
                self.changes.insert(OutPoint { txid, vout }, Some(coin));
            }
        }
    }

    /// Checks a transaction against the coins and removes what it spends; the result is its fee.
    pub(super) fn spend(&mut self, transaction: &Transaction, moment: &Moment<'_>) -> Result<Amount, TransactionError> {
        check_form(transaction)?;
        let coins = self.spent_coins(transaction, moment)?;
        check_locks(transaction, &coins, moment)?;
        let outputs = output_value(transaction)?;
        let inputs = sum_values(coins.iter().map(|coin| coin.output.value))?;
        let fee = inputs
            .checked_sub(outputs)
            .ok_or(TransactionError::Overspent { inputs_sat: inputs.to_sat(), outputs_sat: outputs.to_sat() })?;
        let spent: Vec<TxOut> = coins.into_iter().map(|coin| coin.output).collect();
        check_scripts(transaction, &spent)?;
        self.changes.extend(transaction.input.iter().map(|input| (input.previous_output, None)));
        Ok(fee)
    }

    fn spent_coins(&self, transaction: &Transaction, moment: &Moment<'_>) -> Result<Vec<Coin>, TransactionError> {
        let mut seen = HashSet::with_capacity(transaction.input.len());
        let mut coins = Vec::with_capacity(transaction.input.len());
        for input in &transaction.input {
            let outpoint = input.previous_output;
            if !seen.insert(outpoint) {
                return Err(TransactionError::DuplicateInput(outpoint));
            }
            let coin = self.coin(&outpoint).ok_or(TransactionError::MissingCoin(outpoint))?;
            let spendable_height = coin.height + COINBASE_MATURITY_BLOCKS;
            if coin.coinbase && moment.height < spendable_height {
                return Err(TransactionError::Immature { outpoint, spendable_height });
            }
            coins.push(coin.clone());
        }
        Ok(coins)
    }
}

/// The sum of a transaction's outputs.
pub(super) fn output_value(transaction: &Transaction) -> Result<Amount, TransactionError> {
    sum_values(transaction.output.iter().map(|output| output.value))
}

fn sum_values(mut values: impl Iterator<Item = Amount>) -> Result<Amount, TransactionError> {
    values
        .try_fold(Amount::ZERO, |sum, value| sum.checked_add(value).filter(|sum| *sum <= Amount::MAX_MONEY))
        .ok_or(TransactionError::ValueRange)
}

fn check_form(transaction: &Transaction) -> Result<(), TransactionError> {
    if transaction.input.is_empty() || transaction.output.is_empty() {
        return Err(TransactionError::Empty);
    }
    if transaction.input.iter().any(|input| input.previous_output.is_null()) {
        return Err(TransactionError::Coinbase);
    }
    if transaction.weight() > Weight::MAX_BLOCK {
        return Err(TransactionError::Weight(transaction.weight()));
    }
    Ok(())
}

/// Checks the transaction's lock (BIP 113) and those of its inputs (BIP 68).
fn check_locks(transaction: &Transaction, coins: &[Coin], moment: &Moment<'_>) -> Result<(), TransactionError> {
    let past = match transaction.lock_time {
        absolute::LockTime::Blocks(height) => height.to_consensus_u32() < moment.height,
        absolute::LockTime::Seconds(time) => time.to_consensus_u32() < moment.median_time_before,
    };
    if !past && transaction.is_lock_time_enabled() {
        return Err(TransactionError::Locked(transaction.lock_time));
    }
    if transaction.version < transaction::Version::TWO {
        return Ok(());
    }
    for (input, coin) in coins.iter().enumerate() {
        let sequence = transaction.input[input].sequence;
        if !is_relative_lock_past(sequence, coin, moment) {
            return Err(TransactionError::RelativelyLocked { input });
        }
    }
    Ok(())
}

fn is_relative_lock_past(sequence: Sequence, coin: &Coin, moment: &Moment<'_>) -> bool {
    match sequence.to_relative_lock_time() {
        None => true,
        Some(relative::LockTime::Blocks(blocks)) => moment.height - coin.height >= u32::from(blocks.value()),
        Some(relative::LockTime::Time(time)) => {
            let start = moment.chain.median_time(coin.height.saturating_sub(1).min(moment.height - 1));
            let seconds = u64::from(time.value()) * 512;
            u64::from(moment.median_time_before) >= u64::from(start) + seconds
        }
    }
}
