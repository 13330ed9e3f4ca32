//! A batch that is proven and to be anchored: a payload that does not name its predecessor yet.

use bitcoin::BlockHash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::sync::Arc;
use taproof_base::artefact::{Artefact, ArtefactKind};
use taproof_verifier::{
    payload::{Header, PAYLOAD_LENGTH_MAX, Payload, PayloadError, PayloadHash},
    program::CircuitTable,
    serde_form,
};

/// A batch with its proofs: a payload that does not name its predecessor yet, which is known when it is anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenBatch {
    payload: Payload,
    encoded: Vec<u8>,
}

impl ProvenBatch {
    /// Takes a payload, whatever predecessor it names.
    ///
    /// # Errors
    /// [`PayloadError`] if it is too long.
    pub fn new(payload: Payload) -> Result<Self, PayloadError> {
        let header = Header { previous_payload_hash: PayloadHash::NONE, ..*payload.header() };
        let payload = with_header(&payload, header)?;
        let encoded = payload.encode()?;
        Ok(Self { payload, encoded })
    }

    /// The batch's payload, which names no predecessor.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload to be anchored behind one of that hash.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is too long, which the hash does not bring about.
    pub fn payload_after(&self, previous_payload_hash: PayloadHash) -> Result<Vec<u8>, PayloadError> {
        self.payload_on(previous_payload_hash, self.payload.header().reference_hash)
    }

    /// The payload to be anchored behind one of that hash, where another block stands at the reference's height now.
    /// The proofs hold for it as well: a statement names the height alone.
    ///
    /// # Errors
    /// As [`ProvenBatch::payload_after`].
    pub fn payload_on(
        &self,
        previous_payload_hash: PayloadHash,
        reference_hash: BlockHash,
    ) -> Result<Vec<u8>, PayloadError> {
        let header = Header { previous_payload_hash, reference_hash, ..*self.payload.header() };
        with_header(&self.payload, header)?.encode()
    }
}

fn with_header(payload: &Payload, header: Header) -> Result<Payload, PayloadError> {
    let (chunks, refutations) = (payload.chunks().to_vec(), payload.refutations().to_vec());
    Payload::with_refutations(payload.table().clone(), header, chunks, refutations)
}

/// A payload as it is posted, and the table of the program that it is decoded by.
#[derive(Serialize, Deserialize)]
struct ProvenForm {
    table: CircuitTable,
    #[serde(serialize_with = "serialize_payload", deserialize_with = "serde_form::deserialize_bytes")]
    encoded: Vec<u8>,
}

fn serialize_payload<S: Serializer>(encoded: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serde_form::serialize_bytes(encoded, serializer)
}

impl Serialize for ProvenBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = CircuitTable::clone(self.payload.table());
        ProvenForm { table, encoded: self.encoded.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ProvenBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ProvenForm { table, encoded } = Deserialize::deserialize(deserializer)?;
        let payload = Payload::decode(&encoded, &Arc::new(table)).map_err(D::Error::custom)?;
        if payload.header().previous_payload_hash != PayloadHash::NONE {
            return Err(D::Error::custom("a batch that is not anchored names no predecessor"));
        }
        Self::new(payload).map_err(D::Error::custom)
    }
}

impl Artefact for ProvenBatch {
    const KIND: ArtefactKind = ArtefactKind::Proofs;
    const VERSION: u8 = 3;
    /// The payload, and the table of a program of 1,024 circuits and 16 sets of 64 operations.
    const LENGTH_MAX: u64 = PAYLOAD_LENGTH_MAX as u64 + (1 << 14);
}
