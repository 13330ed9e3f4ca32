//! What the ledger, or else the chain, and the file that is added to know of the accounts that a transaction names.

use crate::cli::{
    failure::{Exit, Failure, Result},
    known::Outset,
};
use std::{cell::OnceCell, collections::BTreeSet};
use taproof_circuits::{
    account::{AccountError, PayerError, Rollup},
    open::rule::{self as open, OpenError},
    state::{Outlook, State, StepsError, TransitionError},
    step::{Machine, Refusal},
    transaction::{Part, Transaction, Withdraw},
    transfer::rule::{self as transfer, TransferError},
    withdraw::rule::{self as withdraw, WithdrawError},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, CellIndex, Depth, Token},
};

/// The state after the last batch, and what waits for the next.
///
/// Where the rollup has steps, all that waits and can be applied is applied, by the rules themselves: what a step
/// leaves behind, nothing less than its rule tells. Where there are payments alone, sums do.
pub(in crate::cli) struct Book {
    outlook: Outlook,
    /// What waits in the ledger, the exit requests that the state can serve, and what is in the file; without what the
    /// outlook has applied.
    waiting: Vec<Waiting>,
    /// The deepest tree that the program in force has circuits for, where the chain was asked.
    depth_max: Option<Depth>,
}

/// A transaction that waits, perhaps in a file that somebody else could write to.
struct Waiting {
    transaction: Transaction,
    /// Whether the payer's owner signed it, once it was asked.
    is_signed: OnceCell<bool>,
}

impl Waiting {
    fn new(transaction: Transaction) -> Self {
        Self { transaction, is_signed: OnceCell::new() }
    }
}

/// Why a batch would reject a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Objection {
    pub(in crate::cli) reason: String,
    /// Whether what else waits, or is yet to come, may make it pass.
    pub(in crate::cli) may_pass: bool,
}

impl Objection {
    fn lasting(reason: String) -> Self {
        Self { reason, may_pass: false }
    }
}

impl Book {
    /// Takes what is known, and what the file that is added to holds.
    pub(in crate::cli) fn new(outset: Outset, added: &[Transaction]) -> Self {
        let Outset { state, exits, transactions, operations, height_blocks, depth_max } = outset;
        let servable = exits.iter().filter(|request| request.is_servable_by(&cell(&state, request.from()).elements()));
        let demanded = servable.map(|request| Transaction::Withdraw(Withdraw::demanded(request, state.chain_id())));
        let mut waiting: Vec<Transaction> = demanded.collect();
        waiting.extend(transactions);
        waiting.extend(added.iter().filter(|transaction| transaction.chain_id() == state.chain_id()).cloned());
        let mut outlook = Outlook::new(state, operations, height_blocks);
        if outlook.machine().is_some() {
            let refused: BTreeSet<usize> = outlook.apply_all(&waiting).into_iter().map(|(left, _)| left).collect();
            let is_left = |(position, transaction)| refused.contains(&position).then_some(transaction);
            waiting = waiting.into_iter().enumerate().filter_map(is_left).collect();
        }
        Self { outlook, waiting: waiting.into_iter().map(Waiting::new).collect(), depth_max }
    }

    /// The state with all that waits applied, as far as the rules were run.
    pub(in crate::cli) fn state(&self) -> &State {
        self.outlook.state()
    }

    /// The same, to try orders on.
    pub(in crate::cli) fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// The machine of the rollup's steps.
    pub(in crate::cli) fn machine(&self) -> Option<&Machine> {
        self.outlook.machine()
    }

    /// Lets a transaction wait with the others.
    pub(in crate::cli) fn add(&mut self, transaction: Transaction) {
        if self.outlook.machine().is_none() || self.outlook.apply(&transaction).is_err() {
            self.waiting.push(Waiting::new(transaction));
        }
    }

    /// Applies a transaction by its rule, or says why it is refused.
    pub(in crate::cli) fn try_out(&mut self, transaction: &Transaction) -> Option<String> {
        self.outlook.apply(transaction).err().map(|refusal| refusal.to_string())
    }

    /// The account of a key: of several the first that can pay so much, or else the first.
    pub(in crate::cli) fn payer(&self, owner: &PublicKey, token: Token, needed: u128) -> Result<CellIndex> {
        let of_token = |(_, account): &(CellIndex, Account)| account.token == token;
        let accounts: Vec<_> = self.state().accounts_of(owner).filter(of_token).collect();
        let able = accounts.iter().find(|(index, account)| u128::from(self.balance(*index, account)) >= needed);
        let found = able.or(accounts.first()).map(|(index, _)| *index);
        found.ok_or_else(|| {
            let failure = Failure::new(Exit::Refuted, format!("key {owner} owns no cell with token {}", token.0));
            failure.advise(
                "name another of the wallet's keys with --account and --index; what was deposited is in a cell after \
                 the \
                 next `taproof batch`",
            )
        })
    }

