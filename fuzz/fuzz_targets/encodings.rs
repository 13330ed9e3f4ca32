//! Fixed encodings: whatever decodes must encode to the very bytes it came from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_circuits::cap::MerkleCap;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellElements, MerklePath},
    field,
    groth16::{Proof, VerifyingKey},
    operation::OperationSet,
    program::{CircuitTable, Program},
};

fuzz_target!(|input: &[u8]| {
    if let Some(bytes) = input.first_chunk::<32>() {
        if let Ok(element) = field::from_bytes(bytes) {
            assert_eq!(field::to_bytes(&element), *bytes);
        }
        if let Ok(key) = PublicKey::from_bytes(bytes) {
            assert_eq!(key.to_bytes(), *bytes);
        }
    }
    if let Some(bytes) = input.first_chunk::<{ Proof::LENGTH }>()
        && let Ok(proof) = Proof::from_bytes(bytes)
    {
        assert_eq!(proof.to_bytes(), *bytes);
    }
    if let Some(bytes) = input.first_chunk::<{ CellElements::LENGTH }>()
        && let Ok(elements) = CellElements::from_bytes(bytes)
    {
        assert_eq!(elements.to_bytes(), *bytes);
        if let Some(cell) = elements.cell() {
            assert_eq!(cell.elements(), elements);
        }
    }
    if let Ok(path) = MerklePath::from_bytes(input) {
        assert_eq!(path.to_bytes(), input);
    }
    if let Ok(cap) = MerkleCap::from_bytes(input) {
        assert_eq!(cap.to_bytes(), input);
    }
    if let Ok(key) = VerifyingKey::from_bytes(input) {
        assert_eq!(key.to_bytes().as_slice(), input);
    }
    if let Ok(program) = Program::from_bytes(input) {
        assert_eq!(program.to_bytes(), input);
    }
    if let Ok(table) = CircuitTable::from_bytes(input) {
        assert_eq!(table.to_bytes(), input);
    }
    if let Ok((set, rest)) = OperationSet::from_start(input) {
        assert_eq!([set.to_bytes(), rest.to_vec()].concat(), input);
    }
});
