//! A scan as it stands after a final block, to go on from after a restart.

use super::{BridgeCoin, BridgeFault, BridgeScan, Due, Link, Origin};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use taproof_verifier::{
    follow::{Params, Payout},
    headers::BlockId,
    record::Destination,
};

/// All that scanning needs of the past of a final block.
///
/// Nothing in it is spent: what a final block spends is forgotten, and what a later one spends is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    block: BlockId,
    deposits_scanned: u64,
    /// In ascending order of height and outpoint.
    coins: Vec<BridgeCoin>,
    links: Vec<Link>,
    /// Those with an output alone, in ascending order of their indices.
    due: Vec<DuePayout>,
    due_count: u64,
    faults: Vec<BridgeFault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DuePayout {
    index: u64,
    batch: u64,
    position: u32,
    amount_sat: u64,
    destination: Destination,
    anchor: BlockId,
}

impl From<&Payout> for DuePayout {
    fn from(payout: &Payout) -> Self {
        let Payout { index, batch, position, amount_sat, destination, anchor } = *payout;
        Self { index, batch, position, amount_sat, destination, anchor }
    }
}

impl From<&DuePayout> for Payout {
    fn from(due: &DuePayout) -> Self {
        let DuePayout { index, batch, position, amount_sat, destination, anchor } = *due;
        Self { index, batch, position, amount_sat, destination, anchor }
    }
}

impl Snapshot {
    /// The final block.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// How many coins the federation held, credited or not.
    pub fn coin_count(&self) -> usize {
        self.coins.len()
    }

    /// How many payouts had fallen due.
    pub fn due_count(&self) -> u64 {
        self.due_count
    }
}

impl BridgeScan {
    /// The state after a final block, the one of the follower's checkpoint.
    pub fn snapshot(&self, final_block: BlockId) -> Snapshot {
        let mut then = self.clone();
        then.rewind(final_block);
        Snapshot {
            block: final_block,
            deposits_scanned: then.deposits_scanned,
            coins: then.coins().into_iter().cloned().collect(),
            links: then.links.into_iter().collect(),
            due: then.due.from(0).map(DuePayout::from).collect(),
            due_count: then.due.count(),
            faults: then.faults,
        }
    }

    /// Goes on from a snapshot; `None` if it contradicts itself, as no snapshot that was taken does.
    pub fn restore(params: Params, snapshot: Snapshot) -> Option<Self> {
        let Snapshot { block, deposits_scanned, coins, links, due, due_count, faults } = snapshot;
        let due = Due::join(due.iter().map(Payout::from).collect(), due_count)?;
        if !links.iter().all(|link| link.binding.end().is_some()) || coins.iter().any(|coin| coin.spent.is_some()) {
            return None;
        }
        let index = |coin: &BridgeCoin| match coin.origin {
            Origin::Deposit { index, .. } => Some((index, coin.outpoint)),
            Origin::Own => None,
        };
        let deposits: BTreeMap<_, _> = coins.iter().filter_map(index).collect();
        if deposits.last_key_value().is_some_and(|(index, _)| *index >= deposits_scanned) {
            return None;
        }
        let coins: HashMap<_, _> = coins.into_iter().map(|coin| (coin.outpoint, coin)).collect();
        let links = links.into();
        Some(Self { scanned: block, deposits_scanned, coins, deposits, links, due, faults, ..Self::new(params) })
    }
}