    /// The nonce that a payer's next transaction has: after what the ledger has applied and what waits.
    pub(in crate::cli) fn next_nonce(&self, from: CellIndex) -> Result<u32> {
        let depth = self.state().depth();
        if !depth.contains(from) {
            let count = depth.cell_count();
            let failure = Failure::new(Exit::Input, format!("cell {from} is outside a tree of {count} cells"));
            let advice = format!("they are 0 to {}; `taproof account` shows those of a key", count - 1);
            return Err(failure.advise(advice));
        }
        let account = self.account(from).ok_or_else(|| {
            let failure = Failure::new(Exit::Input, format!("cell {from} is no account yet"));
            failure.advise(
                "`taproof account` shows a key's cells, and the deposits that wait for a batch to credit them; to sign \
                 before there is an account, give --nonce, the number of transactions that it will have sent by then",
            )
        })?;
        let nonces = self.payments_of(from).map(|(nonce, _)| nonce).filter(|nonce| *nonce >= account.nonce);
        Ok(nonces.max().map_or(account.nonce, |nonce| nonce.saturating_add(1)))
    }

    /// Why a batch that applies all that waits before this transaction would reject it.
    pub(in crate::cli) fn objection(&self, transaction: &Transaction, signer: &PublicKey) -> Option<Objection> {
        let Some(payment) = transaction.payment() else { return self.objection_to_steps(transaction) };
        if let Some(account) = self.account(payment.from)
            && account.owner != *signer
        {
            let reason = format!("cell {} is owned by {}, and {signer} signs", payment.from, account.owner);
            return Some(Objection::lasting(reason));
        }
        let state = self.state();
        let rollup = Rollup { chain_id: state.chain_id(), depth: state.depth() };
        let from = self.payer_cell(payment.from);
        let refusal = match transaction {
            Transaction::Transfer(signed) if signed.body().to == payment.from => {
                let reason = format!("cell {} would pay itself, which moves nothing but the fee", payment.from);
                return Some(Objection::lasting(reason));
            }
            Transaction::Transfer(signed) if signed.body().amount == 0 => {
                return Some(Objection::lasting("a transfer of 0 moves nothing but the fee".to_owned()));
            }
            Transaction::Transfer(signed) => {
                let to = self.paid_cell(signed.body().to);
                transfer::apply(&rollup, signed, &from, &to).err().map(TransitionError::from)
            }
            Transaction::Open(signed) => {
                let to = self.paid_cell(signed.body().to);
                let at = |depth| {
                    let applied = open::apply(&Rollup { depth, ..rollup }, signed, &from, &to);
                    applied.err().map(TransitionError::from)
                };
                let refusal = at(rollup.depth)?;
                // A tree that has no cell left grows for an opening, if the program has circuits for a deeper one.
                match self.grown().map(|grown| (grown, at(grown))) {
                    None => Some(refusal),
                    Some((_, Some(in_any_tree))) => Some(in_any_tree),
                    Some((grown, None)) => {
                        let can_grow = self.depth_max.map(|depth_max| grown <= depth_max);
                        let objection = Objection { reason: refusal.to_string(), may_pass: can_grow.is_none() };
                        return Some(objection).filter(|_| can_grow != Some(true));
                    }
                }
            }
            Transaction::Withdraw(signed) => withdraw::apply(&rollup, signed, &from).err().map(TransitionError::from),
            Transaction::Steps(_) => None,
        }?;
        Some(Objection { reason: refusal.to_string(), may_pass: may_pass(&refusal) })
    }

    /// The same of steps, whose signers are judged by the rule.
    fn objection_to_steps(&self, transaction: &Transaction) -> Option<Objection> {
        let refusal = self.outlook.clone().apply(transaction).err()?;
        Some(Objection { reason: refusal.to_string(), may_pass: may_pass(&refusal) })
    }

    /// The depth that the tree grows to for the next opening, where it has no cell left.
    fn grown(&self) -> Option<Depth> {
        let levels = self.state().depth().levels() + 1;
        Depth::new(levels).filter(|_| self.state().tree().is_full())
    }

