//! A follower's state at a final block, to go on from after a restart.

use super::{Follower, Params, ScannedDeposit, StartError, Tip};
use crate::{
    baby_jubjub::{KeyError, PublicKey},
    cell::{ChainId, Depth},
    deposit::Deposit,
    exit::{Queue, REQUESTS_WAITING_MAX, Request, ScannedRequest},
    field,
    headers::{BlockId, HeaderChain},
    payload::PayloadHash,
    program::{ProgramId, Programs},
    schedule::Schedule,
    take::take,
    upgrade::UpgradeOutput,
};
use alloc::{collections::VecDeque, vec::Vec};
use bitcoin::{BlockHash, Txid, XOnlyPublicKey, block::Header, hashes::Hash};

const VERSION: u8 = 3;
const FIXED_LENGTH: usize = 1 + ChainId::LENGTH + 32 + BLOCK_LENGTH + TIP_LENGTH + 8 + 4 + 8 + 4;
const BLOCK_LENGTH: usize = 4 + 32;
const TIP_LENGTH: usize = 8 + 32 + 32 + 1 + 8 + 8 + BLOCK_LENGTH + 4;
const DEPOSIT_LENGTH: usize = 4 + 32 + 4 + 8 + 32 + 32;
/// More than there can ever be of anything that is counted, and so few that no count overflows.
const COUNT_MAX: u64 = 1 << 62;

/// All that following needs of the past of a final block. Every payout of the anchors up to that block has come out.
///
/// It is trusted as much as the place that it is kept in: nothing in it can be checked without the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    chain_id: ChainId,
    program_id: ProgramId,
    block: BlockId,
    tip: Tip,
    /// How many deposits the chain has up to the block.
    deposits_scanned: u64,
    /// The last of them, those that are not credited.
    deposits: Vec<ScannedDeposit>,
    /// How many exit and claim requests were queued up to the block.
    requests_queued: u64,
    /// Those that wait, in the order of their numbers.
    requests: Vec<ScannedRequest>,
    schedule: Schedule,
}

