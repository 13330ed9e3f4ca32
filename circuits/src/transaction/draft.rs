//! Clauses and steps from what somebody wants: records with the flags and numbers of their operations.
//!
//! A [`Draft`] is a clause that grows step by step, by operations of [`ops`](crate::ops), until its signer signs it.
//! What moves between the accounts of a transaction is in motion in between, so a clause is read from left to right:
//! what it takes, what it makes of that, and where it puts the rest.

use super::{Clause, ClauseError, ClauseStep};
use crate::{
    exchange::Parameters,
    ops::{Burn, Clear, Draw, Exit, Join, Mint, Open, Order, Pay, Pool, Receive, Session, Token as NewToken},
    schnorr::SecretKey,
    step::{Limits, Machine, flag},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token, TokenName},
    record::StepRecord,
};

/// One of the two holdings of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purse {
    /// The account.
    pub cell: CellIndex,
    /// Whether it is the second holding.
    pub is_second: bool,
}

impl Purse {
    /// An account's first holding.
    pub fn first(cell: CellIndex) -> Self {
        Self { cell, is_second: false }
    }

    /// An account's second holding.
    pub fn second(cell: CellIndex) -> Self {
        Self { cell, is_second: true }
    }

    fn flag(self) -> u8 {
        if self.is_second { flag::SECOND } else { 0 }
    }
}

/// What makes a clause run once: a nonce or a ticket of its signer's account, up to a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// The nonce or the ticket.
    pub number: Number,
    /// The last height that the batch can refer to; `u32::MAX` is none.
    pub until: u32,
}

/// A nonce or a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The account's nonce.
    Nonce(u32),
    /// A ticket of the account: its clauses run in any order, or never.
    Ticket {
        /// The account's base of tickets.
        base: u32,
        /// The place of the ticket above it, 0 to 63.
        place: u8,
    },
}

impl Number {
    /// What is signed.
    fn signed(self) -> u64 {
        match self {
            Self::Nonce(nonce) => nonce.into(),
            Self::Ticket { base, place } => u64::from(base) + u64::from(place),
        }
    }

    fn flag(self) -> u8 {
        if matches!(self, Self::Ticket { .. }) { flag::TICKET } else { 0 }
    }

    fn place(self) -> u64 {
        match self {
            Self::Nonce(_) => 0,
            Self::Ticket { place, .. } => place.into(),
        }
    }
}

/// What a clause pays to the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fee {
    /// How much, in bitcoin.
    pub amount_sat: u64,
    /// Whether the signer's second holding pays it.
    pub is_from_second: bool,
}

impl Fee {
    fn flag(self) -> u8 {
        if self.is_from_second { flag::FEE_SECOND } else { 0 }
    }
}

/// How much of what is in motion a step takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So much.
    Exactly(u64),
    /// All of it, which the signer wants to be no less than this.
    AllAtLeast(u64),
}

impl Taken {
    /// The amount of the record, the flag, and the limit.
    fn parts(self, rest: u8) -> (u64, u8, Limits) {
        match self {
            Self::Exactly(amount) => (amount, 0, Limits::default()),
            Self::AllAtLeast(least) => (0, rest, Limits { least, until: 0 }),
        }
    }
}

/// What an order trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The pool.
    pub pool: CellIndex,
    /// Whether it pays the pool's second token, for the first.
    pub sells_second: bool,
    /// What it pays.
    pub amount: u64,
    /// The least that it wants for that.
    pub least: u64,
}

/// A token that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// Its name.
    pub name: TokenName,
    /// The most that may exist.
    pub cap: u64,
    /// How many decimal places amounts are shown with.
    pub decimals: u8,
}

/// A clause that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    number: u64,
    steps: Vec<ClauseStep>,
}

