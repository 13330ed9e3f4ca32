//! Builds the two transactions of an anchor, signed: a commit that locks coins to the envelope's leaf, and the reveal
//! that spends it and so shows the payload.
//!
//! The commit spends coins of the poster (taproot without script, or version 0 key hash), pays output 0 to the leaf and
//! returns the rest. The reveal's output 0 announces the anchor; its output 1 returns what is left to the poster: the
//! headroom, from which a replacement of the reveal can later pay a higher fee. Both signal replaceability. Taproot
//! signatures have one length, so fees are computed on the sizes that result. If the reveal is not wanted any more,
//! [`AnchorArtefact::sweep`] takes the commit's output back by the poster's key alone.

mod artefact;
mod commit_spends;

#[cfg(test)]
mod tests;

use crate::consensus::{self, TransactionError};
use bitcoin::{
    Amount, EcdsaSighashType, Network, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut,
    Witness, XOnlyPublicKey,
    absolute::LockTime,
    ecdsa,
    hashes::Hash,
    key::{Keypair, Secp256k1, TapTweak},
    secp256k1::{All, Message},
    sighash::{Prevouts, SighashCache},
    taproot,
    transaction::Version,
};
use std::collections::HashSet;
use taproof_verifier::envelope::{Envelope, EnvelopeError};
use taproof_wallet::{PosterKey, PosterScripts};

pub use crate::fee_rate::{FeeRate, FeeRateError};
pub use artefact::{AnchorArtefact, AnchorFileError, TransactionFigures};
pub(crate) use commit_spends::{sign_sweep, sweep_weight, unsigned_reveal, unsigned_sweep};

/// The largest package of commit and reveal that nodes relay, in virtual bytes.
pub const MAX_PACKAGE_VSIZE_VB: u64 = 101_000;
/// The heaviest package of commit and reveal that nodes relay, in weight units.
pub const MAX_PACKAGE_WEIGHT_WU: u64 = 404_000;
/// The heaviest single transaction that nodes relay, in weight units.
pub const MAX_RELAY_WEIGHT_WU: u64 = 400_000;

/// An unspent output of the poster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funding {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value and script.
    pub output: TxOut,
}

/// What an anchor is built from.
#[derive(Clone, Debug)]
pub struct AnchorRequest<'a> {
    /// The encoded payload.
    pub payload: &'a [u8],
    /// What commit and reveal each pay for their size.
    pub fee_rate: FeeRate,
    /// What the reveal returns to the poster: the most that replacing it can add to its fee, less the dust limit.
    pub headroom: Amount,
    /// Coins to take from, as few of the largest as suffice.
    pub funding: &'a [Funding],
}

/// Why an anchor, or its sweep, was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The payload does not fit an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A coin is not the poster's, or not at an address that is known.
    #[error("the output {0} is not at an address of the poster")]
    ForeignFunding(OutPoint),
    /// A coin is given twice.
    #[error("the output {0} is given twice")]
    DuplicateFunding(OutPoint),
    /// The coins do not suffice.
    #[error("{needed_sat} sat are needed for outputs and fees, and the coins given are worth {available_sat} sat")]
    InsufficientFunds {
        /// Outputs and fees, if all coins are spent.
        needed_sat: u64,
        /// The sum of all coins.
        available_sat: u64,
    },
    /// The headroom is too little for an output that is relayed.
    #[error("a headroom of {headroom_sat} sat is below the dust limit of {dust_sat} sat")]
    Headroom {
        /// The headroom.
        headroom_sat: u64,
        /// The least that is relayed.
        dust_sat: u64,
    },
    /// Values exceed the supply of bitcoin.
    #[error("the values exceed the supply of bitcoin")]
    ValueRange,
    /// Commit and reveal are too large together, as with a great many coins.
    #[error(
        "{vsize_vb} vB and {weight_wu} WU, where a package has at most {MAX_PACKAGE_VSIZE_VB} vB and \
         {MAX_PACKAGE_WEIGHT_WU} WU"
    )]
    PackageSize {
        /// The sum of virtual sizes.
        vsize_vb: u64,
        /// The sum of weights.
        weight_wu: u64,
    },
    /// One transaction is too heavy.
    #[error("a transaction of {0} WU, where nodes relay {MAX_RELAY_WEIGHT_WU} WU")]
    TransactionWeight(u64),
    /// The key is not the one that the anchor was built with.
    #[error("the anchor was built with another poster's key")]
    NotPoster,
    /// Nothing worth an output would be left of a commit.
    #[error("the commit's {value_sat} sat do not pay a fee of {fee_sat} sat and leave more than dust")]
    NothingToSweep {
        /// The commit's output.
        value_sat: u64,
        /// The fee for sweeping it.
        fee_sat: u64,
    },
    /// Bitcoin's script code refuses what was built.
    #[error("the transaction does not hold: {0}")]
    Script(#[from] TransactionError),
}

