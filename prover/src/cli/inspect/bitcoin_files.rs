//! Files of blocks and transactions: chains, anchors, excerpts, PSBTs, payout links.

use super::Finding;
use crate::cli::{
    console::counted,
    element_text,
    failure::{Exit, Fallible, Result},
};
use bitcoin::{
    Block, OutPoint, Psbt, Transaction, TxOut,
    consensus::encode::{deserialize, deserialize_hex},
};
use serde_json::json;
use std::path::Path;
use taproof_base::network_name::network_name;
use taproof_bitcoin::{
    anchor::{AnchorArtefact, TransactionFigures},
    bridge::link::Binding,
    psbt_file::{self, PsbtFileError},
    regtest::ChainFile,
};
use taproof_verifier::{
    block::{Excerpt, ValidatedExcerpt},
    cell::ChainId,
    headers::BlockId,
};

/// What bytes hold, if they are a PSBT in whatever form, an excerpt, a block or a transaction.
pub(super) fn binary(bytes: &[u8]) -> Result<Option<Finding>> {
    match psbt_file::parse(bytes) {
        Ok(found) => return psbt(&found).map(Some),
        Err(PsbtFileError::NotAPsbt) => {}
        Err(error) => return Err(error).or_exit(Exit::Input),
    }
    if let Some(found) = excerpt(bytes)? {
        return Ok(Some(found));
    }
    if let Ok(found) = deserialize::<Block>(bytes) {
        return block(&found).map(Some);
    }
    match deserialize::<Transaction>(bytes) {
        Ok(found) => transaction(&found).map(Some),
        Err(_) => Ok(None),
    }
}

/// What hexadecimal digits hold, if they are a transaction.
pub(super) fn hexadecimal(text: &str) -> Result<Option<Finding>> {
    match deserialize_hex::<Transaction>(text) {
        Ok(found) => transaction(&found).map(Some),
        Err(_) => Ok(None),
    }
}

/// The anchor of a batch.
pub(super) fn anchor(anchor: &AnchorArtefact) -> Result<Finding> {
    let announcement = anchor.announcement();
    let (commit, reveal) = (anchor.commit_figures(), anchor.reveal_figures());
    let report = json!({
        "network": anchor.network().to_string(),
        "batch": announcement.batch,
        "root_after": element_text(&announcement.root_after),
        "poster": anchor.poster().to_string(),
        "payload_bytes": anchor.payload().len(),
        "commit_txid": commit.txid.to_string(),
        "commit_vsize_vb": commit.vsize_vb,
        "commit_fee_sat": commit.fee_sat,
        "reveal_txid": reveal.txid.to_string(),
        "reveal_vsize_vb": reveal.vsize_vb,
        "reveal_fee_sat": reveal.fee_sat,
    });
    let transaction = |figures: &TransactionFigures| {
        format!("{}, {} vB, fee {} sat", figures.txid, figures.vsize_vb, figures.fee_sat)
    };
    let lines = vec![
        ("network", network_name(anchor.network()).to_owned()),
        ("batch", announcement.batch.to_string()),
        ("root after", element_text(&announcement.root_after)),
        ("poster", anchor.poster().to_string()),
        ("payload", format!("{} bytes", anchor.payload().len())),
        ("commit", transaction(&commit)),
        ("reveal", transaction(&reveal)),
    ];
    Finding::new("anchor", &report, lines)
}

/// The embedded chain.
pub(super) fn chain(path: &Path) -> Result<Finding> {
    let chain = ChainFile::read(path).or_exit_while(Exit::Input, path.display().to_string())?;
    let transactions: usize = chain.blocks().map(|block| block.txdata.len()).sum();
    let report = json!({
        "height": chain.height(),
        "tip": chain.tip_hash().to_string(),
        "transactions": transactions,
    });
    let lines = vec![
        ("height", chain.height().to_string()),
        ("tip", chain.tip_hash().to_string()),
        ("transactions", transactions.to_string()),
    ];
    Finding::new("regtest chain", &report, lines)
}

fn block(block: &Block) -> Result<Finding> {
    let outputs: usize = block.txdata.iter().map(|transaction| transaction.output.len()).sum();
    let report = json!({
        "hash": block.block_hash().to_string(),
        "transactions": block.txdata.len(),
        "outputs": outputs,
        "weight_wu": block.weight().to_wu(),
    });
    let lines = vec![
        ("hash", block.block_hash().to_string()),
        ("transactions", block.txdata.len().to_string()),
        ("outputs", outputs.to_string()),
        ("weight", format!("{} wu", block.weight().to_wu())),
    ];
    Finding::new("block", &report, lines)
}

