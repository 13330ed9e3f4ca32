//! Batches with steps: their records by the table alone, their registers, how late they may be, and their evidence.

use super::*;
use crate::{
    bridge::tests::signer,
    cell::CellIndex,
    evidence::{Bip340Error, ClaimError, FeedError, FeedReport, HeaderFactError, HeaderField, Secret},
    groth16::RejectedError,
    operation::tests::example_set,
    payload::{CHUNK_HEADER_LENGTH, Chunk, HEADER_LENGTH, Payload, PayloadError},
    program::VerifyError,
    record::{Evidence, Kind, Records, StepRecord, StepRecords},
    statement::CircuitId,
    toy_chain::POSTER_SECRET,
};
use alloc::sync::Arc;
use ark_bn254::Fr;
use bitcoin::{
    consensus::serialize,
    secp256k1::{Keypair, Message, Secp256k1},
};

/// A chunk of steps that leaves registers.
pub(super) fn steps(records: Vec<StepRecord>, root_after: Fr, registers_after: u64) -> Chunk {
    let set = Arc::new(example_set());
    let circuit = CircuitId { operations: set.hash(), ..CircuitId::new(Kind::Step, depth(2), SLOTS) };
    let records = Records::Step(StepRecords::new(set, records).expect("records of the set"));
    let (registers_after, operator) = (Fr::from(registers_after), CellIndex::default());
    Chunk { circuit, token: Token::BITCOIN, operator, root_after, registers_after, records, proof: any_proof() }
}

/// The payload of an empty batch with chunks of steps behind it, each with these records and registers after.
fn payload_with(branch: &Branch, chunks: Vec<(Vec<StepRecord>, u64)>) -> Vec<u8> {
    let batch = Batch { deposits: Vec::new(), ..branch.batch() };
    payload_of(&batch, |header, all| {
        all.extend(chunks.into_iter().map(|(records, registers)| steps(records, header.root_after, registers)));
    })
}

fn branch() -> Branch {
    let mut branch = Branch::new();
    (0..3).for_each(|_| drop(branch.mine(Vec::new())));
    branch
}

/// An operation without a check.
fn plain() -> StepRecord {
    let cell = CellIndex::new(5).expect("a small index");
    StepRecord { flags: 1, cell, a: 2, b: 3, c: 4, word: Fr::from(5u64), ..StepRecord::new(1) }
}

#[test]
fn a_verifier_that_knows_no_operation_follows_batches_with_steps() {
    let mut branch = branch();
    let payload =
        payload_with(&branch, alloc::vec![(alloc::vec![plain(); 3], 7), (alloc::vec![StepRecord::new(255)], 0)]);
    assert_eq!(branch.follower.preview(&payload, signer(POSTER_SECRET)), Ok(()));
    let events = branch.mine(alloc::vec![reveal_of(&payload)]);
    assert_eq!((refusals(&events), verified(&events)), (Vec::new(), alloc::vec![0]));
    let [Event::Verified(batch)] = &events[..] else { panic!("{events:?}") };
    let chunks = batch.payload().chunks();
    let Records::Step(records) = &chunks[3].records else { panic!("steps come last") };
    assert_eq!(records.records(), [plain(); 3]);
    let statements = batch.payload().statements();
    assert_eq!(statements[4].registers.before, Fr::from(7u64));
    // A batch behind it starts from registers of zeros again.
    let next = payload_with(&branch, alloc::vec![(Vec::new(), 0)]);
    assert_eq!(branch.follower.preview(&next, signer(POSTER_SECRET)), Ok(()));
}

