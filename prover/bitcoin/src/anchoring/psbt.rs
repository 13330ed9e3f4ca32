//! Keys that are kept elsewhere: commit, reveals and sweeps travel as PSBTs (BIP-174, with the taproot fields of
//! BIP-371).
//!
//! A signer is asked once a batch. Beside the commit it signs a ladder of reveals at rising fees, so that the service
//! can raise fees for hours without asking again. What comes back is checked as if it came from a stranger: the
//! transaction is the one that was given out, each signature signs all of it, and Bitcoin's own script code accepts
//! it.

use super::{Attempt, Generation, Job, Sweep};
use crate::{
    anchor::{AnchorError, FeeRate, sweep_weight, unsigned_sweep},
    consensus::{TransactionError, check_scripts},
};
use bitcoin::{
    Psbt, TapSighashType, Transaction, TxOut, Txid, Witness,
    bip32::KeySource,
    key::Secp256k1,
    psbt::{Input, Output},
    taproot::{LeafVersion, Signature},
};
use taproof_wallet::PosterScripts;

/// Why a PSBT is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PsbtError {
    /// The transaction is none that was given out.
    #[error("transaction {0} belongs to no anchor of this batch")]
    Unknown(Txid),
    /// An input claims to spend another output.
    #[error("input {0} claims to spend another output")]
    SpentOutput(usize),
    /// An input is not signed by the poster's key.
    #[error("input {0} is not signed by the poster's key")]
    Unsigned(usize),
    /// A signature does not sign the whole transaction.
    #[error("the signature of input {0} does not sign the whole transaction")]
    SighashType(usize),
    /// The witness has another form than the poster's.
    #[error("the witness of input {0} has another form")]
    Witness(usize),
    /// A reveal or a sweep is signed by the key path of the output that it spends, where only the leaf counts.
    #[error(
        "input {0} is signed for the key path of its output, and only a signature for its leaf counts: its wallet \
         takes the internal \
        key for its own"
    )]
    KeyPath(usize),
    /// A signature is wrong.
    #[error(transparent)]
    Script(#[from] TransactionError),
}

/// What a PSBT turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A commit.
    Commit,
    /// The reveal at this fee, in satoshi.
    Reveal(u64),
    /// The sweep at this fee, in satoshi.
    Sweep(u64),
}

/// The commit of a generation, to be signed.
pub fn commit(generation: &Generation, poster: &PosterScripts, origin: Option<&KeySource>) -> Psbt {
    let mut psbt = unsigned(generation.commit());
    for (input, coin) in psbt.inputs.iter_mut().zip(generation.funding()) {
        *input = key_spend(coin.output.clone(), poster, origin);
    }
    describe_outputs(&mut psbt, poster, origin);
    psbt
}

/// Whether a key of the service's own signs a generation's reveals and sweeps, so that only the commit is to be
/// signed elsewhere.
pub fn has_hot_leaf(generation: &Generation, poster: &PosterScripts) -> bool {
    generation.envelope.poster() != poster.public()
}

/// The reveals of a generation at rising fees, to be signed.
pub fn reveals(generation: &Generation, poster: &PosterScripts, origin: Option<&KeySource>) -> Vec<Psbt> {
    let secp = Secp256k1::new();
    let envelope = &generation.envelope;
    let spend_info = envelope.spend_info(&secp);
    let leaf = (envelope.leaf().to_owned(), LeafVersion::TapScript);
    let control = spend_info.control_block(&leaf).expect("the leaf is in its own tree");
    let reveal = |attempt: &Attempt| {
        let mut psbt = unsigned(attempt.transaction());
        psbt.inputs[0] = Input {
            witness_utxo: Some(generation.commit.output[0].clone()),
            tap_internal_key: Some(envelope.poster()),
            tap_merkle_root: spend_info.merkle_root(),
            tap_scripts: [(control.clone(), leaf.clone())].into(),
            tap_key_origins: origin
                .map(|origin| (envelope.poster(), (vec![envelope.leaf_hash()], origin.clone())))
                .into_iter()
                .collect(),
            ..Input::default()
        };
        describe_outputs(&mut psbt, poster, origin);
        psbt
    };
    generation.attempts().iter().map(reveal).collect()
}

