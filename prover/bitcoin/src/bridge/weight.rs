//! How heavy a link will be when every signature is there.

use super::descriptor::Leaf;
use bitcoin::{Psbt, ScriptBuf, TxIn, Weight, Witness};

/// The longest signature in a tapscript: 64 bytes, and one that names what is signed.
const SCHNORR_BYTES_MAX: usize = 65;

/// The weight of a PSBT's transaction with all witnesses; `leaves` says which inputs the federation signs.
pub(super) fn signed_weight_wu(psbt: &Psbt, leaves: &[Option<Leaf>], keys: usize, threshold: u8) -> Weight {
    let mut transaction = psbt.unsigned_tx.clone();
    for ((input, fields), leaf) in transaction.input.iter_mut().zip(&psbt.inputs).zip(leaves) {
        input.witness = match (leaf, &fields.final_script_witness) {
            (Some(leaf), _) => federation_witness(leaf, keys, threshold),
            (None, Some(witness)) => witness.clone(),
            (None, None) => payer_witness(fields.witness_utxo.as_ref().map(|output| &output.script_pubkey)),
        };
    }
    transaction.weight()
}

/// The weight of an input that the federation signs.
pub(super) fn federation_input_wu(leaf: &Leaf, keys: usize, threshold: u8) -> u64 {
    let witness = federation_witness(leaf, keys, threshold);
    TxIn::default().segwit_weight().to_wu() - Witness::new().size() as u64 + witness.size() as u64
}

fn federation_witness(leaf: &Leaf, keys: usize, threshold: u8) -> Witness {
    let mut witness = Witness::new();
    for key in 0..keys {
        witness.push(vec![0; if key < usize::from(threshold) { SCHNORR_BYTES_MAX } else { 0 }]);
    }
    witness.push(&leaf.script);
    witness.push(leaf.control_block.serialize());
    witness
}

/// The witness of whoever pays the fee: exact for single keys, that of 2 of 3 keys for scripts.
fn payer_witness(script: Option<&ScriptBuf>) -> Witness {
    match script {
        Some(script) if script.is_p2tr() => Witness::from_slice(&[vec![0; 64]]),
        Some(script) if script.is_p2wpkh() => Witness::from_slice(&[vec![0; 72], vec![0; 33]]),
        _ => Witness::from_slice(&[Vec::new(), vec![0; 72], vec![0; 72], vec![0; 105]]),
    }
}
