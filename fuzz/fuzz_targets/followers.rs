//! Followers of one chain, with deposits, floods of requests, announcements, batches of any poster and forks.
//! Whatever happened, who saw it as it came, who saw the best chain alone and who went on from a checkpoint agree; and
//! somebody can always make the next batch.
#![no_main]

use chain::{
    FINAL_DEPTH_BLOCKS, PARAMS, Step, batch, block_after, feed, fresh, headers, key, known, mine, transactions,
};
use libfuzzer_sys::fuzz_target;
use taproof_verifier::{
    bitcoin::{Block, block::Header as BlockHeader},
    follow::{Checkpoint, Follower},
};

mod chain;

fuzz_target!(|input: &[u8]| {
    let (resumed_at, steps) = steps(input);
    let mut blocks: Vec<Block> = Vec::new();
    let mut follower = fresh();
    for (tag, step) in (1..).zip(&steps) {
        let (what, ..) = step;
        if *what >= 224 {
            fork(&mut blocks, &mut follower, tag, 1 + u32::from(what % 2));
        } else {
            let transactions = transactions(&follower, tag, *step);
            mine(&mut blocks, &mut follower, tag, transactions);
        }
        if follower.unknown_program().is_some() {
            break;
        }
        somebody_can_go_on(&follower);
    }
    let mut alone = fresh();
    let mut checkpoint = None;
    feed(&mut alone, &blocks, |alone| {
        if alone.scanned().height == resumed_at {
            checkpoint = alone.checkpoint();
        }
    });
    assert_agree(&follower, &alone);
    if let Some(checkpoint) = checkpoint {
        let bytes = checkpoint.to_bytes();
        let checkpoint = Checkpoint::from_bytes(&bytes).expect("just encoded");
        let height = checkpoint.block().height as usize;
        let lead: Vec<BlockHeader> = headers(&blocks).take(height + 1).collect();
        let mut resumed = Follower::resume(PARAMS.clone(), known(), checkpoint, &lead).expect("its own headers");
        feed(&mut resumed, &blocks, |_| ());
        assert_agree(&resumed, &alone);
    }
});

/// Where somebody goes on from a checkpoint, and 4 to 27 steps: the input's, and behind these what follows from it, as
/// short inputs are tried first.
fn steps(input: &[u8]) -> (u32, Vec<Step>) {
    let mut bytes = vec![0; 2 + 4 * 27];
    blake3::Hasher::new().update(input).finalize_xof().fill(&mut bytes);
    bytes.iter_mut().zip(input).for_each(|(byte, given)| *byte = *given);
    let (steps, _) = bytes[2..].as_chunks::<4>();
    let steps = steps.iter().map(|[what, first, count, how]| (*what, *first, *count, *how));
    ((bytes[0] % 32).into(), steps.take(4 + usize::from(bytes[1] % 24)).collect())
}

fn assert_agree(a: &Follower, b: &Follower) {
    assert_eq!((a.scanned(), a.tip(), a.schedule()), (b.scanned(), b.tip(), b.schedule()));
    assert!(a.pending_exits().eq(b.pending_exits()) && a.pending_deposits().eq(b.pending_deposits()));
    assert!(a.pending_payouts().eq(b.pending_payouts()));
    assert_eq!((a.open_height(), a.unknown_program()), (b.open_height(), b.unknown_program()));
    assert_eq!(a.checkpoint(), b.checkpoint());
}

/// A batch that does what it must, of somebody whose anchors count, is accepted.
fn somebody_can_go_on(follower: &Follower) {
    let poster = if follower.scanned().height + 1 >= follower.open_height() {
        Some(key(2))
    } else {
        let sequencers = follower.schedule().sequencers_at(follower.scanned().height);
        sequencers.first().copied().or(Some(key(2)))
    };
    let payload = batch(follower, 0, 0, 0);
    let refused = poster.and_then(|poster| follower.preview(&payload, poster).err());
    assert_eq!(refused, None);
}

/// Leaves the chain so many blocks below its tip, and outgrows it by one.
fn fork(blocks: &mut Vec<Block>, follower: &mut Follower, tag: u32, lost: u32) {
    let lost = (lost as usize).min(blocks.len()).min(FINAL_DEPTH_BLOCKS as usize - 1);
    blocks.truncate(blocks.len() - lost);
    let kept = blocks.len();
    for _ in 0..=lost {
        blocks.push(block_after(blocks, tag, Vec::new()));
    }
    for block in &blocks[kept..] {
        follower.accept_header(block.header).expect("mined by the rules");
    }
    feed(follower, blocks, |_| ());
}
