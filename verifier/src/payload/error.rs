//! Why parts or bytes are no payload.

use super::{PAYLOAD_LENGTH_MAX, REFUTATIONS_MAX, SLOTS_MAX, VERSION};
use crate::{cell::Depth, codec::CodecError, exit::RefutationError, field, groth16::PointError, statement::CircuitId};

/// Why parts or bytes are no [`Payload`](super::Payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload exceeds what a reveal carries.
    #[error("{0} bytes, more than the {PAYLOAD_LENGTH_MAX} of the longest payload")]
    TooLong(usize),
    /// The bytes end early or go on.
    #[error("the length is not the announced one")]
    Length,
    /// The payload is of a version that this verifier does not know.
    #[error("a payload of version {0}, where {VERSION} is known")]
    Version(u8),
    /// A root is not below the order of the field.
    #[error(transparent)]
    Root(#[from] field::NotCanonicalError),
    /// The depth is outside 1 to 10.
    #[error("a tree of {0} levels, where it has 1 to 10")]
    Depth(u8),
    /// The program has no circuit for trees of that depth.
    #[error("the program has no circuit for a tree of {} levels", .0.levels())]
    NoCircuits(Depth),
    /// A payload that does nothing.
    #[error("neither chunks nor refutations")]
    Empty,
    /// A payload with more than 65,535 chunks.
    #[error("{0} chunks, more than the 65535 of a payload")]
    ChunkCount(usize),
    /// The chunks have too many slots together.
    #[error("{0} slots, more than {SLOTS_MAX} in one payload")]
    TooManySlots(usize),
    /// The last chunk's root, or the root before where there is no chunk, is not the one of the header.
    #[error("the header's root after is not the root that the chunks lead to")]
    RootAfter,
    /// The program has no circuit in a place.
    #[error("chunk {chunk}: the program has no circuit in place {place}")]
    Place {
        /// The position of the chunk.
        chunk: usize,
        /// The place found.
        place: u16,
    },
    /// The program has no such circuit.
    #[error("chunk {chunk}: circuit {circuit} is not part of the program")]
    UnknownCircuit {
        /// The position of the chunk.
        chunk: usize,
        /// The circuit.
        circuit: CircuitId,
    },
    /// A circuit is for trees of another depth.
    #[error("chunk {chunk}: circuit {circuit} is for a tree of another depth")]
    CircuitDepth {
        /// The position of the chunk.
        chunk: usize,
        /// The circuit.
        circuit: CircuitId,
    },
    /// A chunk has records of another kind, or of other operations, than its circuit.
    #[error("chunk {chunk}: the records are not those of its circuit")]
    OtherRecords {
        /// The position of the chunk.
        chunk: usize,
    },
    /// Registers are not zero where no step goes on with them.
    #[error("chunk {chunk} leaves registers, and no steps follow")]
    Registers {
        /// The position of the chunk.
        chunk: usize,
    },
    /// A chunk has more records than slots.
    #[error("chunk {chunk}: {records} records for {slots} slots")]
    RecordCount {
        /// The position of the chunk.
        chunk: usize,
        /// Its records.
        records: usize,
        /// Its slots.
        slots: u16,
    },
    /// A cell lies outside the tree.
    #[error("chunk {chunk}: cell {index} lies outside the tree")]
    IndexOutsideTree {
        /// The position of the chunk.
        chunk: usize,
        /// The index found.
        index: u32,
    },
    /// A chunk of deposits names another token than bitcoin or an operator.
    #[error("chunk {chunk}: deposits with a token or an operator")]
    DepositContext {
        /// The position of the chunk.
        chunk: usize,
    },
    /// A chunk of steps names another token than bitcoin, in which their fees are.
    #[error("chunk {chunk}: steps whose fees are in another token than bitcoin")]
    StepToken {
        /// The position of the chunk.
        chunk: usize,
    },
    /// A proof does not decode.
    #[error("chunk {chunk}: a point of the proof: {source}")]
    Proof {
        /// The position of the chunk.
        chunk: usize,
        /// Why.
        source: PointError,
    },
    /// The records do not decode.
    #[error(transparent)]
    Records(#[from] CodecError),
    /// The payload shows too many cells.
    #[error("{0} refutations, more than {REFUTATIONS_MAX}")]
    TooManyRefutations(usize),
    /// A refutation does not decode.
    #[error("refutation {position}: {source}")]
    Refutation {
        /// Its position.
        position: usize,
        /// Why.
        source: RefutationError,
    },
    /// A refutation's cell does not come after the one before.
    #[error("refutation {0}: its cell does not come after the one before")]
    RefutationOrder(usize),
    /// A refutation's cell or path does not lead to the root before the batch.
    #[error("refutation {0} does not lead to the root before the batch")]
    RefutationRoot(usize),
}
