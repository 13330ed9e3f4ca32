use super::*;
use alloc::vec::Vec;
use ark_ff::{AdditiveGroup, Field};
use bitcoin::{CompactTarget, block::Version, consensus::deserialize, secp256k1::Keypair};
use proptest::prelude::*;
use taproof_fixtures::{MAINNET_BLOCK_702861, MAINNET_HEADERS_40000};

fn bytes<const N: usize>(digits: &str) -> [u8; N] {
    hex::decode(digits).expect("hexadecimal digits").try_into().expect("as many digits")
}

fn cell(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

fn header(bytes: &[u8]) -> Header {
    deserialize(&bytes[..Header::SIZE]).expect("80 bytes are a header")
}

/// FIPS 180-4's examples of one and of two blocks, the empty message, a million times the letter a, and a message of
/// 32 bytes from NIST's SHA256ShortMsg.rsp.
#[test]
fn sha256_is_that_of_fips_180_4() {
    let million = alloc::vec![b'a'; 1_000_000];
    let short = bytes::<32>("09fc1accc230a205e4a208e64a8f204291f581a12756392da4b8c0cf5ef02b95");
    let vectors: [(&[u8], &str); 5] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        (&short, "4f44c1c7fbebb6f9601829f3897bfd650c56fa07844be76489076356ac1886a4"),
    ];
    for (message, digest) in vectors {
        assert_eq!(sha256(message), bytes::<32>(digest));
    }
}

/// The digest of the bytes 0 to 31 ends in dd, of which 1d remains.
#[test]
fn a_word_is_the_digest_from_its_low_end_without_three_bits() {
    let preimage = core::array::from_fn(|position| position as u8);
    let expected = bytes("630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd7101d");
    assert_eq!(Secret::Preimage(preimage).word().map(|word| field::to_bytes(&word)), Ok(expected));
    assert_eq!(word(&[0; 32]), Fr::ZERO);
    let bit = |position: usize| {
        let mut digest = [0; 32];
        digest[position / 8] = 1 << (position % 8);
        word(&digest)
    };
    for position in 0..253 {
        assert_eq!(bit(position), Fr::from(2u64).pow([position as u64]), "bit {position}");
    }
    for position in 253..256 {
        assert_eq!(bit(position), Fr::ZERO, "bit {position}");
    }
    assert_eq!(word(&[0xff; 32]), Fr::from(2u64).pow([253]) - Fr::ONE);
}

