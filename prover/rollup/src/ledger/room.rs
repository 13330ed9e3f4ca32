//! Making a batch that a payload holds.
//!
//! What the chain demands of a batch, exits and deposits, is in it whatever else waits, and fits any payload (section
//! 12 of `docs/protocol.md`). Transactions share the room that is left. Where all find room, they are applied in the
//! order they came. Else those that pay most go first:
//!
//! 1. An account's transactions are ranked in the order of their nonces, of two with one nonce the one that pays more
//!    first.
//! 2. A transaction ranks by its fee in bitcoin, but never above one of its account with an earlier nonce.
//! 3. Of two that rank alike, the one that came first goes first.
//!
//! As many are offered, from the first on, as chunks and slots can hold. Those that turn out not to be applicable
//! take nobody's room: others are offered besides, twice as many each time, until room is short; then as many again
//! as the room holds. If what is applied makes too long a payload, fewer are offered. What is not offered waits.

use super::{Ledger, LedgerError};
use crate::batch::payload_length;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};
use taproof_base::store_error::StoreError;
use taproof_circuits::{
    state::{Batch, Plan, Rejected, TransitionError},
    transaction::{Deposit, Signed, Transaction, Withdraw},
};
use taproof_verifier::{
    cell::{CellIndex, Depth},
    exit::Refutation,
    payload::{CHUNK_LENGTH, HEADER_LENGTH, PAYLOAD_LENGTH_MAX, PayloadError, SLOTS_MAX},
    record::Kind,
};

/// More chunks fit no payload, even without records.
const CHUNKS_MAX: usize = (PAYLOAD_LENGTH_MAX - HEADER_LENGTH) / CHUNK_LENGTH;
/// How often others are offered because some were not applicable, so that these cannot cost more. It takes a dozen
/// times as many of them as a batch holds to use up this many.
const OFFERS_MAX: usize = 32;

/// What a batch holds whatever else waits.
pub(super) struct Due {
    /// The depth of the batch's tree.
    pub(super) depth: Depth,
    /// What serves exit requests.
    pub(super) served: Vec<Signed<Withdraw>>,
    /// What refutes them.
    pub(super) refutations: Vec<Refutation>,
    /// The deposits to credit.
    pub(super) deposits: Vec<Deposit>,
}

impl Ledger {
    /// Applies what is due and as much of the transactions as a payload holds, in memory only.
    pub(super) fn fit(&mut self, plan: &Plan, due: &Due, transactions: &[Transaction]) -> Result<Batch, LedgerError> {
        let plan = &Plan { chunks_max: plan.chunks_max.min(CHUNKS_MAX), ..plan.clone() };
        let batch = self.cut(plan, due, transactions)?;
        if !batch.is_full && length(&batch, due).is_ok() {
            return Ok(batch);
        }
        let least = self.cut(plan, due, &[])?;
        let length_least = length(&least, due).map_err(LedgerError::DueDoesNotFit)?;
        self.start_over(due.depth)?;
        let nonce = |index| self.state.account(index).map_or(0, |account| account.nonce);
        let mut offer = Offer::new(transactions, plan, &least, nonce);
        loop {
            let (positions, offered) = offer.take();
            let batch = self.cut(plan, due, &offered)?;
            let goes_on = match length(&batch, due) {
                Err(error) => offer.shrink(&error, length_least),
                Ok(_) if offer.count_max.is_some() => false,
                Ok(_) if batch.is_full => offer.narrow(),
                Ok(_) => offer.pass_over(&positions, &batch),
            };
            if !goes_on {
                let is_full = batch.is_full || offer.count_max.is_some();
                return Ok(at_positions(batch, &positions, transactions.len(), is_full));
            }
        }
    }

    /// As [`Ledger::fit`], with withdrawals alone. What may pass once others are applied waits with these.
    pub(super) fn fit_withdrawals(
        &mut self,
        plan: &Plan,
        due: &Due,
        transactions: &[Transaction],
    ) -> Result<Batch, LedgerError> {
        let is_withdrawal = |position: &usize| transactions[*position].kind() == Kind::Withdraw;
        let positions: Vec<usize> = (0..transactions.len()).filter(is_withdrawal).collect();
        let withdrawals: Vec<Transaction> = positions.iter().map(|position| transactions[*position].clone()).collect();
        let batch = self.fit(plan, due, &withdrawals)?;
        Ok(at_positions(batch, &positions, transactions.len(), true))
    }

