//! The window within which deposits are credited, and their expiry, at every boundary.

use super::*;
use proptest::prelude::*;

/// How many blocks after one another may be without an anchor, so that no deposit is void.
const QUIET_BLOCKS_MAX: u32 = EXPIRY_BLOCKS - 2 * WINDOW_BLOCKS + 1;

/// A branch whose block 1 has a deposit, mined to a height.
fn branch(height: u32) -> Branch {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[10])]);
    while branch.follower.scanned.height < height {
        branch.mine(Vec::new());
    }
    branch
}

fn at(branch: &Branch, height: u32) -> BlockId {
    branch.follower.headers.at(height).expect("mined")
}

#[test]
fn an_anchor_refers_to_a_block_within_the_window() {
    for (reference, age) in [(1, WINDOW_BLOCKS - 1), (1, WINDOW_BLOCKS), (1, WINDOW_BLOCKS + 1), (2, WINDOW_BLOCKS)] {
        // The next block is `age` above the reference.
        let mut branch = branch(reference + age - 1);
        let deposits = branch.follower.pending_deposits().map(|deposit| deposit.deposit).collect();
        let batch = Batch { reference: at(&branch, reference), deposits, void: 0, ..branch.batch() };
        let events = branch.mine(alloc::vec![branch.anchor(&batch)]);
        let expected = if age <= WINDOW_BLOCKS {
            (alloc::vec![0], Vec::new())
        } else {
            let (min, found) = (reference + age - WINDOW_BLOCKS, reference);
            (Vec::new(), alloc::vec![RuleError::ReferenceTooOld { min, found }])
        };
        assert_eq!((verified(&events), refusals(&events)), expected, "reference {reference}, {age} blocks old");
        assert_eq!(params().anchor_height_max(reference) >= reference + age, age <= WINDOW_BLOCKS);
    }
}

#[test]
fn no_deposit_is_left_out_for_longer_than_the_window() {
    // Whatever an anchor refers to, in a block `age` above the deposit it must credit it, unless the age is the
    // window's or less.
    for age in [WINDOW_BLOCKS - 1, WINDOW_BLOCKS, WINDOW_BLOCKS + 1] {
        let branch = branch(age);
        let ignores = |reference: u32| {
            let batch = Batch { reference: at(&branch, reference), deposits: Vec::new(), void: 0, ..branch.batch() };
            let mut branch = branch.clone();
            verified(&branch.mine(alloc::vec![branch.anchor(&batch)])) == [0]
        };
        let accepted = (0..=age).any(ignores);
        assert_eq!(accepted, age < WINDOW_BLOCKS, "{age}");
        assert_eq!(params().due_height(1) <= age + 1, !accepted, "{age}");
    }
}

#[test]
fn a_deposit_is_credited_until_it_is_void_and_not_after() {
    // Void for references above this height; the deposit is in block 1.
    let last = 1 + EXPIRY_BLOCKS - WINDOW_BLOCKS;
    assert_eq!((params().void_below(last), params().void_below(last + 1)), (1, 2));
    for (reference, is_void) in [(last - 1, false), (last, false), (last + 1, true), (last + 2, true)] {
        let mut branch = branch(reference);
        let deposits = branch.follower.pending_deposits().map(|deposit| deposit.deposit).collect();
        let batch = |void: u64, deposits: Vec<Deposit>| Batch {
            reference: at(&branch, reference),
            void,
            deposits,
            ..branch.batch()
        };
        let (credits, passes) = (batch(0, deposits), batch(1, Vec::new()));
        let passes_uncounted = batch(0, Vec::new());
        let anchors = [&credits, &passes_uncounted, &passes].map(|batch| branch.anchor(batch));
        let (mut first, mut last) = (anchors.to_vec(), anchors.to_vec());
        if is_void {
            first.truncate(2);
        } else {
            first.remove(0);
        }
        last.retain(|anchor| !first.contains(anchor));
        let events = branch.mine([first, last].concat());
        assert_eq!(verified(&events), [0], "reference {reference}");
        let expected = if is_void {
            [RuleError::DepositMissing { index: 1 }, RuleError::DepositCount { expected: 1, found: 0 }]
        } else {
            [RuleError::DepositLeftOut { index: 0 }; 2]
        };
        let expected =
            if is_void { expected } else { [expected[0], RuleError::DepositCount { expected: 0, found: 1 }] };
        assert_eq!(refusals(&events), expected, "reference {reference}");
        assert_eq!((branch.follower.tip.deposits_consumed, branch.follower.pending_deposits().count()), (1, 0));
    }
}

