//! The sequencer: makes a rollup's next batch of what waits on Bitcoin and in the ledger.
//!
//! It reads no chain, has no clock and writes nothing but the ledger. Whoever calls it follows the chain, hands over
//! the follower, and does what is to be done with the batch. In this order:
//!
//! 1. [`read_from`] says whether the ledger is in line with the chain, and if not, from where blocks have to be read.
//!    [`take_over`] takes each batch that is found there.
//! 2. [`Sequencer::new`] makes sure that ledger and chain agree, and forgets how to undo what is final.
//!    [`Sequencer::take_back`] takes back batches that the chain does not have.
//! 3. [`Sequencer::draft`] takes deposits and exit requests over from the follower, and chooses the block that the
//!    batch refers to, the depth of its tree, and the circuits, which are of the program in force at that block.
//! 4. [`Sequencer::fees`] says whether anybody must collect fees; [`Sequencer::collects`] and
//!    [`Sequencer::first_owned`] say which account can, and [`Draft::pay_fees_to`] names it.
//! 5. [`Sequencer::make`] applies and stores the batch.

mod error;
mod fees;
mod growth;
mod in_line;
#[cfg(test)]
mod tests;

pub use error::SequencerError;
pub use fees::Fees;
pub use in_line::{ReadFrom, TakenOver, expect_in_line, final_batches, read_from, take_over};

use crate::{
    batch::{BatchFile, BatchHeader},
    ledger::{AppliedBatch, Ledger, LedgerError, WaitingDeposit},
};
use std::collections::BTreeSet;
use taproof_circuits::{
    state::{Admission, Plan, Slots},
    transaction::{Deposit, Transaction},
};
use taproof_verifier::{
    cell::{CellIndex, Depth, Token},
    exit::{Outcome, Request, ScannedRequest, SettledRequest},
    follow::{Follower, Params, STEPS_WINDOW_BLOCKS},
    headers::BlockId,
    program::{Program, ProgramId},
};

/// How many confirmations the block has that a batch refers to, if nobody says otherwise. References that deep seldom
/// move.
const REFERENCE_DEPTH_BLOCKS: u32 = 6;

/// What whoever makes batches chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many confirmations the Bitcoin block has that the batch refers to; 1 is the tip. If `None`, it is
    /// [`reference_depth_blocks`], or what the batch referred to before it was taken back, so that its proofs hold, as
    /// long as half the window is left.
    pub reference_depth_blocks: Option<u32>,
    /// The tree grows to this depth first, if it is shallower. It grows further where deposits or openings find no
    /// cell.
    pub depth_min: Option<Depth>,
    /// The most chunks.
    pub chunks_max: usize,
    /// Which transactions are taken at all.
    pub admission: Admission,
}

/// A batch that is decided upon and not made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    reference: BlockId,
    /// How many confirmations the next batch's would have, made on the same terms.
    depth_blocks: u32,
    depth: Depth,
    program_id: ProgramId,
    void_below: u32,
    plan: Plan,
}

impl Draft {
    /// The Bitcoin block that the batch refers to.
    pub fn reference(&self) -> BlockId {
        self.reference
    }

    /// The account that collects the fees in bitcoin, if one was named.
    pub fn collector(&self) -> Option<CellIndex> {
        self.plan.operators.get(&Token::BITCOIN).copied()
    }

    /// Names the account that collects the fees in bitcoin.
    pub fn pay_fees_to(&mut self, cell: CellIndex) {
        self.plan.operators.insert(Token::BITCOIN, cell);
    }
}

/// What came of a draft.
#[derive(Clone, Debug)]
pub struct MadeBatch {
    /// What was applied. Without chunks and refutations there is no batch.
    pub applied: AppliedBatch,
    /// How many deposits were passed over because they are void.
    pub void_deposits: u64,
    /// How many deposits are due and found no room, or no cell.
    pub deposits_waiting: usize,
}

impl MadeBatch {
    /// Whether anything was applied, so that there is a batch.
    pub fn is_batch(&self) -> bool {
        self.applied.is_batch()
    }

    /// How many exit requests the batch serves or refutes.
    pub fn exit_count(&self, outcome: Outcome) -> usize {
        self.settled_count(|request| request.exit().is_some(), outcome)
    }

    /// How many claim requests the batch serves or refutes.
    pub fn claim_count(&self, outcome: Outcome) -> usize {
        self.settled_count(|request| request.claim().is_some(), outcome)
    }

    fn settled_count(&self, is_of_kind: impl Fn(&Request) -> bool, outcome: Outcome) -> usize {
        let is_counted = |settled: &&SettledRequest| is_of_kind(&settled.request.request) && settled.outcome == outcome;
        self.applied.settled.iter().filter(is_counted).count()
    }
}

/// A ledger that is in line with the chain, as a follower knows it.
#[derive(Debug)]
pub struct Sequencer<'a> {
    ledger: &'a mut Ledger,
    follower: &'a Follower,
}

