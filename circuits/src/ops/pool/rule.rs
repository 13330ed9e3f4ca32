//! The native rule of POOL. The numbers are those of the [module](super).

use crate::{
    exchange::{self, FEE_MAX, Founded, MEMORY_BLOCKS_MAX, Parameters, Price, Reserves},
    step::{Refusal, Step},
};
use taproof_verifier::cell::{Cell, Holding, Pool};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let [first, second, _] = step.registers().lanes;
    if first.token >= second.token {
        return Err(Refusal::TokenOrder(first.token, second.token));
    }
    step.integer(second.token.0 - first.token.0 - 1, 32);
    let (x, y) = (step.whole_lane(first.token)?, step.whole_lane(second.token)?);
    let reserves = Reserves::new(x, y)?; // R1
    step.integer(x, 63);
    step.integer(y, 63);
    let Founded { shares, average, spot } = exchange::found(reserves)?; // R2, R3
    step.integer(shares - Pool::SHARES_LOCKED - 1, 63);
    let beyond_square = reserves.product() - u128::from(shares) * u128::from(shares);
    step.integer(beyond_square, 64);
    step.integer(2 * u128::from(shares) - beyond_square, 64);
    step.integer(spot.quotient, 96);
    step.integer(spot.remainder, 63);
    step.integer(u128::from(x) - spot.remainder - 1, 63);
    let least = Price::AVERAGE_MIN.bits();
    let is_low = spot.quotient < least;
    step.integer(is_low, 1);
    step.integer(if is_low { least - 1 - spot.quotient } else { spot.quotient - least }, 96);
    let c = step.record().c;
    let (fee, weight, blocks) = ((c & 0x3fff) as u16, (c >> 14 & 3) as u8, (c >> 16 & 0xffff) as u16);
    if c >> 32 != 0 {
        return Err(Refusal::Overflow { what: "the parameters", width_bits: 32 });
    }
    Parameters::new(fee, weight, blocks)?; // R4
    step.integer(fee, 14);
    step.integer(weight, 2);
    step.integer(blocks, 16);
    step.integer(FEE_MAX - fee, 14);
    step.integer(blocks - 1, 5);
    step.integer(MEMORY_BLOCKS_MAX - blocks, 5);
    step.integer(shares, 64);
    let last_height = step.height_blocks();
    step.put(Cell::Pool(Pool {
        supply: shares,
        first: Holding { token: first.token, balance: x },
        second: Holding { token: second.token, balance: y },
        at_last_session: [x, y], // R5
        average: average.bits(),
        last_height,
        fee,
        weight,
        averaging_blocks: blocks,
    }));
    Ok(())
}
