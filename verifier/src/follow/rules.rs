//! The rules that an anchor must keep.

use super::{
    Follower, Tip, UnknownProgramError, VerifiedBatch,
    steps::{OncePerBlock, check_reference_of_steps, claims},
    verified::payable,
};
use crate::{
    cell::{CellIndex, ChainId, Depth, Token},
    envelope::{Announcement, EnvelopeError, Reveal},
    evidence::{ClaimError, ClaimRequest, FeedError, HeaderFactError},
    exit::{self, LeftOutError, ScannedRequest, ServingRecords, SettledRequest},
    headers::BlockId,
    payload::{Header, Payload, PayloadError, PayloadHash},
    program::{Program, ProgramId, VerifyError},
    record::{DepositRecord, Kind, Records},
};
use alloc::{collections::BTreeSet, vec::Vec};
use bitcoin::{BlockHash, Txid, XOnlyPublicKey, hashes::Hash};

/// The most deposits that a batch must credit.
const DEPOSITS_ENOUGH_MAX: usize = 4_096;
/// The most chunks that a batch must fill with deposits. As many, and what exit requests can ask for, fit a payload.
const DEPOSIT_CHUNKS_ENOUGH: usize = 190;

/// The most steps, for each claim request that it serves, of a batch that may leave deposits as one of withdrawals may.
const STEPS_A_CLAIM_MAX: usize = 2;

/// A batch that credits this many deposits may leave others that wait for a later batch: what fills 190 chunks with
/// the slots of the program's largest circuit for deposits at the batch's depth, and 4,096 at most.
pub fn deposits_enough(slots_max: u16) -> usize {
    (DEPOSIT_CHUNKS_ENOUGH * usize::from(slots_max)).min(DEPOSITS_ENOUGH_MAX)
}

