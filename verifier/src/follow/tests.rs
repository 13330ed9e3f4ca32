use super::*;
use crate::{
    cell::{Depth, Token, empty_root},
    payload::{self, PayloadHash},
    program::ProgramId,
    record::{OpenRecord, Records, TransferRecord},
    statement::CircuitId,
    toy_chain::pay,
};
use bitcoin::{Amount, Network, TxOut};
use rig::*;

mod chain;
mod claims;
mod deadlines;
mod excerpts;
mod exits;
mod founding;
mod once;
mod posters;
mod rig;
mod steps;
mod table;
mod upgrades;
mod work;

fn verified(events: &[Event]) -> Vec<u64> {
    let batch = |event: &Event| match event {
        Event::Verified(batch) => Some(batch.batch()),
        _ => None,
    };
    events.iter().filter_map(batch).collect()
}

fn due(events: &[Event]) -> Vec<(u64, u32, u64)> {
    let payout = |event: &Event| match event {
        Event::Due(payout) => Some((payout.batch, payout.position, payout.amount_sat)),
        _ => None,
    };
    events.iter().filter_map(payout).collect()
}

fn refusals(events: &[Event]) -> Vec<RuleError> {
    let refusal = |event: &Event| match event {
        Event::Ignored { refusal, .. } => Some(*refusal),
        _ => None,
    };
    events.iter().filter_map(refusal).collect()
}

#[test]
fn the_tip_grows_level_by_level() {
    let tip = Branch::new().follower.tip;
    let depth = |levels| Depth::new(levels).expect("1 to 10 levels");
    assert_eq!(tip.root_at(depth(2)), Some(empty_root(2)));
    assert_eq!(tip.root_at(depth(5)), Some(empty_root(5)));
    assert_eq!(tip.root_at(depth(1)), None);
}

#[test]
fn a_follower_starts_with_its_own_program_and_block() {
    let lead = [crate::toy_chain::regtest_genesis()];
    let other = ProgramId::from_byte_array([1; 32]);
    let renamed = params_with(|founding| founding.program_id = other);
    let error = StartError::Program(other);
    assert_eq!(Follower::new(renamed, program(), &lead).expect_err("another program"), error);
    let (genesis, program_depth) = (depth(4), depth(3));
    let deeper = params_with(|founding| founding.genesis_depth = genesis);
    let error = StartError::GenesisDepth { genesis, program: program_depth };
    assert_eq!(Follower::new(deeper, program(), &lead).expect_err("no circuit for such a tree"), error);
    let start = BlockId { height: 1, hash: lead[0].block_hash() };
    let raised = params_with(|founding| founding.start = start);
    assert!(Follower::new(raised, program(), &lead).is_ok(), "the height is trusted with the hash");
    let start = BlockId { height: 0, hash: bitcoin::hashes::Hash::all_zeros() };
    let elsewhere = params_with(|founding| founding.start = start);
    assert!(matches!(Follower::new(elsewhere, program(), &lead), Err(StartError::Headers(_))));
}

#[test]
fn a_follower_follows_to_the_last_height_that_there_is() {
    // The genesis block's version is outdated at such a height.
    let first = crate::toy_chain::regtest_headers(&crate::toy_chain::regtest_genesis(), 1, 0)[0];
    let last = u32::MAX - 1;
    let start = BlockId { height: last - 1, hash: first.block_hash() };
    let params = params_with(|founding| founding.start = start);
    let deposit = deposit_transaction_to(&params, 1, &[7]);
    let block = crate::toy_chain::mine_block(&first, last, 0, alloc::vec![deposit]);
    let mut follower = Follower::new(params, program(), &[first]).expect("the height is trusted with the hash");
    assert_eq!(follower.accept_header(block.header), Ok(None));
    assert_eq!(follower.connect(block.clone()), Ok(Vec::new()));
    assert_eq!((follower.scanned().height, follower.next_block()), (last, None));
    assert_eq!(follower.connect(block), Err(BlockError::NothingExpected.into()));
    assert!(follower.pending_deposits().all(|deposit| !follower.has_expired(deposit)));
    assert!(follower.open_height() >= start.height);
    assert!(follower.checkpoint().is_some_and(|checkpoint| Checkpoint::from_bytes(&checkpoint.to_bytes()).is_ok()));
}

