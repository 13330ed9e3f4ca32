//! The schedule as a table of announcements, and against a model that reads all of them anew for each height.

use super::*;
use crate::bridge::tests::signer;
use proptest::prelude::*;

const START: u32 = 100;
const NOTICE: u32 = 10;

fn program(tag: u8) -> ProgramId {
    ProgramId::from_byte_array([tag; 32])
}

fn keys(secrets: &[u8]) -> Keys {
    Keys::new(secrets.iter().map(|secret| signer(*secret)).collect()).expect("a few different keys")
}

fn to_program(number: u32, tag: u8, height: u32) -> Upgrade {
    Upgrade { number, change: Change::Program { program: program(tag), height } }
}

fn to_sequencers(number: u32, secrets: &[u8], height: u32) -> Upgrade {
    Upgrade { number, change: Change::Sequencers { keys: keys(secrets), height } }
}

fn withdrawal(number: u32) -> Upgrade {
    Upgrade { number, change: Change::Withdrawal }
}

fn schedule() -> Schedule {
    Schedule::new(START, program(1), keys(&[1]))
}

#[test]
fn what_was_announced_is_in_force_from_its_height_on() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("a notice ahead");
    schedule.accept(&to_sequencers(1, &[3, 2], 125), 111, NOTICE).expect("a notice ahead");
    for (height, tag, from, sequencers) in [
        (0, 1, START, &[1][..]),
        (119, 1, START, &[1]),
        (120, 2, 120, &[1]),
        (124, 2, 120, &[1]),
        (125, 2, 120, &[2, 3]),
        (u32::MAX, 2, 120, &[2, 3]),
    ] {
        assert_eq!(schedule.program_at(height), (from, program(tag)));
        assert_eq!(schedule.sequencers_at(height), &keys(sequencers));
    }
    assert_eq!(schedule.pending(119).len(), 2);
    assert_eq!(schedule.pending(120).len(), 1);
    assert_eq!(schedule.next_number(), 2);
    let between = |first, last| schedule.programs_between(first, last).collect::<Vec<_>>();
    assert_eq!(between(100, 119), [(START, program(1))]);
    assert_eq!(between(119, 120), [(START, program(1)), (120, program(2))]);
    assert_eq!(between(120, 124), [(120, program(2))]);
}

#[test]
fn heights_that_cross_are_in_force_in_the_order_of_heights_and_the_last_of_equals_wins() {
    let mut schedule = schedule();
    for upgrade in [to_program(0, 2, 200), to_program(1, 3, 150), to_program(2, 4, 200), to_program(3, 5, 199)] {
        schedule.accept(&upgrade, 110, NOTICE).expect("a notice ahead");
    }
    let at = |height| schedule.program_at(height).1;
    assert_eq!([149, 150, 198, 199, 200].map(at), [1, 3, 3, 5, 4].map(program));
    let between: Vec<_> = schedule.programs_between(149, 200).map(|(_, program)| program).collect();
    assert_eq!(between, [1, 3, 5, 4, 4].map(program));
}

#[test]
fn each_rule_of_acceptance_is_kept_with_nothing_changed_otherwise() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("just a notice ahead");
    let before = schedule.clone();
    let number = |found| Err(UpgradeError::Number { expected: 1, found });
    for (upgrade, expected) in [
        (to_program(0, 3, 200), number(0)),
        (to_program(2, 3, 200), number(2)),
        (to_program(u32::MAX, 3, 200), number(u32::MAX)),
        (withdrawal(0), number(0)),
        (withdrawal(u32::MAX), number(u32::MAX)),
        (to_program(1, 3, 119), Err(UpgradeError::TooSoon { min: 120, found: 119 })),
        (to_sequencers(1, &[], 0), Err(UpgradeError::TooSoon { min: 120, found: 0 })),
    ] {
        assert_eq!((schedule.accept(&upgrade, 110, NOTICE), &schedule), (expected, &before), "{upgrade:?}");
    }
    let late = Err(UpgradeError::TooSoon { min: u64::from(u32::MAX) + 10, found: u32::MAX });
    assert_eq!(schedule.accept(&to_program(1, 3, u32::MAX), u32::MAX, NOTICE), late);
}

