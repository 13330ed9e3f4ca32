//! Claim requests: which queue, and what a batch must do about them.

use super::{
    exits::{anchor, pending, show_empty},
    steps::steps,
    *,
};
use crate::{
    block::Excerpt,
    bridge::tests::signer,
    cell::{Account, Cell, CellElements, CellIndex, ChainId, MerklePath},
    evidence::{ClaimError, ClaimRequest, Secret},
    exit::{LeftOutError, Outcome, REQUESTS_ENOUGH, Refutation},
    field::pack,
    payload::{Chunk, Header as PayloadHeader},
    poseidon2::compress,
    quorum::Keys,
    record::{Evidence, StepRecord},
};
use alloc::collections::{BTreeMap, BTreeSet};
use ark_bn254::Fr;

mod upgrades;

const LOCK: u32 = 5;
const PAYEE: u32 = 8;
/// The operation of the example set that opens locks.
const CLAIM: u8 = 7;
const FAR: u32 = 1_000;

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("a small index")
}

fn preimage(i: u32) -> Secret {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&i.to_le_bytes());
    Secret::Preimage(bytes)
}

/// A secret that is a scalar, too.
fn scalar() -> Secret {
    Secret::Scalar([7; 32])
}

fn claim_output(chain_id: ChainId, cell: u32, secret: Secret) -> TxOut {
    ClaimRequest::output(index(cell), secret.as_bytes(), chain_id)
}

fn claim_transaction(tag: u32, cell: u32, secret: Secret) -> Transaction {
    pay(20_000 + tag, alloc::vec![claim_output(params().chain_id(), cell, secret)])
}

/// A lock of 42 of a token for an account.
fn lock(mode: u64, token: u64, payee: u32, expiry: u32, word: Fr) -> CellElements {
    let amounts = pack([(30, 64), (12, 64), (token, 32), (3, 32), (mode, 8)]);
    let terms = pack([(6, 32), (payee.into(), 32), (expiry.into(), 32), (1, 32), (20, 16), (0, 32)]);
    let zero = Fr::from(0u64);
    CellElements([Fr::from(4u64), amounts, terms, zero, word, Fr::from(77u64), zero, zero])
}

fn hash_lock(expiry: u32) -> CellElements {
    lock(1, 0, PAYEE, expiry, preimage(0).word().expect("a preimage has a word"))
}

fn account(token: Token, balance: u64) -> CellElements {
    Cell::Account(Account::new(key(3), token, balance)).elements()
}

/// The state of two levels with some cells.
struct State {
    cells: BTreeMap<u32, CellElements>,
    leaves: [Fr; 64],
    nodes: [Fr; 8],
}

impl State {
    fn new(cells: impl IntoIterator<Item = (u32, CellElements)>) -> Self {
        let cells: BTreeMap<u32, CellElements> = cells.into_iter().collect();
        let leaf = |i: usize| cells.get(&(i as u32)).copied().unwrap_or_default().hash();
        let leaves: [Fr; 64] = core::array::from_fn(leaf);
        let nodes = core::array::from_fn(|i| compress(&core::array::from_fn(|j| leaves[8 * i + j])));
        Self { cells, leaves, nodes }
    }

    fn root(&self) -> Fr {
        compress(&self.nodes)
    }

    fn show(&self, cell: u32) -> Refutation {
        let siblings = |children: &[Fr], own: usize| {
            let mut others = (0..8).filter(|i| *i != own).map(|i| children[i]);
            core::array::from_fn(|_| others.next().expect("seven"))
        };
        let (node, own) = (cell as usize / 8, cell as usize % 8);
        let levels = alloc::vec![siblings(&self.leaves[8 * node..][..8], own), siblings(&self.nodes, node)];
        let path = MerklePath::new(levels).expect("two levels");
        Refutation { index: index(cell), cell: self.cells.get(&cell).copied().unwrap_or_default(), path }
    }
}

/// A branch whose batch in block 1 made a state, where a secret was shown in block 2 and three blocks followed.
fn branch_in(state: &State, cell: u32, secret: Secret) -> Branch {
    let mut branch = Branch::new();
    let making = Batch { root: Some(state.root()), ..branch.batch() };
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&making)])), [0]);
    branch.mine(alloc::vec![claim_transaction(1, cell, secret)]);
    (0..3).for_each(|_| drop(branch.mine(Vec::new())));
    branch
}

/// The height of the claim request of [`branch_in`].
const ASKED: u32 = 2;