#[test]
fn each_deadline_of_deposits_lies_behind_the_one_before() {
    let refund_delay_blocks = params().bridge().refund_delay_blocks();
    assert_eq!(refund_delay_blocks, 144);
    let good = Deadlines { window_blocks: 1, expiry_blocks: 3, final_depth_blocks: 1, refund_delay_blocks };
    let check = |deadlines: Deadlines, network| {
        let checked = deadlines.check(network);
        assert!(matches!(checked, Ok(()) | Err(FoundingError::Deadlines { .. })));
        checked.is_ok()
    };
    for (deadlines, expected) in [
        (good, true),
        (Deadlines { window_blocks: 47, expiry_blocks: 142, ..good }, true),
        (Deadlines { window_blocks: 48, expiry_blocks: 142, ..good }, false),
        (Deadlines { expiry_blocks: 143, ..good }, false),
        (Deadlines { final_depth_blocks: 140, ..good }, true),
        (Deadlines { final_depth_blocks: 141, ..good }, false),
        (Deadlines { final_depth_blocks: 0, ..good }, false),
        (Deadlines { window_blocks: 0, ..good }, false),
        (Deadlines { expiry_blocks: 2, ..good }, false),
        (Deadlines { window_blocks: 16, expiry_blocks: 24, ..good }, false),
        (Deadlines { window_blocks: 16, expiry_blocks: 47, ..good }, false),
        (Deadlines { window_blocks: 16, expiry_blocks: 48, ..good }, true),
        (Deadlines { window_blocks: u32::MAX, expiry_blocks: u32::MAX, ..good }, false),
        (Deadlines { expiry_blocks: u32::MAX, final_depth_blocks: u32::MAX, ..good }, false),
    ] {
        assert_eq!(check(deadlines, Network::Regtest), expected, "{deadlines:?}");
        let founding = Founding {
            deposit_window_blocks: deadlines.window_blocks,
            deposit_expiry_blocks: deadlines.expiry_blocks,
            final_depth_blocks: deadlines.final_depth_blocks,
            ..founding()
        };
        assert_eq!(Params::new(founding).is_ok(), expected, "{deadlines:?}");
    }
    // The federation's three days count where money is at stake.
    for (refund_delay_blocks, expected) in [(3 + 1 + 431, false), (3 + 1 + 432, true)] {
        let deadlines = Deadlines { refund_delay_blocks, ..good };
        assert_eq!((check(deadlines, Network::Bitcoin), check(deadlines, Network::Signet)), (expected, true));
    }
}

#[test]
fn batches_follow_one_another_within_and_across_blocks() {
    let mut branch = Branch::new();
    let first = branch.batch();
    let payload = payload_of(&first, |_, _| ());
    let second = Batch { tip: first.tip_after(&payload), ..branch.batch() };
    let events = branch.mine(alloc::vec![reveal_of(&payload), branch.anchor(&second)]);
    assert_eq!(verified(&events), [0, 1]);
    assert_eq!(branch.follower.tip.batches, 2);
    let third = branch.batch();
    let events = branch.mine(alloc::vec![branch.anchor(&third)]);
    let Some(Event::Verified(batch)) = events.first() else { panic!("{events:?}") };
    assert_eq!((batch.batch(), batch.root(), batch.block()), (2, third.root_after(), branch.follower.scanned));
    assert_eq!(batch.after(), &branch.follower.tip);
    assert_eq!(batch.payload().header().batch, 2);
    assert!(branch.mine(Vec::new()).is_empty());
}

