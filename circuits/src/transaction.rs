//! What owners sign.
//!
//! A transaction is a body and the payer's signature of its message: see [`taproof_verifier::schnorr::MessageFields`].
//!
//! Deposits are not signed: they come from Bitcoin.

mod codec;
mod draft;
mod steps;

use crate::schnorr::{Message, SecretKey, Signature, SignatureError};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token},
    exit::{self, ExitError, ExitRequest},
    record::{Destination, Kind, OpenRecord, Record, TransferRecord, WithdrawRecord},
    schnorr,
};

pub use codec::{TRANSACTION_LENGTH_MAX, TransactionFormatError};
pub use draft::{Draft, Fee, Number, Once, Purse, Taken, TokenTerms, Trade};
pub(crate) use draft::{closes_session, opens_session};
pub use steps::{Clause, ClauseError, ClauseStep, Part, STEPS_MAX, StepTransaction};

/// A deposit on Bitcoin, as a scan of its blocks finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deposit {
    /// The amount, in satoshi.
    pub amount_sat: u64,
    /// The key that is to be credited.
    pub owner: PublicKey,
}

/// What every body says about who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The rollup that the transaction is for.
    pub chain_id: ChainId,
    /// The token that is paid.
    pub token: Token,
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The fee for the operator, in the same unit, on top of the amount.
    pub fee: u64,
}

/// A kind of transaction that its payer signs.
pub trait Body: Copy + core::fmt::Debug + PartialEq {
    /// What is posted of it.
    type Record: Record;

    /// Who pays, and how much.
    fn payment(&self) -> Payment;

    /// What is posted of it.
    fn record(&self) -> Self::Record;

    /// What is signed.
    fn message(&self) -> Message;
}

/// A payment from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The rollup that the transaction is for.
    pub chain_id: ChainId,
    /// The token that is paid.
    pub token: Token,
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The account that is paid.
    pub to: CellIndex,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The fee for the operator.
    pub fee: u64,
}

/// A payment into an empty cell, which becomes an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The rollup that the transaction is for.
    pub chain_id: ChainId,
    /// The token that is paid.
    pub token: Token,
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The empty cell.
    pub to: CellIndex,
    /// The new account's first balance.
    pub amount: u64,
    /// The fee for the operator.
    pub fee: u64,
    /// The new account's owner.
    pub owner: PublicKey,
}

/// A payment to an output on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// The rollup that the transaction is for.
    pub chain_id: ChainId,
    /// The token that is paid: bitcoin.
    pub token: Token,
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The amount to be paid out.
    pub amount: u64,
    /// The fee for the operator.
    pub fee: u64,
    /// Where on Bitcoin it is to be paid.
    pub destination: Destination,
}

impl Withdraw {
    /// The withdrawal that a request on Bitcoin demands, with its signature.
    pub fn demanded(request: &ExitRequest, chain_id: ChainId) -> Signed<Self> {
        let WithdrawRecord { from, amount, fee, destination } = request.record();
        let (token, nonce) = (Token::BITCOIN, request.nonce());
        let body = Self { chain_id, token, from, nonce, amount, fee, destination };
        Signed::new(body, *request.signature())
    }
}

impl Signed<Withdraw> {
    /// The request on Bitcoin that demands this withdrawal for the account's owner.
    ///
    /// # Errors
    /// [`DemandError`].
    pub fn demand(&self, owner: PublicKey) -> Result<ExitRequest, DemandError> {
        let Withdraw { token, from, nonce, amount, fee, destination, .. } = self.body;
        if token != Token::BITCOIN {
            return Err(DemandError::NotBitcoin(token));
        }
        let signature = self.signature;
        let fields =
            exit::ExitRequestFields { from, nonce, amount_sat: amount, fee_sat: fee, destination, owner, signature };
        Ok(fields.try_into()?)
    }
}

/// Why a withdrawal cannot be demanded on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DemandError {
    /// Bitcoin pays out nothing but bitcoin.
    #[error("token {} is not bitcoin", .0.0)]
    NotBitcoin(Token),
    /// No account could serve it.
    #[error(transparent)]
    Exit(#[from] ExitError),
}

impl Body for Transfer {
    type Record = TransferRecord;

    fn payment(&self) -> Payment {
        let Self { chain_id, token, from, nonce, amount, fee, .. } = *self;
        Payment { chain_id, token, from, nonce, amount, fee }
    }

    fn record(&self) -> TransferRecord {
        TransferRecord { from: self.from, to: self.to, amount: self.amount, fee: self.fee }
    }

    fn message(&self) -> Message {
        message(Kind::Transfer, &self.payment(), self.to.get(), [Fr::ZERO; 2])
    }
}

impl Body for Open {
    type Record = OpenRecord;

    fn payment(&self) -> Payment {
        let Self { chain_id, token, from, nonce, amount, fee, .. } = *self;
        Payment { chain_id, token, from, nonce, amount, fee }
    }

    fn record(&self) -> OpenRecord {
        OpenRecord { from: self.from, to: self.to, amount: self.amount, fee: self.fee, owner: self.owner }
    }

    fn message(&self) -> Message {
        message(Kind::Open, &self.payment(), self.to.get(), [self.owner.x(), Fr::ZERO])
    }
}

