//! What an anchor carries: the header, the chunks with their proofs, and, compressed together, the public records and
//! the cells that refute exit requests.
//!
//! A payload names the circuits of its chunks by their places in a program, so it is decoded by the table of that. It
//! then shows which statements are to be checked and holds all that a reader needs to replay the batch.
//! Whether it follows the tip, consumes the right deposits and proves what it states is for [`crate::program`] and
//! for whoever follows the chain.

use crate::{
    cell::{CellIndex, ChainId, Depth, Token},
    codec::{self, Layout},
    exit::Refutation,
    field,
    groth16::Proof,
    operation::OperationsHash,
    parallel,
    program::{CircuitTable, ProgramId},
    record::{Kind, Records},
    statement::{CircuitId, Context, Registers, Statement},
};
use alloc::{sync::Arc, vec::Vec};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use bitcoin::{
    BlockHash,
    hashes::{Hash, sha256},
};

mod error;
mod refutations;

pub use error::PayloadError;

/// The most bytes that a payload can have: what one reveal transaction carries.
pub const PAYLOAD_LENGTH_MAX: usize = 390_000;
/// The most slots that the chunks of one payload can have together; it bounds the work of hashing them.
pub const SLOTS_MAX: usize = 1 << 17;
/// Bytes of an encoded header, with the counts that follow it.
pub const HEADER_LENGTH: usize = 1 + ChainId::LENGTH + 8 + 32 + 32 + 32 + 1 + 4 + 32 + 8 + 32 + COUNTS_LENGTH;
/// Bytes of the header of a chunk of payments.
pub const CHUNK_HEADER_LENGTH: usize = 2 + 2 + 4 + 4 + 32;
/// Bytes that the header of a chunk of steps has beyond those: the registers after it.
pub const REGISTERS_LENGTH: usize = 32;

/// Bytes of a chunk of payments without its records: its header and its proof.
pub const CHUNK_LENGTH: usize = CHUNK_HEADER_LENGTH + Proof::LENGTH;

/// The most cells that a payload can show to refute exit requests; it bounds the work of hashing their paths. What a
/// batch must do takes few of them, and of those that share no path fewer fit.
pub const REFUTATIONS_MAX: usize = 1 << 12;

const VERSION: u8 = 3;
const COUNTS_LENGTH: usize = 2 + 2 + 4 + 4;

/// The SHA-256 of an encoded payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PayloadHash(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]);

impl PayloadHash {
    /// What the first batch names as the hash of the payload before it.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes an encoded payload.
    pub fn of(payload: &[u8]) -> Self {
        Self(sha256::Hash::hash(payload).to_byte_array())
    }

    /// Takes the hash's bytes.
    pub fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
    pub fn to_byte_array(self) -> [u8; 32] {
        self.0
    }
}

impl core::fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a payload says about its batch as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The rollup.
    pub chain_id: ChainId,
    /// The number of the batch; the first is 0.
    pub batch: u64,
    /// The hash of the payload before, [`PayloadHash::NONE`] for the first.
    pub previous_payload_hash: PayloadHash,
    /// The root before the batch, in a tree of `depth`.
    pub root_before: Fr,
    /// The root after the last chunk; the root before where there is none.
    pub root_after: Fr,
    /// The depth of the tree throughout the batch.
    pub depth: Depth,
    /// The height of the Bitcoin block that the batch refers to.
    pub reference_height: u32,
    /// The hash of that block.
    pub reference_hash: BlockHash,
    /// How many deposits the rollup has credited up to and including this batch.
    pub deposits_consumed: u64,
    /// The program that the proofs are for.
    pub program_id: ProgramId,
}

/// One chunk of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The circuit.
    pub circuit: CircuitId,
    /// The token that every slot moves; bitcoin in a chunk of deposits.
    pub token: Token,
    /// The cell that receives the fees; 0 in a chunk of deposits.
    pub operator: CellIndex,
    /// The root after the chunk.
    pub root_after: Fr,
    /// The digest of the registers after the chunk; 0 for payments.
    pub registers_after: Fr,
    /// What the chunk's used slots post; the rest of the slots are padding.
    pub records: Records,
    /// The proof of the chunk's statement.
    pub proof: Proof,
}

/// A well-formed payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    table: Arc<CircuitTable>,
    header: Header,
    chunks: Vec<Chunk>,
    refutations: Vec<Refutation>,
}

