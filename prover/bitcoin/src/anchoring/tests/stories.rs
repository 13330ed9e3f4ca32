//! What happens to anchors, told on the embedded chain.

use crate::anchoring::{BumpOrder, Hold, Job, JobState, Order};
use crate::testing::rig::{Rig, rate};
use JobState::{Bumped, CommitSent, Final, InBlock, RevealSent, Safe, Signed, Waiting};

#[test]
fn batches_go_through_all_states_in_order() {
    let mut rig = Rig::new(2);
    rig.tick();
    assert_eq!(rig.states(0), [Signed, CommitSent, RevealSent]);
    assert_eq!(rig.job(1).hold(), Some(&Hold::PreviousBatch(0)));
    assert_eq!(rig.state(1), Waiting, "a payload names its predecessor's hash");
    rig.mine_and_tick(1);
    assert_eq!((rig.state(0), rig.state(1)), (InBlock, RevealSent));
    rig.mine_and_tick(2);
    assert_eq!((rig.state(0), rig.state(1)), (Safe, InBlock));
    rig.mine_and_tick(6);
    assert_eq!((rig.state(0), rig.state(1)), (Final, Final));
    assert_eq!(rig.states(1), [Signed, CommitSent, RevealSent, InBlock, Safe, Final]);
    assert!(rig.job(0).is_closed() && rig.job(1).is_closed());
    assert_eq!(rig.anchored(), 2);
    let steps = rig.script.steps.len();
    rig.restart();
    rig.mine_and_tick(3);
    assert_eq!(rig.script.steps.len(), steps, "what is final is left alone");
}

#[test]
fn an_anchor_that_is_not_mined_is_bumped_on_schedule_up_to_the_cap() {
    let mut rig = Rig::new(1);
    rig.config.fee_cap = rate("2");
    rig.tick();
    let mut fees = vec![rig.job(0).figures().expect("built").fee_sat];
    for block in 1..=15 {
        rig.mine_only(&[]);
        rig.tick();
        let figures = rig.job(0).figures().expect("built");
        if fees.last() != Some(&figures.fee_sat) {
            assert_eq!(block % 3, 0, "every three blocks");
            fees.push(figures.fee_sat);
        }
        let paid = figures.fee_sat * 1_000 / figures.vsize_vb;
        assert!(paid <= 2_000, "never above the cap");
    }
    assert_eq!(rig.state(0), Bumped);
    assert!(fees.len() >= 3 && fees.windows(2).all(|pair| pair[1] > pair[0]), "{fees:?}");
    assert!(matches!(rig.job(0).hold(), Some(Hold::AtCap { .. })), "{:?}", rig.job(0).hold());
    assert!(rig.job(0).hold().and_then(Hold::advice).is_some());
    // Only one reveal waits, the last one.
    let job = rig.job(0);
    let attempts = job.generations()[0].attempts();
    let waits = |txid| rig.node().pool_entry(&txid).expect("it answers").is_some();
    let waiting: Vec<bool> = attempts.iter().map(|attempt| waits(attempt.transaction().compute_txid())).collect();
    assert_eq!(waiting.iter().filter(|waits| **waits).count(), 1);
    assert_eq!(waiting.last(), Some(&true));
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), InBlock);
}

#[test]
fn headroom_that_is_used_up_is_said() {
    let mut rig = Rig::new(1);
    rig.config.headroom = crate::anchoring::Headroom::Fixed(500);
    rig.tick();
    for _ in 0..30 {
        rig.mine_only(&[]);
        rig.tick();
    }
    assert_eq!(rig.state(0), Bumped);
    assert!(matches!(rig.job(0).hold(), Some(Hold::HeadroomUsed { .. })), "{:?}", rig.job(0).hold());
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), InBlock);
}

