//! The command line of Taproof, with the operations that rollups have unless they choose others.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use taproof_circuits::{ops, step::Machines};

fn main() -> ExitCode {
    taproof::cli::main(Machines::new(vec![ops::standard()]))
}
