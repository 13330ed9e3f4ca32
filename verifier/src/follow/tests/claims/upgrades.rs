//! Claims around the height from which a program with or without locks is in force.

use super::*;
use crate::{program::Program, upgrade::Change};

/// A branch of a rollup that never opens locks.
fn without_locks() -> Params {
    params_with(|founding| {
        let_upgrade(founding);
        founding.program_id = next_program().id();
    })
}

#[test]
fn a_claim_is_nothing_where_no_program_opens_locks() {
    let params = without_locks();
    let mut branch = Branch::of(params.clone());
    for _ in 0..3 {
        let height = branch.follower.scanned.height;
        branch.mine(alloc::vec![pay(height, alloc::vec![claim_output(params.chain_id(), LOCK, preimage(height))])]);
    }
    assert_eq!((pending_all(&branch).len(), branch.follower.requests.queued()), (0, 0));
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&branch.batch())])), [0]);
}

/// Goes through a change of the program with claims and batches all the time, at each depth of reorganisation around
/// its height; hands on each follower some blocks later.
fn upgrade_with_claims(params: &Params, to: &Program, check: impl Fn(&Branch, u32)) {
    let height = 1 + NOTICE_BLOCKS;
    for lost in 1..FINAL_DEPTH_BLOCKS {
        // The fork lies below the height, at it, or above it.
        for above in [0, 1, lost / 2, lost] {
            let mut trunk = Branch::of(params.clone());
            let change = Change::Program { program: to.id(), height };
            trunk.mine(alloc::vec![announcement_of(params, 1, 0, change)]);
            while trunk.follower.scanned.height + 4 + lost < height + above {
                trunk.mine(Vec::new());
            }
            while trunk.follower.scanned.height + lost < height + above {
                step(&mut trunk, 0);
            }
            let mut branch = trunk.fork(1);
            (0..lost).for_each(|_| drop(step(&mut trunk, 0)));
            let mut follower = trunk.follower.clone();
            let blocks: Vec<_> = (0..=lost).map(|_| step(&mut branch, 1)).collect();
            reorganise(&mut follower, &blocks);
            assert_eq!(state(&follower), state(&branch.follower), "{lost} blocks lost, {above} above");
            let mut branch = Branch { follower, ..branch };
            while branch.follower.scanned.height < height + 4 {
                step(&mut branch, 1);
            }
            check(&branch, height);
        }
    }
}

#[test]
fn a_program_without_locks_voids_the_claims_that_wait_at_every_depth_of_reorganisation() {
    upgrade_with_claims(&params(), &next_program(), |branch, _| {
        assert_eq!(pending_all(branch), [0; 0], "none waits, and none came");
    });
}

#[test]
fn a_program_with_locks_counts_claims_from_its_height_on_at_every_depth_of_reorganisation() {
    upgrade_with_claims(&without_locks(), &program(), |branch, height| {
        let lowest = branch.follower.pending_requests().map(|scanned| scanned.height).min();
        assert!(lowest.is_some_and(|lowest| lowest > height), "those before are nothing");
        assert!(branch.follower.requests.queued() >= 3, "each later one counts");
    });
}

/// What waits is void by the first batch of a program without locks, and not before.
#[test]
fn claims_are_made_until_the_height_and_void_from_there_on() {
    let height = 1 + NOTICE_BLOCKS;
    let mut branch = Branch::new();
    branch.mine(alloc::vec![announcement(1, 0, Change::Program { program: next_program().id(), height })]);
    while branch.follower.scanned.height + 2 < height {
        branch.mine(Vec::new());
    }
    // In the last block of the old program, in that of the height, and in the next.
    let mut asked = Vec::new();
    for i in 0..4 {
        let at = branch.follower.scanned.height + 1;
        branch.mine(alloc::vec![claim_transaction(at, LOCK + i, preimage(i))]);
        asked.push(at);
    }
    let queued: Vec<u32> = branch.follower.pending_requests().map(|scanned| scanned.height).collect();
    assert_eq!(
        (&asked[..], &queued[..]),
        (&[height - 1, height, height + 1, height + 2][..], &[height - 1, height][..])
    );
    let reference = branch.follower.headers.at(height - 1).expect("mined");
    let late = Batch { reference, program: program().id(), ..branch.batch() };
    let ignoring = anchor_of(&late, |_, _| ());
    assert_eq!(outcome(&mut branch.clone(), ignoring), Err(LEFT_OUT), "the old program's rules hold for its batches");
    let making = anchor_of(&late, with_steps(alloc::vec![opening(LOCK, preimage(0), height - 1)]));
    let mut made = branch.clone();
    assert_eq!(outcome(&mut made, making), Ok(alloc::vec![(0, Outcome::Served)]));
    assert_eq!(pending_all(&made), [1]);
    for (branch, expected) in [(&mut made, 1..2), (&mut branch, 0..2)] {
        let anchor = branch.anchor(&branch.batch());
        let void = expected.map(|index| (index, Outcome::Void)).collect();
        assert_eq!(outcome(branch, anchor), Ok(void));
        assert_eq!(pending_all(branch), [0; 0]);
    }
}
