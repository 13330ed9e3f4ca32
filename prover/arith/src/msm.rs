//! Sums of points times scalars.

use crate::Point;
use ark_bn254::Fr;
use ark_ec::{
    VariableBaseMSM,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::{PrimeField, Zero};
use rayon::prelude::*;

/// How many points are converted and summed at a time, which bounds the memory beside the bases.
const PIECE: usize = 1 << 16;

/// One scalar for each base: a vector as it stands, or picked from one by index.
#[derive(Clone, Copy, Debug)]
pub struct Scalars<'a> {
    values: &'a [Fr],
    picked: Option<&'a [u32]>,
}

impl<'a> Scalars<'a> {
    /// All values in order.
    pub fn all(values: &'a [Fr]) -> Self {
        Self { values, picked: None }
    }

    /// The values at the given indices.
    pub fn picked(values: &'a [Fr], indices: &'a [u32]) -> Self {
        Self { values, picked: Some(indices) }
    }

    /// The number of scalars.
    pub fn len(&self) -> usize {
        self.picked.map_or(self.values.len(), <[u32]>::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, index: usize) -> &'a Fr {
        match self.picked {
            None => &self.values[index],
            Some(indices) => &self.values[indices[index] as usize],
        }
    }
}

/// The sum of the bases, each times its scalar, on all threads.
///
/// The bases may lie in a mapped file: they are read piece by piece. Terms whose scalar is 0 are skipped, and those whose
/// scalar is 1 cost one addition; many wires of a circuit are bits. The time depends on the scalars: neither this nor
/// anything else in the prover hides them from someone who can time it.
///
/// # Panics
/// If there is not one scalar for each base, or an index of a picked scalar is out of range.
pub fn msm<P: Point>(bases: &[P], scalars: Scalars<'_>) -> Projective<P::Config> {
    assert_eq!(bases.len(), scalars.len(), "one scalar for each base");
    let mut sum = Projective::zero();
    for (piece, bases) in bases.chunks(PIECE).enumerate() {
        let first = piece * PIECE;
        let (points, factors): (Vec<Affine<P::Config>>, Vec<_>) = bases
            .par_iter()
            .enumerate()
            .map(|(i, base)| (base, scalars.get(first + i)))
            .filter(|(base, scalar)| !scalar.is_zero() && !base.is_infinity())
            .map(|(base, scalar)| (base.to_affine(), scalar.into_bigint()))
            .unzip();
        sum += Projective::msm_bigint(&points, &factors);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedBase, G1, G2};
    use ark_bn254::{g1, g2};
    use ark_ec::{AffineRepr, CurveConfig};
    use ark_ff::{AdditiveGroup, Field, UniformRand};
    use rand::{Rng, SeedableRng};

    /// Bases with infinities and repetitions, and scalars of every sort, with their logarithms' sum of products.
    fn case<P: Point>(len: usize, seed: u64) -> (Vec<P>, Vec<Fr>, Fr) {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let logs: Vec<Fr> = (0..len)
            .map(|_| match rng.gen_range(0..5) {
                0 => Fr::from(rng.gen_range(0..3u64)),
                _ => Fr::rand(&mut rng),
            })
            .collect();
        let scalars: Vec<Fr> = (0..len)
            .map(|_| match rng.gen_range(0..6) {
                0 => Fr::ZERO,
                1 => Fr::ONE,
                2 => -Fr::ONE,
                3 => Fr::from(rng.r#gen::<u64>()),
                _ => Fr::rand(&mut rng),
            })
            .collect();
        let sum = logs.iter().zip(&scalars).map(|(log, scalar)| *log * scalar).sum();
        (FixedBase::<P>::new(&Affine::generator(), len).multiply(&logs), scalars, sum)
    }

    fn sums_agree<P: Point>(len: usize, seed: u64)
    where
        P::Config: CurveConfig<ScalarField = Fr>,
    {
        let (bases, scalars, log) = case::<P>(len, seed);
        assert_eq!(msm(&bases, Scalars::all(&scalars)), Affine::<P::Config>::generator() * log);
    }

    #[test]
    fn agrees_with_the_sum_of_logarithms_across_pieces() {
        for (len, seed) in [(0, 1), (1, 2), (2, 3), (33, 4), (1000, 5)] {
            sums_agree::<G1>(len, seed);
            sums_agree::<G2>(len, seed);
        }
        sums_agree::<G1>(PIECE + 3, 6);
    }

    #[test]
    fn picked_scalars_are_those_at_their_indices() {
        let (bases, scalars, _) = case::<G1>(10, 7);
        let indices = [9u32, 0, 3, 3];
        let expected: Projective<g1::Config> =
            bases.iter().zip(indices).map(|(base, i)| base.to_affine() * scalars[i as usize]).sum();
        assert_eq!(msm(&bases[..4], Scalars::picked(&scalars, &indices)), expected);
    }

    #[test]
    fn of_zeros_alone_is_infinity() {
        let (bases, scalars, _) = case::<G2>(40, 8);
        assert_eq!(msm(&bases, Scalars::all(&vec![Fr::ZERO; scalars.len()])), Projective::<g2::Config>::zero());
    }
}
