//! The poster's coins: which transaction of ours each is kept for, so that no two of them spend the same coin.
//!
//! Several commands pay from one address: the anchoring service, `bridge deposit`, `bridge payout`, `anchor build`. A
//! node knows of a coin's spender only while the transaction waits in its pool; one that waits for signatures, or
//! that fell out of the pool, it does not know. So every command keeps its coins in one file of the data directory,
//! the [`CoinStore`], before it sends or gives away what spends them, and takes none that the file or the pool has
//! for another.
//!
//! A coin is free again when the transaction it was kept for is not seen in the pool for [`Purpose::life_blocks`],
//! when it is released by hand, or when the anchoring service has no use for it any more. A coin that is spent in the
//! chain stays kept until the block is final, so that a reorganisation does not give it to somebody else.

mod store;

#[cfg(test)]
mod tests;

use crate::{
    anchor::Funding,
    node::{Coin, Node, NodeError},
    regtest::COINBASE_MATURITY_BLOCKS,
};
use bitcoin::{OutPoint, Transaction, Txid};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use taproof_wallet::PosterScripts;

pub use store::{CoinStore, CoinStoreError};

/// For how many blocks a coin is kept for a transaction that was sent and is not in the pool: a day.
pub const SENT_LIFE_BLOCKS: u32 = 144;
/// For how many blocks a coin is kept for a transaction that others have to sign first: a week.
pub const UNSIGNED_LIFE_BLOCKS: u32 = 1_008;

/// The poster's coins that are confirmed and mature, at all of its addresses; those that wait for a transaction
/// included.
///
/// # Errors
/// [`NodeError`].
pub fn own_coins(node: &dyn Node, poster: &PosterScripts) -> Result<Vec<Funding>, NodeError> {
    let scan = node.coins(&poster.all())?;
    let next_height = scan.block.height + 1;
    let is_mature =
        |coin: &Coin| !coin.is_coinbase || next_height.saturating_sub(coin.height) >= COINBASE_MATURITY_BLOCKS;
    let mature = scan.coins.into_iter().filter(is_mature);
    Ok(mature.map(|Coin { outpoint, output, .. }| Funding { outpoint, output }).collect())
}

/// What a coin is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Purpose {
    /// The anchor of a batch, by the service.
    Anchor {
        /// The batch.
        batch: u64,
    },
    /// The anchor of a batch, built by hand.
    AnchorByHand {
        /// The batch.
        batch: u64,
    },
    /// A deposit.
    Deposit,
    /// An exit that is demanded on Bitcoin.
    ExitRequest,
    /// The fee of a payout transaction. Of those that go on from the same output only one can be mined, so they may
    /// share coins.
    Payout {
        /// The output that the payout goes on from.
        head: OutPoint,
    },
    /// A payment to an address.
    Payment,
}

impl Purpose {
    /// For how many blocks after its transaction was last seen a coin is kept.
    pub fn life_blocks(self) -> u32 {
        match self {
            Self::Deposit | Self::ExitRequest | Self::Payment | Self::AnchorByHand { .. } => SENT_LIFE_BLOCKS,
            Self::Anchor { .. } | Self::Payout { .. } => UNSIGNED_LIFE_BLOCKS,
        }
    }

    /// Whether at most one of two transactions can be mined, or the later takes the place of the earlier, so that
    /// both may have the same coin.
    fn shares_with(self, other: Self) -> bool {
        self == other && !matches!(self, Self::Deposit | Self::ExitRequest | Self::Payment)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anchor { batch } => write!(f, "the anchor of batch {batch}"),
            Self::AnchorByHand { batch } => write!(f, "the anchor of batch {batch} that was built by hand"),
            Self::Deposit => f.write_str("a deposit"),
            Self::ExitRequest => f.write_str("an exit request"),
            Self::Payment => f.write_str("a payment"),
            Self::Payout { head } => write!(f, "the payouts from {head} on"),
        }
    }
}

/// A coin that is kept for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reservation {
    /// The coin.
    pub outpoint: OutPoint,
    /// What it is kept for.
    pub purpose: Purpose,
    /// The transaction that spends it.
    pub spender: Txid,
    /// The height of the tip when it was kept, or when its transaction was last seen in the pool.
    pub height: u32,
    /// The height of the tip when it was first seen to be spent in the chain.
    pub spent_since: Option<u32>,
}

impl Reservation {
    /// The height at which the coin is free again if its transaction is not seen.
    pub fn free_height(&self) -> u32 {
        self.height.saturating_add(self.purpose.life_blocks())
    }

    /// What is true of it now; `None` if it is over.
    fn renewed(&self, node: &dyn Node, tip_height: u32, final_depth_blocks: u32) -> Result<Option<Self>, NodeError> {
        let is_gone = |outpoint: &OutPoint| Ok::<_, NodeError>(node.unspent(outpoint)?.is_none());
        let is_spent = is_gone(&self.outpoint)?
            || match self.purpose {
                Purpose::Payout { head } => is_gone(&head)?,
                _ => false,
            };
        if is_spent {
            let since = self.spent_since.map_or(tip_height, |since| since.min(tip_height));
            let is_final = tip_height - since >= final_depth_blocks;
            return Ok((!is_final).then_some(Self { spent_since: Some(since), ..*self }));
        }
        let is_seen = node.pool_spender(&self.outpoint)? == Some(self.spender);
        let height = if is_seen { tip_height } else { self.height };
        let renewed = Self { height, spent_since: None, ..*self };
        Ok((tip_height < renewed.free_height()).then_some(renewed))
    }
}

