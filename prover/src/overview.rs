//! A rollup on one page: where its chain stands, what is anchored and what it cost, who waits for what.
//!
//! [`Overview`] is collected from a follower and its store, and where there are some from the anchoring service's
//! jobs and a scan of the bridge. It is data alone: commands print it, [`Overview::to_html`] makes a page of it.

pub(crate) mod html;
mod queues;
mod upgrades;

#[cfg(test)]
mod tests;

use bitcoin::{BlockHash, Network, Txid};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use taproof_bitcoin::{
    anchoring::{Job, JobState},
    bridge::scan::BridgeScan,
    chain_store::{ChainStoreError, FinalAnchor, FinalEvent, StoredFollower, View},
};
use taproof_verifier::{cell::ChainId, field};

pub use queues::{ClaimRow, DepositCounts, ExitRow};
pub use upgrades::{AnnouncedRow, UpgradesRow};

/// How many transactions that announce an anchor and are none are shown: the last ones.
const REFUSED_SHOWN_MAX: usize = 100;

/// A rollup on one page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// The Bitcoin network.
    pub network: Network,
    /// The rollup's number.
    pub chain_id: ChainId,
    /// Whether every block was seen whole.
    pub is_complete: bool,
    /// The height of the last block that was scanned.
    pub height: u32,
    /// That block.
    pub block: BlockHash,
    /// How many blocks, its own included, make a block final.
    pub final_depth_blocks: u32,
    /// How many batches are anchored.
    pub batches: u64,
    /// How many of these are not known, nor what they paid out: those before a checkpoint that was begun at.
    pub batches_unseen: u64,
    /// The verified root, 32 bytes, little-endian, in hexadecimal.
    pub root_verified: String,
    /// The levels of the tree.
    pub tree_levels: u8,
    /// What is in force, and what is announced.
    pub upgrades: UpgradesRow,
    /// What became of the deposits.
    pub deposits: DepositCounts,
    /// The exit requests that wait, in the order of the chain.
    pub exits: Vec<ExitRow>,
    /// The claim requests that wait, in the order of the chain.
    pub claims: Vec<ClaimRow>,
    /// How many payouts fell due since the start, paid or not.
    pub payouts_due: u64,
    /// What they add up to.
    pub payouts_due_sat: u64,
    /// Payouts of anchors that are not final.
    pub payouts_waiting: u64,
    /// What they add up to.
    pub payouts_waiting_sat: u64,
    /// What the federation has paid, where the bridge is watched.
    pub bridge: Option<BridgeRow>,
    /// The anchors, by batch.
    pub anchors: Vec<AnchorRow>,
    /// The last transactions that announce an anchor and are none, in the order of the chain.
    pub refused: Vec<RefusedRow>,
    /// How many there were since the start.
    pub refused_count: u64,
}

/// The anchor of a batch: in the chain, on its way there, or still to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AnchorRow {
    /// The number of the batch.
    pub batch: u64,
    /// How far it is, in words.
    pub state: String,
    /// The height of its block.
    pub height: Option<u32>,
    /// The number of its confirmations.
    pub depth_blocks: Option<u32>,
    /// The time of its block's header, in seconds since 1970.
    pub time_seconds: Option<u32>,
    /// The reveal that is in the chain, or the latest that was handed to the node.
    pub txid: Option<Txid>,
    /// The root after the batch, as [`Overview::root_verified`].
    pub root: Option<String>,
    /// The chunks, each with a proof.
    pub chunks: Option<u32>,
    /// The length of the reveal, witness included.
    pub reveal_bytes: Option<u32>,
    /// The virtual size of what the fee pays for.
    pub vsize_vb: Option<u64>,
    /// The fee: of commit and reveal where they are ours, else of the reveal.
    pub fee_sat: Option<u64>,
    /// How many reveals were handed to the node.
    pub attempts: Option<usize>,
    /// Why it waits.
    pub note: Option<String>,
}

/// A batch that was made and is not in the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Unanchored {
    /// Its number.
    pub number: u64,
    /// Whether its proofs are there, too.
    pub is_proven: bool,
    /// Why it waits, if more is to be said.
    pub note: Option<String>,
}

