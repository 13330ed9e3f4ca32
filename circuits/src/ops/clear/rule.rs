//! The native rule of CLEAR. The numbers are those of the [module](super).

use crate::{
    ops::pools,
    step::{Refusal, Step},
};
use taproof_verifier::cell::{Cell, Holding, Pool};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let pool = step.pool()?;
    let cell = step.record().cell;
    let open = step.registers().session.filter(|open| open.pool == cell).ok_or(Refusal::NoSession(cell))?; // R1
    let (before, _) = pools::checked(&pool)?;
    let [x, y] = [pool.first, pool.second].map(|holding| step.in_motion(holding.token));
    let after = open.session.clear(before, x, y)?; // R1, R2, R3
    step.integer(after.x(), 63);
    step.integer(after.y(), 63);
    step.integer(after.product() - before.product(), 126);
    step.set_session(None);
    step.put(Cell::Pool(Pool {
        first: Holding { balance: after.x(), ..pool.first },
        second: Holding { balance: after.y(), ..pool.second },
        at_last_session: [after.x(), after.y()], // R4
        ..pool
    }));
    Ok(())
}
