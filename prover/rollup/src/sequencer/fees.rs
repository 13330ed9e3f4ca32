//! Who collects the fees of a batch.
//!
//! Fees go to the cell that the batch names. A default that is somebody else's cell would give them away, so whoever
//! makes a batch names one, or the keys that own it.

use super::{Draft, Sequencer};
use crate::ledger::LedgerError;
use std::collections::HashMap;
use taproof_circuits::{
    state::{DepositsLeftOutError, State},
    transaction::Transaction,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Token},
    follow::deposits_enough,
};

/// Which fees in bitcoin a batch may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fees {
    /// None.
    None,
    /// Those of exits alone, which go back to who pays them if nobody collects.
    OfExits,
    /// Those of transactions, which are refused if nobody collects.
    OfTransactions,
}

impl Sequencer<'_> {
    /// Which fees what waits and new transactions may bring.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn fees(&self, draft: &Draft, new: &[Transaction]) -> Result<Fees, LedgerError> {
        let pays = |transaction: &Transaction| {
            !is_used(self.ledger.state(), transaction)
                && transaction.fee_sat() > 0
                && draft.plan.admission.check(transaction).is_ok()
        };
        if self.ledger.transactions()?.iter().chain(new).any(pays) {
            return Ok(Fees::OfTransactions);
        }
        let requests = self.ledger.requests()?;
        let due = requests.iter().filter(|scanned| scanned.height <= draft.plan.height_blocks);
        let mut exits = due.filter_map(|scanned| scanned.request.exit());
        let of_exits = exits.any(|exit| exit.record().fee > 0);
        Ok(if of_exits { Fees::OfExits } else { Fees::None })
    }

    /// Whether a cell holds an account that can collect the fees, now or once the batch's deposits are credited.
    ///
    /// # Errors
    /// [`LedgerError::Store`], [`LedgerError::Plan`] and those of the disk.
    pub fn collects(&self, draft: &Draft, cell: CellIndex) -> Result<bool, LedgerError> {
        Ok(is_account(self.ledger.state(), cell) || is_account(&self.credited(draft)?, cell))
    }

    /// The first account in bitcoin of the first of these owners that has one, now or else once the batch's deposits
    /// are credited.
    ///
    /// # Errors
    /// [`LedgerError::Store`], [`LedgerError::Plan`] and those of the disk.
    pub fn first_owned(&self, draft: &Draft, owners: &[PublicKey]) -> Result<Option<CellIndex>, LedgerError> {
        let ranks: HashMap<PublicKey, usize> = owners.iter().copied().zip(0..).collect();
        match first_owned(self.ledger.state(), &ranks) {
            Some(cell) => Ok(Some(cell)),
            None => Ok(first_owned(&self.credited(draft)?, &ranks)),
        }
    }

    /// The state once the batch's deposits are credited, which comes before fees.
    fn credited(&self, draft: &Draft) -> Result<State, LedgerError> {
        let due = self.ledger.deposits_due(draft.reference.height, draft.void_below)?;
        let credited = due.iter().take(deposits_enough(draft.plan.slots.deposit.largest().get()));
        let deposits: Vec<_> = credited.map(|scanned| scanned.deposit).collect();
        let mut state = self.state_at(draft.depth)?;
        if state.apply(&draft.plan, &deposits, &[])?.deposits_left_out == Some(DepositsLeftOutError::TreeFull) {
            // Then the batch has withdrawals alone.
            state.rollback();
        }
        Ok(state)
    }
}

/// Whether an account has paid with a transaction's nonce already, as where somebody else's batch had it: then it is
/// rejected, and brings no fee.
fn is_used(state: &State, transaction: &Transaction) -> bool {
    let account = |from| Some(from).filter(|from| state.depth().contains(*from)).and_then(|from| state.account(from));
    let is_past = |(from, nonce)| account(from).is_some_and(|account| account.nonce > nonce);
    transaction.nonces().into_iter().any(is_past)
}

fn is_account(state: &State, index: CellIndex) -> bool {
    state.depth().contains(index) && state.account(index).is_some_and(|account| account.token == Token::BITCOIN)
}

fn first_owned(state: &State, ranks: &HashMap<PublicKey, usize>) -> Option<CellIndex> {
    let owned = state.tree().cells().filter_map(|(index, cell)| match cell {
        Cell::Account(account) if account.token == Token::BITCOIN => Some((*ranks.get(&account.owner)?, index)),
        _ => None,
    });
    owned.min().map(|(_, index)| index)
}
