//! Sessions of pools in a batch: which orders are in, and the transaction that they make.
//!
//! An order by itself, a clause of one ORDER, waits for the session of its pool. A batch has one session of a pool at
//! most: the operator matches its orders ([`exchange::matching`](crate::exchange::matching)), and puts SESSION, the
//! orders that are in, by their positions, and CLEAR into one transaction. Before they are matched, each order is
//! checked as if it got nothing from the others, so that whatever is matched can be applied: its signature, its nonce
//! or ticket, its tokens, and that its account can pay and be paid. Of an account that counts by nonces one order is in
//! a session: if it were left out, none after it could be in.

use super::{
    Rejected, StepsError, TransitionError,
    cut::{Cutter, Filling},
    steps::{Ground, StepPlan, check_number},
};
use crate::{
    exchange::{
        self, FEE_UNIT, Parameters, RESERVE_END, Reserves, Side,
        matching::{self, LeftOutError, match_orders},
    },
    ops::Order,
    step::{Lane, Limits, OpenSession, Refusal, Registers, StepError, clause_message, flag},
    transaction::{Clause, ClauseStep, Part, StepTransaction, closes_session, opens_session},
    tree::Tree,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Pool},
    record::StepRecord,
};

/// The order that a transaction is, if it is nothing else.
pub(super) fn order_of(transaction: &StepTransaction) -> Option<&Clause> {
    match transaction.parts.as_slice() {
        [Part::Clause(clause)] if clause.steps.len() == 1 => {
            (clause.steps[0].record.operation == Order::NUMBER).then_some(clause)
        }
        _ => None,
    }
}

/// The pool that an order names, if there can be one of that index.
pub(super) fn pool_of(order: &Clause) -> CellIndex {
    CellIndex::new(order.steps[0].record.c as u32).unwrap_or_default()
}

/// The refusal of an order.
pub(super) fn refused(order: &Clause, refusal: Refusal) -> TransitionError {
    let StepRecord { operation, cell, .. } = order.steps[0].record;
    let source = StepError { operation, name: "ORDER", cell, refusal };
    TransitionError::Steps(StepsError::Step { part: 0, step: 0, source })
}

/// An order that waits: its position, its transaction and its clause.
pub(super) type WaitingOrder<'a> = (usize, &'a StepTransaction, &'a Clause);

/// An order that passed all that does not depend on the others.
struct Candidate<'a> {
    position: usize,
    transaction: &'a StepTransaction,
    order: matching::Order,
}

impl Cutter<'_> {
    /// Runs a session of each pool that has orders; gives those that wait.
    pub(super) fn run_sessions<'a>(&mut self, plan: &StepPlan, orders: Vec<WaitingOrder<'a>>) -> Vec<WaitingOrder<'a>> {
        let mut by_pool: BTreeMap<CellIndex, Vec<WaitingOrder<'a>>> = BTreeMap::new();
        for waiting in orders {
            by_pool.entry(pool_of(waiting.2)).or_default().push(waiting);
        }
        let mut left = Vec::new();
        for (pool, orders) in by_pool {
            left.extend(self.run_session(plan, pool, orders));
        }
        left
    }

    /// Runs one session; gives the orders that wait.
    fn run_session<'a>(
        &mut self,
        plan: &StepPlan,
        index: CellIndex,
        orders: Vec<WaitingOrder<'a>>,
    ) -> Vec<WaitingOrder<'a>> {
        let clauses: HashMap<usize, &'a Clause> =
            orders.iter().map(|(position, _, clause)| (*position, *clause)).collect();
        let (pool, reserves, parameters) = match pool_that_clears(self.tree, plan, index) {
            Ok(found) => found,
            Err(refusal) => {
                for (position, _, clause) in &orders {
                    self.reasons.insert(*position, refused(clause, refusal));
                }
                return orders;
            }
        };
        let mut waiting = Vec::new();
        let mut candidates = Vec::new();
        let mut accounts = HashMap::new();
        let mut by_nonce = HashSet::new();
        // SESSION and CLEAR beside the orders.
        let room = self.room_for_steps(plan, &Filling::new(self.tree)).saturating_sub(2);
        for (position, transaction, clause) in orders {
            if candidates.len() >= room || !clause.is_by_ticket() && by_nonce.contains(&clause.signer()) {
                self.turned_away |= candidates.len() >= room;
                self.reasons.remove(&position);
                waiting.push((position, transaction, clause));
                continue;
            }
            match check_order(self.ground(), plan, &pool, transaction, clause, &mut accounts) {
                Ok(order) => {
                    if !clause.is_by_ticket() {
                        by_nonce.insert(clause.signer());
                    }
                    candidates.push(Candidate { position, transaction, order });
                }
                Err(reason) if reason.may_pass() => {
                    self.reasons.insert(position, reason);
                    waiting.push((position, transaction, clause));
                }
                Err(reason) => self.rejected.push(Rejected { position, reason }),
            }
        }
        let orders: Vec<_> = candidates.iter().map(|candidate| candidate.order).collect();
        let matched = match_orders(reserves, &parameters, &orders);
        let mut taken = Vec::new();
        for (candidate, outcome) in candidates.into_iter().zip(matched.outcomes) {
            let Candidate { position, transaction, .. } = candidate;
            match outcome {
                Ok(_) => taken.push((position, transaction)),
                Err(reason) => {
                    self.reasons.insert(position, TransitionError::LeftOut(reason));
                    waiting.push((position, transaction, clauses[&position]));
                }
            }
        }
        if taken.is_empty() {
            return waiting;
        }
        let opens = opens_session(index, matched.session.unpaid_x, matched.session.unpaid_y);
        let closes = closes_session(index);
        let mut parts = vec![Part::Step(opens)];
        parts.extend(taken.iter().flat_map(|(_, transaction)| transaction.parts.iter().cloned()));
        parts.push(Part::Step(closes));
        let transaction = StepTransaction { chain_id: plan.context.chain_id, parts };
        let mut filling = Filling::new(self.tree);
        match self.try_steps(plan, &filling, &transaction) {
            Ok(tried) => {
                self.put_steps(plan, &mut filling, tried);
                self.close_steps(plan, &mut filling);
                self.applied.extend(taken.iter().map(|(position, _)| *position));
            }
            // The fees, if no operator can take them all.
            Err(reason) => {
                for (position, transaction) in taken {
                    self.reasons.insert(position, TransitionError::Steps(reason));
                    waiting.push((position, transaction, clauses[&position]));
                }
            }
        }
        waiting
    }
}

