//! How a node fails, and what kind of failure that is.

use super::http::HttpError;
use bitcoin::{BlockHash, Network, Txid};
use std::{fmt, io, path::PathBuf, time::Duration};
use taproof_base::{network_name::network_name, shown::shown};

/// Why a node does not relay a transaction, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectClass {
    /// An input is not to be found: its transaction was not sent, is in no block, or the output is spent in a block.
    MissingInputs,
    /// The pool holds another spend of an input and would not give it up at any fee.
    Conflict,
    /// The fee is below what the pool asks for, or too small for a replacement.
    FeeTooLow,
    /// The pool holds too many or too large transactions that depend on each other.
    PackageLimit,
    /// It may be sent later: a lock has not passed, or a reward is not mature.
    TooEarly,
    /// Nodes of this node's kind do not relay the like, though a block might hold it.
    Policy,
    /// No block may hold it.
    Consensus,
}

/// A node's refusal of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of reason.
    pub class: RejectClass,
    /// The node's words.
    pub reason: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.reason))
    }
}

/// What to do about a [`NodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Call again later: the node is down, starting or busy.
    Retry,
    /// The node judged a transaction and refused it.
    Rejected(RejectClass),
    /// Calling again brings the same: somebody has to change something first.
    Fatal,
}

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The address is not of the form that is understood.
    #[error("{0} is no address: write http://host:port or https://host, and the user and password separately")]
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
    #[error("{url} does not answer: {}", shown(reason))]
    Unreachable {
        /// The node's address.
        url: String,
        /// What the transport reports.
        reason: String,
    },
    /// The answer does not come in time.
    #[error("{url} does not answer within {seconds} s")]
    Timeout {
        /// The node's address.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The server does not prove to be who the address says, or no encryption was agreed on.
    #[error("no secure connection to {url}: {}", shown(reason))]
    Tls {
        /// The server's address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// User and password, or the cookie, are not the node's.
    #[error("the node at {url} refuses the user and password")]
    Unauthorized {
        /// The node's address.
        url: String,
    },
    /// The node knows the caller and does not let it do this.
    #[error("the node at {url} does not allow {method} to this caller")]
    Forbidden {
        /// The node's address.
        url: String,
        /// The call.
        method: &'static str,
    },
    /// The node answers by an HTTP status instead of JSON.
    #[error("{url} answers with HTTP status {status}{}", after(*.retry_after))]
    Http {
        /// The node's address.
        url: String,
        /// The status.
        status: u16,
        /// After what time it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The node has thrown the block away.
    #[error("the node is pruned and no longer has block {hash}{}", pruned(*.height, *.kept_from))]
    Pruned {
        /// The block.
        hash: BlockHash,
        /// Its height, if the node says it.
        height: Option<u32>,
        /// The lowest height whose block the node has, if it says it.
        kept_from: Option<u32>,
    },
    /// The node answers a call with an error of its own.
    #[error("{method} fails with code {code}: {}", shown(message))]
    Rpc {
        /// The call.
        method: &'static str,
        /// The code; those of bitcoind are negative.
        code: i32,
        /// The node's words.
        message: String,
    },
    /// An answer has not the form that the call has.
    #[error("the answer to {method} is not understood: {}", shown(reason))]
    Answer {
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node follows another network.
    #[error("the node follows {}, not {}", shown(found), network_name(*.expected))]
    Network {
        /// The network that was asked for.
        expected: Network,
        /// The node's, in its own words.
        found: String,
    },
    /// The server does not answer as an Esplora server does.
    #[error("the server at {url} does not answer as an Esplora server: {}", shown(reason))]
    NotEsplora {
        /// Its address.
        url: String,
        /// What it answers.
        reason: String,
    },
    /// Whoever listens there speaks no HTTP.
    #[error("whoever listens at {url} does not speak HTTP")]
    NotHttp {
        /// The address.
        url: String,
    },
    /// The source has no block of this hash.
    #[error("there is no block {0}")]
    Block(BlockHash),
    /// A transaction is not relayed.
    #[error("transaction {txid} is refused: {rejection}")]
    Rejected {
        /// The transaction.
        txid: Txid,
        /// Why.
        rejection: Rejection,
    },
    /// The node does the like already and cannot do two at once.
    #[error("the node is busy with another {method}")]
    Busy {
        /// The call.
        method: &'static str,
    },
    /// The file of the embedded chain was not written.
    #[error(transparent)]
    ChainFile(#[from] crate::regtest::ChainFileError),
}

/// The code of bitcoind for a call during its start.
const RPC_IN_WARMUP: i32 = -28;

fn after(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |pause| format!(" and asks to wait {} s", pause.as_secs().max(1)))
}

fn pruned(height: Option<u32>, kept_from: Option<u32>) -> String {
    let at = height.map_or_else(String::new, |height| format!(" at height {height}"));
    let from = kept_from.map_or_else(String::new, |height| format!("; it keeps blocks from height {height} on"));
    at + &from
}

impl NodeError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Busy { .. }
            | Self::Http { status: 429 | 500..=599, .. }
            | Self::Rpc { code: RPC_IN_WARMUP, .. } => ErrorClass::Retry,
            // bitcoind removes its cookie when it stops.
            Self::Cookie { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorClass::Retry,
            Self::Rejected { rejection, .. } => ErrorClass::Rejected(rejection.class),
            _ => ErrorClass::Fatal,
        }
    }

    /// The failure of a request to `url`, made for a call.
    pub(super) fn from_http(error: HttpError, url: &str, method: &'static str) -> Self {
        let url = url.to_owned();
        match error {
            HttpError::Address => Self::Url(url),
            HttpError::Io(_) | HttpError::Ended => Self::Unreachable { url, reason: error.to_string() },
            HttpError::Timeout(timeout) => Self::Timeout { url, seconds: timeout.as_secs() },
            HttpError::Tls(reason) => Self::Tls { url, reason },
            HttpError::NoHttp => Self::NotHttp { url },
            HttpError::Malformed(_) | HttpError::TooLong(_) => Self::Answer { method, reason: error.to_string() },
        }
    }

    /// Whether a service that runs for months waits for this to pass. What a node says of itself, its operator may
    /// change: only an address that is none, another network and a chain file of our own stay as they are.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Url(_) | Self::Network { .. } | Self::ChainFile(_))
    }

    /// Whether the same call may succeed later with nothing changed here: the node is down, starting or busy.
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Retry
    }
}