/// What the first chunk leaves is what the second was proven to start from.
#[test]
fn registers_join_up() {
    let branch = branch();
    let chunks = || alloc::vec![(alloc::vec![plain()], 7), (alloc::vec![plain()], 0)];
    let payload = payload_with(&branch, chunks());
    assert_eq!(branch.follower.preview(&payload, signer(POSTER_SECRET)), Ok(()));
    let decoded = Payload::decode(&payload, program().table()).expect("well-formed");
    let mut altered = decoded.chunks().to_vec();
    altered[3].registers_after = Fr::from(8u64);
    let altered =
        Payload::new(decoded.table().clone(), *decoded.header(), altered).and_then(|payload| payload.encode());
    let refused = branch.follower.preview(&altered.expect("well-formed"), signer(POSTER_SECRET));
    assert_eq!(refused, Err(RuleError::Proof(VerifyError::Rejected(RejectedError))));
}

/// As bytes, since such a payload cannot be put together.
#[test]
fn registers_are_zero_at_the_end_and_before_payments() {
    let branch = branch();
    let payload = payload_with(&branch, alloc::vec![(alloc::vec![plain()], 0)]);
    let registers = HEADER_LENGTH + 4 * CHUNK_HEADER_LENGTH;
    let mut open = payload;
    assert_eq!(open[registers..][..32], [0; 32]);
    open[registers] = 1;
    let refused = branch.follower.preview(&open, signer(POSTER_SECRET));
    assert_eq!(refused, Err(RuleError::Payload(PayloadError::Registers { chunk: 3 })));
}

#[test]
fn batches_with_steps_refer_to_a_block_at_most_eighteen_below() {
    let params = params_with(|founding| (founding.deposit_window_blocks, founding.deposit_expiry_blocks) = (40, 120));
    for age in [0, 1, 16, 17, 18, 19, 30] {
        let mut branch = Branch::of(params.clone());
        (0..3).for_each(|_| drop(branch.mine(Vec::new())));
        let with_steps = payload_with(&branch, alloc::vec![(alloc::vec![plain()], 0)]);
        let without = payload_with(&branch, Vec::new());
        let reference = branch.follower.scanned.height;
        (0..age).for_each(|_| drop(branch.mine(Vec::new())));
        // The anchor stands one block above the last.
        assert_eq!(branch.follower.preview(&without, signer(POSTER_SECRET)), Ok(()), "{age} blocks later");
        let expected = match age {
            0..18 => Ok(()),
            _ => Err(RuleError::StepsTooLate { min: reference + age + 1 - 18, found: reference }),
        };
        assert_eq!(branch.follower.preview(&with_steps, signer(POSTER_SECRET)), expected, "{age} blocks later");
    }
}

fn preview(branch: &Branch, record: StepRecord) -> Result<(), RuleError> {
    let payload = payload_with(branch, alloc::vec![(alloc::vec![StepRecord::new(255), record], 0)]);
    branch.follower.preview(&payload, signer(POSTER_SECRET))
}

#[test]
fn claims_are_checked() {
    let branch = branch();
    let height = branch.follower.scanned.height;
    let cell = CellIndex::new(5).expect("a small index");
    let scalar = core::array::from_fn(|i| if i == 31 { 9 } else { 0 });
    let claim = |secret: Secret, c: u32| {
        let (word, bytes) = (secret.word().expect("a secret"), *secret.as_bytes());
        StepRecord { cell, c: c.into(), word, evidence: Evidence::Claim(bytes), ..StepRecord::new(7) }
    };
    for secret in [Secret::Preimage([3; 32]), Secret::Scalar(scalar)] {
        assert_eq!(preview(&branch, claim(secret, height)), Ok(()));
        let refused = |source| Err(RuleError::Claim { chunk: 3, position: 1, source });
        let other = StepRecord { evidence: Evidence::Claim([4; 32]), ..claim(secret, height) };
        assert_eq!(preview(&branch, other), refused(ClaimError::WordMismatch));
        let above = ClaimError::AboveReference { height_blocks: height + 1, reference_height_blocks: height };
        assert_eq!(preview(&branch, claim(secret, height + 1)), refused(above));
        let below = ClaimError::NotRequested { height_blocks: height - 1 };
        assert_eq!(preview(&branch, claim(secret, height - 1)), refused(below));
        let no_height = StepRecord { c: 1 << 32, ..claim(secret, height) };
        assert_eq!(preview(&branch, no_height), Err(RuleError::NoHeight { chunk: 3, position: 1 }));
    }
    // Zeros are no scalar, and open no lock but the one of their hash.
    let zeros = StepRecord { evidence: Evidence::Claim([0; 32]), ..claim(Secret::Scalar(scalar), height) };
    let refused = RuleError::Claim { chunk: 3, position: 1, source: ClaimError::WordMismatch };
    assert_eq!(preview(&branch, zeros), Err(refused));
}

