//! Gadgets agree with their native twins, hold every wire they add, and refuse what is false.

use super::{bits, merkle, poseidon2};
use crate::{
    cs::{ConstraintSystem, Variable},
    testing::{Piece, assert_refused, assert_sound},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use taproof_verifier::{
    cell::{CellIndex, MerklePath},
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

#[derive(Clone)]
struct Replacement {
    index: CellIndex,
    leaves: [Fr; 2],
    path: MerklePath,
    roots: [Fr; 2],
}

impl Piece for Replacement {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let bits = bits::witness_bits(cs, Fr::from(self.index.get()), self.path.depth().index_bits() as usize);
        // The position is public to whoever uses the gadget.
        cs.enforce_equal(&bits::compose(&bits), &Fr::from(self.index.get()).into());
        let [before, after] = self.leaves.map(CS::Var::from);
        let roots = merkle::update(cs, &bits, merkle::Roots { before, after }, &self.path);
        cs.enforce_equal(&roots.before, &self.roots[0].into());
        cs.enforce_equal(&roots.after, &self.roots[1].into());
    }
}

fn replacement(rng: &mut ChaCha20Rng, levels: usize, index: u32) -> Replacement {
    let path: Vec<_> = (0..levels).map(|_| core::array::from_fn(|_| Fr::rand(rng))).collect();
    let path = MerklePath::new(path).expect("1 to 10 levels");
    let index = CellIndex::new(index).expect("a small index");
    let leaves = [Fr::rand(rng), Fr::rand(rng)];
    let roots = leaves.map(|leaf| path.root(index, leaf).expect("the index lies in the tree"));
    Replacement { index, leaves, path, roots }
}

#[test]
fn updates_agree_with_the_native_path() {
    let mut rng = rng();
    for index in 0..8 {
        let rows = assert_sound(&replacement(&mut rng, 1, index));
        assert_eq!(rows, merkle::ROWS_PER_LEVEL + 3 + 3);
    }
    for levels in [2, 3] {
        let index = rng.r#gen::<u32>() % (1 << (3 * levels));
        assert_sound(&replacement(&mut rng, levels, index));
    }
}

#[test]
fn updates_refuse_other_leaves_positions_and_siblings() {
    let mut rng = rng();
    let update = replacement(&mut rng, 2, 29);
    for wrong in 0..2 {
        let mut altered = update.clone();
        altered.leaves[wrong] += Fr::ONE;
        assert_refused(&altered);
    }
    for bit in 0..6 {
        let index = CellIndex::new(29 ^ (1 << bit)).expect("a small index");
        assert_refused(&Replacement { index, ..update.clone() });
    }
    for position in 0..14 {
        let mut levels = update.path.levels().to_vec();
        levels[position / 7][position % 7] += Fr::ONE;
        let path = MerklePath::new(levels).expect("two levels");
        assert_refused(&Replacement { path, ..update.clone() });
    }
}