/// Which rule an anchor breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The transaction is no reveal.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload does not decode.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The anchor is another rollup's.
    #[error("the anchor is of rollup {found}, not {expected}")]
    ChainId {
        /// This rollup.
        expected: ChainId,
        /// The rollup that the payload names.
        found: ChainId,
    },
    /// Another batch comes next.
    #[error("the anchor is of batch {found}, where batch {expected} comes next")]
    Batch {
        /// The number of the next batch.
        expected: u64,
        /// The number that the payload names.
        found: u64,
    },
    /// The batch follows another payload.
    #[error("the anchor follows payload {found}, where the last is {expected}")]
    PreviousPayload {
        /// The hash of the last payload.
        expected: PayloadHash,
        /// The hash that the payload names.
        found: PayloadHash,
    },
    /// Output 0 and payload disagree.
    #[error("output 0 announces another batch or root than the payload has")]
    Announcement,
    /// The proofs are for another program.
    #[error("the anchor is for program {found}, where {expected} is in force")]
    Program {
        /// The program in force.
        expected: ProgramId,
        /// The program that the payload names.
        found: ProgramId,
    },
    /// The program in force is not known; blocks are not scanned then.
    #[error(transparent)]
    UnknownProgram(#[from] UnknownProgramError),
    /// The poster is no sequencer, and the sequencers have not been silent for long enough.
    #[error("key {poster} is no sequencer's, and anchors of others count from height {open_height} on")]
    NotSequencer {
        /// The poster's key.
        poster: XOnlyPublicKey,
        /// The height from which they count, if no anchor is accepted before.
        open_height: u32,
    },
    /// The tree would shrink.
    #[error("the tree has {} levels and cannot shrink to {}", tip.levels(), found.levels())]
    Depth {
        /// The depth of the tip.
        tip: Depth,
        /// The depth that the payload names.
        found: Depth,
    },
    /// The batch starts from another state.
    #[error("the anchor starts from another state than the tip's")]
    RootBefore,
    /// The block that the batch refers to is no ancestor of the anchor's.
    #[error("the anchor refers to block {0}, which is not one of its ancestors")]
    ReferenceUnknown(BlockId),
    /// The block that the batch refers to lies before that of the batch before.
    #[error("the anchor refers to height {found}, where the batch before referred to {tip}")]
    ReferenceGoesBack {
        /// The height that the batch before referred to.
        tip: u32,
        /// The height that the payload names.
        found: u32,
    },
    /// The block that the batch refers to is older than the window allows.
    #[error("the anchor refers to height {found}, where one in its block refers to {min} or higher")]
    ReferenceTooOld {
        /// The lowest height that an anchor in that block may refer to.
        min: u32,
        /// The height that the payload names.
        found: u32,
    },
    /// The block that a batch with steps refers to is older than steps allow.
    #[error("the anchor has steps and refers to height {found}, where steps in its block refer to {min} or higher")]
    StepsTooLate {
        /// The lowest height that an anchor with steps in that block may refer to.
        min: u32,
        /// The height that the payload names.
        found: u32,
    },
    /// A step changes a cell that another one has changed in this Bitcoin block, where one may.
    #[error("chunk {chunk}, step {position}: cell {cell} has had its one change in this block")]
    ChangedTwice {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
        /// The cell.
        cell: CellIndex,
    },
    /// A step's claim does not hold.
    #[error("chunk {chunk}, step {position}: {source}")]
    Claim {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
        /// Why.
        source: ClaimError,
    },
    /// A step's report of a feed does not hold.
    #[error("chunk {chunk}, step {position}: {source}")]
    Feed {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
        /// Why.
        source: FeedError,
    },
    /// A step's number from a header does not hold.
    #[error("chunk {chunk}, step {position}: {source}")]
    HeaderFact {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
        /// Why.
        source: HeaderFactError,
    },
    /// A step that is checked names no height: the number exceeds 32 bits.
    #[error("chunk {chunk}, step {position}: the height exceeds 32 bits")]
    NoHeight {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
    },
    /// A step names something of a Bitcoin block that it cannot: no number of headers, or no height from that of the
    /// batch before's reference to that of the batch's own.
    #[error("chunk {chunk}, step {position}: no number of a header between the last reference and this one")]
    NoHeaderFact {
        /// The chunk.
        chunk: usize,
        /// The record's position in the chunk.
        position: usize,
    },
    /// The count of deposits that are credited or void does not add up.
    #[error("the anchor counts {found} deposits, where void ones and its records make it {expected}")]
    DepositCount {
        /// The count by the records.
        expected: u64,
        /// The count that the payload names.
        found: u64,
    },
    /// A credit that no deposit at or below the reference stands behind.
    #[error("the anchor credits deposit {index}, which is not there up to the block that it refers to")]
    DepositMissing {
        /// The deposit's number in the order of the chain.
        index: u64,
    },
    /// A credit that differs from the deposit behind it.
    #[error("the anchor credits deposit {index} with another amount or owner")]
    DepositDiffers {
        /// The deposit's number in the order of the chain.
        index: u64,
    },
    /// A deposit up to the reference is left out.
    #[error("the anchor leaves out deposit {index}")]
    DepositLeftOut {
        /// The deposit's number in the order of the chain.
        index: u64,
    },
    /// An opening moves too little, or another token than bitcoin.
    #[error("an opening moves {amount} of token {}, where accounts are opened with {min_sat} sat at least", token.0)]
    Opening {
        /// The least that opens an account.
        min_sat: u64,
        /// The opening's token.
        token: Token,
        /// What it moves.
        amount: u64,
    },
    /// An exit or claim request up to the reference is left out.
    #[error(transparent)]
    RequestLeftOut(#[from] LeftOutError),
    /// A proof is wrong, or for a circuit that is not part of the program.
    #[error(transparent)]
    Proof(#[from] VerifyError),
}

/// Where and by whom an anchor is posted.
#[derive(Clone, Copy)]
struct Posted {
    block: BlockId,
    txid: Txid,
    poster: XOnlyPublicKey,
}

impl Follower {
    /// Says whether an anchor with this payload, posted by this key, would be accepted in the block after the last one
    /// that was scanned, if that block brought nothing else: what whoever posts an anchor asks just before.
    ///
    /// # Errors
    /// The first rule that the anchor would break.
    pub fn preview(&self, payload: &[u8], poster: XOnlyPublicKey) -> Result<(), RuleError> {
        let header = Header::decode(payload)?;
        let (batch, root_after) = (header.batch, header.root_after);
        let announcement = Announcement { batch, payload_hash: PayloadHash::of(payload), root_after };
        let block = BlockId { height: self.scanned.height.saturating_add(1), hash: BlockHash::all_zeros() };
        let posted = Posted { block, txid: Txid::all_zeros(), poster };
        self.check_payload(posted, announcement, payload, &OncePerBlock::default()).map(drop)
    }

    /// Checks an anchor in a block whose ancestors are all scanned.
    /// `changed` are the cells that have had their one change in this block.
    pub(super) fn check(
        &self,
        block: BlockId,
        txid: Txid,
        reveal: Reveal,
        changed: &OncePerBlock,
    ) -> Result<VerifiedBatch, RuleError> {
        let posted = Posted { block, txid, poster: reveal.poster() };
        let announcement = reveal.announcement();
        self.check_payload(posted, announcement, &reveal.into_payload(), changed)
    }

    /// What is cheap is checked first.
    fn check_payload(
        &self,
        posted: Posted,
        announcement: Announcement,
        bytes: &[u8],
        changed: &OncePerBlock,
    ) -> Result<VerifiedBatch, RuleError> {
        let Posted { block, txid, poster } = posted;
        let header = Header::decode(bytes)?;
        self.check_place(&header)?;
        check_announcement(&announcement, &header)?;
        let reference = BlockId { height: header.reference_height, hash: header.reference_hash };
        self.check_reference(block, reference)?;
        let program = self.check_program(&header)?;
        self.check_poster(poster, reference.height, block.height)?;
        // A deeper tree takes up to some fifty hashes, which nobody brings about who may not post.
        self.check_root_before(&header)?;
        let mut payload = Payload::decode(bytes, program.table())?;
        check_reference_of_steps(block, &payload)?;
        changed.check(&payload)?;
        self.check_openings(&payload)?;
        self.check_deposits(&payload, program)?;
        let settled = self.check_requests(&payload, program)?;
        check_proofs(&payload, program)?;
        // A record that is proven is one that its operation allows, so evidence is not checked for nothing.
        self.check_evidence(&payload, &settled)?;
        // Events may pile up, and nobody checks again: what was settled is told by itself.
        payload.release_lines();
        payload.release_refutations();
        let after = Tip {
            batches: self.tip.batches + 1,
            payload_hash: announcement.payload_hash,
            root: header.root_after,
            depth: header.depth,
            deposits_consumed: header.deposits_consumed,
            payouts: self.tip.payouts + payable(&payload).count() as u64,
            reference,
            anchored_height: block.height,
        };
        let payload_hash = announcement.payload_hash;
        Ok(VerifiedBatch { block, txid, poster, payload, payload_hash, before: self.tip, after, settled })
    }

    fn check_place(&self, header: &Header) -> Result<(), RuleError> {
        let (expected, found) = (self.params.chain_id(), header.chain_id);
        if found != expected {
            return Err(RuleError::ChainId { expected, found });
        }
        let (expected, found) = (self.tip.batches, header.batch);
        if found != expected {
            return Err(RuleError::Batch { expected, found });
        }
        let (expected, found) = (self.tip.payload_hash, header.previous_payload_hash);
        if found != expected {
            return Err(RuleError::PreviousPayload { expected, found });
        }
        Ok(())
    }

    /// The batch is proven for the program in force at its reference.
    fn check_program(&self, header: &Header) -> Result<&Program, RuleError> {
        let program = self.program_at(header.reference_height)?;
        let (expected, found) = (program.id(), header.program_id);
        if found == expected { Ok(program) } else { Err(RuleError::Program { expected, found }) }
    }

    fn check_root_before(&self, header: &Header) -> Result<(), RuleError> {
        let (tip, found) = (self.tip.depth, header.depth);
        let root = self.tip.root_at(found).ok_or(RuleError::Depth { tip, found })?;
        if header.root_before != root {
            return Err(RuleError::RootBefore);
        }
        Ok(())
    }

    pub(super) fn check_reference(&self, block: BlockId, reference: BlockId) -> Result<(), RuleError> {
        let (tip, found) = (self.tip.reference.height, reference.height);
        if found < tip {
            return Err(RuleError::ReferenceGoesBack { tip, found });
        }
        if found >= block.height || !self.headers.contains(reference) {
            return Err(RuleError::ReferenceUnknown(reference));
        }
        let min = block.height.saturating_sub(self.params.deposit_window_blocks);
        if found < min {
            return Err(RuleError::ReferenceTooOld { min, found });
        }
        Ok(())
    }

    /// Each opening moves the least amount in bitcoin or more, so that who fills the tree pays for it.
    fn check_openings(&self, payload: &Payload) -> Result<(), RuleError> {
        let min_sat = self.params.opening_min_sat;
        for chunk in payload.chunks() {
            let records = match &chunk.records {
                Records::Open(records) => records,
                Records::Deposit(_) | Records::Transfer(_) | Records::Withdraw(_) | Records::Step(_) => continue,
            };
            let token = chunk.token;
            for amount in records.iter().map(|record| record.amount) {
                if token != Token::BITCOIN || amount < min_sat {
                    return Err(RuleError::Opening { min_sat, token, amount });
                }
            }
        }
        Ok(())
    }

    /// The batch's deposits are the next ones of the chain, in order, from the first that is not void up to the
    /// reference; none of those is left out unless the batch credits many, or has withdrawals alone and what serves
    /// claim requests. Those need no cell for anybody, so that they go on whatever the state of the tree.
    fn check_deposits(&self, payload: &Payload, program: &Program) -> Result<(), RuleError> {
        let header = payload.header();
        let void_below = self.params.void_below(header.reference_height);
        let mut index = self.tip.deposits_consumed;
        // Heights ascend, so void deposits stand before all others.
        index += self.pending_deposits().take_while(|deposit| deposit.height < void_below).count() as u64;
        let pending = self.pending_deposits().skip_while(|deposit| deposit.height < void_below);
        let mut waiting = pending.take_while(|deposit| deposit.height <= header.reference_height);
        let mut count = 0;
        for record in deposit_records(payload) {
            let deposit = waiting.next().ok_or(RuleError::DepositMissing { index })?.deposit;
            if (record.amount_sat, record.owner) != (deposit.amount_sat, deposit.owner) {
                return Err(RuleError::DepositDiffers { index });
            }
            index += 1;
            count += 1;
        }
        if header.deposits_consumed != index {
            return Err(RuleError::DepositCount { expected: index, found: header.deposits_consumed });
        }
        // A tree that the program has no circuit for deposits for cannot be chosen to be rid of them.
        let slots_max = program.slots_max(Kind::Deposit, header.depth).unwrap_or(u16::MAX);
        if self.has_more_than_withdrawals(payload) && count < deposits_enough(slots_max) && waiting.next().is_some() {
            return Err(RuleError::DepositLeftOut { index });
        }
        Ok(())
    }

    /// Whether a batch has other records than withdrawals and steps that serve claim requests.
    fn has_more_than_withdrawals(&self, payload: &Payload) -> bool {
        let mut steps = 0;
        for records in payload.chunks().iter().map(|chunk| &chunk.records).filter(|records| !records.is_empty()) {
            match records.kind() {
                Kind::Withdraw => {}
                Kind::Step => steps += records.len(),
                Kind::Deposit | Kind::Transfer | Kind::Open => return true,
            }
        }
        if steps == 0 {
            return false;
        }
        let made: BTreeSet<ClaimRequest> = claims(payload).collect();
        let served = self.requests_due(payload.header()).filter_map(|scanned| scanned.request.claim());
        steps > STEPS_A_CLAIM_MAX * served.filter(|claim| made.contains(claim)).count()
    }

    /// The requests that a batch must do something about, in their order.
    fn requests_due(&self, header: &Header) -> impl Iterator<Item = &ScannedRequest> {
        let reference_height = header.reference_height;
        self.pending_requests().take_while(move |scanned| scanned.height <= reference_height)
    }

    /// Every request up to the reference is served, refuted or may wait.
    fn check_requests(&self, payload: &Payload, program: &Program) -> Result<Vec<SettledRequest>, RuleError> {
        let header = payload.header();
        let records = ServingRecords {
            withdrawals: payable(payload).map(|(_, record)| record).collect(),
            claims: program.table().opens_locks().then(|| claims(payload).collect()),
        };
        Ok(exit::settle(self.requests_due(header), records, payload.refutations(), header.depth)?)
    }
}

fn check_proofs(payload: &Payload, program: &Program) -> Result<(), RuleError> {
    let statements = payload.statements();
    program.verify_batch(statements.iter().zip(payload.chunks().iter().map(|chunk| &chunk.proof)))?;
    Ok(())
}

fn check_announcement(announcement: &Announcement, header: &Header) -> Result<(), RuleError> {
    if (announcement.batch, announcement.root_after) != (header.batch, header.root_after) {
        return Err(RuleError::Announcement);
    }
    Ok(())
}

fn deposit_records(payload: &Payload) -> impl Iterator<Item = &DepositRecord> {
    payload.chunks().iter().flat_map(|chunk| chunk.records.deposits())
}
