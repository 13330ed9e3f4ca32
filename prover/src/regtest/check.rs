//! What a transaction must obey to be in the next block.

use super::{COINBASE_MATURITY_BLOCKS, Coin, RegtestChain};
use bitcoin::{
    Amount, OutPoint, Sequence, Transaction, TxOut, Weight, absolute, consensus::serialize, relative, transaction,
};
use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT};
use std::collections::{HashMap, HashSet};

/// Why a transaction cannot be in the next block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The transaction has no inputs or no outputs.
    #[error("the transaction has no inputs or no outputs")]
    Empty,
    /// The transaction is a coinbase, or spends the null outpoint like one.
    #[error("only the first transaction of a block may create coins")]
    Coinbase,
    /// The transaction alone is heavier than a block.
    #[error("the transaction weighs {0}, more than a block may")]
    Weight(Weight),
    /// Two inputs spend the same output.
    #[error("two inputs spend {0}")]
    DuplicateInput(OutPoint),
    /// An input spends what does not exist or was spent before.
    #[error("the output {0} does not exist or is spent")]
    MissingCoin(OutPoint),
    /// An input spends the reward of a block too early.
    #[error("the reward {outpoint} can be spent from height {spendable_height}")]
    Immature {
        /// The reward.
        outpoint: OutPoint,
        /// The first height that may spend it.
        spendable_height: u32,
    },
    /// Values exceed the supply of 21 million bitcoin.
    #[error("the sum of values exceeds the supply of bitcoin")]
    ValueRange,
    /// The outputs are worth more than the inputs.
    #[error("outputs of {outputs_sat} sat exceed inputs of {inputs_sat} sat")]
    Overspent {
        /// The sum of the spent outputs.
        inputs_sat: u64,
        /// The sum of the outputs.
        outputs_sat: u64,
    },
    /// The transaction's own lock has not passed.
    #[error("the transaction is locked until {0}")]
    Locked(absolute::LockTime),
    /// An input's relative lock has not passed.
    #[error("input {input} is locked relative to the output it spends")]
    RelativelyLocked {
        /// The position of the input.
        input: usize,
    },
    /// Bitcoin's script code refuses an input.
    #[error("the script of input {input} fails")]
    Script {
        /// The position of the input.
        input: usize,
    },
}

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

/// Runs every input's script in Bitcoin's own code, with all soft forks to taproot in force; `spent` holds the output
/// that each input spends.
pub(crate) fn check_scripts(transaction: &Transaction, spent: &[TxOut]) -> Result<(), TransactionError> {
    check_input_scripts(transaction, spent, 0..spent.len())
}

/// As [`check_scripts`], for the inputs at these positions alone.
pub(crate) fn check_input_scripts(
    transaction: &Transaction,
    spent: &[TxOut],
    positions: impl IntoIterator<Item = usize>,
) -> Result<(), TransactionError> {
    let bytes = serialize(transaction);
    let mut spent_outputs = Vec::with_capacity(spent.len());
    for output in spent {
        spent_outputs.push(Utxo {
            script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: u32::try_from(output.script_pubkey.len()).map_err(|_| TransactionError::ValueRange)?,
            value: i64::try_from(output.value.to_sat()).map_err(|_| TransactionError::ValueRange)?,
        });
    }
    for input in positions {
        let output = &spent[input];
        bitcoinconsensus::verify_with_flags(
            output.script_pubkey.as_bytes(),
            output.value.to_sat(),
            &bytes,
            Some(&spent_outputs),
            input,
            VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT,
        )
        .map_err(|_| TransactionError::Script { input })?;
    }
    Ok(())
}
