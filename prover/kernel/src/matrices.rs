//! The matrices A and B of a foreign circuit, row by row, as a key stores them and the prover multiplies them with
//! the wires.
//!
//! A row's terms are pairs of a wire and the index of a coefficient; coefficients are stored once, for circuits have
//! few. The first two are 1 and -1, with which nothing is multiplied.

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use rayon::prelude::*;
use std::collections::HashMap;

/// A sparse matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix<'a> {
    /// For each row, where its terms end; they begin where those of the row before end.
    pub row_ends: &'a [u32],
    /// The terms: a wire and the index of a coefficient. By rising wire within a row.
    pub terms: &'a [[u32; 2]],
}

/// The matrices A and B, in memory or mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices<'a> {
    /// The matrix A.
    pub a: Matrix<'a>,
    /// The matrix B.
    pub b: Matrix<'a>,
    /// The coefficients, Montgomery limbs, little-endian: 1, -1, then the others by rising limbs.
    pub coefficients: &'a [[u64; 4]],
}

impl Matrices<'_> {
    /// The values of A z and B z for every row, in vectors with room for `capacity` rows.
    pub(crate) fn multiply(&self, wires: &[Fr], capacity: usize) -> [Vec<Fr>; 2] {
        [self.a, self.b].map(|matrix| {
            let mut values = Vec::with_capacity(capacity);
            let rows = (0..matrix.row_ends.len()).into_par_iter().with_min_len(ROWS_MIN);
            values.par_extend(rows.map(|row| matrix.row(row).iter().map(|term| self.product(term, wires)).sum::<Fr>()));
            values
        })
    }

    /// A term's value. Where the file that the matrices are mapped from is overwritten after it was checked, a term
    /// may lead nowhere. It counts nothing then: the proof does not hold, and its verification tells.
    fn product(&self, &[wire, coefficient]: &[u32; 2], wires: &[Fr]) -> Fr {
        let value = wires.get(wire as usize).copied().unwrap_or_default();
        match coefficient {
            0 => value,
            1 => -value,
            index => self.coefficients.get(index as usize).map_or(Fr::ZERO, |limbs| value * from_limbs(*limbs)),
        }
    }

    /// The number of terms of both matrices.
    pub(crate) fn term_count(&self) -> usize {
        self.a.terms.len() + self.b.terms.len()
    }

    /// The position, in order, of the first section that holds what no key holds: the row ends and terms of A and of
    /// B, and the coefficients last.
    pub(crate) fn first_invalid(&self, wire_count: usize) -> Option<usize> {
        let ends_fit = |matrix: Matrix<'_>| {
            let last = matrix.row_ends.last().map_or(0, |end| *end as usize);
            last == matrix.terms.len() && matrix.row_ends.is_sorted()
        };
        let terms_fit = |matrix: Matrix<'_>| {
            let fits =
                |[wire, index]: &[u32; 2]| (*wire as usize) < wire_count && (*index as usize) < self.coefficients.len();
            matrix.terms.par_iter().all(fits)
        };
        let coefficients_fit = self.coefficients.starts_with(&units())
            && self.coefficients.par_iter().all(|limbs| BigInt::new(*limbs) < Fr::MODULUS);
        let valid = [ends_fit(self.a), terms_fit(self.a), ends_fit(self.b), terms_fit(self.b), coefficients_fit];
        valid.iter().position(|valid| !valid)
    }
}

impl<'a> Matrix<'a> {
    fn row(&self, row: usize) -> &'a [[u32; 2]] {
        let start = row.checked_sub(1).map_or(0, |before| self.row_ends[before]);
        self.terms.get(start as usize..self.row_ends[row] as usize).unwrap_or_default()
    }
}

/// How many rows a task multiplies at least.
const ROWS_MIN: usize = 1 << 8;

/// The limbs of the two coefficients that come first.
fn units() -> [[u64; 4]; 2] {
    [Fr::ONE.0.0, (-Fr::ONE).0.0]
}

fn from_limbs(limbs: [u64; 4]) -> Fr {
    Fr::new_unchecked(BigInt::new(limbs))
}

/// Matrices in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MatricesBuf {
    row_ends: [Vec<u32>; 2],
    terms: [Vec<[u32; 2]>; 2],
    coefficients: Vec<[u64; 4]>,
}

