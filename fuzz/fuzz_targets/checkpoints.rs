//! Checkpoints: a valid one, altered. What decodes has one encoding, and who goes on from it follows blocks with
//! deposits, requests and claims, whatever it says.
#![no_main]

use chain::{PARAMS, Step, fresh, headers, known, mine, transactions};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_verifier::{
    bitcoin::{Block, block::Header},
    follow::{Checkpoint, Follower},
};

mod chain;

/// A deposit that expires, then two more, requests and two announcements, and a batch that passes over the first and
/// refutes requests, before others come.
const STEPS: [Step; 21] = {
    let mut steps = [(0, 0, 0, 0); 21];
    steps[0] = (1, 0, 0, 0);
    steps[15] = (7, 0, 2, 0);
    steps[16] = (7, 3, 1, 0);
    steps[17] = (8, 0, 0, 0);
    steps[18] = (2, 5, 2, 0);
    steps
};

/// The chain up to the block of the checkpoint, and the checkpoint.
static CHECKPOINT: LazyLock<(Vec<Block>, Vec<u8>)> = LazyLock::new(|| {
    let (mut blocks, mut follower) = (Vec::new(), fresh());
    for (tag, step) in (1..).zip(STEPS) {
        let transactions = transactions(&follower, tag, step);
        mine(&mut blocks, &mut follower, tag, transactions);
    }
    let checkpoint = follower.checkpoint().expect("each block was seen whole");
    let (height, tip) = (checkpoint.block().height, checkpoint.tip());
    blocks.truncate(height as usize);
    assert_eq!((height, tip.batches, tip.deposits_consumed), (19, 1, 1));
    assert_eq!((follower.pending_deposits().count(), follower.pending_exits().count()), (2, 2));
    assert_eq!(follower.schedule().pending(height).len(), 2);
    (blocks, checkpoint.to_bytes())
});

/// Where bytes are altered, by which, and how; and how many blocks are followed.
type Input = (Vec<(u16, [u8; 8], u8)>, u8);

fuzz_target!(|input: Input| {
    let (alterations, count) = input;
    let (chain, valid) = &*CHECKPOINT;
    let mut bytes = valid.clone();
    for (place, with, how) in &alterations {
        let place = usize::from(*place) % bytes.len().max(1);
        // A few bytes are replaced, put in or taken out.
        let end = bytes.len().min(place + usize::from(how % 8) + 1);
        match how / 64 {
            0 | 1 => bytes[place..end].iter_mut().zip(with).for_each(|(byte, with)| *byte = *with),
            2 => drop(bytes.splice(place..place, with[..end - place].iter().copied())),
            _ => drop(bytes.drain(place..end)),
        }
    }
    let Ok(checkpoint) = Checkpoint::from_bytes(&bytes) else { return };
    assert_eq!(checkpoint.to_bytes(), bytes);
    let tip = *checkpoint.tip();
    let lead: Vec<Header> = headers(chain).collect();
    let Ok(mut follower) = Follower::resume(PARAMS.clone(), known(), checkpoint, &lead) else { return };
    assert_eq!(follower.tip(), &tip);
    let mut blocks = chain.clone();
    for tag in 1..=u32::from(count % 8) {
        let transactions = transactions(&follower, tag, (1 | 2 | 16, tag as u8, 1, 0));
        mine(&mut blocks, &mut follower, tag, transactions);
        if follower.unknown_program().is_some() {
            return;
        }
        let pending: Vec<_> = follower.pending_deposits().copied().collect();
        let _ = pending.iter().filter(|deposit| follower.has_expired(deposit)).count();
        let _ = (follower.open_height(), follower.schedule().pending(follower.scanned().height).len());
        let again = follower.checkpoint().expect("each block was seen whole");
        assert_eq!(Checkpoint::from_bytes(&again.to_bytes()), Ok(again));
    }
});
