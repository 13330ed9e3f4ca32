//! What must not happen, and is told when it does.

use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};

/// Something that signers who follow the rules do not let happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("transaction {txid} at height {height}: {kind}")]
pub struct BridgeFault {
    /// The height of the block.
    pub height: u32,
    /// The transaction.
    pub txid: Txid,
    /// What it does.
    pub kind: BridgeFaultKind,
}

/// What a fault consists in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BridgeFaultKind {
    /// A depositor took back what was credited: the bridge is short of it.
    #[error("deposit {index} of {amount_sat} sat was credited and is taken back")]
    TakenBack {
        /// The deposit.
        index: u64,
        /// What is lost.
        amount_sat: u64,
    },
    /// The federation signed a spend that does not continue the chain.
    #[error("the federation spends coins of the bridge beside the payout chain")]
    BesideTheChain,
    /// The federation signed a spend of the chain's head that has not the form of a link.
    #[error("the federation spends the head of the payout chain by something that is no link")]
    NotALink,
    /// A link leaves out payouts or pays some again.
    #[error("a link begins with payout {found}, where {expected} comes next")]
    OutOfOrder {
        /// The first payout not paid.
        expected: u64,
        /// The one that it names.
        found: u64,
    },
    /// A link pays something else than what is due.
    #[error("a link pays something else than what is due")]
    WrongPayouts,
}

impl BridgeFaultKind {
    /// Whether the chain cannot go on by itself.
    pub fn stops_the_chain(&self) -> bool {
        !matches!(self, Self::TakenBack { .. })
    }
}

/// Why there is no place for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The federation has signed what it should not have.
    #[error("the payout chain is at fault: {0}")]
    Fault(BridgeFault),
    /// The head is spent, and not by the federation, which no chain that keeps Bitcoin's rules holds.
    #[error("the head of the payout chain, {0}, is spent by nobody who could")]
    Gone(OutPoint),
    /// There is no deposit yet whose credit is final.
    #[error("no deposit is credited by a final anchor yet")]
    NothingCredited,
    /// The first deposit is a miner's reward, and no block may spend it yet.
    #[error("the payout chain begins with {outpoint}, a miner's reward that no block before height {height} may spend")]
    StartImmature {
        /// The deposit.
        outpoint: OutPoint,
        /// The first height of a block that may.
        height: u32,
    },
    /// The first deposit was taken back, and that is not final.
    #[error("the depositor is taking {0} back, which was to begin the payout chain: wait until that is final")]
    StartUnsettled(OutPoint),
}