#[test]
fn reports_of_feeds_are_checked() {
    let branch = branch();
    let cell = CellIndex::new(6).expect("a small index");
    let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).expect("a key");
    let key = pair.x_only_public_key().0.serialize();
    let report = FeedReport { chain_id: params().chain_id(), cell, values: [10, 20], height_blocks: 2 };
    let message = Message::from_digest(report.message());
    let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&message, &pair).serialize();
    let (word, evidence) = (FeedReport::word(&key), Evidence::Feed { key, signature });
    let record = StepRecord { cell, a: 10, b: 20, c: 2, word, evidence, ..StepRecord::new(8) };
    assert_eq!(preview(&branch, record), Ok(()));
    let refused = |source| Err(RuleError::Feed { chunk: 3, position: 1, source });
    let mismatch = FeedError::Signature(Bip340Error::Mismatch);
    for other in [
        StepRecord { a: 11, ..record },
        StepRecord { b: 21, ..record },
        StepRecord { c: 3, ..record },
        StepRecord { cell: CellIndex::new(7).expect("a small index"), ..record },
    ] {
        assert_eq!(preview(&branch, other), refused(mismatch));
    }
    assert_eq!(preview(&branch, StepRecord { word: Fr::from(1u64), ..record }), refused(FeedError::WordMismatch));
    let beyond = StepRecord { c: 2 + (1 << 32), ..record };
    assert_eq!(preview(&branch, beyond), Err(RuleError::NoHeight { chunk: 3, position: 1 }));
}

#[test]
fn header_facts_are_checked() {
    let mut branch = branch();
    let cell = CellIndex::new(6).expect("a small index");
    let header = branch.header;
    let height = branch.follower.scanned.height;
    let bytes = |header| serialize(&header).try_into().expect("80 bytes");
    let value = HeaderField::Time.value(&header).expect("a number");
    let fact = |c: u32| StepRecord {
        cell,
        a: value,
        b: HeaderField::Time as u64,
        c: c.into(),
        evidence: Evidence::Header(bytes(header)),
        ..StepRecord::new(9)
    };
    assert_eq!(preview(&branch, fact(height)), Ok(()));
    let refused = |source| Err(RuleError::HeaderFact { chunk: 3, position: 1, source });
    let mismatch = HeaderFactError::ValueMismatch { expected: value, found: value + 1 };
    assert_eq!(preview(&branch, StepRecord { a: value + 1, ..fact(height) }), refused(mismatch));
    let nothing = Err(RuleError::NoHeaderFact { chunk: 3, position: 1 });
    for b in [0, 6, 256 + HeaderField::Time as u64] {
        assert_eq!(preview(&branch, StepRecord { b, ..fact(height) }), nothing, "field {b}");
    }
    assert_eq!(preview(&branch, fact(height + 1)), nothing, "above the reference");
    let other = preview(&branch, fact(height - 1));
    assert!(matches!(other, Err(RuleError::HeaderFact { source: HeaderFactError::HeaderMismatch { .. }, .. })));
    // The headers before the last batch's reference are not every follower's.
    let batch = branch.batch();
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&batch)])), [0]);
    assert_eq!(branch.follower.tip.reference.height, height);
    assert_eq!(preview(&branch, fact(height)), Ok(()), "the reference itself");
    assert_eq!(preview(&branch, fact(height - 1)), nothing, "below it");
}
