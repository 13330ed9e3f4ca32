//! The native rule of ORDER. The numbers are those of the [module](super).

use super::Order;
use crate::{
    exchange::{FEE_UNIT, FillError, Side},
    ops::spend,
    step::{OpenSession, Refusal, Step, flag},
};
use taproof_verifier::{
    cell::{Cell, CellIndex},
    record::StepRecord,
};

pub(super) fn apply(step: &mut Step<'_>) -> Result<(), Refusal> {
    let StepRecord { a: amount, c, .. } = *step.record();
    let account = step.account()?;
    let named = CellIndex::new(c as u32).unwrap_or_default();
    let open = step.registers().session.filter(|open| u64::from(open.pool.get()) == u64::from(c as u32));
    let mut open = open.ok_or(Refusal::NoSession(named))?; // R1
    if !step.flag(flag::END) {
        return Err(Refusal::NotEnded);
    }
    let account = spend::start(step, account, c >> Order::PLACE_BIT)?; // R2
    let side = if step.flag(Order::SELLS_SECOND) { Side::Y } else { Side::X };
    let OpenSession { tokens: [first, second], ref mut session, .. } = open;
    let (sells, buys) = if side == Side::Y { (second, first) } else { (first, second) };
    let held = [account.token, account.second.token];
    let [pays, gets] = if step.flag(flag::SECOND) { [held[1], held[0]] } else { held };
    for (expected, found) in [(sells, pays), (buys, gets)] {
        if expected != found {
            return Err(Refusal::WrongToken { expected, found });
        }
    } // R3
    let unpaid = if side == Side::Y { &mut session.unpaid_y } else { &mut session.unpaid_x };
    let refusal = FillError::Unexpected { amount, unpaid: *unpaid }.into();
    *unpaid = step.difference(*unpaid, amount.into(), refusal)?; // R4
    let (bought, sold) = if side == Side::Y { (session.d, session.n) } else { (session.n, session.d) };
    // Of a session that was opened neither is too large.
    let kept = FEE_UNIT.checked_sub(session.fee).ok_or(FillError::Session)?;
    let divisor = sold.checked_mul(FEE_UNIT.into()).ok_or(FillError::Session)?;
    let output = step.multiply_divide([u128::from(amount) * u128::from(kept), bought], divisor, 64, 93)?; // R5
    let output = u64::try_from(output).expect("a quotient of 64 bits");
    let account = spend::spend(step, account, output)?; // R6
    step.demand(gets, output)?; // R7
    step.set_session(Some(open));
    step.put(Cell::Account(account));
    Ok(())
}