impl Body for Withdraw {
    type Record = WithdrawRecord;

    fn payment(&self) -> Payment {
        let Self { chain_id, token, from, nonce, amount, fee, .. } = *self;
        Payment { chain_id, token, from, nonce, amount, fee }
    }

    fn record(&self) -> WithdrawRecord {
        WithdrawRecord { from: self.from, amount: self.amount, fee: self.fee, destination: self.destination }
    }

    fn message(&self) -> Message {
        let number = self.destination.number();
        message(Kind::Withdraw, &self.payment(), number.into(), self.destination.elements())
    }
}

fn message(kind: Kind, payment: &Payment, to: u32, details: [Fr; 2]) -> Message {
    let Payment { chain_id, token, from, nonce, amount, fee } = *payment;
    schnorr::MessageFields { chain_id, kind, token, from, nonce, to, amount, fee, details }.message()
}

/// A body with a signature, which may or may not be its payer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<B> {
    body: B,
    signature: Signature,
}

impl<B: Body> Signed<B> {
    /// Joins a body and a signature.
    pub fn new(body: B, signature: Signature) -> Self {
        Self { body, signature }
    }

    /// Signs a body.
    pub fn sign(body: B, key: &SecretKey) -> Self {
        Self { body, signature: key.sign(&body.message()) }
    }

    /// What is signed.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Checks that the holder of `owner` signed the body.
    ///
    /// # Errors
    /// As [`Signature::verify`].
    pub fn verify(&self, owner: &PublicKey) -> Result<(), SignatureError> {
        self.signature.verify(owner, &self.body.message())
    }
}

/// A body of any kind, not signed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsignedTransaction {
    /// Pays from one account to another.
    Transfer(Transfer),
    /// Pays into an empty cell.
    Open(Open),
    /// Pays to an output on Bitcoin.
    Withdraw(Withdraw),
}

impl UnsignedTransaction {
    /// Signs it.
    pub fn sign(self, key: &SecretKey) -> Transaction {
        match self {
            Self::Transfer(body) => Transaction::Transfer(Signed::sign(body, key)),
            Self::Open(body) => Transaction::Open(Signed::sign(body, key)),
            Self::Withdraw(body) => Transaction::Withdraw(Signed::sign(body, key)),
        }
    }
}

/// A transaction of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Pays from one account to another.
    Transfer(Signed<Transfer>),
    /// Pays into an empty cell.
    Open(Signed<Open>),
    /// Pays to an output on Bitcoin.
    Withdraw(Signed<Withdraw>),
    /// Runs steps.
    Steps(StepTransaction),
}

impl Transaction {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Transfer(_) => Kind::Transfer,
            Self::Open(_) => Kind::Open,
            Self::Withdraw(_) => Kind::Withdraw,
            Self::Steps(_) => Kind::Step,
        }
    }

    /// The rollup that it is for.
    pub fn chain_id(&self) -> ChainId {
        match self {
            Self::Transfer(signed) => signed.body.chain_id,
            Self::Open(signed) => signed.body.chain_id,
            Self::Withdraw(signed) => signed.body.chain_id,
            Self::Steps(steps) => steps.chain_id,
        }
    }

    /// Who pays, and how much; `None` of steps, which may have several signers or none.
    pub fn payment(&self) -> Option<Payment> {
        match self {
            Self::Transfer(signed) => Some(signed.body.payment()),
            Self::Open(signed) => Some(signed.body.payment()),
            Self::Withdraw(signed) => Some(signed.body.payment()),
            Self::Steps(_) => None,
        }
    }

    /// The accounts that it spends from by their nonces, each with the nonce: of steps, one for each clause without a
    /// ticket.
    pub fn nonces(&self) -> Vec<(CellIndex, u32)> {
        match self {
            Self::Steps(steps) => {
                let by_nonce = steps.clauses().filter(|clause| !clause.is_by_ticket());
                by_nonce.filter_map(|clause| Some((clause.signer(), u32::try_from(clause.number).ok()?))).collect()
            }
            _ => self.payment().map(|payment| (payment.from, payment.nonce)).into_iter().collect(),
        }
    }

    /// The fee that it pays in bitcoin. Steps pay in nothing else.
    pub fn fee_sat(&self) -> u64 {
        match self {
            Self::Steps(steps) => steps.fee(),
            _ => self.payment().filter(|payment| payment.token == Token::BITCOIN).map_or(0, |payment| payment.fee),
        }
    }

    /// The slots that it takes, and the token of their chunk.
    pub fn slots(&self) -> (usize, Token) {
        match self {
            Self::Steps(steps) => (steps.step_count(), Token::BITCOIN),
            _ => (1, self.payment().map_or(Token::BITCOIN, |payment| payment.token)),
        }
    }

    /// What the payer signed, and the signature; `None` of steps.
    pub fn signed(&self) -> Option<(Message, &Signature)> {
        match self {
            Self::Transfer(signed) => Some((signed.body.message(), &signed.signature)),
            Self::Open(signed) => Some((signed.body.message(), &signed.signature)),
            Self::Withdraw(signed) => Some((signed.body.message(), &signed.signature)),
            Self::Steps(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
