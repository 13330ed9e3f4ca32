//! What the stages of a proof cost beside one another, for its progress.
//!
//! Units are tenths of a microsecond of two cores, as docs/performance.md measured them; only their ratios matter.

use crate::{key_file::Key, proving_key::Parts};
use taproof_arith::{G1, Point};

/// A row of a trace, made and checked.
const ROW: u64 = 4;
/// A term of a matrix.
const TERM: u64 = 1;
/// A value of one vector taken to the odd coset.
const TRANSFORM: u64 = 4;
/// A point of a sum in G1.
const POINT_G1: u64 = 24;
/// A point of a sum in G2.
const POINT_G2: u64 = 116;

/// The values of the rows.
pub(super) fn rows(parts: &Parts<'_>) -> u64 {
    ROW * parts.counts.rows() as u64 + TERM * parts.sections.matrices.term_count() as u64
}

/// The three transforms.
pub(super) fn transforms(parts: &Parts<'_>) -> u64 {
    (3 * TRANSFORM) << parts.counts.log_domain_size()
}

/// A sum over points.
pub(super) fn sum<P: Point>(points: &[P]) -> u64 {
    let point = if size_of::<P>() == size_of::<G1>() { POINT_G1 } else { POINT_G2 };
    point * points.len() as u64
}

/// All of it.
pub(super) fn proof(parts: &Parts<'_>) -> u64 {
    let sections = &parts.sections;
    let in_g1 = [sections.a, sections.l, sections.h];
    rows(parts) + transforms(parts) + in_g1.map(sum).iter().sum::<u64>() + sum(sections.b_g2)
}

/// All of a proof with one of Taproof's keys; nothing if the key cannot be used, for then there is none.
pub(super) fn proof_with(key: &Key) -> u64 {
    key.parts().map_or(0, |parts| proof(&parts))
}