    /// Applies what is due, and then transactions in their order while there are chunks.
    fn cut(&mut self, plan: &Plan, due: &Due, transactions: &[Transaction]) -> Result<Batch, LedgerError> {
        self.start_over(due.depth)?;
        let batch = self.state.apply_with_exits(plan, &due.served, &due.deposits, transactions)?;
        match (batch.exits_left_out, batch.deposits_left_out) {
            (Some(why), _) => Err(LedgerError::ExitsDoNotFit { why }),
            (None, Some(why)) => Err(LedgerError::DepositsDoNotFit { why }),
            (None, None) => Ok(batch),
        }
    }

    /// Goes back to the state before the batch, in a tree of a depth.
    pub(super) fn start_over(&mut self, depth: Depth) -> Result<(), LedgerError> {
        self.state.rollback();
        while self.state.depth() < depth {
            self.state.grow().map_err(StoreError::corrupted)?;
        }
        Ok(())
    }
}

/// The length of the payload that a batch makes, whatever its proofs. One without chunks and refutations makes none.
fn length(batch: &Batch, due: &Due) -> Result<usize, PayloadError> {
    if batch.chunks.is_empty() && due.refutations.is_empty() {
        return Ok(HEADER_LENGTH);
    }
    payload_length(&batch.chunks, &due.refutations)
}

/// Which transactions are offered to a batch that cannot hold them all.
struct Offer<'a> {
    transactions: &'a [Transaction],
    plan: &'a Plan,
    /// The chunks and slots that are taken before any transaction.
    taken: (usize, usize),
    /// Those that are not taken at all: they are offered to be refused.
    refused: Vec<usize>,
    /// All others, by rank.
    ranked: Vec<usize>,
    /// Those that were offered and not applied, which need no room.
    passed_over: Vec<bool>,
    /// How many that need room are offered at most; `None` if a payload did not turn out to be too long.
    count_max: Option<usize>,
    /// How many were offered last.
    count: usize,
    /// How many times the room that is left is offered.
    times: usize,
    /// How many offers there were.
    offers: usize,
}

impl<'a> Offer<'a> {
    fn new(transactions: &'a [Transaction], plan: &'a Plan, least: &Batch, nonce: impl Fn(CellIndex) -> u32) -> Self {
        let is_taken = |position: &usize| plan.admission.check(&transactions[*position]).is_ok();
        let (taken, refused): (Vec<usize>, Vec<usize>) = (0..transactions.len()).partition(is_taken);
        let slots = least.chunks.iter().map(|chunk| usize::from(chunk.statement.circuit.slots)).sum();
        Self {
            transactions,
            plan,
            taken: (least.chunks.len(), slots),
            refused,
            ranked: ranked(transactions, taken, nonce),
            passed_over: vec![false; transactions.len()],
            count_max: None,
            count: 0,
            times: 1,
            offers: 0,
        }
    }

    /// The next offer: positions, and the transactions there.
    fn take(&mut self) -> (Vec<usize>, Vec<Transaction>) {
        let mut positions = self.refused.clone();
        let chunks_max = (self.plan.chunks_max.saturating_sub(self.taken.0)).saturating_mul(self.times);
        let slots_max = (SLOTS_MAX.saturating_sub(self.taken.1)).saturating_mul(self.times);
        let (mut chunks, mut slots) = (0, 0);
        let mut records = BTreeMap::<_, usize>::new();
        self.count = 0;
        self.offers += 1;
        for position in &self.ranked {
            if self.count_max.is_some_and(|count_max| self.count >= count_max) {
                break;
            }
            if !self.passed_over[*position] {
                let transaction = &self.transactions[*position];
                // Without slots for its kind it is offered to be refused.
                let (records_of_it, token) = transaction.slots();
                let records = records.entry((transaction.kind() as u8, token)).or_default();
                if let Some(sizes) = self.plan.slots.of(transaction.kind()) {
                    let [before, after] =
                        [*records, *records + records_of_it].map(|count| sizes.chunks_and_slots(count));
                    (chunks, slots) = (chunks + after.0 - before.0, slots + after.1 - before.1);
                    if chunks > chunks_max || slots > slots_max {
                        break;
                    }
                }
                *records += records_of_it;
                self.count += 1;
            }
            positions.push(*position);
        }
        let offered = positions.iter().map(|position| self.transactions[*position].clone()).collect();
        (positions, offered)
    }

