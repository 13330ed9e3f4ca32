//! What every other crate of the prover uses: files that appear whole or not at all, containers with a checksum, stores
//! that survive a crash, and texts for people.
#![forbid(unsafe_code)]

pub mod artefact;
pub mod io_fault;
pub mod network_name;
pub mod output_file;
pub mod private;
pub mod progress;
pub mod shown;
#[cfg(feature = "stores")]
pub mod store_error;
#[cfg(feature = "stores")]
pub mod store_file;
pub mod temporary_file;