/// Why bytes are no [`Checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The bytes end early or go on.
    #[error("the length is not the announced one")]
    Length,
    /// The checkpoint is of a version that this verifier does not know.
    #[error("version {0}, where {VERSION} is known")]
    Version(u8),
    /// The root is not below the order of the field.
    #[error(transparent)]
    Root(#[from] field::NotCanonicalError),
    /// The depth is outside 1 to 10.
    #[error("a tree of {0} levels, where it has 1 to 10")]
    Depth(u8),
    /// A deposit's owner is no key.
    #[error(transparent)]
    Owner(#[from] KeyError),
    /// A deposit's refund key is no key.
    #[error("a refund key is no point of the curve")]
    Refund,
    /// An exit or claim request is malformed.
    #[error("request {0} is malformed")]
    Request(u64),
    /// The schedule of upgrades is malformed.
    #[error("the schedule of upgrades is malformed")]
    Schedule,
    /// The counts of deposits or requests contradict each other, or their order or the heights do, or there cannot be
    /// as many.
    #[error("the counts and heights contradict each other")]
    Inconsistent,
}

impl Checkpoint {
    /// The final block.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The state of the rollup after it.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// What is in force when, as far as the blocks up to the final one say.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Encodes the checkpoint: version 3 (1 byte), chain id (15), program id (32); the block; the tip: batches (8),
    /// payload hash (32), root (32), depth (1), deposits credited (8), payouts (8), the block referred to, the height
    /// of the last anchor's block (4); deposits
    /// scanned (8), number of those that wait (4), then each: height (4), txid (32), vout (4), amount in satoshi (8),
    /// owner (32), refund key (32); requests queued (8), number of those that wait (4), then each: number (8),
    /// height (4), txid (32), vout (4), length of the request (1), the request as [`Request::to_bytes`] writes it;
    /// the schedule, as [`Schedule`] writes itself. A block is its height (4) and hash (32). Integers are
    /// little-endian, hashes in their internal order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_LENGTH + self.deposits.len() * DEPOSIT_LENGTH);
        bytes.push(VERSION);
        bytes.extend(self.chain_id.to_byte_array());
        bytes.extend(self.program_id.to_byte_array());
        write_block(&self.block, &mut bytes);
        bytes.extend(self.tip.batches.to_le_bytes());
        bytes.extend(self.tip.payload_hash.to_byte_array());
        bytes.extend(field::to_bytes(&self.tip.root));
        bytes.push(self.tip.depth.levels());
        bytes.extend(self.tip.deposits_consumed.to_le_bytes());
        bytes.extend(self.tip.payouts.to_le_bytes());
        write_block(&self.tip.reference, &mut bytes);
        bytes.extend(self.tip.anchored_height.to_le_bytes());
        bytes.extend(self.deposits_scanned.to_le_bytes());
        bytes.extend((self.deposits.len() as u32).to_le_bytes());
        for ScannedDeposit { height, txid, vout, deposit, .. } in &self.deposits {
            bytes.extend(height.to_le_bytes());
            bytes.extend(txid.to_byte_array());
            bytes.extend(vout.to_le_bytes());
            bytes.extend(deposit.amount_sat.to_le_bytes());
            bytes.extend(deposit.owner.to_bytes());
            bytes.extend(deposit.refund.serialize());
        }
        bytes.extend(self.requests_queued.to_le_bytes());
        bytes.extend((self.requests.len() as u32).to_le_bytes());
        for ScannedRequest { index, height, txid, vout, request } in &self.requests {
            bytes.extend(index.to_le_bytes());
            bytes.extend(height.to_le_bytes());
            bytes.extend(txid.to_byte_array());
            bytes.extend(vout.to_le_bytes());
            let request = request.to_bytes();
            bytes.push(request.len() as u8);
            bytes.extend(request);
        }
        self.schedule.write(&mut bytes);
        bytes
    }

    /// Decodes what [`Checkpoint::to_bytes`] encodes.
    ///
    /// # Errors
    /// Each of [`CheckpointError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader(bytes);
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let chain_id = ChainId::from_byte_array(reader.array()?);
        let program_id = ProgramId::from_byte_array(reader.array()?);
        let block = reader.block()?;
        let tip = reader.tip()?;
        let deposits_scanned = u64::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?);
        if reader.0.len() / DEPOSIT_LENGTH < count as usize {
            return Err(CheckpointError::Length);
        }
        let is_consistent = tip.deposits_consumed.checked_add(count.into()) == Some(deposits_scanned);
        let is_ordered = tip.reference.height <= tip.anchored_height && tip.anchored_height <= block.height;
        if !is_consistent || !is_ordered {
            return Err(CheckpointError::Inconsistent);
        }
        let deposits = (tip.deposits_consumed..deposits_scanned)
            .map(|index| reader.deposit(index))
            .collect::<Result<Vec<_>, _>>()?;
        let heights = deposits.iter().map(|deposit| deposit.height).chain([block.height]);
        if !heights.is_sorted() {
            return Err(CheckpointError::Inconsistent);
        }
        let requests_queued = u64::from_le_bytes(reader.array()?);
        let requests = reader.requests()?;
        let schedule = Schedule::read(&mut reader.0).ok_or(CheckpointError::Schedule)?;
        if !reader.0.is_empty() {
            return Err(CheckpointError::Length);
        }
        let counts = [tip.batches, tip.payouts, deposits_scanned, requests_queued];
        let is_ascending = requests.windows(2).all(|pair| pair[0].index < pair[1].index);
        let is_known = requests.last().is_none_or(|last| last.index < requests_queued);
        let heights = requests.iter().map(|request| request.height).chain([block.height]);
        if !is_ascending || !is_known || !heights.is_sorted() || counts.iter().any(|count| *count > COUNT_MAX) {
            return Err(CheckpointError::Inconsistent);
        }
        Ok(Self { chain_id, program_id, block, tip, deposits_scanned, deposits, requests_queued, requests, schedule })
    }
}

