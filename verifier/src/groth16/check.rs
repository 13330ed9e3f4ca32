//! The checks themselves: one proof, and many together.

use super::{
    PreparedVerifyingKey, Proof, RejectedError, Verified,
    pairing::{Lines, is_one, miller_loop},
};
use crate::{
    field,
    inverse::{batch_inverse, inverse_fq},
    parallel,
    statement::Statement,
};
use alloc::{borrow::Cow, collections::BTreeMap, vec::Vec};
use ark_bn254::{Fq, Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, VariableBaseMSM, scalar_mul::glv::GLVConfig};
use ark_ff::{AdditiveGroup, Field, Zero};
use bitcoin::hashes::{Hash, HashEngine, sha256};

/// Proofs, and pairs, that a thread takes at least.
const PART_LENGTH_MIN: usize = 4;
/// What the hash that the weights are drawn from begins with.
const WEIGHTS_TAG: &[u8] = b"taproof/batch/v1";

/// One proof of a batch, with what it is to be checked against.
#[derive(Clone, Copy, Debug)]
pub struct BatchItem<'a> {
    /// The key of the statement's circuit.
    pub key: &'a PreparedVerifyingKey,
    /// What the proof is to prove.
    pub statement: &'a Statement,
    /// The proof.
    pub proof: &'a Proof,
}

impl PreparedVerifyingKey {
    /// Checks one proof.
    ///
    /// The key is not bound to the statement's circuit here: [`crate::program::Program`] looks the key up by it.
    ///
    /// # Errors
    /// [`RejectedError`].
    pub fn verify(&self, statement: &Statement, proof: &Proof) -> Result<Verified, RejectedError> {
        let [ic_0, ic_1] = self.key.ic;
        let inputs = -(times(&ic_1, &statement.digest()) + ic_0);
        let mut pairs = Pairs::default();
        pairs.push(proof.a.into(), proof.b.lines());
        pairs.push(inputs, self.key.gamma.lines());
        pairs.push((-proof.c).into(), self.key.delta.lines());
        if is_one(pairs.miller_loop() * self.alpha_beta) { Ok(Verified(*statement)) } else { Err(RejectedError) }
    }
}

