//! What the ledger makes, anchored on a chain and read by a follower.

use super::*;
use taproof_bitcoin::{
    follow::{FollowError, catch_up, start},
    testing::toy_rollup::{ToyRollup, prove_chunk},
};
use taproof_circuits::transaction::Withdraw;
use taproof_verifier::{
    exit::{ExitRequest, LeftOutError, Outcome},
    follow::{Event, Follower, RuleError, VerifiedBatch},
    headers::BlockId,
    payload::{Header, Payload},
    record::Destination,
};

struct Rig {
    toy: ToyRollup,
    follower: Follower,
    ledger: Ledger,
    _folder: TempDir,
}

impl Rig {
    fn new(deposits: &[(u32, u64)]) -> Self {
        let mut toy = ToyRollup::new();
        toy.deposit(deposits);
        let follower = start(&toy.node, toy.params.clone(), toy.program.clone()).expect("a start");
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (path, params) = (folder.path().join("ledger"), &toy.params);
        let ledger = Ledger::create(&path, params.chain_id(), params.genesis_depth).expect("a new file");
        Self { toy, follower, ledger, _folder: folder }
    }

    /// Follows the chain and gives the ledger what waits.
    fn catch_up(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        catch_up(&self.toy.node, &mut self.follower, |_, event| {
            events.extend(event);
            Ok::<(), FollowError>(())
        })
        .expect("a steady source");
        let consumed = self.ledger.deposits_consumed();
        let pending = self.follower.pending_deposits().filter(|scanned| scanned.index >= consumed);
        let deposits: Vec<_> = pending
            .map(|scanned| {
                let (amount_sat, owner) = (scanned.deposit.amount_sat, scanned.deposit.owner);
                WaitingDeposit { deposit: Deposit { amount_sat, owner }, height_blocks: scanned.height }
            })
            .collect();
        self.ledger.set_deposits(consumed, &deposits).expect("room");
        let exits: Vec<_> = self.follower.pending_requests().copied().collect();
        self.ledger.set_requests(&exits, self.follower.tip().batches).expect("room");
        events
    }

    /// Makes a batch that refers to the last scanned block, and its payload.
    fn apply(&mut self) -> (AppliedBatch, Payload) {
        let reference = self.follower.scanned();
        let slots = Slots::uniform(NonZeroU16::new(4).expect("not zero"));
        let plan = Plan {
            height_blocks: reference.height,
            slots,
            operators: BTreeMap::new(),
            chunks_max: 100,
            admission: Default::default(),
        };
        let void_below = self.toy.params.void_below(reference.height);
        let applied = self.ledger.apply(&plan, self.ledger.state().depth(), void_below, note).expect("all fits");
        let payload = self.payload(&applied, reference, true);
        (applied, payload)
    }

    fn payload(&self, applied: &AppliedBatch, reference: BlockId, is_refuting: bool) -> Payload {
        let header = Header {
            chain_id: self.toy.params.chain_id(),
            batch: applied.number,
            previous_payload_hash: self.toy.tip.payload_hash,
            root_before: applied.batch.root_before,
            root_after: applied.batch.root_after,
            depth: applied.batch.depth,
            reference_height: reference.height,
            reference_hash: reference.hash,
            deposits_consumed: applied.deposits_consumed,
            program_id: self.toy.params.program_id,
        };
        let refutations = if is_refuting { applied.refutations.clone() } else { Vec::new() };
        let chunks = applied.batch.chunks.iter().map(prove_chunk).collect();
        let table = self.toy.program.table().clone();
        Payload::with_refutations(table, header, chunks, refutations).expect("well-formed")
    }

    fn request(&self, owner: u32, from: u32, nonce: u32, amount: u64, fee: u64) -> ExitRequest {
        let key = self.toy.owner(owner);
        let (chain_id, token, destination) = (self.toy.params.chain_id(), Token::BITCOIN, Destination::P2tr([4; 32]));
        let body = Withdraw { chain_id, token, from: index(from), nonce, amount, fee, destination };
        Signed::sign(body, &key).demand(*key.public()).expect("bitcoin")
    }
}

