//! Random circuits with any number of public inputs, and their keys by the book: every query from its definition.

use super::super::{COEFFICIENT_LENGTH, PARAMETERS_LENGTH};
use crate::{against_ark::ArkProver, prove::Blinding};
use ark_bn254::{Bn254, Fq, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField, UniformRand};
use bytemuck::bytes_of;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::sync::OnceLock;
use taproof_arith::{Domain, G1, G2, Point};
use taproof_circuits::iden3::{BinaryFile, prime_bytes};

/// What the wires of a random circuit hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values {
    /// Nothing but zeros behind the constant one.
    Zeros,
    /// Nothing but ones.
    Ones,
    /// Anything.
    Random,
}

type Terms = Vec<(Fr, usize)>;

/// A circuit, a witness that satisfies it, and secrets that its key is made with.
pub(super) struct Circuit {
    pub(super) public_wires: usize,
    pub(super) witness: Vec<Fr>,
    /// A, B and C, row by row.
    matrices: [Vec<Terms>; 3],
    /// tau, alpha, beta, gamma, delta.
    secrets: [Fr; 5],
    key: OnceLock<ark_groth16::ProvingKey<Bn254>>,
}

impl Circuit {
    pub(super) fn random(seed: u64, rows: usize, public_wires: usize, values: Values) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let wire_count = public_wires + rng.gen_range(0..rows + 2);
        let mut witness: Vec<Fr> = (0..wire_count)
            .map(|_| match values {
                Values::Zeros => Fr::ZERO,
                Values::Ones => Fr::ONE,
                Values::Random => Fr::rand(&mut rng),
            })
            .collect();
        witness[0] = Fr::ONE;
        let mut side = || -> Terms {
            let coefficient = |rng: &mut ChaCha20Rng| match rng.gen_range(0..4) {
                0 => Fr::ONE,
                1 => -Fr::ONE,
                2 => Fr::from(3u64),
                _ => Fr::rand(rng),
            };
            (0..rng.gen_range(0..4)).map(|_| (coefficient(&mut rng), rng.gen_range(0..wire_count))).collect()
        };
        let [a, b, mut c] = [(); 3].map(|()| (0..rows).map(|_| side()).collect::<Vec<_>>());
        let value =
            |terms: &Terms| -> Fr { terms.iter().map(|(coefficient, wire)| *coefficient * witness[*wire]).sum() };
        for (row, c) in c.iter_mut().enumerate() {
            // The constant wire takes what is missing.
            c.push((value(&a[row]) * value(&b[row]) - value(c), 0));
        }
        let secrets = [(); 5].map(|()| Fr::rand(&mut rng));
        Self { public_wires, witness, matrices: [a, b, c], secrets, key: OnceLock::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.matrices[0].len()
    }

    pub(super) fn public_inputs(&self) -> &[Fr] {
        &self.witness[1..self.public_wires]
    }

    pub(super) fn is_satisfied(&self, witness: &[Fr]) -> bool {
        let value =
            |terms: &Terms| -> Fr { terms.iter().map(|(coefficient, wire)| *coefficient * witness[*wire]).sum() };
        (0..self.rows()).all(|row| {
            let [a, b, c] = self.matrices.each_ref().map(|matrix| value(&matrix[row]));
            a * b == c
        })
    }

    fn domain(&self) -> Domain {
        Domain::new(self.rows() + self.public_wires).expect("a small domain")
    }

    /// Each wire's polynomials of A, B and C at tau.
    fn columns(&self) -> [Vec<Fr>; 3] {
        let lagrange = self.domain().lagrange_at(self.secrets[0]).expect("tau is random");
        let mut columns = self.matrices.each_ref().map(|matrix| {
            let mut column = vec![Fr::ZERO; self.witness.len()];
            for (terms, weight) in matrix.iter().zip(&lagrange) {
                terms.iter().for_each(|(coefficient, wire)| column[*wire] += *coefficient * weight);
            }
            column
        });
        for wire in 0..self.public_wires {
            columns[0][wire] += lagrange[self.rows() + wire];
        }
        columns
    }

    /// The r1 and r2 that make of the witness's proof the one that r and s make of it in Groth's prover: by the
    /// secrets, from A / r1 = A + r delta and r1 (B + r2 delta) = B + s delta.
    pub(super) fn blinding(&self, r: Fr, s: Fr) -> Blinding {
        let [_, alpha, beta, _, delta] = self.secrets;
        let [a, b, _] = self.columns();
        let of_wires = |column: &[Fr]| column.iter().zip(&self.witness).map(|(value, wire)| *value * wire).sum::<Fr>();
        let (a, b) = (alpha + of_wires(&a), beta + of_wires(&b));
        let r1 = a / (a + r * delta);
        Blinding { r1, r2: ((b + s * delta) / r1 - b) / delta }
    }

    /// The key as ark-groth16 has it.
    pub(super) fn key(&self) -> &ark_groth16::ProvingKey<Bn254> {
        self.key.get_or_init(|| self.make_key())
    }

