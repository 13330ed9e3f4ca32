//! The circuit of SESSION. The numbers are those of the [module](super).

use crate::{
    exchange::{ADVANCE_BLOCKS_MAX, FEE_UNIT, Price},
    ops::pools,
    step::{Expression, Integer, StepCircuit, place},
};
use ark_bn254::Fr;
use ark_ff::Field;

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("SESSION R2, nothing in motion");
    pools::require_nothing_in_motion(step);
    pools::require_no_fact(step);
    step.relation("SESSION R3, average before");
    let [low, reach] = [3, 93].map(|width| step.integer(width));
    let last = step.integer(32);
    let average = Integer::pack([(low, 3), (reach.clone(), 93)]);
    step.require_equal(step.own(1), Integer::pack([(average.clone(), 96), (last.clone(), 32)]));
    let [fee, weight, memory] = pools::parameters_in_circuit(step);
    step.relation("SESSION R1, height");
    let blocks = blocks_passed(step, last);
    let held = held_price(step, &average, &reach);
    let average = advanced(step, average, memory, blocks, held);
    step.set_own(1, Integer::pack([(average, 96), (step.height(), 32)]));

    step.relation("SESSION R4, terms");
    let unit = Fr::from(FEE_UNIT);
    let weight = step.product(weight, Expression::from(unit) - fee.clone());
    // 16 bits and 64 make 80: N and D cannot wrap.
    let of_first = step.product(weight.clone(), step.a());
    let of_second = step.product(weight, step.b());
    let registers = [
        (place::POOL, step.cell().expression()),
        (place::POOL_TOKENS[0], step.token().expression()),
        (place::POOL_TOKENS[1], step.second_token().expression()),
        (place::NUMERATOR, step.second_amount() * unit + of_second),
        (place::DENOMINATOR, step.amount() * unit + of_first),
        (place::UNPAID[0], step.a().expression()),
        (place::UNPAID[1], step.b().expression()),
        (place::POOL_FEE, fee.expression()),
    ];
    for (register, value) in registers {
        step.set_register(register, value);
    }
}

/// The blocks since the last session, at least one and at most 2^16.
fn blocks_passed(step: &mut StepCircuit, last: Integer) -> Expression {
    let one = || Integer::constant(1);
    let passed = step.height() - last;
    step.range(passed.clone() - one(), 32);
    let is_long = step.integer(1);
    let most = Expression::from(Fr::from(ADVANCE_BLOCKS_MAX));
    // 2^16 - passed, or passed - 2^16 - 1.
    let less = most.clone() - passed.clone();
    let turned = step.product(less.clone() + less.clone() + one(), is_long.clone());
    step.range(less.clone() - turned, 32);
    step.product(less, is_long) + passed
}

/// The spot price before the session, held within an eighth of the average.
///
/// The price held is the lower bound plus an integer, and leaves an integer below the upper one. y 2^48 - held x is at
/// least x where it is above the bounds and so held to the upper one, negative where it is held to the lower one, and
/// else a remainder below x.
fn held_price(step: &mut StepCircuit, average: &Integer, reach: &Integer) -> Expression {
    step.relation("SESSION R3, price within bounds");
    let one = || Integer::constant(1);
    let above_lowest = step.integer(94);
    let held = average.clone() - reach.clone() + above_lowest.clone();
    let below_highest = step.range(reach.clone() + reach.clone() - above_lowest.clone(), 94);
    let [is_above, is_below] = [1, 1].map(|width| step.integer(width));
    step.relation("SESSION R3, spot price");
    let both = step.product(is_above.clone(), is_below.clone());
    step.require_zero(both);
    for (bound, distance) in [(&is_above, below_highest), (&is_below, above_lowest)] {
        let off_bound = step.product(bound.clone(), distance);
        step.require_zero(off_bound);
    }
    // At most 9/8 of 2^96, times a reserve of 63 bits: 160 bits.
    let multiple = step.product(held.clone(), step.amount());
    let rest = step.second_amount() * Fr::from(2u64).pow([48]) - multiple;
    let turned = step.product(rest.clone() + rest.clone() + one(), is_below.clone());
    let beyond = step.product(step.amount(), is_above.clone());
    let [low, high] = [128, 32].map(|width| step.integer(width));
    step.require_equal(rest.clone() - turned - beyond, Integer::pack([(low, 128), (high, 32)]));
    let is_within = one() - is_above - is_below;
    let below_x = step.product(step.amount() - one() - rest, is_within);
    step.range(below_x, 64);
    held
}

/// (average memory + held blocks) / (memory + blocks), within the bounds of an average.
fn advanced(
    step: &mut StepCircuit,
    average: Integer,
    memory: Integer,
    blocks: Expression,
    held: Expression,
) -> Integer {
    step.relation("SESSION R3, average after");
    let one = || Integer::constant(1);
    // Products of 112 and at most 114 bits; 97 bits of a quotient and 17 of the weights make 114.
    let of_past = step.product(average, memory.clone());
    let of_held = step.product(held, blocks.clone());
    let weights = memory + blocks;
    let low = step.integer(96);
    let is_high = step.integer(1);
    let quotient = Integer::pack([(low.clone(), 96), (is_high.clone(), 1)]);
    let remainder = step.integer(17);
    let multiple = step.product(quotient.clone(), weights.clone());
    step.require_equal(of_past + of_held, multiple + remainder.clone());
    step.range(weights - remainder - one(), 17);
    let highest = Integer::constant(Price::MAX.bits());
    let at_most = step.select(&is_high, &highest, &low);
    let least = Integer::constant(Price::AVERAGE_MIN.bits());
    let is_low = step.integer(1);
    // quotient - least, or least - 1 - quotient.
    let beyond = quotient - least.clone();
    let turned = step.product(beyond.clone() + beyond.clone() + one(), is_low.clone());
    step.range(beyond - turned, 97);
    step.select(&is_low, &least, &at_most)
}
