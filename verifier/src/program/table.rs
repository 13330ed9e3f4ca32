//! The circuits of a program by their places, without their keys.

use super::{CIRCUITS_MAX, OPERATION_SETS_MAX, ProgramError, VERSION, VerifyingKey};
use crate::{
    cell::Depth,
    operation::{Check, OperationSet, OperationsHash},
    record::Kind,
    statement::CircuitId,
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

/// The place of the set of operations of a circuit of payments.
const NO_SET: u8 = 255;
/// Bytes of an encoded circuit without its key.
const CIRCUIT_LENGTH: usize = 1 + 1 + 4 + 2 + 1;
/// Bytes of a circuit and its key in a program of protocol 2.
const PROTOCOL_2_ENTRY_LENGTH: usize = 6 + VerifyingKey::LENGTH;

/// The circuits of a program, each in its place, and the sets of operations of those of steps: what a payload is
/// decoded by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitTable {
    /// In ascending order of their hashes.
    pub(super) sets: Vec<Arc<OperationSet>>,
    /// In ascending order.
    pub(super) circuits: Vec<CircuitId>,
}

impl CircuitTable {
    /// Takes circuits and sets of operations, in any order.
    ///
    /// # Errors
    /// [`ProgramError`] for circuits that are none of a program.
    pub fn new(mut sets: Vec<OperationSet>, mut circuits: Vec<CircuitId>) -> Result<Self, ProgramError> {
        if !(1..=CIRCUITS_MAX).contains(&circuits.len()) {
            return Err(ProgramError::CircuitCount(circuits.len()));
        }
        if sets.len() > OPERATION_SETS_MAX {
            return Err(ProgramError::OperationSetCount(sets.len()));
        }
        sets.sort_by_key(OperationSet::hash);
        circuits.sort_unstable();
        if let Some(position) = sets.windows(2).position(|pair| pair[0].hash() == pair[1].hash()) {
            return Err(ProgramError::OperationSetOrder(position + 1));
        }
        if let Some(pair) = circuits.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ProgramError::Duplicate(pair[0]));
        }
        let table = Self { sets: sets.into_iter().map(Arc::new).collect(), circuits };
        table.circuits.iter().try_for_each(|circuit| table.check_circuit(*circuit))?;
        let is_used = |set: &OperationSet| table.circuits.iter().any(|circuit| circuit.operations == set.hash());
        if let Some(set) = table.sets.iter().find(|set| !is_used(set)) {
            return Err(ProgramError::OperationSetUnused(set.hash()));
        }
        check_kinds(&table.circuits)?;
        table.check_claims()?;
        Ok(table)
    }

    /// The circuits, each in its place.
    pub fn circuits(&self) -> &[CircuitId] {
        &self.circuits
    }

    /// The sets of operations, in ascending order of their hashes.
    pub fn operation_sets(&self) -> &[Arc<OperationSet>] {
        &self.sets
    }

    /// The circuit in a place, if there is one.
    pub fn circuit(&self, place: u16) -> Option<CircuitId> {
        self.circuits.get(usize::from(place)).copied()
    }

    /// The place of a circuit, if it is part of the program.
    pub fn place(&self, circuit: CircuitId) -> Option<u16> {
        self.circuits.binary_search(&circuit).ok().map(|place| place as u16)
    }

    /// The set of operations of that hash, if a circuit is of it.
    pub fn operations(&self, hash: OperationsHash) -> Option<&Arc<OperationSet>> {
        self.place_of_set(hash).map(|place| &self.sets[place])
    }

    /// Whether steps can open locks, so that requests to do so count. If so, they can at each depth.
    pub fn opens_locks(&self) -> bool {
        self.sets.iter().any(|set| set.has_check(Check::Claim))
    }

    /// Encodes what [`Program::to_bytes`](super::Program::to_bytes) encodes, but without the keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(|_, _| ())
    }

    /// Decodes what [`CircuitTable::to_bytes`] encodes; every table has one encoding.
    ///
    /// # Errors
    /// Each of [`ProgramError`] but [`ProgramError::Key`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        Self::decode(bytes, 0, |_| Ok(()))
    }

    /// Encodes the table, with what `write` adds to the circuit in each place.
    pub(super) fn encode(&self, mut write: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = alloc::vec![VERSION, self.sets.len() as u8];
        self.sets.iter().for_each(|set| bytes.extend(set.to_bytes()));
        bytes.extend((self.circuits.len() as u16).to_le_bytes());
        for (place, circuit) in self.circuits.iter().enumerate() {
            bytes.extend([circuit.kind as u8, circuit.depth.levels()]);
            bytes.extend(u32::from(circuit.slots).to_le_bytes());
            bytes.extend(circuit.version.to_le_bytes());
            bytes.push(self.place_of_set(circuit.operations).map_or(NO_SET, |place| place as u8));
            write(place, &mut bytes);
        }
        bytes
    }

    /// Decodes the table, with `rest_length` bytes of each circuit that `read` is given.
    pub(super) fn decode(
        bytes: &[u8],
        rest_length: usize,
        mut read: impl FnMut(&[u8]) -> Result<(), ProgramError>,
    ) -> Result<Self, ProgramError> {
        let (sets, bytes) = decode_sets(bytes)?;
        let (count, entries) = bytes.split_first_chunk::<2>().ok_or(ProgramError::Length)?;
        let count = usize::from(u16::from_le_bytes(*count));
        if !(1..=CIRCUITS_MAX).contains(&count) {
            return Err(ProgramError::CircuitCount(count));
        }
        if entries.len() != count * (CIRCUIT_LENGTH + rest_length) {
            return Err(ProgramError::Length);
        }
        let mut circuits = Vec::<CircuitId>::with_capacity(count);
        for entry in entries.chunks_exact(CIRCUIT_LENGTH + rest_length) {
            let (circuit, rest) = entry.split_first_chunk::<CIRCUIT_LENGTH>().ok_or(ProgramError::Length)?;
            let circuit = decode_circuit(*circuit, &sets)?;
            if circuits.last().is_some_and(|previous| *previous >= circuit) {
                return Err(ProgramError::Order(circuit));
            }
            circuits.push(circuit);
            read(rest)?;
        }
        Self::new(sets, circuits)
    }

    fn check_circuit(&self, circuit: CircuitId) -> Result<(), ProgramError> {
        if circuit.slots == 0 {
            return Err(ProgramError::NoSlots(circuit));
        }
        let fits = match circuit.kind {
            Kind::Step => self.place_of_set(circuit.operations).is_some(),
            _ => circuit.operations == OperationsHash::NONE,
        };
        if fits { Ok(()) } else { Err(ProgramError::Operations(circuit)) }
    }

    /// Checks that steps can open locks at each depth, if they can at any.
    fn check_claims(&self) -> Result<(), ProgramError> {
        let opens = |circuit: &&CircuitId| {
            self.operations(circuit.operations).is_some_and(|operations| operations.has_check(Check::Claim))
        };
        let opening: BTreeSet<Depth> = self.circuits.iter().filter(opens).map(|circuit| circuit.depth).collect();
        let mut depths = self.circuits.iter().map(|circuit| circuit.depth);
        match depths.find(|depth| !opening.contains(depth)) {
            Some(depth) if !opening.is_empty() => Err(ProgramError::ClaimMissing { depth }),
            _ => Ok(()),
        }
    }

    fn place_of_set(&self, hash: OperationsHash) -> Option<usize> {
        self.sets.binary_search_by_key(&hash, |set| set.hash()).ok()
    }
}

