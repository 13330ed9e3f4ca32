//! The command line of a rollup whose payments are rewarded.

use std::process::ExitCode;
use taproof_circuits::step::Machines;
use taproof_own_operation::machine;

fn main() -> ExitCode {
    taproof::cli::main(Machines::new(vec![machine()]))
}
