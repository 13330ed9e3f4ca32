//! Cutting deposits and transactions into chunks.
//!
//! Chunks are filled for the largest circuit of their kind. One that is closed with fewer records, because there are no
//! more of its kind and token then, takes the smallest circuit that holds them.
//!
//! Exits that were demanded on Bitcoin come first: the state before the batch must be able to serve them. Deposits
//! follow, in their order on Bitcoin. Then rounds over openings, transfers, steps and withdrawals follow, payments
//! token by token; in the first of them, after the steps, each pool has its [session](super::sessions), and
//! then those that users put together themselves may follow. A transaction
//! that may pass later, because a nonce before its own, an account or funds are missing, waits for the next pass; what
//! waits when nothing moves any more is rejected with the reason it had last.

mod exits;
mod slots;

pub use self::slots::{NoSizeError, SlotCounts, Slots, StepSlots};

use super::{
    FeeError, State, StepsError, TransitionError,
    admission::Admission,
    sessions,
    signatures::KnownSignatures,
    slot::SlotKind,
    steps::{FEE_TOKEN, StepPlan, Tried},
};
use crate::{
    account::{Rollup, credit},
    cap::MerkleCap,
    chunk::witness::{CellUpdate, ChunkWitness, DepositWitness, SlotWitnesses},
    deposit::rule as deposit,
    step::{Registers, StepContext},
    transaction::{Body, Deposit, Open, Signed, Transaction, Transfer, Withdraw},
    tree::Tree,
};
use ark_bn254::Fr;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroU16,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Depth, Token},
    payload::SLOTS_MAX,
    record::{DepositRecord, Kind},
    statement::{self, CircuitId, Context, Statement},
};

/// The most rounds over the kinds, and the most passes over one kind in a round. What they leave waits for the next
/// batch, so that no order of transactions costs more than the square of this many looks at each. Steps are not run at
/// each look ([`Tried`]).
pub(super) const ROUNDS_MAX: usize = 16;

/// How a batch is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The height of the Bitcoin block that the batch refers to.
    pub height_blocks: u32,
    /// The slots of each kind's circuits.
    pub slots: Slots,
    /// The accounts that receive the fees, by token. Where there is none, a transaction must offer no fee.
    pub operators: BTreeMap<Token, CellIndex>,
    /// The most chunks.
    pub chunks_max: usize,
    /// Which transactions are taken at all.
    pub admission: Admission,
}

/// Why a plan cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// An operator's account would be outside the tree.
    #[error("operator's cell {index} is outside a tree of {} cells", depth.cell_count())]
    OperatorOutOfRange {
        /// The cell.
        index: CellIndex,
        /// The depth of the tree.
        depth: Depth,
    },
}

/// A transaction that is not in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its position among the transactions given.
    pub position: usize,
    /// Why. [`TransitionError::may_pass`] says whether to offer it again with the next batch.
    pub reason: TransitionError,
}

/// Why not all deposits are in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepositsLeftOutError {
    /// No cell is empty: the tree must grow first.
    #[error("no cell is left for a new account, the tree must grow")]
    TreeFull,
    /// The plan allows no more chunks, or a payload no more slots.
    #[error("the batch has as many chunks or slots as it may")]
    ChunksMax,
}

/// Why not all exits are in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitsLeftOutError {
    /// The plan allows no more chunks, or a payload no more slots.
    #[error("the batch has as many chunks or slots as it may")]
    ChunksMax,
    /// The state cannot serve it.
    #[error(transparent)]
    Refused(TransitionError),
}

/// Chunks whose roots join up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The depth of the tree.
    pub depth: Depth,
    /// The root before the first chunk.
    pub root_before: Fr,
    /// The root after the last chunk.
    pub root_after: Fr,
    /// The chunks, in order.
    pub chunks: Vec<ChunkWitness>,
    /// How many exits, from the first on, are served.
    pub exits_applied: usize,
    /// Why that is not all of them.
    pub exits_left_out: Option<ExitsLeftOutError>,
    /// How many deposits, from the first on, are credited.
    pub deposits_applied: usize,
    /// Why that is not all of them.
    pub deposits_left_out: Option<DepositsLeftOutError>,
    /// The positions of the transactions that are applied, in the order of their slots.
    pub applied: Vec<usize>,
    /// The transactions that are refused, in the order of their positions.
    pub rejected: Vec<Rejected>,
    /// The positions of the transactions that the batch had no room for.
    pub left_over: Vec<usize>,
    /// Whether a transaction was turned away because no further chunk had room.
    pub is_full: bool,
}

