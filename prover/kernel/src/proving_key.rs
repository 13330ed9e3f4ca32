//! What a proving key holds, whichever circuit it belongs to and whether it lies in memory or in a mapped file.

use crate::{
    foreign_key::Weakness,
    matrices::{Matrices, MatricesBuf},
};
use ark_ec::short_weierstrass::SWCurveConfig;
use ark_ff::PrimeField;
use bytemuck::cast_slice;
use taproof_arith::{Domain, G1, G2, Point};
use taproof_circuits::iden3::json::VerifyingKeyPoints;
use taproof_verifier::{groth16::PointError, statement::CircuitId};

/// Whose circuit a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// One of Taproof's, whose rows the prover knows from the execution.
    Own(CircuitId),
    /// Anyone's, known by its matrices A and B alone, which the key holds.
    Foreign,
}

impl core::fmt::Display for Circuit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Own(circuit) => write!(f, "circuit {circuit}"),
            Self::Foreign => f.write_str("a foreign circuit"),
        }
    }
}

/// A circuit's sizes, which agree with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    wires: u32,
    public_wires: u32,
    rows: u32,
    log_domain_size: u32,
}

impl Counts {
    /// Checks that there is a public wire, the constant one, that there are no more public wires than wires, and that
    /// the domain has a root for each row and each public wire.
    pub(crate) fn new(wires: u32, public_wires: u32, rows: u32, log_domain_size: u32) -> Option<Self> {
        let domain = 1u64.checked_shl(log_domain_size).filter(|_| log_domain_size <= Domain::LOG_SIZE_MAX)?;
        let fits = (1..=wires).contains(&public_wires) && u64::from(rows) + u64::from(public_wires) <= domain;
        fits.then_some(Self { wires, public_wires, rows, log_domain_size })
    }

    /// The number of wires, the constant one and the public inputs among them.
    pub fn wires(&self) -> usize {
        self.wires as usize
    }

    /// The number of public wires: the constant one and the public inputs, which come first of all wires.
    pub fn public_wires(&self) -> usize {
        self.public_wires as usize
    }

    /// The number of rows, without those that the public wires add to A.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// The binary logarithm of the domain's size.
    pub fn log_domain_size(&self) -> u32 {
        self.log_domain_size
    }

    /// The domain.
    pub(crate) fn domain(&self) -> Domain {
        Domain::new(1 << self.log_domain_size).expect("the counts were checked")
    }

    /// The four numbers, 4 bytes each, little-endian.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let numbers = [self.wires, self.public_wires, self.rows, self.log_domain_size].map(u32::to_le_bytes);
        numbers.as_flattened().try_into().expect("four times four bytes")
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let (numbers, _) = bytes.as_chunks::<4>();
        let number = |i: usize| u32::from_le_bytes(numbers[i]);
        Self::new(number(0), number(1), number(2), number(3))
    }
}

/// The points of which a key has one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FixedPoints {
    pub(crate) alpha: G1,
    pub(crate) beta_g1: G1,
    pub(crate) delta_g1: G1,
    pub(crate) beta: G2,
    pub(crate) gamma: G2,
    pub(crate) delta: G2,
}

/// What is wrong with one of the points of which a key has one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key's point {name}: {source}")]
pub struct FixedPointError {
    /// The point.
    pub name: &'static str,
    /// What is wrong with it.
    pub source: PointError,
}

impl FixedPoints {
    /// Checks that each is a member of its group and none is at infinity.
    pub(crate) fn check(&self) -> Result<(), FixedPointError> {
        for (name, point) in [("alpha", &self.alpha), ("beta in G1", &self.beta_g1), ("delta in G1", &self.delta_g1)] {
            check_member(point).map_err(|source| FixedPointError { name, source })?;
        }
        for (name, point) in [("beta in G2", &self.beta), ("gamma", &self.gamma), ("delta in G2", &self.delta)] {
            check_member(point).map_err(|source| FixedPointError { name, source })?;
        }
        Ok(())
    }

    /// The key that proofs are checked with, which has these points of IC.
    pub(crate) fn verifying_key(&self, ic: &[G1]) -> VerifyingKeyPoints {
        VerifyingKeyPoints {
            alpha: self.alpha.to_affine(),
            beta: self.beta.to_affine(),
            gamma: self.gamma.to_affine(),
            delta: self.delta.to_affine(),
            ic: ic.iter().map(Point::to_affine).collect(),
        }
    }

