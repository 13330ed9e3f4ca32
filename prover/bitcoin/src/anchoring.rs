//! Brings proven batches into Bitcoin's chain, each by a commit and a reveal, and keeps at it until they are final.
//!
//! An anchor lives for hours: fees rise, nodes restart, blocks are reorganised, somebody else posts the same batch.
//! So nothing here is a script of steps. The service looks at what the chain, the node's pool and its own store say
//! *now*, and a pure function, [`decide()`], says in which [`JobState`] the batch is and what the one next action is.
//! Then it looks again.
//!
//! ```text
//! proofs ─► waiting ─► built ─► signed ─► commit sent ─► reveal sent ─► bumped ─► in block ─► safe ─► final
//!              ▲                  │ gate: publish, defer or stale            │         │ reorg: back
//!              └──────────────────┴──────────── another payload is wanted ◄──┴─────────┘
//!           stale (prove again)        abandoned ─► swept
//! ```
//!
//! The parts, in the order of reading:
//!
//! - [`Job`]: what is kept of one batch. Its [`Generation`]s are pairs of commit and reveal, one for each payload
//!   that the chain has asked for; a generation's [`Attempt`]s are its reveal at rising fees. None is ever forgotten:
//!   whichever confirms counts.
//! - [`View`]: what the node says of all that, and what the rollup's rules say of the next payload ([`Standing`]).
//! - [`decide()`] and the fees ([`Config`], [`Fees`]): the rules.
//! - [`Store`]: `anchoring.redb`. What is about to be sent is stored first, so a crash at any moment loses nothing.
//! - [`Service`]: reads the view, decides, stores, acts. [`psbt`]: the same with keys that are kept elsewhere.
//!
//! # Rules that keep coins and order
//!
//! - A payload names its predecessor's hash, so batch n+1 is sent when batch n is in a block, not before: a copy of n
//!   by somebody else, with other bytes, may win until then. This costs a block a batch and never a lost anchor.
//! - A commit is never replaced once it was handed over: that would orphan its reveal. Fees rise by replacing the
//!   reveal, which pays for both, out of the value that the commit locked for this (the headroom).
//! - A commit that pays too little for the pool by itself goes together with its reveal, as a package that pays for
//!   both.
//! - Coins are spent only when confirmed and mature, and never by two anchors at once.
//! - A confirmation is read, never remembered: after a reorganisation a batch is simply not in the chain any more,
//!   and the same rules send it again. Where its Bitcoin reference has another hash now, the payload is rebuilt with
//!   it; its proofs still hold, because statements name the height alone. Where the deposits differ the batch is
//!   [`JobState::Stale`]: it must be proven again.
//! - What an anchor left behind (a commit whose reveal is of no use) is swept by the poster's key when the batch is
//!   safe, or when it was abandoned.

mod build;
mod chain_index;
mod codec;
mod config;
mod decide;
mod error;
mod fees;
mod generation;
mod hold;
mod job;
mod lock;
pub mod psbt;
mod service;
mod source;
mod store;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use build::Signer;
pub use config::{Config, ConfigError, Headroom};
pub use decide::{Action, Decision, decide};
pub use error::{AnchorStoreError, ServiceError};
pub use fees::{Fees, Package};
pub use generation::{Attempt, Generation, Sweep};
pub use hold::{Hold, Waits};
pub use job::{BumpOrder, HISTORY_MAX, Job, JobFigures, JobState, Order, StatementId, Transition};
pub use lock::ServiceLock;
pub use service::{Driver, Note, Service, Step, TickReport};
pub use source::{BatchSource, ProofFolder};
pub use store::{Identity, Store};
pub use view::{Anchored, GenerationView, Inputs, Place, Spender, Standing, View};
