//! What operations share that start a clause: the nonce or the ticket, and the fee. Rule and circuit.
//!
//! - With a nonce, it is the account's, which grows by 1, below 2^32; the ticket's place is 0.
//! - With a ticket ([`flag::TICKET`]), the place p is 0 to 63, the ticket is base + p, which was not used and is used
//!   after; the nonce stays.
//! - The fee is paid from the first holding, or with [`flag::FEE_SECOND`] from the second.

use crate::step::{Integer, Refusal, Step, StepCircuit, flag};
use ark_bn254::Fr;
use ark_ff::Field;
use taproof_verifier::cell::Account;

/// The tickets that an account has at a time.
const TICKETS: u64 = 64;

/// Starts a clause of an account with its nonce, or with the ticket at a place; gives the account with either used.
pub(super) fn start(step: &mut Step<'_>, mut account: Account, place: u64) -> Result<Account, Refusal> {
    let is_ticket = step.flag(flag::TICKET);
    if place >= if is_ticket { TICKETS } else { 1 } {
        return Err(Refusal::TicketPlace(place));
    }
    let (base, used) = (account.tickets.base, account.tickets.used);
    let (low, bit, high) =
        (used & ((1 << place) - 1), used >> place & 1, used.checked_shr(place as u32 + 1).unwrap_or(0));
    let number = if is_ticket {
        let ticket = u64::from(base) + place;
        if bit == 1 {
            return Err(Refusal::TicketUsed(ticket));
        }
        account.tickets.used |= 1 << place;
        ticket
    } else {
        let nonce = account.nonce;
        account.nonce = nonce.checked_add(1).ok_or(Refusal::NonceExhausted)?;
        nonce.into()
    };
    step.integer(base, 32);
    step.integer(used, 64);
    (0..6).for_each(|position| step.integer(place as u128 >> position & 1, 1));
    step.integer(low, 63);
    step.integer((1u64 << place) - 1 - low, 63);
    step.integer(bit, 1);
    step.integer(high, 63);
    step.integer(account.nonce, 32);
    step.start(number, is_ticket);
    step.until()?;
    Ok(account)
}

/// The twin of [`start`], the height apart.
///
/// With p = 2^place, used = low + p bit + 2 p high and low < p, so bit is that of the ticket; low and high have 63
/// bits, so no sum has more than 128. A ticket may have 33: nothing else starts a clause with the same number.
pub(super) fn start_in_circuit(step: &mut StepCircuit, place: impl FnOnce(&mut StepCircuit, Integer)) {
    let one = || Integer::constant(1);
    let is_ticket = step.flag(flag::TICKET);
    let [base, used] = [32, 64].map(|width| step.integer(width));
    step.require_equal(step.own(2), Integer::pack([(base.clone(), 32), (used.clone(), 64)]));
    let bits: [Integer; 6] = core::array::from_fn(|_| step.integer(1));
    let mut power = one().expression();
    for (position, bit) in bits.iter().enumerate() {
        let factor = Fr::from(2u64).pow([1 << position]) - Fr::ONE;
        let product = step.product(power.clone(), bit.clone());
        power += product * factor;
    }
    let ticket_place = Integer::pack(bits.map(|bit| (bit, 1)));
    // Without a ticket the place is 0.
    let placed = step.product(is_ticket.clone(), ticket_place.clone());
    step.require_equal(placed, ticket_place.clone());
    let low = step.integer(63);
    step.range(power.clone() - low.clone() - one(), 63);
    let bit = step.integer(1);
    let high = step.integer(63);
    let of_bit = step.product(power.clone(), bit.clone());
    let of_high = step.product(power.clone(), high);
    step.require_equal(low + of_bit + of_high.clone() + of_high, used.clone());
    let used_already = step.product(is_ticket.clone(), bit);
    step.require_zero(used_already);
    let newly_used = step.product(is_ticket.clone(), power);
    step.set_own(2, base.clone() + (used + newly_used) * Fr::from(2u64).pow([32]));
    let nonce = step.range(step.count() + one() - is_ticket.clone(), 32);
    step.set_nonce(nonce);
    let ticket = base + ticket_place.clone() - step.count().expression();
    let number = step.product(ticket, is_ticket.clone()) + step.count();
    step.start(number, is_ticket);
    place(step, ticket_place);
}

/// Takes the amount that the record's flag says from a holding, and the fee from the one that the other flag says;
/// gives the account after. `gained` is what the other holding gains.
pub(super) fn spend(step: &mut Step<'_>, mut account: Account, gained: u64) -> Result<Account, Refusal> {
    let (amount, fee) = (step.record().a, step.record().b);
    let (pays, pays_fee) = (usize::from(step.flag(flag::SECOND)), usize::from(step.flag(flag::FEE_SECOND)));
    let balances = [&mut account.balance, &mut account.second.balance];
    let tokens = [account.token, account.second.token];
    for (holding, balance) in balances.into_iter().enumerate() {
        let part = |from: usize, part: u64| if from == holding { part } else { 0 };
        let needed = part(pays, amount).checked_add(part(pays_fee, fee));
        let needed = needed.ok_or(Refusal::Overflow { what: "amount and fee", width_bits: 64 })?;
        let gained = if holding == pays { 0 } else { gained };
        let token = tokens[holding];
        let left = (u128::from(*balance) + u128::from(gained)).checked_sub(needed.into());
        let left = left.ok_or(Refusal::Insufficient { token, balance: *balance, needed })?;
        *balance = u64::try_from(left).map_err(|_| Refusal::Overflow { what: "the balance", width_bits: 64 })?;
        step.integer(*balance, 64);
    }
    step.add_fee(pays_fee, fee);
    Ok(account)
}

/// The twin of [`spend`].
pub(super) fn spend_in_circuit(step: &mut StepCircuit, gained: Option<Integer>) {
    let (pays_second, fee_second) = (step.flag(flag::SECOND), step.flag(flag::FEE_SECOND));
    let one = || Integer::constant(1);
    let paid_second = step.product(step.a(), pays_second.clone());
    let fee_of_second = step.product(step.b(), fee_second);
    let paid_first = step.a() - paid_second.clone();
    let fee_of_first = step.b() - fee_of_second.clone();
    let [gained_first, gained_second] = match gained {
        None => [Integer::constant(0), Integer::constant(0)].map(|zero| zero.expression()),
        Some(gained) => {
            let first = step.product(gained.clone(), pays_second.clone());
            let second = step.product(gained, one() - pays_second);
            [first, second]
        }
    };
    let first = step.range(step.amount() - paid_first - fee_of_first.clone() + gained_first, 64);
    let second = step.range(step.second_amount() - paid_second - fee_of_second.clone() + gained_second, 64);
    step.set_amount(first);
    step.set_second_amount(second);
    step.add_fee(0, fee_of_first);
    step.add_fee(1, fee_of_second);
}