/// Builds and signs an anchor.
///
/// # Errors
/// Each of [`AnchorError`] but those of sweeping.
pub fn build(request: &AnchorRequest<'_>, poster: &PosterKey) -> Result<AnchorArtefact, AnchorError> {
    draft(request, &poster.scripts())?.sign(poster)
}

/// Builds an anchor and signs nothing: for this only public keys are needed.
///
/// # Errors
/// As [`build`], but for signatures.
pub fn draft(request: &AnchorRequest<'_>, poster: &PosterScripts) -> Result<AnchorDraft, AnchorError> {
    draft_with_leaf_key(request, poster, poster.public())
}

/// As [`draft`], with another key than the poster's for the leaf and as its internal key: that key signs reveals and
/// sweeps, and the poster's the commit alone. Coins, change and what the reveal returns are the poster's.
///
/// # Errors
/// As [`draft`].
pub fn draft_with_leaf_key(
    request: &AnchorRequest<'_>,
    poster: &PosterScripts,
    leaf_key: XOnlyPublicKey,
) -> Result<AnchorDraft, AnchorError> {
    let secp = Secp256k1::new();
    let envelope = Envelope::new(leaf_key, request.payload)?;
    let change_script = poster.script_pubkey();
    let dust = change_script.minimal_non_dust();
    if request.headroom < dust {
        let (headroom_sat, dust_sat) = (request.headroom.to_sat(), dust.to_sat());
        return Err(AnchorError::Headroom { headroom_sat, dust_sat });
    }
    let change = TxOut { value: request.headroom, script_pubkey: change_script };
    let sized = envelope.reveal_transaction(OutPoint::null(), Amount::ZERO, change.clone())?;
    let sized_reveal = with_placeholder(&secp, &envelope, sized);
    let locked = request.headroom.checked_add(request.fee_rate.fee(sized_reveal.weight()));
    let locked = locked.filter(|value| *value <= Amount::MAX_MONEY).ok_or(AnchorError::ValueRange)?;

    let commit_output = TxOut { value: locked, script_pubkey: envelope.commit_script_pubkey(&secp) };
    let (mut commit, funding) = fund(vec![commit_output], request.fee_rate, request.funding, poster)?;
    check_sizes(&commit, &sized_reveal)?;
    commit.input.iter_mut().for_each(|input| input.witness.clear());
    let reveal = envelope.reveal_transaction(OutPoint { txid: commit.compute_txid(), vout: 0 }, locked, change)?;
    let network = poster.network();
    Ok(AnchorDraft { network, envelope, commit, reveal, funding })
}

/// The two transactions of an anchor, without signatures. Signing changes no txid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorDraft {
    network: Network,
    envelope: Envelope,
    commit: Transaction,
    reveal: Transaction,
    funding: Vec<Funding>,
}

impl AnchorDraft {
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

    /// What the commit locks to, and what the reveal announces.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Signs both transactions.
    ///
    /// # Errors
    /// [`AnchorError::NotPoster`], and [`AnchorError::Script`], which a draft of [`draft`] does not bring about.
    pub fn sign(self, poster: &PosterKey) -> Result<AnchorArtefact, AnchorError> {
        if self.envelope.poster() != poster.public() || self.network != poster.network() {
            return Err(AnchorError::NotPoster);
        }
        let Self { network, envelope, mut commit, mut reveal, funding } = self;
        let secp = Secp256k1::new();
        sign_funding(&secp, &mut commit, &funding, poster);
        let commit_output = commit.output[0].clone();
        sign_reveal(&secp, &mut reveal, &commit_output, &envelope, poster.pair());
        check_sizes(&commit, &reveal)?;
        consensus::check_scripts(&commit, &funding.iter().map(|coin| coin.output.clone()).collect::<Vec<_>>())?;
        consensus::check_scripts(&reveal, &[commit_output])?;
        Ok(AnchorArtefact::from_parts(network, &envelope, commit, reveal, funding))
    }
}

