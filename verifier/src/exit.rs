//! Exit requests: withdrawals that their owners demand on Bitcoin, so that no poster can leave them out. Beside them
//! queue claim requests, by which locks are to be opened ([`QueuedClaim`]).
//!
//! An exit request is an output of any transaction whose script is `OP_RETURN` with one push: the chain id (15 bytes),
//! the tag 2, and what [`ExitRequest::to_bytes`] writes for a destination of its length. It holds a withdrawal of
//! bitcoin with its owner's key and signature, so anyone may pay for it to be on Bitcoin, and nobody but the owner
//! can make it.
//!
//! A follower queues the requests that are well-formed and signed, in the order of the chain, each once as long as it
//! waits. Whether the account is there, at that nonce and with that balance, or the lock, it cannot know; a batch shows
//! it. See [`settle`] for what a batch must do about the requests that wait, and [`answer`] for how it can.

use crate::{
    baby_jubjub::PublicKey,
    cell::{Account, CellElements, CellIndex, ChainId, Token},
    record::{Destination, Kind, WithdrawRecord},
    schnorr::{self, Message, Signature, SignatureError},
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use bitcoin::{
    Amount, Script, ScriptBuf, TxOut,
    hashes::{Hash, sha256},
    opcodes::all::{OP_PUSHDATA1, OP_RETURN},
};

mod answer;
mod claim;
mod queue;
mod request;
mod settlement;

pub use answer::{Answer, AnswerRoom, answer};
pub use claim::QueuedClaim;
pub use queue::{Queue, REQUESTS_WAITING_MAX};
pub use request::{Refuting, Request, RequestId, ScannedExit, ScannedRequest};
pub use settlement::{
    LeftOutError, Outcome, REQUESTS_ENOUGH, Refutation, RefutationError, ServingRecords, SettledRequest, settle,
};

/// What follows the chain id in a request's output.
const TAG: u8 = 2;
/// Bytes of a request's fields before the destination.
const FIXED_LENGTH: usize = 4 + 4 + 8 + 8 + 32 + Signature::SIZE_BYTES + 1;
/// The bytes of the longest exit request, without chain id and tag.
pub const REQUEST_LENGTH_MAX: usize = FIXED_LENGTH + 32;

/// A demand to withdraw, well-formed but with a signature that may not be its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "ExitRequestFields"))]
pub struct ExitRequest {
    from: CellIndex,
    nonce: u32,
    amount_sat: u64,
    fee_sat: u64,
    destination: Destination,
    owner: PublicKey,
    signature: Signature,
}

/// The fields of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ExitRequestFields {
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The amount to be paid out, in satoshi.
    pub amount_sat: u64,
    /// The fee for the operator.
    pub fee_sat: u64,
    /// Where on Bitcoin it is to be paid.
    pub destination: Destination,
    /// The account's owner.
    pub owner: PublicKey,
    /// The owner's signature of [`ExitRequest::message`].
    pub signature: Signature,
}

/// Why fields make no [`ExitRequest`]: no account could ever serve it, or nobody would get anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitError {
    /// Amount and fee together exceed 64 bits, as no balance does.
    #[error("amount and fee exceed 64 bits together")]
    Sum,
    /// The amount is too small to be paid out to such a destination.
    #[error("{found_sat} sat is less than the {min_sat} sat that can be paid out there")]
    Amount {
        /// The least that can.
        min_sat: u64,
        /// The amount.
        found_sat: u64,
    },
    /// An account at the last nonce can send nothing.
    #[error("no account pays at nonce 2^32 - 1")]
    Nonce,
}

impl TryFrom<ExitRequestFields> for ExitRequest {
    type Error = ExitError;

    fn try_from(fields: ExitRequestFields) -> Result<Self, ExitError> {
        let ExitRequestFields { from, nonce, amount_sat, fee_sat, destination, owner, signature } = fields;
        amount_sat.checked_add(fee_sat).ok_or(ExitError::Sum)?;
        let min_sat = destination.payout_min_sat();
        if amount_sat < min_sat {
            return Err(ExitError::Amount { min_sat, found_sat: amount_sat });
        }
        if nonce == u32::MAX {
            return Err(ExitError::Nonce);
        }
        Ok(Self { from, nonce, amount_sat, fee_sat, destination, owner, signature })
    }
}

impl ExitRequest {
    /// The account that is to pay.
    pub fn from(&self) -> CellIndex {
        self.from
    }

    /// The account's nonce.
    pub fn nonce(&self) -> u32 {
        self.nonce
    }

