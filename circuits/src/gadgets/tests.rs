//! Gadgets agree with their native twins, hold every wire they add, and refuse what is false.

use super::{bits, merkle, poseidon2};
use crate::{
    cap::MerkleCap,
    cs::{ConstraintSystem, Variable},
    testing::{Piece, assert_refused, assert_sound},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use taproof_verifier::{
    cell::{CellIndex, Depth, MerklePath},
    poseidon2::{Domain, WIDTH, compress, hash},
};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(11)
}

/// An element with 2^`exponent` added.
fn power(exponent: u64) -> Fr {
    Fr::from(2u64).pow([exponent])
}

struct Width(Fr, usize);

impl Piece for Width {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let var = cs.wire(&self.0.into());
        bits::enforce_width(cs, &var, self.1);
    }
}

#[test]
fn widths_hold_at_their_edges() {
    for width in [1, 2, 32, 64, 128, 253] {
        let edge = power(width as u64);
        for inside in [Fr::ZERO, Fr::ONE, edge - Fr::ONE] {
            assert_eq!(assert_sound(&Width(inside, width)), width + 1);
        }
        for outside in [edge, edge + Fr::ONE, -Fr::ONE] {
            assert_refused(&Width(outside, width));
        }
    }
}

struct Bits(Fr);

impl Piece for Bits {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let var = cs.wire(&self.0.into());
        let split = bits::decompose(cs, &var, 64);
        let composed = bits::compose(&split);
        assert_eq!(cs.value(&composed), cs.value(&var));
        let [first, second] = [&split[0], &split[1]];
        let chosen = first.select(cs, &Fr::from(7u64).into(), &Fr::from(9u64).into());
        let both = first.and(cs, second);
        let (first, second) = (first.value(cs), second.value(cs));
        if cs.value(&CS::Var::one()) == Fr::ONE {
            assert_eq!(cs.value(&chosen), Fr::from(if first { 7u64 } else { 9 }));
            assert_eq!(cs.value(both.var()), Fr::from(first && second));
            assert_eq!(cs.value(both.not().var()), Fr::from(!(first && second)));
        }
    }
}

#[test]
fn bits_choose_and_combine() {
    for low in 0..4u64 {
        assert_eq!(assert_sound(&Bits(Fr::from((1 << 63) | low))), 67);
    }
}

struct IsZero(Fr);

impl Piece for IsZero {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let var = cs.wire(&self.0.into());
        let zero = bits::is_zero(cs, &var);
        if cs.value(&CS::Var::one()) == Fr::ONE {
            assert_eq!(zero.value(cs), self.0 == Fr::ZERO);
        }
    }
}

struct Nonzero(Fr);

impl Piece for Nonzero {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let var = cs.wire(&self.0.into());
        bits::enforce_nonzero(cs, &var);
    }
}

#[test]
fn zero_is_told_from_the_rest() {
    for value in [Fr::ZERO, Fr::ONE, -Fr::ONE] {
        assert_eq!(assert_sound(&IsZero(value)), 4);
    }
    assert_eq!(assert_sound(&Nonzero(-Fr::ONE)), 2);
    assert_refused(&Nonzero(Fr::ZERO));
}

struct Hashes {
    input: Vec<Fr>,
    digest: Fr,
}

impl Piece for Hashes {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let input: Vec<_> = self.input.iter().map(|element| cs.witness(*element)).collect();
        let digest = match <&[CS::Var; WIDTH]>::try_from(input.as_slice()) {
            Ok(input) => poseidon2::compress(cs, input),
            Err(_) => poseidon2::hash(cs, Domain::Data, &input),
        };
        cs.enforce_equal(&digest, &self.digest.into());
    }
}

#[test]
fn hashes_agree_with_their_native_twins() {
    let mut rng = rng();
    for length in [0, 1, 6, 7, 8, 9, 14, 15] {
        let input: Vec<_> = (0..length).map(|_| Fr::rand(&mut rng)).collect();
        let digest = match <&[Fr; WIDTH]>::try_from(input.as_slice()) {
            Ok(input) => compress(input),
            Err(_) => hash(Domain::Data, &input),
        };
        let permutations = if length == WIDTH { 1 } else { length.div_ceil(7).max(1) };
        let piece = Hashes { input, digest };
        if length > 0 {
            assert_eq!(assert_sound(&piece), permutations * poseidon2::ROWS_PER_PERMUTATION + 1);
        }
        assert_refused(&Hashes { digest: digest + Fr::ONE, ..piece });
    }
}

