//! Owners' keys: points of Baby Jubjub (ERC-2494), a twisted Edwards curve over the BN254 scalar field.
//!
//! The curve is 168700 x^2 + y^2 = 1 + 168696 x^2 y^2, its group of order 8 l, l prime. Keys are points of the
//! subgroup of order l other than the identity. In that subgroup x determines y: (x, -y) is the inverse of (x, y) plus
//! (0, -1), a point of order 2, so (x, y) and (x, -y) cannot both have order l. Hashes and records therefore
//! bind a key by its x alone.

use crate::field;
use ark_bn254::Fr;
use ark_ec::{AffineRepr, twisted_edwards::TECurveConfig};
use ark_ff::{BigInteger, Field, PrimeField, Zero};

mod curve;

pub use curve::{BabyJubjub, Point, PointProjective, Scalar, ScalarConfig};

/// An owner's key: a point of the subgroup of prime order l, not the identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(Point);

/// Why bytes or coordinates are no [`PublicKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The y coordinate is not below the order of the field.
    #[error("the y coordinate is not canonical")]
    NotCanonical,
    /// No point of the curve has these coordinates.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The point is the identity or has a component of small order.
    #[error("the point is not in the subgroup of prime order, or is its identity")]
    NotInSubgroup,
    /// The sign bit is set where x is zero, so the point has another encoding.
    #[error("the sign bit contradicts a zero x coordinate")]
    SignOfZero,
}

impl PublicKey {
    /// Checks a point.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`] and [`KeyError::NotInSubgroup`].
    pub fn new(point: Point) -> Result<Self, KeyError> {
        if !point.is_on_curve() {
            return Err(KeyError::NotOnCurve);
        }
        if point.is_zero() || !point.is_in_correct_subgroup_assuming_on_curve() {
            return Err(KeyError::NotInSubgroup);
        }
        Ok(Self(point))
    }

    /// Checks coordinates.
    ///
    /// # Errors
    /// As [`PublicKey::new`].
    pub fn from_coordinates(x: Fr, y: Fr) -> Result<Self, KeyError> {
        Self::new(Point::new_unchecked(x, y))
    }

    /// The point itself.
    pub fn point(&self) -> &Point {
        &self.0
    }

    /// The x coordinate, which in the subgroup determines the point.
    pub fn x(&self) -> Fr {
        self.0.x
    }

    /// The y coordinate.
    pub fn y(&self) -> Fr {
        self.0.y
    }

    /// The key of an x coordinate, of which there is one at most.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`] and [`KeyError::NotInSubgroup`].
    pub fn from_x(x: Fr) -> Result<Self, KeyError> {
        let x_squared = x.square();
        let denominator = Fr::ONE - BabyJubjub::COEFF_D * x_squared;
        let numerator = Fr::ONE - <BabyJubjub as TECurveConfig>::COEFF_A * x_squared;
        let y_squared = denominator.inverse().map(|inverse| numerator * inverse).ok_or(KeyError::NotOnCurve)?;
        let y = y_squared.sqrt().ok_or(KeyError::NotOnCurve)?;
        Self::from_coordinates(x, y).or_else(|_| Self::from_coordinates(x, -y))
    }

    /// Encodes the key as ERC-2494 implementations pack points: y as 32 bytes, little-endian, with the top bit
    /// of the last byte set iff x > (p - 1) / 2.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = field::to_bytes(&self.0.y);
        if is_negative(&self.0.x) {
            bytes[31] |= 0x80;
        }
        bytes
    }

    /// Decodes what [`PublicKey::to_bytes`] encodes; every key has one encoding.
    ///
    /// # Errors
    /// Each of [`KeyError`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let mut y_bytes = *bytes;
        y_bytes[31] &= 0x7f;
        let negative = bytes[31] & 0x80 != 0;
        let y = field::from_bytes(&y_bytes).map_err(|_| KeyError::NotCanonical)?;
        let y_squared = y.square();
        let denominator = <BabyJubjub as TECurveConfig>::COEFF_A - BabyJubjub::COEFF_D * y_squared;
        let x_squared =
            denominator.inverse().map(|inverse| (Fr::ONE - y_squared) * inverse).ok_or(KeyError::NotOnCurve)?;
        let mut x = x_squared.sqrt().ok_or(KeyError::NotOnCurve)?;
        if x.is_zero() && negative {
            return Err(KeyError::SignOfZero);
        }
        if is_negative(&x) != negative {
            x = -x;
        }
        Self::from_coordinates(x, y)
    }
}

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PublicKey(")?;
        core::fmt::Display::fmt(self, f)?;
        f.write_str(")")
    }
}

