//! The ledger, the sequencer that makes batches with it, and the state that is rebuilt from the chain.
#![forbid(unsafe_code)]

pub mod amount;
pub mod batch;
pub mod founding;
pub mod ledger;
pub mod purses;
pub mod rebuild;
pub mod sequencer;
pub mod state_proof;
pub mod succession;
pub mod told;
pub mod transaction_file;
pub mod workload;
