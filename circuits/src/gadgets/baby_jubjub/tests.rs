//! The gadgets agree with the curve's native arithmetic, hold every wire, and refuse what is no key.

use super::{base, *};
use crate::testing::{Piece, assert_refused, assert_sound, run};
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{BigInt, LegendreSymbol, PrimeField, UniformRand, Zero};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(21)
}

fn random_point(rng: &mut ChaCha20Rng) -> Point {
    (Point::generator() * Scalar::rand(rng)).into_affine()
}

/// A point of order 8: no multiple of it below the eighth is the identity.
fn order_eight() -> Point {
    let mut rng = rng();
    let point = loop {
        if let Some(point) = Point::get_point_from_y_unchecked(Fr::rand(&mut rng), false) {
            let torsion = point.mul_bigint(Scalar::MODULUS).into_affine();
            if !torsion.mul_bigint([4u64]).is_zero() {
                break torsion;
            }
        }
    };
    assert!(point.mul_bigint([8u64]).is_zero());
    point
}

/// All multiples of the point of order 8, and some points with and without a component of order l.
fn any_points() -> Vec<Point> {
    let mut rng = rng();
    let torsion = order_eight();
    let mut points: Vec<_> = (0..8u64).map(|i| torsion.mul_bigint([i]).into_affine()).collect();
    let random = random_point(&mut rng);
    points.extend([random, -random, (random + torsion).into_affine(), (random + random).into_affine()]);
    points.extend([Point::generator(), random_point(&mut rng)]);
    points
}

fn enforce_equal<CS: ConstraintSystem>(cs: &mut CS, point: &EdwardsPoint<CS::Var>, expected: &Point) {
    cs.enforce_equal(&point.x, &expected.x.into());
    cs.enforce_equal(&point.y, &expected.y.into());
}

#[test]
fn coefficients_are_those_of_both_forms() {
    assert_eq!((EDWARDS_A, EDWARDS_D), (Fr::from(168_700u64), Fr::from(168_696u64)));
    assert_eq!(MONTGOMERY_A, (EDWARDS_A + EDWARDS_D).double() / (EDWARDS_A - EDWARDS_D));
    assert_eq!(Fr::from(4u64) / (EDWARDS_A - EDWARDS_D), Fr::ONE);
    // Completeness of the Edwards addition, and no point with u = -1.
    assert_eq!(EDWARDS_A.legendre(), LegendreSymbol::QuadraticResidue);
    assert_eq!(EDWARDS_D.legendre(), LegendreSymbol::QuadraticNonResidue);
    assert_eq!(MONTGOMERY_A - Fr::from(2u64), EDWARDS_D);
    // The inequalities that keep the windows free of exceptions.
    let power = BigInt::<4>::from(1u64) << base::LOW_BITS as u32;
    assert_eq!(base::LOW_BITS, 250);
    assert!(power < Scalar::MODULUS && base::last_weight() < power);
}

struct Sum(Point, Point, Point);

impl Piece for Sum {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let [left, right] = [self.0, self.1].map(|point| {
            let wires = EdwardsPoint::witness(cs, &point);
            enforce_equal(cs, &wires, &point);
            wires
        });
        let sum = left.add(cs, &right);
        enforce_equal(cs, &sum, &self.2);
    }
}

#[test]
fn edwards_addition_is_complete() {
    for left in any_points() {
        for right in any_points() {
            let sum = (left + right).into_affine();
            assert_eq!(assert_sound(&Sum(left, right, sum)), 4 + 6 + 2);
        }
    }
    let generator = Point::generator();
    assert_refused(&Sum(generator, generator, generator));
}

struct MontgomerySum(Point, Point);

impl Piece for MontgomerySum {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let values = to_montgomery_values(&[self.0.into(), self.1.into()]);
        let slope = (values[1].v - values[0].v) * (values[1].u - values[0].u).inverse().unwrap_or_default();
        let [left, right] = [self.0, self.1].map(|point| {
            let wires = EdwardsPoint::witness(cs, &point);
            enforce_equal(cs, &wires, &point);
            wires.to_montgomery(cs)
        });
        let sum = left.add(cs, &right, slope).to_edwards(cs);
        enforce_equal(cs, &sum, &(self.0 + self.1).into_affine());
        let double = left.double(cs).to_edwards(cs);
        enforce_equal(cs, &double, &(self.0 + self.0).into_affine());
    }
}

#[test]
fn montgomery_forms_add_and_double_as_the_curve_does() {
    let mut rng = rng();
    for _ in 0..8 {
        let piece = MontgomerySum(random_point(&mut rng), random_point(&mut rng));
        assert_eq!(assert_sound(&piece), 4 + 2 * 2 + (3 + 2 + 2) + (4 + 2 + 2));
    }
}

#[test]
fn hints_for_montgomery_forms_lie_on_the_curve() {
    let mut rng = rng();
    let points: Vec<PointProjective> = (0..5).map(|_| PointProjective::generator() * Scalar::rand(&mut rng)).collect();
    for MontgomeryPoint { u, v } in to_montgomery_values(&points) {
        assert_eq!(v.square(), u.square() * (u + MONTGOMERY_A) + u);
    }
    let none = to_montgomery_values(&[PointProjective::default()]);
    assert_eq!(none, [MontgomeryPoint { u: Fr::ZERO, v: Fr::ZERO }]);
}