/// Writes [`PublicKey::to_bytes`] as 64 hexadecimal digits.
impl core::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether an element lies in the upper half of the field, above (p - 1) / 2.
fn is_negative(x: &Fr) -> bool {
    let mut half = Fr::MODULUS;
    half.div2();
    x.into_bigint() > half
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::CurveGroup;
    use ark_ff::{AdditiveGroup, UniformRand};
    use rand::SeedableRng;

    fn random_keys() -> impl Iterator<Item = PublicKey> {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
        (0..40).map(move |_| {
            let point = (Point::generator() * Scalar::rand(&mut rng)).into_affine();
            PublicKey::new(point).expect("a multiple of the generator")
        })
    }

    #[test]
    fn bytes_round_trip() {
        for key in random_keys() {
            assert_eq!(PublicKey::from_bytes(&key.to_bytes()), Ok(key));
        }
    }

    #[test]
    fn x_determines_the_key() {
        for key in random_keys() {
            assert_eq!(PublicKey::from_coordinates(key.x(), -key.y()), Err(KeyError::NotInSubgroup));
            assert_eq!(PublicKey::from_x(key.x()), Ok(key));
        }
        assert_eq!(PublicKey::from_x(Fr::ZERO), Err(KeyError::NotInSubgroup));
        let order_two = Point::new_unchecked(Fr::ZERO, -Fr::ONE);
        let mixed = (Point::generator() + order_two).into_affine();
        let other = PublicKey::from_x(mixed.x).expect("x is that of a key, too, as y is the negative of one's");
        assert_eq!(other.y(), -mixed.y);
        let outside = (2u64..40).map(Fr::from).find_map(|x| PublicKey::from_x(x).err()).expect("half are on no curve");
        assert!(matches!(outside, KeyError::NotOnCurve | KeyError::NotInSubgroup));
    }

    #[test]
    fn generator_is_the_base_point_of_erc_2494() {
        let generator = PublicKey::new(Point::generator()).expect("the generator has prime order");
        assert_eq!(
            generator.x().into_bigint().to_string(),
            "5299619240641551281634865583518297030282874472190772894086521144482721001553"
        );
    }

    #[test]
    fn points_outside_the_subgroup_are_refused() {
        let identity = Point::zero();
        assert_eq!(PublicKey::new(identity), Err(KeyError::NotInSubgroup));
        let order_two = Point::new_unchecked(Fr::ZERO, -Fr::ONE);
        assert_eq!(PublicKey::new(order_two), Err(KeyError::NotInSubgroup));
        let mixed = (Point::generator() + order_two).into_affine();
        assert_eq!(PublicKey::new(mixed), Err(KeyError::NotInSubgroup));
        assert_eq!(PublicKey::from_coordinates(Fr::ONE, Fr::ONE), Err(KeyError::NotOnCurve));
    }

    #[test]
    fn encodings_that_are_not_canonical_are_refused() {
        assert_eq!(PublicKey::from_bytes(&[0xff; 32]), Err(KeyError::NotCanonical));
        let mut one_with_sign = field::to_bytes(&Fr::ONE);
        one_with_sign[31] |= 0x80;
        assert_eq!(PublicKey::from_bytes(&one_with_sign), Err(KeyError::SignOfZero));
    }
}
