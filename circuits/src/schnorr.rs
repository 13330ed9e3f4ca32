//! Schnorr signatures over Baby Jubjub, short enough to check in a circuit.
//!
//! With B the base point of prime order l and A = a B the signer's key, a signature of four elements m is (R, S) with
//!
//! - h = [`poseidon2::hash`] in [`Domain::Challenge`] of (R.x, R.y, A.x, m0, m1, m2, m3), one permutation,
//! - c = the low 128 bits of h, and e = 2^128 + 2 c + 1,
//! - S B = R + e A, S below l and h below [`CHALLENGE_BOUND`].
//!
//! A.x stands for A, since x determines a point of the subgroup. A challenge of 128 bits gives the security that the
//! curve has: forging means to find a preimage of c, and the sponge's other bits are never used. No two challenges have the
//! same e, which is what a ladder of 128 steps without a zero digit computes: it adds A or -A at each bit, and as its
//! sums start at 2 A none of them is an exception of the curve's cheap addition. With c itself a circuit would need 256
//! rows more. The bound lies just below the order r and ends in 128 zero bits, so that no comparison keeps a circuit from
//! reading h + r for h; a signer meets it with probability 1 - 2^-125 and otherwise takes its next nonce.

use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField, Zero};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use taproof_verifier::{
    baby_jubjub::{KeyError, Point, PublicKey, Scalar},
    field,
    poseidon2::{self, Domain},
    serde_form::{deserialize_array, serialize_bytes},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What is signed: see [`crate::transaction`] for what the elements hold.
pub type Message = [Fr; 4];

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

/// The encoding: hexadecimal digits to a format for people, bytes to any other.
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&deserialize_array(deserializer)?).map_err(D::Error::custom)
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
fn multiplier(challenge: u128) -> Scalar {
    Scalar::from(challenge).double() + Scalar::ONE + Scalar::from_bigint(BigInt::new([0, 0, 1, 0])).expect("2^128 < l")
}

/// What an owner signs with: the scalar a, and a key for deriving nonces.
///
/// It is wiped from memory when dropped and is never printed. Signing does not run in constant time, so it belongs on a
/// machine of the owner's.
#[derive(Clone)]
pub struct SecretKey {
    scalar: Scalar,
    nonce_key: [u8; 32],
    public: PublicKey,
}

impl SecretKey {
    /// Derives a key from 32 secret bytes; every seed has one key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let nonce_key = blake3::derive_key("taproof v1 schnorr nonce key", seed);
        let mut counter = 0u64;
        loop {
            let mut hasher = blake3::Hasher::new_derive_key("taproof v1 schnorr secret scalar");
            hasher.update(seed).update(&counter.to_le_bytes());
            let scalar = reduce(&hasher);
            // The point of a zero scalar is no key; no seed is known for which this loop turns.
            if let Ok(public) = PublicKey::new((Point::generator() * scalar).into_affine()) {
                return Self { scalar, nonce_key, public };
            }
            counter += 1;
        }
    }

    /// The key that verifies what this key signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message; the same key and message give the same signature.
    pub fn sign(&self, message: &Message) -> Signature {
        let mut counter = 0u64;
        loop {
            if let Some(signature) = self.sign_with_counter(message, counter) {
                return signature;
            }
            counter += 1;
        }
    }

    /// Signs with the nonce of one counter; `None` in the rare case that the bound refuses it.
    fn sign_with_counter(&self, message: &Message, counter: u64) -> Option<Signature> {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce_key);
        hasher.update(&self.public.to_bytes());
        message.iter().for_each(|element| {
            hasher.update(&field::to_bytes(element));
        });
        hasher.update(&counter.to_le_bytes());
        let nonce = Zeroizing::new(reduce(&hasher));
        hasher.zeroize();
        if nonce.is_zero() {
            return None;
        }
        let commitment = PublicKey::new((Point::generator() * *nonce).into_affine()).ok()?;
        let challenge = challenge(&commitment, &self.public, message)?;
        Some(Signature::new(commitment, *nonce + self.scalar * multiplier(challenge)))
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
        self.nonce_key.zeroize();
    }
}

impl ZeroizeOnDrop for SecretKey {}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKey(of {})", self.public)
    }
}

/// Reduces 64 bytes of a hash's output modulo l, which leaves a bias below 2^-260.
fn reduce(hasher: &blake3::Hasher) -> Scalar {
    let mut wide = Zeroizing::new([0u8; 64]);
    hasher.finalize_xof().fill(wide.as_mut_slice());
    Scalar::from_le_bytes_mod_order(wide.as_slice())
}

#[cfg(test)]
mod tests;
