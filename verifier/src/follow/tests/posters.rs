//! Whose anchors count: sequencers, strangers, silence, and rotation.

use super::*;
use crate::{
    bridge::tests::signer,
    envelope::EnvelopeError,
    exit::tests::request_for,
    quorum::Keys,
    toy_chain::POSTER_SECRET,
    upgrade::{Change, UpgradeError},
};

const SEQUENCER: u8 = 21;
const NEXT_SEQUENCER: u8 = 22;
const STRANGER: u8 = POSTER_SECRET;

fn keys(secrets: &[u8]) -> Keys {
    Keys::new(secrets.iter().map(|secret| signer(*secret)).collect()).expect("a few different keys")
}

/// A rollup with one sequencer.
fn sequenced() -> Params {
    params_with(|founding| {
        let_upgrade(founding);
        (founding.sequencer_keys, founding.quiet_blocks) = (keys(&[SEQUENCER]), QUIET_BLOCKS);
    })
}

fn branch() -> Branch {
    Branch::of(sequenced())
}

fn anchor_by(secret: u8, batch: &Batch) -> Transaction {
    reveal_of_by(secret, &payload_of(batch, |_, _| ()))
}

fn refused(secret: u8, open_height: u32) -> RuleError {
    RuleError::NotSequencer { poster: signer(secret), open_height }
}

fn mine_empty(branch: &mut Branch, blocks: u32) {
    for _ in 0..blocks {
        branch.mine(Vec::new());
    }
}

#[test]
fn a_strangers_copy_or_prefix_does_not_void_a_sequencers_batch() {
    let mut branch = branch();
    let batch = Batch { withdrawals: alloc::vec![7], ..branch.batch() };
    let payload = payload_of(&batch, |_, _| ());
    let small = Batch { root_seed: 5, ..branch.batch() };
    // Whose anchor does not count is not asked for the root of a deeper tree, which takes many hashes.
    let deep = payload_of(&small, |header, _| header.depth = depth(10));
    assert_eq!(branch.follower.preview(&deep, signer(STRANGER)), Err(refused(STRANGER, QUIET_BLOCKS)));
    assert_eq!(branch.follower.preview(&deep, signer(SEQUENCER)), Err(RuleError::RootBefore));
    let (own, copy) = (reveal_of_by(SEQUENCER, &payload), reveal_of_by(STRANGER, &payload));
    let events = branch.mine(alloc::vec![copy.clone(), anchor_by(STRANGER, &small), own, copy]);
    let late = RuleError::Batch { expected: 1, found: 0 };
    let expected = [refused(STRANGER, QUIET_BLOCKS), refused(STRANGER, QUIET_BLOCKS), late];
    assert_eq!((refusals(&events), verified(&events)), (expected.to_vec(), alloc::vec![0]));
    assert_eq!(branch.follower.tip.root, batch.root_after());
    let Some(Event::Verified(batch)) = events.iter().find(|event| matches!(event, Event::Verified(_))) else {
        panic!("{events:?}")
    };
    assert_eq!(batch.poster(), signer(SEQUENCER));
}

/// Whoever mines can put a copy of a sequencer's leaf on an output whose witness version has no rules.
#[test]
fn a_leaf_with_a_sequencers_key_is_his_anchor_only_with_his_signature() {
    let mut branch = branch();
    let own = anchor_by(SEQUENCER, &branch.batch());
    let mut forged = anchor_by(SEQUENCER, &Batch { root_seed: 5, ..branch.batch() });
    let mut elements = forged.input[0].witness.to_vec();
    elements[0] = alloc::vec![1; 64];
    forged.input[0].witness = bitcoin::Witness::from_slice(&elements);
    // His signature of one anchor is none of another.
    let mut moved = own.clone();
    moved.input[0].previous_output.vout += 1;
    let events = branch.mine(alloc::vec![forged, moved, own]);
    let unsigned = RuleError::Envelope(EnvelopeError::Signature);
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![unsigned, unsigned], alloc::vec![0]));
}