impl Payload {
    /// Puts a payload together that refutes no exit request, of circuits of the table.
    ///
    /// # Errors
    /// [`PayloadError`] for chunks that contradict the table, the header or the limits.
    pub fn new(table: Arc<CircuitTable>, header: Header, chunks: Vec<Chunk>) -> Result<Self, PayloadError> {
        Self::with_refutations(table, header, chunks, Vec::new())
    }

    /// Puts a payload together that shows cells, in ascending order, to refute exit requests.
    ///
    /// # Errors
    /// [`PayloadError`] for chunks or refutations that contradict the table, the header or the limits.
    pub fn with_refutations(
        table: Arc<CircuitTable>,
        header: Header,
        chunks: Vec<Chunk>,
        refutations: Vec<Refutation>,
    ) -> Result<Self, PayloadError> {
        check_counts(chunks.len(), refutations.len())?;
        // A tree of a depth that there are no circuits for would be one for ever in which nobody can do anything.
        if !table.circuits().iter().any(|circuit| circuit.depth == header.depth) {
            return Err(PayloadError::NoCircuits(header.depth));
        }
        check_slots(chunks.iter().map(|chunk| chunk.circuit.slots))?;
        for (position, chunk) in chunks.iter().enumerate() {
            check_records(chunk, position)?;
            ChunkHeader::of(&table, chunk, position)?.check(header.depth, position)?;
        }
        check_registers(&chunks)?;
        check_cells(&header, &chunks)?;
        if chunks.last().map_or(header.root_before, |chunk| chunk.root_after) != header.root_after {
            return Err(PayloadError::RootAfter);
        }
        refutations::check(&header, &refutations)?;
        Ok(Self { table, header, chunks, refutations })
    }

    /// The circuits that the payload's chunks can be of.
    pub fn table(&self) -> &Arc<CircuitTable> {
        &self.table
    }

    /// What the payload says about the batch as a whole.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The chunks, in the order in which their roots join up; there is one at least where no cell is shown.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The cells shown to refute exit requests, in ascending order; each is in the state before the batch.
    pub fn refutations(&self) -> &[Refutation] {
        &self.refutations
    }

    /// Gives back the memory that only checking the proofs needs, some 11 kilobytes a proof; see
    /// [`Proof::release_lines`].
    pub fn release_lines(&mut self) {
        self.chunks.iter_mut().for_each(|chunk| chunk.proof.release_lines());
    }

    /// Gives back the memory of the cells that are shown, some 2,500 bytes each, once they have said what they had to.
    pub(crate) fn release_refutations(&mut self) {
        self.refutations = Vec::new();
    }

    /// What the proofs must prove, chunk by chunk: the first from the header's root before and registers of zeros, each
    /// next one from root and registers after the one before.
    ///
    /// Hashing the records takes time in proportion to the slots, so check first that the program has the circuits.
    pub fn statements(&self) -> Vec<Statement> {
        let digest = |chunk: &Chunk| chunk.records.digest(chunk.circuit.slots);
        let digests = parallel::map(&self.chunks, 1, digest);
        let (mut root_before, mut registers_before) = (self.header.root_before, Fr::ZERO);
        let statement = |(chunk, digest): (&Chunk, Option<Fr>)| {
            let statement = Statement {
                chain_id: self.header.chain_id,
                circuit: chunk.circuit,
                root_before,
                root_after: chunk.root_after,
                data_digest: digest.expect("a payload has no more records than slots"),
                context: Context {
                    height_blocks: self.header.reference_height,
                    token: chunk.token,
                    operator: chunk.operator,
                },
                registers: Registers { before: registers_before, after: chunk.registers_after },
            };
            (root_before, registers_before) = (chunk.root_after, chunk.registers_after);
            statement
        };
        self.chunks.iter().zip(digests).map(statement).collect()
    }

