//! What became of deposits and of requests in the chain.

use crate::{
    bridge::{
        scan::{BridgeCoin, BridgeScan, Credit, Origin, Passed},
        spends_by,
    },
    follow::{self, FollowError},
    node::ChainSource,
};
use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};
use taproof_verifier::{
    exit::{Outcome, ScannedRequest},
    follow::{Event, Follower, Params, ScannedDeposit},
    program::Programs,
};

/// What became of a deposit in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It stands in no block, or not in one that the rollup's followers read.
    Outside,
    /// No batch has come to it.
    Waiting {
        /// How many deposits came before it.
        index: u64,
        /// The first height at which every anchor must credit it.
        due_height: u32,
        /// The last height of an anchor that can credit it.
        last_height: u32,
    },
    /// No batch came to it in time: it is the depositor's.
    Void {
        /// How many deposits came before it.
        index: u64,
        /// The first height of a block in which the depositor can take it back.
        refund_height: u32,
    },
    /// A batch credited it.
    Credited {
        /// How many deposits came before it.
        index: u64,
        /// The height of the batch's anchor.
        anchor_height: u32,
    },
}

/// How a deposit was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The transaction.
    pub txid: Txid,
    /// The height of its block.
    pub height: u32,
    /// Whether the federation moved it; else its depositor took it back.
    pub by_federation: bool,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("it stands in no block that followers of the rollup read"),
            Self::Waiting { index, due_height, last_height } => write!(
                f,
                "deposit {index} waits: every anchor from height {due_height} on must credit it, and none above \
                 {last_height} can"
            ),
            Self::Void { index, refund_height } => {
                write!(f, "deposit {index} is void: no batch came in time; its refund opens at height {refund_height}")
            }
            Self::Credited { index, anchor_height } => {
                write!(f, "deposit {index} is credited by the anchor at height {anchor_height}")
            }
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { txid, height, by_federation } = self;
        let what = if *by_federation { "moved by the bridge" } else { "taken back by the depositor" };
        write!(f, "{what} in {txid} at height {height}")
    }
}

/// What a scan that still has a coin says of it; `None` for the bridge's own coins.
pub fn fate_of(scan: &BridgeScan, coin: &BridgeCoin) -> Option<Fate> {
    let Origin::Deposit { index, credit, .. } = coin.origin else { return None };
    Some(fate(scan.params(), scan.scanned().height, index, coin.height, credit))
}

fn fate(params: &Params, scanned_height: u32, index: u64, height: u32, credit: Credit) -> Fate {
    let last_height = height.saturating_add(params.deposit_expiry_blocks);
    let refund_height = height.saturating_add(params.bridge().refund_delay_blocks().into());
    match credit {
        Credit::Credited { anchor_height } => Fate::Credited { index, anchor_height },
        Credit::Waiting if scanned_height < last_height => {
            Fate::Waiting { index, due_height: params.due_height(height), last_height }
        }
        Credit::Waiting | Credit::Void { .. } => Fate::Void { index, refund_height },
    }
}

/// Reads the chain from the rollup's start on, once, for what became of deposits and how they were spent;
/// [`Fate::Outside`] of what is none.
///
/// # Errors
/// [`FollowError`].
pub fn trace(
    source: &dyn ChainSource,
    params: &Params,
    programs: impl Into<Programs>,
    outpoints: &[OutPoint],
) -> Result<Vec<(Fate, Option<Spent>)>, FollowError> {
    let mut tracing = Tracing {
        federation_leaf: params.bridge().federation_leaf(),
        found: HashMap::new(),
        spent: HashMap::new(),
        asked: outpoints.iter().copied().collect(),
    };
    let mut follower = follow::start(source, params.clone(), programs)?;
    follow::sync_headers(source, &mut follower, |_| ())?;
    while let Some(block) = follow::next_block(source, &follower)? {
        let height = follower.scanned().height + 1;
        tracing.look_for_spends(&block.txdata, height);
        let events = follower.connect(block)?;
        tracing.take(follower.pending_deposits(), &events, height);
    }
    let fate = |outpoint: &OutPoint| {
        let fate = tracing.found.get(outpoint).map_or(Fate::Outside, |(index, height, credit)| {
            fate(params, follower.scanned().height, *index, *height, *credit)
        });
        (fate, tracing.spent.get(outpoint).copied())
    };
    Ok(outpoints.iter().map(fate).collect())
}

struct Tracing {
    federation_leaf: ScriptBuf,
    asked: HashSet<OutPoint>,
    /// The deposits' numbers, the heights of their blocks and what batches made of them.
    found: HashMap<OutPoint, (u64, u32, Credit)>,
    spent: HashMap<OutPoint, Spent>,
}

impl Tracing {
    fn look_for_spends(&mut self, transactions: &[Transaction], height: u32) {
        for transaction in transactions {
            for input in transaction.input.iter().filter(|input| self.asked.contains(&input.previous_output)) {
                let by_federation = spends_by(&input.witness, &self.federation_leaf);
                let spent = Spent { txid: transaction.compute_txid(), height, by_federation };
                self.spent.insert(input.previous_output, spent);
            }
        }
    }