#[test]
fn sixteen_announcements_wait_and_no_more() {
    let mut schedule = schedule();
    for number in 0..PENDING_MAX as u32 {
        schedule.accept(&to_program(number, 2, 200 + number), 110, NOTICE).expect("there is room");
    }
    let next = to_sequencers(16, &[], 300);
    let before = schedule.clone();
    assert_eq!(schedule.accept(&next, 199, NOTICE), Err(UpgradeError::Full(PENDING_MAX)));
    assert_eq!(schedule, before);
    // One is in force at its own block's height already.
    schedule.accept(&next, 200, NOTICE).expect("the first does not wait any more");
    assert_eq!(schedule.accept(&to_program(17, 3, 400), 200, NOTICE), Err(UpgradeError::Full(PENDING_MAX)));
    schedule.accept(&withdrawal(17), 200, NOTICE).expect("it takes no room");
    assert_eq!((schedule.pending(200).len(), schedule.program_at(u32::MAX)), (0, (200, program(2))));
}

#[test]
fn a_withdrawal_takes_back_what_is_not_in_force_also_what_is_mined_after_it() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("a notice ahead");
    schedule.accept(&to_program(1, 3, 130), 110, NOTICE).expect("a notice ahead");
    let mut early = schedule.clone();
    early.accept(&withdrawal(2), 119, NOTICE).expect("the number is right");
    assert_eq!(early.program_at(u32::MAX), (START, program(1)));
    let mut at_the_height = schedule.clone();
    at_the_height.accept(&withdrawal(2), 120, NOTICE).expect("the number is right");
    assert_eq!(at_the_height.program_at(u32::MAX), (120, program(2)));
    // After a reorganisation the first may be mined after the withdrawal.
    let mut reordered = Schedule::new(START, program(1), keys(&[1]));
    reordered.accept(&withdrawal(2), 115, NOTICE).expect("a withdrawal may come first");
    for upgrade in [to_program(0, 2, 130), to_program(1, 3, 130), to_program(2, 3, 130)] {
        let expected = Err(UpgradeError::Number { expected: 3, found: upgrade.number });
        assert_eq!(reordered.accept(&upgrade, 116, NOTICE), expected);
    }
    reordered.accept(&to_program(3, 4, 130), 116, NOTICE).expect("the next number");
}

#[test]
fn a_withdrawal_uses_few_numbers_up_unless_it_renounces() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("a notice ahead");
    let before = schedule.clone();
    for found in [1 + WITHDRAWAL_AHEAD_MAX + 1, u32::MAX / 2, RENOUNCING_NUMBER - 1] {
        let refused = Err(UpgradeError::Number { expected: 1, found });
        assert_eq!((schedule.accept(&withdrawal(found), 111, NOTICE), &schedule), (refused, &before));
    }
    schedule.accept(&withdrawal(1 + WITHDRAWAL_AHEAD_MAX), 111, NOTICE).expect("a few ahead");
    assert_eq!((schedule.next_number(), schedule.is_renounced()), (2 + WITHDRAWAL_AHEAD_MAX, false));
}

#[test]
fn the_highest_number_of_a_withdrawal_renounces() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("a notice ahead");
    schedule.accept(&to_program(1, 3, 150), 110, NOTICE).expect("a notice ahead");
    schedule.accept(&withdrawal(u32::MAX - 1), 130, NOTICE).expect("any number that is not past");
    assert!(schedule.is_renounced());
    assert_eq!(schedule.program_at(u32::MAX), (120, program(2)), "what is in force stays");
    for number in [0, 2, u32::MAX - 1, u32::MAX] {
        assert_eq!(schedule.accept(&to_program(number, 4, 200), 131, NOTICE), Err(UpgradeError::Renounced));
        assert_eq!(schedule.accept(&withdrawal(number), 131, NOTICE), Err(UpgradeError::Renounced));
    }
}

/// What a block announces: a kind, how far ahead, and a tag.
type Announced = (u8, u32, u8);

fn announced() -> impl Strategy<Value = Vec<Announced>> {
    prop::collection::vec((0u8..8, 0u32..40, 1u8..20), 0..60)
}

/// Feeds an announcement a block, from the start on; gives the accepted ones with their heights.
fn feed(schedule: &mut Schedule, announced: &[Announced]) -> Vec<(u32, Upgrade)> {
    let mut accepted = Vec::new();
    for (block, (kind, ahead, tag)) in (START + 1..).zip(announced) {
        let number = schedule.next_number();
        let upgrade = match kind {
            0 => withdrawal(number + u32::from(*tag) / 15),
            1 => to_program(number.wrapping_sub(1), *tag, block + ahead),
            2..=4 => to_sequencers(number, &[*tag], block + ahead),
            _ => to_program(number, *tag, block + ahead),
        };
        if schedule.accept(&upgrade, block, NOTICE).is_ok() {
            accepted.push((block, upgrade));
        }
    }
    accepted
}

