//! Sessions of pools in a batch: which orders are in, and the transaction that they make.
//!
//! An order by itself, a clause of one ORDER, waits for the session of its pool. A batch has one session of a pool at
//! most: the operator matches its orders ([`exchange::matching`](crate::exchange::matching)), and puts SESSION, the
//! orders that are in, by their positions, and CLEAR into one transaction. Before they are matched, each order is
//! checked as if it got nothing from the others, so that whatever is matched can be applied: its signature, its nonce
//! or ticket, its tokens, and that its account can pay and be paid. Of an account that counts by nonces one order is in
//! a session: if it were left out, none after it could be in.
//!
//! No order keeps the others of its pool out. Should the session turn out not to be applicable with one, although that
//! was checked, it is put together again without that one. Where there are more orders than room, all are matched
//! first, so that none whose limit is out of reach takes the room of another. Whoever posts a session of his own comes
//! after the batch's.

use super::{
    FeeError, Rejected, StepsError, TransitionError,
    cut::{Cutter, Filling},
    steps::{Ground, StepPlan, check_number},
};
use crate::{
    account::credit,
    chunk::witness::StepWitness,
    exchange::{
        self, FEE_UNIT, Parameters, RESERVE_END, Reserves, Side,
        matching::{self, LeftOutError, match_orders},
    },
    ops::{self, Order},
    step::{Lane, Limits, OpenSession, Refusal, Registers, StepError, clause_message, flag},
    transaction::{Clause, ClauseStep, Part, StepTransaction, closes_session, opens_session},
    tree::Tree,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};
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

/// Whether a transaction opens a session of its own. Such wait until those of the batch have been held, so that nobody
/// keeps the orders of others from a pool, which clears once at a height.
pub(super) fn opens_own_session(transaction: &StepTransaction) -> bool {
    let mut steps = transaction.parts.iter().flat_map(Part::steps);
    steps.any(|step| step.record.operation == ops::Session::NUMBER)
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

/// How often a session is put together at most: each time without an order that could not be in it after all. Orders
/// are checked before, so that hardly any is such.
const TRIES_MAX: usize = 16;

/// An order that passed all that does not depend on the others.
struct Candidate<'a> {
    waiting: WaitingOrder<'a>,
    order: matching::Order,
}

impl Candidate<'_> {
    fn fee(&self) -> u64 {
        fee_of(self.waiting.2)
    }
}

fn fee_of(order: &Clause) -> u64 {
    order.steps[0].record.b
}

