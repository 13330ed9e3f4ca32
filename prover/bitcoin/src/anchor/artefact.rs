//! A signed anchor as a file: JSON that people can read, checked in every part when it is read back.

use super::{Funding, check_sizes};
use crate::consensus;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Transaction, TxOut, Txid, XOnlyPublicKey, consensus::encode};
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    cell::ChainId,
    envelope::{Announcement, Envelope, Reveal},
};

/// The version of the format.
const VERSION: u32 = 1;
/// The longest text that is read: two hexadecimal digits a byte of the largest package, and as much again.
const MAX_TEXT_BYTES: usize = 2_000_000;

/// The two transactions of an anchor, signed, and the coins that they spend.
///
/// There is no way to one but [`super::build`] and [`AnchorArtefact::from_json`]: its signatures hold, its reveal
/// spends its commit, and follows the grammar of anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorArtefact {
    network: Network,
    chain_id: ChainId,
    poster: XOnlyPublicKey,
    announcement: Announcement,
    payload: Vec<u8>,
    commit: Transaction,
    reveal: Transaction,
    funding: Vec<Funding>,
}

/// What one of the two transactions costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionFigures {
    /// The transaction.
    pub txid: Txid,
    /// Its weight.
    pub weight_wu: u64,
    /// Its virtual size.
    pub vsize_vb: u64,
    /// Its fee.
    pub fee_sat: u64,
}

