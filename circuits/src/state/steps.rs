//! Transactions of steps in a batch: each is tried as a whole, on cells laid over the tree, before anything changes.

use super::{
    FeeError, TransitionError,
    cut::{Cutter, Filling, SlotCounts},
    signatures::KnownSignatures,
    slot::CellsAfter,
};
use crate::{
    account::credit,
    chunk::witness::{SlotWitnesses, StepWitness},
    schnorr::Signature,
    step::{Applied, Limits, Machine, PoolInteger, Refusal, Registers, StepContext, StepError, flag, known_signature},
    transaction::{Clause, ClauseError, ClauseStep, Part, StepTransaction},
    tree::Tree,
};
use std::{collections::HashMap, sync::Arc};
use taproof_verifier::{
    cell::{Cell, CellIndex, ChainId, Token},
    record::StepRecord,
    statement,
};

/// Why a transaction of steps is refused, and which of its steps is the reason. Parts and steps count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepsError {
    /// It is for another rollup.
    #[error("the transaction is for rollup {found}, this is rollup {expected}")]
    WrongChain {
        /// This rollup.
        expected: ChainId,
        /// The one that it names.
        found: ChainId,
    },
    /// It has no steps.
    #[error("the transaction has no steps")]
    Empty,
    /// The rollup has no steps.
    #[error("this rollup has no steps: its program has no circuit of any")]
    NoSteps,
    /// A clause is none.
    #[error("clause {part}: {source}")]
    Clause {
        /// The part.
        part: usize,
        /// Why.
        source: ClauseError,
    },
    /// A step is refused.
    #[error("part {part}, step {step}: {source}")]
    Step {
        /// The part.
        part: usize,
        /// The step in the part.
        step: usize,
        /// Why.
        source: StepError,
    },
    /// The fee of a step cannot be credited.
    #[error("part {part}: {source}")]
    Fee {
        /// The part.
        part: usize,
        /// Why.
        source: FeeError,
    },
    /// The transaction has more steps than a batch has room for.
    #[error("a transaction of {found} steps does not fit into any batch")]
    TooLong {
        /// Its steps.
        found: usize,
    },
}

impl StepsError {
    /// Whether the same transaction may be accepted once the state has moved on.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Step { source, .. } => source.may_pass(),
            Self::Fee { .. } => true,
            _ => false,
        }
    }

    /// The part that it is about, and the same of a transaction that is that part alone.
    pub(super) fn in_its_part(self) -> (usize, Self) {
        match self {
            Self::Clause { part, source } => (part, Self::Clause { part: 0, source }),
            Self::Step { part, step, source } => (part, Self::Step { part: 0, step, source }),
            Self::Fee { part, source } => (part, Self::Fee { part: 0, source }),
            other => (0, other),
        }
    }
}

/// A step that was tried.
pub(super) struct TriedStep {
    record: StepRecord,
    limits: Limits,
    signature: Signature,
    registers: Registers,
    registers_after: Registers,
    after: Cell,
    fee: u64,
    integers: Vec<PoolInteger>,
}

/// How steps are cut: by which machine, into chunks of how many slots, with whose fees.
#[derive(Clone)]
pub(super) struct StepPlan {
    pub(super) machine: Arc<Machine>,
    pub(super) slots: SlotCounts,
    pub(super) context: StepContext,
    /// Who receives the fees, if anyone does.
    pub(super) operator: Option<CellIndex>,
}

/// What a chunk that is being filled leaves to later steps: its room, and the fees that its operator gets.
#[derive(Clone, Copy)]
struct Room {
    slots: usize,
    fees: u64,
}

/// Cells that are tried, over a tree.
struct Trial<'a> {
    plan: &'a StepPlan,
    tree: &'a Tree,
    signatures: &'a KnownSignatures,
    cells: HashMap<CellIndex, Cell>,
    registers: Registers,
    /// None where nobody collects the fees.
    room: Option<Room>,
    tried: Vec<TriedStep>,
}

