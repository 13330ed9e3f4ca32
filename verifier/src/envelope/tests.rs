use super::*;
use crate::{
    cell::{ChainId, Depth, empty_root},
    program::ProgramId,
};
use bitcoin::{
    BlockHash, TapSighashType,
    hashes::Hash,
    opcodes::{
        Opcode,
        all::{OP_CHECKSIG, OP_ENDIF, OP_IF, OP_NOP, OP_NOT},
    },
    secp256k1::{Keypair, Message},
    sighash::{Prevouts, SighashCache},
};
use proptest::prelude::*;

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);

fn keypair() -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[5; 32]).expect("a small secret key")
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
    let mut transaction = envelope.reveal_transaction(OutPoint::null(), change);
    let mut cache = SighashCache::new(&transaction);
    let (prevouts, sighash_type) = (Prevouts::All(&[commit]), TapSighashType::Default);
    let sighash = cache
        .taproot_script_spend_signature_hash(0, &prevouts, envelope.leaf_hash(), sighash_type)
        .expect("the input exists");
    let signature = secp.sign_schnorr_no_aux_rand(&Message::from(sighash), &keypair());
    transaction.input[0].witness = envelope.witness(&secp, &taproot::Signature { signature, sighash_type });
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