#[test]
fn a_block_that_is_not_what_its_header_says_changes_nothing() {
    let mut branch = Branch::new();
    let batch = branch.batch();
    let block = branch.next_block(alloc::vec![branch.anchor(&batch)]);
    let mut unannounced = branch.follower.clone();
    assert_eq!(unannounced.connect(block.clone()), Err(BlockError::NothingExpected.into()));
    assert_eq!(branch.follower.accept_header(block.header), Ok(None));
    let before = state(&branch.follower);
    let mut stripped = block.clone();
    stripped.txdata[1].input[0].witness.clear();
    assert_eq!(branch.follower.connect(stripped), Err(BlockError::WitnessCommitment.into()));
    let mut emptied = block.clone();
    emptied.txdata.truncate(1);
    assert_eq!(branch.follower.connect(emptied), Err(BlockError::MerkleRoot.into()));
    let other = Branch::tagged(9).next_block(Vec::new());
    assert!(matches!(branch.follower.connect(other), Err(ConnectError::Block(BlockError::NotExpected { .. }))));
    assert_eq!(state(&branch.follower), before);
    let events = branch.follower.connect(block).expect("the block itself");
    assert_eq!(verified(&events), [0]);
}

#[test]
fn a_batch_in_a_deeper_tree_starts_from_the_grown_root() {
    let mut branch = Branch::new();
    let grown = Batch { depth: depth(3), ..branch.batch() };
    let from_ungrown = anchor_of(&grown, |header, _| header.root_before = empty_root(2));
    let events = branch.mine(alloc::vec![from_ungrown, branch.anchor(&grown)]);
    assert_eq!((verified(&events), refusals(&events)), (alloc::vec![0], alloc::vec![RuleError::RootBefore]));
    assert_eq!(branch.follower.tip.depth, depth(3));
    let shrunk = Batch { depth: depth(2), ..branch.batch() };
    let events = branch.mine(alloc::vec![branch.anchor(&shrunk)]);
    assert_eq!(refusals(&events), [RuleError::Depth { tip: depth(3), found: depth(2) }]);
}

#[test]
fn the_first_valid_anchor_wins_and_copies_are_ignored() {
    let mut branch = Branch::new();
    let batch = branch.batch();
    let rival = Batch { root_seed: 99, ..branch.batch() };
    // The same statements with proofs made anew: other bytes, another payload, the same batch.
    let (first, again) = (branch.anchor(&batch), branch.anchor(&batch));
    assert_ne!(first.compute_txid(), again.compute_txid());
    let events = branch.mine(alloc::vec![first.clone(), again.clone(), branch.anchor(&rival)]);
    assert_eq!(verified(&events), [0]);
    assert_eq!(refusals(&events), [RuleError::Batch { expected: 1, found: 0 }; 2]);
    let events = branch.mine(alloc::vec![again, first]);
    assert_eq!(refusals(&events), [RuleError::Batch { expected: 1, found: 0 }; 2]);
    assert_eq!(branch.follower.tip.root, batch.root_after());
}

#[test]
fn deposits_are_credited_in_order_and_none_is_left_out() {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[10, 20]), deposit_transaction(2, &[30])]);
    let early = branch.follower.scanned;
    branch.mine(alloc::vec![deposit_transaction(3, &[40])]);
    let batch = Batch { reference: early, ..branch.batch() };
    assert_eq!(batch.deposits.len(), 4);
    let all: Vec<_> = batch.deposits.clone();
    let with = |deposits: &[Deposit]| Batch { deposits: deposits.to_vec(), ..batch.clone() };
    let late = with(&all);
    let censored = with(&all[..2]);
    let none = with(&[]);
    let swapped = with(&[all[1], all[0], all[2]]);
    let skipped = with(&[all[0], all[2]]);
    let dearer = with(&[all[0], Deposit { amount_sat: 21, ..all[1] }, all[2]]);
    let stolen = with(&[all[0], all[1], Deposit { owner: key(5), ..all[2] }]);
    let anchors = [&late, &censored, &none, &swapped, &skipped, &dearer, &stolen, &with(&all[..3])];
    let events = branch.mine(anchors.map(|batch| branch.anchor(batch)).to_vec());
    let expected = [
        RuleError::DepositMissing { index: 3 },
        RuleError::DepositLeftOut { index: 2 },
        RuleError::DepositLeftOut { index: 0 },
        RuleError::DepositDiffers { index: 0 },
        RuleError::DepositDiffers { index: 1 },
        RuleError::DepositDiffers { index: 1 },
        RuleError::DepositDiffers { index: 2 },
    ];
    assert_eq!((refusals(&events), verified(&events)), (expected.to_vec(), alloc::vec![0]));
    assert_eq!(branch.follower.pending_deposits().map(|deposit| deposit.index).collect::<Vec<_>>(), [3]);
    let rest = branch.batch();
    let events = branch.mine(alloc::vec![branch.anchor(&rest)]);
    assert_eq!(verified(&events), [1]);
    assert_eq!((branch.follower.tip.deposits_consumed, branch.follower.pending_deposits().count()), (4, 0));
    let twice = Batch { deposits: alloc::vec![all[3]], ..branch.batch() };
    let events = branch.mine(alloc::vec![branch.anchor(&twice)]);
    assert_eq!(refusals(&events), [RuleError::DepositMissing { index: 4 }]);
}

