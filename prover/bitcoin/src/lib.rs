//! Taproof on Bitcoin: nodes, following with a source of blocks and a store, anchors, the anchoring service, the bridge
//! and announcements of upgrades. A proven batch is bytes here: this crate knows neither circuits nor provers.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod anchoring;
pub mod bridge;
pub mod chain_store;
pub mod coins;
pub mod consensus;
pub mod fee_rate;
pub mod follow;
pub mod light;
pub mod node;
pub mod proven_batch;
pub mod psbt_file;
pub mod regtest;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod upgrade;
