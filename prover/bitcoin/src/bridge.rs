//! The bridge: how deposits come to it, and how withdrawals leave it, each once.
//!
//! # Who holds the money
//!
//! A federation of n keys, t of which can spend, and nobody else: the taproot key path is closed by a key that nobody
//! has ([`descriptor`]). Bitcoin cannot check the rollup's proofs. The signers do, each with a follower on its own
//! node, and sign what follows from them. docs/bridge.md says what that is worth, and who loses what when it fails.
//!
//! # How a withdrawal is paid exactly once
//!
//! Every withdrawal has an index, its place among all that ever fall due, the same for everyone who follows the
//! rollup. Payout transactions form a chain ([`link`]): each link spends an output that the link before made for that
//! purpose, and names the indices that it settles, which go on from there.
//!
//! ```text
//! first credited deposit ─► link 0..3 ─► link 3..3 ─► link 3..9 ─► head
//!                            │ pays       │ moves      │ pays
//!                            ▼ 0, 1, 2    │ deposits   ▼ 3 to 8
//! ```
//!
//! An output is spent once. So whatever was signed, sent, lost, replaced or undone by a reorganisation, at each place
//! of the chain at most one link is in the best chain, and what it pays begins where the one before it ends. A link
//! that was signed twice, with another fee or other payouts, competes with itself. Nobody has to remember what was
//! signed.
//!
//! # From block to payment
//!
//! ```text
//! blocks ─► Follower ─► what is due ──┐
//!    └────► BridgeScan ─► coins, head ┴► plan ─► PSBT ─► check, sign (each signer) ─► combine ─► send
//! ```
//!
//! - [`scan`]: what the chain says of the bridge; [`watch`] drives it beside the follower.
//! - [`plan`]: builds the next link. Its author is not trusted.
//! - [`check`]: what each signer checks before it signs, and [`sign`] the signatures.
//! - [`signer_key`]: where signers' keys come from, for wallets that must find theirs.
//! - [`deposit`]: deposits, and taking back one that was not credited; [`recipe`]: how any other wallet pays one;
//!   [`why`]: what keeps the outputs of a transaction from being one.

pub mod check;
pub mod deposit;
pub mod descriptor;
pub mod link;
pub mod plan;
pub mod recipe;
pub mod scan;
pub mod sign;
pub mod signer_key;
pub mod watch;
mod weight;
pub mod why;

#[cfg(test)]
mod tests;

use bitcoin::{Script, Witness};

/// Whether a taproot input is spent by this leaf. Bitcoin has checked the rest of the witness.
fn spends_by(witness: &Witness, leaf: &Script) -> bool {
    witness.taproot_leaf_script().is_some_and(|spent| spent.script == leaf)
}
