//! When the tree grows.
//!
//! A deeper tree takes longer to prove, so it grows when it must: when the next batch must credit deposits whose owners
//! find no cell, or opens an account beyond a tree that has no cell left. It grows to the next depth that the program
//! has circuits for; also where that is another than before, and has none for the tree as it is. A batch in the deepest
//! tree that still lacks cells has [withdrawals alone](crate::ledger::AppliedBatch::has_withdrawals_alone).

use super::{Draft, Sequencer, SequencerError, slots};
use crate::ledger::{LedgerError, WaitingDeposit};
use std::collections::HashSet;
use taproof_base::store_error::StoreError;
use taproof_circuits::{
    state::State,
    transaction::{Part, Transaction},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Depth, Token},
    follow::deposits_enough,
    program::Program,
    record::Kind,
};

impl Sequencer<'_> {
    /// The least depth of the program's, from one on, in whose tree the deposits of a draft find cells; the one given,
    /// if they find none in any.
    pub(super) fn depth_of_deposits(
        &self,
        depth: Depth,
        reference_height: u32,
        void_below: u32,
    ) -> Result<Depth, SequencerError> {
        let due = self.ledger.deposits_due(reference_height, void_below)?;
        let mut roomy = Some(depth);
        while let Some(candidate) = roomy {
            let slots = slots(self.follower.program_at(reference_height)?, candidate)?;
            if cells_left(self.ledger.state(), candidate, asked(&due, slots.deposit.largest().get())) >= 0 {
                return Ok(candidate);
            }
            roomy = next_depth(self.follower.program_at(reference_height)?, candidate);
        }
        Ok(depth)
    }

    /// The draft in a deeper tree, if one of these or the waiting transactions opens an account that finds no cell in
    /// the draft's own, which has none left.
    pub(super) fn grown_for_openings(&self, draft: &Draft, new: &[Transaction]) -> Result<Draft, SequencerError> {
        let due = self.ledger.deposits_due(draft.reference.height, draft.void_below)?;
        let is_full = |draft: &Draft| {
            let asked = asked(&due, draft.plan.slots.deposit.largest().get());
            cells_left(self.ledger.state(), draft.depth, asked) == 0
        };
        let mut grown = draft.clone();
        if !is_full(&grown) {
            return Ok(grown);
        }
        let Some(depth) = next_depth(self.follower.program_at(draft.reference.height)?, draft.depth) else {
            return Ok(grown);
        };
        let transactions: Vec<Transaction> =
            self.ledger.transactions()?.into_iter().chain(new.iter().cloned()).collect();
        let needs_it = |transaction: &Transaction| {
            opened(draft, transaction).iter().any(|cell| depth.contains(*cell) && !draft.depth.contains(*cell))
        };
        if !transactions.iter().any(needs_it) {
            return Ok(grown);
        }
        grown.depth = depth;
        grown.plan.slots = slots(self.follower.program_at(draft.reference.height)?, depth)?;
        // A tree never shrinks, so none grows for what the state refuses all the same.
        let deposits: Vec<_> = due.iter().map(|scanned| scanned.deposit).collect();
        let made = self.state_at(depth)?.apply(&grown.plan, &deposits, &transactions);
        let batch = made.map_err(LedgerError::from)?;
        let is_needed = batch.applied.iter().any(|position| needs_it(&transactions[*position]));
        Ok(if is_needed { grown } else { draft.clone() })
    }

    /// The ledger's state in a tree of a depth.
    pub(super) fn state_at(&self, depth: Depth) -> Result<State, LedgerError> {
        let mut state = self.ledger.state().clone();
        while state.depth() < depth {
            state.grow().map_err(StoreError::corrupted)?;
        }
        Ok(state)
    }
}

/// The cells that a transaction opens, or may open by steps, if a draft takes it.
fn opened(draft: &Draft, transaction: &Transaction) -> Vec<CellIndex> {
    let cells = match transaction {
        Transaction::Open(signed) => vec![signed.body().to],
        Transaction::Steps(steps) => steps.parts.iter().flat_map(Part::steps).map(|step| step.record.cell).collect(),
        Transaction::Transfer(_) | Transaction::Withdraw(_) => Vec::new(),
    };
    if draft.plan.admission.check(transaction).is_ok() { cells } else { Vec::new() }
}

/// The owners of the deposits that the rules ask for.
fn asked(due: &[WaitingDeposit], slots: u16) -> impl Iterator<Item = PublicKey> {
    due.iter().take(deposits_enough(slots)).map(|scanned| scanned.deposit.owner)
}

/// How many cells are left in a tree of that depth once each of these owners has an account in bitcoin; below zero if
/// they find too few.
fn cells_left(state: &State, depth: Depth, owners: impl Iterator<Item = PublicKey>) -> i64 {
    let mut new: HashSet<PublicKey> = owners.collect();
    let mut left = i64::from(depth.cell_count());
    for (_, cell) in state.tree().cells() {
        left -= 1;
        if let Cell::Account(account) = cell
            && account.token == Token::BITCOIN
        {
            new.remove(&account.owner);
        }
    }
    left - new.len() as i64
}

/// The next depth that a program has circuits for.
fn next_depth(program: &Program, depth: Depth) -> Option<Depth> {
    least_depth(program, depth.levels() + 1)
}

/// The least depth that a program has circuits for, of those with so many levels or more.
pub(super) fn least_depth(program: &Program, levels: u8) -> Option<Depth> {
    let mut depths = (levels..=Depth::MAX.levels()).filter_map(Depth::new);
    depths.find(|depth| program.slots_max(Kind::Deposit, *depth).is_some())
}
