//! Schnorr signatures over Baby Jubjub, short enough to check in a circuit. Signing is no part of this crate.
//!
//! With B the base point of prime order l and A = a B the signer's key, a signature of four elements m is (R, S) with
//!
//! - h = [`poseidon2::hash`] in [`Domain::Challenge`] of (R.x, R.y, A.x, m0, m1, m2, m3), one permutation,
//! - c = the low 128 bits of h, and e = 2^128 + 2 c + 1,
//! - S B = R + e A, S below l and h below [`CHALLENGE_BOUND`].
//!
//! A.x stands for A, since x determines a point of the subgroup. A challenge of 128 bits gives the security that the
//! curve has: forging means to find a preimage of c, and the sponge's other bits are never used. No two challenges
//! have the same e, which is what a ladder of 128 steps without a zero digit computes: it adds A or -A at each bit,
//! and as its sums start at 2 A none of them is an exception of the curve's cheap addition. With c itself a circuit
//! would need 256 rows more. The bound lies just below the order r and ends in 128 zero bits, so that no comparison
//! keeps a circuit from reading h + r for h. Above it lie r mod 2^128 of the r elements, which is one in 2^128.27: a
//! signer who meets one takes the next nonce.

use crate::{
    baby_jubjub::{KeyError, Point, PublicKey, Scalar},
    cell::{CellIndex, ChainId, Token},
    field::pack,
    poseidon2::{self, Domain},
    record::Kind,
};
use ark_bn254::Fr;
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

/// What is signed: four elements, see [`MessageFields::message`] for what they hold.
pub type Message = [Fr; 4];

/// What a payer signs, of any kind.
///
/// The elements of the message are
///
/// - m0, which packs chain id (120 bits), kind (8), token (32), from (32), nonce (32), the chain id lowest,
/// - m1, which packs to (32), amount (64), fee (64),
/// - m2 and m3, the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFields {
    /// The rollup.
    pub chain_id: ChainId,
    /// The kind of transition.
    pub kind: Kind,
    /// The token that is paid.
    pub token: Token,
    /// The account that pays.
    pub from: CellIndex,
    /// That account's nonce.
    pub nonce: u32,
    /// The cell that is paid; of a withdrawal, the number of the destination's type.
    pub to: u32,
    /// The amount.
    pub amount: u64,
    /// The fee.
    pub fee: u64,
    /// Zeros for a transfer, the new owner's x and zero for an opening,
    /// [`Destination::elements`](crate::record::Destination::elements) for a withdrawal.
    pub details: [Fr; 2],
}

impl MessageFields {
    /// The elements that are signed.
    pub fn message(&self) -> Message {
        let [low, high] = self.chain_id.limbs();
        let who = [
            (low, 64),
            (high, ChainId::BITS - 64),
            (self.kind as u64, 8),
            (self.token.0.into(), 32),
            (self.from.get().into(), 32),
            (self.nonce.into(), 32),
        ];
        let [m2, m3] = self.details;
        [pack(who), pack([(self.to.into(), 32), (self.amount, 64), (self.fee, 64)]), m2, m3]
    }
}

/// Bits of the challenge.
pub const CHALLENGE_BITS: u32 = 128;

/// The hash that the challenge is cut from must be below this: (r >> 128) << 128, r the order of the scalar field.
pub const CHALLENGE_BOUND: BigInt<4> = BigInt::new([0, 0, Fr::MODULUS.0[2], Fr::MODULUS.0[3]]);

/// A signature: the commitment R and the response S.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    commitment: PublicKey,
    response: Scalar,
}

/// Why bytes or parts are no [`Signature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFormatError {
    /// R is no point of the subgroup other than the identity.
    #[error("the commitment: {0}")]
    Commitment(#[from] KeyError),
    /// S is not below l, the order of the subgroup, and would be a second form of a smaller one.
    #[error("the response is not below the order of the subgroup")]
    ResponseTooLarge,
}

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The challenge's hash is not below [`CHALLENGE_BOUND`]; an honest signer does not release such a signature.
    #[error("the challenge is not below its bound")]
    ChallengeTooLarge,
    /// The signature is not one of this message by this key.
    #[error("the signature is not one of this message by this key")]
    Mismatch,
}

impl Signature {
    /// The bytes of an encoded signature.
    pub const SIZE_BYTES: usize = 64;

    /// Joins the parts.
    pub fn new(commitment: PublicKey, response: Scalar) -> Self {
        Self { commitment, response }
    }

    /// The commitment R.
    pub fn commitment(&self) -> &PublicKey {
        &self.commitment
    }

    /// The response S.
    pub fn response(&self) -> Scalar {
        self.response
    }

