//! What an operation is: a description, a native rule, and the same relations as a circuit.
//!
//! An operation says what its cell becomes and which registers it writes. It moves no value: the machine derives that
//! from what the cell held before and after. The rule ([`Operation::apply`]) is the specification; the circuit
//! ([`Operation::synthesize`]) records the same relations once, and the machine runs them in the slots of every chunk,
//! multiplied by the bit that says whether a slot is of this operation.

use super::{Limits, error::Refusal, recording::StepCircuit, registers::Groups, rule::Step};
use core::fmt::Debug;
use taproof_verifier::{
    operation::{self, Check, Columns},
    record::StepRecord,
};

/// The flags of a record: two that the machine reads, one that says which holding, and five of the operation's own.
pub mod flag {
    /// The clause ends with this step: its signer signed all of it.
    pub const END: u8 = 1;
    /// The transaction ends with this step.
    pub const DONE: u8 = 1 << 1;
    /// The step is about an account's second holding.
    pub const SECOND: u8 = 1 << 2;
    /// What starts a clause uses a ticket instead of the nonce.
    pub const TICKET: u8 = 1 << 3;
    /// What starts a clause pays its fee from the second holding.
    pub const FEE_SECOND: u8 = 1 << 4;
}

/// Where in a transaction an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It starts a clause of the owner of its cell, which is an account.
    Starts,
    /// In a clause alone: its signer acts.
    Signer,
    /// Outside clauses alone: anyone runs it, nobody signs it.
    Anyone,
    /// In a clause or outside.
    Either,
}

/// What the machine knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its number, from 1. Operations of rollups' own have numbers from 128 on.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// The columns that its records post.
    pub columns: Columns,
    /// The check of the verifier that its records need.
    pub check: Check,
    /// The flags that its records can have beside [`flag::END`] and [`flag::DONE`].
    pub flags: u8,
    /// The kind of the cell before.
    pub kind_before: u8,
    /// The kind of the cell after.
    pub kind_after: u8,
    /// Where it stands.
    pub authority: Authority,
    /// Whether it runs while the session of a pool is open, as nothing else does.
    pub in_session: bool,
    /// The registers that it writes, beside lanes and clause.
    pub writes: Groups,
}

impl Description {
    /// What a verifier knows of the operation.
    pub fn for_verifier(&self) -> operation::Operation {
        let Self { number, columns, check, .. } = *self;
        operation::Operation { number, columns, check }
    }

    /// Whether it fills a cell that was empty. Then nobody signs which: somebody else could fill it first.
    pub fn fills_empty(&self) -> bool {
        self.kind_before == 0 && self.kind_after != 0
    }
}

/// One operation. Rule and circuit call for bits in the same order.
pub trait Operation: Debug + Send + Sync {
    /// What the machine knows of it.
    fn description(&self) -> Description;

    /// Applies it: reads the step's cell and record, and gives the cell after.
    ///
    /// # Errors
    /// The [`Refusal`] of the first relation that does not hold.
    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal>;

    /// Records the same relations.
    fn synthesize(&self, step: &mut StepCircuit);

    /// What a step does, in plain words that begin with a verb, for whoever is to sign it. Without, wallets show the
    /// record. They have words of their own for the operations of [`ops`](crate::ops).
    fn words(&self, _record: &StepRecord, _limits: &Limits) -> Option<String> {
        None
    }
}
