//! The replacement of one cell in a tree that is known by its [cap](crate::cap).
//!
//! From the cell to the cap, at each level, the eight children before the change are wires. A tree of choices by the
//! three bits of the position, seven rows, holds the chosen child to the node that the level below hashed to. The
//! change of that node is then led to its place by the same three bits, seven rows: what is not chosen changes by
//! zero, so both hashes of a level see the same siblings and the same position by construction. With the two hashes
//! that is 740 rows a level.
//!
//! In the cap, whose nodes are wires already, the remaining bits choose the node in as many rows as there are other
//! nodes, and lead the change in as many again; nothing is hashed.

use super::{bits::Bit, poseidon2};
use crate::{
    cap::MerkleCap,
    cs::{ConstraintSystem, Variable},
};
use ark_bn254::Fr;
use taproof_verifier::cell::{ARITY, BITS_PER_LEVEL, MerklePath};

/// The rows of one level below the cap of an update.
pub const ROWS_PER_LEVEL: usize = 2 * poseidon2::ROWS_PER_PERMUTATION + 2 * (ARITY - 1);

/// A node of the tree before and after the replacement of a cell below it.
#[derive(Clone, Debug)]
pub struct Replaced<V> {
    /// The node of the tree with the old cell.
    pub before: V,
    /// The node of the tree with the new cell.
    pub after: V,
}

/// What the replacement of a cell does to the cap.
#[derive(Clone, Debug)]
pub struct CapUpdate<V> {
    /// Which node it replaces, the lowest bit first.
    pub bits: Vec<Bit<V>>,
    /// That node.
    pub node: Replaced<V>,
}

/// Climbs from an old and a new leaf at the position of `index_bits`, the lowest first, to the cap.
///
/// # Panics
/// If there are not three bits for each level of the path: a caller sizes both by the circuit's depth.
pub fn climb<CS: ConstraintSystem>(
    cs: &mut CS,
    index_bits: &[Bit<CS::Var>],
    leaf: Replaced<CS::Var>,
    path: &MerklePath,
) -> CapUpdate<CS::Var> {
    let (positions, rest) = index_bits.as_chunks::<{ BITS_PER_LEVEL as usize }>();
    assert!(rest.is_empty() && positions.len() == path.levels().len(), "three bits for each level of the path");
    let (below, within) = positions.split_at(MerkleCap::levels_below(path.depth()).into());
    let levels = below.iter().zip(path.levels());
    let node = levels.fold(leaf, |node, (bits, siblings)| level(cs, bits, node, siblings));
    CapUpdate { bits: within.as_flattened().to_vec(), node }
}

fn level<CS: ConstraintSystem>(
    cs: &mut CS,
    bits: &[Bit<CS::Var>; 3],
    node: Replaced<CS::Var>,
    siblings: &[Fr; ARITY - 1],
) -> Replaced<CS::Var> {
    let position = bits.iter().rev().fold(0, |sum, bit| 2 * sum + usize::from(bit.value(cs)));
    let before = cs.value(&node.before);
    let mut children: [CS::Var; ARITY] = core::array::from_fn(|i| {
        cs.witness(match i.cmp(&position) {
            core::cmp::Ordering::Less => siblings[i],
            core::cmp::Ordering::Equal => before,
            core::cmp::Ordering::Greater => siblings[i - 1],
        })
    });
    let [lower_bits @ .., high] = bits;
    let [lower, upper] = [&children[..4], &children[4..]].map(|half| choose(cs, lower_bits, half));
    cs.enforce(&(upper - lower.clone()), high.var(), &(node.before.clone() - lower));
    let before = poseidon2::compress(cs, &children);
    let changes = lead(cs, bits, node.after - node.before);
    for (child, change) in children.iter_mut().zip(changes) {
        *child += change;
    }
    let after = poseidon2::compress(cs, &children);
    Replaced { before, after }
}

/// The node at a position, in one row less than there are nodes.
fn choose<CS: ConstraintSystem>(cs: &mut CS, bits: &[Bit<CS::Var>], nodes: &[CS::Var]) -> CS::Var {
    let chosen = bits.iter().fold(nodes.to_vec(), |nodes, bit| {
        let (pairs, _) = nodes.as_chunks::<2>();
        pairs.iter().map(|[lower, upper]| bit.select(cs, upper, lower)).collect()
    });
    chosen[0].clone()
}

/// `change` at a position and zeros elsewhere, in one row less than there are positions.
fn lead<CS: ConstraintSystem>(cs: &mut CS, bits: &[Bit<CS::Var>], change: CS::Var) -> Vec<CS::Var> {
    bits.iter().rev().fold(vec![change], |changes, bit| {
        let mut halves = Vec::with_capacity(2 * changes.len());
        for change in changes {
            let upper = cs.product(&change, bit.var());
            halves.extend([change - upper.clone(), upper]);
        }
        halves
    })
}

/// The nodes of a [`MerkleCap`].
#[derive(Clone, Debug)]
pub struct Cap<V>(Vec<V>);

impl<V: Variable> Cap<V> {
    /// Takes variables that other rows hold.
    pub fn new(nodes: Vec<V>) -> Self {
        Self(nodes)
    }

    /// Adds a wire for each node, which nothing holds until the root is computed and compared.
    pub fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, cap: &MerkleCap) -> Self {
        Self(cap.nodes().iter().map(|node| cs.witness(*node)).collect())
    }

    /// The root above the cap, one permutation for each eight nodes.
    pub fn root<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> V {
        let mut nodes = self.0.clone();
        while nodes.len() > 1 {
            nodes = nodes.as_chunks().0.iter().map(|children| poseidon2::compress(cs, children)).collect();
        }
        nodes[0].clone()
    }

    /// The node at a position: 63 rows for a cap of 64.
    pub fn choose<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, bits: &[Bit<V>]) -> V {
        choose(cs, bits, &self.0)
    }

    /// The cap with a change of the node at a position: 63 rows for a cap of 64.
    pub fn changed<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, bits: &[Bit<V>], change: V) -> Self {
        let changes = lead(cs, bits, change);
        Self(self.0.iter().zip(changes).map(|(node, change)| node.clone() + change).collect())
    }

    /// As [`Cap::changed`], each node on a wire, the last ones that are added: 95 rows for a cap of 64.
    ///
    /// # Panics
    /// If there are no bits.
    pub fn changed_on_wires<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, bits: &[Bit<V>], change: V) -> Self {
        let (low, others) = bits.split_first().expect("a cap has at least two nodes");
        let changes = lead(cs, others, change);
        let (pairs, _) = self.0.as_chunks::<2>();
        let mut nodes = Vec::with_capacity(self.0.len());
        for ([lower, upper], change) in pairs.iter().zip(changes) {
            let to_upper = cs.value(&change) * cs.value(low.var());
            let lower_after = cs.witness(cs.value(lower) + cs.value(&change) - to_upper);
            let upper_after = cs.witness(cs.value(upper) + to_upper);
            cs.enforce(&change, low.var(), &(upper_after.clone() - upper.clone()));
            let sum = lower.clone() + upper.clone() + change;
            cs.enforce_equal(&(sum - upper_after.clone()), &lower_after);
            nodes.extend([lower_after, upper_after]);
        }
        Self(nodes)
    }
}