/// n, the order of secp256k1, less a small number.
fn order_less(number: u8) -> [u8; 32] {
    let mut order = bytes::<32>("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    order[31] -= number;
    order
}

fn small_scalar(number: u8) -> [u8; 32] {
    let mut scalar = [0; 32];
    scalar[31] = number;
    scalar
}

/// The generator and its double as SEC 2 and every implementation have them.
#[test]
fn a_point_lock_commits_to_the_point_with_its_parity() {
    let generator = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let double = "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    let of_point = |parity: u8, x: &str| Ok(word(&sha256(&[&[parity], &bytes::<32>(x)[..]].concat())));
    assert_eq!(Secret::Scalar(small_scalar(1)).word(), of_point(2, generator));
    assert_eq!(Secret::Scalar(order_less(1)).word(), of_point(3, generator));
    assert_eq!(Secret::Scalar(small_scalar(2)).word(), of_point(2, double));
    assert_eq!(Secret::Scalar(order_less(2)).word(), of_point(3, double));
    for outside in [small_scalar(0), order_less(0), [0xff; 32]] {
        assert_eq!(Secret::Scalar(outside).word(), Err(ClaimError::ScalarOutOfRange));
        assert!(Secret::Preimage(outside).word().is_ok(), "any bytes are a preimage");
    }
}

#[test]
fn a_claim_holds_at_the_reference_or_at_its_requests_height() {
    const REFERENCE: u32 = 100;
    for secret in [Secret::Preimage([7; 32]), Secret::Scalar([7; 32])] {
        let word = secret.word().expect("7s are below the order");
        let claim = |height_blocks| Claim { cell: cell(3), word, height_blocks };
        let request = ClaimRequest { cell: cell(3), secret: [7; 32], height_blocks: 90 };
        let check = |claim: Claim, requests: &[ClaimRequest]| claim.check(&secret, REFERENCE, requests.iter().copied());
        assert_eq!(check(claim(REFERENCE), &[]), Ok(()));
        assert_eq!(check(claim(90), &[request]), Ok(()));
        assert_eq!(check(claim(90), &[ClaimRequest { height_blocks: 91, ..request }, request]), Ok(()));
        let others = [
            ClaimRequest { cell: cell(4), ..request },
            ClaimRequest { secret: [8; 32], ..request },
            ClaimRequest { height_blocks: 89, ..request },
        ];
        let not_requested = |height_blocks| Err(ClaimError::NotRequested { height_blocks });
        assert_eq!(check(claim(90), &others), not_requested(90));
        assert_eq!(check(claim(REFERENCE - 1), &[]), not_requested(REFERENCE - 1));
        let above = ClaimError::AboveReference { height_blocks: 101, reference_height_blocks: REFERENCE };
        let later = ClaimRequest { height_blocks: 101, ..request };
        assert_eq!(check(claim(101), &[later]), Err(above), "a request above the reference is not seen yet");
        let other_word = Claim { word: word + Fr::ONE, ..claim(REFERENCE) };
        assert_eq!(check(other_word, &[]), Err(ClaimError::WordMismatch));
    }
    let hash_lock = Secret::Preimage([7; 32]).word().expect("any bytes are a preimage");
    let claim = Claim { cell: cell(3), word: hash_lock, height_blocks: REFERENCE };
    assert_eq!(claim.check(&Secret::Scalar([7; 32]), REFERENCE, []), Err(ClaimError::WordMismatch));
    assert_eq!(claim.check(&Secret::Scalar([0; 32]), REFERENCE, []), Err(ClaimError::ScalarOutOfRange));
}

/// The file is bip-0340/test-vectors.csv of the BIPs' repository, unaltered. The four vectors added in 2022 are of
/// messages of other lengths than 32 bytes, which the type of a message rules out.
#[test]
fn signatures_are_those_of_bip_340() {
    let vectors = include_str!("bip340-test-vectors.csv").lines().skip(1);
    let mut lengths = Vec::new();
    for vector in vectors {
        let columns: Vec<_> = vector.splitn(8, ',').collect();
        let &[index, _, key, _, message, signature, result, comment] = &columns[..] else {
            panic!("a vector has eight columns: {vector}");
        };
        lengths.push(message.len() / 2);
        if message.len() != 64 {
            assert!(comment.starts_with("message of size"), "{index}");
            continue;
        }
        let checked = verify_bip340(&bytes(key), &bytes(message), &bytes(signature));
        let expected = match (result, index) {
            ("TRUE", _) => Ok(()),
            ("FALSE", "5" | "14") => Err(Bip340Error::Key),
            _ => Err(Bip340Error::Mismatch),
        };
        assert_eq!(checked, expected, "vector {index}: {comment}");
    }
    assert_eq!(lengths, [&[32; 15][..], &[0, 1, 17, 100]].concat());
}

fn report() -> FeedReport {
    FeedReport { chain_id: ChainId::from_byte_array([7; 15]), cell: cell(11), values: [5, 6], height_blocks: 800_000 }
}

/// The feed of a secret key: its public key, and its signature of a report.
fn signed(secret: &[u8; 32], report: &FeedReport) -> ([u8; 32], [u8; 64]) {
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, secret).expect("a secret key");
    let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest(report.message()), &pair);
    (pair.x_only_public_key().0.serialize(), signature.serialize())
}

/// Both were computed by other code, from the words of the module's documentation.
#[test]
fn a_report_is_encoded_and_hashed_as_documented() {
    let report = FeedReport {
        chain_id: ChainId::from_byte_array(core::array::from_fn(|i| i as u8 + 1)),
        cell: cell(0x0a0b_0c0d),
        values: [0x1112_1314_1516_1718, 0x2122_2324_2526_2728],
        height_blocks: 0x3132_3334,
    };
    assert_eq!(
        report.to_bytes(),
        bytes("0102030405060708090a0b0c0d0e0f0d0c0b0a1817161514131211282726252423222134333231")
    );
    assert_eq!(report.message(), bytes("e5419cf60f0fa7d56aa7e3289c83e87480a5a310ad0db8a0ddf2bdef85952a18"));
}

