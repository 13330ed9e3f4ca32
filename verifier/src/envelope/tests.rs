use super::*;
use crate::{
    cell::{ChainId, Depth, empty_root},
    program::ProgramId,
    toy_chain::{pair, sign_leaf},
};
use bitcoin::{
    BlockHash, Sequence, TapSighashType,
    hashes::Hash,
    opcodes::{
        Opcode,
        all::{OP_CHECKSIG, OP_ENDIF, OP_IF, OP_NOP, OP_NOT},
    },
    secp256k1::Keypair,
};
use proptest::prelude::*;

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);

fn keypair() -> Keypair {
    pair(5)
}

fn poster() -> XOnlyPublicKey {
    keypair().x_only_public_key().0
}

/// A payload's header, followed by filler up to a length.
fn payload(length: usize) -> Vec<u8> {
    let depth = Depth::new(4).expect("four levels");
    let mut bytes = alloc::vec![3];
    bytes.extend(CHAIN.to_byte_array());
    bytes.extend(9u64.to_le_bytes());
    bytes.extend([3; 32]);
    bytes.extend(field::to_bytes(&empty_root(4)));
    bytes.extend(field::to_bytes(&Fr::from(11u64)));
    bytes.push(depth.levels());
    bytes.extend(100u32.to_le_bytes());
    bytes.extend(BlockHash::all_zeros().to_byte_array());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(ProgramId::from_byte_array([4; 32]).to_byte_array());
    bytes.resize(length, 0x5a);
    bytes
}

fn reveal(payload: &[u8]) -> Transaction {
    let secp = Secp256k1::new();
    let envelope = Envelope::new(poster(), payload).expect("the payload has a header");
    let commit = TxOut { value: Amount::from_sat(9_000), script_pubkey: envelope.commit_script_pubkey(&secp) };
    let change = TxOut { value: Amount::from_sat(4_000), script_pubkey: commit.script_pubkey.clone() };
    let mut transaction =
        envelope.reveal_transaction(OutPoint::null(), commit.value, change).expect("not much is locked");
    let signature = sign_leaf(&keypair(), &transaction, &[commit], envelope.leaf_hash(), TapSighashType::Default);
    transaction.input[0].witness = envelope.witness(&secp, &signature);
    transaction
}

fn with_witness(elements: &[&[u8]]) -> Transaction {
    let mut transaction = reveal(&payload(300));
    transaction.input[0].witness = Witness::from_slice(elements);
    transaction
}

fn parse(transaction: &Transaction) -> Result<Option<Reveal>, EnvelopeError> {
    Reveal::parse(transaction, CHAIN)
}

#[test]
fn reveals_of_every_remainder_are_read_back() {
    let lengths = [197, 254, 255, 256, 257, 264, 330, 331, 332, 509, 510, 511, 764, 765, 766, 1_020, 100_001];
    for length in lengths.into_iter().chain([PAYLOAD_LENGTH_MAX]) {
        let payload = payload(length);
        let reveal = parse(&reveal(&payload)).expect("built by the rules").expect("of this rollup");
        assert_eq!(reveal.payload(), payload);
        assert_eq!(reveal.poster(), poster());
        assert_eq!((reveal.announcement().batch, reveal.announcement().root_after), (9, Fr::from(11u64)));
    }
    assert!(leaf_script(&poster(), &payload(PAYLOAD_LENGTH_MAX)).len() <= LEAF_LENGTH_MAX);
    let too_long = payload(PAYLOAD_LENGTH_MAX + 1);
    let error = EnvelopeError::TooLong(PAYLOAD_LENGTH_MAX + 1);
    assert_eq!(Envelope::new(poster(), &too_long), Err(error));
    assert_eq!(parse_leaf(&leaf_script(&poster(), &too_long)), Err(EnvelopeError::Leaf));
    assert!(matches!(Envelope::new(poster(), &payload(100)), Err(EnvelopeError::Payload(_))));
}

#[test]
fn a_last_push_of_one_byte_is_minimal_whatever_the_byte() {
    for byte in 0..=u8::MAX {
        let mut payload = payload(256);
        payload[255] = byte;
        let leaf = leaf_script(&poster(), &payload);
        assert!(leaf.instructions_minimal().all(|instruction| instruction.is_ok()), "{byte}");
        assert_eq!(parse_leaf(&leaf), Ok((poster(), payload)));
    }
}

