//! The pool of the embedded node: transactions that wait for its next block, with replacement by fee as nodes do it.

use super::{Acceptance, PoolEntry, RejectClass, Rejection};
use crate::{
    consensus::TransactionError,
    fee_rate::FeeRate,
    regtest::{NonStandardError, RegtestChain, TransactionFacts},
};
use bitcoin::{OutPoint, Transaction, Txid, Weight};
use std::collections::HashSet;

/// Transactions that the next block could hold, each after those that it spends from.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    waiting: Vec<Transaction>,
    minimum: FeeRate,
}

impl Default for Pool {
    fn default() -> Self {
        Self { waiting: Vec::new(), minimum: FeeRate::MIN }
    }
}

impl Pool {
    /// What enters.
    pub(super) fn minimum(&self) -> FeeRate {
        self.minimum
    }

    /// Changes what enters; what waits goes on waiting.
    pub(super) fn set_minimum(&mut self, rate: FeeRate) {
        self.minimum = rate;
    }

    /// What waits, in the order of the next block.
    pub(super) fn transactions(&self) -> &[Transaction] {
        &self.waiting
    }

    /// Takes all that the next block of the chain can hold.
    pub(super) fn take(&mut self, chain: &RegtestChain) -> Vec<Transaction> {
        self.prune(chain);
        std::mem::take(&mut self.waiting)
    }

    /// Adds a transaction if nodes would, in place of those that spend what it spends.
    pub(super) fn add(&mut self, chain: &RegtestChain, transaction: &Transaction) -> Acceptance {
        let facts = self.prune(chain);
        let txid = transaction.compute_txid();
        if facts.iter().any(|facts| facts.txid == txid) {
            return Acceptance::AlreadyInPool;
        }
        let mut outputs = (0u32..).zip(&transaction.output).map(|(vout, _)| OutPoint { txid, vout });
        if outputs.any(|outpoint| chain.coin(&outpoint).is_some()) {
            return Acceptance::AlreadyInChain;
        }
        let spent: HashSet<OutPoint> = transaction.input.iter().map(|input| input.previous_output).collect();
        let evicted = self.with_descendants(|waiting| spends_any(waiting, &spent));
        let kept = self.waiting.iter().zip(&evicted).filter(|(_, evicted)| !**evicted);
        let mut pool: Vec<Transaction> = kept.map(|(waiting, _)| waiting.clone()).collect();
        pool.push(transaction.clone());
        let own = match chain.check_transactions(&pool) {
            Ok(all) => *all.last().expect("the pool holds the transaction"),
            Err((_, error)) => return Acceptance::Rejected(refused(&error)),
        };
        if let Some(rule) = own.nonstandard {
            return Acceptance::Rejected(not_relayed(&rule));
        }
        if own.fee_sat < self.minimum.fee(Weight::from_wu(own.weight_wu)).to_sat() {
            return Acceptance::Rejected(below_minimum(own.fee_sat));
        }
        let replaced = facts.iter().zip(&evicted).filter(|(_, evicted)| **evicted).map(|(facts, _)| facts);
        if let Err(rejection) = check_replacement(&own, replaced) {
            return Acceptance::Rejected(rejection);
        }
        self.waiting = pool;
        Acceptance::Accepted
    }

    /// Adds a transaction and one that spends from it: each alone, or both where together they pay what enters.
    pub(super) fn add_package(
        &mut self,
        chain: &RegtestChain,
        parent: &Transaction,
        child: &Transaction,
    ) -> [Acceptance; 2] {
        let alone = [self.add(chain, parent), self.add(chain, child)];
        if !matches!(&alone[0], Acceptance::Rejected(rejection) if rejection.class == RejectClass::FeeTooLow) {
            return alone;
        }
        // All other rules hold for each, as if it were alone.
        let mut pool = Self { minimum: FeeRate::MIN, ..self.clone() };
        let together = [pool.add(chain, parent), pool.add(chain, child)];
        if together != [Acceptance::Accepted, Acceptance::Accepted] {
            return together;
        }
        let facts = pool.prune(chain);
        let package = facts.iter().rev().take(2);
        let (fee_sat, vsize_vb) =
            package.fold((0, 0), |(fee, vsize), facts| (fee + facts.fee_sat, vsize + facts.vsize_vb));
        if fee_sat < self.minimum.fee(Weight::from_wu(4 * vsize_vb)).to_sat() {
            let [refused, _] = alone;
            return [refused, Acceptance::Rejected(below_minimum(fee_sat))];
        }
        self.waiting = pool.waiting;
        together
    }