#[test]
fn no_deposit_is_credited_after_its_expiry() {
    for age in [EXPIRY_BLOCKS - 1, EXPIRY_BLOCKS, EXPIRY_BLOCKS + 1] {
        let branch = branch(age);
        let credits = |reference: u32| {
            let deposits = branch.follower.pending_deposits().map(|deposit| deposit.deposit).collect();
            let batch = Batch { reference: at(&branch, reference), deposits, void: 0, ..branch.batch() };
            let mut branch = branch.clone();
            verified(&branch.mine(alloc::vec![branch.anchor(&batch)])) == [0]
        };
        let references: Vec<u32> = (1..=age).filter(|reference| credits(*reference)).collect();
        let last = 1 + EXPIRY_BLOCKS - WINDOW_BLOCKS;
        let expected: Vec<u32> =
            if age <= EXPIRY_BLOCKS { (age + 1 - WINDOW_BLOCKS..=last).collect() } else { Vec::new() };
        assert_eq!(references, expected, "in block {}", age + 1);
        let deposit = branch.follower.pending_deposits().next().expect("nobody credited it");
        assert_eq!(branch.follower.has_expired(deposit), references.is_empty(), "before block {}", age + 1);
    }
}

#[test]
fn a_deposit_is_void_only_after_as_many_blocks_without_an_anchor() {
    const { assert!(QUIET_BLOCKS_MAX > WINDOW_BLOCKS) };
    for quiet in 0..=QUIET_BLOCKS_MAX + 2 {
        // The worst that posters can do to the deposit in block 1: while an anchor may leave it out, each block has
        // one, and the first after the quiet refers to the newest block that it may.
        let mut branch = branch(1);
        while branch.follower.scanned.height < WINDOW_BLOCKS {
            let batch = Batch { reference: at(&branch, 0), deposits: Vec::new(), ..branch.batch() };
            assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&batch)])).len(), 1);
        }
        (0..quiet).for_each(|_| drop(branch.mine(Vec::new())));
        let batch = branch.batch();
        let is_void = quiet > QUIET_BLOCKS_MAX;
        assert_eq!((batch.void, batch.deposits.len()), (is_void.into(), usize::from(!is_void)), "{quiet} quiet blocks");
        assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&batch)])).len(), 1, "{quiet} quiet blocks");
        assert_eq!(branch.follower.pending_deposits().count(), 0, "{quiet} quiet blocks");
    }
}