impl State {
    /// Applies deposits and transactions and cuts them into chunks.
    ///
    /// Whatever the transactions are, every chunk can be proven.
    ///
    /// # Errors
    /// [`PlanError`]; then nothing is applied.
    pub fn apply(
        &mut self,
        plan: &Plan,
        deposits: &[Deposit],
        transactions: &[Transaction],
    ) -> Result<Batch, PlanError> {
        self.apply_with_exits(plan, &[], deposits, transactions)
    }

    /// As [`State::apply`], with exits ahead of all else. Where the operator's account cannot take the fee of one, it
    /// goes back to the payer.
    ///
    /// # Errors
    /// [`PlanError`]; then nothing is applied.
    pub fn apply_with_exits(
        &mut self,
        plan: &Plan,
        exits: &[Signed<Withdraw>],
        deposits: &[Deposit],
        transactions: &[Transaction],
    ) -> Result<Batch, PlanError> {
        let depth = self.depth();
        if let Some(index) = plan.operators.values().copied().find(|index| !depth.contains(*index)) {
            return Err(PlanError::OperatorOutOfRange { index, depth });
        }
        let root_before = self.root();
        let rollup = self.rollup();
        let step = plan.slots.step.as_ref();
        let machine = step.and_then(|step| self.machines.get_shared(step.operations));
        let steps = machine.zip(step).map(|(machine, step)| StepPlan {
            machine,
            slots: step.slots.clone(),
            context: StepContext {
                chain_id: rollup.chain_id,
                depth,
                height_blocks: plan.height_blocks,
                token: FEE_TOKEN,
            },
            operator: plan.operators.get(&FEE_TOKEN).copied(),
        });
        let mut cutter = Cutter {
            rollup,
            plan,
            steps,
            signatures: KnownSignatures::default(),
            operators: plan.operators.clone(),
            tree: &mut self.tree,
            chunks: Vec::new(),
            applied: Vec::new(),
            rejected: Vec::new(),
            reasons: HashMap::new(),
            tried: HashMap::new(),
            slots: 0,
            turned_away: false,
        };
        let (exits_applied, exits_left_out) = cutter.serve_exits(exits);
        let (deposits_applied, deposits_left_out) = cutter.credit_deposits(deposits);
        let left_over = cutter.apply_all(transactions);
        let Cutter { chunks, applied, mut rejected, turned_away: is_full, .. } = cutter;
        rejected.sort_by_key(|rejected| rejected.position);
        let root_after = self.root();
        Ok(Batch {
            depth,
            root_before,
            root_after,
            chunks,
            exits_applied,
            exits_left_out,
            deposits_applied,
            deposits_left_out,
            applied,
            rejected,
            left_over,
            is_full,
        })
    }
}

/// Transactions of one kind that wait, by token, each with its position.
type Queues<'a, B> = BTreeMap<Token, VecDeque<(usize, &'a Signed<B>)>>;

pub(super) struct Cutter<'a> {
    rollup: Rollup,
    pub(super) plan: &'a Plan,
    /// How steps are cut, where the plan has any.
    steps: Option<StepPlan>,
    /// Those of clauses that hold.
    pub(super) signatures: KnownSignatures,
    /// The plan's, but for an exit whose fee goes back.
    operators: BTreeMap<Token, CellIndex>,
    pub(super) tree: &'a mut Tree,
    chunks: Vec<ChunkWitness>,
    pub(super) applied: Vec<usize>,
    pub(super) rejected: Vec<Rejected>,
    /// Why a transaction that waits was refused last.
    pub(super) reasons: HashMap<usize, TransitionError>,
    /// How the transactions of steps that wait were tried.
    pub(super) tried: HashMap<usize, Tried>,
    /// The slots of the chunks, used or not.
    slots: usize,
    /// Whether a transaction found no room.
    pub(super) turned_away: bool,
}

/// A chunk that is being filled.
pub(super) struct Filling<W> {
    /// The cap of the state before it.
    pub(super) cap: MerkleCap,
    pub(super) slots: Vec<W>,
    pub(super) fees: u64,
    /// The registers after the last step.
    pub(super) registers: Registers,
}

impl<W> Filling<W> {
    pub(super) fn new(tree: &Tree) -> Self {
        Self { cap: tree.cap(), slots: Vec::new(), fees: 0, registers: Registers::default() }
    }
}

