//! Signing: see [`taproof_verifier::schnorr`] for the scheme and for the check of a signature.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{PrimeField, Zero};
use taproof_verifier::{
    baby_jubjub::{KeyError, PublicKey, Scalar},
    field,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub mod together;

pub use taproof_verifier::schnorr::{
    CHALLENGE_BITS, CHALLENGE_BOUND, Message, Signature, SignatureError, SignatureFormatError, challenge,
    challenge_hash, multiplier,
};

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
            if let Ok(public) = multiple_of_generator(&scalar) {
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
        let commitment = multiple_of_generator(&nonce).ok()?;
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

/// The point of a secret scalar, by a ladder that takes the same steps whatever the scalar is.
fn multiple_of_generator(scalar: &Scalar) -> Result<PublicKey, KeyError> {
    let scalar = Zeroizing::new(taceo_ark_babyjubjub::Fr::from(scalar.into_bigint()));
    let product = (taceo_ark_babyjubjub::EdwardsAffine::generator() * *scalar).into_affine();
    PublicKey::from_coordinates(product.x, product.y)
}

/// Reduces 64 bytes of a hash's output modulo l, which leaves a bias below 2^-260.
fn reduce(hasher: &blake3::Hasher) -> Scalar {
    let mut wide = Zeroizing::new([0u8; 64]);
    hasher.finalize_xof().fill(wide.as_mut_slice());
    Scalar::from_le_bytes_mod_order(wide.as_slice())
}

#[cfg(test)]
mod tests;
