//! Operations that hold next to nothing, so that a slot breaks what a test says and no more.

use crate::step::{Authority, Description, Groups, Machine, Operation, Refusal, Step, StepCircuit};
use std::sync::Arc;
use taproof_verifier::{
    cell::{Account, Token},
    operation::{Check, Columns},
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