#[test]
fn sequencers_that_are_named_later_have_the_quiet_blocks_for_themselves() {
    let founded = |quiet_blocks| {
        params_with(|founding| {
            let_upgrade(founding);
            founding.quiet_blocks = quiet_blocks;
        })
    };
    let height = 1 + NOTICE_BLOCKS;
    let change = Change::Sequencers { keys: keys(&[SEQUENCER]), height };
    let mut branch = Branch::of(founded(QUIET_BLOCKS));
    branch.mine(alloc::vec![announcement_of(&founded(QUIET_BLOCKS), 1, 0, change.clone())]);
    while branch.follower.scanned.height < height {
        let batch = branch.batch();
        assert_eq!(refusals(&branch.mine(alloc::vec![anchor_by(STRANGER, &batch)])), []);
    }
    let (last, batch) = (branch.follower.tip.anchored_height, branch.batch());
    let events = branch.mine(alloc::vec![anchor_by(STRANGER, &batch), anchor_by(SEQUENCER, &batch)]);
    assert_eq!((refusals(&events), verified(&events).len()), (alloc::vec![refused(STRANGER, last + QUIET_BLOCKS)], 1));
    // Where the founder kept posting open for good, nobody is told of sequencers that it would not be closed for.
    let mut branch = Branch::of(founded(0));
    let events = branch.mine(alloc::vec![announcement_of(&founded(0), 1, 0, change)]);
    assert!(matches!(events[..], [Event::UpgradeIgnored { refusal: UpgradeError::NoQuietBlocks, .. }]), "{events:?}");
}

#[test]
fn anybodys_anchor_counts_after_the_quiet_blocks_and_not_one_before() {
    for silence in 1..2 * QUIET_BLOCKS {
        // From the start, and from an anchor on.
        for anchored in [false, true] {
            let mut branch = branch();
            if anchored {
                mine_empty(&mut branch, 2);
                let batch = branch.batch();
                assert_eq!(verified(&branch.mine(alloc::vec![anchor_by(SEQUENCER, &batch)])), [0]);
            }
            let last = branch.follower.scanned.height;
            mine_empty(&mut branch, silence - 1);
            let batch = branch.batch();
            let payload = payload_of(&batch, |_, _| ());
            let preview = branch.follower.preview(&payload, signer(STRANGER));
            let events = branch.mine(alloc::vec![anchor_by(STRANGER, &batch)]);
            assert_eq!(branch.follower.scanned.height, last + silence);
            if silence < QUIET_BLOCKS {
                assert_eq!(refusals(&events), [refused(STRANGER, last + QUIET_BLOCKS)]);
                assert_eq!(preview, Err(refused(STRANGER, last + QUIET_BLOCKS)));
            } else {
                assert_eq!(verified(&events), [u64::from(anchored)]);
                assert_eq!(preview, Ok(()));
            }
        }
    }
}

#[test]
fn a_strangers_accepted_anchor_begins_a_new_silence() {
    let mut branch = branch();
    mine_empty(&mut branch, QUIET_BLOCKS - 1);
    let first = branch.batch();
    let payload = payload_of(&first, |_, _| ());
    let second = Batch { tip: first.tip_after(&payload), ..branch.batch() };
    let transactions =
        alloc::vec![reveal_of_by(STRANGER, &payload), anchor_by(STRANGER, &second), anchor_by(SEQUENCER, &second)];
    let events = branch.mine(transactions);
    // The stranger's second is too early, the sequencer's is not.
    assert_eq!((verified(&events), refusals(&events)), (alloc::vec![0, 1], alloc::vec![refused(STRANGER, 8)]));
    assert_eq!((branch.follower.tip.anchored_height, branch.follower.open_height()), (4, 8));
}

#[test]
fn silence_is_counted_anew_when_an_anchor_is_undone_at_every_depth() {
    for lost in 1..FINAL_DEPTH_BLOCKS {
        let mut trunk = branch();
        let first = trunk.batch();
        trunk.mine(alloc::vec![anchor_by(SEQUENCER, &first)]);
        mine_empty(&mut trunk, FINAL_DEPTH_BLOCKS);
        let fork = trunk.clone();
        // The second anchor stands in the first lost block, and all lost ones are above it.
        let second = trunk.batch();
        let block = trunk.next_block(alloc::vec![anchor_by(SEQUENCER, &second)]);
        assert_eq!(verified(&trunk.follow(block)), [1]);
        mine_empty(&mut trunk, lost - 1);
        let mut follower = trunk.follower.clone();
        let mut branch = fork.fork(1);
        let blocks: Vec<_> = (0..=lost).map(|_| branch.mined(Vec::new())).collect();
        reorganise(&mut follower, &blocks);
        assert_eq!(state(&follower), state(&branch.follower));
        assert_eq!((follower.tip.anchored_height, follower.open_height()), (1, 1 + QUIET_BLOCKS));
        let batch = branch.batch();
        assert_eq!(verified(&branch.mine(alloc::vec![anchor_by(STRANGER, &batch)])), [1], "long silent again");
    }
}

