//! What the command line of Taproof shows: its demo, its overview and its benchmarks.
#![forbid(unsafe_code)]

pub mod bench;
pub mod demo;
pub mod overview;
