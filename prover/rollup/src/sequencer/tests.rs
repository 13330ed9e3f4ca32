use super::*;
use crate::ledger::Standing;
use taproof_bitcoin::{
    follow::{FollowError, catch_up, start},
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, prove},
};
use taproof_circuits::transaction::StepTransaction;
use taproof_verifier::{follow::VerifiedBatch, payload::Payload};
use tempfile::TempDir;

mod growth;

/// Takes whatever pays nothing.
const FREE: Admission = Admission { fee_min_sat: 0, refuses_dust: false, opening_min_sat: 0 };

const TERMS: Terms = Terms { reference_depth_blocks: Some(1), depth_min: None, chunks_max: 100, admission: FREE };

/// One who makes batches, with a chain, a ledger and a follower.
struct Scene {
    toy: ToyRollup,
    ledger: Ledger,
    follower: Follower,
    verified: Vec<VerifiedBatch>,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::of(ToyRollup::new())
    }

    fn of(toy: ToyRollup) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let ledger = new_ledger(&toy, &folder, "ledger");
        let follower = start(&toy.node, toy.params.clone(), toy.program.clone()).expect("the toy's chain");
        Self { toy, ledger, follower, verified: Vec::new(), folder }
    }

    fn read(&mut self) {
        let verified = &mut self.verified;
        let read = catch_up(&self.toy.node, &mut self.follower, |_, event| {
            if let Some(taproof_verifier::follow::Event::Verified(batch)) = event {
                verified.push(*batch);
            }
            Ok::<(), FollowError>(())
        });
        read.expect("the toy's chain");
    }

    fn sequencer(&mut self) -> Sequencer<'_> {
        Sequencer::new(&mut self.ledger, &self.follower).expect("in line with the chain")
    }

    /// Deposits, each in a block of its own, and reads them.
    fn deposit(&mut self, deposits: &[(u32, u64)]) {
        self.toy.deposit(deposits);
        self.read();
    }

    fn mine(&mut self, blocks: u32) {
        self.toy.node.mine(blocks).expect("valid");
        self.read();
    }

    fn make(&mut self, terms: &Terms) -> MadeBatch {
        let mut sequencer = self.sequencer();
        let draft = sequencer.draft(terms, &[]).expect("circuits and blocks");
        sequencer.make(&draft, &[]).expect("room")
    }

    /// Proves and anchors a batch of a ledger, and reads the block.
    fn anchor(&mut self, batch: u64) {
        let file = self.ledger.artefact::<BatchFile>(batch).expect("readable").expect("it was made");
        let header = file.header().of_payload();
        let proven = prove(&self.toy.program, header, file.chunks(), file.refutations());
        let encoded = proven.payload_after(self.follower.tip().payload_hash).expect("it fits");
        self.toy.anchor(&Payload::decode(&encoded, self.toy.program.table()).expect("just encoded"));
        self.read();
        assert_eq!(self.follower.tip().batches, batch + 1);
    }

    fn height(&self) -> u32 {
        self.follower.scanned().height
    }
}

fn new_ledger(toy: &ToyRollup, folder: &TempDir, name: &str) -> Ledger {
    Ledger::create(&folder.path().join(name), toy.params.chain_id(), toy.params.genesis_depth).expect("a new file")
}

#[test]
fn a_batch_that_is_made_is_accepted_by_the_verifier() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000), (1, 70_000), (0, 400)]);
    let made = scene.make(&TERMS);
    assert!(made.is_batch());
    assert_eq!((made.applied.number, made.applied.batch.deposits_applied, made.deposits_waiting), (0, 3, 0));
    scene.anchor(0);
    assert_eq!(scene.follower.tip().root, scene.ledger.state().root());
    assert!(!scene.make(&TERMS).is_batch(), "nothing waits");
    assert_eq!(scene.ledger.next_batch(), 1);
}