fn opening(cell: u32, secret: Secret, height: u32) -> StepRecord {
    let (word, evidence) = (secret.word().expect("a secret"), Evidence::Claim(*secret.as_bytes()));
    StepRecord { cell: index(cell), c: height.into(), word, evidence, ..StepRecord::new(CLAIM) }
}

/// Puts chunks of steps behind those of a batch.
fn with_steps(records: Vec<StepRecord>) -> impl FnOnce(&mut PayloadHeader, &mut Vec<Chunk>) {
    move |header, chunks| {
        for records in records.chunks(SLOTS.into()) {
            let chunk = steps(records.to_vec(), header.root_after, 0);
            chunks.push(Chunk { circuit: CircuitId { depth: header.depth, ..chunk.circuit }, ..chunk });
        }
    }
}

/// The anchor of a batch that shows cells and has steps.
fn answering(branch: &Branch, refutations: Vec<Refutation>, records: Vec<StepRecord>) -> Transaction {
    anchor_of(&Batch { refutations, ..branch.batch() }, with_steps(records))
}

/// What becomes of an anchor in the next block: the reason to ignore it, or the outcomes.
fn outcome(branch: &mut Branch, anchor: Transaction) -> Result<Vec<(u64, Outcome)>, RuleError> {
    let events = branch.mine(alloc::vec![anchor]);
    match refusals(&events)[..] {
        [] => Ok(settled(&events)),
        [refusal] => Err(refusal),
        _ => panic!("one anchor"),
    }
}

fn settled(events: &[Event]) -> Vec<(u64, Outcome)> {
    let batches = events.iter().filter_map(|event| match event {
        Event::Verified(batch) => Some(batch),
        _ => None,
    });
    let settled = batches.flat_map(|batch| batch.settled_requests());
    settled.map(|settled| (settled.request.index, settled.outcome)).collect()
}

fn pending_all(branch: &Branch) -> Vec<u64> {
    branch.follower.pending_requests().map(|scanned| scanned.index).collect()
}

const LEFT_OUT: RuleError = RuleError::RequestLeftOut(LeftOutError { index: 0 });

#[test]
fn a_claim_that_can_be_made_is_made_at_the_height_of_its_request() {
    let state = State::new([(LOCK, hash_lock(FAR)), (PAYEE, account(Token::BITCOIN, 1))]);
    let branch = branch_in(&state, LOCK, preimage(0));
    let reference = branch.follower.scanned.height;
    let shown = |cells: &[u32]| cells.iter().map(|cell| state.show(*cell)).collect::<Vec<_>>();
    let good = opening(LOCK, preimage(0), ASKED);
    let left_out = [
        (alloc::vec![], alloc::vec![]),
        (shown(&[LOCK]), alloc::vec![]),
        (shown(&[PAYEE]), alloc::vec![]),
        (shown(&[LOCK, PAYEE]), alloc::vec![]),
        (alloc::vec![], alloc::vec![opening(LOCK, preimage(1), reference)]),
        (alloc::vec![], alloc::vec![opening(LOCK, preimage(0), reference)]),
        (alloc::vec![], alloc::vec![opening(LOCK, preimage(0), ASKED + 1)]),
        (alloc::vec![], alloc::vec![opening(LOCK + 1, preimage(0), ASKED)]),
        (alloc::vec![], alloc::vec![StepRecord { c: (1 << 32) + u64::from(ASKED), ..good }]),
    ];
    for (shown, records) in left_out {
        let anchor = answering(&branch, shown, records.clone());
        assert_eq!(outcome(&mut branch.clone(), anchor), Err(LEFT_OUT), "{records:?}");
    }
    let refused = |position, source| Err(RuleError::Claim { chunk: 3, position, source });
    let twice = answering(&branch, Vec::new(), alloc::vec![good, good]);
    let not_requested = ClaimError::NotRequested { height_blocks: ASKED };
    assert_eq!(outcome(&mut branch.clone(), twice), refused(1, not_requested));
    let wordless = StepRecord { word: Fr::from(1u64), ..good };
    let wordless = answering(&branch, Vec::new(), alloc::vec![wordless]);
    assert_eq!(outcome(&mut branch.clone(), wordless), refused(0, ClaimError::WordMismatch));
    // Served, whatever is shown beside it, and another lock's claim of the time of the reference does no harm.
    let mut branch = branch;
    let other = opening(LOCK + 1, preimage(3), reference);
    let anchor = answering(&branch, shown(&[LOCK, PAYEE]), alloc::vec![other, good]);
    assert_eq!(outcome(&mut branch, anchor), Ok(alloc::vec![(0, Outcome::Served)]));
    assert_eq!(pending_all(&branch), [0; 0]);
    // The request is used up.
    branch.mine(Vec::new());
    let again = answering(&branch, Vec::new(), alloc::vec![good]);
    assert_eq!(outcome(&mut branch, again), refused(0, not_requested));
}

