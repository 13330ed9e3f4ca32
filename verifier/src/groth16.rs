//! Groth16 over BN254: proofs, verifying keys, and the checks of one proof or of many together.
//!
//! A proof (A, B, C) of the public input x is valid iff
//! e(A, B) = e(alpha, beta) e(IC0 + x IC1, gamma) e(C, delta). The public input is always the digest of a
//! [`Statement`], so every circuit has exactly one and every key exactly two IC points.
//!
//! Points are encoded as arkworks compresses them: x little-endian (c0 then c1 in G2), with the top bit of the last
//! byte set iff y is the larger of y and -y. The point at infinity has no place in a proof or a key and is refused.

use crate::statement::Statement;
use alloc::vec::Vec;
use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, bn::G2Prepared, pairing::Pairing};
use ark_ff::Field;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use bitcoin::hashes::{Hash, sha256};

/// Why bytes or coordinates are no point that a proof or a key may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointError {
    /// A coordinate is not below the order of its field, the flags are no valid pair, or no point has this x.
    #[error("the encoding is not that of a point in the subgroup of prime order")]
    Invalid,
    /// The point is the point at infinity.
    #[error("the point at infinity has no place in a proof or a key")]
    Infinity,
}

/// A proof: three points, checked to be on the curve and in the subgroup of prime order, none at infinity.
///
/// Anyone can re-randomise a proof, so its bytes identify nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    a: G1Affine,
    b: G2Affine,
    c: G1Affine,
}

impl Proof {
    /// The length of an encoded proof, in bytes.
    pub const LENGTH: usize = 128;

    /// Checks the three points of a proof.
    ///
    /// # Errors
    /// [`PointError`] for the first point that is no member of its group or is at infinity.
    pub fn new(a: G1Affine, b: G2Affine, c: G1Affine) -> Result<Self, PointError> {
        check_g1(&a)?;
        check_g2(&b)?;
        check_g1(&c)?;
        Ok(Self { a, b, c })
    }

    /// The point A.
    pub fn a(&self) -> &G1Affine {
        &self.a
    }

    /// The point B.
    pub fn b(&self) -> &G2Affine {
        &self.b
    }

    /// The point C.
    pub fn c(&self) -> &G1Affine {
        &self.c
    }

    /// Encodes A (32 bytes), B (64), C (32), each compressed.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..32].copy_from_slice(&g1_to_bytes(&self.a));
        bytes[32..96].copy_from_slice(&g2_to_bytes(&self.b));
        bytes[96..].copy_from_slice(&g1_to_bytes(&self.c));
        bytes
    }

    /// Decodes what [`Proof::to_bytes`] encodes; every proof has one encoding.
    ///
    /// # Errors
    /// [`PointError`] for the first point that does not decode.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, PointError> {
        let a = g1_from_bytes(&bytes[..32])?;
        let b = g2_from_bytes(&bytes[32..96])?;
        let c = g1_from_bytes(&bytes[96..])?;
        Ok(Self { a, b, c })
    }
}

/// Why points or bytes are no [`VerifyingKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key has another length.
    #[error("{0} bytes are not the length of a verifying key, which is 296 bytes")]
    Length(usize),
    /// The key is not for circuits with exactly one public input.
    #[error("{0} IC points, where one public input needs exactly 2")]
    IcCount(u64),
    /// A point does not decode or is outside its group.
    #[error("a point of the verifying key: {0}")]
    Point(#[from] PointError),
    /// With gamma = delta or gamma = -delta, C can stand in for the public input and anything can be proven.
    #[error("gamma and delta are equal up to sign, so that anything could be proven")]
    GammaIsDelta,
}

/// The key that a circuit's proofs are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    alpha: G1Affine,
    beta: G2Affine,
    gamma: G2Affine,
    delta: G2Affine,
    ic: [G1Affine; 2],
}

