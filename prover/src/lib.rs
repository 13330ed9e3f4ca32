//! The command line of Taproof, for the operations of a rollup's choice, and what it shows: its demo, its overview and
//! its benchmarks.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod demo;
pub mod overview;
