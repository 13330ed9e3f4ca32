//! What is posted beside records: whatever the bytes, checks answer without a panic, and only what is true holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_verifier::{
    bitcoin::{block::Header, consensus::deserialize},
    cell::{CellElements, CellIndex, Depth},
    evidence::{Claim, ClaimRequest, FeedReport, HeaderFact, HeaderField, Secret, verify_bip340},
    exit::{Refuting, Request},
    headers::BlockId,
};

fuzz_target!(|input: &[u8]| {
    let Some((secret, rest)) = input.split_first_chunk::<32>() else { return };
    let cell = CellIndex::default();
    for secret in [Secret::Preimage(*secret), Secret::Scalar(*secret)] {
        let Ok(word) = secret.word() else { continue };
        let claim = Claim { cell, word, height_blocks: 1 };
        let request = ClaimRequest { cell, secret: *secret.as_bytes(), height_blocks: 1 };
        assert_eq!(claim.check(&secret, 1, []), Ok(()));
        assert_eq!(claim.check(&secret, 2, [request]), Ok(()));
        assert!(claim.check(&secret, 2, []).is_err() && claim.check(&secret, 0, [request]).is_err());
    }
    // Whatever a cell holds, what is said to refute a claim on it does, and nothing else does.
    if let Some(elements) = rest.first_chunk().and_then(|bytes| CellElements::from_bytes(bytes).ok()) {
        let request: Request = ClaimRequest { cell, secret: *secret, height_blocks: 1 }.into();
        let refuting = request.refuted_by(Depth::MAX, |_| Some(elements));
        for cell in refuting.iter().flat_map(Refuting::cells) {
            assert_eq!(request.refuted_by(Depth::MAX, |shown| (shown != cell).then_some(elements)), None);
        }
    }
    if let Some((message, rest)) = rest.split_first_chunk::<32>()
        && let Some(signature) = rest.first_chunk::<64>()
    {
        let _ = FeedReport::word(secret);
        let _ = verify_bip340(secret, message, signature);
    }
    if let Some(bytes) = input.first_chunk::<{ Header::SIZE }>() {
        let header: Header = deserialize(bytes).expect("80 bytes are a header");
        let block = BlockId { height: 1, hash: header.block_hash() };
        for field in HeaderField::ALL {
            let value = field.value(&header);
            let fact = HeaderFact { field, height_blocks: 1, value: value.unwrap_or_default() };
            assert_eq!(fact.check(&header, block, 1).is_ok(), value.is_some());
            assert!(fact.check(&header, block, 0).is_err());
        }
    }
});
