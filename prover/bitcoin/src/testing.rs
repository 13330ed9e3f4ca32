//! A toy rollup with simulated proofs, and real nodes to try things on: for the tests of this crate and of those that
//! use it.
#![allow(missing_docs, reason = "a harness for tests says by names what it does")]
#![allow(clippy::new_without_default, reason = "a test says what it starts from")]

pub mod bitcoind;
pub mod damage;
pub mod esplora;
pub mod rig;
pub mod toy_rollup;
pub mod world;
