//! Why a job waits, and what the operator can do about it.

use crate::{anchor::FeeRate, coins::Busy, node::policy_advice};
use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};
use taproof_base::shown::shown;

/// Why a job does not go on by itself at this tip.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hold {
    /// An earlier batch comes first.
    #[error("batch {0} comes first")]
    PreviousBatch(u64),
    /// What is to be read of its proofs is damaged, or of another batch.
    #[error("its proofs cannot be used: {0}")]
    Proofs(String),
    /// The chain is shorter than the batch's reference.
    #[error("the chain has no block at height {0}, which the batch refers to, yet")]
    ReferenceAhead(u32),
    /// The node reads the chain.
    #[error("the node is not up to date: it has {blocks} of {headers} blocks")]
    NodeSyncing {
        /// The height of its tip.
        blocks: u32,
        /// The height of its best header.
        headers: u32,
    },
    /// The node has every block that it knows of and takes itself to be in its initial download.
    #[error(
        "the node says that it is in its initial download, though it has all {blocks} blocks that it knows of: the \
         last is old"
    )]
    InitialDownload {
        /// The height of its tip.
        blocks: u32,
    },
    /// The poster's coins do not suffice.
    #[error("{needed_sat} sat are needed, and the confirmed coins that are free are worth {available_sat} sat{}",
        busy.iter().map(|busy| format!("; {busy}")).collect::<String>())]
    NoCoins {
        /// What the anchor takes.
        needed_sat: u64,
        /// What there is.
        available_sat: u64,
        /// The coins that are not free.
        busy: Vec<Busy>,
    },
    /// The external signer has not signed.
    #[error("its transactions wait for signatures")]
    AwaitingSignatures,
    /// A sweep would need the external signer.
    #[error("the commit {commit} can be swept at {rate} sat/vB or more, which takes a signature")]
    SweepAwaitsSignature {
        /// The commit.
        commit: Txid,
        /// What the sweep has to pay, to take the place of a reveal that waits, too.
        rate: FeeRate,
    },
    /// The pool takes nothing below the cap.
    #[error("the node's pool takes nothing below {min_pool} sat/vB, and the cap is {cap} sat/vB")]
    PoolAboveCap {
        /// The pool's minimum.
        min_pool: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// A replacement would exceed the cap.
    #[error("the anchor pays {rate} sat/vB, and a replacement would exceed the cap of {cap} sat/vB")]
    AtCap {
        /// What is paid.
        rate: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// The headroom is used up.
    #[error("the anchor pays {rate} sat/vB, and a replacement takes {needed_sat} sat of the {locked_sat} sat locked")]
    HeadroomUsed {
        /// What is paid.
        rate: FeeRate,
        /// The least fee that replaces.
        needed_sat: u64,
        /// What the commit locks.
        locked_sat: u64,
    },
    /// No signed reveal pays enough.
    #[error("no reveal that was signed pays {needed_sat} sat or more")]
    LadderUsed {
        /// The least fee that replaces.
        needed_sat: u64,
    },
    /// Another transaction spends an input.
    #[error("input {outpoint} is spent by {txid} in the pool")]
    InputConflict {
        /// The input.
        outpoint: OutPoint,
        /// The other transaction.
        txid: Txid,
    },
    /// An input left its block.
    #[error("input {0} left its block and waits to be mined again")]
    InputUnconfirmed(OutPoint),
    /// The node refuses a transaction.
    #[error("the node refuses {txid}: {}", shown(reason))]
    Refused {
        /// The transaction.
        txid: Txid,
        /// The node's words.
        reason: String,
    },
    /// The anchor cannot be built.
    #[error("the anchor cannot be built: {0}")]
    NotBuilt(String),
    /// The poster's key is no sequencer's, and the sequencers have not been silent for long enough.
    #[error(
        "the key that signs reveals, the poster's or the hot key, is no sequencer's at the block that the batch refers \
         to: its anchor counts from height {0} on, if no other is accepted before"
    )]
    NotSequencer(u32),
}

impl Hold {
    /// What the operator can do about it, where there is something.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoCoins { .. } => "pay to the poster's address, and wait for a confirmation",
            Self::InitialDownload { .. } => {
                "it ends with the next block: see that the node has peers, or on a test network mine a block or give \
                 the node a \
                 larger -maxtipage"
            }
            Self::NotSequencer(_) => {
                "wait: the anchor is made by itself where the sequencers stay silent; `taproof upgrade show` has their \
                 keys, and `taproof wallet keys` has yours: the poster's, or with --hot-key the hot key. Where yours \
                 is named since a later block, `taproof batch --take-back` makes the batch anew, with \
                 --reference-depth to refer to that block at once"
            }
            Self::Proofs(_) => {
                "copy the file again, or prove the batch again with `taproof prove`: it is read again at every look"
            }
            Self::AwaitingSignatures => "write PSBTs with `taproof anchor psbt`, sign them, and read them back",
            Self::SweepAwaitsSignature { .. } => "run `taproof anchor psbt --sweep` at that rate",
            Self::PoolAboveCap { .. } | Self::AtCap { .. } => "wait, or raise --fee-cap",
            Self::HeadroomUsed { .. } | Self::LadderUsed { .. } => {
                "wait until fees fall, or abandon the batch; a larger --headroom or --fee-cap helps the next one"
            }
            Self::Refused { reason, .. } => {
                policy_advice(reason).unwrap_or("see what the node says; the anchor is tried again at every block")
            }
            _ => return None,
        })
    }
}

/// What a batch waits for, in words, as of the service's last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// For what.
    pub waits_for: String,
    /// What the operator can do about it, where there is something.
    pub advice: Option<String>,
}

impl From<&Hold> for Waits {
    fn from(hold: &Hold) -> Self {
        Self { waits_for: hold.to_string(), advice: hold.advice().map(ToOwned::to_owned) }
    }
}
