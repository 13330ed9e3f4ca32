//! Transactions as bytes.
//!
//! Version (1 byte, 3), kind (1), chain id (15). Of a payment token (4), from (4), nonce (4), amount (8), fee (8); then
//! for a transfer to (4), for an opening to (4) and owner (32), for a withdrawal the destination's number (1) and
//! program (20 or 32); then the signature (64). Of steps their parts ([`super::steps`]). Integers are little-endian;
//! nothing follows.

use super::{Body, Open, Payment, Signed, StepTransaction, Transaction, Transfer, Withdraw, steps::STEPS_LENGTH_MAX};
use crate::schnorr::{Signature, SignatureFormatError};
use taproof_verifier::{
    baby_jubjub::{KeyError, PublicKey},
    cell::{CellIndex, ChainId, Token},
    record::{Destination, Kind},
};

/// The version of the format.
const VERSION: u8 = 3;

/// The most bytes that a transaction has.
pub const TRANSACTION_LENGTH_MAX: usize = STEPS_LENGTH_MAX;

/// The most bytes that a payment has.
const PAYMENT_LENGTH_MAX: usize = 30 + ChainId::LENGTH + 4 + 32 + Signature::SIZE_BYTES;

/// Why bytes are no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionFormatError {
    /// The format is of another version.
    #[error("format version {0} is unknown")]
    Version(u8),
    /// No kind that is signed has this number.
    #[error("no kind of transaction has number {0}")]
    Kind(u8),
    /// The bytes end early.
    #[error("the transaction ends early")]
    Truncated,
    /// Bytes follow the signature.
    #[error("{0} bytes follow the signature")]
    TrailingBytes(usize),
    /// A cell's index is 2^30 or more.
    #[error("cell index {0} is not below 2^30")]
    Index(u32),
    /// The new owner's key is invalid.
    #[error("the owner's key: {0}")]
    Owner(#[from] KeyError),
    /// No type of destination has this number.
    #[error("no type of destination has number {0}")]
    Destination(u8),
    /// A part of a transaction of steps has another tag.
    #[error("no part of a transaction has tag {0}")]
    Part(u8),
    /// A step's word is no element.
    #[error("the word of a step is not below the order of the field")]
    Word,
    /// No check has this number.
    #[error("no check has number {0}")]
    Check(u8),
    /// There are more steps than a transaction may have.
    #[error("more than {max} steps", max = super::steps::STEPS_MAX)]
    TooManySteps,
    /// A step is encoded in another way than it must be.
    #[error("a step is not in its one encoding")]
    NotCanonical,
    /// The signature is invalid in itself.
    #[error("the signature: {0}")]
    Signature(#[from] SignatureFormatError),
}

impl Transaction {
    /// Encodes the transaction, at most [`TRANSACTION_LENGTH_MAX`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAYMENT_LENGTH_MAX);
        bytes.extend([VERSION, self.kind() as u8]);
        bytes.extend(self.chain_id().to_byte_array());
        let (payment, signature) = match self {
            Self::Transfer(signed) => (signed.body.payment(), signed.signature),
            Self::Open(signed) => (signed.body.payment(), signed.signature),
            Self::Withdraw(signed) => (signed.body.payment(), signed.signature),
            Self::Steps(steps) => {
                steps.write(&mut bytes);
                return bytes;
            }
        };
        let Payment { token, from, nonce, amount, fee, .. } = payment;
        for word in [token.0, from.get(), nonce] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(amount.to_le_bytes());
        bytes.extend(fee.to_le_bytes());
        match self {
            Self::Transfer(signed) => bytes.extend(signed.body.to.get().to_le_bytes()),
            Self::Open(signed) => {
                bytes.extend(signed.body.to.get().to_le_bytes());
                bytes.extend(signed.body.owner.to_bytes());
            }
            Self::Withdraw(signed) => {
                bytes.push(signed.body.destination.number());
                bytes.extend(signed.body.destination.program());
            }
            Self::Steps(_) => {}
        }
        bytes.extend(signature.to_bytes());
        bytes
    }

    /// Decodes what [`Transaction::to_bytes`] encodes; every transaction has one encoding.
    ///
    /// # Errors
    /// Each of [`TransactionFormatError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransactionFormatError> {
        let mut reader = Reader(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(TransactionFormatError::Version(version));
        }
        let kind = reader.byte()?;
        let chain_id = ChainId::from_byte_array(reader.array()?);
        if kind == Kind::Step as u8 {
            let steps = StepTransaction::read(chain_id, &mut reader)?;
            return match reader.0.len() {
                0 => Ok(Self::Steps(steps)),
                excess => Err(TransactionFormatError::TrailingBytes(excess)),
            };
        }
        let token = Token(reader.word()?);
        let (from, nonce) = (reader.index()?, reader.word()?);
        let amount = u64::from_le_bytes(reader.array()?);
        let fee = u64::from_le_bytes(reader.array()?);
        match Kind::from_number(kind) {
            Some(Kind::Transfer) => {
                let to = reader.index()?;
                let body = Transfer { chain_id, token, from, nonce, to, amount, fee };
                Ok(Self::Transfer(reader.finish(body)?))
            }
            Some(Kind::Open) => {
                let to = reader.index()?;
                let owner = PublicKey::from_bytes(&reader.array()?)?;
                let body = Open { chain_id, token, from, nonce, to, amount, fee, owner };
                Ok(Self::Open(reader.finish(body)?))
            }
            Some(Kind::Withdraw) => {
                let number = reader.byte()?;
                let unknown = TransactionFormatError::Destination(number);
                let length = Destination::program_length(number).ok_or(unknown)?;
                let destination = Destination::new(number, reader.bytes(length)?).ok_or(unknown)?;
                let body = Withdraw { chain_id, token, from, nonce, amount, fee, destination };
                Ok(Self::Withdraw(reader.finish(body)?))
            }
            // Deposits come from Bitcoin: nobody signs them.
            Some(Kind::Deposit | Kind::Step) | None => Err(TransactionFormatError::Kind(kind)),
        }
    }
}

/// What is left to read.
pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], TransactionFormatError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TransactionFormatError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&[u8], TransactionFormatError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(TransactionFormatError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, TransactionFormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn word(&mut self) -> Result<u32, TransactionFormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn index(&mut self) -> Result<CellIndex, TransactionFormatError> {
        let index = self.word()?;
        CellIndex::new(index).ok_or(TransactionFormatError::Index(index))
    }

    pub(super) fn signature(&mut self) -> Result<Signature, TransactionFormatError> {
        Ok(Signature::from_bytes(&self.array()?)?)
    }

    fn finish<B: Body>(&mut self, body: B) -> Result<Signed<B>, TransactionFormatError> {
        let signature = self.signature()?;
        match self.0.len() {
            0 => Ok(Signed::new(body, signature)),
            excess => Err(TransactionFormatError::TrailingBytes(excess)),
        }
    }
}
