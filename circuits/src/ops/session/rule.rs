//! The native rule of SESSION. The numbers are those of the [module](super).

use crate::{
    exchange::{self, Advanced, Price},
    ops::pools,
    step::{OpenSession, Refusal, Step},
};
use taproof_verifier::{
    cell::{Cell, Pool},
    record::StepRecord,
};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let pool = step.pool()?;
    let StepRecord { cell, a, b, .. } = *step.record();
    let height_blocks = step.height_blocks();
    let (reserves, parameters) = pools::checked(&pool)?;
    pools::expect_nothing_in_motion(step)?; // R2
    pools::expect_no_fact(step)?;
    let average = Price::new(pool.average)?;
    let advanced = exchange::advance(average, reserves, &parameters, pool.last_height, height_blocks)?; // R1, R3
    advance_integers(step, &pool, &advanced, height_blocks);
    let session = exchange::Session::open(reserves, &parameters, a, b); // R4
    step.set_session(Some(OpenSession { pool: cell, tokens: [pool.first.token, pool.second.token], session }));
    step.put(Cell::Pool(Pool { average: advanced.average.bits(), last_height: height_blocks, ..pool }));
    Ok(())
}

/// What shows that the average advances as it should.
fn advance_integers(step: &mut Step<'_>, pool: &Pool, advanced: &Advanced, height_blocks: u32) {
    let Advanced { blocks, held, division, .. } = *advanced;
    let (reach, low_bits) = (pool.average >> 3, pool.average & 7);
    step.integer(low_bits, 3);
    step.integer(reach, 93);
    step.integer(pool.last_height, 32);
    step.integer(pool.fee, 14);
    step.integer(pool.weight, 2);
    step.integer(pool.averaging_blocks, 16);
    let passed = height_blocks - pool.last_height;
    let is_long = passed > blocks;
    step.integer(passed - 1, 32);
    step.integer(is_long, 1);
    step.integer(if is_long { passed - blocks - 1 } else { exchange::ADVANCE_BLOCKS_MAX - passed }, 32);
    let above_lowest = held - (pool.average - reach);
    step.integer(above_lowest, 94);
    step.integer(2 * reach - above_lowest, 94);
    // The quotient lies above, below or within the bounds: y 2^48 is compared with held x, which has up to 160 bits.
    let dividend = u128::from(pool.second.balance) << 48;
    let x = u128::from(pool.first.balance);
    let (high, low) = exchange::multiply(held, x);
    let is_below = high > 0 || dividend < low;
    let rest = if is_below { low.wrapping_sub(dividend + 1) } else { dividend - low };
    let rest_high = if is_below && low <= dividend { high - 1 } else { high };
    let is_above = !is_below && rest >= x;
    step.integer(is_above, 1);
    step.integer(is_below, 1);
    step.integer(if is_above { rest - x } else { rest }, 128);
    step.integer(rest_high, 32);
    step.integer(if is_above || is_below { 0 } else { x - 1 - rest }, 64);
    let weights = u128::from(pool.averaging_blocks) + u128::from(blocks);
    step.integer(division.quotient & Price::MAX.bits(), 96);
    step.integer(division.quotient >> 96, 1);
    step.integer(division.remainder, 17);
    step.integer(weights - 1 - division.remainder, 17);
    let least = Price::AVERAGE_MIN.bits();
    let is_low = division.quotient < least;
    step.integer(is_low, 1);
    step.integer(if is_low { least - 1 - division.quotient } else { division.quotient - least }, 97);
}
