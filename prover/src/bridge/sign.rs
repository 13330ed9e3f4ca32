//! Signatures: each signer adds its own, and whoever has t of them makes the transaction.

use super::{
    check::CheckedLink,
    descriptor::{BridgeOutput, Leaf},
};
use crate::{
    regtest::{self, TransactionError},
    wallet::PosterKey,
};
use bitcoin::{
    Psbt, TapSighashType, Transaction, TxOut, XOnlyPublicKey,
    hashes::Hash,
    key::Secp256k1,
    secp256k1::{Message, VerifyOnly},
    sighash::{Prevouts, SighashCache},
    taproot,
};
use miniscript::psbt::PsbtExt;
use taproof_verifier::bridge::Bridge;

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is none of the federation's.
    #[error("key {0} is none of the bridge's")]
    NotASigner(XOnlyPublicKey),
}

/// Why signatures were not joined to a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// There is nothing to join.
    #[error("no PSBT was given")]
    Empty,
    /// A PSBT is of another transaction.
    #[error("the PSBT at position {0} is of another transaction than the first")]
    Different(usize),
    /// A PSBT does not say what an input spends, or they say different things.
    #[error("the PSBTs do not say, or not the same, what input {0} spends")]
    SpentOutput(usize),
    /// A signature is not what its key signs.
    #[error("the signature of {key} on input {input} does not hold")]
    Signature {
        /// The input.
        input: usize,
        /// The key.
        key: XOnlyPublicKey,
    },
    /// There are too few signatures.
    #[error("input {input} has {found} of {needed} signatures")]
    TooFew {
        /// The input.
        input: usize,
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// An input is neither the federation's nor signed by who owns it.
    #[error("input {input} is not signed: {reason}")]
    Unsigned {
        /// The input.
        input: usize,
        /// What is missing.
        reason: String,
    },
    /// Bitcoin's own code refuses the transaction.
    #[error("the transaction does not hold: {0}")]
    Script(#[from] TransactionError),
}

impl CheckedLink {
    /// Signs each input of the bridge.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(self, key: &PosterKey, bridge: &Bridge) -> Result<Psbt, SignError> {
        if !bridge.keys().contains(&key.public()) {
            return Err(SignError::NotASigner(key.public()));
        }
        let (spent, leaves) = (self.spent().to_vec(), self.leaves().to_vec());
        let mut psbt = self.into_psbt();
        sign_inputs(&mut psbt, &spent, &leaves, key);
        Ok(psbt)
    }
}

/// Signs the inputs that have a leaf. What is signed was checked before.
pub(super) fn sign_inputs(psbt: &mut Psbt, spent: &[TxOut], leaves: &[Option<Leaf>], key: &PosterKey) {
    let secp = Secp256k1::signing_only();
    for (input, leaf) in leaves.iter().enumerate() {
        let Some(leaf) = leaf else { continue };
        let asked = psbt.inputs[input].sighash_type.and_then(|sighash| sighash.taproot_hash_ty().ok());
        let sighash_type = asked.unwrap_or(TapSighashType::Default);
        let message = message(&psbt.unsigned_tx, input, spent, leaf, sighash_type);
        let signature = secp.sign_schnorr_no_aux_rand(&message, key.pair());
        let signature = taproot::Signature { signature, sighash_type };
        psbt.inputs[input].tap_script_sigs.insert((key.public(), leaf.hash()), signature);
    }
}

/// What a signature on an input signs.
///
/// # Panics
/// If `spent` does not name an output for each input, or the type signs less than everything.
fn message(
    transaction: &Transaction,
    input: usize,
    spent: &[TxOut],
    leaf: &Leaf,
    sighash_type: TapSighashType,
) -> Message {
    let sighash = SighashCache::new(transaction)
        .taproot_script_spend_signature_hash(input, &Prevouts::All(spent), leaf.hash(), sighash_type)
        .expect("every spent output is given");
    Message::from_digest(sighash.to_byte_array())
}

