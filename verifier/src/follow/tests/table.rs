//! Each rule broken alone: the anchor is ignored with its reason, and the good one behind it in the same block is not.

use super::*;
use crate::{
    bridge::tests::signer,
    cell::{CellIndex, ChainId},
    envelope::{Announcement, EnvelopeError},
    groth16::RejectedError,
    payload::{self, CHUNK_HEADER_LENGTH, Chunk, HEADER_LENGTH, Payload, PayloadError},
    program::VerifyError,
    record::{Kind, OpenRecord, Records, TransferRecord},
    statement::CircuitId,
    toy_chain::{POSTER_SECRET, sign_reveal},
};
use ark_bn254::Fr;

/// A branch with one batch, whose reference is block 1, and three blocks.
fn branch() -> Branch {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[10])]);
    let batch = branch.batch();
    branch.mine(alloc::vec![branch.anchor(&batch)]);
    branch.mine(alloc::vec![deposit_transaction(2, &[20])]);
    branch
}

fn assert_ignored(branch: &Branch, broken: Transaction, expected: RuleError) {
    let mut branch = branch.clone();
    let good = branch.anchor(&branch.batch());
    let events = branch.mine(alloc::vec![broken, good]);
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![expected], alloc::vec![1]));
}

/// A rollup whose anchors have the mark of the toy rollup's.
fn namesake() -> ChainId {
    let mut id = params().chain_id().to_byte_array();
    id[14] ^= 1;
    ChainId::from_byte_array(id)
}

#[test]
fn each_field_of_the_header_is_compared() {
    type Alter = fn(&mut payload::Header);
    let branch = branch();
    let tip = branch.follower.tip;
    let other_program = ProgramId::from_byte_array([1; 32]);
    let at = |height| branch.follower.headers.at(height).expect("mined");
    let zeros = bitcoin::hashes::Hash::all_zeros();
    let next = tip.batches;
    let cases: [(Alter, RuleError); 13] = [
        (|h| h.chain_id = namesake(), RuleError::ChainId { expected: params().chain_id(), found: namesake() }),
        (|h| h.batch += 1, RuleError::Batch { expected: next, found: next + 1 }),
        (|h| h.batch -= 1, RuleError::Batch { expected: next, found: next - 1 }),
        (
            |h| h.previous_payload_hash = PayloadHash::NONE,
            RuleError::PreviousPayload { expected: tip.payload_hash, found: PayloadHash::NONE },
        ),
        (
            |h| h.program_id = ProgramId::from_byte_array([1; 32]),
            RuleError::Program { expected: program().id(), found: other_program },
        ),
        (|h| h.root_before += Fr::from(1u64), RuleError::RootBefore),
        (|h| h.depth = depth(3), RuleError::RootBefore),
        (|h| h.depth = depth(1), RuleError::Depth { tip: depth(2), found: depth(1) }),
        (
            |h| h.reference_hash = bitcoin::hashes::Hash::all_zeros(),
            RuleError::ReferenceUnknown(BlockId { height: 3, hash: zeros }),
        ),
        (|h| h.reference_height = 2, RuleError::ReferenceUnknown(BlockId { height: 2, hash: at(3).hash })),
        (|h| h.reference_height = 4, RuleError::ReferenceUnknown(BlockId { height: 4, hash: at(3).hash })),
        (|h| h.deposits_consumed += 1, RuleError::DepositCount { expected: 2, found: 3 }),
        (|h| h.deposits_consumed -= 1, RuleError::DepositCount { expected: 2, found: 1 }),
    ];
    for (alter, expected) in cases {
        let broken = anchor_of(&branch.batch(), |header, _| alter(header));
        assert_ignored(&branch, broken, expected);
    }
}

#[test]
fn the_reference_does_not_go_back_and_not_ahead() {
    let branch = branch();
    let at = |height| branch.follower.headers.at(height).expect("mined");
    let back = Batch { reference: at(0), deposits: Vec::new(), ..branch.batch() };
    assert_ignored(&branch, branch.anchor(&back), RuleError::ReferenceGoesBack { tip: 1, found: 0 });
    let same = Batch { reference: at(1), deposits: Vec::new(), ..branch.batch() };
    let mut accepted = branch.clone();
    assert_eq!(verified(&accepted.mine(alloc::vec![branch.anchor(&same)])), [1]);
    // The anchor's own block is known when headers come before blocks, yet it is no ancestor of itself.
    let mut ahead = branch.clone();
    let block = ahead.next_block(Vec::new());
    assert_eq!(ahead.follower.accept_header(block.header), Ok(None));
    let id = ahead.follower.next_block().expect("its header is known");
    let own = ahead.follower.check_reference(id, id);
    assert_eq!(own, Err(RuleError::ReferenceUnknown(id)));
}

