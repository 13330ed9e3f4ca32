//! The circuit of PAY. The numbers are those of the [module](super).

use super::{super::spend, Pay};
use crate::step::{Integer, StepCircuit, place};

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("PAY R1, nonce or ticket");
    spend::start_in_circuit(step, |step, place| step.require_equal(step.c(), place));
    step.relation("PAY R3, height");
    step.until();
    step.relation("PAY R2, holdings");
    spend::spend_in_circuit(step, None);
    step.relation("PAY R4, what is in motion");
    let alone = Integer::constant(1) - step.flag(Pay::JOINT);
    for lane in place::LANE_VALUE {
        let value = step.product(step.register(lane), alone.clone());
        step.require_zero(value);
    }
}
