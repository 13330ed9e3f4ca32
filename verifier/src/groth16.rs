//! Groth16 over BN254: proofs, verifying keys, and the checks of one proof or of many together.
//!
//! A proof (A, B, C) of the public input x is valid iff
//! e(A, B) = e(alpha, beta) e(IC0 + x IC1, gamma) e(C, delta). The public input is always the digest of a
//! [`Statement`], so every circuit has exactly one and every key exactly two IC points.
//!
//! Points are encoded as arkworks compresses them: x little-endian (c0 then c1 in G2), with the top bit of the last
//! byte set iff y is the larger of y and -y. The point at infinity has no place in a proof or a key and is refused.

mod check;
mod pairing;
mod point;

use crate::{parallel, statement::Statement};
use alloc::vec::Vec;
use ark_bn254::{Fq12, G1Affine, G2Affine};
use bitcoin::hashes::{Hash, sha256};
use point::{PointG2, check_g1, g1_from_bytes, g1_to_bytes, g2_to_bytes};

pub use check::{BatchItem, verify_batch};
pub use point::PointError;

/// A proof: three points, checked to be on the curve and in the subgroup of prime order, none at infinity.
///
/// Anyone can re-randomise a proof, so its bytes identify nothing. A proof holds the lines of B's pairing, some 11
/// kilobytes, because checking B's subgroup computes them anyway; [`Proof::release_lines`] gives them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    a: G1Affine,
    b: PointG2,
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
        check_g1(&c)?;
        let b = PointG2::check_all(&[b]).remove(0)?;
        Ok(Self { a, b, c })
    }

    /// The point A.
    pub fn a(&self) -> &G1Affine {
        &self.a
    }

    /// The point B.
    pub fn b(&self) -> &G2Affine {
        &self.b.point
    }

    /// The point C.
    pub fn c(&self) -> &G1Affine {
        &self.c
    }

    /// Gives back the memory of B's lines. Another check would compute them anew.
    pub fn release_lines(&mut self) {
        self.b.release_lines();
    }

    /// Encodes A (32 bytes), B (64), C (32), each compressed.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..32].copy_from_slice(&g1_to_bytes(&self.a));
        bytes[32..96].copy_from_slice(&g2_to_bytes(&self.b.point));
        bytes[96..].copy_from_slice(&g1_to_bytes(&self.c));
        bytes
    }

    /// Decodes what [`Proof::to_bytes`] encodes; every proof has one encoding.
    ///
    /// # Errors
    /// [`PointError`] for a point that does not decode.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, PointError> {
        Self::from_bytes_all(core::slice::from_ref(bytes)).remove(0)
    }

    /// Decodes many proofs together, which is faster than one by one: one result for each, in order.
    pub fn from_bytes_all(encoded: &[[u8; Self::LENGTH]]) -> Vec<Result<Self, PointError>> {
        let parts = parallel::by_parts(encoded, DECODED_MIN, |encoded| {
            let b_points = PointG2::decode_all(encoded.iter().map(|bytes| part(bytes, 32)));
            let proof = |(bytes, b): (&[u8; Self::LENGTH], Result<PointG2, PointError>)| {
                Ok(Self { a: g1_from_bytes(part(bytes, 0))?, b: b?, c: g1_from_bytes(part(bytes, 96))? })
            };
            encoded.iter().zip(b_points).map(proof).collect::<Vec<_>>()
        });
        parts.into_iter().flatten().collect()
    }
}

/// Proofs that a thread decodes at least: as many share their inversions.
const DECODED_MIN: usize = 6;

/// The `N` bytes at an offset that lies at least `N` bytes before the end.
fn part<const N: usize>(bytes: &[u8], offset: usize) -> &[u8; N] {
    bytes[offset..].first_chunk().expect("the caller's offsets lie within the encoding")
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
    beta: PointG2,
    gamma: PointG2,
    delta: PointG2,
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
        Self::from_parts(alpha, PointG2::check_all(&[beta, gamma, delta]), [ic_0, ic_1])
    }

    /// Puts the parts together; `points` are beta, gamma and delta.
    fn from_parts(
        alpha: G1Affine,
        points: Vec<Result<PointG2, PointError>>,
        ic: [G1Affine; 2],
    ) -> Result<Self, KeyError> {
        let points = points.into_iter().collect::<Result<Vec<_>, _>>()?;
        let [beta, gamma, delta] = points.try_into().expect("both callers pass three points");
        if gamma.point.x == delta.point.x {
            return Err(KeyError::GammaIsDelta);
        }
        Ok(Self { alpha, beta, gamma, delta, ic })
    }

    /// The point alpha.
    pub fn alpha(&self) -> &G1Affine {
        &self.alpha
    }

    /// The point beta.
    pub fn beta(&self) -> &G2Affine {
        &self.beta.point
    }

    /// The point gamma.
    pub fn gamma(&self) -> &G2Affine {
        &self.gamma.point
    }

    /// The point delta.
    pub fn delta(&self) -> &G2Affine {
        &self.delta.point
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
        bytes[32..96].copy_from_slice(&g2_to_bytes(&self.beta.point));
        bytes[96..160].copy_from_slice(&g2_to_bytes(&self.gamma.point));
        bytes[160..224].copy_from_slice(&g2_to_bytes(&self.delta.point));
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
        let alpha = g1_from_bytes(part(bytes, 0))?;
        let points = PointG2::decode_all([32, 96, 160].into_iter().map(|offset| part(bytes, offset)));
        let ic = [g1_from_bytes(part(bytes, 232))?, g1_from_bytes(part(bytes, 264))?];
        Self::from_parts(alpha, points, ic)
    }

    /// Precomputes what every check with this key needs.
    pub fn prepare(&self) -> PreparedVerifyingKey {
        PreparedVerifyingKey {
            key: self.clone(),
            id: sha256::Hash::hash(&self.to_bytes()).to_byte_array(),
            alpha_beta: pairing::miller_loop(&[(-self.alpha, self.beta.lines())]),
        }
    }
}

/// A verifying key with its id and what does not depend on the proof.
#[derive(Clone, Debug)]
pub struct PreparedVerifyingKey {
    key: VerifyingKey,
    id: [u8; 32],
    /// The Miller loop of -alpha and beta.
    alpha_beta: Fq12,
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
pub struct RejectedError;

impl PreparedVerifyingKey {
    /// The key itself.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The SHA-256 of the encoded key.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }
}

#[cfg(test)]
pub(crate) mod simulate;
#[cfg(test)]
mod tests;