    /// Encodes the payload; `docs/protocol.md` gives every byte.
    ///
    /// Compression leaves a choice, so another encoder may write other bytes that decode to the same payload: a
    /// payload is named by the hash of the bytes that were posted.
    ///
    /// # Errors
    /// [`PayloadError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        let records: Vec<_> = self.chunks.iter().map(|chunk| &chunk.records).collect();
        let columns = columns(&records, &self.refutations);
        let compressed = codec::deflate(&columns);
        let length = check_length(records.iter().map(|records| records.kind()), &compressed)?;
        let mut bytes = Vec::with_capacity(length);
        self.header.write(&mut bytes);
        bytes.extend((self.chunks.len() as u16).to_le_bytes());
        bytes.extend((self.refutations.len() as u16).to_le_bytes());
        bytes.extend((columns.len() as u32).to_le_bytes());
        bytes.extend((compressed.len() as u32).to_le_bytes());
        for (position, chunk) in self.chunks.iter().enumerate() {
            ChunkHeader::of(&self.table, chunk, position)?.write(&mut bytes);
        }
        self.chunks.iter().for_each(|chunk| bytes.extend(chunk.proof.to_bytes()));
        bytes.extend(compressed);
        Ok(bytes)
    }

    /// Decodes a payload by the table of the program that its header names. Every length is checked before anything is
    /// allocated for it.
    ///
    /// # Errors
    /// Each of [`PayloadError`].
    pub fn decode(bytes: &[u8], table: &Arc<CircuitTable>) -> Result<Self, PayloadError> {
        if bytes.len() > PAYLOAD_LENGTH_MAX {
            return Err(PayloadError::TooLong(bytes.len()));
        }
        let mut reader = Reader(bytes);
        let header = Header::read(&mut reader)?;
        let chunk_count = usize::from(u16::from_le_bytes(reader.array()?));
        let refutation_count = usize::from(u16::from_le_bytes(reader.array()?));
        let columns_length = u32::from_le_bytes(reader.array()?) as usize;
        let compressed_length = u32::from_le_bytes(reader.array()?) as usize;
        check_counts(chunk_count, refutation_count)?;
        // Headers of steps are longer, so this many bytes are needed and others may be.
        let room = reader.0.len().checked_sub(compressed_length);
        if room.is_none_or(|room| room < chunk_count * CHUNK_LENGTH) {
            return Err(PayloadError::Length);
        }
        let chunk_headers = (0..chunk_count)
            .map(|position| ChunkHeader::read(&mut reader, table, header.depth, position))
            .collect::<Result<Vec<_>, PayloadError>>()?;
        if reader.0.len().checked_sub(chunk_count * Proof::LENGTH) != Some(compressed_length) {
            return Err(PayloadError::Length);
        }
        check_slots(chunk_headers.iter().map(|chunk| chunk.circuit.slots))?;
        let layouts = chunk_headers.iter().map(|chunk| chunk.layout(table)).collect::<Vec<_>>();
        let refutations_length = refutation_count * Refutation::length(header.depth);
        let records_length = columns_length.checked_sub(refutations_length).ok_or(PayloadError::Length)?;
        codec::check_length(&layouts, records_length)?;
        let encoded = (0..chunk_count).map(|_| reader.array()).collect::<Result<Vec<_>, _>>()?;
        let mut proofs = Vec::with_capacity(chunk_count);
        for (chunk, proof) in Proof::from_bytes_all(&encoded).into_iter().enumerate() {
            proofs.push(proof.map_err(|source| PayloadError::Proof { chunk, source })?);
        }
        let columns = codec::inflate(reader.0, columns_length)?;
        let (columns, shown) = columns.split_at(records_length);
        let records = codec::from_columns(&layouts, columns)?;
        let refutations = refutations::read(shown, header.depth)?;
        let chunk = |((header, records), proof): ((ChunkHeader, Records), Proof)| Chunk {
            circuit: header.circuit,
            token: header.token,
            operator: header.operator,
            root_after: header.root_after,
            registers_after: header.registers_after,
            records,
            proof,
        };
        let chunks = chunk_headers.into_iter().zip(records).zip(proofs).map(chunk).collect();
        Self::with_refutations(table.clone(), header, chunks, refutations)
    }
}

/// The length that [`Payload::encode`] gives chunks of so many slots and these records, with cells shown to refute
/// exit requests: it depends on neither header nor proofs, so it is known before anything is proven.
///
/// # Errors
/// [`PayloadError`] for what exceeds the limits of a payload, as [`Payload::with_refutations`] and [`Payload::encode`].
pub fn encoded_length(chunks: &[(u16, Records)], refutations: &[Refutation]) -> Result<usize, PayloadError> {
    check_counts(chunks.len(), refutations.len())?;
    check_slots(chunks.iter().map(|(slots, _)| *slots))?;
    if let Some(chunk) = chunks.iter().position(|(slots, records)| records.len() > usize::from(*slots)) {
        let (slots, records) = (chunks[chunk].0, chunks[chunk].1.len());
        return Err(PayloadError::RecordCount { chunk, records, slots });
    }
    let records: Vec<_> = chunks.iter().map(|(_, records)| records).collect();
    let compressed = codec::deflate(&columns(&records, refutations));
    check_length(records.iter().map(|records| records.kind()), &compressed)
}

