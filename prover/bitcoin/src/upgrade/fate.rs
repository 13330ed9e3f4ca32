//! What became of an announcement in the chain.

use crate::chain_store::FinalEvent;
use bitcoin::Txid;
use std::fmt;
use taproof_verifier::upgrade::{Change, Upgrade};

/// What became of an announcement of the upgrade keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeFate {
    /// It was accepted in the block at a height, and nothing took it back.
    Accepted {
        /// What it announces.
        upgrade: Upgrade,
        /// The height of its block.
        height: u32,
    },
    /// It was accepted, and withdrawn before it was in force.
    Withdrawn {
        /// The transaction that took it back.
        by: Txid,
        /// The height of that transaction's block.
        height: u32,
    },
    /// It does not count.
    Ignored {
        /// The first rule that it breaks, in words.
        reason: String,
    },
}

impl UpgradeFate {
    /// Reads what became of a transaction off what followers found, in the order of the chain; `None` if they found
    /// nothing of it.
    pub fn of<'a>(txid: Txid, events: impl IntoIterator<Item = &'a FinalEvent>) -> Option<Self> {
        let mut fate = None;
        for event in events {
            match (event, &fate) {
                (FinalEvent::UpgradeRefused(refused), None) if refused.txid == txid => {
                    return Some(Self::Ignored { reason: refused.reason.clone() });
                }
                (FinalEvent::Upgrade(found), None) if found.txid == txid => {
                    let (upgrade, height) = (found.upgrade.clone(), found.block.height);
                    fate = Some(Self::Accepted { upgrade, height });
                }
                (FinalEvent::Upgrade(later), Some(Self::Accepted { upgrade, .. }))
                    if later.upgrade.change == Change::Withdrawal
                        && in_force_from(upgrade).is_some_and(|height| height > later.block.height) =>
                {
                    return Some(Self::Withdrawn { by: later.txid, height: later.block.height });
                }
                _ => {}
            }
        }
        fate
    }
}

/// The height from which something is in force; none for a withdrawal.
fn in_force_from(upgrade: &Upgrade) -> Option<u32> {
    match upgrade.change {
        Change::Program { height, .. } | Change::Sequencers { height, .. } => Some(height),
        Change::Withdrawal => None,
    }
}

impl fmt::Display for UpgradeFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { upgrade, height } => {
                write!(f, "accepted at height {height}")?;
                match in_force_from(upgrade) {
                    Some(from) => write!(f, ": in force from height {from} on, unless it is withdrawn before"),
                    None if upgrade.renounces() => f.write_str(": the upgrade keys have given up their right for good"),
                    None => f.write_str(": what was announced before and was not in force yet is withdrawn"),
                }
            }
            Self::Withdrawn { by, height } => write!(f, "accepted, and withdrawn by {by} at height {height}"),
            Self::Ignored { reason } => write!(f, "ignored: {reason}"),
        }
    }
}
