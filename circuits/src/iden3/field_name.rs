//! The fields that iden3's tools know, by the names of their curves.

/// The curve and the order of a field, in hexadecimal digits without leading zeros.
const FIELDS: [(&str, &str); 12] = [
    ("BN254", "30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001"),
    // The base field of BN254 is the scalar field of Grumpkin.
    ("BN254 (base field) or Grumpkin", "30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47"),
    ("BLS12-381", "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"),
    ("BLS12-381", "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"),
    ("BLS12-377", "12ab655e9a2ca55660b44d1e5c37b00159aa76fed00000010a11800000000001"),
    ("BLS12-377", "1ae3a4617c510eac63b05c06ca1493b1a22d9f300f5138f1ef3622fba094800170b5d44300000008508c00000000001"),
    ("Goldilocks", "ffffffff00000001"),
    ("Pallas", "40000000000000000000000000000000224698fc094cf91b992d30ed00000001"),
    ("Vesta", "40000000000000000000000000000000224698fc0994a8dd8c46eb2100000001"),
    ("secq256r1", "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
    ("secp256k1", "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
    ("secp256k1", "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
];

/// Names the curve of a field that is written as the formats do: the length of an element (4 bytes), then the order,
/// little-endian.
pub(super) fn field_name(bytes: &[u8]) -> Option<&'static str> {
    let (length, order) = bytes.split_first_chunk::<4>()?;
    let order = order.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let digits: String = order.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    let digits = digits.trim_start_matches('0');
    FIELDS.into_iter().find(|(_, known)| *known == digits).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iden3::prime_bytes;
    use ark_bn254::{Fq, Fr};

    #[test]
    fn fields_are_named_by_their_curves() {
        assert_eq!(field_name(&prime_bytes::<Fr>()), Some("BN254"));
        assert_eq!(field_name(&prime_bytes::<Fq>()), Some("BN254 (base field) or Grumpkin"));
        let goldilocks = [&8u32.to_le_bytes()[..], &0xffff_ffff_0000_0001u64.to_le_bytes(), &[1, 2]].concat();
        assert_eq!(field_name(&goldilocks), Some("Goldilocks"));
        assert_eq!(field_name(&goldilocks[..11]), None, "too short");
        assert_eq!(field_name(&[]), None);
        assert_eq!(field_name(&[255; 100]), None);
        assert_eq!(field_name(&[0; 4]), None);
    }
}
