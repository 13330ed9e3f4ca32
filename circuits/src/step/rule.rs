//! The native rule of a step: the specification.
//!
//! [`apply`](Machine::apply) maps (context, registers, cell, record, limits) to (registers, cell) or an error. Cutter,
//! replay, wallets and tests run it. The operation makes the cell after; all else is here: where operations may stand,
//! what is in motion, what signers sign, and what must be settled when a transaction ends. The numbers S1 to S9 are
//! those of the [module](super).

use super::{
    clause::{self, Limits, Start},
    error::{Refusal, StepError},
    lanes,
    machine::Machine,
    operation::{Authority, Description, flag},
    registers::{Due, Fact, OpenSession, Registers, RunningClause},
};
use crate::{exchange, schnorr::Message};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, CellIndex, ChainId, Depth, Holding, Pool, Token, TokenCell},
    record::StepRecord,
};

/// What all steps of a chunk read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepContext {
    /// The rollup.
    pub chain_id: ChainId,
    /// The depth of the tree.
    pub depth: Depth,
    /// The height of the Bitcoin block that the batch refers to: the time.
    pub height_blocks: u32,
    /// The token of the chunk's fees.
    pub token: Token,
}

/// An integer that the rule computed, as the circuit takes it from the pool of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolInteger {
    /// Its value.
    pub value: u128,
    /// Its width.
    pub width_bits: usize,
}

/// What a step comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The cell after.
    pub cell: Cell,
    /// The registers after.
    pub registers: Registers,
    /// The fee that it pays, in the chunk's token.
    pub fee: u64,
    /// What must have been signed, and by whom: where a clause ends.
    pub signed: Option<(PublicKey, Message)>,
    /// What the circuit takes from its pool, in order.
    pub integers: Vec<PoolInteger>,
}

/// A step while its operation makes of it what it does.
#[derive(Debug)]
pub struct Step<'a> {
    context: &'a StepContext,
    /// What stands for the set of operations in what is signed.
    operations: Fr,
    record: &'a StepRecord,
    /// `None` where a posted record is applied anew, whose limits nobody posted.
    limits: Option<Limits>,
    flags_of_limits: [bool; 2],
    before: Cell,
    after: Cell,
    registers: Registers,
    fees: [u64; 2],
    start: Option<Start>,
    integers: Vec<PoolInteger>,
    /// The width of an integer that does not have it.
    too_wide: Option<u32>,
}

/// What a rule reads.
impl Step<'_> {
    /// The record.
    pub fn record(&self) -> &StepRecord {
        self.record
    }

    /// Whether the record has a flag.
    pub fn flag(&self, flag: u8) -> bool {
        self.record.flags & flag != 0
    }

    /// The height that the batch refers to.
    pub fn height_blocks(&self) -> u32 {
        self.context.height_blocks
    }

    /// The cell before.
    pub fn before(&self) -> &Cell {
        &self.before
    }

    /// The account before.
    ///
    /// # Errors
    /// [`Refusal::WrongCell`].
    pub fn account(&self) -> Result<Account, Refusal> {
        match self.before {
            Cell::Account(account) => Ok(account),
            ref other => Err(Refusal::WrongCell { expected: Account::KIND, found: other.kind() }),
        }
    }

    /// The token before.
    ///
    /// # Errors
    /// [`Refusal::WrongCell`].
    pub fn token(&self) -> Result<TokenCell, Refusal> {
        match self.before {
            Cell::Token(token) => Ok(token),
            ref other => Err(Refusal::WrongCell { expected: TokenCell::KIND, found: other.kind() }),
        }
    }

    /// The pool before.
    ///
    /// # Errors
    /// [`Refusal::WrongCell`].
    pub fn pool(&self) -> Result<Pool, Refusal> {
        match self.before {
            Cell::Pool(pool) => Ok(pool),
            ref other => Err(Refusal::WrongCell { expected: Pool::KIND, found: other.kind() }),
        }
    }

    /// The account whose clause runs, the step's own if it starts one.
    pub fn signer(&self) -> Option<CellIndex> {
        match self.start {
            Some(_) => Some(self.record.cell),
            None => self.registers.clause.map(|clause| clause.signer),
        }
    }

    /// The key of the clause's signer.
    pub fn signer_key(&self) -> Option<PublicKey> {
        self.registers.clause.map(|clause| clause.owner)
    }

    /// The registers before the step.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// What is in motion of a token before the step.
    pub fn in_motion(&self, token: Token) -> i128 {
        lanes::in_motion(&self.registers.lanes, token)
    }

    /// What is in motion of a token, to be taken as a whole: below 2^64 and not negative.
    ///
    /// # Errors
    /// [`Refusal::LaneValue`].
    pub fn whole_lane(&self, token: Token) -> Result<u64, Refusal> {
        let value = self.in_motion(token);
        u64::try_from(value).map_err(|_| Refusal::LaneValue { token, value: value.into() })
    }
}

