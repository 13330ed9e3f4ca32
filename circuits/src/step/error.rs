//! Why a step is refused.

use super::registers::LANES;
use crate::exchange::{
    AverageError, ClearError, DivisionError, ExitError, FillError, FoundError, JoinError, ParametersError, PriceError,
    ReservesError,
};
use taproof_verifier::{
    baby_jubjub::KeyError,
    cell::{CellIndex, Depth, Token, TokenCell},
    schnorr::SignatureError,
};

/// A step that is refused: the operation's number, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} of cell {cell}: {refusal}")]
pub struct StepError {
    /// The operation's number.
    pub operation: u8,
    /// Its name.
    pub name: &'static str,
    /// The cell of the step.
    pub cell: CellIndex,
    /// Why.
    #[source]
    pub refusal: Refusal,
}

/// What is in motion of a token, in as few bytes as an error should take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InMotion([u64; 2]);

impl From<i128> for InMotion {
    fn from(value: i128) -> Self {
        Self([value as u64, (value >> 64) as u64])
    }
}

impl From<InMotion> for i128 {
    fn from(InMotion([low, high]): InMotion) -> Self {
        Self::from(high as i64) << 64 | Self::from(low)
    }
}

impl core::fmt::Display for InMotion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        i128::from(*self).fmt(f)
    }
}

impl core::fmt::Debug for InMotion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        i128::from(*self).fmt(f)
    }
}

