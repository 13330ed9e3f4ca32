//! Operations that hold next to nothing, so that a slot breaks what a test says and no more.

use crate::step::{
    Authority, Description, Due, Groups, Integer, Machine, Operation, Refusal, Step, StepCircuit, place,
};
use std::sync::Arc;
use taproof_verifier::{
    cell::{Account, CellIndex, Token},
    operation::{Check, Columns},
    record::StepRecord,
};

/// The standard operations and others.
pub(super) fn machine_with(others: Vec<Arc<dyn Operation>>) -> Arc<Machine> {
    let all = crate::ops::operations().into_iter().chain(others).collect();
    Arc::new(Machine::new(all).expect("a set"))
}

/// What may post everything, knows every flag, stands anywhere but in a session and leaves an account as it is.
fn leaves_all(number: u8, name: &'static str) -> Description {
    Description {
        number,
        name,
        columns: Columns::ALL,
        check: Check::None,
        flags: 0xfc,
        kind_before: Account::KIND,
        kind_after: Account::KIND,
        authority: Authority::Either,
        in_session: false,
        writes: Groups::ALWAYS,
    }
}

/// Leaves a cell of one kind as it is, whatever is posted.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) number: u8,
    pub(super) kind: u8,
}

impl Operation for Idle {
    fn description(&self) -> Description {
        let (kind_before, kind_after) = (self.kind, self.kind);
        Description { kind_before, kind_after, ..leaves_all(self.number, "IDLE") }
    }

    fn apply(&self, _: &mut Step<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn synthesize(&self, _: &mut StepCircuit) {}
}

/// Leaves an account as it is, and knows both limits: what is given is the record's first number.
#[derive(Debug)]
pub(super) struct Limited;

impl Limited {
    pub(super) const NUMBER: u8 = 210;
}

impl Operation for Limited {
    fn description(&self) -> Description {
        leaves_all(Self::NUMBER, "LIMITED")
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        step.demand(Token::BITCOIN, step.record().a)?;
        step.until()
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("LIMITED, limits");
        step.demand(step.a());
        step.until();
    }
}

/// Makes the transaction owe an amount, a, to the account in the low half of c, in the token in its high half, if it
/// owes nothing yet.
#[derive(Debug)]
pub(super) struct Owe;

impl Owe {
    pub(super) const NUMBER: u8 = 211;

    /// The record of a step that owes.
    pub(super) fn record(account: u32, token: u32, amount: u64) -> StepRecord {
        let c = u64::from(account) | u64::from(token) << 32;
        StepRecord { a: amount, c, ..crate::testing::steps::record(Self::NUMBER, 1, 0) }
    }
}

impl Operation for Owe {
    fn description(&self) -> Description {
        Description { writes: Groups::DUES, ..leaves_all(Self::NUMBER, "OWE") }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let StepRecord { a: amount, c, .. } = *step.record();
        let [account, token] = [c as u32, (c >> 32) as u32];
        step.integer(account, 32);
        step.integer(token, 32);
        step.integer(amount.wrapping_sub(1), 64);
        if step.registers().dues[0].is_some() {
            return Err(Refusal::DuesTaken);
        }
        let account = CellIndex::new(account).ok_or(Refusal::Own("there is no such account"))?;
        step.owe(Due { account, token: Token(token), amount })
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        let [account, token] = [32, 32].map(|width| step.integer(width));
        step.relation("OWE, halves of c");
        step.require_equal(step.c(), Integer::pack([(account.clone(), 32), (token.clone(), 32)]));
        step.relation("OWE, amount");
        step.range(step.a() - Integer::constant(1), 64);
        step.relation("OWE, nothing owed yet");
        step.require_zero(step.register(place::DUE_AMOUNT[0]));
        step.set_register(place::DUE_ACCOUNT[0], account);
        step.set_register(place::DUE_TOKEN[0], token);
        step.set_register(place::DUE_AMOUNT[0], step.a());
    }
}
