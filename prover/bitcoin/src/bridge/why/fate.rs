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
use std::fmt;
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

/// Reads the chain from the rollup's start on, for what became of a deposit and how it was spent; [`Fate::Outside`] if
/// it is none.
///
/// # Errors
/// [`FollowError`].
pub fn trace(
    source: &dyn ChainSource,
    params: &Params,
    programs: impl Into<Programs>,
    outpoint: OutPoint,
) -> Result<(Fate, Option<Spent>), FollowError> {
    let mut tracing =
        Tracing { outpoint, federation_leaf: params.bridge().federation_leaf(), found: None, spent: None };
    let mut follower = follow::start(source, params.clone(), programs)?;
    follow::sync_headers(source, &mut follower, |_| ())?;
    while let Some(block) = follow::next_block(source, &follower)? {
        let height = follower.scanned().height + 1;
        tracing.look_for_spends(&block.txdata, height);
        let events = follower.connect(block)?;
        tracing.take(follower.pending_deposits(), &events, height);
    }
    let fate = tracing.found.map_or(Fate::Outside, |(index, height, credit)| {
        fate(params, follower.scanned().height, index, height, credit)
    });
    Ok((fate, tracing.spent))
}

struct Tracing {
    outpoint: OutPoint,
    federation_leaf: ScriptBuf,
    /// The deposit's number, the height of its block and what a batch made of it.
    found: Option<(u64, u32, Credit)>,
    spent: Option<Spent>,
}

impl Tracing {
    fn look_for_spends(&mut self, transactions: &[Transaction], height: u32) {
        for transaction in transactions {
            let input = transaction.input.iter().find(|input| input.previous_output == self.outpoint);
            let Some(input) = input else { continue };
            let by_federation = spends_by(&input.witness, &self.federation_leaf);
            self.spent = Some(Spent { txid: transaction.compute_txid(), height, by_federation });
        }
    }

    fn take<'a>(&mut self, pending: impl Iterator<Item = &'a ScannedDeposit>, events: &[Event], anchor_height: u32) {
        if self.found.is_none() {
            let OutPoint { txid, vout } = self.outpoint;
            let mut pending = pending;
            let deposit = pending.find(|deposit| (deposit.txid, deposit.vout) == (txid, vout));
            self.found = deposit.map(|deposit| (deposit.index, deposit.height, Credit::Waiting));
        }
        let Some((index, _, credit)) = &mut self.found else { return };
        for event in events {
            let Event::Verified(batch) = event else { continue };
            let passed = Passed::by(batch);
            if passed.deposits.contains(index) {
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
    /// What a follower says of a request that waits; `None` if none of that output does.
    pub fn waiting(follower: &Follower, outpoint: OutPoint) -> Option<Self> {
        let OutPoint { txid, vout } = outpoint;
        let mut waiting = follower.pending_requests();
        let ScannedRequest { index, height, .. } =
            waiting.find(|scanned| (scanned.txid, scanned.vout) == (txid, vout))?;
        Some(Self::Waiting { index: *index, due_height: follower.params().due_height(*height) })
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

/// Reads the chain from the rollup's start on, for what became of a request in the block at a height.
///
/// # Errors
/// [`FollowError`].
pub fn trace_request(
    source: &dyn ChainSource,
    params: &Params,
    programs: impl Into<Programs>,
    (outpoint, height): (OutPoint, u32),
) -> Result<RequestFate, FollowError> {
    let mut follower = follow::start(source, params.clone(), programs)?;
    follow::sync_headers(source, &mut follower, |_| ())?;
    let mut fate = RequestFate::NotQueued;
    while let Some(block) = follow::next_block(source, &follower)? {
        let events = follower.connect(block)?;
        let connected = follower.scanned().height;
        if connected < height {
            continue;
        }
        if connected == height {
            match RequestFate::waiting(&follower, outpoint) {
                Some(waiting) => fate = waiting,
                None => return Ok(fate),
            }
        }
        let verified = events.iter().filter_map(|event| match event {
            Event::Verified(batch) => Some(batch),
            _ => None,
        });
        for batch in verified {
            let settled = batch.settled_requests().iter();
            let mut settled = settled
                .filter(|settled| (settled.request.txid, settled.request.vout) == (outpoint.txid, outpoint.vout));
            if let Some(settled) = settled.next() {
                let (index, outcome) = (settled.request.index, settled.outcome);
                let (batch, anchor_height) = (batch.batch(), connected);
                return Ok(RequestFate::Settled { index, outcome, batch, anchor_height });
            }
        }
    }
    match fate {
        RequestFate::Waiting { index, .. } if RequestFate::waiting(&follower, outpoint).is_none() => {
            Ok(RequestFate::Displaced { index })
        }
        fate => Ok(fate),
    }
}
