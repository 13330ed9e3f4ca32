//! Programs in force by height: early and late batches, announcements undone, mined again and withdrawn, at every depth
//! of reorganisation, and followers that lack a program.

use super::*;
use crate::{
    block::Excerpt,
    bridge::tests::signer,
    payload::Chunk,
    program::Program,
    record::{Kind, Records},
    statement::CircuitId,
    toy_chain::POSTER_SECRET,
    upgrade::{Change, UpgradeError},
};

fn to_next(height: u32) -> Change {
    Change::Program { program: next_program().id(), height }
}

fn mine_to(branch: &mut Branch, height: u32) {
    while branch.follower.scanned.height < height {
        branch.mine(Vec::new());
    }
}

fn ignored(events: &[Event]) -> Vec<UpgradeError> {
    let refusal = |event: &Event| match event {
        Event::UpgradeIgnored { refusal, .. } => Some(*refusal),
        _ => None,
    };
    events.iter().filter_map(refusal).collect()
}

fn of_program(batch: &Batch, program: &Program) -> Transaction {
    anchor_of(batch, |header, _| header.program_id = program.id())
}

/// Checks that in the next block a batch that refers to a height counts under the one program alone.
fn assert_in_force(branch: &Branch, reference: BlockId, expected: &Program, other: &Program) {
    let batch = Batch { reference, ..branch.batch() };
    let refusal = RuleError::Program { expected: expected.id(), found: other.id() };
    let events = branch.clone().mine(alloc::vec![of_program(&batch, other), of_program(&batch, expected)]);
    let found = (refusals(&events), verified(&events).len());
    assert_eq!(found, (alloc::vec![refusal], 1), "reference {}", reference.height);
}

