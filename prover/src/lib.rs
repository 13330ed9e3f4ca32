//! The prover of Taproof: keys, proofs, batches, the ledger and anchors on Bitcoin.
#![forbid(unsafe_code)]

// The tests of this crate share a harness with its integration tests, which name the crate.
#[cfg(test)]
extern crate self as taproof;

pub mod against_ark;
pub mod anchor;
pub mod anchoring;
pub mod artefact;
pub mod batch;
pub mod bench;
pub mod bridge;
pub mod chain_store;
pub mod coins;
pub mod consensus;
pub mod demo;
pub mod fee_rate;
pub mod follow;
pub mod foreign_key;
pub mod founding;
pub mod io_fault;
pub mod kept_proofs;
pub mod key_file;
pub mod key_ring;
pub mod ledger;
pub mod light;
pub mod matrices;
pub mod network_name;
pub mod node;
pub mod output_file;
pub mod overview;
pub mod private;
pub mod progress;
pub mod prove;
pub mod proven;
pub mod proven_batch;
pub mod proving_key;
pub mod psbt_file;
pub mod rebuild;
pub mod regtest;
pub mod sequencer;
pub mod setup;
pub mod shown;
pub mod state_proof;
mod store_fault;
mod store_file;
#[cfg(test)]
mod storm;
mod temporary_file;
#[cfg(test)]
mod toy;
#[cfg(test)]
mod toy_rollup;
pub mod transaction_file;
pub mod upgrade;
pub mod wallet;
pub mod workload;
pub mod zkey;