#[test]
fn a_report_holds_with_each_of_its_parts_alone() {
    let report = report();
    let (key, signature) = signed(&[3; 32], &report);
    let word = FeedReport::word(&key);
    assert_eq!(report.check(word, &key, &signature), Ok(()));
    let others = [
        FeedReport { chain_id: ChainId::from_byte_array([8; 15]), ..report },
        FeedReport { cell: cell(12), ..report },
        FeedReport { values: [4, 6], ..report },
        FeedReport { values: [5, 5], ..report },
        FeedReport { values: [6, 5], ..report },
        FeedReport { height_blocks: 800_001, ..report },
    ];
    let mismatch = Err(FeedError::Signature(Bip340Error::Mismatch));
    for other in others {
        assert_eq!(other.check(word, &key, &signature), mismatch, "{other:?}");
    }
    assert_eq!(report.check(word + Fr::ONE, &key, &signature), Err(FeedError::WordMismatch));
    let (other_key, other_signature) = signed(&[4; 32], &report);
    assert_eq!(report.check(word, &other_key, &other_signature), Err(FeedError::WordMismatch));
    assert_eq!(report.check(word, &key, &other_signature), mismatch);
    assert_eq!(report.check(FeedReport::word(&[0xff; 32]), &[0xff; 32], &signature), Err(Bip340Error::Key.into()));
    // The feed's signature of the same bytes without the tag is that of another message.
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[3; 32]).expect("a secret key");
    let untagged = secp.sign_schnorr_no_aux_rand(&Message::from_digest(sha256(&report.to_bytes())), &pair);
    assert_eq!(report.check(word, &key, &untagged.serialize()), mismatch);
}

/// Each number was read from the fixtures' bytes by other code.
#[test]
fn fields_are_read_from_mainnet_headers() {
    let block = header(MAINNET_BLOCK_702861);
    let values = HeaderField::ALL.map(|field| field.value(&block));
    let expected = [1_073_733_636, 1_633_002_641, 0x170e_d0eb, 1_104_860_899, 18_997_641_161_758];
    assert_eq!(values, expected.map(Some));
    for (position, difficulty) in [(0, 1), (320, 2), (2_336, 3), (9_999, 6)] {
        let header = header(&MAINNET_HEADERS_40000[position * Header::SIZE..]);
        assert_eq!(HeaderField::Difficulty.value(&header), Some(difficulty), "header {position}");
    }
    let odd =
        |bits| Header { version: Version::from_consensus(-1), bits: CompactTarget::from_consensus(bits), ..block };
    assert_eq!(HeaderField::Version.value(&odd(0)), Some(u32::MAX.into()));
    assert_eq!(HeaderField::Difficulty.value(&odd(0)), None, "a target of zero");
    assert_eq!(HeaderField::Difficulty.value(&odd(0x0100_0001)), None, "the bits stand for zero");
    assert_eq!(HeaderField::Difficulty.value(&odd(0x0400_0001)), None, "harder than 64 bits can say");
    assert_eq!(HeaderField::Difficulty.value(&odd(0x207f_ffff)), Some(0), "regtest");
}

#[test]
fn fields_have_numbers() {
    for number in 0..=u8::MAX {
        let field = HeaderField::from_number(number);
        assert_eq!(field.map(|field| field as u8), (1..=5).contains(&number).then_some(number));
    }
}