impl StepError {
    /// Whether the same step may be accepted once the state has moved on.
    pub fn may_pass(&self) -> bool {
        match self.refusal {
            Refusal::Nonce { expected, found } => expected > found,
            Refusal::WrongCell { found, .. } => found == 0,
            Refusal::TicketRange(_)
            | Refusal::LimitNotMet { .. }
            | Refusal::Insufficient { .. }
            | Refusal::Overflow { .. }
            | Refusal::LaneValue { .. }
            | Refusal::LaneOpen { .. }
            | Refusal::Cap { .. }
            | Refusal::NotPaired
            | Refusal::TokenChanged
            | Refusal::Average(_)
            | Refusal::Reserves(_)
            | Refusal::NoSession(_) => true,
            _ => false,
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The set has no operation of this number.
    #[error("no operation of the set has number {0}")]
    UnknownOperation(u8),
    /// Cell 0 is nobody's.
    #[error("cell 0 is nobody's")]
    Nobody,
    /// The index is outside the tree.
    #[error("the cell is outside a tree of {} cells", .0.cell_count())]
    OutsideTree(Depth),
    /// The record has something that its operation does not post.
    #[error("the record has what its operation does not post")]
    NotPosted,
    /// The record has flags that its operation does not know.
    #[error("flags {0:#04x} mean nothing to the operation")]
    Flags(u8),
    /// The cell is of another kind.
    #[error("the cell is {}, where {} is needed", kind_name(*found), kind_name(*expected))]
    WrongCell {
        /// The kind that the operation needs.
        expected: u8,
        /// The kind found.
        found: u8,
    },
    /// The operation needs a signer, and no clause runs.
    #[error("nobody signs this: no clause runs")]
    NoSigner,
    /// A clause runs, in which the operation has no place.
    #[error("a clause runs, and this stands outside clauses")]
    ClauseRuns,
    /// The clause ends where none runs.
    #[error("the end of a clause, where none runs")]
    NoClause,
    /// The clause must end with the step.
    #[error("it is a clause of its own, and its record does not end one")]
    NotEnded,
    /// The cell is another owner's than the signer.
    #[error("the cell is not the signer's")]
    NotTheSigners,
    /// The signature is not the signer's.
    #[error("the signer's signature: {0}")]
    BadSignature(#[from] SignatureError),
    /// The nonce was used already, or those before it are missing.
    #[error("the clause is signed for nonce {expected}, the account is at {found}")]
    Nonce {
        /// The nonce that is signed.
        expected: u32,
        /// The account's.
        found: u32,
    },
    /// The ticket is none that the account has now.
    #[error("ticket {0} is none of the 64 that the account has")]
    TicketRange(u64),
    /// The account has used all nonces.
    #[error("the account's nonce is exhausted")]
    NonceExhausted,
    /// The ticket is used.
    #[error("ticket {0} is used")]
    TicketUsed(u64),
    /// The ticket is none of the 64 that the account has now.
    #[error("place {0} is none of the 64 tickets")]
    TicketPlace(u64),
    /// The step holds until an earlier height.
    #[error("it holds until height {until}, and the batch refers to {height_blocks}")]
    Expired {
        /// The last height.
        until: u32,
        /// The batch's.
        height_blocks: u32,
    },
    /// Less is given than the signer demands.
    #[error("{} is less than {}", token.amount(*given), token.amount(*least))]
    LimitNotMet {
        /// What is counted.
        token: Token,
        /// The least.
        least: u64,
        /// What would be given.
        given: u64,
    },
    /// The step has limits, and its operation knows none.
    #[error("the operation knows no such limit")]
    NoLimit,
    /// The holding does not cover what is taken.
    #[error("{} do not cover {}", token.amount(*balance), token.amount(*needed))]
    Insufficient {
        /// What is counted.
        token: Token,
        /// The holding.
        balance: u64,
        /// What is taken.
        needed: u64,
    },
    /// A number would exceed its width.
    #[error("{what} would exceed {width_bits} bits")]
    Overflow {
        /// The number.
        what: &'static str,
        /// The width.
        width_bits: u32,
    },
    /// A number must be zero.
    #[error("{0} must be zero")]
    NotZero(&'static str),
    /// A number must not be zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// The fee is in another token than the chunk's.
    #[error("the fee is in token {}, the chunk's fees are in token {}", found.0, expected.0)]
    FeeToken {
        /// The chunk's.
        expected: Token,
        /// That of the holding which pays it.
        found: Token,
    },
    /// The holding is of another token.
    #[error("the holding is of token {}, not {}", found.0, expected.0)]
    WrongToken {
        /// What is needed.
        expected: Token,
        /// What is held.
        found: Token,
    },
    /// Two tokens are not in ascending order, or equal.
    #[error("tokens {} and {} are not in ascending order", .0.0, .1.0)]
    TokenOrder(Token, Token),
    /// The second holding is credited, and its token is not set.
    #[error("the account has no second holding: its owner has set no token for one")]
    NotPaired,
    /// A holding's token changes while it holds something.
    #[error("the token of a holding changes while it holds something")]
    TokenChanged,
    /// All lanes are in use.
    #[error("token {} would be the fourth in motion, and a transaction has {LANES} lanes", .0.0)]
    NoLane(Token),
    /// The lane of a token has a value that cannot be taken from it.
    #[error("{value} of token {} are in motion, which cannot be taken", token.0)]
    LaneValue {
        /// The token.
        token: Token,
        /// The lane's value.
        value: InMotion,
    },
    /// A clause begins where something is in motion, and its signer does not agree to that.
    #[error("{value} of token {} are in motion where the clause begins, and its signer wants nothing to be", token.0)]
    InMotion {
        /// The token.
        token: Token,
        /// The lane's value.
        value: InMotion,
    },
    /// The transaction ends and a token is in motion.
    #[error("the transaction ends with {value} of token {} in motion", token.0)]
    LaneOpen {
        /// The token.
        token: Token,
        /// The lane's value.
        value: InMotion,
    },
    /// The transaction ends and a clause runs.
    #[error("the transaction ends within a clause")]
    ClauseOpen,
    /// The transaction ends and something is owed.
    #[error("the transaction ends and {} is owed to account {account}", token.amount(*amount))]
    DueOpen {
        /// To whom.
        account: CellIndex,
        /// In what.
        token: Token,
        /// How much.
        amount: u64,
    },
    /// Something is owed already.
    #[error("the transaction owes as much as it can note")]
    DuesTaken,
    /// Nothing of the kind is owed to the account.
    #[error("nothing of the holding's token is owed to the account")]
    NotDue,
    /// A session is open, in which the operation has no place.
    #[error("the session of pool {0} is open")]
    SessionOpen(CellIndex),
    /// The operation needs the session of that pool.
    #[error("no session of pool {0} is open")]
    NoSession(CellIndex),
    /// The registers have a fact already.
    #[error("the transaction has read something already")]
    FactTaken,
    /// The supply would exceed its cap.
    #[error("a supply of {supply} exceeds the cap of {cap}")]
    Cap {
        /// The supply.
        supply: u64,
        /// The cap.
        cap: u64,
    },
    /// The signer is not the token's issuer.
    #[error("the signer is not the issuer")]
    NotTheIssuer,
    /// A division by zero, or one whose quotient is too wide.
    #[error(transparent)]
    Division(#[from] DivisionError),
    /// The word is no owner's key.
    #[error("the word is no key: {0}")]
    Key(#[from] KeyError),
    /// The word is no name of a token.
    #[error("the word is no name: it has more than 31 bytes")]
    Name,
    /// A token with units is backed by items, of which there are none yet.
    #[error("a token with units is backed by items, which this release does not have")]
    Unit,
    /// Amounts are shown with too many decimal places.
    #[error("{0} decimal places are more than {max}", max = TokenCell::DECIMALS_MAX)]
    Decimals(u64),
    /// The pool is not founded.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// Nothing joins the pool.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Nothing leaves the pool.
    #[error(transparent)]
    Exit(#[from] ExitError),
    /// A pool cannot hold this.
    #[error(transparent)]
    Reserves(#[from] ReservesError),
    /// No pool has such parameters.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// A price has no such value.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// The pool has cleared at this height or a later one.
    #[error(transparent)]
    Average(#[from] AverageError),
    /// The order is not filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// The session does not clear.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// A refusal of an operation of a rollup's own.
    #[error("{0}")]
    Own(&'static str),
}

/// The name of a kind of cell.
fn kind_name(kind: u8) -> &'static str {
    match kind {
        0 => "empty",
        1 => "an account",
        2 => "a token",
        5 => "a pool",
        _ => "of another kind",
    }
}
