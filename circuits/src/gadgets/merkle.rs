//! The replacement of one cell in the tree: old and new root from one path.
//!
//! At each level the eight children before the change are wires. A tree of choices by the three bits of the position,
//! seven rows, holds the chosen child to the node that the level below hashed to. The change of that node is then led
//! to its place by the same three bits, seven rows: what is not chosen changes by zero, so both hashes of a level see
//! the same siblings and the same position by construction. With the two hashes that is 740 rows a level.

use super::{bits::Bit, poseidon2};
use crate::cs::ConstraintSystem;
use ark_bn254::Fr;
use taproof_verifier::cell::{ARITY, BITS_PER_LEVEL, MerklePath};

/// The rows of one level of an update.
pub const ROWS_PER_LEVEL: usize = 2 * poseidon2::ROWS_PER_PERMUTATION + 2 * (ARITY - 1);

/// The roots before and after the replacement of one leaf.
#[derive(Clone, Debug)]
pub struct Roots<V> {
    /// The root of the tree with the old leaf.
    pub before: V,
    /// The root of the tree with the new leaf.
    pub after: V,
}

/// Climbs from an old and a new leaf at the position of `index_bits`, the lowest first, to both roots.
///
/// # Panics
/// If there are not three bits for each level of the path: a caller sizes both by the circuit's depth.
pub fn update<CS: ConstraintSystem>(
    cs: &mut CS,
    index_bits: &[Bit<CS::Var>],
    leaves: Roots<CS::Var>,
    path: &MerklePath,
) -> Roots<CS::Var> {
    let (positions, rest) = index_bits.as_chunks::<{ BITS_PER_LEVEL as usize }>();
    assert!(rest.is_empty() && positions.len() == path.levels().len(), "three bits for each level of the path");
    positions.iter().zip(path.levels()).fold(leaves, |nodes, (bits, siblings)| level(cs, bits, nodes, siblings))
}

fn level<CS: ConstraintSystem>(
    cs: &mut CS,
    bits: &[Bit<CS::Var>; 3],
    nodes: Roots<CS::Var>,
    siblings: &[Fr; ARITY - 1],
) -> Roots<CS::Var> {
    let position = bits.iter().rev().fold(0, |sum, bit| 2 * sum + usize::from(bit.value(cs)));
    let node = cs.value(&nodes.before);
    let mut children = core::array::from_fn(|i| {
        cs.witness(match i.cmp(&position) {
            core::cmp::Ordering::Less => siblings[i],
            core::cmp::Ordering::Equal => node,
            core::cmp::Ordering::Greater => siblings[i - 1],
        })
    });
    enforce_chosen(cs, bits, &children, &nodes.before);
    let before = poseidon2::compress(cs, &children);
    let changes = lead(cs, bits, nodes.after - nodes.before);
    for (child, change) in children.iter_mut().zip(changes) {
        *child += change;
    }
    let after = poseidon2::compress(cs, &children);
    Roots { before, after }
}

/// Holds the child at the position to `node`, seven rows.
fn enforce_chosen<CS: ConstraintSystem>(
    cs: &mut CS,
    [low, middle, high]: &[Bit<CS::Var>; 3],
    children: &[CS::Var; ARITY],
    node: &CS::Var,
) {
    let pairs: [CS::Var; 4] = core::array::from_fn(|i| low.select(cs, &children[2 * i + 1], &children[2 * i]));
    let [lower, upper] = core::array::from_fn(|i| middle.select(cs, &pairs[2 * i + 1], &pairs[2 * i]));
    cs.enforce(&(upper - lower.clone()), high.var(), &(node.clone() - lower));
}

/// Eight variables: `change` at the position, zeros elsewhere; seven rows.
fn lead<CS: ConstraintSystem>(
    cs: &mut CS,
    [low, middle, high]: &[Bit<CS::Var>; 3],
    change: CS::Var,
) -> [CS::Var; ARITY] {
    let mut split = |bit: &Bit<CS::Var>, change: CS::Var| {
        let upper = cs.product(&change, bit.var());
        [change - upper.clone(), upper]
    };
    let [lower, upper] = split(high, change);
    let [[a, b], [c, d]] = [split(middle, lower), split(middle, upper)];
    let [[a, b], [c, d], [e, f], [g, h]] = [split(low, a), split(low, b), split(low, c), split(low, d)];
    [a, b, c, d, e, f, g, h]
}
