//! Rebuilding a state from what was posted of proven chunks: no signature is needed, the proofs stood for them.

use super::{FeeError, State, StepsError, TransitionError, slot::PaidRecord};
use crate::{
    account::credit,
    deposit::rule as deposit,
    step::{Machines, Registers, StepContext},
    tree::Tree,
};
use ark_bn254::Fr;
use std::collections::HashMap;
use taproof_verifier::{
    cell::{Cell, CellIndex, ChainId, Depth, Token},
    payload::Chunk,
    record::{DepositRecord, Kind, Records, StepRecords},
};

/// What is posted of one chunk.
#[derive(Clone, Copy, Debug)]
pub struct PostedChunk<'a> {
    /// The token that every slot moves.
    pub token: Token,
    /// The cell that receives the fees.
    pub operator: CellIndex,
    /// What the slots post.
    pub records: &'a Records,
    /// The root after the chunk.
    pub root_after: Fr,
}

impl<'a> From<&'a Chunk> for PostedChunk<'a> {
    fn from(chunk: &'a Chunk) -> Self {
        let Chunk { token, operator, ref records, root_after, .. } = *chunk;
        Self { token, operator, records, root_after }
    }
}

/// Why posted chunks are not those that led on from this state. Chunks and slots count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The batch's tree is shallower than the state's.
    #[error("the batch is one of a tree of {} levels, the state has {}", found.levels(), expected.levels())]
    TooShallow {
        /// The state's depth.
        expected: Depth,
        /// The batch's depth.
        found: Depth,
    },
    /// A record breaks its kind's rule.
    #[error("chunk {chunk}, slot {slot}: {reason}")]
    Slot {
        /// The chunk.
        chunk: usize,
        /// The slot.
        slot: usize,
        /// Why.
        reason: TransitionError,
    },
    /// The fees cannot be credited.
    #[error("chunk {chunk}: {reason}")]
    Fees {
        /// The chunk.
        chunk: usize,
        /// Why.
        reason: FeeError,
    },
    /// No rule of this kind is known here.
    #[error("chunk {chunk}: no rule of {kind} records is known here")]
    NoRule {
        /// The chunk.
        chunk: usize,
        /// The kind.
        kind: Kind,
    },
    /// The records lead to another root.
    #[error("chunk {chunk}: the records lead to another root")]
    RootMismatch {
        /// The chunk.
        chunk: usize,
    },
}

/// Cells that are written over a tree, which is hashed once for all of them.
struct Overlay<'a> {
    tree: &'a Tree,
    cells: HashMap<CellIndex, Cell>,
}

impl Overlay<'_> {
    fn get(&self, index: CellIndex) -> Cell {
        self.cells.get(&index).copied().unwrap_or_else(|| self.tree.get(index))
    }
}

