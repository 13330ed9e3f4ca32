//! The circuit of EXIT. The numbers are those of the [module](super).

use crate::{
    ops::pools,
    step::{Integer, StepCircuit},
};
use taproof_verifier::cell::Pool;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("EXIT R1, no fact");
    pools::require_no_fact(step);
    step.relation("EXIT R2, shares");
    let given = step.range(step.lane_of_own(), 64);
    let left = step.count() - given.clone();
    step.range(left.clone() - Integer::constant(Pool::SHARES_LOCKED.into()), 64);
    step.relation("EXIT R3, reserves");
    let [first, second] = [step.amount(), step.second_amount()].map(|reserve| {
        // A product of 128 bits, and as many of quotient and divisor.
        let factors = [given.expression(), reserve.expression()];
        let [part, _] = step.multiply_divide(factors, step.count(), 64, 64);
        reserve - part
    });
    let x = step.range(first, 63);
    let y = step.range(second, 63);
    step.set_amount(x);
    step.set_second_amount(y);
    let shares = step.range(left, 64);
    step.set_supply(shares);
}
