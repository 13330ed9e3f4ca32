//! The proving key as a .zkey file, version 1, protocol groth16, that snarkjs makes and snarkjs and rapidsnark prove
//! with.
//!
//! Points are stored there as here: Montgomery limbs, zeros for infinity. The file holds a point of A and B for every
//! wire, and the coefficients of A and B themselves, for its provers compute the rows from them. C is not in the file.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{ReadError, expect_protocol, read};
pub use write::{WriteError, write};

/// The number of the protocol in the first section.
const PROTOCOL_GROTH16: u32 = 1;

/// The name of a protocol that snarkjs makes keys for, by its number in a .zkey.
pub fn protocol_name(number: u32) -> &'static str {
    match number {
        PROTOCOL_GROTH16 => "Groth16",
        2 => "PLONK",
        10 => "FFLONK",
        _ => "an unknown protocol",
    }
}

/// Bytes of the second section: two primes with their lengths; wires, public inputs, roots (4 each); alpha, beta in
/// G1, beta, gamma, delta in G1, delta.
const PARAMETERS_LENGTH: u64 = 2 * 36 + 3 * 4 + 3 * 64 + 3 * 128;

/// Bytes of a coefficient: the matrix, the row and the wire (4 each), the value (32).
///
/// Values are stored times 2^512, so that the product with a wire's plain value, reduced by Montgomery's method, is
/// in Montgomery form.
const COEFFICIENT_LENGTH: usize = 3 * 4 + 32;
