//! The circuit of OPEN. The numbers are those of the [module](super).

use super::Open;
use crate::step::StepCircuit;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("OPEN R1, token");
    let token = step.range(step.c(), 32);
    step.set_token(token);
    step.relation("OPEN R2, amount");
    let rest = step.flag(Open::REST);
    let posted = step.product(step.a(), rest.clone());
    step.require_zero(posted);
    let of_lane = step.product(step.lane_of_first(), rest);
    let amount = step.range(step.a() + of_lane, 64);
    step.set_amount(amount.clone());
    step.relation("OPEN R3, owner's key");
    let [x, y] = step.new_key();
    step.require_equal(x.clone(), step.word());
    step.set_own(0, x);
    step.set_own(1, y);
    step.relation("OPEN R5, least");
    step.demand(amount);
}
