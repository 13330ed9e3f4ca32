//! The circuit of TOKEN. The numbers are those of the [module](super).

use crate::{
    ops::wide,
    step::{Integer, StepCircuit},
};
use taproof_verifier::cell::TokenCell;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("TOKEN R1, decimal places");
    let decimals = step.range(step.c(), 5);
    step.range(Integer::constant(TokenCell::DECIMALS_MAX.into()) - decimals.clone(), 5);
    step.relation("TOKEN R3, name");
    let name = wide::integer_in_circuit(step);
    step.require_equal(step.word(), name);
    step.set_own(0, step.word());
    step.relation("TOKEN R2, unit");
    step.require_zero(step.b());
    step.set_own(1, Integer::pack([(step.a(), 64), (step.signer(), 32), (decimals, 8)]));
}
