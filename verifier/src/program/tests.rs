use super::*;
use crate::{
    groth16::{PointError, simulate::Trapdoor},
    operation::{Check, Columns, Operation, tests::example_set},
};

/// Bytes of an encoded circuit and its key.
const ENTRY_LENGTH: usize = 305;

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
    assert_eq!(bytes.len(), 4 + 5 * 305);
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
    let input = [b"taproof/program/v3".as_slice(), &program.to_bytes()].concat();
    assert_eq!(program.id().to_byte_array(), sha256::Hash::hash(&input).to_byte_array());
}

#[test]
fn invalid_sets_are_refused() {
    assert_eq!(Program::new([]), Err(ProgramError::CircuitCount(0)));
    let twice = circuit(Kind::Transfer, 8);
    assert_eq!(Program::new([(twice, key(1)), (twice, key(2))]), Err(ProgramError::Duplicate(twice)));
    let empty = circuit(Kind::Transfer, 0);
    assert_eq!(Program::new([(empty, key(1))]), Err(ProgramError::NoSlots(empty)));
    let shared = key(1);
    let many = (1..=1_025).map(|slots| (circuit(Kind::Transfer, slots), shared.clone()));
    assert_eq!(Program::new(many), Err(ProgramError::CircuitCount(1_025)));
}

#[test]
fn each_circuit_has_a_version_of_its_own() {
    let mut mixed = circuits();
    mixed[1].0.version = 2;
    mixed[3].0.version = u16::MAX;
    let program = Program::new(mixed.clone()).expect("the program is valid");
    assert_eq!(program.key(mixed[3].0).map(PreparedVerifyingKey::key), Some(&key(4)));
    assert!(program.key(circuits()[3].0).is_none());
    assert_eq!(Program::from_bytes(&program.to_bytes()), Ok(program));
}

#[test]
fn a_program_has_every_kind_at_each_of_its_depths() {
    let at = |levels: u8, kind: Kind| (CircuitId::new(kind, Depth::new(levels).expect("1 to 10 levels"), 8), key(1));
    let whole = [2, 3].into_iter().flat_map(|levels| Kind::PAYMENTS.map(|kind| at(levels, kind)));
    let whole: Vec<_> = whole.collect();
    let program = Program::new(whole.clone()).expect("every kind at both depths");
    for (position, (missing, _)) in whole.iter().enumerate() {
        let mut partial = whole.clone();
        partial.remove(position);
        let error = ProgramError::KindMissing { kind: missing.kind, depth: missing.depth };
        assert_eq!(Program::new(partial), Err(error));
        // Nor is there such a program in a file.
        let mut bytes = program.to_bytes();
        bytes[2] -= 1;
        let sorted = program.circuits().position(|(circuit, _)| circuit == *missing).expect("it is part of it");
        bytes.drain(4 + sorted * ENTRY_LENGTH..4 + (sorted + 1) * ENTRY_LENGTH);
        assert_eq!(Program::from_bytes(&bytes), Err(error));
    }
    // More than one of a kind makes up for none of another, and steps make up for no payments.
    let transfers = (1..=4).map(|slots| (circuit(Kind::Transfer, slots), key(1)));
    let error = ProgramError::KindMissing { kind: Kind::Deposit, depth: Depth::MAX };
    assert_eq!(Program::new(transfers), Err(error));
    let steps = CircuitId { depth: Depth::new(4).expect("1 to 10 levels"), ..step(4, &example_set()) };
    let deeper = Program::with_operations(vec![example_set()], whole.into_iter().chain([(steps, key(1))]));
    assert_eq!(deeper, Err(ProgramError::KindMissing { kind: Kind::Deposit, depth: steps.depth }));
}

/// A circuit of steps.
fn step(slots: u16, set: &OperationSet) -> CircuitId {
    CircuitId { operations: set.hash(), ..circuit(Kind::Step, slots) }
}

/// Another set than the example.
fn small_set() -> OperationSet {
    let operation = Operation { number: 3, columns: Columns::CELL, check: Check::None };
    OperationSet::new(vec![operation]).expect("a valid set")
}

/// Two sets of operations, whose circuits have the places 5 to 7.
fn with_steps() -> (Vec<OperationSet>, Vec<(CircuitId, VerifyingKey)>) {
    let sets = vec![example_set(), small_set()];
    let steps = [(step(4, &sets[0]), key(6)), (step(4, &sets[1]), key(7)), (step(2, &sets[0]), key(8))];
    (sets, circuits().into_iter().chain(steps).collect())
}

