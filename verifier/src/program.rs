//! The program of a rollup: the set of circuits whose proofs it accepts, each with its verifying key.
//!
//! It has a circuit of every kind at each depth that it has any for. For a tree never shrinks: in one without
//! withdrawals, say, no request to exit could be served, nor refuted, for ever.

use crate::{
    cell::Depth,
    groth16::{self, BatchItem, KeyError, PreparedVerifyingKey, Proof, Rejected, Verified, VerifyingKey},
    record::Kind,
    statement::{CircuitId, Statement},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bitcoin::hashes::{Hash, HashEngine, sha256};

/// The most circuits that a program can have.
pub const CIRCUITS_MAX: usize = 256;

/// What the hash of a program's encoding begins with, so that no other hash can be taken for a program's id.
const ID_TAG: &[u8] = b"taproof/program/v1";
/// Bytes of an encoded circuit and its key.
const ENTRY_LENGTH: usize = 6 + VerifyingKey::LENGTH;

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
    /// A program has 1 to 256 circuits.
    #[error("{0} circuits, where a program has 1 to 256")]
    CircuitCount(usize),
    /// The bytes end early or go on.
    #[error("the length is not that of as many circuits as announced")]
    Length,
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
    /// A tree of that depth would be one for ever in which nobody can do this.
    #[error("no {kind} circuit for a tree of {} levels, where there are others", depth.levels())]
    KindMissing {
        /// The kind that is missing.
        kind: Kind,
        /// The depth.
        depth: Depth,
    },
    /// A circuit without slots proves nothing.
    #[error("circuit {0} has no slots")]
    NoSlots(CircuitId),
    /// The circuit is of a version whose records this verifier does not know.
    #[error("circuit {0} is not of version {known}", known = CircuitId::VERSION)]
    Version(CircuitId),
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
    Rejected(#[from] Rejected),
}

/// A set of circuits and their verifying keys, sorted by circuit.
#[derive(Clone, Debug)]
pub struct Program {
    keys: BTreeMap<CircuitId, PreparedVerifyingKey>,
    id: ProgramId,
}

impl Program {
    /// Makes a program of circuits and keys, in any order.
    ///
    /// # Errors
    /// [`ProgramError::CircuitCount`], [`ProgramError::Duplicate`], [`ProgramError::NoSlots`],
    /// [`ProgramError::Version`] and [`ProgramError::KindMissing`].
    pub fn new(circuits: impl IntoIterator<Item = (CircuitId, VerifyingKey)>) -> Result<Self, ProgramError> {
        let mut keys = BTreeMap::new();
        for (circuit, key) in circuits {
            check_circuit(circuit)?;
            if keys.insert(circuit, key.prepare()).is_some() {
                return Err(ProgramError::Duplicate(circuit));
            }
            if keys.len() > CIRCUITS_MAX {
                return Err(ProgramError::CircuitCount(keys.len()));
            }
        }
        if keys.is_empty() {
            return Err(ProgramError::CircuitCount(0));
        }
        check_kinds(&keys)?;
        let mut engine = sha256::Hash::engine();
        engine.input(ID_TAG);
        engine.input(&encode(&keys));
        let id = ProgramId(sha256::Hash::from_engine(engine).to_byte_array());
        Ok(Self { keys, id })
    }

    /// What anchors name the program by.
    pub fn id(&self) -> ProgramId {
        self.id
    }

    /// The key of a circuit, if the circuit is part of the program.
    pub fn key(&self, circuit: CircuitId) -> Option<&PreparedVerifyingKey> {
        self.keys.get(&circuit)
    }

    /// The circuits and their keys, in ascending order.
    pub fn circuits(&self) -> impl ExactSizeIterator<Item = (CircuitId, &PreparedVerifyingKey)> {
        self.keys.iter().map(|(circuit, key)| (*circuit, key))
    }

    /// The depth of the deepest trees that there are circuits for.
    pub fn depth_max(&self) -> Depth {
        self.keys.keys().map(|circuit| circuit.depth).max().expect("a program has circuits")
    }

    /// The slots of the largest circuit of a kind at a depth; `None` if there is none.
    pub fn slots_max(&self, kind: Kind, depth: Depth) -> Option<u16> {
        let circuits = self.keys.keys().filter(|circuit| (circuit.kind, circuit.depth) == (kind, depth));
        circuits.map(|circuit| circuit.slots).max()
    }

    /// Encodes the number of circuits as 2 bytes, then for each, in ascending order of (kind, depth, slots,
    /// version): kind (1 byte), depth (1), slots (2), version (2), verifying key (296). Integers are little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.keys)
    }

    /// Decodes what [`Program::to_bytes`] encodes; every program has one encoding.
    ///
    /// # Errors
    /// Each of [`ProgramError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        let (count, entries) = bytes.split_first_chunk::<2>().ok_or(ProgramError::Length)?;
        let count = usize::from(u16::from_le_bytes(*count));
        if !(1..=CIRCUITS_MAX).contains(&count) {
            return Err(ProgramError::CircuitCount(count));
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_LENGTH>();
        if entries.len() != count || !rest.is_empty() {
            return Err(ProgramError::Length);
        }
        let mut circuits = Vec::<(CircuitId, VerifyingKey)>::with_capacity(count);
        for entry in entries {
            let [kind, depth, slots_0, slots_1, version_0, version_1, key @ ..] = entry;
            let circuit = CircuitId {
                kind: Kind::from_number(*kind).ok_or(ProgramError::Kind(*kind))?,
                depth: Depth::new(*depth).ok_or(ProgramError::Depth(*depth))?,
                slots: u16::from_le_bytes([*slots_0, *slots_1]),
                version: u16::from_le_bytes([*version_0, *version_1]),
            };
            check_circuit(circuit)?;
            if circuits.last().is_some_and(|(previous, _)| *previous >= circuit) {
                return Err(ProgramError::Order(circuit));
            }
            circuits.push((circuit, VerifyingKey::from_bytes(key)?));
        }
        Self::new(circuits)
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

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Program {}

fn check_circuit(circuit: CircuitId) -> Result<(), ProgramError> {
    if circuit.version != CircuitId::VERSION {
        return Err(ProgramError::Version(circuit));
    }
    if circuit.slots == 0 {
        return Err(ProgramError::NoSlots(circuit));
    }
    Ok(())
}

/// Checks that there is a circuit of every kind at each depth.
fn check_kinds(keys: &BTreeMap<CircuitId, PreparedVerifyingKey>) -> Result<(), ProgramError> {
    let have: BTreeSet<(Depth, Kind)> = keys.keys().map(|circuit| (circuit.depth, circuit.kind)).collect();
    let depths: BTreeSet<Depth> = have.iter().map(|(depth, _)| *depth).collect();
    let mut needed = depths.iter().flat_map(|depth| Kind::ALL.map(|kind| (*depth, kind)));
    match needed.find(|needed| !have.contains(needed)) {
        Some((depth, kind)) => Err(ProgramError::KindMissing { kind, depth }),
        None => Ok(()),
    }
}

fn encode(keys: &BTreeMap<CircuitId, PreparedVerifyingKey>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + keys.len() * ENTRY_LENGTH);
    bytes.extend((keys.len() as u16).to_le_bytes());
    for (circuit, key) in keys {
        bytes.extend([circuit.kind as u8, circuit.depth.levels()]);
        bytes.extend(circuit.slots.to_le_bytes());
        bytes.extend(circuit.version.to_le_bytes());
        bytes.extend(key.key().to_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groth16::{PointError, simulate::Trapdoor};

    fn circuit(kind: Kind, slots: u16) -> CircuitId {
        CircuitId::new(kind, Depth::MAX, slots)
    }

    fn key(seed: u64) -> VerifyingKey {
        Trapdoor::new(seed).key()
    }

    fn circuits() -> [(CircuitId, VerifyingKey); 5] {
        [
            (circuit(Kind::Open, 8), key(1)),
            (circuit(Kind::Transfer, 64), key(2)),
            (circuit(Kind::Transfer, 8), key(3)),
            (circuit(Kind::Withdraw, 8), key(4)),
            (circuit(Kind::Deposit, 8), key(5)),
        ]
    }

    #[test]
    fn bytes_round_trip_and_order_of_circuits_does_not_matter() {
        let program = Program::new(circuits()).expect("the program is valid");
        let mut reversed = circuits();
        reversed.reverse();
        assert_eq!(Program::new(reversed).map(|program| program.id()), Ok(program.id()));
        let bytes = program.to_bytes();
        assert_eq!(bytes.len(), 2 + 5 * 302);
        assert_eq!(Program::from_bytes(&bytes).map(|decoded| decoded.to_bytes()), Ok(bytes));
        let sorted: Vec<_> = program.circuits().map(|(circuit, _)| circuit).collect();
        let expected =
            [(Kind::Deposit, 8), (Kind::Transfer, 8), (Kind::Transfer, 64), (Kind::Open, 8), (Kind::Withdraw, 8)];
        assert_eq!(sorted, expected.map(|(kind, slots)| circuit(kind, slots)));
        assert_eq!(program.key(sorted[2]).map(PreparedVerifyingKey::key), Some(&key(2)));
        assert!(program.key(circuit(Kind::Deposit, 9)).is_none());
        assert_eq!(program.depth_max(), Depth::MAX);
    }

    #[test]
    fn id_binds_circuits_and_keys() {
        let id = |circuits: &[(CircuitId, VerifyingKey)]| Program::new(circuits.to_vec()).map(|program| program.id());
        let base = circuits();
        let mut swapped = circuits();
        swapped[0].1 = key(2);
        swapped[1].1 = key(1);
        let mut other_slots = circuits();
        other_slots[0].0.slots = 9;
        let fewer: Vec<_> = base.iter().filter(|(circuit, _)| circuit.slots == 8).cloned().collect();
        let ids = [id(&base), id(&fewer), id(&swapped), id(&other_slots)];
        let distinct: std::collections::HashSet<_> = ids.into_iter().map(|id| id.expect("valid programs")).collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn id_is_the_hash_of_tag_and_encoding() {
        let program = Program::new(circuits()).expect("the program is valid");
        let input = [b"taproof/program/v1".as_slice(), &program.to_bytes()].concat();
        assert_eq!(program.id().to_byte_array(), sha256::Hash::hash(&input).to_byte_array());
    }

    #[test]
    fn invalid_sets_are_refused() {
        assert_eq!(Program::new([]), Err(ProgramError::CircuitCount(0)));
        let twice = circuit(Kind::Transfer, 8);
        assert_eq!(Program::new([(twice, key(1)), (twice, key(2))]), Err(ProgramError::Duplicate(twice)));
        let empty = circuit(Kind::Transfer, 0);
        assert_eq!(Program::new([(empty, key(1))]), Err(ProgramError::NoSlots(empty)));
        let foreign = CircuitId { version: 2, ..twice };
        assert_eq!(Program::new([(foreign, key(1))]), Err(ProgramError::Version(foreign)));
        let many = (1..=257).map(|slots| (circuit(Kind::Transfer, slots), key(1)));
        assert_eq!(Program::new(many), Err(ProgramError::CircuitCount(257)));
    }

    #[test]
    fn a_program_has_every_kind_at_each_of_its_depths() {
        let at =
            |levels: u8, kind: Kind| (CircuitId::new(kind, Depth::new(levels).expect("1 to 10 levels"), 8), key(1));
        let whole = [2, 3].into_iter().flat_map(|levels| Kind::ALL.map(|kind| at(levels, kind)));
        let whole: Vec<_> = whole.collect();
        let program = Program::new(whole.clone()).expect("every kind at both depths");
        for (position, (missing, _)) in whole.iter().enumerate() {
            let mut partial = whole.clone();
            partial.remove(position);
            let error = ProgramError::KindMissing { kind: missing.kind, depth: missing.depth };
            assert_eq!(Program::new(partial), Err(error));
            // Nor is there such a program in a file.
            let mut bytes = program.to_bytes();
            bytes[0] -= 1;
            let sorted = program.circuits().position(|(circuit, _)| circuit == *missing).expect("it is part of it");
            bytes.drain(2 + sorted * ENTRY_LENGTH..2 + (sorted + 1) * ENTRY_LENGTH);
            assert_eq!(Program::from_bytes(&bytes), Err(error));
        }
        // More than one of a kind makes up for none of another.
        let transfers = (1..=4).map(|slots| (circuit(Kind::Transfer, slots), key(1)));
        let error = ProgramError::KindMissing { kind: Kind::Deposit, depth: Depth::MAX };
        assert_eq!(Program::new(transfers), Err(error));
    }

    #[test]
    fn encodings_that_are_not_canonical_are_refused() {
        let bytes = Program::new(circuits()).expect("the program is valid").to_bytes();
        for length in 0..bytes.len() {
            assert!(Program::from_bytes(&bytes[..length]).is_err());
        }
        assert_eq!(Program::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(ProgramError::Length));
        let with = |offset: usize, replacement: &[u8]| {
            let mut altered = bytes.clone();
            altered[offset..offset + replacement.len()].copy_from_slice(replacement);
            Program::from_bytes(&altered)
        };
        assert_eq!(with(0, &[0, 0]), Err(ProgramError::CircuitCount(0)));
        assert_eq!(with(0, &[1, 1]), Err(ProgramError::CircuitCount(257)));
        assert_eq!(with(0, &[2, 0]), Err(ProgramError::Length));
        assert_eq!(with(2, &[9]), Err(ProgramError::Kind(9)));
        assert_eq!(with(3, &[11]), Err(ProgramError::Depth(11)));
        // The first entry is that of deposits, the next ones are of transfers with 8 and with 64 slots.
        assert_eq!(with(4, &[0, 0]), Err(ProgramError::NoSlots(circuit(Kind::Deposit, 0))));
        let foreign = CircuitId { version: 2, ..circuit(Kind::Deposit, 8) };
        assert_eq!(with(6, &[2, 0]), Err(ProgramError::Version(foreign)));
        let slots = 4 + ENTRY_LENGTH;
        assert_eq!(with(slots, &[65, 0]), Err(ProgramError::Order(circuit(Kind::Transfer, 64))));
        assert_eq!(with(slots, &[64, 0]), Err(ProgramError::Order(circuit(Kind::Transfer, 64))));
        let point = ProgramError::Key(KeyError::Point(PointError::NotCanonical));
        assert_eq!(with(8, &[0x3f; 32]), Err(point));
    }
}
