//! The circuit of CLEAR. The numbers are those of the [module](super).

use crate::step::{Expression, Integer, StepCircuit, place};

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("CLEAR R1, session");
    step.require_equal(step.register(place::POOL), step.cell());
    for place in place::UNPAID {
        step.require_zero(step.register(place));
    }
    for place in place::POOL..=place::POOL_FEE {
        step.set_register(place, Expression::default());
    }
    step.relation("CLEAR R2, reserves");
    // That none of them is zero follows from R3.
    let x = step.range(step.amount() + step.lane_of_first(), 63);
    let y = step.range(step.second_amount() + step.lane_of_second(), 63);
    step.relation("CLEAR R3, product");
    // Products of 126 bits, as each reserve has 63.
    let before = step.product(step.amount(), step.second_amount());
    let product = step.product(x.clone(), y.clone());
    step.range(product - before, 126);
    step.relation("CLEAR R4, after the last session");
    step.set_own(0, Integer::pack([(x.clone(), 64), (y.clone(), 64)]));
    step.set_amount(x);
    step.set_second_amount(y);
}