/// A sweep of a generation's commit, to be signed.
///
/// # Errors
/// [`AnchorError::NothingToSweep`].
pub fn sweep(
    generation: &Generation,
    poster: &PosterScripts,
    fee_rate: FeeRate,
    origin: Option<&KeySource>,
) -> Result<Psbt, AnchorError> {
    let script = poster.script_pubkey();
    let fee = fee_rate.fee(sweep_weight(script.clone()));
    let sweep = unsigned_sweep(generation.commit.compute_txid(), generation.locked(), fee, script)?;
    let mut psbt = unsigned(&sweep);
    psbt.inputs[0] = Input {
        tap_merkle_root: generation.envelope.spend_info(&Secp256k1::new()).merkle_root(),
        ..key_spend(generation.commit.output[0].clone(), poster, origin)
    };
    describe_outputs(&mut psbt, poster, origin);
    Ok(psbt)
}

/// Takes the signatures of a PSBT into the job that it was made from.
///
/// # Errors
/// [`PsbtError`], with nothing changed.
pub fn accept(job: &mut Job, psbt: &Psbt) -> Result<Accepted, PsbtError> {
    let txid = psbt.unsigned_tx.compute_txid();
    for generation in &mut job.generations {
        if generation.commit.compute_txid() == txid {
            let outputs: Vec<TxOut> = generation.funding.iter().map(|coin| coin.output.clone()).collect();
            let witnesses = outputs.iter().enumerate().map(|(index, output)| key_witness(psbt, index, output));
            let commit = with_witnesses(&generation.commit, witnesses.collect::<Result<_, _>>()?);
            check_scripts(&commit, &outputs)?;
            generation.commit = commit;
            return Ok(Accepted::Commit);
        }
        let locked = generation.commit.output[0].clone();
        if let Some(attempt) = generation.attempts.iter_mut().find(|rung| rung.transaction.compute_txid() == txid) {
            let signature = leaf_signature(psbt, &generation.envelope, &locked)?;
            let witness = generation.envelope.witness(&Secp256k1::new(), &signature);
            let reveal = with_witnesses(&attempt.transaction, vec![witness]);
            check_scripts(&reveal, &[locked])?;
            attempt.transaction = reveal;
            return Ok(Accepted::Reveal(attempt.fee_sat));
        }
        let output = generation.output();
        if psbt.unsigned_tx.input.iter().map(|input| input.previous_output).eq([output]) {
            let mut values = psbt.unsigned_tx.output.iter().map(|output| output.value.to_sat());
            let paid_sat = values.try_fold(0u64, u64::checked_add).ok_or(TransactionError::ValueRange)?;
            let overspent = TransactionError::Overspent { inputs_sat: locked.value.to_sat(), outputs_sat: paid_sat };
            let fee_sat = locked.value.to_sat().checked_sub(paid_sat).ok_or(overspent)?;
            let transaction = with_witnesses(&psbt.unsigned_tx, vec![key_witness(psbt, 0, &locked)?]);
            check_scripts(&transaction, &[locked])?;
            // The service knows the height when it takes the sweep over.
            generation.sweeps.push(Sweep { transaction, fee_sat, sent: 0 });
            return Ok(Accepted::Sweep(fee_sat));
        }
    }
    Err(PsbtError::Unknown(txid))
}

impl Job {
    /// Takes over what another copy of the job has signed, at a height of the tip.
    pub(super) fn take_signatures(&mut self, signed: &Self, height: u32) {
        // What failed for want of them is tried again at this tip.
        (self.refused, self.sweep_refused) = (None, None);
        for generation in &mut self.generations {
            let txid = generation.commit.compute_txid();
            let same = |other: &&Generation| other.commit.compute_txid() == txid;
            let Some(signed) = signed.generations.iter().find(same) else { continue };
            if generation.commit.input.iter().any(|input| input.witness.is_empty()) {
                generation.commit = signed.commit.clone();
            }
            for attempt in generation.attempts.iter_mut().filter(|attempt| !attempt.is_signed()) {
                let txid = attempt.transaction.compute_txid();
                let same = |other: &&Attempt| other.transaction.compute_txid() == txid;
                if let Some(signed) = signed.attempts.iter().find(same) {
                    attempt.transaction = signed.transaction.clone();
                }
            }
            for sweep in &signed.sweeps {
                let txid = sweep.transaction.compute_txid();
                if generation.sweeps.iter().all(|known| known.transaction.compute_txid() != txid) {
                    generation.sweeps.push(Sweep { sent: height, ..sweep.clone() });
                    generation.broadcast = None;
                }
            }
        }
    }
}