#[test]
fn exits_are_served_and_refuted_on_the_chain() {
    let mut rig = Rig::new(&[(0, 50_000), (1, 70_000)]);
    rig.catch_up();
    let (_, payload) = rig.apply();
    rig.toy.anchor(&payload);
    assert!(matches!(rig.catch_up().as_slice(), [Event::Verified(_)]));
    let chain_id = rig.toy.params.chain_id();
    let requests = [
        rig.request(0, 0, 0, 20_000, 5),
        rig.request(0, 0, 0, 30_000, 5),
        rig.request(5, 1, 0, 70_000, 0),
        rig.request(5, 63, 0, 330, 0),
        rig.request(5, 64, 0, 330, 0),
    ];
    rig.toy.mine_outputs(requests.iter().map(|request| request.output(chain_id)).collect());
    rig.catch_up();
    assert_eq!(rig.follower.pending_exits().count(), 5);
    let (applied, payload) = rig.apply();
    // The same batch, but with nothing shown, goes first and is ignored.
    let hidden = rig.payload(&applied, rig.follower.scanned(), false);
    let ignored = rig.toy.build_anchor(&hidden);
    rig.toy.mine(&[ignored.commit().clone(), ignored.reveal().clone()]);
    rig.toy.anchor(&payload);
    let events = rig.catch_up();
    let [Event::Ignored { refusal: RuleError::RequestLeftOut(LeftOutError { index: 2 }), .. }, Event::Verified(batch)] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(batch.settled_requests(), applied.settled, "the ledger knew what would come of it");
    let outcomes: Vec<_> = applied.settled.iter().map(|settled| (settled.request.index, settled.outcome)).collect();
    let refuted = [1, 2, 3, 4].map(|index| (index, Outcome::Refuted));
    assert_eq!(outcomes, [&[(0, Outcome::Served)][..], &refuted].concat());
    let payouts: Vec<_> = batch.payouts().map(|payout| (payout.index, payout.amount_sat)).collect();
    assert_eq!(payouts, [(0, 20_000)]);
    assert_eq!(rig.ledger.requests().expect("readable").len(), 0, "the rival is refuted by what is left");
    // A replay of what was served, and of the rival, are refuted by the next batch, which does nothing else.
    rig.toy.mine_outputs(requests[..2].iter().map(|request| request.output(chain_id)).collect());
    rig.catch_up();
    let (applied, payload) = rig.apply();
    assert_eq!((applied.settled.len(), applied.refutations.len()), (2, 1), "one cell refutes both");
    assert!(payload.chunks().is_empty());
    rig.toy.anchor(&payload);
    assert!(matches!(rig.catch_up().as_slice(), [Event::Verified(_)]));
    assert_eq!(rig.follower.pending_exits().count(), 0);
}