#[test]
fn circuits_of_steps_have_the_sets_of_their_operations() {
    let (sets, circuits) = with_steps();
    let program = Program::with_operations(sets.clone(), circuits.clone()).expect("the program is valid");
    let reversed = Program::with_operations(
        sets.iter().rev().cloned().collect(),
        circuits.iter().rev().cloned().collect::<Vec<_>>(),
    );
    assert_eq!(reversed.map(|program| program.to_bytes()), Ok(program.to_bytes()));
    assert_eq!(Program::from_bytes(&program.to_bytes()), Ok(program.clone()));
    let table = program.table();
    for (place, (circuit, _)) in (0..).zip(program.circuits()) {
        assert_eq!((table.circuit(place), table.place(circuit)), (Some(circuit), Some(place)));
    }
    assert_eq!(table.circuit(8), None);
    assert_eq!(program.key(circuits[6].0).map(PreparedVerifyingKey::key), Some(&key(7)));
    for set in &sets {
        assert_eq!(table.operations(set.hash()).map(|found| &**found), Some(set));
    }
    assert_eq!(table.operations(OperationsHash::NONE), None);
    assert_eq!(CircuitTable::from_bytes(&table.to_bytes()).as_ref(), Ok(&**table));
    assert_eq!(table.to_bytes().len() + 8 * VerifyingKey::LENGTH, program.to_bytes().len());
    // Another set of operations, other circuits: another program.
    assert_ne!(program.id(), Program::new(self::circuits()).expect("the program is valid").id());
}

#[test]
fn locks_are_opened_at_each_depth_or_at_none() {
    let (sets, circuits) = with_steps();
    let with = |circuits: Vec<_>| Program::with_operations(sets.clone(), circuits);
    assert!(with(circuits.clone()).is_ok_and(|program| program.table().opens_locks()));
    assert!(Program::new(self::circuits()).is_ok_and(|program| !program.table().opens_locks()));
    let lower = Depth::new(4).expect("1 to 10 levels");
    let at_lower = |kind, set: &OperationsHash| CircuitId { depth: lower, operations: *set, ..circuit(kind, 4) };
    let payments = Kind::PAYMENTS.map(|kind| (at_lower(kind, &OperationsHash::NONE), key(1)));
    let missing = ProgramError::ClaimMissing { depth: lower };
    let mut deeper = [circuits, payments.to_vec()].concat();
    assert_eq!(with(deeper.clone()), Err(missing));
    deeper.push((at_lower(Kind::Step, &sets[1].hash()), key(1)));
    assert_eq!(with(deeper.clone()), Err(missing), "steps of a set that has no claims");
    deeper.push((at_lower(Kind::Step, &sets[0].hash()), key(1)));
    let program = with(deeper).expect("claims at both depths");
    assert_eq!(Program::from_bytes(&program.to_bytes()), Ok(program));
}

#[test]
fn sets_of_operations_are_those_of_the_circuits() {
    let (sets, circuits) = with_steps();
    let with = |sets: Vec<OperationSet>, circuits: Vec<_>| Program::with_operations(sets, circuits);
    let missing = step(4, &sets[1]);
    assert_eq!(with(vec![sets[0].clone()], circuits.clone()), Err(ProgramError::Operations(missing)));
    let unused = ProgramError::OperationSetUnused(sets[1].hash());
    assert_eq!(with(sets.clone(), circuits[..6].to_vec()), Err(unused));
    let mut payment = circuits.clone();
    payment[0].0.operations = sets[0].hash();
    assert_eq!(with(sets.clone(), payment.clone()), Err(ProgramError::Operations(payment[0].0)));
    let mut none = circuits.clone();
    none[5].0.operations = OperationsHash::NONE;
    assert_eq!(with(sets.clone(), none.clone()), Err(ProgramError::Operations(none[5].0)));
    let twice = [sets.clone(), vec![sets[0].clone()]].concat();
    assert!(matches!(with(twice, circuits.clone()), Err(ProgramError::OperationSetOrder(_))));
    let set = |number| {
        let operation = Operation { number, columns: Columns::ALL, check: Check::None };
        OperationSet::new(vec![operation]).expect("a valid set")
    };
    assert_eq!(with((1..=17).map(set).collect(), circuits), Err(ProgramError::OperationSetCount(17)));
}

