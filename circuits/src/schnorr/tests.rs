use super::*;
use ark_bn254::Fr;
use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, BigInt, BigInteger, Field};
use proptest::prelude::*;
use taproof_verifier::baby_jubjub::Point;

fn message(first: u64) -> Message {
    [first, 2, 3, 4].map(Fr::from)
}

fn with_response(signature: &Signature, response: BigInt<4>) -> [u8; 64] {
    let mut bytes = signature.to_bytes();
    bytes[32..].copy_from_slice(&response.to_bytes_le());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn signatures_verify_and_their_bytes_round_trip(seed: [u8; 32], first: u64) {
        let key = SecretKey::from_seed(&seed);
        let signature = key.sign(&message(first));
        prop_assert_eq!(signature.verify(key.public(), &message(first)), Ok(()));
        prop_assert_eq!(Signature::from_bytes(&signature.to_bytes()), Ok(signature));
        prop_assert_eq!(key.sign(&message(first)), signature);
        let other = key.sign(&message(first ^ 1));
        prop_assert_ne!(other.commitment(), signature.commitment());
    }

    #[test]
    fn any_altered_bit_is_refused(seed: [u8; 32], bit in 0usize..512) {
        let key = SecretKey::from_seed(&seed);
        let mut bytes = key.sign(&message(1)).to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(altered) = Signature::from_bytes(&bytes) {
            prop_assert_eq!(altered.to_bytes(), bytes);
            prop_assert!(altered.verify(key.public(), &message(1)).is_err());
        }
    }

    #[test]
    fn decoding_accepts_canonical_bytes_only(low: [u8; 32], high: [u8; 32]) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        if let Ok(signature) = Signature::from_bytes(&bytes) {
            prop_assert_eq!(signature.to_bytes(), bytes);
        }
    }
}

#[test]
fn another_key_or_message_is_refused() {
    let (key, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let signature = key.sign(&message(1));
    assert_eq!(signature.verify(other.public(), &message(1)), Err(SignatureError::Mismatch));
    for position in 0..4 {
        let mut altered = message(1);
        altered[position] += Fr::ONE;
        assert_eq!(signature.verify(key.public(), &altered), Err(SignatureError::Mismatch), "element {position}");
    }
}

#[test]
fn the_bound_of_hashes_is_the_order_with_its_low_half_cleared() {
    assert_eq!(CHALLENGE_BOUND, (Fr::MODULUS >> 128) << 128);
    assert!(CHALLENGE_BOUND < Fr::MODULUS);
}

#[test]
fn a_challenge_stands_for_an_odd_multiplier() {
    let power = Scalar::from(2u64).pow([128]);
    assert_eq!(multiplier(0), power + Scalar::ONE);
    assert_eq!(multiplier(5), power + Scalar::from(11u64));
    assert_eq!(multiplier(u128::MAX), power * Scalar::from(3u64) - Scalar::ONE);
}

#[test]
fn responses_at_and_above_the_order_are_refused() {
    let signature = SecretKey::from_seed(&[3; 32]).sign(&message(1));
    let below = (-Scalar::ONE).into_bigint();
    let accepted = Signature::from_bytes(&with_response(&signature, below)).expect("just below the order");
    assert_eq!(accepted.response(), -Scalar::ONE);
    let mut aliased = signature.response().into_bigint();
    aliased.add_with_carry(&Scalar::MODULUS);
    for response in [Scalar::MODULUS, aliased, BigInt::new([u64::MAX; 4])] {
        let decoded = Signature::from_bytes(&with_response(&signature, response));
        assert_eq!(decoded, Err(SignatureFormatError::ResponseTooLarge), "{response}");
    }
}

#[test]
fn commitments_outside_the_subgroup_are_refused() {
    let signature = SecretKey::from_seed(&[4; 32]).sign(&message(1));
    let decode = |y: Fr, negative: bool| {
        let mut bytes = signature.to_bytes();
        bytes[..32].copy_from_slice(&field::to_bytes(&y));
        bytes[31] |= u8::from(negative) << 7;
        Signature::from_bytes(&bytes)
    };
    let refused = |error| Err(SignatureFormatError::Commitment(error));
    assert_eq!(decode(Fr::ONE, false), refused(KeyError::NotInSubgroup), "the identity");
    assert_eq!(decode(-Fr::ONE, false), refused(KeyError::NotInSubgroup), "a point of order 2");
    let order_two = Point::new_unchecked(Fr::ZERO, -Fr::ONE);
    let mixed = (*signature.commitment().point() + order_two).into_affine();
    let mixed_is_negative = {
        let mut half = Fr::MODULUS;
        half.div2();
        mixed.x.into_bigint() > half
    };
    assert_eq!(decode(mixed.y, mixed_is_negative), refused(KeyError::NotInSubgroup), "a component of order 2");
    let off_curve = (2u64..).map(Fr::from).find(|y| decode(*y, false) == refused(KeyError::NotOnCurve));
    assert!(off_curve.is_some_and(|y| y < Fr::from(50u64)), "about half of all y are on no point");
    let mut not_canonical = signature.to_bytes();
    not_canonical[..31].fill(0xff);
    not_canonical[31] = 0x7f;
    assert_eq!(Signature::from_bytes(&not_canonical), refused(KeyError::NotCanonical));
}

#[test]
fn a_signature_yields_no_second_one() {
    let key = SecretKey::from_seed(&[5; 32]);
    let signature = key.sign(&message(1));
    let negated = PublicKey::new(-*signature.commitment().point()).expect("the negative of a key is a key");
    let one = Scalar::ONE;
    let shifted = PublicKey::new((*signature.commitment().point() + Point::generator()).into_affine()).expect("a key");
    for (commitment, response) in [
        (negated, signature.response()),
        (negated, -signature.response()),
        (*signature.commitment(), signature.response() + one),
        (shifted, signature.response() + one),
        (*signature.commitment(), Scalar::ZERO),
    ] {
        assert_eq!(
            Signature::new(commitment, response).verify(key.public(), &message(1)),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn each_counter_gives_another_valid_signature() {
    let key = SecretKey::from_seed(&[6; 32]);
    let first = key.sign_with_counter(&message(1), 0).expect("the bound refuses one in 2^128");
    let second = key.sign_with_counter(&message(1), 1).expect("the bound refuses one in 2^128");
    assert_ne!(first.commitment(), second.commitment());
    assert_eq!(second.verify(key.public(), &message(1)), Ok(()));
}

#[test]
fn nothing_secret_is_printed() {
    let key = SecretKey::from_seed(&[7; 32]);
    assert_eq!(format!("{key:?}"), format!("SecretKey(of {})", key.public()));
}

#[test]
fn signatures_stay_what_they_were() {
    let key = SecretKey::from_seed(&[8; 32]);
    let signature = key.sign(&message(1));
    assert_eq!(key.public().to_string(), "3e81694e60a8ca5bc9599c700530e0a885702f287a35e564ece80f71921ca51c");
    let (commitment, response) = (
        "df8edca40a3b03d640b3aca5b4f929083a5f9ff7dea6ad229b2d15ef1c9d7e81",
        "379276d630ac83107c9a85ef18756202e00d9cfa1f1cd8cec779e30a01d22a00",
    );
    assert_eq!(signature.to_string(), [commitment, response].concat());
}
