//! What transactions would make of a state: the rules alone, without chunks, and without anyone who collects the fees.
//!
//! Wallets look ahead with it: over what waits for a batch, and over what they are about to sign. An order waits for
//! the session of its pool, whose price nobody knows before; until then it takes what it pays, and gives nothing.

use super::{
    State, StepsError, TransitionError,
    cut::ROUNDS_MAX,
    sessions::{check_order, order_of, pool_of, refused},
    signatures::KnownSignatures,
    slot::{CellsAfter, SlotKind},
    steps::{FEE_TOKEN, Ground, StepPlan, cells_after, registers_after},
};
use crate::{
    exchange::{
        Parameters, Reserves,
        matching::{self, Matching, match_orders},
    },
    step::{Machine, Refusal, Registers, StepContext},
    transaction::{StepTransaction, Transaction},
};
use std::{collections::HashMap, num::NonZeroU16};
use taproof_verifier::{
    cell::{Cell, CellIndex, Pool},
    operation::OperationsHash,
};

/// A state that transactions are tried on, one after the other.
#[derive(Clone)]
pub struct Outlook {
    state: State,
    /// None where there are no steps.
    plan: Option<StepPlan>,
    /// The orders that wait, each with its pool.
    orders: Vec<(CellIndex, matching::Order)>,
}

impl Outlook {
    /// Takes a state, the set of operations that its steps are of, if it has any, and the height that a batch would
    /// refer to.
    pub fn new(state: State, operations: Option<OperationsHash>, height_blocks: u32) -> Self {
        let machine = operations.and_then(|operations| state.machines.get_shared(operations));
        let (chain_id, depth) = (state.chain_id(), state.depth());
        let context = StepContext { chain_id, depth, height_blocks, token: FEE_TOKEN };
        let plan = machine.map(|machine| StepPlan { machine, slots: NonZeroU16::MIN.into(), context, operator: None });
        Self { state, plan, orders: Vec::new() }
    }

    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The machine whose steps are applied; `None` where there are none.
    pub fn machine(&self) -> Option<&Machine> {
        self.plan.as_ref().map(|plan| &*plan.machine)
    }

    /// Applies a transaction. The fee is gone; what an order gets is not there yet.
    ///
    /// # Errors
    /// Why a batch that begins with this state would not apply it; then nothing changes.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<(), TransitionError> {
        let cells = match transaction {
            Transaction::Transfer(signed) => SlotKind::cells_after(&self.state.rollup(), signed, &self.state.tree)?,
            Transaction::Open(signed) => SlotKind::cells_after(&self.state.rollup(), signed, &self.state.tree)?,
            Transaction::Withdraw(signed) => SlotKind::cells_after(&self.state.rollup(), signed, &self.state.tree)?,
            Transaction::Steps(steps) => self.run_steps(steps)?,
        };
        self.state.tree.set_all(cells).expect("the rules checked the indices");
        Ok(())
    }

    /// Applies all transactions that it can, in as many passes as a batch would make; gives the positions of the
    /// others, each with its last reason.
    pub fn apply_all(&mut self, transactions: &[Transaction]) -> Vec<(usize, TransitionError)> {
        let mut waiting: Vec<usize> = (0..transactions.len()).collect();
        let mut refused = Vec::new();
        for _ in 0..ROUNDS_MAX {
            refused.clear();
            for position in &waiting {
                if let Err(reason) = self.apply(&transactions[*position]) {
                    refused.push((*position, reason));
                }
            }
            if refused.len() == waiting.len() {
                break;
            }
            waiting = refused.iter().map(|(position, _)| *position).collect();
        }
        refused
    }

    fn run_steps(&mut self, steps: &StepTransaction) -> Result<CellsAfter, TransitionError> {
        let plan = self.plan.as_ref().ok_or(StepsError::NoSteps)?;
        let ground = Ground { tree: &self.state.tree, signatures: &KnownSignatures::default() };
        let Some(clause) = order_of(steps) else { return Ok(cells_after(ground, plan, steps)?) };
        let index = pool_of(clause);
        let pool = self.pool(index).map_err(|refusal| refused(clause, refusal))?;
        let mut accounts = HashMap::new();
        let order = check_order(ground, plan, &pool, steps, clause, &mut accounts)?;
        self.orders.push((index, order));
        Ok(accounts.into_iter().map(|(index, account)| (index, Cell::Account(account))).collect())
    }

    /// What a part of a transaction leaves to the others: what is in motion, owed and noted after its last step.
    ///
    /// # Errors
    /// Why no transaction that begins with it would be applied.
    pub fn left_open(&self, part: &StepTransaction) -> Result<Registers, TransitionError> {
        let plan = self.plan.as_ref().ok_or(StepsError::NoSteps)?;
        let ground = Ground { tree: &self.state.tree, signatures: &KnownSignatures::default() };
        Ok(registers_after(ground, plan, part)?)
    }

    fn pool(&self, index: CellIndex) -> Result<Pool, Refusal> {
        let cell = if self.state.depth().contains(index) { self.state.tree.get(index) } else { Cell::Empty };
        match cell {
            Cell::Pool(pool) => Ok(pool),
            other => Err(Refusal::WrongCell { expected: Pool::KIND, found: other.kind() }),
        }
    }

    /// The session of a pool, if it were held now with the orders that were applied, in their order, and further ones.
    ///
    /// # Errors
    /// [`Refusal::WrongCell`] if there is no such pool.
    pub fn session(&self, pool: CellIndex, further: &[matching::Order]) -> Result<Matching, Refusal> {
        let cell = self.pool(pool)?;
        let reserves = Reserves::new(cell.first.balance, cell.second.balance)?;
        let parameters = Parameters::new(cell.fee, cell.weight, cell.averaging_blocks)?;
        let waiting = self.orders.iter().filter(|(of, _)| *of == pool).map(|(_, order)| *order);
        let orders: Vec<_> = waiting.chain(further.iter().copied()).collect();
        Ok(match_orders(reserves, &parameters, &orders))
    }
}
