//! Following with parts of blocks.

use super::*;
use crate::block::Excerpt;

#[test]
fn excerpts_are_followed_but_make_nothing_due() {
    let mut whole = Branch::new();
    let mut light = whole.follower.clone();
    let mut connect = |block: Block, positions: &[u32]| {
        assert_eq!(light.accept_header(block.header), Ok(None));
        light
            .connect_excerpt(Excerpt::of(&block, positions).expect("the coinbase is there"))
            .expect("cut from the block")
    };
    let deposits = whole.next_block(alloc::vec![pay(1, Vec::new()), deposit_transaction(1, &[10])]);
    whole.follow(deposits.clone());
    assert!(connect(deposits, &[2]).is_empty());
    let batch = Batch { withdrawals: alloc::vec![5], ..whole.batch() };
    let anchors = whole.next_block(alloc::vec![pay(2, Vec::new()), whole.anchor(&batch)]);
    whole.follow(anchors.clone());
    assert_eq!(verified(&connect(anchors, &[2])), [0]);
    for _ in 0..FINAL_DEPTH_BLOCKS {
        let block = whole.next_block(Vec::new());
        whole.follow(block.clone());
        assert!(connect(block, &[]).is_empty());
    }
    assert_eq!(light.tip, whole.follower.tip);
    assert!(!light.is_complete() && light.checkpoint().is_none());
    assert!(whole.follower.is_complete() && whole.follower.checkpoint().is_some());
}

#[test]
fn a_credit_needs_its_deposit_in_an_excerpt() {
    let mut whole = Branch::new();
    let mut light = whole.follower.clone();
    let deposits = whole.next_block(alloc::vec![deposit_transaction(1, &[10])]);
    whole.follow(deposits.clone());
    assert_eq!(light.accept_header(deposits.header), Ok(None));
    let hidden = Excerpt::of(&deposits, &[]).expect("the coinbase is there");
    assert_eq!(light.connect_excerpt(hidden), Ok(Vec::new()));
    let batch = whole.batch();
    let anchors = whole.next_block(alloc::vec![whole.anchor(&batch)]);
    assert_eq!(light.accept_header(anchors.header), Ok(None));
    let excerpt = Excerpt::of(&anchors, &[1]).expect("the coinbase is there");
    let events = light.connect_excerpt(excerpt).expect("cut from the block");
    assert_eq!(refusals(&events), [RuleError::DepositMissing { index: 0 }]);
}

#[test]
fn a_rewind_forgets_that_an_excerpt_was_seen() {
    let mut trunk = Branch::new();
    let batch = Batch { withdrawals: alloc::vec![5], ..trunk.batch() };
    trunk.mine(alloc::vec![trunk.anchor(&batch)]);
    let mut branch = trunk.fork(1);
    let mut light = trunk.follower.clone();
    let lost = trunk.next_block(Vec::new());
    assert_eq!(light.accept_header(lost.header), Ok(None));
    let excerpt = Excerpt::of(&lost, &[]).expect("the coinbase is there");
    assert_eq!(light.connect_excerpt(excerpt), Ok(Vec::new()));
    assert!(!light.is_complete());
    let mut next = || {
        let block = branch.next_block(Vec::new());
        branch.follow(block.clone());
        block
    };
    let blocks: Vec<_> = (0..FINAL_DEPTH_BLOCKS).map(|_| next()).collect();
    for block in &blocks {
        light.accept_header(block.header).expect("mined by the rules");
    }
    assert!(light.is_complete());
    let connect = |block| light.connect(block).expect("mined by the rules");
    let events: Vec<_> = blocks.into_iter().flat_map(connect).collect();
    assert_eq!(due(&events), [(0, 0, 5)]);
}