impl Draft {
    /// Begins a clause of the purse's account with what it pays out of it.
    pub fn pay(from: Purse, amount: u64, fee: Fee, once: Once) -> Self {
        let (flags, c) = (from.flag() | fee.flag() | once.number.flag(), once.number.place());
        let record =
            StepRecord { flags, cell: from.cell, a: amount, b: fee.amount_sat, c, ..StepRecord::new(Pay::NUMBER) };
        Self::begin(record, Limits { least: 0, until: once.until }, once)
    }

    /// The clause of an order, which the purse's account pays.
    pub fn order(from: Purse, trade: Trade, fee: Fee, once: Once) -> Self {
        let sells = if trade.sells_second { Order::SELLS_SECOND } else { 0 };
        let record = StepRecord {
            flags: from.flag() | fee.flag() | once.number.flag() | sells,
            cell: from.cell,
            a: trade.amount,
            b: fee.amount_sat,
            c: u64::from(trade.pool.get()) | once.number.place() << Order::PLACE_BIT,
            ..StepRecord::new(Order::NUMBER)
        };
        Self::begin(record, Limits { least: trade.least, until: once.until }, once)
    }

    fn begin(record: StepRecord, limits: Limits, once: Once) -> Self {
        Self { number: once.number.signed(), steps: vec![ClauseStep { record, limits }] }
    }

    /// Takes an amount from a purse of another account of the signer's key, or of the same one.
    #[must_use]
    pub fn draw(self, from: Purse, amount: u64) -> Self {
        let record = StepRecord { flags: from.flag(), cell: from.cell, a: amount, ..StepRecord::new(Draw::NUMBER) };
        self.step(record, Limits::default())
    }

    /// Makes the empty second holding of an account of the signer's key one of another token.
    #[must_use]
    pub fn pair(self, cell: CellIndex, token: Token) -> Self {
        let c = token.0.into();
        self.step(StepRecord { flags: Draw::PAIR, cell, c, ..StepRecord::new(Draw::NUMBER) }, Limits::default())
    }

    /// Gives an account of the signer's key 64 new tickets, and takes the old ones, used or not.
    #[must_use]
    pub fn rebase(self, cell: CellIndex) -> Self {
        self.step(StepRecord { flags: Draw::REBASE, cell, ..StepRecord::new(Draw::NUMBER) }, Limits::default())
    }

    /// Puts what is in motion of a purse's token into it.
    #[must_use]
    pub fn receive(self, to: Purse, taken: Taken) -> Self {
        let (a, rest, limits) = taken.parts(Receive::REST);
        let flags = to.flag() | rest;
        self.step(StepRecord { flags, cell: to.cell, a, ..StepRecord::new(Receive::NUMBER) }, limits)
    }

    /// The same, into an account that has to be of the signer's key.
    #[must_use]
    pub fn keep(self, to: Purse, taken: Taken) -> Self {
        let mut kept = self.receive(to, taken);
        kept.steps.last_mut().expect("the step before").record.flags |= Receive::OWN;
        kept
    }

    /// Puts what is in motion of a token into a new account in an empty cell.
    #[must_use]
    pub fn open(self, cell: CellIndex, token: Token, owner: &PublicKey, taken: Taken) -> Self {
        let (a, flags, limits) = taken.parts(Open::REST);
        let (c, word) = (token.0.into(), owner.x());
        self.step(StepRecord { flags, cell, a, c, word, ..StepRecord::new(Open::NUMBER) }, limits)
    }

    /// Makes a token in an empty cell, whose issuer is the signer's account.
    #[must_use]
    pub fn token(self, cell: CellIndex, terms: TokenTerms) -> Self {
        let (a, c, word) = (terms.cap, terms.decimals.into(), terms.name.element());
        self.step(StepRecord { cell, a, c, word, ..StepRecord::new(NewToken::NUMBER) }, Limits::default())
    }