/// What a rule computes, in the order of the circuit.
impl Step<'_> {
    /// Gives the circuit an integer of that width. A step that gives a wider one is refused in the end: the circuit
    /// has no bits for it.
    pub fn integer(&mut self, value: impl Into<u128>, width_bits: usize) {
        let value = value.into();
        if width_bits < 128 && value >> width_bits != 0 {
            self.too_wide = Some(width_bits as u32);
        }
        self.integers.push(PoolInteger { value, width_bits });
    }

    /// Gives the circuit what is left of `whole` less `part`, an integer of 64 bits; `refusal` if that is negative.
    ///
    /// # Errors
    /// The refusal.
    pub fn difference(&mut self, whole: u64, part: u128, refusal: Refusal) -> Result<u64, Refusal> {
        let part = u64::try_from(part).map_err(|_| refusal)?;
        let left = whole.checked_sub(part).ok_or(refusal)?;
        self.integer(left, 64);
        Ok(left)
    }

    /// Gives the circuit a sum of 64 bits; `what` says of what in the refusal.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn sum(&mut self, first: u64, second: u64, what: &'static str) -> Result<u64, Refusal> {
        let sum = first.checked_add(second).ok_or(Refusal::Overflow { what, width_bits: 64 })?;
        self.integer(sum, 64);
        Ok(sum)
    }

    /// The twin of [`StepCircuit::multiply_divide`](super::StepCircuit::multiply_divide): gives the circuit quotient,
    /// remainder, and what the remainder leaves below the divisor.
    ///
    /// # Errors
    /// [`Refusal::Division`] where the divisor is zero or the quotient is wider than 128 bits, and
    /// [`Refusal::Overflow`] where it is wider than `quotient_bits`.
    pub fn multiply_divide(
        &mut self,
        [a, b]: [u128; 2],
        c: u128,
        quotient_bits: usize,
        divisor_bits: usize,
    ) -> Result<u128, Refusal> {
        let exchange::Division { quotient, remainder } = exchange::multiply_divide(a, b, c)?;
        if quotient_bits < 128 && quotient >> quotient_bits != 0 {
            return Err(Refusal::Overflow { what: "a quotient", width_bits: quotient_bits as u32 });
        }
        self.integer(quotient, quotient_bits);
        self.integer(remainder, divisor_bits);
        self.integer(c - remainder - 1, divisor_bits);
        Ok(quotient)
    }

    /// The twin of [`StepCircuit::demand`](super::StepCircuit::demand).
    ///
    /// # Errors
    /// [`Refusal::LimitNotMet`].
    pub fn demand(&mut self, token: Token, given: u64) -> Result<(), Refusal> {
        self.flags_of_limits[0] = true;
        let least = self.limits.unwrap_or_default().least;
        self.integer(least, 64);
        let beyond = given.checked_sub(least).ok_or(Refusal::LimitNotMet { token, least, given })?;
        self.integer(beyond, 64);
        Ok(())
    }

    /// The twin of `StepCircuit::until`.
    pub(crate) fn until(&mut self) -> Result<(), Refusal> {
        self.flags_of_limits[1] = true;
        let Some(Limits { until, .. }) = self.limits else { return Ok(()) };
        let height_blocks = self.context.height_blocks;
        let left = until.checked_sub(height_blocks).ok_or(Refusal::Expired { until, height_blocks })?;
        self.integer(until, 32);
        self.integer(left, 32);
        Ok(())
    }
}

