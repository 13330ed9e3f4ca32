//! Parts that circuits are made of, each written once for both back ends of [`crate::cs`].

pub mod bits;
pub mod merkle;
pub mod poseidon2;
