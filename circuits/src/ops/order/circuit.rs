//! The circuit of ORDER. The numbers are those of the [module](super).

use super::Order;
use crate::{
    exchange::FEE_UNIT,
    ops::spend,
    step::{Expression, Integer, StepCircuit, flag, place},
};
use ark_bn254::Fr;
use ark_ff::Field;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("ORDER R1, clause of its own");
    step.require_equal(step.flag(flag::END), Integer::constant(1));
    step.relation("ORDER R2, nonce or ticket");
    spend::start_in_circuit(step, |step, place_of_ticket| {
        step.relation("ORDER R1, pool");
        let shifted = place_of_ticket * Fr::from(2u64).pow([Order::PLACE_BIT.into()]);
        step.require_equal(step.c(), step.register(place::POOL) + shifted);
    });
    step.relation("ORDER R2, height");
    step.until();
    let [second, sells_second] = [flag::SECOND, Order::SELLS_SECOND].map(|flag| step.flag(flag));
    step.relation("ORDER R3, tokens");
    let [first_token, second_token] = place::POOL_TOKENS.map(|place| step.register(place));
    let change = step.product(second_token.clone() - first_token.clone(), sells_second.clone());
    let sells = first_token.clone() + change.clone();
    let buys = second_token - change;
    let pays = step.select(&second, &step.second_token(), &step.token());
    let gets = step.token() + step.second_token() - pays.clone();
    step.require_equal(pays, sells);
    step.require_equal(gets, buys);
    step.relation("ORDER R4, what is to be paid in");
    let unpaid = place::UNPAID.map(|place| step.register(place));
    let [first, other] = unpaid.clone();
    let of_side = step.product(other - first.clone(), sells_second.clone()) + first;
    let left = step.range(of_side.clone() - step.a(), 64);
    let paid = of_side - left;
    let paid_second = step.product(paid.clone(), sells_second.clone());
    let [first, other] = unpaid;
    step.set_register(place::UNPAID[0], first - paid + paid_second.clone());
    step.set_register(place::UNPAID[1], other - paid_second);
    step.relation("ORDER R5, what the order gets");
    let unit = Fr::from(FEE_UNIT);
    let [numerator, denominator] = [place::NUMERATOR, place::DENOMINATOR].map(|place| step.register(place));
    let change = step.product(denominator.clone() - numerator.clone(), sells_second);
    let (bought, sold) = (numerator + change.clone(), denominator - change);
    // N and D are below 2^79: products of 78 and 157 bits, and as many of quotient and divisor.
    let kept = step.product(step.a(), Expression::from(unit) - step.register(place::POOL_FEE));
    let [output, _] = step.multiply_divide([kept, bought], sold * unit, 64, 93);
    step.relation("ORDER R6, holdings");
    spend::spend_in_circuit(step, Some(output.clone()));
    step.relation("ORDER R7, least");
    step.demand(output);
}