    /// What is known of a transaction that waits.
    pub(super) fn entry(&mut self, chain: &RegtestChain, txid: &Txid) -> Option<PoolEntry> {
        let facts = self.prune(chain);
        let position = facts.iter().position(|facts| facts.txid == *txid)?;
        let descendants = self.with_descendants(|waiting| waiting.compute_txid() == *txid);
        let ancestors = self.with_ancestors(position);
        let sum = |chosen: &[bool]| {
            let chosen = facts.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(facts, _)| facts);
            chosen
                .fold((0, 0, 0), |(fee, vsize, count), facts| (fee + facts.fee_sat, vsize + facts.vsize_vb, count + 1))
        };
        let (descendant_fee_sat, descendant_vsize_vb, descendant_count) = sum(&descendants);
        let (ancestor_fee_sat, ancestor_vsize_vb, ancestor_count) = sum(&ancestors);
        Some(PoolEntry {
            vsize_vb: facts[position].vsize_vb,
            fee_sat: facts[position].fee_sat,
            descendant_fee_sat,
            descendant_vsize_vb,
            descendant_count,
            ancestor_fee_sat,
            ancestor_vsize_vb,
            ancestor_count,
        })
    }

    /// The waiting transaction that spends an output.
    pub(super) fn spender(&mut self, chain: &RegtestChain, outpoint: &OutPoint) -> Option<Txid> {
        self.prune(chain);
        let spent = HashSet::from([*outpoint]);
        self.waiting.iter().find(|waiting| spends_any(waiting, &spent)).map(Transaction::compute_txid)
    }

    /// Drops what the next block cannot hold any more: the chain may have changed since it came.
    fn prune(&mut self, chain: &RegtestChain) -> Vec<TransactionFacts> {
        loop {
            match chain.check_transactions(&self.waiting) {
                Ok(facts) => return facts,
                Err((position, _)) => drop(self.waiting.remove(position)),
            }
        }
    }

    /// Marks the transactions that are chosen, and all that spend from these.
    fn with_descendants(&self, chosen: impl Fn(&Transaction) -> bool) -> Vec<bool> {
        let mut txids = HashSet::new();
        let mark = |waiting: &Transaction| {
            let marked =
                chosen(waiting) || waiting.input.iter().any(|input| txids.contains(&input.previous_output.txid));
            if marked {
                txids.insert(waiting.compute_txid());
            }
            marked
        };
        self.waiting.iter().map(mark).collect()
    }

    /// Marks a transaction, and all that it spends from.
    fn with_ancestors(&self, position: usize) -> Vec<bool> {
        let mut marked = vec![false; self.waiting.len()];
        marked[position] = true;
        let mut parents: HashSet<Txid> = HashSet::new();
        for (index, waiting) in self.waiting.iter().enumerate().take(position + 1).rev() {
            marked[index] |= parents.contains(&waiting.compute_txid());
            if marked[index] {
                parents.extend(waiting.input.iter().map(|input| input.previous_output.txid));
            }
        }
        marked
    }
}

fn spends_any(transaction: &Transaction, outpoints: &HashSet<OutPoint>) -> bool {
    transaction.input.iter().any(|input| outpoints.contains(&input.previous_output))
}

/// A replacement pays more than all it evicts, beyond that for its own size, and at a higher rate than any of them.
fn check_replacement<'a>(
    own: &TransactionFacts,
    replaced: impl Iterator<Item = &'a TransactionFacts>,
) -> Result<(), Rejection> {
    let too_low = |reason: String| Rejection { class: RejectClass::FeeTooLow, reason };
    let mut replaced_fee_sat = None;
    for facts in replaced {
        *replaced_fee_sat.get_or_insert(0) += facts.fee_sat;
        let is_dearer =
            u128::from(own.fee_sat) * u128::from(facts.vsize_vb) > u128::from(facts.fee_sat) * u128::from(own.vsize_vb);
        if !is_dearer {
            return Err(too_low(format!("the fee rate is not above that of {}, which it replaces", facts.txid)));
        }
    }
    let Some(replaced_fee_sat) = replaced_fee_sat else { return Ok(()) };
    let needed_sat = replaced_fee_sat + FeeRate::MIN.fee(Weight::from_wu(own.weight_wu)).to_sat();
    if own.fee_sat < needed_sat {
        return Err(too_low(format!("a fee of {} sat is below the {needed_sat} sat of a replacement", own.fee_sat)));
    }
    Ok(())
}

fn below_minimum(fee_sat: u64) -> Rejection {
    let reason = format!("mempool min fee not met by {fee_sat} sat");
    Rejection { class: RejectClass::FeeTooLow, reason }
}

fn refused(error: &TransactionError) -> Rejection {
    let class = match error {
        TransactionError::MissingCoin(_) => RejectClass::MissingInputs,
        TransactionError::Immature { .. } | TransactionError::Locked(_) | TransactionError::RelativelyLocked { .. } => {
            RejectClass::TooEarly
        }
        _ => RejectClass::Consensus,
    };
    Rejection { class, reason: error.to_string() }
}

fn not_relayed(rule: &NonStandardError) -> Rejection {
    let class = match rule {
        NonStandardError::Fee { .. } => RejectClass::FeeTooLow,
        _ => RejectClass::Policy,
    };
    Rejection { class, reason: rule.to_string() }
}
