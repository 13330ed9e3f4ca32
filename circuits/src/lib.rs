//! Circuits, native rules and the state tree of Taproof.
#![forbid(unsafe_code)]

pub mod cs;
