//! Everything about Groth16 and nothing about Bitcoin: keys, setup, proofs, and keys that other tools made.
#![forbid(unsafe_code)]

pub mod against_ark;
pub mod foreign_key;
pub mod kept_proofs;
pub mod key_file;
pub mod key_ring;
pub mod matrices;
pub mod prove;
pub mod proven;
pub mod proving_key;
pub mod setup;
#[cfg(test)]
mod toy;
pub mod zkey;
