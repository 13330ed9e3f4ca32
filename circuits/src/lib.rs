//! State transitions of Taproof, a zk-rollup on Bitcoin.
//!
//! A transition is written twice: as a native rule on plain integers, which is its specification, and as a circuit that
//! proves it. Both build on the definitions of [`taproof_verifier`].

#![forbid(unsafe_code)]

pub mod account;
pub mod ark;
pub mod cap;
pub mod chunk;
pub mod cs;
pub mod deposit;
pub mod exchange;
pub mod gadgets;
pub mod iden3;
pub mod open;
pub mod ops;
mod payer;
pub mod schnorr;
pub mod state;
pub mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transaction;
pub mod transfer;
pub mod tree;
pub mod withdraw;

pub use taproof_verifier;