    /// The first cell that is empty and that nothing which waits opens; in a tree that has none, the first of those
    /// that it grows by.
    pub(in crate::cli) fn vacant(&self) -> Option<CellIndex> {
        let opened: BTreeSet<CellIndex> =
            self.signed(|transaction| opened_by(transaction).is_some()).filter_map(opened_by).collect();
        let mut next = CellIndex::new(0);
        while let Some(vacant) = next.and_then(|from| self.state().tree().vacant_from(from)) {
            if !opened.contains(&vacant) {
                return Some(vacant);
            }
            next = CellIndex::new(vacant.get() + 1);
        }
        let grown = self.grown().filter(|grown| self.depth_max.is_none_or(|depth_max| *grown <= depth_max));
        grown.and_then(|_| CellIndex::new(self.state().depth().cell_count()))
    }

    /// The cells of which something that waits speaks, and that may be filled by then.
    pub(in crate::cli) fn is_spoken_for(&self, index: CellIndex) -> bool {
        self.waiting.iter().any(|waiting| match &waiting.transaction {
            Transaction::Steps(steps) => steps.parts.iter().flat_map(Part::steps).any(|step| step.record.cell == index),
            transaction => opened_by(transaction) == Some(index),
        })
    }

    /// The tickets of an account that clauses which wait for others are signed with.
    pub(in crate::cli) fn tickets_signed_with(&self, index: CellIndex) -> Vec<u64> {
        let clauses = self.waiting.iter().flat_map(|waiting| match &waiting.transaction {
            Transaction::Steps(steps) => steps.clauses().collect(),
            _ => Vec::new(),
        });
        clauses.filter(|clause| clause.is_by_ticket() && clause.signer() == index).map(|clause| clause.number).collect()
    }

    pub(in crate::cli) fn account(&self, index: CellIndex) -> Option<Account> {
        match cell(self.state(), index) {
            Cell::Account(account) => Some(account),
            _ => None,
        }
    }

    /// What waits of this kind and is signed by the payer's owner, where an account pays: a batch takes nothing else,
    /// and anybody could have written it, so that the next nonce is one that nobody comes to, or no money is left.
    fn signed(&self, is_asked: impl Fn(&Transaction) -> bool) -> impl Iterator<Item = &Transaction> {
        let asked = self.waiting.iter().filter(move |waiting| is_asked(&waiting.transaction));
        let signed = asked.filter(|waiting| {
            *waiting.is_signed.get_or_init(|| {
                let transaction = &waiting.transaction;
                let Some((payment, (message, signature))) = transaction.payment().zip(transaction.signed()) else {
                    return false;
                };
                let account = self.account(payment.from);
                account.is_none_or(|account| signature.verify(&account.owner, &message).is_ok())
            })
        });
        signed.map(|waiting| &waiting.transaction)
    }

    /// The nonces of what waits of a payer, each with amount and fee.
    fn payments_of(&self, from: CellIndex) -> impl Iterator<Item = (u32, u128)> {
        let is_from =
            move |transaction: &Transaction| transaction.payment().is_some_and(|payment| payment.from == from);
        let payments = self.signed(is_from).filter_map(Transaction::payment);
        payments.map(|payment| (payment.nonce, u128::from(payment.amount) + u128::from(payment.fee)))
    }

