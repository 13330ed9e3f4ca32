//! A batch that is applied and to be proven ([`BatchFile`]); with its proofs it is a [`ProvenBatch`].

use ark_bn254::Fr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::sync::Arc;
use taproof_base::{
    artefact::{Artefact, ArtefactKind},
    output_file::Access,
};
use taproof_bitcoin::proven_batch::ProvenBatch;
use taproof_circuits::{chunk::witness::ChunkWitness, state::Batch};
use taproof_kernel::proven::Proven;
use taproof_verifier::{
    cell::{ChainId, Depth},
    exit::Refutation,
    follow::Params,
    headers::BlockId,
    payload::{Header, Payload, PayloadError, PayloadHash, encoded_length},
    program::{CircuitTable, ProgramId},
    serde_form,
};

/// What a batch says of itself before it has a predecessor's payload to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// The rollup.
    pub chain_id: ChainId,
    /// The number of the batch; the first is 0.
    pub number: u64,
    /// The depth of the tree.
    pub depth: Depth,
    /// The root before the first chunk, in a tree of that depth.
    #[serde(with = "serde_form::element")]
    pub root_before: Fr,
    /// The root after the last chunk.
    #[serde(with = "serde_form::element")]
    pub root_after: Fr,
    /// The Bitcoin block up to which deposits are taken into account.
    pub reference: BlockId,
    /// How many deposits are consumed after the batch.
    pub deposits_consumed: u64,
    /// The program that the proofs are for.
    pub program_id: ProgramId,
}

impl BatchHeader {
    /// The header of a batch that a state was cut into, for the program in force at its reference.
    pub fn of(
        (params, program_id): (&Params, ProgramId),
        number: u64,
        batch: &Batch,
        deposits_consumed: u64,
        reference: BlockId,
    ) -> Self {
        Self {
            chain_id: params.chain_id(),
            number,
            depth: batch.depth,
            root_before: batch.root_before,
            root_after: batch.root_after,
            reference,
            deposits_consumed,
            program_id,
        }
    }

    /// The header of the batch's payload, which names no predecessor yet.
    pub fn of_payload(&self) -> Header {
        Header {
            chain_id: self.chain_id,
            batch: self.number,
            previous_payload_hash: PayloadHash::NONE,
            root_before: self.root_before,
            root_after: self.root_after,
            depth: self.depth,
            reference_height: self.reference.height,
            reference_hash: self.reference.hash,
            deposits_consumed: self.deposits_consumed,
            program_id: self.program_id,
        }
    }
}

/// A batch that is applied: its chunks with their witnesses, and the cells that refute exit requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchFile {
    header: BatchHeader,
    chunks: Vec<ChunkWitness>,
    refutations: Vec<Refutation>,
}

/// Why chunks are not those of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There are neither chunks nor refutations.
    #[error("a batch has at least one chunk or refutation")]
    Empty,
    /// A chunk starts from another root than the one before it ends at, or the last ends at another than the batch.
    #[error("the roots do not join up at chunk {0}")]
    Roots(usize),
    /// A cell that is to refute exit requests is not in the state before the batch.
    #[error("refutation {0} is not of the state before the batch")]
    Refutation(usize),
    /// A chunk is of another rollup, depth or height.
    #[error("chunk {0} is of another rollup, depth or height than the batch")]
    Foreign(usize),
}

impl BatchFile {
    /// Checks that the chunks are those of a batch that refutes no exit request.
    ///
    /// # Errors
    /// Each of [`BatchError`].
    pub fn new(header: BatchHeader, chunks: Vec<ChunkWitness>) -> Result<Self, BatchError> {
        Self::with_refutations(header, chunks, Vec::new())
    }

    /// Checks that the chunks are those of the batch and that the refutations lead to its root before.
    ///
    /// # Errors
    /// Each of [`BatchError`].
    pub fn with_refutations(
        header: BatchHeader,
        chunks: Vec<ChunkWitness>,
        refutations: Vec<Refutation>,
    ) -> Result<Self, BatchError> {
        if chunks.is_empty() && refutations.is_empty() {
            return Err(BatchError::Empty);
        }
        let mut root = header.root_before;
        for (position, statement) in chunks.iter().map(|chunk| &chunk.statement).enumerate() {
            let of_the_batch = statement.chain_id == header.chain_id
                && statement.circuit.depth == header.depth
                && statement.context.height_blocks == header.reference.height;
            if !of_the_batch {
                return Err(BatchError::Foreign(position));
            }
            if statement.root_before != root {
                return Err(BatchError::Roots(position));
            }
            root = statement.root_after;
        }
        if root != header.root_after {
            return Err(BatchError::Roots(chunks.len()));
        }
        let is_true = |refutation: &Refutation| refutation.root() == Some(header.root_before);
        if let Some(position) = refutations.iter().position(|refutation| !is_true(refutation)) {
            return Err(BatchError::Refutation(position));
        }
        Ok(Self { header, chunks, refutations })
    }

    /// What the batch says of itself.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The chunks, in order.
    pub fn chunks(&self) -> &[ChunkWitness] {
        &self.chunks
    }

    /// The cells that refute exit requests.
    pub fn refutations(&self) -> &[Refutation] {
        &self.refutations
    }

    /// The length of the batch's payload, known before anything is proven.
    ///
    /// # Errors
    /// [`PayloadError`], if the batch fits no payload.
    pub fn payload_length(&self) -> Result<usize, PayloadError> {
        payload_length(&self.chunks, &self.refutations)
    }