fn unsigned(transaction: &Transaction) -> Psbt {
    let mut unsigned = transaction.clone();
    unsigned.input.iter_mut().for_each(|input| input.witness.clear());
    Psbt::from_unsigned_tx(unsigned).expect("neither script nor witness is left")
}

fn with_witnesses(transaction: &Transaction, witnesses: Vec<Witness>) -> Transaction {
    let mut signed = transaction.clone();
    signed.input.iter_mut().zip(witnesses).for_each(|(input, witness)| input.witness = witness);
    signed
}

fn key_spend(spent: TxOut, poster: &PosterScripts, origin: Option<&KeySource>) -> Input {
    Input {
        witness_utxo: Some(spent),
        tap_internal_key: Some(poster.public()),
        tap_key_origins: origin.map(|origin| (poster.public(), (Vec::new(), origin.clone()))).into_iter().collect(),
        ..Input::default()
    }
}

/// Tells the signer which outputs are its own.
fn describe_outputs(psbt: &mut Psbt, poster: &PosterScripts, origin: Option<&KeySource>) {
    let script = poster.script_pubkey();
    for (output, described) in psbt.unsigned_tx.output.iter().zip(&mut psbt.outputs) {
        if output.script_pubkey == script {
            *described = Output {
                tap_internal_key: Some(poster.public()),
                tap_key_origins: origin
                    .map(|origin| (poster.public(), (Vec::new(), origin.clone())))
                    .into_iter()
                    .collect(),
                ..Output::default()
            };
        }
    }
}

/// The input of a PSBT, if it spends what it should.
fn input<'a>(psbt: &'a Psbt, index: usize, spent: &TxOut) -> Result<&'a Input, PsbtError> {
    let input = psbt.inputs.get(index).ok_or(PsbtError::Unsigned(index))?;
    match &input.witness_utxo {
        Some(claimed) if claimed != spent => Err(PsbtError::SpentOutput(index)),
        _ => Ok(input),
    }
}

fn expect_whole(signature: Signature, index: usize) -> Result<Signature, PsbtError> {
    match signature.sighash_type {
        TapSighashType::Default | TapSighashType::All => Ok(signature),
        _ => Err(PsbtError::SighashType(index)),
    }
}

/// The witness of a spend by the taproot key, from the signature or from what a signer has finished.
fn key_witness(psbt: &Psbt, index: usize, spent: &TxOut) -> Result<Witness, PsbtError> {
    let input = input(psbt, index, spent)?;
    let signature = match (&input.tap_key_sig, &input.final_script_witness) {
        (Some(signature), _) => *signature,
        (None, Some(witness)) if witness.len() == 1 => {
            Signature::from_slice(&witness[0]).map_err(|_| PsbtError::Witness(index))?
        }
        (None, Some(_)) => return Err(PsbtError::Witness(index)),
        (None, None) => return Err(PsbtError::Unsigned(index)),
    };
    Ok(Witness::p2tr_key_spend(&expect_whole(signature, index)?))
}

/// The signature over the reveal's leaf.
fn leaf_signature(
    psbt: &Psbt,
    envelope: &taproof_verifier::envelope::Envelope,
    spent: &TxOut,
) -> Result<Signature, PsbtError> {
    let input = input(psbt, 0, spent)?;
    let signature = match input.tap_script_sigs.get(&(envelope.poster(), envelope.leaf_hash())) {
        Some(signature) => *signature,
        None => {
            if input.tap_key_sig.is_some()
                || input.final_script_witness.as_ref().is_some_and(|witness| witness.len() == 1)
            {
                return Err(PsbtError::KeyPath(0));
            }
            let witness = input.final_script_witness.as_ref().ok_or(PsbtError::Unsigned(0))?;
            let signature = witness.nth(0).filter(|_| witness.len() == 3).ok_or(PsbtError::Witness(0))?;
            Signature::from_slice(signature).map_err(|_| PsbtError::Witness(0))?
        }
    };
    expect_whole(signature, 0)
}