impl MatricesBuf {
    pub(crate) fn view(&self) -> Matrices<'_> {
        let [a, b] = [0, 1].map(|side| Matrix { row_ends: &self.row_ends[side], terms: &self.terms[side] });
        Matrices { a, b, coefficients: &self.coefficients }
    }
}

/// Which of the two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A = 0,
    B = 1,
}

/// Sorts terms, which may come in any order, into rows.
pub(crate) struct Builder {
    /// The row, the wire, and the index of the coefficient, of each matrix.
    terms: [Vec<[u32; 3]>; 2],
    coefficients: Vec<[u64; 4]>,
    index_of: HashMap<[u64; 4], u32>,
    /// The coefficient of the last term and its index: many terms in succession have the same.
    last: ([u64; 4], u32),
}

impl Builder {
    pub(crate) fn new() -> Self {
        let coefficients = units().to_vec();
        let index_of = (0..).zip(&coefficients).map(|(index, limbs)| (*limbs, index)).collect();
        Self { terms: [Vec::new(), Vec::new()], last: (coefficients[0], 0), coefficients, index_of }
    }

    /// Adds a term. There are fewer than 2^32 terms.
    pub(crate) fn push(&mut self, side: Side, row: u32, wire: u32, coefficient: Fr) {
        let limbs = coefficient.0.0;
        if self.last.0 != limbs {
            let index = *self.index_of.entry(limbs).or_insert_with(|| {
                self.coefficients.push(limbs);
                self.coefficients.len() as u32 - 1
            });
            self.last = (limbs, index);
        }
        self.terms[side as usize].push([row, wire, self.last.1]);
    }

    /// The matrices and the number of rows, without the rows that come last: in A one for each public wire with a
    /// single one at that wire, in B none. `None` if the last rows are others.
    pub(crate) fn finish(mut self, public_wires: u32) -> Option<(MatricesBuf, u32)> {
        self.sort_coefficients();
        self.terms.iter_mut().for_each(|terms| terms.par_sort_unstable());
        let [a, b] = &mut self.terms;
        let row_count = a.last()?[0].checked_add(1)?.checked_sub(public_wires)?;
        let constraint_terms = a.len().checked_sub(public_wires as usize)?;
        let public_rows = (0..public_wires).map(|wire| [row_count + wire, wire, 0]);
        if !public_rows.eq(a[constraint_terms..].iter().copied()) {
            return None;
        }
        a.truncate(constraint_terms);
        if [a, b].iter().any(|terms| terms.last().is_some_and(|[row, ..]| *row >= row_count)) {
            return None;
        }
        let row_ends = self.terms.each_ref().map(|terms| row_ends(terms, row_count));
        let terms = self.terms.map(|terms| terms.into_iter().map(|[_, wire, index]| [wire, index]).collect());
        Some((MatricesBuf { row_ends, terms, coefficients: self.coefficients }, row_count))
    }

    /// Orders the coefficients, so that the matrices alone decide what is stored and not the order in which their
    /// terms came.
    fn sort_coefficients(&mut self) {
        let (first, others) = self.coefficients.split_at_mut(units().len());
        others.sort_unstable();
        let mut new_index = vec![0; first.len() + others.len()];
        for (new, limbs) in (0..).zip(&self.coefficients) {
            new_index[self.index_of[limbs] as usize] = new;
        }
        for terms in &mut self.terms {
            terms.par_iter_mut().for_each(|[_, _, index]| *index = new_index[*index as usize]);
        }
    }
}

