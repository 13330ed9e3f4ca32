//! Reorganisations, restarts, and the property that only the best chain counts.

use super::*;
use crate::{
    bridge::tests::signer,
    quorum::Keys,
    toy_chain::{POSTER_SECRET, mine_block, regtest_genesis},
    upgrade::Change,
};
use proptest::prelude::*;

/// A chain that a follower is fed: at each height the block and what a follower of this chain alone has become.
#[derive(Clone)]
struct History {
    branches: Vec<Branch>,
    blocks: Vec<Block>,
}

impl History {
    fn new() -> Self {
        Self { branches: alloc::vec![Branch::new()], blocks: Vec::new() }
    }

    fn last(&self) -> &Branch {
        self.branches.last().expect("the start is there")
    }

    /// A block with a deposit, and a batch that withdraws and serves what waits; each fourth block has an exit request.
    fn mine(&mut self, what: u32, tag: u32) -> Vec<Event> {
        let mut branch = self.last().fork(tag);
        let height = branch.follower.scanned.height;
        let mut transactions = Vec::new();
        if what & 1 != 0 {
            transactions.push(deposit_transaction(height + 1_000 * tag, &[100 + u64::from(height)]));
        }
        if what & 2 != 0 {
            let mut batch = branch.batch();
            batch.root_seed = tag.into();
            batch.served = branch.follower.pending_exits().map(|exit| exit.request).collect();
            batch.withdrawals = alloc::vec![u64::from(height) + 1; (what >> 2) as usize % 3];
            transactions.push(branch.anchor(&batch));
        }
        if what & 4 != 0 {
            transactions.push(branch.anchor(&Batch { tip: Tip::genesis(&params()), ..branch.batch() }));
        }
        if height % 4 == 3 {
            let exit = request(3, height % 7, height + 1_000 * tag, 505);
            transactions.push(exit_transaction(height + 1_000 * tag + 500, &[exit]));
        }
        if height % 5 == 2 {
            transactions.push(self.announcement(height, tag));
        }
        let block = branch.next_block(transactions);
        let events = branch.follow(block.clone());
        self.branches.push(branch);
        self.blocks.push(block);
        events
    }

    /// The upgrade keys go from one program to the other, name the poster or somebody else, and think better of it.
    fn announcement(&self, height: u32, tag: u32) -> Transaction {
        let follower = &self.last().follower;
        let keys = |secret| Keys::new(alloc::vec![signer(secret)]).expect("one key");
        let from = height + 1 + NOTICE_BLOCKS + tag % 3;
        let change = match (height / 5 + tag) % 7 {
            0 | 1 => Change::Program { program: next_program().id(), height: from },
            2 => Change::Program { program: program().id(), height: from },
            3 => Change::Sequencers { keys: keys(9), height: from },
            4 => Change::Sequencers { keys: keys(POSTER_SECRET), height: from },
            5 => Change::Sequencers { keys: Keys::default(), height: from },
            _ => Change::Withdrawal,
        };
        announcement(height + 1_000 * tag, follower.schedule().next_number(), change)
    }

    fn cut(&self, blocks: usize) -> Self {
        let kept = self.blocks.len() - blocks;
        Self { branches: self.branches[..=kept].to_vec(), blocks: self.blocks[..kept].to_vec() }
    }

    fn headers(&self) -> impl Iterator<Item = Header> {
        self.blocks.iter().map(|block| block.header)
    }
}

fn fresh() -> Follower {
    Branch::new().follower
}

fn feed_headers(follower: &mut Follower, history: &History) -> Vec<Event> {
    history.headers().filter_map(|header| follower.accept_header(header).expect("mined by the rules")).collect()
}

fn feed_blocks(follower: &mut Follower, history: &History, limit: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..limit {
        let Some(next) = follower.next_block() else { break };
        let block = history.blocks[next.height as usize - 1].clone();
        events.extend(follower.connect(block).expect("mined by the rules"));
    }
    events
}

