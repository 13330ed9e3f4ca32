//! The service against a real bitcoind: its pool, its rules of replacement, its reorganisations, and `kill -9`.

use crate::testing::{
    bitcoind::{
        MATURITY_BLOCKS, Options, SMALL_POOL, filler_coins,
        proxy::{ConnectionFault, Proxy},
    },
    rig::{Script, rate},
    world::{FINAL_DEPTH_BLOCKS, Setting, World},
};
use crate::{
    anchor::{Funding, pay},
    anchoring::{Driver, Hold, Identity, JobState, Note, Step, Store},
    node::{Node, RpcAuth, RpcNode},
};
use bitcoin::{Amount, Network, TxOut};
use serde_json::json;
use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

#[test]
fn batches_become_final() {
    let mut world = World::new(3);
    world.tick();
    assert_eq!(world.state(0), JobState::RevealSent);
    let pool = world.core.pool();
    let figures = world.job(0).figures().expect("built");
    assert!(pool.contains(&figures.commit) && pool.contains(&figures.reveal));
    world.mine_and_tick(3 + FINAL_DEPTH_BLOCKS);
    assert!((0..3).all(|batch| world.state(batch) == JobState::Final));
    assert_eq!(world.follower().tip().batches, 3);
    assert!((0..3).all(|batch| world.job(batch).generations().len() == 1));
}

#[test]
fn the_pool_takes_every_replacement_up_to_the_cap_and_an_original_may_still_win() {
    let mut world = World::new(1);
    world.setting.config.fee_cap = rate("4");
    world.setting.config.bump_every_blocks = 1;
    world.tick();
    let original = world.job(0).generations()[0].clone();
    for _ in 0..12 {
        world.core.mine_empty(1);
        world.tick();
        if matches!(world.job(0).hold(), Some(Hold::AtCap { .. })) {
            break;
        }
        let reveal = world.job(0).figures().expect("built").reveal;
        assert!(world.core.pool().contains(&reveal), "{:?}", world.job(0).hold());
    }
    assert!(matches!(world.job(0).hold(), Some(Hold::AtCap { .. })), "{:?}", world.job(0).hold());
    assert!(world.job(0).figures().expect("built").attempts > 3);
    let block = [original.commit().clone(), original.attempts()[0].transaction().clone()];
    world.core.mine_with(&block, &world.core.new_script());
    world.tick();
    assert_eq!(world.state(0), JobState::InBlock);
    world.mine_and_tick(FINAL_DEPTH_BLOCKS);
    assert!(world.job(0).is_closed());
}

#[test]
fn reorganisations_of_every_depth_are_survived() {
    for depth in 1..=10u32 {
        let buried = depth % 4;
        let mut world = World::new(2);
        world.tick();
        world.mine_and_tick(1 + buried);
        let before = world.follower();
        assert!(before.tip().batches >= 1);
        world.core.reorganise(depth, depth + 1);
        world.tick();
        if world.state(0) == JobState::Stale {
            // The deposits left their blocks: only proving again helps, and nothing is sent until then.
            assert!(depth.saturating_sub(buried) >= 8, "{depth} replaced");
            assert_eq!(world.follower().tip().batches, 0);
            world.mine_and_tick(1);
            assert_eq!(world.state(0), JobState::Stale);
            continue;
        }
        world.mine_and_tick(4);
        assert_eq!(world.follower().tip().batches, 2, "{depth} replaced, {buried} above the anchor");
        for batch in 0..2 {
            assert!(matches!(world.state(batch), JobState::InBlock | JobState::Safe), "{depth} replaced");
        }
        world.mine_and_tick(FINAL_DEPTH_BLOCKS);
        assert!((0..2).all(|batch| world.state(batch) == JobState::Final), "{depth} replaced");
    }
}

#[test]
fn a_coin_that_is_spent_elsewhere_is_replaced_and_leftovers_are_swept() {
    let mut world = World::new(1);
    world.tick();
    let generation = world.job(0).generations()[0].clone();
    let output = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: world.core.new_script() };
    let coins: Vec<Funding> = generation.funding().to_vec();
    let theft = pay(vec![output], rate("90"), &coins, &world.setting.key).expect("a coin");
    world.core.mine_with(&[theft], &world.core.new_script());
    world.tick();
    assert_eq!((world.state(0), world.job(0).generations().len()), (JobState::RevealSent, 2));
    world.mine_and_tick(1);
    assert_eq!(world.state(0), JobState::InBlock);

    let mut world = World::new(1);
    world.tick();
    let commit = world.job(0).generations()[0].commit().clone();
    world.core.mine_with(&[commit], &world.core.new_script());
    let identity = Identity::new(world.setting.params.chain_id(), &world.setting.key.scripts());
    let store = Store::open(&world.store_path(), identity).expect("ours");
    store.put_order(0, crate::anchoring::Order::Abandon).expect("ours");
    world.tick();
    let sweep = world.job(0).generations()[0].sweeps()[0].transaction().compute_txid();
    assert_eq!(world.core.pool(), [sweep], "it replaces the reveal");
    world.mine_and_tick(1);
    assert_eq!(world.state(0), JobState::Swept);
}