/// Builds and signs a payment from the poster's coins, as for a deposit; the change comes after the outputs given,
/// unless it would be dust.
///
/// # Errors
/// [`AnchorError`] for coins that are not the poster's or do not suffice, and for a transaction that is too heavy.
pub fn pay(
    outputs: Vec<TxOut>,
    fee_rate: FeeRate,
    funding: &[Funding],
    poster: &PosterKey,
) -> Result<Transaction, AnchorError> {
    let (mut transaction, coins) = fund(outputs, fee_rate, funding, &poster.scripts())?;
    sign_funding(&Secp256k1::new(), &mut transaction, &coins, poster);
    let weight = transaction.weight().to_wu();
    if weight > MAX_RELAY_WEIGHT_WU {
        return Err(AnchorError::TransactionWeight(weight));
    }
    consensus::check_scripts(&transaction, &coins.into_iter().map(|coin| coin.output).collect::<Vec<_>>())?;
    Ok(transaction)
}

/// A reveal with a witness as long as the signed one's.
fn with_placeholder(secp: &Secp256k1<All>, envelope: &Envelope, mut sized: Transaction) -> Transaction {
    // The leaf and the control block come from the envelope, which writes them after any signature.
    let signature = taproot::Signature::from_slice(&[1; 64]).expect("64 bytes are a signature");
    sized.input[0].witness = envelope.witness(secp, &signature);
    sized
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FundingKind {
    TaprootKey,
    WitnessV0KeyHash,
}

fn funding_kind(coin: &Funding, poster: &PosterScripts) -> Result<FundingKind, AnchorError> {
    match &coin.output.script_pubkey {
        script if *script == poster.script_pubkey() => Ok(FundingKind::TaprootKey),
        script if Some(script) == poster.witness_v0_script_pubkey() => Ok(FundingKind::WitnessV0KeyHash),
        _ => Err(AnchorError::ForeignFunding(coin.outpoint)),
    }
}

/// A witness as long as the signed one can get.
fn placeholder_witness(kind: FundingKind) -> Witness {
    match kind {
        FundingKind::TaprootKey => Witness::from_slice(&[[1u8; 64]]),
        // A signature in DER with a low R and a low S has at most 70 bytes, and one more names what is signed.
        FundingKind::WitnessV0KeyHash => Witness::from_slice(&[[0u8; 71].as_slice(), &[0u8; 33]]),
    }
}

/// Chooses coins for a transaction that pays `outputs`, and returns the rest to the poster unless it would be dust.
fn fund(
    outputs: Vec<TxOut>,
    fee_rate: FeeRate,
    funding: &[Funding],
    poster: &PosterScripts,
) -> Result<(Transaction, Vec<Funding>), AnchorError> {
    let coins = largest_first(funding, poster)?;
    let paid = outputs.iter().try_fold(Amount::ZERO, |sum, output| add(sum, output.value))?;
    let change_script = poster.script_pubkey();
    let dust = change_script.minimal_non_dust();
    let mut exact =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output: outputs };
    let mut with_change = exact.clone();
    with_change.output.push(TxOut { value: Amount::ZERO, script_pubkey: change_script });
    let input = |previous_output, kind| TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: placeholder_witness(kind),
    };
    // May be more than there is in the world: no coins suffice then, and what they are worth is told.
    let with_fee = |weight| paid.checked_add(fee_rate.fee(weight)).ok_or(AnchorError::ValueRange);
    // Where there is no coin, what one is to be worth at the least.
    let mut with_one = exact.clone();
    with_one.input.push(input(OutPoint::null(), FundingKind::TaprootKey));
    let (mut available, mut needed) = (Amount::ZERO, with_fee(with_one.weight())?);
    for (position, (kind, coin)) in coins.iter().enumerate() {
        let input = input(coin.outpoint, *kind);
        exact.input.push(input.clone());
        with_change.input.push(input);
        available = add(available, coin.output.value)?;
        needed = with_fee(exact.weight())?;
        let needed_with_change = with_fee(with_change.weight())?;
        let chosen = || coins[..=position].iter().map(|(_, coin)| (*coin).clone()).collect();
        if let Some(change) = available.checked_sub(needed_with_change).filter(|change| *change >= dust) {
            with_change.output.last_mut().expect("the change was pushed").value = change;
            return Ok((with_change, chosen()));
        }
        if available >= needed {
            return Ok((exact, chosen()));
        }
    }
    Err(AnchorError::InsufficientFunds { needed_sat: needed.to_sat(), available_sat: available.to_sat() })
}

