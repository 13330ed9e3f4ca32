//! Exit requests: what queues, what a batch must do about it, and rewinds of both.

use super::*;
use crate::{
    cell::{Account, Cell, CellElements, CellIndex, Holding, MerklePath, Tickets},
    exit::{ExitRequest, LeftOutError, Outcome, REQUESTS_ENOUGH, Refutation},
    payload::{Payload, PayloadError},
};
use alloc::collections::BTreeSet;
use ark_bn254::Fr;

/// A branch with requests in block 1.
fn branch_with(requests: &[ExitRequest]) -> Branch {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![exit_transaction(1, requests)]);
    branch
}

/// A cell of the empty state, at a depth.
pub(super) fn show_empty(index: u32, levels: u8) -> Refutation {
    let path = MerklePath::new((0..levels).map(|level| [empty_root(level); 7]).collect()).expect("a few levels");
    Refutation { index: CellIndex::new(index).expect("a small index"), cell: Cell::Empty.elements(), path }
}

/// A batch after which the state is empty again.
fn emptying(branch: &Branch) -> Batch {
    let batch = branch.batch();
    Batch { root: Some(empty_root(batch.depth.levels())), ..batch }
}

pub(super) fn pending(branch: &Branch) -> Vec<u64> {
    branch.follower.pending_exits().map(|exit| exit.index).collect()
}

/// Mines anchors of batches in one block; gives the refusals in order, and the outcomes of the one that is accepted.
pub(super) fn anchor(branch: &mut Branch, batches: &[Batch]) -> (Vec<RuleError>, Vec<(u64, Outcome)>) {
    let events = branch.mine(batches.iter().map(|batch| branch.anchor(batch)).collect());
    let settled = events.iter().find_map(|event| match event {
        Event::Verified(batch) => {
            assert!(batch.payload().refutations().is_empty(), "what is settled is kept, what was shown is not");
            Some(batch.settled_requests().to_vec())
        }
        _ => None,
    });
    let settled = settled.unwrap_or_default().iter().map(|settled| (settled.request.index, settled.outcome)).collect();
    (refusals(&events), settled)
}

#[test]
fn only_signed_requests_queue_and_each_once() {
    let [good, other] = [request(3, 1, 0, 505), request(4, 1, 0, 505)];
    let mut forged = good.output(params().chain_id());
    let mut script = forged.script_pubkey.to_bytes();
    // The amount is not the signed one.
    script[8 + 64 + 32 + 8] ^= 1;
    forged.script_pubkey = script.into();
    let mut branch = Branch::new();
    let foreign = pay(3, alloc::vec![request(5, 1, 0, 505).output(crate::cell::ChainId::from_byte_array([9; 15]))]);
    branch.mine(alloc::vec![pay(1, alloc::vec![forged]), exit_transaction(2, &[good, good, other, good]), foreign]);
    branch.mine(alloc::vec![exit_transaction(4, &[other, good])]);
    let queued: Vec<_> = branch.follower.pending_exits().collect();
    let place = |exit: &ScannedExit| (exit.index, exit.height, exit.vout, exit.request);
    assert_eq!(queued.iter().map(place).collect::<Vec<_>>(), [(0, 1, 0, good), (1, 1, 2, other)]);
    // Once it is settled it can be asked again, and is then refuted again.
    let shown = alloc::vec![show_empty(1, 2)];
    let batch = Batch { refutations: shown.clone(), ..emptying(&branch) };
    assert_eq!(anchor(&mut branch, &[batch]), (Vec::new(), [(0, Outcome::Refuted), (1, Outcome::Refuted)].to_vec()));
    branch.mine(alloc::vec![exit_transaction(5, &[good])]);
    assert_eq!(pending(&branch), [2]);
    let batch = Batch { refutations: shown, ..emptying(&branch) };
    assert_eq!(anchor(&mut branch, &[batch]), (Vec::new(), [(2, Outcome::Refuted)].to_vec()));
}