impl Follower {
    /// The state at the last final block that was scanned. `None` if only an excerpt was seen of a block.
    ///
    /// Store it no earlier than the events up to now: those of final blocks do not come again.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.is_complete() { self.light_checkpoint() } else { None }
    }

    /// The state at the last final block that was scanned, as far as blocks and excerpts have shown it. It is for
    /// [`Follower::resume_light`] only.
    pub fn light_checkpoint(&self) -> Option<Checkpoint> {
        let block = self.headers.at(self.final_height)?;
        let tip = *self.final_tip();
        let is_final = |deposit: &&ScannedDeposit| deposit.height <= block.height;
        let deposits: Vec<_> = self.deposits.iter().take_while(is_final).copied().collect();
        let deposits_scanned = tip.deposits_consumed + deposits.len() as u64;
        let mut queue = self.requests.clone();
        queue.rewind(block.height);
        let (requests_queued, requests) = (queue.queued(), queue.waiting().copied().collect());
        let (chain_id, program_id) = (self.params.chain_id(), self.params.program_id);
        let schedule = self.final_schedule();
        Some(Checkpoint {
            chain_id,
            program_id,
            block,
            tip,
            deposits_scanned,
            deposits,
            requests_queued,
            requests,
            schedule,
        })
    }

    /// Goes on from a checkpoint of a follower that saw excerpts, or skipped blocks. As if the checkpoint's block had
    /// been skipped, the follower is not complete.
    ///
    /// # Errors
    /// As [`Follower::resume`].
    pub fn resume_light(
        params: Params,
        programs: impl Into<Programs>,
        checkpoint: Checkpoint,
        lead: &[Header],
    ) -> Result<Self, StartError> {
        let height = checkpoint.block.height;
        // Rewinds end at the checkpoint's block, which is final, so the mark stays.
        Ok(Self { first_excerpt: Some(height), ..Self::resume(params, programs, checkpoint, lead)? })
    }

    /// Goes on from a checkpoint. The programs are those that are in force, or were within a window; which one is
    /// missing, [`Follower::unknown_program`] says. `lead` are headers of which the last is the checkpoint's block and
    /// the first no later than the block that the last batch refers to.
    ///
    /// # Errors
    /// Each of [`StartError`].
    pub fn resume(
        params: Params,
        programs: impl Into<Programs>,
        checkpoint: Checkpoint,
        lead: &[Header],
    ) -> Result<Self, StartError> {
        let Checkpoint { chain_id, program_id, block, tip, schedule, .. } = checkpoint;
        let Checkpoint { deposits_scanned, deposits, requests_queued, requests, .. } = checkpoint;
        if (chain_id, program_id) != (params.chain_id(), params.program_id) || block.height < params.start.height {
            return Err(StartError::Checkpoint);
        }
        let headers = HeaderChain::new(params.network, block, lead, params.final_depth_blocks)?;
        if headers.at(tip.reference.height).is_none() {
            return Err(StartError::LeadTooShort { reference_height: tip.reference.height });
        }
        let start_differs = headers.at(params.start.height).is_some_and(|start| start != params.start);
        if start_differs || !headers.contains(tip.reference) {
            return Err(StartError::Checkpoint);
        }
        Ok(Self {
            upgrade_output: UpgradeOutput::of(&params),
            params,
            programs: programs.into(),
            headers,
            scanned: block,
            final_height: block.height,
            tip,
            history: VecDeque::new(),
            deposits: deposits.into(),
            deposits_scanned,
            requests: Queue::resume(requests, requests_queued),
            payouts: VecDeque::new(),
            schedule,
            schedules_before: VecDeque::new(),
            first_excerpt: None,
        })
    }
}

fn write_block(block: &BlockId, out: &mut Vec<u8>) {
    out.extend(block.height.to_le_bytes());
    out.extend(block.hash.to_byte_array());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        take(&mut self.0).ok_or(CheckpointError::Length)
    }

    fn block(&mut self) -> Result<BlockId, CheckpointError> {
        let height = u32::from_le_bytes(self.array()?);
        Ok(BlockId { height, hash: BlockHash::from_byte_array(self.array()?) })
    }

    fn tip(&mut self) -> Result<Tip, CheckpointError> {
        Ok(Tip {
            batches: u64::from_le_bytes(self.array()?),
            payload_hash: PayloadHash::from_byte_array(self.array()?),
            root: field::from_bytes(&self.array()?)?,
            depth: {
                let [levels] = self.array()?;
                Depth::new(levels).ok_or(CheckpointError::Depth(levels))?
            },
            deposits_consumed: u64::from_le_bytes(self.array()?),
            payouts: u64::from_le_bytes(self.array()?),
            reference: self.block()?,
            anchored_height: u32::from_le_bytes(self.array()?),
        })
    }

    fn deposit(&mut self, index: u64) -> Result<ScannedDeposit, CheckpointError> {
        Ok(ScannedDeposit {
            index,
            height: u32::from_le_bytes(self.array()?),
            txid: Txid::from_byte_array(self.array()?),
            vout: u32::from_le_bytes(self.array()?),
            deposit: Deposit {
                amount_sat: u64::from_le_bytes(self.array()?),
                owner: PublicKey::from_bytes(&self.array()?)?,
                refund: XOnlyPublicKey::from_slice(&self.array::<32>()?).map_err(|_| CheckpointError::Refund)?,
            },
        })
    }

    fn requests(&mut self) -> Result<Vec<ScannedRequest>, CheckpointError> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > REQUESTS_WAITING_MAX {
            return Err(CheckpointError::Inconsistent);
        }
        (0..count).map(|_| self.request()).collect()
    }

    fn request(&mut self) -> Result<ScannedRequest, CheckpointError> {
        let index = u64::from_le_bytes(self.array()?);
        let height = u32::from_le_bytes(self.array()?);
        let txid = Txid::from_byte_array(self.array()?);
        let vout = u32::from_le_bytes(self.array()?);
        let [length] = self.array()?;
        let request = self.0.split_off(..length.into()).ok_or(CheckpointError::Length)?;
        let request = Request::from_bytes(request, height).ok_or(CheckpointError::Request(index))?;
        Ok(ScannedRequest { index, height, txid, vout, request })
    }
}