#[test]
fn a_header_fact_holds_with_each_of_its_parts_alone() {
    let header = header(MAINNET_BLOCK_702861);
    let block = BlockId { height: 702_861, hash: header.block_hash() };
    for field in HeaderField::ALL {
        let value = field.value(&header).expect("a value of 64 bits");
        let fact = HeaderFact { field, height_blocks: 702_861, value };
        assert_eq!(fact.check(&header, block, 702_861), Ok(()));
        assert_eq!(fact.check(&header, block, 702_862), Ok(()));
        let above = HeaderFactError::AboveReference { height_blocks: 702_861, reference_height_blocks: 702_860 };
        assert_eq!(fact.check(&header, block, 702_860), Err(above));
        let lower = HeaderFact { height_blocks: 702_860, ..fact };
        let height = HeaderFactError::Height { height_blocks: 702_860, found: 702_861 };
        assert_eq!(lower.check(&header, block, 702_861), Err(height));
        let altered = Header { nonce: header.nonce + 1, ..header };
        let mismatch = HeaderFactError::HeaderMismatch { expected: block.hash, found: altered.block_hash() };
        assert_eq!(fact.check(&altered, block, 702_861), Err(mismatch));
        let more = HeaderFact { value: value + 1, ..fact };
        let wrong = HeaderFactError::ValueMismatch { expected: value, found: value + 1 };
        assert_eq!(more.check(&header, block, 702_861), Err(wrong));
        for other in HeaderField::ALL.into_iter().filter(|other| *other != field) {
            let fact = HeaderFact { field: other, ..fact };
            assert!(fact.check(&header, block, 702_861).is_err(), "{other:?} has another value than {field:?}");
        }
    }
    let hard = Header { bits: CompactTarget::from_consensus(0), ..header };
    let fact = HeaderFact { field: HeaderField::Difficulty, height_blocks: 1, value: 0 };
    let block = BlockId { height: 1, hash: hard.block_hash() };
    assert_eq!(fact.check(&hard, block, 1), Err(HeaderFactError::NoValue));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_bit_of_a_preimage_counts(preimage: [u8; 32], bit in 0usize..256, height_blocks: u32) {
        let word = Secret::Preimage(preimage).word().expect("any bytes are a preimage");
        let claim = Claim { cell: cell(1), word, height_blocks };
        prop_assert_eq!(claim.check(&Secret::Preimage(preimage), height_blocks, []), Ok(()));
        let mut altered = preimage;
        altered[bit / 8] ^= 1 << (bit % 8);
        let checked = claim.check(&Secret::Preimage(altered), height_blocks, []);
        prop_assert_eq!(checked, Err(ClaimError::WordMismatch));
        let mut masked = sha256(&preimage);
        masked[31] &= 0x1f;
        prop_assert_eq!(field::to_bytes(&word), masked);
    }

    #[test]
    fn every_bit_of_a_signed_report_counts(
        secret in 1u8..255,
        (chain_id, index, values, height_blocks) in (any::<[u8; 15]>(), 0u32..1 << 30, any::<[u64; 2]>(), any::<u32>()),
        bit in 0usize..512,
    ) {
        let chain_id = ChainId::from_byte_array(chain_id);
        let report = FeedReport { chain_id, cell: cell(index), values, height_blocks };
        let (key, signature) = signed(&[secret; 32], &report);
        let word = FeedReport::word(&key);
        prop_assert_eq!(report.check(word, &key, &signature), Ok(()));
        let mut altered = signature;
        altered[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(report.check(word, &key, &altered), Err(Bip340Error::Mismatch.into()));
        let mut values = values;
        values[bit / 64 % 2] ^= 1 << (bit % 64);
        let other = FeedReport { values, ..report };
        prop_assert_eq!(other.check(word, &key, &signature), Err(Bip340Error::Mismatch.into()));
    }

    #[test]
    fn any_bytes_are_handled(
        (secret, key, message) in any::<([u8; 32], [u8; 32], [u8; 32])>(),
        signature in proptest::collection::vec(any::<u8>(), 64),
        header_bytes in proptest::collection::vec(any::<u8>(), Header::SIZE),
        (exponent, mantissa) in any::<(u8, u32)>(),
    ) {
        let claim = Claim { cell: cell(0), word: Fr::ZERO, height_blocks: 0 };
        prop_assert!(claim.check(&Secret::Preimage(secret), 0, []).is_err());
        prop_assert!(claim.check(&Secret::Scalar(secret), 0, []).is_err());
        let signature = signature.try_into().expect("64 bytes");
        prop_assert!(verify_bip340(&key, &message, &signature).is_err());
        let bits = CompactTarget::from_consensus(u32::from(exponent) << 24 | mantissa >> 8);
        for header in [header(&header_bytes), Header { bits, ..header(&header_bytes) }] {
            let block = BlockId { height: 0, hash: header.block_hash() };
            for field in HeaderField::ALL {
                let value = field.value(&header);
                let fact = HeaderFact { field, height_blocks: 0, value: value.unwrap_or(0) };
                prop_assert_eq!(fact.check(&header, block, 0).is_ok(), value.is_some());
            }
        }
    }
}
