//! Prints, as one line of JSON, what a follower takes of memory: the peak of anonymous memory over following full
//! blocks, over the heaviest anchor, and over a chain of headers, each beside what the process had before.
//!
//! `cargo run --release -p taproof-benches --example follow_memory -- [BLOCKS] [HEADERS]`

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use taproof::bench::{AnchorBlocks, FullBlocks};
use taproof_verifier::{block::decode_block, follow::Event};

/// The process's anonymous memory in bytes, as Linux tells it.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5 or later");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of kB");
    kib * 1024
}

/// Runs `work` and gives its result and by how much the anonymous memory exceeded `before` at most while it ran.
fn peak_above<T: Send>(before: u64, work: impl FnOnce() -> T + Send) -> (T, u64) {
    let (peak, done) = (AtomicU64::new(before), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.into_inner() - before)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (blocks, headers) = (argument(500), argument(900_000));

    // Before anything was allocated: what is freed may stay with the process and be used again.
    let before = anonymous_bytes();

    // Full blocks: what a source hands over, bytes and then a decoded block, is part of what following takes.
    let chain = FullBlocks::new(blocks);
    let start = Instant::now();
    let (bytes, full_growth) = peak_above(before, || {
        let mut follower = chain.follower();
        let mut bytes = 0;
        for header in chain.headers() {
            follower.accept_header(*header).expect("valid headers");
            let encoded = FullBlocks::block(header);
            bytes += encoded.len();
            let block = decode_block(&encoded).expect("valid blocks");
            assert!(follower.connect(block).expect("valid blocks").is_empty(), "nothing is there to verify");
        }
        bytes
    });
    let full_seconds = start.elapsed().as_secs_f64();

    // The heaviest anchor, from its block's bytes on.
    let anchors = AnchorBlocks::heaviest();
    let (encoded, mut follower) = (anchors.encoded(), anchors.follower);
    let (proofs, anchor_growth) = peak_above(anonymous_bytes(), || {
        let mut proofs = 0;
        for encoded in &encoded {
            let block = decode_block(encoded).expect("valid blocks");
            follower.accept_header(block.header).expect("valid headers");
            let events = follower.connect(block).expect("valid blocks");
            let [Event::Verified(batch)] = &events[..] else { panic!("{events:?}") };
            proofs += batch.payload().chunks().len();
        }
        proofs
    });

    // Headers alone; those of the chain are made beforehand.
    let chain = FullBlocks::new(headers);
    let start = Instant::now();
    let (kept, header_growth) = peak_above(anonymous_bytes(), || {
        let mut follower = chain.follower();
        for header in chain.headers() {
            follower.accept_header(*header).expect("valid headers");
        }
        assert_eq!(follower.headers().tip().height as usize, headers);
        follower
    });
    let header_seconds = start.elapsed().as_secs_f64();
    drop(kept);
    let report = serde_json::json!({
        "blocks": blocks,
        "block_bytes": bytes,
        "peak_bytes_following_blocks": full_growth,
        "follow_megabytes_per_second": bytes as f64 / 1e6 / full_seconds,
        "proofs": proofs,
        "peak_bytes_heaviest_anchor": anchor_growth,
        "headers": headers,
        "peak_bytes_following_headers": header_growth,
        "headers_per_second": headers as f64 / header_seconds,
    });
    println!("{report}");
}