#[test]
fn a_node_that_is_down_or_behind_is_waited_for() {
    let mut world = World::behind(1);
    world.tick();
    assert!(matches!(world.job(0).hold(), Some(Hold::InitialDownload { .. })), "{:?}", world.job(0).hold());
    assert!(world.job(0).generations().is_empty());
    world.core.mine_empty(1);
    world.tick();
    assert_eq!(world.state(0), JobState::RevealSent);
    // A power cut: the pool is gone, and everything is sent again.
    world.core.kill9();
    let error = world.try_tick().expect_err("nobody is there");
    assert!(error.is_transient(), "{error}");
    world.core.restart();
    world.core.mine_empty(1);
    world.tick();
    let figures = world.job(0).figures().expect("built");
    assert!(world.core.pool().contains(&figures.commit) && world.core.pool().contains(&figures.reveal));
    world.mine_and_tick(1);
    assert_eq!(world.state(0), JobState::InBlock);
}

#[test]
fn a_node_that_estimates_no_fees_gets_the_floor() {
    let options = Options { arguments: vec!["-blocksonly".to_owned()], ..Options::default() };
    let mut world = World::behind_with(1, options);
    world.core.mine_empty(1);
    let refusal = world.core.try_call("estimatesmartfee", json!([3])).expect_err("it estimates nothing").to_string();
    assert!(refusal.contains("-32603") && refusal.contains("disabled"), "{refusal}");
    world.tick();
    assert_eq!(world.state(0), JobState::RevealSent);
    let figures = world.job(0).figures().expect("built");
    let paid = figures.fee_sat * 1_000 / figures.vsize_vb;
    let floor = world.setting.config.fee_floor.sat_per_kvb();
    assert!((floor..floor + 50).contains(&paid), "{paid} sat/kvB");
}

#[test]
fn a_full_pool_takes_commit_and_reveal_as_one_package() {
    let options = Options { arguments: vec![SMALL_POOL.to_owned()], ..Options::default() };
    let mut world = World::behind_with(1, options);
    let (node, key, tip) = (world.core.node(), &world.setting.key, world.core.tip().0);
    let mature = node.coins(&[key.script_pubkey()]).expect("it answers").coins.into_iter();
    let mature = mature.filter(|coin| coin.height + MATURITY_BLOCKS <= tip);
    let mature: Vec<Funding> =
        mature.map(|coin| Funding { outpoint: coin.outpoint, output: coin.output }).take(1).collect();
    let split = pay(filler_coins(), rate("5"), &mature, key).expect("50 bitcoin");
    world.core.mine_with(std::slice::from_ref(&split), &world.core.new_script());
    world.tick();
    assert_eq!(world.state(0), JobState::RevealSent);
    // What pays more pushes both out.
    world.core.fill_pool(split.compute_txid(), 8_000);
    let figures = world.job(0).figures().expect("built");
    assert!(!world.core.pool().contains(&figures.commit));
    world.tick();
    let figures = world.job(0).figures().expect("built");
    let pool = world.core.pool();
    assert!(pool.contains(&figures.commit) && pool.contains(&figures.reveal), "{:?}", world.job(0).hold());
    let generation = &world.job(0).generations()[0];
    assert!(generation.commit_fee_sat() < 8 * generation.commit().vsize() as u64, "not by itself");
    assert_eq!((world.state(0), world.job(0).generations().len()), (JobState::Bumped, 1));
    // The same again is no news to the node, and the next bump replaces the reveal under the commit that waits.
    world.core.mine_empty(1);
    world.tick();
    assert_eq!(world.state(0), JobState::Bumped);
    let sent = world.job(0).figures().expect("built").attempts;
    world.core.mine_empty(3);
    world.tick();
    let figures = world.job(0).figures().expect("built");
    assert!(figures.attempts > sent && world.core.pool().contains(&figures.reveal), "{:?}", world.job(0).hold());
    let generation = &world.job(0).generations()[0];
    let reveal = generation.attempts().last().expect("bumped").transaction().clone();
    world.core.mine_with(&[generation.commit().clone(), reveal], &world.core.new_script());
    world.tick();
    assert_eq!(world.state(0), JobState::InBlock);
}