#[test]
fn batches_made_ahead_of_the_chain_settle_what_the_follower_sees() {
    let mut rig = Rig::new(&[(0, 50_000)]);
    rig.catch_up();
    let (_, payload) = rig.apply();
    rig.toy.anchor(&payload);
    let chain_id = rig.toy.params.chain_id();
    // Two batches before either is anchored: the second serves what was asked after the first one was made.
    let mut made = Vec::new();
    for (nonce, amount) in [(0, 20_000), (1, 10_000)] {
        rig.toy.mine_outputs(vec![rig.request(0, 0, nonce, amount, 0).output(chain_id)]);
        rig.catch_up();
        let (applied, _) = rig.apply();
        let served: Vec<_> = applied.settled.iter().map(|settled| settled.request.index).collect();
        assert_eq!(served, [u64::from(nonce)]);
        made.push((applied, rig.follower.scanned()));
    }
    for (applied, reference) in made {
        let payload = rig.payload(&applied, reference, true);
        rig.toy.anchor(&payload);
        let events = rig.catch_up();
        let [Event::Verified(batch)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(batch.settled_requests(), applied.settled);
    }
    assert_eq!(rig.follower.tip().payouts, 2);
}

/// A batch shows more cells than it need, and who copies it may leave these out: the root is the same, and less is
/// settled.
#[test]
fn what_a_copy_of_a_batch_leaves_waiting_is_settled_by_the_next() {
    let mut rig = Rig::new(&[(0, 50_000)]);
    rig.catch_up();
    let (_, payload) = rig.apply();
    rig.toy.anchor(&payload);
    // Two are served and 63 cells shown, where 64 of these are enough.
    let owners = [rig.request(0, 0, 0, 20_000, 0), rig.request(0, 0, 1, 10_000, 0)];
    let bogus = (1..64).map(|cell| rig.request(5, cell, 0, 330, 0));
    let chain_id = rig.toy.params.chain_id();
    let outputs = owners.into_iter().chain(bogus).map(|request| request.output(chain_id)).collect();
    rig.toy.mine_outputs(outputs);
    rig.catch_up();
    let (applied, payload) = rig.apply();
    assert_eq!((applied.settled.len(), applied.refutations.len()), (65, 63));
    let fewer = payload.refutations()[..62].to_vec();
    let (table, chunks) = (payload.table().clone(), payload.chunks().to_vec());
    let copy = Payload::with_refutations(table, *payload.header(), chunks, fewer).expect("well-formed");
    rig.toy.anchor(&copy);
    let events = rig.catch_up();
    let [Event::Verified(batch)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(batch.settled_requests(), &applied.settled[..64]);
    assert!(rig.ledger.agrees_with(rig.follower.tip()).expect("readable"), "the state is the same");
    let waiting = rig.ledger.requests().expect("readable");
    assert_eq!(waiting, [applied.settled[64].request], "the chain's word holds");
    // Being final in the ledger does not settle it, either.
    rig.ledger.forget_before(2).expect("a disk with room");
    assert_eq!(rig.ledger.requests().expect("readable"), waiting);
    rig.toy.deposit(&[(0, 1_000)]);
    rig.catch_up();
    let (applied, payload) = rig.apply();
    assert_eq!(applied.settled.len(), 1);
    rig.toy.anchor(&payload);
    let events = rig.catch_up();
    assert!(matches!(events.as_slice(), [Event::Verified(_)]), "{events:?}");
    assert_eq!(rig.follower.pending_exits().count(), 0);
}

#[test]
fn a_batch_of_somebody_else_is_taken_over_and_taken_back() {
    let mut rig = Rig::new(&[(0, 50_000), (1, 70_000)]);
    // The other poster has its own ledger, and serves a request that ours has not read yet.
    let folder = tempfile::tempdir().expect("a folder for the test");
    let other = Ledger::create(&folder.path().join("ledger"), rig.toy.params.chain_id(), rig.toy.params.genesis_depth)
        .expect("a new file");
    let ours = std::mem::replace(&mut rig.ledger, other);
    rig.catch_up();
    let (_, payload) = rig.apply();
    rig.toy.anchor(&payload);
    let chain_id = rig.toy.params.chain_id();
    rig.toy.mine_outputs(vec![rig.request(0, 0, 0, 20_000, 0).output(chain_id)]);
    let mut events = rig.catch_up();
    let (applied, payload) = rig.apply();
    assert_eq!(applied.settled.len(), 1);
    rig.toy.anchor(&payload);
    events.extend(rig.catch_up());
    let batches: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Verified(batch) => Some(batch.as_ref()),
            _ => None,
        })
        .collect();
    let [first, second] = batches.as_slice() else { panic!("{events:?}") };

    let mut other = std::mem::replace(&mut rig.ledger, ours);
    let not_next = rig.ledger.take_over(second);
    assert!(matches!(not_next, Err(LedgerError::NotNext { expected: 0, found: 1 })), "{not_next:?}");
    let agrees = |ledger: &Ledger| [first.before(), first.after(), second.after()].map(|tip| ledger.agrees_with(tip));
    let agreed = |ledger: &Ledger| agrees(ledger).map(|agrees| agrees.expect("readable"));
    assert_eq!(agreed(&rig.ledger), [true, false, false]);
    assert_eq!(agreed(&other), [true; 3]);
    // Ours has a batch of its own, and another that follows it.
    let waiting = [(0, 0), (1, 1)].map(|(nonce, to)| {
        let (token, from, to) = (Token::BITCOIN, index(0), index(to));
        let body = Transfer { chain_id, token, from, nonce, to, amount: 1, fee: 1 };
        Transaction::Transfer(Signed::sign(body, &key(0)))
    });
    rig.ledger.set_deposits(0, &[scanned(0, 50_000, 1)]).expect("room");
    rig.ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    rig.ledger.add_transactions(&waiting[..1]).expect("room");
    rig.ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    rig.ledger.add_transactions(&waiting[1..]).expect("room");
    assert_eq!((rig.ledger.next_batch(), agreed(&rig.ledger)), (2, [true, false, false]));
    assert!(rig.ledger.take_over(first).expect("it follows"));
    assert_eq!((rig.ledger.next_batch(), agreed(&rig.ledger)), (1, [true, true, false]));
    assert!(rig.ledger.take_over(second).expect("it follows"));
    assert!(!rig.ledger.take_over(first).expect("it is there already"));
    let same = |ours: &Ledger, other: &Ledger| {
        assert_eq!(ours.state().tree().snapshot(), other.state().tree().snapshot());
        let head = |ledger: &Ledger| (ledger.next_batch(), ledger.deposits_consumed(), ledger.reference_height());
        assert_eq!(head(ours), head(other));
    };
    same(&rig.ledger, &other);
    rig.catch_up();
    assert_eq!(rig.ledger.requests().expect("readable"), []);
    assert_eq!(rig.ledger.transactions().expect("readable"), waiting);

    // Taken back, the deposits that no scan told of are unknown until the next one.
    rig.toy.deposit(&[(1, 500)]);
    rig.catch_up();
    assert_eq!(rig.ledger.deposits().expect("readable").len(), 1);
    for batch in [1, 0] {
        rig.ledger.rewind_to(batch).expect("it is kept");
        other.rewind_to(batch).expect("it is kept");
        same(&rig.ledger, &other);
        // Each knows what its own batch referred to, and nobody else's has proofs here.
        let own_at = [rig.ledger.referred(), other.referred()].map(|height| height.expect("readable"));
        assert_eq!(own_at[0], Some(plan().height_blocks));
        assert!(own_at[1].is_some() && own_at[0] != own_at[1], "{own_at:?}");
    }
    assert_eq!(rig.ledger.deposits().expect("readable"), []);
    let path = rig._folder.path().join("ledger");
    drop(std::mem::replace(&mut rig.ledger, other));
    rig.ledger = Ledger::open(&path, chain_id).expect("a sound ledger");
    assert_eq!(agreed(&rig.ledger), [true, false, false]);

    // A state that the chain never had, behind a batch that cannot be taken back: the next one does not follow.
    rig.ledger.set_deposits(0, &[scanned(7, 9, 1)]).expect("room");
    rig.ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    rig.ledger.forget_before(1).expect("a disk with room");
    let root = rig.ledger.state().root();
    let taken_over = rig.ledger.take_over(first);
    assert!(matches!(taken_over, Err(LedgerError::Final(0))), "{taken_over:?}");
    let taken_over = rig.ledger.take_over(second);
    assert!(matches!(taken_over, Err(LedgerError::Replay(_))), "{taken_over:?}");
    assert_eq!((rig.ledger.next_batch(), rig.ledger.state().root()), (1, root));
}

