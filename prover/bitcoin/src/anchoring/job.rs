//! What is kept of the anchor of one batch.

use super::fees::{FeeRange, Package, fee_sat, rate_paid};
use crate::{
    anchor::{FeeRate, Funding},
    coins::Busy,
    node::policy_advice,
};
use bitcoin::{
    Amount, BlockHash, OutPoint, Transaction, Txid,
    hashes::{Hash, HashEngine, sha256},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use taproof_base::shown::shown;
use taproof_verifier::{
    envelope::Envelope,
    field,
    headers::BlockId,
    payload::{Payload, PayloadHash},
};

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

/// Why a job does not go on by itself at this tip.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hold {
    /// An earlier batch comes first.
    #[error("batch {0} comes first")]
    PreviousBatch(u64),
    /// What is to be read of its proofs is damaged, or of another batch.
    #[error("its proofs cannot be used: {0}")]
    Proofs(String),
    /// The chain is shorter than the batch's reference.
    #[error("the chain has no block at height {0}, which the batch refers to, yet")]
    ReferenceAhead(u32),
    /// The node reads the chain.
    #[error("the node is not up to date: it has {blocks} of {headers} blocks")]
    NodeSyncing {
        /// The height of its tip.
        blocks: u32,
        /// The height of its best header.
        headers: u32,
    },
    /// The node has every block that it knows of and takes itself to be in its initial download.
    #[error(
        "the node says that it is in its initial download, though it has all {blocks} blocks that it knows of: the \
         last is old"
    )]
    InitialDownload {
        /// The height of its tip.
        blocks: u32,
    },
    /// The poster's coins do not suffice.
    #[error("{needed_sat} sat are needed, and the confirmed coins that are free are worth {available_sat} sat{}",
        busy.iter().map(|busy| format!("; {busy}")).collect::<String>())]
    NoCoins {
        /// What the anchor takes.
        needed_sat: u64,
        /// What there is.
        available_sat: u64,
        /// The coins that are not free.
        busy: Vec<Busy>,
    },
    /// The external signer has not signed.
    #[error("its transactions wait for signatures")]
    AwaitingSignatures,
    /// A sweep would need the external signer.
    #[error("the commit {commit} can be swept at {rate} sat/vB or more, which takes a signature")]
    SweepAwaitsSignature {
        /// The commit.
        commit: Txid,
        /// What the sweep has to pay, to take the place of a reveal that waits, too.
        rate: FeeRate,
    },
    /// The pool takes nothing below the cap.
    #[error("the node's pool takes nothing below {min_pool} sat/vB, and the cap is {cap} sat/vB")]
    PoolAboveCap {
        /// The pool's minimum.
        min_pool: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// A replacement would exceed the cap.
    #[error("the anchor pays {rate} sat/vB, and a replacement would exceed the cap of {cap} sat/vB")]
    AtCap {
        /// What is paid.
        rate: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// The headroom is used up.
    #[error("the anchor pays {rate} sat/vB, and a replacement takes {needed_sat} sat of the {locked_sat} sat locked")]
    HeadroomUsed {
        /// What is paid.
        rate: FeeRate,
        /// The least fee that replaces.
        needed_sat: u64,
        /// What the commit locks.
        locked_sat: u64,
    },
    /// No signed reveal pays enough.
    #[error("no reveal that was signed pays {needed_sat} sat or more")]
    LadderUsed {
        /// The least fee that replaces.
        needed_sat: u64,
    },
    /// Another transaction spends an input.
    #[error("input {outpoint} is spent by {txid} in the pool")]
    InputConflict {
        /// The input.
        outpoint: OutPoint,
        /// The other transaction.
        txid: Txid,
    },
    /// An input left its block.
    #[error("input {0} left its block and waits to be mined again")]
    InputUnconfirmed(OutPoint),
    /// The node refuses a transaction.
    #[error("the node refuses {txid}: {}", shown(reason))]
    Refused {
        /// The transaction.
        txid: Txid,
        /// The node's words.
        reason: String,
    },
    /// The anchor cannot be built.
    #[error("the anchor cannot be built: {0}")]
    NotBuilt(String),
    /// The poster's key is no sequencer's, and the sequencers have not been silent for long enough.
    #[error(
        "the key that signs reveals, the poster's or the hot key, is no sequencer's: its anchor counts from height {0} \
         on, if no other is accepted before"
    )]
    NotSequencer(u32),
}

impl Hold {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoCoins { .. } => "pay to the poster's address, and wait for a confirmation",
            Self::InitialDownload { .. } => {
                "it ends with the next block: see that the node has peers, or on a test network mine a block or give \
                 the node a \
                 larger -maxtipage"
            }
            Self::NotSequencer(_) => {
                "wait: the anchor is made by itself where the sequencers stay silent; `taproof upgrade show` has their \
                 keys, and `taproof wallet keys` has yours: the poster's, or with --hot-key the hot key"
            }
            Self::Proofs(_) => {
                "copy the file again, or prove the batch again with `taproof prove`: it is read again at every look"
            }
            Self::AwaitingSignatures => "write PSBTs with `taproof anchor psbt`, sign them, and read them back",
            Self::SweepAwaitsSignature { .. } => "run `taproof anchor psbt --sweep` at that rate",
            Self::PoolAboveCap { .. } | Self::AtCap { .. } => "wait, or raise --fee-cap",
            Self::HeadroomUsed { .. } | Self::LadderUsed { .. } => {
                "wait until fees fall, or abandon the batch; a larger --headroom or --fee-cap helps the next one"
            }
            Self::Refused { reason, .. } => {
                policy_advice(reason).unwrap_or("see what the node says; the anchor is tried again at every block")
            }
            _ => return None,
        })
    }
}

/// What a batch waits for, in words, as of the service's last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// For what.
    pub waits_for: String,
    /// What the operator can do about it, where there is something.
    pub advice: Option<String>,
}

impl From<&Hold> for Waits {
    fn from(hold: &Hold) -> Self {
        Self { waits_for: hold.to_string(), advice: hold.advice().map(ToOwned::to_owned) }
    }
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
        self.generations.last().map_or(JobState::Waiting, generation_progress)
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

pub(super) fn generation_progress(generation: &Generation) -> JobState {
    match generation.attempts.iter().filter(|attempt| attempt.sent.is_some()).count() {
        0 if generation.commit_sent.is_some() => JobState::CommitSent,
        0 if generation.is_signed() => JobState::Signed,
        0 => JobState::Built,
        1 => JobState::RevealSent,
        _ => JobState::Bumped,
    }
}
