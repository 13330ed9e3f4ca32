//! The native rule of READ. The numbers are those of the [module](super).

use super::Read;
use crate::{
    exchange::{AverageError, Price, Reserves},
    ops::pools,
    step::{Fact, Refusal, Step},
};
use taproof_verifier::cell::Cell;

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let pool = step.pool()?;
    pools::expect_no_fact(step)?;
    pools::checked(&pool)?;
    let (height, last) = (step.height_blocks(), pool.last_height);
    if last >= height {
        return Err(AverageError { height, last }.into());
    } // R1
    let inverse = step.flag(Read::INVERSE);
    let [x_then, y_then] = pool.at_last_session;
    let (base, quote, quote_then) =
        if inverse { (pool.second, pool.first, x_then) } else { (pool.first, pool.second, y_then) };
    step.integer(x_then, 64);
    step.integer(y_then, 64);
    step.integer(pool.average, 96);
    step.integer(last, 32);
    step.integer(height - last - 1, 32);
    let inverted = step.multiply_divide([1 << 48, 1 << 48], pool.average, 65, 96)?;
    let average = if inverse { inverted } else { pool.average }; // R2
    Price::spot(Reserves::new(base.balance, quote.balance)?)?;
    let spot = step.multiply_divide([quote.balance.into(), 1 << 48], base.balance.into(), 96, 63)?; // R3
    let reserve = quote.balance.min(quote_then);
    let is_then = quote_then < quote.balance;
    step.integer(is_then, 1);
    let (low, high) = if is_then { (quote_then, quote.balance - 1) } else { (quote.balance, quote_then) };
    step.integer(high - low, 64); // R4
    let (cell, base, quote) = (step.record().cell, base.token, quote.token);
    step.set_fact(Fact { cell, base, quote, average, spot, reserve, height_blocks: last }); // R5
    step.put(Cell::Pool(pool));
    Ok(())
}
