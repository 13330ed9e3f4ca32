//! Anchor payloads: the input is a payload whose proofs are put in, so that the fuzzer need not find points of the
//! curve; and the refutations of exit requests by themselves.
#![no_main]

use ark_ec::AffineRepr;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use taproof_verifier::{
    ark_bn254::{G1Affine, G2Affine},
    cell::Depth,
    exit::Refutation,
    groth16::Proof,
    operation::{Check, Columns, Operation, OperationSet},
    payload::{CHUNK_HEADER_LENGTH, HEADER_LENGTH, Header, Payload, REGISTERS_LENGTH},
    program::CircuitTable,
    record::Kind,
    statement::CircuitId,
};

/// The groups' generators: a proof of nothing, but a well-formed one.
static PROOF: LazyLock<[u8; Proof::LENGTH]> = LazyLock::new(|| {
    let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
    Proof::new(g1, g2, g1).expect("the generators are points of the groups").to_bytes()
});

/// A program at two depths: in places 0 to 7 circuits of payments, in 8 and 9 circuits of steps with each check.
static TABLE: LazyLock<Arc<CircuitTable>> = LazyLock::new(|| {
    let operation = |check: Check| Operation { number: check as u8 + 1, columns: Columns::ALL, check };
    let set = OperationSet::new(Check::ALL.map(operation).to_vec()).expect("ascending numbers");
    let circuits = [2, 10].into_iter().filter_map(Depth::new).flat_map(|depth| {
        let step = CircuitId { operations: set.hash(), ..CircuitId::new(Kind::Step, depth, 8) };
        Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth, 8)).into_iter().chain([step])
    });
    let circuits = circuits.collect();
    Arc::new(CircuitTable::new(vec![set], circuits).expect("a circuit of each kind of payment"))
});

fuzz_target!(|input: &[u8]| {
    decode(input);
    for depth in (1..=Depth::MAX.levels()).filter_map(Depth::new) {
        if let Ok(refutation) = Refutation::from_bytes(input, depth) {
            let mut bytes = Vec::new();
            refutation.write(&mut bytes);
            assert_eq!(bytes, input);
        }
    }
    if input.len() < HEADER_LENGTH {
        return;
    }
    let (header, mut rest) = input.split_at(HEADER_LENGTH);
    let chunk_count = usize::from(u16::from_le_bytes([header[HEADER_LENGTH - 12], header[HEADER_LENGTH - 11]])).min(64);
    let chunk_headers = rest;
    for _ in 0..chunk_count {
        let place = rest.first_chunk().map(|place| u16::from_le_bytes(*place));
        let is_step = place.and_then(|place| TABLE.circuit(place)).is_some_and(|circuit| circuit.kind == Kind::Step);
        let length = CHUNK_HEADER_LENGTH + if is_step { REGISTERS_LENGTH } else { 0 };
        let Some((_, records)) = rest.split_at_checked(length) else { return };
        rest = records;
    }
    let chunk_headers = &chunk_headers[..chunk_headers.len() - rest.len()];
    decode(&[header, chunk_headers, &PROOF.repeat(chunk_count), rest].concat());
});

fn decode(bytes: &[u8]) {
    let _ = Header::decode(bytes);
    if let Ok(payload) = Payload::decode(bytes, &TABLE) {
        assert_eq!(payload.statements().len(), payload.chunks().len());
        let encoded = payload.encode().expect("a payload that was decoded fits");
        assert_eq!(Payload::decode(&encoded, &TABLE), Ok(payload));
    }
}