impl<'a> Sequencer<'a> {
    /// Makes sure that the ledger has what the chain has, and forgets how to take back what is final there.
    ///
    /// # Errors
    /// [`SequencerError::Ledger`]: [`LedgerError::Final`] if the chain has left what was final in the ledger.
    pub fn new(ledger: &'a mut Ledger, follower: &'a Follower) -> Result<Self, SequencerError> {
        expect_in_line(ledger, follower.tip())?;
        in_line::settle(ledger, follower)?;
        Ok(Self { ledger, follower })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        self.ledger
    }

    /// The follower.
    pub fn follower(&self) -> &Follower {
        self.follower
    }

    /// Takes deposits and requests over from the follower, and decides what the next batch refers to and which
    /// circuits it is cut for; `new` are the transactions that it will be made of beside those that wait. Nobody
    /// collects fees yet.
    ///
    /// # Errors
    /// [`SequencerError::NoReference`], [`SequencerError::StepsTooDeep`], [`SequencerError::Program`],
    /// [`SequencerError::NoCircuit`], [`SequencerError::Ledger`].
    pub fn draft(&mut self, terms: &Terms, new: &[Transaction]) -> Result<Draft, SequencerError> {
        self.take_deposits()?;
        let window_blocks = self.window_blocks(terms, new)?;
        let depth_blocks = terms.reference_depth_blocks.unwrap_or_else(|| default_depth_blocks(window_blocks));
        let reference = self.reference(terms, depth_blocks, window_blocks)?;
        let program = self.follower.program_at(reference.height)?;
        // Where locks are not opened, claim requests are void: a batch has nothing to do about them.
        let counts = |scanned: &&ScannedRequest| program.table().opens_locks() || scanned.request.claim().is_none();
        let requests: Vec<_> = self.follower.pending_requests().filter(counts).copied().collect();
        self.ledger.set_requests(&requests, self.follower.tip().batches)?;
        let depth = self.ledger.state().depth();
        let depth = terms.depth_min.map_or(depth, |depth_min| depth.max(depth_min));
        // A program that came into force may have circuits for deeper trees alone.
        let depth = growth::least_depth(program, depth.levels()).unwrap_or(depth);
        let void_below = self.follower.params().void_below(reference.height);
        let depth = self.depth_of_deposits(depth, reference.height, void_below)?;
        let plan = Plan {
            height_blocks: reference.height,
            slots: slots(program, depth)?,
            operators: Default::default(),
            chunks_max: terms.chunks_max,
            // What the rules refuse is taken on no terms.
            admission: Admission {
                opening_min_sat: terms.admission.opening_min_sat.max(self.follower.params().opening_min_sat),
                ..terms.admission
            },
        };
        Ok(Draft { reference, depth_blocks, depth, program_id: program.id(), void_below, plan })
    }

    /// Keeps new transactions, those that the draft is of, and makes a batch of all that waits; what waits already is
    /// not kept twice. The ledger has the batch as a [`BatchFile`] from then on. Its tree is deeper than the draft's,
    /// if an opening needs that.
    ///
    /// # Errors
    /// [`SequencerError::Ledger`], as [`Ledger::add_transactions`] and [`Ledger::apply`].
    pub fn make(&mut self, draft: &Draft, new: &[Transaction]) -> Result<MadeBatch, SequencerError> {
        let draft = &self.grown_for_openings(draft, new)?;
        self.ledger.add_transactions(&self.not_waiting(new)?)?;
        let consumed_before = self.ledger.deposits_consumed();
        let named = (self.follower.params(), draft.program_id);
        let record = |applied: &AppliedBatch| batch_file(named, applied, draft.reference);
        let applied = self.ledger.apply(&draft.plan, draft.depth, draft.void_below, record)?;
        let credited = applied.batch.deposits_applied as u64;
        let due = self.ledger.deposits_due(draft.reference.height, draft.void_below)?;
        Ok(MadeBatch {
            void_deposits: applied.deposits_consumed - consumed_before - credited,
            deposits_waiting: due.len(),
            applied,
        })
    }

    /// The deposits and exit requests that lie above the block that a batch refers to, each with the number of blocks
    /// that it takes until a batch made on the draft's terms refers to them.
    pub fn too_young(&self, draft: &Draft) -> Vec<TooYoung> {
        let tip_height = self.follower.scanned().height;
        let too_young = |what, amount_sat, height: u32| TooYoung {
            what,
            amount_sat,
            height,
            // The next batch refers to a block of that many confirmations, and to none before that of this batch.
            blocks: (height + draft.depth_blocks - 1).saturating_sub(tip_height),
        };
        let deposits = self.follower.pending_deposits().filter(|deposit| deposit.height > draft.reference.height);
        let deposits = deposits.map(|scanned| too_young(Demand::Deposit, scanned.deposit.amount_sat, scanned.height));
        let exits = self.follower.pending_exits().filter(|exit| exit.height > draft.reference.height);
        let exits = exits.map(|exit| too_young(Demand::Exit, exit.request.record().amount, exit.height));
        deposits.chain(exits).collect()
    }

