//! Transactions as bytes.
//!
//! Version (1 byte, 3), kind (1), chain id (15), token (4), from (4), nonce (4), amount (8), fee (8); then for a
//! transfer to (4), for an opening to (4) and owner (32), for a withdrawal the destination's number (1) and program
//! (20 or 32); then the signature (64). Integers are little-endian; nothing follows.

use super::{Body, Open, Payment, Signed, Transaction, Transfer, Withdraw};
use crate::schnorr::{Signature, SignatureFormatError};
use taproof_verifier::{
    baby_jubjub::{KeyError, PublicKey},
    cell::{CellIndex, ChainId, Token},
    record::{Destination, Kind},
};

/// The version of the format.
const VERSION: u8 = 3;

/// The most bytes that a transaction has.
pub const TRANSACTION_LENGTH_MAX: usize = 30 + ChainId::LENGTH + 4 + 32 + Signature::SIZE_BYTES;

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
    /// The signature is invalid in itself.
    #[error("the signature: {0}")]
    Signature(#[from] SignatureFormatError),
}

impl Transaction {
    /// Encodes the transaction, at most [`TRANSACTION_LENGTH_MAX`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Payment { chain_id, token, from, nonce, amount, fee } = self.payment();
        let mut bytes = Vec::with_capacity(TRANSACTION_LENGTH_MAX);
        bytes.extend([VERSION, self.kind() as u8]);
        bytes.extend(chain_id.to_byte_array());
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
        }
        bytes.extend(self.signature().to_bytes());
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
        let (chain_id, token) = (ChainId::from_byte_array(reader.array()?), Token(reader.word()?));
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
            // Deposits come from Bitcoin: nobody signs them. No transaction asks for a step.
            Some(Kind::Deposit | Kind::Step) | None => Err(TransactionFormatError::Kind(kind)),
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TransactionFormatError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TransactionFormatError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: usize) -> Result<&[u8], TransactionFormatError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(TransactionFormatError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, TransactionFormatError> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> Result<u32, TransactionFormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn index(&mut self) -> Result<CellIndex, TransactionFormatError> {
        let index = self.word()?;
        CellIndex::new(index).ok_or(TransactionFormatError::Index(index))
    }

    fn finish<B: Body>(&mut self, body: B) -> Result<Signed<B>, TransactionFormatError> {
        let signature = Signature::from_bytes(&self.array()?)?;
        match self.0.len() {
            0 => Ok(Signed::new(body, signature)),
            excess => Err(TransactionFormatError::TrailingBytes(excess)),
        }
    }
}
