//! A set of operations whose transactions can owe payments.

use crate::{
    ops,
    step::{Authority, Description, Groups, Machine, Operation, Refusal, Step, StepCircuit},
};
use std::sync::{Arc, LazyLock};
use taproof_verifier::{
    cell::Account,
    operation::{Check, Columns},
};

/// An operation that says it writes what is owed, and never runs.
#[derive(Debug)]
struct Owes;

impl Operation for Owes {
    fn description(&self) -> Description {
        Description {
            number: 200,
            name: "OWES",
            columns: Columns::FLAGS.and(Columns::CELL),
            check: Check::None,
            flags: 0,
            kind_before: Account::KIND,
            kind_after: Account::KIND,
            authority: Authority::Either,
            in_session: false,
            writes: Groups::DUES,
        }
    }

    fn apply(&self, _: &mut Step<'_>) -> Result<(), Refusal> {
        Err(Refusal::Own("it never runs"))
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("OWES, it never runs");
        step.require_zero(step.cell());
    }
}

/// The standard operations in circuits that carry what is owed.
pub(crate) fn owing() -> Arc<Machine> {
    static OWING: LazyLock<Arc<Machine>> = LazyLock::new(|| {
        let mut operations = ops::operations();
        operations.push(Arc::new(Owes));
        Arc::new(Machine::new(operations).expect("a set"))
    });
    OWING.clone()
}
