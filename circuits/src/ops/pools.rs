//! What the operations on pools share: what a pool's cell packs, and what a session excludes. Rule and circuit.

use crate::{
    exchange::{Parameters, Reserves},
    step::{Integer, LANES, Refusal, Step, StepCircuit, place},
};
use taproof_verifier::cell::Pool;

/// A pool's reserves and parameters, as founding and every session leave them.
pub(crate) fn checked(pool: &Pool) -> Result<(Reserves, Parameters), Refusal> {
    let reserves = Reserves::new(pool.first.balance, pool.second.balance)?;
    Ok((reserves, Parameters::new(pool.fee, pool.weight, pool.averaging_blocks)?))
}

/// That all lanes have the value zero.
pub(super) fn expect_nothing_in_motion(step: &Step<'_>) -> Result<(), Refusal> {
    match step.registers().lanes.iter().find(|lane| lane.value != 0) {
        Some(lane) => Err(Refusal::LaneValue { token: lane.token, value: lane.value.into() }),
        None => Ok(()),
    }
}

/// The twin of [`expect_nothing_in_motion`].
pub(super) fn require_nothing_in_motion(step: &mut StepCircuit) {
    for lane in 0..LANES {
        step.require_zero(step.register(place::LANE_VALUE[lane]));
    }
}

/// That no fact is noted: it would be one of a pool that is about to change.
pub(super) fn expect_no_fact(step: &Step<'_>) -> Result<(), Refusal> {
    if step.registers().fact.is_some() { Err(Refusal::FactTaken) } else { Ok(()) }
}

/// The twin of [`expect_no_fact`].
pub(super) fn require_no_fact(step: &mut StepCircuit) {
    step.require_zero(step.register(place::FACT.start));
}

/// A pool's fee, weight and averaging blocks, from the pool of bits.
pub(super) fn parameters_in_circuit(step: &mut StepCircuit) -> [Integer; 3] {
    let [fee, weight, blocks] = [14, 2, 16].map(|width| step.integer(width));
    let packed = Integer::pack([(fee.clone(), 14), (weight.clone(), 2), (blocks.clone(), 16)]);
    step.require_equal(step.own(2), packed);
    [fee, weight, blocks]
}

#[cfg(test)]
mod tests;