    /// Encodes R as [`PublicKey::to_bytes`], then S as 32 bytes, little-endian.
    pub fn to_bytes(&self) -> [u8; Self::SIZE_BYTES] {
        let mut bytes = [0; Self::SIZE_BYTES];
        bytes[..32].copy_from_slice(&self.commitment.to_bytes());
        for (out, limb) in bytes[32..].chunks_exact_mut(8).zip(self.response.into_bigint().0) {
            out.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// Decodes what [`Signature::to_bytes`] encodes; every signature has one encoding.
    ///
    /// # Errors
    /// Each of [`SignatureFormatError`].
    pub fn from_bytes(bytes: &[u8; Self::SIZE_BYTES]) -> Result<Self, SignatureFormatError> {
        let (words, _) = bytes.as_chunks::<8>();
        let mut limbs = [0; 4];
        for (limb, word) in limbs.iter_mut().zip(&words[4..]) {
            *limb = u64::from_le_bytes(*word);
        }
        let response = Scalar::from_bigint(BigInt::new(limbs)).ok_or(SignatureFormatError::ResponseTooLarge)?;
        let mut commitment = [0; 32];
        commitment.copy_from_slice(&bytes[..32]);
        Ok(Self { commitment: PublicKey::from_bytes(&commitment)?, response })
    }

    /// Checks that the holder of `key` signed `message`.
    ///
    /// # Errors
    /// Each of [`SignatureError`].
    pub fn verify(&self, key: &PublicKey, message: &Message) -> Result<(), SignatureError> {
        let challenge = challenge(&self.commitment, key, message).ok_or(SignatureError::ChallengeTooLarge)?;
        let multiple = *key.point() * multiplier(challenge);
        if Point::generator() * self.response == multiple + self.commitment.point() {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

/// Writes the encoding as 128 hexadecimal digits.
impl core::fmt::Display for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// The hash that the challenge of a signature is cut from.
pub fn challenge_hash(commitment: &PublicKey, key: &PublicKey, message: &Message) -> Fr {
    let [m0, m1, m2, m3] = *message;
    poseidon2::hash(Domain::Challenge, &[commitment.x(), commitment.y(), key.x(), m0, m1, m2, m3])
}

/// The challenge of a signature; `None` if its hash is not below [`CHALLENGE_BOUND`].
pub fn challenge(commitment: &PublicKey, key: &PublicKey, message: &Message) -> Option<u128> {
    let hash = challenge_hash(commitment, key, message).into_bigint();
    (hash < CHALLENGE_BOUND).then_some(u128::from(hash.0[0]) | u128::from(hash.0[1]) << 64)
}

/// What a challenge c multiplies the key by: e = 2^128 + 2 c + 1.
pub fn multiplier(challenge: u128) -> Scalar {
    Scalar::from(challenge).double() + Scalar::ONE + Scalar::from_bigint(BigInt::new([0, 0, 1, 0])).expect("2^128 < l")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ark_ec::CurveGroup;

    /// Signs with the key of a small secret and a nonce that the message does not determine: for tests alone.
    pub(crate) fn sign(secret: u64, nonce: u64, message: &Message) -> Signature {
        let point = |scalar: Scalar| {
            PublicKey::new((Point::generator() * scalar).into_affine()).expect("a multiple of the generator")
        };
        let (secret, nonce) = (Scalar::from(secret), Scalar::from(nonce));
        let commitment = point(nonce);
        let challenge = challenge(&commitment, &point(secret), message).expect("the bound refuses one in 2^128");
        Signature::new(commitment, nonce + secret * multiplier(challenge))
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone() {
        let key = |secret: u64| {
            PublicKey::new((Point::generator() * Scalar::from(secret)).into_affine()).expect("a small multiple")
        };
        let message = [1u64, 2, 3, 4].map(Fr::from);
        let signature = sign(7, 11, &message);
        assert_eq!(signature.verify(&key(7), &message), Ok(()));
        assert_eq!(signature.verify(&key(8), &message), Err(SignatureError::Mismatch));
        for position in 0..4 {
            let mut altered = message;
            altered[position] += Fr::ONE;
            assert_eq!(signature.verify(&key(7), &altered), Err(SignatureError::Mismatch), "element {position}");
        }
        assert_eq!(Signature::from_bytes(&signature.to_bytes()), Ok(signature));
    }

    #[test]
    fn every_field_is_signed() {
        let index = |i| CellIndex::new(i).expect("a small index");
        let (kind, details) = (Kind::Withdraw, [Fr::from(8u64), Fr::from(9u64)]);
        let (chain_id, token) = (ChainId::from_byte_array([1; 15]), Token(2));
        let signed =
            MessageFields { chain_id, kind, token, from: index(3), nonce: 4, to: 5, amount: 6, fee: 7, details };
        let others = [
            MessageFields { chain_id: ChainId::from_byte_array([0; 15]), ..signed },
            MessageFields { kind: Kind::Open, ..signed },
            MessageFields { token: Token(0), ..signed },
            MessageFields { from: index(0), ..signed },
            MessageFields { nonce: 0, ..signed },
            MessageFields { to: 0, ..signed },
            MessageFields { amount: 0, ..signed },
            MessageFields { fee: 0, ..signed },
            MessageFields { details: [Fr::ZERO, details[1]], ..signed },
            MessageFields { details: [details[0], Fr::ZERO], ..signed },
        ];
        for other in others {
            assert_ne!(other.message(), signed.message());
        }
    }
}
