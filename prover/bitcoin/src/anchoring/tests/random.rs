//! Hundreds of blocks of random events around the service alone: whatever happens in which order, every batch gets
//! into the chain, once, and within its fees. The storm of `prover/testkit` does it with ledgers, users and the bridge.

use crate::testing::rig::{Rig, check_cap, rate};
use crate::{
    anchoring::{BumpOrder, JobState, Order, ServiceError},
    node::EmbeddedNode,
};
use bitcoin::{Amount, OutPoint, TxOut};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::collections::HashMap;

/// Deeper than any reorganisation here.
const FINAL_DEPTH_BLOCKS: u32 = 12;
const REORG_MAX_BLOCKS: u32 = 10;
const BATCHES: u64 = 12;
const EVENTS: u32 = 250;
const SEEDS: [u64; 1] = [1];

/// Ticks; a service that was stopped or met a node that was down starts again at the next event.
fn tick(rig: &mut Rig) {
    match rig.try_tick() {
        Ok(_) => check(rig),
        Err(ServiceError::Stopped) => rig.restart(),
        Err(error) => assert!(error.is_transient(), "{error}"),
    }
    rig.script.stop_at = None;
    rig.script.steps.clear();
    rig.outlook.answers.set(u64::MAX);
}

/// What holds after every look.
fn check(rig: &Rig) {
    let mut owners: HashMap<OutPoint, u64> = HashMap::new();
    for batch in (0..BATCHES).filter(|batch| rig.batches.0.borrow().contains_key(batch)) {
        let Some(job) = rig.jobs().find(|job| job.batch() == batch) else { continue };
        for generation in job.generations().iter().filter(|_| !job.is_closed()) {
            let confirmed = |outpoint: &OutPoint| rig.toy.node.chain().coin(outpoint).is_some();
            for coin in generation.funding().iter().filter(|coin| confirmed(&coin.outpoint)) {
                // A coin may pass on from a commit that is dead, so only the present is looked at.
                let is_waiting =
                    rig.node().pool_entry(&generation.commit().compute_txid()).expect("it answers").is_some();
                if is_waiting {
                    assert_eq!(owners.insert(coin.outpoint, batch), None, "a coin of two anchors");
                }
            }
        }
        if !job.is_closed() {
            check_cap(job, rig.config.fee_cap);
        }
    }
}

fn event(rig: &mut Rig, rng: &mut ChaCha20Rng, base_height: u32) {
    let room = rig.toy.node.chain().height() - base_height;
    match rng.gen_range(0..20) {
        0..=5 => rig.mine(1),
        6..=8 => rig.mine_only(&[]),
        9 => rig.reorganise(rng.gen_range(1..=REORG_MAX_BLOCKS).min(room)),
        10 => drop(rig.displace(rng.gen_range(1..=3).min(room))),
        11 => rig.restart(),
        12 => rig.script.stop_at = Some(rng.gen_range(0..12)),
        13 => rig.outlook.answers.set(rng.gen_range(0..60)),
        14 => rig.outlook.estimate = Some(rate(["0.5", "1", "7", "25.125", "300"][rng.gen_range(0..5)])),
        15 => {
            // The node lost its pool.
            rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
        }
        16 => {
            let batch = rng.gen_range(0..BATCHES);
            let order = Order::Bump(BumpOrder { sat_per_kvb: rng.gen_bool(0.5).then_some(15_000) });
            rig.store().put_order(batch, order).expect("ours");
        }
        17 => steal(rig, rng),
        18 => rig.outlook.is_syncing = rng.gen_bool(0.3),
        _ => {}
    }
}

/// Somebody else with the same key spends a coin, in a block.
fn steal(rig: &mut Rig, rng: &mut ChaCha20Rng) {
    let coins = super::rig_coins(rig);
    let coin = coins[rng.gen_range(0..coins.len())].clone();
    let value = Amount::from_sat(coin.output.value.to_sat() / 2);
    if value < Amount::from_sat(10_000) {
        return;
    }
    let output = TxOut { value, script_pubkey: rig.key.script_pubkey() };
    let payment = crate::anchor::pay(vec![output], rate("2"), &[coin], &rig.toy.poster).expect("half is left");
    rig.mine_only(&[payment]);
}

#[test]
fn random_events_never_lose_an_anchor() {
    for seed in SEEDS {
        println!("seed {seed}");
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut rig = Rig::with_final_depth(BATCHES, FINAL_DEPTH_BLOCKS);
        rig.config.fee_cap = rate("60");
        // Reorganisations stay above the reference's deposits, so that no batch has to be proven again.
        let base_height = rig.toy.reference.height - 3;
        rig.tick();
        for _ in 0..EVENTS {
            event(&mut rig, &mut rng, base_height);
            tick(&mut rig);
        }
        // Then all is calm.
        (rig.outlook.is_syncing, rig.outlook.estimate) = (false, None);
        rig.restart();
        for _ in 0..BATCHES as u32 + FINAL_DEPTH_BLOCKS + 6 {
            rig.mine(1);
            tick(&mut rig);
        }
        assert_eq!(rig.anchored(), BATCHES, "seed {seed}");
        for job in rig.jobs() {
            assert_eq!(job.state(), JobState::Final, "seed {seed}, batch {}: {:?}", job.batch(), job.hold());
        }
    }
}
