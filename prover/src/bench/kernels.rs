//! The subjects that are one operation on a vector.

use super::{Prepared, Program, timed};
use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, VariableBaseMSM,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::{FftField, UniformRand};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use std::{hint::black_box, sync::Arc};
use taproof_arith::{
    Domain, Point, Recoded, Scalars, batch_mul,
    vectors::{self, Element},
};
use taproof_verifier::poseidon2;

pub(super) fn msm<P: Point + 'static>(log_size: u32, against_ark: bool) -> Prepared {
    let scalars = Arc::new(scalars(1 << log_size));
    let [points]: [Vec<P>; 1] = batch_mul(&Affine::generator(), [&scalars], &|_| ());
    let ark = against_ark.then(|| {
        let (points, scalars): (Vec<Affine<P::Config>>, _) =
            (points.iter().map(Point::to_affine).collect(), scalars.clone());
        let run = move || Projective::msm(black_box(&points), &scalars).expect("one scalar a point");
        Box::new(move || Ok(timed(&run))) as Program
    });
    let count = scalars.len();
    let run = move || taproof_arith::msm(black_box(&points), Scalars::all(&Recoded::of(&scalars)));
    Prepared { count, ours: Box::new(move || Ok(timed(&run))), ark }
}

pub(super) fn transform(log_size: u32, against_ark: bool) -> Prepared {
    let values = Arc::new(scalars(1 << log_size));
    let count = values.len();
    let ark = against_ark.then(|| {
        let values = values.clone();
        let domain = Radix2EvaluationDomain::<Fr>::new(count).expect("the size is in range");
        let root = Fr::get_root_of_unity(2 * count as u64).expect("the size is in range");
        let coset = domain.get_coset(root).expect("a root is not zero");
        let run = move || {
            let mut values = values.to_vec();
            Ok(timed(|| {
                domain.ifft_in_place(black_box(&mut values));
                coset.fft_in_place(&mut values);
            }))
        };
        Box::new(run) as Program
    });
    let domain = Domain::new(count).expect("the size is in range");
    let ours = move || {
        let mut values = values.to_vec();
        Ok(timed(|| domain.to_odd_coset([black_box(&mut values)])))
    };
    Prepared { count, ours: Box::new(ours), ark }
}

pub(super) fn products<F: Element>(log_size: u32, against_ark: bool) -> Prepared {
    let count = 1 << log_size;
    let [a, b, c]: [Arc<Vec<F>>; 3] = [1, 2, 3].map(|seed| Arc::new(elements(seed, count)));
    let program = |multiply_subtract: fn(&mut [F], &[F], &[F])| {
        let [a, b, c] = [&a, &b, &c].map(Arc::clone);
        let run = move || {
            let mut values = a.to_vec();
            Ok(timed(|| multiply_subtract(black_box(&mut values), &b, &c)))
        };
        Box::new(run) as Program
    };
    let ark =
        against_ark.then(|| program(|a, b, c| a.par_iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = *a * b - c)));
    Prepared { count, ours: program(vectors::multiply_subtract), ark }
}

pub(super) fn hash(log_size: u32, against_ark: bool) -> Prepared {
    let values = scalars(poseidon2::WIDTH << log_size);
    let (states, _) = values.as_chunks::<{ poseidon2::WIDTH }>();
    let program = |permute: fn(&mut [Fr; poseidon2::WIDTH])| {
        let mut states = states.to_vec();
        Box::new(move || Ok(timed(|| black_box(&mut states).par_iter_mut().for_each(permute)))) as Program
    };
    let ark = against_ark.then(|| program(taceo_poseidon2::bn254::t8::permutation_in_place));
    Prepared { count: states.len(), ours: program(poseidon2::permute), ark }
}

fn scalars(count: usize) -> Vec<Fr> {
    elements(1, count)
}

fn elements<F: UniformRand>(seed: u64, count: usize) -> Vec<F> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    (0..count).map(|_| F::rand(&mut rng)).collect()
}