struct BaseMultiple(Scalar, Point);

impl Piece for BaseMultiple {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let multiple = multiply_base(cs, &self.0);
        enforce_equal(cs, &multiple, &self.1);
    }
}

fn extreme_scalars() -> Vec<Scalar> {
    let integer = |integer: BigInt<4>| Scalar::from_bigint(integer).expect("below the order");
    let power = |exponent: u32| integer(BigInt::from(1u64) << exponent);
    let mut scalars: Vec<_> = [0, 1, 2, 3, 4, 127, 128, 187, 249, 250].into_iter().map(power).collect();
    scalars.extend(scalars.clone().into_iter().map(|scalar| scalar - Scalar::ONE));
    scalars.extend(scalars.clone().into_iter().map(|scalar| -scalar));
    // Where the last bit starts to weigh, and the sums of windows that a shorter analysis would call the identity.
    let last_weight = integer(base::last_weight());
    let half = Scalar::from(2u64).inverse().expect("2 is not zero");
    scalars.extend([last_weight, last_weight - Scalar::ONE, half, -half, (power(250) - Scalar::ONE) * half]);
    scalars
}

#[test]
fn base_multiples_agree_with_the_curve() {
    let mut rng = rng();
    let scalars = extreme_scalars().into_iter().chain((0..8).map(|_| Scalar::rand(&mut rng)));
    for scalar in scalars {
        let multiple = (Point::generator() * scalar).into_affine();
        assert_eq!(assert_sound(&BaseMultiple(scalar, multiple)), 674 + 2, "{scalar}");
    }
    assert_refused(&BaseMultiple(Scalar::from(2u64), Point::generator()));
}

struct KeyMultiple {
    bits: Vec<bool>,
    key: Point,
    multiple: Point,
}

impl KeyMultiple {
    fn new(challenge: u128, key: Point) -> Self {
        let bits: Vec<_> = (0..128).map(|bit| challenge >> bit & 1 == 1).collect();
        let multiplier = Scalar::from(challenge).double() + Scalar::ONE + Scalar::from(2u64).pow([128]);
        Self { bits, key, multiple: (key * multiplier).into_affine() }
    }
}

impl Piece for KeyMultiple {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let bits: Vec<_> = self.bits.iter().map(|bit| Bit::witness(cs, *bit)).collect();
        let key = EdwardsPoint::witness(cs, &self.key);
        enforce_equal(cs, &key, &self.key);
        let multiple = multiply_key(cs, &bits, &key);
        enforce_equal(cs, &multiple, &self.multiple);
    }
}

#[test]
fn key_multiples_agree_with_the_curve() {
    let mut rng = rng();
    let mut challenges = vec![0, 1, 2, 3, u128::MAX, u128::MAX - 1, u128::MAX >> 1, 1 << 127, (1 << 127) - 1];
    challenges.extend((0..8).map(|_| u128::rand(&mut rng)));
    for challenge in challenges {
        let piece = KeyMultiple::new(challenge, random_point(&mut rng));
        assert_eq!(assert_sound(&piece), 128 + 2 + (8 + 6 * 128) + 2, "{challenge}");
    }
    let mut wrong = KeyMultiple::new(5, Point::generator());
    wrong.bits[7] ^= true;
    assert_refused(&wrong);
}

#[test]
fn key_multiples_have_no_exceptions_for_short_challenges() {
    for bits in 1..4 {
        for challenge in 0..1u64 << bits {
            let key = Point::generator();
            let multiplier = Scalar::from((1 << bits) + 2 * challenge + 1);
            let bits = (0..bits).map(|bit| challenge >> bit & 1 == 1).collect();
            assert_sound(&KeyMultiple { bits, key, multiple: (key * multiplier).into_affine() });
        }
    }
}

struct Key(Point, Point);

impl Piece for Key {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let key = enforce_eightfold(cs, &self.0);
        enforce_equal(cs, &key, &self.1);
    }
}

#[test]
fn keys_are_points_of_the_subgroup() {
    let mut rng = rng();
    let torsion = order_eight();
    for _ in 0..4 {
        let key = PublicKey::new(random_point(&mut rng)).expect("a multiple of the generator");
        let hidden = eighth(&key);
        assert_eq!(assert_sound(&Key(hidden, *key.point())), 17 + 2);
        // Any component of small order is lost.
        assert_sound(&Key((hidden + torsion).into_affine(), *key.point()));
        assert_refused(&Key(hidden, (*key.point() + torsion).into_affine()));
    }
}

#[test]
fn keys_refuse_the_identity_and_points_off_the_curve() {
    let torsion = order_eight();
    for i in 0..8u64 {
        assert_refused(&Key(torsion.mul_bigint([i]).into_affine(), Point::zero()));
    }
    let off_curve = Point::new_unchecked(Fr::from(3u64), Fr::from(4u64));
    let (shape, assignment) = run(&Key(off_curve, Point::zero()));
    let first = shape.first_unsatisfied(&assignment.wires);
    assert_eq!(first, Some(2), "the row of the curve's equation, after the two squares");
}
