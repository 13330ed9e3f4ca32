//! The command line of Taproof.
#![forbid(unsafe_code)]
fn main() {}