#[test]
fn what_somebody_else_anchored_is_taken_over_and_what_is_final_is_settled() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000)]);
    let mut other = new_ledger(&scene.toy, &scene.folder, "other");
    let mut idle = new_ledger(&scene.toy, &scene.folder, "idle");
    let mut sequencer = Sequencer::new(&mut other, &scene.follower).expect("both are new");
    let draft = sequencer.draft(&TERMS, &[]).expect("circuits and blocks");
    assert!(sequencer.make(&draft, &[]).expect("room").is_batch());
    scene.deposit(&[(1, 70_000)]);
    scene.make(&TERMS);
    scene.anchor(0);
    for (ledger, taken_back) in [(&mut other, 0..1), (&mut idle, 0..0)] {
        assert!(matches!(read_from(ledger, &scene.follower), Ok(ReadFrom::Checkpoint(_))));
        let refused = Sequencer::new(ledger, &scene.follower).map(|_| ());
        assert!(matches!(refused, Err(SequencerError::Ledger(LedgerError::Final(1)))), "{refused:?}");
        let taken = take_over(ledger, &scene.verified[0]).expect("it is next");
        assert_eq!(taken, Some(TakenOver { batch: 0, taken_back }));
        assert_eq!(take_over(ledger, &scene.verified[0]).expect("it is there"), None);
        assert!(matches!(read_from(ledger, &scene.follower), Ok(ReadFrom::Nowhere)));
        assert_eq!(ledger.state().root(), scene.ledger.state().root());
    }
    assert_eq!((final_batches(&scene.follower), other.first_unfinal().expect("readable")), (0, 0));
    scene.mine(FINAL_DEPTH_BLOCKS);
    assert_eq!(final_batches(&scene.follower), 1);
    Sequencer::new(&mut other, &scene.follower).expect("in line");
    assert_eq!(other.first_unfinal().expect("readable"), 1);
    // A ledger that has not even the final batches is read from the start for.
    let late = new_ledger(&scene.toy, &scene.folder, "late");
    assert!(matches!(read_from(&late, &scene.follower), Ok(ReadFrom::Start)));
    assert_eq!(late.compare(scene.follower.tip()).expect("readable"), Standing::Behind);
}

#[test]
fn a_batch_refers_to_a_block_so_deep_and_to_none_before_that_of_the_batch_before() {
    let mut scene = Scene::new();
    let start_height = scene.height();
    scene.deposit(&[(0, 50_000), (1, 70_000)]);
    scene.mine(10);
    let tip = scene.height();
    let reference = |scene: &mut Scene, reference_depth_blocks| {
        let draft = scene.sequencer().draft(&Terms { reference_depth_blocks, ..TERMS }, &[]);
        draft.map(|draft| (draft.reference().height, scene.follower.headers().at(draft.reference().height)))
    };
    for (asked, height) in [(Some(1), tip), (Some(2), tip - 1), (Some(6), tip - 5), (None, tip - 5)] {
        let found = reference(&mut scene, asked).expect("there are blocks");
        assert_eq!(found, (height, scene.follower.headers().at(height)));
    }
    // Not even the genesis is so deep; the rollup's start is.
    assert_eq!(reference(&mut scene, Some(u32::MAX)).expect("a block").0, start_height);
    scene.make(&Terms { reference_depth_blocks: Some(4), ..TERMS });
    for asked in [Some(100), Some(6), None] {
        assert_eq!(reference(&mut scene, asked).expect("a block").0, tip - 3);
    }
    // Who has read less has no such block.
    let behind = start(&scene.toy.node, scene.toy.params.clone(), scene.toy.program.clone()).expect("the chain");
    let mut sequencer = Sequencer::new(&mut scene.ledger, &behind).expect("no batch is anchored");
    assert!(matches!(sequencer.draft(&TERMS, &[]), Err(SequencerError::NoReference { height }) if height == tip - 3));
}

#[test]
fn a_batch_that_is_made_again_refers_to_the_same_height_unless_that_is_long_ago() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000)]);
    let made_at = scene.height();
    scene.make(&TERMS);
    assert_eq!(scene.sequencer().take_back(0).expect("it is not anchored"), 0..1);
    scene.mine(10);
    let height = |scene: &mut Scene, reference_depth_blocks| {
        let terms = Terms { reference_depth_blocks, ..TERMS };
        scene.sequencer().draft(&terms, &[]).expect("there are blocks").reference().height
    };
    assert_eq!(height(&mut scene, None), made_at);
    assert_eq!(height(&mut scene, Some(2)), made_at + 9);
    let half_window = scene.toy.params.deposit_window_blocks / 2;
    scene.mine(half_window - 10);
    assert_eq!(height(&mut scene, None), made_at);
    scene.mine(1);
    assert_eq!(height(&mut scene, None), scene.height() - 5);
}

