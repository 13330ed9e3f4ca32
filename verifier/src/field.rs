//! Elements of the BN254 scalar field as bytes and as packed integers, and inverses modulo any prime.

pub use crate::inverse::inverse_modulo;
use ark_bn254::Fr;
use ark_ff::{BigInt, BigInteger, PrimeField};

/// A 32-byte string that encodes no element of the BN254 scalar field: the integer is not below its order r.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("32 bytes hold an integer that is not below the order of the scalar field")]
pub struct NotCanonicalError;

/// Encodes an element as its least non-negative representative, 32 bytes, little-endian.
pub fn to_bytes(element: &Fr) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for (out, limb) in bytes.chunks_exact_mut(8).zip(element.into_bigint().0) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

/// Decodes what [`to_bytes`] encodes.
///
/// # Errors
/// [`NotCanonicalError`] if the integer is r or more: each element has one encoding.
pub fn from_bytes(bytes: &[u8; 32]) -> Result<Fr, NotCanonicalError> {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(word);
    }
    Fr::from_bigint(BigInt::new(limbs)).ok_or(NotCanonicalError)
}

/// Reads at most 31 bytes as a little-endian integer; every such string is an element.
///
/// # Panics
/// If `bytes` is longer than 31 bytes, which only a caller's own constant can cause.
pub fn from_short_bytes(bytes: &[u8]) -> Fr {
    assert!(bytes.len() <= 31, "31 bytes always fit below the order");
    Fr::from_le_bytes_mod_order(bytes)
}

/// Packs integers of fixed widths into one element, the first in the least significant bits.
///
/// # Panics
/// If the widths sum to more than 253 bits or a value exceeds its width: both are mistakes of the caller.
pub fn pack<const N: usize>(parts: [(u64, u32); N]) -> Fr {
    let mut sum = BigInt::<4>::zero();
    let mut offset_bits = 0;
    for (value, width_bits) in parts {
        assert!(width_bits <= 64 && (width_bits == 64 || value >> width_bits == 0), "value exceeds its width");
        sum.add_with_carry(&(BigInt::<4>::from(value) << offset_bits));
        offset_bits += width_bits;
    }
    assert!(offset_bits <= 253, "253 bits always fit below the order");
    Fr::from_bigint(sum).expect("an integer of 253 bits is below the order")
}

/// Reads what [`pack`] packs into an element; `None` if the element, as an integer, exceeds the widths together.
///
/// # Panics
/// If a width exceeds 64 bits, which only a caller's own constant can cause.
pub fn unpack<const N: usize>(element: Fr, widths_bits: [u32; N]) -> Option<[u64; N]> {
    let mut rest = element.into_bigint();
    let parts = widths_bits.map(|width_bits| {
        assert!((1..=64).contains(&width_bits), "a part has 1 to 64 bits");
        let part = rest.0[0] & (u64::MAX >> (64 - width_bits));
        rest >>= width_bits;
        part
    });
    rest.is_zero().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::Field;

    #[test]
    fn encoding_is_canonical_at_the_order() {
        let mut order = [0u8; 32];
        for (out, limb) in order.chunks_exact_mut(8).zip(Fr::MODULUS.0) {
            out.copy_from_slice(&limb.to_le_bytes());
        }
        assert_eq!(from_bytes(&order), Err(NotCanonicalError));
        let mut above = order;
        above[0] += 1;
        assert_eq!(from_bytes(&above), Err(NotCanonicalError));
        let mut below = order;
        below[0] -= 1;
        assert_eq!(from_bytes(&below), Ok(-Fr::ONE));
        assert_eq!(to_bytes(&-Fr::ONE), below);
        assert_eq!(from_bytes(&[0xff; 32]), Err(NotCanonicalError));
    }

    #[test]
    fn pack_places_parts_from_the_low_end() {
        let packed = pack([(1, 1), (5, 32), (u64::MAX, 64)]);
        let expected = Fr::from(1u64) + Fr::from(5u64 << 1) + Fr::from(u64::MAX) * Fr::from(2u64).pow([33]);
        assert_eq!(packed, expected);
        assert_eq!(unpack(packed, [1, 32, 64]), Some([1, 5, u64::MAX]));
    }

    #[test]
    fn unpack_refuses_what_exceeds_its_widths() {
        let edge = Fr::from(2u64).pow([96]);
        assert_eq!(unpack(edge - Fr::ONE, [32, 64]), Some([u32::MAX.into(), u64::MAX]));
        for element in [edge, -Fr::ONE] {
            assert_eq!(unpack(element, [32, 64]), None);
        }
        assert_eq!(unpack(Fr::from(0u64), [64]), Some([0]));
    }
}