/// Joins PSBTs of one transaction, each with some signatures, to the transaction.
///
/// Signatures are checked one by one, so that a wrong one has a name; of more than enough the first t are taken, because the
/// federation's leaf takes no more.
///
/// # Errors
/// [`CombineError`].
pub fn combine(psbts: Vec<Psbt>, bridge: &Bridge) -> Result<(Transaction, Vec<TxOut>), CombineError> {
    let (mut joined, spent) = join(psbts)?;
    let secp = Secp256k1::verification_only();
    for input in 0..joined.inputs.len() {
        if let Some(leaf) = federation_leaf(&joined, input, &spent[input], bridge) {
            keep_signatures(&mut joined, input, &spent, &leaf, bridge, &secp)?;
        }
        if joined.inputs[input].final_script_witness.is_none() {
            let finalized = joined.finalize_inp_mut(&secp, input);
            finalized.map_err(|error| CombineError::Unsigned { input, reason: error.to_string() })?;
        }
    }
    let transaction = joined.extract_tx_unchecked_fee_rate();
    regtest::check_scripts(&transaction, &spent)?;
    Ok((transaction, spent))
}

/// All signatures in one PSBT, and the outputs that are spent.
fn join(psbts: Vec<Psbt>) -> Result<(Psbt, Vec<TxOut>), CombineError> {
    let mut psbts = psbts.into_iter();
    let mut joined = psbts.next().ok_or(CombineError::Empty)?;
    for (position, psbt) in (1..).zip(psbts) {
        if psbt.unsigned_tx != joined.unsigned_tx {
            return Err(CombineError::Different(position));
        }
        for (input, (fields, others)) in joined.inputs.iter_mut().zip(psbt.inputs).enumerate() {
            if fields.witness_utxo != others.witness_utxo {
                return Err(CombineError::SpentOutput(input));
            }
            fields.tap_script_sigs.extend(others.tap_script_sigs);
            fields.partial_sigs.extend(others.partial_sigs);
            fields.tap_key_sig = fields.tap_key_sig.or(others.tap_key_sig);
            fields.final_script_witness = fields.final_script_witness.take().or(others.final_script_witness);
        }
    }
    let spent = joined.inputs.iter().enumerate();
    let spent: Result<Vec<TxOut>, _> =
        spent.map(|(input, fields)| fields.witness_utxo.clone().ok_or(CombineError::SpentOutput(input))).collect();
    Ok((joined, spent?))
}

/// The federation's leaf of an input, if the output that it spends commits to it.
fn federation_leaf(psbt: &Psbt, input: usize, spent: &TxOut, bridge: &Bridge) -> Option<Leaf> {
    let own = BridgeOutput::own(bridge).ok()?;
    if own.script_pubkey() == spent.script_pubkey {
        return Some(own.federation().clone());
    }
    let script = bridge.federation_leaf();
    let output_key = spent.script_pubkey.as_bytes().strip_prefix(&[0x51, 0x20])?;
    let output_key = XOnlyPublicKey::from_slice(output_key).ok()?;
    let secp = Secp256k1::verification_only();
    let offered = psbt.inputs[input].tap_scripts.iter();
    let mut offered = offered.filter(|(control_block, (leaf, _))| {
        *leaf == script && control_block.verify_taproot_commitment(&secp, output_key, &script)
    });
    offered.next().map(|(control_block, _)| Leaf { control_block: control_block.clone(), script: script.clone() })
}

/// Keeps t signatures that hold.
fn keep_signatures(
    psbt: &mut Psbt,
    input: usize,
    spent: &[TxOut],
    leaf: &Leaf,
    bridge: &Bridge,
    secp: &Secp256k1<VerifyOnly>,
) -> Result<(), CombineError> {
    let given = std::mem::take(&mut psbt.inputs[input].tap_script_sigs);
    let needed = usize::from(bridge.threshold());
    let mut kept = std::collections::BTreeMap::new();
    for ((key, hash), signature) in given {
        let bad = CombineError::Signature { input, key };
        let covers_all = matches!(signature.sighash_type, TapSighashType::Default | TapSighashType::All);
        if hash != leaf.hash() || !bridge.keys().contains(&key) || !covers_all {
            return Err(bad);
        }
        let message = message(&psbt.unsigned_tx, input, spent, leaf, signature.sighash_type);
        secp.verify_schnorr(&signature.signature, &message, &key).map_err(|_| bad)?;
        if kept.len() < needed {
            kept.insert((key, hash), signature);
        }
    }
    if kept.len() < needed {
        return Err(CombineError::TooFew { input, found: kept.len(), needed });
    }
    psbt.inputs[input].tap_script_sigs = kept;
    Ok(())
}