/// What is in force at a height, from all accepted announcements alone.
fn model(accepted: &[(u32, Upgrade)], height: u32) -> (ProgramId, Keys) {
    let is_withdrawn = |position: usize, from: u32| {
        let later = &accepted[position..];
        later.iter().any(|(block, upgrade)| upgrade.change == Change::Withdrawal && from > *block)
    };
    let (mut best_program, mut best_keys) = ((0, program(1)), (0, keys(&[1])));
    for (position, (_, upgrade)) in accepted.iter().enumerate() {
        match &upgrade.change {
            Change::Program { program, height: from } if *from <= height && !is_withdrawn(position, *from) => {
                best_program = if *from >= best_program.0 { (*from, *program) } else { best_program };
            }
            Change::Sequencers { keys, height: from } if *from <= height && !is_withdrawn(position, *from) => {
                best_keys = if *from >= best_keys.0 { (*from, keys.clone()) } else { best_keys };
            }
            _ => {}
        }
    }
    (best_program.1, best_keys.1)
}

proptest! {
    #[test]
    fn a_schedule_is_what_its_announcements_say(announced in announced(), forget in 0u32..120) {
        let mut schedule = schedule();
        let accepted = feed(&mut schedule, &announced);
        let tip = START + announced.len() as u32;
        prop_assert!(schedule.pending(tip).len() <= PENDING_MAX);
        schedule.forget_below(START + forget);
        for height in START + forget..tip + 60 {
            let found = (schedule.program_at(height).1, schedule.sequencers_at(height).clone());
            prop_assert_eq!(found, model(&accepted, height));
        }
    }

    #[test]
    fn nothing_mined_later_changes_what_is_in_force(announced in announced(), cut in 0usize..60) {
        let cut = cut.min(announced.len());
        let (mut early, mut late) = (schedule(), schedule());
        feed(&mut early, &announced[..cut]);
        feed(&mut late, &announced);
        let height = START + cut as u32;
        prop_assert_eq!(early.program_at(height), late.program_at(height));
        prop_assert_eq!(early.sequencers_at(height), late.sequencers_at(height));
    }

    #[test]
    fn schedules_are_read_as_they_are_written(announced in announced(), forget in 0u32..60, cut in 0usize..2000) {
        let mut schedule = schedule();
        feed(&mut schedule, &announced);
        schedule.forget_below(START + forget.max((announced.len() as u32).saturating_sub(NOTICE)));
        let mut bytes = Vec::new();
        schedule.write(&mut bytes);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(Schedule::read(&mut rest), Some(schedule));
        prop_assert!(rest.is_empty());
        let short = &bytes[..cut.min(bytes.len() - 1)];
        prop_assert_eq!(Schedule::read(&mut &*short), None);
    }
}

#[test]
fn bytes_that_no_schedule_has_are_refused() {
    let mut schedule = schedule();
    schedule.accept(&to_program(0, 2, 120), 110, NOTICE).expect("a notice ahead");
    schedule.accept(&to_sequencers(1, &[2], 130), 110, NOTICE).expect("a notice ahead");
    let mut bytes = Vec::new();
    schedule.write(&mut bytes);
    let read = |alter: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        alter(&mut bytes);
        Schedule::read(&mut bytes.as_slice())
    };
    // The count of entries is behind accepted, program and one sequencer's key.
    let count = 4 + 4 + 32 + 4 + 1 + 32;
    assert_eq!(bytes[count], 2);
    assert_eq!(read(&|_| ()), Some(schedule));
    assert_eq!(read(&|bytes| bytes[count] = 3), None, "an entry is missing");
    assert_eq!(read(&|bytes| bytes[count] = 33), None, "more entries than there can be");
    assert_eq!(read(&|bytes| bytes[0] = 1), None, "an entry has a number that was not accepted");
    assert_eq!(read(&|bytes| bytes[count + 1 + 4] = 3), None, "a withdrawal is no entry");
    assert_eq!(read(&|bytes| bytes[count + 1 + 5] = 131), None, "heights ascend");
    assert_eq!(read(&|bytes| bytes[count + 1 + 5] = 100), None, "the height is that of what was in force before");
    assert_eq!(read(&|bytes| bytes[44] = 21), None, "too many sequencer keys");
}
