//! Verification of signatures: the twin of [`Signature::verify`], 2,076 rows with the hash.
//!
//! Nothing switches the check off: a padding slot carries a signature like any other. The signer's key must be a point
//! of order l, as every owner in the state is.

use super::{
    baby_jubjub::{EdwardsPoint, multiply_base, multiply_key},
    bits::{self, Bit},
    poseidon2,
};
use crate::{
    cs::ConstraintSystem,
    schnorr::{CHALLENGE_BITS, CHALLENGE_BOUND, Signature},
};
use ark_bn254::Fr;
use ark_ff::{BigInt, Field, PrimeField};
use taproof_verifier::poseidon2::Domain;

/// The bits of a challenge's hash above the challenge: 125 that weigh powers of two, and a last one.
const HIGH_BITS: usize = 125;

/// The bound of a hash's high part: with it, [`CHALLENGE_BOUND`] is this times 2^128.
const HIGH_BOUND: u128 = high_part(&CHALLENGE_BOUND);

const _: () = assert!(1 << HIGH_BITS < HIGH_BOUND && HIGH_BOUND <= 2 << HIGH_BITS);

/// An integer divided by 2^128.
const fn high_part(integer: &BigInt<4>) -> u128 {
    integer.0[2] as u128 | (integer.0[3] as u128) << 64
}

/// Holds a signature of `message` by `key`, a point of order l, to be valid.
pub fn verify<CS: ConstraintSystem>(
    cs: &mut CS,
    signature: &Signature,
    key: &EdwardsPoint<CS::Var>,
    message: [CS::Var; 4],
) {
    let commitment = EdwardsPoint::witness(cs, signature.commitment().point());
    let [m0, m1, m2, m3] = message;
    let absorbed = [commitment.x.clone(), commitment.y.clone(), key.x.clone(), m0, m1, m2, m3];
    let hash = poseidon2::hash(cs, Domain::Challenge, &absorbed);
    let integer = cs.value(&hash).into_bigint();
    let challenge = challenge_bits(cs, &hash, &integer);
    let multiple = multiply_key(cs, &challenge, key);
    let expected = multiply_base(cs, &signature.response()).add(cs, &multiple.negate());
    // As the sum of two points of the subgroup, the commitment is one, and x tells it from the identity.
    cs.enforce_equal(&expected.x, &commitment.x);
    cs.enforce_equal(&expected.y, &commitment.y);
    bits::enforce_nonzero(cs, &commitment.x);
}