/// The coins with their kinds, in an order that does not depend on the one given.
fn largest_first<'a>(
    funding: &'a [Funding],
    poster: &PosterScripts,
) -> Result<Vec<(FundingKind, &'a Funding)>, AnchorError> {
    let mut seen = HashSet::new();
    let mut coins = Vec::with_capacity(funding.len());
    for coin in funding {
        if !seen.insert(coin.outpoint) {
            return Err(AnchorError::DuplicateFunding(coin.outpoint));
        }
        coins.push((funding_kind(coin, poster)?, coin));
    }
    coins.sort_by_key(|(_, coin)| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    Ok(coins)
}

fn add(a: Amount, b: Amount) -> Result<Amount, AnchorError> {
    a.checked_add(b).filter(|sum| *sum <= Amount::MAX_MONEY).ok_or(AnchorError::ValueRange)
}

fn sign_funding(secp: &Secp256k1<All>, commit: &mut Transaction, coins: &[Funding], poster: &PosterKey) {
    let outputs: Vec<TxOut> = coins.iter().map(|coin| coin.output.clone()).collect();
    for (input, output) in outputs.iter().enumerate() {
        let witness = if output.script_pubkey.is_p2tr() {
            let pair = poster.pair().tap_tweak(secp, None).to_keypair();
            taproot_key_witness(secp, commit, input, &outputs, &pair)
        } else {
            let sighash = SighashCache::new(&*commit)
                .p2wpkh_signature_hash(input, &output.script_pubkey, output.value, EcdsaSighashType::All)
                .expect("fund takes key hashes only");
            let message = Message::from_digest(sighash.to_byte_array());
            let signature = ecdsa::Signature {
                signature: secp.sign_ecdsa_low_r(&message, &poster.pair().secret_key()),
                sighash_type: EcdsaSighashType::All,
            };
            Witness::p2wpkh(&signature, &poster.pair().public_key())
        };
        commit.input[input].witness = witness;
    }
}

fn taproot_key_witness(
    secp: &Secp256k1<All>,
    transaction: &Transaction,
    input: usize,
    outputs: &[TxOut],
    pair: &Keypair,
) -> Witness {
    let sighash = SighashCache::new(transaction)
        .taproot_key_spend_signature_hash(input, &Prevouts::All(outputs), TapSighashType::Default)
        .expect("every spent output is given");
    let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), pair);
    Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type: TapSighashType::Default })
}

pub(crate) fn sign_reveal(
    secp: &Secp256k1<All>,
    reveal: &mut Transaction,
    commit_output: &TxOut,
    envelope: &Envelope,
    poster: &Keypair,
) {
    let spent = [commit_output];
    let sighash = SighashCache::new(&*reveal)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(&spent), envelope.leaf_hash(), TapSighashType::Default)
        .expect("the spent output is given");
    let message = Message::from_digest(sighash.to_byte_array());
    let signature = secp.sign_schnorr_no_aux_rand(&message, poster);
    let signature = taproot::Signature { signature, sighash_type: TapSighashType::Default };
    reveal.input[0].witness = envelope.witness(secp, &signature);
}

pub(crate) fn check_sizes(commit: &Transaction, reveal: &Transaction) -> Result<(), AnchorError> {
    let weights = [commit, reveal].map(|transaction| transaction.weight().to_wu());
    if let Some(weight) = weights.iter().find(|weight| **weight > MAX_RELAY_WEIGHT_WU) {
        return Err(AnchorError::TransactionWeight(*weight));
    }
    let weight_wu = weights.iter().sum();
    let vsize_vb = weights.iter().map(|weight| weight.div_ceil(4)).sum();
    if vsize_vb > MAX_PACKAGE_VSIZE_VB || weight_wu > MAX_PACKAGE_WEIGHT_WU {
        return Err(AnchorError::PackageSize { vsize_vb, weight_wu });
    }
    Ok(())
}
