#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! Everything that must be agreed between a circuit, the prover and whoever checks them lives here, once: the
//! hash ([`poseidon2`]), the cells of the state ([`cell`]), the public records of each kind of transition
//! ([`record`]), what is known of operations ([`operation`]) and the statement that a proof proves ([`statement`]). On
//! these stand the checks of proofs ([`groth16`], [`program`]), those of what is posted beside records ([`evidence`])
//! and the bytes that are anchored in Bitcoin ([`codec`], [`payload`], [`envelope`]). [`follow`] joins them to
//! [`headers`] and blocks ([`block`]).
//!
//! The byte formats are specified in `docs/protocol.md` of the repository.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod baby_jubjub;
pub mod block;
pub mod bridge;
pub mod cell;
pub mod codec;
pub mod deposit;
pub mod envelope;
pub mod evidence;
pub mod exit;
pub mod field;
pub mod follow;
pub mod groth16;
pub mod headers;
mod inverse;
pub mod operation;
mod parallel;
pub mod payload;
pub mod poseidon2;
pub mod program;
pub mod quorum;
pub mod record;
pub mod schedule;
pub mod schnorr;
mod secp;
#[cfg(feature = "serde")]
pub mod serde_form;
pub mod spent;
pub mod statement;
mod take;
pub mod upgrade;

#[cfg(test)]
mod example_data;
#[cfg(test)]
mod toy_chain;

pub use ark_bn254;
pub use ark_ff;
pub use bitcoin;
#[cfg(feature = "serde")]
pub use serde;
