//! What is kept of the anchor of one batch.

use super::{Generation, Hold, fees::rate_paid};
use crate::anchor::FeeRate;
use bitcoin::{
    BlockHash, Txid,
    hashes::{Hash, HashEngine, sha256},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use taproof_verifier::{field, headers::BlockId, payload::Payload};

/// The most transitions of a job that are kept; older ones make room.
pub const HISTORY_MAX: usize = 256;

/// What a batch states: equal for all payloads that only differ in proofs, predecessor's bytes or the reference's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatementId([u8; 32]);

impl StatementId {
    /// The digest of a payload's statements and of what its header says beside them.
    pub fn of(payload: &Payload) -> Self {
        let header = payload.header();
        let mut engine = sha256::Hash::engine();
        engine.input(b"taproof batch");
        engine.input(&header.chain_id.to_byte_array());
        engine.input(&header.batch.to_le_bytes());
        engine.input(&field::to_bytes(&header.root_before));
        engine.input(&field::to_bytes(&header.root_after));
        engine.input(&[header.depth.levels()]);
        engine.input(&header.reference_height.to_le_bytes());
        engine.input(&header.deposits_consumed.to_le_bytes());
        engine.input(&header.program_id.to_byte_array());
        for statement in payload.statements() {
            engine.input(&field::to_bytes(&statement.digest()));
        }
        Self(sha256::Hash::from_engine(engine).to_byte_array())
    }
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// How far a batch's anchor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Proven, and nothing is built for the payload that the chain asks for.
    Waiting,
    /// Commit and reveal are built, and an external signer has to sign.
    Built,
    /// Both are signed and stored, and nobody else has seen them.
    Signed,
    /// The commit was handed to the node.
    #[serde(rename = "commit sent")]
    CommitSent,
    /// The reveal was handed to the node.
    #[serde(rename = "reveal sent")]
    RevealSent,
    /// A reveal at a higher fee was handed to the node.
    Bumped,
    /// The chain has the anchor.
    #[serde(rename = "in block")]
    InBlock,
    /// It is so deep that the rest is tidied up.
    Safe,
    /// It cannot be undone.
    Final,
    /// The chain would accept no payload of this batch: it must be proven again.
    Stale,
    /// Given up on demand.
    Abandoned,
    /// Given up, and nothing is left to recover.
    Swept,
}

impl JobState {
    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Built => "built",
            Self::Signed => "signed",
            Self::CommitSent => "commit sent",
            Self::RevealSent => "reveal sent",
            Self::Bumped => "bumped",
            Self::InBlock => "in block",
            Self::Safe => "safe",
            Self::Final => "final",
            Self::Stale => "stale",
            Self::Abandoned => "abandoned",
            Self::Swept => "swept",
        }
    }
}

impl JobState {
    /// Whether the chain has the anchor.
    fn is_in_chain(self) -> bool {
        matches!(self, Self::InBlock | Self::Safe | Self::Final)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state before.
    pub from: JobState,
    /// The state after.
    pub to: JobState,
    /// The height of the tip.
    pub height: u32,
    /// The clock, in seconds since 1970.
    pub unix_seconds: u64,
    /// Why.
    pub reason: String,
}

/// A wish to raise the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BumpOrder {
    /// The rate that is wished for, in satoshi a thousand virtual bytes; the schedule's next if none.
    pub sat_per_kvb: Option<u64>,
}

impl BumpOrder {
    /// The rate that is wished for, if it is above a cap.
    pub(super) fn above(self, cap: FeeRate) -> Option<FeeRate> {
        self.sat_per_kvb.and_then(|rate| FeeRate::from_sat_per_kvb(rate).ok()).filter(|rate| *rate > cap)
    }
}

/// What an operator asks of the service from another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Raise the fee now.
    Bump(BumpOrder),
    /// Give the batch's anchor up.
    Abandon,
    /// Take it up again.
    Resume,
}

/// What a job costs at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFigures {
    /// The commit.
    pub commit: Txid,
    /// The latest reveal.
    pub reveal: Txid,
    /// The fees of both.
    pub fee_sat: u64,
    /// The virtual size of both.
    pub vsize_vb: u64,
    /// How many reveals were handed over.
    pub attempts: usize,
    /// The bytes of the payload.
    pub payload_bytes: usize,
}

impl JobFigures {
    /// What commit and reveal pay together.
    pub fn rate(&self) -> FeeRate {
        rate_paid(self.fee_sat, self.vsize_vb)
    }
}

/// An action that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The tip at which it failed.
    pub(super) tip: BlockHash,
    /// Why.
    pub(super) hold: Hold,
    /// The node refused what was stored already; a higher fee may help.
    pub(super) is_of_sending: bool,
}

