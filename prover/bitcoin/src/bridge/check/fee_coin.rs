//! Coins that pay the fee: in every respect somebody else's, who has signed already.
//!
//! Hardware signers and wallets go by a PSBT's fields, and by what else is theirs, and sign each input that they can.
//! So a coin for the fee must give them nothing to sign: neither a payment to a deposit's address without its data,
//! which the federation can spend though no scan knows it, nor a coin that a signer's wallet happens to hold. A
//! signature that holds shows that whoever can spend the coin has agreed to this link; wallets leave such an input
//! alone.

use super::CheckError;
use crate::consensus::check_input_scripts;
use bitcoin::{Psbt, ScriptBuf, TxOut, XOnlyPublicKey, key::Secp256k1, psbt, taproot::ControlBlock};
use miniscript::psbt::PsbtExt;
use std::collections::HashSet;
use taproof_verifier::bridge::Bridge;

/// Refuses a coin that the federation can spend, and fields by which its members could sign for it.
pub(super) fn check_fields(
    position: usize,
    coin: &TxOut,
    fields: &psbt::Input,
    bridge: &Bridge,
) -> Result<(), CheckError> {
    if coin.script_pubkey == bridge.script_pubkey() || has_bridge_internal_key(fields, bridge) {
        return Err(CheckError::FeeFromBridge(position));
    }
    let federation: HashSet<[u8; 32]> = bridge.keys().iter().map(XOnlyPublicKey::serialize).collect();
    if names(fields, &federation) { Err(CheckError::FeeByFederation(position)) } else { Ok(()) }
}

/// Whether an input claims to be locked as the bridge's outputs are, those of every depositor included.
fn has_bridge_internal_key(fields: &psbt::Input, bridge: &Bridge) -> bool {
    let offered = fields.tap_scripts.keys().map(|control_block| control_block.internal_key);
    let last = fields.final_script_witness.as_ref().and_then(|witness| witness.last());
    let finished = last.and_then(|control_block| ControlBlock::decode(control_block).ok());
    let finished = finished.map(|control_block| control_block.internal_key);
    fields.tap_internal_key.into_iter().chain(offered).chain(finished).any(|key| key == bridge.internal_key())
}

/// Whether anything in an input is for a key of the federation, or signed by one.
fn names(fields: &psbt::Input, federation: &HashSet<[u8; 32]>) -> bool {
    let is_named = |key: &XOnlyPublicKey| federation.contains(&key.serialize());
    let taproot = fields.tap_internal_key.iter().chain(fields.tap_key_origins.keys());
    let signed = fields.tap_script_sigs.keys().map(|(key, _)| key);
    let partial = fields.partial_sigs.keys().map(|key| key.inner);
    let mut before_taproot = fields.bip32_derivation.keys().copied().chain(partial);
    let scripts = [&fields.witness_script, &fields.redeem_script].into_iter().flatten();
    let leaves = fields.tap_scripts.values().map(|(script, _)| script);
    // A key in a script is a push of its 32 bytes, or of these after one that gives the sign.
    let holds = |script: &ScriptBuf| {
        script.as_bytes().windows(32).any(|part| part.try_into().is_ok_and(|part: [u8; 32]| federation.contains(&part)))
    };
    taproot.chain(signed).any(is_named)
        || before_taproot.any(|key| is_named(&key.x_only_public_key().0))
        || scripts.chain(leaves).any(holds)
}

/// Refuses inputs of others that their owners have not signed; `is_other` says which they are.
pub(super) fn check_signed(psbt: &Psbt, spent: &[TxOut], is_other: impl Fn(usize) -> bool) -> Result<(), CheckError> {
    let (secp, mut finished) = (Secp256k1::verification_only(), psbt.clone());
    let others: Vec<usize> = (0..psbt.inputs.len()).filter(|position| is_other(*position)).collect();
    let mut transaction = psbt.unsigned_tx.clone();
    for position in others.iter().copied() {
        let fields = &finished.inputs[position];
        if fields.final_script_witness.is_none() && fields.final_script_sig.is_none() {
            finished.finalize_inp_mut(&secp, position).map_err(|_| CheckError::FeeUnsigned(position))?;
        }
        let fields = &mut finished.inputs[position];
        transaction.input[position].witness = fields.final_script_witness.take().unwrap_or_default();
        transaction.input[position].script_sig = fields.final_script_sig.take().unwrap_or_default();
    }
    for position in others {
        let holds = check_input_scripts(&transaction, spent, [position]);
        holds.map_err(|_| CheckError::FeeUnsigned(position))?;
    }
    Ok(())
}