/// What is compressed: the records in columns, then the refutations.
fn columns(records: &[&Records], refutations: &[Refutation]) -> Vec<u8> {
    let mut columns = codec::columns(records);
    refutations.iter().for_each(|refutation| refutation.write(&mut columns));
    columns
}

/// The length of a payload of chunks of these kinds, unless it is too long.
fn check_length(kinds: impl Iterator<Item = Kind>, compressed: &[u8]) -> Result<usize, PayloadError> {
    let of_chunk = |kind| if kind == Kind::Step { CHUNK_LENGTH + REGISTERS_LENGTH } else { CHUNK_LENGTH };
    let length = HEADER_LENGTH + kinds.map(of_chunk).sum::<usize>() + compressed.len();
    if length > PAYLOAD_LENGTH_MAX { Err(PayloadError::TooLong(length)) } else { Ok(length) }
}

impl Header {
    /// Reads the header of an encoded payload and nothing else of it: enough to see whether it can follow the tip.
    ///
    /// # Errors
    /// [`PayloadError`] for a header that [`Payload::decode`] refuses.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        Self::read(&mut Reader(payload))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.chain_id.to_byte_array());
        out.extend(self.batch.to_le_bytes());
        out.extend(self.previous_payload_hash.0);
        out.extend(field::to_bytes(&self.root_before));
        out.extend(field::to_bytes(&self.root_after));
        out.push(self.depth.levels());
        out.extend(self.reference_height.to_le_bytes());
        out.extend(self.reference_hash.to_byte_array());
        out.extend(self.deposits_consumed.to_le_bytes());
        out.extend(self.program_id.to_byte_array());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PayloadError> {
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(PayloadError::Version(version));
        }
        Ok(Self {
            chain_id: ChainId::from_byte_array(reader.array()?),
            batch: u64::from_le_bytes(reader.array()?),
            previous_payload_hash: PayloadHash(reader.array()?),
            root_before: field::from_bytes(&reader.array()?)?,
            root_after: field::from_bytes(&reader.array()?)?,
            depth: {
                let [levels] = reader.array()?;
                Depth::new(levels).ok_or(PayloadError::Depth(levels))?
            },
            reference_height: u32::from_le_bytes(reader.array()?),
            reference_hash: BlockHash::from_byte_array(reader.array()?),
            deposits_consumed: u64::from_le_bytes(reader.array()?),
            program_id: ProgramId::from_byte_array(reader.array()?),
        })
    }
}

/// A chunk without its records and proof.
struct ChunkHeader {
    place: u16,
    circuit: CircuitId,
    record_count: u16,
    token: Token,
    operator: CellIndex,
    root_after: Fr,
    registers_after: Fr,
}

impl ChunkHeader {
    fn of(table: &CircuitTable, chunk: &Chunk, position: usize) -> Result<Self, PayloadError> {
        let circuit = chunk.circuit;
        let place = table.place(circuit).ok_or(PayloadError::UnknownCircuit { chunk: position, circuit })?;
        let records = chunk.records.len();
        let record_count = u16::try_from(records).map_err(|_| PayloadError::RecordCount {
            chunk: position,
            records,
            slots: circuit.slots,
        })?;
        Ok(Self {
            place,
            circuit,
            record_count,
            token: chunk.token,
            operator: chunk.operator,
            root_after: chunk.root_after,
            registers_after: chunk.registers_after,
        })
    }

    fn check(&self, depth: Depth, chunk: usize) -> Result<(), PayloadError> {
        let CircuitId { kind, slots, .. } = self.circuit;
        if self.circuit.depth != depth {
            return Err(PayloadError::CircuitDepth { chunk, circuit: self.circuit });
        }
        if self.record_count > slots {
            return Err(PayloadError::RecordCount { chunk, records: self.record_count.into(), slots });
        }
        if !kind.pays_fee() && (self.token != Token::BITCOIN || self.operator != CellIndex::default()) {
            return Err(PayloadError::DepositContext { chunk });
        }
        if kind == Kind::Step && self.token != Token::BITCOIN {
            return Err(PayloadError::StepToken { chunk });
        }
        Ok(())
    }