/// The replacement of a leaf below a cap, which the circuit is given before it and must make after it.
#[derive(Clone)]
struct Replacement {
    index: CellIndex,
    leaves: [Fr; 2],
    path: MerklePath,
    caps: [MerkleCap; 2],
}

impl Piece for Replacement {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let bits = bits::witness_bits(cs, Fr::from(self.index.get()), self.path.depth().index_bits() as usize);
        // The position is public to whoever uses the gadget.
        cs.enforce_equal(&bits::compose(&bits), &Fr::from(self.index.get()).into());
        let [before, after] = self.leaves.map(CS::Var::from);
        let merkle::CapUpdate { bits, node } = merkle::climb(cs, &bits, merkle::Replaced { before, after }, &self.path);
        let [before, after] = &self.caps;
        let cap = merkle::Cap::witness(cs, before);
        let root = cap.root(cs);
        cs.enforce_equal(&root, &before.root().into());
        let found = cap.choose(cs, &bits);
        cs.enforce_equal(&found, &node.before);
        let change = node.after - node.before;
        let changed = [cap.changed(cs, &bits, change.clone()), cap.changed_on_wires(cs, &bits, change)];
        for changed in changed {
            let root = changed.root(cs);
            cs.enforce_equal(&root, &after.root().into());
        }
    }
}

fn replacement(rng: &mut ChaCha20Rng, levels: u8, index: u32) -> Replacement {
    let depth = Depth::new(levels).expect("1 to 10 levels");
    let path: Vec<_> = (0..levels).map(|_| core::array::from_fn(|_| Fr::rand(rng))).collect();
    let leaves = [Fr::rand(rng), Fr::rand(rng)];
    let below = MerkleCap::levels_below(depth);
    let position = index >> (3 * below);
    let nodes = match MerklePath::new(path[..below.into()].to_vec()) {
        None => leaves,
        Some(subtree) => {
            let index = CellIndex::new(index - (position << (3 * below))).expect("a small index");
            leaves.map(|leaf| subtree.root(index, leaf).expect("the index lies in the subtree"))
        }
    };
    let others: Vec<_> = (0..MerkleCap::node_count(depth)).map(|_| Fr::rand(rng)).collect();
    let caps = nodes.map(|node| {
        let mut nodes = others.clone();
        nodes[position as usize] = node;
        MerkleCap::new(nodes).expect("8 or 64 nodes")
    });
    let path = MerklePath::new(path).expect("1 to 10 levels");
    Replacement { index: CellIndex::new(index).expect("a small index"), leaves, path, caps }
}

#[test]
fn updates_agree_with_the_native_path_and_cap() {
    let mut rng = rng();
    let hash = poseidon2::ROWS_PER_PERMUTATION;
    for index in 0..8 {
        // Three bits and the index, three roots, the choice, and the change twice.
        let rows = assert_sound(&replacement(&mut rng, 1, index));
        assert_eq!(rows, 4 + 3 * (hash + 1) + 8 + 7 + 11);
    }
    for index in [0, 63, 26] {
        let rows = assert_sound(&replacement(&mut rng, 2, index));
        assert_eq!(rows, 7 + 3 * (9 * hash + 1) + 64 + 63 + 95);
    }
    for levels in [3, 4] {
        let index = rng.r#gen::<u32>() % (1 << (3 * levels));
        let rows = assert_sound(&replacement(&mut rng, levels, index));
        let below = usize::from(levels) - 2;
        assert_eq!(rows, 7 + below * (3 + merkle::ROWS_PER_LEVEL) + 3 * (9 * hash + 1) + 64 + 63 + 95);
    }
}

#[test]
fn updates_refuse_other_leaves_positions_siblings_and_nodes() {
    let mut rng = rng();
    let update = replacement(&mut rng, 4, 1709);
    for wrong in 0..2 {
        let mut altered = update.clone();
        altered.leaves[wrong] += Fr::ONE;
        assert_refused(&altered);
        let mut altered = update.clone();
        let mut nodes = altered.caps[wrong].nodes().to_vec();
        nodes[1709 >> 6] += Fr::ONE;
        altered.caps[wrong] = MerkleCap::new(nodes).expect("64 nodes");
        assert_refused(&altered);
    }
    for bit in 0..12 {
        let index = CellIndex::new(1709 ^ (1 << bit)).expect("a small index");
        assert_refused(&Replacement { index, ..update.clone() });
    }
    for position in 0..14 {
        let mut levels = update.path.levels().to_vec();
        levels[position / 7][position % 7] += Fr::ONE;
        let path = MerklePath::new(levels).expect("four levels");
        assert_refused(&Replacement { path, ..update.clone() });
    }
}