/// What the federation holds and has paid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BridgeRow {
    /// The payouts that its transactions have settled, of those that fell due.
    pub payouts_settled: u64,
    /// What the other due ones add up to.
    pub unpaid_sat: u64,
    /// What it holds and may spend.
    pub held_sat: u64,
    /// What has gone wrong, in words.
    pub faults: Vec<String>,
}

/// A transaction that announces an anchor and is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusedRow {
    /// The height of its block.
    pub height: u32,
    /// The transaction.
    pub txid: Txid,
    /// The rule that it breaks.
    pub reason: String,
}

impl Overview {
    /// Collects what a follower and its store know, the jobs of the anchoring service, and the bridge, if it is
    /// watched.
    ///
    /// # Errors
    /// [`ChainStoreError`] if the store cannot be read.
    pub fn new(stored: &StoredFollower, jobs: &[Job], bridge: Option<&BridgeScan>) -> Result<Self, ChainStoreError> {
        let follower = stored.follower();
        let (params, tip, scanned) = (follower.params(), follower.tip(), follower.scanned());
        let settled = stored.store().events(0, usize::MAX)?;
        let settled = settled.into_iter().map(|(_, event)| (true, event));
        let unsettled = stored.unsettled().map(|event| (false, event.clone()));
        let mut overview = Self {
            network: params.network,
            chain_id: params.chain_id(),
            is_complete: stored.store().view() == View::Full,
            height: scanned.height,
            block: scanned.hash,
            final_depth_blocks: params.final_depth_blocks,
            batches: tip.batches,
            batches_unseen: tip.batches,
            root_verified: hex::encode(field::to_bytes(&tip.root)),
            tree_levels: tip.depth.levels(),
            upgrades: UpgradesRow::new(follower),
            deposits: DepositCounts::new(stored)?,
            exits: ExitRow::waiting(follower.pending_exits(), params, None),
            claims: ClaimRow::waiting(follower.pending_requests(), params),
            payouts_due: 0,
            payouts_due_sat: 0,
            payouts_waiting: 0,
            payouts_waiting_sat: 0,
            bridge: bridge.map(BridgeRow::new),
            anchors: Vec::new(),
            refused: Vec::new(),
            refused_count: 0,
        };
        for payout in follower.pending_payouts() {
            overview.payouts_waiting += 1;
            overview.payouts_waiting_sat = overview.payouts_waiting_sat.saturating_add(payout.amount_sat);
        }
        let (mut anchors, mut refused_rows) = (BTreeMap::new(), VecDeque::new());
        for (is_final, event) in settled.chain(unsettled) {
            match event {
                FinalEvent::Anchor(anchor) => {
                    overview.batches_unseen = overview.batches_unseen.saturating_sub(1);
                    anchors.insert(anchor.batch, AnchorRow::in_chain(&anchor, is_final, scanned.height));
                }
                FinalEvent::Refused(refused) => {
                    let (height, txid, reason) = (refused.block.height, refused.txid, refused.reason);
                    overview.refused_count += 1;
                    refused_rows.push_back(RefusedRow { height, txid, reason });
                    if refused_rows.len() > REFUSED_SHOWN_MAX {
                        refused_rows.pop_front();
                    }
                }
                FinalEvent::RefusedMore(more) => {
                    overview.refused_count = overview.refused_count.saturating_add(more.count);
                }
                FinalEvent::Void(_) | FinalEvent::Upgrade(_) | FinalEvent::UpgradeRefused(_) => {}
                FinalEvent::Payout(payout) => {
                    overview.payouts_due += 1;
                    overview.payouts_due_sat = overview.payouts_due_sat.saturating_add(payout.amount_sat);
                }
            }
        }
        for job in jobs {
            let on_its_way = || AnchorRow::on_its_way(job, tip.batches);
            anchors.entry(job.batch()).or_insert_with(on_its_way).add_job(job);
        }
        overview.refused = refused_rows.into();
        overview.anchors = anchors.into_values().collect();
        Ok(overview)
    }

