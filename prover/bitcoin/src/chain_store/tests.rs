use super::*;
use crate::{
    follow::{FollowError, start},
    node::EmbeddedNode,
    regtest::RegtestChain,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, elsewhere},
};
use bitcoin::{Network, TxMerkleNode, Txid, block::Header, constants::genesis_block, hashes::Hash};
use redb::StorageBackend;
use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use taproof_verifier::{
    follow::{Event, Follower},
    payload::PayloadHash,
    record::Destination,
};
use tempfile::TempDir;

mod flood;
mod limited;
mod undone;

thread_local! {
    /// How many changes of the file the process still lives for; without a number it lives on.
    static CHANGES_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A file whose process may be killed at any change of it. What was written before stays.
#[derive(Debug)]
pub(super) struct MortalBackend {
    file: FileBackend,
    is_dead: Arc<AtomicBool>,
}

impl MortalBackend {
    pub(super) fn new(file: FileBackend) -> Self {
        Self { file, is_dead: Arc::new(AtomicBool::new(false)) }
    }

    fn change(&self) -> io::Result<()> {
        let killed = || Err(io::Error::other("killed"));
        if self.is_dead.load(Ordering::Relaxed) {
            return killed();
        }
        CHANGES_LEFT.with(|left| match left.get() {
            Some(0) => {
                self.is_dead.store(true, Ordering::Relaxed);
                killed()
            }
            Some(count) => {
                left.set(Some(count - 1));
                Ok(())
            }
            None => Ok(()),
        })
    }
}

impl StorageBackend for MortalBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change().and_then(|()| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change().and_then(|()| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change().and_then(|()| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
}

/// A rollup with two final batches, a replayed anchor and a payout that is due; and a folder for stores.
struct Scene {
    toy: ToyRollup,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (mut toy, anchors) = ToyRollup::with_two_batches();
        let payload = taproof_verifier::payload::Payload::decode(anchors[1].payload(), toy.program.table());
        let payload = payload.expect("just anchored");
        let again = toy.build_anchor(&payload);
        toy.mine(&[again.commit().clone(), again.reveal().clone()]);
        toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
        Self { toy, folder: tempfile::tempdir().expect("a scratch folder") }
    }

    fn store(&self, name: &str) -> ChainStore {
        ChainStore::new(self.folder.path().join(name), &self.toy.params, View::Full)
    }

    fn open(&self, store: &ChainStore) -> Result<StoredFollower, FollowError> {
        StoredFollower::open(store.clone(), &self.toy.node, self.toy.params.clone(), self.toy.program.clone())
    }

    /// Opens and catches up; gives the origin and the events of the run.
    fn follow(&self, store: &ChainStore) -> Result<(Origin, Vec<Event>, Follower), FollowError> {
        let mut stored = self.open(store)?;
        let mut events = Vec::new();
        stored.catch_up(&self.toy.node, |_, event| {
            events.push(event.clone());
            Ok::<(), FollowError>(())
        })?;
        Ok((*stored.origin(), events, stored.into_follower()))
    }
}

fn log_of(store: &ChainStore) -> Vec<FinalEvent> {
    let events = store.events(0, usize::MAX).expect("a sound store");
    assert!(events.iter().map(|(position, _)| *position).eq(0..events.len() as u64));
    assert_eq!(store.event_count().expect("a sound store"), events.len() as u64);
    events.into_iter().map(|(_, event)| event).collect()
}

#[test]
fn a_store_that_begins_at_a_checkpoint_has_what_comes_after_it() {
    let mut scene = Scene::new();
    let checkpoint = scene.follow(&scene.store("whole.redb")).expect("a steady source").2.checkpoint().expect("whole");
    assert!(checkpoint.tip().payouts > 0, "its payouts are not counted from the first");
    let store = scene.store("begun.redb");
    let (node, params, program) = (&scene.toy.node, scene.toy.params.clone(), scene.toy.program.clone());
    let begun = StoredFollower::open_at(store.clone(), node, params, program, checkpoint.clone());
    assert_eq!(*begun.expect("the chain has its block").origin(), Origin::Checkpoint(checkpoint.block()));
    // Whoever opens the store now is not told of the checkpoint.
    let (origin, events, _) = scene.follow(&store).expect("a steady source");
    assert_eq!((origin, events.len()), (Origin::Checkpoint(checkpoint.block()), 0));
    let withdrawal = scene.toy.withdraw(1, Destination::P2wpkh([5; 20]), 60);
    let payload = scene.toy.batch(&[], &[withdrawal]);
    scene.toy.anchor(&payload);
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    scene.follow(&store).expect("a steady source");
    let log = log_of(&store);
    let [FinalEvent::Anchor(anchor), FinalEvent::Payout(payout)] = &log[..] else { panic!("{log:?}") };
    assert_eq!((anchor.batch, payout.index), (2, 1));
    assert_eq!(store.payout(1).expect("sound"), Some(*payout));
    assert_eq!(store.payout(0).expect("sound"), None);
}

#[test]
fn what_is_final_is_kept_once_and_following_goes_on() {
    let mut scene = Scene::new();
    let store = scene.store("chain.redb");
    assert_eq!(store.summary().expect("no file"), None);
    let (origin, events, follower) = scene.follow(&store).expect("a steady source");
    assert_eq!((origin, events.len()), (Origin::Start, 4));
    let log = log_of(&store);
    let [FinalEvent::Anchor(first), FinalEvent::Anchor(second), FinalEvent::Payout(payout), FinalEvent::Refused(_)] =
        log.as_slice()
    else {
        panic!("{log:?}")
    };
    assert_eq!((first.batch, second.batch, second.root), (0, 1, scene.toy.tip.root));
    assert!(second.reveal_fee_sat.is_some_and(|fee| fee > 0) && second.reveal_vsize_vb > 0);
    assert_eq!((payout.index, payout.batch, payout.amount_sat), (0, 1, 30_000));
    assert_eq!(store.anchor(1).expect("sound").as_ref(), Some(second));
    assert_eq!(store.anchor(2).expect("sound"), None);
    assert_eq!(store.payout(0).expect("sound"), Some(*payout));
    assert_eq!(store.payout(1).expect("sound"), None);
    let checkpoint = store.checkpoint().expect("sound").expect("written");
    assert_eq!(Some(&checkpoint), follower.checkpoint().as_ref());

    let (origin, events, _) = scene.follow(&store).expect("a steady source");
    assert_eq!(origin, Origin::Checkpoint(checkpoint.block()));
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(log_of(&store), log);

    let payload = {
        let deposits = scene.toy.deposit(&[(1, 4_000)]);
        scene.toy.batch(&deposits, &[])
    };
    scene.toy.anchor(&payload);
    let (_, events, follower) = scene.follow(&store).expect("a steady source");
    assert!(matches!(events[..], [Event::Verified(_)]), "{events:?}");
    assert_eq!(*follower.tip(), scene.toy.tip);
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    scene.follow(&store).expect("a steady source");
    assert_eq!(log_of(&store).len(), log.len() + 1);
    let summary = store.summary().expect("sound").expect("written");
    assert_eq!((summary.anchors, summary.refused, summary.payouts, summary.payouts_sat), (3, 1, 1, 30_000));
    assert_eq!(summary.tip, Some(scene.toy.tip));
}

#[test]
fn what_the_user_was_told_is_remembered() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    store.set_told(5).expect("nothing to remember");
    scene.follow(&store).expect("a steady source");
    assert_eq!(store.first_untold().expect("sound"), 0);
    store.set_told(2).expect("room");
    store.set_told(1).expect("room");
    assert_eq!(store.first_untold().expect("sound"), 2);
    assert_eq!(store.events(2, 1).expect("sound").len(), 1);
    store.set_told(100).expect("room");
    assert_eq!(store.first_untold().expect("sound"), 4);
}

/// Whichever write of the file is the last, the next run ends with the same log, each event once.
#[test]
fn a_kill_at_any_write_loses_nothing_and_repeats_nothing() {
    let mut scene = Scene::new();
    let reference = scene.store("reference.redb");
    scene.follow(&reference).expect("a steady source");
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS + 1).expect("valid");
    let earlier = log_of(&reference);
    assert_eq!(earlier.len(), 4);
    // From nothing to everything: the file is made and written in one run.
    let mut kills = 0;
    loop {
        let store = scene.store(&format!("{kills}.redb"));
        CHANGES_LEFT.set(Some(kills));
        let killed = scene.follow(&store);
        CHANGES_LEFT.set(None);
        if killed.is_ok() {
            break;
        }
        let found = log_of(&store);
        assert!(earlier.starts_with(&found), "after {kills} changes: {found:?}");
        let (_, _, follower) = scene.follow(&store).unwrap_or_else(|error| panic!("after {kills} changes: {error}"));
        assert_eq!(log_of(&store), earlier, "after {kills} changes");
        assert_eq!(store.checkpoint().expect("sound"), follower.checkpoint(), "after {kills} changes");
        kills += 1;
    }
    assert!(kills > 20, "{kills} changes were made");
    // From one final block to a later one, each time on a copy of the same file.
    let before = scene.store("before.redb");
    scene.follow(&before).expect("a steady source");
    let payload = scene.toy.batch(&[], &[scene.toy.withdraw(1, Destination::P2wpkh([5; 20]), 60)]);
    scene.toy.anchor(&payload);
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    let after = scene.store("after.redb");
    scene.follow(&after).expect("a steady source");
    let later = log_of(&after);
    assert_eq!(later.len(), earlier.len() + 2);
    for kills in 0.. {
        let store = scene.store(&format!("later-{kills}.redb"));
        std::fs::copy(before.path(), store.path()).expect("room");
        CHANGES_LEFT.set(Some(kills));
        let killed = scene.follow(&store);
        CHANGES_LEFT.set(None);
        if killed.is_ok() {
            assert!(kills > 5, "{kills} changes were made");
            return;
        }
        let found = log_of(&store);
        assert!(found == earlier || found == later, "after {kills} changes: {found:?}");
        scene.follow(&store).unwrap_or_else(|error| panic!("after {kills} changes: {error}"));
        assert_eq!(log_of(&store), later, "after {kills} changes");
    }
}

