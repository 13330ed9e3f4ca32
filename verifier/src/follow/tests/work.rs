//! Branches of fewer blocks with more work, on a chain whose difficulty changes every eight blocks.

use super::*;
use crate::{exit::tests::request_for, headers::HeaderChain, toy_chain::mine_header};
use bitcoin::{
    BlockHash, CompactTarget, Target, TxMerkleNode, block::Version, consensus::Params as Rules, hashes::Hash,
};
use std::{boxed::Box, sync::LazyLock};

const PERIOD_BLOCKS: u32 = 8;
/// The least difficulty, at which a block takes 256 hashes.
const EASY_BITS: u32 = 0x2000_ffff;
/// How many seconds after its parent each block comes: at this pace the difficulty stays what it is.
const PACE: [i64; 14] = [2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1];
/// The trunk's next blocks, of which the first is late.
const TRUNK_PACE: [i64; 10] = [10, 2, 2, 2, 2, 2, 2, 2, 2, 2];
/// The branch's: the period seems to have taken two seconds in place of eight, so what follows is four times as hard.
const BRANCH_PACE: [i64; 4] = [-4, 5, 1, 1];
/// Where they part: at the trunk's last final block.
const FORK_HEIGHT: u32 = PACE.len() as u32;

static RULES: LazyLock<&Rules> = LazyLock::new(|| {
    let mut rules = Network::Regtest.params().clone();
    (rules.no_pow_retargeting, rules.allow_min_difficulty_blocks) = (false, false);
    (rules.pow_target_spacing, rules.pow_target_timespan) = (1, PERIOD_BLOCKS.into());
    rules.max_attainable_target = Target::from_compact(CompactTarget::from_consensus(EASY_BITS));
    Box::leak(Box::new(rules))
});

static START: LazyLock<Header> = LazyLock::new(|| {
    mine_header(Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_600_000_000,
        bits: CompactTarget::from_consensus(EASY_BITS),
        nonce: 0,
    })
});

fn params_here() -> Params {
    params_with(|founding| founding.start = BlockId { height: 0, hash: START.block_hash() })
}

/// Lets a follower go on by these rules.
fn with_rules(mut follower: Follower, lead: &[Header]) -> Follower {
    let start = follower.headers.start();
    follower.headers = HeaderChain::by_rules(*RULES, start, lead, FINAL_DEPTH_BLOCKS).expect("the rules hold so far");
    follower
}

/// A branch with all of its blocks.
#[derive(Clone)]
struct Mined {
    branch: Branch,
    blocks: Vec<Block>,
}

impl Mined {
    fn new() -> Self {
        let mut branch = Branch::new();
        let follower = Follower::new(params_here(), program(), &[*START]).expect("the start is its lead");
        (branch.follower, branch.header) = (with_rules(follower, &[*START]), *START);
        Self { branch, blocks: Vec::new() }
    }

    /// Mines a block with a deposit, an exit request or a batch that does what it can.
    fn mine(&mut self, seconds: i64, tag: u32) {
        let branch = &mut self.branch;
        let height = branch.follower.scanned.height + 1;
        let tag = height + 1_000 * tag;
        let transactions = match height % 3 {
            0 => alloc::vec![deposit_transaction_to(&params_here(), tag, &[100])],
            1 => alloc::vec![exit_transaction(tag, &[request_for(params_here().chain_id(), 3, height % 7, tag, 505)])],
            _ => {
                let served = branch.follower.pending_exits().map(|exit| exit.request).collect();
                let batch = Batch { served, withdrawals: alloc::vec![u64::from(height)], ..branch.batch() };
                alloc::vec![anchor_of(&batch, |header, _| header.chain_id = params_here().chain_id())]
            }
        };
        let (parent, mut block) = (branch.header, branch.next_block(transactions));
        let bits = if height.is_multiple_of(PERIOD_BLOCKS) {
            let first =
                height.checked_sub(PERIOD_BLOCKS + 1).map_or(START.time, |i| self.blocks[i as usize].header.time);
            CompactTarget::from_next_work_required(parent.bits, (parent.time - first).into(), *RULES)
        } else {
            parent.bits
        };
        let time = (i64::from(parent.time) + seconds) as u32;
        block.header = mine_header(Header { time, bits, nonce: 0, ..block.header });
        branch.follow(block.clone());
        self.blocks.push(block);
    }

    /// Feeds a follower what it has not seen.
    fn feed(&self, follower: &mut Follower) -> Vec<Event> {
        let headers = self.blocks.iter().map(|block| block.header);
        let mut events: Vec<Event> =
            headers.filter_map(|header| follower.accept_header(header).expect("mined by the rules")).collect();
        while let Some(next) = follower.next_block() {
            let block = self.blocks[next.height as usize - 1].clone();
            events.extend(follower.connect(block).expect("mined by the rules"));
        }
        events
    }
}

#[test]
fn what_is_final_stays_so_on_a_shorter_branch_of_more_work() {
    let mut trunk = Mined::new();
    PACE.iter().for_each(|seconds| trunk.mine(*seconds, 0));
    let mut branch = trunk.clone();
    TRUNK_PACE.iter().for_each(|seconds| trunk.mine(*seconds, 0));
    BRANCH_PACE.iter().for_each(|seconds| branch.mine(*seconds, 1));
    let mut follower = trunk.branch.follower.clone();
    let before = follower.checkpoint().expect("every block was seen whole");
    assert_eq!(before.block().height, FORK_HEIGHT);
    assert!(before.tip().batches > 0);

    let events = branch.feed(&mut follower);
    assert!(matches!(events[0], Event::Rewound { to, .. } if to == before.block()), "{events:?}");
    assert_eq!(
        (trunk.blocks.len(), follower.scanned.height, follower.headers.final_block().height),
        (24, 18, FORK_HEIGHT)
    );
    let after = follower.checkpoint().expect("every block was seen whole");
    assert_eq!(Checkpoint::from_bytes(&after.to_bytes()), Ok(after.clone()));
    assert_eq!(after, before, "what is final does not depend on what comes after it");
    let headers: Vec<Header> = core::iter::once(*START).chain(branch.blocks.iter().map(|block| block.header)).collect();
    let lead = &headers[..=FORK_HEIGHT as usize];
    let resumed = Follower::resume(params_here(), program(), after, lead).expect("its own headers");
    let mut resumed = with_rules(resumed, lead);
    branch.feed(&mut resumed);
    assert_eq!(state(&resumed), state(&follower));

    // As the branch grows, more becomes final again, as for one who never saw the trunk.
    let mut heights = Vec::new();
    for _ in 0..FINAL_DEPTH_BLOCKS {
        branch.mine(1, 1);
        branch.feed(&mut follower);
        let checkpoint = follower.checkpoint().expect("every block was seen whole");
        assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes()), Ok(checkpoint.clone()));
        if checkpoint.block().height > FORK_HEIGHT {
            assert_eq!(Some(&checkpoint), branch.branch.follower.checkpoint().as_ref());
        }
        heights.push(checkpoint.block().height);
    }
    let expected: Vec<u32> =
        (1..=FINAL_DEPTH_BLOCKS).map(|more| FORK_HEIGHT.max(18 + more + 1 - FINAL_DEPTH_BLOCKS)).collect();
    assert_eq!(heights, expected);
}