    /// Whether gamma is delta or its negative, so that anyone can prove anything.
    pub(crate) fn are_forgeable(&self) -> bool {
        let [gamma, delta] = [self.gamma, self.delta].map(|point| point.to_affine());
        gamma == delta || gamma == -delta
    }
}

/// Whether limbs are those of a component of a coordinate: a number below the field's order.
pub(crate) fn is_coordinate(limbs: &[u64; 4]) -> bool {
    limbs.iter().rev().lt(ark_bn254::Fq::MODULUS.0.iter().rev())
}

/// Checks that coordinates are below the field's order and that the point is at infinity or on the curve.
pub(crate) fn check_point<P: Point>(point: &P) -> Result<(), PointError> {
    if !cast_slice(core::slice::from_ref(point)).iter().all(is_coordinate) {
        return Err(PointError::NotCanonical);
    }
    if point.to_affine().is_on_curve() { Ok(()) } else { Err(PointError::NotOnCurve) }
}

/// Checks that a point is a member of its group and not at infinity.
pub(crate) fn check_member<P: Point>(point: &P) -> Result<(), PointError> {
    check_point(point)?;
    if point.is_infinity() {
        return Err(PointError::Infinity);
    }
    if P::Config::is_in_correct_subgroup_assuming_on_curve(&point.to_affine()) {
        Ok(())
    } else {
        Err(PointError::NotInSubgroup)
    }
}

/// All that a key file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvingKey {
    pub(crate) circuit: Circuit,
    /// For one of Taproof's circuits, that of [`taproof_circuits::cs::Shape::matrix_hash`]; for a foreign one,
    /// [`foreign_matrix_hash`].
    pub(crate) matrix_hash: [u8; 32],
    pub(crate) counts: Counts,
    pub(crate) points: FixedPoints,
    /// Whether there are contributions to a foreign circuit's key and all of them are beacons, whose secrets
    /// everybody can compute.
    pub(crate) beacons_only: bool,
    pub(crate) ic: Vec<G1>,
    pub(crate) a_wires: Vec<u32>,
    pub(crate) a: Vec<G1>,
    pub(crate) b_wires: Vec<u32>,
    pub(crate) b_g1: Vec<G1>,
    pub(crate) b_g2: Vec<G2>,
    pub(crate) l: Vec<G1>,
    pub(crate) h: Vec<G1>,
    pub(crate) matrices: MatricesBuf,
}

impl ProvingKey {
    /// The key that proofs are checked with.
    pub fn verifying_key(&self) -> VerifyingKeyPoints {
        self.points.verifying_key(&self.ic)
    }

    /// Why anyone can forge proofs for this key, if anyone can.
    pub fn weakness(&self) -> Option<Weakness> {
        Weakness::of(&self.points, self.beacons_only)
    }

    /// What a proof is made with.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts { counts: self.counts, points: &self.points, sections: self.sections() }
    }

    pub(crate) fn sections(&self) -> Sections<'_> {
        Sections {
            ic: &self.ic,
            a_wires: &self.a_wires,
            a: &self.a,
            b_wires: &self.b_wires,
            b_g1: &self.b_g1,
            b_g2: &self.b_g2,
            l: &self.l,
            h: &self.h,
            matrices: self.matrices.view(),
        }
    }
}

/// What a proof is made with, in memory or mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) counts: Counts,
    pub(crate) points: &'a FixedPoints,
    pub(crate) sections: Sections<'a>,
}

/// The sections of a key.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    /// A point for each public wire.
    pub ic: &'a [G1],
    /// The wires that occur in A, rising.
    pub a_wires: &'a [u32],
    /// For each of them, its point.
    pub a: &'a [G1],
    /// The wires that occur in B, rising.
    pub b_wires: &'a [u32],
    /// For each of them, its point in G1.
    pub b_g1: &'a [G1],
    /// For each of them, its point in G2.
    pub b_g2: &'a [G2],
    /// A point for each wire but the public ones.
    pub l: &'a [G1],
    /// A point for each root of the odd coset.
    pub h: &'a [G1],
    /// The matrices of a foreign circuit; empty for Taproof's, whose rows come from the execution.
    pub matrices: Matrices<'a>,
}

/// The number of sections.
pub(crate) const SECTION_COUNT: usize = 13;

/// The sections' names, in the order of a key file.
pub(crate) const SECTION_NAMES: [&str; SECTION_COUNT] = [
    "IC",
    "A wires",
    "A",
    "B wires",
    "B in G1",
    "B in G2",
    "L",
    "H",
    "row ends of A",
    "terms of A",
    "row ends of B",
    "terms of B",
    "coefficients",
];

