//! Killed before and after every durable write and every send, the service goes on to the same end.

use crate::testing::rig::{Rig, rate};
use crate::{
    anchoring::{JobState, Order, ServiceError},
    node::EmbeddedNode,
};

/// Ticks, and starts the service again if the script stopped it.
fn tick(rig: &mut Rig) -> bool {
    match rig.try_tick() {
        Ok(_) => false,
        Err(ServiceError::Stopped) => {
            rig.restart();
            rig.script.stop_at = None;
            rig.tick();
            true
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two batches, of which the first is bumped once, up to the end.
fn life(rig: &mut Rig) -> bool {
    let mut stopped = tick(rig);
    for _ in 0..3 {
        rig.mine_only(&[]);
        stopped |= tick(rig);
    }
    assert_eq!(rig.state(0), JobState::Bumped);
    for _ in 0..9 {
        rig.mine(1);
        stopped |= tick(rig);
    }
    stopped
}

#[test]
fn a_crash_at_any_step_changes_nothing() {
    let mut rig = Rig::new(2);
    assert!(!life(&mut rig));
    let steps = rig.script.steps.len();
    assert!(steps > 40, "stores and sends, before and after: {steps}");
    for stop_at in 0..steps {
        let mut rig = Rig::new(2);
        rig.script.stop_at = Some(stop_at);
        assert!(life(&mut rig), "step {stop_at}");
        assert_eq!(rig.anchored(), 2, "step {stop_at}");
        for batch in 0..2 {
            assert_eq!(rig.state(batch), JobState::Final, "step {stop_at}");
            assert_eq!(rig.job(batch).generations().len(), 1, "step {stop_at}: nothing was paid twice");
        }
    }
}

#[test]
fn a_crash_while_an_anchor_is_abandoned_changes_nothing() {
    for stop_at in 0.. {
        let mut rig = Rig::new(1);
        rig.tick();
        let commit = rig.job(0).generations()[0].commit().clone();
        rig.mine_only(&[commit]);
        rig.store().put_order(0, Order::Abandon).expect("ours");
        rig.script.steps.clear();
        rig.script.stop_at = Some(stop_at);
        let stopped = tick(&mut rig);
        rig.script.stop_at = None;
        rig.mine_and_tick(1);
        assert_eq!(rig.state(0), JobState::Swept, "step {stop_at}");
        assert_eq!(rig.job(0).generations()[0].sweeps().len(), 1, "step {stop_at}");
        if !stopped {
            assert!(stop_at > 4, "a store and a send, before and after");
            break;
        }
    }
}

#[test]
fn a_node_that_goes_down_at_any_call_changes_nothing() {
    for answers in 0.. {
        let mut rig = Rig::new(1);
        rig.outlook.answers.set(answers);
        let failed = match rig.try_tick() {
            Ok(_) => false,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                true
            }
        };
        rig.outlook.answers.set(u64::MAX);
        rig.mine_and_tick(2);
        assert!(matches!(rig.state(0), JobState::InBlock), "{answers} answers: {}", rig.state(0));
        assert_eq!(rig.job(0).generations().len(), 1, "{answers} answers");
        if !failed {
            break;
        }
    }
}

#[test]
fn a_crash_while_a_package_is_handed_over_changes_nothing() {
    for stop_at in 0.. {
        let mut rig = Rig::new(1);
        rig.tick();
        rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
        rig.outlook.min_pool = rate("8");
        rig.mine_only(&[]);
        rig.script.steps.clear();
        rig.script.stop_at = Some(stop_at);
        let stopped = tick(&mut rig);
        rig.script.stop_at = None;
        rig.mine_and_tick(1);
        assert_eq!(rig.state(0), JobState::InBlock, "step {stop_at}");
        assert_eq!(rig.job(0).generations().len(), 1, "step {stop_at}");
        assert_eq!(rig.job(0).generations()[0].attempts().len(), 2, "step {stop_at}");
        if !stopped {
            assert!(stop_at > 5, "refused, stored, then sent as one");
            break;
        }
    }
}
