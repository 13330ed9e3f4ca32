//! What nodes relay: sizes and fees of a transaction, and the first rule of relay that it breaks.
//!
//! A block may hold what no node relays, so none of this decides what the chain accepts.

use crate::fee_rate::FeeRate;
use bitcoin::{Amount, Transaction, Txid};

/// The heaviest transaction that is relayed, in weight units.
pub(super) const MAX_RELAY_WEIGHT_WU: u64 = 400_000;
/// The longest OP_RETURN script that every policy relays.
const MAX_DATA_SCRIPT_BYTES: usize = 83;
/// The smallest transaction that is relayed, without witnesses; 64 bytes could pass for an inner node of a merkle tree.
const MIN_RELAY_BASE_BYTES: usize = 65;
/// The longest input of a tapscript that is relayed.
const MAX_TAPSCRIPT_ITEM_BYTES: usize = 80;
/// The first byte of a control block of BIP 342, without its lowest bit.
const TAPSCRIPT_LEAF: u8 = 0xc0;

/// A rule of relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NonStandardError {
    /// The version is not 1, 2 or 3.
    #[error("version {0} is not relayed")]
    Version(i32),
    /// The transaction is too heavy.
    #[error("the transaction weighs {0} WU, above {MAX_RELAY_WEIGHT_WU} WU")]
    Weight(u64),
    /// The transaction is too small.
    #[error("the transaction has {0} bytes without witnesses, below {MIN_RELAY_BASE_BYTES}")]
    Small(usize),
    /// An input's script holds more than pushes.
    #[error("the script of input {0} is not made of pushes alone")]
    InputScript(usize),
    /// An input of a tapscript is too long, or there is an annex.
    #[error("input {0} has a tapscript argument above {MAX_TAPSCRIPT_ITEM_BYTES} bytes or an annex")]
    Witness(usize),
    /// An output is worth less than it costs to spend.
    #[error("output {0} is dust")]
    Dust(usize),
    /// An output's script follows no template.
    #[error("the script of output {0} follows no template")]
    OutputScript(usize),
    /// There is more than one OP_RETURN output, or it is too long.
    #[error("output {0} carries more data than is relayed")]
    Data(usize),
    /// The fee is below the lowest rate that nodes relay.
    #[error("the fee of {fee_sat} sat is below {} sat/vB for {vsize_vb} virtual bytes", FeeRate::MIN)]
    Fee {
        /// The fee.
        fee_sat: u64,
        /// The size.
        vsize_vb: u64,
    },
}

/// What is measured on a transaction that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionFacts {
    /// The transaction.
    pub txid: Txid,
    /// Its weight.
    pub weight_wu: u64,
    /// Its virtual size: a quarter of its weight, rounded up.
    pub vsize_vb: u64,
    /// What it pays to the miner.
    pub fee_sat: u64,
    /// The first rule of relay that it breaks; `None` for a transaction that nodes relay.
    pub nonstandard: Option<NonStandardError>,
}

impl TransactionFacts {
    pub(super) fn new(transaction: &Transaction, fee: Amount) -> Self {
        let weight_wu = transaction.weight().to_wu();
        let vsize_vb = weight_wu.div_ceil(4);
        let fee_sat = fee.to_sat();
        let nonstandard = check(transaction, fee_sat).err();
        Self { txid: transaction.compute_txid(), weight_wu, vsize_vb, fee_sat, nonstandard }
    }
}

fn check(transaction: &Transaction, fee_sat: u64) -> Result<(), NonStandardError> {
    if !(1..=3).contains(&transaction.version.0) {
        return Err(NonStandardError::Version(transaction.version.0));
    }
    let weight_wu = transaction.weight().to_wu();
    if weight_wu > MAX_RELAY_WEIGHT_WU {
        return Err(NonStandardError::Weight(weight_wu));
    }
    if transaction.base_size() < MIN_RELAY_BASE_BYTES {
        return Err(NonStandardError::Small(transaction.base_size()));
    }
    transaction.input.iter().enumerate().try_for_each(|(position, input)| {
        if !input.script_sig.is_push_only() {
            return Err(NonStandardError::InputScript(position));
        }
        check_witness(position, input)
    })?;
    check_outputs(transaction)?;
    let vsize_vb = weight_wu.div_ceil(4);
    if fee_sat < FeeRate::MIN.fee(transaction.weight()).to_sat() {
        return Err(NonStandardError::Fee { fee_sat, vsize_vb });
    }
    Ok(())
}

/// Checks a witness whose last item has the form of a tapscript's control block, or of an annex.
fn check_witness(position: usize, input: &bitcoin::TxIn) -> Result<(), NonStandardError> {
    let items = &input.witness;
    let Some(last) = items.last().filter(|_| items.len() >= 2 && input.script_sig.is_empty()) else { return Ok(()) };
    let is_annex = last.first() == Some(&0x50);
    let is_control = last.len() > 32 && last.len() % 32 == 1 && last[0] & 0xfe == TAPSCRIPT_LEAF;
    let too_long = |item: &[u8]| item.len() > MAX_TAPSCRIPT_ITEM_BYTES;
    if is_annex || (is_control && items.iter().take(items.len() - 2).any(too_long)) {
        return Err(NonStandardError::Witness(position));
    }
    Ok(())
}

fn check_outputs(transaction: &Transaction) -> Result<(), NonStandardError> {
    let mut data_outputs = 0;
    for (position, output) in transaction.output.iter().enumerate() {
        let script = &output.script_pubkey;
        if script.is_op_return() {
            data_outputs += 1;
            if data_outputs > 1 || script.len() > MAX_DATA_SCRIPT_BYTES {
                return Err(NonStandardError::Data(position));
            }
            continue;
        }
        let has_template = script.is_witness_program()
            || script.is_p2pkh()
            || script.is_p2sh()
            || script.is_p2pk()
            || script.is_multisig();
        if !has_template {
            return Err(NonStandardError::OutputScript(position));
        }
        if output.value < script.minimal_non_dust() {
            return Err(NonStandardError::Dust(position));
        }
    }
    Ok(())
}