#[test]
fn reorganisations_of_every_depth_are_rewound() {
    let mut trunk = History::new();
    for what in [1, 2, 3, 10, 1, 11, 2, 0, 7, 3, 1, 6, 11, 3, 2] {
        trunk.mine(what, 0);
    }
    for lost in 1..FINAL_DEPTH_BLOCKS as usize {
        let mut follower = fresh();
        assert!(feed_headers(&mut follower, &trunk).is_empty());
        feed_blocks(&mut follower, &trunk, usize::MAX);
        assert_eq!(state(&follower), state(&trunk.last().follower));
        let mut branch = trunk.cut(lost);
        let fork = branch.last().follower.clone();
        for what in (0..=lost as u32).map(|i| [3, 10, 1, 2][i as usize % 4]) {
            branch.mine(what, 1);
        }
        let rewound = feed_headers(&mut follower, &branch);
        assert_eq!(rewound, [Event::Rewound { to: fork.scanned, tip: fork.tip }]);
        assert_eq!(follower.next_block(), Some(branch.last().follower.headers.at(16 - lost as u32).expect("mined")));
        feed_blocks(&mut follower, &branch, usize::MAX);
        assert_eq!(state(&follower), state(&branch.last().follower));
        assert_ne!(follower.tip, trunk.last().follower.tip);
    }
    let mut follower = fresh();
    feed_headers(&mut follower, &trunk);
    let mut branch = trunk.cut(FINAL_DEPTH_BLOCKS as usize);
    branch.mine(0, 1);
    let error = follower.accept_header(branch.blocks[4].header);
    assert!(matches!(error, Err(HeaderError::ForksBelowFinal { final_height: 5, .. })));
}

#[test]
fn a_payout_of_a_lost_anchor_never_falls_due() {
    let mut trunk = History::new();
    trunk.mine(2 | 4, 0);
    let mut branch = trunk.cut(1);
    for _ in 0..FINAL_DEPTH_BLOCKS - 2 {
        trunk.mine(0, 0);
    }
    branch.mine(2 | 8, 1);
    for _ in 0..FINAL_DEPTH_BLOCKS + 3 {
        branch.mine(0, 1);
    }
    let mut follower = fresh();
    feed_headers(&mut follower, &trunk);
    let mut events = feed_blocks(&mut follower, &trunk, usize::MAX);
    assert!(follower.pending_payouts().count() == 1 && due(&events).is_empty());
    events.extend(feed_headers(&mut follower, &branch));
    events.extend(feed_blocks(&mut follower, &branch, usize::MAX));
    assert_eq!(due(&events), [(0, 0, 1), (0, 1, 1)], "the branch's two, not the trunk's one");
}

#[test]
fn a_checkpoint_goes_on_where_the_follower_was_final() {
    let mut trunk = History::new();
    for i in 0..30 {
        trunk.mine([1, 6, 3, 11][i % 4], 0);
    }
    let genesis = regtest_genesis();
    let mut follower = fresh();
    feed_headers(&mut follower, &trunk);
    let mut all_due = Vec::new();
    for _ in 0..30 {
        all_due.extend(due(&feed_blocks(&mut follower, &trunk, 1)));
        let checkpoint = follower.checkpoint().expect("every block was seen whole");
        let bytes = checkpoint.to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Ok(checkpoint.clone()));
        let height = checkpoint.block().height as usize;
        assert_eq!(height, (follower.scanned.height as usize + 1).saturating_sub(FINAL_DEPTH_BLOCKS as usize));
        let lead: Vec<_> = core::iter::once(genesis).chain(trunk.headers()).take(height + 1).collect();
        let mut resumed = Follower::resume(params(), programs(), checkpoint, &lead).expect("its own headers");
        feed_headers(&mut resumed, &trunk);
        let events = feed_blocks(&mut resumed, &trunk, usize::MAX);
        assert_eq!(state(&resumed), state(&trunk.last().follower));
        let mut rest = follower.clone();
        let expected = feed_blocks(&mut rest, &trunk, usize::MAX);
        assert_eq!(due(&events), due(&expected));
    }
    assert!(!all_due.is_empty());
}