    /// Joins the batch with the proofs of its chunks, in order, and with the table of its program.
    ///
    /// # Errors
    /// [`PayloadError`], if the batch is too large for one payload among others, or of circuits of another program.
    ///
    /// # Panics
    /// If the proofs are not those of the chunks, which is a mistake of the caller.
    pub fn with_proofs(&self, proven: &[Proven], table: &Arc<CircuitTable>) -> Result<ProvenBatch, PayloadError> {
        let statements = self.chunks.iter().map(|chunk| &chunk.statement);
        assert!(statements.eq(proven.iter().map(Proven::statement)), "one proof for each chunk, in order");
        let posted = self.chunks.iter().zip(proven).map(|(chunk, proven)| chunk.posted(proven.proof().clone()));
        let chunks = posted.collect();
        let header = self.header.of_payload();
        ProvenBatch::new(Payload::with_refutations(table.clone(), header, chunks, self.refutations.clone())?)
    }
}

/// The length of the payload that chunks and refutations make, whatever their proofs.
pub(crate) fn payload_length(chunks: &[ChunkWitness], refutations: &[Refutation]) -> Result<usize, PayloadError> {
    let posted = |chunk: &ChunkWitness| (chunk.statement.circuit.slots, chunk.records());
    encoded_length(&chunks.iter().map(posted).collect::<Vec<_>>(), refutations)
}

impl Serialize for BatchFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.header, &self.chunks, &self.refutations).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BatchFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (header, chunks, refutations) = Deserialize::deserialize(deserializer)?;
        Self::with_refutations(header, chunks, refutations).map_err(D::Error::custom)
    }
}

impl Artefact for BatchFile {
    const KIND: ArtefactKind = ArtefactKind::Batch;
    const VERSION: u8 = 4;
    const LENGTH_MAX: u64 = 1 << 31;
    /// It holds witnesses, which a proof is there to hide.
    const ACCESS: Access = Access::Private;
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{BlockHash, hashes::Hash};
    use std::num::NonZeroU16;
    use taproof_base::artefact::{ArtefactError, decode, encode};
    use taproof_circuits::{
        schnorr::SecretKey,
        state::{Plan, Slots, State},
        transaction::Deposit,
    };

    /// A batch of three deposits in two chunks.
    fn parts() -> (BatchHeader, Vec<ChunkWitness>) {
        let mut state = State::new(ChainId::from_byte_array([7; 15]), Depth::new(2).unwrap());
        let slots = Slots::uniform(NonZeroU16::new(2).unwrap());
        let plan = Plan {
            height_blocks: 9,
            slots,
            operators: Default::default(),
            chunks_max: 8,
            admission: Default::default(),
        };
        let deposit = |seed| Deposit { amount_sat: 5, owner: *SecretKey::from_seed(&[seed; 32]).public() };
        let batch = state.apply(&plan, &[1, 2, 3].map(deposit), &[]).unwrap();
        let header = BatchHeader {
            chain_id: ChainId::from_byte_array([7; 15]),
            number: 0,
            depth: batch.depth,
            root_before: batch.root_before,
            root_after: batch.root_after,
            reference: BlockId { height: 9, hash: BlockHash::all_zeros() },
            deposits_consumed: 3,
            program_id: ProgramId::from_byte_array([1; 32]),
        };
        (header, batch.chunks)
    }

    #[test]
    fn batches_round_trip_and_truncated_or_altered_ones_are_refused() {
        let (header, chunks) = parts();
        let file = BatchFile::new(header, chunks).unwrap();
        let bytes = encode(&file).unwrap();
        assert_eq!(decode::<BatchFile>(&bytes), Ok(file));
        for length in (0..bytes.len()).step_by(97) {
            assert!(decode::<BatchFile>(&bytes[..length]).is_err());
        }
        for position in (0..bytes.len()).step_by(97) {
            let mut altered = bytes.clone();
            altered[position] ^= 0x10;
            assert!(decode::<BatchFile>(&altered).is_err());
        }
        assert!(matches!(decode::<ProvenBatch>(&bytes), Err(ArtefactError::Kind { .. })));
    }

    #[test]
    fn chunks_of_another_batch_are_refused() {
        let (header, chunks) = parts();
        assert_eq!(chunks.len(), 2);
        assert_eq!(BatchFile::new(header, Vec::new()), Err(BatchError::Empty));
        let swapped = chunks.iter().rev().cloned().collect();
        assert_eq!(BatchFile::new(header, swapped), Err(BatchError::Roots(0)));
        assert_eq!(BatchFile::new(header, chunks[..1].to_vec()), Err(BatchError::Roots(1)));
        let other_chain = BatchHeader { chain_id: ChainId::from_byte_array([8; 15]), ..header };
        assert_eq!(BatchFile::new(other_chain, chunks.clone()), Err(BatchError::Foreign(0)));
        let reference = BlockId { height: 10, ..header.reference };
        assert_eq!(BatchFile::new(BatchHeader { reference, ..header }, chunks.clone()), Err(BatchError::Foreign(0)));
        let mut state = State::new(ChainId::from_byte_array([7; 15]), Depth::new(2).unwrap());
        let refutation = |state: &State| {
            let index = taproof_verifier::cell::CellIndex::new(5).unwrap();
            Refutation { index, cell: state.tree().get(index).elements(), path: state.tree().path(index).unwrap() }
        };
        let before = refutation(&state);
        let with = |refutations| BatchFile::with_refutations(header, chunks.clone(), refutations);
        let file = with(vec![before.clone()]).unwrap();
        assert_eq!(decode::<BatchFile>(&encode(&file).unwrap()), Ok(file));
        state.grow().unwrap();
        assert_eq!(with(vec![before, refutation(&state)]), Err(BatchError::Refutation(1)));
        let deeper = BatchHeader { depth: Depth::MAX, ..header };
        assert_eq!(BatchFile::new(deeper, chunks), Err(BatchError::Foreign(0)));
    }
}
