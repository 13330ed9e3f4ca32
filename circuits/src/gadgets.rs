//! Parts that circuits are made of, each written once for all back ends of [`crate::cs`].

pub mod baby_jubjub;
pub mod bits;
pub mod cell;
pub mod merkle;
pub mod poseidon2;
pub mod schnorr;
#[cfg(test)]
mod tests;
