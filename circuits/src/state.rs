//! The state of a rollup, and the two ways it moves on: by [transactions](State::apply), which makes chunks to be
//! proven, and by [posted records](State::replay), which rebuilds it.
//!
//! Both leave the changes open until [`State::commit`] or [`State::rollback`], so that a caller can store them first.

mod admission;
mod cut;
mod outlook;
mod replay;
mod sessions;
mod signatures;
mod slot;
mod steps;

use crate::{
    account::{AccountError, Rollup},
    deposit::rule::DepositError,
    exchange::matching::LeftOutError,
    open::rule::OpenError,
    step::Machines,
    transfer::rule::TransferError,
    tree::{ChangeSet, Tree, TreeError},
    withdraw::rule::WithdrawError,
};
use ark_bn254::Fr;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, CellIndex, ChainId, Depth, Token},
};

pub use admission::{Admission, AdmissionError};
pub use cut::{
    Batch, DepositsLeftOutError, ExitsLeftOutError, NoSizeError, Plan, PlanError, Rejected, SlotCounts, Slots,
    StepSlots,
};
pub use outlook::Outlook;
pub use replay::{PostedChunk, ReplayError};
pub use steps::StepsError;

/// The cells of one rollup.
#[derive(Clone, Debug)]
pub struct State {
    chain_id: ChainId,
    tree: Tree,
    machines: Machines,
}

/// Why a transition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// A deposit.
    #[error(transparent)]
    Deposit(#[from] DepositError),
    /// A transfer.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An opening.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A withdrawal.
    #[error(transparent)]
    Withdraw(#[from] WithdrawError),
    /// Its fee.
    #[error(transparent)]
    Fee(#[from] FeeError),
    /// It is not taken, whatever the state.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Steps.
    #[error(transparent)]
    Steps(#[from] StepsError),
    /// The order is not in the session of its pool.
    #[error("the order is left out of the session: {0}")]
    LeftOut(LeftOutError),
}

impl TransitionError {
    /// Whether the same transaction may be accepted once the state has moved on.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Deposit(_) | Self::Admission(_) => false,
            Self::Transfer(error) => error.may_pass(),
            Self::Open(error) => error.may_pass(),
            Self::Withdraw(error) => error.may_pass(),
            Self::Steps(error) => error.may_pass(),
            Self::Fee(_) | Self::LeftOut(_) => true,
        }
    }
}

/// Why the fees of a chunk cannot be credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeeError {
    /// The operator takes no fees in this token.
    #[error("the operator has no account for fees in token {}", .0.0)]
    NoOperator(Token),
    /// The operator's cell is no account of the token or cannot hold so much.
    #[error("operator: {0}")]
    Operator(#[from] AccountError),
    /// The chunk's fees exceed 64 bits.
    #[error("the fees of one chunk exceed 64 bits")]
    SumOverflow,
}

impl State {
    /// A state of empty cells.
    pub fn new(chain_id: ChainId, depth: Depth) -> Self {
        Self { chain_id, tree: Tree::new(depth), machines: Machines::default() }
    }

    /// Loads a whole state.
    ///
    /// # Errors
    /// As [`Tree::load`].
    pub fn load(chain_id: ChainId, stored: &ChangeSet) -> Result<Self, TreeError> {
        Ok(Self { chain_id, tree: Tree::load(stored)?, machines: Machines::default() })
    }

    /// The same state, with the rules of the steps that these machines have.
    #[must_use]
    pub fn with_machines(self, machines: Machines) -> Self {
        Self { machines, ..self }
    }

    /// Takes the rules of the steps of these machines in the place of those it has.
    pub fn set_machines(&mut self, machines: Machines) {
        self.machines = machines;
    }

    /// The machines whose rules of steps it knows.
    pub fn machines(&self) -> &Machines {
        &self.machines
    }

    /// Which rollup.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The tree of cells.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The tree's depth.
    pub fn depth(&self) -> Depth {
        self.tree.depth()
    }

    /// The tree's root.
    pub fn root(&self) -> Fr {
        self.tree.root()
    }

    /// The account at an index, if there is one.
    pub fn account(&self, index: CellIndex) -> Option<Account> {
        match self.tree.get(index) {
            Cell::Account(account) => Some(account),
            _ => None,
        }
    }

    /// The owner's accounts, in the order of their indices.
    pub fn accounts_of(&self, owner: &PublicKey) -> impl Iterator<Item = (CellIndex, Account)> {
        self.tree.cells().filter_map(move |(index, cell)| match cell {
            Cell::Account(account) if account.owner == *owner => Some((index, *account)),
            _ => None,
        })
    }

    /// Makes the tree one level deeper.
    ///
    /// # Errors
    /// As [`Tree::grow`].
    pub fn grow(&mut self) -> Result<Fr, TreeError> {
        self.tree.grow()
    }

    /// What changed since the last commit.
    pub fn changes(&self) -> ChangeSet {
        self.tree.changes()
    }

    /// The cells that changed since the last commit, as they were then.
    pub fn replaced(&self) -> impl Iterator<Item = (CellIndex, Cell)> {
        self.tree.replaced()
    }

    /// Makes the changes since the last commit final; gives them.
    pub fn commit(&mut self) -> ChangeSet {
        self.tree.commit()
    }

    /// Takes back all changes since the last commit.
    pub fn rollback(&mut self) {
        self.tree.rollback();
    }

    fn rollup(&self) -> Rollup {
        Rollup { chain_id: self.chain_id, depth: self.depth() }
    }
}

#[cfg(test)]
mod tests;