#[test]
fn a_request_up_to_the_reference_is_served_or_refuted() {
    let requests = [request(3, 1, 0, 505), request(4, 2, 0, 506)];
    let mut branch = branch_with(&requests);
    let earlier = branch.follower.headers.at(0).expect("the start");
    let ignoring = emptying(&branch);
    let serving_one = Batch { served: alloc::vec![requests[0]], ..ignoring.clone() };
    let serving_other = Batch { served: alloc::vec![requests[1]], ..ignoring.clone() };
    let in_another_token = Batch { served: requests.to_vec(), token: Token(3), ..ignoring.clone() };
    let showing_another = Batch { refutations: alloc::vec![show_empty(3, 2)], ..serving_one.clone() };
    let good = Batch { refutations: alloc::vec![show_empty(2, 2)], ..serving_one.clone() };
    let left_out = |index| RuleError::RequestLeftOut(LeftOutError { index });
    let mut unaware = branch.clone();
    let bad = [ignoring.clone(), serving_one, serving_other, in_another_token, showing_another];
    let (refused, settled) = anchor(&mut branch, &[&bad[..], &[good]].concat());
    assert_eq!(refused, [0, 1, 0, 0, 1].map(left_out));
    assert_eq!(settled, [(0, Outcome::Served), (1, Outcome::Refuted)]);
    assert_eq!((pending(&branch), branch.follower.tip.payouts), (Vec::new(), 1));
    // An anchor that refers to a block before the requests need not know them.
    let early = Batch { reference: earlier, served: requests[..1].to_vec(), ..ignoring };
    assert_eq!(anchor(&mut unaware, &[early]), (Vec::new(), Vec::new()), "nor does it settle what it serves by chance");
    assert_eq!(pending(&unaware), [0, 1]);
}

#[test]
fn no_request_is_left_out_for_longer_than_the_window() {
    for age in [WINDOW_BLOCKS - 1, WINDOW_BLOCKS, WINDOW_BLOCKS + 1] {
        let mut branch = branch_with(&[request(3, 1, 0, 505)]);
        while branch.follower.scanned.height < age {
            branch.mine(Vec::new());
        }
        let ignores = |reference: u32| {
            let reference = branch.follower.headers.at(reference).expect("mined");
            let mut branch = branch.clone();
            let batch = Batch { reference, ..branch.batch() };
            anchor(&mut branch, &[batch]).0.is_empty()
        };
        assert_eq!((0..=age).any(ignores), age < WINDOW_BLOCKS, "in block {}", age + 1);
    }
}

#[test]
fn refutations_are_true_ordered_and_few() {
    let mut branch = branch_with(&[request(3, 1, 0, 505)]);
    let with = |refutations: Vec<Refutation>| {
        let batch = emptying(&branch);
        let payload = Payload::decode(&payload_of(&batch, |_, _| ()), program().table()).expect("well-formed");
        Payload::with_refutations(payload.table().clone(), *payload.header(), payload.chunks().to_vec(), refutations)
            .map(drop)
    };
    let cell = Cell::Account(Account { nonce: 9, ..Account::new(key(3), Token::BITCOIN, 0) }).elements();
    assert_eq!(with(alloc::vec![show_empty(1, 2), show_empty(2, 2)]), Ok(()));
    assert_eq!(with(alloc::vec![Refutation { cell, ..show_empty(1, 2) }]), Err(PayloadError::RefutationRoot(0)));
    assert_eq!(with(alloc::vec![show_empty(1, 2), show_empty(1, 3)]), Err(PayloadError::RefutationOrder(1)));
    assert_eq!(with(alloc::vec![show_empty(1, 2), show_empty(2, 3)]), Err(PayloadError::RefutationRoot(1)));
    assert_eq!(with(alloc::vec![show_empty(64, 2)]), Err(PayloadError::RefutationRoot(0)), "outside the tree");
    assert_eq!(with(alloc::vec![show_empty(2, 2), show_empty(1, 2)]), Err(PayloadError::RefutationOrder(1)));
    let every = |count: u32| (0..count).map(|index| show_empty(index % 64, 2)).collect();
    assert_eq!(with(every(64)), Ok(()));
    assert_eq!(with(every(65)), Err(PayloadError::RefutationOrder(64)), "each cell once");
    // Cells that refute nothing do no harm.
    let idle = Batch { refutations: alloc::vec![show_empty(1, 2), show_empty(7, 2)], ..emptying(&branch) };
    assert_eq!(anchor(&mut branch, &[idle]), (Vec::new(), [(0, Outcome::Refuted)].to_vec()));
}