    /// Mints an amount of a token of which the signer's account is the issuer; with `renounces` for the last time.
    #[must_use]
    pub fn mint(self, token: Token, amount: u64, renounces: bool) -> Self {
        let flags = if renounces { Mint::RENOUNCE } else { 0 };
        self.on_token(token, StepRecord { flags, a: amount, ..StepRecord::new(Mint::NUMBER) })
    }

    /// Burns an amount of a token that is in motion.
    #[must_use]
    pub fn burn(self, token: Token, amount: u64) -> Self {
        self.on_token(token, StepRecord { a: amount, ..StepRecord::new(Burn::NUMBER) })
    }

    /// A step on the cell that mints a token. No cell has an index of 2^30 or more, and no rule takes cell 0.
    fn on_token(self, token: Token, record: StepRecord) -> Self {
        let cell = CellIndex::new(token.0).unwrap_or_default();
        self.step(StepRecord { cell, ..record }, Limits::default())
    }

    /// Founds a pool in an empty cell with all that is in motion of two tokens: the one of the lower index must have
    /// been taken first, and nothing else be in motion. Its shares are in motion afterwards.
    #[must_use]
    pub fn found_pool(self, cell: CellIndex, parameters: &Parameters) -> Self {
        let (fee, weight, blocks) = (parameters.fee(), parameters.weight(), parameters.memory_blocks());
        let c = u64::from(fee) | u64::from(weight) << 14 | u64::from(blocks) << 16;
        self.step(StepRecord { cell, c, ..StepRecord::new(Pool::NUMBER) }, Limits::default())
    }

    /// Adds all that is in motion of a pool's tokens to it. The new shares are in motion afterwards.
    #[must_use]
    pub fn join(self, pool: CellIndex) -> Self {
        self.step(StepRecord { cell: pool, ..StepRecord::new(Join::NUMBER) }, Limits::default())
    }

    /// Gives back all shares of a pool that are in motion. Their part of both reserves is in motion afterwards.
    #[must_use]
    pub fn exit(self, pool: CellIndex) -> Self {
        self.step(StepRecord { cell: pool, ..StepRecord::new(Exit::NUMBER) }, Limits::default())
    }

    /// Lets the clause begin where clauses of others have put something in motion: what is wanted for it or given for
    /// it. It then takes exact amounts alone, as others can take of what is in motion what a limit leaves to them.
    #[must_use]
    pub fn joint(mut self) -> Self {
        self.steps[0].record.flags |= Pay::JOINT;
        self
    }

    /// A step of any operation.
    #[must_use]
    pub fn step(mut self, record: StepRecord, limits: Limits) -> Self {
        self.steps.push(ClauseStep { record, limits });
        self
    }

    /// The steps so far.
    pub fn steps(&self) -> &[ClauseStep] {
        &self.steps
    }

    /// What it pays to the operator.
    pub fn fee(&self) -> u64 {
        self.steps.first().map_or(0, |step| step.record.b)
    }

    /// The clause as it will be, to be shown before anyone signs it: in place of the signature stands one of nothing.
    pub fn unsigned(&self) -> Clause {
        Clause { number: self.number, steps: self.steps.clone(), signature: crate::step::known_signature() }
    }

    /// Signs the clause with the key of the account that begins it.
    ///
    /// # Errors
    /// As [`Clause::sign`].
    pub fn sign(self, machine: &Machine, chain_id: ChainId, key: &SecretKey) -> Result<Clause, ClauseError> {
        Clause::sign(machine, chain_id, self.number, self.steps, key)
    }
}

/// The step that opens the session of a pool in which orders pay `first` and `second` of its tokens.
pub(crate) fn opens_session(pool: CellIndex, first: u64, second: u64) -> StepRecord {
    StepRecord { cell: pool, a: first, b: second, ..StepRecord::new(Session::NUMBER) }
}

/// The step that closes it.
pub(crate) fn closes_session(pool: CellIndex) -> StepRecord {
    StepRecord { cell: pool, ..StepRecord::new(Clear::NUMBER) }
}
