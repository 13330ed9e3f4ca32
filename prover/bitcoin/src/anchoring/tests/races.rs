//! Others at work on the same chain: a second service, a thief of coins, miners, fees.

use crate::{
    anchoring::{BatchSource, Generation, Hold, Identity, JobState, Order, Service, Signer, Store},
    coins::CoinStore,
    follow,
    node::EmbeddedNode,
    testing::{
        rig::{Rig, Script, prove_again, rate},
        toy_rollup::other_proofs,
    },
};
use bitcoin::{Amount, Network, TxOut};
use taproof_wallet::{PosterKey, Wallet};

pub(super) fn rival_key() -> PosterKey {
    let wallet = Wallet::from_seed(&[8; 32], Network::Regtest).expect("32 bytes");
    wallet.poster_key(0).expect("a small number")
}

/// A second service with a key, coins and a store of its own.
fn rival<S: BatchSource>(rig: &mut Rig, batches: S, folder: &tempfile::TempDir) -> Service<S> {
    let key = rival_key();
    let coin = TxOut { value: Amount::from_sat(30_000_000), script_pubkey: key.script_pubkey() };
    let payment = crate::anchor::pay(vec![coin], rate("1"), &super::rig_coins(rig), &rig.toy.poster).expect("coins");
    rig.mine_only(&[payment]);
    let params = &rig.toy.params;
    let identity = Identity::new(params.chain_id(), &key.scripts());
    let store = Store::open(&folder.path().join("rival.redb"), identity).expect("a new store");
    let follower = follow::start(rig.node(), params.clone(), rig.toy.program.clone()).expect("the toy's chain");
    let coins = CoinStore::new(folder.path().join("coins.redb"));
    Service::new(store, coins, Signer::Key(key), rig.config, follower, batches).expect("a new store")
}

/// Services that have sent the first of so many batches, each with proofs of its own and none of them mined: ours,
/// the rival's anchor of that batch, and ours of it.
fn race(batches: u64) -> (Rig, Generation, Generation) {
    let mut rig = Rig::new(batches);
    let copies = crate::testing::rig::ProvenBatches::default();
    copies.0.borrow_mut().insert(0, other_proofs(&rig.batches.0.borrow()[&0]));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (mut other, mut script) = (rival(&mut rig, copies, &folder), Script::default());
    rig.tick();
    other.tick(&rig.toy.node, &mut script).expect("it answers");
    let foreign = other.job(0).expect("proven").generations()[0].clone();
    let ours = rig.job(0).generations()[0].clone();
    (rig, foreign, ours)
}

