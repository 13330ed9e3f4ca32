//! The formats of iden3's tools: what Taproof writes, snarkjs and rapidsnark can check and prove, and what circom and
//! snarkjs write, Taproof can prove.
//!
//! [`write_r1cs`] writes the matrices, [`check_r1cs`] checks a witness against them, [`write_wtns`] and [`read_wtns`]
//! are for witnesses, [`json`] for proofs, verifying keys and public inputs. The proving key (.zkey) is written and
//! read where the keys are, in the prover, with [`BinaryFile`] and [`Container`]. All formats are those of BN254,
//! which iden3's tools call bn128.

mod binary;
mod container;
mod field_name;
pub mod json;
mod r1cs;
#[cfg(test)]
mod tests;
mod wtns;

pub use binary::BinaryFile;
pub use container::{Container, ContainerError, expect_prime, prime_bytes};
pub use r1cs::{R1csCounts, R1csError, check_r1cs, write_r1cs};
pub use wtns::{WtnsError, read_wtns, write_wtns};