#[test]
fn each_condition_broken_alone_refutes_by_just_these_cells() {
    let word = preimage(0).word().expect("a word");
    let able = [(LOCK, hash_lock(ASKED)), (PAYEE, account(Token::BITCOIN, u64::MAX - 42))];
    let with_lock = |lock: CellElements| State::new([(LOCK, lock), able[1]]);
    let with_payee = |payee: CellElements| State::new([able[0], (PAYEE, payee)]);
    let element = |position: usize, element: Fr| {
        let mut lock = hash_lock(ASKED);
        lock.0[position] = element;
        with_lock(lock)
    };
    // What can serve it is no refutation, though it is the last of its kind.
    let state = State::new(able);
    let branch = branch_in(&state, LOCK, preimage(0));
    let anchor = answering(&branch, alloc::vec![state.show(LOCK), state.show(PAYEE)], Vec::new());
    assert_eq!(outcome(&mut branch.clone(), anchor), Err(LEFT_OUT));
    let one = &[LOCK][..];
    let both = &[LOCK, PAYEE][..];
    let cases = [
        // 1: no lock.
        (element(0, Fr::from(3u64)), one),
        (element(1, -Fr::from(1u64)), one),
        (element(2, -Fr::from(1u64)), one),
        (State::new([able[1]]), one),
        // 2: no lock of that secret.
        (with_lock(lock(0, 0, PAYEE, ASKED, word)), one),
        (with_lock(lock(2, 0, PAYEE, ASKED, word)), one),
        (with_lock(lock(3, 0, PAYEE, ASKED, word)), one),
        (element(4, word + Fr::from(1u64)), one),
        // 3: too late.
        (with_lock(hash_lock(ASKED - 1)), one),
        // 4: nobody who can take it.
        (with_lock(lock(1, 0, 64, ASKED, word)), one),
        (with_payee(CellElements::default()), both),
        (with_payee(hash_lock(ASKED)), both),
        (with_payee(account(Token(1), 0)), both),
        (with_payee(account(Token::BITCOIN, u64::MAX - 41)), both),
        (with_lock(lock(1, 5, PAYEE, ASKED, word)), both),
    ];
    for (position, (state, needed)) in cases.iter().enumerate() {
        let branch = branch_in(state, LOCK, preimage(0));
        for missing in *needed {
            let shown = needed.iter().filter(|cell| *cell != missing).map(|cell| state.show(*cell)).collect();
            let anchor = answering(&branch, shown, Vec::new());
            assert_eq!(outcome(&mut branch.clone(), anchor), Err(LEFT_OUT), "case {position} without {missing}");
        }
        let anchor = answering(&branch, needed.iter().map(|cell| state.show(*cell)).collect(), Vec::new());
        let refuted = Ok(alloc::vec![(0, Outcome::Refuted)]);
        assert_eq!(outcome(&mut branch.clone(), anchor), refuted, "case {position}");
    }
    // The same bytes are a scalar, and open a point lock.
    let point = State::new([(LOCK, lock(2, 0, PAYEE, ASKED, scalar().word().expect("in range"))), able[1]]);
    let branch = branch_in(&point, LOCK, scalar());
    let shown = answering(&branch, alloc::vec![point.show(LOCK), point.show(PAYEE)], Vec::new());
    assert_eq!(outcome(&mut branch.clone(), shown), Err(LEFT_OUT));
    let made = answering(&branch, Vec::new(), alloc::vec![opening(LOCK, scalar(), ASKED)]);
    assert_eq!(outcome(&mut branch.clone(), made), Ok(alloc::vec![(0, Outcome::Served)]));
    let preimage = Secret::Preimage(*scalar().as_bytes());
    let hash = State::new([(LOCK, lock(2, 0, PAYEE, ASKED, preimage.word().expect("a word"))), able[1]]);
    let branch = branch_in(&hash, LOCK, preimage);
    let shown = answering(&branch, alloc::vec![hash.show(LOCK)], Vec::new());
    assert_eq!(outcome(&mut branch.clone(), shown), Ok(alloc::vec![(0, Outcome::Refuted)]));
}

