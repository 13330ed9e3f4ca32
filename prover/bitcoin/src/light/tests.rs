use super::*;
use crate::{
    chain_store::{ChainStore, FinalEvent, Origin, StoredFollower, View},
    follow::FollowError,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, elsewhere},
};
use bitcoin::{Amount, Witness};
use taproof_base::artefact;
use taproof_verifier::follow::{Event, Follower, RuleError};
use tempfile::TempDir;

/// A rollup with two final batches, and a folder for stores and excerpts.
struct Scene {
    toy: ToyRollup,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (mut toy, _) = ToyRollup::with_two_batches();
        toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
        Self { toy, folder: tempfile::tempdir().expect("a scratch folder") }
    }

    fn store(&self) -> ChainStore {
        ChainStore::new(self.folder.path().join("light.redb"), &self.toy.params, View::Light)
    }

    fn open(&self, store: &ChainStore) -> StoredFollower {
        let (params, program) = (self.toy.params.clone(), self.toy.program.clone());
        StoredFollower::open(store.clone(), &self.toy.node, params, program).expect("a steady source")
    }

    /// Follows without a store before: gives the events and the follower.
    fn follow(&self, excerpts: &dyn ExcerptSource) -> Result<(Vec<Event>, Follower), FollowError> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let store = ChainStore::new(folder.path().join("light.redb"), &self.toy.params, View::Light);
        let mut stored = self.open(&store);
        let mut events = Vec::new();
        stored.catch_up_light(&self.toy.node, excerpts, |_, event| {
            events.push(event.clone());
            Ok::<(), FollowError>(())
        })?;
        Ok((events, stored.into_follower()))
    }

    /// All excerpts of the chain in a folder, and where they are.
    fn exported(&self) -> (ExcerptFolder, Vec<(BlockId, PathBuf)>) {
        let path = self.folder.path().join("excerpts");
        std::fs::create_dir_all(&path).expect("the folder is ours");
        let folder = ExcerptFolder::new(path);
        let chain = self.toy.node.chain();
        let mut files = Vec::new();
        for height in self.toy.params.start.height + 1..=chain.height() {
            let block = chain.block_at(height).expect("below the tip");
            let id = BlockId { height, hash: block.block_hash() };
            if let Some(excerpt) = cut(block, &self.toy.params).expect("whole blocks") {
                files.push((id, folder.write(id, &excerpt).expect("room")));
            }
        }
        (folder, files)
    }
}

/// Shows excerpts that were altered.
struct Altered<'a, F: Fn(BlockId, &mut Excerpt)>(&'a dyn ExcerptSource, F);

impl<F: Fn(BlockId, &mut Excerpt)> ExcerptSource for Altered<'_, F> {
    fn excerpt(&self, block: BlockId) -> Result<Option<Excerpt>, ExcerptError> {
        let mut excerpt = self.0.excerpt(block)?;
        if let Some(excerpt) = &mut excerpt {
            self.1(block, excerpt);
        }
        Ok(excerpt)
    }
}

fn refusals(events: &[Event]) -> Vec<RuleError> {
    let refusal = |event: &Event| match event {
        Event::Ignored { refusal, .. } => Some(*refusal),
        _ => None,
    };
    events.iter().filter_map(refusal).collect()
}

#[test]
fn headers_and_excerpts_lead_to_the_same_root_and_make_nothing_due() {
    let scene = Scene::new();
    let cutter = ExcerptCutter::new(&scene.toy.node, &scene.toy.params);
    let (events, follower) = scene.follow(&cutter).expect("a steady source");
    assert_eq!((events.len(), *follower.tip()), (2, scene.toy.tip), "{events:?}");
    assert!(!follower.is_complete() && follower.checkpoint().is_none());
    let (folder, files) = scene.exported();
    assert_eq!(files.len(), 7, "five deposits and two anchors");
    let (events, follower) = scene.follow(&folder).expect("a steady source");
    assert_eq!((events.len(), *follower.tip()), (2, scene.toy.tip), "{events:?}");
    let heights = files.iter().map(|(block, _)| block.height).collect();
    let some = ExcerptCutter::at_heights(&scene.toy.node, &scene.toy.params, heights);
    assert_eq!(*scene.follow(&some).expect("a steady source").1.tip(), scene.toy.tip);
}