impl Cutter<'_> {
    /// Credits deposits in their order; gives how many, and why not all.
    fn credit_deposits(&mut self, deposits: &[Deposit]) -> (usize, Option<DepositsLeftOutError>) {
        if deposits.is_empty() {
            return (0, None);
        }
        let mut accounts = HashMap::new();
        for (index, cell) in self.tree.cells() {
            if let Cell::Account(account) = cell
                && account.token == Token::BITCOIN
            {
                accounts.entry(account.owner).or_insert(index);
            }
        }
        let mut vacant = CellIndex::default();
        let mut filling = Filling::new(self.tree);
        let mut left_out = None;
        let mut count = 0;
        for deposit in deposits {
            if filling.slots.is_empty() && self.is_full(Kind::Deposit) {
                left_out = Some(DepositsLeftOutError::ChunksMax);
                break;
            }
            let Some(slot) = self.credit_deposit(deposit, &mut accounts, &mut vacant) else {
                left_out = Some(DepositsLeftOutError::TreeFull);
                break;
            };
            filling.slots.push(slot);
            count += 1;
            if filling.slots.len() == self.slots_of(Kind::Deposit) {
                self.close_deposits(&mut filling);
            }
        }
        self.close_deposits(&mut filling);
        (count, left_out)
    }

    /// Credits one deposit to the first account of its owner or else to a new one; `None` if no cell is left.
    fn credit_deposit(
        &mut self,
        deposit: &Deposit,
        accounts: &mut HashMap<PublicKey, CellIndex>,
        vacant: &mut CellIndex,
    ) -> Option<DepositWitness> {
        let Deposit { amount_sat, owner } = *deposit;
        let depth = self.rollup.depth;
        let try_credit = |tree: &Tree, to: CellIndex| {
            let record = DepositRecord { to, amount_sat, owner };
            deposit::apply(depth, &record, &tree.get(to)).ok().map(|after| (record, after))
        };
        let known = accounts.get(&owner).and_then(|to| try_credit(self.tree, *to));
        let (record, after) = match known {
            Some(credited) => credited,
            None => {
                *vacant = self.tree.vacant_from(*vacant)?;
                accounts.insert(owner, *vacant);
                try_credit(self.tree, *vacant)?
            }
        };
        let to = self.tree.update(record.to, after).expect("the rule checked the index");
        Some(DepositWitness { record, to })
    }

    fn close_deposits(&mut self, filling: &mut Filling<DepositWitness>) {
        let Filling { cap, slots, .. } = std::mem::replace(filling, Filling::new(self.tree));
        if !slots.is_empty() {
            let circuit = self.circuit_of(Kind::Deposit, slots.len());
            let (token, operator) = (Token::BITCOIN, CellIndex::default());
            self.close(cap, circuit, token, operator, SlotWitnesses::Deposit(slots), None, statement::Registers::NONE);
        }
    }

    /// Applies what can be applied; gives the positions that the batch had no room for.
    fn apply_all(&mut self, transactions: &[Transaction]) -> Vec<usize> {
        let mut opens: Queues<'_, Open> = BTreeMap::new();
        let mut transfers: Queues<'_, Transfer> = BTreeMap::new();
        let mut withdraws: Queues<'_, Withdraw> = BTreeMap::new();
        let (mut steps, mut orders, mut own_sessions) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(plan) = &self.steps {
            self.signatures = KnownSignatures::of(&plan.machine, self.tree, transactions);
        }
        for (position, transaction) in transactions.iter().enumerate() {
            if let Err(error) = self.plan.admission.check(transaction) {
                self.rejected.push(Rejected { position, reason: error.into() });
                continue;
            }
            let token = transaction.payment().map_or(FEE_TOKEN, |payment| payment.token);
            match transaction {
                Transaction::Steps(_) if self.steps.is_none() => {
                    self.rejected.push(Rejected { position, reason: StepsError::NoSteps.into() });
                }
                Transaction::Steps(transaction) => match sessions::order_of(transaction) {
                    Some(clause) => orders.push((position, transaction, clause)),
                    None if sessions::opens_own_session(transaction) => own_sessions.push((position, transaction)),
                    None => steps.push((position, transaction)),
                },
                Transaction::Open(signed) => opens.entry(token).or_default().push_back((position, signed)),
                Transaction::Transfer(signed) => transfers.entry(token).or_default().push_back((position, signed)),
                Transaction::Withdraw(signed) => withdraws.entry(token).or_default().push_back((position, signed)),
            }
        }
        order_by_nonce(&mut opens);
        order_by_nonce(&mut transfers);
        order_by_nonce(&mut withdraws);
        let (mut is_moving, mut has_cleared) = (true, false);
        for _ in 0..ROUNDS_MAX {
            let applied_before = self.applied.len();
            self.run_queues(&mut opens);
            self.run_queues(&mut transfers);
            if let Some(plan) = self.steps.clone() {
                let mut filling = Filling::new(self.tree);
                self.run_steps(&plan, &mut filling, &mut steps);
                // Pools clear once, after all that could move before them.
                if !has_cleared {
                    orders = self.run_sessions(&plan, &mut filling, orders);
                    has_cleared = true;
                    // What orders have let move goes into the same chunks.
                    self.run_steps(&plan, &mut filling, &mut steps);
                }
                self.run_steps(&plan, &mut filling, &mut own_sessions);
                self.close_steps(&plan, &mut filling);
            }
            self.run_queues(&mut withdraws);
            is_moving = self.applied.len() > applied_before;
            if !is_moving {
                break;
            }
        }
        let waiting = positions(&opens).chain(positions(&transfers)).chain(positions(&withdraws));
        let waiting = waiting.chain(steps.iter().chain(&own_sessions).map(|(position, _)| *position));
        let waiting = waiting.chain(orders.iter().map(|(position, ..)| *position));
        let mut left_over = Vec::new();
        for position in waiting {
            match self.reasons.get(&position) {
                Some(reason) if !is_moving => self.rejected.push(Rejected { position, reason: *reason }),
                _ => left_over.push(position),
            }
        }
        left_over.sort_unstable();
        left_over
    }

    fn run_queues<K: SlotKind>(&mut self, queues: &mut Queues<'_, K>) {
        for (token, queue) in queues {
            self.run_queue(*token, queue);
        }
    }

    /// Passes over one queue until nothing moves, filling chunk after chunk.
    fn run_queue<K: SlotKind>(&mut self, token: Token, queue: &mut VecDeque<(usize, &Signed<K>)>) {
        let mut filling = Filling::new(self.tree);
        for _ in 0..ROUNDS_MAX {
            let applied_before = self.applied.len();
            for _ in 0..queue.len() {
                let Some((position, signed)) = queue.pop_front() else { break };
                if filling.slots.is_empty() && self.is_full(K::KIND) {
                    self.turned_away = true;
                    // It had its turn in no chunk, so nothing is known against it.
                    self.reasons.remove(&position);
                    queue.push_back((position, signed));
                    continue;
                }
                match self.fill(&mut filling, token, signed) {
                    Ok(()) => self.applied.push(position),
                    Err(reason @ TransitionError::Fee(_)) => self.rejected.push(Rejected { position, reason }),
                    Err(reason) if reason.may_pass() => {
                        self.reasons.insert(position, reason);
                        queue.push_back((position, signed));
                    }
                    Err(reason) => self.rejected.push(Rejected { position, reason }),
                }
                if filling.slots.len() == self.slots_of(K::KIND) {
                    self.close_paid::<K>(token, &mut filling);
                }
            }
            if self.applied.len() == applied_before {
                break;
            }
        }
        self.close_paid::<K>(token, &mut filling);
    }

    /// Applies one transaction to the next slot, provided that the operator can still be credited afterwards.
    fn fill<K: SlotKind>(
        &mut self,
        filling: &mut Filling<K::Witness>,
        token: Token,
        signed: &Signed<K>,
    ) -> Result<(), TransitionError> {
        let cells = K::cells_after(&self.rollup, signed, self.tree)?;
        let fees = filling.fees.checked_add(signed.body().payment().fee).ok_or(FeeError::SumOverflow)?;
        if fees > 0 {
            let operator = *self.operators.get(&token).ok_or(FeeError::NoOperator(token))?;
            let changed = cells.iter().rev().find(|(index, _)| *index == operator);
            let cell = changed.map_or_else(|| self.tree.get(operator), |(_, cell)| *cell);
            credit(operator, &cell, token, fees).map_err(FeeError::from)?;
        }
        let mut cells = cells.into_iter();
        filling.slots.push(K::witness(signed, || {
            let (index, after) = cells.next().expect("a kind has as many updates as cells");
            self.tree.update(index, after).expect("the rule checked the index")
        }));
        filling.fees = fees;
        Ok(())
    }

    fn close_paid<K: SlotKind>(&mut self, token: Token, filling: &mut Filling<K::Witness>) {
        if filling.slots.is_empty() {
            return;
        }
        let index = self.operators.get(&token).copied().unwrap_or_default();
        let operator = self.credit_operator(token, index, filling.fees);
        let Filling { cap, slots, .. } = std::mem::replace(filling, Filling::new(self.tree));
        let circuit = self.circuit_of(K::KIND, slots.len());
        self.close(cap, circuit, token, index, K::slots(slots), Some(operator), statement::Registers::NONE);
    }

    /// Credits the fees of a chunk to its operator.
    pub(super) fn credit_operator(&mut self, token: Token, index: CellIndex, fees: u64) -> CellUpdate {
        let before = self.tree.get(index);
        let after = match fees {
            0 => before,
            fees => {
                let credited = credit(index, &before, token, fees);
                Cell::Account(credited.expect("each slot was filled only if the operator could be credited"))
            }
        };
        self.tree.update(index, after).expect("the plan's operators lie in the tree")
    }

    /// The circuit of a chunk of so many payments: the smallest that holds them.
    fn circuit_of(&self, kind: Kind, records: usize) -> CircuitId {
        let slots = self.plan.slots.of(kind).expect("a kind of payment").fitting(records);
        CircuitId::new(kind, self.rollup.depth, slots.get())
    }

    #[allow(clippy::too_many_arguments, reason = "a chunk is made of all of them")]
    pub(super) fn close(
        &mut self,
        cap: MerkleCap,
        circuit: CircuitId,
        token: Token,
        operator: CellIndex,
        slots: SlotWitnesses,
        operator_update: Option<CellUpdate>,
        registers: statement::Registers,
    ) {
        let statement = Statement {
            chain_id: self.rollup.chain_id,
            circuit,
            root_before: cap.root(),
            root_after: self.tree.root(),
            data_digest: slots.records().digest(circuit.slots).expect("a chunk is closed when its slots are full"),
            context: Context { height_blocks: self.plan.height_blocks, token, operator },
            registers,
        };
        self.slots += usize::from(circuit.slots);
        self.chunks.push(ChunkWitness { statement, cap, slots, operator: operator_update });
    }

    /// How many further chunks of so many slots there is room for.
    pub(super) fn chunks_left(&self, slots: NonZeroU16) -> usize {
        let by_slots = (SLOTS_MAX - self.slots) / usize::from(slots.get());
        by_slots.min(self.plan.chunks_max.saturating_sub(self.chunks.len()))
    }

    /// Whether there is no room for a further chunk of a kind.
    fn is_full(&self, kind: Kind) -> bool {
        self.chunks.len() >= self.plan.chunks_max || self.slots + self.slots_of(kind) > SLOTS_MAX
    }

    /// The slots of a full chunk of payments.
    fn slots_of(&self, kind: Kind) -> usize {
        self.plan.slots.of(kind).expect("only payments are cut").largest().get().into()
    }
}