    fn take<'a>(&mut self, pending: impl Iterator<Item = &'a ScannedDeposit>, events: &[Event], anchor_height: u32) {
        if self.found.len() < self.asked.len() {
            for ScannedDeposit { index, height, txid, vout, .. } in pending {
                let outpoint = OutPoint { txid: *txid, vout: *vout };
                if self.asked.contains(&outpoint) {
                    self.found.entry(outpoint).or_insert((*index, *height, Credit::Waiting));
                }
            }
        }
        for event in events {
            let Event::Verified(batch) = event else { continue };
            let passed = Passed::by(batch);
            for (index, _, credit) in self.found.values_mut().filter(|(index, ..)| passed.deposits.contains(index)) {
                let is_void = *index < passed.first_credited;
                *credit = if is_void { Credit::Void { anchor_height } } else { Credit::Credited { anchor_height } };
            }
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFate {
    /// It was not queued: it waited already in another output, the queue was full, or locks are not opened.
    NotQueued,
    /// No batch has come to it.
    Waiting {
        /// How many requests were queued before it.
        index: u64,
        /// The first height at which every anchor must serve or refute it, unless the batch does enough of others.
        due_height: u32,
    },
    /// It lost its place to others, while the queue was full.
    Displaced {
        /// How many requests were queued before it.
        index: u64,
    },
    /// A batch settled it.
    Settled {
        /// How many requests were queued before it.
        index: u64,
        /// What came of it.
        outcome: Outcome,
        /// The number of the batch.
        batch: u64,
        /// The height of the batch's anchor.
        anchor_height: u32,
    },
}

impl RequestFate {
    /// What a follower says of the requests that wait, each by its output.
    pub fn all_waiting(follower: &Follower) -> impl Iterator<Item = (OutPoint, Self)> {
        follower.pending_requests().map(|ScannedRequest { txid, vout, index, height, .. }| {
            let outpoint = OutPoint { txid: *txid, vout: *vout };
            (outpoint, Self::Waiting { index: *index, due_height: follower.params().due_height(*height) })
        })
    }
}

impl fmt::Display for RequestFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotQueued => f.write_str(
                "it was not queued: another output demands the same, the queue was full, or the program in force \
                 opens no locks",
            ),
            Self::Waiting { index, due_height } => {
                write!(f, "request {index} waits: every anchor from height {due_height} on must serve or refute it")
            }
            Self::Displaced { index } => write!(f, "request {index} lost its place to others, as the queue was full"),
            Self::Settled { index, outcome, batch, anchor_height } => {
                let what = match outcome {
                    Outcome::Served => "is served",
                    Outcome::Refuted => "is refuted, because the state could not serve it,",
                    _ => "is void, because the program in force opens no locks, and goes",
                };
                write!(f, "request {index} {what} by batch {batch}, anchored at height {anchor_height}")
            }
        }
    }
}

/// Reads the chain from the rollup's start on, once, for what became of requests in the block at a height.
///
/// # Errors
/// [`FollowError`].
pub fn trace_requests(
    source: &dyn ChainSource,
    params: &Params,
    programs: impl Into<Programs>,
    (outpoints, height): (&[OutPoint], u32),
) -> Result<Vec<RequestFate>, FollowError> {
    let mut follower = follow::start(source, params.clone(), programs)?;
    follow::sync_headers(source, &mut follower, |_| ())?;
    let mut fates = HashMap::new();
    // Those that no batch has settled yet.
    let mut open: HashSet<OutPoint> = outpoints.iter().copied().collect();
    while let Some(block) = follow::next_block(source, &follower)?.filter(|_| !open.is_empty()) {
        let events = follower.connect(block)?;
        let connected = follower.scanned().height;
        if connected < height {
            continue;
        }
        if connected == height {
            fates = RequestFate::all_waiting(&follower).filter(|(outpoint, _)| open.contains(outpoint)).collect();
            open.retain(|outpoint| fates.contains_key(outpoint));
        }
        for event in events {
            let Event::Verified(verified) = event else { continue };
            for settled in verified.settled_requests() {
                let outpoint = OutPoint { txid: settled.request.txid, vout: settled.request.vout };
                if open.remove(&outpoint) {
                    let (index, outcome) = (settled.request.index, settled.outcome);
                    let (batch, anchor_height) = (verified.batch(), connected);
                    fates.insert(outpoint, RequestFate::Settled { index, outcome, batch, anchor_height });
                }
            }
        }
    }
    for (outpoint, _) in RequestFate::all_waiting(&follower) {
        open.remove(&outpoint);
    }
    for outpoint in open {
        if let Some(RequestFate::Waiting { index, .. }) = fates.get(&outpoint).copied() {
            fates.insert(outpoint, RequestFate::Displaced { index });
        }
    }
    Ok(outpoints.iter().map(|outpoint| fates.get(outpoint).copied().unwrap_or(RequestFate::NotQueued)).collect())
}