/// The bits of the challenge that a hash gives, which holds the hash below [`CHALLENGE_BOUND`]; 254 rows.
///
/// The bits weigh 2^0 to 2^252 and, the last, what makes the sum of all weights the bound less one. So the sums are
/// the integers below the bound, each congruent to one element, and the low 128 bits of a sum are those of its 128
/// first bits: the last weight is a multiple of 2^128. Of `integer`, the hash's value, a false one satisfies no row.
fn challenge_bits<CS: ConstraintSystem>(cs: &mut CS, hash: &CS::Var, integer: &BigInt<4>) -> Vec<Bit<CS::Var>> {
    let low = BigInt::new([integer.0[0], integer.0[1], 0, 0]);
    let low = Fr::from_bigint(low).expect("128 bits are below the order");
    let challenge = bits::witness_bits(cs, low, CHALLENGE_BITS as usize);
    let last_weight = HIGH_BOUND - (1 << HIGH_BITS);
    let high = high_part(integer);
    let high = if high >> HIGH_BITS == 0 { high } else { high - last_weight };
    let high = bits::witness_bits(cs, Fr::from(high), HIGH_BITS);
    let shift = Fr::from(2u64).pow([u64::from(CHALLENGE_BITS)]);
    let rest = hash.clone() - bits::compose(&challenge) - bits::compose(&high) * shift;
    let weight = Fr::from(last_weight) * shift;
    Bit::enforce(cs, rest * weight.inverse().expect("the last weight is not zero"));
    challenge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        schnorr::{Message, SecretKey, challenge_hash},
        testing::{Piece, assert_refused, assert_sound, run},
    };
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_ff::{AdditiveGroup, BigInteger};
    use proptest::prelude::*;
    use taproof_verifier::baby_jubjub::{Point, PublicKey, Scalar};

    #[derive(Clone)]
    struct Signed {
        signature: Signature,
        key: PublicKey,
        message: Message,
    }

    impl Signed {
        fn new(seed: u8, first: u64) -> Self {
            let secret = SecretKey::from_seed(&[seed; 32]);
            let message = [first, u64::MAX, 0, 7].map(Fr::from);
            Self { signature: secret.sign(&message), key: *secret.public(), message }
        }

        fn holds_natively(&self) -> bool {
            self.signature.verify(&self.key, &self.message).is_ok()
        }

        /// Whether the circuit accepts, which must be what the native twin says.
        fn assert_twins_agree(&self) -> bool {
            let (shape, assignment) = run(self);
            let holds = shape.first_unsatisfied(&assignment.wires).is_none();
            assert_eq!(holds, self.holds_natively());
            holds
        }
    }

    impl Piece for Signed {
        fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
            let key = EdwardsPoint::constant(self.key.point());
            verify(cs, &self.signature, &key, self.message.map(CS::Var::from));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn good_signatures_are_accepted(seed: u8, first: u64) {
            prop_assert!(Signed::new(seed, first).assert_twins_agree());
        }

        #[test]
        fn altered_messages_are_refused(seed: u8, first: u64, position in 0usize..4, change in 1u64..) {
            let mut signed = Signed::new(seed, first);
            signed.message[position] += Fr::from(change);
            prop_assert!(!signed.assert_twins_agree());
        }
    }

    #[test]
    fn a_signature_costs_what_it_should_and_leaves_no_wire_free() {
        let rows = assert_sound(&Signed::new(1, 2));
        assert_eq!(rows, poseidon2::ROWS_PER_PERMUTATION + 254 + 674 + (8 + 6 * 128) + 6 + 3);
        assert_eq!(rows, 2076);
    }

    #[test]
    fn other_keys_commitments_and_responses_are_refused() {
        let signed = Signed::new(3, 4);
        let (commitment, response) = (*signed.signature.commitment(), signed.signature.response());
        let other = *SecretKey::from_seed(&[4; 32]).public();
        let shifted = (*commitment.point() + Point::generator()).into_affine();
        let shifted = PublicKey::new(shifted).expect("a sum of keys");
        let negated = PublicKey::new(-*commitment.point()).expect("the negative of a key");
        let alter = |commitment, response| Signed { signature: Signature::new(commitment, response), ..signed.clone() };
        for altered in [
            Signed { key: other, ..signed.clone() },
            Signed { key: PublicKey::new(-*signed.key.point()).expect("the negative of a key"), ..signed.clone() },
            alter(other, response),
            alter(shifted, response + Scalar::ONE),
            alter(negated, response),
            alter(negated, -response),
            alter(commitment, response + Scalar::ONE),
            alter(commitment, -response),
            alter(commitment, Scalar::ZERO),
            alter(commitment, -Scalar::ONE),
        ] {
            assert!(!altered.assert_twins_agree());
        }
    }

    /// S = e a: right for a commitment that is the identity, which both twins refuse as a commitment.
    #[test]
    fn the_identity_is_no_commitment() {
        struct Identity(Scalar);
        impl Piece for Identity {
            fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
                let commitment = multiply_base(cs, &self.0);
                bits::enforce_nonzero(cs, &commitment.x);
            }
        }
        assert_sound(&Identity(Scalar::ONE));
        assert_refused(&Identity(Scalar::ZERO));
        assert!(PublicKey::new(Point::zero()).is_err());
    }

    struct Challenge {
        hash: Fr,
        integer: BigInt<4>,
    }

    impl Piece for Challenge {
        fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
            let hash = cs.wire(&self.hash.into());
            let bits = challenge_bits(cs, &hash, &self.integer);
            let low = BigInt::new([self.integer.0[0], self.integer.0[1], 0, 0]);
            let challenge = Fr::from_bigint(low).expect("128 bits are below the order");
            cs.enforce_equal(&bits::compose(&bits), &challenge.into());
        }
    }

    fn less_one(mut integer: BigInt<4>) -> BigInt<4> {
        integer.sub_with_borrow(&BigInt::from(1u64));
        integer
    }

    #[test]
    fn challenges_are_the_low_bits_of_hashes_below_the_bound() {
        let element = |integer| Fr::from_bigint(integer).expect("below the order");
        let power = |exponent: u32| BigInt::<4>::from(1u64) << exponent;
        let mut inside = vec![BigInt::zero(), BigInt::one(), less_one(CHALLENGE_BOUND), BigInt::new([7, 8, 9, 10])];
        inside.extend([127, 128, 252, 253].map(power).into_iter().flat_map(|power| [power, less_one(power)]));
        for integer in inside {
            assert_eq!(assert_sound(&Challenge { hash: element(integer), integer }), 1 + 254 + 1);
        }
        for integer in [CHALLENGE_BOUND, less_one(Fr::MODULUS)] {
            assert_refused(&Challenge { hash: element(integer), integer });
        }
    }

    #[test]
    fn challenges_refuse_other_integers_congruent_to_the_hash() {
        for hash in [0u64, 1, 77] {
            let mut integer = BigInt::from(hash);
            integer.add_with_carry(&Fr::MODULUS);
            assert_refused(&Challenge { hash: Fr::from(hash), integer });
            assert_refused(&Challenge { hash: Fr::from(hash), integer: BigInt::from(hash + 1) });
        }
        let signed = Signed::new(5, 6);
        let hash = challenge_hash(signed.signature.commitment(), &signed.key, &signed.message);
        let mut integer = hash.into_bigint();
        integer.0[0] ^= 1;
        assert_refused(&Challenge { hash, integer });
    }
}
