//! Schnorr signatures over Baby Jubjub, short enough to check in a circuit.
//!
//! With B the base point of prime order l and A = a B the signer's key, a signature of four elements m is (R, S) with
//!
//! - h = [`poseidon2::hash`] in [`Domain::Challenge`] of (R.x, R.y, A.x, m0, m1, m2, m3), one permutation,
//! - c = the low 128 bits of h,
//! - S B = R + c A, S below [`SCALAR_BOUND`] and h below [`CHALLENGE_BOUND`].
//!
//! A.x stands for A, since x determines a point of the subgroup. A challenge of 128 bits gives the security that the
//! curve has: forging means to find a preimage of c, and the sponge's other bits are never used. The two bounds lie just
//! below the orders l and r and end in zero bits, so that a circuit compares 64 bits instead of 254; a signer meets
//! each with probability 1 - 2^-62 or better and otherwise takes its next nonce. They also leave one representation
//! of S and of h, as bits, for each value.

use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInt, PrimeField, Zero};
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

/// S must be below this: (l >> 187) << 187, l the order of the subgroup.
pub const SCALAR_BOUND: BigInt<4> = clear_low_bits(Scalar::MODULUS, 187);

/// The hash that the challenge is cut from must be below this: (r >> 190) << 190, r the order of the scalar field.
pub const CHALLENGE_BOUND: BigInt<4> = clear_low_bits(Fr::MODULUS, 190);

/// Clears the low `count` bits, which must be 128 to 191.
const fn clear_low_bits(integer: BigInt<4>, count: u32) -> BigInt<4> {
    let kept = integer.0[2] >> (count - 128) << (count - 128);
    BigInt::new([0, 0, kept, integer.0[3]])
}

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
    /// S is not below [`SCALAR_BOUND`], so it might have a second form, or none in a circuit.
    #[error("the response is not below its bound")]
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

    /// Checks the parts.
    ///
    /// # Errors
    /// [`SignatureFormatError::ResponseTooLarge`].
    pub fn new(commitment: PublicKey, response: Scalar) -> Result<Self, SignatureFormatError> {
        if response.into_bigint() >= SCALAR_BOUND {
            return Err(SignatureFormatError::ResponseTooLarge);
        }
        Ok(Self { commitment, response })
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
        // The bound is below l, so the integer that passes is the one that the scalar stands for.
        let response = Some(BigInt::new(limbs)).filter(|integer| *integer < SCALAR_BOUND).and_then(Scalar::from_bigint);
        let response = response.ok_or(SignatureFormatError::ResponseTooLarge)?;
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
        let challenge_times_key = key.point().mul_bigint([challenge as u64, (challenge >> 64) as u64]);
        if Point::generator() * self.response == challenge_times_key + self.commitment.point() {
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

    /// Signs with the nonce of one counter; `None` in the rare case that a bound refuses it.
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
        Signature::new(commitment, *nonce + self.scalar * Scalar::from(challenge)).ok()
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