    /// Adds the batches that were made and that neither the chain nor the anchoring service has.
    pub fn with_unanchored(mut self, batches: impl IntoIterator<Item = Unanchored>) -> Self {
        for Unanchored { number, is_proven, note } in batches {
            if self.anchors.iter().all(|row| row.batch != number) {
                let state = if is_proven { AnchorRow::PROVEN } else { AnchorRow::MADE };
                self.anchors.push(AnchorRow { batch: number, state: state.to_owned(), note, ..AnchorRow::default() });
            }
        }
        self.anchors.sort_by_key(|row| row.batch);
        self
    }

    /// How many batches are proven and not on their way to the chain.
    pub fn batches_proven(&self) -> usize {
        self.anchors.iter().filter(|row| row.state == AnchorRow::PROVEN).count()
    }

    /// How many batches are made and not proven.
    pub fn batches_made(&self) -> usize {
        self.anchors.iter().filter(|row| row.state == AnchorRow::MADE).count()
    }

    /// A self-contained page in HTML: no scripts, nothing that is loaded from elsewhere.
    pub fn to_html(&self) -> String {
        html::page(self)
    }
}

impl BridgeRow {
    fn new(scan: &BridgeScan) -> Self {
        let held = scan.coins().into_iter().filter(|coin| scan.is_held(coin));
        Self {
            payouts_settled: scan.next_index(),
            unpaid_sat: scan.unpaid().map(|payout| payout.amount_sat).fold(0, u64::saturating_add),
            held_sat: held.map(|coin| coin.output.value.to_sat()).fold(0, u64::saturating_add),
            faults: scan.faults().iter().map(ToString::to_string).collect(),
        }
    }
}

impl AnchorRow {
    /// The state of a batch that is proven and that nobody has begun to anchor.
    const PROVEN: &str = "proven";
    /// The state of a batch that is made and not proven.
    const MADE: &str = "made";

    /// The fee rate, in satoshi a virtual byte.
    pub fn sat_per_vb(&self) -> Option<f64> {
        let (fee, vsize) = self.fee_sat.zip(self.vsize_vb.filter(|vsize| *vsize > 0))?;
        Some(fee as f64 / vsize as f64)
    }

    fn in_chain(anchor: &FinalAnchor, is_final: bool, scanned_height: u32) -> Self {
        Self {
            batch: anchor.batch,
            state: if is_final { "final" } else { "in block" }.to_owned(),
            height: Some(anchor.block.height),
            depth_blocks: (scanned_height + 1).checked_sub(anchor.block.height),
            time_seconds: Some(anchor.time_seconds),
            txid: Some(anchor.txid),
            root: Some(hex::encode(field::to_bytes(&anchor.root))),
            chunks: Some(anchor.chunks),
            reveal_bytes: Some(anchor.reveal_bytes),
            vsize_vb: Some(anchor.reveal_vsize_vb.into()),
            fee_sat: anchor.reveal_fee_sat,
            attempts: None,
            note: None,
        }
    }

    /// Where a chain of so many batches has no anchor that a job had in it, what the job says is older than a
    /// reorganisation.
    fn on_its_way(job: &Job, batches: u64) -> Self {
        let state = if job.batch() >= batches { job.state_outside_the_chain() } else { job.state().name() };
        Self { batch: job.batch(), state: state.to_owned(), ..Self::default() }
    }

    /// Adds what our own job knows: where the chain has the anchor, only if it is ours.
    fn add_job(&mut self, job: &Job) {
        let is_in_chain = self.height.is_some();
        if !is_in_chain {
            self.note = job.hold().map(ToString::to_string);
        } else if job.state() == JobState::Safe {
            job.state().name().clone_into(&mut self.state);
        }
        let Some(figures) = job.figures() else { return };
        if is_in_chain && self.txid != Some(figures.reveal) {
            return;
        }
        self.txid = Some(figures.reveal);
        self.fee_sat = Some(figures.fee_sat);
        self.vsize_vb = Some(figures.vsize_vb);
        self.attempts = Some(figures.attempts);
    }
}
