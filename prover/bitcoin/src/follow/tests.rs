use super::*;
use crate::{
    anchor::AnchorArtefact,
    chain_store::{ChainStore, StoredFollower, View},
    node::EmbeddedNode,
    regtest::RegtestChain,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, elsewhere},
};
use bitcoin::{Block, Transaction};
use std::cell::Cell;
use taproof_verifier::record::Destination;

mod failing;

fn begin(toy: &ToyRollup) -> Follower {
    start(&toy.node, toy.params.clone(), toy.program.clone()).expect("the chain holds the start")
}

fn events_of(source: &dyn ChainSource, follower: &mut Follower) -> Vec<Event> {
    let mut events = Vec::new();
    let observe = |_: &Follower, event: Option<Event>| {
        events.extend(event);
        Ok::<(), FollowError>(())
    };
    catch_up(source, follower, observe).expect("a steady source");
    events
}

fn pair(anchor: &AnchorArtefact) -> Vec<Transaction> {
    vec![anchor.commit().clone(), anchor.reveal().clone()]
}

#[test]
fn batches_are_verified_and_payouts_fall_due() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let mut follower = begin(&toy);
    let events = events_of(&toy.node, &mut follower);
    let verified: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Verified(batch) => (batch.batch(), batch.txid()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(verified, [(0, anchors[0].reveal().compute_txid()), (1, anchors[1].reveal().compute_txid())]);
    assert_eq!(*follower.tip(), toy.tip);
    assert_eq!(follower.tip().root, toy.state.root());
    assert_eq!(follower.scanned().hash, toy.node.chain().tip_hash());
    assert!(events_of(&toy.node, &mut follower).is_empty(), "nothing is new");

    toy.node.mine(FINAL_DEPTH_BLOCKS - 2).expect("valid");
    assert!(events_of(&toy.node, &mut follower).is_empty(), "not final yet");
    toy.node.mine(1).expect("valid");
    let [Event::Due(payout)] = events_of(&toy.node, &mut follower)[..] else { panic!("one withdrawal") };
    assert_eq!((payout.batch, payout.amount_sat, payout.destination), (1, 30_000, Destination::P2wpkh([8; 20])));
}

#[test]
fn a_replayed_anchor_is_ignored() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let mut follower = begin(&toy);
    events_of(&toy.node, &mut follower);
    let payload = taproof_verifier::payload::Payload::decode(anchors[1].payload(), toy.program.table());
    let payload = payload.expect("just anchored");
    let again = toy.build_anchor(&payload);
    toy.mine(&pair(&again));
    let events = events_of(&toy.node, &mut follower);
    assert!(matches!(events[..], [Event::Ignored { txid, .. }] if txid == again.reveal().compute_txid()), "{events:?}");
    assert_eq!(*follower.tip(), toy.tip);
}

#[test]
fn reorganisations_rewind_at_every_depth() {
    for depth in 1..FINAL_DEPTH_BLOCKS - 1 {
        let (mut toy, anchors) = ToyRollup::with_two_batches();
        let mut follower = begin(&toy);
        events_of(&toy.node, &mut follower);
        toy.node.mine(depth - 1).expect("valid");
        events_of(&toy.node, &mut follower);
        let tip = *follower.tip();

        // The second anchor is `depth` blocks deep. A longer branch leaves it out, a still longer one has it again.
        let fork_height = toy.node.chain().height() - depth;
        let without = vec![Vec::new(); depth as usize + 1];
        toy.node.chain_mut().reorganise(fork_height, &without, &elsewhere()).expect("more work");
        let events = events_of(&toy.node, &mut follower);
        let [Event::Rewound { to, tip: rewound }] = events[..] else { panic!("{events:?}") };
        assert_eq!((to.height, rewound.batches), (fork_height, 1));
        assert_eq!(follower.tip().batches, 1);
        let mut with = vec![Vec::new(); depth as usize + 2];
        with[0] = pair(&anchors[1]);
        toy.node.chain_mut().reorganise(fork_height, &with, &elsewhere()).expect("more work");
        let events = events_of(&toy.node, &mut follower);
        assert!(matches!(events[..], [Event::Rewound { .. }, Event::Verified(_), ..]), "{events:?}");
        assert_eq!(*follower.tip(), tip);
    }
}

#[test]
fn a_source_that_leaves_the_chain_below_the_final_block_is_refused() {
    for below in [1, 2, 5] {
        let (mut toy, _) = ToyRollup::with_two_batches();
        let mut follower = begin(&toy);
        events_of(&toy.node, &mut follower);
        let final_height = follower.headers().final_block().height;
        let fork_height = final_height - below;
        let branch = vec![Vec::new(); (toy.node.chain().height() - fork_height) as usize + 1];
        toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
        let tip = *follower.tip();
        let error = sync_headers(&toy.node, &mut follower, |_| ()).expect_err("final blocks stay");
        match fork_height < toy.params.start.height {
            false => assert!(matches!(error, FollowError::Header(HeaderError::ForksBelowFinal { .. })), "{error}"),
            true => {
                assert!(matches!(error, FollowError::StartLost { start, .. } if start == toy.params.start), "{error}")
            }
        }
        assert!(!error.is_transient());
        assert_eq!(*follower.tip(), tip);
    }
}

