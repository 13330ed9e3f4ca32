//! Anchor payloads: the input is a payload whose proofs are put in, so that the fuzzer need not find points of the
//! curve; and the refutations of exit requests by themselves.
#![no_main]

use ark_ec::AffineRepr;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_verifier::{
    ark_bn254::{Fr, G1Affine, G2Affine},
    baby_jubjub::{Point, PublicKey},
    cell::{CellIndex, Depth},
    exit::{ExitRequest, Refutation, Unchecked},
    groth16::Proof,
    payload::{CHUNK_HEADER_LENGTH, HEADER_LENGTH, Header, Payload},
    record::Destination,
    schnorr::Signature,
};

/// The groups' generators: a proof of nothing, but a well-formed one.
static PROOF: LazyLock<[u8; Proof::LENGTH]> = LazyLock::new(|| {
    let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
    Proof::new(g1, g2, g1).expect("the generators are points of the groups").to_bytes()
});

/// A request that nobody signed.
static REQUEST: LazyLock<ExitRequest> = LazyLock::new(|| {
    let owner = PublicKey::new(Point::generator()).expect("the generator is a key");
    let signature = [owner.to_bytes(), [0; 32]].concat();
    let signature =
        Signature::from_bytes(signature.as_slice().try_into().expect("64 bytes")).expect("a point and zero");
    let destination = Destination::P2wpkh([0; 20]);
    let (from, amount_sat, fee_sat) = (CellIndex::default(), destination.payout_min_sat(), 0);
    let fields = Unchecked { from, nonce: 0, amount_sat, fee_sat, destination, owner, signature };
    fields.try_into().expect("amount and nonce are within their bounds")
});

fuzz_target!(|input: &[u8]| {
    decode(input);
    for depth in (1..=Depth::MAX.levels()).filter_map(Depth::new) {
        if let Ok(refutation) = Refutation::from_bytes(input, depth) {
            let mut bytes = Vec::new();
            refutation.write(&mut bytes);
            assert_eq!(bytes, input);
            // Whatever the elements are, they serve a request or refute it, and the first two tell most apart.
            let is_bitcoin_account = refutation.cell.0[..2] == [1, 0].map(Fr::from);
            assert!(is_bitcoin_account || !REQUEST.is_servable_by(&refutation.cell));
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