impl Trial<'_> {
    fn cell(&self, index: CellIndex) -> Cell {
        self.cells.get(&index).copied().unwrap_or_else(|| self.tree.get(index))
    }

    /// Runs one step; `signature` is that of its clause.
    fn run(&mut self, ClauseStep { record, limits }: ClauseStep, signature: Signature) -> Result<(), StepFailure> {
        #[cfg(test)]
        STEPS_RUN.set(STEPS_RUN.get() + 1);
        let StepPlan { machine, context, .. } = self.plan;
        let registers = self.registers;
        let Applied { cell, registers: registers_after, fee, signed, integers } =
            machine.apply(context, &registers, &self.cell(record.cell), &record, Some(limits))?;
        let signature = match signed {
            Some((owner, message)) => {
                let verified = self.signatures.verify(&signature, &owner, &message);
                verified.map_err(|error| StepFailure::Signature(error.into()))?;
                signature
            }
            None => known_signature(),
        };
        self.cells.insert(record.cell, cell);
        self.registers = registers_after;
        self.tried.push(TriedStep {
            record,
            limits,
            signature,
            registers,
            registers_after,
            after: cell,
            fee,
            integers,
        });
        self.collect(fee).map_err(StepFailure::Fee)
    }

    /// Notes a fee, and credits the operator where the chunk is full. Wherever a chunk ends, the credit must be
    /// possible.
    fn collect(&mut self, fee: u64) -> Result<(), FeeError> {
        let StepPlan { slots, operator, context: StepContext { token, .. }, .. } = self.plan;
        let Some(mut room) = self.room else { return Ok(()) };
        room.fees = room.fees.checked_add(fee).ok_or(FeeError::SumOverflow)?;
        room.slots -= 1;
        let mut credited = None;
        if room.fees > 0 {
            let operator = operator.ok_or(FeeError::NoOperator(*token))?;
            let account = credit(operator, &self.cell(operator), *token, room.fees)?;
            credited = Some((operator, Cell::Account(account)));
        }
        if room.slots == 0 {
            self.cells.extend(credited);
            room = Room { slots: slots.largest().get().into(), fees: 0 };
        }
        self.room = Some(room);
        Ok(())
    }
}

/// Checks that a clause uses the nonce of its account, or names one of its tickets: what is signed has it, no record
/// has.
pub(super) fn check_number(cell: &Cell, clause: &Clause) -> Result<(), Refusal> {
    let Cell::Account(account) = cell else { return Ok(()) };
    if clause.is_by_ticket() {
        let base = u64::from(account.tickets.base);
        let is_one = (base..base + 64).contains(&clause.number);
        return if is_one { Ok(()) } else { Err(Refusal::TicketRange(clause.number)) };
    }
    let found = account.nonce;
    match u32::try_from(clause.number) {
        Ok(expected) if expected == found => Ok(()),
        Ok(expected) => Err(Refusal::Nonce { expected, found }),
        Err(_) => Err(Refusal::NonceExhausted),
    }
}

/// Why a step fails.
enum StepFailure {
    Step(StepError),
    Signature(Refusal),
    Fee(FeeError),
}

impl From<StepError> for StepFailure {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

/// What transactions are tried on: the cells, and the signatures that were checked before.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) tree: &'a Tree,
    pub(super) signatures: &'a KnownSignatures,
}