/// The steps that an empty batch has room for.
pub(super) fn steps_max(plan: &Plan, steps: &StepPlan) -> usize {
    let slots = usize::from(steps.slots.largest().get());
    (SLOTS_MAX / slots).min(plan.chunks_max) * slots
}

fn positions<B>(queues: &Queues<'_, B>) -> impl Iterator<Item = usize> {
    queues.values().flatten().map(|(position, _)| *position)
}

/// Puts each payer's transactions in the order of their nonces, on the places that they have together.
fn order_by_nonce<B: Body>(queues: &mut Queues<'_, B>) {
    for queue in queues.values_mut() {
        let mut by_payer: HashMap<CellIndex, Vec<(usize, &Signed<B>)>> = HashMap::new();
        for entry in queue.iter() {
            by_payer.entry(entry.1.body().payment().from).or_default().push(*entry);
        }
        // Sorted from the last to the first, so that each place takes the next one off the end. The sort is stable,
        // and of two with one nonce the earlier goes first.
        for entries in by_payer.values_mut() {
            entries.reverse();
            entries.sort_by_key(|(_, signed)| std::cmp::Reverse(signed.body().payment().nonce));
        }
        for place in queue.iter_mut() {
            let payer = place.1.body().payment().from;
            *place = by_payer.get_mut(&payer).and_then(Vec::pop).expect("one entry for each place of this payer");
        }
    }
}