    /// How the chunk's records are read.
    fn layout(&self, table: &CircuitTable) -> Layout {
        Layout::payments(self.circuit.kind, self.record_count).unwrap_or_else(|| {
            let operations = table.operations(self.circuit.operations).expect("each circuit of steps has its set");
            Layout::Step(self.record_count, operations.clone())
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.place.to_le_bytes());
        out.extend(self.record_count.to_le_bytes());
        out.extend(self.token.0.to_le_bytes());
        out.extend(self.operator.get().to_le_bytes());
        out.extend(field::to_bytes(&self.root_after));
        if self.circuit.kind == Kind::Step {
            out.extend(field::to_bytes(&self.registers_after));
        }
    }

    fn read(reader: &mut Reader<'_>, table: &CircuitTable, depth: Depth, chunk: usize) -> Result<Self, PayloadError> {
        let place = u16::from_le_bytes(reader.array()?);
        let circuit = table.circuit(place).ok_or(PayloadError::Place { chunk, place })?;
        let record_count = u16::from_le_bytes(reader.array()?);
        let token = Token(u32::from_le_bytes(reader.array()?));
        let index = u32::from_le_bytes(reader.array()?);
        let operator = CellIndex::new(index).ok_or(PayloadError::IndexOutsideTree { chunk, index })?;
        let root_after = field::from_bytes(&reader.array()?)?;
        let registers_after = match circuit.kind {
            Kind::Step => field::from_bytes(&reader.array()?)?,
            _ => Fr::ZERO,
        };
        let header = Self { place, circuit, record_count, token, operator, root_after, registers_after };
        header.check(depth, chunk)?;
        Ok(header)
    }
}

/// Checks that there is something that the batch does, and not too much of it.
fn check_counts(chunks: usize, refutations: usize) -> Result<(), PayloadError> {
    if chunks == 0 && refutations == 0 {
        return Err(PayloadError::Empty);
    }
    if chunks > usize::from(u16::MAX) {
        return Err(PayloadError::ChunkCount(chunks));
    }
    if refutations > REFUTATIONS_MAX {
        return Err(PayloadError::TooManyRefutations(refutations));
    }
    Ok(())
}

/// Checks that records are of their chunk's circuit.
fn check_records(chunk: &Chunk, position: usize) -> Result<(), PayloadError> {
    let operations = match &chunk.records {
        Records::Step(steps) => steps.operations().hash(),
        _ => OperationsHash::NONE,
    };
    let CircuitId { kind, operations: expected, .. } = chunk.circuit;
    let fit = (kind, expected) == (chunk.records.kind(), operations);
    if fit { Ok(()) } else { Err(PayloadError::OtherRecords { chunk: position }) }
}

/// Checks that registers are zero after the last chunk, and before and after each chunk of payments.
fn check_registers(chunks: &[Chunk]) -> Result<(), PayloadError> {
    for (position, chunk) in chunks.iter().enumerate() {
        let carries = chunk.circuit.kind == Kind::Step
            && chunks.get(position + 1).is_some_and(|next| next.circuit.kind == Kind::Step);
        if !carries && chunk.registers_after != Fr::ZERO {
            return Err(PayloadError::Registers { chunk: position });
        }
    }
    Ok(())
}

fn check_slots(slots: impl Iterator<Item = u16>) -> Result<(), PayloadError> {
    let sum = slots.map(usize::from).sum();
    if sum > SLOTS_MAX { Err(PayloadError::TooManySlots(sum)) } else { Ok(()) }
}

/// Checks that every cell that a chunk names lies in the tree.
fn check_cells(header: &Header, chunks: &[Chunk]) -> Result<(), PayloadError> {
    for (position, chunk) in chunks.iter().enumerate() {
        let outside = |index: &CellIndex| !header.depth.contains(*index);
        let found = core::iter::once(chunk.operator).chain(chunk.records.cells()).find(outside);
        if let Some(index) = found {
            return Err(PayloadError::IndexOutsideTree { chunk: position, index: index.get() });
        }
    }
    Ok(())
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(PayloadError::Length)?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests;