impl<'a> Sections<'a> {
    /// The sections as a key file stores them.
    pub(crate) fn to_bytes(self) -> [&'a [u8]; SECTION_COUNT] {
        let Matrices { a, b, coefficients } = self.matrices;
        [
            cast_slice(self.ic),
            cast_slice(self.a_wires),
            cast_slice(self.a),
            cast_slice(self.b_wires),
            cast_slice(self.b_g1),
            cast_slice(self.b_g2),
            cast_slice(self.l),
            cast_slice(self.h),
            cast_slice(a.row_ends),
            cast_slice(a.terms),
            cast_slice(b.row_ends),
            cast_slice(b.terms),
            cast_slice(coefficients),
        ]
    }
}

/// The hash that a foreign circuit is known by: BLAKE3 over `taproof/foreign-matrices/v1`, the counts (16 bytes) and
/// the digests of the five sections of its matrices. C has no part in it, for a .zkey does not hold it.
pub(crate) fn foreign_matrix_hash<'a>(counts: Counts, digests: impl IntoIterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"taproof/foreign-matrices/v1").update(&counts.to_bytes());
    digests.into_iter().for_each(|digest| {
        hasher.update(digest);
    });
    hasher.finalize().into()
}

/// The number of sections that hold points; those of the matrices follow them.
pub(crate) const POINT_SECTION_COUNT: usize = 8;

/// The BLAKE3 of a section.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    blake3::Hasher::new().update_rayon(bytes).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::{Fq, Fq2, Fr, G1Affine, G2Affine};
    use ark_ec::{AffineRepr, CurveGroup};
    use bytemuck::{Zeroable, bytes_of, pod_read_unaligned};

    /// The point with one limb replaced.
    fn altered<P: Point>(point: &P, at: usize, limb: [u8; 8]) -> P {
        let mut bytes = bytes_of(point).to_vec();
        bytes[at..at + 8].copy_from_slice(&limb);
        pod_read_unaligned(&bytes)
    }

    #[test]
    fn points_are_canonical_and_on_their_curve() {
        let g1 = G1::from_affine(&(G1Affine::generator() * Fr::from(5u64)).into_affine());
        let g2 = G2::from_affine(&(G2Affine::generator() * Fr::from(5u64)).into_affine());
        assert_eq!((check_point(&g1), check_point(&g2)), (Ok(()), Ok(())));
        assert_eq!((check_point(&G1::zeroed()), check_point(&G2::zeroed())), (Ok(()), Ok(())));
        assert_eq!(check_member(&G1::zeroed()), Err(PointError::Infinity));
        assert_eq!((check_member(&g1), check_member(&g2)), (Ok(()), Ok(())));
        for at in [24, 56] {
            assert_eq!(check_point(&altered(&g1, at, [255; 8])), Err(PointError::NotCanonical));
            assert_eq!(check_point(&altered(&g2, at + 64, [255; 8])), Err(PointError::NotCanonical));
            assert_eq!(check_point(&altered(&g1, at - 24, [1; 8])), Err(PointError::NotOnCurve));
        }
        // p itself, in both coordinates, stands for zero but is no limbs of it.
        let order = [Fq::MODULUS.0; 2];
        assert_eq!(check_point(&pod_read_unaligned::<G1>(bytes_of(&order))), Err(PointError::NotCanonical));
        // A point of the twist that is outside the subgroup: almost every x gives one.
        let outside = (1u64..)
            .find_map(|x| G2Affine::get_point_from_x_unchecked(Fq2::from(x), false))
            .expect("half of all x are coordinates");
        assert_eq!(check_point(&G2::from_affine(&outside)), Ok(()));
        assert_eq!(check_member(&G2::from_affine(&outside)), Err(PointError::NotInSubgroup));
    }

    #[test]
    fn counts_fit_their_domain() {
        assert!(Counts::new(5, 2, 6, 3).is_some());
        for (wires, public, rows, log) in
            [(5, 0, 6, 3), (5, 6, 2, 3), (5, 2, 7, 3), (5, 2, 6, 28), (5, 2, 6, 64), (5, 2, u32::MAX, 27)]
        {
            assert_eq!(Counts::new(wires, public, rows, log), None);
        }
        let counts = Counts::new(7, 2, 6, 4).expect("they fit");
        assert_eq!(Counts::from_bytes(counts.to_bytes()), Some(counts));
    }
}
