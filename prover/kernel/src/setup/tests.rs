use super::*;
use crate::toy::Toy;
use ark_bn254::{Bn254, G2Affine};
use ark_ec::{CurveGroup, pairing::Pairing};
use ark_ff::{AdditiveGroup, FftField};
use std::sync::Mutex;
use taproof_base::progress::Silent;

fn options(network: Network, allow_outside_test_networks: bool, randomness: Randomness) -> SetupOptions {
    SetupOptions { network, allow_outside_test_networks, randomness }
}

fn trapdoor() -> Trapdoor {
    let [tau, alpha, beta, gamma, delta] = [123_456_789u64, 11, 22, 33, 44].map(Fr::from);
    Trapdoor { tau, alpha, beta, gamma, delta }
}

/// The polynomial that takes the given values on the roots of the domain, evaluated at a point by the formula of
/// Lagrange with its products written out.
fn interpolate(values: &[Fr], point: Fr) -> Fr {
    let root = Fr::get_root_of_unity(values.len() as u64).expect("a power of two");
    let roots: Vec<Fr> = (0..values.len() as u64).map(|i| root.pow([i])).collect();
    let term = |i: usize| {
        let others = || roots.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, other)| other);
        let numerator: Fr = others().map(|other| point - other).product();
        let denominator: Fr = others().map(|other| roots[i] - other).product();
        values[i] * numerator / denominator
    };
    (0..values.len()).filter(|i| !values[*i].is_zero()).map(term).sum()
}

/// Every query recomputed column by column from the rows, in quadratic time.
#[test]
fn queries_are_the_columns_at_the_trapdoors() {
    for toy in [
        Toy { seed: 1, head_rows: 5, slot_rows: 6, slots: 3, tail_rows: 4 },
        Toy { seed: 2, head_rows: 0, slot_rows: 3, slots: 1, tail_rows: 0 },
        Toy { seed: 3, head_rows: 7, slot_rows: 2, slots: 0, tail_rows: 1 },
    ] {
        let shape = toy.shape();
        let (trapdoor, n) = (trapdoor(), (shape.row_count() + 2).next_power_of_two());
        let domain = Domain::new(n).expect("a small domain");
        let key = generate_with(&shape, toy.circuit(), &domain, &trapdoor, &Silent).expect("usable trapdoors");
        let g1 = |scalar: Fr| G1::from_affine(&(G1Affine::generator() * scalar).into_affine());
        let g2 = |scalar: Fr| G2::from_affine(&(G2Affine::generator() * scalar).into_affine());
        let (mut a_wires, mut b_wires) = (Vec::new(), Vec::new());
        for wire in 0..shape.wire_count() {
            let [mut a, mut b, mut c] = [(); 3].map(|()| vec![Fr::ZERO; n]);
            for (i, row) in shape.rows().enumerate() {
                a[i] = row.a().filter(|(w, _)| *w == wire).map(|(_, coefficient)| *coefficient).sum();
                b[i] = row.b().filter(|(w, _)| *w == wire).map(|(_, coefficient)| *coefficient).sum();
                c[i] = row.c().filter(|(w, _)| *w == wire).map(|(_, coefficient)| *coefficient).sum();
            }
            if wire < 2 {
                a[shape.row_count() + wire] = Fr::one();
            }
            let [a, b, c] = [a, b, c].map(|column| interpolate(&column, trapdoor.tau));
            if !a.is_zero() {
                assert_eq!(key.a[a_wires.len()], g1(a), "A of wire {wire}");
                a_wires.push(wire as u32);
            }
            if !b.is_zero() {
                assert_eq!(key.b_g1[b_wires.len()], g1(b), "B of wire {wire}");
                assert_eq!(key.b_g2[b_wires.len()], g2(b), "B of wire {wire} in G2");
                b_wires.push(wire as u32);
            }
            let joined = trapdoor.beta * a + trapdoor.alpha * b + c;
            if wire < 2 {
                assert_eq!(key.ic[wire], g1(joined / trapdoor.gamma));
            } else {
                assert_eq!(key.l[wire - 2], g1(joined / trapdoor.delta), "L of wire {wire}");
            }
        }
        assert_eq!((&key.a_wires, &key.b_wires), (&a_wires, &b_wires));
        assert_eq!((key.a.len(), key.b_g1.len(), key.b_g2.len()), (a_wires.len(), b_wires.len(), b_wires.len()));
        assert_eq!((key.l.len(), key.h.len()), (shape.wire_count() - 2, n));
        for (i, point) in key.h.iter().enumerate() {
            let mut unit = vec![Fr::ZERO; 2 * n];
            unit[2 * i + 1] = Fr::one();
            assert_eq!(*point, g1(interpolate(&unit, trapdoor.tau) / trapdoor.delta), "H of root {i}");
        }
        let points = FixedPoints {
            alpha: g1(trapdoor.alpha),
            beta_g1: g1(trapdoor.beta),
            delta_g1: g1(trapdoor.delta),
            beta: g2(trapdoor.beta),
            gamma: g2(trapdoor.gamma),
            delta: g2(trapdoor.delta),
        };
        assert_eq!(key.points, points);
        assert_eq!((key.ic.len(), key.matrices.view().term_count()), (2, 0));
    }
}

