//! Poseidon2 over the BN254 scalar field, width 8, S-box x^5, 8 full and 57 partial rounds (ePrint 2023/323).
//!
//! One permutation serves two modes. [`compress`] hashes exactly eight elements (tree nodes and cells) with
//! feed-forward. [`hash`] is a sponge of rate 7 for everything else; its capacity starts at
//! `domain * 2^64 + length`, so no sponge of another domain or another length starts from the same state.
//!
//! The modes share the permutation, and nothing but their inputs keeps them apart: where x0 is zero and x7 is the
//! capacity of domain d and a length n of up to 7, `compress(x0, ..., x7)` is `hash(d; x0, ..., x6)`, the n first of
//! these if the rest are zeros. No tree holds such an input. A cell begins with its kind, which is 0 only where all
//! eight elements are, and a node begins with 0 only if somebody finds what hashes to 0.

mod constants;

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};

pub use constants::{FULL_ROUND_CONSTANTS, INTERNAL_DIAGONAL, PARTIAL_ROUND_CONSTANTS};

/// Elements in the state of the permutation.
pub const WIDTH: usize = 8;
/// Elements that the sponge absorbs for each permutation.
pub const RATE: usize = WIDTH - 1;
/// Rounds that put every element through the S-box: half before the partial rounds, half after.
pub const FULL_ROUNDS: usize = 8;
/// Rounds that put only the first element through the S-box.
pub const PARTIAL_ROUNDS: usize = 57;

/// What a sponge's input means. Each use has a tag of its own, so that no sponge of one use starts as one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Domain {
    /// The records of one chunk.
    Data = 1,
    /// The statement of one chunk: the public input of its proof.
    Statement = 2,
    /// The challenge of a Schnorr signature.
    Challenge = 3,
    /// The registers that steps carry.
    Registers = 4,
    /// The identity of a circuit.
    Circuit = 5,
}

impl Domain {
    /// The first value of the capacity when `length` elements are to be absorbed.
    pub fn capacity(self, length: usize) -> Fr {
        Fr::from(((self as u128) << 64) | length as u128)
    }
}

/// Applies the permutation in place.
pub fn permute(state: &mut [Fr; WIDTH]) {
    external_layer(state);
    let (first, last) = FULL_ROUND_CONSTANTS.split_at(FULL_ROUNDS / 2);
    for constants in first {
        full_round(state, constants);
    }
    for constant in &PARTIAL_ROUND_CONSTANTS {
        state[0] = sbox(state[0] + constant);
        let sum = sum(state);
        for (element, diagonal) in state.iter_mut().zip(&INTERNAL_DIAGONAL) {
            *element *= diagonal;
            *element += sum;
        }
    }
    for constants in last {
        full_round(state, constants);
    }
}

/// Hashes exactly eight elements to one: the first element of the permuted state plus the first input.
///
/// The feed-forward makes the map one-way: without it, the permutation could be run backwards.
pub fn compress(input: &[Fr; WIDTH]) -> Fr {
    let mut state = *input;
    permute(&mut state);
    state[0] + input[0]
}

/// Hashes any number of elements in a domain.
///
/// The state starts as seven zeros and [`Domain::capacity`] last; each block of seven elements, the last one
/// padded with zeros, is added to the rate and permuted; the first element comes out. No input still permutes once.
pub fn hash(domain: Domain, input: &[Fr]) -> Fr {
    let mut state = [Fr::ZERO; WIDTH];
    state[RATE] = domain.capacity(input.len());
    let mut blocks = input.chunks(RATE);
    let mut block = blocks.next().unwrap_or_default();
    loop {
        for (element, absorbed) in state.iter_mut().zip(block) {
            *element += absorbed;
        }
        permute(&mut state);
        match blocks.next() {
            Some(next) => block = next,
            None => return state[0],
        }
    }
}

/// The sum of all elements, by halves: a chain of seven additions takes longer than three steps.
#[inline(always)]
fn sum([a, b, c, d, e, f, g, h]: &[Fr; WIDTH]) -> Fr {
    ((*a + b) + (*c + d)) + ((*e + f) + (*g + h))
}

#[inline(always)]
fn full_round(state: &mut [Fr; WIDTH], constants: &[Fr; WIDTH]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element = sbox(*element + constant);
    }
    external_layer(state);
}

#[inline(always)]
fn sbox(x: Fr) -> Fr {
    x.square().square() * x
}

/// Multiplies by circ(2 M, M), M the 4 x 4 matrix of section 5.1 of the paper, written as its sum of additions.
fn external_layer(state: &mut [Fr; WIDTH]) {
    let (low, high) = state.split_at_mut(4);
    small_matrix(low);
    small_matrix(high);
    for (a, b) in low.iter_mut().zip(high) {
        let sum = *a + *b;
        *a += sum;
        *b += sum;
    }
}