#[test]
fn a_batch_of_withdrawals_alone_may_leave_deposits() {
    let waits = request(3, 1, 0, 505);
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[10, 20]), exit_transaction(2, &[waits])]);
    let all = branch.batch();
    let withdrawing = Batch {
        transfers: 0,
        deposits: Vec::new(),
        withdrawals: alloc::vec![7],
        served: alloc::vec![waits],
        ..all.clone()
    };
    // One record of another kind, and deposits are asked for.
    let one_more = |records: Records| {
        anchor_of(&withdrawing, |_, chunks| {
            let kind = records.kind();
            match chunks.iter_mut().find(|chunk| chunk.records.kind() == kind) {
                Some(chunk) => chunk.records = records,
                None => {
                    let circuit = CircuitId::new(kind, depth(2), SLOTS);
                    chunks.push(payload::Chunk { circuit, records, ..chunks[1].clone() });
                }
            }
        })
    };
    let cell = crate::cell::CellIndex::new(3).expect("a small index");
    let transfer = Records::Transfer(alloc::vec![TransferRecord { from: cell, to: cell, amount: 0, fee: 0 }]);
    let open = OpenRecord { from: cell, to: cell, amount: u64::MAX, fee: 0, owner: key(1) };
    let others = [transfer, Records::Open(alloc::vec![open])];
    let mut anchors: Vec<Transaction> = others.into_iter().map(one_more).collect();
    let credits_one = Batch { deposits: all.deposits[..1].to_vec(), ..withdrawing.clone() };
    anchors.extend([&credits_one, &withdrawing].map(|batch| branch.anchor(batch)));
    let events = branch.mine(anchors);
    let left_out = [0, 0, 1].map(|index| RuleError::DepositLeftOut { index });
    assert_eq!((refusals(&events), verified(&events)), (left_out.to_vec(), alloc::vec![0]));
    assert_eq!((branch.follower.tip.deposits_consumed, branch.follower.pending_deposits().count()), (0, 2));
    assert_eq!((branch.follower.pending_exits().count(), branch.follower.tip.payouts), (0, 2));
    // Chunks without records ask for nothing.
    let empty = Batch { transfers: 0, deposits: Vec::new(), ..branch.batch() };
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&empty)])), [1]);
    // The same deposits are credited by the next batch that does more, or are void in time, and counted then.
    let mut later = branch.clone();
    let credits = branch.batch();
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&credits)])), [2]);
    assert_eq!(branch.follower.tip.deposits_consumed, 2);
    while later.follower.scanned.height <= 1 + EXPIRY_BLOCKS - WINDOW_BLOCKS {
        let withdraws = Batch { transfers: 0, deposits: Vec::new(), withdrawals: alloc::vec![1], ..later.batch() };
        assert_eq!(verified(&later.mine(alloc::vec![later.anchor(&withdraws)])).len(), 1);
        assert_eq!(later.follower.tip.deposits_consumed, 0);
    }
    let withdraws = Batch { transfers: 0, withdrawals: alloc::vec![1], ..later.batch() };
    assert_eq!((withdraws.void, withdraws.deposits.len()), (2, 0));
    let uncounted = Batch { void: 0, ..withdraws.clone() };
    let events = later.mine(alloc::vec![later.anchor(&uncounted), later.anchor(&withdraws)]);
    assert_eq!(refusals(&events), [RuleError::DepositCount { expected: 2, found: 0 }]);
    assert_eq!((verified(&events).len(), later.follower.tip.deposits_consumed), (1, 2));
}