impl VerifyingKey {
    /// The length of an encoded key, in bytes.
    pub const LENGTH: usize = 32 + 3 * 64 + 8 + 2 * 32;

    /// Checks the points of a key.
    ///
    /// # Errors
    /// [`KeyError::IcCount`] unless there are two IC points, [`KeyError::Point`] for a point that is no member of
    /// its group or at infinity, and [`KeyError::GammaIsDelta`].
    pub fn new(
        alpha: G1Affine,
        beta: G2Affine,
        gamma: G2Affine,
        delta: G2Affine,
        ic: &[G1Affine],
    ) -> Result<Self, KeyError> {
        let &[ic_0, ic_1] = ic else { return Err(KeyError::IcCount(ic.len() as u64)) };
        [alpha, ic_0, ic_1].iter().try_for_each(check_g1)?;
        [beta, gamma, delta].iter().try_for_each(check_g2)?;
        Self { alpha, beta, gamma, delta, ic: [ic_0, ic_1] }.with_distinct_gamma()
    }

    fn with_distinct_gamma(self) -> Result<Self, KeyError> {
        if self.gamma.x == self.delta.x {
            return Err(KeyError::GammaIsDelta);
        }
        Ok(self)
    }

    /// The point alpha.
    pub fn alpha(&self) -> &G1Affine {
        &self.alpha
    }

    /// The point beta.
    pub fn beta(&self) -> &G2Affine {
        &self.beta
    }

    /// The point gamma.
    pub fn gamma(&self) -> &G2Affine {
        &self.gamma
    }

    /// The point delta.
    pub fn delta(&self) -> &G2Affine {
        &self.delta
    }

    /// The points of the constant one and of the public input.
    pub fn ic(&self) -> &[G1Affine; 2] {
        &self.ic
    }

    /// Encodes alpha (32 bytes), beta, gamma, delta (64 each), the number of IC points as 8 bytes little-endian,
    /// the IC points (32 each), all compressed: what arkworks writes.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..32].copy_from_slice(&g1_to_bytes(&self.alpha));
        bytes[32..96].copy_from_slice(&g2_to_bytes(&self.beta));
        bytes[96..160].copy_from_slice(&g2_to_bytes(&self.gamma));
        bytes[160..224].copy_from_slice(&g2_to_bytes(&self.delta));
        bytes[224..232].copy_from_slice(&2u64.to_le_bytes());
        bytes[232..264].copy_from_slice(&g1_to_bytes(&self.ic[0]));
        bytes[264..].copy_from_slice(&g1_to_bytes(&self.ic[1]));
        bytes
    }

    /// Decodes what [`VerifyingKey::to_bytes`] encodes; every key has one encoding.
    ///
    /// # Errors
    /// Each of [`KeyError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if let Some(count) = bytes.get(224..232) {
            let count = u64::from_le_bytes(count.try_into().expect("a slice of 8 bytes"));
            if count != 2 {
                return Err(KeyError::IcCount(count));
            }
        }
        if bytes.len() != Self::LENGTH {
            return Err(KeyError::Length(bytes.len()));
        }
        let alpha = g1_from_bytes(&bytes[..32])?;
        let beta = g2_from_bytes(&bytes[32..96])?;
        let gamma = g2_from_bytes(&bytes[96..160])?;
        let delta = g2_from_bytes(&bytes[160..224])?;
        let ic = [g1_from_bytes(&bytes[232..264])?, g1_from_bytes(&bytes[264..])?];
        Self { alpha, beta, gamma, delta, ic }.with_distinct_gamma()
    }

    /// Precomputes what every check with this key needs.
    pub fn prepare(&self) -> PreparedVerifyingKey {
        PreparedVerifyingKey {
            key: self.clone(),
            id: sha256::Hash::hash(&self.to_bytes()).to_byte_array(),
            beta_negative: (-self.beta).into(),
            gamma_negative: (-self.gamma).into(),
            delta_negative: (-self.delta).into(),
        }
    }
}