/// Tries a transaction on cells laid over a tree; changes nothing. Where there is no room, nobody collects the fees.
/// One that is a part of another is not done with its last step.
fn try_over(
    Ground { tree, signatures }: Ground<'_>,
    plan: &StepPlan,
    room: Option<Room>,
    transaction: &StepTransaction,
    is_part: bool,
) -> Result<Vec<TriedStep>, StepsError> {
    let expected = plan.context.chain_id;
    if transaction.chain_id != expected {
        return Err(StepsError::WrongChain { expected, found: transaction.chain_id });
    }
    let count = transaction.step_count();
    let tried = Vec::with_capacity(count);
    let (cells, registers) = (HashMap::new(), Registers::default());
    let mut trial = Trial { plan, tree, signatures, cells, registers, room, tried };
    for (part, content) in transaction.parts.iter().enumerate() {
        let name = |record: &StepRecord| match plan.machine.get(record.operation) {
            Some(operation) => operation.description().name,
            None => "step",
        };
        let refused = |step: usize, record: &StepRecord, refusal: Refusal| {
            let (operation, cell) = (record.operation, record.cell);
            StepsError::Step { part, step, source: StepError { operation, name: name(record), cell, refusal } }
        };
        let signature = match content {
            Part::Clause(clause) => {
                clause.check().map_err(|source| StepsError::Clause { part, source })?;
                let first = &clause.steps[0].record;
                let signer = trial.cell(clause.signer());
                check_number(&signer, clause).map_err(|refusal| refused(0, first, refusal))?;
                clause.signature
            }
            Part::Step(_) => known_signature(),
        };
        for (step, mut content) in content.steps().enumerate() {
            let is_last = trial.tried.len() + 1 == count && !is_part;
            content.record.flags = content.record.flags & !flag::DONE | if is_last { flag::DONE } else { 0 };
            trial.run(content, signature).map_err(|failure| match failure {
                StepFailure::Step(source) => StepsError::Step { part, step, source },
                StepFailure::Signature(refusal) => refused(step, &content.record, refusal),
                StepFailure::Fee(source) => StepsError::Fee { part, source },
            })?;
        }
    }
    if trial.tried.is_empty() { Err(StepsError::Empty) } else { Ok(trial.tried) }
}

/// The cells that a transaction leaves behind, in the order of its steps, where nobody collects its fees.
pub(super) fn cells_after(
    ground: Ground<'_>,
    plan: &StepPlan,
    transaction: &StepTransaction,
) -> Result<CellsAfter, StepsError> {
    let tried = try_over(ground, plan, None, transaction, false)?;
    Ok(tried.into_iter().map(|tried| (tried.record.cell, tried.after)).collect())
}

/// The registers that a transaction leaves behind which is a part of another.
pub(super) fn registers_after(
    ground: Ground<'_>,
    plan: &StepPlan,
    transaction: &StepTransaction,
) -> Result<Registers, StepsError> {
    let tried = try_over(ground, plan, None, transaction, true)?;
    Ok(tried.last().map_or_else(Registers::default, |last| last.registers_after))
}