/// Why a text is no [`AnchorArtefact`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorFileError {
    /// The text is longer than any anchor.
    #[error("{0} bytes, more than an anchor has")]
    Size(usize),
    /// The text is not JSON of this form.
    #[error("not an anchor's JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is of a version that is not known.
    #[error("version {0}, where {VERSION} is known")]
    Version(u32),
    /// A field says something else than the transactions.
    #[error("the field {0} does not agree with the transactions")]
    Disagrees(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    network: Network,
    chain_id: ChainId,
    batch: u64,
    payload_hash: String,
    commit: TransactionText,
    reveal: TransactionText,
    funding: Vec<FundingText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransactionText {
    txid: Txid,
    vsize_vb: u64,
    fee_sat: u64,
    hex: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FundingText {
    outpoint: OutPoint,
    value_sat: u64,
    script_pubkey: ScriptBuf,
}

impl AnchorArtefact {
    pub(super) fn from_parts(
        network: Network,
        envelope: &Envelope,
        commit: Transaction,
        reveal: Transaction,
        funding: Vec<Funding>,
    ) -> Self {
        let (chain_id, announcement) = (envelope.chain_id(), envelope.announcement());
        let parsed = Reveal::parse(&reveal, chain_id).ok().flatten().expect("the envelope writes what it parses");
        assert_eq!(parsed.announcement(), announcement, "the reveal announces its own payload");
        let poster = parsed.poster();
        Self { network, chain_id, poster, announcement, payload: parsed.into_payload(), commit, reveal, funding }
    }

    /// The network whose coins are spent.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The rollup.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The key that signed the reveal.
    pub fn poster(&self) -> XOnlyPublicKey {
        self.poster
    }

    /// What the reveal announces: the batch, the payload's hash and the root after.
    pub fn announcement(&self) -> Announcement {
        self.announcement
    }

    /// The encoded payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The commit.
    pub fn commit(&self) -> &Transaction {
        &self.commit
    }

    /// The reveal.
    pub fn reveal(&self) -> &Transaction {
        &self.reveal
    }

    /// The coins that the commit spends.
    pub fn funding(&self) -> &[Funding] {
        &self.funding
    }

    /// What the commit costs.
    pub fn commit_figures(&self) -> TransactionFigures {
        let spent: u64 = self.funding.iter().map(|coin| coin.output.value.to_sat()).sum();
        figures(&self.commit, spent).expect("a checked commit spends no more than it has")
    }

    /// What the reveal costs.
    pub fn reveal_figures(&self) -> TransactionFigures {
        figures(&self.reveal, self.commit.output[0].value.to_sat())
            .expect("a checked reveal spends what the commit locks")
    }

    /// Writes JSON: amounts in satoshi, transactions in hexadecimal.
    pub fn to_json(&self) -> String {
        let funding = |coin: &Funding| FundingText {
            outpoint: coin.outpoint,
            value_sat: coin.output.value.to_sat(),
            script_pubkey: coin.output.script_pubkey.clone(),
        };
        let text = Text {
            version: VERSION,
            network: self.network,
            chain_id: self.chain_id,
            batch: self.announcement.batch,
            payload_hash: self.announcement.payload_hash.to_string(),
            commit: transaction_text(&self.commit, self.commit_figures()),
            reveal: transaction_text(&self.reveal, self.reveal_figures()),
            funding: self.funding.iter().map(funding).collect(),
        };
        serde_json::to_string_pretty(&text).expect("the text holds strings and numbers alone")
    }

    /// Reads what [`AnchorArtefact::to_json`] writes, and checks every part of it against the others and all
    /// signatures.
    ///
    /// # Errors
    /// [`AnchorFileError`].
    pub fn from_json(json: &str) -> Result<Self, AnchorFileError> {
        /// The one field that is looked at before the rest is taken for this version's.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if json.len() > MAX_TEXT_BYTES {
            return Err(AnchorFileError::Size(json.len()));
        }
        let Versioned { version } = serde_json::from_str(json)?;
        if version != VERSION {
            return Err(AnchorFileError::Version(version));
        }
        let text: Text = serde_json::from_str(json)?;
        check_text(text)
    }
}

fn check_text(text: Text) -> Result<AnchorArtefact, AnchorFileError> {
    let chain_id = text.chain_id;
    let commit = decode(&text.commit, "commit")?;
    let reveal = decode(&text.reveal, "reveal")?;
    let funding: Vec<Funding> = text.funding.into_iter().map(Funding::from).collect();
    let spends = commit.input.iter().map(|input| input.previous_output);
    if !spends.eq(funding.iter().map(|coin| coin.outpoint)) {
        return Err(AnchorFileError::Disagrees("funding"));
    }
    let parsed = Reveal::parse(&reveal, chain_id).ok().flatten().ok_or(AnchorFileError::Disagrees("reveal.hex"))?;
    let locked = commit.output.first().ok_or(AnchorFileError::Disagrees("commit.hex"))?;
    let (poster, announcement) = (parsed.poster(), parsed.announcement());
    let payload = parsed.into_payload();
    let envelope = Envelope::new(poster, &payload).map_err(|_| AnchorFileError::Disagrees("reveal.hex"))?;
    let spends_commit = reveal.input[0].previous_output == OutPoint { txid: commit.compute_txid(), vout: 0 };
    if !spends_commit || envelope.announcement() != announcement || check_sizes(&commit, &reveal).is_err() {
        return Err(AnchorFileError::Disagrees("reveal.hex"));
    }
    if envelope.chain_id() != chain_id {
        return Err(AnchorFileError::Disagrees("chain_id"));
    }
    if announcement.batch != text.batch {
        return Err(AnchorFileError::Disagrees("batch"));
    }
    if announcement.payload_hash.to_string() != text.payload_hash {
        return Err(AnchorFileError::Disagrees("payload_hash"));
    }
    let outputs: Vec<TxOut> = funding.iter().map(|coin| coin.output.clone()).collect();
    let spent = sum_sat(&outputs).ok_or(AnchorFileError::Disagrees("funding"))?;
    check_figures(&commit, spent, &text.commit, "commit")?;
    check_figures(&reveal, locked.value.to_sat(), &text.reveal, "reveal")?;
    consensus::check_scripts(&commit, &outputs).map_err(|_| AnchorFileError::Disagrees("funding"))?;
    let locked = std::slice::from_ref(locked);
    consensus::check_scripts(&reveal, locked).map_err(|_| AnchorFileError::Disagrees("reveal.hex"))?;
    let network = text.network;
    Ok(AnchorArtefact { network, chain_id, poster, announcement, payload, commit, reveal, funding })
}

impl From<FundingText> for Funding {
    fn from(text: FundingText) -> Self {
        let output = TxOut { value: Amount::from_sat(text.value_sat), script_pubkey: text.script_pubkey };
        Self { outpoint: text.outpoint, output }
    }
}

fn decode(text: &TransactionText, field: &'static str) -> Result<Transaction, AnchorFileError> {
    encode::deserialize_hex(&text.hex).map_err(|_| AnchorFileError::Disagrees(field))
}

fn transaction_text(transaction: &Transaction, figures: TransactionFigures) -> TransactionText {
    let TransactionFigures { txid, vsize_vb, fee_sat, .. } = figures;
    TransactionText { txid, vsize_vb, fee_sat, hex: encode::serialize_hex(transaction) }
}

fn check_figures(
    transaction: &Transaction,
    spent_sat: u64,
    text: &TransactionText,
    field: &'static str,
) -> Result<(), AnchorFileError> {
    let figures = figures(transaction, spent_sat).ok_or(AnchorFileError::Disagrees(field))?;
    let same = (figures.txid, figures.vsize_vb, figures.fee_sat) == (text.txid, text.vsize_vb, text.fee_sat);
    if same { Ok(()) } else { Err(AnchorFileError::Disagrees(field)) }
}

/// Measures a transaction; `None` if it pays out more than it spends.
fn figures(transaction: &Transaction, spent_sat: u64) -> Option<TransactionFigures> {
    let weight_wu = transaction.weight().to_wu();
    Some(TransactionFigures {
        txid: transaction.compute_txid(),
        weight_wu,
        vsize_vb: weight_wu.div_ceil(4),
        fee_sat: spent_sat.checked_sub(sum_sat(&transaction.output)?)?,
    })
}

fn sum_sat(outputs: &[TxOut]) -> Option<u64> {
    let sum = outputs.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value))?;
    (sum <= Amount::MAX_MONEY).then_some(sum.to_sat())
}