/// Whoever listens may fail at any event; what was found is kept all the same.
#[test]
fn a_listener_that_fails_takes_nothing_from_the_log() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    // Both anchors in one block, so that a block has two events.
    let pairs = anchors.iter().flat_map(|anchor| [anchor.commit().clone(), anchor.reveal().clone()]);
    let branch = [Vec::new(), pairs.collect(), Vec::new()];
    let fork_height = toy.node.chain().height() - 2;
    toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
    toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    let scene = Scene { toy, folder: tempfile::tempdir().expect("a scratch folder") };
    let reference = scene.store("reference.redb");
    let (_, events, _) = scene.follow(&reference).expect("a steady source");
    assert_eq!(events.len(), 3, "two batches and a payout: {events:?}");
    for failing in 0..events.len() {
        let store = scene.store(&format!("{failing}.redb"));
        let mut stored = scene.open(&store).expect("a steady source");
        let mut seen = 0;
        let failed = stored.catch_up(&scene.toy.node, |_, _| {
            seen += 1;
            if seen > failing { Err(FollowError::Unsteady) } else { Ok(()) }
        });
        assert!(failed.is_err(), "event {failing}");
        stored.catch_up(&scene.toy.node, |_, _| Ok::<(), FollowError>(())).expect("a steady source");
        assert_eq!(log_of(&store), log_of(&reference), "event {failing}");
    }
}

