//! Reorganisations below a final block: what they took back is remembered.

use super::*;

#[test]
fn what_was_final_and_left_the_chain_is_remembered_until_it_is_acknowledged() {
    let mut scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    assert_eq!(store.undone().expect("sound"), None);
    // One batch and its payout, then the other one, too.
    let second = store.anchor(1).expect("sound").expect("final").block.height;
    let first = store.anchor(0).expect("sound").expect("final").block.height;
    let stored = store.checkpoint().expect("sound").expect("written").block();
    let depth = scene.toy.node.chain().height() - second + 1;
    replace_last(&mut scene, depth);
    let (origin, ..) = scene.follow(&store).expect("a steady source");
    assert!(matches!(origin, Origin::Left { .. }));
    let expected = Undone { block: stored, fork_height: second - 1, first_batch: Some(1), batches: 1, payouts: 1 };
    // It is told again and again, though the follower goes on from what is stored now.
    for _ in 0..2 {
        assert_eq!(store.undone().expect("sound"), Some(expected));
        assert!(!scene.follow(&store).expect("a steady source").0.is_fallback());
    }
    assert!(expected.has_batch(1) && !expected.has_batch(0) && !expected.has_batch(2));
    let told = expected.to_string();
    assert!(told.starts_with("a reorganisation below a final block") && told.contains("batch 1 was final"), "{told}");
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    scene.follow(&store).expect("a steady source");
    let depth = scene.toy.node.chain().height() - first + 1;
    replace_last(&mut scene, depth);
    scene.follow(&store).expect("a steady source");
    let both = store.undone().expect("sound").expect("remembered");
    assert_eq!((both.first_batch, both.batches, both.payouts, both.fork_height), (Some(0), 2, 1, first - 1));
    store.acknowledge_undone().expect("room");
    assert_eq!(store.undone().expect("sound"), None);
    assert!(!scene.follow(&store).expect("a steady source").0.is_fallback());
}
