//! The circuit of BURN. The numbers are those of the [module](super).

use crate::step::StepCircuit;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("BURN R1, supply");
    let supply = step.range(step.count() - step.a(), 64);
    step.set_supply(supply);
    step.relation("BURN R2, unit");
    step.require_zero(step.own(2));
}