#[test]
fn two_who_follow_write_one_log() {
    let mut scene = Scene::new();
    let store = scene.store("chain.redb");
    let mut first = scene.open(&store).expect("a steady source");
    let mut second = scene.open(&store).expect("a steady source");
    let observe = |_: &Follower, _: &Event| Ok::<(), FollowError>(());
    second.catch_up(&scene.toy.node, observe).expect("a steady source");
    let log = log_of(&store);
    first.catch_up(&scene.toy.node, observe).expect("the other was faster");
    assert_eq!(log_of(&store), log);
    let payload = scene.toy.batch(&[], &[scene.toy.transfer(1, 2, 1, 0)]);
    scene.toy.anchor(&payload);
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    first.catch_up(&scene.toy.node, observe).expect("a steady source");
    second.catch_up(&scene.toy.node, observe).expect("the other was faster");
    assert_eq!(log_of(&store).len(), log.len() + 1);
}

#[test]
fn a_source_that_is_behind_changes_nothing() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let (log, checkpoint) = (log_of(&store), store.checkpoint().expect("sound").expect("written"));
    let mut chain = scene.toy.node.chain().clone();
    let reach = checkpoint.block().height - 1;
    // A shorter chain: the embedded one only reorganises to more work, so it is made from the blocks.
    let mut shorter = RegtestChain::new();
    for height in 1..=reach {
        shorter.connect(chain.block_at(height).expect("below the tip").clone()).expect("it was valid before");
    }
    chain = shorter;
    let behind = EmbeddedNode::new(chain, elsewhere());
    let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
    let mut follower = StoredFollower::open(store.clone(), &behind, params, program).expect("a steady source");
    assert_eq!(*follower.origin(), Origin::Behind { stored: checkpoint.block(), source_height: reach });
    assert!(follower.origin().is_fallback() && follower.origin().to_string().contains("keeping the store"));
    follower.catch_up(&behind, |_, _| Ok::<(), FollowError>(())).expect("a steady source");
    assert_eq!(follower.follower().scanned().height, reach);
    assert_eq!((log_of(&store), store.checkpoint().expect("sound")), (log, Some(checkpoint)));
}

