//! The prover of Taproof: keys, proofs, batches, the ledger and anchors on Bitcoin.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod artefact;
pub mod layer1;
pub mod node;
pub mod regtest;
pub mod wallet;
pub mod workload;
