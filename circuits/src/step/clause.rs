//! What the signer of a clause signs.
//!
//! A clause is a run of steps. Its digest starts from what says who signs for which rollup, and each step is absorbed:
//!
//! - start = pack(chain id: 120, [`Kind::Step`]: 8, version: 16, purpose: 8, cell: 32, number: 33), where the purpose
//!   is 0 for a nonce and 1 for a ticket. A nonce, and a ticket, starts one clause of an account, so no start comes
//!   twice.
//! - digest' = compress(digest, signed record, word, pack(limit: 64, until: 32), operations, 0, 0, 0), where the
//!   operations are the first 31 bytes of the set's hash, as a little-endian integer.
//!
//! The signed record is the record's first element without [`flag::DONE`], which whoever makes the transaction sets.
//! The message of the signature is the digest after the last step, and three zeros.
//!
//! **What is not left to others.** An empty cell that a step fills is signed, although somebody else may fill it first
//! and so void the clause: what the signer signs next may name that cell. A number means nothing without the set of
//! operations, so a program with another set voids the clauses that were signed before.

use super::operation::flag;
use crate::schnorr::{Message, SecretKey, Signature};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId},
    field,
    operation::OperationsHash,
    poseidon2::compress,
    record::{Kind, Record, StepRecord},
};

/// The version of the machine: changes whenever what is signed would mean something else.
pub const MACHINE_VERSION: u16 = 1;

/// What the signer holds a step to, and nobody posts. Zero where the operation knows no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The least that the step must give.
    pub least: u64,
    /// The last height that the batch can refer to.
    pub until: u32,
}

impl Limits {
    /// pack(least: 64, until: 32).
    pub(super) fn element(self) -> Fr {
        field::pack([(self.least, 64), (self.until.into(), 32)])
    }
}

/// What a clause starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The nonce, or the ticket: the sum of a base of 32 bits and a place below 64.
    pub(super) number: u64,
    /// Which of both.
    pub(super) is_ticket: bool,
}

impl Start {
    /// The digest before the first step.
    pub(super) fn digest(self, chain_id: ChainId, signer: CellIndex) -> Fr {
        let [low, high] = chain_id.limbs();
        let Self { number, is_ticket } = self;
        field::pack([
            (low, 64),
            (high, 56),
            (Kind::Step as u64, 8),
            (MACHINE_VERSION.into(), 16),
            (is_ticket.into(), 8),
            (signer.get().into(), 32),
            (number, 33),
        ])
    }
}

/// The element that stands for a set of operations in what is signed.
pub(super) fn operations_element(hash: OperationsHash) -> Fr {
    field::from_short_bytes(&hash.to_byte_array()[..31])
}

/// The digest after one more step.
pub(super) fn absorb(digest: Fr, operations: Fr, record: &StepRecord, limits: Limits) -> Fr {
    let signed = StepRecord { flags: record.flags & !flag::DONE, ..*record };
    let mut elements = Vec::with_capacity(2);
    signed.write_elements(&mut elements);
    let [element, word] = elements[..] else { unreachable!("a step has two elements") };
    let zero = Fr::ZERO;
    compress(&[digest, element, word, limits.element(), operations, zero, zero, zero])
}

/// The digest of a whole clause: of an account's nonce or ticket, and of its steps, of these operations.
pub(crate) fn clause_digest(
    chain_id: ChainId,
    signer: CellIndex,
    number: u64,
    is_ticket: bool,
    operations: Fr,
    steps: impl IntoIterator<Item = (StepRecord, Limits)>,
) -> Fr {
    // A number of more bits starts no clause: the rule refuses it.
    let start = Start { number: number & ((1 << 33) - 1), is_ticket };
    let start = start.digest(chain_id, signer);
    steps.into_iter().fold(start, |digest, (record, limits)| absorb(digest, operations, &record, limits))
}

/// The message of a clause's signature.
pub(crate) fn clause_message(digest: Fr) -> Message {
    [digest, Fr::ZERO, Fr::ZERO, Fr::ZERO]
}

/// A key whose secret everyone knows, and its signature of nothing.
static KNOWN: LazyLock<(PublicKey, Signature)> = LazyLock::new(|| {
    let secret = SecretKey::from_seed(&[0; 32]);
    (*secret.public(), secret.sign(&[Fr::ZERO; 4]))
});

/// The key that signs what nobody has to.
pub(crate) fn known_key() -> &'static PublicKey {
    &KNOWN.0
}

/// The signature of slots in which no clause ends: of nothing, by the known key.
pub(crate) fn known_signature() -> Signature {
    KNOWN.1
}