#[test]
fn a_bump_on_demand_pays_the_rate_that_is_wished_for_package_and_all() {
    let mut rig = Rig::new(1);
    rig.tick();
    let order = Order::Bump(BumpOrder { sat_per_kvb: Some(20_000) });
    rig.store().put_order(0, order).expect("the store is ours");
    rig.tick();
    assert_eq!(rig.state(0), Bumped);
    let figures = rig.job(0).figures().expect("built");
    let paid = figures.fee_sat * 1_000 / figures.vsize_vb;
    assert!((20_000..20_100).contains(&paid), "{paid} sat/kvB for commit and reveal together");
    rig.tick();
    assert_eq!(rig.job(0).figures().expect("built").attempts, 2, "an order is carried out once");
    assert!(rig.store().orders().expect("ours").is_empty());
}

#[test]
fn a_replacement_that_loses_to_its_original_is_no_loss() {
    let mut rig = Rig::new(1);
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    let original = [generation.commit().clone(), generation.attempts()[0].transaction().clone()];
    for _ in 0..3 {
        rig.mine_only(&[]);
        rig.tick();
    }
    assert_eq!(rig.state(0), Bumped);
    rig.mine_only(&original);
    rig.tick();
    assert_eq!(rig.state(0), InBlock, "whichever confirms is adopted");
    rig.mine_and_tick(6);
    assert_eq!(rig.state(0), Final);
    assert!(rig.job(0).generations()[0].sweeps().is_empty(), "nothing is left to sweep");
}

#[test]
fn what_the_pool_forgot_is_sent_again_at_every_block() {
    let mut rig = Rig::new(1);
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    let txids = [generation.commit().compute_txid(), generation.attempts()[0].transaction().compute_txid()];
    for _ in 0..2 {
        rig.toy.node = crate::node::EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
        rig.mine_only(&[]);
        assert_eq!(rig.node().pool_entry(&txids[0]).expect("it answers"), None);
        rig.tick();
        for txid in txids {
            assert!(rig.node().pool_entry(&txid).expect("it answers").is_some());
        }
    }
    assert_eq!(rig.job(0).generations().len(), 1);
}

#[test]
fn a_poster_without_coins_waits_for_them() {
    let mut rig = Rig::new(1);
    rig.key = taproof_wallet::Wallet::from_seed(&[9; 32], bitcoin::Network::Regtest)
        .and_then(|wallet| wallet.poster_key(0))
        .expect("a key");
    rig.tick();
    assert_eq!(rig.state(0), Waiting);
    assert!(matches!(rig.job(0).hold(), Some(Hold::NoCoins { available_sat: 0, .. })), "{:?}", rig.job(0).hold());
    // A reward is no coin before it is mature, and neither is what waits in the pool.
    let script = rig.key.script_pubkey();
    rig.toy.node.chain_mut().mine(&[], &script).expect("an empty block");
    rig.tick();
    assert_eq!(rig.state(0), Waiting);
    let coin = bitcoin::TxOut { value: bitcoin::Amount::from_sat(3_000), script_pubkey: script };
    let coins = super::rig_coins(&rig);
    let payment = crate::anchor::pay(vec![coin], rate("1"), &coins, &rig.toy.poster).expect("enough");
    rig.node().send(&payment).expect("standard");
    rig.tick();
    assert_eq!(rig.state(0), Waiting, "unconfirmed");
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), RevealSent, "the headroom is what the coins allow");
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), InBlock);
}

#[test]
fn an_abandoned_anchor_is_swept_and_can_be_taken_up_again() {
    let mut rig = Rig::new(1);
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    rig.mine_only(&[generation.commit().clone()]);
    rig.store().put_order(0, Order::Abandon).expect("the store is ours");
    rig.tick();
    assert_eq!(rig.state(0), JobState::Abandoned);
    let sweep = rig.job(0).generations()[0].sweeps()[0].transaction().clone();
    let spender = rig.node().pool_spender(&generation.output()).expect("it answers");
    assert_eq!(spender, Some(sweep.compute_txid()), "it replaces the reveal that waits");
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::Swept);
    assert_eq!(rig.anchored(), 0);
    rig.store().put_order(0, Order::Resume).expect("the store is ours");
    rig.tick();
    assert_eq!(rig.state(0), RevealSent);
    assert_eq!(rig.job(0).generations().len(), 2);
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), InBlock);
}