#[test]
fn a_batch_with_steps_refers_to_a_block_that_leaves_it_half_of_their_window() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000)]);
    let made_at = scene.height();
    scene.make(&TERMS);
    scene.sequencer().take_back(0).expect("it is not anchored");
    let steps = [Transaction::Steps(StepTransaction { chain_id: scene.toy.params.chain_id(), parts: Vec::new() })];
    let draft = |scene: &mut Scene, reference_depth_blocks, new: &[Transaction]| {
        let terms = Terms { reference_depth_blocks, ..TERMS };
        scene.sequencer().draft(&terms, new).map(|draft| draft.reference().height)
    };
    scene.mine(STEPS_WINDOW_BLOCKS / 2);
    assert_eq!(draft(&mut scene, None, &steps).expect("a block"), made_at);
    scene.mine(1);
    // One that came too late would come too late again.
    assert_eq!(draft(&mut scene, None, &steps).expect("a block"), scene.height() - 5);
    scene.mine(3);
    let tip = scene.height();
    assert_eq!(draft(&mut scene, None, &[]).expect("a block"), made_at);
    // Those that wait count as well.
    scene.ledger.add_transactions(&steps).expect("room");
    assert_eq!(draft(&mut scene, None, &[]).expect("a block"), tip - 5);
    scene.mine(STEPS_WINDOW_BLOCKS);
    let tip = scene.height();
    assert_eq!(draft(&mut scene, Some(STEPS_WINDOW_BLOCKS), &[]).expect("a block"), tip + 1 - STEPS_WINDOW_BLOCKS);
    let too_deep = draft(&mut scene, Some(STEPS_WINDOW_BLOCKS + 1), &[]);
    assert!(matches!(too_deep, Err(SequencerError::StepsTooDeep { depth_blocks: 19, window_blocks: 18 })));
}

#[test]
fn only_what_the_chain_does_not_have_is_taken_back() {
    let mut scene = Scene::new();
    for amount in [50_000, 70_000, 90_000] {
        scene.deposit(&[(0, amount)]);
        scene.make(&TERMS);
    }
    scene.anchor(0);
    scene.mine(FINAL_DEPTH_BLOCKS);
    scene.anchor(1);
    let take_back = |scene: &mut Scene, batch| scene.sequencer().take_back(batch);
    assert!(matches!(take_back(&mut scene, 0), Err(SequencerError::Final(0))));
    let anchored = take_back(&mut scene, 1);
    assert!(matches!(anchored, Err(SequencerError::Anchored { batch: 1, anchored: 2 })), "{anchored:?}");
    assert!(matches!(take_back(&mut scene, 4), Err(SequencerError::NoSuchBatch(4))));
    assert_eq!(take_back(&mut scene, 3).expect("none has the number"), 3..3);
    assert_eq!(take_back(&mut scene, 2).expect("it is not anchored"), 2..3);
    assert_eq!(scene.ledger.deposits().expect("readable").len(), 1);
    // It can be made again.
    assert_eq!(scene.make(&TERMS).applied.number, 2);
    scene.anchor(2);
}

#[test]
fn who_collects_fees_is_somebody_whom_the_batch_itself_may_credit() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000), (1, 70_000)]);
    scene.make(&TERMS);
    scene.anchor(0);
    scene.deposit(&[(2, 90_000)]);
    let [cell_0, cell_1, cell_2] = [0, 1, 2].map(|index| CellIndex::new(index).expect("a small index"));
    let owners = [2, 1, 0].map(|owner| *scene.toy.owner(owner).public());
    scene.toy.state = scene.ledger.state().clone();
    let [paid, free] = [7, 0].map(|fee| scene.toy.transfer(0, 1, 1_000, fee));
    let mut sequencer = scene.sequencer();
    let mut draft = sequencer.draft(&TERMS, &[]).expect("circuits and blocks");
    assert_eq!(sequencer.fees(&draft, std::slice::from_ref(&free)).expect("readable"), Fees::None);
    assert_eq!(sequencer.fees(&draft, &[free, paid.clone()]).expect("readable"), Fees::OfTransactions);
    let dear = Terms { admission: Admission { fee_min_sat: 8, ..FREE }, ..TERMS };
    let dear = sequencer.draft(&dear, &[]).expect("circuits and blocks");
    assert_eq!(sequencer.fees(&dear, std::slice::from_ref(&paid)).expect("readable"), Fees::None, "it is not taken");
    for (cell, collects) in [(0, true), (1, true), (2, true), (3, false), (1 << 20, false)] {
        let cell = CellIndex::new(cell).expect("a small index");
        assert_eq!(sequencer.collects(&draft, cell).expect("readable"), collects, "{cell}");
    }
    let first_owned = |owners| sequencer.first_owned(&draft, owners).expect("readable");
    // Who has an account already comes before whom the batch credits.
    assert_eq!(first_owned(&owners), Some(cell_1));
    assert_eq!(first_owned(&owners[2..]), Some(cell_0));
    assert_eq!(first_owned(&owners[..1]), Some(cell_2));
    assert_eq!(first_owned(&[]), None);
    draft.pay_fees_to(cell_2);
    let made = sequencer.make(&draft, &[paid]).expect("room");
    assert_eq!((made.applied.batch.applied.len(), made.applied.batch.rejected.len()), (1, 0));
    assert_eq!(scene.ledger.state().account(cell_2).map(|account| account.balance), Some(90_007));
}