#[test]
fn of_a_transaction_the_first_claim_queues_and_each_secret_once() {
    let chain_id = params().chain_id();
    let mut branch = Branch::new();
    let asked = request(3, 1, 0, 505);
    let outputs = alloc::vec![
        claim_output(ChainId::from_byte_array([9; 15]), 1, preimage(0)),
        claim_output(chain_id, LOCK, preimage(0)),
        claim_output(chain_id, LOCK, preimage(1)),
        asked.output(chain_id),
        claim_output(chain_id, LOCK, preimage(2)),
    ];
    branch.mine(alloc::vec![pay(1, outputs), claim_transaction(2, LOCK, preimage(0))]);
    branch.mine(alloc::vec![
        claim_transaction(3, LOCK, preimage(0)),
        claim_transaction(4, LOCK + 1, preimage(0)),
        claim_transaction(5, LOCK, preimage(3)),
    ]);
    let place = |scanned: &ScannedRequest| {
        let claim = scanned.request.claim().map(|claim| (claim.cell.get(), claim.secret, claim.height_blocks));
        (scanned.index, scanned.height, scanned.vout, claim)
    };
    let queued: Vec<_> = branch.follower.pending_requests().map(place).collect();
    let claim = |cell, secret: Secret, height| Some((cell, *secret.as_bytes(), height));
    let expected = [
        (0, 1, 1, claim(LOCK, preimage(0), 1)),
        (1, 1, 3, None),
        (2, 2, 0, claim(LOCK + 1, preimage(0), 2)),
        (3, 2, 0, claim(LOCK, preimage(3), 2)),
    ];
    assert_eq!(queued, expected);
    assert_eq!(pending(&branch), [1], "exits are told by themselves");
    // Once it is refuted, it can be asked again.
    let shown = [1, LOCK, LOCK + 1].map(|cell| show_empty(cell, 2)).to_vec();
    let emptied = Batch { root: Some(empty_root(2)), refutations: shown, ..branch.batch() };
    let refuted = [0, 1, 2, 3].map(|index| (index, Outcome::Refuted)).to_vec();
    assert_eq!(anchor(&mut branch, &[emptied]), (Vec::new(), refuted));
    branch.mine(alloc::vec![claim_transaction(6, LOCK, preimage(0))]);
    assert_eq!(pending_all(&branch), [4]);
}

/// A tree that is full has no cell for a deposit, and what it holds goes on all the same.
#[test]
fn a_batch_that_serves_claims_may_leave_deposits() {
    let state = State::new([(LOCK, hash_lock(FAR)), (PAYEE, account(Token::BITCOIN, 1))]);
    let mut branch = branch_in(&state, LOCK, preimage(0));
    branch.mine(alloc::vec![deposit_transaction(1, &[10])]);
    let alone = Batch { transfers: 0, deposits: Vec::new(), ..branch.batch() };
    let good = opening(LOCK, preimage(0), ASKED);
    let reference = branch.follower.scanned.height;
    let other = StepRecord { cell: index(PAYEE), ..StepRecord::new(1) };
    let left_out = RuleError::DepositLeftOut { index: 0 };
    for (records, expected) in [
        (alloc::vec![good, other], Ok(alloc::vec![(0, Outcome::Served)])),
        (alloc::vec![good, other, other], Err(left_out)),
        (alloc::vec![good, good, good], Err(left_out)),
        (alloc::vec![other], Err(left_out)),
        (alloc::vec![opening(LOCK, preimage(0), reference)], Err(left_out)),
        (alloc::vec![], Err(LEFT_OUT)),
    ] {
        let anchor = anchor_of(&alone, with_steps(records));
        assert_eq!(outcome(&mut branch.clone(), anchor), expected);
    }
    let with_transfer = Batch { transfers: 1, ..alone };
    let anchor = anchor_of(&with_transfer, with_steps(alloc::vec![good, other]));
    assert_eq!(outcome(&mut branch, anchor), Err(left_out));
}