/// What a rule makes.
impl Step<'_> {
    /// Sets the cell after.
    pub fn put(&mut self, cell: impl Into<Cell>) {
        self.after = cell.into();
    }

    /// Starts a clause with a nonce or a ticket.
    pub(crate) fn start(&mut self, number: u64, is_ticket: bool) {
        self.start = Some(Start { number, is_ticket });
    }

    /// Pays a fee from the first holding (0) or the second (1).
    pub(crate) fn add_fee(&mut self, holding: usize, fee: u64) {
        self.fees[holding] = fee;
    }

    /// The twin of [`StepCircuit::owe`](super::StepCircuit::owe): notes that the transaction owes a payment, which
    /// RECEIVE makes with its flag [`DUE`](crate::ops::Receive::DUE).
    ///
    /// # Errors
    /// [`Refusal::DuesTaken`], and [`Refusal::Zero`] for a payment of nothing, which no register would tell from none.
    pub fn owe(&mut self, due: Due) -> Result<(), Refusal> {
        if due.amount == 0 {
            return Err(Refusal::Zero("what is owed"));
        }
        let place = self.registers.dues.iter().position(Option::is_none).ok_or(Refusal::DuesTaken)?;
        let first = self.registers.dues[0].map_or(0, |due| due.amount);
        self.integer(place == 0, 1);
        self.integer(first.saturating_sub(1), 64);
        self.integer(due.amount - 1, 64);
        self.registers.dues[place] = Some(due);
        Ok(())
    }

    /// Takes the first payment that is owed off the list: the caller credits it.
    pub(crate) fn discharge(&mut self) {
        self.registers.dues.rotate_left(1);
        if let Some(last) = self.registers.dues.last_mut() {
            *last = None;
        }
    }

    /// Notes what was read of a cell.
    pub(crate) fn set_fact(&mut self, fact: Fact) {
        self.registers.fact = Some(fact);
    }

    /// Opens the session of a pool, or closes it.
    pub(crate) fn set_session(&mut self, session: Option<OpenSession>) {
        self.registers.session = session;
    }
}

impl Machine {
    /// Applies a step. Without limits, it applies the record of one that was proven: who signed what is not asked.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn apply(
        &self,
        context: &StepContext,
        registers: &Registers,
        cell: &Cell,
        record: &StepRecord,
        limits: Option<Limits>,
    ) -> Result<Applied, StepError> {
        let number = record.operation;
        let named = |name| move |refusal| StepError { operation: number, name, cell: record.cell, refusal };
        let operation = self.get(number).ok_or_else(|| named("step")(Refusal::UnknownOperation(number)))?;
        let description = operation.description();
        let mut step = Step {
            context,
            operations: self.element(),
            record,
            limits,
            flags_of_limits: [false; 2],
            before: *cell,
            after: *cell,
            registers: *registers,
            fees: [0; 2],
            start: None,
            integers: Vec::new(),
            too_wide: None,
        };
        step.check_place(&description).map_err(named(description.name))?;
        operation.apply(&mut step).and_then(|()| step.finish(&description)).map_err(named(description.name))
    }
}