    fn make_key(&self) -> ark_groth16::ProvingKey<Bn254> {
        let [tau, alpha, beta, gamma, delta] = self.secrets;
        let [a, b, c] = self.columns();
        let joined = |wire: usize| beta * a[wire] + alpha * b[wire] + c[wire];
        let inverse = |secret: Fr| secret.inverse().expect("no secret is zero");
        let odd = self.domain().odd_lagrange_at(tau).expect("tau is random");
        let (public, all) = (self.public_wires, self.witness.len());
        ark_groth16::ProvingKey {
            vk: ark_groth16::VerifyingKey {
                alpha_g1: g1(alpha),
                beta_g2: g2(beta),
                gamma_g2: g2(gamma),
                delta_g2: g2(delta),
                gamma_abc_g1: (0..public).map(|wire| g1(joined(wire) * inverse(gamma))).collect(),
            },
            beta_g1: g1(beta),
            delta_g1: g1(delta),
            a_query: a.iter().copied().map(g1).collect(),
            b_g1_query: b.iter().copied().map(g1).collect(),
            b_g2_query: b.iter().copied().map(g2).collect(),
            h_query: odd.iter().map(|value| g1(*value * inverse(delta))).collect(),
            l_query: (public..all).map(|wire| g1(joined(wire) * inverse(delta))).collect(),
        }
    }

    /// ark-groth16's prover for the circuit.
    pub(super) fn ark(&self) -> ArkProver {
        ArkProver::from_parts(self.key().clone(), self.matrices.to_vec(), self.public_wires)
    }

    /// The key as a .zkey file.
    pub(super) fn zkey(&self) -> Zkey {
        let key = self.key();
        let vk = &key.vk;
        let g1s = |points: &[G1Affine]| points.iter().flat_map(bytes1).collect::<Vec<u8>>();
        let g2s = |points: &[G2Affine]| points.iter().flat_map(bytes2).collect::<Vec<u8>>();
        let mut parameters = [prime_bytes::<Fq>(), prime_bytes::<Fr>()].concat();
        for count in [self.witness.len(), self.public_wires - 1, self.domain().size()] {
            parameters.extend((count as u32).to_le_bytes());
        }
        parameters.extend([bytes1(&vk.alpha_g1), bytes1(&key.beta_g1)].concat());
        parameters.extend([bytes2(&vk.beta_g2), bytes2(&vk.gamma_g2)].concat());
        parameters.extend([bytes1(&key.delta_g1), bytes2(&vk.delta_g2)].concat());
        assert_eq!(parameters.len() as u64, PARAMETERS_LENGTH);
        Zkey(vec![
            (1, 1u32.to_le_bytes().to_vec()),
            (2, parameters),
            (3, g1s(&vk.gamma_abc_g1)),
            (4, self.coefficients()),
            (5, g1s(&key.a_query)),
            (6, g1s(&key.b_g1_query)),
            (7, g2s(&key.b_g2_query)),
            (8, g1s(&key.l_query)),
            (9, g1s(&key.h_query)),
            (10, vec![0; 68]),
        ])
    }

    fn coefficients(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push = |matrix: u32, row: usize, wire: usize, coefficient: Fr| {
            bytes.extend([matrix, row as u32, wire as u32].map(u32::to_le_bytes).as_flattened());
            let stored = (coefficient * Fr::from(2u64).pow([512])).into_bigint();
            bytes.extend(stored.0.map(u64::to_le_bytes).as_flattened());
        };
        for (matrix, rows) in (0..).zip(&self.matrices[..2]) {
            for (row, terms) in rows.iter().enumerate() {
                terms.iter().for_each(|(coefficient, wire)| push(matrix, row, *wire, *coefficient));
            }
        }
        (0..self.public_wires).for_each(|wire| push(0, self.rows() + wire, wire, Fr::ONE));
        let count = (bytes.len() / COEFFICIENT_LENGTH) as u32;
        [&count.to_le_bytes()[..], &bytes].concat()
    }
}

fn g1(scalar: Fr) -> G1Affine {
    (G1Affine::generator() * scalar).into_affine()
}

fn g2(scalar: Fr) -> G2Affine {
    (G2Affine::generator() * scalar).into_affine()
}

fn bytes1(point: &G1Affine) -> Vec<u8> {
    bytes_of(&G1::from_affine(point)).to_vec()
}

fn bytes2(point: &G2Affine) -> Vec<u8> {
    bytes_of(&G2::from_affine(point)).to_vec()
}

/// The sections of a .zkey file, to be altered.
#[derive(Clone)]
pub(super) struct Zkey(pub(super) Vec<(u32, Vec<u8>)>);

impl Zkey {
    pub(super) fn section(&mut self, number: u32) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(found, _)| *found == number).expect("all sections are there").1
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = BinaryFile::start(&mut bytes, *b"zkey", 1, self.0.len() as u32).expect("memory");
        for (number, contents) in &self.0 {
            file.section(*number, contents.len() as u64, |out| out.write_all(contents)).expect("memory");
        }
        file.finish();
        bytes
    }
}
