//! The Miller loop of the optimal ate pairing over BN254, shared by many pairs, with its lines computed beforehand.
//!
//! The lines of a point Q are those through the points that lead to [6x + 2] Q + psi(Q) - psi^2(Q), psi being the
//! p-power Frobenius on the twist. They are kept in affine form, so that a line's value takes two small
//! multiplications and one sparse one; the inversions that affine form needs are shared by all points that are
//! worked on together.
//!
//! The last of those points also tells whether Q is in the subgroup of order r. On the twist psi satisfies
//! psi^2 - t psi + p = 0, and f(psi) = 6x + 2 + psi - psi^2 + psi^3 kills the subgroup. Modulo that relation f is
//! a + b psi of norm N = a^2 + a b t + b^2 p; whatever f kills is killed by N and by the group's order, and their
//! greatest common divisor is r. So f(psi) Q = 0 iff Q is in the subgroup (the argument of ePrint 2022/348).

use crate::inverse::{batch_inverse, inverse_fq, inverse_fq2};
use alloc::vec::Vec;
use ark_bn254::{Bn254, Config, Fq, Fq2, Fq12, Fq12Config, G1Affine, G2Affine};
use ark_ec::{
    bn::{BnConfig, G2Prepared},
    pairing::{MillerLoopOutput, Pairing},
};
use ark_ff::{AdditiveGroup, Field, Fp12Config};
use core::borrow::Borrow;

/// The number of points from which on it pays to share the inversions of each step.
const SHARED_INVERSIONS_MIN: usize = 3;

/// A line y = slope x - intercept through points of the twist.
#[derive(Clone, Copy)]
struct Line {
    slope: Fq2,
    intercept: Fq2,
}

/// The lines of one point, in the order of the Miller loop.
#[derive(Clone)]
pub(super) struct Lines(Vec<Line>);

/// What a step of the Miller loop adds to the running point.
#[derive(Clone, Copy)]
enum Step {
    Double,
    Add,
    Subtract,
    AddFrobenius,
    SubtractFrobeniusSquare,
}

/// The steps for every bit of 6x + 2 below the highest, then for the two Frobenius images.
fn steps() -> impl Iterator<Item = Step> {
    let digits = Config::ATE_LOOP_COUNT.iter().rev().skip(1);
    let loop_steps = digits.flat_map(|digit| {
        let addition = match digit {
            1 => Some(Step::Add),
            -1 => Some(Step::Subtract),
            _ => None,
        };
        core::iter::once(Step::Double).chain(addition)
    });
    loop_steps.chain([Step::AddFrobenius, Step::SubtractFrobeniusSquare])
}

/// A point on its way through the steps.
struct Walk {
    start: G2Affine,
    x: Fq2,
    y: Fq2,
    lines: Vec<Line>,
    /// Whether every step so far had a line with a finite slope, as all have that start in the subgroup.
    regular: bool,
}

impl Walk {
    fn new(start: &G2Affine) -> Self {
        let lines = Vec::with_capacity(steps().count());
        Self { start: *start, x: start.x, y: start.y, lines, regular: true }
    }

    /// The point that a step adds; none for doubling.
    fn addend(&self, step: Step) -> Option<(Fq2, Fq2)> {
        match step {
            Step::Double => None,
            Step::Add => Some((self.start.x, self.start.y)),
            Step::Subtract => Some((self.start.x, -self.start.y)),
            Step::AddFrobenius => Some(frobenius((self.start.x, self.start.y))),
            Step::SubtractFrobeniusSquare => {
                let (x, y) = frobenius(frobenius((self.start.x, self.start.y)));
                Some((x, -y))
            }
        }
    }

    /// What the slope of a step's line is divided into.
    fn numerator(&self, step: Step) -> Fq2 {
        match self.addend(step) {
            None => {
                let x_squared = self.x.square();
                x_squared.double() + x_squared
            }
            Some((_, y)) => self.y - y,
        }
    }

    /// What the slope of a step's line is divided by.
    fn denominator(&self, step: Step) -> Fq2 {
        match self.addend(step) {
            None => self.y.double(),
            Some((x, _)) => self.x - x,
        }
    }

    /// Goes along a line to the third point that it meets, and to the inverse of that.
    fn advance(&mut self, step: Step, slope: Fq2) {
        let other_x = self.addend(step).map_or(self.x, |(x, _)| x);
        let intercept = slope * self.x - self.y;
        self.lines.push(Line { slope, intercept });
        self.x = slope.square() - self.x - other_x;
        self.y = intercept - slope * self.x;
    }