#[test]
fn a_checkpoint_of_another_rollup_or_chain_is_refused() {
    let mut trunk = History::new();
    for what in [3; 20] {
        trunk.mine(what, 0);
    }
    let checkpoint = trunk.last().follower.checkpoint().expect("every block was seen whole");
    let height = checkpoint.block().height as usize;
    let genesis = regtest_genesis();
    let lead: Vec<_> = core::iter::once(genesis).chain(trunk.headers()).take(height + 1).collect();
    let resume = |params: Params, lead: &[Header]| Follower::resume(params, programs(), checkpoint.clone(), lead);
    assert!(resume(params(), &lead).is_ok());
    let other = params_with(|founding| founding.opening_min_sat = 1);
    assert_eq!(resume(other, &lead).expect_err("another rollup"), StartError::Checkpoint);
    let start = BlockId { height: 0, hash: lead[1].block_hash() };
    assert_eq!(
        resume(params_with(|founding| founding.start = start), &lead).expect_err("another start"),
        StartError::Checkpoint
    );
    let reference_height = checkpoint.tip().reference.height;
    let short = &lead[reference_height as usize + 1..];
    assert_eq!(resume(params(), short).expect_err("too short"), StartError::LeadTooShort { reference_height });
    assert!(resume(params(), &lead[reference_height as usize..]).is_ok());
    let bytes = checkpoint.to_bytes();
    for length in 0..bytes.len() {
        assert!(Checkpoint::from_bytes(&bytes[..length]).is_err());
    }
    assert_eq!(Checkpoint::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(CheckpointError::Length));
    let altered = |position: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[position] = byte;
        Checkpoint::from_bytes(&bytes)
    };
    assert_eq!(altered(0, 1), Err(CheckpointError::Version(1)));
    let (root, depth) = (48 + 36 + 8 + 32, 48 + 36 + 8 + 32 + 32);
    assert_eq!(altered(root + 31, 0xff), Err(CheckpointError::Root(crate::field::NotCanonicalError)));
    assert_eq!(altered(depth, 11), Err(CheckpointError::Depth(11)));
    assert_eq!(altered(depth + 1, 0xff), Err(CheckpointError::Inconsistent));
    // No count is near its end, so none overflows: batches, payouts, and exit requests queued.
    for count in [48 + 36, depth + 1 + 8] {
        assert_eq!(altered(count + 7, 0x80), Err(CheckpointError::Inconsistent));
    }
    let payload_hash = altered(48 + 36 + 8, bytes[48 + 36 + 8] ^ 1).expect("hashes are not checked");
    assert_ne!(payload_hash, checkpoint);
}

