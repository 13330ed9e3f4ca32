//! A source that fails at each of its calls in turn, in the middle of a reorganisation: whoever follows it goes on,
//! and ends up where one stands who saw the new chain alone.

use super::*;
use crate::{
    bridge::watch::BridgeWatch,
    light::ExcerptCutter,
    testing::rig::{Outlook, SeenNode},
};
use tempfile::TempDir;

/// Whoever follows a chain.
trait Follows: Sized {
    /// One who has seen nothing.
    fn begin(toy: &ToyRollup) -> Self;
    /// Reads what the source has.
    fn go_on(&mut self, source: &dyn ChainSource) -> Result<(), FollowError>;
    /// What it knows, to be compared.
    fn facts(&self) -> String;
}

/// A follower with a list of what it was told.
struct Listener {
    follower: Follower,
    /// The batches that stand, and the payouts that fell due.
    batches: Vec<(u64, BlockId)>,
    due: Vec<u64>,
}

impl Follows for Listener {
    fn begin(toy: &ToyRollup) -> Self {
        Self { follower: begin(toy), batches: Vec::new(), due: Vec::new() }
    }

    fn go_on(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        let Self { follower, batches, due } = self;
        catch_up(source, follower, |_, event| {
            match event {
                Some(Event::Verified(batch)) => batches.push((batch.batch(), batch.block())),
                Some(Event::Rewound { tip, .. }) => batches.truncate(tip.batches as usize),
                Some(Event::Due(payout)) => due.push(payout.index),
                _ => {}
            }
            Ok(())
        })
    }

    fn facts(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.follower.scanned(), self.follower.tip(), self.batches, self.due)
    }
}

/// A follower with a store, of whole blocks or of excerpts.
struct Stored<const IS_LIGHT: bool> {
    stored: StoredFollower,
    _folder: TempDir,
}

impl<const IS_LIGHT: bool> Follows for Stored<IS_LIGHT> {
    fn begin(toy: &ToyRollup) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let view = if IS_LIGHT { View::Light } else { View::Full };
        let store = ChainStore::new(folder.path().join("chain.redb"), &toy.params, view);
        let stored = StoredFollower::open(store, &toy.node, toy.params.clone(), toy.program.clone());
        Self { stored: stored.expect("the chain holds the start"), _folder: folder }
    }

    fn go_on(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        let observe = |_: &Follower, _: &Event| Ok(());
        if !IS_LIGHT {
            return self.stored.catch_up(source, observe);
        }
        let params = self.stored.follower().params().clone();
        self.stored.catch_up_light(source, &ExcerptCutter::new(source, &params), observe)
    }

    fn facts(&self) -> String {
        let (follower, store) = (self.stored.follower(), self.stored.store());
        let events: Vec<_> = self.stored.unsettled().collect();
        let log = store.events(0, usize::MAX).expect("a sound store");
        let checkpoint = store.checkpoint().expect("a sound store");
        format!("{:?} {:?} {events:?} {log:?} {checkpoint:?}", follower.scanned(), follower.tip())
    }
}

impl Follows for BridgeWatch {
    fn begin(toy: &ToyRollup) -> Self {
        Self::start(&toy.node, toy.params.clone(), toy.program.clone()).expect("the chain holds the start")
    }

    fn go_on(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        self.catch_up(source)
    }

    fn facts(&self) -> String {
        let (coins, due): (Vec<_>, Vec<_>) = (self.scan().coins(), self.scan().unpaid().collect());
        format!("{:?} {coins:?} {due:?} {:?}", self.scan().scanned(), self.scan().head())
    }
}

/// A chain with two batches and a deposit behind them, and a longer one that loses its last blocks and has the
/// batches again where their deposits are left.
fn reorganised(lost: u32) -> (ToyRollup, EmbeddedNode) {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    toy.deposit(&[(0, 9_000)]);
    let before = EmbeddedNode::new(toy.node.chain().clone(), elsewhere());
    let mut branch = vec![Vec::new(); lost as usize + 3];
    match lost {
        2 => branch[1] = pair(&anchors[1]),
        3 => (branch[1], branch[2]) = (pair(&anchors[0]), pair(&anchors[1])),
        _ => {}
    }
    let fork_height = before.chain().height() - lost;
    toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
    (toy, before)
}

fn goes_on_from_every_failure<F: Follows>() {
    for lost in 1..FINAL_DEPTH_BLOCKS {
        let (toy, before) = reorganised(lost);
        // Where all is final, whatever was forgotten has come out.
        let mut later = EmbeddedNode::new(toy.node.chain().clone(), elsewhere());
        later.mine(FINAL_DEPTH_BLOCKS).expect("valid");
        let mut alone = F::begin(&toy);
        alone.go_on(&later).expect("a steady source");
        // Headers come one by one, so that a failure may follow the one that outweighs what was best.
        let outlook = Outlook { headers_max: 1, ..Outlook::default() };
        let failing = SeenNode { node: &toy.node, outlook: &outlook };
        let begun = || {
            let mut user = F::begin(&toy);
            user.go_on(&before).expect("a steady source");
            user
        };
        let mut answers = 0;
        let mut is_failing = true;
        while is_failing {
            let mut user = begun();
            outlook.answers.set(answers);
            is_failing = user.go_on(&failing).is_err();
            user.go_on(&later).unwrap_or_else(|error| panic!("{lost} lost, {answers} answers: {error}"));
            assert_eq!(user.facts(), alone.facts(), "{lost} lost, {answers} answers");
            answers += 1;
        }
        assert!(answers > lost.into(), "{lost} lost, {answers} answers");
        // One that fails again and again, a call later each time.
        let mut user = begun();
        for answers in 0.. {
            outlook.answers.set(answers);
            if user.go_on(&failing).is_ok() {
                break;
            }
        }
        user.go_on(&later).expect("a steady source");
        assert_eq!(user.facts(), alone.facts(), "{lost} lost");
    }
}

#[test]
fn a_follower_goes_on_from_every_failure() {
    goes_on_from_every_failure::<Listener>();
}

#[test]
fn a_follower_with_a_store_goes_on_from_every_failure() {
    goes_on_from_every_failure::<Stored<false>>();
}

#[test]
fn a_light_follower_goes_on_from_every_failure() {
    goes_on_from_every_failure::<Stored<true>>();
}

#[test]
fn the_bridge_goes_on_from_every_failure() {
    goes_on_from_every_failure::<BridgeWatch>();
}