#[test]
fn a_source_that_left_the_final_chain_takes_back_what_was_above() {
    let mut scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let log = log_of(&store);
    store.set_told(log.len() as u64).expect("room");
    let stored = store.checkpoint().expect("sound").expect("written").block();
    // The branch leaves below the replayed anchor and above the second batch's.
    let FinalEvent::Anchor(second) = &log[1] else { panic!("{log:?}") };
    let fork_height = second.block.height;
    let count = scene.toy.node.chain().height() - fork_height;
    let branch = vec![Vec::new(); count as usize + 1];
    scene.toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
    let (origin, events, follower) = scene.follow(&store).expect("more work");
    assert_eq!(origin, Origin::Left { stored, fork_height });
    assert_eq!(events.len(), 3, "two batches and the payout: {events:?}");
    assert_eq!(log_of(&store), log[..3]);
    assert_eq!(store.first_untold().expect("sound"), 3, "nothing of it is new to the user");
    assert_eq!(store.checkpoint().expect("sound"), follower.checkpoint());
    assert_eq!(store.payout(0).expect("sound").map(|payout| payout.amount_sat), Some(30_000));
    let (origin, _, _) = scene.follow(&store).expect("a steady source");
    assert!(!origin.is_fallback());
}

#[test]
fn a_source_that_left_without_more_work_is_refused() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let (log, stored) = (log_of(&store), store.checkpoint().expect("sound").expect("written").block());
    // As many blocks as were final, and one: the source's tip lies just at the stored height.
    let mut chain = RegtestChain::new();
    let fork_height = stored.height - 2;
    for height in 1..=fork_height {
        let block = scene.toy.node.chain().block_at(height).expect("below the tip").clone();
        chain.connect(block).expect("it was valid before");
    }
    chain.mine_empty(2, &elsewhere()).expect("valid");
    let other = EmbeddedNode::new(chain, elsewhere());
    let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
    let error = StoredFollower::open(store.clone(), &other, params, program).expect_err("less work");
    let is_less = matches!(error, FollowError::Store(ChainStoreError::LessWork { stored: found, fork_height: fork })
        if found == stored && fork == fork_height);
    assert!(is_less, "{error}");
    assert_eq!(log_of(&store), log);
}

#[test]
fn foreign_and_damaged_files_are_refused() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let params = scene.toy.params.with(|founding| founding.final_depth_blocks += 1).expect("consistent parameters");
    let other = ChainStore::new(store.path().to_owned(), &params, View::Full);
    assert!(matches!(other.checkpoint(), Err(ChainStoreError::WrongRollup(_))));
    let light = ChainStore::new(store.path().to_owned(), &scene.toy.params, View::Light);
    assert!(matches!(light.checkpoint(), Err(ChainStoreError::WrongRollup(_))));
    let text = scene.store("text");
    std::fs::write(text.path(), "no store").expect("room");
    assert!(matches!(text.checkpoint(), Err(ChainStoreError::Store(StoreError::NotAStore(_)))));
    std::fs::write(text.path(), "").expect("room");
    assert!(matches!(scene.open(&text), Err(FollowError::Store(ChainStoreError::Store(StoreError::NotAStore(_))))));
    let database = Database::create(scene.folder.path().join("other")).expect("room");
    drop(database);
    assert!(matches!(scene.store("other").summary(), Err(ChainStoreError::Store(StoreError::NotAStore(_)))));
    // A byte of a page, or a cut, is noticed, and never a panic.
    let bytes = std::fs::read(store.path()).expect("it is there");
    let altered = scene.store("altered");
    let mut refused = 0;
    for position in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut bytes = bytes.clone();
        bytes[position] ^= 0x10;
        std::fs::write(altered.path(), &bytes).expect("room");
        match altered.events(0, usize::MAX) {
            Ok(events) => assert_eq!(events.len(), 4, "byte {position}"),
            Err(_) => refused += 1,
        }
        std::fs::write(altered.path(), &bytes[..position]).expect("room");
        assert!(altered.events(0, usize::MAX).is_err(), "cut at {position}");
    }
    assert!(refused > 0, "some of the bytes are in use");
}

