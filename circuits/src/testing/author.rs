//! What authors of operations test them with.

use super::{
    operations::{self, Example, state},
    state::secret,
    steps::Steps,
    twins::assert_twins,
};
use crate::{
    schnorr::SecretKey,
    step::{Applied, Guesses, Limits, Machine, Refusal, Registers},
};
use std::sync::Arc;
use taproof_verifier::{cell::Cell, record::StepRecord};

/// A small state on which steps run, one after the other, by rule and circuit side by side.
///
/// Accounts 1 to 8 hold 1,000,000 sat, accounts 1 to 6 also 5,000,000 of token 20, account 7 also 5,000 shares of pool
/// 30, and account 8 nothing else. Their nonces are 7, and their keys those of [`Trial::key`], but for account 7, which
/// has the key of account 1. Account 1 is the issuer of token 20, of which 40,000,000 exist and 100,000,000 may. Pool
/// 30 holds 1,000,000 sat and 3,000,000 of that token. All other cells are empty. The height is
/// [`Trial::HEIGHT_BLOCKS`].
pub struct Trial(Steps);

impl Trial {
    /// The token's cell.
    pub const TOKEN: u32 = operations::TOKEN;
    /// The pool's cell.
    pub const POOL: u32 = operations::POOL;
    /// An empty cell.
    pub const EMPTY: u32 = operations::EMPTY;
    /// The height that steps run at.
    pub const HEIGHT_BLOCKS: u32 = super::steps::HEIGHT;

    /// Begins outside of transactions.
    pub fn new(machine: Arc<Machine>) -> Self {
        let mut steps = Steps::on(state());
        steps.machine = machine;
        Self(steps)
    }

    /// The key of an account, by the number of its cell.
    pub fn key(number: u8) -> SecretKey {
        secret(number)
    }

    /// A cell as it is now.
    ///
    /// # Panics
    /// If the index is 2^30 or more.
    pub fn cell(&self, index: u32) -> Cell {
        self.0.state.cell(index)
    }

    /// Puts a cell into the state, as if it had been there. Owners are those of [`Trial::key`].
    pub fn put(&mut self, index: u32, cell: impl Into<Cell>) {
        self.0.put(index, cell.into());
    }

    /// The registers after the last step, which may be set to what a transaction could have come to.
    pub fn registers(&mut self) -> &mut Registers {
        &mut self.0.registers
    }

    /// Runs a step, if the rule accepts it, signed where it ends a clause.
    ///
    /// Checks that the circuit accepts the step exactly if the rule does, and with the rule's integers alone: it solves
    /// the circuit's relations for all integers that a prover could choose. It cannot where one is multiplied that
    /// nothing fixes before; then it says so, and [`Trial::run_guessing`] is told what to try.
    ///
    /// # Errors
    /// What the rule refuses.
    ///
    /// # Panics
    /// If rule and circuit disagree, or the circuit leaves a choice.
    pub fn run(&mut self, record: StepRecord, limits: Limits) -> Result<Applied, Refusal> {
        self.run_guessing(record, limits, [])
    }

    /// The same, where integers of the operation, by their number among those that it takes, may be what is guessed.
    ///
    /// # Errors
    /// What the rule refuses.
    ///
    /// # Panics
    /// As [`Trial::run`].
    pub fn run_guessing(
        &mut self,
        record: StepRecord,
        limits: Limits,
        guesses: impl IntoIterator<Item = (usize, Vec<u128>)>,
    ) -> Result<Applied, Refusal> {
        let guesses: Guesses = guesses.into_iter().collect();
        assert_twins(&mut self.0, record, limits, &guesses).map_err(|error| error.refusal)
    }

    /// The step as an example of its operation, after all that ran before it.
    ///
    /// # Panics
    /// If the rule refuses it.
    pub fn example(self, record: StepRecord, limits: Limits) -> Example {
        Example::after(self.0, record, limits)
    }
}