#[test]
fn what_is_left_out_is_missed_but_nothing_wrong_is_taken() {
    let scene = Scene::new();
    let (folder, files) = scene.exported();
    for (position, (_, path)) in files.iter().enumerate() {
        let kept = std::fs::read(path).expect("just written");
        std::fs::remove_file(path).expect("it is there");
        let (events, follower) = scene.follow(&folder).expect("a steady source");
        match position {
            // The batch that credits the deposit is refused, and so the next one follows nothing.
            0..5 => {
                assert!(matches!(refusals(&events)[..], [_, RuleError::Batch { expected: 0, found: 1 }]), "{events:?}");
                assert_eq!(follower.tip().batches, 0);
            }
            5 => assert_eq!(refusals(&events), [RuleError::Batch { expected: 0, found: 1 }]),
            _ => assert_eq!((events.len(), follower.tip().batches), (1, 1), "{events:?}"),
        }
        std::fs::write(path, kept).expect("room");
    }
    assert_eq!(*scene.follow(&folder).expect("a steady source").1.tip(), scene.toy.tip);
}

#[test]
fn altered_excerpts_are_errors() {
    let scene = Scene::new();
    let cutter = ExcerptCutter::new(&scene.toy.node, &scene.toy.params);
    let alterations: [fn(&mut Excerpt); 6] = [
        |excerpt| excerpt.header.nonce ^= 1,
        |excerpt| excerpt.transactions[0].position ^= 1,
        |excerpt| excerpt.transactions[0].transaction.output[0].value += Amount::ONE_SAT,
        |excerpt| excerpt.transactions[0].branch[0] = Hash::all_zeros(),
        |excerpt| excerpt.transactions[0].branch.push(Hash::all_zeros()),
        |excerpt| excerpt.transactions[0].transaction.input[0].witness = Witness::from_slice(&[[1; 64]]),
    ];
    for alter in alterations {
        let altered = Altered(&cutter, |_, excerpt: &mut Excerpt| alter(excerpt));
        let error = scene.follow(&altered).expect_err("altered");
        assert!(matches!(error, FollowError::Block(_)) && !error.is_transient(), "{error}");
    }
}

/// Without a proof of its witness, a reveal shows no payload: who never revealed one in a block cannot show it
/// elsewhere.
#[test]
fn a_payload_outside_the_block_is_none() {
    let scene = Scene::new();
    let cutter = ExcerptCutter::new(&scene.toy.node, &scene.toy.params);
    let unproven = |_, excerpt: &mut Excerpt| {
        excerpt.transactions.iter_mut().for_each(|shown| shown.witness_branch = None);
    };
    let (events, follower) = scene.follow(&Altered(&cutter, unproven)).expect("the transactions are in their blocks");
    assert_eq!((refusals(&events).len(), follower.tip().batches), (2, 0), "{events:?}");
}

#[test]
fn a_light_store_goes_on_and_remembers_what_it_is() {
    let mut scene = Scene::new();
    let store = scene.store();
    let observe = |_: &Follower, _: &Event| Ok::<(), FollowError>(());
    let mut stored = scene.open(&store);
    let params = scene.toy.params.clone();
    stored.catch_up_light(&scene.toy.node, &ExcerptCutter::new(&scene.toy.node, &params), observe).expect("steady");
    let anchors = |store: &ChainStore| store.events(0, usize::MAX).expect("sound");
    assert!(matches!(anchors(&store)[..], [(0, FinalEvent::Anchor(_)), (1, FinalEvent::Anchor(_))]));
    let mut stored = scene.open(&store);
    assert!(matches!(stored.origin(), Origin::Checkpoint(_)));
    assert!(!stored.follower().is_complete());
    let payload = {
        let deposits = scene.toy.deposit(&[(1, 4_000)]);
        scene.toy.batch(&deposits, &[])
    };
    scene.toy.anchor(&payload);
    let mut events = 0;
    let count = |_: &Follower, event: &Event| {
        assert!(matches!(event, Event::Verified(_)));
        events += 1;
        Ok::<(), FollowError>(())
    };
    stored.catch_up_light(&scene.toy.node, &ExcerptCutter::new(&scene.toy.node, &params), count).expect("steady");
    assert_eq!((events, stored.follower().tip()), (1, &scene.toy.tip));
    // A reorganisation down to the checkpoint leaves it a light one.
    let height = scene.toy.node.chain().height();
    let to = stored.follower().headers().final_block().height;
    let branch = vec![Vec::new(); (height - to) as usize + 1];
    scene.toy.node.chain_mut().reorganise(to, &branch, &elsewhere()).expect("more work");
    stored.catch_up_light(&scene.toy.node, &ExcerptCutter::new(&scene.toy.node, &params), observe).expect("steady");
    assert!(!stored.follower().is_complete() && stored.follower().checkpoint().is_none());
    assert_eq!(stored.follower().tip().batches, 2);
}

