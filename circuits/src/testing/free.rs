//! The search for wires that nothing holds: each row is solved for the change of one wire, so that the whole field is
//! covered.

use crate::cs::{Assignment, RowView, Shape};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};

/// How one wire can change while all others stay and every row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// By any amount.
    Any,
    /// By this amount alone, which is not zero.
    By(Fr),
}

/// What the search says of every wire but the constant one, which is not a choice of the prover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FreeWires {
    /// The wires that can change alone, each with how.
    pub(crate) free: Vec<(usize, Freedom)>,
    /// How many wires no amount can be added to.
    pub(crate) held_count: usize,
}

/// The changes d of a wire other than zero that some rows leave, each row's being those of quadratic d^2 + linear d
/// = 0.
#[derive(Clone, Copy)]
enum Changes {
    /// Every one.
    All,
    /// -linear / quadratic alone; neither is zero.
    One { linear: Fr, quadratic: Fr },
    /// None.
    None,
}

impl Changes {
    fn of(quadratic: Fr, linear: Fr) -> Self {
        match (quadratic == Fr::ZERO, linear == Fr::ZERO) {
            (true, true) => Self::All,
            (false, false) => Self::One { linear, quadratic },
            // Either linear d = 0 or quadratic d^2 = 0, and zero is no change.
            _ => Self::None,
        }
    }

    fn intersect(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, changes) | (changes, Self::All) => changes,
            (one @ Self::One { linear, quadratic }, Self::One { linear: other, quadratic: divisor })
                if linear * divisor == other * quadratic =>
            {
                one
            }
            _ => Self::None,
        }
    }

    fn freedom(self) -> Option<Freedom> {
        match self {
            Self::All => Some(Freedom::Any),
            Self::One { linear, quadratic } => {
                Some(Freedom::By(-linear * quadratic.inverse().expect("a root has a divisor other than zero")))
            }
            Self::None => None,
        }
    }
}

/// Finds the wires that can change alone, by whatever amount, with every row of a satisfied assignment still satisfied.
pub(crate) fn free_wires(shape: &Shape, assignment: &Assignment) -> FreeWires {
    free_wires_of(shape.rows().enumerate(), assignment)
}

/// As [`free_wires`], of some rows by their numbers.
///
/// A row a b = c in which the wire stands with the coefficients p, q and s becomes (a + p d)(b + q d) = c + s d when
/// d is added to the wire: p q d^2 + (p b + q a - s) d = 0. The changes of a wire are those that all its rows have in
/// common.
pub(crate) fn free_wires_of<'a>(
    rows: impl Iterator<Item = (usize, RowView<'a>)>,
    assignment: &Assignment,
) -> FreeWires {
    let mut uses: Vec<Vec<(usize, [Fr; 3])>> = vec![Vec::new(); assignment.wires.len()];
    for (number, row) in rows {
        let sides = row.a().map(|t| (0, t)).chain(row.b().map(|t| (1, t))).chain(row.c().map(|t| (2, t)));
        for (side, (wire, coefficient)) in sides {
            match uses[wire].last_mut() {
                Some((last, coefficients)) if *last == number => coefficients[side] += coefficient,
                _ => {
                    let mut coefficients = [Fr::ZERO; 3];
                    coefficients[side] = *coefficient;
                    uses[wire].push((number, coefficients));
                }
            }
        }
    }
    let mut found = FreeWires::default();
    for (wire, rows) in uses.iter().enumerate().skip(1) {
        let mut changes = Changes::All;
        for (row, [p, q, s]) in rows {
            let (a, b) = (assignment.a[*row], assignment.b[*row]);
            changes = changes.intersect(Changes::of(*p * q, *p * b + *q * a - s));
            if matches!(changes, Changes::None) {
                break;
            }
        }
        match changes.freedom() {
            Some(freedom) => found.free.push((wire, freedom)),
            None => found.held_count += 1,
        }
    }
    found
}

mod tests {
    use super::*;
    use crate::{
        cs::{ConstraintSystem, Variable},
        testing::{Piece, run},
    };

    /// A wire of that value, with the rows that hold it.
    struct Held<F>(Fr, F);

    /// The sides of a row over the constant one and the wire.
    type Sides = [[i64; 2]; 3];

