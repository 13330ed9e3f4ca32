//! Where blocks come from and transactions go: a bitcoind by JSON-RPC, or the embedded regtest chain.
//!
//! [`ChainSource`] is all that anchoring and following ask of either. A source is trusted for nothing but being there:
//! blocks are checked against the hash they were asked by, and the follower checks the hashes.

mod embedded;
mod rpc;

#[cfg(test)]
mod tests;

use bitcoin::{Block, BlockHash, Network, Transaction, Txid, block::Header};
use std::{io, path::PathBuf};

pub use embedded::{EmbeddedNode, MineError};
pub use rpc::{RpcAuth, RpcNode};

/// The latest blocks and a way to publish transactions.
pub trait ChainSource {
    /// The network that the source follows.
    fn network(&self) -> Network;

    /// The height of the source's tip.
    ///
    /// # Errors
    /// [`NodeError`].
    fn tip_height(&self) -> Result<u32, NodeError>;

    /// The hash of the block at a height of the source's best chain; `None` above its tip.
    ///
    /// # Errors
    /// [`NodeError`].
    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError>;

    /// The header of the block of this hash.
    ///
    /// # Errors
    /// [`NodeError::Block`] if the source has none; otherwise [`NodeError`].
    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError>;

    /// A block of this hash.
    ///
    /// # Errors
    /// [`NodeError::Block`] if the source has none; otherwise [`NodeError`].
    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError>;

    /// What the source would do with each transaction if it were sent after those before it.
    ///
    /// # Errors
    /// [`NodeError`] when the source does not answer; a refusal is an answer.
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError>;

    /// Hands a transaction to the source for the next blocks. Sending again what it has is no error.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if the source refuses it; otherwise [`NodeError`].
    fn send(&mut self, transaction: &Transaction) -> Result<Txid, NodeError>;
}

/// A node's verdict on a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acceptance {
    /// It would be relayed.
    Accepted,
    /// The node has it, in its pool or in a block.
    AlreadyKnown,
    /// It would not be relayed.
    Rejected(String),
    /// The node did not judge it, because of another of the same package.
    NotJudged,
}

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The address is not of the form that is understood.
    #[error("{0} is no address of a node: write http://host:port, and the user and password separately")]
    Url(String),
    /// The cookie file cannot be read.
    #[error("cannot read the cookie {}", path.display())]
    Cookie {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody answers.
    #[error("the node at {url} does not answer: {reason}")]
    Unreachable {
        /// The node's address.
        url: String,
        /// What the transport reports.
        reason: String,
    },
    /// User and password, or the cookie, are not the node's.
    #[error("the node at {url} refuses the user and password")]
    Unauthorized {
        /// The node's address.
        url: String,
    },
    /// The node answers by an HTTP status instead of JSON.
    #[error("the node at {url} answers with HTTP status {status}")]
    Http {
        /// The node's address.
        url: String,
        /// The status.
        status: i32,
    },
    /// The node answers a call with an error of its own.
    #[error("{method} fails with code {code}: {message}")]
    Rpc {
        /// The call.
        method: &'static str,
        /// The code; those of bitcoind are negative.
        code: i32,
        /// The node's words.
        message: String,
    },
    /// An answer has not the form that the call has.
    #[error("the answer to {method} is not understood: {reason}")]
    Answer {
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node follows another network.
    #[error("the node follows {found}, not {expected}")]
    Network {
        /// The network that was asked for.
        expected: Network,
        /// The node's, in its own words.
        found: String,
    },
    /// The source has no block of this hash.
    #[error("there is no block {0}")]
    Block(BlockHash),
    /// A transaction is not relayed.
    #[error("transaction {txid} is refused: {reason}")]
    Rejected {
        /// The transaction.
        txid: Txid,
        /// The node's reason.
        reason: String,
    },
    /// The file of the embedded chain was not written.
    #[error(transparent)]
    ChainFile(#[from] crate::regtest::ChainFileError),
}

/// The code of bitcoind for a call during its start.
const RPC_IN_WARMUP: i32 = -28;

impl NodeError {
    /// Whether the same call may succeed later with nothing changed here: the node is down, starting or busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Http { status, .. } => *status == 503,
            Self::Rpc { code, .. } => *code == RPC_IN_WARMUP,
            _ => false,
        }
    }
}

/// Sends a commit and the reveal that spends it, after asking whether both would be relayed; a second time does no harm.
///
/// # Errors
/// [`NodeError::Rejected`] if either would be refused, before either is sent; otherwise [`NodeError`], after which the
/// commit may have been sent and calling again is the way on.
pub fn publish(source: &mut dyn ChainSource, commit: &Transaction, reveal: &Transaction) -> Result<(), NodeError> {
    let verdicts = source.test_accept(&[commit.clone(), reveal.clone()])?;
    let [for_commit, mut for_reveal] = <[Acceptance; 2]>::try_from(verdicts).map_err(|verdicts| NodeError::Answer {
        method: "testmempoolaccept",
        reason: format!("{} verdicts on two transactions", verdicts.len()),
    })?;
    // A package with a known commit is not judged as a whole, but its reveal can be judged alone.
    if for_commit == Acceptance::AlreadyKnown && for_reveal != Acceptance::Accepted {
        for_reveal = source.test_accept(std::slice::from_ref(reveal))?.pop().unwrap_or(Acceptance::NotJudged);
    }
    refuse_rejected(commit, &for_commit)?;
    refuse_rejected(reveal, &for_reveal)?;
    source.send(commit)?;
    source.send(reveal)?;
    Ok(())
}

fn refuse_rejected(transaction: &Transaction, verdict: &Acceptance) -> Result<(), NodeError> {
    let reason = match verdict {
        Acceptance::Accepted | Acceptance::AlreadyKnown => return Ok(()),
        Acceptance::Rejected(reason) => reason.clone(),
        Acceptance::NotJudged => "the node did not judge it".to_owned(),
    };
    Err(NodeError::Rejected { txid: transaction.compute_txid(), reason })
}