/// A coin that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Busy {
    /// It is kept for a transaction of ours.
    Kept(Reservation),
    /// A transaction of the pool spends it.
    InPool {
        /// The coin.
        outpoint: OutPoint,
        /// The transaction.
        txid: Txid,
    },
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(kept) => {
                let Reservation { outpoint, purpose, spender, .. } = kept;
                write!(f, "{outpoint} waits for {purpose} ({spender}), to height {} at most", kept.free_height())
            }
            Self::InPool { outpoint, txid } => write!(f, "{outpoint} is spent by {txid}, which waits for a block"),
        }
    }
}

/// Why a transaction is not built.
#[derive(Debug, thiserror::Error)]
pub enum SpendError<E> {
    /// It cannot be built from the coins that are free.
    #[error("{error}")]
    Build {
        /// Why.
        error: E,
        /// The coins that are not free.
        busy: Vec<Busy>,
    },
    /// The node does not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The file of coins.
    #[error(transparent)]
    Store(#[from] CoinStoreError),
}

/// Where coins are looked up and kept.
#[derive(Clone, Copy)]
pub struct Purse<'a> {
    /// The file of coins.
    pub store: &'a CoinStore,
    /// The node whose pool is looked at.
    pub node: &'a dyn Node,
    /// After how many blocks nothing is undone.
    pub final_depth_blocks: u32,
}

impl Purse<'_> {
    /// The coins that are kept; those that are free again are forgotten.
    ///
    /// # Errors
    /// [`SpendError::Node`] and [`SpendError::Store`].
    pub fn kept<E>(&self) -> Result<Vec<Reservation>, SpendError<E>> {
        let tip_height = self.node.tip_height()?;
        let mut kept = Vec::new();
        let mut changes = Vec::new();
        for before in self.store.reservations()? {
            let after = before.renewed(self.node, tip_height, self.final_depth_blocks)?;
            kept.extend(after);
            if after != Some(before) {
                changes.push((before, after));
            }
        }
        self.store.renew(&changes)?;
        Ok(kept)
    }

    /// Builds a transaction from coins that are free, and shows which these are without keeping them.
    ///
    /// `build` is given the free coins and gives what it made of them, with the transaction that spends some of them;
    /// it is asked again with fewer where one of those turns out to be taken.
    ///
    /// # Errors
    /// [`SpendError`].
    pub fn preview<T, E>(
        &self,
        coins: &[Funding],
        purpose: Purpose,
        build: impl FnMut(&[Funding]) -> Result<(T, Transaction), E>,
    ) -> Result<T, SpendError<E>> {
        self.choose(coins, purpose, build, |_| Ok(()))
    }

    /// As [`Purse::preview`], and keeps the coins for the transaction before it gives it.
    ///
    /// # Errors
    /// [`SpendError`]; then nothing is kept.
    pub fn spend<T, E>(
        &self,
        coins: &[Funding],
        purpose: Purpose,
        build: impl FnMut(&[Funding]) -> Result<(T, Transaction), E>,
    ) -> Result<T, SpendError<E>> {
        self.choose(coins, purpose, build, |reservations| self.store.keep(reservations))
    }

    fn choose<T, E>(
        &self,
        coins: &[Funding],
        purpose: Purpose,
        mut build: impl FnMut(&[Funding]) -> Result<(T, Transaction), E>,
        keep: impl Fn(&[Reservation]) -> Result<(), CoinStoreError>,
    ) -> Result<T, SpendError<E>> {
        let height = self.node.tip_height()?;
        // A payout transaction takes the place of one that waits in the pool, and may take its coins, too.
        let replaced = match purpose {
            Purpose::Payout { head } => self.node.pool_spender(&head)?,
            _ => None,
        };
        let others = self.kept()?.into_iter().filter(|kept| !kept.purpose.shares_with(purpose));
        let mut busy: BTreeMap<OutPoint, Busy> = others.map(|kept| (kept.outpoint, Busy::Kept(kept))).collect();
        // Every round but the last adds a coin to those that are not free.
        loop {
            let free: Vec<Funding> = coins.iter().filter(|coin| !busy.contains_key(&coin.outpoint)).cloned().collect();
            let (value, transaction) = build(&free).map_err(|error| {
                let busy = coins.iter().filter_map(|coin| busy.get(&coin.outpoint).copied());
                SpendError::Build { error, busy: busy.collect() }
            })?;
            let own = |outpoint: &OutPoint| free.iter().any(|coin| coin.outpoint == *outpoint);
            let spent = transaction.input.iter().map(|input| input.previous_output).filter(own);
            let spent: Vec<OutPoint> = spent.collect();
            let before = busy.len();
            for &outpoint in &spent {
                if let Some(txid) = self.node.pool_spender(&outpoint)?.filter(|txid| replaced != Some(*txid)) {
                    busy.insert(outpoint, Busy::InPool { outpoint, txid });
                }
            }
            if busy.len() > before {
                continue;
            }
            let spender = transaction.compute_txid();
            let reservation = |outpoint| Reservation { outpoint, purpose, spender, height, spent_since: None };
            match keep(&spent.into_iter().map(reservation).collect::<Vec<_>>()) {
                Ok(()) => return Ok(value),
                // Another process was faster.
                Err(CoinStoreError::Kept(kept)) => busy.insert(kept.outpoint, Busy::Kept(kept)),
                Err(error) => return Err(error.into()),
            };
        }
    }
}