#[test]
fn void_deposits_are_passed_over_in_front_of_live_ones() {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[10, 11])]);
    branch.mine(alloc::vec![deposit_transaction(2, &[12])]);
    while branch.follower.scanned.height < 2 + EXPIRY_BLOCKS - WINDOW_BLOCKS {
        branch.mine(Vec::new());
    }
    let batch = branch.batch();
    assert_eq!((batch.void, batch.deposits.len()), (2, 1));
    // Another anchor might still refer to an older block.
    assert!(!branch.follower.pending_deposits().any(|deposit| branch.follower.has_expired(deposit)));
    let events = branch.mine(alloc::vec![branch.anchor(&batch)]);
    assert_eq!((verified(&events), branch.follower.tip.deposits_consumed), (alloc::vec![0], 3));
    branch.mine(alloc::vec![deposit_transaction(3, &[13])]);
    assert_eq!(branch.follower.pending_deposits().map(|deposit| deposit.index).collect::<Vec<_>>(), [3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// Whatever mixture of deposits and batches comes, the deposits that the follower says are credited and void are
    /// those that a naive reading of the whole chain gives.
    #[test]
    fn the_followers_view_is_that_of_a_naive_reading(
        steps in prop::collection::vec((0usize..3, prop::bool::weighted(0.15), 0u32..WINDOW_BLOCKS), 20..80),
    ) {
        let mut branch = Branch::new();
        // Of each deposit: its height and what became of it, true for credited.
        let mut naive: Vec<(u32, Option<bool>)> = Vec::new();
        for (tag, (deposits, is_anchored, age)) in (1..).zip(steps) {
            let height = branch.follower.scanned.height + 1;
            let amounts: Vec<u64> = (0..deposits as u64).map(|i| u64::from(tag) * 10 + i).collect();
            let mut transactions = alloc::vec![deposit_transaction(tag, &amounts)];
            if is_anchored {
                let lowest = branch.follower.tip.reference.height.max(height.saturating_sub(WINDOW_BLOCKS));
                let reference = (height - 1).saturating_sub(age).max(lowest);
                let block = at(&branch, reference);
                let mut batch = Batch { reference: block, void: 0, deposits: Vec::new(), ..branch.batch() };
                let pending: Vec<_> = branch.follower.pending_deposits().copied().collect();
                for deposit in pending.iter().filter(|deposit| deposit.height <= reference) {
                    let is_void = reference - deposit.height > EXPIRY_BLOCKS - WINDOW_BLOCKS;
                    naive[deposit.index as usize].1 = Some(!is_void);
                    if is_void { batch.void += 1 } else { batch.deposits.push(deposit.deposit) }
                    prop_assert!(is_void || height - deposit.height <= EXPIRY_BLOCKS);
                }
                if batch.deposits.len() <= 4_000 {
                    transactions.push(branch.anchor(&batch));
                }
            }
            naive.extend(amounts.iter().map(|_| (height, None)));
            let events = branch.mine(transactions);
            prop_assert_eq!(refusals(&events), Vec::new());
            let settled = naive.iter().filter(|(_, outcome)| outcome.is_some()).count();
            prop_assert_eq!(branch.follower.tip.deposits_consumed, settled as u64);
            let pending: Vec<_> = branch.follower.pending_deposits().map(|deposit| deposit.height).collect();
            let left = naive.iter().filter(|(_, outcome)| outcome.is_none());
            let expected: Vec<_> = left.map(|(height, _)| *height).collect();
            prop_assert_eq!(pending, expected);
        }
    }
    /// Whatever anchors refer to: where none of the quiet times is too long, each deposit is credited.
    #[test]
    fn no_posting_schedule_without_long_silence_voids_a_deposit(
        steps in prop::collection::vec((prop::bool::weighted(0.2), 0u32..4, 0u32..WINDOW_BLOCKS), 40..60),
    ) {
        let mut branch = Branch::new();
        let mut quiet = 0;
        for (tag, (is_anchored, kind, age)) in (1..).zip(steps) {
            let height = branch.follower.scanned.height + 1;
            let mut transactions = alloc::vec![deposit_transaction(tag, &[u64::from(tag)])];
            if is_anchored || quiet == QUIET_BLOCKS_MAX {
                let oldest = branch.follower.tip.reference.height.max(height.saturating_sub(WINDOW_BLOCKS));
                let reference = match kind {
                    0 => (height - 1).saturating_sub(age).max(oldest),
                    1 => height - 1,
                    _ => oldest,
                };
                let waiting = branch.follower.pending_deposits().filter(|deposit| deposit.height <= reference);
                let waiting: Vec<_> = waiting.copied().collect();
                prop_assert!(waiting.iter().all(|deposit| deposit.height >= params().void_below(reference)));
                let deposits = waiting.iter().map(|deposit| deposit.deposit).collect();
                let batch = Batch { reference: at(&branch, reference), void: 0, deposits, ..branch.batch() };
                transactions.push(branch.anchor(&batch));
                quiet = 0;
            } else {
                quiet += 1;
            }
            let batches = branch.follower.tip.batches + u64::from(quiet == 0);
            let events = branch.mine(transactions);
            prop_assert_eq!((refusals(&events), branch.follower.tip.batches), (Vec::new(), batches));
        }
    }
}
