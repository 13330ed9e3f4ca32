//! A job as bytes: [postcard], one form a value. Payloads are kept apart, once each; a reveal is its fee and its
//! signature, from which it is written again. What is read is checked as if it came from somebody else, signatures
//! included.

use super::{
    Attempt, Generation, Identity, Job, JobState, StatementId, Sweep, Transition,
    job::{BumpOrder, HISTORY_MAX},
};
use crate::{
    anchor::{Funding, unsigned_reveal},
    consensus::check_scripts,
};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction, TxOut, Txid, XOnlyPublicKey,
    consensus::encode::{deserialize, serialize},
    hashes::Hash,
    key::Secp256k1,
    taproot,
};
use serde::{Deserialize, Serialize};
use taproof_base::store_error::StoreError;
use taproof_verifier::{envelope::Envelope, payload::PayloadHash};

/// The most commits of one job. Each stands for a payload that the chain asked for.
pub(super) const GENERATIONS_MAX: usize = 64;
/// The most reveals, and the most sweeps, of one commit.
pub(super) const ATTEMPTS_MAX: usize = 128;
/// The longest reason of a transition.
pub(super) const REASON_MAX_BYTES: usize = 1_024;

#[derive(Serialize, Deserialize)]
struct StoredJob {
    batch: u64,
    statement: StatementId,
    state: JobState,
    is_abandoned: bool,
    bump: Option<BumpOrder>,
    is_closed: bool,
    generations: Vec<StoredGeneration>,
    history: Vec<Transition>,
}