#[test]
fn the_commit_commits_to_the_leaf_alone() {
    let secp = Secp256k1::new();
    let envelope = Envelope::new(poster(), &payload(700)).expect("the payload has a header");
    let spend_info = envelope.spend_info(&secp);
    assert_eq!(spend_info.internal_key(), poster());
    assert_eq!(ScriptBuf::new_p2tr_tweaked(spend_info.output_key()), envelope.commit_script_pubkey(&secp));
    let control = spend_info.control_block(&(envelope.leaf().to_owned(), LeafVersion::TapScript)).expect("its leaf");
    assert_eq!(control.size(), CONTROL_BLOCK_LENGTH);
    assert!(control.verify_taproot_commitment(&secp, spend_info.output_key().to_x_only_public_key(), envelope.leaf()));
}

#[test]
fn a_transaction_that_announces_nothing_is_nobodys_anchor() {
    let mut transaction = reveal(&payload(300));
    assert_eq!(Reveal::parse(&transaction, ChainId::from_byte_array([8; 15])), Ok(None));
    transaction.output.swap(0, 1);
    assert_eq!(parse(&transaction), Ok(None));
    transaction.output.clear();
    assert_eq!(parse(&transaction), Ok(None));
}

#[test]
fn each_part_of_the_form_is_demanded() {
    type Alter = fn(&mut Transaction);
    let cases: [(Alter, EnvelopeError); 9] = [
        (|tx| tx.output[0].value = Amount::from_sat(1), EnvelopeError::Output0Value(1)),
        (|tx| tx.output.truncate(1), EnvelopeError::OutputCount(1)),
        (|tx| tx.output.push(tx.output[1].clone()), EnvelopeError::OutputCount(3)),
        (|tx| tx.input.push(tx.input[0].clone()), EnvelopeError::InputCount(2)),
        (|tx| tx.input.clear(), EnvelopeError::InputCount(0)),
        (|tx| tx.input[0].script_sig = ScriptBuf::from(alloc::vec![0]), EnvelopeError::ScriptSig),
        (|tx| tx.input[0].witness.push([0x50]), EnvelopeError::WitnessCount(4)),
        (|tx| tx.input[0].witness.clear(), EnvelopeError::WitnessCount(0)),
        (
            |tx| {
                let announcement =
                    Announcement { batch: 9, payload_hash: PayloadHash::NONE, root_after: Fr::from(11u64) };
                tx.output[0].script_pubkey = announcement.script_pubkey(CHAIN);
            },
            EnvelopeError::PayloadHash,
        ),
    ];
    for (alter, error) in cases {
        let mut transaction = reveal(&payload(300));
        alter(&mut transaction);
        assert_eq!(parse(&transaction), Err(error));
    }
}

#[test]
fn output_0_is_exact() {
    let announcement =
        Announcement { batch: u64::MAX, payload_hash: PayloadHash::of(b"x"), root_after: Fr::from(2u64) };
    let script = announcement.script_pubkey(CHAIN);
    assert!(script.len() <= 83 && script.instructions_minimal().all(|instruction| instruction.is_ok()));
    assert_eq!(Announcement::parse(&script, CHAIN), Ok(Some(announcement)));
    let altered = |position: usize, byte: u8| {
        let mut bytes = script.to_bytes();
        bytes[position] = byte;
        Announcement::parse(Script::from_bytes(&bytes), CHAIN)
    };
    assert_eq!(altered(7, 1), Err(EnvelopeError::Version(1)));
    assert_eq!(altered(8, 0), Err(EnvelopeError::Kind(0)));
    assert_eq!(altered(80, 0xff), Err(EnvelopeError::Root(field::NotCanonicalError)));
    for position in 0..7 {
        assert_eq!(altered(position, 0), Ok(None));
    }
    let longer = [script.as_bytes(), &[0]].concat();
    assert_eq!(Announcement::parse(Script::from_bytes(&longer), CHAIN), Ok(None));
    assert_eq!(Announcement::parse(Script::from_bytes(&longer[..80]), CHAIN), Ok(None));
}

