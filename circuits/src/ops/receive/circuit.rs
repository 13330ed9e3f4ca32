//! The circuit of RECEIVE. The numbers are those of the [module](super).

use super::Receive;
use crate::step::{DUES, StepCircuit, flag, place};

pub(super) fn synthesize(step: &mut StepCircuit) {
    let [second, rest, due] = [flag::SECOND, Receive::REST, Receive::DUE].map(|flag| step.flag(flag));
    step.relation("RECEIVE R1, amount");
    let both = step.product(rest.clone(), due.clone());
    step.require_zero(both);
    let either = rest.expression() + due.expression();
    let posted = step.product(step.a(), either);
    step.require_zero(posted);
    let [first_lane, second_lane] = [step.lane_of_first(), step.lane_of_second()];
    let lane = step.product(second_lane - first_lane.clone(), second.clone()) + first_lane;
    let of_lane = step.product(lane, rest);
    let of_due = step.product(step.register(place::DUE_AMOUNT[0]), due.clone());
    let amount = step.range(step.a() + of_lane + of_due, 64);
    step.relation("RECEIVE R2, holding");
    let balance = step.product(step.second_amount() - step.amount(), second.clone()) + step.amount();
    let balance = step.range(balance + amount.clone(), 64);
    // The one that is not credited stays.
    let first_after = step.select(&second, &step.amount(), &balance);
    let second_after = step.select(&second, &balance, &step.second_amount());
    step.set_amount(first_after);
    step.set_second_amount(second_after);
    step.relation("RECEIVE R3, least");
    step.demand(amount);
    step.relation("RECEIVE R4, what is owed");
    let token = step.select(&second, &step.second_token(), &step.token());
    for (found, needed) in
        [(place::DUE_ACCOUNT[0], step.cell().expression()), (place::DUE_TOKEN[0], token.expression())]
    {
        let difference = step.product(step.register(found) - needed, due.clone());
        step.require_zero(difference);
    }
    for places in [place::DUE_ACCOUNT, place::DUE_TOKEN, place::DUE_AMOUNT] {
        for number in 0..DUES {
            let next = places.get(number + 1).map(|next| step.register(*next)).unwrap_or_default();
            let register = step.register(places[number]);
            let change = step.product(next - register.clone(), due.clone());
            step.set_register(places[number], register + change);
        }
    }
    step.relation("RECEIVE R5, second token");
    step.range(step.second_token() - second, 32);
    step.relation("RECEIVE R6, signer's key");
    let own = step.flag(Receive::OWN);
    for (place, coordinate) in step.signer_key().into_iter().enumerate() {
        let difference = step.product(step.own(place) - coordinate, own.clone());
        step.require_zero(difference);
    }
}