#[test]
fn of_two_services_one_anchors_and_both_adopt_it() {
    let mut rig = Rig::new(2);
    let copies = crate::testing::rig::ProvenBatches::default();
    for (batch, proven) in rig.batches.0.borrow().iter() {
        copies.0.borrow_mut().insert(*batch, other_proofs(proven));
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (mut other, mut script) = (rival(&mut rig, copies, &folder), Script::default());
    for _ in 0..10 {
        other.tick(&rig.toy.node, &mut script).expect("it answers");
        rig.tick();
        rig.mine(1);
    }
    other.tick(&rig.toy.node, &mut script).expect("it answers");
    rig.tick();
    assert_eq!(rig.anchored(), 2, "each batch once, the second on whatever copy of the first was accepted");
    for batch in 0..2 {
        assert_eq!(rig.state(batch), JobState::Final);
        assert_eq!(other.job(batch).expect("proven").state(), JobState::Final);
    }
    let last = |job: &crate::anchoring::Job| job.history().iter().map(|moved| moved.reason.clone()).collect::<String>();
    let by_others = [last(rig.job(0)), last(other.job(0).expect("proven"))].map(|log| log.contains("somebody else"));
    assert_eq!(by_others.iter().filter(|by_others| **by_others).count(), 1);
}

#[test]
fn a_batch_is_rebuilt_on_a_foreign_copy_of_the_one_before() {
    let (mut rig, foreign, ours) = race(2);
    // A miner takes the foreign copy first. Ours is mined, too, but for its reveal.
    let block = [foreign.commit().clone(), foreign.attempts()[0].transaction().clone(), ours.commit().clone()];
    rig.mine_only(&block);
    rig.tick();
    assert_eq!(rig.state(0), JobState::InBlock, "adopted");
    assert_eq!(rig.state(1), JobState::RevealSent);
    let header = taproof_verifier::payload::Header::decode(rig.job(1).generations()[0].payload()).expect("a payload");
    assert_eq!(header.previous_payload_hash, foreign.payload_hash());
    // What ours locked is taken back at once, from under the reveal that waits.
    let sweep = rig.job(0).generations()[0].sweeps()[0].transaction().compute_txid();
    assert_eq!(rig.node().pool_spender(&ours.output()).expect("it answers"), Some(sweep));
    rig.mine_and_tick(9);
    assert_eq!((rig.state(0), rig.state(1)), (JobState::Final, JobState::Final));
    assert!(rig.job(0).is_closed());
}

#[test]
fn what_a_pool_forgot_of_a_lost_batch_is_swept_when_that_is_safe() {
    let (mut rig, foreign, ours) = race(1);
    rig.mine_only(&[foreign.commit().clone(), foreign.attempts()[0].transaction().clone(), ours.commit().clone()]);
    rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
    for depth in 1..=2 {
        rig.tick();
        assert!(rig.job(0).generations()[0].sweeps().is_empty(), "{depth} deep, it may be needed again");
        rig.mine_only(&[]);
    }
    rig.tick();
    assert_eq!((rig.state(0), rig.job(0).generations()[0].sweeps().len()), (JobState::Safe, 1));
    rig.mine_and_tick(8);
    assert!(rig.job(0).is_closed());
}

#[test]
fn a_reveal_that_lost_gives_way_to_a_sweep_at_once_and_is_sent_again_where_its_chain_comes_back() {
    for (commit_is_mined, comes_back) in [(false, false), (true, false), (false, true), (true, true)] {
        println!("commit mined: {commit_is_mined}, chain comes back: {comes_back}");
        let (mut rig, foreign, ours) = race(1);
        let mut block = vec![foreign.commit().clone(), foreign.attempts()[0].transaction().clone()];
        block.extend(commit_is_mined.then(|| ours.commit().clone()));
        rig.mine_only(&block);
        rig.tick();
        assert_eq!(rig.state(0), JobState::InBlock);
        let sweep = rig.job(0).generations()[0].sweeps()[0].clone();
        assert_eq!(
            rig.node().pool_spender(&ours.output()).expect("it answers"),
            Some(sweep.transaction().compute_txid())
        );
        let vsize_vb = sweep.transaction().vsize() as u64;
        assert!(sweep.fee_sat() >= ours.attempts()[0].fee_sat() + vsize_vb.div_ceil(10), "as BIP-125 asks");
        assert!(sweep.fee_sat() <= ours.attempts()[0].fee_sat() + vsize_vb, "and not much more");
        rig.restart();
        rig.tick();
        assert_eq!(rig.job(0).generations()[0].sweeps().len(), 1, "once");
        if comes_back {
            rig.displace(1);
            rig.tick();
            assert_eq!((rig.state(0), package_waits(&rig)), (JobState::RevealSent, true), "{:?}", rig.job(0).hold());
            rig.mine_and_tick(1);
            assert_eq!((rig.state(0), rig.anchored()), (JobState::InBlock, 1));
            let history = rig.job(0).history().last().expect("it moved").reason.clone();
            assert!(!history.contains("somebody else"), "{history}");
        }
        rig.mine_and_tick(7);
        assert_eq!((rig.state(0), rig.anchored()), (JobState::Final, 1));
        assert!(rig.job(0).is_closed(), "nothing is left to take back");
    }
}

#[test]
fn an_abandoned_reveal_gives_way_to_a_sweep_at_once_and_the_batch_can_be_taken_up_again() {
    for (commit_is_mined, sweep_is_mined) in [(false, false), (true, false), (false, true), (true, true)] {
        println!("commit mined: {commit_is_mined}, sweep mined before the batch is taken up again: {sweep_is_mined}");
        let mut rig = Rig::new(1);
        rig.tick();
        let generation = rig.job(0).generations()[0].clone();
        let block: Vec<_> = commit_is_mined.then(|| generation.commit().clone()).into_iter().collect();
        rig.mine_only(&block);
        rig.store().put_order(0, Order::Abandon).expect("ours");
        rig.tick();
        let sweep = rig.job(0).generations()[0].sweeps()[0].transaction().compute_txid();
        let spender = rig.node().pool_spender(&generation.output()).expect("it answers");
        assert_eq!((rig.state(0), spender), (JobState::Abandoned, Some(sweep)));
        rig.restart();
        rig.tick();
        assert_eq!(rig.job(0).generations()[0].sweeps().len(), 1, "once");
        if sweep_is_mined {
            rig.mine_and_tick(1);
            assert_eq!((rig.state(0), rig.anchored()), (JobState::Swept, 0), "an ordinary block anchors nothing");
        }
        rig.store().put_order(0, Order::Resume).expect("ours");
        rig.tick();
        assert_eq!((rig.state(0), package_waits(&rig)), (JobState::RevealSent, true), "{:?}", rig.job(0).hold());
        assert_eq!(rig.job(0).generations().len(), 2, "another commit");
        rig.mine_and_tick(8);
        assert_eq!((rig.state(0), rig.anchored()), (JobState::Final, 1));
        assert!(rig.job(0).is_closed(), "nothing is left to take back");
    }
}

/// A batch was taken back and made and proven again, at a later block, while the anchor of the first waits: both
/// would be accepted.
#[test]
fn a_batch_that_was_proven_again_takes_the_place_of_its_own_reveal_that_waits() {
    for (commit_is_mined, is_abandoned) in [(false, false), (true, false), (false, true), (true, true)] {
        println!("commit mined: {commit_is_mined}, given up before: {is_abandoned}");
        let mut rig = Rig::new(1);
        rig.tick();
        let first = rig.job(0).generations()[0].clone();
        let block: Vec<_> = commit_is_mined.then(|| first.commit().clone()).into_iter().collect();
        rig.mine_only(&block);
        if is_abandoned {
            rig.store().put_order(0, Order::Abandon).expect("ours");
            rig.tick();
            assert_eq!(rig.state(0), JobState::Abandoned);
        }
        let before = rig.batches.0.borrow()[&0].clone();
        prove_again(&mut rig);
        assert_ne!(rig.batches.0.borrow()[&0].payload().header(), before.payload().header());
        rig.tick();
        let sweep = rig.job(0).generations()[0].sweeps()[0].transaction().compute_txid();
        assert_eq!(rig.node().pool_spender(&first.output()).expect("it answers"), Some(sweep), "in the reveal's place");
        assert_eq!((rig.state(0), rig.job(0).generations().len()), (JobState::RevealSent, 2));
        rig.restart();
        rig.tick();
        assert_eq!(rig.job(0).generations()[0].sweeps().len(), 1, "once");
        rig.mine_and_tick(8);
        assert_eq!((rig.state(0), rig.anchored()), (JobState::Final, 1), "what was proven last is in the chain");
        assert!(rig.job(0).is_closed(), "nothing is left to take back");
    }
}

#[test]
fn a_commit_that_is_given_up_before_its_reveal_is_swept_from_the_pool() {
    let mut rig = Rig::new(1);
    // Stopped when the commit was handed over, before the reveal is marked as sent.
    rig.script.stop_at = Some(7);
    rig.try_tick().expect_err("stopped");
    assert_eq!(rig.state(0), JobState::CommitSent);
    rig.restart();
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.mine_only(&[]);
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    let sweep = generation.sweeps()[0].transaction().compute_txid();
    assert_eq!(rig.node().pool_spender(&generation.output()).expect("it answers"), Some(sweep));
    rig.mine_and_tick(1);
    assert_eq!((rig.state(0), rig.anchored()), (JobState::Swept, 0));
}

#[test]
fn a_coin_that_somebody_else_spends_is_replaced() {
    let mut rig = Rig::new(1);
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    let coin = generation.funding()[0].clone();
    let output = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: rival_key().script_pubkey() };
    let theft = crate::anchor::pay(vec![output], rate("3"), &[coin], &rig.toy.poster).expect("a coin");
    rig.mine_only(&[theft]);
    rig.tick();
    assert_eq!(rig.job(0).generations().len(), 2);
    assert_eq!(rig.state(0), JobState::RevealSent);
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
    rig.mine_and_tick(6);
    assert!(rig.job(0).is_closed(), "nothing is left of the first commit");
}