#[test]
fn keys_rotate_by_the_height_that_a_batch_refers_to() {
    let mut branch = branch();
    let height = branch.follower.scanned.height + 1 + NOTICE_BLOCKS;
    let change = Change::Sequencers { keys: keys(&[NEXT_SEQUENCER]), height };
    branch.mine(alloc::vec![announcement_of(&sequenced(), 1, 0, change)]);
    while branch.follower.scanned.height + 1 < height {
        // The sequencer goes on, so that no silence opens posting.
        let batch = branch.batch();
        let events = branch.mine(alloc::vec![anchor_by(SEQUENCER, &batch)]);
        assert_eq!(refusals(&events), []);
    }
    assert_eq!(branch.follower.scanned.height, height - 1);
    let before = branch.follower.scanned;
    let early = branch.batch();
    for blocks in 0..QUIET_BLOCKS - 1 {
        let mut branch = branch.clone();
        mine_empty(&mut branch, blocks);
        let open = branch.follower.open_height();
        let old = Batch { reference: before, ..branch.batch() };
        assert_eq!(early.tip, old.tip);
        let events = branch.clone().mine(alloc::vec![anchor_by(NEXT_SEQUENCER, &old)]);
        assert_eq!(refusals(&events), [refused(NEXT_SEQUENCER, open)], "early");
        let events = branch.clone().mine(alloc::vec![anchor_by(SEQUENCER, &old)]);
        assert_eq!(refusals(&events), [], "late, and still good");
        if blocks > 0 {
            let new = branch.batch();
            let events = branch.clone().mine(alloc::vec![anchor_by(SEQUENCER, &new)]);
            assert_eq!(refusals(&events), [refused(SEQUENCER, open)], "no sequencer any more");
            let events = branch.clone().mine(alloc::vec![anchor_by(NEXT_SEQUENCER, &new)]);
            assert_eq!(refusals(&events), []);
        }
    }
}

#[test]
fn anybodys_anchor_counts_while_a_request_waits_for_longer_than_the_window() {
    // One account demands a lot, and the sequencer, who is never silent, serves one demand a batch.
    let chain_id = sequenced().chain_id();
    let requests = (0..20).map(|nonce| request_for(chain_id, 3, 1, nonce, 505).output(chain_id));
    let serving = |branch: &Branch, count: usize| {
        let served = branch.follower.pending_exits().take(count).map(|exit| exit.request).collect();
        Batch { served, ..branch.batch() }
    };
    let mut branch = branch();
    branch.mine(alloc::vec![pay(1, requests.collect())]);
    assert_eq!(branch.follower.pending_exits().count(), 20);
    let overdue = 1 + WINDOW_BLOCKS + 1;
    while branch.follower.scanned.height + 1 < overdue {
        let open = branch.follower.open_height();
        let batch = serving(&branch, 1);
        let events = branch.mine(alloc::vec![anchor_by(STRANGER, &batch), anchor_by(SEQUENCER, &batch)]);
        assert_eq!((refusals(&events), verified(&events).len()), (alloc::vec![refused(STRANGER, open)], 1));
    }
    assert_eq!(branch.follower.open_height(), overdue);
    for count in [1, 20] {
        let batch = serving(&branch, count);
        let events = branch.mine(alloc::vec![anchor_by(STRANGER, &batch)]);
        assert_eq!((refusals(&events), verified(&events).len()), (Vec::new(), 1));
    }
    // Nothing waits any more, and the sequencer has it for himself again.
    let (last, batch) = (branch.follower.scanned.height, branch.batch());
    let events = branch.mine(alloc::vec![anchor_by(STRANGER, &batch), anchor_by(SEQUENCER, &batch)]);
    assert_eq!(refusals(&events), [refused(STRANGER, last + QUIET_BLOCKS)]);
}

#[test]
fn without_sequencers_anybody_posts_always() {
    let mut branch = branch();
    let height = 1 + NOTICE_BLOCKS;
    let change = Change::Sequencers { keys: Keys::default(), height };
    branch.mine(alloc::vec![announcement_of(&sequenced(), 1, 0, change)]);
    while branch.follower.scanned.height < height {
        let batch = branch.batch();
        assert_eq!(refusals(&branch.mine(alloc::vec![anchor_by(SEQUENCER, &batch)])), []);
    }
    for _ in 0..3 {
        let batch = branch.batch();
        assert_eq!(refusals(&branch.mine(alloc::vec![anchor_by(STRANGER, &batch)])), []);
    }
    assert_eq!(branch.follower.schedule().sequencers_at(height), &Keys::default());
}
