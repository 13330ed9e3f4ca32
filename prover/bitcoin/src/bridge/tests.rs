//! The bridge on the embedded chain, where every spend is checked by Bitcoin's own code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod descriptors;
mod fee_coins;
mod floods;
mod free_payouts;
mod kept;
mod refunds;
mod refusals;
mod rewards;
mod rig;
mod storms;
mod way;
mod why;
