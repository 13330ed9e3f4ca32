//! What became of an announcement in the chain.

use crate::chain_store::FinalEvent;
use bitcoin::Txid;
use std::{fmt, mem::discriminant};
use taproof_verifier::upgrade::{Change, Upgrade};

/// What became of an announcement of the upgrade keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeFate {
    /// It was accepted in the block at a height, and is not in force yet; or it is a withdrawal.
    Accepted {
        /// What it announces.
        upgrade: Upgrade,
        /// The height of its block.
        height: u32,
    },
    /// It was accepted in the block at a height, and its own height has come.
    InForce {
        /// The height of its block.
        height: u32,
        /// The height from which it is in force.
        from_height: u32,
        /// What took its place, and the height of that, where something did.
        replaced: Option<(Txid, u32)>,
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
    /// Reads what became of a transaction by the block at a height off what followers found until then, in the order
    /// of the chain; `None` if they found nothing of it.
    pub fn of<'a>(txid: Txid, scanned_height: u32, events: impl IntoIterator<Item = &'a FinalEvent>) -> Option<Self> {
        let mut found: Option<(&Upgrade, u32)> = None;
        // What may take its place: of the same kind, and not withdrawn so far.
        let mut rivals: Vec<(Txid, &Upgrade, u32)> = Vec::new();
        for event in events {
            match (event, found) {
                (FinalEvent::UpgradeRefused(refused), None) if refused.txid == txid => {
                    return Some(Self::Ignored { reason: refused.reason.clone() });
                }
                (FinalEvent::Upgrade(announced), None) if announced.txid == txid => {
                    found = Some((&announced.upgrade, announced.block.height));
                }
                (FinalEvent::Upgrade(withdrawal), _) if withdrawal.upgrade.change == Change::Withdrawal => {
                    let (by, height) = (withdrawal.txid, withdrawal.block.height);
                    if found.and_then(|(upgrade, _)| in_force_from(upgrade)).is_some_and(|from| from > height) {
                        return Some(Self::Withdrawn { by, height });
                    }
                    rivals.retain(|(_, _, from_height)| *from_height <= height);
                }
                (FinalEvent::Upgrade(other), _) => {
                    let from_height = in_force_from(&other.upgrade);
                    rivals.extend(from_height.map(|from_height| (other.txid, &other.upgrade, from_height)));
                }
                _ => {}
            }
        }
        let (upgrade, height) = found?;
        let Some(from_height) = in_force_from(upgrade).filter(|from_height| *from_height <= scanned_height) else {
            return Some(Self::Accepted { upgrade: upgrade.clone(), height });
        };
        let takes_over = |(_, rival, rival_from): &&(Txid, &Upgrade, u32)| {
            let is_same_kind = discriminant(&rival.change) == discriminant(&upgrade.change);
            let is_later = (*rival_from, rival.number) > (from_height, upgrade.number);
            is_same_kind && is_later && *rival_from <= scanned_height
        };
        let replaced = rivals.iter().filter(takes_over).min_by_key(|(_, rival, from)| (*from, rival.number));
        let replaced = replaced.map(|(by, _, from_height)| (*by, *from_height));
        Some(Self::InForce { height, from_height, replaced })
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
            Self::InForce { height, from_height, replaced } => {
                write!(f, "accepted at height {height}, in force from height {from_height} on")?;
                match replaced {
                    Some((by, later)) => write!(f, ", until {by} took its place at height {later}"),
                    None => Ok(()),
                }
            }
            Self::Withdrawn { by, height } => write!(f, "accepted, and withdrawn by {by} at height {height}"),
            Self::Ignored { reason } => write!(f, "ignored: {reason}"),
        }
    }
}