#[test]
fn encodings_of_sets_that_are_not_canonical_are_refused() {
    let (sets, circuits) = with_steps();
    let bytes = Program::with_operations(sets.clone(), circuits).expect("the program is valid").to_bytes();
    let mut sorted = sets.clone();
    sorted.sort_by_key(OperationSet::hash);
    let [first, second] = [sorted[0].to_bytes(), sorted[1].to_bytes()];
    let set_length = first.len() + second.len();
    assert_eq!(bytes[..2 + set_length], [&[3, 2], first.as_slice(), &second].concat());
    for length in 0..bytes.len() {
        assert!(Program::from_bytes(&bytes[..length]).is_err());
    }
    let swapped = [&[3, 2], second.as_slice(), &first, &bytes[2 + set_length..]].concat();
    assert_eq!(Program::from_bytes(&swapped), Err(ProgramError::OperationSetOrder(1)));
    let equal = [&[3, 2], first.as_slice(), &first, &bytes[2 + set_length..]].concat();
    assert_eq!(Program::from_bytes(&equal), Err(ProgramError::OperationSetOrder(1)));
    let with = |offset: usize, replacement: &[u8]| {
        let mut altered = bytes.clone();
        altered[offset..offset + replacement.len()].copy_from_slice(replacement);
        Program::from_bytes(&altered)
    };
    assert_eq!(with(1, &[17]), Err(ProgramError::OperationSetCount(17)));
    let broken = ProgramError::OperationSet { position: 0, source: OperationSetError::Count(0) };
    assert_eq!(with(2, &[0]), Err(broken));
    // The place of a set stands before the key: of a payment, then of a circuit of steps.
    let set_at = |place: usize| 4 + set_length + place * ENTRY_LENGTH + 8;
    assert_eq!((bytes[set_at(0)], bytes[set_at(5)] < 2), (255, true));
    let with_set = |place: usize, set: u8| with(set_at(place), &[set]).map(drop);
    assert!(matches!(with_set(0, 0), Err(ProgramError::Operations(circuit)) if circuit.kind == Kind::Deposit));
    for set in [2, 16, 254, 255] {
        assert!(matches!(with_set(5, set), Err(ProgramError::Operations(circuit)) if circuit.kind == Kind::Step));
    }
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
    assert_eq!(with(0, &[2]), Err(ProgramError::Version(2)));
    assert_eq!(with(0, &[4]), Err(ProgramError::Version(4)));
    assert_eq!(with(2, &[0, 0]), Err(ProgramError::CircuitCount(0)));
    assert_eq!(with(2, &[1, 4]), Err(ProgramError::CircuitCount(1_025)));
    assert_eq!(with(2, &[2, 0]), Err(ProgramError::Length));
    assert_eq!(with(4, &[9]), Err(ProgramError::Kind(9)));
    assert_eq!(with(5, &[11]), Err(ProgramError::Depth(11)));
    // The first entry is that of deposits, the next ones are of transfers with 8 and with 64 slots.
    assert_eq!(with(6, &[0, 0]), Err(ProgramError::NoSlots(circuit(Kind::Deposit, 0))));
    assert_eq!(with(8, &[1]), Err(ProgramError::Slots(65_544)));
    assert!(with(10, &[2, 0]).is_ok(), "another version is another circuit");
    let slots = 6 + ENTRY_LENGTH;
    assert_eq!(with(slots, &[65, 0]), Err(ProgramError::Order(circuit(Kind::Transfer, 64))));
    assert_eq!(with(slots, &[64, 0]), Err(ProgramError::Order(circuit(Kind::Transfer, 64))));
    let point = ProgramError::Key(KeyError::Point(PointError::NotCanonical));
    assert_eq!(with(13, &[0x3f; 32]), Err(point));
}

#[test]
fn programs_of_protocol_2_are_named_as_such() {
    for count in [4u16, 5, 256] {
        let bytes = [count.to_le_bytes().as_slice(), &vec![1; usize::from(count) * 302]].concat();
        assert_eq!(Program::from_bytes(&bytes), Err(ProgramError::Protocol2));
        assert!(matches!(Program::from_bytes(&bytes[1..]), Err(ProgramError::Version(_))));
    }
}

#[test]
fn a_program_has_up_to_1024_circuits() {
    let shared = key(1);
    let transfers = (1..=1_020).map(|slots| (circuit(Kind::Transfer, slots), shared.clone()));
    let others = Kind::PAYMENTS.map(|kind| (circuit(kind, 2_000), shared.clone()));
    let program = Program::new(transfers.chain(others)).expect("as many as there can be");
    assert_eq!(program.circuits().len(), CIRCUITS_MAX);
    let table = program.table();
    assert_eq!(CircuitTable::from_bytes(&table.to_bytes()).as_ref(), Ok(&**table));
}
