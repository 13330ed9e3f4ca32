//! The prover's kernels over sizes, beside arkworks' in the same run: multi-scalar multiplication and transforms.

use ark_bn254::Fr;
use ark_ec::{
    AffineRepr, VariableBaseMSM,
    short_weierstrass::{Affine, Projective},
};
use ark_ff::UniformRand;
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{hint::black_box, time::Duration};
use taproof_arith::{Domain, FixedBase, G1, G2, Point, Scalars, msm};

const LOG_SIZES: [u32; 3] = [12, 16, 18];

fn scalars(log_size: u32) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    (0..1 << log_size).map(|_| Fr::rand(&mut rng)).collect()
}

/// Multiplications of random points by random scalars.
fn msm_in<P: Point>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for log_size in LOG_SIZES {
        let scalars = scalars(log_size);
        let points = FixedBase::<P>::new(&Affine::generator(), scalars.len()).multiply(&scalars);
        let ark_points: Vec<Affine<P::Config>> = points.iter().map(Point::to_affine).collect();
        group.throughput(Throughput::Elements(1 << log_size));
        group.bench_function(BenchmarkId::new("taproof", log_size), |bencher| {
            bencher.iter(|| msm(black_box(&points), Scalars::all(&scalars)));
        });
        group.bench_function(BenchmarkId::new("arkworks", log_size), |bencher| {
            bencher.iter(|| Projective::msm(black_box(&ark_points), &scalars).expect("one scalar for each point"));
        });
    }
    group.finish();
}

/// From values on a domain to those on the odd coset: an inverse and a forward transform.
fn transforms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("to the odd coset");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for log_size in LOG_SIZES {
        let values = scalars(log_size);
        let domain = Domain::new(values.len()).expect("a domain of legal size");
        let ark_domain = Radix2EvaluationDomain::<Fr>::new(values.len()).expect("a domain of legal size");
        let root = Radix2EvaluationDomain::<Fr>::new(2 * values.len()).expect("a domain of legal size").group_gen();
        let ark_coset = ark_domain.get_coset(root).expect("a root is not zero");
        group.throughput(Throughput::Elements(1 << log_size));
        group.bench_function(BenchmarkId::new("taproof", log_size), |bencher| {
            bencher.iter_batched_ref(
                || values.clone(),
                |values| domain.to_odd_coset([values]),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("arkworks", log_size), |bencher| {
            let transform = |values: &mut Vec<Fr>| {
                ark_domain.ifft_in_place(values);
                ark_coset.fft_in_place(values);
            };
            bencher.iter_batched_ref(|| values.clone(), transform, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn kernels(criterion: &mut Criterion) {
    msm_in::<G1>(criterion, "MSM in G1");
    msm_in::<G2>(criterion, "MSM in G2");
    transforms(criterion);
}

criterion_group!(benches, kernels);
criterion_main!(benches);