impl Failed {
    /// Why it failed, if that was at this tip.
    fn hold_at(&self, tip: BlockId) -> Option<&Hold> {
        (self.tip == tip.hash).then_some(&self.hold)
    }
}

/// What is kept of the anchor of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub(super) batch: u64,
    pub(super) statement: StatementId,
    pub(super) state: JobState,
    pub(super) is_abandoned: bool,
    pub(super) bump: Option<BumpOrder>,
    /// Nothing can happen any more.
    pub(super) is_closed: bool,
    pub(super) generations: Vec<Generation>,
    pub(super) history: Vec<Transition>,
    /// Why it waits. Not stored: it is found out anew.
    pub(super) hold: Option<Hold>,
    /// What failed, and is not tried again before the next tip. Not stored.
    pub(super) refused: Option<Failed>,
    /// The same of sweeps, which nothing else waits for. Not stored.
    pub(super) sweep_refused: Option<Failed>,
}

impl Job {
    /// The state in words, where the chain does not have the anchor now: as of the service's last look it may have
    /// had it.
    pub fn state_outside_the_chain(&self) -> &'static str {
        if self.state.is_in_chain() { "not in chain" } else { self.state.name() }
    }

    /// A job for a batch that is proven.
    pub fn new(batch: u64, statement: StatementId) -> Self {
        Self {
            batch,
            statement,
            state: JobState::Waiting,
            is_abandoned: false,
            bump: None,
            is_closed: false,
            generations: Vec::new(),
            history: Vec::new(),
            hold: None,
            refused: None,
            sweep_refused: None,
        }
    }

    /// The number of the batch.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// What the batch states.
    pub fn statement(&self) -> StatementId {
        self.statement
    }

    /// How far the anchor is.
    pub fn state(&self) -> JobState {
        self.state
    }

    /// Whether nothing can happen any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The commits and reveals, one for each payload that the chain asked for.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The changes of state, the oldest first.
    pub fn history(&self) -> &[Transition] {
        &self.history
    }

    /// Why it waits, as of the last look.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// What the latest generation costs.
    pub fn figures(&self) -> Option<JobFigures> {
        let generation = self.generations.last()?;
        let attempt = generation.latest_sent().map_or_else(|| generation.attempts.first(), |(_, sent)| Some(sent))?;
        Some(JobFigures {
            commit: generation.commit.compute_txid(),
            reveal: attempt.transaction.compute_txid(),
            fee_sat: generation.commit_fee_sat() + attempt.fee_sat,
            vsize_vb: (generation.commit.vsize() + attempt.transaction.vsize()) as u64,
            attempts: generation.attempts.iter().filter(|attempt| attempt.sent.is_some()).count(),
            payload_bytes: generation.payload.len(),
        })
    }

    /// How far the latest generation went by itself.
    pub(super) fn progress(&self) -> JobState {
        self.generations.last().map_or(JobState::Waiting, Generation::progress)
    }

    /// From which height on the chain goes without a reveal that was first sent at a height: from when it was sent,
    /// or from when the anchor left the chain. The blocks that it spent in the chain were none of waiting.
    pub(super) fn waits_since(&self, sent: Option<u32>, tip_height: u32) -> Option<u32> {
        let left = self.history.iter().rfind(|change| change.from.is_in_chain() && !change.to.is_in_chain());
        let left = left.map(|change| change.height);
        // What leaves the chain at this tip is not yet noted.
        let left = if self.state.is_in_chain() { Some(tip_height) } else { left };
        sent.map(|sent| left.map_or(sent, |left| left.max(sent)))
    }

    /// What failed at this tip, so that it is not tried again.
    pub(super) fn refused_at(&self, tip: BlockId) -> Option<&Hold> {
        self.refused.as_ref().and_then(|failed| failed.hold_at(tip))
    }

    /// Why a sweep failed at this tip, so that none is tried again.
    pub(super) fn sweep_refused_at(&self, tip: BlockId) -> Option<&Hold> {
        self.sweep_refused.as_ref().and_then(|failed| failed.hold_at(tip))
    }

    /// Whether a higher fee is no way out at this tip either.
    pub(super) fn bump_is_barred_at(&self, tip: BlockId) -> bool {
        self.refused.as_ref().is_some_and(|failed| failed.tip == tip.hash && !failed.is_of_sending)
    }

    /// Moves to a state; gives the transition if it is another one.
    pub(super) fn move_to(&mut self, to: JobState, height: u32, unix_seconds: u64, reason: &str) -> Option<Transition> {
        if self.state == to {
            return None;
        }
        let transition = Transition { from: self.state, to, height, unix_seconds, reason: reason.to_owned() };
        self.state = to;
        if self.history.len() == HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(transition.clone());
        Some(transition)
    }
}