    /// What an account holds when all that waits has been paid out of it and into it.
    fn balance(&self, index: CellIndex, account: &Account) -> u64 {
        // What opens an account counts where there is none yet.
        let pays_it = |transaction: &Transaction| match transaction {
            Transaction::Transfer(signed) => signed.body().to == index,
            Transaction::Open(_) | Transaction::Withdraw(_) | Transaction::Steps(_) => false,
        };
        let paid_in = self.signed(pays_it).filter_map(Transaction::payment).map(|payment| u128::from(payment.amount));
        let later = self.payments_of(index).filter(|(nonce, _)| *nonce >= account.nonce);
        let paid_out: u128 = later.map(|(_, amount)| amount).sum();
        let left = (u128::from(account.balance) + paid_in.sum::<u128>()).saturating_sub(paid_out);
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// A payer's cell after what waits of it.
    fn payer_cell(&self, index: CellIndex) -> Cell {
        let Some(account) = self.account(index) else { return self.paid_cell(index) };
        let nonces: BTreeSet<u32> = self.payments_of(index).map(|(nonce, _)| nonce).collect();
        let mut nonce = account.nonce;
        while nonces.contains(&nonce) && nonce < u32::MAX {
            nonce += 1;
        }
        Cell::Account(Account { nonce, balance: self.balance(index, &account), ..account })
    }

    /// A cell that is paid, which what waits may open.
    fn paid_cell(&self, index: CellIndex) -> Cell {
        let opening = self.signed(|transaction| opened_by(transaction) == Some(index)).next();
        let opened = opening.and_then(|transaction| match transaction {
            Transaction::Open(signed) => Some(signed.body()),
            Transaction::Transfer(_) | Transaction::Withdraw(_) | Transaction::Steps(_) => None,
        });
        match (cell(self.state(), index), opened) {
            (Cell::Empty, Some(open)) => Cell::Account(Account::new(open.owner, open.token, open.amount)),
            (cell, _) => cell,
        }
    }
}

/// Whether transactions of others, or of the payer that are not known here, can change it. Amounts that are not there
/// are no such case.
fn may_pass(refusal: &TransitionError) -> bool {
    match refusal {
        TransitionError::Transfer(TransferError::Payer(error))
        | TransitionError::Open(OpenError::Payer(error))
        | TransitionError::Withdraw(WithdrawError::Payer(error)) => {
            matches!(error, PayerError::Account(AccountError::EmptyCell { .. }) | PayerError::NonceTooHigh { .. })
        }
        TransitionError::Transfer(TransferError::Recipient(error)) => matches!(error, AccountError::EmptyCell { .. }),
        TransitionError::Steps(StepsError::Step { source, .. }) => match source.refusal {
            Refusal::Nonce { expected, found } => expected > found,
            Refusal::WrongCell { found, .. } => found == 0,
            Refusal::LimitNotMet { .. } | Refusal::Average(_) => true,
            _ => false,
        },
        _ => false,
    }
}

/// The cell that a transaction opens.
fn opened_by(transaction: &Transaction) -> Option<CellIndex> {
    match transaction {
        Transaction::Open(signed) => Some(signed.body().to),
        Transaction::Transfer(_) | Transaction::Withdraw(_) | Transaction::Steps(_) => None,
    }
}

/// A cell of a state; those outside the tree are empty.
fn cell(state: &State, index: CellIndex) -> Cell {
    if state.depth().contains(index) { state.tree().get(index) } else { Cell::Empty }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;
    use taproof_circuits::{
        schnorr::SecretKey,
        state::{Admission, Plan, Slots},
        transaction::{Deposit, Open, Signed, Transfer},
    };
    use taproof_verifier::cell::ChainId;

    /// Files of transactions are handed on, and whoever adds to one can write anything into it.
    #[test]
    fn what_somebody_else_signed_in_an_owners_name_counts_for_nothing() {
        let chain_id = ChainId::from_byte_array([3; ChainId::LENGTH]);
        let [owner, stranger] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let mut state = State::new(chain_id, Depth::new(1).expect("a depth"));
        let plan = Plan {
            height_blocks: 0,
            slots: Slots::uniform(NonZeroU16::MIN),
            operators: Default::default(),
            chunks_max: 10,
            admission: Admission::default(),
        };
        let deposits = [&owner, &stranger].map(|key| Deposit { amount_sat: 10_000, owner: *key.public() });
        state.apply(&plan, &deposits, &[]).expect("there are cells");
        let [own, strangers, vacant] = [0, 1, 2].map(|index| CellIndex::new(index).expect("a small index"));
        let token = Token::BITCOIN;
        let pays = |key: &SecretKey, nonce, amount| {
            let body = Transfer { chain_id, token, from: own, nonce, to: strangers, amount, fee: 1 };
            Transaction::Transfer(Signed::sign(body, key))
        };
        let opens = |key: &SecretKey| {
            let owner = *stranger.public();
            let body = Open { chain_id, token, from: own, nonce: 1, to: vacant, amount: 500, fee: 1, owner };
            Transaction::Open(Signed::sign(body, key))
        };
        let book = |added: &[Transaction]| {
            let (exits, transactions) = (Vec::new(), Vec::new());
            let (state, operations, depth_max) = (state.clone(), None, None);
            Book::new(Outset { state, exits, transactions, operations, height_blocks: 0, depth_max }, added)
        };
        let forged = [pays(&stranger, 4_000_000_000, 1), pays(&stranger, 0, u64::MAX), opens(&stranger)];
        let seen = |book: &Book| {
            let account = book.account(own).expect("it was deposited to");
            (book.next_nonce(own).expect("an account"), book.balance(own, &account), book.vacant())
        };
        let alone = book(&[pays(&owner, 0, 100)]);
        assert_eq!(seen(&alone), (1, 9_899, Some(vacant)));
        let among = book(&[&forged[..2], &[pays(&owner, 0, 100)], &forged[2..]].concat());
        assert_eq!(seen(&among), seen(&alone));
        assert_eq!(among.objection(&pays(&owner, 1, 100), owner.public()), None);
        assert!(among.objection(&pays(&owner, 1, 9_899), owner.public()).is_some());
        let next = CellIndex::new(3);
        assert_eq!(seen(&book(&[pays(&owner, 0, 100), opens(&owner)])), (2, 9_398, next));
    }
}
