//! Sources that answer only so many questions a run: what one run has read, the next need not ask for.

use super::*;
use crate::{
    bridge::watch::BridgeWatch,
    node::{ChainSource, NodeError},
};
use bitcoin::{Block, BlockHash, Network};

/// A source that gives so many answers, headers ten at a time, as servers do that limit what one user asks of them.
struct Limited<'a> {
    node: &'a EmbeddedNode,
    answers_left: Cell<usize>,
}

impl Limited<'_> {
    fn ask(&self) -> Result<&EmbeddedNode, NodeError> {
        let left = self.answers_left.get().checked_sub(1);
        let left = left.ok_or(NodeError::Http { url: String::new(), status: 429, retry_after: None })?;
        self.answers_left.set(left);
        Ok(self.node)
    }
}

impl ChainSource for Limited<'_> {
    fn network(&self) -> Network {
        self.node.network()
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.ask()?.tip_height()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.ask()?.block_hash(height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        self.ask()?.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.ask()?.block(hash)
    }

    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        self.ask()?.headers(first_height, count_max.min(10))
    }
}

impl Scene {
    /// One run against a source of so many answers; the follower if it came to the end.
    fn follow_limited(&self, store: &ChainStore, node: &EmbeddedNode, answers: usize) -> Option<Follower> {
        let source = Limited { node, answers_left: Cell::new(answers) };
        let (params, program) = (self.toy.params.clone(), self.toy.program.clone());
        let opened = StoredFollower::open(store.clone(), &source, params, program);
        let followed = opened.and_then(|mut stored| {
            stored.catch_up(&source, |_, _| Ok::<(), FollowError>(()))?;
            Ok(stored.into_follower())
        });
        match followed {
            Ok(follower) => Some(follower),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                None
            }
        }
    }
}

#[test]
fn a_source_of_few_answers_a_run_is_followed_in_the_end() {
    let mut scene = Scene::new();
    scene.toy.node.mine(100).expect("empty blocks are valid");
    let (store, whole) = (scene.store("limited.redb"), scene.store("whole.redb"));
    scene.follow(&whole).expect("a steady source");
    // Fewer than there are pages of headers before the start, after it, or blocks.
    let answers = 2 * FINAL_DEPTH_BLOCKS as usize + 4;
    let mut runs = 1;
    let follower = loop {
        match scene.follow_limited(&store, &scene.toy.node, answers) {
            Some(follower) => break follower,
            None => runs += 1,
        }
        assert!(runs < 100, "each run goes on from the one before");
    };
    assert!(runs > 5, "{runs} runs");
    assert_eq!((follower.scanned().hash, *follower.tip()), (scene.toy.node.chain().tip_hash(), scene.toy.tip));
    assert_eq!(log_of(&store), log_of(&whole));
    assert_eq!(store.header_heights().expect("sound"), whole.header_heights().expect("sound"));
}

#[test]
fn a_bridge_is_watched_with_the_headers_that_following_has_kept() {
    let mut scene = Scene::new();
    scene.toy.node.mine(60).expect("empty blocks are valid");
    let store = scene.store("chain.redb");
    scene.follow(&store).expect("a steady source");
    let path = scene.folder.path().join("bridge.state");
    let answers = 2 * FINAL_DEPTH_BLOCKS as usize + 6;
    let mut runs = 1;
    let scanned = loop {
        let source = Limited { node: &scene.toy.node, answers_left: Cell::new(answers) };
        let chain = WithStoredHeaders::new(&store, &source).expect("an answer is left");
        let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
        let (mut watch, _) = BridgeWatch::open(&path, &chain, params, program).expect("the headers are there");
        let caught_up = watch.catch_up(&chain);
        watch.save(&path).expect("our folder");
        match caught_up {
            Ok(()) => break watch.follower().scanned(),
            Err(error) => assert!(error.is_transient() && runs < 100, "{error} after {runs} runs"),
        }
        runs += 1;
    };
    assert!(runs > 3, "{runs} runs");
    assert_eq!(scanned.hash, scene.toy.node.chain().tip_hash());
    // Headers of a chain that the source has left are not given.
    let fork_height = scene.toy.node.chain().height() - 20;
    scene.toy.node.chain_mut().reorganise(fork_height, &vec![Vec::new(); 21], &elsewhere()).expect("more work");
    let chain = WithStoredHeaders::new(&store, &scene.toy.node).expect("it answers");
    let (height, hash) =
        (fork_height + 1, scene.toy.node.chain().block_at(fork_height + 1).expect("mined").block_hash());
    assert_eq!(chain.headers(height, 1).expect("it answers").first().map(Header::block_hash), Some(hash));
}

#[test]
fn headers_that_were_kept_are_left_where_the_chain_has_left_them() {
    let mut scene = Scene::new();
    let store = scene.store("limited.redb");
    let first_answers = scene.toy.params.start.height as usize / 10 + 6;
    let kept = |store: &ChainStore| store.header_heights().expect("sound").map(|heights| *heights.end());
    // Headers were read, and no block.
    scene.toy.node.mine(60).expect("empty blocks are valid");
    let mut answers = first_answers;
    while kept(&store).is_none_or(|end| end <= scene.toy.params.start.height) {
        assert!(scene.follow_limited(&store, &scene.toy.node, answers).is_none());
        answers += 1;
    }
    assert_eq!(store.checkpoint().expect("sound"), None, "no block was scanned");
    let fork_height = kept(&store).expect("some") - 5;
    let branch = vec![Vec::new(); (scene.toy.node.chain().height() - fork_height) as usize + 1];
    scene.toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
    let (origin, _, follower) = scene.follow(&store).expect("a steady source");
    assert_eq!((origin, follower.scanned().hash), (Origin::Start, scene.toy.node.chain().tip_hash()));
    // Headers of a chain without the start are not kept.
    let foreign = scene.store("foreign.redb");
    let other = RegtestChain::new();
    let mut other = EmbeddedNode::new(other, elsewhere());
    other.mine(scene.toy.params.start.height + 40).expect("empty blocks are valid");
    let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
    let refused = StoredFollower::open(foreign.clone(), &other, params, program).map(|_| ());
    assert!(matches!(refused, Err(FollowError::StartLost { .. })), "{refused:?}");
    assert_eq!(kept(&foreign), None);
    scene.follow(&foreign).expect("nothing of the other chain stands in the way");
}
