//! A set of operations whose transactions can owe payments.

use crate::{
    ops,
    step::{Authority, Description, Due, Groups, Integer, Machine, Operation, Refusal, Step, StepCircuit},
    testing::steps::record,
};
use std::sync::{Arc, LazyLock};
use taproof_verifier::{
    cell::{Account, CellIndex, Token},
    operation::{Check, Columns},
    record::StepRecord,
};

/// Makes the transaction owe an amount, a, to the account in the low half of c, in the token in its high half.
#[derive(Debug)]
pub(crate) struct Owe;

impl Owe {
    /// Its number.
    pub(crate) const NUMBER: u8 = 211;

    /// The record of a step that owes.
    pub(crate) fn record(account: u32, token: u32, amount: u64) -> StepRecord {
        let c = u64::from(account) | u64::from(token) << 32;
        StepRecord { a: amount, c, ..record(Self::NUMBER, 1, 0) }
    }
}

impl Operation for Owe {
    fn description(&self) -> Description {
        Description {
            number: Self::NUMBER,
            name: "OWE",
            columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::C),
            check: Check::None,
            flags: 0,
            kind_before: Account::KIND,
            kind_after: Account::KIND,
            authority: Authority::Either,
            in_session: false,
            writes: Groups::DUES,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let StepRecord { a: amount, c, .. } = *step.record();
        let [account, token] = [c as u32, (c >> 32) as u32];
        let account = CellIndex::new(account).ok_or(Refusal::Own("there is no such account"))?;
        step.integer(account.get(), 30);
        step.integer(token, 32);
        step.owe(Due { account, token: Token(token), amount })
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        let [account, token] = [30, 32].map(|width| step.integer(width));
        step.relation("OWE R1, account and token");
        step.require_equal(step.c(), Integer::pack([(account.clone(), 32), (token.clone(), 32)]));
        step.relation("OWE R2, what is owed");
        step.owe(&account, &token, &step.a());
    }
}

/// The standard operations, and [`Owe`].
pub(crate) fn owing() -> Arc<Machine> {
    static OWING: LazyLock<Arc<Machine>> = LazyLock::new(|| {
        let mut operations = ops::operations();
        operations.push(Arc::new(Owe));
        Arc::new(Machine::new(operations).expect("a set"))
    });
    OWING.clone()
}
