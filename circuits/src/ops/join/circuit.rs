//! The circuit of JOIN. The numbers are those of the [module](super).

use crate::{
    ops::pools,
    step::{Integer, StepCircuit},
};

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("JOIN R1, no fact");
    pools::require_no_fact(step);
    step.relation("JOIN R2, reserves");
    let dx = step.range(step.lane_of_first(), 63);
    let dy = step.range(step.lane_of_second(), 63);
    let x = step.range(step.amount() + dx.clone(), 63);
    let y = step.range(step.second_amount() + dy.clone(), 63);
    step.set_amount(x);
    step.set_second_amount(y);
    step.relation("JOIN R3, shares");
    let minted = step.integer(64);
    let by_second = step.integer(1);
    let [of_first, of_second] = [(dx, step.amount()), (dy, step.second_amount())].map(|(paid, held)| {
        // Products of 127 and at most 128 bits.
        let whole = step.product(paid, step.count());
        let given = step.product(minted.clone(), held);
        whole - given
    });
    // Where the second token is the scarcer one, what the first leaves is at least x, and what the second leaves below
    // y; else what the first leaves is below x.
    let at_least = step.product(step.amount(), by_second.clone());
    step.range(of_first.clone() - at_least, 128);
    step.range(of_second.clone(), 128);
    let below = step.amount() - of_first;
    let change = step.product(step.second_amount() - of_second - below.clone(), by_second);
    step.range(below + change - Integer::constant(1), 63);
    let shares = step.range(step.count() + minted, 64);
    step.set_supply(shares);
}