    impl<F: Fn() -> Vec<Sides>> Piece for Held<F> {
        fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
            let wire = cs.witness(self.0);
            for sides in (self.1)() {
                let [a, b, c] =
                    sides.map(|[constant, factor]| CS::Var::from(Fr::from(constant)) + wire.clone() * Fr::from(factor));
                cs.enforce(&a, &b, &c);
            }
        }
    }

    fn search(value: i64, rows: &[Sides]) -> Option<Freedom> {
        let piece = Held(Fr::from(value), || rows.to_vec());
        let (shape, assignment) = run(&piece);
        assert_eq!(shape.first_unsatisfied(&assignment.wires), None, "{rows:?}");
        let FreeWires { free, held_count } = free_wires(&shape, &assignment);
        assert_eq!(free.len() + held_count, 1);
        free.first().map(|(wire, freedom)| {
            assert_eq!(*wire, 1);
            *freedom
        })
    }

    const ONE: [i64; 2] = [1, 0];
    const ZERO: [i64; 2] = [0, 0];
    const WIRE: [i64; 2] = [0, 1];

    #[test]
    fn a_wire_in_no_row_is_free() {
        assert_eq!(search(3, &[]), Some(Freedom::Any));
        // (x - 3) 0 = 0, and 0 (x - 3) = 0.
        assert_eq!(search(3, &[[[-3, 1], ZERO, ZERO], [ZERO, [-3, 1], ZERO]]), Some(Freedom::Any));
        // x 1 = x.
        assert_eq!(search(3, &[[WIRE, ONE, WIRE]]), Some(Freedom::Any));
    }

    #[test]
    fn the_only_change_of_a_bit_is_found_for_zero_and_one() {
        let bit = [WIRE, WIRE, WIRE];
        assert_eq!(search(0, &[bit]), Some(Freedom::By(Fr::ONE)));
        assert_eq!(search(1, &[bit]), Some(Freedom::By(-Fr::ONE)));
        // The same relation as (x - 1) x = 0 and as (2 x) (3 x) = 6 x, which keep the change.
        let same = [[[-1, 1], WIRE, ZERO], [[0, 2], [0, 3], [0, 6]]];
        assert_eq!(search(1, &[bit, same[0], same[1]]), Some(Freedom::By(-Fr::ONE)));
    }

    #[test]
    fn changes_of_any_size_are_found() {
        // (x - 77) (x + 1000003) = 0.
        let roots = [[-77, 1], [1_000_003, 1], ZERO];
        assert_eq!(search(77, &[roots]), Some(Freedom::By(-Fr::from(1_000_080u64))));
        assert_eq!(search(-1_000_003, &[roots]), Some(Freedom::By(Fr::from(1_000_080u64))));
        // x^2 = 49.
        assert_eq!(search(7, &[[WIRE, WIRE, [49, 0]]]), Some(Freedom::By(-Fr::from(14u64))));
        assert_eq!(search(-7, &[[WIRE, WIRE, [49, 0]]]), Some(Freedom::By(Fr::from(14u64))));
    }

    #[test]
    fn a_wire_is_held_by_one_row_or_by_two_that_differ() {
        assert_eq!(search(3, &[[WIRE, ONE, [3, 0]]]), None);
        assert_eq!(search(3, &[[ONE, WIRE, [3, 0]]]), None);
        assert_eq!(search(3, &[[ONE, [3, 0], WIRE]]), None);
        // x^2 = 0, whose root is double, and (x - 5)^2 = 0.
        assert_eq!(search(0, &[[WIRE, WIRE, ZERO]]), None);
        assert_eq!(search(5, &[[[-5, 1], [-5, 1], ZERO]]), None);
        // x^2 = x and x^2 = 1: 1 by itself could become 0 or -1.
        let rows = [[WIRE, WIRE, WIRE], [WIRE, WIRE, ONE]];
        assert!(rows.iter().all(|row| search(1, &[*row]).is_some()));
        assert_eq!(search(1, &rows), None);
    }

    /// Every wire of a long product is searched, and the one in the middle whose row is missing is found.
    #[test]
    fn a_planted_wire_is_found_among_those_that_are_held() {
        struct Chain;
        impl Piece for Chain {
            fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
                let base = cs.wire(&Fr::from(3u64).into());
                let mut power = base.clone();
                for step in 0..40 {
                    power = cs.product(&power, &base);
                    if step == 20 {
                        // A bit that chooses between two equal values: only its own row holds it.
                        let bit = cs.witness(Fr::ONE);
                        cs.enforce(&bit, &bit, &bit);
                        cs.enforce(&bit, &(power.clone() - power.clone()), &CS::Var::zero());
                    }
                }
                cs.enforce_equal(&power, &Fr::from(3u64).pow([41]).into());
            }
        }
        let (shape, assignment) = run(&Chain);
        let found = free_wires(&shape, &assignment);
        assert_eq!(found, FreeWires { free: vec![(23, Freedom::By(-Fr::ONE))], held_count: 41 });
    }
}
