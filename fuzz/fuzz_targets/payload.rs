//! Anchor payloads: the input is a payload whose proofs are put in, so that the fuzzer need not find points of the
//! curve; and the refutations of exit requests by themselves.
#![no_main]

use ark_ec::AffineRepr;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_verifier::{
    ark_bn254::{G1Affine, G2Affine},
    cell::Depth,
    exit::Refutation,
    groth16::Proof,
    payload::{CHUNK_HEADER_LENGTH, HEADER_LENGTH, Header, Payload},
};

/// The groups' generators: a proof of nothing, but a well-formed one.
static PROOF: LazyLock<[u8; Proof::LENGTH]> = LazyLock::new(|| {
    let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
    Proof::new(g1, g2, g1).expect("the generators are points of the groups").to_bytes()
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
    let (header, rest) = input.split_at(HEADER_LENGTH);
    let chunk_count = usize::from(u16::from_le_bytes([header[HEADER_LENGTH - 11], header[HEADER_LENGTH - 10]]));
    let chunk_headers_length = chunk_count.min(64) * CHUNK_HEADER_LENGTH;
    if rest.len() < chunk_headers_length {
        return;
    }
    let (chunk_headers, records) = rest.split_at(chunk_headers_length);
    decode(&[header, chunk_headers, &PROOF.repeat(chunk_count.min(64)), records].concat());
});

fn decode(bytes: &[u8]) {
    let _ = Header::decode(bytes);
    if let Ok(payload) = Payload::decode(bytes) {
        assert_eq!(payload.statements().len(), payload.chunks().len());
        let encoded = payload.encode().expect("a payload that was decoded fits");
        assert_eq!(Payload::decode(&encoded), Ok(payload));
    }
}