#[test]
fn a_coin_that_is_spent_in_the_pool_is_not_taken() {
    let mut rig = Rig::new(1);
    rig.key = rival_key();
    super::fund(&mut rig, 20_000_000);
    super::fund(&mut rig, 19_000_000);
    let largest = rig.node().coins(&[rig.key.script_pubkey()]).expect("it answers").coins.into_iter();
    let largest = largest.max_by_key(|coin| coin.output.value).expect("two coins");
    let funding = crate::anchor::Funding { outpoint: largest.outpoint, output: largest.output };
    let output = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: rival_key().script_pubkey() };
    let payment = crate::anchor::pay(vec![output], rate("3"), &[funding], &rig.key).expect("a coin");
    rig.node().send(&payment).expect("standard");
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    let spent = rig.job(0).generations()[0].funding().to_vec();
    assert!(spent.iter().all(|coin| coin.outpoint != largest.outpoint));
}

#[test]
fn batches_never_share_a_coin_nor_spend_fresh_change() {
    let mut rig = Rig::new(3);
    rig.tick();
    for _ in 0..3 {
        let waiting: Vec<_> = (0..3).flat_map(|batch| rig.job(batch).generations().to_vec()).collect();
        for generation in &waiting {
            for coin in generation.funding() {
                let sharing = waiting.iter().filter(|other| other.funding().contains(coin)).count();
                assert_eq!(sharing, 1, "a coin of one anchor alone");
            }
        }
        rig.mine_and_tick(1);
    }
    assert_eq!(rig.anchored(), 3);
}