#[test]
fn a_batch_is_of_the_program_in_force_where_it_refers_to() {
    let mut branch = Branch::new();
    let height = 1 + NOTICE_BLOCKS;
    let announced = announcement(1, 0, to_next(height));
    let events = branch.mine(alloc::vec![announced.clone()]);
    let [Event::Announced { block, txid, upgrade }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((block.height, *txid, upgrade.number), (1, announced.compute_txid(), 0));
    mine_to(&mut branch, height - 2);
    let (old, new) = (program(), next_program());
    while branch.follower.scanned.height < height + WINDOW_BLOCKS + 1 {
        branch.mine(Vec::new());
        let scanned = branch.follower.scanned.height;
        for reference in scanned + 1 - WINDOW_BLOCKS..=scanned {
            let block = branch.follower.headers.at(reference).expect("it was mined");
            let (expected, other) = if reference < height { (&old, &new) } else { (&new, &old) };
            assert_in_force(&branch, block, expected, other);
            assert_eq!(branch.follower.program_at(reference), Ok(expected));
        }
    }
}

#[test]
fn the_rules_about_circuits_are_those_of_the_program_in_force() {
    let mut branch = Branch::new();
    let height = 1 + NOTICE_BLOCKS;
    branch.mine(alloc::vec![announcement(1, 0, to_next(height))]);
    mine_to(&mut branch, height - 2);
    let enough = deposits_enough(SLOTS);
    let amounts: Vec<u64> = (1..=enough as u64 + 1).collect();
    branch.mine(alloc::vec![deposit_transaction(1, &amounts)]);
    let deposits = branch.batch().deposits[..enough].to_vec();
    let partial = |branch: &Branch| Batch { deposits: deposits.clone(), ..branch.batch() };
    let events = branch.clone().mine(alloc::vec![branch.anchor(&partial(&branch))]);
    assert_eq!(refusals(&events), [RuleError::DepositLeftOut { index: enough as u64 }]);
    branch.mine(Vec::new());
    // As many are enough for the smaller circuits of the next program, which has none as large as that chunk's.
    let anchor = anchor_of(&partial(&branch), |_, chunks| {
        let large = chunks.remove(0);
        let circuit = CircuitId::new(Kind::Deposit, depth(2), SLOTS);
        let chunk = |records: &[_]| Chunk { circuit, records: Records::Deposit(records.to_vec()), ..large.clone() };
        chunks.splice(..0, large.records.deposits().chunks(SLOTS.into()).map(chunk));
    });
    let events = branch.clone().mine(alloc::vec![anchor]);
    assert_eq!((refusals(&events), verified(&events)), (Vec::new(), alloc::vec![0]));
}

#[test]
fn batches_late_and_early_around_the_height_at_every_depth_of_reorganisation() {
    let height = 1 + NOTICE_BLOCKS;
    let (old, new) = (program(), next_program());
    for lost in 1..FINAL_DEPTH_BLOCKS {
        // The fork lies below the height, at it, or above it.
        for above in 0..=lost {
            let mut trunk = Branch::new();
            trunk.mine(alloc::vec![announcement(1, 0, to_next(height))]);
            mine_to(&mut trunk, height + above - lost);
            let fork = trunk.clone();
            // The trunk goes on under the program in force.
            for _ in 0..lost {
                let batch = trunk.batch();
                let events = trunk.mine(alloc::vec![trunk.anchor(&batch)]);
                assert_eq!(refusals(&events), []);
            }
            let mut follower = trunk.follower.clone();
            let mut branch = fork.fork(1);
            let blocks: Vec<_> = (0..=lost).map(|_| branch.mined(Vec::new())).collect();
            reorganise(&mut follower, &blocks);
            assert_eq!(state(&follower), state(&branch.follower));
            let scanned = branch.follower.scanned.height;
            let allowed = scanned + 1 - WINDOW_BLOCKS..=scanned;
            for reference in [height - 1, height].into_iter().filter(|reference| allowed.contains(reference)) {
                let block = branch.follower.headers.at(reference).expect("it was mined");
                let (expected, other) = if reference < height { (&old, &new) } else { (&new, &old) };
                assert_in_force(&Branch { follower: follower.clone(), ..branch.clone() }, block, expected, other);
            }
        }
    }
}

#[test]
fn announcements_are_undone_mined_again_and_withdrawn_at_every_depth_of_reorganisation() {
    let first = 1 + NOTICE_BLOCKS;
    for lost in 1..FINAL_DEPTH_BLOCKS {
        let mut trunk = Branch::new();
        mine_to(&mut trunk, FINAL_DEPTH_BLOCKS);
        let fork = trunk.clone();
        let height = FINAL_DEPTH_BLOCKS + 1 + lost + first;
        let (announced, withdrawn) = (announcement(1, 0, to_next(height)), announcement(2, 1, Change::Withdrawal));
        let announces = trunk.next_block(alloc::vec![announced.clone()]);
        trunk.follow(announces);
        mine_to(&mut trunk, FINAL_DEPTH_BLOCKS + lost);
        let original = trunk.follower.clone();
        assert_eq!(original.schedule.program_at(height).1, next_program().id());
        /// In which of the branch's blocks what stands, the program in force then, and how much of it is ignored.
        type Case<'a> = (&'a [(u32, &'a Transaction)], ProgramId, usize);
        let cases: [Case<'_>; 5] = [
            (&[], program().id(), 0),
            (&[(lost, &announced)], next_program().id(), 0),
            (&[(0, &announced), (lost, &withdrawn)], program().id(), 0),
            // The withdrawal comes first, and takes back what it was made to take back.
            (&[(0, &withdrawn), (lost, &announced)], program().id(), 1),
            (&[(lost, &announced), (lost, &withdrawn)], program().id(), 0),
        ];
        for (tag, (content, expected, ignored_count)) in (1..).zip(cases) {
            let mut branch = fork.fork(tag);
            let transactions = (0..=lost).map(|position| {
                let here = content.iter().filter(move |(at, _)| *at == position);
                here.map(|(_, transaction)| (*transaction).clone()).collect()
            });
            let blocks: Vec<_> = transactions.map(|transactions| branch.mined(transactions)).collect();
            let mut follower = original.clone();
            let events = reorganise(&mut follower, &blocks);
            assert_eq!(ignored(&events).len(), ignored_count, "case {tag}");
            assert_eq!(state(&follower), state(&branch.follower));
            let mut branch = Branch { follower, ..branch };
            mine_to(&mut branch, height);
            assert_eq!(branch.follower.schedule.program_at(height).1, expected, "case {tag}, {lost} lost");
            let (now, other) =
                if expected == program().id() { (program(), next_program()) } else { (next_program(), program()) };
            assert_in_force(&branch, branch.follower.scanned, &now, &other);
        }
    }
}

#[test]
fn a_lost_withdrawal_leaves_the_announcement_in_force() {
    let height = 1 + NOTICE_BLOCKS;
    for lost in 1..FINAL_DEPTH_BLOCKS {
        let mut trunk = Branch::new();
        trunk.mine(alloc::vec![announcement(1, 0, to_next(height))]);
        mine_to(&mut trunk, height - 1 - lost);
        let fork = trunk.clone();
        trunk.mine(alloc::vec![announcement(2, 1, Change::Withdrawal)]);
        mine_to(&mut trunk, height - 1);
        let mut follower = trunk.follower.clone();
        assert_eq!(follower.schedule.program_at(height).1, program().id());
        let mut branch = fork.fork(1);
        let blocks: Vec<_> = (0..=lost).map(|_| branch.mined(Vec::new())).collect();
        reorganise(&mut follower, &blocks);
        assert_eq!(state(&follower), state(&branch.follower));
        let mut branch = Branch { follower, ..branch };
        assert_eq!(branch.follower.scanned.height, height);
        assert_in_force(&branch, branch.follower.scanned, &next_program(), &program());
        // At its height it is too late to withdraw.
        branch.mine(alloc::vec![announcement(3, 1, Change::Withdrawal)]);
        assert_in_force(&branch, branch.follower.scanned, &next_program(), &program());
    }
}

#[test]
fn what_the_upgrade_keys_announce_wrongly_is_ignored_with_the_reason_and_strangers_are_not_heard() {
    let mut branch = Branch::new();
    branch.mine(Vec::new());
    let height = 2 + NOTICE_BLOCKS;
    let early = announcement(1, 0, to_next(height - 1));
    let wrong_number = announcement(2, 1, to_next(height));
    let mut open = announcement(3, 0, to_next(height));
    let mut elements = open.input[0].witness.to_vec();
    elements[0] = [&[1; 64][..], &[0x83]].concat();
    open.input[0].witness = bitcoin::Witness::from_slice(&elements);
    // Whoever mines can put a copied witness, without signatures, on an output that has no rules.
    let mut forged = announcement(5, 0, to_next(height));
    let elements: Vec<Vec<u8>> = forged.input[0].witness.iter().map(<[u8]>::to_vec).collect();
    let [.., leaf, control] = &elements[..] else { panic!("a leaf and its control block") };
    forged.input[0].witness = bitcoin::Witness::from_slice(&[&[][..], &[], &[], leaf, control]);
    let mut strangers = announcement(4, 0, to_next(height));
    strangers.input[0].witness.clear();
    let before = branch.follower.schedule.clone();
    let events = branch.mine(alloc::vec![early, wrong_number, open, strangers, forged]);
    let expected = [
        UpgradeError::TooSoon { min: height.into(), found: height - 1 },
        UpgradeError::Number { expected: 0, found: 1 },
    ];
    assert_eq!((ignored(&events), events.len()), (expected.to_vec(), 2));
    assert_eq!(branch.follower.schedule, before);
    // Without upgrade keys there is nothing to announce with.
    let mut branch = Branch::of(params_with(|_| ()));
    assert_eq!(branch.mine(alloc::vec![announcement(1, 0, to_next(height))]), []);
}

#[test]
fn a_follower_without_the_program_in_force_stops_before_it_matters_and_goes_on_when_it_has_it() {
    let mut whole = Branch::new();
    let height = 1 + NOTICE_BLOCKS;
    let lead = [crate::toy_chain::regtest_genesis()];
    let mut follower = Follower::new(params(), program(), &lead).expect("the first program is enough to begin");
    let (mut blocks, mut all) = (alloc::vec![announcement(1, 0, to_next(height))], Vec::new());
    for _ in 0..height + FINAL_DEPTH_BLOCKS {
        let mut transactions = core::mem::take(&mut blocks);
        if whole.follower.scanned.height >= height {
            transactions.push(whole.anchor(&whole.batch()));
        }
        let block = whole.next_block(transactions);
        assert_eq!(refusals(&whole.follow(block.clone())), []);
        all.push(block);
    }
    all.iter().for_each(|block| assert_eq!(follower.accept_header(block.header), Ok(None)));
    let (before, after) = all.split_at(height as usize);
    before.iter().for_each(|block| drop(follower.connect(block.clone()).expect("mined by the rules")));
    let unknown = UnknownProgramError { program: next_program().id(), from_height: height };
    assert_eq!((follower.scanned.height, follower.unknown_program()), (height, Some(unknown)));
    assert_eq!(follower.program_at(height), Err(unknown));
    assert_eq!(follower.program_at(height - 1), Ok(&program()));
    let stopped = state(&follower);
    assert_eq!(follower.connect(after[0].clone()), Err(ConnectError::Program(unknown)));
    let excerpt = Excerpt::of(&after[0], &[1]).expect("the coinbase is there");
    assert_eq!(follower.connect_excerpt(excerpt), Err(ConnectError::Program(unknown)));
    assert_eq!(follower.skip_block(), Err(unknown));
    let payload = payload_of(&Batch { reference: follower.scanned, ..whole.batch() }, |header, _| {
        (header.batch, header.previous_payload_hash) = (0, PayloadHash::NONE);
        header.root_before = follower.tip.root;
    });
    assert_eq!(follower.preview(&payload, signer(POSTER_SECRET)), Err(RuleError::UnknownProgram(unknown)));
    assert_eq!(state(&follower), stopped, "nothing is changed");
    // From a checkpoint it is as from memory, with the programs that are in force there alone, too.
    let checkpoint = follower.checkpoint().expect("every block was seen whole");
    let at = checkpoint.block().height as usize;
    let headers: Vec<_> = lead.into_iter().chain(all.iter().map(|block| block.header)).take(at + 1).collect();
    for (known, expected) in [(program().into(), Some(unknown)), (programs(), None)] {
        let mut resumed = Follower::resume(params(), known, checkpoint.clone(), &headers).expect("its own headers");
        all[at..].iter().for_each(|block| assert_eq!(resumed.accept_header(block.header), Ok(None)));
        for block in &all[at..height as usize] {
            resumed.connect(block.clone()).expect("both programs are known");
        }
        assert_eq!(resumed.unknown_program(), expected);
    }
    follower.learn(next_program());
    assert_eq!(follower.unknown_program(), None);
    after.iter().for_each(|block| drop(follower.connect(block.clone()).expect("mined by the rules")));
    assert_eq!(state(&follower), state(&whole.follower));
    // A window later nobody needs the first program any more.
    let checkpoint = follower.checkpoint().expect("every block was seen whole");
    let at = checkpoint.block().height as usize;
    let headers: Vec<_> = lead.into_iter().chain(all.iter().map(|block| block.header)).take(at + 1).collect();
    let resumed = Follower::resume(params(), next_program(), checkpoint, &headers).expect("its own headers");
    assert_eq!(resumed.unknown_program(), None);
    let error = Follower::new(params(), next_program(), &lead).expect_err("the first program is missing");
    assert_eq!(error, StartError::Program(program().id()));
}