/// An excerpt of a block. Other bytes may decode as one, but then their branches lead nowhere.
fn excerpt(bytes: &[u8]) -> Result<Option<Finding>> {
    let Ok(excerpt) = Excerpt::from_bytes(bytes) else { return Ok(None) };
    let hash = excerpt.header.block_hash();
    // Where in the chain the block is, only headers tell: any height will do for the branches.
    if ValidatedExcerpt::new(excerpt.clone(), BlockId { height: 0, hash }).is_err() {
        return Ok(None);
    }
    let txids: Vec<String> =
        excerpt.transactions.iter().map(|shown| shown.transaction.compute_txid().to_string()).collect();
    let report = json!({ "block": hash.to_string(), "transactions": txids });
    let mut lines = vec![("block", hash.to_string()), ("transactions", txids.len().to_string())];
    lines.extend(txids.into_iter().map(|txid| ("transaction", txid)));
    Finding::new("excerpt", &report, lines).map(Some)
}

/// The payouts that a transaction settles, if its first output says so for any rollup.
fn binding(transaction: &Transaction) -> Option<(ChainId, Binding)> {
    let script = &transaction.output.first()?.script_pubkey;
    let chain_id = ChainId::from_byte_array(*script.as_bytes().get(2..)?.first_chunk()?);
    Some((chain_id, Binding::parse(script, chain_id)?))
}

/// What is said of any transaction.
fn transaction_lines(transaction: &Transaction) -> (serde_json::Value, Vec<super::Line>) {
    // A transaction that nobody has checked may pay more than there is.
    let total_sat: u128 = transaction.output.iter().map(|output| u128::from(output.value.to_sat())).sum();
    let txid = transaction.compute_txid().to_string();
    let mut report = json!({
        "txid": txid,
        "inputs": transaction.input.len(),
        "outputs": transaction.output.len(),
        "output_sat": u64::try_from(total_sat).ok(),
    });
    let mut lines = vec![
        ("transaction", txid),
        ("inputs", transaction.input.len().to_string()),
        ("outputs", format!("{}, {total_sat} sat in all", transaction.output.len())),
    ];
    if let Some((chain_id, Binding { first, count })) = binding(transaction) {
        report["payouts"] = json!({ "chain_id": chain_id, "first": first, "count": count });
        lines.push(("payouts", format!("{count} from index {first} on, of rollup {chain_id}")));
    }
    (report, lines)
}

/// A transaction, as `taproof bridge combine` writes it.
fn transaction(transaction: &Transaction) -> Result<Finding> {
    let (mut report, mut lines) = transaction_lines(transaction);
    report["vsize_vb"] = transaction.vsize().into();
    lines.push(("size", format!("{} vB", transaction.vsize())));
    let format = if binding(transaction).is_some() { "payout link" } else { "bitcoin transaction" };
    Finding::new(format, &report, lines)
}

/// The output that an input of a PSBT spends, if the PSBT has it.
fn spent(psbt: &Psbt, index: usize) -> Option<&TxOut> {
    let input = psbt.inputs.get(index)?;
    let OutPoint { txid, vout } = psbt.unsigned_tx.input.get(index)?.previous_output;
    let whole = input.non_witness_utxo.as_ref().filter(|transaction| transaction.compute_txid() == txid);
    input.witness_utxo.as_ref().or_else(|| whole?.output.get(vout as usize))
}

/// A PSBT: what it would do, and how far it is signed.
fn psbt(psbt: &Psbt) -> Result<Finding> {
    let (mut report, mut lines) = transaction_lines(&psbt.unsigned_tx);
    let values = (0..psbt.inputs.len()).map(|index| Some(spent(psbt, index)?.value.to_sat()));
    let spent_sat = values
        .collect::<Option<Vec<_>>>()
        .and_then(|values| values.into_iter().try_fold(0u64, |sum, value| sum.checked_add(value)));
    let fee_sat = spent_sat.zip(report["output_sat"].as_u64()).and_then(|(spent, paid)| spent.checked_sub(paid));
    let fee_text = |fee_sat: Option<u64>| match fee_sat {
        Some(fee_sat) => format!("{fee_sat} sat, if the values that it claims to spend are right"),
        None => "not known: it does not say what it spends, or spends less than it pays".to_owned(),
    };
    lines.push(("fee", fee_text(fee_sat.filter(|_| !psbt.inputs.is_empty()))));
    let is_final =
        |input: &bitcoin::psbt::Input| input.final_script_witness.is_some() || input.final_script_sig.is_some();
    let finalised = psbt.inputs.iter().filter(|input| is_final(input)).count();
    let signatures = |input: &bitcoin::psbt::Input| {
        input.partial_sigs.len() + input.tap_script_sigs.len() + usize::from(input.tap_key_sig.is_some())
    };
    let signed: usize = psbt.inputs.iter().map(signatures).sum();
    let inputs = counted(psbt.inputs.len(), "input");
    lines.push(("signed", format!("{}, {finalised} of {inputs} finalised", counted(signed, "signature"))));
    report["fee_sat"] = fee_sat.filter(|_| !psbt.inputs.is_empty()).into();
    report["signatures"] = signed.into();
    report["finalised_inputs"] = finalised.into();
    Finding::new("psbt", &report, lines)
}