#[test]
fn the_two_groups_hold_the_same_secrets() {
    let toy = Toy::of_rows(20, 4);
    let key = toy.proving_key(&toy.shape());
    let points = &key.points;
    let pair = |left: G1, right: G2| Bn254::pairing(left.to_affine(), right.to_affine());
    let (one_g1, one_g2) = (G1::from_affine(&G1Affine::generator()), G2::from_affine(&G2Affine::generator()));
    assert_eq!(pair(points.beta_g1, one_g2), pair(one_g1, points.beta));
    assert_eq!(pair(points.delta_g1, one_g2), pair(one_g1, points.delta));
    assert!(!points.are_forgeable());
    assert!(FixedPoints { gamma: points.delta, ..*points }.are_forgeable());
    let negative = G2::from_affine(&-points.delta.to_affine());
    assert!(FixedPoints { gamma: negative, ..*points }.are_forgeable());
}

#[test]
fn real_networks_need_permission_and_never_a_seed() {
    let toy = Toy::of_rows(4, 5);
    let shape = toy.shape();
    let run = |options| generate(&shape, toy.circuit(), &options, &Silent);
    let mainnet = Network::Bitcoin;
    assert_eq!(run(options(mainnet, false, Randomness::Os)), Err(SetupError::NotATestNetwork(mainnet)));
    let seeded = run(options(mainnet, true, Randomness::Seed([1; 32])));
    assert_eq!(seeded, Err(SetupError::SeedOutsideTestNetworks(mainnet)));
    assert!(run(options(mainnet, true, Randomness::Os)).is_ok());
    for network in [Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest] {
        assert!(run(options(network, false, Randomness::Os)).is_ok());
    }
}

#[test]
fn a_seed_fixes_the_keys_and_the_system_does_not() {
    let toy = Toy::of_rows(6, 6);
    let shape = toy.shape();
    let run = |randomness| {
        generate(&shape, toy.circuit(), &options(Network::Regtest, false, randomness), &Silent)
            .expect("a small circuit")
    };
    assert_eq!(run(Randomness::Seed([1; 32])), run(Randomness::Seed([1; 32])));
    assert_ne!(run(Randomness::Seed([1; 32])), run(Randomness::Seed([2; 32])));
    assert_ne!(run(Randomness::Os).points, run(Randomness::Os).points);
}

#[test]
fn unusable_secrets_are_drawn_again() {
    let domain = Domain::new(8).expect("a small domain");
    assert!(trapdoor().is_usable(&domain));
    let root = Fr::get_root_of_unity(16).expect("a small order");
    for (what, broken) in [
        ("tau zero", Trapdoor { tau: Fr::ZERO, ..trapdoor() }),
        ("tau on the domain", Trapdoor { tau: root.square(), ..trapdoor() }),
        ("tau on the odd coset", Trapdoor { tau: root, ..trapdoor() }),
        ("alpha zero", Trapdoor { alpha: Fr::ZERO, ..trapdoor() }),
        ("beta zero", Trapdoor { beta: Fr::ZERO, ..trapdoor() }),
        ("gamma zero", Trapdoor { gamma: Fr::ZERO, ..trapdoor() }),
        ("delta zero", Trapdoor { delta: Fr::ZERO, ..trapdoor() }),
        ("gamma is delta", Trapdoor { gamma: trapdoor().delta, ..trapdoor() }),
        ("gamma is -delta", Trapdoor { gamma: -trapdoor().delta, ..trapdoor() }),
    ] {
        assert!(!broken.is_usable(&domain), "{what}");
    }
}

#[test]
fn progress_rises_to_its_total() {
    let toy = Toy::of_rows(50, 7);
    let reports = Mutex::new(Vec::new());
    let progress = |done: u64, total: u64| reports.lock().expect("no panic").push((done, total));
    let options = options(Network::Regtest, false, Randomness::Seed([3; 32]));
    generate(&toy.shape(), toy.circuit(), &options, &progress).expect("a small circuit");
    let reports = reports.into_inner().expect("no panic");
    assert!(reports.is_sorted() && reports.len() > 3);
    let (first, last) = (reports[0], reports[reports.len() - 1]);
    assert_eq!((first.0, last.0), (0, last.1));
}