#[test]
fn an_anchor_that_was_abandoned_too_late_is_adopted() {
    let mut rig = Rig::new(1);
    rig.tick();
    rig.store().put_order(0, Order::Abandon).expect("the store is ours");
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), InBlock);
}

#[test]
fn a_look_costs_the_same_after_many_batches_as_after_few() {
    let mut rig = Rig::new(7);
    rig.config.closed_kept = 2;
    // Calls to the node by a look at which there is nothing to do.
    let cost = |rig: &mut Rig| {
        rig.tick();
        rig.outlook.answers.set(1_000);
        rig.tick();
        1_000 - rig.outlook.answers.replace(u64::MAX)
    };
    let batches = |rig: &Rig| rig.jobs().map(|job| (job.batch(), job.is_closed())).collect::<Vec<_>>();
    let held_back = rig.batches.0.borrow_mut().split_off(&3);
    rig.mine_and_tick(12);
    assert_eq!(batches(&rig), [(1, true), (2, true)]);
    let after_few = cost(&mut rig);
    rig.batches.0.borrow_mut().extend(held_back);
    rig.mine_and_tick(12);
    assert_eq!((rig.anchored(), batches(&rig)), (7, vec![(5, true), (6, true)]));
    assert_eq!(cost(&mut rig), after_few);
    let kept = |rig: &Rig| rig.store().jobs().expect("ours").iter().map(Job::batch).collect::<Vec<_>>();
    assert_eq!((kept(&rig), rig.store().payload_count()), (vec![5, 6], 2));
    // What is forgotten is known from the chain, and nothing of it comes back.
    rig.store().put_order(1, Order::Abandon).expect("ours");
    rig.restart();
    rig.mine_and_tick(2);
    assert_eq!((rig.anchored(), kept(&rig)), (7, vec![5, 6]));
    assert!(rig.script.notes.iter().any(|note| note.contains("OrderIgnored")));
}

#[test]
fn a_bump_above_the_cap_is_dropped_and_said() {
    let mut rig = Rig::new(1);
    rig.tick();
    let cap = rig.config.fee_cap;
    assert_eq!(rig.store().fee_cap().expect("ours"), Some(cap), "commands know it before they order");
    let above = Order::Bump(BumpOrder { sat_per_kvb: Some(cap.sat_per_kvb() + 1) });
    rig.store().put_order(0, above).expect("ours");
    rig.mine_only(&[]);
    rig.tick();
    assert_eq!(rig.state(0), RevealSent, "nothing is paid that was not asked for");
    assert!(rig.script.notes.iter().any(|note| note.contains("BumpAboveCap")), "{:?}", rig.script.notes);
    let at_cap = Order::Bump(BumpOrder { sat_per_kvb: Some(cap.sat_per_kvb()) });
    rig.store().put_order(0, at_cap).expect("ours");
    rig.tick();
    assert_eq!(rig.state(0), Bumped);
}

#[test]
fn a_bump_to_what_is_paid_already_and_one_of_what_was_given_up_change_nothing() {
    let mut rig = Rig::new(1);
    rig.tick();
    let bump = |rate: u64| Order::Bump(BumpOrder { sat_per_kvb: Some(rate * 1_000) });
    let figures = |rig: &Rig| rig.job(0).figures().expect("built");
    for (order, attempts, paid) in [(9, 2, 9), (9, 2, 9), (3, 2, 9), (20, 3, 20)] {
        rig.store().put_order(0, bump(order)).expect("ours");
        rig.tick();
        assert_eq!(
            (figures(&rig).attempts, figures(&rig).rate().sat_per_kvb() / 1_000),
            (attempts, paid),
            "to {order}"
        );
    }
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.tick();
    rig.store().put_order(0, bump(30)).expect("ours");
    rig.tick();
    assert!(rig.script.notes.iter().any(|note| note.contains("OrderIgnored")), "{:?}", rig.script.notes);
    rig.store().put_order(0, Order::Resume).expect("ours");
    rig.tick();
    assert_eq!(figures(&rig).attempts, 1, "nothing of it is left when the batch is taken up again");
}
