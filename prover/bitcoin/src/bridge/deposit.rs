//! Deposits from the depositor's side: making one, and taking it back.
//!
//! A deposit that no batch credits within the expiry is the depositor's again: once it is `refund_delay_blocks` deep,
//! the refund key spends it alone. Whoever takes back what *was* credited has its value twice, at the cost of the
//! other depositors, until the federation has moved it; this code refuses to, other code may not. That is why the
//! federation moves deposits in time.

use super::{
    descriptor::{BridgeOutput, DescriptorError},
    scan::{BridgeScan, Credit, Origin},
};
use crate::{
    anchor::FeeRate,
    consensus::{self, TransactionError},
    node::Unspent,
    regtest::COINBASE_MATURITY_BLOCKS,
};
use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness, XOnlyPublicKey,
    absolute::LockTime,
    hashes::Hash,
    key::Secp256k1,
    secp256k1::Message,
    sighash::{Prevouts, SighashCache},
    taproot,
    transaction::Version,
};
use taproof_verifier::{bridge::OUTPUT_MIN_SAT, deposit::Deposit, follow::Params};
use taproof_wallet::PosterKey;

/// Why there is no deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepositError {
    /// The amount is less than the rollup takes, not relayed, or not in circulation.
    #[error("a deposit is of {min_sat} sat at least and of all bitcoin at most, not of {found_sat} sat")]
    Amount {
        /// The least.
        min_sat: u64,
        /// The amount.
        found_sat: u64,
    },
}

/// Why a deposit is not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefundError {
    /// The output is not there, or spent.
    #[error("there is no unspent output {0} in the best chain")]
    NoOutput(OutPoint),
    /// The rollup credited it.
    #[error("deposit {0} is credited on the rollup: withdraw it there")]
    Credited(u64),
    /// A batch may still credit it.
    #[error("deposit {index} can still be credited, up to height {last_height}")]
    Open {
        /// The deposit.
        index: u64,
        /// The last height of an anchor that may credit it.
        last_height: u32,
    },
    /// The key is not the refund key of the output.
    #[error("the output {outpoint} is no deposit whose refund key is {key}")]
    OtherKey {
        /// The output.
        outpoint: OutPoint,
        /// The key.
        key: XOnlyPublicKey,
    },
    /// The delay is not over.
    #[error("the deposit can be taken back in {0} blocks")]
    TooEarly(u32),
    /// The fee would take it all.
    #[error("a fee of {fee_sat} sat leaves nothing of {value_sat} sat that is relayed")]
    NothingLeft {
        /// The deposit.
        value_sat: u64,
        /// The fee.
        fee_sat: u64,
    },
    /// There is no descriptor of the output.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// Bitcoin's own code refuses the transaction.
    #[error("the transaction does not hold: {0}")]
    Script(#[from] TransactionError),
}

/// The two outputs of a deposit, which must stay next to each other in this order.
///
/// # Errors
/// [`DepositError`].
pub fn deposit_outputs(params: &Params, deposit: &Deposit) -> Result<[TxOut; 2], DepositError> {
    let (min_sat, found_sat) = (params.bridge().deposit_min_sat().max(OUTPUT_MIN_SAT), deposit.amount_sat);
    if !(min_sat..=Amount::MAX_MONEY.to_sat()).contains(&found_sat) {
        return Err(DepositError::Amount { min_sat, found_sat });
    }
    Ok(deposit.outputs(params.bridge(), params.chain_id()))
}

/// A PSBT with these outputs and no input: any wallet may add coins, and change *after* the outputs.
pub fn unfunded_psbt(outputs: [TxOut; 2]) -> Psbt {
    let transaction =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output: outputs.into() };
    Psbt::from_unsigned_tx(transaction).expect("there are no inputs with scripts")
}

/// Whether the rollup leaves a deposit to its depositor.
///
/// An output that is no deposit of the rollup's, for want of its second output, say, is the depositor's in any case.
///
/// # Errors
/// [`RefundError::Credited`] and [`RefundError::Open`].
pub fn check_uncredited(scan: &BridgeScan, outpoint: &OutPoint) -> Result<(), RefundError> {
    let Some(coin) = scan.coin(outpoint) else { return Ok(()) };
    let Origin::Deposit { index, credit, .. } = coin.origin else { return Ok(()) };
    let last_height = scan.last_credit_height(coin);
    match credit {
        Credit::Credited { .. } => Err(RefundError::Credited(index)),
        Credit::Waiting if scan.scanned().height < last_height => Err(RefundError::Open { index, last_height }),
        Credit::Waiting | Credit::Void { .. } => Ok(()),
    }
}

/// Takes a deposit back to `to`. `unspent` is what the node says of the output.
///
/// # Errors
/// [`RefundError`].
pub fn refund(
    params: &Params,
    outpoint: OutPoint,
    unspent: &Unspent,
    key: &PosterKey,
    to: ScriptBuf,
    fee_rate: FeeRate,
) -> Result<Transaction, RefundError> {
    let output = BridgeOutput::deposit(params.bridge(), key.public())?;
    if output.script_pubkey() != unspent.output.script_pubkey {
        return Err(RefundError::OtherKey { outpoint, key: key.public() });
    }
    let delay = params.bridge().refund_delay_blocks();
    // The next block counts: an output of the tip has one confirmation, and is one block deep for the next.
    let maturity = if unspent.is_coinbase { COINBASE_MATURITY_BLOCKS } else { 0 };
    let missing = u32::from(delay).max(maturity).saturating_sub(unspent.confirmations);
    if missing > 0 {
        return Err(RefundError::TooEarly(missing));
    }
    let leaf = output.refund().expect("deposits have a leaf for the depositor");
    let input = TxIn {
        previous_output: outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::from_height(delay),
        witness: Witness::new(),
    };
    let rest = TxOut { value: Amount::ZERO, script_pubkey: to };
    let mut transaction =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![rest] };
    let witness = |signature: &[u8]| {
        let control_block = leaf.control_block.serialize();
        Witness::from_slice(&[signature, leaf.script.as_bytes(), control_block.as_slice()])
    };
    transaction.input[0].witness = witness(&[0; 64]);
    let (fee, value) = (fee_rate.fee(transaction.weight()), unspent.output.value);
    let dust = transaction.output[0].script_pubkey.minimal_non_dust();
    let rest = value.checked_sub(fee).filter(|rest| *rest >= dust);
    transaction.output[0].value =
        rest.ok_or(RefundError::NothingLeft { value_sat: value.to_sat(), fee_sat: fee.to_sat() })?;
    let spent = std::slice::from_ref(&unspent.output);
    let sighash = SighashCache::new(&transaction)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(spent), leaf.hash(), TapSighashType::Default)
        .expect("the spent output is given");
    let message = Message::from_digest(sighash.to_byte_array());
    let signature = Secp256k1::signing_only().sign_schnorr_no_aux_rand(&message, key.pair());
    let signature = taproot::Signature { signature, sighash_type: TapSighashType::Default };
    transaction.input[0].witness = witness(&signature.to_vec());
    consensus::check_scripts(&transaction, spent)?;
    Ok(transaction)
}
