//! Reorganisations at every state and of every depth: a confirmation is read, never remembered.

use crate::testing::rig::{Rig, prove_again};
use crate::{
    anchoring::{JobState, ServiceError},
    follow::FollowError,
    testing::toy_rollup::FINAL_DEPTH_BLOCKS as FINAL_DEPTH_BLOCKS_OF_THE_TOY,
};

/// Deeper than any reorganisation here.
const FINAL_DEPTH_BLOCKS: u32 = 40;

/// What a reorganisation takes, by its depth below the tip right after the anchor's block. The rig's batch refers to
/// the block two below the anchor's, and credits deposits from five and six below that.
fn is_reference_gone(depth: u32) -> bool {
    depth >= 3
}

fn are_deposits_gone(depth: u32) -> bool {
    depth >= 8
}

#[test]
fn an_anchor_comes_back_from_every_depth_and_state() {
    for buried in 0..4u32 {
        for depth in 1..=10u32 {
            for is_forgotten in [false, true] {
                let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
                rig.tick();
                rig.mine_and_tick(1 + buried);
                let expected = if buried < 2 { JobState::InBlock } else { JobState::Safe };
                assert_eq!(rig.state(0), expected);
                let depth_of_anchor = depth.saturating_sub(buried);
                if is_forgotten {
                    drop(rig.displace(depth))
                } else {
                    rig.reorganise(depth)
                }
                rig.tick();
                let case = format!("{buried} blocks above the anchor, {depth} replaced, forgotten: {is_forgotten}");
                if depth_of_anchor == 0 {
                    assert!(matches!(rig.state(0), JobState::InBlock | JobState::Safe), "{case}");
                    continue;
                }
                if are_deposits_gone(depth_of_anchor) {
                    assert_eq!(rig.state(0), JobState::Stale, "{case}");
                    let reason = &rig.job(0).history().last().expect("moved").reason;
                    assert!(reason.contains("prove it again"), "{reason}");
                    if is_forgotten {
                        // Nobody has the deposits any more, so there is nothing to prove.
                        continue;
                    }
                    rig.mine(1);
                    prove_again(&mut rig);
                }
                // One block for the deposits or a leftover, one for the anchor.
                rig.mine_and_tick(3);
                assert!(matches!(rig.state(0), JobState::InBlock | JobState::Safe), "{case}: {}", rig.state(0));
                assert_eq!(rig.anchored(), 1, "{case}");
                let generations = rig.job(0).generations().len();
                let rebuilt = is_reference_gone(depth_of_anchor);
                assert_eq!(generations, if rebuilt { 2 } else { 1 }, "{case}");
                rig.restart();
                rig.mine_and_tick(FINAL_DEPTH_BLOCKS);
                assert_eq!(rig.state(0), JobState::Final, "{case}");
            }
        }
    }
}

#[test]
fn a_node_that_fails_in_the_middle_of_a_reorganisation_is_followed_on() {
    // More calls than it takes to read the branch.
    const CALLS: u64 = 24;
    for (depth, answers) in [2, 4].into_iter().flat_map(|depth| (0..CALLS).map(move |answers| (depth, answers))) {
        let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
        rig.tick();
        rig.mine_and_tick(2);
        assert_eq!(rig.state(0), JobState::InBlock);
        drop(rig.displace(depth));
        // The branch goes on above the header that outweighs what was best, and headers come one by one.
        (0..3).for_each(|_| rig.mine_only(&[]));
        rig.outlook.headers_max = 1;
        rig.outlook.answers.set(answers);
        assert!(rig.try_tick().is_err(), "{depth} replaced, {answers} answers");
        rig.outlook.answers.set(u64::MAX);
        rig.tick();
        assert_eq!(rig.state(0), JobState::RevealSent, "{depth} replaced, {answers} answers");
        rig.mine_and_tick(2);
        assert_eq!((rig.state(0), rig.anchored()), (JobState::InBlock, 1), "{depth} replaced, {answers} answers");
    }
}

#[test]
fn an_anchor_that_left_the_chain_has_its_time_before_it_is_bumped() {
    let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
    rig.tick();
    rig.mine_and_tick(5);
    assert_eq!(rig.state(0), JobState::Safe);
    rig.reorganise(5);
    rig.tick();
    rig.restart();
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent, "sent again as it is");
    for (state, _) in [JobState::RevealSent, JobState::RevealSent, JobState::Bumped].iter().zip(0..) {
        rig.mine_only(&[]);
        rig.tick();
        assert_eq!(rig.state(0), *state);
    }
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}

