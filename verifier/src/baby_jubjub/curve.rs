//! The curve of ERC-2494 as parameters: its coefficients, its base point, the order of its subgroup.
#![allow(unexpected_cfgs, reason = "`MontConfig` asks for a feature of arkworks' own")]

use ark_bn254::Fr;
use ark_ec::{
    CurveConfig,
    twisted_edwards::{Affine, MontCurveConfig, Projective, TECurveConfig},
};
use ark_ff::{
    Field, MontConfig, MontFp,
    fields::{Fp256, MontBackend},
};

/// A point of the curve as (x, y).
pub type Point = Affine<BabyJubjub>;
/// A point of the curve in extended coordinates.
pub type PointProjective = Projective<BabyJubjub>;
/// A number modulo l, the order of the subgroup.
pub type Scalar = Fp256<MontBackend<ScalarConfig, 4>>;

/// The field of scalars: l = 2736030358979909402780800718157159386076813972158567259200215660948447373041.
#[derive(MontConfig)]
#[modulus = "2736030358979909402780800718157159386076813972158567259200215660948447373041"]
#[generator = "31"]
pub struct ScalarConfig;

/// The curve 168700 x^2 + y^2 = 1 + 168696 x^2 y^2 over the scalar field of BN254.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BabyJubjub;

impl CurveConfig for BabyJubjub {
    type BaseField = Fr;
    type ScalarField = Scalar;

    const COFACTOR: &'static [u64] = &[8];
    const COFACTOR_INV: Scalar =
        MontFp!("2394026564107420727433200628387514462817212225638746351800188703329891451411");
}

impl TECurveConfig for BabyJubjub {
    const COEFF_A: Fr = MontFp!("168700");
    const COEFF_D: Fr = MontFp!("168696");
    /// The base point: it generates the subgroup.
    const GENERATOR: Point = Affine::new_unchecked(
        MontFp!("5299619240641551281634865583518297030282874472190772894086521144482721001553"),
        MontFp!("16950150798460657717958625567821834550301663161624707787222815936182638968203"),
    );

    type MontCurveConfig = Self;
}

/// The same curve in Montgomery's form.
impl MontCurveConfig for BabyJubjub {
    const COEFF_A: Fr = MontFp!("168698");
    const COEFF_B: Fr = Fr::ONE;

    type TECurveConfig = Self;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_ff::{BigInteger, FftField, PrimeField, UniformRand, Zero};
    use rand::SeedableRng;
    use taceo_ark_babyjubjub as other;

    #[test]
    fn parameters_are_those_of_another_implementation() {
        type Other = other::EdwardsConfig;
        assert_eq!(Scalar::MODULUS, other::Fr::MODULUS);
        assert_eq!(<BabyJubjub as TECurveConfig>::COEFF_A, <Other as TECurveConfig>::COEFF_A);
        assert_eq!(BabyJubjub::COEFF_D, Other::COEFF_D);
        assert_eq!(<BabyJubjub as MontCurveConfig>::COEFF_A, <Other as MontCurveConfig>::COEFF_A);
        assert_eq!(BabyJubjub::COEFF_B, Other::COEFF_B);
        assert_eq!(BabyJubjub::COFACTOR, Other::COFACTOR);
        assert_eq!(BabyJubjub::COFACTOR_INV.into_bigint(), Other::COFACTOR_INV.into_bigint());
        assert_eq!(Scalar::GENERATOR.into_bigint(), other::Fr::GENERATOR.into_bigint());
        let (ours, theirs) = (BabyJubjub::GENERATOR, Other::GENERATOR);
        assert_eq!((ours.x, ours.y), (theirs.x, theirs.y));
    }

    #[test]
    fn products_are_those_of_another_implementation() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(7);
        for _ in 0..20 {
            let [scalar, factor] = [(); 2].map(|()| Scalar::rand(&mut rng));
            let product = ((Point::generator() * factor) * scalar).into_affine();
            let [scalar, factor] = [scalar, factor].map(|scalar| other::Fr::from(scalar.into_bigint()));
            let theirs = ((other::EdwardsAffine::generator() * factor) * scalar).into_affine();
            assert_eq!((product.x, product.y), (theirs.x, theirs.y));
        }
    }

    /// The subgroup has order l, and the inverse of the cofactor is one.
    #[test]
    fn orders_are_what_they_are_said_to_be() {
        assert!(BabyJubjub::GENERATOR.is_on_curve());
        assert!(BabyJubjub::GENERATOR.mul_bigint(Scalar::MODULUS).is_zero());
        assert_eq!(BabyJubjub::COFACTOR_INV * Scalar::from(8u64), Scalar::ONE);
        assert!(Scalar::MODULUS.is_odd());
    }
}