#[test]
fn output_0_and_payload_agree() {
    let branch = branch();
    let payload = payload_of(&branch.batch(), |_, _| ());
    let header = payload::Header::decode(&payload).expect("well-formed");
    let payload_hash = PayloadHash::of(&payload);
    let announcement = Announcement { batch: header.batch, payload_hash, root_after: header.root_after };
    let with = |announcement: Announcement| {
        let mut reveal = reveal_of(&payload);
        reveal.output[0].script_pubkey = announcement.script_pubkey(params().chain_id());
        sign_reveal(POSTER_SECRET, &payload, &mut reveal);
        reveal
    };
    assert_eq!(with(announcement), reveal_of(&payload));
    let other_batch = Announcement { batch: 2, ..announcement };
    assert_ignored(&branch, with(other_batch), RuleError::Announcement);
    let other_root = Announcement { root_after: Fr::from(1u64), ..announcement };
    assert_ignored(&branch, with(other_root), RuleError::Announcement);
    let other_hash = Announcement { payload_hash: PayloadHash::NONE, ..announcement };
    assert_ignored(&branch, with(other_hash), RuleError::Envelope(EnvelopeError::PayloadHash));
}

#[test]
fn openings_move_the_least_amount_in_bitcoin() {
    let branch = branch();
    let cell = CellIndex::new(3).expect("a small index");
    let opening = |token, amounts: &[u64]| {
        let record = |amount: &u64| OpenRecord { from: cell, to: cell, amount: *amount, fee: u64::MAX, owner: key(1) };
        let records = Records::Open(amounts.iter().map(record).collect());
        anchor_of(&branch.batch(), |_, chunks| {
            let (root_after, circuit) = (chunks[1].root_after, CircuitId::new(Kind::Open, depth(2), SLOTS));
            chunks.push(Chunk { circuit, token, records, root_after, ..chunks[1].clone() });
        })
    };
    let min_sat = OPENING_MIN_SAT;
    let refused = |token, amount| RuleError::Opening { min_sat, token, amount };
    let cases = [
        (Token::BITCOIN, min_sat - 1),
        (Token::BITCOIN, 0),
        (Token(1), min_sat),
        (Token(1), u64::MAX),
        (Token(u32::MAX), 0),
    ];
    for (token, amount) in cases {
        assert_ignored(&branch, opening(token, &[amount]), refused(token, amount));
    }
    let mixed = opening(Token::BITCOIN, &[u64::MAX, min_sat, min_sat - 1, 0]);
    assert_ignored(&branch, mixed, refused(Token::BITCOIN, min_sat - 1));
    for amounts in [&[min_sat, u64::MAX][..], &[]] {
        let mut branch = branch.clone();
        assert_eq!(verified(&branch.mine(alloc::vec![opening(Token::BITCOIN, amounts)])), [1]);
    }
    // A chunk of another token that opens nothing breaks no rule.
    let mut branch = branch.clone();
    assert_eq!(verified(&branch.mine(alloc::vec![opening(Token(1), &[])])), [1]);
}

#[test]
fn payloads_decode_and_proofs_prove() {
    let branch = branch();
    let payload = payload_of(&branch.batch(), |_, _| ());
    let longer = [payload.as_slice(), &[0]].concat();
    assert_ignored(&branch, reveal_of(&longer), RuleError::Payload(PayloadError::Length));
    let rejected = RuleError::Proof(VerifyError::Rejected(RejectedError));
    type Alter = fn(&mut Vec<Chunk>);
    let after_proving: [Alter; 5] = [
        |chunks| chunks[1].operator = CellIndex::new(1).expect("a small index"),
        |chunks| chunks[1].token = Token(1),
        |chunks| chunks[0].root_after = Fr::from(5u64),
        |chunks| {
            let (first, second) = (chunks[0].proof.clone(), chunks[1].proof.clone());
            (chunks[0].proof, chunks[1].proof) = (second, first);
        },
        |chunks| {
            let cell = CellIndex::new(1).expect("a small index");
            chunks[1].records =
                Records::Transfer(alloc::vec![TransferRecord { from: cell, to: cell, amount: 0, fee: 0 }]);
        },
    ];
    let decoded = Payload::decode(&payload, program().table()).expect("well-formed");
    for alter in after_proving {
        let mut chunks = decoded.chunks().to_vec();
        alter(&mut chunks);
        let altered = Payload::new(decoded.table().clone(), *decoded.header(), chunks)
            .and_then(|payload| payload.encode())
            .expect("well-formed");
        assert_ignored(&branch, reveal_of(&altered), rejected);
    }
    // The circuit of the second chunk, as a place that the program has none in.
    let mut unknown = payload;
    let place = program().circuits().len() as u16;
    unknown[HEADER_LENGTH + CHUNK_HEADER_LENGTH..][..2].copy_from_slice(&place.to_le_bytes());
    assert_ignored(&branch, reveal_of(&unknown), RuleError::Payload(PayloadError::Place { chunk: 1, place }));
    // Another circuit of the program than the one that was proven.
    let large = CircuitId::new(Kind::Deposit, depth(2), SLOTS_LARGE);
    let mut chunks = decoded.chunks().to_vec();
    chunks[0].circuit = large;
    let altered = Payload::new(decoded.table().clone(), *decoded.header(), chunks).and_then(|payload| payload.encode());
    assert_ignored(&branch, reveal_of(&altered.expect("well-formed")), rejected);
    // What was posted by protocol 2 is told as that.
    let mut old = decoded.encode().expect("short");
    old[0] = 2;
    assert_eq!(branch.follower.preview(&old, signer(POSTER_SECRET)), Err(RuleError::Payload(PayloadError::Version(2))));
}