#[test]
fn no_damaged_page_is_a_panic() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let noticed = crate::testing::damage::damage_every_page(store.path(), |damaged| {
        let store = ChainStore::new(damaged.to_owned(), &scene.toy.params, View::Full);
        store.summary()?;
        store.checkpoint()?;
        store.headers(0, u32::MAX)?;
        store.events(0, usize::MAX)?;
        store.write(|_, _| Ok(()))
    });
    assert!(noticed > 2, "{noticed}");
}

#[test]
fn a_busy_file_is_waited_for() {
    let scene = Scene::new();
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let database = store.open(false).expect("sound").expect("written");
    let other = store.clone();
    let reader = thread::spawn(move || other.event_count());
    thread::sleep(Duration::from_millis(200));
    drop(database);
    assert_eq!(reader.join().expect("no panic").expect("it waited"), 4);
}

#[test]
fn stored_headers_are_those_of_the_chain() {
    let mut scene = Scene::new();
    let store = scene.store("chain.redb");
    let chain = |scene: &Scene, height| scene.toy.node.chain().block_at(height).expect("below the tip").header;
    for _ in 0..4 {
        let (_, _, follower) = scene.follow(&store).expect("a steady source");
        let heights = store.header_heights().expect("sound").expect("written");
        assert_eq!(*heights.end(), follower.headers().final_block().height);
        let headers = store.headers(*heights.start(), u32::MAX).expect("sound");
        assert!(headers.iter().copied().eq(heights.clone().map(|height| chain(&scene, height))));
        let last = store.headers(*heights.end(), 3).expect("sound");
        assert_eq!(last, [chain(&scene, *heights.end())]);
        assert!(store.headers(heights.end() + 1, 1).expect("sound").is_empty());
        scene.toy.node.mine(101).expect("valid");
    }
    // Without the file, everything is found again.
    let follower = start(&scene.toy.node, scene.toy.params.clone(), scene.toy.program.clone()).expect("the start");
    assert!(follower.is_complete());
}

/// A year of headers, as many as come in it, written as they are when a follower catches up and then block by block.
#[test]
fn a_year_of_headers_takes_few_megabytes() {
    const YEAR_BLOCKS: usize = 52_560;
    let headers: Vec<Header> = (0..YEAR_BLOCKS).scan(genesis_block(Network::Regtest).header, mine_next).collect();
    let params = ToyRollup::new().params;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let store = ChainStore::new(folder.path().join("year.redb"), &params, View::Light);
    let (most, last) = headers.split_at(YEAR_BLOCKS - 300);
    let mut next = 1;
    for headers in most.chunks(4_096).chain(last.chunks(1)) {
        let progress = Progress { checkpoint: None, events: &[], headers_first: next, headers };
        store.append(&progress).expect("room");
        next += headers.len() as u32;
    }
    assert_eq!(store.header_heights().expect("sound"), Some(1..=YEAR_BLOCKS as u32));
    assert_eq!(store.headers(1, u32::MAX).expect("sound"), headers);
    let length = std::fs::metadata(store.path()).expect("it is there").len();
    println!("{YEAR_BLOCKS} headers in {length} bytes");
    assert!(length < 5_000_000, "{length} bytes");
}

/// The next header on top of the last, with as much work as regtest asks for, and a Merkle root of its own.
fn mine_next(last: &mut Header, number: usize) -> Option<Header> {
    last.prev_blockhash = last.block_hash();
    last.merkle_root = TxMerkleNode::hash(&number.to_le_bytes());
    last.time += 600;
    while !last.target().is_met_by(last.block_hash()) {
        last.nonce += 1;
    }
    Some(*last)
}

/// An empty branch in place of the last blocks, one longer.
fn replace_last(scene: &mut Scene, depth: u32) {
    let chain = scene.toy.node.chain_mut();
    let fork = chain.height() - depth;
    chain.reorganise(fork, &vec![Vec::new(); depth as usize + 1], &elsewhere()).expect("a longer branch");
}
