//! What users signed, so that nothing is taken from anybody who did not.

use std::collections::HashMap;
use taproof_circuits::{
    step::{Machine, flag},
    transaction::{Body, Clause, UnsignedTransaction},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, Token},
    record::{OpenRecord, StepRecord, TransferRecord, WithdrawRecord},
};

/// A payment as it is posted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paid<'a> {
    Transfer(&'a TransferRecord),
    Open(&'a OpenRecord),
    Withdraw(&'a WithdrawRecord),
}

/// A clause as it is posted: by whom, with which nonce or ticket, and of each step what it gave.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) signer: CellIndex,
    pub(super) owner: PublicKey,
    pub(super) number: u64,
    pub(super) is_by_ticket: bool,
    pub(super) steps: Vec<(StepRecord, u64)>,
}

/// All that was ever signed, by the accounts that pay.
#[derive(Debug, Default)]
pub(super) struct Signed {
    payments: HashMap<(CellIndex, u32), Vec<(PublicKey, UnsignedTransaction)>>,
    clauses: HashMap<CellIndex, Vec<(PublicKey, Clause)>>,
}

impl Signed {
    pub(super) fn add_payment(&mut self, owner: &PublicKey, body: UnsignedTransaction) {
        let (from, nonce) = match &body {
            UnsignedTransaction::Transfer(body) => (body.from, body.nonce),
            UnsignedTransaction::Open(body) => (body.from, body.nonce),
            UnsignedTransaction::Withdraw(body) => (body.from, body.nonce),
        };
        self.payments.entry((from, nonce)).or_default().push((*owner, body));
    }

    pub(super) fn add_clause(&mut self, owner: &PublicKey, clause: Clause) {
        self.clauses.entry(clause.signer()).or_default().push((*owner, clause));
    }

    /// Whether an owner signed a payment with an account's nonce.
    pub(super) fn has_paid(
        &self,
        owner: &PublicKey,
        (from, nonce): (CellIndex, u32),
        token: Token,
        paid: Paid,
    ) -> bool {
        let signed = self.payments.get(&(from, nonce)).into_iter().flatten();
        signed.filter(|(by, _)| by == owner).any(|(_, body)| match (body, paid) {
            (UnsignedTransaction::Transfer(body), Paid::Transfer(record)) => {
                (body.token, body.record()) == (token, *record)
            }
            (UnsignedTransaction::Open(body), Paid::Open(record)) => (body.token, body.record()) == (token, *record),
            (UnsignedTransaction::Withdraw(body), Paid::Withdraw(record)) => {
                (body.token, body.record()) == (token, *record)
            }
            _ => false,
        })
    }

    /// The clause that was signed and allows what is posted of a batch which refers to a height: these steps, with that
    /// nonce or ticket, no later than the signer allows, each of which gave no less than he demands.
    pub(super) fn allows(&self, machine: &Machine, posted: &Posted, height: u32) -> Option<&Clause> {
        let signed = self.clauses.get(&posted.signer).into_iter().flatten();
        let clauses = signed.filter(|(owner, _)| *owner == posted.owner).map(|(_, clause)| clause);
        let mut clauses = clauses.filter(|clause| {
            (clause.number, clause.is_by_ticket(), clause.steps.len())
                == (posted.number, posted.is_by_ticket, posted.steps.len())
        });
        clauses.find(|clause| {
            clause.steps.iter().zip(&posted.steps).enumerate().all(|(position, (signed, (record, gave)))| {
                let until = signed.limits.until;
                let is_in_time = if position == 0 { height <= until } else { until == 0 };
                is_in_time && *gave >= signed.limits.least && signs(machine, &signed.record, record)
            })
        })
    }
}

/// Whether a signature of one record is one of the other: where an operation fills an empty cell, the signer does not
/// say which.
fn signs(machine: &Machine, signed: &StepRecord, posted: &StepRecord) -> bool {
    let operation = machine.get(posted.operation).expect("an operation of the set").description();
    let of = |record: &StepRecord| StepRecord {
        flags: record.flags & !flag::DONE,
        cell: if operation.fills_empty() { CellIndex::default() } else { record.cell },
        ..*record
    };
    of(signed) == of(posted)
}
