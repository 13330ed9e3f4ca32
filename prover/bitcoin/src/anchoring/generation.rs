//! A commit and its reveals, for one payload, and what takes the commit's output back.

use super::{
    JobState,
    fees::{FeeRange, Package, fee_sat},
};
use crate::anchor::{FeeRate, Funding};
use bitcoin::{Amount, BlockHash, OutPoint, Transaction};
use taproof_verifier::{envelope::Envelope, payload::PayloadHash};

/// A reveal at one fee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(super) transaction: Transaction,
    pub(super) fee_sat: u64,
    /// The height of the tip when it was first handed over.
    pub(super) sent: Option<u32>,
}

impl Attempt {
    /// The reveal; without a witness if it is not signed.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Its fee.
    pub fn fee_sat(&self) -> u64 {
        self.fee_sat
    }

    /// The height of the tip when it was first handed to the node.
    pub fn sent_height(&self) -> Option<u32> {
        self.sent
    }

    pub(super) fn is_signed(&self) -> bool {
        !self.transaction.input[0].witness.is_empty()
    }
}

/// A transaction that takes a commit's output back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub(super) transaction: Transaction,
    pub(super) fee_sat: u64,
    pub(super) sent: u32,
}

impl Sweep {
    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Its fee.
    pub fn fee_sat(&self) -> u64 {
        self.fee_sat
    }
}

/// A commit and its reveals, for one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub(super) envelope: Envelope,
    pub(super) payload: Vec<u8>,
    pub(super) commit: Transaction,
    pub(super) funding: Vec<Funding>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) sweeps: Vec<Sweep>,
    /// The height of the tip when the commit was first handed over.
    pub(super) commit_sent: Option<u32>,
    /// The tip at which all of it was last handed over. Not stored: after a restart it is handed over again.
    pub(super) broadcast: Option<BlockHash>,
}

impl Generation {
    /// The payload that it anchors.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The hash of the payload.
    pub fn payload_hash(&self) -> PayloadHash {
        self.envelope.announcement().payload_hash
    }

    /// The commit.
    pub fn commit(&self) -> &Transaction {
        &self.commit
    }

    /// The coins that the commit spends.
    pub fn funding(&self) -> &[Funding] {
        &self.funding
    }

    /// The reveals at rising fees.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The transactions that take the commit's output back.
    pub fn sweeps(&self) -> &[Sweep] {
        &self.sweeps
    }

    /// Whether the commit was handed to the node.
    pub fn is_commit_sent(&self) -> bool {
        self.commit_sent.is_some()
    }

    /// The output that the reveals spend.
    pub fn output(&self) -> OutPoint {
        OutPoint { txid: self.commit.compute_txid(), vout: 0 }
    }

    /// What the commit locks.
    pub(super) fn locked(&self) -> Amount {
        self.commit.output[0].value
    }

    /// What the commit pays to miners.
    pub fn commit_fee_sat(&self) -> u64 {
        let spent: u64 = self.funding.iter().map(|coin| coin.output.value.to_sat()).sum();
        spent - self.commit.output.iter().map(|output| output.value.to_sat()).sum::<u64>()
    }

    pub(super) fn is_signed(&self) -> bool {
        self.commit.input.iter().all(|input| !input.witness.is_empty()) && self.attempts.iter().any(Attempt::is_signed)
    }

    /// The latest reveal that was handed over.
    pub(super) fn latest_sent(&self) -> Option<(usize, &Attempt)> {
        self.attempts.iter().enumerate().rfind(|(_, attempt)| attempt.sent.is_some())
    }

    pub(super) fn package(&self, commit_is_mined: bool, evicted_fee_sat: u64) -> Option<Package> {
        let latest = self.latest_sent().map_or_else(|| self.attempts.first(), |(_, latest)| Some(latest))?;
        let commit = (self.commit.vsize() as u64, self.commit_fee_sat());
        Some(Package {
            reveal_vsize_vb: latest.transaction.vsize() as u64,
            unmined_commit: (!commit_is_mined).then_some(commit),
            locked_sat: self.locked().to_sat(),
            dust_sat: latest.transaction.output[1].script_pubkey.minimal_non_dust().to_sat(),
            last_fee_sat: latest.fee_sat,
            evicted_fee_sat,
        })
    }

    /// Whether a reveal pays what enters a pool, and what the commit lacks of that if it has to enter, too.
    pub(super) fn enters(&self, attempt: &Attempt, has_commit: bool, min_pool: FeeRate) -> bool {
        let (commit_sat, commit_vb) = (self.commit_fee_sat(), self.commit.vsize() as u64);
        let (reveal_sat, reveal_vb) = (attempt.fee_sat, attempt.transaction.vsize() as u64);
        // A commit that enters by itself is no burden to the reveal, and no help.
        if has_commit || commit_sat >= fee_sat(min_pool, commit_vb) {
            reveal_sat >= fee_sat(min_pool, reveal_vb)
        } else {
            commit_sat + reveal_sat >= fee_sat(min_pool, commit_vb + reveal_vb)
        }
    }

    /// The cheapest signed reveal that enters a pool.
    pub(super) fn entering(&self, has_commit: bool, min_pool: FeeRate) -> Option<usize> {
        let enters = |attempt: &Attempt| attempt.is_signed() && self.enters(attempt, has_commit, min_pool);
        let entering = self.attempts.iter().enumerate().filter(|(_, attempt)| enters(attempt));
        entering.min_by_key(|(_, attempt)| attempt.fee_sat).map(|(position, _)| position)
    }

    /// The cheapest reveal that is signed, not sent, and pays what replaces.
    pub(super) fn rung(&self, range: &FeeRange) -> Option<usize> {
        let fits = |attempt: &Attempt| {
            attempt.is_signed() && attempt.sent.is_none() && (range.min_sat..=range.max_sat).contains(&attempt.fee_sat)
        };
        let rungs = self.attempts.iter().enumerate().filter(|(_, attempt)| fits(attempt));
        // The first that reaches what is aimed for, or else the dearest.
        let (short, enough): (Vec<_>, Vec<_>) = rungs.partition(|(_, attempt)| attempt.fee_sat < range.aim_sat);
        let enough = enough.into_iter().min_by_key(|(_, attempt)| attempt.fee_sat);
        enough.or_else(|| short.into_iter().max_by_key(|(_, attempt)| attempt.fee_sat)).map(|(index, _)| index)
    }

    /// How far it went by itself.
    pub(super) fn progress(&self) -> JobState {
        match self.attempts.iter().filter(|attempt| attempt.sent.is_some()).count() {
            0 if self.commit_sent.is_some() => JobState::CommitSent,
            0 if self.is_signed() => JobState::Signed,
            0 => JobState::Built,
            1 => JobState::RevealSent,
            _ => JobState::Bumped,
        }
    }
}