#[test]
fn a_batch_with_enough_deposits_may_leave_others() {
    let count = deposits_enough(SLOTS_LARGE);
    let mut branch = Branch::new();
    let amounts: Vec<u64> = (1..=count as u64 + 1).collect();
    for (tag, amounts) in (0..).zip(amounts.chunks(1_000)) {
        branch.mine(alloc::vec![deposit_transaction(tag, amounts)]);
    }
    let all = branch.batch();
    let few = Batch { deposits: all.deposits[..count - 1].to_vec(), ..all.clone() };
    let enough = Batch { deposits: all.deposits[..count].to_vec(), ..all.clone() };
    let events = branch.mine(alloc::vec![branch.anchor(&few), branch.anchor(&enough)]);
    assert_eq!(refusals(&events), [RuleError::DepositLeftOut { index: count as u64 - 1 }]);
    assert_eq!((verified(&events), branch.follower.pending_deposits().count()), (alloc::vec![0], 1));
}

#[test]
fn enough_deposits_fill_so_many_chunks_of_the_largest_circuit() {
    assert_eq!([1, 4, 20, 21, 22, u16::MAX].map(deposits_enough), [190, 760, 3_800, 3_990, 4_096, 4_096]);
    assert_eq!(program().slots_max(crate::record::Kind::Deposit, depth(2)), Some(SLOTS_LARGE));
    assert_eq!(program().slots_max(crate::record::Kind::Deposit, depth(3)), Some(SLOTS));
    assert_eq!(program().slots_max(crate::record::Kind::Deposit, depth(4)), None);
    assert_eq!(program().slots_max(crate::record::Kind::Open, depth(2)), Some(SLOTS));
}

#[test]
fn a_payout_is_due_once_its_anchor_is_final() {
    let mut branch = Branch::new();
    let batch = Batch { withdrawals: alloc::vec![7, 0, 9], ..branch.batch() };
    assert!(due(&branch.mine(alloc::vec![branch.anchor(&batch)])).is_empty());
    let other = Batch { withdrawals: alloc::vec![11], token: Token(3), ..branch.batch() };
    assert_eq!(verified(&branch.mine(alloc::vec![branch.anchor(&other)])), [1]);
    assert_eq!(branch.follower.pending_payouts().count(), 3, "only bitcoin can be paid out");
    for _ in 2..FINAL_DEPTH_BLOCKS - 1 {
        assert!(due(&branch.mine(Vec::new())).is_empty());
    }
    let events = branch.mine(Vec::new());
    assert_eq!(due(&events), [(0, 0, 7), (0, 1, 0), (0, 2, 9)]);
    let Some(Event::Due(payout)) = events.first() else { panic!("{events:?}") };
    assert_eq!((payout.anchor.height, payout.destination), (1, destination(0)));
    for _ in 0..FINAL_DEPTH_BLOCKS {
        assert!(due(&branch.mine(Vec::new())).is_empty());
    }
    assert_eq!((branch.follower.history.len(), branch.follower.payouts.len()), (0, 0));
}

#[test]
fn outputs_that_are_no_pair_credit_nothing() {
    let mut branch = Branch::new();
    let bare = TxOut { value: Amount::from_sat(5), script_pubkey: params().bridge().script_pubkey() };
    branch.mine(alloc::vec![pay(1, alloc::vec![bare])]);
    assert_eq!(branch.follower.pending_deposits().count(), 0);
}