/// Two posters take turns; the one whose turn it is not has a batch of its own of the same number, and one more
/// behind it.
#[test]
fn posters_alternate_whatever_is_final() {
    for final_depth_blocks in [1, 3, 100] {
        let mut rig = Rig::new(&[(0, 50_000), (1, 70_000)]);
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (path, levels) = (folder.path().join("ledger"), rig.toy.params.genesis_depth);
        let mut idle = Ledger::create(&path, rig.toy.params.chain_id(), levels).expect("a new file");
        let (mut anchored, mut nonces) = (Vec::<VerifiedBatch>::new(), [0, 0]);
        for round in 0..9 {
            rig.toy.deposit(&[(2, 1_000)]);
            for turn in [1, 0] {
                std::mem::swap(&mut rig.ledger, &mut idle);
                let taken_over = anchored.iter().map(|batch| rig.ledger.take_over(batch).expect("it follows"));
                let taken_over = taken_over.filter(|taken_over| *taken_over).count();
                assert_eq!(taken_over, usize::from(turn == 1 && round > 0), "round {round}");
                rig.catch_up();
                assert!(rig.ledger.agrees_with(rig.follower.tip()).expect("readable"), "round {round}");
                let height = rig.follower.scanned().height;
                let finals = anchored.iter().take_while(|batch| batch.block().height + final_depth_blocks <= height);
                rig.ledger.forget_before(finals.count() as u64).expect("a disk with room");
                if turn == 1 {
                    continue;
                }
                // It is the idle one's turn to make what is never anchored.
                let owner = (round + 1) % 2;
                for _ in 0..if round == 0 { 0 } else { 2 } {
                    let key = rig.toy.owner(owner as u32);
                    let (from, to) = (index(owner as u32), index(1 - owner as u32));
                    let nonce = nonces[owner];
                    let (chain_id, token) = (rig.toy.params.chain_id(), Token::BITCOIN);
                    let body = Transfer { chain_id, token, from, nonce, to, amount: 1, fee: 0 };
                    rig.ledger.add_transactions(&[Transaction::Transfer(Signed::sign(body, &key))]).expect("room");
                    nonces[owner] += 1;
                    let (applied, _) = rig.apply();
                    assert!(applied.batch.rejected.is_empty(), "round {round}");
                }
            }
            std::mem::swap(&mut rig.ledger, &mut idle);
            let waiting = rig.ledger.transactions().expect("readable").len();
            assert_eq!(waiting, if round < 2 { 0 } else { 2 }, "round {round}");
            let (applied, payload) = rig.apply();
            assert_eq!((applied.number, applied.batch.applied.len()), (round as u64, waiting));
            rig.toy.anchor(&payload);
            let events = rig.catch_up();
            let [Event::Verified(batch)] = events.as_slice() else { panic!("{events:?}") };
            anchored.push(batch.as_ref().clone());
        }
    }
}