#[test]
fn the_control_block_is_that_of_a_lone_leaf() {
    let transaction = reveal(&payload(300));
    let witness = &transaction.input[0].witness;
    let (signature, leaf, control) = (&witness[0], &witness[1], &witness[2]);
    assert!(parse(&with_witness(&[signature, leaf, control])).is_ok());
    let parity = [&[control[0] ^ 1], &control[1..]].concat();
    assert!(parse(&with_witness(&[signature, leaf, &parity])).is_ok(), "consensus checks the parity");
    let version = [&[0xc2], &control[1..]].concat();
    let other_key = [&control[..32], &[control[32] ^ 1]].concat();
    let branch = [control, [0; 32].as_slice()].concat();
    for control in [&version[..], &other_key, &branch, &control[..32], &[]] {
        assert_eq!(parse(&with_witness(&[signature, leaf, control])), Err(EnvelopeError::ControlBlock));
    }
    for length in [0, 63, 66] {
        let error = EnvelopeError::SignatureLength(length);
        assert_eq!(parse(&with_witness(&[&alloc::vec![1; length], leaf, control])), Err(error));
    }
}

/// An output whose witness version has no rules yet is spent by any witness, so a copied leaf says nothing.
#[test]
fn only_the_posters_signature_of_all_of_this_transaction_makes_it_his() {
    type Alter = fn(&mut Transaction);
    let cases: [(&str, Alter, EnvelopeError); 8] = [
        ("no signature", |tx| replace(tx, &[1; 64]), EnvelopeError::Signature),
        ("of another transaction", |tx| tx.input[0].previous_output.vout = 7, EnvelopeError::Signature),
        ("of other outputs", |tx| tx.output[1].value = Amount::from_sat(3_999), EnvelopeError::Signature),
        ("of another value", |tx| tx.input[0].sequence.0 += 1, EnvelopeError::Signature),
        ("of no value", |tx| tx.input[0].sequence = Sequence::MAX, EnvelopeError::Sequence),
        ("of no value", |tx| tx.input[0].sequence = Sequence(0x7fff_ffff), EnvelopeError::Sequence),
        ("of less than all", |tx| replace(tx, &signed_as(tx, TapSighashType::None)), EnvelopeError::Sighash),
        ("of a kind that there is not", |tx| replace(tx, &[&[1; 64][..], &[0]].concat()), EnvelopeError::Sighash),
    ];
    for (case, alter, error) in cases {
        let mut transaction = reveal(&payload(300));
        alter(&mut transaction);
        assert_eq!(parse(&transaction), Err(error), "{case}");
    }
    let mut named = reveal(&payload(300));
    let signature = signed_as(&named, TapSighashType::All);
    assert_eq!(signature.len(), 65);
    replace(&mut named, &signature);
    assert!(parse(&named).is_ok());
    // Another key's, on the poster's leaf.
    let mut strangers = reveal(&payload(300));
    let signature = signed_by(&pair(6), &strangers, TapSighashType::Default);
    replace(&mut strangers, &signature);
    assert_eq!(parse(&strangers), Err(EnvelopeError::Signature));
}

/// Puts another signature into a reveal.
fn replace(transaction: &mut Transaction, signature: &[u8]) {
    let mut elements = transaction.input[0].witness.to_vec();
    elements[0] = signature.to_vec();
    transaction.input[0].witness = Witness::from_slice(&elements);
}

/// The poster's signature of a reveal that spends 9,000 sat.
fn signed_as(transaction: &Transaction, sighash_type: TapSighashType) -> Vec<u8> {
    signed_by(&keypair(), transaction, sighash_type)
}

fn signed_by(pair: &Keypair, transaction: &Transaction, sighash_type: TapSighashType) -> Vec<u8> {
    let leaf = TapLeafHash::from_script(Script::from_bytes(&transaction.input[0].witness[1]), LeafVersion::TapScript);
    let script_pubkey = ScriptBuf::new_p2tr(&Secp256k1::new(), poster(), Some(leaf.into()));
    let commit = TxOut { value: Amount::from_sat(9_000), script_pubkey };
    sign_leaf(pair, transaction, &[commit], leaf, sighash_type).to_vec()
}

#[test]
fn a_commit_locks_no_more_than_a_reveal_can_tell() {
    let envelope = Envelope::new(poster(), &payload(300)).expect("the payload has a header");
    let reveal = |locked| {
        let change = TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::new() };
        envelope.reveal_transaction(OutPoint::null(), locked, change).map(|transaction| transaction.input[0].sequence)
    };
    assert_eq!(reveal(TOLD_VALUE_MAX), Ok(Sequence(0xffff_fffd)));
    let more = TOLD_VALUE_MAX + Amount::from_sat(1);
    assert_eq!(reveal(more), Err(EnvelopeError::Value(more.to_sat())));
}

