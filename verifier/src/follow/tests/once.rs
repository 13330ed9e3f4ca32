//! Operations that a cell has once in a Bitcoin block: within a batch, among the batches of a block, and not beyond it,
//! whatever is reorganised and however a follower got there.

use super::{steps::steps, *};
use crate::{block::Excerpt, cell::CellIndex, record::StepRecord};

/// The operation of the example set that a cell has once a block.
const ONCE: u8 = 10;

fn cell(i: u32) -> CellIndex {
    CellIndex::new(i).expect("a small index")
}

fn session(i: u32) -> StepRecord {
    StepRecord { cell: cell(i), a: 7, ..StepRecord::new(ONCE) }
}

/// A batch behind a tip, whose chunks of steps hold sessions of these cells.
fn payload_with(batch: &Batch, chunks: &[&[u32]]) -> Vec<u8> {
    payload_of(batch, |header, all| {
        let records = |cells: &&[u32]| cells.iter().map(|i| session(*i)).collect();
        all.extend(chunks.iter().map(|cells| steps(records(cells), header.root_after, 0)));
    })
}

/// Anchors of batches that follow one another, each with sessions of these cells.
fn anchors(branch: &Branch, batches: &[&[u32]]) -> Vec<Transaction> {
    let mut batch = branch.batch();
    let next = |cells: &&[u32]| {
        let payload = payload_with(&batch, &[*cells]);
        batch.tip = batch.tip_after(&payload);
        reveal_of(&payload)
    };
    batches.iter().map(next).collect()
}

fn twice(chunk: usize, position: usize, i: u32) -> RuleError {
    RuleError::ChangedTwice { chunk, position, cell: cell(i) }
}

#[test]
fn a_batch_has_one_session_of_a_cell() {
    let branch = Branch::new();
    for (chunks, expected) in [
        (&[&[1, 2, 3][..], &[4]][..], None),
        (&[&[1, 2, 1], &[4]], Some(twice(3, 2, 1))),
        (&[&[1, 2], &[4, 2]], Some(twice(4, 1, 2))),
    ] {
        let mut branch = branch.clone();
        let events = branch.mine(alloc::vec![reveal_of(&payload_with(&branch.batch(), chunks))]);
        assert_eq!(
            (refusals(&events).first(), verified(&events).len()),
            (expected.as_ref(), usize::from(expected.is_none()))
        );
    }
    // Other operations may change the cell as often as they like, and one may be the session.
    let plain = StepRecord { cell: cell(1), ..StepRecord::new(1) };
    let mut branch = branch;
    let payload = payload_of(&branch.batch(), |header, all| {
        all.push(steps(alloc::vec![plain, session(1), plain, plain], header.root_after, 0));
    });
    assert_eq!(verified(&branch.mine(alloc::vec![reveal_of(&payload)])), [0]);
}

#[test]
fn the_batches_of_a_block_have_one_session_of_a_cell_together() {
    let mut branch = Branch::new();
    let events = branch.clone().mine(anchors(&branch, &[&[1, 2], &[3], &[], &[4]]));
    assert_eq!((refusals(&events), verified(&events)), (Vec::new(), alloc::vec![0, 1, 2, 3]));
    let second = anchors(&branch, &[&[1, 2], &[3], &[2]]);
    let events = branch.mine(second.clone());
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![twice(3, 0, 2)], alloc::vec![0, 1]));
    // It counts in the next block, where the cells are as new, and once there.
    assert_eq!(branch.follower.preview(&payload_with(&branch.batch(), &[&[1, 2, 3]]), poster()), Ok(()));
    let late = second[2].clone();
    let events = branch.mine([alloc::vec![late], Vec::new()].concat());
    assert_eq!((refusals(&events), verified(&events)), (Vec::new(), alloc::vec![2]));
}

fn poster() -> bitcoin::XOnlyPublicKey {
    crate::bridge::tests::signer(crate::toy_chain::POSTER_SECRET)
}

#[test]
fn what_does_not_count_changes_nothing() {
    let mut branch = Branch::new();
    let [first, _] = &anchors(&branch, &[&[1], &[1]])[..] else { panic!("two anchors") };
    // An anchor that is refused, for another reason or for this one, leaves the cell to who comes after it.
    let other = Batch { void: 1, ..branch.batch() };
    let refused = reveal_of(&payload_with(&other, &[&[1]]));
    let doubled = reveal_of(&payload_with(&branch.batch(), &[&[1, 5, 1]]));
    let events = branch.mine(alloc::vec![refused, doubled, first.clone()]);
    let count = RuleError::DepositCount { expected: 0, found: 1 };
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![count, twice(3, 2, 1)], alloc::vec![0]));
}

#[test]
fn a_block_stands_for_itself_at_every_depth_of_reorganisation() {
    // Each block has a session of one cell, and one more that does not count.
    let step = |branch: &mut Branch, _| {
        let block = branch.next_block(anchors(branch, &[&[1], &[1]]));
        let events = branch.follow(block.clone());
        assert_eq!((refusals(&events).len(), verified(&events).len()), (1, 1));
        block
    };
    reorganise_at_every_depth(Branch::new(), FINAL_DEPTH_BLOCKS, step, |follower| follower.tip);
}

/// A checkpoint stands between blocks, so it has nothing to say of it.
#[test]
fn after_a_checkpoint_the_next_block_has_its_own_sessions() {
    let mut branch = Branch::new();
    let mut headers = alloc::vec![crate::toy_chain::regtest_genesis()];
    for _ in 0..FINAL_DEPTH_BLOCKS {
        assert_eq!(verified(&branch.mine(anchors(&branch, &[&[1]]))).len(), 1);
        headers.push(branch.header);
    }
    let checkpoint = branch.follower.checkpoint().expect("every block was seen whole");
    let lead = &headers[..=checkpoint.block().height as usize];
    assert_eq!(checkpoint.block().height, 1);
    let follower = Follower::resume(params(), programs(), checkpoint, lead).expect("its own headers");
    let mut resumed = Branch { follower, header: headers[1], tag: 2 };
    let events = resumed.mine(anchors(&resumed, &[&[1], &[1]]));
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![twice(3, 0, 1)], alloc::vec![1]));
}

/// The second anchor of a block follows the first, so a light follower that is shown it alone accepts neither: it never
/// takes one that full followers refuse for this reason, unless the first was withheld and a rival of it was posted.
#[test]
fn a_light_follower_needs_no_more() {
    let mut whole = Branch::new();
    let light = whole.follower.clone();
    let block = whole.next_block(anchors(&whole, &[&[1], &[1]]));
    let events = whole.follow(block.clone());
    assert_eq!((refusals(&events), verified(&events)), (alloc::vec![twice(3, 0, 1)], alloc::vec![0]));
    for (positions, refused) in [
        (&[1, 2][..], alloc::vec![twice(3, 0, 1)]),
        (&[1], Vec::new()),
        (&[2], alloc::vec![RuleError::Batch { expected: 0, found: 1 }]),
    ] {
        let mut light = light.clone();
        assert_eq!(light.accept_header(block.header), Ok(None));
        let excerpt = Excerpt::of(&block, positions).expect("the coinbase is there");
        assert_eq!(refusals(&light.connect_excerpt(excerpt).expect("cut from the block")), refused);
        assert_eq!(light.tip == whole.follower.tip, positions.contains(&1));
    }
}
