//! Export to the formats of iden3's tools, so that snarkjs and rapidsnark can check and prove the same circuits.
//!
//! [`write_r1cs`] writes the matrices, [`write_wtns`] a witness, [`json`] proofs, verifying keys and public inputs. The
//! proving key (.zkey) is written where the keys are, in the prover, with [`BinaryFile`]. All formats are those of BN254,
//! which iden3's tools call bn128.

mod binary;
pub mod json;
mod r1cs;
#[cfg(test)]
mod tests;
mod wtns;

pub use binary::BinaryFile;
pub use r1cs::write_r1cs;
pub use wtns::{WtnsError, read_wtns, write_wtns};