/// For each row, where its terms end among terms that are sorted by row.
fn row_ends(terms: &[[u32; 3]], row_count: u32) -> Vec<u32> {
    let mut terms = (1..).zip(terms).peekable();
    let mut end = 0;
    let ends = (0..row_count).map(|row| {
        while let Some((count, _)) = terms.next_if(|(_, term)| term[0] == row) {
            end = count;
        }
        end
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, UniformRand};
    use rand::{Rng, SeedableRng, seq::SliceRandom};
    use rand_chacha::ChaCha20Rng;

    type Term = (Side, u32, u32, Fr);

    fn build(terms: &[Term], public_wires: u32) -> Option<(MatricesBuf, u32)> {
        let mut builder = Builder::new();
        terms.iter().for_each(|(side, row, wire, value)| builder.push(*side, *row, *wire, *value));
        builder.finish(public_wires)
    }

    /// Random terms of 40 rows over 20 wires, some rows without any, and the rows of 3 public wires.
    fn random_terms() -> Vec<Term> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let some = [Fr::ONE, -Fr::ONE, Fr::from(7u64), Fr::rand(&mut rng), Fr::ZERO];
        let mut terms = Vec::new();
        for _ in 0..150 {
            let side = if rng.gen_bool(0.5) { Side::A } else { Side::B };
            terms.push((side, rng.gen_range(0..40), rng.gen_range(0..20), some[rng.gen_range(0..some.len())]));
        }
        terms.extend((0..3).map(|wire| (Side::A, 40 + wire, wire, Fr::ONE)));
        terms
    }

    #[test]
    fn rows_are_those_of_the_terms_in_any_order() {
        let mut terms = random_terms();
        let (built, rows) = build(&terms, 3).expect("well-formed");
        assert_eq!((rows, built.view().term_count()), (40, 150));
        assert_eq!(built.view().first_invalid(20), None);
        terms.shuffle(&mut ChaCha20Rng::seed_from_u64(2));
        assert_eq!(build(&terms, 3).expect("well-formed").0, built);

        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let wires: Vec<Fr> = (0..20).map(|_| Fr::rand(&mut rng)).collect();
        let [a, b] = built.view().multiply(&wires, 64);
        assert!(a.capacity() >= 64);
        for row in 0..40 {
            let sum = |side| -> Fr {
                terms.iter().filter(|t| (t.0, t.1) == (side, row)).map(|t| t.3 * wires[t.2 as usize]).sum()
            };
            assert_eq!((a[row as usize], b[row as usize]), (sum(Side::A), sum(Side::B)), "row {row}");
        }
    }

    #[test]
    fn the_last_rows_must_be_those_of_the_public_wires() {
        let good = random_terms();
        let with = |alter: &dyn Fn(&mut Vec<Term>)| {
            let mut terms = good.clone();
            alter(&mut terms);
            build(&terms, 3)
        };
        assert!(with(&|_| ()).is_some());
        assert!(build(&[], 1).is_none());
        assert!(with(&|terms| terms.last_mut().unwrap().3 = Fr::from(2u64)).is_none());
        assert!(with(&|terms| terms.last_mut().unwrap().2 = 1).is_none());
        assert!(with(&|terms| terms.last_mut().unwrap().0 = Side::B).is_none());
        assert!(with(&|terms| terms.push((Side::A, 41, 5, Fr::ONE))).is_none());
        assert!(with(&|terms| terms.push((Side::B, 40, 5, Fr::ONE))).is_none());
        assert!(with(&|terms| terms.push((Side::A, u32::MAX, 0, Fr::ONE))).is_none());
        assert!(build(&good, 44).is_none());
        let alone: Vec<Term> = (0..2).map(|wire| (Side::A, wire, wire, Fr::ONE)).collect();
        assert_eq!(build(&alone, 2).map(|(built, rows)| (built.view().term_count(), rows)), Some((0, 0)));
    }

    #[test]
    fn what_no_key_holds_is_found() {
        let (good, _) = build(&random_terms(), 3).expect("well-formed");
        let with = |alter: &dyn Fn(&mut MatricesBuf)| {
            let mut altered = good.clone();
            alter(&mut altered);
            altered.view().first_invalid(20)
        };
        assert_eq!(with(&|m| m.row_ends[0][3] = 1_000), Some(0));
        assert_eq!(with(&|m| *m.row_ends[1].last_mut().unwrap() += 1), Some(2));
        assert_eq!(with(&|m| m.row_ends[1].clear()), Some(2));
        assert_eq!(with(&|m| m.terms[0][0][0] = 20), Some(1));
        let count = good.coefficients.len() as u32;
        assert_eq!(with(&|m| m.terms[1][0][1] = count), Some(3));
        assert_eq!(with(&|m| m.coefficients[2] = Fr::MODULUS.0), Some(4));
        assert_eq!(with(&|m| m.coefficients.swap(0, 1)), Some(4));
    }
}