/// Multiplies four elements by M = ((5, 7, 1, 3), (4, 6, 1, 1), (1, 3, 5, 7), (1, 1, 4, 6)).
fn small_matrix(x: &mut [Fr]) {
    let ab = x[0] + x[1];
    let cd = x[2] + x[3];
    let b2_cd = x[1].double() + cd;
    let d2_ab = x[3].double() + ab;
    let last = cd.double().double() + d2_ab;
    let second = ab.double().double() + b2_cd;
    x[0] = d2_ab + second;
    x[1] = second;
    x[2] = b2_cd + last;
    x[3] = last;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baby_jubjub::{Point, PublicKey},
        cell::{Account, Cell, CellElements, Holding, Token},
    };
    use alloc::vec::Vec;
    use ark_ec::AffineRepr;
    use ark_ff::UniformRand;
    use core::array;
    use rand::SeedableRng;

    #[test]
    fn permutation_meets_the_published_vector() {
        let mut state = array::from_fn(|i| Fr::from(i as u64));
        permute(&mut state);
        let expected = [
            "13163567864211573827878829467860137302577760599598440387954761704438999762399",
            "20455256474176316209572707628365862887207812418465031548192789068192434065861",
            "21622031586696647398529562584873094656572287904668581566093346191656615936784",
            "18320622048765136384409419776996464874987888500923344182439589703061890523284",
            "19915468795157938233689963601267136400922725821760118753901600546477081024243",
            "12383970660639123649548441396659012498414420037083153473614822644813849243474",
            "9133088157465982496917058916696585316057943251337470087079495488316110895778",
            "5020935059501715015422969097649999023750915432550677386523662686145648636517",
        ]
        .map(|digits| digits.parse::<Fr>().expect("decimal digits of a field element"));
        assert_eq!(state, expected);
    }

    #[test]
    fn permutation_agrees_with_an_independent_implementation() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        for _ in 0..50 {
            let mut state = array::from_fn(|_| Fr::rand(&mut rng));
            let expected = taceo_poseidon2::bn254::t8::permutation(&state);
            permute(&mut state);
            assert_eq!(state, expected);
        }
    }

    #[test]
    fn compression_feeds_its_input_forward() {
        let input = array::from_fn(|i| Fr::from(i as u64 + 1));
        let mut permuted = input;
        permute(&mut permuted);
        assert_eq!(compress(&input), permuted[0] + input[0]);
        assert_ne!(compress(&input), permuted[0]);
    }

    #[test]
    fn sponge_separates_domains_and_lengths() {
        let zeros = [Fr::ZERO; 15];
        let mut seen = std::collections::HashSet::new();
        for domain in [Domain::Data, Domain::Statement, Domain::Challenge] {
            for length in 0..zeros.len() {
                assert!(seen.insert(hash(domain, &zeros[..length])), "{domain:?} {length}");
            }
        }
    }

    /// What the module's head says: which inputs the two modes share, and that no cell is among them.
    #[test]
    fn the_modes_meet_only_where_no_cell_is() {
        let filled: [Fr; 7] = array::from_fn(|i| Fr::from(i as u64));
        for domain in [Domain::Data, Domain::Statement, Domain::Challenge] {
            for length in 0..=RATE {
                let mut input = [Fr::ZERO; WIDTH];
                input[..length].copy_from_slice(&filled[..length]);
                input[RATE] = domain.capacity(length);
                assert_eq!(compress(&input), hash(domain, &filled[..length]), "{domain:?} {length}");
                input[0] = Fr::ONE;
                let absorbed = core::iter::once(Fr::ONE).chain(filled[1..].iter().copied());
                let absorbed: Vec<Fr> = absorbed.take(length).collect();
                assert_ne!(compress(&input), hash(domain, &absorbed), "{domain:?} {length}");
            }
        }
        let owner = PublicKey::new(Point::generator()).expect("the generator is a key");
        let account = Account::new(owner, Token(0), 0);
        let second = Holding { token: Token(u32::MAX), balance: u64::MAX };
        for cell in [Cell::Empty, Cell::Account(account), Cell::Account(Account { second, ..account })] {
            let CellElements(elements) = cell.elements();
            assert!(elements[0] != Fr::ZERO || elements == [Fr::ZERO; WIDTH], "{cell:?}");
        }
    }

    #[test]
    fn sponge_absorbs_block_after_block() {
        let input: [Fr; 9] = array::from_fn(|i| Fr::from(i as u64 + 3));
        let mut state = [Fr::ZERO; WIDTH];
        state[7] = Fr::from((1u128 << 64) + 9);
        for i in 0..7 {
            state[i] += input[i];
        }
        permute(&mut state);
        state[0] += input[7];
        state[1] += input[8];
        permute(&mut state);
        assert_eq!(hash(Domain::Data, &input), state[0]);
    }
}
