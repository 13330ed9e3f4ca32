//! The circuit of READ. The numbers are those of the [module](super).

use super::Read;
use crate::{
    ops::pools,
    step::{Expression, Integer, StepCircuit, place},
};
use ark_bn254::Fr;
use ark_ff::Field;

pub(super) fn synthesize(step: &mut StepCircuit) {
    let inverse = step.flag(Read::INVERSE);
    let power = || Expression::from(Fr::from(2u64).pow([48]));
    step.relation("READ R1, height");
    pools::require_no_fact(step);
    let [x_then, y_then] = [64, 64].map(|width| step.integer(width));
    step.require_equal(step.own(0), Integer::pack([(x_then.clone(), 64), (y_then.clone(), 64)]));
    let [average, last] = [96, 32].map(|width| step.integer(width));
    step.require_equal(step.own(1), Integer::pack([(average.clone(), 96), (last.clone(), 32)]));
    step.range(step.height() - last.clone() - Integer::constant(1), 32);
    step.relation("READ R2, average");
    // A power of 2^96; 65 bits of a quotient and 96 of a divisor make 161.
    let [inverted, _] = step.multiply_divide([power(), power()], average.clone(), 65, 96);
    let average = step.select(&inverse, &inverted, &average);
    step.relation("READ R3, spot price");
    let quote = step.select(&inverse, &step.amount(), &step.second_amount());
    let base = step.amount() + step.second_amount() - quote.clone();
    // A product of 111 bits; 96 bits of a quotient and 63 of a divisor make 159.
    let [spot, _] = step.multiply_divide([quote.expression(), power()], base, 96, 63);
    step.relation("READ R4, reserve");
    let then = step.select(&inverse, &x_then, &y_then);
    let is_then = step.integer(1);
    // quote - 1 - then, or then - quote.
    let beyond = then.clone() - quote.clone();
    let turned = step.product(beyond.clone() + beyond.clone() + Integer::constant(1), is_then.clone());
    step.range(beyond - turned, 64);
    let reserve = step.select(&is_then, &then, &quote);
    step.relation("READ R5, fact");
    let base_token = step.select(&inverse, &step.second_token(), &step.token());
    let quote_token = step.token() + step.second_token() - base_token.clone();
    let fact: [Expression; 7] =
        [step.cell().into(), base_token.into(), quote_token, average.into(), spot.into(), reserve.into(), last.into()];
    for (register, value) in place::FACT.zip(fact) {
        step.set_register(register, value);
    }
}