impl State {
    /// Applies the posted chunks of a batch that refers to a height, on a tree that is first grown to `depth`, and
    /// checks the root after each.
    ///
    /// # Errors
    /// Each of [`ReplayError`]; then everything since the last commit is taken back.
    pub fn replay(&mut self, depth: Depth, height_blocks: u32, chunks: &[PostedChunk<'_>]) -> Result<(), ReplayError> {
        let result = self.try_replay(depth, height_blocks, chunks);
        if result.is_err() {
            self.rollback();
        }
        result
    }

    fn try_replay(&mut self, depth: Depth, height_blocks: u32, chunks: &[PostedChunk<'_>]) -> Result<(), ReplayError> {
        if depth < self.depth() {
            return Err(ReplayError::TooShallow { expected: self.depth(), found: depth });
        }
        while self.depth() < depth {
            self.tree.grow().expect("a depth is at most the deepest");
        }
        let machines = self.machines.clone();
        let mut steps =
            Steps { machines: &machines, chain_id: self.chain_id, height_blocks, registers: Registers::default() };
        for (number, chunk) in chunks.iter().enumerate() {
            let mut overlay = Overlay { tree: &self.tree, cells: HashMap::new() };
            replay_chunk(&mut overlay, &mut steps, number, chunk)?;
            let cells = overlay.cells;
            let root = self.tree.set_all(cells).expect("the rules checked every index");
            if root != chunk.root_after {
                return Err(ReplayError::RootMismatch { chunk: number });
            }
        }
        Ok(())
    }
}

fn replay_chunk(
    overlay: &mut Overlay<'_>,
    steps: &mut Steps<'_>,
    number: usize,
    chunk: &PostedChunk<'_>,
) -> Result<(), ReplayError> {
    let fees = match chunk.records {
        Records::Deposit(records) => return replay_deposits(overlay, number, records),
        Records::Transfer(records) => replay_slots(overlay, number, chunk.token, records)?,
        Records::Open(records) => replay_slots(overlay, number, chunk.token, records)?,
        Records::Withdraw(records) => replay_slots(overlay, number, chunk.token, records)?,
        Records::Step(records) => replay_steps(overlay, steps, number, chunk.token, records)?,
    };
    if fees > 0 {
        let operator = overlay.get(chunk.operator);
        let after = credit(chunk.operator, &operator, chunk.token, fees)
            .map_err(|error| ReplayError::Fees { chunk: number, reason: error.into() })?;
        overlay.cells.insert(chunk.operator, Cell::Account(after));
    }
    Ok(())
}

fn replay_deposits(overlay: &mut Overlay<'_>, chunk: usize, records: &[DepositRecord]) -> Result<(), ReplayError> {
    for (slot, record) in records.iter().enumerate() {
        let after = deposit::apply(overlay.tree.depth(), record, &overlay.get(record.to))
            .map_err(|error| ReplayError::Slot { chunk, slot, reason: error.into() })?;
        overlay.cells.insert(record.to, after);
    }
    Ok(())
}

/// What steps of all chunks of a batch read, and the registers that run through them.
struct Steps<'a> {
    machines: &'a Machines,
    chain_id: ChainId,
    height_blocks: u32,
    registers: Registers,
}

/// Applies the steps of one chunk; gives the sum of their fees.
fn replay_steps(
    overlay: &mut Overlay<'_>,
    steps: &mut Steps<'_>,
    chunk: usize,
    token: Token,
    records: &StepRecords,
) -> Result<u64, ReplayError> {
    let no_rule = ReplayError::NoRule { chunk, kind: Kind::Step };
    let machine = steps.machines.get(records.operations().hash()).ok_or(no_rule)?;
    let Steps { chain_id, height_blocks, .. } = *steps;
    let context = StepContext { chain_id, depth: overlay.tree.depth(), height_blocks, token };
    let mut fees = 0u64;
    for (slot, record) in records.records().iter().enumerate() {
        let applied = machine.apply(&context, &steps.registers, &overlay.get(record.cell), record, None);
        let applied = applied.map_err(|source| {
            let reason = StepsError::Step { part: chunk, step: slot, source }.into();
            ReplayError::Slot { chunk, slot, reason }
        })?;
        steps.registers = applied.registers;
        overlay.cells.insert(record.cell, applied.cell);
        let overflow = ReplayError::Fees { chunk, reason: FeeError::SumOverflow };
        fees = fees.checked_add(applied.fee).ok_or(overflow)?;
    }
    Ok(fees)
}

/// Applies the records of one chunk; gives the sum of their fees.
fn replay_slots(
    overlay: &mut Overlay<'_>,
    chunk: usize,
    token: Token,
    records: &[impl PaidRecord],
) -> Result<u64, ReplayError> {
    let mut fees = 0u64;
    for (slot, record) in records.iter().enumerate() {
        let after = record
            .settle(overlay.tree.depth(), token, |index| overlay.get(index))
            .map_err(|reason| ReplayError::Slot { chunk, slot, reason })?;
        overlay.cells.extend(after);
        let overflow = ReplayError::Fees { chunk, reason: FeeError::SumOverflow };
        fees = fees.checked_add(record.fee()).ok_or(overflow)?;
    }
    Ok(fees)
}