#[test]
fn a_transaction_that_waits_is_not_kept_twice() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000), (1, 70_000)]);
    scene.make(&TERMS);
    scene.toy.state = scene.ledger.state().clone();
    let transfer = scene.toy.transfer(0, 1, 1_000, 0);
    let mut sequencer = scene.sequencer();
    let no_room = sequencer.draft(&Terms { chunks_max: 0, ..TERMS }, &[]).expect("circuits and blocks");
    for _ in 0..2 {
        assert!(!sequencer.make(&no_room, std::slice::from_ref(&transfer)).expect("nothing is due").is_batch());
        assert_eq!(sequencer.ledger().transactions().expect("readable"), std::slice::from_ref(&transfer));
    }
}

#[test]
fn what_is_too_young_is_told_with_the_blocks_that_it_takes() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000), (1, 70_000), (2, 90_000)]);
    let tip = scene.height();
    let terms = Terms { reference_depth_blocks: Some(3), ..TERMS };
    let draft = scene.sequencer().draft(&terms, &[]).expect("circuits and blocks");
    let young = |amount_sat, height, blocks| TooYoung { what: Demand::Deposit, amount_sat, height, blocks };
    let expected = [young(70_000, tip - 1, 1), young(90_000, tip, 2)];
    assert_eq!(scene.sequencer().too_young(&draft), expected);
    scene.mine(2);
    let draft = scene.sequencer().draft(&terms, &[]).expect("circuits and blocks");
    assert_eq!(scene.sequencer().too_young(&draft), []);
    assert_eq!(scene.make(&terms).applied.batch.deposits_applied, 3);
}

#[test]
fn depths_beyond_the_window_and_trees_without_circuits_are_refused() {
    let mut scene = Scene::new();
    let params = scene.toy.params.clone();
    let window_blocks = params.deposit_window_blocks;
    assert!(expect_within_window(&params, window_blocks).is_ok());
    let refused = expect_within_window(&params, window_blocks + 1);
    assert!(matches!(refused, Err(SequencerError::BeyondWindow { depth_blocks, .. }) if depth_blocks > window_blocks));
    for (window, depth, with_steps) in
        [(100, 6, 6), (18, 6, 6), (12, 6, 6), (11, 5, 5), (5, 2, 2), (2, 1, 1), (1, 1, 1)]
    {
        let params = params.with(|founding| founding.deposit_window_blocks = window).expect("consistent parameters");
        let depths = [false, true].map(|has_steps| reference_depth_blocks(&params, has_steps));
        assert_eq!(depths, [depth, with_steps]);
    }
    let depth_min = Depth::new(4);
    let refused = scene.sequencer().draft(&Terms { depth_min, ..TERMS }, &[]);
    assert!(
        matches!(refused, Err(SequencerError::NoCircuit { kind: taproof_verifier::record::Kind::Deposit, .. })),
        "{refused:?}"
    );
    // A deeper tree that has circuits is grown.
    scene.deposit(&[(0, 50_000)]);
    let made = scene.make(&Terms { depth_min: Depth::new(3), ..TERMS });
    assert_eq!(Some(made.applied.batch.depth), Depth::new(3));
    scene.anchor(0);
}

#[test]
fn what_somebody_elses_batch_has_applied_brings_no_fees() {
    let mut scene = Scene::new();
    scene.deposit(&[(0, 50_000), (1, 70_000)]);
    scene.make(&TERMS);
    scene.anchor(0);
    scene.toy.state = scene.ledger.state().clone();
    let paid = scene.toy.transfer(0, 1, 1_000, 7);
    let free = scene.toy.transfer(0, 1, 2_000, 0);
    let mut sequencer = scene.sequencer();
    let draft = sequencer.draft(&TERMS, &[]).expect("circuits and blocks");
    assert_eq!(sequencer.fees(&draft, std::slice::from_ref(&paid)).expect("readable"), Fees::OfTransactions);
    // The payer's nonce is used, by whichever transaction.
    sequencer.make(&draft, &[free]).expect("room");
    let draft = sequencer.draft(&TERMS, &[]).expect("circuits and blocks");
    assert_eq!(sequencer.fees(&draft, &[paid]).expect("readable"), Fees::None);
}
