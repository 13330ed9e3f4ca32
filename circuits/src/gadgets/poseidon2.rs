//! Poseidon2 in rows: the twin of [`taproof_verifier::poseidon2`].
//!
//! Only S-boxes cost rows, three each: x^2, x^4 and x^5; the layers between them are linear. One permutation has 8 x 8
//! full and 57 partial S-boxes: 363 rows.

use crate::cs::{ConstraintSystem, Variable};
use taproof_verifier::poseidon2::{
    Domain, FULL_ROUND_CONSTANTS, FULL_ROUNDS, INTERNAL_DIAGONAL, PARTIAL_ROUND_CONSTANTS, PARTIAL_ROUNDS, RATE, WIDTH,
};

/// The rows of one permutation.
pub const ROWS_PER_PERMUTATION: usize = 3 * (FULL_ROUNDS * WIDTH + PARTIAL_ROUNDS);

/// Applies the permutation; [`ROWS_PER_PERMUTATION`] rows.
pub fn permute<CS: ConstraintSystem>(cs: &mut CS, state: &mut [CS::Var; WIDTH]) {
    external_layer(state);
    let (first, last) = FULL_ROUND_CONSTANTS.split_at(FULL_ROUNDS / 2);
    for constants in first {
        full_round(cs, state, constants);
    }
    for constant in &PARTIAL_ROUND_CONSTANTS {
        state[0] += (*constant).into();
        state[0] = sbox(cs, &state[0]);
        let mut sum = state[0].clone();
        state[1..].iter().for_each(|element| sum += element.clone());
        for (element, diagonal) in state.iter_mut().zip(INTERNAL_DIAGONAL) {
            *element = element.clone() * diagonal + sum.clone();
        }
    }
    for constants in last {
        full_round(cs, state, constants);
    }
}

/// Hashes exactly eight variables to one, with feed-forward: [`taproof_verifier::poseidon2::compress`].
pub fn compress<CS: ConstraintSystem>(cs: &mut CS, input: &[CS::Var; WIDTH]) -> CS::Var {
    let mut state = input.clone();
    permute(cs, &mut state);
    let [first, ..] = state;
    first + input[0].clone()
}

/// Hashes any number of variables in a domain: [`taproof_verifier::poseidon2::hash`].
pub fn hash<CS: ConstraintSystem>(cs: &mut CS, domain: Domain, input: &[CS::Var]) -> CS::Var {
    let mut state: [CS::Var; WIDTH] = core::array::from_fn(|_| CS::Var::zero());
    state[RATE] = domain.capacity(input.len()).into();
    if input.is_empty() {
        permute(cs, &mut state);
    }
    for block in input.chunks(RATE) {
        for (element, absorbed) in state.iter_mut().zip(block) {
            *element += absorbed.clone();
        }
        permute(cs, &mut state);
    }
    let [first, ..] = state;
    first
}

fn full_round<CS: ConstraintSystem>(cs: &mut CS, state: &mut [CS::Var; WIDTH], constants: &[ark_bn254::Fr; WIDTH]) {
    for (element, constant) in state.iter_mut().zip(constants) {
        *element += (*constant).into();
        *element = sbox(cs, element);
    }
    external_layer(state);
}

/// The long combination stands in A and B of the square and in B of the last row: its wires are in B already, and x^4
/// then is in no row of B, which keeps it out of the sum in G2.
fn sbox<CS: ConstraintSystem>(cs: &mut CS, x: &CS::Var) -> CS::Var {
    let x2 = cs.product(x, x);
    let x4 = cs.product(&x2, &x2);
    cs.product(&x4, x)
}

/// The external matrix circ(2 M, M) of the native permutation.
fn external_layer<V: Variable>(state: &mut [V; WIDTH]) {
    let (low, high) = state.split_at_mut(WIDTH / 2);
    small_matrix(low);
    small_matrix(high);
    for (a, b) in low.iter_mut().zip(high) {
        let sum = a.clone() + b.clone();
        *a += sum.clone();
        *b += sum;
    }
}

/// Multiplies four elements by M = ((5, 7, 1, 3), (4, 6, 1, 1), (1, 3, 5, 7), (1, 1, 4, 6)).
fn small_matrix<V: Variable>(x: &mut [V]) {
    let double = |v: V| v.clone() + v;
    let ab = x[0].clone() + x[1].clone();
    let cd = x[2].clone() + x[3].clone();
    let b2_cd = double(x[1].clone()) + cd.clone();
    let d2_ab = double(x[3].clone()) + ab.clone();
    let last = double(double(cd)) + d2_ab.clone();
    let second = double(double(ab)) + b2_cd.clone();
    x[0] = d2_ab + second.clone();
    x[1] = second;
    x[2] = b2_cd + last.clone();
    x[3] = last;
}
