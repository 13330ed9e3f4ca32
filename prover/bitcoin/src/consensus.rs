//! The rules of Bitcoin that a transaction has to obey, as far as they need no chain: each input's script, by Bitcoin's
//! own code.

use bitcoin::{OutPoint, Transaction, TxOut, Weight, absolute, consensus::serialize};
use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT};

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