/// A verifying key with the lines of its pairings precomputed.
#[derive(Clone, Debug)]
pub struct PreparedVerifyingKey {
    key: VerifyingKey,
    id: [u8; 32],
    beta_negative: G2Prepared<ark_bn254::Config>,
    gamma_negative: G2Prepared<ark_bn254::Config>,
    delta_negative: G2Prepared<ark_bn254::Config>,
}

/// A statement that a proof has been checked for; nothing else makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verified(Statement);

impl Verified {
    /// What was proven.
    pub fn statement(&self) -> &Statement {
        &self.0
    }
}

/// A proof does not prove its statement; in a batch, at least one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proof does not prove its statement")]
pub struct Rejected;

/// One proof of a batch, with what it is to be checked against.
#[derive(Clone, Copy, Debug)]
pub struct BatchItem<'a> {
    /// The key of the statement's circuit.
    pub key: &'a PreparedVerifyingKey,
    /// What the proof is to prove.
    pub statement: &'a Statement,
    /// The proof.
    pub proof: &'a Proof,
}

impl PreparedVerifyingKey {
    /// The key itself.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The SHA-256 of the encoded key.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Checks one proof.
    ///
    /// The key is not bound to the statement's circuit here: [`crate::program::Program`] looks the key up by it.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn verify(&self, statement: &Statement, proof: &Proof) -> Result<Verified, Rejected> {
        let input: Fr = statement.digest();
        let [ic_0, ic_1] = self.key.ic;
        let inputs: G1Affine = (ic_1 * input + ic_0).into();
        let product = Bn254::multi_pairing(
            [proof.a, self.key.alpha, inputs, proof.c],
            [proof.b.into(), self.beta_negative.clone(), self.gamma_negative.clone(), self.delta_negative.clone()],
        );
        if product.0 == <Bn254 as Pairing>::TargetField::ONE { Ok(Verified(*statement)) } else { Err(Rejected) }
    }
}

/// Checks many proofs, with as many keys as need be.
///
/// # Errors
/// [`Rejected`] if any proof does not prove its statement; which one is not told.
pub fn verify_batch(items: &[BatchItem<'_>]) -> Result<Vec<Verified>, Rejected> {
    items.iter().map(|item| item.key.verify(item.statement, item.proof)).collect()
}

fn check_g1(point: &G1Affine) -> Result<(), PointError> {
    if point.is_zero() {
        return Err(PointError::Infinity);
    }
    if !point.is_on_curve() { Err(PointError::Invalid) } else { Ok(()) }
}

fn check_g2(point: &G2Affine) -> Result<(), PointError> {
    if point.is_zero() {
        return Err(PointError::Infinity);
    }
    if !point.is_on_curve() || !point.is_in_correct_subgroup_assuming_on_curve() {
        return Err(PointError::Invalid);
    }
    Ok(())
}

fn g1_to_bytes(point: &G1Affine) -> [u8; 32] {
    let mut bytes = [0; 32];
    point.serialize_compressed(bytes.as_mut_slice()).expect("a compressed point takes 32 bytes");
    bytes
}

fn g2_to_bytes(point: &G2Affine) -> [u8; 64] {
    let mut bytes = [0; 64];
    point.serialize_compressed(bytes.as_mut_slice()).expect("a compressed point takes 64 bytes");
    bytes
}

fn g1_from_bytes(bytes: &[u8]) -> Result<G1Affine, PointError> {
    let point = G1Affine::deserialize_compressed(bytes).map_err(|_| PointError::Invalid)?;
    if point.is_zero() { Err(PointError::Infinity) } else { Ok(point) }
}

fn g2_from_bytes(bytes: &[u8]) -> Result<G2Affine, PointError> {
    let point = G2Affine::deserialize_compressed(bytes).map_err(|_| PointError::Invalid)?;
    if point.is_zero() { Err(PointError::Infinity) } else { Ok(point) }
}
