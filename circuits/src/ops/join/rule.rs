//! The native rule of JOIN. The numbers are those of the [module](super).

use crate::{
    exchange::{self, Joined},
    ops::pools,
    step::{Refusal, Step},
};
use taproof_verifier::cell::{Cell, Holding, Pool};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let pool = step.pool()?;
    pools::expect_no_fact(step)?; // R1
    let (reserves, _) = pools::checked(&pool)?;
    let [dx, dy] = [pool.first, pool.second].map(|holding| step.whole_lane(holding.token));
    let (dx, dy) = (dx?, dy?);
    let Joined { minted, shares, reserves: after } = exchange::join(reserves, pool.supply, dx, dy)?; // R2, R3
    for value in [dx, dy, after.x(), after.y()] {
        step.integer(value, 63);
    }
    step.integer(minted, 64);
    let rest =
        |paid: u64, held: u64| u128::from(paid) * u128::from(pool.supply) - u128::from(minted) * u128::from(held);
    let (x, y) = (u128::from(reserves.x()), u128::from(reserves.y()));
    let (of_first, of_second) = (rest(dx, reserves.x()), rest(dy, reserves.y()));
    let by_second = of_first >= x;
    step.integer(by_second, 1);
    step.integer(if by_second { of_first - x } else { of_first }, 128);
    step.integer(of_second, 128);
    step.integer(if by_second { y - 1 - of_second } else { x - 1 - of_first }, 63);
    step.integer(shares, 64);
    step.put(Cell::Pool(Pool {
        supply: shares,
        first: Holding { balance: after.x(), ..pool.first },
        second: Holding { balance: after.y(), ..pool.second },
        ..pool
    }));
    Ok(())
}
