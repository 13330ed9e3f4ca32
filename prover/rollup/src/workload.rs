//! Workloads from real payments: what a Bitcoin block paid, as payments between accounts.
//!
//! Every output with an amount is one payment, from the holder of its transaction's first input to the holder of its
//! own script, exact to the satoshi. Outputs without an amount pay nothing (nearly all carry data) and are left out.
//! Holders are named by scripts; where an input does not show the script that it spends and the block does not hold
//! it either, the spent outpoint names the holder. Change is a payment to oneself, as on Bitcoin.

mod existing;
mod holder;
pub mod market;
mod plan;

pub use holder::Holder;
pub use plan::{OPERATOR_DEPOSIT_SAT, PlanError, PlanParameters, PlannedAccount, Workload};

use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction,
    block::Header,
    consensus::encode::{self, deserialize_partial},
    key::Secp256k1,
};
use std::collections::HashMap;

/// One payment between two of a block's holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPayment {
    /// Who pays: an index into [`BlockPayments::holders`].
    pub from: usize,
    /// Who is paid.
    pub to: usize,
    /// How much, in satoshi.
    pub amount_sat: u64,
}

/// What a block paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPayments {
    block_hash: BlockHash,
    holders: Vec<Holder>,
    payments: Vec<BlockPayment>,
    virtual_bytes: u64,
}

/// Why bytes are no block to take payments from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes end before the block does.
    #[error("the block is not whole: {0} bytes end before its last transaction does")]
    Truncated(usize),
    /// Bytes follow the end of the block.
    #[error("bytes follow the end of the block")]
    Trailing,
    /// The bytes do not decode as a block.
    #[error("this is no block as nodes store and send it: {0}")]
    Decode(String),
    /// The block has no transactions.
    #[error("the block has no transactions")]
    Empty,
    /// The header does not commit to the transactions.
    #[error("the header's merkle root is not that of the transactions")]
    MerkleRoot,
    /// The coinbase does not commit to the witnesses.
    #[error("the coinbase's witness commitment is not that of the witnesses")]
    WitnessCommitment,
    /// A transaction has no inputs, so nobody pays.
    #[error("transaction {0} has no inputs")]
    NoInputs(bitcoin::Txid),
    /// An output pays more than there is.
    #[error("transaction {txid} pays {amount_sat} satoshi, more than can exist")]
    Amount {
        /// The transaction.
        txid: bitcoin::Txid,
        /// What its output pays.
        amount_sat: u64,
    },
}

impl BlockPayments {
    /// Takes the first `payments_max` payments of a consensus-encoded block.
    ///
    /// # Errors
    /// Each of [`BlockError`].
    pub fn from_block(bytes: &[u8], payments_max: usize) -> Result<Self, BlockError> {
        let block = decode(bytes)?;
        if block.txdata.is_empty() {
            return Err(BlockError::Empty);
        }
        if !block.check_merkle_root() {
            return Err(BlockError::MerkleRoot);
        }
        if !block.check_witness_commitment() {
            return Err(BlockError::WitnessCommitment);
        }
        let mut collector = Collector::default();
        for transaction in &block.txdata {
            if collector.payments.len() >= payments_max {
                break;
            }
            collector.add(transaction, payments_max)?;
        }
        Ok(Self {
            block_hash: block.block_hash(),
            holders: collector.holders,
            payments: collector.payments,
            virtual_bytes: collector.virtual_bytes,
        })
    }

    /// The block.
    pub fn block_hash(&self) -> BlockHash {
        self.block_hash
    }

    /// Who takes part, in the order of first appearance.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// The payments, in the block's order.
    pub fn payments(&self) -> &[BlockPayment] {
        &self.payments
    }

    /// The virtual bytes that these payments took on layer 1: those of their transactions, of the last one in
    /// proportion to the outputs taken, and none for the coinbase, which pays no fee.
    pub fn virtual_bytes(&self) -> u64 {
        self.virtual_bytes
    }
}

/// Decodes a block and nothing else.
fn decode(bytes: &[u8]) -> Result<Block, BlockError> {
    let (block, length) = deserialize_partial(bytes).map_err(|error| match error {
        // All that there is was read, and more is asked for.
        encode::Error::Io(_) if bytes.len() > Header::SIZE => BlockError::Truncated(bytes.len()),
        encode::Error::Io(_) => BlockError::Decode(format!("{} bytes are less than a header", bytes.len())),
        error => BlockError::Decode(error.to_string()),
    })?;
    if length < bytes.len() { Err(BlockError::Trailing) } else { Ok(block) }
}

#[derive(Default)]
struct Collector {
    holders: Vec<Holder>,
    indices: HashMap<Holder, usize>,
    outputs: HashMap<OutPoint, ScriptBuf>,
    payments: Vec<BlockPayment>,
    virtual_bytes: u64,
}

impl Collector {
    fn add(&mut self, transaction: &Transaction, payments_max: usize) -> Result<(), BlockError> {
        let txid = transaction.compute_txid();
        let input = transaction.input.first().ok_or(BlockError::NoInputs(txid))?;
        let from = if transaction.is_coinbase() {
            Holder::Coinbase
        } else {
            let known = self.outputs.get(&input.previous_output).cloned();
            let script = known.or_else(|| holder::spent_script(&Secp256k1::verification_only(), input));
            script.map_or(Holder::Outpoint(input.previous_output), Holder::Script)
        };
        let from = self.index(from);
        let payments_before = self.payments.len();
        let mut paying_outputs = 0;
        for (vout, output) in (0..).zip(&transaction.output) {
            if output.value > Amount::MAX_MONEY {
                return Err(BlockError::Amount { txid, amount_sat: output.value.to_sat() });
            }
            self.outputs.insert(OutPoint { txid, vout }, output.script_pubkey.clone());
            if output.value == Amount::ZERO {
                continue;
            }
            paying_outputs += 1;
            if self.payments.len() < payments_max {
                let to = self.index(Holder::Script(output.script_pubkey.clone()));
                self.payments.push(BlockPayment { from, to, amount_sat: output.value.to_sat() });
            }
        }
        let taken = (self.payments.len() - payments_before) as u64;
        if taken > 0 && !transaction.is_coinbase() {
            self.virtual_bytes += (transaction.vsize() as u64 * taken).div_ceil(paying_outputs);
        }
        Ok(())
    }

    fn index(&mut self, holder: Holder) -> usize {
        *self.indices.entry(holder).or_insert_with_key(|holder| {
            self.holders.push(holder.clone());
            self.holders.len() - 1
        })
    }
}

#[cfg(test)]
mod tests;
