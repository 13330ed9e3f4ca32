//! How a wallet that is not ours pays a deposit.
//!
//! Such a wallet must pay two outputs that stay next to each other in their order, the second with data. Most wallets
//! put their change anywhere, and many sort or shuffle outputs (BIP-69). Bitcoin Core keeps the order that it is
//! given, and puts the change where it is told.

use super::descriptor::{BridgeOutput, DescriptorError};
use bitcoin::{Amount, Network, ScriptBuf, TxOut, consensus::encode};
use serde::Serialize;
use serde_json::json;
use taproof_verifier::{deposit::Deposit, follow::Params};

/// What a wallet is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Where the deposit is paid.
    pub address: String,
    /// What is paid, in satoshi.
    pub amount_sat: u64,
    /// What the output right after the payment carries, by OP_RETURN, in hexadecimal.
    pub data: String,
    /// The call by which Bitcoin Core makes a PSBT of it from coins of its wallet.
    pub core: String,
    /// The transaction without inputs, in hexadecimal, as Core's `fundrawtransaction` takes it.
    pub transaction: String,
    /// A BIP-21 line. BIP-21 has no field for data, so the line has one of its own, of the kind that a wallet which
    /// does not know it must refuse.
    pub uri: String,
}

impl Recipe {
    /// The recipe for a deposit of a rollup.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn new(params: &Params, deposit: &Deposit) -> Result<Self, DescriptorError> {
        let address = BridgeOutput::deposit(params.bridge(), deposit.refund)?.address(params.network).to_string();
        let [payment, tag] = deposit.outputs(params.bridge(), params.chain_id());
        let data = hex::encode(pushed(&tag.script_pubkey));
        let btc = bitcoins(payment.value);
        let core =
            core_call(params.network, &[format!("{{{}:{btc}}}", json!(address)), json!({ "data": data }).to_string()]);
        let transaction = without_inputs(&[payment, tag]);
        let uri = format!("bitcoin:{address}?amount={btc}&req-op_return={data}");
        Ok(Self { address, amount_sat: deposit.amount_sat, data, core, transaction, uri })
    }
}

/// The call by which Bitcoin Core makes a PSBT that pays outputs, each as its JSON object, in this order and with its
/// change after them.
pub fn core_call(network: Network, outputs: &[String]) -> String {
    let chain = match network {
        Network::Bitcoin => String::new(),
        other => format!("-chain={} ", other.to_core_arg()),
    };
    let change = outputs.len();
    let outputs = outputs.join(",");
    format!(
        "bitcoin-cli {chain}-named walletcreatefundedpsbt inputs='[]' outputs='[{outputs}]' \
         options='{{\"changePosition\":{change}}}'"
    )
}

/// An amount as wallets write it: bitcoin with eight decimals.
fn bitcoins(amount: Amount) -> String {
    let (whole, rest) = (amount.to_sat() / 100_000_000, amount.to_sat() % 100_000_000);
    format!("{whole}.{rest:08}")
}

/// What an OP_RETURN script pushes first.
fn pushed(script: &ScriptBuf) -> Vec<u8> {
    let push = script.instructions().nth(1).and_then(Result::ok);
    push.and_then(|push| push.push_bytes().map(|bytes| bytes.as_bytes().to_vec())).unwrap_or_default()
}

/// A transaction without inputs, in hexadecimal, in the form from before witnesses: in the other, the count of no
/// inputs is the mark of witnesses.
fn without_inputs(outputs: &[TxOut]) -> String {
    let outputs = encode::serialize_hex(&outputs.to_vec());
    format!("0200000000{outputs}00000000")
}