#[test]
fn two_services_race_and_the_chain_decides() {
    let mut world = World::new(2);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let node = world.core.node();
    // The same key and coins: the worst case, which the lock of a data directory excludes on one machine.
    let mut rival = world.setting.service(&folder.path().join("rival.redb"), &node).expect("a new store");
    let mut script = Script::default();
    for _ in 0..FINAL_DEPTH_BLOCKS + 4 {
        world.tick();
        rival.tick(&node, &mut script).expect("the node answers");
        world.core.mine(1, &world.core.new_script());
    }
    world.tick();
    rival.tick(&node, &mut script).expect("the node answers");
    assert_eq!(world.follower().tip().batches, 2);
    for batch in 0..2 {
        assert_eq!(world.state(batch), JobState::Final);
        assert_eq!(rival.job(batch).expect("proven").state(), JobState::Final);
    }
}

#[test]
fn a_slow_node_is_waited_for_and_a_broken_connection_is_retried() {
    let mut world = World::new(1);
    let proxy = Proxy::start(world.core.rpc_port());
    let auth = RpcAuth::CookieFile(world.core.cookie_file());
    let node = RpcNode::connect(&proxy.url(), &auth, Network::Regtest).expect("it passes");
    let mut service = world.setting.service(&world.store_path(), &node).expect("a new store");
    for bytes in [0, 40, 400] {
        proxy.set(ConnectionFault::Cut(bytes));
        let error = service.tick(&node, &mut world.script).expect_err("cut");
        assert!(error.is_transient(), "{error}");
    }
    proxy.set(ConnectionFault::Refuse);
    let error = service.tick(&node, &mut world.script).expect_err("refused");
    assert!(error.is_transient(), "{error}");
    proxy.set(ConnectionFault::Delay(Duration::from_millis(5)));
    service.tick(&node, &mut world.script).expect("slow");
    assert_eq!(service.job(0).expect("proven").state(), JobState::RevealSent);
    assert_eq!(service.job(0).expect("proven").generations().len(), 1);
}

/// Names the child's orders: address, cookie, store, step.
const CHILD: &str = "TAPROOF_TEST_ANCHORING_CHILD";

/// Kills its own process, as `kill -9` from outside would, at a step.
struct Suicidal {
    left: usize,
}

impl Driver for Suicidal {
    fn note(&mut self, _: &Note<'_>) {}

    fn goes_on(&mut self, _: Step) -> bool {
        if self.left == 0 {
            Command::new("kill").args(["-9", &std::process::id().to_string()]).status().expect("kill is there");
            thread::sleep(Duration::from_secs(60));
        }
        self.left -= 1;
        true
    }
}

/// One look at the chain, in a process of its own; without orders this is no test.
#[test]
fn child() {
    let Ok(orders) = env::var(CHILD) else { return };
    let orders: Vec<&str> = orders.split('|').collect();
    let [url, cookie, store, step] = orders.as_slice() else { panic!("{orders:?}") };
    let setting = Setting::new(1);
    let auth = RpcAuth::CookieFile(PathBuf::from(cookie));
    let node = RpcNode::connect(url, &auth, Network::Regtest).expect("the node answers");
    let mut service = setting.service(Path::new(store), &node).expect("the store is whole");
    service.tick(&node, &mut Suicidal { left: step.parse().expect("a number") }).expect("the node answers");
}

/// Looks once in a child that is killed at a step; whether it was.
fn look_in_child(world: &World, step: usize) -> bool {
    let orders =
        format!("{}|{}|{}|{step}", world.core.url(), world.core.cookie_file().display(), world.store_path().display());
    let output = Command::new(env::current_exe().expect("a test"))
        .args(["anchoring::tests::real::child", "--exact", "--nocapture"])
        .env(CHILD, orders)
        .output()
        .expect("the test starts");
    match output.status.signal() {
        Some(9) => true,
        _ => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            false
        }
    }
}

#[test]
fn kill_9_before_and_after_every_write_and_every_send_changes_nothing() {
    let world = World::new(1);
    let mut kills = 0;
    // Each child does one step more before it is killed, until one has nothing left to do.
    let mut live = |world: &World| kills += (0..).take_while(|step| look_in_child(world, *step)).count();
    live(&world);
    for _ in 0..3 {
        world.core.mine_empty(1);
        live(&world);
    }
    let identity = Identity::new(world.setting.params.chain_id(), &world.setting.key.scripts());
    let job = || Store::open(&world.store_path(), identity).expect("whole").jobs().expect("whole").remove(0);
    assert_eq!(job().state(), JobState::Bumped);
    for blocks in [1, FINAL_DEPTH_BLOCKS] {
        world.core.mine(blocks, &world.core.new_script());
        live(&world);
    }
    assert!(kills >= 16, "stores and sends, before and after: {kills}");
    let job = job();
    assert_eq!(job.state(), JobState::Final);
    assert_eq!(job.generations().len(), 1, "nothing was paid twice");
    assert_eq!(world.follower().tip().batches, 1);
}