impl Cutter<'_> {
    /// Runs a session of each pool that has orders; gives those that wait.
    pub(super) fn run_sessions<'a>(
        &mut self,
        plan: &StepPlan,
        filling: &mut Filling<StepWitness>,
        orders: Vec<WaitingOrder<'a>>,
    ) -> Vec<WaitingOrder<'a>> {
        let mut by_pool: BTreeMap<CellIndex, Vec<WaitingOrder<'a>>> = BTreeMap::new();
        for waiting in orders {
            by_pool.entry(pool_of(waiting.2)).or_default().push(waiting);
        }
        let mut left = Vec::new();
        for (pool, orders) in by_pool {
            left.extend(self.run_session(plan, filling, pool, orders));
        }
        left
    }

    /// Runs one session; gives the orders that wait.
    fn run_session<'a>(
        &mut self,
        plan: &StepPlan,
        filling: &mut Filling<StepWitness>,
        index: CellIndex,
        orders: Vec<WaitingOrder<'a>>,
    ) -> Vec<WaitingOrder<'a>> {
        let (pool, reserves, parameters) = match pool_that_clears(self.tree, plan, index) {
            Ok(found) => found,
            Err(refusal) => {
                for (position, _, clause) in &orders {
                    self.reasons.insert(*position, refused(clause, refusal));
                }
                return orders;
            }
        };
        // SESSION and CLEAR beside the orders.
        let room = self.room_for_steps(plan, filling).saturating_sub(2);
        let mut waiting = Vec::new();
        let mut candidates = self.candidates(plan, filling, &pool, orders, &mut waiting);
        for _ in 0..TRIES_MAX {
            let orders: Vec<_> = candidates.iter().map(|candidate| candidate.order).collect();
            let matched = match_orders(reserves, &parameters, &orders);
            let mut taken = Vec::new();
            let mut left_out = Vec::new();
            for (candidate, outcome) in candidates.into_iter().zip(matched.outcomes) {
                match outcome {
                    Ok(_) => taken.push(candidate),
                    Err(reason) => left_out.push((candidate, reason)),
                }
            }
            if taken.len() > room {
                // Those that pay most share the room, of those that pay alike the first. What would not be in has none.
                self.turned_away = true;
                taken.sort_by_key(|candidate| (Reverse(candidate.fee()), candidate.waiting.0));
                for candidate in taken.split_off(room) {
                    self.reasons.remove(&candidate.waiting.0);
                    waiting.push(candidate.waiting);
                }
                self.leave_out(left_out, &mut waiting);
                taken.sort_by_key(|candidate| candidate.waiting.0);
                candidates = taken;
                continue;
            }
            if taken.is_empty() {
                self.leave_out(left_out, &mut waiting);
                return waiting;
            }
            let mut parts = vec![Part::Step(opens_session(index, matched.session.unpaid_x, matched.session.unpaid_y))];
            parts.extend(taken.iter().flat_map(|candidate| candidate.waiting.1.parts.iter().cloned()));
            parts.push(Part::Step(closes_session(index)));
            let transaction = StepTransaction { chain_id: plan.context.chain_id, parts };
            let (part, reason) = match self.try_steps(plan, filling, &transaction) {
                Ok(tried) => {
                    self.put_steps(plan, filling, tried);
                    self.applied.extend(taken.iter().map(|candidate| candidate.waiting.0));
                    self.leave_out(left_out, &mut waiting);
                    return waiting;
                }
                Err(reason) => reason.in_its_part(),
            };
            // An order is a part, after that of SESSION.
            let culprit = part.checked_sub(1).filter(|place| *place < taken.len());
            let reason = TransitionError::Steps(reason);
            let Some(place) = culprit else {
                for candidate in taken {
                    self.reasons.insert(candidate.waiting.0, reason);
                    waiting.push(candidate.waiting);
                }
                self.leave_out(left_out, &mut waiting);
                return waiting;
            };
            self.refuse(taken.remove(place).waiting, reason, &mut waiting);
            // The others are matched again, and in their order: without it, more of them may be in.
            candidates = taken;
            candidates.extend(left_out.into_iter().map(|(candidate, _)| candidate));
            candidates.sort_by_key(|candidate| candidate.waiting.0);
        }
        // Nothing is known against them.
        for candidate in candidates {
            self.reasons.remove(&candidate.waiting.0);
            waiting.push(candidate.waiting);
        }
        waiting
    }

    /// Those orders that could be in a session if the price were right; the others wait or are rejected.
    fn candidates<'a>(
        &mut self,
        plan: &StepPlan,
        filling: &Filling<StepWitness>,
        pool: &Pool,
        orders: Vec<WaitingOrder<'a>>,
        waiting: &mut Vec<WaitingOrder<'a>>,
    ) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        let mut accounts = HashMap::new();
        let mut by_nonce = HashSet::new();
        for order in orders {
            let (position, transaction, clause) = order;
            if !clause.is_by_ticket() && by_nonce.contains(&clause.signer()) {
                self.reasons.remove(&position);
                waiting.push(order);
                continue;
            }
            let signer = clause.signer();
            let before = accounts.get(&signer).copied();
            let checked = check_order(self.ground(), plan, pool, transaction, clause, &mut accounts);
            match checked.and_then(|checked| Ok((checked, self.check_fee(plan, filling, fee_of(clause))?))) {
                Ok((checked, ())) => {
                    if !clause.is_by_ticket() {
                        by_nonce.insert(signer);
                    }
                    candidates.push(Candidate { waiting: order, order: checked });
                }
                Err(reason) => {
                    // Whatever it would have done to its account, it does not.
                    match before {
                        Some(account) => accounts.insert(signer, account),
                        None => accounts.remove(&signer),
                    };
                    self.refuse(order, reason, waiting);
                }
            }
        }
        candidates
    }

    /// Checks that a fee could be credited if no other were, so that one that nobody can take keeps no other out.
    fn check_fee(&self, plan: &StepPlan, filling: &Filling<StepWitness>, fee: u64) -> Result<(), TransitionError> {
        let credited = || {
            let token = plan.context.token;
            let fees = filling.fees.checked_add(fee).ok_or(FeeError::SumOverflow)?;
            let operator = plan.operator.ok_or(FeeError::NoOperator(token))?;
            credit(operator, &self.tree.get(operator), token, fees)?;
            Ok(())
        };
        if fee == 0 { Ok(()) } else { credited().map_err(|source| StepsError::Fee { part: 0, source }.into()) }
    }

    /// Lets an order wait that may pass later, and rejects others.
    fn refuse<'a>(&mut self, order: WaitingOrder<'a>, reason: TransitionError, waiting: &mut Vec<WaitingOrder<'a>>) {
        let position = order.0;
        if reason.may_pass() {
            self.reasons.insert(position, reason);
            waiting.push(order);
        } else {
            self.rejected.push(Rejected { position, reason });
        }
    }

    /// Lets the orders wait that the matching left out.
    fn leave_out<'a>(&mut self, left_out: Vec<(Candidate<'a>, LeftOutError)>, waiting: &mut Vec<WaitingOrder<'a>>) {
        for (candidate, reason) in left_out {
            self.reasons.insert(candidate.waiting.0, TransitionError::LeftOut(reason));
            waiting.push(candidate.waiting);
        }
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
    // A session in which anything can be paid in, at a price that is too high for anything to come out.
    let side = if record.flags & Order::SELLS_SECOND != 0 { Side::Y } else { Side::X };
    let dear = u128::from(FEE_UNIT) << 63;
    let [n, d] = if side == Side::Y { [dear, 1] } else { [1, dear] };
    let session = exchange::Session { n, d, unpaid_x: u64::MAX, unpaid_y: u64::MAX, fee: pool.fee };
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
    Ok(matching::Order { side, amount: record.a, least: limits.least })
}

impl From<LeftOutError> for TransitionError {
    fn from(error: LeftOutError) -> Self {
        Self::LeftOut(error)
    }
}