#[test]
fn claims_behind_a_served_one_wait_and_a_cell_outside_the_tree_needs_none_shown() {
    let state = State::new([(LOCK, hash_lock(FAR)), (PAYEE, account(Token::BITCOIN, 1))]);
    let mut branch = branch_in(&state, LOCK, preimage(0));
    branch.mine(alloc::vec![
        claim_transaction(2, LOCK, preimage(1)),
        exit_transaction(3, &[request(3, LOCK, 0, 505)]),
        claim_transaction(4, 64, preimage(1)),
    ]);
    let good = opening(LOCK, preimage(0), ASKED);
    let batch = Batch { root: Some(empty_root(2)), ..branch.batch() };
    let anchor = anchor_of(&batch, with_steps(alloc::vec![good]));
    let expected = alloc::vec![(0, Outcome::Served), (3, Outcome::Refuted)];
    assert_eq!(outcome(&mut branch, anchor), Ok(expected), "the state before says nothing of what is behind it");
    assert_eq!(pending_all(&branch), [1, 2]);
    let ignoring = branch.anchor(&branch.batch());
    let left_out = RuleError::RequestLeftOut(LeftOutError { index: 1 });
    assert_eq!(outcome(&mut branch, ignoring), Err(left_out));
    let refuting = answering(&branch, alloc::vec![show_empty(LOCK, 2)], Vec::new());
    let refuted = alloc::vec![(1, Outcome::Refuted), (2, Outcome::Refuted)];
    assert_eq!(outcome(&mut branch, refuting), Ok(refuted));
}

#[test]
fn a_flood_of_claims_and_exits_is_worked_off_together_in_order() {
    let mut branch = Branch::new();
    let count = REQUESTS_ENOUGH as u32 + 6;
    let transactions = (0..count).map(|i| match i % 3 {
        0 => exit_transaction(i, &[request(3, i, 0, 505)]),
        _ => claim_transaction(i, i, preimage(i)),
    });
    branch.mine(transactions.collect());
    branch.mine(Vec::new());
    assert_eq!(pending_all(&branch).len(), count as usize);
    // Some claims are made, all else is refuted.
    let is_made = |i: u32| i % 9 == 1;
    let answered = |count: u32| {
        let shown = (0..count).filter(|i| !is_made(*i)).map(|i| show_empty(i, 3)).collect();
        let records = (0..count).filter(|i| is_made(*i)).map(|i| opening(i, preimage(i), 1)).collect();
        let batch = Batch { depth: depth(3), refutations: shown, ..branch.batch() };
        anchor_of(&batch, with_steps(records))
    };
    let enough = REQUESTS_ENOUGH as u32;
    let left_out = RuleError::RequestLeftOut(LeftOutError { index: u64::from(enough) - 1 });
    let (few, all) = (answered(enough - 1), answered(enough));
    assert_eq!(outcome(&mut branch.clone(), few), Err(left_out));
    let settled = outcome(&mut branch, all).expect("enough was done");
    assert_eq!(settled.len(), REQUESTS_ENOUGH);
    assert!(settled.iter().all(|(i, outcome)| (*outcome == Outcome::Served) == is_made(*i as u32)));
    assert_eq!(pending_all(&branch), (u64::from(enough)..u64::from(count)).collect::<Vec<_>>());
}

#[test]
fn anybodys_anchor_counts_while_a_claim_waits_for_longer_than_the_window() {
    let mut branch = Branch::of(params_with(|founding| {
        founding.sequencer_keys = Keys::new(alloc::vec![signer(11)]).expect("one key");
        founding.quiet_blocks = QUIET_BLOCKS;
    }));
    let asked = claim_output(branch.follower.params.chain_id(), LOCK, preimage(0));
    branch.mine(alloc::vec![pay(1, alloc::vec![asked])]);
    assert_eq!(branch.follower.open_height(), QUIET_BLOCKS);
    branch.follower.tip.anchored_height = FAR;
    assert_eq!(branch.follower.open_height(), 1 + WINDOW_BLOCKS + 1);
}

/// In each block a claim of a secret of its own; in some a batch that makes or refutes what waits, where its program
/// opens locks.
fn step(branch: &mut Branch, tag: u32) -> Block {
    let height = branch.follower.scanned.height + 1;
    let chain_id = branch.follower.params.chain_id();
    let output = claim_output(chain_id, height % 5, preimage(height + 1_000 * tag));
    let mut transactions = alloc::vec![pay(height + 1_000 * tag, alloc::vec![output])];
    if height % 2 == tag % 2 {
        let scanned = branch.follower.scanned.height;
        let program = branch.follower.program_at(scanned).expect("both are known").clone();
        let waiting: Vec<ClaimRequest> =
            branch.follower.pending_requests().filter_map(|scanned| scanned.request.claim()).copied().collect();
        let (made, shown): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|claim| claim.cell.get() % 2 == 0);
        let mut batch = Batch { root: Some(empty_root(2)), ..branch.batch() };
        let cells: BTreeSet<u32> = shown.iter().map(|claim| claim.cell.get()).collect();
        batch.refutations = cells.into_iter().map(|cell| show_empty(cell, 2)).collect();
        let made =
            made.iter().map(|claim| opening(claim.cell.get(), Secret::Preimage(claim.secret), claim.height_blocks));
        let made: Vec<_> = made.take_while(|_| program.table().opens_locks()).collect();
        transactions.push(anchor_of(&batch, with_steps(made)));
    }
    let block = branch.next_block(transactions);
    let events = branch.follow(block.clone());
    assert_eq!(refusals(&events), [], "nothing stops in block {height}");
    block
}