#[test]
fn no_damaged_page_of_a_light_store_is_a_panic() {
    let scene = Scene::new();
    let store = scene.store();
    let observe = |_: &Follower, _: &Event| Ok::<(), FollowError>(());
    let cutter = ExcerptCutter::new(&scene.toy.node, &scene.toy.params);
    scene.open(&store).catch_up_light(&scene.toy.node, &cutter, observe).expect("steady");
    let noticed = crate::testing::damage::damage_every_page(store.path(), |damaged| {
        let store = ChainStore::new(damaged.to_owned(), &scene.toy.params, View::Light);
        store.summary()?;
        store.events(0, usize::MAX)?;
        let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
        let mut stored = StoredFollower::open(store, &scene.toy.node, params, program)?;
        stored.catch_up_light(&scene.toy.node, &cutter, observe)?;
        Ok::<(), FollowError>(())
    });
    assert!(noticed > 2, "{noticed}");
}

#[test]
fn a_light_follower_begins_at_a_checkpoint_of_the_sources_chain() {
    let mut scene = Scene::new();
    let full = ChainStore::new(scene.folder.path().join("chain.redb"), &scene.toy.params, View::Full);
    let mut full = scene.open(&full);
    let observe = |_: &Follower, _: &Event| Ok::<(), FollowError>(());
    full.catch_up(&scene.toy.node, observe).expect("steady");
    let file = CheckpointFile(full.follower().checkpoint().expect("a block is final"));
    let path = scene.folder.path().join("final.checkpoint");
    artefact::write(&path, &file).expect("room");
    let read: CheckpointFile = artefact::read(&path).expect("just written");
    assert_eq!((&read, read.digest()), (&file, file.digest()));
    let checkpoint = read.0;
    assert_eq!(checkpoint.tip().batches, 2, "the scene's batches are final");

    let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
    let open = |scene: &Scene| {
        let (params, program) = (params.clone(), program.clone());
        StoredFollower::open_at(scene.store(), &scene.toy.node, params, program, checkpoint.clone())
    };
    // What is before the checkpoint is not asked for.
    let (folder, _) = scene.exported();
    std::fs::remove_dir_all(&folder.0).expect("it is there");
    let mut stored = open(&scene).expect("the chain has the block");
    assert!(!stored.follower().is_complete(), "it reports no payouts");
    assert!(matches!(stored.origin(), Origin::Checkpoint(block) if *block == checkpoint.block()));
    let payload = {
        let deposits = scene.toy.deposit(&[(1, 4_000)]);
        scene.toy.batch(&deposits, &[])
    };
    scene.toy.anchor(&payload);
    scene.toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    stored.catch_up_light(&scene.toy.node, &ExcerptCutter::new(&scene.toy.node, &params), observe).expect("steady");
    assert_eq!(stored.follower().tip(), &scene.toy.tip);
    // The store goes before the checkpoint, whether that is still in the chain or not.
    let stored = open(&scene).expect("the store has more");
    assert!(matches!(stored.origin(), Origin::Checkpoint(block) if block.height > checkpoint.block().height));
    assert_eq!(stored.follower().tip().batches, 3);

    // Another chain's blocks are no basis, and a chain that is too short is waited for.
    std::fs::remove_file(scene.store().path()).expect("it is there");
    let (height, tip) = (checkpoint.block().height, scene.toy.node.chain().height());
    let branch = vec![Vec::new(); (tip - height) as usize + 2];
    scene.toy.node.chain_mut().reorganise(height - 1, &branch, &elsewhere()).expect("more work");
    assert!(matches!(open(&scene), Err(FollowError::Checkpoint(block)) if block == checkpoint.block()));
    let fresh = ToyRollup::new();
    let short =
        StoredFollower::open_at(scene.store(), &fresh.node, params.clone(), program.clone(), checkpoint.clone());
    assert!(short.is_err_and(|error| error.is_transient()));
}

#[test]
fn files_that_are_no_excerpts_are_refused() {
    let scene = Scene::new();
    let (folder, files) = scene.exported();
    std::fs::write(&files[0].1, "no excerpt").expect("room");
    let error = scene.follow(&folder).expect_err("no excerpt");
    assert!(matches!(error, FollowError::Excerpt(ExcerptError::File { .. })), "{error}");
    assert!(error.to_string().contains(".excerpt"));
}