/// The pool of a session, if it can have one now.
fn pool_that_clears(tree: &Tree, plan: &StepPlan, index: CellIndex) -> Result<(Pool, Reserves, Parameters), Refusal> {
    let cell = if plan.context.depth.contains(index) { tree.get(index) } else { Cell::Empty };
    let Cell::Pool(pool) = cell else {
        return Err(Refusal::WrongCell { expected: Pool::KIND, found: cell.kind() });
    };
    let reserves = Reserves::new(pool.first.balance, pool.second.balance)?;
    let parameters = Parameters::new(pool.fee, pool.weight, pool.averaging_blocks)?;
    let average = exchange::Price::new(pool.average)?;
    exchange::advance(average, reserves, &parameters, pool.last_height, plan.context.height_blocks)?;
    Ok((pool, reserves, parameters))
}

/// Checks an order by itself; takes what it pays from its account among `accounts`, and gives it nothing.
pub(super) fn check_order(
    Ground { tree, signatures }: Ground<'_>,
    plan: &StepPlan,
    pool: &Pool,
    transaction: &StepTransaction,
    clause: &Clause,
    accounts: &mut HashMap<CellIndex, Account>,
) -> Result<matching::Order, TransitionError> {
    let expected = plan.context.chain_id;
    if transaction.chain_id != expected {
        return Err(StepsError::WrongChain { expected, found: transaction.chain_id }.into());
    }
    clause.check().map_err(|source| StepsError::Clause { part: 0, source })?;
    let ClauseStep { record, limits } = clause.steps[0];
    let refused = |refusal: Refusal| refused(clause, refusal);
    let cell = match accounts.get(&record.cell) {
        Some(account) => Cell::Account(*account),
        None if plan.context.depth.contains(record.cell) => tree.get(record.cell),
        None => Cell::Empty,
    };
    check_number(&cell, clause).map_err(refused)?;
    // A session at the pool's price, in which anything can be paid in.
    let unit = u128::from(FEE_UNIT);
    let [x, y] = [pool.first.balance, pool.second.balance].map(u128::from);
    let session = exchange::Session { n: unit * y, d: unit * x, unpaid_x: u64::MAX, unpaid_y: u64::MAX, fee: pool.fee };
    let tokens = [pool.first.token, pool.second.token];
    let lanes = [Lane { token: tokens[0], value: 0 }, Lane { token: tokens[1], value: 0 }, Lane::default()];
    let session = Some(OpenSession { pool: pool_of(clause), tokens, session });
    let registers = Registers { lanes, session, ..Registers::default() };
    // Without its limit: the price is not yet known.
    let without = Limits { least: 0, ..limits };
    let applied = plan.machine.apply(&plan.context, &registers, &cell, &record, Some(without));
    let applied = applied.map_err(|source| StepsError::Step { part: 0, step: 0, source })?;
    let (Cell::Account(before), Cell::Account(after)) = (cell, applied.cell) else {
        return Err(refused(Refusal::WrongCell { expected: Account::KIND, found: cell.kind() }));
    };
    let digest = clause.digest(&plan.machine, expected).map_err(|source| StepsError::Clause { part: 0, source })?;
    let message = clause_message(digest);
    let verified = signatures.verify(&clause.signature, &before.owner, &message);
    verified.map_err(|error| refused(error.into()))?;
    let pays_second = record.flags & flag::SECOND != 0;
    // What all orders of a session get together is below 2^63.
    let gained = if pays_second { before.balance } else { before.second.balance };
    if gained >= RESERVE_END {
        return Err(refused(Refusal::Overflow { what: "the balance", width_bits: 64 }));
    }
    let fee_second = record.flags & flag::FEE_SECOND != 0;
    let fee = if fee_second == pays_second { 0 } else { record.b };
    let token = if pays_second { before.token } else { before.second.token };
    let insufficient = Refusal::Insufficient { token, balance: gained, needed: fee };
    let kept = gained.checked_sub(fee).ok_or_else(|| refused(insufficient))?;
    let mut without_gain = after;
    *(if pays_second { &mut without_gain.balance } else { &mut without_gain.second.balance }) = kept;
    accounts.insert(record.cell, without_gain);
    let side = if record.flags & Order::SELLS_SECOND != 0 { Side::Y } else { Side::X };
    Ok(matching::Order { side, amount: record.a, least: limits.least })
}

impl From<LeftOutError> for TransitionError {
    fn from(error: LeftOutError) -> Self {
        Self::LeftOut(error)
    }
}
