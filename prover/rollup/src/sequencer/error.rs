//! Why a sequencer cannot do what it is asked.

use crate::ledger::LedgerError;
use taproof_verifier::{
    cell::{CellIndex, Depth},
    follow::UnknownProgramError,
    record::Kind,
};

/// Why a sequencer cannot do what it is asked. The ledger is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequencerError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A batch that is final is to be taken back.
    #[error("batch {0} is final and cannot be taken back")]
    Final(u64),
    /// A batch that the chain has is to be taken back.
    #[error("batch {batch} is in the chain, which has {anchored} batches")]
    Anchored {
        /// The batch.
        batch: u64,
        /// How many batches the chain has.
        anchored: u64,
    },
    /// There is no batch of that number.
    #[error("there is no batch {0}")]
    NoSuchBatch(u64),
    /// The block that the next batch must refer to at least is not in the chain now.
    #[error("the chain has no block at height {height} now")]
    NoReference {
        /// Its height.
        height: u32,
    },
    /// No block can have an anchor of a batch that refers to a block so deep.
    #[error(
        "the rollup's window is {window_blocks} blocks: nobody accepts a batch that refers to a block {depth_blocks} \
         deep"
    )]
    BeyondWindow {
        /// How many confirmations the block has.
        depth_blocks: u32,
        /// The rollup's window.
        window_blocks: u32,
    },
    /// No block can have an anchor of a batch with steps that refers to a block so deep.
    #[error(
        "steps wait, and nobody accepts a batch with steps that refers to a block {depth_blocks} deep: {window_blocks} \
         is the most"
    )]
    StepsTooDeep {
        /// How many confirmations the block has.
        depth_blocks: u32,
        /// The most that it may have.
        window_blocks: u32,
    },
    /// The program in force is not known.
    #[error(transparent)]
    Program(#[from] UnknownProgramError),
    /// The program cannot prove batches of a tree of that depth.
    #[error("the program has no {kind} circuit for a tree of {} cells", depth.cell_count())]
    NoCircuit {
        /// The kind whose circuit is missing.
        kind: Kind,
        /// The depth of the tree.
        depth: Depth,
    },
    /// The cell that was named to collect the fees cannot.
    #[error("cell {0} holds no bitcoin account to collect fees")]
    NoAccount(CellIndex),
}
