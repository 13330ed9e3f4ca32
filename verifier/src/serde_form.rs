//! How types appear in serde: hexadecimal digits where people read, bytes elsewhere, and checked on the way in.

use crate::{
    baby_jubjub::PublicKey,
    cell::{CellElements, CellIndex, Depth, MerklePath},
    field,
    operation::OperationSet,
    poseidon2::WIDTH,
    program::CircuitTable,
    record::Kind,
    schnorr::Signature,
};
use alloc::{string::String, vec::Vec};
use ark_bn254::Fr;
use bitcoin::hex::{DisplayHex, FromHex};
use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// Writes bytes as lower-case hexadecimal digits to a format for people, as bytes to any other.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(&bytes.as_hex())
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// Reads what [`serialize_bytes`] writes.
///
/// # Errors
/// Those of the deserializer, and for digits that are not hexadecimal.
pub fn deserialize_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(BytesVisitor)
    } else {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// Reads what [`serialize_bytes`] writes, if it is exactly N bytes.
///
/// # Errors
/// As [`deserialize_bytes`], and for another number of bytes.
pub fn deserialize_array<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    let bytes = deserialize_bytes(deserializer)?;
    bytes.as_slice().try_into().map_err(|_| D::Error::invalid_length(bytes.len(), &"a fixed number of bytes"))
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or their hexadecimal digits")
    }

    fn visit_str<E: Error>(self, digits: &str) -> Result<Vec<u8>, E> {
        Vec::from_hex(digits).map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// For `#[serde(with)]` on arrays of bytes.
pub mod byte_array {
    use super::{Deserializer, Serializer};

    /// As [`super::serialize_bytes`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize_bytes(bytes, serializer)
    }

    /// As [`super::deserialize_array`].
    ///
    /// # Errors
    /// As [`super::deserialize_array`].
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        super::deserialize_array(deserializer)
    }
}

/// For `#[serde(with)]` on field elements: 32 bytes, little-endian, canonical.
pub mod element {
    use super::{Deserializer, Error, Fr, Serializer, field};

    /// Writes [`field::to_bytes`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(element: &Fr, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize_bytes(&field::to_bytes(element), serializer)
    }

    /// Reads with [`field::from_bytes`].
    ///
    /// # Errors
    /// Those of the deserializer, and for an integer that is not below the order.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fr, D::Error> {
        field::from_bytes(&super::deserialize_array(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&deserialize_array(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&deserialize_array(deserializer)?).map_err(D::Error::custom)
    }
}

/// A list of eight elements to a format for people, 256 bytes to any other.
impl Serialize for CellElements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.map(Element).serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for CellElements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Self(<[Element; WIDTH]>::deserialize(deserializer)?.map(|Element(element)| element)))
        } else {
            Self::from_bytes(&deserialize_array(deserializer)?).map_err(D::Error::custom)
        }
    }
}

/// An element of a list.
#[derive(Serialize, Deserialize)]
struct Element(#[serde(with = "element")] Fr);

impl Serialize for MerklePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for MerklePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&deserialize_bytes(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for CellIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

impl<'de> Deserialize<'de> for CellIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let unexpected = Unexpected::Unsigned(index.into());
        Self::new(index).ok_or_else(|| D::Error::invalid_value(unexpected, &"a cell's index below 2^30"))
    }
}

impl Serialize for Depth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.levels())
    }
}

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let levels = u8::deserialize(deserializer)?;
        let unexpected = Unexpected::Unsigned(levels.into());
        Self::new(levels).ok_or_else(|| D::Error::invalid_value(unexpected, &"a depth of 1 to 10 levels"))
    }
}

/// The name to a format for people, the number to any other.
impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u8(*self as u8)
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let name = String::deserialize(deserializer)?;
            let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
            kind.ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&name), &"the name of a kind"))
        } else {
            let number = u8::deserialize(deserializer)?;
            let unexpected = Unexpected::Unsigned(number.into());
            Self::from_number(number).ok_or_else(|| D::Error::invalid_value(unexpected, &"the number of a kind"))
        }
    }
}

impl Serialize for OperationSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for OperationSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserialize_bytes(deserializer)?;
        match Self::from_start(&bytes).map_err(D::Error::custom)? {
            (set, []) => Ok(set),
            (_, rest) => Err(D::Error::invalid_length(rest.len(), &"no bytes behind a set of operations")),
        }
    }
}

impl Serialize for CircuitTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for CircuitTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&deserialize_bytes(deserializer)?).map_err(D::Error::custom)
    }
}