    /// Where the payload is too long: offers less, in proportion to what made it so.
    fn shrink(&mut self, error: &PayloadError, length_least: usize) -> bool {
        if self.times > 1 {
            self.times = 1;
            return true;
        }
        let count_max = match error {
            PayloadError::TooLong(length) => {
                let room = PAYLOAD_LENGTH_MAX.saturating_sub(length_least);
                let needed = length.saturating_sub(length_least).max(1);
                (self.count as u128 * room as u128 / needed as u128) as usize
            }
            _ => self.count / 2,
        };
        // At least one less, so that it ends: what is due fits alone.
        self.count_max = Some(count_max.min(self.count * 15 / 16));
        true
    }

    /// Where the batch is full: offers what the room holds, unless that is what was offered.
    fn narrow(&mut self) -> bool {
        let is_wide = self.times > 1 && self.offers < OFFERS_MAX;
        self.times = 1;
        is_wide
    }

    /// Where the batch is not full: remembers what was not applied, so that others are offered besides, if there are
    /// any.
    fn pass_over(&mut self, positions: &[usize], batch: &Batch) -> bool {
        let mut is_idle = vec![true; positions.len()];
        batch.applied.iter().for_each(|position| is_idle[*position] = false);
        let mut has_changed = false;
        for (position, is_idle) in positions.iter().zip(is_idle) {
            has_changed |= is_idle && !self.passed_over[*position];
            self.passed_over[*position] |= is_idle;
        }
        self.times *= 2;
        has_changed && positions.len() < self.transactions.len() && self.offers < OFFERS_MAX
    }
}

/// Puts transactions in the order of their ranks; `nonce` gives that of a payer.
fn ranked(transactions: &[Transaction], taken: Vec<usize>, nonce: impl Fn(CellIndex) -> u32) -> Vec<usize> {
    let fee = |position: usize| transactions[position].fee_sat();
    // Of steps with several payers the first; what uses tickets alone ranks by itself.
    let payers: Vec<Option<(CellIndex, u32)>> =
        transactions.iter().map(|transaction| transaction.nonces().first().copied()).collect();
    let nonce_of = |position: usize| payers[position].map(|(_, nonce)| nonce);
    let mut ranks = vec![0; transactions.len()];
    let mut of_payer: HashMap<CellIndex, Vec<usize>> = HashMap::new();
    for position in &taken {
        match payers[*position] {
            Some((payer, _)) => of_payer.entry(payer).or_default().push(*position),
            None => ranks[*position] = fee(*position),
        }
    }
    for (payer, positions) in &mut of_payer {
        positions.sort_by_key(|position| (nonce_of(*position), Reverse(fee(*position))));
        // A stale nonce comes before none, so that nobody can lower another's rank with one.
        let first = positions.partition_point(|position| nonce_of(*position) < Some(nonce(*payer)));
        let mut rank_max = u64::MAX;
        for same_nonce in positions[first..].chunk_by(|a, b| nonce_of(*a) == nonce_of(*b)) {
            same_nonce.iter().for_each(|position| ranks[*position] = fee(*position).min(rank_max));
            rank_max = ranks[same_nonce[0]];
        }
        // Taken off the end below.
        positions.reverse();
    }
    let place = |position: &usize| {
        let Some((payer, _)) = payers[*position] else { return *position };
        of_payer.get_mut(&payer).and_then(Vec::pop).expect("one entry for each place of this payer")
    };
    let mut ranked: Vec<usize> = taken.iter().map(place).collect();
    ranked.sort_by_key(|position| Reverse(ranks[*position]));
    ranked
}

/// Names transactions by their positions among all. What may pass once others are applied, and these had no room,
/// waits.
fn at_positions(batch: Batch, positions: &[usize], count: usize, is_full: bool) -> Batch {
    let waits = |rejected: &Rejected| {
        is_full && rejected.reason.may_pass() && !matches!(rejected.reason, TransitionError::Fee(_))
    };
    let applied: Vec<usize> = batch.applied.iter().map(|position| positions[*position]).collect();
    let rejected = batch.rejected.iter().filter(|rejected| !waits(rejected));
    let rejected = rejected.map(|rejected| Rejected { position: positions[rejected.position], ..*rejected });
    let mut rejected: Vec<Rejected> = rejected.collect();
    rejected.sort_by_key(|rejected| rejected.position);
    let mut is_left = vec![true; count];
    let gone = applied.iter().copied().chain(rejected.iter().map(|rejected| rejected.position));
    gone.for_each(|position| is_left[position] = false);
    let left_over = (0..count).filter(|position| is_left[*position]).collect();
    Batch { applied, rejected, left_over, ..batch }
}
