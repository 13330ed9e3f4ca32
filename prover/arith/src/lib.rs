//! Kernels of the prover behind one interface: transforms, multi-scalar multiplication, mapped files.
//!
//! Whoever needs field or curve arithmetic in bulk calls this crate and never arkworks itself, so that what computes it
//! can be replaced here without a change elsewhere. Vectors of scalars are [`ark_bn254::Fr`]; points are the
//! plain-data types of [`point`], which is also how key files store them.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod affine;
mod backend;
pub mod domain;
pub mod fixed_base;
mod lanes;
pub mod mapped;
pub mod msm;
mod multiply;
pub mod point;
mod transform;
pub mod vectors;

pub use backend::{Backend, UnavailableBackendError, UnknownBackendError};
pub use domain::Domain;
pub use fixed_base::batch_mul;
pub use mapped::MappedFile;
pub use msm::{Recoded, Scalars, msm};
pub use point::{G1, G2, Point};