#[derive(Serialize, Deserialize)]
struct StoredGeneration {
    payload_hash: [u8; 32],
    commit: Vec<u8>,
    funding: Vec<StoredCoin>,
    attempts: Vec<StoredAttempt>,
    sweeps: Vec<StoredSweep>,
    commit_sent: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct StoredCoin {
    txid: [u8; 32],
    vout: u32,
    value_sat: u64,
    script_pubkey: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct StoredAttempt {
    fee_sat: u64,
    signature: Vec<u8>,
    sent: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct StoredSweep {
    transaction: Vec<u8>,
    sent: u32,
}

impl Job {
    /// Encodes the job without its payloads.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes what [`Job::to_bytes`] encodes, and checks all of it; `payload` gives the payloads, and `leaf_keys`
    /// are those that may sign reveals beside the poster's.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`].
    pub fn from_bytes(
        bytes: &[u8],
        identity: &Identity,
        leaf_keys: &[XOnlyPublicKey],
        payload: impl Fn(PayloadHash) -> Option<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        decode(bytes, identity, leaf_keys, |hash| Ok(payload(hash)))
    }
}

/// Encodes a job without its payloads.
pub(super) fn encode(job: &Job) -> Vec<u8> {
    let coin = |coin: &Funding| StoredCoin {
        txid: coin.outpoint.txid.to_byte_array(),
        vout: coin.outpoint.vout,
        value_sat: coin.output.value.to_sat(),
        script_pubkey: coin.output.script_pubkey.to_bytes(),
    };
    let attempt = |attempt: &Attempt| StoredAttempt {
        fee_sat: attempt.fee_sat,
        signature: attempt.transaction.input[0].witness.nth(0).map(<[u8]>::to_vec).unwrap_or_default(),
        sent: attempt.sent,
    };
    let sweep = |sweep: &Sweep| StoredSweep { transaction: serialize(&sweep.transaction), sent: sweep.sent };
    let generation = |generation: &Generation| StoredGeneration {
        payload_hash: generation.payload_hash().to_byte_array(),
        commit: serialize(&generation.commit),
        funding: generation.funding.iter().map(coin).collect(),
        attempts: generation.attempts.iter().map(attempt).collect(),
        sweeps: generation.sweeps.iter().map(sweep).collect(),
        commit_sent: generation.commit_sent,
    };
    let stored = StoredJob {
        batch: job.batch,
        statement: job.statement,
        state: job.state,
        is_abandoned: job.is_abandoned,
        bump: job.bump,
        is_closed: job.is_closed,
        generations: job.generations.iter().map(generation).collect(),
        history: job.history.clone(),
    };
    postcard::to_stdvec(&stored).expect("memory takes any job")
}

/// Decodes what [`encode`] encodes; `payload` gives the payloads.
pub(super) fn decode(
    bytes: &[u8],
    identity: &Identity,
    leaf_keys: &[XOnlyPublicKey],
    payload: impl Fn(PayloadHash) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Job, StoreError> {
    let (stored, rest): (StoredJob, _) = postcard::take_from_bytes(bytes).map_err(StoreError::corrupted)?;
    if !rest.is_empty() {
        return Err(StoreError::corrupted("bytes follow a job"));
    }
    expect(stored.generations.len() <= GENERATIONS_MAX, "too many commits")?;
    expect(stored.history.len() <= HISTORY_MAX, "too long a history")?;
    expect(stored.history.iter().all(|entry| entry.reason.len() <= REASON_MAX_BYTES), "too long a reason")?;
    let mut generations = Vec::with_capacity(stored.generations.len());
    for generation in stored.generations {
        let hash = PayloadHash::from_byte_array(generation.payload_hash);
        let payload = payload(hash)?.ok_or_else(|| StoreError::corrupted(format!("payload {hash} is missing")))?;
        let generation = check_generation(generation, payload, identity, leaf_keys)?;
        expect(generation.envelope.announcement().batch == stored.batch, "a payload of another batch")?;
        generations.push(generation);
    }
    let job = Job {
        batch: stored.batch,
        statement: stored.statement,
        state: stored.state,
        is_abandoned: stored.is_abandoned,
        bump: stored.bump,
        is_closed: stored.is_closed,
        generations,
        history: stored.history,
        hold: None,
        refused: None,
        sweep_refused: None,
    };
    expect(encode(&job) == bytes, "a job is not in its one form")?;
    Ok(job)
}

fn expect(holds: bool, what: &'static str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(StoreError::corrupted(what)) }
}

/// The envelope of a payload by the key, of those that may be, to whose leaf an output locks.
fn envelope_of(
    payload: &[u8],
    locked: &TxOut,
    identity: &Identity,
    leaf_keys: &[XOnlyPublicKey],
) -> Result<Envelope, StoreError> {
    let secp = Secp256k1::verification_only();
    for key in [identity.poster().public()].iter().chain(leaf_keys) {
        let envelope = Envelope::new(*key, payload).map_err(StoreError::corrupted)?;
        if locked.script_pubkey == envelope.commit_script_pubkey(&secp) {
            return Ok(envelope);
        }
    }
    Err(StoreError::corrupted("a commit locks to another leaf"))
}

fn check_generation(
    stored: StoredGeneration,
    payload: Vec<u8>,
    identity: &Identity,
    leaf_keys: &[XOnlyPublicKey],
) -> Result<Generation, StoreError> {
    let poster = identity.poster();
    expect(stored.attempts.len() <= ATTEMPTS_MAX && stored.sweeps.len() <= ATTEMPTS_MAX, "too many reveals")?;
    expect(!stored.attempts.is_empty(), "a commit without reveal")?;
    let secp = Secp256k1::new();
    let commit: Transaction = deserialize(&stored.commit).map_err(StoreError::corrupted)?;
    let funding: Vec<Funding> = stored.funding.into_iter().map(Funding::from).collect();
    let spends = commit.input.iter().map(|input| input.previous_output);
    expect(spends.eq(funding.iter().map(|coin| coin.outpoint)), "a commit spends other coins")?;
    let locked = commit.output.first().ok_or_else(|| StoreError::corrupted("a commit has no output"))?.clone();
    let envelope = envelope_of(&payload, &locked, identity, leaf_keys)?;
    expect(envelope.announcement().payload_hash.to_byte_array() == stored.payload_hash, "another payload")?;
    let outputs: Vec<TxOut> = funding.iter().map(|coin| coin.output.clone()).collect();
    let (spent, paid) = (sum_sat(&outputs)?, sum_sat(&commit.output)?);
    expect(paid <= spent, "a commit pays out more than it spends")?;
    if commit.input.iter().any(|input| !input.witness.is_empty()) {
        check_scripts(&commit, &outputs).map_err(StoreError::corrupted)?;
    }
    let txid = commit.compute_txid();
    let script = poster.script_pubkey();
    let mut attempts = Vec::with_capacity(stored.attempts.len());
    for attempt in stored.attempts {
        let fee = Amount::from_sat(attempt.fee_sat);
        let reveal = unsigned_reveal(&envelope, txid, locked.value, fee, script.clone());
        let mut transaction = reveal.map_err(StoreError::corrupted)?;
        if !attempt.signature.is_empty() {
            let signature = taproot::Signature::from_slice(&attempt.signature).map_err(StoreError::corrupted)?;
            transaction.input[0].witness = envelope.witness(&secp, &signature);
            check_scripts(&transaction, std::slice::from_ref(&locked)).map_err(StoreError::corrupted)?;
        }
        attempts.push(Attempt { transaction, fee_sat: attempt.fee_sat, sent: attempt.sent });
    }
    let sweeps = stored.sweeps.into_iter().map(|sweep| check_sweep(&sweep, txid, &locked));
    let sweeps = sweeps.collect::<Result<Vec<_>, _>>()?;
    Ok(Generation {
        envelope,
        payload,
        commit,
        funding,
        attempts,
        sweeps,
        commit_sent: stored.commit_sent,
        broadcast: None,
    })
}

fn check_sweep(stored: &StoredSweep, commit: Txid, locked: &TxOut) -> Result<Sweep, StoreError> {
    let transaction: Transaction = deserialize(&stored.transaction).map_err(StoreError::corrupted)?;
    let spends = transaction.input.iter().map(|input| input.previous_output);
    expect(spends.eq([OutPoint { txid: commit, vout: 0 }]), "a sweep spends something else")?;
    check_scripts(&transaction, std::slice::from_ref(locked)).map_err(StoreError::corrupted)?;
    let paid = sum_sat(&transaction.output)?;
    let fee_sat = locked.value.to_sat().checked_sub(paid);
    let fee_sat = fee_sat.ok_or_else(|| StoreError::corrupted("a sweep pays out more than it spends"))?;
    Ok(Sweep { transaction, fee_sat, sent: stored.sent })
}

fn sum_sat(outputs: &[TxOut]) -> Result<u64, StoreError> {
    let sum = outputs.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value));
    let sum = sum.filter(|sum| *sum <= Amount::MAX_MONEY);
    Ok(sum.ok_or_else(|| StoreError::corrupted("values exceed the supply of bitcoin"))?.to_sat())
}

impl From<StoredCoin> for Funding {
    fn from(coin: StoredCoin) -> Self {
        let output =
            TxOut { value: Amount::from_sat(coin.value_sat), script_pubkey: ScriptBuf::from_bytes(coin.script_pubkey) };
        Self { outpoint: OutPoint { txid: Txid::from_byte_array(coin.txid), vout: coin.vout }, output }
    }
}