/// Checks many proofs, with as many keys as need be: one equation, in which each proof's own equation is raised to
/// a random weight of 128 bits.
///
/// The weights come from a hash over everything that is checked, so whoever makes the proofs cannot know them
/// beforehand, and a batch with a wrong proof passes with a chance of 2^-128 for each try.
///
/// # Errors
/// [`RejectedError`] if any proof does not prove its statement; which one is not told.
pub fn verify_batch(items: &[BatchItem<'_>]) -> Result<Vec<Verified>, RejectedError> {
    let mut circuits = BTreeMap::new();
    for circuit in items.iter().map(|item| item.statement.circuit) {
        circuits.entry(circuit).or_insert_with(|| circuit.element());
    }
    let digest = |item: &BatchItem<'_>| item.statement.digest_in(circuits[&item.statement.circuit]);
    let inputs = parallel::map(items, PART_LENGTH_MIN, digest);
    let weights = Weight::draw(items, &inputs);
    let mut pairs = Pairs::default();
    for (a, item) in weighted_points(items, &weights).into_iter().zip(items) {
        pairs.push(a, item.proof.b.lines());
    }
    let mut groups = BTreeMap::<_, Group>::new();
    for ((item, input), weight) in items.iter().zip(&inputs).zip(&weights) {
        groups.entry(item.key.id).or_insert_with(|| Group::new(item.key)).add(item.proof, input, weight);
    }
    groups.values().for_each(|group| group.push_pairs(&mut pairs));
    if !is_one(pairs.miller_loop()) {
        return Err(RejectedError);
    }
    Ok(items.iter().map(|item| Verified(*item.statement)).collect())
}

/// A weight a + b lambda, lambda being the eigenvalue of G1's endomorphism: different (a, b) are different scalars,
/// because no combination of 1 and lambda with coefficients below 2^64 vanishes modulo r.
struct Weight {
    a: u64,
    b: u64,
}

impl Weight {
    fn draw(items: &[BatchItem<'_>], inputs: &[Fr]) -> Vec<Self> {
        let mut engine = sha256::Hash::engine();
        engine.input(WEIGHTS_TAG);
        for (item, input) in items.iter().zip(inputs) {
            engine.input(&item.key.id);
            engine.input(&field::to_bytes(input));
            engine.input(&item.proof.to_bytes());
        }
        let seed = sha256::Hash::from_engine(engine).to_byte_array();
        let weight = |position: u64| {
            let mut engine = sha256::Hash::engine();
            engine.input(&seed);
            engine.input(&position.to_le_bytes());
            let hash = sha256::Hash::from_engine(engine).to_byte_array();
            let half = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
            let (words, _) = hash.as_chunks::<8>();
            Self { a: half(&words[0]), b: half(&words[1]) }
        };
        (0..items.len() as u64).map(weight).collect()
    }

    /// Multiplies a point, given its image under the endomorphism and the sum of both.
    fn multiply(&self, point: &G1Affine, image: &G1Affine, sum: &G1Affine) -> G1Projective {
        let mut product = G1Projective::zero();
        for bit in (0..u64::BITS).rev() {
            product.double_in_place();
            match (self.a >> bit & 1, self.b >> bit & 1) {
                (1, 1) => product += sum,
                (1, _) => product += point,
                (_, 1) => product += image,
                _ => {}
            }
        }
        product
    }

    fn scalar(&self) -> Fr {
        Fr::from(self.a) + Fr::from(self.b) * ark_bn254::g1::Config::LAMBDA
    }
}

fn endomorphism(point: &G1Affine) -> G1Affine {
    ark_bn254::g1::Config::endomorphism_affine(point)
}

/// Multiplies by way of the endomorphism, which arkworks uses for projective points only.
fn times(point: &G1Affine, scalar: &Fr) -> G1Projective {
    point.into_group() * scalar
}

/// Points in affine form, with one inversion.
fn normalize(points: &[G1Projective]) -> Vec<G1Affine> {
    let mut inverses: Vec<_> = points.iter().map(|point| point.z).collect();
    batch_inverse(&mut inverses, inverse_fq);
    let affine = |(point, inverse): (&G1Projective, Fq)| {
        if point.is_zero() {
            return G1Affine::zero();
        }
        let square = inverse.square();
        G1Affine::new_unchecked(point.x * square, point.y * square * inverse)
    };
    points.iter().zip(inverses).map(affine).collect()
}

/// Each proof's A times its weight: a point and its image share one chain of doublings.
fn weighted_points(items: &[BatchItem<'_>], weights: &[Weight]) -> Vec<G1Projective> {
    let weighted: Vec<_> = items.iter().zip(weights).collect();
    parallel::by_parts(&weighted, PART_LENGTH_MIN, weighted_part).concat()
}

fn weighted_part(weighted: &[(&BatchItem<'_>, &Weight)]) -> Vec<G1Projective> {
    let (items, weights): (Vec<&BatchItem<'_>>, Vec<&Weight>) = weighted.iter().copied().unzip();
    let images: Vec<_> = items.iter().map(|item| endomorphism(&item.proof.a)).collect();
    let sums: Vec<_> = items.iter().zip(&images).map(|(item, image)| item.proof.a + image).collect();
    let sums = normalize(&sums);
    let points = items.iter().zip(&images).zip(&sums).zip(weights);
    points.map(|(((item, image), sum), weight)| weight.multiply(&item.proof.a, image, sum)).collect()
}

/// What the proofs of one key add up to.
struct Group<'a> {
    key: &'a PreparedVerifyingKey,
    weight: Fr,
    weighted_input: Fr,
    c_points: Vec<G1Affine>,
    c_scalars: Vec<u64>,
}

impl<'a> Group<'a> {
    fn new(key: &'a PreparedVerifyingKey) -> Self {
        Self { key, weight: Fr::ZERO, weighted_input: Fr::ZERO, c_points: Vec::new(), c_scalars: Vec::new() }
    }

    fn add(&mut self, proof: &Proof, input: &Fr, weight: &Weight) {
        let scalar = weight.scalar();
        self.weight += scalar;
        self.weighted_input += scalar * input;
        self.c_points.extend([proof.c, endomorphism(&proof.c)]);
        self.c_scalars.extend([weight.a, weight.b]);
    }

    fn push_pairs(&self, pairs: &mut Pairs<'a>) {
        let key = &self.key.key;
        let [ic_0, ic_1] = key.ic;
        let c = G1Projective::msm_u64(&self.c_points, &self.c_scalars);
        pairs.push(-times(&key.alpha, &self.weight), key.beta.lines());
        pairs.push(-(times(&ic_0, &self.weight) + times(&ic_1, &self.weighted_input)), key.gamma.lines());
        pairs.push(-c, key.delta.lines());
    }
}

/// Pairs whose Miller loops are to be multiplied.
#[derive(Default)]
struct Pairs<'a> {
    points: Vec<G1Projective>,
    lines: Vec<Cow<'a, Lines>>,
}

impl<'a> Pairs<'a> {
    fn push(&mut self, point: G1Projective, lines: Cow<'a, Lines>) {
        self.points.push(point);
        self.lines.push(lines);
    }

    /// The product of all pairs; those with the point at infinity contribute a one.
    fn miller_loop(self) -> ark_bn254::Fq12 {
        let points = normalize(&self.points);
        let pairs: Vec<_> = points.into_iter().zip(self.lines).filter(|(point, _)| !point.is_zero()).collect();
        parallel::by_parts(&pairs, PART_LENGTH_MIN, miller_loop).into_iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groth16::simulate::Trapdoor;

    /// The weights of two proofs, of which the second has this key, input and proof.
    fn weights(key: &PreparedVerifyingKey, input: Fr, proof: &Proof) -> Vec<(u64, u64)> {
        let first_key = Trapdoor::new(1).key().prepare();
        let first_proof = Trapdoor::new(1).prove(Fr::ONE, 1);
        let statement = Statement {
            chain_id: crate::cell::ChainId::from_byte_array([1; 15]),
            circuit: crate::statement::CircuitId::new(crate::record::Kind::Transfer, crate::cell::Depth::MAX, 1),
            root_before: Fr::ZERO,
            root_after: Fr::ZERO,
            data_digest: Fr::ZERO,
            context: crate::statement::Context {
                height_blocks: 0,
                token: crate::cell::Token::BITCOIN,
                operator: crate::cell::CellIndex::default(),
            },
            registers: crate::statement::Registers::NONE,
        };
        let item = |key, proof| BatchItem { key, statement: &statement, proof };
        let items = [item(&first_key, &first_proof), item(key, proof)];
        Weight::draw(&items, &[Fr::ONE, input]).iter().map(|weight| (weight.a, weight.b)).collect()
    }

    #[test]
    fn every_weight_depends_on_every_key_input_and_proof() {
        let (key, other_key) = (Trapdoor::new(2).key().prepare(), Trapdoor::new(3).key().prepare());
        let (proof, other_proof) = (Trapdoor::new(2).prove(Fr::ONE, 2), Trapdoor::new(2).prove(Fr::ONE, 3));
        let two = Fr::from(2u64);
        let draws = [
            weights(&key, Fr::ONE, &proof),
            weights(&other_key, Fr::ONE, &proof),
            weights(&key, two, &proof),
            weights(&key, Fr::ONE, &other_proof),
        ];
        let distinct: std::collections::HashSet<_> = draws.iter().flatten().collect();
        assert_eq!(distinct.len(), 8);
        assert_eq!(weights(&key, Fr::ONE, &proof), draws[0]);
    }

    #[test]
    fn weighted_points_are_multiples_by_the_weight() {
        let proof = Trapdoor::new(2).prove(Fr::ONE, 2);
        let image = endomorphism(&proof.a);
        assert_eq!(image, proof.a * ark_bn254::g1::Config::LAMBDA);
        for (a, b) in [(0, 0), (1, 0), (0, 1), (u64::MAX, u64::MAX), (1 << 63, 12345)] {
            let weight = Weight { a, b };
            assert_eq!(weight.multiply(&proof.a, &image, &(proof.a + image).into()), proof.a * weight.scalar());
        }
    }
}