#[test]
fn a_checkpoint_goes_on_where_it_was_made() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    let mut follower = begin(&toy);
    events_of(&toy.node, &mut follower);
    let checkpoint = follower.checkpoint().expect("whole blocks were seen");
    let mut resumed =
        resume(&toy.node, toy.params.clone(), toy.program.clone(), checkpoint.clone()).expect("its own chain");
    assert_eq!(resumed.scanned(), checkpoint.block());
    let payload = {
        let deposits = toy.deposit(&[(1, 4_000)]);
        toy.batch(&deposits, &[])
    };
    toy.anchor(&payload);
    for follower in [&mut follower, &mut resumed] {
        let events = events_of(&toy.node, follower);
        assert!(matches!(events[..], [Event::Verified(_)]), "{events:?}");
        assert_eq!(*follower.tip(), toy.tip);
    }
    let empty = EmbeddedNode::new(RegtestChain::new(), elsewhere());
    let error = resume(&empty, toy.params.clone(), toy.program, checkpoint).expect_err("no such blocks");
    assert!(matches!(error, FollowError::TooShort(_)) && error.is_transient());
}

#[test]
fn sources_of_other_networks_and_lengths_are_refused() {
    let (toy, _) = ToyRollup::with_two_batches();
    let params = toy.params.with(|founding| founding.network = Network::Signet).expect("consistent parameters");
    let error = start(&toy.node, params, toy.program.clone()).expect_err("another network");
    assert!(matches!(error, FollowError::Network { expected: Network::Signet, found: Network::Regtest }));
    let empty = EmbeddedNode::new(RegtestChain::new(), elsewhere());
    let error = start(&empty, toy.params.clone(), toy.program.clone()).expect_err("no start block");
    assert!(matches!(error, FollowError::TooShort(_)));
    let mut follower = begin(&toy);
    assert!(matches!(sync_headers(&empty, &mut follower, |_| ()), Err(FollowError::TooShort(_))));
    let tip_hash = toy.node.chain().tip_hash();
    let params = toy.params.with(|founding| founding.start.hash = tip_hash).expect("consistent parameters");
    assert!(matches!(start(&toy.node, params, toy.program.clone()), Err(FollowError::StartLost { .. })));
}

/// A rollup that was founded at the tip, whose block another one replaces.
#[test]
fn a_reorganisation_below_the_start_is_said_to_be_one() {
    let mut toy = ToyRollup::new();
    let (start_block, program) = (toy.params.start, toy.program.clone());
    let folder = tempfile::tempdir().expect("a scratch folder");
    let store = ChainStore::new(folder.path().join("chain.redb"), &toy.params, View::Full);
    let open = |toy: &ToyRollup| StoredFollower::open(store.clone(), &toy.node, toy.params.clone(), program.clone());
    let (mut follower, mut stored) = (begin(&toy), open(&toy).expect("the chain holds the start"));
    let first = toy.node.chain().clone();
    toy.node
        .chain_mut()
        .reorganise(start_block.height - 1, &[Vec::new(), Vec::new()], &elsewhere())
        .expect("more work");
    let lost = |error: Option<FollowError>| {
        let error = error.expect("the start is gone");
        assert!(matches!(error, FollowError::StartLost { start, .. } if start == start_block), "{error}");
        assert!(!error.is_transient() && error.to_string().contains("reorganised below the rollup's start"), "{error}");
    };
    lost(sync_headers(&toy.node, &mut follower, |_| ()).err());
    lost(stored.catch_up(&toy.node, |_, _| Ok::<(), FollowError>(())).err());
    lost(open(&toy).err());
    lost(start(&toy.node, toy.params.clone(), program.clone()).err());
    // Nothing was changed: if the block comes back, so does the rollup.
    let mut again = EmbeddedNode::new(first, elsewhere());
    again.mine(3).expect("valid");
    assert!(events_of(&again, &mut follower).is_empty());
    assert_eq!(follower.scanned().hash, again.chain().tip_hash());
}

/// A source that answers from one chain, and after so many calls from another.
struct Fickle<'a> {
    first: &'a EmbeddedNode,
    then: &'a EmbeddedNode,
    calls_left: Cell<usize>,
}

impl Fickle<'_> {
    fn now(&self) -> &EmbeddedNode {
        match self.calls_left.get().checked_sub(1) {
            None => self.then,
            Some(left) => {
                self.calls_left.set(left);
                self.first
            }
        }
    }
}

impl ChainSource for Fickle<'_> {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.now().tip_height()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.now().block_hash(height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        self.now().header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.now().block(hash)
    }
}