    /// The account's owner, as the request has it.
    pub fn owner(&self) -> &PublicKey {
        &self.owner
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The record of the withdrawal that serves the request.
    pub fn record(&self) -> WithdrawRecord {
        WithdrawRecord { from: self.from, amount: self.amount_sat, fee: self.fee_sat, destination: self.destination }
    }

    /// What the owner signs: the message of a withdrawal of bitcoin, so a withdrawal that a poster leaves out can be
    /// demanded with the signature that it has.
    pub fn message(&self, chain_id: ChainId) -> Message {
        schnorr::MessageFields {
            chain_id,
            kind: Kind::Withdraw,
            token: Token::BITCOIN,
            from: self.from,
            nonce: self.nonce,
            to: self.destination.number().into(),
            amount: self.amount_sat,
            fee: self.fee_sat,
            details: self.destination.elements(),
        }
        .message()
    }

    /// Checks that the owner signed.
    ///
    /// # Errors
    /// As [`Signature::verify`].
    pub fn verify(&self, chain_id: ChainId) -> Result<(), SignatureError> {
        self.signature.verify(&self.owner, &self.message(chain_id))
    }

    /// Whether a cell of the state before a batch can serve the request in it. If so, the batch must; if not, the batch
    /// can show the cell to be rid of the request.
    ///
    /// It can iff it is (1, 0, the request's nonce, at least amount and fee, the request's key, any, any): withdrawals
    /// pay from the first holding and count by the nonce, so neither tickets nor a second holding are in the way.
    pub fn is_servable_by(&self, cell: &CellElements) -> bool {
        let CellElements([kind, token, nonce, balance, owner_x, owner_y, _, _]) = cell;
        let account =
            [Account::KIND.into(), Token::BITCOIN.0.into(), self.nonce.into(), self.owner.x(), self.owner.y()];
        // The two do not exceed 64 bits together.
        [*kind, *token, *nonce, *owner_x, *owner_y] == account && *balance >= Fr::from(self.amount_sat + self.fee_sat)
    }

    /// The request's name among those that wait: all of it but the signature, of which an owner can make many.
    pub fn id(&self) -> RequestId {
        let bytes = self.to_bytes();
        let (signature, rest) = bytes.split_at(Signature::SIZE_BYTES);
        debug_assert_eq!(signature, self.signature.to_bytes());
        RequestId(sha256::Hash::hash(rest).to_byte_array())
    }

    /// Encodes the request: signature (64 bytes), owner (32), from (4), nonce (4), amount (8), fee (8), the
    /// destination's number (1) and program (20 or 32). Integers are little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(REQUEST_LENGTH_MAX);
        bytes.extend(self.signature.to_bytes());
        bytes.extend(self.owner.to_bytes());
        bytes.extend(self.from.get().to_le_bytes());
        bytes.extend(self.nonce.to_le_bytes());
        bytes.extend(self.amount_sat.to_le_bytes());
        bytes.extend(self.fee_sat.to_le_bytes());
        bytes.push(self.destination.number());
        bytes.extend(self.destination.program());
        bytes
    }

    /// Decodes what [`ExitRequest::to_bytes`] encodes, and nothing else; `None` for what is no request.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (signature, rest) = bytes.split_first_chunk::<{ Signature::SIZE_BYTES }>()?;
        let (owner, rest) = rest.split_first_chunk::<32>()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (amount, rest) = rest.split_first_chunk()?;
        let (fee, rest) = rest.split_first_chunk()?;
        let (number, program) = rest.split_first()?;
        let destination = Destination::new(*number, program)?;
        // What is cheap comes first: keys cost square roots.
        let fields = ExitRequestFields {
            from: CellIndex::new(u32::from_le_bytes(*from))?,
            nonce: u32::from_le_bytes(*nonce),
            amount_sat: u64::from_le_bytes(*amount),
            fee_sat: u64::from_le_bytes(*fee),
            destination,
            owner: PublicKey::from_bytes(owner).ok()?,
            signature: Signature::from_bytes(signature).ok()?,
        };
        fields.try_into().ok()
    }

    /// The output that puts the request on Bitcoin.
    pub fn output(&self, chain_id: ChainId) -> TxOut {
        let request = self.to_bytes();
        let mut script = Vec::with_capacity(3 + ChainId::LENGTH + 1 + request.len());
        script.extend([OP_RETURN.to_u8(), OP_PUSHDATA1.to_u8(), (ChainId::LENGTH + 1 + request.len()) as u8]);
        script.extend(chain_id.to_byte_array());
        script.push(TAG);
        script.extend(request);
        TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
    }

    /// Reads the script of an output, of any value; `None` if it holds no request.
    pub fn parse(script: &Script, chain_id: ChainId) -> Option<Self> {
        let push = script.as_bytes().strip_prefix(&[OP_RETURN.to_u8(), OP_PUSHDATA1.to_u8()])?;
        let (length, push) = push.split_first()?;
        if usize::from(*length) != push.len() {
            return None;
        }
        Self::from_bytes(push.strip_prefix(&chain_id.to_byte_array())?.strip_prefix(&[TAG])?)
    }
}

#[cfg(test)]
pub(crate) mod tests;
