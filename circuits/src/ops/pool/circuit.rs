//! The circuit of POOL. The numbers are those of the [module](super).

use crate::{
    exchange::{FEE_MAX, MEMORY_BLOCKS_MAX, Price},
    step::{Integer, StepCircuit},
};
use ark_bn254::Fr;
use ark_ff::Field;
use taproof_verifier::cell::Pool;

pub(super) fn synthesize(step: &mut StepCircuit) {
    let one = || Integer::constant(1);
    step.relation("POOL R1, tokens");
    let [first, second] = [0, 1].map(|lane| step.lane_token(lane));
    step.range(second.clone() - first.clone() - one(), 32);
    step.set_token(first);
    step.set_second_token(second);
    step.relation("POOL R1, reserves");
    let x = step.range(step.lane_of_first(), 63);
    let y = step.range(step.lane_of_second(), 63);
    step.relation("POOL R2, shares");
    // More than 1,000, so that neither reserve is zero. With x y = S^2 + d, 0 <= d <= 2 S.
    let more = step.integer(63);
    let shares = more + Integer::constant(u128::from(Pool::SHARES_LOCKED) + 1);
    // Products of at most 127 and 126 bits.
    let square = step.product(shares.clone(), shares.clone());
    let product = step.product(x.clone(), y.clone());
    let beyond = step.range(product - square, 64);
    step.range(shares.clone() + shares.clone() - beyond, 64);
    let power = Fr::from(2u64).pow([48]);
    step.relation("POOL R3, average");
    // A product of 111 bits; 96 bits of a quotient and 63 of a divisor make 159.
    let [spot, _] = step.multiply_divide([y.expression(), power.into()], x.clone(), 96, 63);
    let least = Integer::constant(Price::AVERAGE_MIN.bits());
    let is_low = step.integer(1);
    // spot - least, or least - 1 - spot.
    let beyond = spot.clone() - least.clone();
    let turned = step.product(beyond.clone() + beyond.clone() + one(), is_low.clone());
    step.range(beyond - turned, 96);
    let average = step.select(&is_low, &least, &spot);
    step.relation("POOL R4, parameters");
    let [fee, weight, blocks] = [14, 2, 16].map(|width| step.integer(width));
    let parameters = Integer::pack([(fee.clone(), 14), (weight.clone(), 2), (blocks.clone(), 16)]);
    step.require_equal(step.c(), parameters.clone());
    step.range(Integer::constant(FEE_MAX.into()) - fee, 14);
    let is_neither = step.product(weight.clone() - one(), weight - Integer::constant(2));
    step.require_zero(is_neither);
    step.range(blocks.clone() - one(), 5);
    step.range(Integer::constant(MEMORY_BLOCKS_MAX.into()) - blocks, 5);
    step.relation("POOL R5, last session");
    step.set_own(0, Integer::pack([(x.clone(), 64), (y.clone(), 64)]));
    step.set_own(1, Integer::pack([(average, 96), (step.height(), 32)]));
    step.set_own(2, parameters);
    step.set_amount(x);
    step.set_second_amount(y);
    // An integer of 63 bits and 1,001 has 64, and S^2 <= x y keeps it below 2^63.
    step.relation("POOL R2, shares");
    let shares = step.range(shares, 64);
    step.set_supply(shares);
}