#[test]
fn a_source_may_reorganise_between_any_two_calls() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let base = begin(&toy);
    let mut caught_up = base.clone();
    events_of(&toy.node, &mut caught_up);
    let first = EmbeddedNode::new(toy.node.chain().clone(), elsewhere());
    let fork_height = first.chain().height() - 2;
    let branch = [Vec::new(), pair(&anchors[0]), pair(&anchors[1]), Vec::new()];
    // The first anchor is the block before the second's, so the branch has both, each a block later.
    toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
    let tip = taproof_verifier::follow::Tip { anchored_height: toy.tip.anchored_height + 1, ..toy.tip };
    for calls in 0..60 {
        for start in [&base, &caught_up] {
            let mut follower = start.clone();
            let fickle = Fickle { first: &first, then: &toy.node, calls_left: Cell::new(calls) };
            events_of(&fickle, &mut follower);
            events_of(&toy.node, &mut follower);
            assert_eq!(follower.scanned().hash, toy.node.chain().tip_hash(), "after {calls} calls");
            assert_eq!(*follower.tip(), tip, "after {calls} calls");
        }
    }
}

/// Two back ends behind one address: each call is answered by one of them.
struct TwoBackEnds<'a> {
    first: &'a EmbeddedNode,
    second: &'a EmbeddedNode,
    /// Whether the second answers, by the number of the call and what is asked.
    is_second: &'a dyn Fn(usize, Asked) -> bool,
    calls: Cell<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Tip,
    Hash(u32),
    Header,
    Block,
}

impl TwoBackEnds<'_> {
    fn now(&self, asked: Asked) -> &EmbeddedNode {
        let call = self.calls.replace(self.calls.get() + 1);
        if (self.is_second)(call, asked) { self.second } else { self.first }
    }
}

impl ChainSource for TwoBackEnds<'_> {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.now(Asked::Tip).tip_height()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.now(Asked::Hash(height)).block_hash(height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        self.now(Asked::Header).header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.now(Asked::Block).block(hash)
    }
}

/// Which of two back ends answers a call.
type Choose<'a> = &'a dyn Fn(usize, Asked) -> bool;

#[test]
fn back_ends_of_different_tips_are_followed_as_far_as_they_go() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    let base = begin(&toy);
    let behind = EmbeddedNode::new(toy.node.chain().clone(), elsewhere());
    toy.node.mine(3).expect("empty blocks are valid");
    let short = behind.chain().height();
    let choices: [(&str, Choose<'_>); 7] = [
        ("by turns", &|call, _| call % 2 == 0),
        ("by turns, the other first", &|call, _| call % 2 == 1),
        ("three of four behind", &|call, _| call % 4 != 0),
        ("only the tip is ahead", &|_, asked| asked != Asked::Tip),
        ("no block of those ahead", &|_, asked| asked == Asked::Block),
        ("only the tip is behind", &|_, asked| asked == Asked::Tip),
        ("by what is asked", &|_, asked| matches!(asked, Asked::Hash(height) if height % 2 == 0)),
    ];
    for (name, is_second) in choices {
        for start in [base.clone(), {
            let mut follower = base.clone();
            events_of(&behind, &mut follower);
            follower
        }] {
            let mut follower = start;
            let source = TwoBackEnds { first: &toy.node, second: &behind, is_second, calls: Cell::new(0) };
            events_of(&source, &mut follower);
            assert!(follower.scanned().height >= short, "{name}: {}", follower.scanned().height);
            assert_eq!(*follower.tip(), toy.tip, "{name}");
            events_of(&toy.node, &mut follower);
            assert_eq!(follower.scanned().hash, toy.node.chain().tip_hash(), "{name}");
        }
    }
}

#[test]
fn back_ends_of_two_branches_are_no_reason_to_give_up() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    let base = begin(&toy);
    toy.node.mine(1).expect("an empty block is valid");
    let first = EmbeddedNode::new(toy.node.chain().clone(), elsewhere());
    let fork_height = first.chain().height() - 1;
    toy.node.chain_mut().reorganise(fork_height, &[Vec::new(), Vec::new()], &elsewhere()).expect("more work");
    for parity in [0, 1] {
        let mut follower = base.clone();
        let is_second = |call: usize, _: Asked| call % 2 == parity;
        let source = TwoBackEnds { first: &first, second: &toy.node, is_second: &is_second, calls: Cell::new(0) };
        events_of(&source, &mut follower);
        assert!(follower.scanned().height >= fork_height, "{}", follower.scanned());
        events_of(&toy.node, &mut follower);
        assert_eq!(follower.scanned().hash, toy.node.chain().tip_hash());
    }
}

#[test]
fn a_final_block_that_is_not_to_be_had_is_an_error() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    toy.node.mine(FINAL_DEPTH_BLOCKS).expect("empty blocks are valid");
    let mut follower = begin(&toy);
    let empty = EmbeddedNode::new(RegtestChain::new(), elsewhere());
    let is_second = |_: usize, asked: Asked| asked == Asked::Block;
    let source = TwoBackEnds { first: &toy.node, second: &empty, is_second: &is_second, calls: Cell::new(0) };
    let error = catch_up(&source, &mut follower, |_, _| Ok::<(), FollowError>(())).expect_err("no blocks");
    assert!(matches!(error, FollowError::Node(NodeError::Block(_))) && error.is_transient(), "{error}");
}
