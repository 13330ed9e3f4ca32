//! Followers of whole blocks and of headers on a real bitcoind: what they store, reorganisations, and a node that left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use taproof_bitcoin::testing::bitcoind;

use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime,
    transaction::Version,
};
use bitcoind::Bitcoind;
use taproof::bench::FullBlocks;
use taproof_bitcoin::{
    chain_store::{ChainStore, FinalEvent, Origin, StoredFollower, View},
    follow::FollowError,
    light::{ExcerptCutter, ExcerptFolder, cut},
    node::{ChainSource, RpcNode},
};
use taproof_verifier::{
    envelope::Announcement,
    follow::{Event, Follower, Params},
    headers::BlockId,
    payload::PayloadHash,
    program::Programs,
};
use tempfile::TempDir;

const FINAL_DEPTH_BLOCKS: u32 = 6;

/// A node, and a rollup that starts at its genesis block.
struct Scene {
    daemon: Bitcoind,
    node: RpcNode,
    params: Params,
    programs: Programs,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let daemon = Bitcoind::start();
        let node = daemon.node();
        let rollup = FullBlocks::new(0).follower();
        let params = rollup.params().with(|founding| founding.final_depth_blocks = FINAL_DEPTH_BLOCKS);
        let params = params.expect("consistent parameters");
        let folder = tempfile::tempdir().expect("a scratch folder");
        Self { daemon, node, params, programs: rollup.programs().clone(), folder }
    }

    fn open(&self, name: &str, view: View) -> StoredFollower {
        let store = ChainStore::new(self.folder.path().join(name), &self.params, view);
        StoredFollower::open(store, &self.node, self.params.clone(), self.programs.clone()).expect("the node answers")
    }

    /// Catches up a full follower and a light one, each from its store; both see the same.
    fn follow(&self) -> (Vec<Event>, BlockHash) {
        let (mut full, mut light) = (self.open("chain.redb", View::Full), self.open("light.redb", View::Light));
        let (mut seen, mut shown) = (Vec::new(), Vec::new());
        full.catch_up(&self.node, keep_in(&mut seen)).expect("the node answers");
        let cutter = ExcerptCutter::new(&self.node, &self.params);
        light.catch_up_light(&self.node, &cutter, keep_in(&mut shown)).expect("the node answers");
        assert_eq!(seen, shown);
        let (height, hash) = self.daemon.tip();
        for follower in [full.follower(), light.follower()] {
            assert_eq!(follower.scanned(), BlockId { height, hash });
            assert_eq!(follower.headers().tip(), BlockId { height, hash });
        }
        (seen, hash)
    }

    /// A transaction that announces an anchor and is none: it spends the first block's reward, which anyone can.
    fn announcement(&self) -> Transaction {
        let reward = self.node.block(&self.daemon.block_hash(1)).expect("the node has it").txdata.swap_remove(0);
        let announcement = Announcement { batch: 0, payload_hash: PayloadHash::NONE, root_after: 0u64.into() };
        let output = |value, script_pubkey| TxOut { value, script_pubkey };
        let outputs = vec![
            output(Amount::ZERO, announcement.script_pubkey(self.params.chain_id())),
            output(Amount::from_sat(10_000), anyone()),
        ];
        let input = TxIn {
            previous_output: OutPoint::new(reward.compute_txid(), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: outputs }
    }
}

fn anyone() -> ScriptBuf {
    ScriptBuf::from(vec![0x51])
}

fn keep_in(events: &mut Vec<Event>) -> impl FnMut(&Follower, &Event) -> Result<(), FollowError> {
    |_, event| {
        events.push(event.clone());
        Ok(())
    }
}

#[test]
fn full_and_light_followers_agree_through_reorganisations_and_restarts() {
    let scene = Scene::new();
    scene.daemon.mine(1, &anyone());
    scene.daemon.mine_empty(bitcoind::MATURITY_BLOCKS);
    assert!(scene.follow().0.is_empty());
    let transaction = scene.announcement();
    let txid = transaction.compute_txid();
    scene.daemon.mine_with(std::slice::from_ref(&transaction), &scene.daemon.new_script());
    let (events, _) = scene.follow();
    assert!(matches!(events[..], [Event::Ignored { txid: found, .. }] if found == txid), "{events:?}");
    // The announcement is reorganised out at every depth above the final block, and mined again.
    for depth in 1..FINAL_DEPTH_BLOCKS {
        let mut full = scene.open("chain.redb", View::Full);
        full.catch_up(&scene.node, keep_in(&mut Vec::new())).expect("the node answers");
        scene.daemon.reorganise(depth, depth + 1);
        let mut events = Vec::new();
        full.catch_up(&scene.node, keep_in(&mut events)).expect("the node answers");
        let height = scene.daemon.tip().0 - depth - 1;
        assert!(matches!(events[..], [Event::Rewound { to, .. }] if to.height == height), "{depth}: {events:?}");
        let again = scene.daemon.mine_with(std::slice::from_ref(&transaction), &scene.daemon.new_script());
        let (_, tip) = scene.follow();
        assert_eq!(tip, again);
        scene.daemon.mine_empty(depth - 1);
    }
    scene.daemon.mine_empty(FINAL_DEPTH_BLOCKS);
    scene.follow();
    for (name, view) in [("chain.redb", View::Full), ("light.redb", View::Light)] {
        let stored = scene.open(name, view);
        assert!(matches!(stored.origin(), Origin::Checkpoint(_)));
        let log = stored.store().events(0, usize::MAX).expect("sound");
        assert!(matches!(&log[..], [(0, FinalEvent::Refused(refused))] if refused.txid == txid), "{log:?}");
    }
    // Excerpts by another way show the same.
    let path = scene.folder.path().join("excerpts");
    std::fs::create_dir(&path).expect("the folder is ours");
    let folder = ExcerptFolder::new(path);
    for height in 1..=scene.daemon.tip().0 {
        let id = BlockId { height, hash: scene.daemon.block_hash(height) };
        let block = scene.node.block(&id.hash).expect("the node has it");
        if let Some(excerpt) = cut(&block, &scene.params).expect("a whole block") {
            folder.write(id, &excerpt).expect("room");
        }
    }
    let mut light = scene.open("other.redb", View::Light);
    let mut events = Vec::new();
    light.catch_up_light(&scene.node, &folder, keep_in(&mut events)).expect("the node answers");
    assert!(matches!(events[..], [Event::Ignored { txid: found, .. }] if found == txid), "{events:?}");
}

#[test]
fn a_node_that_left_the_final_chain_is_followed_anew_and_said_so() {
    let scene = Scene::new();
    scene.daemon.mine_empty(30);
    scene.follow();
    scene.daemon.reorganise(15, 16);
    let mut full = scene.open("chain.redb", View::Full);
    let Origin::Left { stored, fork_height } = *full.origin() else { panic!("{}", full.origin()) };
    assert_eq!((stored.height, fork_height), (30 + 1 - FINAL_DEPTH_BLOCKS, 15));
    full.catch_up(&scene.node, keep_in(&mut Vec::new())).expect("the node answers");
    let (height, hash) = scene.daemon.tip();
    assert_eq!(full.follower().scanned(), BlockId { height, hash });
    assert!(!scene.open("chain.redb", View::Full).origin().is_fallback());
}
