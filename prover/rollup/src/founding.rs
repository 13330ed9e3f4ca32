//! Whether circuits of a size can do what the rules demand of one batch.

use taproof_circuits::state::Slots;
use taproof_verifier::{exit::REQUESTS_ENOUGH, follow::deposits_enough, payload::SLOTS_MAX};

/// What the rules can demand of one batch has more slots than a payload may have: a batch that everybody has to make
/// could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the rules can demand of one batch has {found} slots, more than the {SLOTS_MAX} of a payload")]
pub struct TooManySlotsError {
    /// The slots of the most deposits and exits that a batch can be asked for.
    pub found: usize,
}

/// Checks that circuits of so many slots can do in one batch what the rules can demand of it: the most deposits, in
/// full chunks, and the most exits, each in a chunk of its own, as where the operator cannot take its fee. Room for the
/// largest circuits is room for smaller ones.
///
/// # Errors
/// [`TooManySlotsError`].
pub fn check_slots(slots: &Slots) -> Result<(), TooManySlotsError> {
    let deposit = slots.deposit.largest().get();
    let deposits = deposits_enough(deposit).next_multiple_of(usize::from(deposit));
    let found = deposits + REQUESTS_ENOUGH * usize::from(slots.withdraw.largest().get());
    if found > SLOTS_MAX { Err(TooManySlotsError { found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;
    use taproof_circuits::state::SlotCounts;

    #[test]
    fn slots_that_no_batch_could_use_for_what_it_must_hold_are_refused() {
        let check = |deposit, withdraw| {
            let [deposit, withdraw, one] = [deposit, withdraw, 1].map(|slots| NonZeroU16::new(slots).unwrap());
            let [transfer, open] = [one, one].map(SlotCounts::from);
            check_slots(&Slots { deposit: deposit.into(), transfer, open, withdraw: withdraw.into(), step: None })
        };
        assert_eq!(check(20, 6), Ok(()));
        // 64 exits in chunks of 1,984 slots leave room for 4,096 deposits in full chunks, and for no more.
        assert_eq!(check(4_096, 1_984), Ok(()));
        assert_eq!(check(4_096, 1_985), Err(TooManySlotsError { found: SLOTS_MAX + 64 }));
        assert_eq!(check(4_097, 1_984), Err(TooManySlotsError { found: SLOTS_MAX + 1 }));
        assert!(check(u16::MAX, u16::MAX).is_err());
    }
}