/// A later program makes cells that this release knows nothing of; their elements are shown like all others'.
#[test]
fn cells_of_any_kind_are_shown_and_judged_by_their_elements() {
    let asked = request(3, 1, 2, 505);
    let account = Account { nonce: 2, ..Account::new(key(3), Token::BITCOIN, 505) };
    let (tickets, second) = (Tickets { base: 64, used: u64::MAX }, Holding { token: Token(5), balance: 9 });
    let able = Cell::Account(Account { tickets, second, ..account }).elements();
    let with = |position: usize, element: Fr| {
        let mut elements = able;
        elements.0[position] = element;
        elements
    };
    let beyond = Fr::from(u64::MAX) + Fr::from(1u64);
    let stale = Cell::Account(Account { nonce: 3, tickets, second, ..account }).elements();
    let unknown = CellElements([5, 6, 7, 8, 9, 10, 11, 12].map(|element: u64| -Fr::from(element)));
    for (cell, is_refuting) in [
        (stale, true),
        (with(0, Fr::from(5u64)), true),
        (with(2, beyond), true),
        (unknown, true),
        (able, false),
        (with(3, beyond), false),
    ] {
        let shown = Refutation { cell, ..show_empty(1, 2) };
        let mut branch = Branch::new();
        let making = Batch { root: shown.root(), ..branch.batch() };
        branch.mine(alloc::vec![branch.anchor(&making), exit_transaction(1, &[asked])]);
        assert_eq!((branch.follower.tip.batches, pending(&branch)), (1, [0].to_vec()));
        let refuting = Batch { refutations: alloc::vec![shown], ..branch.batch() };
        let expected = if is_refuting {
            (Vec::new(), [(0, Outcome::Refuted)].to_vec())
        } else {
            ([RuleError::RequestLeftOut(LeftOutError { index: 0 })].to_vec(), Vec::new())
        };
        assert_eq!(anchor(&mut branch, &[refuting]), expected, "{cell:?}");
    }
}

#[test]
fn a_tree_that_grew_is_shown_at_its_new_depth() {
    let requests = [request(3, 1, 0, 505), request(3, 64, 0, 505), request(3, 512, 0, 505)];
    let mut branch = branch_with(&requests);
    let grown = Batch { depth: depth(3), ..branch.batch() };
    let left_out = Batch { refutations: alloc::vec![show_empty(1, 3)], ..grown.clone() };
    let good = Batch { refutations: alloc::vec![show_empty(1, 3), show_empty(64, 3)], ..grown };
    let (refused, settled) = anchor(&mut branch, &[left_out, good]);
    assert_eq!(refused, [RuleError::RequestLeftOut(LeftOutError { index: 1 })], "cell 64 lies in the grown tree");
    assert_eq!(settled, [0, 1, 2].map(|index| (index, Outcome::Refuted)), "cell 512 lies outside and needs no path");
}

#[test]
fn requests_behind_a_served_one_wait_for_a_later_batch() {
    let requests = [request(3, 1, 0, 505), request(3, 1, 0, 506), request(4, 1, 0, 507)];
    let mut branch = branch_with(&requests);
    let serving = Batch { served: requests[..1].to_vec(), ..emptying(&branch) };
    assert_eq!(anchor(&mut branch, &[serving]), (Vec::new(), [(0, Outcome::Served)].to_vec()));
    assert_eq!(pending(&branch), [1, 2]);
    let ignoring = emptying(&branch);
    let refuting = Batch { refutations: alloc::vec![show_empty(1, 2)], ..ignoring.clone() };
    let (refused, settled) = anchor(&mut branch, &[ignoring, refuting]);
    assert_eq!(refused, [RuleError::RequestLeftOut(LeftOutError { index: 1 })]);
    assert_eq!(settled, [(1, Outcome::Refuted), (2, Outcome::Refuted)]);
}

#[test]
fn a_flood_is_worked_off_in_order() {
    let count = REQUESTS_ENOUGH as u32 + 6;
    let requests: Vec<_> = (0..count).map(|i| request(3 + u64::from(i / 60), i % 60, 0, 505)).collect();
    let mut branch = branch_with(&requests);
    let few = Batch { served: requests[..REQUESTS_ENOUGH - 5].to_vec(), ..emptying(&branch) };
    let (refused, _) = anchor(&mut branch, &[few]);
    assert_eq!(refused, [RuleError::RequestLeftOut(LeftOutError { index: REQUESTS_ENOUGH as u64 - 5 })]);
    let enough = Batch { served: requests[..REQUESTS_ENOUGH].to_vec(), ..emptying(&branch) };
    let (refused, settled) = anchor(&mut branch, &[enough]);
    assert_eq!((refused, settled.len()), (Vec::new(), REQUESTS_ENOUGH));
    assert_eq!(pending(&branch), (REQUESTS_ENOUGH as u64..u64::from(count)).collect::<Vec<_>>());
}