/// Reads the version and the sets of operations; gives the rest of the bytes with these.
fn decode_sets(bytes: &[u8]) -> Result<(Vec<OperationSet>, &[u8]), ProgramError> {
    let (version, rest) = bytes.split_first().ok_or(ProgramError::Length)?;
    match *version {
        VERSION => (),
        // Three circuits never were a program, so none of protocol 2 begins with this version.
        _ if is_of_protocol_2(bytes) => return Err(ProgramError::Protocol2),
        version => return Err(ProgramError::Version(version)),
    }
    let (count, mut bytes) = rest.split_first().ok_or(ProgramError::Length)?;
    let count = usize::from(*count);
    if count > OPERATION_SETS_MAX {
        return Err(ProgramError::OperationSetCount(count));
    }
    let mut sets = Vec::<OperationSet>::with_capacity(count);
    for position in 0..count {
        let decoded = OperationSet::from_start(bytes);
        let (set, rest) = decoded.map_err(|source| ProgramError::OperationSet { position, source })?;
        if sets.last().is_some_and(|previous| previous.hash() >= set.hash()) {
            return Err(ProgramError::OperationSetOrder(position));
        }
        sets.push(set);
        bytes = rest;
    }
    Ok((sets, bytes))
}

fn decode_circuit(bytes: [u8; CIRCUIT_LENGTH], sets: &[OperationSet]) -> Result<CircuitId, ProgramError> {
    let [kind, depth, slots @ .., version_0, version_1, set] = bytes;
    let slots = u32::from_le_bytes(slots);
    let circuit = CircuitId {
        kind: Kind::from_number(kind).ok_or(ProgramError::Kind(kind))?,
        depth: Depth::new(depth).ok_or(ProgramError::Depth(depth))?,
        slots: u16::try_from(slots).map_err(|_| ProgramError::Slots(slots))?,
        version: u16::from_le_bytes([version_0, version_1]),
        operations: OperationsHash::NONE,
    };
    match sets.get(usize::from(set)) {
        Some(set) => Ok(CircuitId { operations: set.hash(), ..circuit }),
        None if set == NO_SET => Ok(circuit),
        None => Err(ProgramError::Operations(circuit)),
    }
}

/// Whether bytes are as long as a program of protocol 2 that begins with these two.
fn is_of_protocol_2(bytes: &[u8]) -> bool {
    let count = bytes.first_chunk::<2>().map_or(0, |count| usize::from(u16::from_le_bytes(*count)));
    count > 0 && bytes.len() == 2 + count * PROTOCOL_2_ENTRY_LENGTH
}

/// Checks that there is a circuit of every kind of payment at each depth.
fn check_kinds(circuits: &[CircuitId]) -> Result<(), ProgramError> {
    let have: BTreeSet<(Depth, Kind)> = circuits.iter().map(|circuit| (circuit.depth, circuit.kind)).collect();
    let depths: BTreeSet<Depth> = have.iter().map(|(depth, _)| *depth).collect();
    let mut needed = depths.iter().flat_map(|depth| Kind::PAYMENTS.map(|kind| (*depth, kind)));
    match needed.find(|needed| !have.contains(needed)) {
        Some((depth, kind)) => Err(ProgramError::KindMissing { kind, depth }),
        None => Ok(()),
    }
}
