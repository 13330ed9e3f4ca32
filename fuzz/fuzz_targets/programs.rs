//! Programs and their tables: a valid one, altered, and tables that the input puts together. What decodes has one
//! encoding, and each circuit is in its place, with the operations by which its records are read.
#![no_main]

use ark_ec::{AffineRepr, CurveGroup};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_verifier::{
    ark_bn254::{Fr, G1Affine, G2Affine},
    cell::Depth,
    codec::{self, Layout},
    groth16::VerifyingKey,
    operation::{Check, Columns, Operation, OperationSet, OperationsHash},
    program::{CircuitTable, Program},
    record::Kind,
    statement::CircuitId,
};

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let g1 = |i: u64| (G1Affine::generator() * Fr::from(i)).into_affine();
    let g2 = |i: u64| (G2Affine::generator() * Fr::from(i)).into_affine();
    let key = VerifyingKey::new(g1(1), g2(2), g2(3), g2(4), &[g1(5), g1(6)]).expect("points of the groups");
    let sets = [1, 2].map(|number| {
        let check =
            |(check, further): (Check, u8)| Operation { number: number + further, columns: Columns::ALL, check };
        OperationSet::new(Check::ALL.into_iter().zip(0..).map(check).collect()).expect("ascending numbers")
    });
    let circuits = [1, 2].into_iter().filter_map(Depth::new).flat_map(|depth| {
        let steps =
            move |set: &OperationSet| CircuitId { operations: set.hash(), ..CircuitId::new(Kind::Step, depth, 4) };
        Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth, 4)).into_iter().chain(sets.iter().map(steps))
    });
    let circuits: Vec<_> = circuits.map(|circuit| (circuit, key.clone())).collect();
    Program::with_operations(sets.to_vec(), circuits).expect("all that a program needs")
});

/// Kind, depth, slots, version and set of operations of a circuit.
type Circuit = (u8, u8, u16, u16, u8);

/// Alterations, sets of operations, circuits and columns.
type Input = (Vec<(u16, u8)>, Vec<u8>, Vec<Circuit>, Vec<u8>);

fuzz_target!(|input: Input| {
    let (alterations, sets, circuits, columns) = input;
    // Decoding the keys takes much longer than all else.
    if alterations.len() == 1 && alterations[0].1 % 8 == 1 {
        let bytes = altered(PROGRAM.to_bytes(), &alterations);
        if let Ok(program) = Program::from_bytes(&bytes) {
            assert_eq!(program.to_bytes(), bytes);
            assert_eq!(program == *PROGRAM, bytes == PROGRAM.to_bytes());
        }
    }
    let bytes = altered(PROGRAM.table().to_bytes(), &alterations);
    if let Ok(table) = CircuitTable::from_bytes(&bytes) {
        assert_eq!(table.to_bytes(), bytes);
        read(&table, &columns);
    }
    let (mut rest, mut chosen) = (sets.as_slice(), Vec::new());
    while let Ok((set, further)) = OperationSet::from_start(rest) {
        chosen.push(set);
        rest = further;
    }
    let circuit = |&(kind, levels, slots, version, set): &Circuit| {
        let operations = chosen.get(usize::from(set)).map_or(OperationsHash::NONE, OperationSet::hash);
        let depth = Depth::new(levels % 10 + 1).expect("1 to 10 levels");
        CircuitId { version, operations, ..CircuitId::new(Kind::ALL[usize::from(kind) % 5], depth, slots) }
    };
    let circuits: Vec<CircuitId> = circuits.iter().map(circuit).collect();
    // What a program needs besides is there.
    let depths: std::collections::BTreeSet<Depth> = circuits.iter().map(|circuit| circuit.depth).collect();
    let needed = depths.iter().flat_map(|depth| Kind::PAYMENTS.map(|kind| CircuitId::new(kind, *depth, 7)));
    if let Ok(table) = CircuitTable::new(chosen.clone(), circuits.iter().copied().chain(needed).collect()) {
        assert_eq!(CircuitTable::from_bytes(&table.to_bytes()).as_ref(), Ok(&table));
        read(&table, &columns);
    }
});

fn altered(mut bytes: Vec<u8>, alterations: &[(u16, u8)]) -> Vec<u8> {
    let length = bytes.len();
    alterations.iter().for_each(|(place, with)| bytes[usize::from(*place) % length] ^= with);
    bytes
}

/// Each circuit is in its place, and reads columns by its own set.
fn read(table: &CircuitTable, columns: &[u8]) {
    for (place, circuit) in (0u16..).zip(table.circuits()) {
        assert_eq!((table.circuit(place), table.place(*circuit)), (Some(*circuit), Some(place)));
        let count = circuit.slots.min(3);
        let layout = Layout::payments(circuit.kind, count).unwrap_or_else(|| {
            Layout::Step(count, table.operations(circuit.operations).expect("each circuit of steps has a set").clone())
        });
        let (min, max) = layout.record_lengths();
        assert!(min <= max && (0..=10_000).contains(&max));
        if let Ok(records) = codec::from_columns(&[layout], columns) {
            assert_eq!(codec::columns(&records.iter().collect::<Vec<_>>()), columns);
            // More slots take long to hash.
            assert!(circuit.slots > 64 || records[0].digest(circuit.slots).is_some());
        }
    }
    assert_eq!(table.circuit(table.circuits().len() as u16), None);
}