#[test]
fn payouts_are_numbered_across_batches() {
    let mut branch = Branch::new();
    let first = Batch { withdrawals: alloc::vec![7, 8], ..branch.batch() };
    branch.mine(alloc::vec![branch.anchor(&first)]);
    let foreign = Batch { withdrawals: alloc::vec![9], token: Token(3), ..branch.batch() };
    branch.mine(alloc::vec![branch.anchor(&foreign)]);
    let last = Batch { withdrawals: alloc::vec![10], ..branch.batch() };
    branch.mine(alloc::vec![branch.anchor(&last)]);
    let numbered: Vec<_> = branch.follower.pending_payouts().map(|payout| (payout.index, payout.amount_sat)).collect();
    assert_eq!((numbered, branch.follower.tip.payouts), ([(0, 7), (1, 8), (2, 10)].to_vec(), 3));
}

#[test]
fn requests_and_what_became_of_them_are_rewound_at_every_depth() {
    // In each block a request; in some a batch that serves or refutes what waits.
    let step = |branch: &mut Branch, tag: u32| {
        let height = branch.follower.scanned.height + 1;
        let cell = height % 5;
        let mut transactions = alloc::vec![exit_transaction(height + 1_000 * tag, &[request(3, cell, height, 505)])];
        if height % 3 == tag % 3 {
            let mut batch = emptying(branch);
            let waiting: Vec<_> = branch.follower.pending_exits().map(|exit| exit.request).collect();
            let (even, odd): (Vec<_>, Vec<_>) = waiting.iter().partition(|request| request.from().get() % 2 == 0);
            batch.served = even;
            let cells: BTreeSet<u32> = odd.iter().map(|request| request.from().get()).collect();
            batch.refutations = cells.into_iter().map(|cell| show_empty(cell, 2)).collect();
            transactions.push(branch.anchor(&batch));
        }
        branch.mined(transactions)
    };
    reorganise_at_every_depth(Branch::new(), 14, step, queue);
}

#[test]
fn requests_that_lost_their_place_come_back_at_every_depth() {
    // The queue is full all the time. One key asks for one cell again and again, and in every other block somebody
    // else's first request takes the place of its youngest. In some a batch refutes what its cell asks for.
    let step = |branch: &mut Branch, tag: u32| {
        let height = branch.follower.scanned.height + 1;
        let mut requests = alloc::vec![request(3, 1, height + tag, 505), request(3, 1, 100 + height, 505)];
        if height % 2 == tag {
            requests.push(request(4 + u64::from(tag), 2 + height, 0, 505));
        }
        let mut transactions = alloc::vec![exit_transaction(height + 1_000 * tag, &requests)];
        if height % 6 == tag {
            let shown = branch.follower.pending_exits().map(|exit| exit.request.from().get()).collect::<BTreeSet<_>>();
            let refutations = shown.into_iter().map(|cell| show_empty(cell, 2)).collect();
            transactions.push(branch.anchor(&Batch { refutations, ..emptying(branch) }));
        }
        branch.mined(transactions)
    };
    let mut trunk = Branch::new();
    trunk.follower.requests = Queue::with_room(6);
    let states = reorganise_at_every_depth(trunk, 14, step, queue);
    assert_eq!(states.iter().map(|branch| branch.follower.requests.len()).max(), Some(6));
}

#[test]
fn a_request_that_was_asked_again_waits_once_when_its_answer_is_undone() {
    let [again, other] = [request(3, 1, 0, 505), request(4, 1, 0, 505)];
    let mut branch = branch_with(&[again]);
    let fork = branch.fork(1);
    let batch = Batch { refutations: alloc::vec![show_empty(1, 2)], ..emptying(&branch) };
    assert_eq!(anchor(&mut branch, &[batch]), (Vec::new(), [(0, Outcome::Refuted)].to_vec()));
    branch.mine(alloc::vec![exit_transaction(2, &[again])]);
    assert_eq!(pending(&branch), [1]);
    // The answer is undone, and the request is asked a third time while it waits.
    let mut other_branch = fork;
    let blocks = [alloc::vec![], alloc::vec![], alloc::vec![exit_transaction(3, &[again, other])]]
        .map(|transactions| other_branch.mined(transactions));
    let follower = &mut branch.follower;
    reorganise(follower, &blocks);
    assert_eq!(state(follower), state(&other_branch.follower));
    assert_eq!(pending(&branch), [0, 1]);
}