#[cfg(test)]
std::thread_local! {
    /// The steps that this thread has run to try transactions.
    pub(super) static STEPS_RUN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often a transaction of steps is tried in a batch at most, if each time the cells that it is about have changed
/// since. So one that is never applied costs no more than this many that are, whatever else moves.
const TRIES_MAX: usize = 16;

/// How a transaction that waits was tried.
#[derive(Default)]
pub(super) struct Tried {
    times: usize,
    /// The cells of its steps, as they were last; empty where something else than cells was in its way.
    cells: Vec<Cell>,
}

/// The cells that a transaction's steps are about, one for each step.
fn cells_of<'a>(tree: &'a Tree, transaction: &'a StepTransaction) -> impl Iterator<Item = Cell> + 'a {
    let steps = transaction.parts.iter().flat_map(Part::steps);
    steps.map(|step| tree.get(step.record.cell))
}

impl Tried {
    /// Notes why it waits.
    fn add(&mut self, tree: &Tree, transaction: &StepTransaction, reason: &StepsError) {
        match reason {
            // A number that is not the next one is seen before any step is run.
            StepsError::Step { source: StepError { refusal: Refusal::Nonce { .. }, .. }, .. } => {}
            _ => self.times += 1,
        }
        // What an operator can be credited with depends on the fees of others.
        let is_of_cells = !matches!(reason, StepsError::Fee { .. });
        self.cells = if is_of_cells { cells_of(tree, transaction).collect() } else { Vec::new() };
    }

    /// Whether there is no use, or no more time, for trying again.
    fn is_enough(&self, tree: &Tree, transaction: &StepTransaction) -> bool {
        self.times >= TRIES_MAX || cells_of(tree, transaction).eq(self.cells.iter().copied())
    }
}

impl Cutter<'_> {
    /// What the next transaction is tried on.
    pub(super) fn ground(&self) -> Ground<'_> {
        Ground { tree: self.tree, signatures: &self.signatures }
    }

    /// Tries a transaction after what the chunk that is being filled has; changes nothing.
    pub(super) fn try_steps(
        &self,
        plan: &StepPlan,
        filling: &Filling<StepWitness>,
        transaction: &StepTransaction,
    ) -> Result<Vec<TriedStep>, StepsError> {
        let slots = usize::from(plan.slots.largest().get());
        let room = Room { slots: slots - filling.slots.len(), fees: filling.fees };
        try_over(self.ground(), plan, Some(room), transaction, false)
    }

    /// How many steps more the batch has room for.
    pub(super) fn room_for_steps(&self, plan: &StepPlan, filling: &Filling<StepWitness>) -> usize {
        let slots = usize::from(plan.slots.largest().get());
        // A chunk that is begun counts as none of the batch yet, and takes one of the places that are left.
        self.chunks_left(plan.slots.largest()) * slots - filling.slots.len()
    }

    /// Puts what was tried into slots, chunk after chunk.
    pub(super) fn put_steps(&mut self, plan: &StepPlan, filling: &mut Filling<StepWitness>, tried: Vec<TriedStep>) {
        for TriedStep { record, limits, signature, registers, registers_after, after, fee, integers } in tried {
            let cell = self.tree.update(record.cell, after).expect("the rule checked the index");
            filling.slots.push(StepWitness { record, limits, registers, signature, cell, integers });
            filling.fees += fee;
            filling.registers = registers_after;
            if filling.slots.len() == usize::from(plan.slots.largest().get()) {
                self.close_steps(plan, filling);
            }
        }
    }

    /// Closes the chunk that is being filled, if it has a step.
    pub(super) fn close_steps(&mut self, plan: &StepPlan, filling: &mut Filling<StepWitness>) {
        let Some(first) = filling.slots.first() else { return };
        let StepPlan { machine, slots, context, operator } = plan;
        let [before, after] = [first.registers, filling.registers].map(|registers| registers.digest(machine.groups()));
        let registers_after = filling.registers;
        let operator = self.credit_operator(context.token, operator.unwrap_or_default(), filling.fees);
        let index = operator.index;
        let next = Filling { registers: registers_after, ..Filling::new(self.tree) };
        let Filling { cap, slots: witnesses, .. } = std::mem::replace(filling, next);
        let circuit = machine.circuit(context.depth, slots.fitting(witnesses.len()).get());
        let witnesses = SlotWitnesses::Step { operations: machine.set().clone(), slots: witnesses };
        let registers = statement::Registers { before, after };
        self.close(cap, circuit, context.token, index, witnesses, Some(operator), registers);
    }

    /// Passes over the transactions of steps until nothing moves.
    pub(super) fn run_steps(
        &mut self,
        plan: &StepPlan,
        filling: &mut Filling<StepWitness>,
        queue: &mut Vec<(usize, &StepTransaction)>,
    ) {
        for _ in 0..super::cut::ROUNDS_MAX {
            let applied_before = self.applied.len();
            for (position, transaction) in std::mem::take(queue) {
                let count = transaction.step_count();
                if count > self.room_for_steps(plan, filling) {
                    if count > super::cut::steps_max(self.plan, plan) {
                        let reason = StepsError::TooLong { found: count }.into();
                        self.rejected.push(super::Rejected { position, reason });
                        continue;
                    }
                    self.turned_away = true;
                    self.reasons.remove(&position);
                    queue.push((position, transaction));
                    continue;
                }
                if self.tried.get(&position).is_some_and(|tried| tried.is_enough(self.tree, transaction)) {
                    queue.push((position, transaction));
                    continue;
                }
                match self.try_steps(plan, filling, transaction) {
                    Ok(tried) => {
                        self.put_steps(plan, filling, tried);
                        self.applied.push(position);
                    }
                    Err(reason) if reason.may_pass() => {
                        self.tried.entry(position).or_default().add(self.tree, transaction, &reason);
                        self.reasons.insert(position, TransitionError::Steps(reason));
                        queue.push((position, transaction));
                    }
                    Err(reason) => self.rejected.push(super::Rejected { position, reason: reason.into() }),
                }
            }
            if self.applied.len() == applied_before {
                break;
            }
        }
    }
}

/// The token that steps pay their fees in.
pub(super) const FEE_TOKEN: Token = Token::BITCOIN;
