//! What a swap takes on layer 1, to compare with.

use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction};

/// The signature of a key path (BIP-341), without a sighash byte.
const SIGNATURE_BYTES: usize = 64;

/// The least transaction in which a buyer and a seller swap a token on Bitcoin for bitcoin, as PSBTs trade runes: the
/// seller's coin, which holds the tokens, and the buyer's, each spent by the key path of a taproot output; outputs with
/// the tokens, with the payment, and with the buyer's change. All tokens go to the first output by themselves
/// (docs.ordinals.com/runes/specification.html, on runes that are not allocated), so no message is needed.
///
/// It has 10.5 + 2 * 57.5 + 3 * 43 = 254.5 virtual bytes (bitcoinops.org/en/tools/calc-size). What markets on Bitcoin
/// make of it is larger: coins that keep the order of inputs and outputs, a fee of the market, tokens that come back.
pub(super) fn swap_on_layer_1() -> Transaction {
    let input = || TxIn {
        previous_output: OutPoint::null(),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0; SIGNATURE_BYTES]]),
    };
    // OP_1, and 32 bytes that are pushed.
    let script_pubkey = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[0; 32]].concat());
    let output = || TxOut { value: Amount::ZERO, script_pubkey: script_pubkey.clone() };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![input(), input()],
        output: vec![output(), output(), output()],
    }
}
