//! The program of a rollup: the set of circuits whose proofs it accepts, each with its verifying key, and what a
//! verifier must know of the operations of steps.
//!
//! It has a circuit of every kind of payment at each depth that it has any for. For a tree never shrinks: in one
//! without withdrawals, say, no request to exit could be served, nor refuted, for ever. The same holds of the operation
//! that opens locks, if there is one: a program has it at each depth.

use crate::{
    cell::Depth,
    groth16::{self, BatchItem, KeyError, PreparedVerifyingKey, Proof, RejectedError, Verified, VerifyingKey},
    operation::{OperationSet, OperationSetError, OperationsHash},
    record::Kind,
    statement::{CircuitId, Statement},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use bitcoin::hashes::{Hash, HashEngine, sha256};

mod table;

pub use table::CircuitTable;

/// The most circuits that a program can have.
pub const CIRCUITS_MAX: usize = 1_024;
/// The most sets of operations that a program can have.
pub const OPERATION_SETS_MAX: usize = 16;

/// What the hash of a program's encoding begins with, so that no other hash can be taken for a program's id.
const ID_TAG: &[u8] = b"taproof/program/v3";
/// The version of the encoding.
const VERSION: u8 = 3;

/// The SHA-256 of a program's encoding behind a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProgramId(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]);

impl ProgramId {
    /// Takes the id's bytes.
    pub fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub fn to_byte_array(self) -> [u8; 32] {
        self.0
    }
}

impl core::fmt::Display for ProgramId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why circuits and keys are no [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The encoding is of a version that this verifier does not know.
    #[error("a program of version {0}, where {VERSION} is known")]
    Version(u8),
    /// The encoding is that of protocol 2, which had no version.
    #[error("a program of protocol 2, where this verifier follows protocol {VERSION}")]
    Protocol2,
    /// A program has 1 to 1,024 circuits.
    #[error("{0} circuits, where a program has 1 to {CIRCUITS_MAX}")]
    CircuitCount(usize),
    /// A program has up to 16 sets of operations.
    #[error("{0} sets of operations, more than the {OPERATION_SETS_MAX} of a program")]
    OperationSetCount(usize),
    /// The bytes end early or go on.
    #[error("the bytes end early or go on: they are not as many as a program has with so many circuits")]
    Length,
    /// A set of operations is invalid.
    #[error("operation set {position}: {source}")]
    OperationSet {
        /// Its position.
        position: usize,
        /// Why.
        source: OperationSetError,
    },
    /// A set of operations occurs twice, or the encoding does not list the sets in the order of their hashes.
    #[error("operation set {0} does not come after the one before")]
    OperationSetOrder(usize),
    /// No circuit is of a set of operations.
    #[error("operation set {0} is no circuit's")]
    OperationSetUnused(OperationsHash),
    /// A circuit of steps is of no set of operations of the program, or one of payments is of any.
    #[error("circuit {0} is of no set of operations that it can be of")]
    Operations(CircuitId),
    /// A circuit occurs twice.
    #[error("circuit {0} occurs twice")]
    Duplicate(CircuitId),
    /// The encoding does not list the circuits in ascending order.
    #[error("circuit {0} is out of order")]
    Order(CircuitId),
    /// No kind of transition has this number.
    #[error("no kind of transition has number {0}")]
    Kind(u8),
    /// A depth is outside 1 to 10.
    #[error("a tree of {0} levels, where it has 1 to 10")]
    Depth(u8),
    /// A circuit has more slots than a payload can name records of.
    #[error("a circuit of {0} slots, more than 65535")]
    Slots(u32),
    /// A tree of that depth would be one for ever in which nobody can do this.
    #[error("no {kind} circuit for a tree of {} levels, where there are others", depth.levels())]
    KindMissing {
        /// The kind that is missing.
        kind: Kind,
        /// The depth.
        depth: Depth,
    },
    /// In a tree of that depth nobody could open locks, as can be asked for on Bitcoin.
    #[error("no circuit of steps opens locks in a tree of {} levels, where others do in another", depth.levels())]
    ClaimMissing {
        /// The depth.
        depth: Depth,
    },
    /// A circuit without slots proves nothing.
    #[error("circuit {0} has no slots")]
    NoSlots(CircuitId),
    /// A verifying key is invalid.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Why a statement does not follow from a proof under a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The program has no such circuit.
    #[error("circuit {0} is not part of the program")]
    UnknownCircuit(CircuitId),
    /// The proof is wrong.
    #[error(transparent)]
    Rejected(#[from] RejectedError),
}

/// A set of circuits and their verifying keys, sorted by circuit.
#[derive(Clone, Debug)]
pub struct Program {
    table: Arc<CircuitTable>,
    /// The keys, in the order of the circuits.
    keys: Vec<PreparedVerifyingKey>,
    id: ProgramId,
}

impl Program {
    /// Makes a program of circuits of payments and their keys, in any order.
    ///
    /// # Errors
    /// [`ProgramError`] for circuits that are none of a program.
    pub fn new(circuits: impl IntoIterator<Item = (CircuitId, VerifyingKey)>) -> Result<Self, ProgramError> {
        Self::with_operations(Vec::new(), circuits)
    }

    /// Makes a program of circuits and their keys and of the sets of operations of circuits of steps, all in any
    /// order.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn with_operations(
        sets: Vec<OperationSet>,
        circuits: impl IntoIterator<Item = (CircuitId, VerifyingKey)>,
    ) -> Result<Self, ProgramError> {
        // One more than there can be is enough to tell.
        let mut circuits: Vec<_> = circuits.into_iter().take(CIRCUITS_MAX + 1).collect();
        circuits.sort_by_key(|(circuit, _)| *circuit);
        let (ids, keys): (Vec<_>, Vec<_>) = circuits.into_iter().unzip();
        let table = Arc::new(CircuitTable::new(sets, ids)?);
        let mut engine = sha256::Hash::engine();
        engine.input(ID_TAG);
        engine.input(&table.encode(|place, out| out.extend(keys[place].to_bytes())));
        let id = ProgramId(sha256::Hash::from_engine(engine).to_byte_array());
        let keys = keys.iter().map(VerifyingKey::prepare).collect();
        Ok(Self { table, keys, id })
    }

    /// What anchors name the program by.
    pub fn id(&self) -> ProgramId {
        self.id
    }

    /// The circuits by their places, without their keys, and the sets of operations.
    pub fn table(&self) -> &Arc<CircuitTable> {
        &self.table
    }

    /// The key of a circuit, if the circuit is part of the program.
    pub fn key(&self, circuit: CircuitId) -> Option<&PreparedVerifyingKey> {
        self.table.place(circuit).map(|place| &self.keys[usize::from(place)])
    }

    /// The circuits and their keys, in ascending order: each in its place.
    pub fn circuits(&self) -> impl ExactSizeIterator<Item = (CircuitId, &PreparedVerifyingKey)> {
        self.table.circuits().iter().copied().zip(&self.keys)
    }

    /// The depth of the deepest trees that there are circuits for.
    pub fn depth_max(&self) -> Depth {
        self.table.circuits().iter().map(|circuit| circuit.depth).max().expect("a program has circuits")
    }

    /// The slots of the largest circuit of a kind at a depth; `None` if there is none.
    pub fn slots_max(&self, kind: Kind, depth: Depth) -> Option<u16> {
        let circuits = self.table.circuits().iter().filter(|circuit| (circuit.kind, circuit.depth) == (kind, depth));
        circuits.map(|circuit| circuit.slots).max()
    }

    /// Encodes the version (1 byte); the number of sets of operations (1) and, in ascending order of their hashes,
    /// [these](OperationSet::to_bytes); the number of circuits (2), then for each, in ascending order of (kind, depth,
    /// slots, version, set): kind (1), depth (1), slots (4), version (2), the set's place (1, 255 for payments),
    /// verifying key (296). Integers are little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.table.encode(|place, out| out.extend(self.keys[place].key().to_bytes()))
    }

    /// Decodes what [`Program::to_bytes`] encodes; every program has one encoding.
    ///
    /// # Errors
    /// Each of [`ProgramError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        let mut keys = Vec::new();
        let table = CircuitTable::decode(bytes, VerifyingKey::LENGTH, |key| {
            keys.push(VerifyingKey::from_bytes(key)?);
            Ok(())
        })?;
        let CircuitTable { sets, circuits } = table;
        let sets = sets.into_iter().map(Arc::unwrap_or_clone).collect();
        Self::with_operations(sets, circuits.into_iter().zip(keys))
    }

    /// Checks one proof with the key of the statement's circuit.
    ///
    /// # Errors
    /// Each of [`VerifyError`].
    pub fn verify(&self, statement: &Statement, proof: &Proof) -> Result<Verified, VerifyError> {
        Ok(self.known_key(statement.circuit)?.verify(statement, proof)?)
    }

    /// Checks many proofs together, each with the key of its statement's circuit.
    ///
    /// # Errors
    /// [`VerifyError::UnknownCircuit`] for the first circuit that is not part of the program, and
    /// [`VerifyError::Rejected`] if any proof does not prove its statement; which one is not told.
    ///
    /// # Examples
    /// Every proof of a payload:
    ///
    /// ```
    /// use taproof_verifier::{
    ///     payload::Payload,
    ///     program::{Program, VerifyError},
    /// };
    ///
    /// fn check(program: &Program, payload: &Payload) -> Result<(), VerifyError> {
    ///     let statements = payload.statements();
    ///     let proofs = payload.chunks().iter().map(|chunk| &chunk.proof);
    ///     program.verify_batch(statements.iter().zip(proofs))?;
    ///     Ok(())
    /// }
    /// ```
    pub fn verify_batch<'a>(
        &self,
        proofs: impl IntoIterator<Item = (&'a Statement, &'a Proof)>,
    ) -> Result<Vec<Verified>, VerifyError> {
        let item = |(statement, proof): (&'a Statement, &'a Proof)| {
            let key = self.known_key(statement.circuit)?;
            Ok(BatchItem { key, statement, proof })
        };
        let items = proofs.into_iter().map(item).collect::<Result<Vec<_>, VerifyError>>()?;
        Ok(groth16::verify_batch(&items)?)
    }

    fn known_key(&self, circuit: CircuitId) -> Result<&PreparedVerifyingKey, VerifyError> {
        self.key(circuit).ok_or(VerifyError::UnknownCircuit(circuit))
    }
}

/// The programs that a verifier knows, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs(BTreeMap<ProgramId, Arc<Program>>);

impl Programs {
    /// The program of an id, if it is known.
    pub fn get(&self, id: ProgramId) -> Option<&Program> {
        self.0.get(&id).map(Arc::as_ref)
    }

    /// Makes another program known.
    pub fn insert(&mut self, program: Program) {
        self.0.entry(program.id()).or_insert_with(|| Arc::new(program));
    }

    /// The programs, ascending by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Program> {
        self.0.values().map(Arc::as_ref)
    }
}

impl From<Program> for Programs {
    fn from(program: Program) -> Self {
        core::iter::once(program).collect()
    }
}

impl FromIterator<Program> for Programs {
    fn from_iter<I: IntoIterator<Item = Program>>(programs: I) -> Self {
        let mut known = Self::default();
        programs.into_iter().for_each(|program| known.insert(program));
        known
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Program {}

#[cfg(test)]
mod tests;