#[test]
fn a_fee_spike_is_followed_up_to_the_cap() {
    let mut rig = Rig::new(1);
    rig.config.fee_cap = rate("60");
    rig.tick();
    rig.outlook.estimate = Some(rate("40"));
    for _ in 0..3 {
        rig.mine_only(&[]);
        rig.tick();
    }
    let paid = |rig: &Rig| {
        let figures = rig.job(0).figures().expect("built");
        figures.fee_sat * 1_000 / figures.vsize_vb
    };
    assert!((40_000..40_100).contains(&paid(&rig)), "{}", paid(&rig));
    rig.outlook.estimate = Some(rate("500"));
    for _ in 0..6 {
        rig.mine_only(&[]);
        rig.tick();
    }
    assert!((59_000..=60_000).contains(&paid(&rig)), "{}", paid(&rig));
    assert!(matches!(rig.job(0).hold(), Some(Hold::AtCap { .. })), "{:?}", rig.job(0).hold());
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}

#[test]
fn a_pool_whose_minimum_rose_gets_the_reveal_again_at_a_higher_fee() {
    let mut rig = Rig::new(1);
    rig.tick();
    let commit = rig.job(0).generations()[0].commit().clone();
    rig.mine_only(&[commit]);
    // The pool forgets the reveal and takes it back only for more.
    rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
    rig.outlook.min_pool = rate("8");
    rig.tick();
    assert_eq!(rig.state(0), JobState::Bumped, "{:?}", rig.job(0).hold());
    let reveal = rig.job(0).figures().expect("built").reveal;
    assert!(rig.node().pool_entry(&reveal).expect("it answers").is_some());
}

/// Whether the node's pool holds commit and latest reveal.
fn package_waits(rig: &Rig) -> bool {
    let figures = rig.job(0).figures().expect("built");
    let waits = |txid| rig.node().pool_entry(txid).expect("it answers").is_some();
    waits(&figures.commit) && waits(&figures.reveal)
}