/// A leaf whose opcodes before and after the pushes are given.
fn leaf_with(before: &[Opcode], pushes: &[u8], after: &[Opcode]) -> ScriptBuf {
    let mut bytes = alloc::vec![0x20];
    bytes.extend(poster().serialize());
    bytes.extend(before.iter().map(|opcode| opcode.to_u8()));
    bytes.extend(pushes);
    bytes.extend(after.iter().map(|opcode| opcode.to_u8()));
    bytes.into()
}

#[test]
fn forged_leaves_are_no_anchors() {
    let mut push = alloc::vec![0x4c, 200];
    push.extend(payload(200));
    let check = OP_CHECKSIGVERIFY;
    assert!(parse_leaf(&leaf_with(&[check], &push, &[OP_DROP, OP_PUSHNUM_1])).is_ok());
    let pushbytes_0 = Opcode::from(0);
    let forged: [(&[Opcode], &[Opcode]); 10] = [
        (&[OP_CHECKSIG, OP_NOT, pushbytes_0, OP_IF], &[OP_ENDIF]),
        (&[OP_CHECKSIG, OP_NOT], &[OP_DROP]),
        (&[OP_CHECKSIG, OP_NOT, OP_DROP], &[OP_DROP, OP_PUSHNUM_1]),
        (&[OP_CHECKSIG, OP_DROP], &[OP_DROP, OP_PUSHNUM_1]),
        (&[OP_DROP, OP_DROP], &[OP_DROP, OP_PUSHNUM_1]),
        (&[check, OP_NOP], &[OP_DROP, OP_PUSHNUM_1]),
        (&[check], &[OP_DROP, OP_NOP, OP_PUSHNUM_1]),
        (&[check], &[OP_DROP, OP_PUSHNUM_1, OP_NOP]),
        (&[check], &[OP_PUSHNUM_1]),
        (&[check], &[OP_2DROP, OP_PUSHNUM_1]),
    ];
    for (before, after) in forged {
        assert_eq!(parse_leaf(&leaf_with(before, &push, after)), Err(EnvelopeError::Leaf), "{before:?} {after:?}");
    }
    let mut pushdata2 = alloc::vec![0x4d, 200, 0];
    pushdata2.extend(payload(200));
    let mut direct = alloc::vec![0x4c, 60];
    direct.extend([9; 60]);
    let two_short = [&[2, 9, 9][..], &[2, 9, 9]].concat();
    for pushes in [&pushdata2[..], &direct, &two_short, &[0x4c, 0], &[0], &[1, 5], &push[..100]] {
        for after in [&[OP_DROP, OP_PUSHNUM_1][..], &[OP_2DROP, OP_PUSHNUM_1]] {
            assert_eq!(parse_leaf(&leaf_with(&[check], pushes, after)), Err(EnvelopeError::Leaf), "{pushes:?}");
        }
    }
    let mut off_curve = leaf_with(&[check], &push, &[OP_DROP, OP_PUSHNUM_1]).to_bytes();
    off_curve[1..33].fill(0xff);
    assert_eq!(parse_leaf(Script::from_bytes(&off_curve)), Err(EnvelopeError::Leaf));
}

proptest! {
    #[test]
    fn an_altered_leaf_is_no_leaf_of_this_payload(
        length in 186usize..1_100,
        position: prop::sample::Index,
        flip in 1u8..,
    ) {
        let payload = payload(length);
        let mut bytes = leaf_script(&poster(), &payload).to_bytes();
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        let parsed = parse_leaf(Script::from_bytes(&bytes));
        prop_assert_ne!(parsed.clone(), Ok((poster(), payload)));
        if let Ok((poster, payload)) = parsed {
            let written = leaf_script(&poster, &payload);
            prop_assert_eq!(written.as_bytes(), &bytes);
        }
    }

    #[test]
    fn a_truncated_leaf_is_no_leaf(length in 186usize..1_100, cut: prop::sample::Index) {
        let bytes = leaf_script(&poster(), &payload(length)).to_bytes();
        let cut = cut.index(bytes.len());
        prop_assert_eq!(parse_leaf(Script::from_bytes(&bytes[..cut])), Err(EnvelopeError::Leaf));
    }

    #[test]
    fn no_bytes_panic(script in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_leaf(Script::from_bytes(&script));
        let _ = Announcement::parse(Script::from_bytes(&script), CHAIN);
        prop_assert!(parse_leaf(Script::from_bytes(&script)).is_err());
    }
}
