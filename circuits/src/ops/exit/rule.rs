//! The native rule of EXIT. The numbers are those of the [module](super).

use crate::{
    exchange::{self, Exited},
    ops::pools,
    step::{Refusal, Step},
};
use taproof_verifier::cell::{Cell, Holding, Pool, Token};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let pool = step.pool()?;
    pools::expect_no_fact(step)?; // R1
    let (reserves, _) = pools::checked(&pool)?;
    let given = step.whole_lane(Token(step.record().cell.get()))?;
    let Exited { shares, reserves: after, .. } = exchange::exit(reserves, pool.supply, given)?; // R2, R3
    step.integer(given, 64);
    step.integer(shares - Pool::SHARES_LOCKED, 64);
    for reserve in [reserves.x(), reserves.y()] {
        step.multiply_divide([given.into(), reserve.into()], pool.supply.into(), 64, 64)?;
    }
    step.integer(after.x(), 63);
    step.integer(after.y(), 63);
    step.integer(shares, 64);
    step.put(Cell::Pool(Pool {
        supply: shares,
        first: Holding { balance: after.x(), ..pool.first },
        second: Holding { balance: after.y(), ..pool.second },
        ..pool
    }));
    Ok(())
}