/// What commit and latest reveal pay, in satoshi a thousand virtual bytes, and what the commit pays by itself.
fn rates(rig: &Rig) -> (u64, u64) {
    let figures = rig.job(0).figures().expect("built");
    let generation = &rig.job(0).generations()[0];
    let own = generation.commit_fee_sat() * 1_000 / generation.commit().vsize() as u64;
    (figures.fee_sat * 1_000 / figures.vsize_vb, own)
}

#[test]
fn a_commit_below_the_pools_minimum_goes_with_a_reveal_that_pays_for_both() {
    let mut rig = Rig::new(1);
    rig.tick();
    // The pool is lost, and takes both back only for more: together, since the commit's fee is what it is.
    let forget = |rig: &mut Rig| {
        rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
        rig.mine_only(&[]);
    };
    forget(&mut rig);
    rig.outlook.min_pool = rate("8");
    rig.tick();
    assert!(package_waits(&rig), "{:?}", rig.job(0).hold());
    let (together, commit) = rates(&rig);
    assert!(together >= 8_000 && commit < 8_000, "{together} and {commit}");
    assert_eq!((rig.state(0), rig.job(0).generations().len()), (JobState::Bumped, 1));
    // What pays enough is repeated as it is.
    forget(&mut rig);
    rig.restart();
    rig.tick();
    assert!(package_waits(&rig));
    assert_eq!(rig.job(0).figures().expect("built").attempts, 2);
    // Above the cap nothing enters; below it again, the pair does.
    forget(&mut rig);
    rig.outlook.min_pool = rate("101");
    rig.tick();
    assert!(matches!(rig.job(0).hold(), Some(Hold::Refused { .. })), "{:?}", rig.job(0).hold());
    assert!(!package_waits(&rig));
    rig.outlook.min_pool = rate("8");
    rig.mine_only(&[]);
    rig.tick();
    assert!(package_waits(&rig));
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}

#[test]
fn a_commit_that_nobody_has_seen_is_built_anew_for_a_pool_whose_minimum_rose() {
    let mut rig = Rig::new(1);
    // Stopped before the commit is marked as sent.
    rig.script.stop_at = Some(3);
    rig.try_tick().expect_err("stopped");
    let unseen = rig.job(0).generations()[0].commit().compute_txid();
    rig.restart();
    rig.outlook.min_pool = rate("8");
    rig.tick();
    assert!(package_waits(&rig), "{:?}", rig.job(0).hold());
    let (together, commit) = rates(&rig);
    assert!(together >= 8_000 && commit >= 8_000, "{together} and {commit}: neither needs the other");
    assert_eq!((rig.state(0), rig.job(0).generations().len()), (JobState::RevealSent, 1));
    assert_ne!(rig.job(0).figures().expect("built").commit, unseen);
}

#[test]
fn a_commit_whose_reveal_went_nowhere_gets_a_dearer_one() {
    let mut rig = Rig::new(1);
    // Stopped when the commit was handed over, before the reveal is marked as sent.
    rig.script.stop_at = Some(7);
    rig.try_tick().expect_err("stopped");
    assert_eq!(rig.state(0), JobState::CommitSent);
    rig.restart();
    rig.outlook.min_pool = rate("8");
    rig.tick();
    assert!(package_waits(&rig), "{:?}", rig.job(0).hold());
    rig.mine_and_tick(1);
    assert_eq!((rig.state(0), rig.job(0).generations().len()), (JobState::InBlock, 1));
}

#[test]
fn a_node_that_is_not_up_to_date_is_not_acted_on() {
    let mut rig = Rig::new(1);
    rig.outlook.is_syncing = true;
    rig.tick();
    let blocks = rig.toy.node.chain().height();
    let hold = Hold::InitialDownload { blocks };
    assert_eq!(rig.job(0).hold(), Some(&hold));
    assert!(hold.to_string().contains("initial download") && hold.advice().is_some());
    assert!(rig.job(0).generations().is_empty());
    rig.outlook.is_syncing = false;
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    rig.outlook.is_syncing = true;
    rig.mine(1);
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent, "what such a node says is not believed");
}