    /// The lines, if the point is in the subgroup: the walk ends at the inverse of psi^3 of its start.
    fn finish(self) -> Option<Lines> {
        let (x, y) = frobenius(frobenius(frobenius((self.start.x, self.start.y))));
        (self.regular && self.x == x && self.y == -y).then_some(Lines(self.lines))
    }
}

/// The p-power Frobenius on the twist.
fn frobenius((mut x, mut y): (Fq2, Fq2)) -> (Fq2, Fq2) {
    x.conjugate_in_place();
    y.conjugate_in_place();
    (x * Config::TWIST_MUL_BY_Q_X, y * Config::TWIST_MUL_BY_Q_Y)
}

impl Lines {
    /// The lines of points of the twist, none of them at infinity; `None` for points outside the subgroup.
    ///
    /// A step's denominator is never zero for a point of the subgroup. Where it is, the inverse is taken as zero
    /// and the walk goes on with meaningless points, to be refused at its end.
    pub(super) fn of_all(points: &[G2Affine]) -> Vec<Option<Self>> {
        if points.len() < SHARED_INVERSIONS_MIN {
            return points.iter().map(Self::of_one).collect();
        }
        let mut walks: Vec<_> = points.iter().map(Walk::new).collect();
        for step in steps() {
            let mut inverses: Vec<_> = walks.iter().map(|walk| walk.denominator(step)).collect();
            batch_inverse(&mut inverses, inverse_fq2);
            for (walk, inverse) in walks.iter_mut().zip(&inverses) {
                walk.regular &= *inverse != Fq2::ZERO;
                walk.advance(step, walk.numerator(step) * inverse);
            }
        }
        walks.into_iter().map(Walk::finish).collect()
    }

    /// As [`Lines::of_all`], with the slopes from projective points, so that one inversion serves all steps.
    pub(super) fn of_one(point: &G2Affine) -> Option<Self> {
        let projective = G2Prepared::<Config>::from(point).ell_coeffs;
        let mut inverses: Vec<_> = projective.iter().map(|(of_y, ..)| *of_y).collect();
        batch_inverse(&mut inverses, inverse_fq2);
        let mut walk = Walk::new(point);
        for ((step, (_, of_x, _)), inverse) in steps().zip(&projective).zip(&inverses) {
            walk.regular &= *inverse != Fq2::ZERO;
            walk.advance(step, -(*of_x * inverse));
        }
        walk.finish()
    }
}

/// A point of G1 as lines are evaluated at it: the line's value is divided by y, which the final exponentiation
/// makes no difference of.
struct Evaluation {
    minus_x_by_y: Fq,
    y_inverse: Fq,
}

/// The product of the Miller loops of many pairs, which squares once for all of them.
///
/// No point may be at infinity; a sum that happens to be leaves its pair out.
pub(super) fn miller_loop<L: Borrow<Lines>>(pairs: &[(G1Affine, L)]) -> Fq12 {
    let mut inverses: Vec<_> = pairs.iter().map(|(point, _)| point.y).collect();
    batch_inverse(&mut inverses, inverse_fq);
    let evaluations: Vec<_> = pairs
        .iter()
        .zip(inverses)
        .map(|((point, _), y_inverse)| Evaluation { minus_x_by_y: -(point.x * y_inverse), y_inverse })
        .collect();
    let mut product = Fq12::ONE;
    for (position, step) in steps().enumerate() {
        if matches!(step, Step::Double) {
            product.square_in_place();
        }
        for ((_, lines), evaluation) in pairs.iter().zip(&evaluations) {
            multiply_by_line(&mut product, &lines.borrow().0[position], evaluation);
        }
    }
    product
}

/// Multiplies by 1 - slope (x / y) w + (intercept / y) v w.
fn multiply_by_line(product: &mut Fq12, line: &Line, at: &Evaluation) {
    let mut c3 = line.slope;
    c3.mul_assign_by_fp(&at.minus_x_by_y);
    let mut c4 = line.intercept;
    c4.mul_assign_by_fp(&at.y_inverse);
    let mut low = product.c0;
    low.mul_by_01(&c3, &c4);
    let mut high = product.c1;
    high.mul_by_01(&c3, &c4);
    Fq12Config::mul_fp6_by_nonresidue_in_place(&mut high);
    product.c0 += high;
    product.c1 += low;
}

/// Whether the final exponentiation takes a Miller loop's product to one.
pub(super) fn is_one(product: Fq12) -> bool {
    Bn254::final_exponentiation(MillerLoopOutput(product)).is_some_and(|output| output.0 == Fq12::ONE)
}