impl Step<'_> {
    /// S1 and S3: what does not depend on what the operation does.
    fn check_place(&self, description: &Description) -> Result<(), Refusal> {
        let Self { context, record, registers, .. } = self;
        if record.cell == CellIndex::default() {
            return Err(Refusal::Nobody);
        }
        if !context.depth.contains(record.cell) {
            return Err(Refusal::OutsideTree(context.depth));
        }
        if !description.columns.contain(record.columns_used()) {
            return Err(Refusal::NotPosted);
        }
        let unknown = record.flags & !(description.flags | flag::END | flag::DONE);
        if unknown != 0 {
            return Err(Refusal::Flags(unknown));
        }
        let (expected, found) = (description.kind_before, self.before.kind());
        if found != expected {
            return Err(Refusal::WrongCell { expected, found });
        }
        if let Some(session) = registers.session
            && !description.in_session
        {
            return Err(Refusal::SessionOpen(session.pool));
        }
        match (description.authority, registers.clause) {
            (Authority::Signer, None) => Err(Refusal::NoSigner),
            (Authority::Starts | Authority::Anyone, Some(_)) => Err(Refusal::ClauseRuns),
            _ => Ok(()),
        }
    }

    /// S4 to S7: what follows from what the operation did.
    fn finish(mut self, description: &Description) -> Result<Applied, Refusal> {
        if let Some(width_bits) = self.too_wide {
            return Err(Refusal::Overflow { what: "an integer of the step", width_bits });
        }
        let (expected, found) = (description.kind_after, self.after.kind());
        if found != expected {
            return Err(Refusal::WrongCell { expected, found });
        }
        self.move_lanes()?;
        let signed = self.run_clause()?;
        if self.flag(flag::DONE) {
            self.expect_settled()?;
            self.registers = Registers::default();
        }
        let [first, second] = self.fees;
        let fee = first.checked_add(second).ok_or(Refusal::Overflow { what: "the fee", width_bits: 64 })?;
        let Self { after: cell, registers, integers, .. } = self;
        Ok(Applied { cell, registers, fee, signed, integers })
    }

    /// S5: what the cell no longer holds, or has minted, is in motion.
    fn move_lanes(&mut self) -> Result<(), Refusal> {
        let (before, after) = (self.before.holdings(), self.after.holdings());
        let minted = minted(&self.after) - minted(&self.before);
        let lanes = &mut self.registers.lanes;
        lanes::add(lanes, Token(self.record.cell.get()), minted)?;
        for ((before, after), fee) in before.into_iter().zip(after).zip(self.fees) {
            let Holding { token, balance } = after;
            if before.token != token && before.balance != 0 {
                return Err(Refusal::TokenChanged);
            }
            if fee != 0 && token != self.context.token {
                return Err(Refusal::FeeToken { expected: self.context.token, found: token });
            }
            lanes::add(lanes, token, i128::from(before.balance) - i128::from(balance) - i128::from(fee))?;
        }
        Ok(())
    }

    /// S4, S6: absorbs the step into the clause that runs; gives what its signer must have signed, where it ends.
    fn run_clause(&mut self) -> Result<Option<(PublicKey, Message)>, Refusal> {
        let limits = self.limits.unwrap_or_default();
        let [knows_least, knows_until] = self.flags_of_limits;
        if (limits.least != 0 && !knows_least) || (limits.until != 0 && !knows_until) {
            return Err(Refusal::NoLimit);
        }
        let running = match (self.start, self.registers.clause) {
            (Some(start), _) => {
                let (signer, owner) = (self.record.cell, self.account()?.owner);
                let digest = start.digest(self.context.chain_id, signer);
                Some(RunningClause { signer, owner, digest })
            }
            (None, running) => running,
        };
        let Some(RunningClause { signer, owner, mut digest }) = running else {
            if limits != Limits::default() {
                return Err(Refusal::NoLimit);
            }
            return if self.flag(flag::END) { Err(Refusal::NoClause) } else { Ok(None) };
        };
        digest = match self.limits {
            Some(limits) => clause::absorb(digest, self.operations, self.record, limits),
            None => Fr::ZERO,
        };
        if self.flag(flag::END) {
            self.registers.clause = None;
            return Ok(self.limits.map(|_| (owner, clause::clause_message(digest))));
        }
        self.registers.clause = Some(RunningClause { signer, owner, digest });
        Ok(None)
    }

    /// S7: nothing is left open.
    fn expect_settled(&self) -> Result<(), Refusal> {
        let Registers { clause, dues, session, .. } = self.registers;
        if clause.is_some() {
            return Err(Refusal::ClauseOpen);
        }
        if let Some(Due { account, token, amount }) = dues.into_iter().flatten().next() {
            return Err(Refusal::DueOpen { account, token, amount });
        }
        if let Some(session) = session {
            return Err(Refusal::SessionOpen(session.pool));
        }
        match self.registers.in_motion() {
            Some(lane) => Err(Refusal::LaneOpen { token: lane.token, value: lane.value.into() }),
            None => Ok(()),
        }
    }
}

/// What a cell has minted of its own token and is not locked in it for ever.
fn minted(cell: &Cell) -> i128 {
    let locked = if cell.kind() == Pool::KIND { Pool::SHARES_LOCKED.into() } else { 0 };
    cell.supply().map_or(0, |supply| i128::from(supply) - locked)
}
