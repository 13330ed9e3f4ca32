//! Who waits on Bitcoin for the rollup: deposits, exit requests and claim requests.

use bitcoin::OutPoint;
use serde::Serialize;
use std::{collections::BTreeSet, fmt};
use taproof_bitcoin::chain_store::{ChainStoreError, FinalEvent, StoredFollower};
use taproof_circuits::state::State;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::Cell,
    evidence::ClaimRequest,
    exit::{ExitRequest, Request, ScannedExit, ScannedRequest},
    follow::Params,
};

/// What became of the deposits so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DepositCounts {
    /// How many are credited.
    pub credited: u64,
    /// How many the next batches must credit.
    pub waiting: u64,
    /// What these add up to.
    pub waiting_sat: u64,
    /// How many no batch came to in time: they are their depositors'.
    pub void: u64,
}

impl DepositCounts {
    /// Counts what a follower and its store know. A store that begins at a checkpoint does not know of what was void
    /// before.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn new(stored: &StoredFollower) -> Result<Self, ChainStoreError> {
        let follower = stored.follower();
        let void = |event: &FinalEvent| if let FinalEvent::Void(void) = event { void.count } else { 0 };
        let settled = stored.store().events(0, usize::MAX)?;
        let passed: u64 = settled.iter().map(|(_, event)| void(event)).chain(stored.unsettled().map(void)).sum();
        let credited = follower.tip().deposits_consumed.saturating_sub(passed);
        let mut counts = Self { credited, void: passed, ..Self::default() };
        for deposit in follower.pending_deposits() {
            if follower.has_expired(deposit) {
                counts.void += 1;
            } else {
                counts.waiting += 1;
                counts.waiting_sat = counts.waiting_sat.saturating_add(deposit.deposit.amount_sat);
            }
        }
        Ok(counts)
    }
}

impl fmt::Display for DepositCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credited, waiting, waiting_sat, void } = self;
        write!(f, "{credited} credited; {waiting} waiting, {waiting_sat} sat; {void} void")
    }
}

/// An exit request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitRow {
    /// How many requests were queued before it.
    pub index: u64,
    /// The output that carries it.
    pub output: OutPoint,
    /// The height of its block.
    pub height: u32,
    /// The first height at which every anchor must serve or refute it, unless the batch does enough of others.
    pub due_height: u32,
    /// The account that is to pay.
    pub from: u32,
    /// Who signed it.
    pub owner: String,
    /// What is to be paid out.
    pub amount_sat: u64,
    /// The operator's fee.
    pub fee_sat: u64,
    /// The script that is to be paid, in hexadecimal.
    pub script_pubkey: String,
    /// Whether the next batch can serve it, where the state is known. If not, the next batch refutes it.
    pub is_servable: Option<bool>,
    #[serde(skip)]
    request: ExitRequest,
}

impl ExitRow {
    /// The requests that wait, in the order of the chain; those of an owner, if one is named.
    pub fn waiting(exits: impl Iterator<Item = ScannedExit>, params: &Params, owner: Option<&PublicKey>) -> Vec<Self> {
        let is_owners = |exit: &ScannedExit| owner.is_none_or(|owner| exit.request.owner() == owner);
        let row = |exit: ScannedExit| {
            let record = exit.request.record();
            Self {
                index: exit.index,
                output: OutPoint { txid: exit.txid, vout: exit.vout },
                height: exit.height,
                due_height: params.due_height(exit.height),
                from: record.from.get(),
                owner: exit.request.owner().to_string(),
                amount_sat: record.amount,
                fee_sat: record.fee,
                script_pubkey: record.destination.script_pubkey().to_hex_string(),
                is_servable: None,
                request: exit.request,
            }
        };
        exits.filter(is_owners).map(row).collect()
    }

    /// Says of requests, in the order of the chain, which of them the accounts of a state can serve. What comes after
    /// one that is served depends on that.
    pub fn judge(rows: &mut [Self], state: &State) {
        let mut served = BTreeSet::new();
        for row in rows {
            let from = row.request.from();
            let is_in_tree = state.depth().contains(from);
            let cell = state.account(from).filter(|_| is_in_tree).map_or(Cell::Empty, Cell::Account);
            row.is_servable = (!served.contains(&from)).then(|| row.request.is_servable_by(&cell.elements()));
            if row.is_servable == Some(true) {
                served.insert(from);
            }
        }
    }
}

/// A claim request that waits: somebody demands that a lock be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimRow {
    /// How many requests were queued before it, exit requests included.
    pub index: u64,
    /// The output that carries it.
    pub output: OutPoint,
    /// The height of its block.
    pub height: u32,
    /// The first height at which every anchor must serve or refute it, unless the batch does enough of others.
    pub due_height: u32,
    /// The lock's cell.
    pub cell: u32,
    /// The secret that it shows, in hexadecimal.
    pub secret: String,
    /// Whether the next batch can serve it, where the state is known. If not, the next batch refutes it.
    pub is_servable: Option<bool>,
    #[serde(skip)]
    request: ClaimRequest,
}

impl ClaimRow {
    /// The claim requests among those that wait, in the order of the chain.
    pub fn waiting<'a>(requests: impl Iterator<Item = &'a ScannedRequest>, params: &Params) -> Vec<Self> {
        let row = |scanned: &ScannedRequest| {
            let request = *scanned.request.claim()?;
            Some(Self {
                index: scanned.index,
                output: OutPoint { txid: scanned.txid, vout: scanned.vout },
                height: scanned.height,
                due_height: params.due_height(scanned.height),
                cell: request.cell.get(),
                secret: hex::encode(request.secret),
                is_servable: None,
                request,
            })
        };
        requests.filter_map(row).collect()
    }

    /// Says of requests, in the order of the chain, which of them a state can serve. What comes after one that is
    /// served depends on that.
    pub fn judge(rows: &mut [Self], state: &State) {
        let mut served = BTreeSet::new();
        for row in rows {
            let (cell, depth) = (row.request.cell, state.depth());
            let shown = |index| Some(state.tree().get(index).elements());
            let is_servable = || depth.contains(cell) && Request::from(row.request).refuted_by(depth, shown).is_none();
            row.is_servable = (!served.contains(&cell)).then(is_servable);
            if row.is_servable == Some(true) {
                served.insert(cell);
            }
        }
    }
}

impl fmt::Display for ClaimRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due_height, cell, height, is_servable, .. } = self;
        write!(f, "on the lock in cell {cell}, asked at height {height}: ")?;
        match is_servable {
            Some(false) => f.write_str(
                "it cannot be served, because there is no lock that its secret opens in time for an account that can \
                 take what is locked; the next batch refutes it",
            ),
            _ => write!(f, "every anchor from height {due_height} on must serve or refute it"),
        }
    }
}

impl fmt::Display for ExitRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due_height, from, amount_sat, height, is_servable, .. } = self;
        write!(f, "{amount_sat} sat from cell {from}, asked at height {height}: ")?;
        match is_servable {
            Some(false) => f.write_str(
                "it cannot be served, because the account is at another nonce, has another owner or holds less; the \
                 next batch refutes it",
            ),
            _ => write!(f, "every anchor from height {due_height} on must serve or refute it"),
        }
    }
}
