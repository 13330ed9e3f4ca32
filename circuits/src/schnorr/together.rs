//! Many signatures checked together: one sum of points in place of two for each.
//!
//! With weights w_i of 128 bits that nobody can foresee, signatures (R_i, S_i) of challenges that multiply the keys
//! A_i by e_i all hold if and, but for a chance of 2^-128, only if the sum of w_i (S_i B - R_i - e_i A_i) is zero. All
//! points are of prime order, so none hides in a part of small order. The weights are a hash of all that is checked.

use super::{Message, Signature, challenge, multiplier};
use ark_ec::{AffineRepr, VariableBaseMSM};
use ark_ff::{PrimeField, Zero};
use rayon::prelude::*;
use taproof_verifier::{
    baby_jubjub::{Point, PointProjective, PublicKey, Scalar},
    field,
};

/// What somebody is said to have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key.
    pub key: PublicKey,
    /// The message.
    pub message: Message,
    /// The signature.
    pub signature: Signature,
}

/// So few are checked one by one.
const TOGETHER_MIN: usize = 8;

/// Which signatures hold. All are checked together, and where one does not hold, halves of them.
pub fn which_hold(signed: &[Signed]) -> Vec<bool> {
    let terms: Vec<Option<Scalar>> = signed.par_iter().map(key_multiplier).collect();
    let mut holds = vec![false; signed.len()];
    check(signed, &terms, &mut holds);
    holds
}

/// What the key is multiplied by; `None` where no signature of the challenge is accepted.
fn key_multiplier(Signed { key, message, signature }: &Signed) -> Option<Scalar> {
    challenge(signature.commitment(), key, message).map(multiplier)
}

fn check(signed: &[Signed], terms: &[Option<Scalar>], holds: &mut [bool]) {
    if signed.len() < TOGETHER_MIN {
        for ((signed, term), holds) in signed.iter().zip(terms).zip(holds) {
            *holds = term.is_some_and(|term| {
                let commitment = *signed.key.point() * term + signed.signature.commitment().point();
                Point::generator() * signed.signature.response() == commitment
            });
        }
        return;
    }
    if all_hold(signed, terms) {
        holds.fill(true);
        return;
    }
    let middle = signed.len() / 2;
    let (signed, terms) = (signed.split_at(middle), terms.split_at(middle));
    let holds = holds.split_at_mut(middle);
    rayon::join(|| check(signed.0, terms.0, holds.0), || check(signed.1, terms.1, holds.1));
}

fn all_hold(signed: &[Signed], terms: &[Option<Scalar>]) -> bool {
    let Some(terms) = terms.iter().copied().collect::<Option<Vec<Scalar>>>() else { return false };
    let weights = weights(signed);
    let mut points = Vec::with_capacity(2 * signed.len());
    let mut scalars = Vec::with_capacity(points.capacity());
    let mut of_generator = Scalar::zero();
    for ((Signed { key, signature, .. }, term), weight) in signed.iter().zip(terms).zip(weights) {
        of_generator += weight * signature.response();
        points.extend([*signature.commitment().point(), *key.point()]);
        scalars.extend([weight, weight * term]);
    }
    let sum = PointProjective::msm_unchecked(&points, &scalars);
    Point::generator() * of_generator == sum
}

/// A weight of 128 bits for each signature.
fn weights(signed: &[Signed]) -> Vec<Scalar> {
    let mut hasher = blake3::Hasher::new_derive_key("taproof v1 schnorr weights");
    for Signed { key, message, signature } in signed {
        hasher.update(&key.to_bytes());
        message.iter().for_each(|element| {
            hasher.update(&field::to_bytes(element));
        });
        hasher.update(&signature.to_bytes());
    }
    let mut output = hasher.finalize_xof();
    let mut weight = || {
        let mut bytes = [0; 16];
        output.fill(&mut bytes);
        Scalar::from_le_bytes_mod_order(&bytes)
    };
    signed.iter().map(|_| weight()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::SecretKey, *};
    use ark_bn254::Fr;
    use ark_ff::AdditiveGroup;
    use proptest::prelude::*;

    fn signed(count: u64) -> Vec<Signed> {
        let signed = |number: u64| {
            let key = SecretKey::from_seed(&[number as u8 % 5; 32]);
            let message = [Fr::from(number), Fr::ZERO, Fr::ZERO, Fr::ZERO];
            Signed { key: *key.public(), message, signature: key.sign(&message) }
        };
        (0..count).map(signed).collect()
    }

    #[test]
    fn all_that_hold_hold_together() {
        for count in [0, 1, 7, 8, 9, 100] {
            assert_eq!(which_hold(&signed(count)), vec![true; count as usize], "{count}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn each_is_judged_as_by_itself(
            count in 1u64..40,
            wrong in prop::collection::vec((0usize..40, 0usize..4), 0..6),
        ) {
            let mut signed = signed(count);
            for (position, part) in wrong {
                let position = position % signed.len();
                let other = SecretKey::from_seed(&[200; 32]);
                match part {
                    0 => signed[position].message[1] += Fr::from(1u64),
                    1 => signed[position].key = *other.public(),
                    2 => signed[position].signature = other.sign(&[Fr::from(position as u64); 4]),
                    _ => {
                        let Signed { signature, .. } = signed[position];
                        let response = signature.response() + Scalar::from(1u64);
                        signed[position].signature = Signature::new(*signature.commitment(), response);
                    }
                }
            }
            let alone: Vec<bool> =
                signed.iter().map(|each| each.signature.verify(&each.key, &each.message).is_ok()).collect();
            prop_assert_eq!(which_hold(&signed), alone);
        }
    }

    /// Without weights, what one signature has too much and another too little would cancel.
    #[test]
    fn two_that_cancel_do_not_hold() {
        let mut signed = signed(20);
        for (position, change) in [(3, Scalar::from(1u64)), (4, -Scalar::from(1u64))] {
            let Signed { signature, .. } = signed[position];
            signed[position].signature = Signature::new(*signature.commitment(), signature.response() + change);
        }
        let expected: Vec<bool> = (0..20).map(|position| !(3..5).contains(&position)).collect();
        assert_eq!(which_hold(&signed), expected);
    }
}