    /// The block that the next batch refers to: so many confirmations deep, or the one that it referred to before it
    /// was taken back, but never before that of the batch before.
    fn reference(&self, terms: &Terms, depth_blocks: u32, window_blocks: u32) -> Result<BlockId, SequencerError> {
        let follower = self.follower;
        let scanned = follower.scanned().height;
        let deep = (scanned + 1).saturating_sub(depth_blocks);
        let referred = match terms.reference_depth_blocks {
            None => self.ledger.referred()?,
            Some(_) => None,
        };
        // A batch has to be in a block within the window: what is left of it must do for proofs and anchor.
        let is_recent = |height: &u32| *height <= deep && scanned - height <= window_blocks / 2;
        let height = referred.filter(is_recent).unwrap_or(deep);
        let height = height.max(follower.tip().reference.height).max(self.ledger.reference_height());
        let block = follower.headers().at(height).filter(|block| block.height <= scanned);
        block.ok_or(SequencerError::NoReference { height })
    }

    /// How many blocks below that of its anchor the next batch may refer to: less where it is to have steps.
    fn window_blocks(&self, terms: &Terms, new: &[Transaction]) -> Result<u32, SequencerError> {
        let is_steps = |transaction: &Transaction| matches!(transaction, Transaction::Steps(_));
        let has_steps = new.iter().any(is_steps) || self.ledger.transactions()?.iter().any(is_steps);
        let window_blocks = window_blocks(self.follower.params(), has_steps);
        match terms.reference_depth_blocks {
            Some(depth_blocks) if has_steps && depth_blocks > window_blocks => {
                Err(SequencerError::StepsTooDeep { depth_blocks, window_blocks })
            }
            _ => Ok(window_blocks),
        }
    }

    /// Brings the ledger's deposits up to those that the follower has found.
    fn take_deposits(&mut self) -> Result<(), LedgerError> {
        let first = self.ledger.deposits_consumed();
        let pending = self.follower.pending_deposits().filter(|scanned| scanned.index >= first);
        let pending: Vec<WaitingDeposit> = pending
            .map(|scanned| {
                let (amount_sat, owner) = (scanned.deposit.amount_sat, scanned.deposit.owner);
                WaitingDeposit { deposit: Deposit { amount_sat, owner }, height_blocks: scanned.height }
            })
            .collect();
        self.ledger.set_deposits(first, &pending)
    }

    /// Those transactions that do not wait in the ledger already, as after a batch that failed.
    fn not_waiting(&self, new: &[Transaction]) -> Result<Vec<Transaction>, LedgerError> {
        let waiting: BTreeSet<Vec<u8>> = self.ledger.transactions()?.iter().map(Transaction::to_bytes).collect();
        Ok(new.iter().filter(|transaction| !waiting.contains(&transaction.to_bytes())).cloned().collect())
    }
}

/// What somebody demanded on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// That a deposit be credited.
    Deposit,
    /// That an exit be paid.
    Exit,
}

impl Demand {
    /// Its name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Exit => "exit",
        }
    }
}

/// A deposit or exit request that has too few confirmations for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TooYoung {
    /// Which of the two.
    pub what: Demand,
    /// The amount.
    pub amount_sat: u64,
    /// The height of its block.
    pub height: u32,
    /// How many blocks more it takes.
    pub blocks: u32,
}

/// How many confirmations the block has that a batch refers to, if nobody says otherwise: six, or half the window if
/// that is less. So at least half a window is left for proofs and anchor.
pub fn reference_depth_blocks(params: &Params, has_steps: bool) -> u32 {
    default_depth_blocks(window_blocks(params, has_steps))
}

fn default_depth_blocks(window_blocks: u32) -> u32 {
    REFERENCE_DEPTH_BLOCKS.min((window_blocks / 2).max(1))
}

fn window_blocks(params: &Params, has_steps: bool) -> u32 {
    let window_blocks = params.deposit_window_blocks;
    if has_steps { window_blocks.min(STEPS_WINDOW_BLOCKS) } else { window_blocks }
}

/// Makes sure that a block can have an anchor of a batch that refers to a block so deep.
///
/// # Errors
/// [`SequencerError::BeyondWindow`].
pub fn expect_within_window(params: &Params, depth_blocks: u32) -> Result<(), SequencerError> {
    let window_blocks = params.deposit_window_blocks;
    if depth_blocks > window_blocks {
        return Err(SequencerError::BeyondWindow { depth_blocks, window_blocks });
    }
    Ok(())
}

/// The slots of a program's circuits at a depth.
///
/// # Errors
/// [`SequencerError::NoCircuit`].
pub fn slots(program: &Program, depth: Depth) -> Result<Slots, SequencerError> {
    Slots::of_program(program, depth).map_err(|kind| SequencerError::NoCircuit { kind, depth })
}

fn batch_file(named: (&Params, ProgramId), applied: &AppliedBatch, reference: BlockId) -> BatchFile {
    let header = BatchHeader::of(named, applied.number, &applied.batch, applied.deposits_consumed, reference);
    let (chunks, refutations) = (applied.batch.chunks.clone(), applied.refutations.clone());
    BatchFile::with_refutations(header, chunks, refutations).expect("the state's chunks join up")
}