#[test]
fn a_reorganisation_before_anything_is_in_a_block_rebuilds_the_payload() {
    for (what, stop_at) in [("signed", Some(3)), ("sent", None)] {
        for depth in 1..=6 {
            let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
            rig.script.stop_at = stop_at;
            assert_eq!(rig.try_tick().is_err(), stop_at.is_some());
            rig.script.stop_at = None;
            // Here the reference is one below the tip.
            rig.reorganise(depth);
            rig.restart();
            rig.tick();
            assert_eq!(rig.state(0), JobState::RevealSent, "{what}, {depth} replaced");
            let rebuilt = depth >= 2 && stop_at.is_none();
            assert_eq!(rig.job(0).generations().len(), if rebuilt { 2 } else { 1 }, "{what}, {depth} replaced");
            rig.mine_and_tick(1);
            assert_eq!(rig.state(0), JobState::InBlock, "{what}, {depth} replaced");
        }
    }
}

#[test]
fn the_branch_that_comes_back_finds_its_anchor_again() {
    let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
    rig.tick();
    rig.mine_and_tick(1);
    // The reference vanishes, and the new payload is sent; then the anchor of the first one is mined nevertheless.
    rig.reorganise(4);
    rig.tick();
    assert_eq!(rig.job(0).generations().len(), 2);
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
    let adopted = rig.job(0).history().last().expect("moved").reason.clone();
    let reveal = rig.job(0).generations()[1].attempts()[0].transaction().compute_txid();
    assert!(adopted.contains(&reveal.to_string()), "the one that the chain accepts: {adopted}");
}

#[test]
fn batches_that_left_the_chain_together_come_back_in_order() {
    let mut rig = Rig::with_final_depth(3, FINAL_DEPTH_BLOCKS);
    rig.tick();
    rig.mine_and_tick(3);
    assert_eq!(rig.anchored(), 3);
    drop(rig.displace(3));
    rig.tick();
    assert!([0, 1, 2].iter().all(|batch| matches!(rig.state(*batch), JobState::RevealSent | JobState::Bumped)));
    assert_eq!(rig.job(2).hold(), Some(&crate::anchoring::Hold::PreviousBatch(0)));
    rig.mine_and_tick(6);
    assert_eq!(rig.anchored(), 3);
    assert!([0, 1, 2].iter().all(|batch| matches!(rig.state(*batch), JobState::InBlock | JobState::Safe)));
}

#[test]
fn a_coin_that_was_orphaned_is_replaced_by_another() {
    let mut rig = Rig::with_final_depth(1, FINAL_DEPTH_BLOCKS);
    // The one coin of a poster of its own, in the last block.
    rig.key = taproof_wallet::Wallet::from_seed(&[9; 32], bitcoin::Network::Regtest)
        .and_then(|wallet| wallet.poster_key(0))
        .expect("a key");
    super::fund(&mut rig, 40_000_000);
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    drop(rig.displace(1));
    rig.tick();
    assert_eq!(rig.state(0), JobState::Waiting, "{:?}", rig.job(0).hold());
    super::fund(&mut rig, 50_000_000);
    rig.mine_and_tick(2);
    assert_eq!(rig.state(0), JobState::InBlock);
    assert_eq!(rig.job(0).generations().len(), 2);
}

#[test]
fn a_batch_that_was_final_is_anchored_again_where_its_chain_is_gone() {
    for is_forgotten in [false, true] {
        let mut rig = Rig::new(1);
        rig.tick();
        rig.mine_and_tick(1 + FINAL_DEPTH_BLOCKS_OF_THE_TOY);
        assert_eq!((rig.state(0), rig.job(0).is_closed()), (JobState::Final, true));
        // The service that runs does not go below what was final; one that begins anew follows the chain as it is.
        let depth = FINAL_DEPTH_BLOCKS_OF_THE_TOY + 1;
        if is_forgotten {
            drop(rig.displace(depth))
        } else {
            rig.reorganise(depth)
        }
        rig.restart();
        rig.tick();
        assert_eq!((rig.state(0), rig.job(0).is_closed()), (JobState::RevealSent, false), "forgotten: {is_forgotten}");
        rig.mine_and_tick(1 + FINAL_DEPTH_BLOCKS_OF_THE_TOY);
        assert_eq!((rig.state(0), rig.job(0).is_closed(), rig.anchored()), (JobState::Final, true, 1));
    }
}

#[test]
fn a_node_with_less_work_than_before_is_told_as_that_and_waited_for() {
    let mut rig = Rig::new(1);
    rig.tick();
    rig.mine_and_tick(3);
    let before = rig.toy.node.chain().clone();
    rig.mine_and_tick(1);
    let height = rig.toy.node.chain().height();
    // The node leaves its last block, as at an operator's command.
    *rig.toy.node.chain_mut() = before;
    let error = rig.try_tick().expect_err("it is behind what was followed");
    assert!(
        matches!(&error, ServiceError::Follow(FollowError::NoMoreWork { followed, tip_height })
            if (followed.height, *tip_height) == (height, height - 1)),
        "{error}"
    );
    assert!(error.is_transient());
    rig.mine(2);
    assert_eq!(rig.tick().tip.height, height + 1);
}