#[test]
fn claims_and_what_became_of_them_are_rewound_at_every_depth() {
    reorganise_at_every_depth(Branch::new(), 14, step, queue);
}

#[test]
fn a_light_follower_needs_to_see_a_request_that_a_batch_serves() {
    let mut whole = Branch::new();
    let mut lights = [whole.follower.clone(), whole.follower.clone()];
    let asks = whole.next_block(alloc::vec![claim_transaction(1, LOCK, preimage(0))]);
    whole.follow(asks.clone());
    for (light, positions) in lights.iter_mut().zip([&[1][..], &[]]) {
        assert_eq!(light.accept_header(asks.header), Ok(None));
        let excerpt = Excerpt::of(&asks, positions).expect("the coinbase is there");
        assert_eq!(light.connect_excerpt(excerpt), Ok(Vec::new()));
    }
    let empty = whole.next_block(Vec::new());
    whole.follow(empty.clone());
    let anchor = answering(&whole, Vec::new(), alloc::vec![opening(LOCK, preimage(0), 1)]);
    let anchors = whole.next_block(alloc::vec![anchor]);
    assert_eq!(settled(&whole.follow(anchors.clone())), [(0, Outcome::Served)]);
    let found = lights.map(|mut light| {
        for block in [&empty, &anchors] {
            assert_eq!(light.accept_header(block.header), Ok(None));
        }
        light.skip_block().expect("the program is known");
        let excerpt = Excerpt::of(&anchors, &[1]).expect("the coinbase is there");
        let events = light.connect_excerpt(excerpt).expect("cut from the block");
        (light.tip == whole.follower.tip, refusals(&events))
    });
    let source = ClaimError::NotRequested { height_blocks: 1 };
    assert_eq!(found[0], (true, Vec::new()));
    assert_eq!(found[1], (false, alloc::vec![RuleError::Claim { chunk: 3, position: 0, source }]));
}

#[test]
fn a_checkpoint_holds_the_claims_that_wait() {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![exit_transaction(1, &[request(3, 1, 0, 505)]), claim_transaction(2, LOCK, preimage(0))]);
    let mut headers = alloc::vec![crate::toy_chain::regtest_genesis(), branch.header];
    for _ in 0..FINAL_DEPTH_BLOCKS {
        branch.mine(alloc::vec![claim_transaction(3, LOCK, scalar())]);
        headers.push(branch.header);
    }
    let checkpoint = branch.follower.checkpoint().expect("every block was seen whole");
    let bytes = checkpoint.to_bytes();
    assert_eq!(Checkpoint::from_bytes(&bytes), Ok(checkpoint.clone()));
    let lead = &headers[..=checkpoint.block().height as usize];
    let resumed = Follower::resume(params(), programs(), checkpoint.clone(), lead).expect("its own headers");
    let waiting: Vec<_> = resumed.pending_requests().copied().collect();
    assert_eq!(waiting, branch.follower.pending_requests().copied().collect::<Vec<_>>());
    assert_eq!(waiting.len(), 3);
    // The bytes of the first claim, from its length on: tag, cell, secret.
    let claim = [&[37, 3][..], &LOCK.to_le_bytes(), preimage(0).as_bytes()].concat();
    let start = bytes.windows(claim.len()).position(|window| *window == claim).expect("it is written");
    let with = |position: usize, byte: u8| {
        let mut altered = bytes.clone();
        altered[start + position] = byte;
        Checkpoint::from_bytes(&altered)
    };
    for (position, byte) in [(1, 2), (1, 4), (5, 0x40)] {
        assert_eq!(with(position, byte), Err(CheckpointError::Request(1)), "byte {position}");
    }
    for length in [0, 36, 38] {
        assert!(with(0, length).is_err(), "{length} bytes");
    }
}