/// A checkpoint is as trusted as its place, and still nothing that it says makes a follower panic that goes on from it.
#[test]
fn counts_that_no_chain_comes_to_are_refused() {
    let mut branch = Branch::new();
    branch.mine(alloc::vec![deposit_transaction(1, &[500]), exit_transaction(2, &[request(3, 1, 0, 505)])]);
    let lead = [regtest_genesis(), branch.header];
    (1..FINAL_DEPTH_BLOCKS).for_each(|_| drop(branch.mine(Vec::new())));
    let checkpoint = branch.follower.checkpoint().expect("every block was seen whole");
    let bytes = checkpoint.to_bytes();
    let tip = 1 + 15 + 32 + 36;
    let (deposits, payouts) = (tip + 8 + 32 + 32 + 1, tip + 8 + 32 + 32 + 1 + 8);
    let scanned = payouts + 8 + 36 + 4;
    let exits = scanned + 8 + 4 + (4 + 32 + 4 + 8 + 32 + 32);
    assert_eq!((bytes[scanned], bytes[scanned + 8], bytes[exits], bytes[exits + 8]), (1, 1, 1, 1), "one of each waits");
    let with = |counts: &[(usize, u64)]| {
        let mut bytes = bytes.clone();
        counts.iter().for_each(|(place, count)| bytes[*place..][..8].copy_from_slice(&count.to_le_bytes()));
        Checkpoint::from_bytes(&bytes)
    };
    let most = 1 << 62;
    for counts in [&[(tip, most)][..], &[(payouts, most)], &[(deposits, most - 1), (scanned, most)], &[(exits, most)]] {
        let checkpoint = with(counts).expect("as many as there can be");
        assert_eq!(checkpoint.block().height, 1);
        let mut follower = Follower::resume(params(), programs(), checkpoint, &lead).expect("its own headers");
        let more = alloc::vec![deposit_transaction(3, &[600]), exit_transaction(4, &[request(3, 2, 0, 505)])];
        let block = mine_block(&lead[1], 2, 7, more);
        follower.accept_header(block.header).expect("mined by the rules");
        follower.connect(block).expect("mined by the rules");
        assert_eq!((follower.pending_deposits().count(), follower.pending_exits().count()), (2, 2));
        let more: Vec<_> = counts.iter().map(|(place, count)| (*place, count + 1)).collect();
        assert_eq!(with(&more), Err(CheckpointError::Inconsistent), "{counts:?}");
    }
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Mines a block on the best chain.
    Extend(u32),
    /// Mines a branch that leaves the best chain some blocks below its tip and outgrows it.
    Fork(usize, Vec<u32>),
    /// Feeds the headers mined so far.
    Headers,
    /// Feeds so many blocks.
    Blocks(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..16).prop_map(Step::Extend),
        2 => (1..FINAL_DEPTH_BLOCKS as usize, prop::collection::vec(0u32..16, 12))
            .prop_map(|(lost, what)| Step::Fork(lost, what)),
        2 => Just(Step::Headers),
        3 => (1usize..6).prop_map(Step::Blocks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn only_the_best_chain_counts(steps in prop::collection::vec(step(), 1..24)) {
        let mut history = History::new();
        let (mut fed, mut follower, mut events) = (history.clone(), fresh(), Vec::new());
        for (tag, step) in (1..).zip(steps) {
            match step {
                Step::Extend(what) => drop(history.mine(what, tag)),
                Step::Fork(lost, what) => {
                    let lost = lost.min(history.blocks.len());
                    let mut branch = history.cut(lost);
                    for what in &what[..=lost] {
                        branch.mine(*what, tag);
                    }
                    // Branches that were never fed may leave the chain below what is final by now.
                    let fork = history.blocks.len() - lost;
                    let is_final = (fork as u32) < follower.headers.final_block().height;
                    history = if is_final { history } else { branch };
                }
                Step::Headers => {
                    fed = history.clone();
                    events.extend(feed_headers(&mut follower, &fed));
                }
                Step::Blocks(limit) => events.extend(feed_blocks(&mut follower, &fed, limit)),
            }
        }
        events.extend(feed_headers(&mut follower, &history));
        events.extend(feed_blocks(&mut follower, &history, usize::MAX));
        prop_assert_eq!(state(&follower), state(&history.last().follower));
        let mut alone = fresh();
        feed_headers(&mut alone, &history);
        let expected = feed_blocks(&mut alone, &history, usize::MAX);
        prop_assert_eq!(due(&events), due(&expected));
        let mut batches = Vec::new();
        for event in &events {
            match event {
                Event::Rewound { tip, .. } => batches.truncate(tip.batches as usize),
                Event::Verified(batch) => batches.push((batch.batch(), batch.root())),
                _ => {}
            }
        }
        let alone: Vec<_> = expected.iter().filter_map(|event| match event {
            Event::Verified(batch) => Some((batch.batch(), batch.root())),
            _ => None,
        }).collect();
        prop_assert_eq!(batches, alone);
    }
}
